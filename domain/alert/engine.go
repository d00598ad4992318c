package alert

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/instant"
)

const (
	maxGroups = 100_000 // of one rule that are counted exactly
	coarse    = 1 << 16 // counters for all others, each of many groups: what they count comes early rather than late
	sampled   = 3
	hours     = 24
	unusual   = 5  // times the usual of an hour
	fewest    = 20 // in an hour that are unusual at all
)

// Engine holds events against rules. It remembers no more than Rule.Window of each group, of at most maxGroups groups for each rule and, of each, at most Threshold moments; what is beyond shares
// counters. It is for one goroutine.
type Engine struct {
	rules []*state
	seed  maphash.Seed
	base  instant.Instant // of moments
	now   instant.Instant // the latest time of an event: time does not go back
	event string          // the one that is taken, as a sample; made once, and shared
}

// state is what is remembered for one rule.
type state struct {
	Rule
	groups map[uint64]*window
	swept  moment
	shared []shared // nil until there are too many groups
	hours  Hours
}

// moment is in sixteenths of a second since the base.
type moment uint32

type seen struct {
	at   moment
	what uint32 // of a rule that counts different ones; else 0
}

// window is what one group has shown of late.
type window struct {
	seen   []seen // the oldest first, at most Threshold
	count  uint64 // since first
	first  moment
	quiet  moment // not told of before; 0: at any time
	sample []string
}

// shared counts any number of groups in two halves of a window.
type shared struct {
	began     moment
	this, was uint32
	quiet     moment
}

// Hours is how many of a rule's events each of the last hours had, the current one last. It is kept when another node takes over.
type Hours struct {
	Hour   int64 // since 1970
	Counts [hours + 1]uint32
}

// NewEngine has seen nothing.
func NewEngine(rules []Rule) *Engine {
	e := &Engine{seed: maphash.MakeSeed()}
	for _, r := range rules {
		if r.Threshold > 0 {
			e.rules = append(e.rules, &state{Rule: r, groups: map[uint64]*window{}})
		}
	}
	return e
}

// Longest is the longest window: what is older does not count any more.
func (e *Engine) Longest() (d time.Duration) {
	for _, r := range e.rules {
		d = max(d, r.Window)
	}
	return d
}

// Usual is what an hour usually has, of the rule that asks for it, to be kept; Restore takes it back.
func (e *Engine) Usual() []byte {
	for _, r := range e.rules {
		if r.usual {
			b := binary.AppendVarint(nil, r.hours.Hour)
			for _, n := range r.hours.Counts {
				b = binary.AppendUvarint(b, uint64(n))
			}
			return b
		}
	}
	return nil
}

// Restore takes back what Usual answered. What cannot be read is nothing.
func (e *Engine) Restore(b []byte) {
	for _, r := range e.rules {
		if !r.usual {
			continue
		}
		var h Hours
		n := 0
		if h.Hour, n = binary.Varint(b); n <= 0 {
			return
		}
		for i := range h.Counts {
			b = b[n:]
			var v uint64
			if v, n = binary.Uvarint(b); n <= 0 {
				return
			}
			h.Counts[i] = uint32(min(v, 1<<32-1))
		}
		r.hours = h
	}
}

// Take holds one event against every rule and answers what is to be told of. again says that it was judged before, on another node: it counts, and nothing is told. An event from after now is of
// a node whose clock is ahead, and is taken for one of now.
func (e *Engine) Take(v *audit.Event, now instant.Instant, again bool) (fired []Firing) {
	if v.Kind == audit.AlertRaised || v.Kind == audit.AlertAcknowledged || v.Kind == audit.AlertSilenced {
		return nil
	}
	if e.base == 0 {
		e.base = min(v.Time, now).Add(-time.Hour)
	}
	e.now, e.event = max(e.now, min(v.Time, now)), ""
	at := e.moment(e.now)
	for _, r := range e.rules {
		if r.of == nil || !r.of(v) {
			continue
		}
		if f, ok := e.count(r, v, at, again); ok {
			fired = append(fired, f)
		}
	}
	return fired
}

func (e *Engine) moment(t instant.Instant) moment {
	return moment(min(max(t.Sub(e.base)*16/time.Second, 1), 1<<32-1))
}

func (e *Engine) instant(m moment) instant.Instant {
	return e.base.Add(time.Duration(m) * time.Second / 16)
}

func span(d time.Duration) moment {
	return moment(max(d*16/time.Second, 1))
}

// Counted is the reason of an event that stands for others, which were told and not kept; how many, its detail "of" says.
const Counted = "counted"

func weight(v *audit.Event) uint64 { return Weight(v.Actor, v.Reason, v.Details["of"]) }

// Weight is how many an event stands for, by its actor, its reason and its detail "of": one that sums others up says it.
func Weight(actor, reason, of string) uint64 {
	if reason != Counted || actor != "system" {
		return 1
	}
	n, err := strconv.ParseUint(of, 10, 32)
	if err != nil || n == 0 {
		return 1
	}
	return n
}

func (e *Engine) count(r *state, v *audit.Event, at moment, again bool) (Firing, bool) {
	n := weight(v)
	if r.usual && !again {
		r.hours.add(e.now, n)
	}
	group, what := "", ""
	if r.group != nil {
		if group = r.group(v); group == "" {
			return Firing{}, false
		}
	}
	if r.what != nil {
		if what = r.what(v); what == "" {
			return Firing{}, false
		}
	}
	key := maphash.String(e.seed, group)
	w := r.groups[key]
	if w == nil {
		r.sweep(at)
		if len(r.groups) >= maxGroups {
			return e.share(r, v, key, n, at, again)
		}
		w = &window{first: at}
		r.groups[key] = w
	}
	return e.add(r, w, v, group, uint32(maphash.String(e.seed, what)), n, at, again)
}

