package app

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/ratelimit"
	"github.com/xteam/xteam/ports"
)

// Class is what kind of endpoint a request is for: it says which buckets the request takes from beside its address's.
type Class uint8

// The classes.
const (
	Unclassed Class = iota // the address's alone
	Exempt                 // none, not even that: whether the service lives may be asked without end
	Auth                   // sign-in, registration, change of password
	Read
	Write
	Expensive
	Refresh // a refresh token that proved itself: its session's alone; another is charged as Auth
	Verify  // a question about a credential: the credential's alone when it is good, the address's when it is not
)

// Mode is what becomes of a refusal.
type Mode uint8

// The modes. The zero value refuses.
const (
	Enforce Mode = iota
	Shadow       // counts and tells, refuses nothing
	Off          // does not count
)

// LimiterOptions tune a Limiter. Limits are requests a minute, at most ratelimit.MaxCapacity; 0 stands for the default.
type LimiterOptions struct {
	Mode       Mode
	PerAddress int64 // default 60
	Auth       int64 // default 5
	Read       int64 // default 60
	Write      int64 // default 30
	Expensive  int64 // default 5
	Refresh    int64 // of one session; default 30
	Verify     int64 // of one credential; default none
	PerKey     int64 // of one API key, in all classes and from wherever; default as PerAddress

	Now    func() time.Time // default time.Now
	Logger *slog.Logger     // takes a line when the buckets fail, and when they are back; default none
}

// Policy is a limit with its name in answers and in the log.
type Policy struct {
	Name  string
	Limit ratelimit.Limit
}

// A client with IPv6 has a whole /64, and easily more: an address's bucket is its /64's, and beside it the /48 and the /32 around it have theirs,
// for so many times as much.
var tiers = [...]struct {
	bits  int
	times int64
	name  string
}{{64, 1, ""}, {48, 16, "-48"}, {32, 1024, "-32"}}

// family is the policies of what can be charged to an address: one for each tier. The first holds for whoever is charged by name too.
type family [len(tiers)]Policy

// Limiter holds requests against the rate limits: one of each client's address, and one of what the endpoint's class is, for the user when somebody is signed in and else
// for the address; and one of the API key by which they ask. All buckets of a request are taken from in one step: all, or none. A nil Limiter limits nothing.
type Limiter struct {
	buckets ports.Buckets
	mode    Mode
	now     func() time.Time
	log     *slog.Logger
	teller  *teller // of requests
	guesses *teller // of attempts at passwords
	refused *teller // of credentials that were refused, which no mode of the limits changes

	sums     sums               // of all of these
	families [Verify + 1]family // by class; Unclassed is the address's
	attempts Policy
	perKey   Policy
	verifies bool
	failing  atomic.Bool // the buckets did not answer the last time
	pool     sync.Pool   // of *demands
	networks networks
}

// NewLimiter keeps its buckets in b and tells the journal of refusals; random is for the ids of those events. A limit that is out of range is ratelimit.ErrInvalid.
// Run should be running beside it.
func NewLimiter(b ports.Buckets, j ports.Journal, random io.Reader, o LimiterOptions) (*Limiter, error) {
	l := &Limiter{buckets: b, mode: o.Mode, now: o.Now, log: o.Logger, verifies: o.Verify != 0, attempts: Policy{"attempts", ratelimit.PerMinute(attemptsPerMinute)}}
	l.pool.New = func() any { return new(demands) }
	if l.now == nil {
		l.now = time.Now
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	l.teller, l.guesses, l.refused = newTeller(j, random, l.now, o.Mode == Shadow, &l.sums), newTeller(j, random, l.now, o.Mode == Shadow, &l.sums), newTeller(j, random, l.now, false, &l.sums)
	for _, f := range []struct {
		class         Class
		name          string
		asked, normal int64
	}{
		{Unclassed, "address", o.PerAddress, 60},
		{Auth, "auth", o.Auth, 5},
		{Read, "read", o.Read, 60},
		{Write, "write", o.Write, 30},
		{Expensive, "expensive", o.Expensive, 5},
		{Refresh, "refresh", o.Refresh, 30},
		{Verify, "verify", o.Verify, 1}, // 1: never asked for
	} {
		var err error
		if l.families[f.class], err = familyOf(f.name, cmp.Or(f.asked, f.normal)); err != nil {
			return nil, err
		}
	}
	key, err := familyOf("api-key", cmp.Or(o.PerKey, o.PerAddress, 60))
	if err != nil {
		return nil, err
	}
	l.perKey = key[0]
	return l, nil
}

// familyOf is a limit of n a minute for each of the tiers.
func familyOf(name string, n int64) (f family, err error) {
	if err := ratelimit.PerMinute(n).Validate(); err != nil {
		return f, fmt.Errorf("the limit of %s: %w", name, err)
	}
	for i, t := range tiers {
		f[i] = Policy{name + t.name, ratelimit.PerMinute(min(n*t.times, ratelimit.MaxCapacity))}
	}
	return f, nil
}

// Own is a class of an embedding program's own endpoints.
type Own struct{ family family }

// NewOwn is a class with a limit of perMinute requests, 1 to ratelimit.MaxCapacity, for each user or, where nobody is signed in, address. Two classes of one name
// and limit share their buckets. The name, 1 to 40 of a–z 0–9 -, stands in the headers of answers.
func NewOwn(name string, perMinute int64) (*Own, error) {
	if len(name) == 0 || len(name) > 40 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return nil, errors.New("the name of a class of endpoints must be 1 to 40 of a-z 0-9 -")
	}
	f, err := familyOf("own-"+name, perMinute)
	return &Own{f}, err
}

