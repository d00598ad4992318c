package app

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/ports"
)

// TrailOptions tune a Trail. The zero value works.
type TrailOptions struct {
	Every      time.Duration // how often it is looked for events that are not linked; default 400 ms
	Records    uint64        // a checkpoint is kept behind so many records; default 1000
	Checkpoint time.Duration // and after so long, if there are more records than at the last; default 1 minute
	Retention  time.Duration // records that are older are cut away; 0: none
	// Send hands checkpoints on to a place off this store, one line each. It is tried again with the next one. Nil: they are logged, and no more.
	Send   func(ctx context.Context, line []byte) error
	Logger *slog.Logger // default: nothing is logged
}

// Why a trail cannot be gone on with.
var (
	// ErrTrailLost says that there was a chain, and that its head is gone.
	ErrTrailLost = errors.New("the audit trail was taken away: its key is there, and its signed head is not; restore it from a backup")
	// ErrTrailForged says that the head is not what was signed.
	ErrTrailForged = errors.New("the head of the audit trail is not signed by its key: it was changed; restore it from a backup")
)

// Trail links committed events into one chain, and reads it. Any number of nodes may run one on the same store: each record is linked once, by one of them.
type Trail struct {
	core   *Core
	sealer ports.Sealer
	o      TrailOptions

	turn  sync.Mutex // of linking
	key   *trailKey  // nil: not opened yet
	seen  uint64     // the last record that this node knows of
	yield int        // for so many rounds another node is left to link
	kept  audit.Checkpoint
	tried audit.Checkpoint // the last that was logged, and handed over to be sent
	at    instant.Instant  // when
	said  string           // the fault that was logged last

	outbox     chan audit.Checkpoint // what Run sends, apart from linking: a place that does not answer holds nothing up
	posted     atomic.Pointer[posted]
	linked     atomic.Uint64
	unreadable atomic.Uint64
	status     atomic.Pointer[TrailStatus]
}

// posted is what became of the last checkpoint that was to be sent.
type posted struct {
	c   audit.Checkpoint
	err error
}

// TrailStatus is how linking goes.
type TrailStatus struct {
	At   time.Time     // of the last round that went well; zero: none did
	Lag  time.Duration // how old the oldest event was then that was not linked; 0: all were
	Seq  uint64        // the last record
	Err  error         // of the last round; nil: it went well
	Sent error         // why the last checkpoint could not be sent; nil: it was, or need not be
}

