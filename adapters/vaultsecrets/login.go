package vaultsecrets

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/xteam/xteam/domain/secret"
)

// A login or a renewal that failed is tried again after leastPause, twice that, and so on to mostPause.
const (
	leastPause = 2 * time.Second
	mostPause  = 30 * time.Second
)

// lease is how long the token that is held lasts. The zero lease lasts for ever.
type lease struct {
	number    int // counts the tokens, so that two callers who were refused log in once
	whole     time.Duration
	renewAt   time.Time // when two thirds of it have passed
	ends      time.Time
	renewable bool
}

func leased(number int, whole time.Duration, renewable bool, now time.Time) lease {
	if whole <= 0 {
		return lease{number: number}
	}
	return lease{number: number, whole: whole, renewable: renewable, renewAt: now.Add(whole * 2 / 3), ends: now.Add(whole)}
}

func (l lease) due(now time.Time) bool { return l.whole > 0 && !now.Before(l.renewAt) }

// logsIn reports whether another token can be had when this one has ended.
func (s *Secrets) logsIn() bool { return s.o.Token.IsZero() }

func (s *Secrets) current() lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lease
}

// take waits for the turn: whoever has it may log in or renew, one at a time.
func (s *Secrets) take(ctx context.Context) (done func(), err error) {
	select {
	case s.turn <- struct{}{}:
		return func() { <-s.turn }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a login at %s: %w", s.door.name, ctx.Err())
	}
}

// keep renews the token once two thirds of its lease have passed, or logs in where that cannot be, or would not last. There is no goroutine that does so: whoever
// reads does, and who reads no more holds no token. While the token lasts, a failure is no error.
func (s *Secrets) keep(ctx context.Context) error {
	if !s.current().due(s.now()) {
		return nil
	}
	done, err := s.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	l, now := s.current(), s.now()
	if !l.due(now) {
		return nil
	}
	if now.Before(l.ends) && l.renewable {
		if err = s.renew(ctx, l); err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
	}
	if s.logsIn() {
		err = s.login(ctx)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	if !now.Before(l.ends) {
		return err
	}
	s.o.Logger.WarnContext(ctx, "Vault's token could not be renewed; it is used while it lasts", slog.Time("until", l.ends), slog.Any("error", err))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease.renewAt = now.Add(mostPause); s.lease.renewAt.After(l.ends) {
		s.lease.renewAt = l.ends
	}
	return nil
}

// renew asks for the lease anew. What is nearly used up, as at the end of a token's greatest life, is not worth having where one can log in.
func (s *Secrets) renew(ctx context.Context, l lease) error {
	a, err := s.ask(ctx, s.held, "auth/token/renew-self", nil, map[string]any{})
	if err != nil {
		return err
	}
	if a.status != http.StatusOK || a.secret == nil || a.secret.Auth == nil {
		return refuse("%s does not renew the token (%d)%s", s.door.name, a.status, s.said(a))
	}
	whole := time.Duration(a.secret.Auth.LeaseDuration) * time.Second
	if s.logsIn() && whole > 0 && whole < l.whole/2 {
		return refuse("%s renews the token for %v of its %v only", s.door.name, whole, l.whole)
	}
	next := leased(l.number, whole, a.secret.Auth.Renewable, s.now())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lease = next
	return nil
}

// loginAgain gets another token than the one of that number, which was denied, unless somebody has done so already. Until a read is answered, whoever is denied next
// believes it: a denial of the new token, which may reach another caller first, is no reason for yet another login.
func (s *Secrets) loginAgain(ctx context.Context, than int, denied error) error {
	done, err := s.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	if s.current().number != than {
		return nil
	}
	if err := s.login(ctx); err != nil {
		return err
	}
	s.pauseAfter(denied)
	return nil
}

// login gets a token; the caller has the turn. Within the pause after a failure it answers that failure again.
func (s *Secrets) login(ctx context.Context) error {
	s.mu.Lock()
	failed, wait := s.failed, s.now().Before(s.notBefore)
	s.mu.Unlock()
	if wait {
		return failed
	}
	token, next, err := s.credentials(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.pauseAfter(err)
		}
		return err
	}
	s.mu.Lock()
	next.number = s.lease.number + 1
	s.lease = next
	s.held.SetToken(token.RevealPlaintext())
	s.mu.Unlock()
	s.o.Logger.InfoContext(ctx, "logged in to Vault", slog.String("address", s.o.Address), slog.Duration("lease", next.whole))
	return nil
}

