package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// JWKSLag is how long other services may go on with the key set that they fetched before: the five minutes for which it may be cached, and the quarter of an hour that
// widespread libraries wait at least.
const JWKSLag = 15 * time.Minute

const (
	// ringEvery is how often the ring is read again, for what other nodes did to it and what is due by itself.
	ringEvery = 5 * time.Second
	// ringWithin bounds one reading of it, with what is due.
	ringWithin = 10 * time.Second
	// lookUpPause is how long after a look for an unknown key the next may follow, for all comers.
	lookUpPause = 5 * time.Second
	// lookUpWithin is how long a request waits for it.
	lookUpWithin = time.Second
	// minSigningSecret is the shortest secret of an HS256 key, in bytes (RFC 7518, section 3.2).
	minSigningSecret = 32
)

// RotatorOptions tune a Rotator. The zero value works.
type RotatorOptions struct {
	// Algorithm is that of the first key, and of those that follow by a rotation that names none. Empty: HS256, and then that of the key before.
	Algorithm string
	// Interval is the age at which a key is followed by another, by itself; 0: by hand alone.
	Interval time.Duration
	// Lag is how long others may go on with the key set that they fetched before; 0: JWKSLag.
	Lag time.Duration
	// Make makes and keeps a SECRET_KEY, when there is none and a key of HS256 is to sign; nil: that is refused. Signed says that the store has signed with one, which is not there: then
	// Make answers an error that says where it is to be, since other services verify with it, and a start without it is a mistake.
	Make func(ctx context.Context, signed bool) (secret.Text, error)
	// Kept reports whether the secret of that name is one that the system made for itself. When its key is revoked it is passed over, where others refuse the start. nil: none is.
	Kept func(name string) bool
	// Versions says that SECRET_KEY_PREVIOUS is the version before of its source, which nobody takes away: it verifies until its tokens are over, and a revoked one refuses nothing.
	Versions bool
	// Logger is told of what concerns nobody's request; nil: nobody is.
	Logger *slog.Logger
}

// Rotator holds the keys that sign tokens, and changes them: by hand, by itself, and when others did. A key of the system's own is random, and kept in the database
// with its secret half sealed. SECRET_KEY and SECRET_KEY_PREVIOUS are given, and never kept: of them the database knows the id and what became of it.
type Rotator struct {
	core    *Core
	codec   ports.SigningKeys
	sealer  ports.Sealer
	secrets *Secrets
	o       RotatorOptions

	turn   sync.Mutex   // held while the keys are changed or loaded
	values SecretValues // as they were taken up
	opened map[string]secret.Text
	told   string // what was last logged of keys that are not used
	ending string // the key whose revocation is committed and about to be published
	ring   atomic.Pointer[ring]

	wake    chan struct{}
	looks   chan *look // for an unknown key, that Run is to make
	mu      sync.Mutex
	running bool      // whether Run is there to make them
	look    *look     // the one that is under way; nil: none is
	looked  time.Time // when the last one began
}

// look is one look for keys that are not known yet.
type look struct {
	begun time.Time
	done  chan struct{}
}

// ring is what is held of the keys at one time, without secrets. It is never changed.
type ring struct {
	all    keyset.Ring // as the database has them, those that are given in their places
	keys   keyset.Ring // in the states that this node goes by
	terms  keyset.Terms
	public []keyset.Key
}

// NewRotator makes a Rotator that holds nothing before Start. It makes itself known to the core.
func NewRotator(c *Core, codec ports.SigningKeys, sealer ports.Sealer, secrets *Secrets, o RotatorOptions) *Rotator {
	o.Lag = cmp.Or(o.Lag, JWKSLag)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Rotator{core: c, codec: codec, sealer: sealer, secrets: secrets, o: o, opened: map[string]secret.Text{}, wake: make(chan struct{}, 1), looks: make(chan *look, 1)}
	c.Rotator = r
	secrets.OnChange(r.given)
	secrets.Needs(func(name string) bool {
		held := r.ring.Load()
		return name != SecretKey || held == nil || held.primary().Given()
	})
	return r
}

