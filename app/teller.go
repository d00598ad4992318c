package app

import (
	"context"
	"io"
	"strconv"
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
	since time.Time            // when the buckets were last forgotten
	told  map[string]*refusals // by bucket
	most  *refusals            // of the buckets, the one with the most refusals that are not told
	all   int64                // refusals that are not told, of every bucket
}

// refusals are those of one bucket that are not told.
type refusals struct {
	n    int64
	last audit.Event
}

func newTeller(j ports.Journal, random io.Reader, now func() time.Time, shadow bool, s *sums) *teller {
	return &teller{sums: s, journal: j, random: random, now: now, shadow: shadow, wake: make(chan struct{}, 1), told: map[string]*refusals{}}
}

// note tells of a refusal by a bucket, or counts it. The event's details are the teller's from then on.
func (t *teller) note(ctx context.Context, bucket string, e audit.Event) {
	now := t.now()
	e.Time = instant.Of(now)
	if t.shadow {
		e.Details["shadow"] = "true"
	}
	if t.counted(bucket, e, now) {
		return
	}
	t.write(ctx, e)
}

// counted counts a refusal unless it is to be told of at once.
func (t *teller) counted(bucket string, e audit.Event, now time.Time) bool {
	t.sums.add(&e)
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
	c.n, c.last = c.n+1, e
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
	e := t.most.last
	e.Details["more"], e.Details["of"] = strconv.FormatInt(t.most.n, 10), strconv.FormatInt(t.all, 10)
	for _, c := range t.told {
		*c = refusals{}
	}
	t.most, t.all = nil, 0
	t.mu.Unlock()
	e.Time = instant.Of(t.now())
	t.write(ctx, e)
}

func (t *teller) write(ctx context.Context, e audit.Event) {
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
	e := audit.Event{Kind: audit.RateLimited, Severity: audit.Warning, Outcome: audit.Failure, UserAgent: cut(r.Origin.UserAgent, audit.MaxUserAgent), RequestID: r.ID, Reason: "rate_limited",
		Details: map[string]string{"endpoint": cut(what, 200), "policy": v.Policy.Name}}
	if r.Origin.Address.IsValid() {
		e.IPAddress = r.Origin.Address.String()
	}
	if !c.User.IsZero() {
		e.Actor = c.User.String()
	}
	l.teller.note(ctx, v.bucket, e)
}
