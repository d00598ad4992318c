// Package envsecrets reads secrets from the environment, and keeps those that a single program made for itself in its data folder.
package envsecrets

import (
	"context"
	"fmt"

	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// MaxSecret is how long a secret may be, in bytes.
const MaxSecret = secret.MaxLen

// MinKey is how long SECRET_KEY and ROOT_KEY must be, in bytes (RFC 7518, section 3.2).
const MinKey = secret.MinKey

// refusal is a secret that cannot be used, in one sentence. It matches ports.ErrUnavailable.
type refusal string

func (r refusal) Error() string        { return string(r) }
func (r refusal) Is(target error) bool { return target == ports.ErrUnavailable }

func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

// Env reads secrets through a look-up by name, as the environment is.
type Env struct {
	lookup func(name string) (string, bool)
}

var _ ports.Secrets = (*Env)(nil)

// New answers an Env over a look-up, such as os.LookupEnv, that may be called from many goroutines at once.
func New(lookup func(name string) (string, bool)) *Env { return &Env{lookup} }

// Get implements ports.Secrets. A value is taken as it is, nothing trimmed. One with a control character (a line end that was read with
// a file, most often), or longer than MaxSecret, is an error that matches ports.ErrUnavailable.
func (e *Env) Get(ctx context.Context, name string) (secret.Text, error) {
	if err := ctx.Err(); err != nil {
		return secret.Text{}, err
	}
	value, ok := e.lookup(name)
	if !ok || value == "" {
		return secret.Text{}, fmt.Errorf("secret %s: %w", name, ports.ErrNotFound)
	}
	if err := check(name, value); err != nil {
		return secret.Text{}, err
	}
	return secret.New(value), nil
}

// check refuses what nobody means as a secret. Name is a setting or a file.
func check(name, value string) error {
	if err := secret.Check(name, value); err != nil {
		return refusal(err.Error())
	}
	return nil
}
