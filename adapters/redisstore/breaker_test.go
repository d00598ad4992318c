package redisstore_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/adapters/redisstore"
)

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := redisstore.NewBreaker()
		try := func(ok bool) {
			t.Helper()
			if !b.Admit() {
				t.Fatal("a call that should be tried is refused")
			}
			b.Done(ok, false)
		}
		try(false)
		try(false)
		try(true) // not three in a row
		try(false)
		try(false)
		try(false)
		// The pause doubles from 100 ms to 5 s, of which at least a half passes.
		for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
			if b.Admit() {
				t.Fatalf("right after a failure, with a pause of %v: somebody is admitted", pause)
			}
			wait(pause/2 - time.Millisecond)
			if b.Admit() {
				t.Fatalf("before a half of %v is over: somebody is admitted", pause)
			}
			wait(pause/2 + 2*time.Millisecond)
			if !b.Admit() {
				t.Fatalf("after %v: nobody is admitted", pause)
			}
			for range 10 {
				if b.Admit() {
					t.Fatal("while one tries another is admitted")
				}
			}
			if pause == 5*time.Second {
				break
			}
			b.Done(false, false)
		}
		b.Done(false, true) // the caller went away: the next may try
		if !b.Admit() {
			t.Fatal("after a caller went away nobody is admitted")
		}
		b.Done(true, false)
		for range 3 {
			if !b.Admit() {
				t.Fatal("after a success somebody is refused")
			}
		}
	})
}

// wait lets the fake clock go on.
func wait(d time.Duration) { <-time.After(d) }
