package app

import (
	"context"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/ports"
)

const (
	tellAgain = time.Minute // a bucket that is still refused is told of again after this
	tellMost  = 256         // buckets that are told of one by one within that time
	tellEvery = time.Second // between two counts
)

// teller tells the journal of refusals that anybody can cause any number of: the first of each bucket at once, the rest as one count a second.
type teller struct {
	journal ports.Journal
	random  io.Reader
	now     func() time.Time
	shadow  bool
	sums    *sums         // counts all of them for the alerts
	wake    chan struct{} // holds one when something is counted

	mu    sync.Mutex
	since time.Time              // when the buckets were last forgotten
	told  map[likeness]*refusals // by bucket
	most  *refusals              // of the buckets, the one with the most refusals that are not told
	all   int64                  // refusals that are not told, of every bucket
}

// likeness names what refusals are counted together by: a bucket of the limits, or what else they have in common.
type likeness struct {
	bucket  string
	kind    audit.Kind
	reason  string
	subject id.User
	whence  netip.Prefix
}

// refusals are those of one bucket that are not told.
type refusals struct {
	n    int64
	last refusal
}

// refusal is what is known of one. Of most only a count is told, and so the texts of an event are made once it is told: counting one allocates nothing.
type refusal struct {
	kind    audit.Kind
	at      instant.Instant
	request Request
	reason  string

	// These may be empty.
	actor, subject id.User
	session        id.Session
	key            id.APIKey
	email          string
	endpoint       string // as it came, behind its method
	policy         string
	credential     string
	revoked        string
}

// event is how a refusal is told. It has no id yet.
func (f *refusal) event() audit.Event {
	e := audit.Event{Time: f.at, Kind: f.kind, Severity: audit.Warning, Outcome: audit.Failure, UserAgent: cut(f.request.Origin.UserAgent, audit.MaxUserAgent), RequestID: f.request.ID,
		Email: f.email, Reason: f.reason, Details: map[string]string{}}
	if f.request.Origin.Address.IsValid() {
		e.IPAddress = f.request.Origin.Address.String()
	}
	if !f.actor.IsZero() {
		e.Actor = f.actor.String()
	}
	if !f.subject.IsZero() {
		e.Subject = f.subject.String()
	}
	if !f.session.IsZero() {
		e.Details["session"] = f.session.String()
	}
	if !f.key.IsZero() {
		e.Details["api_key"] = f.key.String()
	}
	method, endpoint := asked(f.endpoint)
	for name, v := range map[string]string{"method": method, "endpoint": endpoint, "policy": f.policy, "credential": f.credential, "revoked": f.revoked} {
		if v != "" {
			e.Details[name] = v
		}
	}
	return e
}

// asked parts what was asked for into the method and the path, which is an event's endpoint.
func asked(what string) (method, endpoint string) {
	method, endpoint, ok := strings.Cut(what, " ")
	if !ok {
		return "", cut(what, 200)
	}
	return cut(method, 32), cut(endpoint, 200)
}

// alike names what a refused credential is counted together with: others of its kind, reason and owner from one client, which in IPv6 has a whole /64.
func (f *refusal) alike() likeness {
	return likeness{kind: f.kind, reason: f.reason, subject: f.subject, whence: client(f.request.Origin.Address)}
}

// client is an address, or of IPv6 its /64: there any address is the same client's. An address that is not known is no prefix.
func client(a netip.Addr) netip.Prefix {
	bits := 64
	if a = a.Unmap().WithZone(""); a.Is4() {
		bits = 32
	}
	p, _ := a.Prefix(bits)
	return p
}

func newTeller(j ports.Journal, random io.Reader, now func() time.Time, shadow bool, s *sums) *teller {
	return &teller{sums: s, journal: j, random: random, now: now, shadow: shadow, wake: make(chan struct{}, 1), told: map[likeness]*refusals{}}
}

// note tells of a refusal by a bucket, or counts it.
func (t *teller) note(ctx context.Context, bucket string, f refusal) {
	now := t.now()
	f.at = instant.Of(now)
	if !t.counted(likeness{bucket: bucket}, &f, now) {
		t.write(ctx, f.event())
	}
}

// counted counts a refusal unless it is to be told of at once.
func (t *teller) counted(bucket likeness, f *refusal, now time.Time) bool {
	t.sums.add(f)
	t.mu.Lock()
	defer t.mu.Unlock()
	if d := now.Sub(t.since); (d >= tellAgain || d < 0) && t.all == 0 {
		clear(t.told)
		t.since, t.most = now, nil
	}
	c, known := t.told[bucket]
	if !known && len(t.told) < tellMost {
		t.told[bucket] = new(refusals)
		return false
	}
	if !known {
		c = new(refusals) // of a bucket that there is no room for
	}
	c.n, c.last = c.n+1, *f
	if t.most == nil || c.n >= t.most.n {
		t.most = c
	}
	t.all++
	select {
	case t.wake <- struct{}{}:
	default:
	}
	return true
}

// run tells the counts until ctx ends.
func (t *teller) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			t.sum(context.WithoutCancel(ctx))
			return
		case <-t.wake:
		}
		timer := time.NewTimer(tellEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
			t.sum(ctx)
		}
	}
}

// sum tells of what was counted, in one line: the last refusal of the bucket that had the most, how many more it had, and how many there were of all.
func (t *teller) sum(ctx context.Context) {
	t.mu.Lock()
	if t.all == 0 {
		t.mu.Unlock()
		return
	}
	last, more, of := t.most.last, t.most.n, t.all
	for _, c := range t.told {
		*c = refusals{}
	}
	t.most, t.all = nil, 0
	t.mu.Unlock()
	last.at = instant.Of(t.now())
	e := last.event()
	e.Details["more"], e.Details["of"] = strconv.FormatInt(more, 10), strconv.FormatInt(of, 10)
	t.write(ctx, e)
}

func (t *teller) write(ctx context.Context, e audit.Event) {
	if t.shadow {
		e.Details["shadow"] = "true"
	}
	var err error
	if e.ID, err = id.New[id.Event](t.random); err == nil {
		t.journal.Write(context.WithoutCancel(ctx), e)
	}
}

// Run tells the counts of refusals until ctx ends.
func (l *Limiter) Run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { l.guesses.run(ctx) })
	all.Go(func() { l.refused.run(ctx) })
	l.teller.run(ctx)
	all.Wait()
}

// Exceeded tells the journal of a request that a verdict of Take, for the charge, says has exceeded a limit. Such events are told, not kept, and soon only counted: anybody can
// make any number of them.
func (l *Limiter) Exceeded(ctx context.Context, r Request, what string, c Charge, v Verdict) {
	f := refusal{kind: audit.RateLimited, request: r, reason: "rate_limited", actor: c.User, endpoint: what, policy: v.Policy.Name}
	l.teller.note(ctx, v.bucket, f)
}