// Policies are all policies that a verdict can name, at the addresses by which it names them.
func (l *Limiter) Policies() (all []*Policy) {
	if l == nil {
		return nil
	}
	for c := range l.families {
		for i := range l.families[c] {
			if p := &l.families[c][i]; p.Name != "" { // Exempt has none
				all = append(all, p)
			}
		}
	}
	return append(all, &l.attempts, &l.perKey)
}

// Charge is what a request is charged for, and to whom.
type Charge struct {
	Class    Class
	Own      *Own       // in the place of Class, when not nil
	Address  netip.Addr // the client's; all clients of no known address share a bucket
	User     id.User    // who is signed in; zero when nobody is, or their token was refused: a revoked token spends nothing of its subject's
	Session  id.Session // of Refresh: whose token proved itself, zero when none did; of Verify and of what contains: the token's, zero when it is of none
	Key      id.APIKey  // by which the user asks: what its address and its user pay, its own bucket pays too; zero when they are signed in
	KeyLimit *Policy    // Caller.Limit

	Contains bool // it ends, replaces or shows what its caller has, or may end: the session's own bucket of the class alone pays, which nobody else's requests empty
}

// Verdict is what the limits say of a request.
type Verdict struct {
	Exceeded bool               // some bucket had too little; in Shadow the request goes on all the same
	Policy   *Policy            // of the tightest bucket: the one that refuses for longest, else the one with the least left; nil when nothing was limited
	Decision ratelimit.Decision // of that bucket

	bucket string
}

// Take takes one token from each bucket of a request, or none. The error is *ratelimit.LimitedError, with the verdict's decision, or that of a caller whose context has ended. Of a verdict
// that is Exceeded, Exceeded is to be told. When the buckets themselves fail, nobody is refused.
func (l *Limiter) Take(ctx context.Context, c Charge) (Verdict, error) {
	if l == nil || l.mode == Off || c.Class == Exempt {
		return Verdict{}, nil
	}
	d := l.pool.Get().(*demands)
	defer l.pool.Put(d)
	l.demand(d, c)
	asked := d.list()
	if len(asked) == 0 {
		return Verdict{}, nil
	}
	v, err := l.ask(ctx, asked, d.policies[:d.n])
	if err == nil && v.Exceeded && l.mode == Enforce {
		return v, &ratelimit.LimitedError{Decision: v.Decision}
	}
	return v, err
}

// lend takes what one request of an address costs, until back is called: so much can be done for the address at a time as it has left to spend. What is refused is
// *ratelimit.LimitedError. Who calls with no address bounds it by themselves.
func (l *Limiter) lend(ctx context.Context, a netip.Addr) (back func(), err error) {
	if l == nil || l.mode == Off || !a.IsValid() {
		return func() {}, nil
	}
	d := l.pool.Get().(*demands)
	defer l.pool.Put(d)
	l.demand(d, Charge{Class: Unclassed, Address: a})
	asked := slices.Clone(d.list())
	switch v, err := l.ask(ctx, asked, d.policies[:d.n]); {
	case err != nil:
		return nil, err
	case v.Exceeded && l.mode == Enforce:
		return nil, &ratelimit.LimitedError{Decision: v.Decision}
	case v.Exceeded, v.Policy == nil: // nothing was taken
		return func() {}, nil
	}
	return func() { l.heard(l.buckets.Give(context.WithoutCancel(ctx), instant.Of(l.now()), asked...)) }, nil
}

// ask takes what is asked of the buckets.
func (l *Limiter) ask(ctx context.Context, asked []ports.Demand, policies []*Policy) (Verdict, error) {
	decisions, err := l.buckets.Take(ctx, instant.Of(l.now()), asked...)
	if err != nil && ctx.Err() != nil {
		return Verdict{}, ctx.Err()
	}
	l.heard(err)
	if err != nil {
		return Verdict{}, nil
	}
	at := tightest(decisions)
	return Verdict{Exceeded: !decisions[at].OK, Policy: policies[at], Decision: decisions[at], bucket: asked[at].Key}, nil
}