// Start makes the first key, if there is none, and gives the codec all that sign or verify. It refuses a secret that was revoked: whoever has it can make any token.
func (r *Rotator) Start(ctx context.Context) error {
	r.turn.Lock()
	defer r.turn.Unlock()
	r.values = r.secrets.Values()
	stored, err := r.stored(ctx)
	if err != nil {
		return err
	}
	current, previous, err := r.keysOf()
	if err != nil {
		return err
	}
	first := cmp.Or(r.o.Algorithm, keyset.HS256)
	wanted := func(keys keyset.Ring) bool { // until the first rotation the settings decide
		k, ok := keys.Primary(keyset.Sign)
		return !ok || r.core.View.KeyRevoked(k.ID) || k.Given() && (first != keyset.HS256 || k.Secret.IsZero())
	}
	given, _ := stored.Give(current, previous, r.core.now())
	primary, ok := given.Primary(keyset.Sign)
	switch {
	case first == keyset.HS256 && current.ID == "" && (!ok || primary.Given() && primary.Secret.IsZero()):
		if r.values.Signing, err = r.make(ctx, ok && !r.core.View.KeyRevoked(primary.ID)); err != nil {
			return err
		}
	case wanted(given):
		algorithm := cmp.Or(r.o.Algorithm, primary.Algorithm, keyset.HS256) // others may verify by the algorithm of a key that was withdrawn
		if err := r.rotate(ctx, Actor{Name: System}, algorithm, false, wanted); err != nil {
			return err
		}
	case r.o.Algorithm != "" && primary.Algorithm != r.o.Algorithm:
		r.o.Logger.Warn("JWT_ALGORITHM is not that of the key that signs; a rotation makes the change", "setting", r.o.Algorithm, "key", primary.ID, "algorithm", primary.Algorithm)
	}
	if err := r.settle(ctx); err != nil {
		return err
	}
	if signs := r.ring.Load().primary(); r.o.Interval > 0 && cmp.Or(r.o.Algorithm, signs.Algorithm) == keyset.HS256 {
		r.o.Logger.Warn("Keys rotate by themselves with HS256: from the first rotation on no other service can verify tokens, for the secrets are kept here; JWT_ALGORITHM chooses another")
	}
	return nil
}

// make answers a SECRET_KEY where there is none and one is needed.
func (r *Rotator) make(ctx context.Context, signed bool) (secret.Text, error) {
	if r.o.Make == nil {
		return secret.Text{}, fmt.Errorf("%s is empty, and no key signs without it: give it, as `xteam secret generate` makes one, or set JWT_ALGORITHM to an asymmetric one", SecretKey)
	}
	return r.o.Make(ctx, signed)
}

// given takes up secrets that changed. It refuses those of which a key was revoked, and what is none.
func (r *Rotator) given(ctx context.Context, _, is SecretValues) error {
	if r.ring.Load() == nil { // Start makes one, and takes them up
		return nil
	}
	r.turn.Lock()
	defer r.turn.Unlock()
	was := r.values // which the caller may not know, when another did not take up the same change
	if was.Signing == is.Signing && slices.Equal(was.Previous, is.Previous) {
		return nil
	}
	r.values = is
	if err := r.settle(ctx); err != nil {
		r.values = was
		return err
	}
	if signs := r.ring.Load().primary(); signs.Given() {
		r.o.Logger.Info("The signing secrets changed", "signs", signs.ID)
	}
	return nil
}

// settle notes the keys that are given in the database, where they are to be, and loads the ring.
func (r *Rotator) settle(ctx context.Context) error {
	stored, err := r.stored(ctx)
	if err != nil {
		return err
	}
	current, previous, err := r.keysOf()
	if err != nil {
		return err
	}
	given, _ := stored.Give(current, previous, r.core.now())
	if !slices.EqualFunc(stored.Keys, given.Keys, func(a, b keyset.Key) bool { return a.ID == b.ID && a.State == b.State }) {
		if err := r.change(ctx, func(keys keyset.Ring) (keyset.Ring, ports.Effects, error) { return keys, ports.Effects{}, nil }); err != nil {
			return err
		}
	}
	return r.load(ctx)
}

// stored answers the ring as it is in the database; one that is not there yet is empty.
func (r *Rotator) stored(ctx context.Context) (keyset.Ring, error) {
	stored, err := r.core.Stores.Keys.Find(ctx, keyset.Signing)
	if errors.Is(err, ports.ErrNotFound) {
		return keyset.Ring{Name: keyset.Signing}, nil
	}
	if err != nil {
		return keyset.Ring{}, fmt.Errorf("read the signing keys: %w", err)
	}
	return stored, nil
}

// keysOf answers the keys of the secrets that are given. One that was revoked is refused.
func (r *Rotator) keysOf() (current keyset.Key, previous []keyset.Key, err error) {
	key := func(name string, s secret.Text) keyset.Key {
		k := keyset.Key{ID: r.codec.SymmetricKeyID(s), Purpose: keyset.Sign, Algorithm: keyset.HS256, Secret: s}
		switch {
		case err != nil:
		case s.Len() < minSigningSecret:
			err = fmt.Errorf("%s has %d bytes: give at least %d random ones, as `xteam secret generate` makes", name, s.Len(), minSigningSecret)
		case r.core.View.KeyRevoked(k.ID) && !r.kept(name) && !(r.o.Versions && name == SecretKeyPrevious):
			err = &revokedSecretError{name, k.ID}
		}
		return k
	}
	if !r.values.Signing.IsZero() {
		current = key(SecretKey, r.values.Signing)
	}
	for _, s := range r.values.Previous {
		previous = append(previous, key(SecretKeyPrevious, s))
	}
	return current, previous, err
}

