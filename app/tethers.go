package app

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/token"
)

// Why what is held ends that no revocation, expiry or stale view ends.
var (
	// ErrAddressBlocked ends what an address holds that was blocked.
	ErrAddressBlocked = errors.New("the address is blocked")
	// ErrStopping ends what is open when the process stops, and refuses what would be opened after that.
	ErrStopping = errors.New("the server is stopping")
)

// TethersOptions tune a Tethers. The zero value works.
type TethersOptions struct {
	MaxPerUser int // connections of one user that Seat lets in, followers of the feed left out; default 32
	MaxOpen    int // of all together; default 20,000
	// MaxPerKey are the followers of the feed by one API key, or by one administrator without a key, and MaxFollowers those of all together; default 128 and 1,000. They have seats of their own, which no
	// storm of sockets takes.
	MaxPerKey, MaxFollowers int
	// Blocked tells whether an address is blocked; Look has it asked again about all that is held. Default: none is.
	Blocked func(netip.Addr) bool
	// Isolated tells whether this node serves nobody; Look has it asked again. Default: it serves.
	Isolated func() bool
	// Again is Guard.Again: it is asked about a key whose owner has changed, for that alone ends no key. Default: what such a key holds ends.
	Again func(context.Context, Caller) (Caller, error)
}

const (
	// tetherTick is how often expiries, and whether the view is fresh, are looked at while something is held.
	tetherTick = 250 * time.Millisecond
	// tetherRest bounds what looking at everything takes of a processor while revocations come without a pause: after each time it rests so many times as long, but
	// never longer than the tick.
	tetherRest = 10
	// againPatience is how long a store may take to tell of a key whose owner has changed. Then what the key holds ends.
	againPatience = 500 * time.Millisecond
)

// Tethers ends what is open once it would not be let in again: a connection is admitted once and then lives by itself. All its methods may be called at once.
type Tethers struct {
	view    *view.View
	now     func() time.Time
	leeway  time.Duration
	options TethersOptions
	wake    chan struct{} // holds one when everything is to be looked at
	first   chan struct{} // holds one when the first is held
	idle    *sync.Cond    // of mu: nobody sits any more
	stopped context.Context
	stop    context.CancelFunc
	asking  sync.WaitGroup // one for each key that is asked about again

	mu     sync.Mutex
	held   map[*tether]struct{}
	seats  seats
	closed bool
}

// tether is one thing that is held. Tethers.mu guards what changes.
type tether struct {
	caller Caller // without claims: whoever needs none; of a key replaced when it was asked about again
	asked  bool   // about again, just now
	until  instant.Instant
	addr   netip.Addr
	end    func(error)
}

// NewTethers holds nothing yet. Run must be running for anything to end.
func NewTethers(c *Core, o TethersOptions) *Tethers {
	if o.MaxPerUser <= 0 {
		o.MaxPerUser = 32
	}
	if o.MaxOpen <= 0 {
		o.MaxOpen = 20_000
	}
	if o.MaxPerKey <= 0 {
		o.MaxPerKey = 128
	}
	if o.MaxFollowers <= 0 {
		o.MaxFollowers = 1000
	}
	t := &Tethers{view: c.View, now: c.Now, leeway: c.Tunables.Leeway, options: o, wake: make(chan struct{}, 1), first: make(chan struct{}, 1), held: map[*tether]struct{}{}, seats: seats{of: map[holder]int{}}}
	t.idle = sync.NewCond(&t.mu)
	t.stopped, t.stop = context.WithCancel(context.Background())
	return t
}

// Hold has end called, once, when what a caller was admitted to is to end: at once when their token, session, user, API key, signing key or epoch is withdrawn (*revocation.RevokedError), or the
// address blocked (ErrAddressBlocked), and within a second when the token expires (token.ErrExpired), when the view of the revocations becomes too old to be trusted
// (revocation.ErrStale), or when the process stops (ErrStopping). What was withdrawn between the admission and the call ends it too. A caller without claims, who is the operator or anybody, ends for the address and the stop alone.
//
// End runs in a goroutine of the Tethers and must return at once, as the cancel function of a context does; it may call release. No call begins after release has returned that had not
// begun before; release may be called more than once.
func (t *Tethers) Hold(caller Caller, addr netip.Addr, end func(error)) (release func()) {
	h := t.tether(caller, addr, end)
	t.mu.Lock()
	t.held[h] = struct{}{}
	if len(t.held) == 1 {
		signal(t.first)
	}
	closed := t.closed
	t.mu.Unlock()
	// It is held first and looked at then: what comes between is found by one of both.
	err := t.refusal(h, instant.Of(t.now()))
	if closed {
		err = ErrStopping
	}
	if t.reconsiders(caller, err) {
		t.Look()
	} else if err != nil && t.drop(h) {
		go end(err)
	}
	return func() { t.drop(h) }
}

// Refusal is why a caller at an address would not be let in now, or nil. It is what everything that is held is asked, for whoever must know between: before each thing that is told them.
func (t *Tethers) Refusal(caller Caller, addr netip.Addr) error {
	err := t.refusal(t.tether(caller, addr, nil), instant.Of(t.now()))
	if t.reconsiders(caller, err) {
		_, err = t.again(caller)
	}
	return err
}

