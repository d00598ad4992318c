package app_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/xteam/xteam/adapters/diskfiles"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/ports"
)

// at is a node of the same database that keeps files in another folder.
func (f *filing) at(dir string) *app.Uploads {
	f.dir, f.files = dir, diskfiles.New(dir, diskfiles.Options{})
	f.t.Cleanup(func() { _ = f.files.Close() })
	return f.node(f.core)
}

// TestAnotherFolderIsNoticed: before a start that would serve, and by whoever asks for a file all the same; nothing is written to it, taken from it, or forgotten.
func TestAnotherFolderIsNoticed(t *testing.T) {
	f := newFiling(t)
	f.user("ann")
	ann, folder := f.caller(f.signIn("ann")), f.dir
	if err := f.uploads.Recognise(t.Context(), false); err != nil {
		t.Fatalf("before there was a file: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(folder, diskfiles.MarkName)); err == nil {
		t.Error("the folder has a mark before anybody needs one")
	}
	kept, err := send(t.Context(), f.uploads, ann, "a.md", "text")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.at(folder).Recognise(t.Context(), true); err != nil {
		t.Fatalf("the same folder: %v", err)
	}
	other := t.TempDir() // of another system
	if err := os.WriteFile(filepath.Join(other, diskfiles.MarkName), []byte("abc123\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, dir := range map[string]string{"an empty folder": t.TempDir(), "no folder": filepath.Join(t.TempDir(), "none"), "the folder of another system": other} {
		u := f.at(dir)
		var strange *app.StrangeFilesError
		if err := u.Recognise(t.Context(), true); !errors.As(err, &strange) || len(strange.Want) != 32 {
			t.Errorf("%s: got error %v, want a StrangeFilesError", what, err)
		}
		if err := u.Settle(t.Context()); !errors.As(err, &strange) {
			t.Errorf("%s is settled: got error %v", what, err)
		}
		if _, err := send(t.Context(), u, ann, "b.md", "text"); !errors.Is(err, ports.ErrUnavailable) {
			t.Errorf("a file for %s: got error %v, want ErrUnavailable", what, err)
		}
		if _, _, err := u.Open(t.Context(), ann, kept.ID); !errors.Is(err, ports.ErrUnavailable) {
			t.Errorf("a file from %s: got error %v, want ErrUnavailable", what, err)
		}
		if err := u.Delete(t.Context(), home, ann, kept.ID); !errors.Is(err, ports.ErrUnavailable) {
			t.Errorf("a deletion in %s: got error %v, want ErrUnavailable", what, err)
		}
		if n, err := u.DeleteOf(t.Context(), root, ann.User()); n != 0 || !errors.Is(err, ports.ErrUnavailable) {
			t.Errorf("all are deleted in %s: got %d, error %v, want ErrUnavailable", what, n, err)
		}
		if all, err := u.List(t.Context(), ann); err != nil || len(all) != 1 {
			t.Errorf("with %s: %d files are known, error %v", what, len(all), err)
		}
	}
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(folder, moved); err != nil {
		t.Fatal(err)
	}
	u := f.at(moved)
	if err := u.Recognise(t.Context(), false); err != nil {
		t.Errorf("the folder where it was moved to: %v", err)
	}
	mark, err := os.ReadFile(filepath.Join(moved, diskfiles.MarkName))
	if err != nil {
		t.Fatal(err)
	}
	byHand := t.TempDir() // all that an operator does whose files are lost
	if err := os.WriteFile(filepath.Join(byHand, diskfiles.MarkName), mark, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.at(byHand).Recognise(t.Context(), false); err != nil {
		t.Errorf("a folder that was marked by hand: %v", err)
	}
	if err := os.WriteFile(filepath.Join(byHand, diskfiles.MarkName), []byte(strings.Repeat("f", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.at(byHand).Recognise(t.Context(), false); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("what is no mark: got error %v", err)
	}
}

// TestManyNodesMarkOnce: nodes that begin together on one folder agree; a database that was put back from before knows its folder again.
func TestManyNodesMarkOnce(t *testing.T) {
	f := newFiling(t)
	core := *f.core
	core.Stores.Turns = make(oneTurn, 1)
	nodes := []*app.Uploads{f.node(&core), f.node(&core)}
	var all sync.WaitGroup
	for i := range 8 {
		u := nodes[i%2]
		all.Go(func() {
			if err := u.Recognise(t.Context(), true); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if err := f.node(f.core).Recognise(t.Context(), true); err != nil {
		t.Errorf("after all: %v", err)
	}
	before := newFiling(t)
	if err := before.at(f.dir).Recognise(t.Context(), false); err != nil {
		t.Errorf("by a database that knows of no mark: %v", err)
	}
	if err := before.at(t.TempDir()).Recognise(t.Context(), true); err == nil {
		t.Error("it knows of one now, and took another folder")
	}
}
