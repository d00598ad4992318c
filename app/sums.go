package app

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/audit"
)

const (
	summed  = 4096 // addresses that are counted one by one between two drains
	sumMost = 20   // of which so many are told of one by one
)

// sums counts refusals that are told and not kept, by kind and address, so that alerts hear of them: a few events stand for any number.
type sums struct {
	mu     sync.Mutex
	counts map[sumKey]uint64
}

// sumKey is what is counted; without an address it is everybody else.
type sumKey struct {
	kind    audit.Kind
	address string
}

func (t *sums) add(k audit.Kind, address string) {
	switch k {
	case audit.RateLimited, audit.AttemptsLimited: // nobody asks from where
		address = ""
	case audit.APIKeyRefused:
		if p := alert.Network(&audit.Event{IPAddress: address}); p.IsValid() {
			address = p.Addr().String() // of a /64 any address is the same client's
		}
	default:
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = map[sumKey]uint64{}
	}
	key := sumKey{k, address}
	if _, known := t.counts[key]; !known && len(t.counts) >= summed {
		key.address = ""
	}
	t.counts[key]++
}

// drain is what was counted since the last time: an event for each of the addresses with the most, and one for all others of a kind. They have no id and no time yet.
func (t *sums) drain() (events []audit.Event) {
	t.mu.Lock()
	counts := t.counts
	t.counts = nil
	t.mu.Unlock()
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b sumKey) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a.kind, b.kind), cmp.Compare(a.address, b.address))
	})
	rest := map[audit.Kind]uint64{}
	told := 0
	event := func(k sumKey, n uint64) {
		events = append(events, audit.Event{Kind: k.kind, Severity: audit.Warning, Outcome: audit.Failure, Actor: System, IPAddress: k.address, Reason: alert.Counted, Details: map[string]string{"of": strconv.FormatUint(n, 10)}})
	}
	for _, k := range keys {
		if k.address == "" || told == sumMost {
			rest[k.kind] += counts[k]
			continue
		}
		told++
		event(k, counts[k])
	}
	for _, k := range slices.Sorted(maps.Keys(rest)) {
		event(sumKey{kind: k}, rest[k])
	}
	return events
}