func (t *Tethers) tether(caller Caller, addr netip.Addr, end func(error)) *tether {
	h := &tether{caller: caller, until: instant.Forever, addr: addr, end: end}
	if caller.Claims != nil {
		h.until = caller.Claims.ExpiresAt
		if !caller.IsKey() {
			h.until = h.until.Add(t.leeway)
		}
	}
	return h
}

// drop lets go of h, and reports whether it was held.
func (t *Tethers) drop(h *tether) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, was := t.held[h]
	delete(t.held, h)
	return was
}

// Look has everything that is held looked at, soon: something changed of what Blocked answers.
func (t *Tethers) Look() { signal(t.wake) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run ends what is to end until ctx does, and then everything.
func (t *Tethers) Run(ctx context.Context) {
	defer t.asking.Wait()
	defer t.Stop()
	cancel := t.view.Subscribe(func(revocation.Entry) { signal(t.wake) })
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.first: // a process that holds nothing has no ticker
		}
		signal(t.wake) // what came before anybody subscribed is looked at as well
		t.watch(ctx)
	}
}

// watch looks after what is held until nothing is.
func (t *Tethers) watch(ctx context.Context) {
	ticker := time.NewTicker(tetherTick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
			begun := time.Now()
			t.sweep(t.refusal)
			if !pause(ctx, min(tetherRest*time.Since(begun), tetherTick)) {
				return
			}
		case <-ticker.C:
			if !t.view.Fresh() {
				t.sweep(t.refusal)
			} else {
				t.sweep(func(h *tether, now instant.Instant) error {
					if now >= h.until {
						return token.ErrExpired
					}
					return nil
				})
			}
			if t.none() {
				return
			}
		}
	}
}

// pause waits, and reports whether ctx still lives.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (t *Tethers) none() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.held) == 0
}

// refusal is why h would not be let in now.
func (t *Tethers) refusal(h *tether, now instant.Instant) error {
	if h.caller.Claims != nil {
		if now >= h.until {
			return token.ErrExpired
		}
		if err := t.view.Check(h.caller.Claims); err != nil {
			return err
		}
	}
	if t.options.Blocked != nil && h.addr.IsValid() && t.options.Blocked(h.addr) {
		return ErrAddressBlocked
	}
	if t.options.Isolated != nil && h.addr.IsValid() && t.options.Isolated() { // the operator's own socket has no address
		return ErrIsolated
	}
	return nil
}

// reconsiders reports whether a refusal is of a key for its owner's sake, who has changed since it was read: by that alone they end their sign-ins, and not the key.
func (t *Tethers) reconsiders(c Caller, err error) bool {
	var revoked *revocation.RevokedError
	return t.options.Again != nil && c.IsKey() && errors.As(err, &revoked) && revoked.Kind == revocation.User
}

func (t *Tethers) again(c Caller) (Caller, error) {
	ctx, cancel := context.WithTimeout(t.stopped, againPatience)
	defer cancel()
	return t.options.Again(ctx, c)
}

// ask asks about the key of h again, and ends h unless the key is as good as it was. It is called without the lock.
func (t *Tethers) ask(h *tether, c Caller) {
	now, err := t.again(c)
	t.mu.Lock()
	h.asked = false
	if err == nil {
		h.caller = now
	}
	t.mu.Unlock()
	if err == nil {
		t.Look() // what came meanwhile was not looked at
	} else if t.drop(h) {
		h.end(err)
	}
}

// sweep ends what is refused.
func (t *Tethers) sweep(refusal func(*tether, instant.Instant) error) {
	type end struct {
		h   *tether
		err error
	}
	var ends []end
	now := instant.Of(t.now())
	t.mu.Lock()
	for h := range t.held {
		err := refusal(h, now)
		switch {
		case err == nil:
		case !t.reconsiders(h.caller, err):
			ends = append(ends, end{h, err})
			delete(t.held, h)
		case !h.asked:
			h.asked = true
			c := h.caller
			t.asking.Go(func() { t.ask(h, c) })
		}
	}
	t.mu.Unlock()
	for _, e := range ends {
		e.h.end(e.err)
	}
}

// Stop ends everything with ErrStopping, and whatever would be held from then on. It waits for nothing: Drain does.
func (t *Tethers) Stop() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.stop()
	t.sweep(func(*tether, instant.Instant) error { return ErrStopping })
}

// Drain waits until no connection has a seat, or answers the error of ctx.
func (t *Tethers) Drain(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.idle.Broadcast()
	})
	defer stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.seats.all() > 0 {
		if ctx.Err() != nil {
			return fmt.Errorf("%d connections are still open: %w", t.seats.all(), ctx.Err())
		}
		t.idle.Wait()
	}
	return nil
}

// EndCode is what is told to whoever's connection was ended: a code as RefusalCode has it, or address_blocked, stopping, too_slow or forbidden, and the reason of a revocation; unavailable for any other error.
func EndCode(err error) (code, reason string) {
	var revoked *revocation.RevokedError
	switch {
	case errors.As(err, &revoked):
		return RefusalCode(err), revoked.Reason.String()
	case errors.Is(err, ErrAddressBlocked):
		return "address_blocked", ""
	case errors.Is(err, ErrStopping), errors.Is(err, ErrIsolated):
		return "stopping", "" // of this node; another serves
	case errors.Is(err, ErrSlow):
		return "too_slow", ""
	case errors.Is(err, ErrForbidden):
		return "forbidden", "" // to a key that may do less now
	}
	if code = RefusalCode(err); code == "" {
		code = "unavailable"
	}
	return code, ""
}
