// Package verify judges XTeam's access tokens in another service, without asking XTeam for each: the signature by the keys that it publishes, or a secret that is shared, and whether the token was revoked
// by the feed of revocations, which is held in memory.
//
//	v, err := verify.Open(ctx, verify.Options{JWKS: "https://auth.example/.well-known/jwks.json", Feed: "https://auth.example/api/v1/revocations", APIKey: key})
//	defer v.Close()
//	claims, err := v.Verify(text)
//
// It refuses as XTeam itself does, with the same errors in the same order; and it refuses every token while it cannot know what is revoked: closed, never open.
package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/xteam/xteam/adapters/jwks"
	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// Options say whose tokens are taken. JWKS or Secret is needed, and Feed with APIKey, or Source.
type Options struct {
	JWKS           string      // the URL of the public keys: https://HOST/.well-known/jwks.json
	Secret         secret.Text // SECRET_KEY, where HS256 signs: whoever has it can make tokens
	PreviousSecret secret.Text // SECRET_KEY_PREVIOUS, while it is being replaced

	Feed   string            // the URL of the revocations: https://HOST/api/v1/revocations
	APIKey secret.Text       // with the scope revocations:read
	Source ports.Revocations // in the place of both: such as the revocations of adapters/redisstore, whose MACs nobody can check without the nodes' keys: whoever can write to that Redis can revoke anything here

	Issuer       string        // claim iss; default xteam
	Audience     string        // claim aud; default xteam
	Leeway       time.Duration // clock skew that is allowed; default 30 s; negative: none
	MaxStaleness time.Duration // how old what is known to be revoked may be; default 5 s

	Transport http.RoundTripper // does the requests; default: Go's own
	Logger    *slog.Logger      // takes a line when the feed is lost and when it is back; default: nothing is logged
}

const (
	lookEvery = 30 * time.Second // how often it is asked whether the keys are due to be fetched
	lookFor   = 5 * time.Second  // how long a token of an unknown key waits for that
)

// Verifier judges tokens. All its methods may be called at once.
type Verifier struct {
	codec   *jwtcodec.Codec
	policy  token.Policy
	view    *view.View
	remote  *jwks.Remote // nil: there are no keys but the secrets
	shared  []keyset.Key
	close   func()
	mu      sync.Mutex   // held while the keys are replaced
	fetched []keyset.Key // of the ring
}

// Open answers once it can judge: the keys have been fetched, and everything that is revoked has been told. The context bounds that alone.
func Open(ctx context.Context, o Options) (*Verifier, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	source, err := sourceOf(&o)
	if err != nil {
		return nil, err
	}
	leeway := max(cmp.Or(o.Leeway, 30*time.Second), 0)
	if leeway > token.MaxLeeway {
		return nil, fmt.Errorf("verify: Options.Leeway is %v: it may be %v at most", leeway, token.MaxLeeway)
	}
	v := &Verifier{codec: jwtcodec.New(jwtcodec.Options{VerifyOnly: true}), policy: token.Policy{Issuer: cmp.Or(o.Issuer, "xteam"), Audience: cmp.Or(o.Audience, "xteam"), Leeway: leeway}}
	for _, s := range []secret.Text{o.Secret, o.PreviousSecret} {
		if !s.IsZero() {
			v.shared = append(v.shared, keyset.Key{ID: jwtcodec.SymmetricKeyID(s), Purpose: keyset.Sign, Algorithm: "HS256", State: keyset.Retiring, Secret: s})
		}
	}
	if err := v.openKeys(ctx, &o); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	// No healer is ever named: what the source lacks of what is held here is put back by nobody.
	v.view = view.New(view.Options{MaxStaleness: o.MaxStaleness, Logger: o.Logger, AwaitHealer: true}, view.Source{Name: "feed", Truth: true, Revocations: source})
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var all sync.WaitGroup
	all.Go(func() { _ = v.view.Run(running) }) // it ends with its context alone
	all.Go(func() { v.keepKeys(running) })
	v.close = sync.OnceFunc(func() {
		cancel()
		all.Wait()
	})
	if err := v.view.Ready(ctx); err != nil {
		v.close()
		if why := source.last(); why != nil {
			err = why
		}
		return nil, fmt.Errorf("verify: what is revoked could not be heard: %w", err)
	}
	return v, nil
}

