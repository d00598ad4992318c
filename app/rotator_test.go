package app_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/adapters/fieldcrypt"
	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// safe is a source of secrets that a test fills, lets fail and lets hang.
type safe struct {
	mu     sync.Mutex
	values map[string]string
	err    error
	hangs  bool
	asked  int // how often it was asked for all
}

func newSafe(pairs ...string) *safe {
	s := &safe{values: map[string]string{}}
	s.put(pairs...)
	return s
}

// put sets values by name; an empty one is none.
func (s *safe) put(pairs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := 0; i < len(pairs); i += 2 {
		s.values[pairs[i]] = pairs[i+1]
	}
}

func (s *safe) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *safe) Get(ctx context.Context, name string) (secret.Text, error) {
	s.mu.Lock()
	if name == app.SecretKey {
		s.asked++
	}
	v, err, hangs := s.values[name], s.err, s.hangs
	s.mu.Unlock()
	switch {
	case hangs:
		<-ctx.Done()
		return secret.Text{}, ctx.Err()
	case err != nil:
		return secret.Text{}, err
	case v == "":
		return secret.Text{}, ports.ErrNotFound
	}
	return secret.New(v), nil
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// The secrets of the tests. Each is long enough, and none may turn up where it is not to.
const (
	keyOne   = "planted-signing-secret-one-0123456789"
	keyTwo   = "planted-signing-secret-two-0123456789"
	keyThree = "planted-signing-secret-three-01234567"
	rootOne  = "planted-root-key-one-0123456789-abcdef"
)

func kidOf(s string) string { return jwtcodec.SymmetricKeyID(secret.New(s)) }

// node is one of several that sign and verify over one store. It lives in the time of its bubble.
type node struct {
	t       testing.TB
	store   *memstore.Store
	safe    *safe
	faults  *faulty
	core    *app.Core
	codec   *jwtcodec.Codec
	rotator *app.Rotator
	secrets *app.Secrets
	guard   *app.Guard
	log     *lines
	given   func() // runs whenever the codec was given keys
}

// giving is a codec that tells its node of the keys that it is given.
type giving struct {
	*jwtcodec.Codec
	n *node
}

func (g giving) SetRing(r keyset.Ring) error {
	err := g.Codec.SetRing(r)
	if g.n.given != nil {
		g.n.given()
	}
	return err
}

// newNode is a node before its start.
func newNode(t testing.TB, store *memstore.Store, s *safe, o app.RotatorOptions) *node {
	t.Helper()
	n := &node{t: t, store: store, safe: s, codec: jwtcodec.New(jwtcodec.Options{}), faults: &faulty{at: -1}, log: &lines{}}
	ctx, cancel := context.WithCancel(context.Background())
	v := view.New(view.Options{}, view.Source{Name: "database", Truth: true, Revocations: store.Revocations()})
	done := make(chan struct{})
	go func() { defer close(done); _ = v.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	if err := v.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	n.core = &app.Core{
		Stores: app.Stores{Accounts: store.Accounts(), Sessions: store.Sessions(), APIKeys: store.APIKeys(), Keys: faultyKeys{store.Keys(), n.faults}, System: faultySystem{store.System(), n.faults}, Revocations: store.Revocations(), Events: store.Events(), Trail: store.Trail(), TrailCare: store.Trail()},
		View:   v, Codec: n.codec, Passwords: &quickHash{}, MACs: macs{}, Journal: &journal{}, Random: rand.Reader, Now: time.Now,
		Tunables: app.Tunables{Issuer: "xteam", Audience: "xteam", Access: 30 * time.Minute, Refresh: 7 * 24 * time.Hour, Session: 30 * 24 * time.Hour, Leeway: 30 * time.Second},
	}
	if err := n.core.Start(ctx); err != nil {
		t.Fatal(err)
	}
	keyring, err := fieldcrypt.Open(ctx, store.Keys(), secret.New(rootOne), secret.Text{}, rand.Reader, instant.Of(time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	n.secrets = app.NewSecrets(s, app.SecretsOptions{Random: rand.Reader, Logger: n.log.logger()})
	if err := n.secrets.Read(ctx); err != nil {
		t.Fatal(err)
	}
	o.Logger = n.log.logger()
	n.rotator = app.NewRotator(n.core, giving{n.codec, n}, keyring, n.secrets, o)
	n.guard = app.NewGuard(n.core)
	n.faults.arm(-1, "", nil)
	return n
}

// started is a node that signs. Nothing is done by itself before run.
func started(t testing.TB, store *memstore.Store, s *safe, o app.RotatorOptions) *node {
	t.Helper()
	n := newNode(t, store, s, o)
	if err := n.rotator.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	return n
}

// run has the node look after its keys and secrets until the end of the test, or until the function that it answers is called.
func (n *node) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var both sync.WaitGroup
	both.Go(func() { n.rotator.Run(ctx) })
	both.Go(func() { n.secrets.Run(ctx) })
	stop = func() { cancel(); both.Wait() }
	n.t.Cleanup(stop)
	return stop
}

// claims are those of a token that is issued now.
func (n *node) claims() token.Claims {
	jti, err1 := id.New[id.Token](rand.Reader)
	sid, err2 := id.New[id.Session](rand.Reader)
	uid, err3 := id.New[id.User](rand.Reader)
	if err := errors.Join(err1, err2, err3); err != nil {
		n.t.Error(err)
	}
	iat := instant.Unix(instant.Of(time.Now()).Seconds())
	return token.Claims{ID: jti, Subject: uid, Session: sid, Issuer: "xteam", Audience: []string{"xteam"}, ClientID: "xteam", Roles: []string{"user"}, IssuedAt: iat, NotBefore: iat, ExpiresAt: iat.Add(n.core.Tunables.Access)}
}

func (n *node) sign() string {
	text, err := n.codec.Sign(n.claims())
	if err != nil {
		n.t.Errorf("Sign: %v", err)
	}
	return text.RevealPlaintext()
}

// signedWith is a token that somebody else made with that secret.
func (n *node) signedWith(s string) string {
	n.t.Helper()
	other := jwtcodec.New(jwtcodec.Options{})
	k := keyset.Key{ID: kidOf(s), Purpose: keyset.Sign, Algorithm: keyset.HS256, State: keyset.Primary, Secret: secret.New(s)}
	if err := other.SetRing(keyset.Ring{Keys: []keyset.Key{k}}); err != nil {
		n.t.Fatal(err)
	}
	text, err := other.Sign(n.claims())
	if err != nil {
		n.t.Fatal(err)
	}
	return text.RevealPlaintext()
}

func (n *node) admits(what, tk string) {
	n.t.Helper()
	if _, err := n.guard.Admit(tk); err != nil {
		n.t.Errorf("%s: %v, want it admitted", what, err)
	}
}

func (n *node) refuses(what, tk string, want error) {
	n.t.Helper()
	if _, err := n.guard.Admit(tk); !errors.Is(err, want) {
		n.t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// dead says that the key of a token was revoked.
func (n *node) dead(what, tk string) {
	n.t.Helper()
	_, err := n.guard.Admit(tk)
	var revoked *revocation.RevokedError
	if !errors.As(err, &revoked) || revoked.Reason != revocation.KeyRevoked {
		n.t.Errorf("%s: %v, want key_revoked", what, err)
	}
}

func (n *node) rotate(algorithm string, graceful bool) app.KeyRotation {
	n.t.Helper()
	out, err := n.rotator.Rotate(context.Background(), root, algorithm, graceful)
	if err != nil {
		n.t.Fatalf("Rotate: %v", err)
	}
	return out
}

func (n *node) revoke(kid string) (successor string) {
	n.t.Helper()
	successor, err := n.rotator.Revoke(context.Background(), root, kid, "a drill")
	if err != nil {
		n.t.Fatalf("Revoke: %v", err)
	}
	return successor
}

// signs is the id of the key that signs.
func (n *node) signs() string { return n.codec.KeyIDs()[0] }

// states are the keys of the store and their states.
func (n *node) states() map[string]string {
	n.t.Helper()
	r, err := n.store.Keys().Find(context.Background(), keyset.Signing)
	if err != nil {
		n.t.Fatal(err)
	}
	all := map[string]string{}
	for _, k := range r.Keys {
		all[k.ID] = k.State.String()
	}
	return all
}

// told are the reasons of the events of keys that changed, by key.
func (n *node) told() map[string]string {
	n.t.Helper()
	all, _, err := n.store.Events().List(context.Background(), 0, 100_000)
	if err != nil {
		n.t.Fatal(err)
	}
	told := map[string]string{}
	for _, e := range all {
		if e.Kind == audit.KeyChanged {
			told[e.Subject] = strings.TrimSpace(told[e.Subject] + " " + e.Reason)
		}
	}
	return told
}

// pass lets time go by in a bubble.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // the bubble's clock
}

func same[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestSecretKeySignsUntilTheFirstRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := started(t, memstore.New(), newSafe(app.SecretKey, keyOne, app.SecretKeyPrevious, keyTwo+", "+keyThree), app.RotatorOptions{})
		same(t, "signs", n.signs(), kidOf(keyOne))
		own := n.sign()
		n.admits("its own", own)
		n.admits("what others sign with SECRET_KEY", n.signedWith(keyOne))
		n.admits("what SECRET_KEY_PREVIOUS signed", n.signedWith(keyTwo))
		n.admits("what its second signed", n.signedWith(keyThree))
		n.refuses("another secret", n.signedWith(strings.Repeat("x", 40)), token.ErrUnknownKey)
		out := n.rotate("", false)
		if out.Was != kidOf(keyOne) || out.Key.ID != n.signs() || out.Key.ID == out.Was || out.Key.Algorithm != keyset.HS256 || out.LagsTo != 0 || !out.Key.Secret.IsZero() {
			t.Errorf("Rotate = %+v", out)
		}
		n.admits("from before the rotation", own)
		n.admits("from after it", n.sign())
		if keys := n.rotator.PublicKeys(); keys == nil || len(keys) != 0 {
			t.Errorf("of symmetric keys %v is published", keys)
		}
		same(t, "told", n.told(), map[string]string{out.Key.ID: "rotated"})
	})
}

func TestAnotherAlgorithmFromTheFirstStart(t *testing.T) {
	for _, algorithm := range keyset.Algorithms()[1:] {
		for given, s := range map[string]*safe{"no secret": newSafe(), "a secret": newSafe(app.SecretKey, keyOne)} {
			t.Run(algorithm+" with "+given, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					o := app.RotatorOptions{Algorithm: algorithm, Make: func(context.Context, bool) (secret.Text, error) {
						t.Error("a SECRET_KEY was made")
						return secret.New(keyTwo), nil
					}}
					store := memstore.New()
					n := started(t, store, s, o)
					tk := n.sign()
					n.admits("its own", tk)
					if keys := n.rotator.PublicKeys(); len(keys) != 1 || keys[0].Algorithm != algorithm || keys[0].ID != n.signs() || keys[0].Wrapped != nil || !keys[0].Secret.IsZero() {
						t.Errorf("published: %+v", keys)
					}
					again := started(t, store, s, o)
					same(t, "after another start signs", again.signs(), n.signs())
					again.admits("from before it", tk)
					if given == "a secret" {
						again.admits("of SECRET_KEY", again.signedWith(keyOne))
					}
				})
			})
		}
	}
}

