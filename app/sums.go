package app

import (
	"bytes"
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"sync"

	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
)

const (
	summed  = 4096 // addresses that are counted one by one between two drains, and as many API keys
	sumMost = 20   // of which so many are told of one by one
)

// sums counts refusals that are told and not kept, by kind and address, and those of API keys that are known by key too, so that alerts hear of them: a few events stand for any number.
type sums struct {
	mu sync.Mutex
	sum
}

// sum is what was counted.
type sum struct {
	counts map[sumKey]uint64
	keys   map[sumOwned]uint64
}

// sumOwned is an API key that is known, and whose it is.
type sumOwned struct {
	key   id.APIKey
	owner id.User
}

// sumKey is what is counted; without an address it is everybody else. Of IPv6 it is the first of a /64, where any address is the same client's.
type sumKey struct {
	kind    audit.Kind
	address netip.Addr
}

func (t *sums) add(f *refusal) {
	k, owned := sumKey{kind: f.kind}, sumOwned{}
	switch f.kind {
	case audit.RateLimited, audit.AttemptsLimited, audit.SignInHeldBack: // nobody asks from where
	case audit.APIKeyRefused:
		k.address, owned = client(f.request.Origin.Address).Addr(), sumOwned{f.key, f.subject}
	default:
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count(k, owned, 1)
}

// count adds so many of one kind, and of an API key unless it is zero. What there is no room for by itself is counted among all others.
func (t *sum) count(k sumKey, owned sumOwned, n uint64) {
	if t.counts == nil {
		t.counts, t.keys = map[sumKey]uint64{}, map[sumOwned]uint64{}
	}
	if !owned.key.IsZero() && (len(t.keys) < summed || t.keys[owned] > 0) {
		t.keys[owned] += n
	}
	if _, known := t.counts[k]; !known && len(t.counts) >= summed {
		k.address = netip.Addr{}
	}
	t.counts[k] += n
}

// take takes what was counted since the last time.
func (t *sums) take() sum {
	t.mu.Lock()
	defer t.mu.Unlock()
	is := t.sum
	t.sum = sum{}
	return is
}

// restore counts what was taken once more, and what has come since with it: both need no more room than one of them could.
func (t *sums) restore(was sum) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, n := range was.counts {
		t.count(k, sumOwned{}, n)
	}
	for owned, n := range was.keys {
		if len(t.keys) < summed || t.keys[owned] > 0 {
			t.keys[owned] += n
		}
	}
}

// events tell of what was counted: one for each of the addresses with the most, and one for all others of a kind; and one for each of the API keys with the most. They have no id and no time yet.
func (t *sum) events() (events []audit.Event) {
	counts, owned := t.counts, t.keys
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b sumKey) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a.kind, b.kind), a.address.Compare(b.address))
	})
	rest := map[audit.Kind]uint64{}
	told := 0
	event := func(k sumKey, n uint64) {
		e := audit.Event{Kind: k.kind, Severity: audit.Warning, Outcome: audit.Failure, Actor: System, Reason: alert.Counted, Details: map[string]string{"of": strconv.FormatUint(n, 10)}}
		if k.address.IsValid() {
			e.IPAddress = k.address.String()
		}
		events = append(events, e)
	}
	for _, k := range keys {
		if !k.address.IsValid() || told == sumMost {
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
		return cmp.Or(cmp.Compare(owned[b], owned[a]), bytes.Compare(a.key[:], b.key[:]))
	})
	for _, k := range most[:min(len(most), sumMost)] {
		event(sumKey{kind: audit.APIKeyRefused}, owned[k])
		e := &events[len(events)-1]
		e.Subject, e.Details["api_key"] = k.owner.String(), k.key.String()
	}
	return events
}
