package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// allowance is how much is allocated between two collections, whatever is in use: of a great heap nearly all are revocations, which take a collection no time. It is at least a tenth of what
	// is in use, and at most as much again.
	allowance = 12 << 20
	least     = 10
	most      = 100
	paced     = time.Second / 4
)

// keepSmall sees to it, until ctx ends, that what is in use on memory does not double before it is collected: a node that holds a million revocations is not to take twice what they
// need. What the operator has set by GOGC or GOMEMLIMIT goes before it.
func keepSmall(ctx context.Context) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	percent := uint64(most)
	defer debug.SetGCPercent(debug.SetGCPercent(most))
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(paced)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(live)
		want := min(max(allowance*100/max(live[0].Value.Uint64(), 1), least), most)
		if want > percent+percent/8 || want < percent-percent/8 {
			percent = want
			debug.SetGCPercent(int(percent))
		}
	}
}
