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
	summed  = 4096 // addresses that are counted one by one between two drains, and as many API keys
	sumMost = 20   // of which so many are told of one by one
)

// sums counts refusals that are told and not kept, by kind and address, and those of API keys that are known by key too, so that alerts hear of them: a few events stand for any number.
type sums struct {
	mu     sync.Mutex
	counts map[sumKey]uint64
	keys   map[sumOwned]uint64
}

// sumOwned is an API key that is known, and whose it is.
type sumOwned struct{ key, owner string }

// sumKey is what is counted; without an address it is everybody else.
type sumKey struct {
	kind    audit.Kind
	address string
}

func (t *sums) add(e *audit.Event) {
	k, address, kid := e.Kind, e.IPAddress, ""
	switch k {
	case audit.RateLimited, audit.AttemptsLimited: // nobody asks from where
		address = ""
	case audit.APIKeyRefused:
		if p := alert.Network(&audit.Event{IPAddress: address}); p.IsValid() {
			address = p.Addr().String() // of a /64 any address is the same client's
		}
		kid = e.Details["api_key"]
	default:
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if owned := (sumOwned{kid, e.Subject}); kid != "" && (len(t.keys) < summed || t.keys[owned] > 0) {
		if t.keys == nil {
			t.keys = map[sumOwned]uint64{}
		}
		t.keys[owned]++
	}
	if t.counts == nil {
		t.counts = map[sumKey]uint64{}
	}
	key := sumKey{k, address}
	if _, known := t.counts[key]; !known && len(t.counts) >= summed {
		key.address = ""
	}
	t.counts[key]++
}

// drain is what was counted since the last time: an event for each of the addresses with the most, and one for all others of a kind; and one for each of the API keys with the most. They have no id and no time yet.
func (t *sums) drain() (events []audit.Event) {
	t.mu.Lock()
	counts, owned := t.counts, t.keys
	t.counts, t.keys = nil, nil
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
	most := slices.SortedFunc(maps.Keys(owned), func(a, b sumOwned) int {
		return cmp.Or(cmp.Compare(owned[b], owned[a]), cmp.Compare(a.key, b.key))
	})
	for _, k := range most[:min(len(most), sumMost)] {
		event(sumKey{kind: audit.APIKeyRefused}, owned[k])
		e := &events[len(events)-1]
		e.Subject, e.Details["api_key"] = k.owner, k.key
	}
	return events
}