// JWT_ALGORITHM decides as long as nobody has rotated, and then the rotation.
func TestAlgorithmOfTheSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, s := memstore.New(), newSafe(app.SecretKey, keyOne)
		old := started(t, store, s, app.RotatorOptions{}).sign()
		n := started(t, store, s, app.RotatorOptions{Algorithm: keyset.ES256})
		same(t, "the published keys", len(n.rotator.PublicKeys()), 1)
		n.admits("from before the setting", old)
		first := n.signs()
		n = started(t, store, s, app.RotatorOptions{Algorithm: keyset.EdDSA})
		same(t, "signs after a rotation, whatever is set", n.signs(), first)
		if !strings.Contains(n.log.String(), "JWT_ALGORITHM is not that of the key that signs") {
			t.Errorf("the log says %q", n.log)
		}
		same(t, "the algorithm of the next", n.rotate("", false).Key.Algorithm, keyset.EdDSA)
		same(t, "the algorithm by hand", n.rotate(keyset.PS256, false).Key.Algorithm, keyset.PS256)
		if _, err := n.rotator.Rotate(t.Context(), root, "none", false); !errors.As(err, new(*app.SelectorError)) {
			t.Errorf("an algorithm that is none: %v", err)
		}
	})
}

func TestStartWritesNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, o := range []app.RotatorOptions{{}, {Algorithm: keyset.ES256}} {
			store, s := memstore.New(), newSafe(app.SecretKey, keyOne, app.SecretKeyPrevious, keyTwo)
			started(t, store, s, o)
			for range 2 {
				n := started(t, store, s, o)
				n.rotator.Run(cancelled(t))
				if len(n.faults.wrote) != 0 {
					t.Errorf("another start wrote %v of %v", n.faults.wrote, n.faults.calls)
				}
				n.rotate("", false)
			}
		}
	})
}

