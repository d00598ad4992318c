package app

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/id"
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

// CrowdedError refuses one more open connection.
type CrowdedError struct {
	Own bool // it is the user's own that are too many, not all together
	Max int
}

func (e *CrowdedError) Error() string {
	if e.Own {
		return fmt.Sprintf("the user has %d connections open already: close one", e.Max)
	}
	return fmt.Sprintf("the server has %d connections open already: try again later", e.Max)
}

// TethersOptions tune a Tethers. The zero value works.
type TethersOptions struct {
	MaxPerUser int // connections of one user that Seat lets in; default 32
	MaxOpen    int // of all together; default 20,000
	// Blocked tells whether an address is blocked; Look has it asked again about all that is held. Default: none is.
	Blocked func(netip.Addr) bool
}

const (
	// tetherTick is how often expiries, and whether the view is fresh, are looked at while something is held.
	tetherTick = 250 * time.Millisecond
	// tetherRest bounds what looking at everything takes of a processor while revocations come without a pause: after each time it rests so many times as long, but
	// never longer than the tick.
	tetherRest = 10
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

	mu     sync.Mutex
	held   map[*tether]struct{}
	seats  map[id.User]int
	seated int
	closed bool
}

// tether is one thing that is held. Only its being in held is ever changed.
type tether struct {
	claims *token.Claims // nil: of whoever needs none
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
	t := &Tethers{view: c.View, now: c.Now, leeway: c.Tunables.Leeway, options: o, wake: make(chan struct{}, 1), first: make(chan struct{}, 1), held: map[*tether]struct{}{}, seats: map[id.User]int{}}
	t.idle = sync.NewCond(&t.mu)
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
	if err != nil && t.drop(h) {
		go end(err)
	}
	return func() { t.drop(h) }
}

// Refusal is why a caller at an address would not be let in now, or nil. It is what everything that is held is asked, for whoever must know between: before each thing that is told them.
func (t *Tethers) Refusal(caller Caller, addr netip.Addr) error {
	return t.refusal(t.tether(caller, addr, nil), instant.Of(t.now()))
}

func (t *Tethers) tether(caller Caller, addr netip.Addr, end func(error)) *tether {
	h := &tether{claims: caller.Claims, until: instant.Forever, addr: addr, end: end}
	if h.claims != nil {
		h.until = h.claims.ExpiresAt
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

// Seat counts one more connection of a user, and refuses it with a *CrowdedError where the user or all together have too many, and with ErrStopping at the stop. Leave gives the seat back, and may be called more
// than once. Whoever has no account, as the operator, is counted among all alone.
func (t *Tethers) Seat(user id.User) (leave func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return nil, ErrStopping
	case t.seated >= t.options.MaxOpen:
		return nil, &CrowdedError{Max: t.options.MaxOpen}
	case !user.IsZero() && t.seats[user] >= t.options.MaxPerUser:
		return nil, &CrowdedError{Own: true, Max: t.options.MaxPerUser}
	}
	t.seats[user]++
	t.seated++
	return sync.OnceFunc(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.seats[user]--; t.seats[user] == 0 {
			delete(t.seats, user)
		}
		if t.seated--; t.seated == 0 {
			t.idle.Broadcast()
		}
	}), nil
}

// Open is how many connections have a seat.
func (t *Tethers) Open() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seated
}

// Run ends what is to end until ctx does, and then everything.
func (t *Tethers) Run(ctx context.Context) {
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
	if h.claims != nil {
		if now >= h.until {
			return token.ErrExpired
		}
		if err := t.view.Check(h.claims); err != nil {
			return err
		}
	}
	if t.options.Blocked != nil && h.addr.IsValid() && t.options.Blocked(h.addr) {
		return ErrAddressBlocked
	}
	return nil
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
		if err := refusal(h, now); err != nil {
			ends = append(ends, end{h, err})
			delete(t.held, h)
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
	for t.seated > 0 {
		if ctx.Err() != nil {
			return fmt.Errorf("%d connections are still open: %w", t.seated, ctx.Err())
		}
		t.idle.Wait()
	}
	return nil
}

// EndCode is what is told to whoever's connection was ended: a code as RefusalCode has it, or address_blocked, stopping or too_slow, and the reason of a revocation; unavailable for any other error.
func EndCode(err error) (code, reason string) {
	var revoked *revocation.RevokedError
	switch {
	case errors.As(err, &revoked):
		return RefusalCode(err), revoked.Reason.String()
	case errors.Is(err, ErrAddressBlocked):
		return "address_blocked", ""
	case errors.Is(err, ErrStopping):
		return "stopping", ""
	case errors.Is(err, ErrSlow):
		return "too_slow", ""
	}
	if code = RefusalCode(err); code == "" {
		code = "unavailable"
	}
	return code, ""
}