// NewTrail is a trail that Run keeps.
func NewTrail(c *Core, sealer ports.Sealer, o TrailOptions) *Trail {
	if o.Every <= 0 {
		o.Every = 400 * time.Millisecond
	}
	if o.Records == 0 {
		o.Records = 1000
	}
	if o.Checkpoint <= 0 {
		o.Checkpoint = time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	t := &Trail{core: c, sealer: sealer, o: o, outbox: make(chan audit.Checkpoint, 1)}
	t.status.Store(&TrailStatus{})
	t.posted.Store(&posted{})
	return t
}

// trailKey signs checkpoints. The private half is in a function, so that nothing prints it.
type trailKey struct {
	public []ed25519.PublicKey // the chain's first key first
	id     audit.KeyID
	chain  audit.ChainID
	sign   func(message []byte) []byte
}

func (k *trailKey) signed(c audit.Checkpoint) audit.Checkpoint {
	c.Chain, c.Key = k.chain, k.id
	copy(c.Signature[:], k.sign(c.Message()))
	return c
}

// made reports whether the key, or one before it, signed the checkpoint.
func (k *trailKey) made(c *audit.Checkpoint) bool {
	for _, public := range k.public {
		if c.SignedBy(public) {
			return c.Chain == k.chain
		}
	}
	return false
}

func attestAt(kid string) string { return "keys/audit/" + kid }

// open opens the key, or makes it; and begins the chain of a new one. The turn is held.
//
// A new key is Next until the first head is stored. So a trail that is gone is told from one that has not begun, whenever a process died.
func (t *Trail) open(ctx context.Context) (*trailKey, audit.Head, error) {
	head, err := t.core.Stores.Trail.Head(ctx)
	if damaged := (*audit.DamagedError)(nil); errors.As(err, &damaged) {
		ring, lost := t.core.Stores.Keys.Find(ctx, keyset.Audit)
		if lost != nil {
			return nil, head, fmt.Errorf("read the audit keys: %w", lost)
		}
		k, lost := t.keyOf(ring)
		return k, head, cmp.Or(lost, fmt.Errorf("%w: %w", ErrTrailForged, damaged))
	}
	if err != nil {
		return nil, head, err
	}
	if t.key != nil && !head.Last.IsZero() {
		return t.key, head, t.holds(t.key, &head)
	}
	ring, err := t.core.Stores.Keys.Find(ctx, keyset.Audit)
	switch {
	case errors.Is(err, ports.ErrNotFound) && !head.Last.IsZero():
		return nil, head, ErrTrailForged
	case errors.Is(err, ports.ErrNotFound):
		ring, err = t.newRing(ctx)
	}
	if err != nil {
		return nil, head, fmt.Errorf("read the audit keys: %w", err)
	}
	k, err := t.keyOf(ring)
	if err != nil {
		return nil, head, err
	}
	_, begun := ring.Primary(keyset.Attest)
	if head.Last.IsZero() && begun { // another node may have begun between the two reads; the head is stored before the key says so
		if head, err = t.core.Stores.Trail.Head(ctx); err != nil {
			return nil, head, err
		}
	}
	switch {
	case head.Last.IsZero() && begun:
		return k, head, ErrTrailLost
	case head.Last.IsZero():
		first := k.signed(audit.Checkpoint{Purpose: audit.Headed, Time: t.core.now(), Head: k.chain.Genesis()})
		if err := t.core.Stores.Trail.Append(ctx, audit.Checkpoint{}, nil, first); err != nil && !errors.Is(err, ports.ErrTaken) {
			return nil, head, err
		}
		if head, err = t.core.Stores.Trail.Head(ctx); err != nil {
			return nil, head, err
		}
	}
	if !begun {
		if err := t.begin(ctx); err != nil {
			return nil, head, err
		}
	}
	if err := t.holds(k, &head); err != nil {
		return k, head, err
	}
	t.key = k
	return k, head, nil
}

func (t *Trail) holds(k *trailKey, head *audit.Head) error {
	if !k.made(&head.Last) || head.Last.Purpose != audit.Headed || !head.Cut.IsZero() && !k.made(&head.Cut) {
		return ErrTrailForged
	}
	return nil
}

// newRing makes the ring of audit keys, unless another node is first.
func (t *Trail) newRing(ctx context.Context) (ring keyset.Ring, err error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(t.core.Random, seed); err != nil {
		return ring, unavailable("make the audit key", err)
	}
	public := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return ring, fmt.Errorf("make the audit key: %w", err)
	}
	now, kid := t.core.now(), audit.KeyIDOf(public).String()
	k := keyset.Key{ID: kid, Purpose: keyset.Attest, Algorithm: keyset.EdDSA, State: keyset.Next, Created: now, Changed: now, Public: der}
	if k.Wrapped, err = t.sealer.Seal(attestAt(kid), seed); err != nil {
		return ring, err
	}
	clear(seed)
	err = t.core.Stores.Keys.Create(ctx, keyset.Ring{Name: keyset.Audit, Keys: []keyset.Key{k}}, ports.Effects{})
	if err != nil && !errors.Is(err, ports.ErrTaken) {
		return ring, err
	}
	return t.core.Stores.Keys.Find(ctx, keyset.Audit)
}

// begin notes that the chain has a head.
func (t *Trail) begin(ctx context.Context) error {
	return t.core.Stores.Keys.Update(ctx, keyset.Audit, func(r keyset.Ring) (keyset.Ring, ports.Effects, error) {
		for _, k := range r.Keys {
			if k.State == keyset.Next {
				r, err := r.Promote(k.ID, t.core.now())
				return r, ports.Effects{}, err
			}
		}
		return r, ports.Effects{}, nil
	})
}

func (t *Trail) keyOf(ring keyset.Ring) (*trailKey, error) {
	k := &trailKey{}
	for _, one := range ring.Keys {
		parsed, err := x509.ParsePKIXPublicKey(one.Public)
		public, ok := parsed.(ed25519.PublicKey)
		if err != nil || !ok {
			return nil, fmt.Errorf("read the audit key %s: it is damaged: %w", one.ID, ports.ErrUnavailable)
		}
		if k.public = append(k.public, public); one.State != keyset.Primary && one.State != keyset.Next {
			continue
		}
		seed, err := t.sealer.Open(attestAt(one.ID), one.Wrapped)
		if err != nil {
			return nil, fmt.Errorf("open the audit key %s: %w", one.ID, err)
		}
		if len(seed) != ed25519.SeedSize {
			return nil, fmt.Errorf("open the audit key %s: it is damaged: %w", one.ID, ports.ErrUnavailable)
		}
		private := ed25519.NewKeyFromSeed(seed)
		if clear(seed); !bytes.Equal(private.Public().(ed25519.PublicKey), public) {
			return nil, fmt.Errorf("open the audit key %s: its halves do not fit: %w", one.ID, ports.ErrUnavailable)
		}
		k.id, k.sign = audit.KeyIDOf(public), func(message []byte) []byte { return ed25519.Sign(private, message) }
	}
	if k.sign == nil {
		return nil, fmt.Errorf("read the audit keys: none signs: %w", ports.ErrUnavailable)
	}
	k.chain = audit.ChainOf(k.public[0])
	return k, nil
}