// pauseAfter lets some time pass before the next login, the more the more often it was in vain. A read that is answered ends it.
func (s *Secrets) pauseAfter(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.now(); !now.Before(s.notBefore) {
		s.pause = min(max(leastPause, 2*s.pause), mostPause)
		s.notBefore, s.failed = now.Add(s.pause), err
	}
}

func (s *Secrets) answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pause, s.notBefore, s.failed = 0, time.Time{}, nil
}

// credentials shows what there is and answers the token that it gets.
func (s *Secrets) credentials(ctx context.Context) (secret.Text, lease, error) {
	switch {
	case !s.o.Token.IsZero():
		next, err := s.lookUp(ctx)
		return s.o.Token, next, err
	case s.o.RoleID != "":
		return s.present(ctx, "AppRole", s.o.AppRoleMount, "VAULT_ROLE_ID and VAULT_SECRET_ID",
			map[string]any{"role_id": s.o.RoleID, "secret_id": s.o.SecretID.RevealPlaintext()})
	}
	text, err := readBounded(s.o.KubernetesSigned, 64<<10)
	if err != nil {
		return secret.Text{}, lease{}, refuse("the service account's token cannot be read (%s): mount it, or log in to Vault another way", err)
	}
	signed := secret.New(strings.TrimSpace(string(text)))
	s.signed.Store(&signed)
	return s.present(ctx, "Kubernetes", s.o.KubernetesMount, "VAULT_KUBERNETES_ROLE and what the role is bound to",
		map[string]any{"role": s.o.KubernetesRole, "jwt": signed.RevealPlaintext()})
}

// present shows credentials at a method of logging in. What it refuses is told with the settings to look at.
func (s *Secrets) present(ctx context.Context, way, mount, look string, shown map[string]any) (secret.Text, lease, error) {
	a, err := s.ask(ctx, s.open, "auth/"+mount+"/login", nil, shown)
	if err != nil {
		return secret.Text{}, lease{}, err
	}
	switch a.status {
	case http.StatusOK:
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return secret.Text{}, lease{}, refuse("%s refuses the %s login at auth/%s (%d)%s: see %s, and that the method is enabled there",
			s.door.name, way, mount, a.status, s.said(a), look)
	default:
		return secret.Text{}, lease{}, s.state(ctx, a)
	}
	if a.secret == nil || a.secret.Auth == nil || a.secret.Auth.ClientToken == "" {
		return secret.Text{}, lease{}, refuse("%s answers the %s login at auth/%s without a token: XTeam can neither unwrap one nor take a second factor", s.door.name, way, mount)
	}
	got := a.secret.Auth
	return secret.New(got.ClientToken), leased(0, time.Duration(got.LeaseDuration)*time.Second, got.Renewable, s.now()), nil
}

// lookUp asks how long the token lasts that was given. A policy may refuse the question, and the token be good: then the reading decides.
func (s *Secrets) lookUp(ctx context.Context) (lease, error) {
	s.held.SetToken(s.o.Token.RevealPlaintext())
	a, err := s.ask(ctx, s.held, "auth/token/lookup-self", nil, nil)
	if err != nil {
		return lease{}, err
	}
	switch a.status {
	case http.StatusOK:
	case http.StatusForbidden:
		return lease{}, nil
	default:
		return lease{}, s.state(ctx, a)
	}
	ttl, err := a.secret.TokenTTL()
	if err != nil {
		return lease{}, refuse("%s does not say how long the token lasts", s.door.name)
	}
	renewable, _ := a.secret.TokenIsRenewable() // one that is not is used until it ends
	return leased(0, ttl, renewable, s.now()), nil
}

// numberOf reads a whole number of Vault's JSON.
func numberOf(v any) (int, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := n.Int64()
	return int(i), err == nil
}