func cancelled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// Of several nodes that start at once on a new store one makes the first key.
func TestNodesThatStartAtOnce(t *testing.T) {
	store := memstore.New()
	var nodes []*node
	for range 8 {
		nodes = append(nodes, newNode(t, store, newSafe(), app.RotatorOptions{Algorithm: keyset.EdDSA}))
	}
	var all sync.WaitGroup
	for _, n := range nodes {
		all.Go(func() {
			if err := n.rotator.Start(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	same(t, "keys", len(nodes[0].states()), 1)
	same(t, "told", nodes[0].told(), map[string]string{nodes[0].signs(): "rotated"})
	for _, n := range nodes {
		same(t, "signs", n.signs(), nodes[0].signs())
		nodes[0].admits("of another node", n.sign())
	}
}

// meanwhile is a source of chance that lets something happen when it is first asked.
type meanwhile struct {
	happens func()
	once    sync.Once
}

func (m *meanwhile) Read(p []byte) (int, error) {
	m.once.Do(m.happens)
	return rand.Read(p)
}

// A node that has seen no key yet makes none when another was first.
func TestNodeThatIsOvertakenAtItsStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New()
		n := newNode(t, store, newSafe(), app.RotatorOptions{Algorithm: keyset.EdDSA})
		var first *node
		n.core.Random = &meanwhile{happens: func() { first = started(t, store, newSafe(), app.RotatorOptions{Algorithm: keyset.EdDSA}) }}
		if err := n.rotator.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		same(t, "signs", n.signs(), first.signs())
		same(t, "keys", n.states(), map[string]string{first.signs(): "primary"})
	})
}

// A key that a setting gave goes when its tokens are over, though the setting has gone before; and does not come back with it.
func TestGivenKeyGoesWithoutItsSetting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New()
		n := started(t, store, newSafe(app.SecretKey, keyOne), app.RotatorOptions{})
		n.rotate(keyset.ES256, false)
		n = started(t, store, newSafe(), app.RotatorOptions{Algorithm: keyset.ES256})
		n.run()
		pass(2 * time.Hour)
		same(t, "in the store", n.states()[kidOf(keyOne)], "gone")
		n = started(t, store, newSafe(app.SecretKey, keyOne), app.RotatorOptions{Algorithm: keyset.ES256})
		n.refuses("of the setting that has come back", n.signedWith(keyOne), token.ErrUnknownKey)
	})
}

// A token of a key that is being revoked is good until it is revoked: at no moment is its key unknown.
func TestKeyIsNeverUnknownWhileItIsRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := started(t, memstore.New(), newSafe(app.SecretKey, keyOne), app.RotatorOptions{})
		n.rotate(keyset.ES256, false)
		old, between := n.sign(), 0
		n.given = func() {
			between++
			if _, err := n.guard.Admit(old); errors.Is(err, token.ErrUnknownKey) {
				t.Error("its key is unknown")
			}
			n.admits("of the key that signs", n.sign())
		}
		n.revoke(n.signs())
		n.dead("when it is revoked", old)
		if between < 2 {
			t.Errorf("keys were given %d times", between)
		}
	})
}

func TestOldTokensAreGoodToTheirLastSecond(t *testing.T) {
	for _, algorithm := range []string{keyset.HS256, keyset.ES256} {
		synctest.Test(t, func(t *testing.T) {
			n := started(t, memstore.New(), newSafe(app.SecretKey, keyOne), app.RotatorOptions{})
			n.run()
			n.rotate(algorithm, false)
			was, tk := n.signs(), n.sign()
			out := n.rotate(algorithm, false)
			if out.Was != was || (out.LagsTo != 0) != (algorithm == keyset.ES256) {
				t.Errorf("Rotate = %+v", out)
			}
			if err := n.rotator.Retire(t.Context(), root, was); !errors.As(err, new(*keyset.EarlyError)) {
				t.Errorf("Retire at once: %v, want that it is too early", err)
			}
			pass(30*time.Minute + 29*time.Second)
			n.admits("in its last second", tk)
			same(t, "the key before", n.states()[was], "retiring")
			pass(2 * time.Second)
			n.refuses("when it is over", tk, token.ErrExpired)
			pass(token.Margin + 10*time.Second)
			same(t, "the key before, when all of its tokens are over", n.states()[was], "gone")
			same(t, "what verifies", n.codec.KeyIDs(), []string{out.Key.ID})
			n.refuses("when its key is gone", tk, token.ErrUnknownKey)
			same(t, "told of it", n.told()[was], "rotated gone")
		})
	}
}

func TestGracefulRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := started(t, memstore.New(), newSafe(), app.RotatorOptions{Algorithm: keyset.ES256})
		n.run()
		synctest.Wait()
		was, old := n.signs(), n.sign()
		out := n.rotate(keyset.EdDSA, true)
		if begun := instant.Of(time.Now()); out.Signs != begun.Add(app.JWKSLag) || out.Was != was || out.LagsTo != 0 {
			t.Errorf("Rotate at %v = %+v, want it to sign when %v are over", begun, out, app.JWKSLag)
		}
		if _, err := n.rotator.Rotate(t.Context(), root, "", true); !errors.Is(err, keyset.ErrPending) {
			t.Errorf("another: %v", err)
		}
		before := n.rotator.PublicKeys()
		if len(before) != 2 || before[0].ID != was || before[1].ID != out.Key.ID {
			t.Errorf("published: %v", before)
		}
		pass(app.JWKSLag - time.Second)
		same(t, "signs before its time", n.signs(), was)
		pass(7 * time.Second)
		same(t, "signs from its time", n.signs(), out.Key.ID)
		n.admits("of the key before", old)
		n.admits("of the next", n.sign())
		same(t, "told", n.told(), map[string]string{was: "rotated retiring", out.Key.ID: "published primary"})
		for _, k := range n.rotator.List() {
			if k.State == keyset.Retiring && (k.ID != was || k.Outlook.Then != keyset.Gone || k.Outlook.At != k.Retirable) {
				t.Errorf("listed: %+v", k)
			}
		}
	})
}

// Several nodes whose keys are followed by others by themselves: each rotation makes one key, and whatever any of them signs, all take.
func TestKeysRotateByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New()
		var nodes []*node
		for range 3 {
			n := started(t, store, newSafe(app.SecretKey, keyOne), app.RotatorOptions{Interval: time.Hour})
			n.run()
			nodes = append(nodes, n)
		}
		var tokens []string
		for range 4*60 + 10 {
			pass(time.Minute + 137*time.Millisecond)
			for _, n := range nodes {
				tokens = append(tokens, n.sign())
			}
			tokens = tokens[max(0, len(tokens)-29*len(nodes)):] // the others are over
			for _, n := range nodes {
				for _, tk := range tokens {
					if _, err := n.guard.Admit(tk); err != nil {
						t.Fatalf("a token of one of the nodes, on one of them: %v", err)
					}
				}
			}
		}
		primary, told := nodes[0].signs(), nodes[0].told()
		whole := 0
		for kid, said := range told {
			switch {
			case said == "published primary retiring gone", kid == kidOf(keyOne) && said == "retiring gone":
				whole++
			case kid == primary && said == "published primary", said == "published primary retiring":
			default:
				t.Errorf("told of %s: %q", kid, said)
			}
		}
		if len(told) != 5 || whole != 3 { // the fourth retired less than its tokens ago
			t.Errorf("in four hours there were %d keys, %d to their end: %v", len(told), whole, told)
		}
	})
}

// A key is revoked at once, also while a rotation by itself waits for a node that does not answer; and the key that was asked about signs only once it does.
func TestRevokeGoesBeforeARotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, board := memstore.New(), memstore.NewBoard()
		n := started(t, store, newSafe(app.SecretKey, keyOne), app.RotatorOptions{Interval: time.Hour})
		var mute atomic.Bool
		mute.Store(true)
		asked := make(chan string, 1)
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		defer running.Wait()
		defer cancel()
		for name, core := range map[string]*app.Core{"one": n.core, "two": newWorld(t).core} {
			nodes, err := app.NewNodes(core, app.NodesOptions{Name: name}, app.Board{Name: "memory", Nodes: board.Nodes()})
			if err != nil {
				t.Fatal(err)
			}
			if name == "two" {
				nodes.Answer("key", func(_ context.Context, kid []byte) bool {
					select {
					case asked <- string(kid):
					default:
					}
					return !mute.Load()
				})
			}
			running.Go(func() { nodes.Run(ctx) })
		}
		n.run()
		was, next := kidOf(keyOne), <-asked
		begun := time.Now()
		successor := n.revoke(was)
		if took := time.Since(begun); took > 100*time.Millisecond {
			t.Errorf("the revocation waited %v for a rotation", took)
		}
		if successor != next || n.signs() != next {
			t.Errorf("after the revocation %s signs (answered: %s), want %s, which waited", n.signs(), successor, next)
		}

		for len(asked) > 0 {
			<-asked
		}
		pass(10 * time.Second) // what was asked before is over
		for len(asked) > 0 {
			<-asked
		}
		third := <-asked
		pass(time.Minute)
		same(t, "who signs while a node does not have the next key", n.signs(), next)
		mute.Store(false)
		pass(20 * time.Second)
		same(t, "who signs once it has", n.signs(), third)
		if log := n.log.String(); strings.Count(log, "could not be looked after") > 2 || strings.Count(log, "are looked after again") > 2 {
			t.Errorf("the log repeats itself:\n%s", log)
		}
	})
}

