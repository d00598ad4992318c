package xteamtest_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/xteam/xteam/app/xteam"
	"github.com/xteam/xteam/app/xteam/xteamtest"
	"github.com/xteam/xteam/domain/token"
)

// TestTokensOfEveryKind: each is answered by a protected handler as its name says.
func TestTokensOfEveryKind(t *testing.T) {
	kit := xteamtest.New(t, xteam.Options{})
	ann := kit.User("ann")
	h := kit.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := xteam.CallerFrom(r.Context())
		fmt.Fprint(w, c.User())
	}))
	ask := func(text string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/orders", http.NoBody)
		r.Header.Set("Authorization", "Bearer "+text)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	good := kit.Token(ann)
	for _, try := range []struct {
		name, text string
		status     int
		says       string
	}{
		{"a token", good, 200, ann.ID.String()},
		{"an administrator's", kit.Token(kit.Admin("root")), 200, ""},
		{"forged with other roles", kit.Forged(ann, func(c *token.Claims) { c.Roles = []string{"admin"} }), 200, ann.ID.String()},
		{"expired", kit.Expired(ann), 401, "token_expired"},
		{"revoked", kit.Revoked(ann), 401, "token_revoked"},
		{"wrong audience", kit.WrongAudience(ann), 401, "token_invalid"},
		{"wrong key", kit.WrongKey(ann), 401, "token_invalid"},
	} {
		w := ask(try.text)
		if w.Code != try.status || !strings.Contains(w.Body.String(), try.says) {
			t.Errorf("%s: got %d %s, want %d with %q", try.name, w.Code, w.Body, try.status, try.says)
		}
	}
	kit.Turn(31 * time.Minute)
	if w := ask(good); w.Code != 401 || !strings.Contains(w.Body.String(), "token_expired") {
		t.Errorf("after the clock was turned: %d %s", w.Code, w.Body)
	}
}

// TestTheSeedsThreeCalls: a token, and a user, are withdrawn, and it can be asked.
func TestTheSeedsThreeCalls(t *testing.T) {
	kit := xteamtest.New(t, xteam.Options{})
	ann := kit.User("ann")
	first, refresh := kit.SignIn(ann)
	second := kit.Token(ann)
	revoked := func(text string, want bool) {
		t.Helper()
		if got, err := kit.IsRevoked(text); got != want || err != nil {
			t.Errorf("IsRevoked: got %v, %v, want %v", got, err, want)
		}
	}
	revoked(first, false)
	if err := kit.RevokeToken(t.Context(), first, "leaked"); err != nil {
		t.Fatal(err)
	}
	revoked(first, true)
	revoked(second, false)
	if n, err := kit.RevokeUser(t.Context(), "ann@example.com", "gone"); n != 2 || err != nil {
		t.Errorf("RevokeUser: got %d, %v, want 2 sessions", n, err)
	}
	revoked(second, true)
	if err := kit.RevokeToken(t.Context(), refresh, "leaked"); err != nil {
		t.Errorf("RevokeToken of a refresh token: %v", err)
	}
	for text, want := range map[string]error{"garbage": token.ErrMalformed, kit.Expired(ann): token.ErrExpired, kit.WrongKey(ann): token.ErrInvalid} {
		if got, err := kit.IsRevoked(text); got || !errors.Is(err, want) {
			t.Errorf("IsRevoked of another: got %v, %v, want %v", got, err, want)
		}
	}
	if err := kit.RevokeToken(t.Context(), "garbage", ""); err == nil {
		t.Error("RevokeToken of garbage: got no error")
	}
	if _, err := kit.RevokeUser(t.Context(), "nobody", ""); err == nil {
		t.Error("RevokeUser of nobody: got no error")
	}
}

// TestOwnClassesOfEndpoints: the program's handlers have limits of their own, by caller, or by address where nobody is signed in.
func TestOwnClassesOfEndpoints(t *testing.T) {
	var o xteam.Options
	o.Limits.PerAddress = 1000
	kit := xteamtest.New(t, o)
	ann, bob := kit.Token(kit.User("ann")), kit.Token(kit.User("bob"))
	done := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "done") })
	reports := kit.Protect(kit.Limit("reports", 2, done))
	open := kit.Limit("open", 3, done)
	ask := func(h http.Handler, bearer, from string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/", http.NoBody)
		r.RemoteAddr = from
		if bearer != "" {
			r.Header.Set("Authorization", "Bearer "+bearer)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for i, want := range []int{200, 200, 429} {
		w := ask(reports, ann, fmt.Sprintf("192.0.2.%d:1", i))
		if w.Code != want || w.Header().Get("X-RateLimit-Limit") != "2" || w.Header().Get("Retry-After") == "" != (want == 200) {
			t.Errorf("ann's report %d: got %d %v, want %d", i, w.Code, w.Header(), want)
		}
	}
	if w := ask(reports, bob, "192.0.2.0:1"); w.Code != 200 {
		t.Errorf("bob's: %d", w.Code)
	}
	if w := ask(reports, "", "192.0.2.0:1"); w.Code != 401 {
		t.Errorf("nobody's: %d", w.Code)
	}
	for i, want := range []int{200, 200, 200, 429} {
		if w := ask(open, "", "192.0.2.9:1"); w.Code != want {
			t.Errorf("request %d: got %d, want %d", i, w.Code, want)
		}
	}
	if w := ask(open, "", "192.0.2.10:1"); w.Code != 200 {
		t.Errorf("from another address: %d", w.Code)
	}
	kit.Turn(time.Minute)
	if w := ask(reports, ann, "192.0.2.1:1"); w.Code != 200 {
		t.Errorf("a minute later: %d", w.Code)
	}
	for _, wrong := range []func(){func() { kit.Limit("", 1, done) }, func() { kit.Limit("Reports", 1, done) }, func() { kit.Limit("reports", 0, done) }} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("a class that is none was taken")
				}
			}()
			wrong()
		}()
	}
}

// TestTwoSystemsDoNotMeet: what one revoked, and whom it knows, is nothing to the other, and neither leaves a goroutine.
func TestTwoSystemsDoNotMeet(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Run("two", func(t *testing.T) {
		one, other := xteamtest.New(t, xteam.Options{}), xteamtest.New(t, xteam.Options{})
		ann, namesake := one.User("ann"), other.User("ann")
		mine, theirs := one.Token(ann), other.Token(namesake)
		if _, err := one.IsRevoked(theirs); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("the other's token: %v", err)
		}
		if _, err := one.RevokeUser(t.Context(), "ann", ""); err != nil {
			t.Fatal(err)
		}
		if got, err := other.IsRevoked(theirs); got || err != nil {
			t.Errorf("a namesake's token: %v, %v", got, err)
		}
		if got, _ := one.IsRevoked(mine); !got {
			t.Error("the token of who was revoked is good")
		}
		one.Turn(time.Hour)
		if got, err := other.IsRevoked(theirs); got || err != nil {
			t.Errorf("by the other's clock: %v, %v", got, err)
		}
	})
	goleak.VerifyNone(t, before)
}
