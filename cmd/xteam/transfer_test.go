package main_test

import (
	"bytes"
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
	go func() {
		done <- xteam.Run(t.Context(), []string{"backup", "copy.tar"}, strings.NewReader(""), &errs, &errs)
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	tooLong := time.After(10 * time.Second)
	for begun := false; !begun; { // it makes its folder before it opens the store
		select {
		case <-tick.C:
			found, err := filepath.Glob(".xteam-backup-*")
			if err != nil {
				t.Fatal(err)
			}
			begun = len(found) > 0
		case code := <-done:
			t.Fatalf("the backup ended with %d while the store was held: %s", code, errs.String())
		case <-tooLong:
			t.Fatal("the backup did not begin")
		}
	}
	if err := holder.Close(); err != nil {
		t.Fatal(err)
	}
	if code := <-done; code != 0 {
		t.Errorf("the backup of a store that came free ended with %d: %s", code, errs.String())
	}
}