// kept reports whether the system made the secret for itself.
func (r *Rotator) kept(name string) bool { return r.o.Kept != nil && r.o.Kept(name) }

// revokedSecretError refuses a secret whose key was revoked: whoever has it can make any token.
type revokedSecretError struct{ Name, KeyID string }

func (e *revokedSecretError) Error() string {
	return fmt.Sprintf("%s holds the key %s, which was revoked: take it away, and where one is needed give another, as `xteam secret generate` makes", e.Name, e.KeyID)
}

// change makes f's change of the ring in the database, the keys that are given put in their places before. The turn is held.
func (r *Rotator) change(ctx context.Context, f func(keyset.Ring) (keyset.Ring, ports.Effects, error)) error {
	current, previous, err := r.keysOf()
	if err != nil {
		var revoked *revokedSecretError
		if !errors.As(err, &revoked) || r.ring.Load() == nil { // a running system is not kept from changing its keys by what is in its settings
			return err
		}
	}
	now := r.core.now()
	update := func(stored keyset.Ring) (keyset.Ring, ports.Effects, error) {
		given, _ := stored.Give(current, previous, now)
		keys, effects, err := f(given.Withdrawn(r.core.View.KeyRevoked, now))
		return bare(keys), effects, err
	}
	for {
		err := r.core.Stores.Keys.Update(ctx, keyset.Signing, update)
		if !errors.Is(err, ports.ErrNotFound) {
			return err
		}
		first, effects, err := update(keyset.Ring{Name: keyset.Signing})
		if err != nil {
			return err
		}
		if err = r.core.Stores.Keys.Create(ctx, first, effects); !errors.Is(err, ports.ErrTaken) {
			return err
		}
	}
}

// load reads the ring and gives the codec those keys that sign or verify. The turn is held.
func (r *Rotator) load(ctx context.Context) error {
	stored, err := r.stored(ctx)
	if err != nil {
		return err
	}
	state, err := r.core.Stores.System.Load(ctx)
	if err != nil {
		return fmt.Errorf("read the lifetime of tokens: %w", err)
	}
	current, previous, err := r.keysOf()
	if err != nil && r.ring.Load() == nil {
		return err
	}
	now := r.core.now()
	all, unused := stored.Give(current, previous, now)
	keys := all.Withdrawn(r.core.View.KeyRevoked, now)
	if err := r.open(&keys); err != nil {
		return err
	}
	// The margin is that of a revocation: another node may go on signing with the key before until it has read the ring, and its clock may be behind.
	terms := keyset.Terms{Publish: r.o.Lag, Tokens: state.LongestAccess + r.core.Tunables.Leeway + token.Margin, Rotate: r.o.Interval}
	if r.o.Versions {
		keys = over(keys, terms, now)
	}
	keys = keys.Held()
	if _, ok := keys.Primary(keyset.Sign); !ok {
		return errNoPrimary
	}
	if err := r.codec.SetRing(r.explaining(keys, terms, now)); err != nil {
		return err
	}
	next := &ring{all: bare(all), keys: bare(keys), terms: terms, public: public(keys)}
	if last := r.ring.Load(); last != nil && slices.EqualFunc(last.public, next.public, func(a, b keyset.Key) bool { return a.ID == b.ID }) {
		next.public = last.public // by its identity others know that it is the same
	}
	r.ring.Store(next)
	if told := fmt.Sprint(unused); len(unused) > 0 && told != r.told {
		r.o.Logger.Warn("Signing secrets are given that nothing is signed with and that verify nothing, since keys were rotated: take them away", "keys", unused)
		r.told = told
	}
	return nil
}

// errNoPrimary says that no key signs: the one that did was revoked, and none took its place.
var errNoPrimary = errors.New("no key signs: the one that did was revoked; a rotation makes another")

// over is the ring without those given keys that only verify and whose tokens are over.
func over(keys keyset.Ring, t keyset.Terms, now instant.Instant) keyset.Ring {
	keys.Keys = slices.Clone(keys.Keys)
	for i := range keys.Keys {
		if k := &keys.Keys[i]; k.Given() && k.State == keyset.Retiring && now >= k.Changed.Add(t.Tokens) {
			k.Secret = secret.Text{}
		}
	}
	return keys
}

