package mimetypes_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"image"
	"image/color/palette"
	"image/gif"
	"image/jpeg"
	"image/png"
	"strings"
	"testing"

	"github.com/xteam/xteam/adapters/mimetypes"
	"github.com/xteam/xteam/domain/upload"
)

func taken(t *testing.T, name string, content []byte) bool {
	t.Helper()
	e, ok := upload.ParseExtensions(upload.Known())
	if !ok {
		t.Fatal("what is known is not taken")
	}
	k, err := e.Kind(upload.Clean(name))
	if err != nil {
		t.Fatal(err)
	}
	c := upload.NewCheck(k, 1<<20, mimetypes.Detect)
	if err = c.Next(content); err == nil {
		err = c.End()
	}
	if bad := (*upload.InvalidError)(nil); err != nil && !errors.As(err, &bad) {
		t.Errorf("%s: %v", name, err)
	}
	return err == nil
}

func made(write func(*bytes.Buffer) error) string {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		panic(err)
	}
	return b.String()
}

func zipped(names ...string) string {
	return made(func(b *bytes.Buffer) error {
		z := zip.NewWriter(b)
		for _, name := range names {
			if _, err := z.Create(name); err != nil {
				return err
			}
		}
		return z.Close()
	})
}

// TestNamesAndContentsAgree holds each content against the names that it may have, and those that it may not.
func TestNamesAndContentsAgree(t *testing.T) {
	picture := image.NewPaletted(image.Rect(0, 0, 9, 9), palette.WebSafe)
	for _, c := range []struct {
		what, content string
		may, mayNot   string
	}{
		{"a Python source", "import os\n\ndef f(x):\n    return x\n", "a.py a.md a.txt a.js", "a.json a.png a.pdf a.zip"},
		{"one with a first line for a shell", "#!/usr/bin/env python3\nprint()\n", "a.py a.md", "a.js a.ts a.sh a.json"},
		{"a script of Node", "#!/usr/bin/env node\nlet x = 1\n", "a.js a.ts", "a.py"},
		{"a shell script", "#!/bin/sh\nrm -rf /\n", "a.sh a.md", "a.py a.js"},
		{"JavaScript", "export const x = () => ({a: 1})\n", "a.js a.ts", "a.json"},
		{"JSON", `{"a":[1,2,{"b":null}]}` + "\n", "a.json a.js a.md", "a.png"},
		{"a number", "42", "a.json a.md", "a.gif"},
		{"GeoJSON", `{"type":"FeatureCollection","features":[]}`, "a.json a.geojson", "a.pdf"},
		{"lines of JSON", "{\"a\":1}\n{\"a\":2}\n", "a.js a.txt", "a.json"},
		{"lines with commas", "a,b\nc,d\n", "a.csv a.py a.md", "a.json"},
		{"Markdown that begins with HTML", "<h1 align=\"center\">XTeam</h1>\n\nIt *does*.\n", "a.md a.html", "a.py a.js a.ts a.json a.txt"},
		{"a comment of HTML", "<!-- hello -->\n# It\n", "a.md", "a.js"},
		{"a page that runs", "<!DOCTYPE html><script>alert(1)</script>", "a.md a.html", "a.py a.js a.ts a.json a.txt"},
		{"a picture that runs", `<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>`, "a.md a.svg", "a.py a.js a.png a.gif"},
		{"XML", `<?xml version="1.0"?><a/>`, "a.xml a.md", "a.py a.json"},
		{"PHP", "<?php system($_GET['c']); ?>", "a.php a.md", "a.py a.js a.txt"},
		{"words that begin as a bitmap does", "BMW is a car.\n", "a.md a.txt a.py", "a.png"},
		{"words that begin as a program does", "MZ is the head of it.\n", "a.md a.txt", "a.zip"},
		{"words that begin as music does", "ID3 is a tag.\n", "a.md", "a.mp3"},
		{"nothing", "", "a.py a.js a.ts a.md", "a.json a.png a.pdf"},
		{"a byte order mark", "\xef\xbb\xbfprint()", "a.py a.md", "a.json"},
		{"UTF-16", "\xff\xfep\x00r\x00i\x00n\x00t\x00", "", "a.py a.js a.ts a.json a.md"},
		{"Latin-1", "# caf\xe9\n", "", "a.py a.md"},
		{"a program for Linux", "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x3e\x00", "", "a.py a.js a.ts a.json a.md a.png"},
		{"a program for Windows", "MZ\x90\x00\x03\x00\x00\x00\x04\x00", "", "a.py a.js a.md"},
		{"an archive", zipped("a.py"), "a.zip", "a.py a.js a.json a.md a.docx a.png"},
		{"a Word document", zipped("[Content_Types].xml", "_rels/.rels", "word/document.xml"), "a.docx a.zip", "a.xlsx a.md"},
		{"gzip", made(func(b *bytes.Buffer) error { return gzip.NewWriter(b).Close() }), "a.gz", "a.md a.zip"},
		{"PDF", "%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a.pdf", "a.py a.js a.md"},
		{"PDF that is text", "%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n", "a.pdf", "a.py a.js a.ts a.md a.txt"},
		{"RTF", `{\rtf1\ansi hello}`, "", "a.md a.py a.json"},
		{"PostScript", "%!PS-Adobe-3.0\nshowpage\n", "", "a.md a.py"},
		{"PNG", made(func(b *bytes.Buffer) error { return png.Encode(b, picture) }), "a.png", "a.jpg a.gif a.py a.md"},
		{"JPEG", made(func(b *bytes.Buffer) error { return jpeg.Encode(b, picture, nil) }), "a.jpg a.jpeg", "a.png a.js"},
		{"GIF", made(func(b *bytes.Buffer) error { return gif.Encode(b, picture, nil) }), "a.gif", "a.png a.js"},
		{"a GIF that is a script too", "GIF89a/*\x00*/=1;alert(1)", "a.gif", "a.js a.py"},
	} {
		for name := range strings.FieldsSeq(c.may) {
			if !taken(t, name, []byte(c.content)) {
				t.Errorf("%s as %s: refused", c.what, name)
			}
		}
		for name := range strings.FieldsSeq(c.mayNot) {
			if taken(t, name, []byte(c.content)) {
				t.Errorf("%s as %s: taken", c.what, name)
			}
		}
	}
}
