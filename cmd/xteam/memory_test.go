package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

// While much is in use the collector runs more often; what the operator has set stays.
func TestKeepSmall(t *testing.T) {
	before := debug.SetGCPercent(most)
	defer debug.SetGCPercent(before)
	percent := func() uint64 {
		is := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(is)
		return is[0].Value.Uint64()
	}
	held := make([]byte, 128<<20)
	runtime.GC()
	run := func(done func() bool) {
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() { defer close(over); keepSmall(ctx) }()
		tick, late := time.NewTicker(10*time.Millisecond), time.After(time.Minute)
		defer tick.Stop()
		for !done() {
			select {
			case <-tick.C:
			case <-over:
				cancel()
				return
			case <-late:
				t.Error("the collector is not run more often")
				cancel()
				<-over
				return
			}
		}
		cancel()
		<-over
	}
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	run(func() bool { return percent() == least })
	if got := percent(); got != most {
		t.Errorf("afterwards it is %d, want %d as before", got, most)
	}
	t.Setenv("GOGC", "80")
	run(func() bool { return false })
	if got := percent(); got != most {
		t.Errorf("it is %d in place of what the operator set", got)
	}
	runtime.KeepAlive(held)
}
