package vaultsecrets_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/xteam/xteam/adapters/vaultsecrets"
	"github.com/xteam/xteam/ports"
)

func wants(t testing.TB, s ports.Secrets, name, value string) {
	t.Helper()
	if got, err := s.Get(t.Context(), name); err != nil || got.RevealPlaintext() != value {
		t.Errorf("Get(%s) = %q, %v; want %q", name, got.RevealPlaintext(), err, value)
	}
}

func wantsNone(t testing.TB, s ports.Secrets, name string) {
	t.Helper()
	if got, err := s.Get(t.Context(), name); !errors.Is(err, ports.ErrNotFound) || errors.Is(err, ports.ErrUnavailable) || !got.IsZero() {
		t.Errorf("Get(%s) = %q, %v; want ErrNotFound", name, got.RevealPlaintext(), err)
	}
}

// wantsNoUse wants an error that leaves the caller with what it has, and that says this.
func wantsNoUse(t testing.TB, s ports.Secrets, name string, says ...string) {
	t.Helper()
	got, err := s.Get(t.Context(), name)
	if !got.IsZero() {
		t.Errorf("Get(%s) answers a value beside %v", name, err)
	}
	sentence(t, err, says...)
}

// refuses wants Open to fail in one such sentence.
func refuses(t testing.TB, o vaultsecrets.Options, says ...string) {
	t.Helper()
	s, err := vaultsecrets.Open(t.Context(), o)
	if s != nil {
		s.Close()
	}
	sentence(t, err, says...)
}

// sentence wants a refusal on one line, of bounded length, that says each of these and holds nothing that was planted.
func sentence(t testing.TB, err error, says ...string) {
	t.Helper()
	if !errors.Is(err, ports.ErrUnavailable) || errors.Is(err, ports.ErrNotFound) {
		t.Errorf("got error %v, want ErrUnavailable", err)
		return
	}
	text := err.Error()
	for _, part := range says {
		if !strings.Contains(text, part) {
			t.Errorf("the error is %q; want it to say %q", text, part)
		}
	}
	if strings.Contains(text, "planted") || strings.ContainsAny(text, "\n\r\t\x1b") || len(text) > 600 {
		t.Errorf("the error is %q: want one line, and nothing of what was planted", text)
	}
}

// together runs f at once in n goroutines.
func together(t testing.TB, n int, f func()) {
	t.Helper()
	var all sync.WaitGroup
	for range n {
		all.Go(f)
	}
	all.Wait()
}
