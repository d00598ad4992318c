package app_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// explained demands of an explanation without an error that it takes Ann's token.
func (s *scene) explained(e app.Explanation, err error) (app.Tokens, error) {
	if err == nil && (e.Refused != nil || !e.Verified || e.Account == nil || e.Account.ID != s.ann.ID || e.Session == nil || e.Session.ID != s.c.Session()) {
		s.t.Errorf("explained as %+v", e)
	}
	return app.Tokens{}, err
}

// TestExplainSaysWhatTheGuardAndRefreshSay: for every way in which an act withdraws tokens, the explanation's verdict is theirs, and it knows who asked, and since when.
func TestExplainSaysWhatTheGuardAndRefreshSay(t *testing.T) {
	for name := range withdraws {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			a := acts[name]
			if a.ready != nil {
				a.ready(s)
			}
			had := len(s.entries())
			_, err := a.do(t.Context(), s)
			a.answers(s, err)
			now := instant.Instant(s.clock.Load())
			by := s.entries()[had:][0].By
			for _, tk := range []app.Tokens{s.tk, s.live} {
				if tk.Access.IsZero() {
					continue
				}
				e, err := s.sessions.Explain(t.Context(), tk.Access)
				_, verdict := s.admit(tk)
				if err != nil || app.RefusalCode(e.Refused) != app.RefusalCode(verdict) || !e.Verified || !e.Held {
					t.Errorf("access: %+v, %v; the guard says %v", e, err, verdict)
				}
				if app.RefusalCode(verdict) == "token_revoked" && (e.Since != now || len(e.Revocations) == 0 || e.Revocations[0].By != by || e.Refused.Error() != verdict.Error()) {
					t.Errorf("access: since %v, want %v; by %+v, want %q; %v, want %v", e.Since, now, e.Revocations, by, e.Refused, verdict)
				}
				if tk.Refresh.IsZero() {
					continue
				}
				e, err = s.sessions.Explain(t.Context(), tk.Refresh)
				_, verdict = s.sessions.Refresh(t.Context(), home, tk.Refresh) // last: it may end the session
				if err != nil || app.RefusalCode(e.Refused) != app.RefusalCode(verdict) {
					t.Errorf("refresh: %+v, %v; Refresh says %v", e, err, verdict)
				}
				if app.RefusalCode(verdict) == "token_revoked" && (e.Since != now || len(e.Revocations) != 1 || e.Revocations[0].By != by || e.Refused.Error() != verdict.Error()) {
					t.Errorf("refresh: since %v, want %v; by %+v, want %q; %v, want %v", e.Since, now, e.Revocations, by, e.Refused, verdict)
				}
			}
		})
	}
}

// TestExplainWhatIsGone: times, and sessions and accounts that nobody knows any more.
func TestExplainWhatIsGone(t *testing.T) {
	s := newScene(t)
	s.stores.gone = func(m string) bool { return m == "Sessions.Find" || m == "Sessions.Standing" }
	if e, err := s.sessions.Explain(t.Context(), s.tk.Refresh); err != nil || !errors.Is(e.Refused, session.ErrInvalid) || !e.Verified {
		t.Errorf("a refresh token without a session: %+v, %v", e, err)
	}
	if e, err := s.sessions.Explain(t.Context(), s.tk.Access); err != nil || e.Refused != nil || e.Session != nil || e.Account == nil {
		t.Errorf("an access token without a session: %+v, %v", e, err)
	}
	s.stores.gone = nil
	s.turn(time.Hour)
	if e, err := s.sessions.Explain(t.Context(), s.tk.Access); err != nil || !errors.Is(e.Refused, token.ErrExpired) || e.Claims == nil || !e.Verified {
		t.Errorf("an expired token: %+v, %v", e, err)
	}
	s.turn(8 * 24 * time.Hour)
	if e, err := s.sessions.Explain(t.Context(), s.tk.Refresh); err != nil || !errors.Is(e.Refused, session.ErrExpired) || e.Since != 0 || e.Revocations != nil {
		t.Errorf("an expired refresh token: %+v, %v", e, err)
	}
}

// silent is a source of revocations that fails.
type silent struct{ ports.StoredRevocations }

func (silent) Follow(context.Context, func(ports.News) error) error { return outage{} }

// TestExplainFailsAsOne: without the revocations there is no saying who asked, and a half explanation would be taken for a whole one.
func TestExplainFailsAsOne(t *testing.T) {
	s := newScene(t)
	s.must(s.sessions.Logout(t.Context(), home, s.c))
	s.core.Stores.Revocations = silent{}
	for _, tk := range []struct {
		name string
		do   func() (app.Explanation, error)
	}{
		{"access", func() (app.Explanation, error) { return s.sessions.Explain(t.Context(), s.tk.Access) }},
		{"refresh", func() (app.Explanation, error) { return s.sessions.Explain(t.Context(), s.tk.Refresh) }},
	} {
		e, err := tk.do()
		honest(t, err, outage{})
		if e.Refused != nil || e.Claims != nil || e.Session != nil {
			t.Errorf("%s: %+v beside a fault", tk.name, e)
		}
	}
}

// repeats is a source that gives everything twice.
type repeats struct{ ports.StoredRevocations }

func (r repeats) Follow(ctx context.Context, fn func(ports.News) error) error {
	return r.StoredRevocations.Follow(ctx, func(n ports.News) error {
		n.Entries = append(n.Entries[:len(n.Entries):len(n.Entries)], n.Entries...)
		return fn(n)
	})
}

// TestExplainNamesARevocationOnce, in the order in which they decide, whatever a source repeats.
func TestExplainNamesARevocationOnce(t *testing.T) {
	s := newScene(t)
	s.core.Stores.Revocations = repeats{s.core.Stores.Revocations}
	s.must(s.accounts.SetRole(t.Context(), s.admin, s.ann.ID, account.RoleAdmin))
	s.turn(time.Second)
	s.must(s.sessions.Logout(t.Context(), home, s.c))
	e, err := s.sessions.Explain(t.Context(), s.tk.Access)
	s.must(err)
	var kinds []revocation.Kind
	for _, r := range e.Revocations {
		kinds = append(kinds, r.Kind)
	}
	if len(kinds) != 3 || kinds[0] != revocation.User || kinds[1] != revocation.Token || kinds[2] != revocation.Session {
		t.Errorf("named by %v, want user, jti, sid", kinds)
	}
}

// TestWhatEndsNoSessionIsNotItsReason: a change of role withdraws access tokens alone, so whoever asked for it did not end the session that somebody else ended later.
func TestWhatEndsNoSessionIsNotItsReason(t *testing.T) {
	s := newScene(t)
	s.must(s.accounts.SetRole(t.Context(), s.admin, s.ann.ID, account.RoleAdmin))
	s.turn(time.Second)
	_, err := s.revoker.Revoke(t.Context(), root, app.Selector{Session: s.c.Session().String()}, stolen, false)
	s.must(err)
	e, err := s.sessions.Explain(t.Context(), s.tk.Refresh)
	s.must(err)
	if len(e.Revocations) != 1 || e.Revocations[0].By != app.Operator || e.Revocations[0].Note != stolen || e.Since != instant.Instant(s.clock.Load()) {
		t.Errorf("since %v by %+v", e.Since, e.Revocations)
	}
}
