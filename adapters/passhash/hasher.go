// Package passhash hashes and compares passwords with bcrypt or argon2id, a few at a time, and in a time that tells nothing of the account.
package passhash

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// Kind is a way of hashing.
type Kind string

// The kinds. A Hasher makes hashes of one and compares with both.
const (
	Bcrypt   Kind = "bcrypt"
	Argon2id Kind = "argon2id"
)

// maxPassword is what bcrypt looks at, in bytes. Its Go implementation refuses more when hashing, and cuts silently when comparing.
const maxPassword = 72

// ErrUnhashable refuses to hash a password that bcrypt could not tell from another one. Argon2id could, and it refuses all the same: the way back
// to bcrypt stays open.
var ErrUnhashable = errors.New("a password must be at most 72 bytes without the character NUL: bcrypt cannot tell more apart")

// Options are the tunables of a Hasher.
type Options struct {
	Kind    Kind          // of the hashes that are made; Bcrypt when empty
	Cost    int           // of bcrypt: 2^Cost rounds, MinCost to MaxCost; 12 when 0. With Argon2id, the cost of the hashes that are left from before
	Gate    int           // how many hash at once; when 0, one less than GOMAXPROCS, at least 1, so that a core is left to everything else
	Queue   int           // how many wait for the gate; when 0, as many as are served in some 4 s: for each that hash at once 16 at cost 12, 1 at cost 16, 128 with Argon2id
	MaxWait time.Duration // how long one waits; 5 s when 0
	// Hashed is told of each password that was let in, how long it waited and how long the work took. It waits for nobody. nil: nobody is told.
	Hashed func(waited, took time.Duration)
}

// Hasher implements ports.Passwords. A hash is computed on the caller's goroutine and cannot be stopped halfway: a caller whose context ends
// leaves the queue at once, but not the gate. Argon2id takes 19 MiB for each that is inside, and a stored hash with parameters of another system
// 64 MiB at most; what was taken is garbage afterwards, so that a herd may hold some three times as much until it is collected.
type Hasher struct {
	kind    Kind
	cost    int
	gate    *gate
	told    func(waited, took time.Duration)
	mixed   atomic.Bool // a hash of the kind that is not configured has been met
	compare func(hash, password []byte) error
	derive  func(password, salt []byte, time, memory uint32, threads uint8, keyLen uint32) []byte
}

var _ ports.Passwords = (*Hasher)(nil)

// New answers a hasher, or an error when an option is out of its range.
func New(o Options) (*Hasher, error) {
	if o.Kind == "" {
		o.Kind = Bcrypt
	}
	if o.Kind != Bcrypt && o.Kind != Argon2id {
		return nil, fmt.Errorf("the kind of password hashes is %q: give %s or %s", o.Kind, Bcrypt, Argon2id)
	}
	if o.Cost == 0 {
		o.Cost = 12
	}
	if o.Cost < MinCost || o.Cost > MaxCost {
		return nil, fmt.Errorf("the bcrypt cost is %d: give one from %d to %d", o.Cost, MinCost, MaxCost)
	}
	if o.Gate < 0 || o.Queue < 0 || o.MaxWait < 0 {
		return nil, fmt.Errorf("the gate of the password hasher is %d, its queue %d, its wait %v: none can be negative", o.Gate, o.Queue, o.MaxWait)
	}
	if o.Gate == 0 {
		o.Gate = max(1, runtime.GOMAXPROCS(0)-1)
	}
	if o.Queue == 0 && o.Kind == Argon2id {
		o.Queue = o.Gate * 128
	}
	if o.Queue == 0 {
		o.Queue = o.Gate * (16 >> max(0, o.Cost-12))
	}
	if o.MaxWait == 0 {
		o.MaxWait = 5 * time.Second
	}
	if o.Hashed == nil {
		o.Hashed = func(time.Duration, time.Duration) {}
	}
	return &Hasher{kind: o.Kind, cost: o.Cost, gate: newGate(o.Gate, o.Queue, o.MaxWait), told: o.Hashed, compare: bcrypt.CompareHashAndPassword, derive: argon2.IDKey}, nil
}

