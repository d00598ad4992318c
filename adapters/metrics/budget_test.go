//go:build !race

package metrics_test

import (
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/metrics"
)

// TestCountingAllocatesNothing: a guarded request, which the guard alone judges in microseconds, pays for being counted with no memory.
func TestCountingAllocatesNothing(t *testing.T) {
	r := metrics.New()
	r.Policies([]string{"auth"})
	if n := testing.AllocsPerRun(1000, func() {
		r.Guarded("admitted", 3*time.Microsecond)
		r.Guarded("nobody foresaw it", 3*time.Microsecond)
		r.Limited("auth")
		r.Visible(time.Millisecond)
		r.Hashed(time.Millisecond, time.Millisecond)
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
