package envsecrets_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/xteam/xteam/adapters/envsecrets"
	"github.com/xteam/xteam/ports"
	"github.com/xteam/xteam/ports/porttest"
)

func environment(pairs map[string]string) *envsecrets.Env {
	return envsecrets.New(func(name string) (string, bool) { v, ok := pairs[name]; return v, ok })
}

func TestSecrets(t *testing.T) {
	porttest.Secrets(t, func(testing.TB) (ports.Secrets, func(name, value string)) {
		pairs := map[string]string{}
		return environment(pairs), func(name, value string) { pairs[name] = value }
	})
}

func TestWhatTheEnvironmentHas(t *testing.T) {
	pairs := map[string]string{"KEY": "value", "EMPTY": "", "SPACES": "  two words ", "LONG": strings.Repeat("x", envsecrets.MaxSecret), "ODD": "é\xff$`'\""}
	env := environment(pairs)
	for _, name := range []string{"KEY", "SPACES", "LONG", "ODD"} {
		if got, err := env.Get(t.Context(), name); got.RevealPlaintext() != pairs[name] || err != nil {
			t.Errorf("Get(%s) = %q, %v; want %q", name, got.RevealPlaintext(), err, pairs[name])
		}
	}
	for _, name := range []string{"EMPTY", "ABSENT"} {
		if got, err := env.Get(t.Context(), name); !errors.Is(err, ports.ErrNotFound) || !got.IsZero() {
			t.Errorf("Get(%s) = %v, want ErrNotFound", name, err)
		}
	}
	pairs["KEY"] = "another"
	if got, _ := env.Get(t.Context(), "KEY"); got.RevealPlaintext() != "another" {
		t.Errorf("Get(KEY) = %q after a change, want what it is now", got.RevealPlaintext())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := env.Get(ctx, "KEY"); !errors.Is(err, context.Canceled) || !got.IsZero() {
		t.Errorf("Get with a cancelled context = %v", err)
	}
}

func TestWhatNobodyMeansAsASecret(t *testing.T) {
	planted := "planted-and-secret-0123456789abcdef"
	for name, value := range map[string]string{
		"a line end":          planted + "\n",
		"a Windows line end":  planted + "\r\n",
		"a line end within":   planted + "\n" + planted,
		"a tab":               planted + "\t",
		"a NUL":               "\x00" + planted,
		"a DEL":               planted + "\x7f",
		"a line end alone":    "\n",
		"a byte more than 64": strings.Repeat(planted, envsecrets.MaxSecret/len(planted)+1),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := environment(map[string]string{"SECRET_KEY": value}).Get(t.Context(), "SECRET_KEY")
			if !errors.Is(err, ports.ErrUnavailable) || errors.Is(err, ports.ErrNotFound) || !got.IsZero() {
				t.Fatalf("Get = %v, want ErrUnavailable", err)
			}
			if text := err.Error(); !strings.HasPrefix(text, "SECRET_KEY ") || strings.Contains(text, "planted") || strings.ContainsAny(text, "\n\x00") {
				t.Errorf("the error is %q; want it to name the setting and nothing of the value", text)
			}
		})
	}
}
