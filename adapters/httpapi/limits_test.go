package httpapi_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/adapters/journal"
	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/ratelimit"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// limited is a service with rate limits, whose clock stands until it is turned.
type limited struct {
	*service // the same without limits
	h        http.Handler
	clock    atomic.Int64 // ns since the start
	from     string       // the client's address and port
	hasher   ports.Passwords
}

func newLimited(t testing.TB, o app.LimiterOptions) *limited {
	t.Helper()
	l := &limited{service: newService(t), from: "192.0.2.7:4711"}
	start := time.Now()
	o.Now = func() time.Time { return start.Add(time.Duration(l.clock.Load())) }
	limiter, err := app.NewLimiter(memstore.NewBuckets(memstore.BucketsOptions{}), journal.New(slog.New(slog.NewJSONHandler(l.log, nil))), rand.Reader, o)
	check(t, err)
	l.core.Limiter, l.hasher = limiter, l.core.Passwords
	sessions, guard := app.NewSessions(l.core), app.NewGuard(l.core)
	l.h = httpapi.New(httpapi.Services{Guard: guard, APIKeys: app.NewAPIKeys(l.core, guard), Sessions: sessions, Accounts: l.accounts, Revoker: app.NewRevoker(l.core, sessions, "node-1"), View: l.core.View, Limiter: limiter,
		Probe: func(context.Context) error { return l.probe }}, httpapi.Options{}).Handler()
	return l
}

func (l *limited) call(method, target, body string, heads ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://xteam.test"+target, strings.NewReader(body))
	if body == "" {
		r.Body = http.NoBody
	}
	r.RemoteAddr = l.from
	for _, h := range heads {
		k, v, _ := strings.Cut(h, ": ")
		r.Header.Add(k, v)
	}
	w := httptest.NewRecorder()
	l.h.ServeHTTP(w, r)
	conform(l.t, r, body, w)
	return w
}

func (l *limited) post(target, body string, heads ...string) *httptest.ResponseRecorder {
	return l.call("POST", target, body, append(heads, asJSON)...)
}

// tokens signs in without the transport, which would count it.
func (l *limited) tokens(name string) pair {
	l.t.Helper()
	who, err := account.ParseLogin("", name)
	check(l.t, err)
	t, err := app.NewSessions(l.core).Login(context.Background(), app.Request{}, who, secret.New(password))
	check(l.t, err)
	return pair{AccessToken: t.Access.RevealPlaintext(), RefreshToken: t.Refresh.RevealPlaintext()}
}

// limitsOf is what an answer says of the limits.
func limitsOf(w *httptest.ResponseRecorder) map[string]string {
	got := map[string]string{}
	for _, name := range []string{"X-RateLimit-Limit", "X-RateLimit-Remaining", "RateLimit", "RateLimit-Policy", "Retry-After"} {
		if v := w.Header().Values(name); len(v) > 0 {
			got[name] = strings.Join(v, " | ")
		}
	}
	return got
}

const (
	mePath    = "/api/v1/users/me"
	loginPath = "/api/v1/auth/login"
	wrong     = `{"email":"ann@example.com","password":"not her password"}`
)

