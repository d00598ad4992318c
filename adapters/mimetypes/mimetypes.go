// Package mimetypes tells the media type of a file by its first bytes, with the library mimetype.
package mimetypes

import (
	"mime"

	"github.com/gabriel-vasile/mimetype"
)

// Detect answers the media types that the beginning of a file has, the closest first, without parameters: of a Word document also that of the archive that it is. It is an upload.Detect.
func Detect(head []byte) (types []string) {
	for m := mimetype.Detect(head); m != nil; m = m.Parent() {
		if t, _, err := mime.ParseMediaType(m.String()); err == nil {
			types = append(types, t)
		}
	}
	return types
}
