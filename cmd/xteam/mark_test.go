package main

import (
	"os"
	"testing"
)

// TestMarkIn: what was stored last is loaded, nothing of a folder that has none, and only the owner can read it.
func TestMarkIn(t *testing.T) {
	m := markIn(t.TempDir())
	if text, err := m.Load(); err != nil || text != nil {
		t.Errorf("before the first: %q, %v", text, err)
	}
	for _, want := range []string{"a longer one", "one"} {
		if err := m.Store([]byte(want)); err != nil {
			t.Fatal(err)
		}
		if text, err := m.Load(); err != nil || string(text) != want {
			t.Errorf("got %q, %v, want %q", text, err, want)
		}
	}
	if info, err := os.Stat(m.file()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v, want that only its owner reads it", info.Mode(), err)
	}
	if err := markIn("/nowhere").Store(nil); err == nil {
		t.Error("a mark in a folder that is not there was stored")
	}
}