// Load tells how many are hashing and how many wait to.
func (h *Hasher) Load() (running, waiting int) { return h.gate.load() }

// Refused tells how many were turned away because too many waited, or because they had waited too long.
func (h *Hasher) Refused() uint64 { return h.gate.refused.Load() }

// enter waits for the gate. Unless it answers an error, leave must be called once the work is done.
func (h *Hasher) enter(ctx context.Context) (leave func(), err error) {
	begun := time.Now()
	if err := h.gate.enter(ctx); err != nil {
		return nil, err
	}
	in := time.Now()
	return func() {
		h.gate.leave()
		h.told(in.Sub(begun), time.Since(in))
	}, nil
}

// Hash implements ports.Passwords. A password over 72 bytes, or with a NUL in it, is ErrUnhashable, whatever the kind. The salt is of crypto/rand.
func (h *Hasher) Hash(ctx context.Context, password secret.Text) (secret.Text, error) {
	if !hashable(password) {
		return secret.Text{}, ErrUnhashable
	}
	leave, err := h.enter(ctx)
	if err != nil {
		return secret.Text{}, err
	}
	defer leave()
	if h.kind == Argon2id {
		return secret.New(h.newArgon2id([]byte(password.RevealPlaintext())).String()), nil
	}
	text, err := bcrypt.GenerateFromPassword([]byte(password.RevealPlaintext()), h.cost)
	if err != nil {
		return secret.Text{}, fmt.Errorf("hash a password: %w: %w", ports.ErrUnavailable, err)
	}
	return secret.New(string(text)), nil
}

// Compare implements ports.Passwords.
//
// Whatever it is asked, it does the work of the configured kind, 2^cost rounds of bcrypt or two passes over 19 MiB of argon2id, so that the time tells
// nothing. An empty hash, one that has neither form or asks for more than is ever computed, and a password that no hash can have are compared
// with a constant; they answer false and no error, since an error would tell such an account apart. A hash that asks for less is compared, and
// constants make up the difference.
//
// A hash of the other kind, left from before the setting was changed, cannot hide in the work of the configured one. From the first that is met, every
// comparison does the work of both kinds, as long as the process lives.
//
// What remains longer is a hash that asks for more than is configured of its own kind, until its first sign-in, and the first of the other kind.
func (h *Hasher) Compare(ctx context.Context, hash, password secret.Text) (ok, upgrade bool, err error) {
	leave, err := h.enter(ctx)
	if err != nil {
		return false, false, err
	}
	defer leave()
	text, cost, passes, current := hash.RevealPlaintext(), 0, 0, false
	if c, known := costOf(text); known && c <= MaxCost {
		h.met(Bcrypt)
		if hashable(password) {
			ok = h.compare([]byte(text), []byte(password.RevealPlaintext())) == nil
			cost, current = c, h.kind == Bcrypt && c == h.cost
		}
	} else if stored, known := parseArgon2id(text); known {
		h.met(Argon2id)
		if hashable(password) {
			ok = h.matches(&stored, []byte(password.RevealPlaintext()))
			passes, current = stored.passes(), h.kind == Argon2id && stored.current()
		}
	}
	if h.kind == Bcrypt || h.mixed.Load() {
		h.spendRounds(cost)
	}
	if h.kind == Argon2id || h.mixed.Load() {
		h.spendPasses(passes)
	}
	return ok, ok && !current, nil
}

// met notes that the store holds a hash of this kind.
func (h *Hasher) met(k Kind) {
	if k != h.kind {
		h.mixed.Store(true)
	}
}

// hashable reports whether bcrypt tells the password from all others. It repeats a password, closed by a NUL, as often as it fits: with a NUL inside,
// "a" and "a\x00a" would be one.
func hashable(password secret.Text) bool {
	return password.Len() <= maxPassword && strings.IndexByte(password.RevealPlaintext(), 0) < 0
}
