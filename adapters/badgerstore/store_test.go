package badgerstore_test

import (
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(childFolder) != "" {
		child()
	}
	os.Exit(m.Run())
}

func TestNothingIsLeftAfterClose(t *testing.T) {
	before := goleak.IgnoreCurrent()
	for range 3 {
		s := open(t, t.TempDir())
		if err := s.Revocations().Record(t.Context(), tokenEntry(time.Hour)); err != nil {
			t.Fatal(err)
		}
		s.all(t)
		s.close(t)
	}
	err := goleak.Find(before)
	for late := time.Now().Add(30 * time.Second); err != nil && time.Now().Before(late); { // on a slow machine what ends takes a while
		err = goleak.Find(before)
	}
	if err != nil {
		t.Error(err)
	}
}