func sourceOf(o *Options) (followed, error) {
	switch {
	case o.Source != nil && o.Feed == "":
		return &follower{from: o.Source}, nil
	case o.Source != nil:
		return nil, errors.New("verify: Options have a Feed and a Source: give one")
	case o.Feed == "" || o.APIKey.IsZero():
		return nil, errors.New("verify: give Options.Feed, such as https://auth.example/api/v1/revocations, with an APIKey of the scope revocations:read, or a Source: without either nobody knows what is revoked")
	}
	return newFeed(o)
}

// openKeys fetches the keys for the first time.
func (v *Verifier) openKeys(ctx context.Context, o *Options) error {
	if o.JWKS == "" && len(v.shared) == 0 {
		return errors.New("give Options.JWKS, such as https://auth.example/.well-known/jwks.json, or the Secret that HS256 signs with")
	}
	if o.JWKS == "" {
		return v.take(nil)
	}
	var err error
	if v.remote, err = jwks.NewRemote(o.JWKS, jwtcodec.Check, jwks.RemoteOptions{Transport: o.Transport}); err != nil {
		return err
	}
	set, err := v.remote.Keys(ctx)
	if err != nil {
		return err
	}
	if len(set.Keys) == 0 && len(v.shared) == 0 {
		return fmt.Errorf("the key set at %s has no key: where HS256 signs none is published, and Options.Secret is needed", o.JWKS)
	}
	return v.take(set.Keys)
}

// take makes keys the ones that verify, unless they are.
func (v *Verifier) take(keys []keyset.Key) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fetched != nil && len(keys) == len(v.fetched) && (len(keys) == 0 || &keys[0] == &v.fetched[0]) {
		return nil
	}
	if err := v.codec.SetRing(keyset.Ring{Name: keyset.Signing, Keys: append(append([]keyset.Key{}, v.shared...), keys...)}); err != nil {
		return err
	}
	v.fetched = keys
	return nil
}

// keepKeys fetches the keys again when they are due.
func (v *Verifier) keepKeys(ctx context.Context) {
	if v.remote == nil {
		return
	}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if set, err := v.remote.Keys(ctx); err == nil {
			_ = v.take(set.Keys) // those of before stay
		}
	}
}

// Close ends everything. It may be called more than once. Every token is refused soon after.
func (v *Verifier) Close() { v.close() }

// Verify answers what an access token claims, or why it is refused: token.ErrMissing, token.ErrMalformed, token.ErrInvalid, token.ErrExpired, *revocation.RevokedError with the reason, or
// revocation.ErrStale while what is revoked is not known. The claims are shared: they must not be changed. A token of a key that is not known may wait for the keys to be fetched again.
func (v *Verifier) Verify(text string) (*token.Claims, error) {
	if text == "" {
		return nil, token.ErrMissing
	}
	claims, err := v.codec.Parse(text)
	if errors.Is(err, token.ErrUnknownKey) && v.look() {
		claims, err = v.codec.Parse(text)
	}
	if err != nil {
		return nil, err
	}
	if err := v.policy.Check(claims, instant.Of(time.Now())); err != nil {
		return nil, err
	}
	if err := v.view.Check(claims); err != nil {
		return nil, err
	}
	return claims, nil
}

// look fetches the keys again, at most once in 30 s whoever asks.
func (v *Verifier) look() bool {
	if v.remote == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookFor)
	defer cancel()
	set, err := v.remote.Look(ctx)
	return err == nil && v.take(set.Keys) == nil
}

// Status tells whether tokens can be judged, and how old what is known to be revoked is.
func (v *Verifier) Status() view.Status { return v.view.Status() }

// Reason is why a token was revoked, in the words of the contract; empty for any other error of Verify.
func Reason(err error) string {
	var revoked *revocation.RevokedError
	if errors.As(err, &revoked) {
		return revoked.Reason.String()
	}
	return ""
}
