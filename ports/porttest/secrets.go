package porttest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/xteam/xteam/ports"
)

// Secrets proves a ports.Secrets. open answers one that holds no secret of the names that the suite uses (they begin with PORTTEST_), and a function that gives
// a name a value, the empty one too.
func Secrets(t *testing.T, open func(t testing.TB) (s ports.Secrets, set func(name, value string))) {
	t.Run("Get answers the secret as it is now", func(t *testing.T) {
		s, set := open(t)
		for _, want := range []string{"first-secret-value", "second secret, with words = and signs ' \" $HOME %s \\n", "é李", strings.Repeat("long ", 1000) + "."} {
			set("PORTTEST_KEY", want)
			got, err := s.Get(t.Context(), "PORTTEST_KEY")
			if err != nil || got.RevealPlaintext() != want {
				t.Errorf("Get: got %d bytes, error %v, want the %d bytes that were set", got.Len(), err, len(want))
			}
		}
	})
	t.Run("names are told apart", func(t *testing.T) {
		s, set := open(t)
		set("PORTTEST_KEY", "the-one")
		set("PORTTEST_KEY_PREVIOUS", "the-other")
		for name, want := range map[string]string{"PORTTEST_KEY": "the-one", "PORTTEST_KEY_PREVIOUS": "the-other"} {
			if got, err := s.Get(t.Context(), name); err != nil || got.RevealPlaintext() != want {
				t.Errorf("Get %s: got error %v or the wrong value", name, err)
			}
		}
	})
	t.Run("what is not there, and what is empty, is ErrNotFound", func(t *testing.T) {
		s, set := open(t)
		set("PORTTEST_OTHER", "planted-value")
		set("PORTTEST_EMPTY", "")
		for _, name := range []string{"PORTTEST_MISSING", "PORTTEST_EMPTY", "PORTTEST_OTHE"} {
			got, err := s.Get(t.Context(), name)
			if !errors.Is(err, ports.ErrNotFound) || !got.IsZero() {
				t.Errorf("Get %s: got %d bytes, error %v, want none and ErrNotFound", name, got.Len(), err)
			}
			if err != nil && strings.Contains(err.Error(), "planted-value") {
				t.Errorf("Get %s: the error holds the value of another secret", name)
			}
		}
	})
	t.Run("a context that has ended ends the call with its error, which holds no value", func(t *testing.T) {
		s, set := open(t)
		set("PORTTEST_KEY", "planted-value")
		ended(t, map[string]func(context.Context) error{
			"Get": func(ctx context.Context) error {
				got, err := s.Get(ctx, "PORTTEST_KEY")
				if err != nil && (strings.Contains(err.Error(), "planted-value") || !got.IsZero()) {
					t.Error("Get: the error, or the answer beside it, holds the secret")
				}
				return err
			},
		})
	})
	t.Run("many may ask at once", func(t *testing.T) {
		s, set := open(t)
		set("PORTTEST_KEY", "the-one")
		together(crowd, func(int) {
			if got, err := s.Get(t.Context(), "PORTTEST_KEY"); err != nil || got.RevealPlaintext() != "the-one" {
				t.Errorf("Get: got error %v or the wrong value", err)
			}
		})
	})
}
