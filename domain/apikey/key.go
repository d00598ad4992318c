package apikey

import (
	"crypto/subtle"
	"errors"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/ratelimit"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/token"
)

const day = 24 * time.Hour

const (
	// DefaultLife is how long a key lives when nothing is said.
	DefaultLife = 90 * day
	// MaxLife is how long a key can live.
	MaxLife = 365 * day
	// DefaultOverlap is how long a rotated key goes on when nothing is said.
	DefaultOverlap = 24 * time.Hour
	// MinOverlap is how long a rotated key goes on at least, when it does: far longer than any node knows a key without reading it again.
	MinOverlap = time.Hour
	// MaxOverlap is how long a rotated key can go on.
	MaxOverlap = 30 * day
	// Keep is how long a key is remembered after its end, so that its owner sees what became of it.
	Keep = 7 * day
	// MaxLive is how many keys of one owner can live at a time.
	MaxLive = 50
	// MaxKept is how many keys of one owner are remembered, ended ones too, before no more are made; a session of the owner may still rotate one.
	MaxKept = 1000
)

// Why a key cannot be changed.
var (
	// ErrEnded says that the key has ended, and that nothing can be made of it.
	ErrEnded = errors.New("the API key has ended")
	// ErrRotated says that another key has taken the place of this one already.
	ErrRotated = errors.New("the API key has been rotated already")
)

// InvalidError says which part of a wish for a key is not acceptable and what would be.
type InvalidError struct {
	Field  string // name, scopes, expires_in_days, requests_per_minute or overlap_hours
	Detail string // what it takes, as a sentence without the value
}

func (e *InvalidError) Error() string { return e.Field + ": " + e.Detail }

// LimitError says that an owner has as many keys as one can have.
type LimitError struct {
	Limit int
	Kept  bool // ended ones count too
}

func (e *LimitError) Error() string {
	if e.Kept {
		return "there are " + strconv.Itoa(e.Limit) + " API keys, with those that ended in the last days: wait until those are forgotten"
	}
	return "there are " + strconv.Itoa(e.Limit) + " live API keys: revoke one that is not used any more"
}

// Room answers a *LimitError unless an owner with so many live keys, and so many that are kept, may have one more: at most so many live ones, and
// MaxKept in all.
func Room(live, kept, most int) error {
	switch {
	case live >= most:
		return &LimitError{Limit: most}
	case kept >= MaxKept:
		return &LimitError{Limit: MaxKept, Kept: true}
	}
	return nil
}

// Name is what an owner calls a key. The zero value is no name.
type Name struct{ name string }

// ParseName takes 1 to 100 characters of valid UTF-8 without control characters.
func ParseName(s string) (Name, error) {
	bad := &InvalidError{"name", "must be 1 to 100 characters, without control characters"}
	if len(s) < 1 || len(s) > 400 || !utf8.ValidString(s) || utf8.RuneCountInString(s) > 100 {
		return Name{}, bad
	}
	for _, r := range s {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r) {
			return Name{}, bad
		}
	}
	return Name{s}, nil
}

// String is the name.
func (n Name) String() string { return n.name }

// ParseLife reads how many days a key is to live.
func ParseLife(days int64) (time.Duration, error) {
	if days < 1 || days > int64(MaxLife/day) {
		return 0, &InvalidError{"expires_in_days", "must be a whole number from 1 to 365"}
	}
	return time.Duration(days) * day, nil
}

// ParseOverlap reads how many hours a rotated key is to go on; 0 ends it at once.
func ParseOverlap(hours int64) (time.Duration, error) {
	if hours < 0 || hours > int64(MaxOverlap/time.Hour) {
		return 0, &InvalidError{"overlap_hours", "must be a whole number from 0 to 720"}
	}
	return time.Duration(hours) * time.Hour, nil
}

// ParseLimit reads how many requests a minute a key is to have. Whether the service gives so many is for the caller to see.
func ParseLimit(n int64) (int64, error) {
	if n < 1 || n > ratelimit.MaxCapacity {
		return 0, &InvalidError{"requests_per_minute", "must be a whole number from 1 to 1000000000"}
	}
	return n, nil
}

// Key is one API key. Its secret is not in it.
type Key struct {
	ID          id.APIKey
	Owner       id.User
	Generation  token.Generation // of the credential by which its owner asked for it; account.Account.KeysFrom is held against it
	Environment Environment
	Name        Name
	Scopes      Scopes   // what it was given; the owner's role may grant less by now
	Hash        [32]byte // Proof.Hash of its text

	Created instant.Instant
	Expires instant.Instant
	MadeBy  Maker

	Successor id.APIKey       // the key that took its place; zero while none has
	Retires   instant.Instant // when it dies for that reason; zero while it has no successor, or died at once

	Revoked       instant.Instant // zero while it is not
	RevokedReason revocation.Reason

	// How it was used, some time ago: it is counted in memory and written down at most once a minute.
	LastUsed instant.Instant
	LastFrom session.Origin
	Uses     uint64
	Networks Networks
	Known    session.Places  // the networks that it is known to be used from, far more than those with names
	Roamed   instant.Instant // when it was told of as used from more than that
	Habit    Habit

	Limit  int64 // requests a minute that its owner gave it; 0: as many as the service gives each key
	Warned uint8 // how many of the warnings of its end were told
}