// sweep forgets the groups that have shown nothing for a window, now and then.
func (r *state) sweep(at moment) {
	every := max(span(r.Window)/4, 1)
	if len(r.groups) >= maxGroups {
		every = min(every, 64)
	}
	if at < r.swept+every {
		return
	}
	r.swept = at
	for key, w := range r.groups {
		if old := w.seen[len(w.seen)-1].at + span(r.Window); old < at && w.quiet < at {
			delete(r.groups, key)
		}
	}
}

func (e *Engine) add(r *state, w *window, v *audit.Event, group string, what uint32, n uint64, at moment, again bool) (Firing, bool) {
	for len(w.seen) > 0 && w.seen[0].at+span(r.Window) <= at {
		w.seen = w.seen[1:]
	}
	if len(w.seen) == 0 {
		w.first, w.count, w.seen = at, 0, nil
	}
	if r.what != nil {
		n = 1
		for i, s := range w.seen {
			if s.what == what {
				w.seen, n = append(w.seen[:i], w.seen[i+1:]...), 0
				break
			}
		}
	}
	w.count += n
	for range min(max(n, 1), uint64(r.Threshold)) {
		if len(w.seen) >= r.Threshold {
			w.seen = w.seen[1:]
		}
		w.seen = append(w.seen, seen{at, what})
	}
	if len(w.seen)+sampled > r.Threshold || r.usual { // of a group that is far from being told of, none is kept
		if len(w.sample) == sampled {
			w.sample = w.sample[1:]
		}
		w.sample = append(w.sample, e.sampleOf(v))
	}
	most := r.usual && r.hours.unusual()
	if again || len(w.seen) < r.Threshold && !most || w.quiet > at {
		return Firing{}, false
	}
	w.quiet = at + span(r.Cooldown)
	return e.firing(r, group, e.instant(w.first), max(w.count, uint64(len(w.seen))), slices.Clone(w.sample)), true
}

// share counts a group among others, in halves of a window, so that the sum is of a whole window at least. Whom it is about is not known then: whoever came last may have done next to nothing.
func (e *Engine) share(r *state, v *audit.Event, key, n uint64, at moment, again bool) (Firing, bool) {
	if r.shared == nil {
		r.shared = make([]shared, coarse)
	}
	s := &r.shared[key%coarse]
	switch half := span(r.Window); {
	case at >= s.began+2*half:
		s.began, s.this, s.was = at, 0, 0
	case at >= s.began+half:
		s.began, s.this, s.was = s.began+half, 0, s.this
	}
	s.this += uint32(min(n, 1<<20))
	if uint64(s.this)+uint64(s.was) < uint64(r.Threshold) || s.quiet > at || again {
		return Firing{}, false
	}
	s.quiet = at + span(r.Cooldown)
	return e.firing(r, More, e.instant(s.began), uint64(s.this)+uint64(s.was), []string{e.sampleOf(v)}), true
}

func (e *Engine) firing(r *state, group string, since instant.Instant, count uint64, sample []string) Firing {
	return fire(r.Rule, group, since, e.now, count, sample)
}

func fire(r Rule, group string, since, last instant.Instant, count uint64, sample []string) Firing {
	f := Firing{ID: idOf(r.Name, group, since), Rule: r.Name, Severity: r.Severity, Group: group, Since: since, Last: last, Count: count, Sample: sample}
	if r.contain != nil && group != More {
		f.Contain = r.contain(f.ID, group)
	}
	return f
}

// Fire is a firing of a rule that the application itself judges; false while the rule is off.
func Fire(rules []Rule, name string, now instant.Instant, why string) (Firing, bool) {
	for _, r := range rules {
		if r.Name == name && r.Threshold > 0 {
			return fire(r, "", now, now, 1, []string{why}), true
		}
	}
	if name == TestAlert {
		return fire(Rule{Name: TestAlert, Severity: audit.Info}, "", now, now, 1, []string{why}), true
	}
	return Firing{}, false
}

func (e *Engine) sampleOf(v *audit.Event) string {
	if e.event == "" {
		e.event = strings.TrimSpace(v.ID.String() + " " + string(v.Kind) + " " + v.IPAddress)
	}
	return e.event
}

// networkOf is an address, of IPv6 its /64; what is no address is empty.
func networkOf(text string) string {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return ""
	}
	if a = a.Unmap().WithZone(""); a.Is4() {
		return a.String()
	}
	p, _ := a.Prefix(64)
	return p.String()
}

func (h *Hours) add(t instant.Instant, n uint64) {
	hour := t.Seconds() / 3600
	switch past := hour - h.Hour; {
	case past < 0: // it came late
	case h.Hour == 0, past > hours:
		*h = Hours{Hour: hour}
	case past > 0:
		copy(h.Counts[:], h.Counts[past:])
		clear(h.Counts[len(h.Counts)-int(past):])
		h.Hour = hour
	}
	h.Counts[hours] += uint32(min(n, 1<<20))
}

// unusual reports whether the hour has several times what the hours before had on average, since the first that is known; there must be three.
func (h *Hours) unusual() bool {
	var sum, known uint64
	for _, n := range h.Counts[:hours] {
		if sum += uint64(n); sum > 0 {
			known++
		}
	}
	return known >= 3 && h.Counts[hours] >= fewest && uint64(h.Counts[hours])*known >= unusual*sum
}
