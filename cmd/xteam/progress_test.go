package main_test

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	xteam "github.com/xteam/xteam/cmd/xteam"
)

// TestProgress: who is quick says nothing; who is not says after a second what it is at, then each step, and nothing once it is over.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var errs bytes.Buffer
		step, end := xteam.Progress(&errs)
		step("one")
		after(900 * time.Millisecond)
		if errs.Len() > 0 {
			t.Errorf("within a second: %q", &errs)
		}
		step("two")
		after(100 * time.Millisecond)
		if got := errs.String(); got != "two\n" {
			t.Errorf("after a second: %q", got)
		}
		step("three")
		after(time.Minute)
		step("four")
		end()
		step("five")
		if got := errs.String(); got != "two\nthree\nfour\n" {
			t.Errorf("got %q", got)
		}

		errs.Reset()
		step, end = xteam.Progress(&errs)
		step("one")
		end()
		after(time.Minute)
		if errs.Len() > 0 {
			t.Errorf("after its end: %q", &errs)
		}
	})
}

// after lets time pass, and all that is due by then.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