// Keys are the public keys that verify the trail, the one that its chain begins with first.
func (t *Trail) Keys(ctx context.Context) ([]ed25519.PublicKey, error) {
	t.turn.Lock()
	defer t.turn.Unlock()
	k, _, err := t.open(ctx)
	if k == nil {
		return nil, err
	}
	return k.public, nil // of a trail that is broken too
}

// Link links everything that is committed and not linked yet, and answers how many records that made. It is what Run does again and again, for whoever cannot wait for it.
func (t *Trail) Link(ctx context.Context) (n int, err error) {
	for more := true; more && err == nil; {
		var some int
		some, more, err = t.turned(ctx, true)
		n += some
	}
	return n, err
}

// turned is link, with the turn.
func (t *Trail) turned(ctx context.Context, urgent bool) (n int, more bool, err error) {
	t.turn.Lock()
	defer t.turn.Unlock()
	return t.link(ctx, urgent)
}

// linkedInTurn is how many batches are linked before others, who want to read, have their turn.
const linkedInTurn = 16

// link links some of what is committed, and answers whether there is more; unless it is urgent it leaves the work to another node that is at it. The turn is held.
func (t *Trail) link(ctx context.Context, urgent bool) (n int, more bool, err error) {
	st := TrailStatus{At: t.core.Now()}
	defer func() {
		if st.Err = err; err != nil {
			last := t.status.Load()
			st.At, st.Seq, st.Lag = last.At, last.Seq, last.Lag
			if !last.At.IsZero() {
				st.Lag = max(st.Lag, t.core.Now().Sub(last.At))
			}
		}
		t.status.Store(&st)
	}()
	for range linkedInTurn {
		k, head, err := t.open(ctx)
		if err != nil {
			return n, false, err
		}
		st.Seq = head.Last.Seq
		if head.Last.Seq != t.seen { // another node is at it
			t.yield = yields
		}
		t.seen = head.Last.Seq
		if urgent {
			t.yield = 0
		}
		most := audit.MaxBatch
		if t.yield > 1 {
			most = 1 // to tell how late it is
		}
		events, last, err := t.core.Stores.Events.List(ctx, head.Last.Position, most)
		if err != nil {
			return n, false, fmt.Errorf("read the events that are not linked: %w", err)
		}
		if len(events) == 0 {
			st.Lag = 0
			t.hand(&head.Last)
			return n, false, nil
		}
		st.Lag = age(events, t.core.now())
		if t.yield = max(t.yield-1, 0); most == 1 {
			return n, false, nil
		}
		made, err := t.append(ctx, k, &head, dated(events, t.core.now()), last)
		if errors.Is(err, ports.ErrTaken) {
			continue
		}
		if err != nil {
			return n, false, err
		}
		n += made
		st.At = t.core.Now()
	}
	return n, true, nil
}

// yields is for how many rounds a node leaves the linking to another that it has seen at it.
const yields = 3

// append links events behind the head.
func (t *Trail) append(ctx context.Context, k *trailKey, head *audit.Head, events []audit.Event, last uint64) (int, error) {
	salts := make([]audit.Salt, len(events))
	for i := range salts {
		if _, err := io.ReadFull(t.core.Random, salts[i][:]); err != nil {
			return 0, unavailable("draw a salt", err)
		}
	}
	links := head.Last.Chained(events, salts)
	for i := range links {
		links[i].Behind = head.Last.Position
	}
	end, now := &links[len(links)-1], t.core.now()
	next := k.signed(audit.Checkpoint{Purpose: audit.Headed, Time: now, Seq: end.Record.Seq, Head: end.Record.Hash(), Position: last})
	due := t.kept.IsZero() || next.Seq-min(t.kept.Seq, next.Seq) >= t.o.Records || now.Sub(t.kept.Time) >= t.o.Checkpoint || now < t.kept.Time
	if due {
		kept := next
		end.Checkpoint = &kept
	}
	if err := t.core.Stores.Trail.Append(ctx, head.Last, links, next); err != nil {
		return 0, err
	}
	if due {
		t.kept = next
	}
	t.hand(&next)
	t.seen = next.Seq
	t.linked.Add(uint64(len(links)))
	t.passedOver(links)
	return len(links), nil
}

