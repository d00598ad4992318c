package apikey

import (
	"net/netip"
	"slices"
	"time"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/session"
)

const (
	// MaxNetworks is how many networks of a key are kept for people to read; the one that it has not been used from for longest goes.
	MaxNetworks = 8
	// Roams is for how long a key that is used from more networks than are known of it (session.MaxPlaces) is not told of again, nor any new network of its.
	Roams = 30 * day
	// Unusually is how many times the usual are unusual.
	Unusually = 10

	fewestUses = 50 // in an hour that are unusual at all
	knownHours = 5  // with uses, before anything is usual
	slowness   = 8  // the hour before counts for one in so many
	most       = 1 << 40
)

// Networks are the last ones that a key was used from, the latest first; the others are zero. They are for people: what is new is decided by Key.Known.
type Networks [MaxNetworks]netip.Prefix

// List is the networks without the zero ones.
func (n Networks) List() []netip.Prefix {
	return slices.DeleteFunc(n[:], func(p netip.Prefix) bool { return !p.IsValid() })
}

// with has p be the latest.
func (n Networks) with(p netip.Prefix) Networks {
	at := slices.Index(n[:], p)
	if at < 0 {
		at = len(n) - 1
	}
	copy(n[1:at+1], n[:at])
	n[0] = p
	return n
}

// Habit is how often a key is used. Hours in which it is not used at all say nothing: what works through the night is as usual as what goes on all day.
type Habit struct {
	Hour    int64  // since 1970, of the latest use
	Uses    uint64 // within that hour
	Unusual bool   // it was seen that they are many
	Average uint64 // of the hours before in which it was used, the later ones counting for more, in 256ths
	Hours   uint32 // how many of those there were
}

// Usual is how often the key is used in an hour in which it is; 0 until that is known.
func (h Habit) Usual() uint64 {
	if h.Hours < knownHours {
		return 0
	}
	return (h.Average + 128) / 256
}

// In is how often it was used within the hour of now.
func (h Habit) In(now instant.Instant) uint64 {
	if h.Hour != hourOf(now) {
		return 0
	}
	return h.Uses
}

func hourOf(t instant.Instant) int64 { return t.Seconds() / 3600 }

// used adds uses, and reports whether the hour has become unusual by them. What comes late is not held against any hour; one that is yet to come was told by a clock that was ahead.
func (h Habit) used(n uint64, at instant.Instant) (Habit, bool) {
	switch hour := hourOf(at); {
	case hour == h.Hour-1:
		return h, false
	case hour < h.Hour:
		h.Hour, h.Uses, h.Unusual = hour, 0, false
	case hour > h.Hour:
		if h.Uses > 0 {
			weight := min(uint64(h.Hours)+1, slowness)
			h.Average = (h.Average*(weight-1) + min(h.Uses, most)*256) / weight
			h.Hours = min(h.Hours+1, most>>20)
		}
		h.Hour, h.Uses, h.Unusual = hour, 0, false
	}
	h.Uses += n
	if h.Unusual || h.Hours < knownHours || h.Uses < fewestUses || min(h.Uses, most)*256 < Unusually*h.Average {
		return h, false
	}
	h.Unusual = true
	return h, true
}

// Use is how a key was used for a while, on one node.
type Use struct {
	N        uint64
	Last     instant.Instant
	From     session.Origin // of the last
	Networks []netip.Prefix // of all, in the order in which they came, each once; of many that of the last may be missing
}

// Noticed is what is unusual about uses.
type Noticed struct {
	Networks []netip.Prefix // that the key was not used from before; not the very first one, and none of a key that roams
	Roams    []netip.Prefix // the same of a key that was used from more networks within Roams than are known of it: it is told of once in that time, whatever others come
	Unusual  bool           // the hour has Unusually times the usual by now
}

// Used adds uses. They may be told late, and out of order.
func (k Key) Used(u Use) (Key, Noticed) {
	var seen Noticed
	k.Known = k.known()
	before, last := k.Known, u.From.Network()
	first := last // of all times, if none is known
	if len(u.Networks) > 0 {
		first = u.Networks[0]
	}
	for _, p := range append(slices.DeleteFunc(slices.Clone(u.Networks), func(p netip.Prefix) bool { return p == last }), last) {
		if !p.IsValid() {
			continue
		}
		fresh := before.Last(p) == 0 && (before != (session.Places{}) || p != first)
		roams := fresh && k.Known.Since(u.Last.Add(-Roams)).Len() == session.MaxPlaces
		k.Networks, k.Known = k.Networks.with(p), k.Known.With(p, u.Last)
		switch {
		case roams:
			seen.Roams = append(seen.Roams, p)
		case fresh:
			seen.Networks = append(seen.Networks, p)
		}
	}
	switch {
	case seen.Roams == nil:
	case k.Roamed != 0 && u.Last < k.Roamed.Add(Roams):
		seen.Roams = nil
	default:
		k.Roamed, seen.Roams, seen.Networks = u.Last, append(seen.Networks, seen.Roams...), nil
	}
	k.Habit, seen.Unusual = k.Habit.used(u.N, u.Last)
	k.Uses += u.N
	if u.Last >= k.LastUsed {
		k.LastUsed, k.LastFrom = u.Last, u.From
	}
	return k, seen
}

// known is what is known of a key, of a version too that kept eight networks, or the last one alone.
func (k *Key) known() session.Places {
	if k.Known != (session.Places{}) {
		return k.Known
	}
	known := session.Places{}.With(k.LastFrom.Network(), k.LastUsed)
	for _, p := range slices.Backward(k.Networks.List()) {
		known = known.With(p, k.LastUsed)
	}
	return known
}

// warnings are how long before its end the owner of a key is warned, the earliest first.
var warnings = [...]time.Duration{14 * day, day}

// FirstWarning is how long before its end the owner of a key is warned first.
const FirstWarning = 14 * day

// Warn reports whether its owner is to be warned now that the key ends, and notes it: once each time, of the nearest alone when several have become due. There is no warning of the end of a key that another
// has taken the place of, or that has ended; nor before one that the key was made with no more time than that.
func (k Key) Warn(now instant.Instant) (Key, bool) {
	if !k.Successor.IsZero() || k.Refusal(now) != nil {
		return k, false
	}
	due := k.Warned
	for i, before := range warnings {
		if at := k.Expires.Add(-before); now >= at && k.Created < at {
			due = max(due, uint8(i)+1)
		}
	}
	if due == k.Warned {
		return k, false
	}
	k.Warned = due
	return k, true
}
