// Package passhash hashes and compares passwords with bcrypt, a few at a time, and in a time that tells nothing of the account.
package passhash

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// MinCost and MaxCost bound the configured cost, and MaxCost also what is computed at all: a stored hash above it is never
// compared, since one of cost 31 would burn a core for a day and a half.
const (
	MinCost = 10
	MaxCost = 16
)

// maxPassword is what bcrypt looks at, in bytes. Its Go implementation refuses more when hashing, and cuts silently when comparing.
const maxPassword = 72

// ErrUnhashable refuses to hash a password that bcrypt could not tell from another one.
var ErrUnhashable = errors.New("a password must be at most 72 bytes without the character NUL: bcrypt cannot tell more apart")

// Options are the tunables of a Bcrypt.
type Options struct {
	Cost    int           // 2^Cost rounds, MinCost to MaxCost; 12 when 0
	Gate    int           // how many hash at once; when 0, one less than GOMAXPROCS, at least 1, so that a core is left to everything else
	Queue   int           // how many wait for the gate; when 0, as many as are served in some 4 s: 16 for each that hash at once at cost 12, 1 at cost 16
	MaxWait time.Duration // how long one waits; 5 s when 0
}

// Bcrypt implements ports.Passwords. A hash is computed on the caller's goroutine and cannot be stopped halfway: a caller whose context ends
// leaves the queue at once, but not the gate.
type Bcrypt struct {
	cost    int
	gate    *gate
	compare func(hash, password []byte) error
}

var _ ports.Passwords = (*Bcrypt)(nil)

// New answers a hasher, or an error when an option is out of its range.
func New(o Options) (*Bcrypt, error) {
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
	if o.Queue == 0 {
		o.Queue = o.Gate * (16 >> max(0, o.Cost-12))
	}
	if o.MaxWait == 0 {
		o.MaxWait = 5 * time.Second
	}
	return &Bcrypt{cost: o.Cost, gate: newGate(o.Gate, o.Queue, o.MaxWait), compare: bcrypt.CompareHashAndPassword}, nil
}

// Load tells how many are hashing and how many wait to.
func (b *Bcrypt) Load() (running, waiting int) { return b.gate.load() }

// Hash implements ports.Passwords. A password over 72 bytes, or with a NUL in it, is ErrUnhashable. The salt is of crypto/rand.
func (b *Bcrypt) Hash(ctx context.Context, password secret.Text) (secret.Text, error) {
	if !hashable(password) {
		return secret.Text{}, ErrUnhashable
	}
	if err := b.gate.enter(ctx); err != nil {
		return secret.Text{}, err
	}
	defer b.gate.leave()
	h, err := bcrypt.GenerateFromPassword([]byte(password.RevealPlaintext()), b.cost)
	if err != nil {
		return secret.Text{}, fmt.Errorf("hash a password: %w: %w", ports.ErrUnavailable, err)
	}
	return secret.New(string(h)), nil
}

// Compare implements ports.Passwords.
//
// Whatever it is asked, it works for 2^cost rounds, of the configured cost, so that the time tells nothing. An empty hash, one that is not of bcrypt or
// costs more than MaxCost, and a password that no hash can have are compared with a constant; they answer false and no error, since an error
// would tell such an account apart. A hash of a lower cost than the configured one is compared, and constants make up the difference. Only
// a hash of a higher cost, left from a higher setting, takes longer, until its first sign-in.
func (b *Bcrypt) Compare(ctx context.Context, hash, password secret.Text) (ok, upgrade bool, err error) {
	if err := b.gate.enter(ctx); err != nil {
		return false, false, err
	}
	defer b.gate.leave()
	cost, known := costOf(hash.RevealPlaintext())
	if !known || cost > MaxCost || !hashable(password) {
		b.spend(b.cost)
		return false, false, nil
	}
	ok = b.compare([]byte(hash.RevealPlaintext()), []byte(password.RevealPlaintext())) == nil
	for c := cost; c < b.cost; c++ { // 2^cost + 2^cost + 2^(cost+1) + … + 2^(b.cost-1) = 2^b.cost
		b.spend(c)
	}
	return ok, ok && cost != b.cost, nil
}

// spend takes the time of a comparison.
func (b *Bcrypt) spend(cost int) { _ = b.compare([]byte(dummies[cost]), nil) }

// hashable reports whether bcrypt tells the password from all others. It repeats a password, closed by a NUL, as often as it fits: with a NUL inside,
// "a" and "a\x00a" would be one.
func hashable(password secret.Text) bool {
	return password.Len() <= maxPassword && strings.IndexByte(password.RevealPlaintext(), 0) < 0
}

// costOf reads the cost of a hash in bcrypt's notation, strictly, so that every hash it takes costs a comparison its full time: $2a$, $2b$ or $2y$, two
// digits from 04 to 31, $, 53 characters.
func costOf(hash string) (cost int, ok bool) {
	const alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	if len(hash) != 60 || hash[:2] != "$2" || strings.IndexByte("aby", hash[2]) < 0 || hash[3] != '$' || hash[6] != '$' {
		return 0, false
	}
	if strings.Trim(hash[4:6], "0123456789") != "" || strings.Trim(hash[7:], alphabet) != "" {
		return 0, false
	}
	cost = int(hash[4]-'0')*10 + int(hash[5]-'0')
	return cost, cost >= bcrypt.MinCost && cost <= bcrypt.MaxCost
}

// dummies are hashes of random passwords that nobody knows, one for each cost that is ever computed.
var dummies = [MaxCost + 1]string{
	4:  "$2a$04$gT6l9Lr0YwZKp6LuoMxgIu2E4QxQ05dUgf1f.0289UtpPK0PYxjKi",
	5:  "$2a$05$RMY/9lg/kNK3wmmKbZOrZ.LqL5LnFL1o6ljxe38yy/rBWJuC4IOWC",
	6:  "$2a$06$iDtzFBqk7Ppllq/sTocnK.xLYTirnMbvcGSx.m6zdo8SzeMPBobi.",
	7:  "$2a$07$q7BlcxSNZhZ414YqT8cah.wmtrf44Lya3r4gQC4spyy6VqjHlcsHS",
	8:  "$2a$08$iBRt5hf4U2BNdrE/suMZmucdneOTrI8Fa.3jTCEdckMQRybQB0mKm",
	9:  "$2a$09$1AyaI5/41/uQla05paU7U.TpmFCkbrtNrrjnRWCTP1d3xIz2O1v0O",
	10: "$2a$10$crLBSa56rvf.csKui9qK7eYh0WAJjlJ3E4QEH4wlifGUNidLBSTLK",
	11: "$2a$11$e/N1IW14as9dJBidwQYo/eVj.6WVKPMGU3.snVpta4CJEFe78jamG",
	12: "$2a$12$zv3iHjkqX7Kw58OmXbi4MeRbpKHAZsOpCC7Gc4j1ic1EDqdsgjmyK",
	13: "$2a$13$6hPk3EZuMoEjK3hqcZ7HYuGldNKPD8Agw6ZnxBFiNqywuzcwWpQxG",
	14: "$2a$14$tP777lE1aKNOdH8.xjordOJxG3kh3TJemuQphOYn93lsbDH49NhAW",
	15: "$2a$15$.ix//Hi7jsigQufRnK9nW.cCZO9QfCjJ8b7Ngz5ILHDv2F1n5P49u",
	16: "$2a$16$8JmlfEl9Q6CIp.XSMQcqPOPJyKeCh1T11oCILVhot5W.acDcNKKcW",
}