// A key that is revoked takes with it everything that it signed, whatever it was; and what signs then is admitted.
func TestRevokeKey(t *testing.T) {
	for name, c := range map[string]struct {
		pick  func(n *node) (kid, tk string)
		heirs bool // whether another takes its place
	}{
		"given":    {func(n *node) (string, string) { return n.signs(), n.sign() }, true},
		"previous": {func(n *node) (string, string) { return kidOf(keyTwo), n.signedWith(keyTwo) }, false},
		"primary":  {func(n *node) (string, string) { n.rotate(keyset.ES256, false); return n.signs(), n.sign() }, true},
		"primary, symmetric": {func(n *node) (string, string) {
			n.rotate(keyset.HS256, false)
			return n.signs(), n.sign()
		}, true},
		"primary, another waits": {func(n *node) (string, string) {
			n.rotate(keyset.ES256, false)
			n.rotate(keyset.EdDSA, true)
			return n.signs(), n.sign()
		}, true},
		"next": {func(n *node) (string, string) { return n.rotate(keyset.EdDSA, true).Key.ID, "" }, false},
		"retiring": {func(n *node) (string, string) {
			n.rotate(keyset.ES256, false)
			kid, tk := n.signs(), n.sign()
			n.rotate(keyset.EdDSA, false)
			return kid, tk
		}, false},
		"retiring, symmetric": {func(n *node) (string, string) {
			n.rotate(keyset.HS256, false)
			kid, tk := n.signs(), n.sign()
			n.rotate("", false)
			return kid, tk
		}, false},
		"given, no longer signing": {func(n *node) (string, string) {
			kid, tk := n.signs(), n.sign()
			n.rotate(keyset.ES256, false)
			return kid, tk
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, s := memstore.New(), newSafe(app.SecretKey, keyOne, app.SecretKeyPrevious, keyTwo)
				n, other := started(t, store, s, app.RotatorOptions{}), started(t, store, s, app.RotatorOptions{})
				n.run()
				other.run()
				synctest.Wait()
				kid, tk := c.pick(n)
				if tk != "" {
					n.admits("before", tk)
				}
				before := n.signs()
				successor := n.revoke(kid)
				if c.heirs != (successor != "") || c.heirs == (n.signs() == before) || c.heirs && n.signs() != successor {
					t.Errorf("%s signed, %s is revoked, %q takes its place, %s signs", before, kid, successor, n.signs())
				}
				if slices.Contains(n.codec.KeyIDs()[:1], kid) {
					t.Error("the revoked key signs")
				}
				n.admits("of the key that signs now", n.sign())
				if tk != "" {
					n.dead("here", tk)
				}
				pass(2 * time.Second)
				if tk != "" {
					n.dead("here, a little later", tk)
					other.dead("on another node", tk)
				}
				other.admits("of the key that signs now, on another node", n.sign())
				same(t, "signs on the other node", other.signs(), n.signs())
				same(t, "in the store", n.states()[kid], "revoked")
				if again := n.revoke(kid); again != "" {
					t.Errorf("revoked again, %s takes its place", again)
				}
				for _, pub := range n.rotator.PublicKeys() {
					if pub.ID == kid {
						t.Error("it is published still")
					}
				}
				pass(26 * time.Hour)
				same(t, "in the store, a day later", n.states()[kid], "revoked")
				if slices.Contains(n.codec.KeyIDs(), kid) {
					t.Error("it is held though none of its tokens can live, to explain them")
				}
				ring, _ := store.Keys().Find(t.Context(), keyset.Signing)
				if k, _ := ring.Find(kid); len(k.Wrapped) > 0 {
					t.Error("its secret is kept though none of its tokens can live")
				}
			})
		})
	}
}

func TestRevokeWhatIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := started(t, memstore.New(), newSafe(app.SecretKey, keyOne), app.RotatorOptions{})
		if _, err := n.rotator.Revoke(t.Context(), root, "none", ""); !errors.Is(err, ports.ErrNotFound) {
			t.Errorf("Revoke: %v", err)
		}
		if err := n.rotator.Retire(t.Context(), root, "none"); !errors.Is(err, keyset.ErrUnknown) {
			t.Errorf("Retire: %v", err)
		}
		if err := n.rotator.Retire(t.Context(), root, n.signs()); !errors.Is(err, keyset.ErrSigns) {
			t.Errorf("Retire of what signs: %v", err)
		}
		next := n.rotate(keyset.ES256, true).Key.ID
		if err := n.rotator.Retire(t.Context(), root, next); err != nil || n.states()[next] != "gone" {
			t.Errorf("Retire of what waits: %v", err)
		}
		if n.rotator.Holds("none") || !n.rotator.Holds(next) {
			t.Error("Holds")
		}
	})
}

// Whoever has a revoked secret can make any token: no server starts with it, by whatever name. One that the system made for itself is passed over.
func TestRevokedSecretRefusesTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New()
		n := started(t, store, newSafe(app.SecretKey, keyOne), app.RotatorOptions{})
		n.revoke(kidOf(keyOne))
		for name, s := range map[string]*safe{
			app.SecretKey:         newSafe(app.SecretKey, keyOne),
			app.SecretKeyPrevious: newSafe(app.SecretKey, keyTwo, app.SecretKeyPrevious, keyThree+","+keyOne),
		} {
			for _, algorithm := range []string{"", keyset.ES256} {
				bad := newNode(t, store, s, app.RotatorOptions{Algorithm: algorithm})
				err := bad.rotator.Start(t.Context())
				if err == nil || err.Error() != name+" holds the key "+kidOf(keyOne)+", which was revoked: take it away, and where one is needed give another, as `xteam secret generate` makes" || len(bad.faults.wrote) > 0 {
					t.Errorf("%s: %v, after %v", name, err, bad.faults.wrote)
				}
			}
		}
		kept := started(t, store, newSafe(app.SecretKey, keyOne), app.RotatorOptions{Kept: func(name string) bool { return name == app.SecretKey }})
		same(t, "signs", kept.signs(), n.signs())
		kept.dead("what the kept one signed", kept.signedWith(keyOne))
		// And a running system does not take it up.
		n.safe.put(app.SecretKeyPrevious, keyOne)
		if err := n.secrets.Read(t.Context()); err == nil || !strings.Contains(err.Error(), "which was revoked") {
			t.Errorf("taken up while running: %v", err)
		}
		n.rotate("", false) // which keeps nobody from changing keys
	})
}

func TestShortSecretIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, s := range []*safe{newSafe(app.SecretKey, "planted"), newSafe(app.SecretKey, keyOne, app.SecretKeyPrevious, "planted")} {
			err := newNode(t, memstore.New(), s, app.RotatorOptions{}).rotator.Start(t.Context())
			if err == nil || !strings.Contains(err.Error(), "7 bytes") || strings.Contains(err.Error(), "planted") {
				t.Errorf("Start: %v", err)
			}
		}
		if err := newNode(t, memstore.New(), newSafe(), app.RotatorOptions{}).rotator.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "SECRET_KEY is empty") {
			t.Errorf("without any: %v", err)
		}
		store := memstore.New()
		started(t, store, newSafe(app.SecretKey, keyOne), app.RotatorOptions{})
		if err := newNode(t, store, newSafe(), app.RotatorOptions{}).rotator.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "SECRET_KEY is empty") {
			t.Errorf("taken away: %v", err)
		}
	})
}

// The same secret by both names, and twice by one, is one key.
func TestTheSameSecretTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := started(t, memstore.New(), newSafe(app.SecretKey, keyOne, app.SecretKeyPrevious, strings.Join([]string{keyOne, keyTwo, keyTwo}, ",")), app.RotatorOptions{})
		same(t, "held", n.codec.KeyIDs(), []string{kidOf(keyOne), kidOf(keyTwo)})
	})
}

// SECRET_KEY is replaced in its source while the service runs: signing moves to the new one, and no good token is refused on the way.
func TestSecretReplacedAtRunTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, s := memstore.New(), newSafe(app.SecretKey, keyOne)
		n, other := started(t, store, s, app.RotatorOptions{}), started(t, store, s, app.RotatorOptions{})
		n.run()
		other.run()
		synctest.Wait()
		old := n.sign()
		s.put(app.SecretKey, keyTwo, app.SecretKeyPrevious, keyOne)
		if err := n.secrets.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		same(t, "signs", n.signs(), kidOf(keyTwo))
		tk := n.sign()
		n.admits("from before", old)
		other.admits("of a secret that this node has not read yet", tk)
		for range 60 {
			pass(time.Second)
			for _, each := range []*node{n, other} {
				each.admits("from before", old)
				each.admits("from after", each.sign())
			}
		}
		same(t, "signs on the other node", other.signs(), kidOf(keyTwo))
		same(t, "in the store", n.states(), map[string]string{kidOf(keyOne): "retiring", kidOf(keyTwo): "primary"})
		s.put(app.SecretKeyPrevious, "")
		if err := n.secrets.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		n.refuses("when the secret from before is taken away", old, token.ErrUnknownKey)
		// A source that has gone back after half of a change was taken up.
		n.secrets.OnChange(func(context.Context, app.SecretValues, app.SecretValues) error { return outage{} })
		s.put(app.SecretKey, keyThree)
		if err := n.secrets.Read(t.Context()); !errors.Is(err, ports.ErrUnavailable) || n.signs() != kidOf(keyThree) {
			t.Fatalf("half taken up: %v, %s", err, n.signs())
		}
		s.put(app.SecretKey, keyTwo)
		if err := n.secrets.Read(t.Context()); !errors.Is(err, ports.ErrUnavailable) || n.signs() != kidOf(keyTwo) {
			t.Errorf("gone back: %v, %s signs", err, n.signs())
		}
	})
}

// After a rotation SECRET_KEY decides nothing: a new one is told of, and signs and verifies nothing.
func TestUnusedSecretIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := started(t, memstore.New(), newSafe(app.SecretKey, keyOne), app.RotatorOptions{})
		signs := n.rotate("", false).Key.ID
		n.safe.put(app.SecretKey, keyTwo)
		for range 3 {
			if err := n.secrets.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		n.refuses("of the new one", n.signedWith(keyTwo), token.ErrUnknownKey)
		same(t, "signs", n.signs(), signs)
		if got := strings.Count(n.log.String(), "take them away"); got != 1 {
			t.Errorf("told %d times: %s", got, n.log)
		}
	})
}

// A token of a key that this node has never seen is admitted at first sight.
func TestLookUp(t *testing.T) {
	for name, hangs := range map[string]bool{"": false, ", while the source of secrets hangs": true} {
		synctest.Test(t, func(t *testing.T) {
			store, s := memstore.New(), newSafe(app.SecretKey, keyOne)
			n, other := started(t, store, s, app.RotatorOptions{}), started(t, store, s, app.RotatorOptions{})
			other.run()
			synctest.Wait()
			n.rotate(keyset.ES256, false)
			s.mu.Lock()
			s.hangs = hangs
			s.mu.Unlock()
			begun := time.Now()
			other.admits("of a key that was made elsewhere"+name, n.sign())
			if took := time.Since(begun); took > 0 {
				t.Errorf("that took %v%s", took, name)
			}
		})
	}
}

