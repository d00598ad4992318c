package porttest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/xteam/xteam/domain/secret"
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
	t.Run("what nobody means as a secret is ErrUnavailable, and nothing of it is told", func(t *testing.T) {
		s, set := open(t)
		for name, value := range map[string]string{
			"a line end within":  "planted-value\nplanted-value",
			"two at the end":     "planted-value\n\n",
			"a tab":              "planted-value\tplanted-value",
			"an escape sequence": "planted-value\x1b[31m",
			"a DEL":              "planted-value\x7f",
			"more than 64 KiB":   strings.Repeat("planted-value", secret.MaxLen/len("planted-value")+1),
		} {
			set("PORTTEST_KEY", value)
			got, err := s.Get(t.Context(), "PORTTEST_KEY")
			unavailable(t, name, got, err)
		}
		set("PORTTEST_KEY", strings.Repeat("x", secret.MaxLen))
		if got, err := s.Get(t.Context(), "PORTTEST_KEY"); err != nil || got.Len() != secret.MaxLen {
			t.Errorf("Get of 64 KiB after that: got %d bytes, error %v", got.Len(), err)
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

// unavailable proves that an answer is ErrUnavailable and nothing else, in one line which tells of nothing that was planted.
func unavailable(t testing.TB, what string, got secret.Text, err error) {
	t.Helper()
	if !errors.Is(err, ports.ErrUnavailable) || errors.Is(err, ports.ErrNotFound) || !got.IsZero() {
		t.Errorf("Get, %s: got %d bytes, error %v, want none and ErrUnavailable", what, got.Len(), err)
	}
	if err != nil && (strings.Contains(err.Error(), "planted") || strings.ContainsAny(err.Error(), "\n\r\x1b") || len(err.Error()) > 1000) {
		t.Errorf("Get, %s: the error is %.2000q, want one line with nothing of the secret", what, err)
	}
}

// SecretVersions proves a ports.Secrets over a source that keeps the version before: beside what Secrets proves, and with the same open.
func SecretVersions(t *testing.T, open func(t testing.TB) (s ports.Secrets, set func(name, value string))) {
	want := func(t *testing.T, s ports.Secrets, name, value string) {
		t.Helper()
		switch got, err := s.Get(t.Context(), name); {
		case value == "" && (!errors.Is(err, ports.ErrNotFound) || !got.IsZero()):
			t.Errorf("Get %s: got %d bytes, error %v, want ErrNotFound", name, got.Len(), err)
		case value != "" && (err != nil || got.RevealPlaintext() != value):
			t.Errorf("Get %s: got error %v or the wrong value, want %q", name, err, value)
		}
	}
	t.Run("NAME_PREVIOUS is what NAME was before", func(t *testing.T) {
		s, set := open(t)
		want(t, s, "PORTTEST_KEY_PREVIOUS", "")
		for i, value := range []string{"", "first", "second", "third", "fourth"}[1:] {
			set("PORTTEST_KEY", value)
			want(t, s, "PORTTEST_KEY", value)
			want(t, s, "PORTTEST_KEY_PREVIOUS", []string{"", "first", "second", "third"}[i])
		}
		want(t, s, "PORTTEST_OTHER_PREVIOUS", "")
	})
	t.Run("a NAME_PREVIOUS that is given goes before it", func(t *testing.T) {
		s, set := open(t)
		set("PORTTEST_KEY", "first")
		set("PORTTEST_KEY", "second")
		set("PORTTEST_KEY_PREVIOUS", "given")
		want(t, s, "PORTTEST_KEY", "second")
		want(t, s, "PORTTEST_KEY_PREVIOUS", "given")
	})
	t.Run("what nobody means as a secret is not handed out as the previous one", func(t *testing.T) {
		s, set := open(t)
		set("PORTTEST_KEY", "planted-value\nplanted-value")
		set("PORTTEST_KEY", "second")
		got, err := s.Get(t.Context(), "PORTTEST_KEY_PREVIOUS")
		unavailable(t, "a line end within", got, err)
		want(t, s, "PORTTEST_KEY", "second")
	})
}

// SecretOutages proves of a ports.Secrets what it does while its source fails: beside what Secrets proves. Each of the ways, by its name, makes the source fail until the
// function that it answers is called.
func SecretOutages(t *testing.T, open func(t testing.TB) (s ports.Secrets, set func(name, value string), ways map[string]func() (mend func()))) {
	_, _, ways := open(t)
	for _, name := range slices.Sorted(maps.Keys(ways)) {
		t.Run("while there is "+name+" every Get is ErrUnavailable, and good again after it", func(t *testing.T) {
			s, set, ways := open(t)
			set("PORTTEST_KEY", "planted-value")
			mend := ways[name]()
			for _, key := range []string{"PORTTEST_KEY", "PORTTEST_MISSING", "PORTTEST_KEY_PREVIOUS"} {
				got, err := s.Get(t.Context(), key)
				unavailable(t, key, got, err)
			}
			mend()
			if got, err := s.Get(t.Context(), "PORTTEST_KEY"); err != nil || got.RevealPlaintext() != "planted-value" {
				t.Errorf("Get after it: got error %v or the wrong value", err)
			}
			if got, err := s.Get(t.Context(), "PORTTEST_MISSING"); !errors.Is(err, ports.ErrNotFound) || !got.IsZero() {
				t.Errorf("Get of what is not there after it: got %d bytes, error %v, want ErrNotFound", got.Len(), err)
			}
		})
	}
}