// demand says which buckets a charge takes from.
func (l *Limiter) demand(d *demands, c Charge) {
	d.reset()
	switch {
	case c.Class == Refresh && !c.Session.IsZero():
		d.named(&l.families[Refresh][0], c.Session)
		return
	case c.Class == Refresh:
		c.Class = Auth
	case c.Class == Verify && !c.User.IsZero():
		switch {
		case !l.verifies:
		case c.Session.IsZero():
			d.named(&l.families[Verify][0], c.User)
		default:
			d.named(&l.families[Verify][0], c.Session)
		}
		if !c.Key.IsZero() && c.KeyLimit != nil { // its own limit is of all classes
			d.named(c.KeyLimit, c.Key)
		}
		return
	case c.Class == Verify:
		c.Class = Unclassed
	case c.Contains && !c.User.IsZero() && !c.Session.IsZero():
		d.named(&l.families[c.Class][0], c.Session)
		return
	}
	d.address(&l.families[Unclassed], c.Address)
	f := &l.families[c.Class]
	if c.Own != nil {
		f = &c.Own.family
	}
	switch {
	case c.Class == Unclassed && c.Own == nil:
	case c.User.IsZero():
		d.address(f, c.Address)
	default:
		d.named(&f[0], c.User)
	}
	switch {
	case c.Key.IsZero():
	case c.KeyLimit != nil:
		d.named(c.KeyLimit, c.Key)
	default:
		d.named(&l.perKey, c.Key)
	}
}

// ofKey is the policy of a key that has a limit of its own, of n requests a minute; nil where it is that of every key.
func (l *Limiter) ofKey(n int64) *Policy {
	if l == nil || n <= 0 || n >= l.perKey.Limit.Capacity {
		return nil
	}
	return &Policy{l.perKey.Name, ratelimit.PerMinute(n)}
}

// mostOfKey is how many requests a minute a key can be given.
func (l *Limiter) mostOfKey() int64 {
	if l == nil {
		return ratelimit.MaxCapacity
	}
	return l.perKey.Limit.Capacity
}

// Counts reports whether the buckets answered the last time.
func (l *Limiter) Counts() bool {
	if l == nil {
		return true
	}
	shared, ok := l.buckets.(*Fallback)
	return !l.failing.Load() && !(ok && shared.Degraded())
}

// heard notes whether the buckets answered, and logs when that changes.
func (l *Limiter) heard(err error) {
	switch {
	case err != nil && l.failing.CompareAndSwap(false, true):
		l.log.Error("The rate limits cannot be counted: nobody is refused meanwhile", "error", err.Error())
	case err == nil && l.failing.Load() && l.failing.CompareAndSwap(true, false):
		l.log.Info("The rate limits are counted again")
	}
}

// tightest is which of one or more decisions holds the client back most.
func tightest(all []ratelimit.Decision) (at int) {
	for i := range all {
		a, b := &all[i], &all[at]
		if a.OK != b.OK {
			if !a.OK {
				at = i
			}
		} else if !a.OK && a.RetryAfter > b.RetryAfter || a.OK && (a.Remaining < b.Remaining || a.Remaining == b.Remaining && a.Limit.Capacity < b.Limit.Capacity) {
			at = i
		}
	}
	return at
}

// demands are the buckets of one request, gathered in arrays that are used again; all keys are parts of one text.
type demands struct {
	n        int
	text     []byte
	ends     [2 * len(tiers)]int
	policies [2 * len(tiers)]*Policy
	demands  [2 * len(tiers)]ports.Demand
}

func (d *demands) reset() { d.n, d.text = 0, d.text[:0] }

// named adds the bucket of what an id names.
func (d *demands) named(p *Policy, who [16]byte) {
	d.text = append(append(d.text, p.Name...), ' ')
	d.text = hex.AppendEncode(d.text, who[:])
	d.add(p)
}

// address adds the bucket of an address, and with IPv6 those of the networks around it, which are named by their bits in hexadecimal.
func (d *demands) address(f *family, a netip.Addr) {
	a = a.Unmap()
	for i := range tiers {
		p := &f[i]
		d.text = append(append(d.text, p.Name...), ' ')
		if !a.Is6() {
			d.text = a.AppendTo(d.text) // nothing, when it is not known
			d.add(p)
			return
		}
		whole := a.As16()
		d.text = hex.AppendEncode(d.text, whole[:tiers[i].bits/8])
		d.add(p)
	}
}

func (d *demands) add(p *Policy) {
	d.ends[d.n], d.policies[d.n] = len(d.text), p
	d.n++
}

func (d *demands) list() []ports.Demand {
	text, from := string(d.text), 0
	for i := range d.n {
		d.demands[i] = ports.Demand{Key: text[from:d.ends[i]], Limit: d.policies[i].Limit, N: 1}
		from = d.ends[i]
	}
	return d.demands[:d.n]
}