func TestLimitHeaders(t *testing.T) {
	l := newLimited(t, app.LimiterOptions{Read: 50})
	l.user("ann", account.RoleUser)
	p := l.tokens("ann")
	w := l.call("GET", mePath, "", bearer(p))
	want := map[string]string{"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "49", "RateLimit": `"read";r=49;t=2`, "RateLimit-Policy": `"read";q=50;w=60`}
	if diff := cmp.Diff(want, limitsOf(w)); w.Code != 200 || diff != "" {
		t.Errorf("a read: %d, headers (-want +got):\n%s", w.Code, diff)
	}
	w = l.call("HEAD", mePath, "", bearer(p))
	want["X-RateLimit-Remaining"], want["RateLimit"] = "48", `"read";r=48;t=2`
	if diff := cmp.Diff(want, limitsOf(w)); w.Code != 200 || diff != "" {
		t.Errorf("a HEAD: %d, headers (-want +got):\n%s", w.Code, diff)
	}
	w = l.call("GET", "/api/v1/nothing", "")
	want = map[string]string{"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "57", "RateLimit": `"address";r=57;t=1`, "RateLimit-Policy": `"address";q=60;w=60`}
	if diff := cmp.Diff(want, limitsOf(w)); w.Code != 404 || diff != "" {
		t.Errorf("a 404: %d, headers (-want +got):\n%s", w.Code, diff)
	}
}

// The seed's: sign-in 5 a minute, and the headers that tell a client how long to wait.
func TestTheSixthSignIn(t *testing.T) {
	l := newLimited(t, app.LimiterOptions{})
	l.user("ann", account.RoleUser)
	for i := range 5 {
		w := l.post(loginPath, wrong)
		wants(t, w, 401, "credentials_invalid")
		if got := w.Header().Get("X-RateLimit-Remaining"); got != fmt.Sprint(4-i) {
			t.Errorf("sign-in %d: %s left, want %d", i+1, got, 4-i)
		}
	}
	for _, try := range []struct { // in order: a clock that goes back has everything told anew
		after time.Duration
		retry string
	}{{0, "12"}, {11 * time.Second, "1"}, {11*time.Second + 999*time.Millisecond, "1"}} {
		after, retry := try.after, try.retry
		l.clock.Store(int64(after))
		w := l.post(loginPath, wrong)
		wants(t, w, 429, "rate_limited")
		want := map[string]string{"X-RateLimit-Limit": "5", "X-RateLimit-Remaining": "0", "RateLimit": `"auth";r=0;t=` + retry, "RateLimit-Policy": `"auth";q=5;w=60`, "Retry-After": retry}
		if diff := cmp.Diff(want, limitsOf(w)); diff != "" {
			t.Errorf("after %v (-want +got):\n%s", after, diff)
		}
	}
	l.clock.Store(int64(12 * time.Second))
	wants(t, l.post(loginPath, wrong), 401, "credentials_invalid")
	wants(t, l.post(loginPath, wrong), 429, "rate_limited")
	wants(t, l.post("/api/v1/auth/register", `{}`), 429, "rate_limited") // one class, one bucket
	if n := strings.Count(l.log.String(), `"msg":"Rate limit exceeded"`); n != 1 || !strings.Contains(l.log.String(), `"client_ip":"192.0.2.7"`) || !strings.Contains(l.log.String(), `"endpoint":"/api/v1/auth/login"`) {
		t.Errorf("5 refusals: %d lines, want one with client_ip and endpoint: %s", n, l.log)
	}
}

// No header says who the client is.
func TestForwardedAddressesAreNotBelieved(t *testing.T) {
	l := newLimited(t, app.LimiterOptions{})
	for i := range 6 {
		w := l.post(loginPath, wrong, fmt.Sprintf("X-Forwarded-For: 203.0.113.%d", i), fmt.Sprintf("Forwarded: for=203.0.113.%d", i), fmt.Sprintf("X-Real-Ip: 203.0.113.%d", i),
			fmt.Sprintf("True-Client-Ip: 203.0.113.%d", i), fmt.Sprintf("Cf-Connecting-Ip: 203.0.113.%d", i), fmt.Sprintf("X_Forwarded_For: 203.0.113.%d", i))
		if want := 401 + 28*(i/5); w.Code != want {
			t.Errorf("sign-in %d: %d, want %d", i+1, w.Code, want)
		}
	}
}

// Health is exempt by its routes: nothing that only looks like one is.
func TestHealthIsExempt(t *testing.T) {
	l := newLimited(t, app.LimiterOptions{PerAddress: 1})
	l.call("GET", "/api/v1/nothing", "")
	for _, path := range []string{"/health", "/healthz", "/readyz", "/health?x=1"} {
		for range 100 {
			if w := l.call("GET", path, ""); w.Code != 200 || len(limitsOf(w)) != 0 {
				t.Fatalf("%s: %d, headers %v", path, w.Code, limitsOf(w))
			}
		}
	}
	for _, path := range []string{"/health/", "/healthz/../api/v1/users/me", "/api/v1/users/me?/healthz", "/api/v1/health", "/%68ealth/x", "//health", "/readyzz"} {
		wants(t, l.call("GET", path, ""), 429, "rate_limited")
	}
	wants(t, l.call("POST", "/health", ""), 429, "rate_limited")
}

// Whatever is refused is charged to the address first.
func TestRefusedRequestsAreCharged(t *testing.T) {
	const patience = 20
	for name, send := range map[string]func(*limited) *httptest.ResponseRecorder{
		"no route":        func(l *limited) *httptest.ResponseRecorder { return l.call("GET", "/nothing", "") },
		"a doubled slash": func(l *limited) *httptest.ResponseRecorder { return l.call("GET", "//api/v1/users/me", "") },
		"another method":  func(l *limited) *httptest.ResponseRecorder { return l.call("PUT", mePath, "") },
		"TRACE":           func(l *limited) *httptest.ResponseRecorder { return l.call("TRACE", "/", "") },
		"TRACE for a proxy": func(l *limited) *httptest.ResponseRecorder {
			return l.call("TRACE", verify, "")
		},
		"an encoding": func(l *limited) *httptest.ResponseRecorder {
			return l.call("POST", "/api/v1/auth/logout", "x", "Content-Encoding: gzip")
		},
		"no token": func(l *limited) *httptest.ResponseRecorder { return l.call("GET", mePath, "") },
		"a garbage token": func(l *limited) *httptest.ResponseRecorder {
			return l.call("GET", mePath, "", "Authorization: Bearer garbage")
		},
		"two tokens": func(l *limited) *httptest.ResponseRecorder {
			return l.call("GET", mePath, "", "Authorization: Bearer a", "Authorization: Bearer b")
		},
		"a body too large": func(l *limited) *httptest.ResponseRecorder {
			return l.post("/api/v1/auth/logout", strings.Repeat(" ", 1<<20+1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLimited(t, app.LimiterOptions{PerAddress: patience})
			for i := range patience {
				w := send(l)
				if w.Code < 400 || w.Code == 429 || w.Header().Get("X-RateLimit-Remaining") != fmt.Sprint(patience-1-i) {
					t.Fatalf("request %d: %d, headers %v", i+1, w.Code, limitsOf(w))
				}
			}
			told := strings.Count(l.log.String(), "\n")
			for range 50 {
				if w := send(l); w.Code != 429 || w.Header().Get("Retry-After") != "3" {
					t.Fatalf("once %d are spent: %d, headers %v", patience, w.Code, limitsOf(w))
				}
			}
			if got := strings.Count(l.log.String(), "\n") - told; got != 1 {
				t.Errorf("50 refusals: %d lines more, want 1", got)
			}
			l.from = "192.0.2.8:1"
			if w := send(l); w.Code == 429 {
				t.Error("another address is refused")
			}
		})
	}
}

// A token that was revoked, or that is garbage, spends nothing of the user whom it names.
func TestARevokedTokenSpendsNothingOfItsSubject(t *testing.T) {
	l := newLimited(t, app.LimiterOptions{PerAddress: 1000, Read: 10})
	l.user("ann", account.RoleUser)
	dead, alive := l.tokens("ann"), l.tokens("ann")
	if w := l.call("POST", "/api/v1/auth/logout", "", bearer(dead)); w.Code != 204 {
		t.Fatalf("log out: %d", w.Code)
	}
	l.from = "198.51.100.9:1"
	for i := range 20 { // each is two of the ten that the address has
		if w := l.call("GET", mePath, "", bearer(dead)); w.Code != 401 && i < 5 || w.Code != 429 && i >= 5 {
			t.Fatalf("request %d with the revoked token: %d", i+1, w.Code)
		}
		l.call("GET", mePath, "", bearer(alive)[:len(bearer(alive))-5]+"AAAAA")
	}
	l.from = "203.0.113.1:1"
	for i := range 10 {
		if w := l.call("GET", mePath, "", bearer(alive)); w.Code != 200 {
			t.Fatalf("request %d of the subject: %d %s", i+1, w.Code, w.Body)
		}
	}
	wants(t, l.call("GET", mePath, "", bearer(alive)), 429, "rate_limited")
}

// A live refresh token is charged to its session, so that an office behind one address is not signed out; everything else that comes there is a guess.
func TestRefreshIsChargedToItsSession(t *testing.T) {
	const path = "/api/v1/auth/refresh"
	l := newLimited(t, app.LimiterOptions{Refresh: 2})
	l.user("ann", account.RoleUser)
	one, two := l.tokens("ann"), l.tokens("ann")
	body := func(p pair) string { return `{"refresh_token":"` + p.RefreshToken + `"}` }
	for i, garbage := range []string{`{"refresh_token":"xtr_garbage"}`, `{`, `[1]`, `{"refresh_token":""}`, strings.Replace(body(one), "xtr_", "xtr_A", 1)} {
		if w := l.post(path, garbage); w.Code < 400 || w.Code == 429 || w.Header().Get("X-RateLimit-Remaining") != fmt.Sprint(4-i) {
			t.Errorf("%s: %d, headers %v", garbage, w.Code, limitsOf(w))
		}
	}
	wants(t, l.post(path, `{"refresh_token":"xtr_garbage"}`), 429, "rate_limited")
	wants(t, l.post(path, `{`), 429, "rate_limited")
	for range 60 { // and the address's own
		l.call("GET", "/nothing", "")
	}
	for i := range 2 {
		w := l.post(path, body(one))
		want := map[string]string{"X-RateLimit-Limit": "2", "X-RateLimit-Remaining": fmt.Sprint(1 - i), "RateLimit": fmt.Sprintf(`"refresh";r=%d;t=30`, 1-i), "RateLimit-Policy": `"refresh";q=2;w=60`}
		if diff := cmp.Diff(want, limitsOf(w)); w.Code != 200 || diff != "" {
			t.Errorf("a live token, try %d: %d (-want +got):\n%s", i, w.Code, diff)
		}
	}
	wants(t, l.post(path, body(one)), 429, "rate_limited")
	if w := l.post(path, body(two)); w.Code != 200 {
		t.Errorf("another session: %d %s", w.Code, w.Body)
	}
}

// A change of password is guessing too: five a minute for the session, wherever it is; the account's brake holds all its sessions.
func TestChangePasswordIsOfTheAuthClass(t *testing.T) {
	l := newLimited(t, app.LimiterOptions{})
	l.user("ann", account.RoleUser)
	p := l.tokens("ann")
	const body = `{"current_password":"a wrong one entirely","new_password":"another horse entirely"}`
	for i := range 5 {
		l.from = fmt.Sprintf("192.0.2.%d:1", i)
		wants(t, l.post("/api/v1/auth/change-password", body, bearer(p)), 401, "credentials_invalid")
	}
	wants(t, l.post("/api/v1/auth/change-password", body, bearer(p)), 429, "rate_limited")
}

// What an administrator's route refuses is recorded for as long as the limits let it through, and no longer.
func TestForbiddenIsChargedBeforeItIsRecorded(t *testing.T) {
	l := newLimited(t, app.LimiterOptions{Write: 3})
	l.user("ann", account.RoleUser)
	p := l.tokens("ann")
	for range 3 {
		wants(t, l.post("/api/v1/admin/revocations", `{"all":true}`, bearer(p)), 403, "forbidden")
	}
	for range 10 {
		wants(t, l.post("/api/v1/admin/revocations", `{"all":true}`, bearer(p)), 429, "rate_limited")
	}
	all, _, err := l.core.Stores.Events.List(t.Context(), 0, 1000)
	check(t, err)
	denied := 0
	for _, e := range all {
		if e.Kind == audit.PermissionDenied {
			denied++
		}
	}
	if denied != 3 {
		t.Errorf("permission_denied: %d events, want 3", denied)
	}
}

// A key that lacks the scope is charged to the address on every route, those too that charge nothing to who is let in; it is told of and counted, and none of it is kept.
func TestAKeyWithoutTheScopeIsChargedAndNotKept(t *testing.T) {
	for name, path := range map[string]string{"forward-auth": verify, "a read": mePath, "an administrator's": "/api/v1/admin/users", "a program's own": "/orders"} {
		t.Run(name, func(t *testing.T) {
			l := newLimited(t, app.LimiterOptions{PerAddress: 3, Read: 2})
			l.user("ann", account.RoleUser)
			p := l.signIn("ann")
			k := l.key(p, "introspect")
			if path == "/orders" {
				l.h = l.h.(*httpapi.API).Protect(http.NotFoundHandler())
			}
			kept, _, err := l.core.Stores.Events.List(t.Context(), 0, 1000)
			check(t, err)
			said := l.log.Len()
			for range 3 {
				wants(t, l.call("GET", path, "", "X-API-Key: "+k.Key), 403, "forbidden")
			}
			for range 10 {
				wants(t, l.call("GET", path, "", "X-API-Key: "+k.Key), 429, "rate_limited")
			}
			now, _, err := l.core.Stores.Events.List(t.Context(), 0, 1000)
			check(t, err)
			if len(now) != len(kept) {
				t.Errorf("%d events were kept", len(now)-len(kept))
			}
			if log := l.log.String()[said:]; strings.Count(log, "API key refused") != 1 || !strings.Contains(log, `"reason":"forbidden"`) || !strings.Contains(log, k.ID) || strings.Contains(log, k.Key[40:83]) {
				t.Errorf("the log, which should tell of the first one: %s", log)
			}
			if l.from = "203.0.113.1:1"; path == mePath {
				for range 2 {
					if w := l.call("GET", path, "", bearer(p)); w.Code != 200 {
						t.Errorf("the owner was charged: %d %s", w.Code, w.Body)
					}
				}
			}
		})
	}
}

func TestTheOperatorIsNotLimited(t *testing.T) {
	l := newLimited(t, app.LimiterOptions{PerAddress: 1, Write: 1, Read: 1})
	l.user("ann", account.RoleAdmin)
	p := l.tokens("ann")
	l.h = httpapi.AsOperator(l.h)
	for range 10 {
		if w := l.post("/api/v1/admin/revocations", `{"user_id":"ann","dry_run":true}`); w.Code != 200 || len(limitsOf(w)) != 0 {
			t.Fatalf("the operator: %d %s, headers %v", w.Code, w.Body, limitsOf(w))
		}
		if w := l.call("GET", mePath, "", bearer(p)); w.Code != 200 {
			t.Fatalf("the operator with a token: %d", w.Code)
		}
	}
}

func TestShadowRefusesNothing(t *testing.T) {
	l := newLimited(t, app.LimiterOptions{Mode: app.Shadow})
	for i := range 20 {
		w := l.post(loginPath, wrong)
		wants(t, w, 401, "credentials_invalid")
		if got := w.Header().Get("X-RateLimit-Remaining"); got != fmt.Sprint(max(0, 4-i)) || w.Header().Get("Retry-After") != "" {
			t.Errorf("sign-in %d: headers %v", i+1, limitsOf(w))
		}
	}
	if log := l.log.String(); strings.Count(log, "Rate limit exceeded") != 1 || !strings.Contains(log, `"shadow":"true"`) {
		t.Errorf("the log: %s", log)
	}
}

func TestOffTellsNothing(t *testing.T) {
	l := newLimited(t, app.LimiterOptions{Mode: app.Off})
	for range 20 {
		w := l.post(loginPath, wrong)
		wants(t, w, 401, "credentials_invalid")
		if got := limitsOf(w); len(got) != 0 {
			t.Errorf("headers %v", got)
		}
	}
}

// Guesses at one account from many networks are refused before any password is compared, and a name that does not exist is answered alike.
func TestTooManyAttempts(t *testing.T) {
	l := newLimited(t, app.LimiterOptions{})
	l.user("ann", account.RoleUser)
	answers := map[string]*httptest.ResponseRecorder{}
	for _, name := range []string{"ann", "ghost"} {
		for i := range 10 {
			l.from = fmt.Sprintf("198.51.%d.1:1", i)
			wants(t, l.post(loginPath, `{"username":"`+name+`","password":"not the password"}`), 401, "credentials_invalid")
		}
		l.core.Passwords = uncalled{t}
		l.from = "203.0.113.1:1"
		w := l.post(loginPath, `{"username":"`+strings.ToUpper(name)+`","password":"`+password+`"}`)
		l.core.Passwords = l.hasher
		wants(t, w, 429, "too_many_attempts")
		want := map[string]string{"X-RateLimit-Limit": "10", "X-RateLimit-Remaining": "0", "RateLimit": `"attempts";r=0;t=6`, "RateLimit-Policy": `"attempts";q=10;w=60`, "Retry-After": "6"}
		if diff := cmp.Diff(want, limitsOf(w)); diff != "" {
			t.Errorf("%s: headers (-want +got):\n%s", name, diff)
		}
		answers[name] = w
	}
	plain := func(w *httptest.ResponseRecorder) string {
		h := w.Header().Clone()
		h.Del("X-Request-Id")
		return strings.ReplaceAll(w.Body.String(), w.Header().Get("X-Request-Id"), "") + fmt.Sprint(h)
	}
	if diff := cmp.Diff(plain(answers["ann"]), plain(answers["ghost"])); diff != "" {
		t.Errorf("a name that exists, and one that does not (-ann +ghost):\n%s", diff)
	}
	if !strings.Contains(l.log.String(), `"msg":"Too many attempts at a password"`) {
		t.Errorf("the log: %s", l.log)
	}
}

// uncalled is a hasher that must not be asked.
type uncalled struct{ t *testing.T }

func (u uncalled) Hash(context.Context, secret.Text) (secret.Text, error) {
	u.t.Error("a password was hashed")
	return secret.Text{}, nil
}

func (u uncalled) Compare(context.Context, secret.Text, secret.Text) (ok, upgrade bool, err error) {
	u.t.Error("a password was compared")
	return false, false, nil
}

// gone are buckets that do not answer.
type gone struct{ ports.Buckets }

func (gone) Take(context.Context, instant.Instant, ...ports.Demand) ([]ratelimit.Decision, error) {
	return nil, ports.ErrUnavailable
}

// Limits that cannot be counted are told of at /readyz, and take no request away: neither there nor elsewhere.
func TestLimitsThatCannotBeCounted(t *testing.T) {
	l := newLimited(t, app.LimiterOptions{})
	if w := l.call("GET", "/readyz", ""); w.Code != 200 || !strings.Contains(w.Body.String(), `"rate_limit":{"status":"ok"`) {
		t.Errorf("/readyz: %d %s", w.Code, w.Body)
	}
	limiter, err := app.NewLimiter(gone{}, journal.New(slog.New(slog.DiscardHandler)), rand.Reader, app.LimiterOptions{})
	check(t, err)
	sessions := app.NewSessions(l.core)
	l.h = httpapi.New(httpapi.Services{Guard: app.NewGuard(l.core), Sessions: sessions, Accounts: l.accounts, View: l.core.View, Limiter: limiter,
		Probe: func(context.Context) error { return nil }}, httpapi.Options{}).Handler()
	for range 100 {
		if w := l.call("GET", mePath, ""); w.Code != 401 || len(limitsOf(w)) != 0 {
			t.Fatalf("a request: %d, headers %v", w.Code, limitsOf(w))
		}
	}
	if w := l.call("GET", "/readyz", ""); w.Code != 200 || !strings.Contains(w.Body.String(), `"rate_limit":{"status":"fail"`) {
		t.Errorf("/readyz: %d %s", w.Code, w.Body)
	}
}

// A client over IPv6 is its /64.
func TestLimitsOverIPv6(t *testing.T) {
	l := newLimited(t, app.LimiterOptions{})
	for i := range 6 {
		l.from = fmt.Sprintf("[2001:db8:1:2::%x]:1", i+1)
		if w, want := l.post(loginPath, wrong), 401+28*(i/5); w.Code != want {
			t.Errorf("sign-in %d: %d, want %d", i+1, w.Code, want)
		}
	}
	l.from = "[2001:db8:1:3::1]:1"
	wants(t, l.post(loginPath, wrong), 401, "credentials_invalid")
}

// countedKeys counts how often API keys are looked for.
type countedKeys struct {
	ports.APIKeys
	finds atomic.Int64
}

func (c *countedKeys) Find(ctx context.Context, kid id.APIKey) (apikey.Key, error) {
	c.finds.Add(1)
	return c.APIKeys.Find(ctx, kid)
}

// TestGuessedKeysAreNotLookedForWithoutEnd: a text of the form of a key has to be looked for before anybody knows that it is none. What an address has spent on such is
// refused before the store is asked; who proves a key that is known there goes on, and a key that is new there costs its address nothing.
func TestGuessedKeysAreNotLookedForWithoutEnd(t *testing.T) {
	for name, o := range map[string]struct {
		mode app.Mode
		want int64
	}{"enforced": {app.Enforce, 3}, "in shadow": {app.Shadow, 13}} {
		t.Run(name, func(t *testing.T) {
			l := newLimited(t, app.LimiterOptions{PerAddress: 3, Mode: o.mode})
			l.user("ann", account.RoleUser)
			p := l.signIn("ann")
			good, fresh := l.key(p), l.key(p)
			counted := &countedKeys{APIKeys: l.core.Stores.APIKeys}
			l.core.Stores.APIKeys = counted
			for range 5 { // a proxy's question is charged to the credential
				if w := l.call("GET", verify, "", "X-API-Key: "+good.Key); w.Code != 200 {
					t.Fatalf("a good key: %d %s", w.Code, w.Body)
				}
			}
			counted.finds.Store(0)
			for i := range 13 {
				guess, _, err := apikey.Make(apikey.Development, id.APIKey{1, byte(i)}, rand.Reader)
				check(t, err)
				w := l.call("GET", verify, "", "X-API-Key: "+guess.RevealPlaintext())
				want := 401
				if i >= 3 && o.mode == app.Enforce {
					want = 429
				}
				if w.Code != want || want == 429 && w.Header().Get("Retry-After") == "" {
					t.Errorf("guess %d: %d %s %v", i, w.Code, w.Body, w.Header())
				}
			}
			if got := counted.finds.Load(); got != o.want {
				t.Errorf("the store was asked %d times, want %d", got, o.want)
			}
			if w := l.call("GET", verify, "", "X-API-Key: "+good.Key); w.Code != 200 {
				t.Errorf("a key that is known: %d %s", w.Code, w.Body)
			}
			l.from = "203.0.113.1:1"
			for range 5 {
				if w := l.call("GET", verify, "", "X-API-Key: "+fresh.Key); w.Code != 200 {
					t.Errorf("a key that is new, from elsewhere: %d %s", w.Code, w.Body)
				}
			}
			if w := l.call("GET", mePath, "", bearer(p)); w.Header().Get("X-RateLimit-Remaining") != "2" {
				t.Errorf("reading it cost its address something: %v", w.Header())
			}
		})
	}
}

func TestAKeyHasABucketOfItsOwn(t *testing.T) {
	l := newLimited(t, app.LimiterOptions{PerKey: 2})
	l.user("ann", account.RoleUser)
	p := l.signIn("ann")
	k, other := l.key(p), l.key(p)
	narrow := readKey(t, l.post(apiKeys, `{"name":"x","requests_per_minute":1}`, bearer(p)))
	if got := wants(t, l.post(apiKeys, `{"name":"x","requests_per_minute":3}`, bearer(p)), 422, "validation_failed"); !strings.Contains(fmt.Sprint(got["errors"]), "must be at most 2,") {
		t.Errorf("more than each key may have: %v", got)
	}
	class, err := app.NewOwn("orders", 10)
	check(t, err)
	api := l.h.(*httpapi.API)
	own := api.ProtectKeys(apikey.UsersRead, api.Limit(class, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	for i, c := range []struct {
		h    http.Handler
		path string
		key  madeKey
		want int
	}{{api, mePath, k, 200}, {own, "/orders", k, 200}, {own, "/orders", k, 429}, {api, mePath, k, 429}, {api, mePath, other, 200}, {own, "/orders", other, 200}, {own, "/orders", narrow, 200}, {api, mePath, narrow, 429}} {
		l.h, l.from = c.h, fmt.Sprintf("192.0.2.%d:1", 100+i)
		w := l.call("GET", c.path, "", "X-API-Key: "+c.key.Key)
		limit := `"api-key";q=2;`
		if c.key.ID == narrow.ID {
			limit = `"api-key";q=1;`
		}
		if w.Code != c.want || c.want == 429 && !strings.HasPrefix(w.Header().Get("RateLimit-Policy"), limit) {
			t.Errorf("request %d: %d %v, want %d", i, w.Code, limitsOf(w), c.want)
		}
	}
}