// open fills in the secret halves of the system's own keys that are needed.
func (r *Rotator) open(keys *keyset.Ring) error {
	for i := range keys.Keys {
		k := &keys.Keys[i]
		if !needed(*k) {
			continue
		}
		s, ok := r.opened[k.ID]
		if !ok {
			plain, err := r.sealer.Open(sealedAt(k.ID), k.Wrapped)
			if err != nil && k.State == keyset.Revoked {
				continue // it would only have told why
			}
			if err != nil {
				return fmt.Errorf("open the signing key %s: %w", k.ID, err)
			}
			s = secret.New(string(plain))
			clear(plain)
			r.opened[k.ID] = s
		}
		k.Secret = s
	}
	for kid := range r.opened {
		if k, ok := keys.Find(kid); !ok || !needed(k) {
			delete(r.opened, kid)
		}
	}
	return nil
}

// needed reports whether something is done with the secret half of a key of the system's own: a pair signs with it, and verifies without.
func needed(k keyset.Key) bool {
	return len(k.Wrapped) > 0 && (k.State == keyset.Primary || k.State == keyset.Next || k.State != keyset.Gone && len(k.Public) == 0)
}

func sealedAt(kid string) string { return "keys/signing/" + kid }

// explaining is the ring as the codec gets it: with those keys among the ones that verify that were revoked and whose tokens are not over. The view withdraws every token of
// theirs, so a key that the view does not know to be revoked is not among them; but only who can verify one may tell its bearer why.
func (r *Rotator) explaining(keys keyset.Ring, t keyset.Terms, now instant.Instant) keyset.Ring {
	keys.Keys = slices.Clone(keys.Keys)
	for i := range keys.Keys {
		k := &keys.Keys[i]
		withdrawn := k.ID == r.ending || r.core.View.KeyRevoked(k.ID)
		if k.State == keyset.Revoked && withdrawn && now < k.Changed.Add(t.Tokens) && (!k.Secret.IsZero() || len(k.Public) > 0) {
			k.State = keyset.Retiring
		}
	}
	return keys
}

// bare is the ring without secrets.
func bare(keys keyset.Ring) keyset.Ring {
	keys.Keys = slices.Clone(keys.Keys)
	for i := range keys.Keys {
		keys.Keys[i].Secret = secret.Text{}
	}
	return keys
}

// public are the keys that others may verify with, the one that signs first. Of symmetric keys there is no public half.
func public(keys keyset.Ring) []keyset.Key {
	all := []keyset.Key{}
	for _, k := range bare(keys).Keys {
		if k.State.Verifies() && len(k.Public) > 0 {
			k.Wrapped = nil
			all = append(all, k)
		}
	}
	slices.SortStableFunc(all, func(a, b keyset.Key) int {
		return cmp.Compare(order[a.State], order[b.State])
	})
	return all
}

// order is how keys are listed by their state.
var order = map[keyset.State]int{keyset.Primary: 1, keyset.Next: 2, keyset.Retiring: 3, keyset.Revoked: 4, keyset.Gone: 5}

func (s *ring) primary() keyset.Key {
	k, _ := s.keys.Primary(keyset.Sign)
	return k
}

// PublicKeys answers the public halves of the keys that sign, will sign or verify, the one that signs first. It is the same slice until they change, and must not be changed.
func (r *Rotator) PublicKeys() []keyset.Key { return r.ring.Load().public }

// ListedSigningKey is a signing key as it is told of.
type ListedSigningKey struct {
	keyset.Key // without its secret half
	Outlook    keyset.Outlook
	Retirable  instant.Instant // of a key that retires: from when Retire takes it
	Given      bool            // SECRET_KEY or SECRET_KEY_PREVIOUS gives it
}