// A storm of unknown kids makes one look, then a pause; good tokens are not held up.
func TestStormOfUnknownKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := started(t, memstore.New(), newSafe(app.SecretKey, keyOne), app.RotatorOptions{})
		n.run()
		synctest.Wait()
		good := n.sign()
		var bad []string
		for i := range 50 {
			bad = append(bad, n.signedWith(strings.Repeat("x", 32)+fmt.Sprint(i)))
		}
		pass(time.Second) // between two passes
		synctest.Wait()
		n.faults.arm(-1, "", nil)
		asked := n.safe.asked
		storm := func() {
			var all sync.WaitGroup
			for i := range 1000 {
				all.Go(func() { n.refuses("of an unknown key", bad[i%len(bad)], token.ErrUnknownKey) })
			}
			all.Wait()
			n.admits("a good one", good)
		}
		finds := func() (n1 int) {
			n.faults.mu.Lock()
			defer n.faults.mu.Unlock()
			for _, c := range n.faults.calls {
				if c == "Keys.Find" {
					n1++
				}
			}
			return n1
		}
		for range 20 {
			storm()
		}
		if finds() != 1 || n.safe.asked-asked != 1 {
			t.Errorf("20,000 unknown keys in no time: the store was asked %d times and the source of secrets %d, want once each", finds(), n.safe.asked-asked)
		}
		for range 30 {
			pass(time.Second)
			storm()
		}
		if got := finds(); got > 1+6+6 { // and a pass every five seconds
			t.Errorf("600,000 unknown keys in 30 s: the store was asked %d times", got)
		}
	})
}

// hung is a store of keys that answers nothing.
type hung struct {
	ports.Keys
	on atomic.Bool
}

func (h *hung) Find(ctx context.Context, name string) (keyset.Ring, error) {
	if h.on.Load() {
		<-ctx.Done()
		return keyset.Ring{}, ctx.Err()
	}
	return h.Keys.Find(ctx, name)
}

// Nobody waits for longer than a second, and hardly anybody as long, for a store that hangs; nor at all while nobody looks.
func TestLookUpThatComesToNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, memstore.New(), newSafe(app.SecretKey, keyOne), app.RotatorOptions{})
		h := &hung{Keys: n.core.Stores.Keys}
		n.core.Stores.Keys = h
		bad := n.signedWith(keyTwo)
		took := func() time.Duration {
			begun := time.Now()
			n.refuses("of an unknown key", bad, token.ErrUnknownKey)
			return time.Since(begun)
		}
		same(t, "before Start", took(), time.Duration(0))
		if err := n.rotator.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		same(t, "before Run", took(), time.Duration(0))
		stop := n.run()
		synctest.Wait()
		h.on.Store(true)
		pass(10 * time.Second) // a pass hangs
		var waited time.Duration
		for range 100 {
			one := took()
			if one > time.Second {
				t.Errorf("one waited %v", one)
			}
			waited += one
		}
		if waited > 3*time.Second {
			t.Errorf("a hundred one after the other waited %v", waited)
		}
		n.admits("a good one", n.sign())
		h.on.Store(false)
		pass(20 * time.Second)
		same(t, "when it answers again", took(), time.Duration(0))
		if said := n.log.String(); strings.Count(said, "could not be looked after") != 1 || strings.Count(said, "looked after again") != 1 {
			t.Errorf("the log says %s", said)
		}
		pass(6 * time.Second)
		h.on.Store(true)
		ended := make(chan time.Duration)
		go func() { ended <- took() }()
		synctest.Wait()
		stop()
		if d := <-ended; d > time.Second {
			t.Errorf("who waited when it ended waited %v", d)
		}
		pass(time.Minute)
		same(t, "after the end", took(), time.Duration(0))
	})
}

// Whatever call of the store fails, and wherever in it, a rotation has happened or not, what signs is admitted, and another try does the rest.
func TestRotatorFaults(t *testing.T) {
	for name, act := range map[string]func(n *node) error{
		"rotate": func(n *node) error {
			_, err := n.rotator.Rotate(context.Background(), root, keyset.EdDSA, false)
			return err
		},
		"graceful": func(n *node) error {
			_, err := n.rotator.Rotate(context.Background(), root, keyset.EdDSA, true)
			return err
		},
		"retire": func(n *node) error {
			for _, k := range n.rotator.List() {
				if k.State == keyset.Retiring {
					return n.rotator.Retire(context.Background(), root, k.ID)
				}
			}
			return nil
		},
		"revoke": func(n *node) error {
			_, err := n.rotator.Revoke(context.Background(), root, kidOf(keyOne), "")
			return err
		},
		"revoke what signs": func(n *node) error { _, err := n.rotator.Revoke(context.Background(), root, n.signs(), ""); return err },
		"secret":            func(n *node) error { n.safe.put(app.SecretKey, keyTwo); return n.secrets.Read(context.Background()) },
	} {
		for _, when := range []moment{before, rolledBack, committed} {
			t.Run(name+" fails "+string(when), func(t *testing.T) {
				for at := 0; ; at++ {
					struck := true
					synctest.Test(t, func(t *testing.T) {
						n := started(t, memstore.New(), newSafe(app.SecretKey, keyOne), app.RotatorOptions{})
						if name == "retire" || name == "revoke" || name == "revoke what signs" {
							n.rotate(keyset.ES256, false)
						}
						if name == "retire" {
							pass(2 * time.Hour)
						}
						old := n.sign()
						n.faults.arm(at, when, outage{})
						err := act(n)
						if struck = n.faults.struck; struck && !errors.Is(err, ports.ErrUnavailable) {
							t.Errorf("call %d of %v failed, and the answer is %v", at, n.faults.calls, err)
						}
						n.faults.arm(-1, "", nil)
						pass(2 * time.Second) // a revocation is heard
						if !n.core.View.KeyRevoked(n.signs()) {
							n.admits("what it signs then", n.sign())
						}
						if !strings.HasPrefix(name, "revoke") && name != "secret" {
							n.admits("from before", old)
						}
						primaries := 0
						for _, s := range n.states() {
							if s == "primary" {
								primaries++
							}
						}
						same(t, "keys that sign", primaries, 1)
						n.run()
						synctest.Wait()
						if n.core.View.KeyRevoked(n.signs()) {
							t.Error("a revoked key signs when the store has been read again")
						}
						n.admits("what it signs when the store has been read again", n.sign())
						if err := act(n); err != nil && !errors.Is(err, keyset.ErrPending) && !errors.Is(err, keyset.ErrTransition) {
							t.Errorf("another try: %v", err)
						}
						n.admits("what it signs after another try", n.sign())
					})
					if !struck {
						if at < 2 {
							t.Errorf("only %d calls could fail", at)
						}
						break
					}
				}
			})
		}
	}
}

