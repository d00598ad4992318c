package ports

import (
	"context"

	"github.com/xteam/xteam/domain/secret"
)

// Secrets reads settings that must not be seen.
type Secrets interface {
	// Get answers the secret of that name as it is now, or ErrNotFound when there is none; an empty one counts as none. An error never holds a value.
	Get(ctx context.Context, name string) (secret.Text, error)
}

// Sealer keeps fields unreadable to whoever has the store but not the root key. It holds its data keys in memory and does no I/O.
type Sealer interface {
	// Seal encrypts and authenticates plain for one place: context names the record and field it is kept in.
	Seal(context string, plain []byte) ([]byte, error)
	// Open is the reverse. A text that was changed, or was sealed for another context, is ErrDamaged; one of another version, or under a key that is not held, an error that matches ErrUnavailable alone.
	Open(context string, sealed []byte) ([]byte, error)
	// Index answers a keyed digest by which value is found among others of the context. It is the same for the life of the index key.
	Index(context, value string) [16]byte
}

// Authenticator proves that a message was made here (RFC 2104). It holds its data keys in memory and does no I/O.
type Authenticator interface {
	// Current is the key under which MACs are made now.
	Current() uint16
	// MAC answers the code of message under that key, or false when the key is not held.
	MAC(key uint16, message []byte) ([32]byte, bool)
}
