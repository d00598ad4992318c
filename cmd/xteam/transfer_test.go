package main_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/badgerstore"
	xteam "github.com/xteam/xteam/cmd/xteam"
)

// TestBackupWaits: a store that a stop still holds is waited for.
func TestBackupWaits(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("DATA_DIR", "data")
	t.Setenv("BCRYPT_COST", "10")
	var errs bytes.Buffer
	if code := xteam.Run(t.Context(), []string{"users", "create", "--email", "ann@example.com", "--username", "ann", "--password-stdin"}, strings.NewReader("correct-Horse-battery-9-staple\n"), &errs, &errs); code != 0 {
		t.Fatal(errs.String())
	}
	holder, err := badgerstore.Open("data", badgerstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan int)
	told := &heard{want: "opening the stores\n", came: make(chan struct{})}
	go func() {
		done <- xteam.Run(t.Context(), []string{"backup", "copy.tar"}, strings.NewReader(""), io.Discard, told)
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	tooLong := time.After(30 * time.Second)
	for begun := false; !begun; { // it makes its folder before it opens the store
		select {
		case <-tick.C:
			found, err := filepath.Glob(".xteam-backup-*")
			if err != nil {
				t.Fatal(err)
			}
			begun = len(found) > 0
		case code := <-done:
			t.Fatalf("the backup ended with %d while the store was held: %s", code, told.all.String())
		case <-tooLong:
			t.Fatal("the backup did not begin")
		}
	}
	select { // after a second it says what it is at
	case <-told.came:
	case code := <-done:
		t.Fatalf("the backup ended with %d while the store was held: %s", code, told.all.String())
	}
	if err := holder.Close(); err != nil {
		t.Fatal(err)
	}
	if code := <-done; code != 0 {
		t.Errorf("the backup of a store that came free ended with %d: %s", code, told.all.String())
	}
	for _, step := range []string{"copying everything", "comparing the copy", "copying the audit trail", "writing copy.tar"} {
		if !strings.Contains(told.all.String(), "\n"+step+"\n") {
			t.Errorf("it said %q, and not %q", told.all.String(), step)
		}
	}
}

// heard is a stderr of which one line is waited for.
type heard struct {
	want string
	came chan struct{}
	all  bytes.Buffer
}

func (h *heard) Write(b []byte) (int, error) {
	if string(b) == h.want {
		close(h.came)
	}
	return h.all.Write(b)
}

// TestRestoreOfPartOfABackup: a file that a copy left empty, or cut off between two of its members, is no empty system to be put in force.
func TestRestoreOfPartOfABackup(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("DATA_DIR", "data")
	t.Setenv("BCRYPT_COST", "10")
	var out bytes.Buffer
	for _, args := range []string{"users create --email ann@example.com --username ann --password-stdin", "backup copy.tar"} {
		if code := xteam.Run(t.Context(), strings.Fields(args), strings.NewReader("correct-Horse-battery-9-staple\n"), &out, &out); code != 0 {
			t.Fatal(out.String())
		}
	}
	whole, err := os.ReadFile("copy.tar")
	check(t, err)
	cuts := map[string]int{"": 0} // before which member, and where
	for r, at := tar.NewReader(bytes.NewReader(whole)), 0; ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		check(t, err)
		cuts[h.Name] = at
		at += 512 + (int(h.Size)+511)/512*512
	}
	if cuts["MANIFEST"] == 0 {
		t.Fatalf("the members of a backup: %v", cuts)
	}
	for _, member := range []string{"", "MANIFEST"} {
		check(t, os.WriteFile("part.tar", whole[:cuts[member]], 0o600))
		t.Setenv("DATA_DIR", "new"+member)
		out.Reset()
		if code := xteam.Run(t.Context(), []string{"restore", "part.tar"}, nil, &out, &out); code != 1 || !strings.Contains(out.String(), "part.tar is no backup, or is damaged") {
			t.Errorf("cut off before %q: exit %d, %s", member, code, &out)
		}
	}
}