// Maker is the credential by which a key was asked for; zero of a key from before that was kept.
type Maker struct {
	Session id.Session // the sign-in that it goes back to, through whatever keys; zero when it is not known
	Key     id.APIKey  // the key that asked; zero when the sign-in itself did
}

// Line answers those of all that go back to root: the keys that it made, those that these made, and so on, in the order of all and without root itself. A link that
// is missing from all ends the search there.
func Line(root id.APIKey, all []Key) []Key {
	of := map[id.APIKey]bool{root: true}
	for grown := true; grown; {
		grown = false
		for i := range all {
			if k := &all[i]; !of[k.ID] && !k.MadeBy.Key.IsZero() && of[k.MadeBy.Key] {
				of[k.ID], grown = true, true
			}
		}
	}
	var line []Key
	for i := range all {
		if all[i].ID != root && of[all[i].ID] {
			line = append(line, all[i])
		}
	}
	return line
}

// Wish is what an owner asks of a key.
type Wish struct {
	Name   Name
	Scopes Scopes
	Life   time.Duration // 0 is DefaultLife
	Limit  int64         // requests a minute; 0: as many as the service gives each key
}

// New is a key of an owner whose credential was of generation g. Whether the owner may give these scopes is for the caller to decide (Granted).
func New(p Proof, owner id.User, g token.Generation, w Wish, now instant.Instant) Key {
	life := w.Life
	if life == 0 {
		life = DefaultLife
	}
	return Key{ID: p.ID, Owner: owner, Generation: g, Environment: p.Environment, Name: w.Name, Scopes: w.Scopes, Hash: p.Hash,
		Created: now, Expires: now.Add(min(life, MaxLife)), Limit: w.Limit}
}

// Proved reports whether p is of this very key, in a time that does not depend on what differs.
func (k *Key) Proved(p Proof) bool {
	return k.ID == p.ID && subtle.ConstantTimeCompare(k.Hash[:], p.Hash[:]) == 1
}

// Refusal answers why the key has ended, as far as it knows: ErrExpired or a *revocation.RevokedError, in this order; or nil while it lives. Its owner may
// have ended it too (account.Account.MayUseKey).
func (k *Key) Refusal(now instant.Instant) error {
	switch {
	case now >= k.Expires, k.Retires != 0 && now >= k.Retires:
		return ErrExpired
	case k.Revoked != 0:
		return &revocation.RevokedError{Verdict: revocation.Verdict{Kind: revocation.APIKey, Reason: k.RevokedReason, At: k.Revoked}}
	}
	return nil
}

// End is when the key ends, or has ended, as far as it knows.
func (k *Key) End() instant.Instant {
	end := k.Expires
	if k.Retires != 0 {
		end = min(end, k.Retires)
	}
	if k.Revoked != 0 {
		end = min(end, k.Revoked)
	}
	return end
}

// Kept is until when the key is remembered. One that is forgotten is refused as one that never was.
func (k *Key) Kept() instant.Instant { return k.End().Add(Keep) }

// Act is what ending a key needs to know.
type Act struct {
	By, Note string
	Now      instant.Instant
	Until    instant.Instant // by when every node has surely forgotten what it knew of the key when it lived
}

// Revoke ends the key. One that was revoked before keeps its first reason and time; the entry is given all the same.
func (k Key) Revoke(why revocation.Reason, a Act) (Key, revocation.Entry) {
	if k.Revoked == 0 {
		k.Revoked, k.RevokedReason = a.Now, why
	}
	return k, revocation.Entry{Kind: revocation.APIKey, APIKey: k.ID, Reason: k.RevokedReason, By: a.By, Note: a.Note, At: min(k.Revoked, a.Now), Until: a.Until}
}

// Rotate puts another key with the same name, scopes and limit in the place of k, of which is known what was usual of k, which goes on for overlap, or ends at once when that is 0: then there is an
// entry. The new one lives for life, or as long as k was to live when that is 0; where a key asks for it, the caller holds that against the end of that key. It
// fails with ErrEnded or ErrRotated.
func (k Key) Rotate(p Proof, g token.Generation, life, overlap time.Duration, a Act) (old, next Key, entries []revocation.Entry, err error) {
	switch {
	case k.Refusal(a.Now) != nil:
		return k, Key{}, nil, ErrEnded
	case !k.Successor.IsZero():
		return k, Key{}, nil, ErrRotated
	}
	if life == 0 {
		life = k.Expires.Sub(k.Created)
	}
	next = New(p, k.Owner, g, Wish{Name: k.Name, Scopes: k.Scopes, Life: life, Limit: k.Limit}, a.Now)
	next.Networks, next.Known, next.Roamed, next.Habit = k.Networks, k.known(), k.Roamed, k.Habit
	k.Successor = next.ID
	if overlap > 0 {
		k.Retires = min(a.Now.Add(min(max(overlap, MinOverlap), MaxOverlap)), k.Expires)
		return k, next, nil, nil
	}
	k, e := k.Revoke(revocation.KeyRevoked, a)
	return k, next, []revocation.Entry{e}, nil
}
