package app

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

const (
	// keyMemory is how long a key is known without being read again. Every revocation outlives that: it is in the view for token.Margin at least, so that
	// whatever ends a key, or changes what its owner may do, is seen by every node that still knows the key of before.
	keyMemory = token.Margin / 2
	// maxKnownKeys bounds the keys that are known, and with some 750 to 1,400 bytes each their memory.
	maxKnownKeys = 8192
	// maxReads is how often a key is read for one request while its owner goes on changing.
	maxReads = 3
	// maxUsedKeys bounds the keys whose uses wait to be written down. Those beyond are not counted.
	maxUsedKeys = 65536
	// keyShards is how many locks the known keys are parted by.
	keyShards = 16
)

// knownKey is a key as it was read, with what its owner was then. It is never changed.
type knownKey struct {
	key    apikey.Key
	claims token.Claims
	scopes apikey.Scopes // what the key was given and its owner may still give
	owner  error         // why its owner's keys have ended
	read   time.Time     // with its monotonic reading
	limit  *Policy       // of its own; nil: as of every key

	again atomic.Pointer[apikey.Again] // its text, once that has proved it here
	used  *usage
	spare atomic.Bool // looked up since it was put, or last spared
}

// caller is who bears the key.
func (k *knownKey) caller() Caller {
	return Caller{Claims: &k.claims, Scopes: k.scopes, Limit: k.limit}
}

// refusal is why the key has ended, by what was read of it and its owner; what ended them since, the view knows. What has ended never lives again.
func (k *knownKey) refusal(now instant.Instant) error {
	return cmp.Or(k.key.Refusal(now), k.owner)
}

// ownersEnd is why a key of an account has ended for the account's sake, or nil.
func ownersEnd(k *apikey.Key, a *account.Account) error {
	if why, ok := a.MayUseKey(k.Generation); !ok {
		return &revocation.RevokedError{Verdict: revocation.Verdict{Kind: revocation.APIKey, Reason: why}}
	}
	return nil
}

// knowProved reads the key that p proves, and its owner. A key that does not exist, whose owner does not, or that p does not prove, is apikey.ErrInvalid.
func (c *Core) knowProved(ctx context.Context, p apikey.Proof) (*knownKey, error) {
	return c.know(ctx, p.ID, func(k *apikey.Key) bool { return k.Proved(p) })
}

// know is knowProved, of a key that is proved in whatever way.
func (c *Core) know(ctx context.Context, kid id.APIKey, proved func(*apikey.Key) bool) (*knownKey, error) {
	k := &knownKey{read: c.Now()} // before it is read: it is not younger than it says
	var err error
	k.key, err = c.Stores.APIKeys.Find(ctx, kid)
	switch {
	case errors.Is(err, ports.ErrNotFound):
		return nil, c.asOfADecoy(ctx, id.User(kid))
	case err != nil:
		return nil, err
	case !proved(&k.key):
		return nil, c.asOfADecoy(ctx, k.key.Owner)
	}
	acct, err := c.Stores.Accounts.Find(ctx, k.key.Owner)
	if err != nil {
		return nil, orInvalid(err)
	}
	if k.owner = ownersEnd(&k.key, &acct); acct.Decoy {
		if k.owner != nil || k.key.Revoked != 0 { // it was put away
			return nil, apikey.ErrInvalid
		}
		return nil, &decoyKeyError{acct.ID, kid}
	}
	k.scopes = k.key.Scopes & apikey.Granted(acct.Role)
	role := account.RoleUser
	if k.scopes.Has(apikey.Admin) {
		role = acct.Role
	}
	t := &c.Tunables
	k.claims = token.Claims{APIKey: kid, Subject: acct.ID, Issuer: t.Issuer, Audience: []string{t.Audience}, ClientID: kid.String(), Scope: k.scopes.String(),
		Roles: []string{string(role)}, Generation: acct.Generation, IssuedAt: k.key.Created, NotBefore: k.key.Created, ExpiresAt: k.key.End()}
	k.used, k.limit = &usage{kid: kid}, c.Limiter.ofKey(k.key.Limit)
	return k, nil
}

// asOfADecoy refuses a key that proves nothing after the work that a decoy's takes: its owner is read, or looked for in vain. Whoever tries keys learns nothing from how long it took.
func (c *Core) asOfADecoy(ctx context.Context, owner id.User) error {
	if _, err := c.Stores.Accounts.Find(ctx, owner); err != nil {
		return orInvalid(err)
	}
	return apikey.ErrInvalid
}

func orInvalid(err error) error {
	if errors.Is(err, ports.ErrNotFound) {
		return apikey.ErrInvalid
	}
	return err
}

// keyBook is the keys that this node knows, and how they were used since that was last written down.
type keyBook struct {
	shards [keyShards]keyShard

	mu   sync.Mutex
	used []*usage // each with uses that are not written down
}