// List answers every key that there is and was, the one that signs first, then by what they may do, the newest first.
func (r *Rotator) List() []ListedSigningKey {
	held := r.ring.Load()
	all := make([]ListedSigningKey, 0, len(held.keys.Keys))
	for _, k := range held.keys.Keys {
		one := ListedSigningKey{Key: k, Outlook: held.keys.Outlook(k, held.terms), Given: k.Given() && k.State.Verifies()}
		if k.State == keyset.Retiring {
			one.Retirable = k.Changed.Add(held.terms.Tokens)
		}
		all = append(all, one)
	}
	slices.SortStableFunc(all, func(a, b ListedSigningKey) int {
		return cmp.Or(cmp.Compare(order[a.State], order[b.State]), cmp.Compare(b.Changed, a.Changed), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// KeyRotation tells what a rotation of the signing key did.
type KeyRotation struct {
	Key    keyset.Key      // the new one, without its secret half
	Was    string          // the id of the key that signs no more, or that will not once Signs has come; empty: there was none
	Signs  instant.Instant // from when it signs
	LagsTo instant.Instant // until when other services may not know it yet, of a public key; 0: nobody fetches it
	// Nodes are those that had the new key before it signed, and how long they took; empty where there is one alone, or where it waits.
	Nodes []NodeTime
	// Until is until when the one before verifies, unless it goes on signing; when WasGiven, only as long as the settings give it.
	Until    instant.Instant
	WasGiven bool
}

// Rotate has another key sign: at once, or gracefully, once every other service has had the time to fetch it. The one before verifies until its tokens are over. An algorithm
// that is empty is that of the settings, else that of the key before. A key that was published and waits is taken, if it is of that algorithm.
func (r *Rotator) Rotate(ctx context.Context, by Actor, algorithm string, graceful bool) (KeyRotation, error) {
	if algorithm != "" && !slices.Contains(keyset.Algorithms(), algorithm) {
		return KeyRotation{}, &SelectorError{"alg", fmt.Sprintf("must be one of %v", keyset.Algorithms())}
	}
	var nodes []NodeTime
	if !graceful {
		var err error
		if nodes, err = r.publish(ctx, by, algorithm); err != nil {
			return KeyRotation{}, err
		}
	}
	r.turn.Lock()
	defer r.turn.Unlock()
	if err := r.load(ctx); err != nil && !errors.Is(err, errNoPrimary) {
		return KeyRotation{}, err
	}
	was := r.ring.Load().primary()
	if algorithm == "" {
		algorithm = cmp.Or(r.o.Algorithm, was.Algorithm)
	}
	if err := r.rotate(ctx, by, algorithm, graceful, nil); err != nil {
		if waits := (*keyset.KeyError)(nil); errors.As(err, &waits) && errors.Is(err, keyset.ErrPending) {
			k, _ := r.ring.Load().keys.Find(waits.KeyID)
			waits.At = k.Created.Add(r.ring.Load().terms.Publish)
		}
		return KeyRotation{}, err
	}
	if err := r.load(ctx); err != nil {
		return KeyRotation{}, err
	}
	held := r.ring.Load()
	out := KeyRotation{Key: held.primary(), Was: was.ID, Signs: r.core.now(), WasGiven: was.Given(), Nodes: nodes}
	if before, ok := held.keys.Find(was.ID); ok && before.State == keyset.Retiring {
		out.Until = before.Changed.Add(held.terms.Tokens)
	}
	if graceful {
		for _, k := range held.keys.Keys {
			if k.State == keyset.Next {
				out.Key, out.Signs = k, k.Created.Add(held.terms.Publish)
			}
		}
	}
	if at := out.Key.Created.Add(held.terms.Publish); len(out.Key.Public) > 0 && at > out.Signs {
		out.LagsTo = at
	}
	return out, nil
}

// publish puts the key that is to sign at once into the ring, and waits until every other node that lives has it: a token that it signs is taken everywhere from the first on. Alone there is nobody
// to wait for, and it is made when it signs.
func (r *Rotator) publish(ctx context.Context, by Actor, algorithm string) ([]NodeTime, error) {
	if r.core.Nodes == nil || !r.core.Nodes.accompanied() {
		return nil, nil
	}
	kid, err := r.published(ctx, by, algorithm)
	if err != nil || kid == "" {
		return nil, err
	}
	return r.core.Nodes.spread(ctx, kid)
}

// published is the id of the key that waits to sign with that algorithm, a new one if there was none; or nothing when one of another algorithm waits.
func (r *Rotator) published(ctx context.Context, by Actor, algorithm string) (string, error) {
	r.turn.Lock()
	defer r.turn.Unlock()
	if err := r.load(ctx); err != nil && !errors.Is(err, errNoPrimary) {
		return "", err
	}
	if algorithm == "" {
		algorithm = cmp.Or(r.o.Algorithm, r.ring.Load().primary().Algorithm)
	}
	waits := func() string {
		for _, k := range r.ring.Load().keys.Keys {
			if k.State == keyset.Next && k.Algorithm == algorithm {
				return k.ID
			}
		}
		return ""
	}
	if kid := waits(); kid != "" {
		return kid, nil
	}
	err := r.rotate(ctx, by, algorithm, true, nil)
	if errors.Is(err, keyset.ErrPending) {
		return "", nil
	}
	if err == nil {
		err = r.load(ctx)
	}
	return waits(), err
}

// rotate is Rotate in the database, if it is still wanted there: another node may have been first. Nil is always wanted. The turn is held.
func (r *Rotator) rotate(ctx context.Context, by Actor, algorithm string, graceful bool, wanted func(keyset.Ring) bool) error {
	fresh, err := r.newKey(algorithm)
	if err != nil {
		return err
	}
	e, err := r.core.event(by.Request, audit.KeyChanged, audit.Info, audit.Success)
	if err != nil {
		return err
	}
	now := r.core.now()
	var eff ports.Effects
	err = r.change(ctx, func(keys keyset.Ring) (keyset.Ring, ports.Effects, error) {
		if wanted != nil && !wanted(keys) {
			return keys, ports.Effects{}, errNothing
		}
		k := fresh
		for _, is := range keys.Keys {
			if is.State == keyset.Next && is.Algorithm == algorithm && !graceful {
				k = is
			}
		}
		was, _ := keys.Primary(keyset.Sign)
		step, reason := keys.Rotate, "rotated"
		if graceful {
			step, reason = keys.Prepare, "published"
		}
		keys, err := step(k, now)
		e.Subject, e.Reason, e.Details = k.ID, reason, map[string]string{"kid": k.ID, "algorithm": k.Algorithm}
		if was.ID != "" {
			e.Details["before"] = was.ID
		}
		by.signs(&e)
		eff = ports.Effects{Events: []audit.Event{e}}
		return keys, eff, err
	})
	if errors.Is(err, errNothing) {
		return nil
	}
	if err != nil {
		return err
	}
	r.core.felt(ctx, eff)
	return nil
}

func (r *Rotator) newKey(algorithm string) (keyset.Key, error) {
	return NewSigningKey(r.codec, r.sealer, algorithm)
}

// Retire ends a key that signs no more, once its tokens are over, or that waits to sign: it is gone. Before that it is a *keyset.EarlyError.
func (r *Rotator) Retire(ctx context.Context, by Actor, kid string) error {
	r.turn.Lock()
	defer r.turn.Unlock()
	if err := r.load(ctx); err != nil {
		return err
	}
	terms, now := r.ring.Load().terms, r.core.now()
	e, err := r.changed(by, kid, "retired")
	if err != nil {
		return err
	}
	eff := ports.Effects{Events: []audit.Event{e}}
	err = r.change(ctx, func(keys keyset.Ring) (keyset.Ring, ports.Effects, error) {
		keys, err := keys.Retire(kid, terms, now)
		return keys, eff, err
	})
	if err != nil {
		return err
	}
	r.core.felt(ctx, eff)
	return r.load(ctx)
}

// changed is the event of a key that changed.
func (r *Rotator) changed(by Actor, kid, reason string) (audit.Event, error) {
	e, err := r.core.event(by.Request, audit.KeyChanged, audit.Info, audit.Success)
	e.Subject, e.Reason, e.Details = kid, reason, map[string]string{"kid": kid}
	by.signs(&e)
	return e, err
}

// Holds reports whether there is a key of that id, whatever its state.
func (r *Rotator) Holds(kid string) bool {
	_, ok := r.ring.Load().keys.Find(kid)
	return ok
}

// gives reports whether the settings give the secret of that key.
func (r *Rotator) gives(kid string) bool {
	r.turn.Lock()
	defer r.turn.Unlock()
	current, previous, _ := r.keysOf() // of one that was revoked too
	return slices.ContainsFunc(append(previous, current), func(k keyset.Key) bool { return k.ID == kid })
}

// hint says what is left to be done once a key is revoked, or would be.
func (r *Rotator) hint(kid string) string {
	held := r.ring.Load()
	k, _ := held.keys.Find(kid)
	switch {
	case k.State == keyset.Primary: // a dry run
		return "this key signs: another would take its place at once"
	case k.State == keyset.Revoked && r.gives(kid) && !r.kept(SecretKey):
		return fmt.Sprintf("key %s signs, and whoever verifies with %s cannot verify that; %s or %s may still hold the key that was revoked: take it away, for no server starts with it", held.primary().ID, SecretKey, SecretKey, SecretKeyPrevious)
	case k.State == keyset.Revoked:
		return fmt.Sprintf("key %s signs", held.primary().ID)
	}
	return ""
}

// Revoke ends a key for ever, and with it everything that it signed. When it signs, another takes its place at once: the one that waits, else a new one, whose id is
// answered. The revocation is durable and in force when it answers. A key that is not held is ports.ErrNotFound.
func (r *Rotator) Revoke(ctx context.Context, by Actor, kid, note string) (successor string, err error) {
	revoked, err := r.core.revoked(by, revocation.KeyRevoked, "", note, map[string]string{"kid": kid})
	if err != nil {
		return "", err
	}
	revoked.Severity = audit.Critical
	entry := revocation.Entry{Kind: revocation.Key, KeyID: kid, Reason: revocation.KeyRevoked, By: by.Name, Note: note, At: r.core.now(), Until: instant.Forever}
	var failed error // after it was committed
	err = r.core.durably(ctx, []revocation.Entry{entry}, func(ctx context.Context, how mode) (_ ports.Effects, err error) {
		successor, failed, err = r.revoke(ctx, by, entry, revoked, how)
		return ports.Effects{}, err
	})
	return successor, cmp.Or(err, failed)
}

// take waits for the turn, which a database that hangs can hold up for seconds.
func (r *Rotator) take(ctx context.Context) error {
	for !r.turn.TryLock() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// revoke is one attempt of Revoke. It makes felt what it committed; failed is what went wrong after that.
func (r *Rotator) revoke(ctx context.Context, by Actor, entry revocation.Entry, revoked audit.Event, how mode) (successor string, failed, err error) {
	if err := r.take(ctx); err != nil {
		return "", nil, err
	}
	defer r.turn.Unlock()
	if err := r.load(ctx); err != nil && !errors.Is(err, errNoPrimary) {
		return "", nil, err
	}
	kid := entry.KeyID
	was, ok := r.ring.Load().keys.Find(kid)
	if !ok {
		return "", nil, ports.ErrNotFound
	}
	var fresh keyset.Key
	if was.State == keyset.Primary {
		if fresh, err = r.newKey(cmp.Or(r.o.Algorithm, was.Algorithm)); err != nil {
			return "", nil, err
		}
	}
	changed, err := r.changed(by, "", "replaced")
	if err != nil {
		return "", nil, err
	}
	now := r.core.now()
	var eff ports.Effects
	err = r.change(ctx, func(keys keyset.Ring) (keyset.Ring, ports.Effects, error) {
		eff, successor = ports.Effects{Revocations: []revocation.Entry{entry}, Events: how.events(false, revoked)}, ""
		k, ok := keys.Find(kid)
		switch {
		case !ok:
			return keys, ports.Effects{}, ports.ErrNotFound
		case k.State == keyset.Revoked:
			return keys, eff, nil
		}
		if k.State == keyset.Primary && fresh.ID != "" {
			if next, err := keys.Prepare(fresh, now); err == nil {
				keys = next
			} // else one waits already
		}
		keys, err := keys.Revoke(kid, now)
		if is, _ := keys.Primary(keyset.Sign); k.State == keyset.Primary {
			successor = is.ID
			changed.Subject, changed.Details = is.ID, map[string]string{"kid": is.ID, "algorithm": is.Algorithm, "before": kid}
			eff.Events = append(eff.Events, changed)
		}
		return keys, eff, err
	})
	if err != nil {
		return "", nil, err
	}
	// The next key signs before the view withdraws the one before, so that nobody is handed a token that is dead.
	r.ending = kid
	failed = r.load(ctx)
	r.core.felt(ctx, eff)
	r.ending = ""
	if how.again {
		r.again() // it was withdrawn before it was revoked: what follows it is made where such a key is found
	}
	return successor, failed, nil
}

// step does what is due by itself. A key whose time to sign has come, and which other nodes are to have before, it only answers: asked is one that they have. The turn is held, and so nobody is asked
// here: a key that is to be revoked at once would wait for their answers.
func (r *Rotator) step(ctx context.Context, asked string) (ask string, err error) {
	held, now := r.ring.Load(), r.core.now()
	wanted := func(keys keyset.Ring) bool { return keys.WantsNext(keyset.Sign, held.terms, now) }
	if wanted(held.keys) {
		if err := r.rotate(ctx, Actor{Name: System}, cmp.Or(r.o.Algorithm, held.primary().Algorithm), true, wanted); err != nil {
			return "", err
		}
		if err := r.load(ctx); err != nil {
			return "", err
		}
		held = r.ring.Load()
	}
	_, due := held.all.Step(keyset.Sign, held.terms, now)
	if len(due) == 0 {
		return "", nil
	}
	signs := ""
	for _, k := range due {
		if k.State == keyset.Primary {
			signs = k.ID
		}
	}
	if signs != "" && signs != asked && r.core.Nodes != nil && r.core.Nodes.accompanied() {
		return signs, nil
	}
	e, err := r.changed(Actor{Name: System}, "", "")
	if err != nil {
		return "", err
	}
	var eff ports.Effects
	err = r.change(ctx, func(keys keyset.Ring) (keyset.Ring, ports.Effects, error) {
		eff = ports.Effects{}
		keys, due := keys.Step(keyset.Sign, held.terms, now)
		for _, k := range due {
			if k.State == keyset.Primary && k.ID != signs {
				return keys, eff, errNothing // the ring changed meanwhile: it is looked at again
			}
			if k.State == keyset.Revoked {
				continue // it was told of when it was revoked; what is gone now is its secret
			}
			one := e
			if len(eff.Events) > 0 {
				if one, err = r.changed(Actor{Name: System}, "", ""); err != nil {
					return keys, eff, err
				}
			}
			one.Subject, one.Reason, one.Details = k.ID, k.State.String(), map[string]string{"kid": k.ID}
			eff.Events = append(eff.Events, one)
		}
		return keys, eff, nil
	})
	if errors.Is(err, errNothing) {
		r.again()
		return "", nil
	}
	if err != nil {
		return "", err
	}
	r.core.felt(ctx, eff)
	return "", r.load(ctx)
}

// Run reads the ring again and again until ctx ends, for what other nodes did to it, and does what is due by itself. It is to be called once, after Start.
func (r *Rotator) Run(ctx context.Context) {
	defer r.core.View.Subscribe(func(e revocation.Entry) {
		if e.Kind == revocation.Key {
			r.again()
		}
	})()
	r.mu.Lock()
	r.running = true
	r.mu.Unlock()
	defer r.stop()
	tick := time.NewTicker(ringEvery)
	defer tick.Stop()
	r.again() // for what became due while nobody ran
	var asking sync.WaitGroup
	defer asking.Wait()
	asked, under := make(chan answered, 1), false // the others are asked by one goroutine at a time
	was := error(nil)
	for {
		var a answered
		select {
		case <-ctx.Done():
			return
		case l := <-r.looks:
			r.seek(ctx)
			r.found(l)
			continue
		case a = <-asked:
			under = false
		case <-tick.C:
		case <-r.wake:
		}
		ask, err := "", a.err
		if err == nil {
			ask, err = r.pass(ctx, a.kid)
		}
		if ask != "" && !under {
			under = true
			asking.Go(func() {
				_, err := r.core.Nodes.spread(ctx, ask)
				asked <- answered{ask, err}
			})
		}
		switch {
		case ctx.Err() != nil || ask != "": // how it goes is not known yet
			continue
		case err != nil && (was == nil || was.Error() != err.Error()):
			r.o.Logger.Error("The signing keys could not be looked after", "error", err.Error())
		case err == nil && was != nil:
			r.o.Logger.Info("The signing keys are looked after again")
		}
		was = err
	}
}

// answered is what the other nodes said when they were asked whether they have a key.
type answered struct {
	kid string
	err error
}

func (r *Rotator) again() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// stop ends the look that nobody makes any more.
func (r *Rotator) stop() {
	r.mu.Lock()
	r.running = false
	l := r.look
	r.mu.Unlock()
	if l != nil {
		r.found(l)
	}
}

// pass reads the ring and does what is due, as step has it.
func (r *Rotator) pass(ctx context.Context, asked string) (ask string, err error) {
	ctx, cancel := context.WithTimeout(ctx, ringWithin)
	defer cancel()
	r.turn.Lock()
	defer r.turn.Unlock()
	err = r.load(ctx)
	if errors.Is(err, errNoPrimary) {
		nobody := func(keys keyset.Ring) bool { _, ok := keys.Primary(keyset.Sign); return !ok }
		if err = r.rotate(ctx, Actor{Name: System}, cmp.Or(r.o.Algorithm, r.ring.Load().primary().Algorithm), false, nobody); err == nil || errors.Is(err, errNothing) {
			err = r.load(ctx)
		}
	}
	if err != nil {
		return "", err
	}
	return r.step(ctx, asked)
}

// Reload reads the ring now. On a node that has heard that its signing key is revoked, before it has read which key follows, it keeps who signs in from being turned away.
func (r *Rotator) Reload(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ringWithin)
	defer cancel()
	r.turn.Lock()
	defer r.turn.Unlock()
	return r.load(ctx)
}

// LookUp looks once for keys that this node does not know yet, when a token names one: in the database, and in the source of secrets. It does so at most once in five
// seconds for all comers; who comes while it looks waits for it, until a second after it began. It reports whether it is worth judging the token again. While Run does not
// run it answers false at once.
func (r *Rotator) LookUp() bool {
	r.mu.Lock()
	l := r.look
	if l == nil {
		now := r.core.Now()
		if since := now.Sub(r.looked); !r.running || 0 <= since && since < lookUpPause {
			r.mu.Unlock()
			return false
		}
		l = &look{time.Now(), make(chan struct{})}
		r.looked, r.look = now, l
		r.looks <- l // there is room: one is under way at a time
	}
	r.mu.Unlock()
	timer := time.NewTimer(lookUpWithin - time.Since(l.begun))
	defer timer.Stop()
	select {
	case <-l.done:
		return true
	case <-timer.C:
		return false
	}
}

// found ends a look.
func (r *Rotator) found(l *look) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.look = nil
	close(l.done)
}

// seek reads the ring, and the secrets when that has brought no key: whoever waits for a key of another node does not wait for a source of secrets that hangs.
func (r *Rotator) seek(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookUpWithin)
	defer cancel()
	known := r.core.Codec.KeyIDs()
	r.turn.Lock()
	err := r.load(ctx)
	r.turn.Unlock()
	if held := r.ring.Load(); slices.Equal(r.core.Codec.KeyIDs(), known) && held != nil && held.primary().Given() { // no secret brings a key once keys were rotated
		err = errors.Join(err, r.secrets.Read(ctx))
	}
	if err != nil && ctx.Err() == nil {
		r.o.Logger.Debug("An unknown key was looked for in vain", "error", err.Error())
	}
}