// passedOver tells, once, of events that could not be read, and of which the records that were linked say so.
func (t *Trail) passedOver(links []audit.Link) {
	var first, last *audit.Record
	n := uint64(0)
	for i := range links {
		if r := &links[i].Record; r.Kind == audit.EventUnreadable {
			if n++; first == nil {
				first = r
			}
			last = r
		}
	}
	if n > 0 {
		t.unreadable.Add(n)
		t.o.Logger.Error("Events could not be read: they were changed in the store. The audit trail says so in their places, and goes on", "events", n, "first_record", first.Seq, "last_record", last.Seq, "first_was", first.Reason)
	}
}

// Unreadable is how many of the records that this process has linked stand for events that could not be read.
func (t *Trail) Unreadable() uint64 { return t.unreadable.Load() }

// hand logs a checkpoint and hands it over to be sent, once a while, if it is another than the last, or could not be sent. The turn is held.
func (t *Trail) hand(c *audit.Checkpoint) {
	now := t.core.now()
	done := t.posted.Load()
	if c.Seq == 0 || c.Same(&t.tried) && (t.o.Send == nil || c.Same(&done.c)) || now >= t.at && now.Sub(t.at) < t.o.Checkpoint {
		return
	}
	if t.at = now; !c.Same(&t.tried) {
		t.log(c)
	}
	t.tried = *c
	select {
	case t.outbox <- *c:
	default: // the one before has not gone yet
	}
}

func (t *Trail) log(c *audit.Checkpoint) {
	t.o.Logger.Info("Audit checkpoint", "records", c.Seq, "head", c.Head.String(), "checkpoint", string(c.AppendLine(nil)))
}

// send sends a checkpoint.
func (t *Trail) send(ctx context.Context, c audit.Checkpoint) {
	if t.o.Send == nil {
		return
	}
	err := t.o.Send(ctx, append(c.AppendLine(nil), '\n'))
	if err != nil {
		c = t.posted.Load().c
	}
	t.posted.Store(&posted{c, err})
}

// Run links what is committed, and cuts away what is too old, until ctx ends.
func (t *Trail) Run(ctx context.Context) {
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for {
			select {
			case <-ctx.Done():
				return
			case c := <-t.outbox:
				t.send(ctx, c)
			}
		}
	}()
	tick := time.NewTicker(t.o.Every)
	defer tick.Stop()
	var looked time.Time
	for {
		t.round(ctx)
		if now := time.Now(); t.o.Retention > 0 && now.Sub(looked) >= time.Hour {
			looked = now
			if _, err := t.Cut(ctx, Actor{Name: System}, t.core.now().Add(-t.o.Retention)); err != nil && ctx.Err() == nil {
				t.o.Logger.Warn("The audit trail could not be cut", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			t.last(sent)
			select {
			case <-sent:
			case <-time.After(lastWait):
			}
			return
		case <-tick.C:
		}
	}
}

// last links what is left when the process ends, and sends the head. It waits for neither longer than lastWait.
func (t *Trail) last(sent <-chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), lastWait)
	defer cancel()
	if _, err := t.Link(ctx); err != nil || t.linked.Load() == 0 {
		return
	}
	t.turn.Lock()
	defer t.turn.Unlock()
	_, head, err := t.open(ctx)
	if err != nil || head.Last.Same(&t.tried) && t.o.Send == nil || head.Last.Same(&t.posted.Load().c) {
		return
	}
	t.log(&head.Last)
	over := make(chan struct{})
	go func() {
		defer close(over)
		<-sent // one after the other
		t.send(ctx, head.Last)
	}()
	select {
	case <-over:
	case <-ctx.Done():
	}
}

// lastWait bounds what is done when the process ends.
const lastWait = 2 * time.Second

// round links once, and logs faults when they change.
func (t *Trail) round(ctx context.Context) {
	var err error
	for more := true; more && err == nil; {
		_, more, err = t.turned(ctx, false)
	}
	if ctx.Err() != nil {
		return
	}
	sent := t.posted.Load().err
	said := ""
	if err != nil || sent != nil {
		said = errors.Join(err, sent).Error()
	}
	if said == t.said {
		return
	}
	t.said = said
	switch {
	case err != nil:
		t.o.Logger.Error("Events cannot be linked into the audit trail; they are kept, and linked later", "error", err)
	case sent != nil:
		t.o.Logger.Error("An audit checkpoint could not be sent", "error", sent)
	default:
		t.o.Logger.Info("Events are linked into the audit trail again")
	}
}

// Status is how linking goes on this node.
func (t *Trail) Status() TrailStatus {
	st := *t.status.Load()
	st.Sent = t.posted.Load().err
	return st
}

// Linked is how many records this process has linked.
func (t *Trail) Linked() uint64 { return t.linked.Load() }