type keyShard struct {
	mu    sync.RWMutex
	known map[id.APIKey]*knownKey
	queue []*knownKey // in the order in which they are looked at when there is no room; one that was replaced stays until its turn
}

func newKeyBook() *keyBook {
	b := &keyBook{}
	for i := range b.shards {
		b.shards[i].known = map[id.APIKey]*knownKey{}
	}
	return b
}

// of is the shard of a key. Ids are random, and none that was not drawn here gets in.
func (b *keyBook) of(kid id.APIKey) *keyShard { return &b.shards[kid[0]%keyShards] }

// get answers the key if it is known, and has been for less than keyMemory by either clock: the monotonic one stands still while a machine sleeps.
func (b *keyBook) get(kid id.APIKey, now time.Time) *knownKey {
	k := b.last(kid)
	if k == nil {
		return nil
	}
	if age, wall := now.Sub(k.read), now.Round(0).Sub(k.read.Round(0)); age >= keyMemory || wall < 0 || wall >= keyMemory {
		return nil
	}
	if !k.spare.Load() {
		k.spare.Store(true)
	}
	return k
}

// again answers the key of a text that has proved it here before, if get answers it.
func (b *keyBook) again(text string, now time.Time) *knownKey {
	kid, ok := apikey.Named(text)
	if !ok {
		return nil
	}
	k := b.get(kid, now)
	if k == nil {
		return nil
	}
	if again := k.again.Load(); again == nil || !again.Proves(&k.key, text) {
		return nil
	}
	return k
}

// last is what was known of the key last, however long ago that was read.
func (b *keyBook) last(kid id.APIKey) *knownKey {
	s := b.of(kid)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.known[kid]
}

// put makes a key known, in the place of what was known of it. The one that has not been looked up for longest goes, when there is no room.
func (b *keyBook) put(k *knownKey) {
	s := b.of(k.key.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	if was := s.known[k.key.ID]; was != nil {
		k.used = was.used // also of one that another request has just read: a key is written down once
	}
	for len(s.queue) >= maxKnownKeys/keyShards {
		oldest := s.queue[0]
		s.queue[0] = nil
		s.queue = s.queue[1:]
		if s.known[oldest.key.ID] != oldest {
			continue
		}
		if oldest.spare.Swap(false) {
			s.queue = append(s.queue, oldest)
			continue
		}
		delete(s.known, oldest.key.ID)
	}
	s.known[k.key.ID] = k
	s.queue = append(s.queue, k)
}

// usage counts the uses of one key that are not written down.
type usage struct {
	kid  id.APIKey
	n    atomic.Uint64
	last atomic.Int64                   // instant.Instant
	from atomic.Pointer[session.Origin] // replaced, never changed

	mu       sync.Mutex
	networks []netip.Prefix // that it was used from, in the order in which they came, at most session.MaxPlaces, and beside them that of from
}

// note counts one use.
func (b *keyBook) note(u *usage, now instant.Instant, from session.Origin) {
	if was := u.from.Load(); was == nil || *was != from {
		u.from.Store(kept(from))
		u.saw(from.Network())
	}
	u.last.Store(int64(now))
	if u.n.Add(1) == 1 {
		b.waits(u)
	}
}

// saw remembers networks. Of more than there is room for nobody is told: that a key moves is seen from the first.
func (u *usage) saw(all ...netip.Prefix) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, p := range all {
		if p.IsValid() && len(u.networks) < session.MaxPlaces && !slices.Contains(u.networks, p) {
			u.networks = append(u.networks, p)
		}
	}
}

// take hands over what is not written down, and begins anew; ok is false when there is nothing.
func (u *usage) take() (use apikey.Use, ok bool) {
	if use.N = u.n.Swap(0); use.N == 0 {
		return use, false
	}
	use.Last, use.From = instant.Instant(u.last.Load()), *u.from.Load()
	u.mu.Lock()
	defer u.mu.Unlock()
	use.Networks, u.networks = u.networks, nil
	return use, true
}

// kept is an origin that holds on to no more of its request.
func kept(from session.Origin) *session.Origin {
	return &session.Origin{Address: from.Address, UserAgent: strings.Clone(from.UserAgent)}
}

func (b *keyBook) waits(u *usage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.used) < maxUsedKeys {
		b.used = append(b.used, u)
	} else {
		u.n.Store(0)
	}
}

// back has wait what a store could not take.
func (b *keyBook) back(u *usage, use *apikey.Use) {
	u.saw(use.Networks...)
	if u.n.Add(use.N) == use.N {
		b.waits(u)
	}
}

// take hands over what waits.
func (b *keyBook) take() []*usage {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.used
	b.used = nil
	return all
}
