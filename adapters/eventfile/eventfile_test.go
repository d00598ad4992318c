package eventfile_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xteam/xteam/adapters/eventfile"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
)

func event(n byte) audit.Event {
	return audit.Event{ID: id.Event{n}, Kind: audit.TokenRevoked, UserAgent: "a\r\n{}\x1b\u202e", Reason: strings.Repeat("x", 1<<20), Details: map[string]string{"note": "Bearer planted-planted-planted"}}
}

// ids are the ids of the whole lines of a file.
func ids(t *testing.T, path string) (all []string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte("planted-p")) || bytes.ContainsAny(b, "\r\x1b") {
		t.Errorf("the file holds what it should not")
	}
	for line := range bytes.Lines(b) {
		var e struct{ ID string }
		if json.Unmarshal(line, &e) == nil {
			all = append(all, e.ID[:2])
		}
	}
	return all
}

func TestEventsAreAppendedThroughRotations(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "events.jsonl")
	s := eventfile.New(path)
	deliver := func(events ...audit.Event) {
		t.Helper()
		if err := s.Deliver(t.Context(), events...); err != nil {
			t.Fatal(err)
		}
	}
	check := func(path, want string) {
		t.Helper()
		if got := strings.Join(ids(t, path), " "); got != want {
			t.Errorf("%s holds %q, want %q", path, got, want)
		}
	}
	deliver(event(1), event(2))
	deliver()
	check(path, "01 02")
	if is, err := os.Stat(path); err != nil || is.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", is.Mode(), err)
	}
	if err := os.Rename(path, path+".1"); err != nil { // logrotate, create
		t.Fatal(err)
	}
	deliver(event(3))
	check(path+".1", "01 02")
	check(path, "03")
	if err := os.Truncate(path, 0); err != nil { // logrotate, copytruncate
		t.Fatal(err)
	}
	deliver(event(4))
	check(path, "04")
	if err := os.WriteFile(path, []byte(`{"id":"torn`), 0o600); err != nil {
		t.Fatal(err)
	}
	deliver(event(5))
	check(path, "05")
}

func TestFilesThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	for name, path := range map[string]string{"no folder": filepath.Join(dir, "none", "f"), "a folder": dir, "no regular file": os.DevNull} {
		if err := eventfile.New(path).Deliver(t.Context(), event(1)); err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "planted") {
			t.Errorf("%s: got error %v", name, err)
		}
	}
	if full := "/dev/full"; eventfile.New(full).Deliver(t.Context(), event(1)) == nil {
		t.Error("a full disk takes an event")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := eventfile.New(filepath.Join(dir, "f")).Deliver(ctx, event(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled context: %v", err)
	}
}

// Of CEF each event is a line as well, whatever is in it.
func TestLinesOfCEF(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.cef")
	s := eventfile.NewCEF(path, "1.2")
	if err := s.Deliver(t.Context(), event(1), event(2)); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if len(lines) != 2 || bytes.Contains(b, []byte("planted-p")) || bytes.ContainsAny(b, "\r\x1b") {
		t.Fatalf("%d lines: %.500q", len(lines), b)
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, "CEF:0|XTeam|XTeam|1.2|token_revoked|Token revoked|") || !strings.Contains(line, " externalId=0"+string(rune('1'+i))) || len(line) > 4096 {
			t.Errorf("line %d: %.300q", i, line)
		}
	}
}
