// Package alert says what of the security events somebody is to be told of at once: by a table of rules, and an engine that holds events against them in bounded memory.
package alert

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/instant"
)

// Alert is something that has gone on, of one rule and one group: an account, an address, a key, or everybody.
type Alert struct {
	ID       string // 16 hexadecimal digits
	Rule     string
	Severity audit.Severity
	Group    string // whom it is about, as the rule groups: a user id or an e-mail address, an address or network, a key's id; empty: everybody
	Since    instant.Instant
	Last     instant.Instant // the last event that it counts
	Count    uint64          // events, or accounts or addresses where the rule counts those
	Raised   uint32          // how often it was told of
	Position uint64          // behind which the events that it counts are kept
	Told     instant.Instant // when last; 0: never, as it is silenced
	Sample   []string        // the last few events, as "id kind address"
	Contain  string          // the command that contains it, ready to be pasted; empty: there is none
	Acked    instant.Instant // 0: it is open
	AckedBy  string
}

// Open reports whether nobody has acknowledged it.
func (a *Alert) Open() bool { return a.Acked == 0 }

// Firing is what the engine answers: an alert that is raised, or raised again.
type Firing = Alert

// idOf is the same for the same rule, group and beginning, on every node.
func idOf(rule, group string, since instant.Instant) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", rule, group, since))
	return hex.EncodeToString(sum[:8])
}

// Silence keeps a rule from being told of, for one group or for all.
type Silence struct {
	Rule  string
	Group string // "*": every group
	Until instant.Instant
	By    string
}

// Bounds of a Book.
const (
	MaxAlerts   = 500
	MaxSilences = 100
	maxOfRule   = 50 // open ones; who invents names does not fill the book
)

// The refusals.
var (
	ErrUnknown = errors.New("there is no alert with this id: the list shows those that are kept")
	ErrFull    = fmt.Errorf("%d silences are in force: wait until some end", MaxSilences)
)

// Book is every alert that is kept, the newest last, and what is silenced.
type Book struct {
	Alerts   []Alert
	Silences []Silence
}

// Raise takes a firing up. An open alert of the same rule and group goes on; else a new one begins, or, when its rule has as many as one may have, that of More. It answers the alert as it is
// kept, and whether anybody is to be told: not of what is known already, as after another node took the rules over, nor within the cooldown of what they were told, nor of what is silenced. What
// a node noted whose clock was ahead holds nothing back.
func (b Book) Raise(f Firing, cooldown time.Duration, now instant.Instant) (Book, Alert, bool) {
	b.Alerts = slices.Clone(b.Alerts)
	at, told, open := -1, instant.Instant(0), 0
	for i := range b.Alerts {
		a := &b.Alerts[i]
		if a.Rule != f.Rule {
			continue
		}
		if a.Open() {
			open++
		}
		if a.Group != f.Group {
			continue
		}
		if a.Last, a.Told = min(a.Last, now), min(a.Told, now); a.Last >= f.Last {
			return b, *a, false
		}
		if told = max(told, a.Told); a.Open() {
			at = i
		}
	}
	if at < 0 && open >= maxOfRule && f.Group != More {
		f.Group, f.Contain = More, ""
		return b.Raise(f, cooldown, now)
	}
	if at < 0 {
		fresh := b.freshID(f)
		f.ID, f.Contain, f.Raised, f.Told = fresh, strings.ReplaceAll(f.Contain, f.ID, fresh), 0, 0
		b.Alerts = append(b.room(), f)
		at = len(b.Alerts) - 1
	}
	a := &b.Alerts[at]
	if f.Since > a.Last { // another burst of what nobody has looked at: what was counted stays counted
		a.Count += f.Count
	} else {
		a.Count = max(a.Count, f.Count)
	}
	a.Last, a.Sample, a.Contain = f.Last, f.Sample, strings.ReplaceAll(f.Contain, f.ID, a.ID)
	tell := !b.silenced(f.Rule, f.Group, f.Last) && (told == 0 || f.Last >= told.Add(cooldown))
	if tell {
		a.Raised, a.Told = a.Raised+1, f.Last
	}
	return b, *a, tell
}

// freshID is an id that no alert of the book has: of one that goes on after it was acknowledged the beginning is the same, and, when a clock was ahead, the end too.
func (b Book) freshID(f Firing) string {
	for at := f.Last; ; at++ {
		fresh := idOf(f.Rule, f.Group, at)
		if _, err := b.Find(fresh); err != nil {
			return fresh
		}
	}
}

// room is the alerts without those that are too many: acknowledged ones go first, then what is least severe, then the oldest.
func (b Book) room() []Alert {
	for len(b.Alerts) >= MaxAlerts {
		least := 0
		for i := range b.Alerts {
			if b.Alerts[i].before(&b.Alerts[least]) {
				least = i
			}
		}
		b.Alerts = slices.Delete(b.Alerts, least, least+1)
	}
	return b.Alerts
}

// before reports whether a makes room before o does.
func (a *Alert) before(o *Alert) bool {
	if a.Open() != o.Open() {
		return !a.Open()
	}
	return a.Severity < o.Severity || a.Severity == o.Severity && a.Last < o.Last
}

func (b Book) silenced(rule, group string, now instant.Instant) bool {
	return slices.ContainsFunc(b.Silences, func(s Silence) bool {
		return s.Rule == rule && (s.Group == "*" || s.Group == group) && s.Until > now
	})
}

// Find answers the alert with an id.
func (b Book) Find(id string) (Alert, error) {
	for _, a := range b.Alerts {
		if a.ID == id {
			return a, nil
		}
	}
	return Alert{}, ErrUnknown
}

// Ack notes that somebody has seen to an alert. Once more it changes nothing.
func (b Book) Ack(id, by string, now instant.Instant) (Book, Alert, error) {
	i := slices.IndexFunc(b.Alerts, func(a Alert) bool { return a.ID == id })
	if i < 0 {
		return b, Alert{}, ErrUnknown
	}
	if b.Alerts[i].Open() {
		b.Alerts = slices.Clone(b.Alerts)
		b.Alerts[i].Acked, b.Alerts[i].AckedBy = now, by
	}
	return b, b.Alerts[i], nil
}

// Silence silences the rule of an alert until then, for its group or for every group.
func (b Book) Silence(s Silence, now instant.Instant) (Book, error) {
	kept := slices.DeleteFunc(slices.Clone(b.Silences), func(o Silence) bool {
		return o.Until <= now || o.Rule == s.Rule && o.Group == s.Group
	})
	if len(kept) >= MaxSilences {
		return b, ErrFull
	}
	b.Silences = append(kept, s)
	return b, nil
}

// List answers at most limit alerts, the newest first, beginning behind the alert with an id (empty: at the start), and whether there are more. open leaves out what is acknowledged.
func (b Book) List(open bool, behind string, limit int) (page []Alert, more bool) {
	all := slices.Clone(b.Alerts)
	slices.SortStableFunc(all, func(x, y Alert) int { return cmp.Or(cmp.Compare(y.Last, x.Last), strings.Compare(x.ID, y.ID)) })
	begun := behind == ""
	for i := range all {
		if !begun {
			begun = all[i].ID == behind
			continue
		}
		if open && !all[i].Open() {
			continue
		}
		if len(page) == limit {
			return page, true
		}
		page = append(page, all[i])
	}
	return page, false
}
