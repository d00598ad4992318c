package app_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/token"
)

// deaf puts a view that never hears of any source in the place of the world's: it is stale, and knows what is published to it.
func (w *world) deaf() {
	w.view = view.New(view.Options{Now: w.core.Now}, view.Source{Name: "database", Truth: true, Revocations: w.store.Revocations()})
	w.core.View = w.view
	w.guard = app.NewGuard(w.core)
}

// TestOrderOfRefusals: whatever is wrong with a token at once, the refusal is the first in the order of the contract: malformed, invalid, expired,
// revoked, and only then that the view is stale.
func TestOrderOfRefusals(t *testing.T) {
	faults := []string{"malformed", "badly signed", "of another audience", "of another issuer", "expired", "revoked", "before a stale view"}
	for set := range 1 << len(faults) {
		var names []string
		has := map[string]bool{}
		for i, name := range faults {
			if set&(1<<i) != 0 {
				names, has[name] = append(names, name), true
			}
		}
		t.Run(strings.Join(names, ", "), func(t *testing.T) {
			w := newWorld(t)
			w.user("ann")
			claims := *w.caller(w.signIn("ann")).Claims
			if has["before a stale view"] {
				w.deaf()
			}
			if has["of another audience"] {
				claims.Audience = []string{"other"}
			}
			if has["of another issuer"] {
				claims.Issuer = "other"
			}
			if has["revoked"] {
				now := instant.Instant(w.clock.Load())
				w.view.Publish(t.Context(), revocation.Entry{Kind: revocation.Token, Token: claims.ID, Reason: revocation.Logout, At: now, Until: now.Add(24 * time.Hour)})
			}
			if has["expired"] {
				w.turn(30*time.Minute + 30*time.Second)
			}
			text := w.signed(claims).RevealPlaintext()
			if has["badly signed"] {
				text = text[:len(text)-43] + strings.Repeat("A", 43)
			}
			if has["malformed"] {
				text = "x" + text
			}
			c, err := w.guard.Admit(text)
			var want error
			switch {
			case has["malformed"]:
				want = token.ErrMalformed
			case has["badly signed"] || has["of another audience"] || has["of another issuer"]:
				want = token.ErrInvalid
			case has["expired"]:
				want = token.ErrExpired
			case has["revoked"]:
				refused(t, err, revocation.Logout)
				return
			case has["before a stale view"]:
				want = revocation.ErrStale
			}
			if !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
			if want == nil && (c.Claims == nil || c.User() != claims.Subject) {
				t.Errorf("who bears it is %+v", c)
			}
			if (has["malformed"] || has["badly signed"]) && c.Claims != nil {
				t.Errorf("what nobody signed says %+v", c.Claims)
			}
		})
	}
}

func TestNoTokenIsMissing(t *testing.T) {
	w := newWorld(t)
	w.deaf()
	if _, err := w.guard.Admit(""); !errors.Is(err, token.ErrMissing) {
		t.Errorf("got %v, want %v", err, token.ErrMissing)
	}
}

// TestCodesOfRefusals: each refusal has the code of the contract, and a fault has none.
func TestCodesOfRefusals(t *testing.T) {
	for want, err := range map[string]error{
		"token_missing": token.ErrMissing, "token_malformed": token.ErrMalformed, "token_invalid": token.ErrInvalid, "token_expired": token.ErrExpired,
		"token_revoked": &revocation.RevokedError{}, "revocations_stale": revocation.ErrStale, "": outage{},
	} {
		for _, err := range []error{err, fmt.Errorf("admit: %w", err)} {
			if got := app.RefusalCode(err); got != want {
				t.Errorf("the code of %q is %q, want %q", err, got, want)
			}
		}
	}
}

// permutations are all orders of 0 to n-1.
func permutations(n int) [][]int {
	if n == 0 {
		return [][]int{nil}
	}
	var all [][]int
	for _, p := range permutations(n - 1) {
		for at := range n {
			all = append(all, slices.Insert(slices.Clone(p), at, n-1))
		}
	}
	return all
}

// TestAnyRevocationRefuses (CVE-2026-8922, CVE-2026-18218): a token id, a session, a user and a key are revoked in all 24 orders. From the first on
// the token is refused, and the first names the reason.
func TestAnyRevocationRefuses(t *testing.T) {
	ways := []struct {
		kind   revocation.Kind
		reason revocation.Reason
		sel    func(*token.Claims) app.Selector
	}{
		{revocation.Token, revocation.UserRevoked, func(c *token.Claims) app.Selector { return app.Selector{JTI: c.ID.String()} }},
		{revocation.Session, revocation.SessionEnded, func(c *token.Claims) app.Selector { return app.Selector{Session: c.Session.String()} }},
		{revocation.User, revocation.UserRevoked, func(c *token.Claims) app.Selector { return app.Selector{User: c.Subject.String()} }},
		{revocation.Key, revocation.KeyRevoked, func(c *token.Claims) app.Selector { return app.Selector{Key: c.KeyID} }},
	}
	for _, order := range permutations(len(ways)) {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			w := newWorld(t)
			w.user("ann")
			tk := w.signIn("ann")
			claims := w.caller(tk).Claims
			first := ways[order[0]]
			var at instant.Instant
			for _, i := range order {
				w.turn(time.Second)
				if at == 0 {
					at = instant.Instant(w.clock.Load())
				}
				if _, err := w.revoker.Revoke(t.Context(), root, ways[i].sel(claims), "", false); err != nil {
					t.Fatal(err)
				}
				_, err := w.admit(tk)
				var r *revocation.RevokedError
				if !errors.As(err, &r) || r.Verdict != (revocation.Verdict{Kind: first.kind, Reason: first.reason, At: at}) {
					t.Fatalf("after %v: %v, want what came first, %v", ways[i].kind, err, first.kind)
				}
			}
		})
	}
}

// TestTheEarliestNamesTheReason: in whatever order revocations come in, the earliest of those that are here names the reason.
func TestTheEarliestNamesTheReason(t *testing.T) {
	claims := token.Claims{KeyID: "k", ID: id.Token{1}, Subject: id.User{2}, Session: id.Session{3}, Generation: 4, IssuedAt: 1}
	kinds := []revocation.Entry{
		{Kind: revocation.Token, Token: claims.ID, Reason: revocation.Logout},
		{Kind: revocation.Session, Session: claims.Session, Reason: revocation.RefreshReuse},
		{Kind: revocation.User, User: claims.Subject, Min: claims.Generation + 1, Reason: revocation.UserDisabled},
		{Kind: revocation.Key, KeyID: claims.KeyID, Reason: revocation.KeyRevoked},
	}
	for _, times := range permutations(len(kinds)) {
		for _, arrival := range permutations(len(kinds)) {
			v := view.New(view.Options{})
			earliest := len(kinds)
			for n, i := range arrival {
				e := kinds[i]
				e.At = instant.Unix(int64(times[i] + 1))
				e.Until = e.At.Add(time.Hour)
				v.Publish(t.Context(), e)
				earliest = min(earliest, times[i])
				var r *revocation.RevokedError
				if err := v.Check(&claims); !errors.As(err, &r) || r.Reason != kinds[slices.Index(times, earliest)].Reason {
					t.Fatalf("times %v, the first %d of %v: %v, want %v", times, n+1, arrival, err, kinds[slices.Index(times, earliest)].Reason)
				}
			}
		}
	}
}
