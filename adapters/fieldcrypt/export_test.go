package fieldcrypt

import (
	"io"

	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/secret"
)

// Wrap gives k a random key, wrapped under root in a form of that version: a key as this or another version of the package would make it.
func Wrap(k keyset.Key, version byte, root secret.Text, random io.Reader) (keyset.Key, error) {
	wrapping, err := wrapper(root)
	if err != nil {
		return k, err
	}
	plain := make([]byte, 32)
	if _, err := io.ReadFull(random, plain); err != nil {
		return k, err
	}
	k.Wrapped, err = seal(wrapping, random, []byte{version}, place(k), plain)
	return k, err
}