// A start whose store fails is refused, and the next one does what is left.
func TestStartFaults(t *testing.T) {
	for _, algorithm := range []string{"", keyset.ES256} {
		for _, when := range []moment{before, rolledBack, committed} {
			for at := 0; ; at++ {
				struck := true
				synctest.Test(t, func(t *testing.T) {
					store, s := memstore.New(), newSafe(app.SecretKey, keyOne)
					n := newNode(t, store, s, app.RotatorOptions{Algorithm: algorithm})
					n.faults.arm(at, when, outage{})
					err := n.rotator.Start(t.Context())
					if struck = n.faults.struck; struck != errors.Is(err, ports.ErrUnavailable) {
						t.Errorf("call %d of %v failed, and the answer is %v", at, n.faults.calls, err)
					}
					again := started(t, store, s, app.RotatorOptions{Algorithm: algorithm})
					again.admits("what it signs", again.sign())
					want := 1
					if algorithm != "" {
						want = 2
					}
					same(t, "keys", len(again.states()), want)
				})
				if !struck {
					break
				}
			}
		}
	}
}

// A key that the keyring does not open refuses the start, unless it would only tell why a token is dead.
func TestRingThatCannotBeOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New()
		n := started(t, store, newSafe(app.SecretKey, keyOne), app.RotatorOptions{})
		kid := n.rotate(keyset.HS256, false).Key.ID
		damage := func() {
			err := store.Keys().Update(t.Context(), keyset.Signing, func(r keyset.Ring) (keyset.Ring, ports.Effects, error) {
				for i := range r.Keys {
					if r.Keys[i].ID == kid {
						r.Keys[i].Wrapped[len(r.Keys[i].Wrapped)-1] ^= 1
					}
				}
				return r, ports.Effects{}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		damage()
		err := newNode(t, store, newSafe(app.SecretKey, keyOne), app.RotatorOptions{}).rotator.Start(t.Context())
		if !errors.Is(err, ports.ErrUnavailable) || !strings.Contains(err.Error(), kid) {
			t.Errorf("Start: %v", err)
		}
		damage() // and back
		n.revoke(kid)
		damage()
		other := started(t, store, newSafe(app.SecretKey, keyOne), app.RotatorOptions{})
		other.admits("of the key that signs", other.sign())
	})
}

// Nothing that is stored, told or logged holds a secret.
func TestRotatorKeepsSecretsToItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New()
		s := newSafe(app.SecretKey, keyOne, app.SecretKeyPrevious, keyTwo)
		n := started(t, store, s, app.RotatorOptions{})
		stop := n.run()
		n.rotate(keyset.HS256, false)
		n.rotate(keyset.ES256, true)
		n.safe.put(app.SecretKey, keyThree)
		pass(2 * time.Hour)
		n.revoke(kidOf(keyTwo))
		n.revoke(n.signs())
		s.fail(fmt.Errorf("a source that is ill: %w", ports.ErrUnavailable))
		pass(time.Hour)
		stop() // all of it is looked at
		ring, err := store.Keys().Find(t.Context(), keyset.Signing)
		if err != nil {
			t.Fatal(err)
		}
		events, _, err := store.Events().List(t.Context(), 0, 10_000)
		if err != nil {
			t.Fatal(err)
		}
		written := fmt.Sprintf("%s %+v %+v %+v %v", n.log, events, n.core.Journal.(*journal).told, n.rotator.List(), n.rotator)
		for _, k := range ring.Keys {
			written += string(k.Wrapped) + string(k.Public)
		}
		if strings.Contains(written, "planted") || n.log.String() == "" || len(events) == 0 {
			t.Error("a secret was written")
		}
	})
}

// Signing, verifying, rotating and revoking at once: whatever is signed is admitted at once, unless its key was revoked meanwhile; and nothing is signed with a
// key whose revocation was answered.
func TestKeysChangeUnderLoad(t *testing.T) {
	store, s := memstore.New(), newSafe(app.SecretKey, keyOne)
	n := started(t, store, s, app.RotatorOptions{})
	n.run()
	var revoking, revoked sync.Map // kids
	var signed, died atomic.Int64
	done := make(chan struct{})
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				over := map[any]bool{}
				revoked.Range(func(kid, _ any) bool { over[kid] = true; return true })
				tk := n.sign()
				said, _ := n.codec.ReadUnverified(tk)
				if over[said.KeyID] {
					t.Errorf("signed with %s, whose revocation was answered before", said.KeyID)
				}
				_, err := n.guard.Admit(tk)
				signed.Add(1)
				var dead *revocation.RevokedError
				_, mayDie := revoking.Load(said.KeyID)
				switch {
				case err == nil:
				case mayDie && errors.As(err, &dead) && dead.Reason == revocation.KeyRevoked:
					died.Add(1)
				default:
					t.Errorf("a token of %s (being revoked: %v): %v", said.KeyID, mayDie, err)
				}
			}
		})
	}
	algorithms := []string{keyset.ES256, keyset.HS256, keyset.EdDSA}
	for i := range 60 {
		switch i % 3 {
		case 0:
			n.rotate(algorithms[i/3%3], false)
		case 1:
			n.rotate(algorithms[i/3%3], true)
		default:
			kid := n.signs()
			revoking.Store(kid, true)
			n.revoke(kid)
			revoked.Store(kid, true)
		}
	}
	close(done)
	all.Wait()
	t.Logf("%d tokens, of which %d died on their way", signed.Load(), died.Load())
	if signed.Load() < 60 {
		t.Errorf("only %d tokens were signed", signed.Load())
	}
}
