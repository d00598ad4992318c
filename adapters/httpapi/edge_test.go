package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

// failing is a hasher that answers with one error.
type failing struct{ err error }

func (f failing) Hash(context.Context, secret.Text) (secret.Text, error) {
	return secret.Text{}, f.err
}
func (f failing) Compare(context.Context, secret.Text, secret.Text) (ok, upgrade bool, err error) {
	return false, false, f.err
}

// TestProblemBodies: the whole body and the headers of each kind of refusal, to the byte.
func TestProblemBodies(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	const id, me, login = "X-Request-ID: golden-1", "/api/v1/users/me", "/api/v1/auth/login"
	for name, try := range map[string]struct {
		got  *httptest.ResponseRecorder
		want string
		head string // "Name: value" of one header
	}{
		"token_missing": {s.call("GET", me, "", id),
			`{"type":"/docs/problems#token_missing","title":"Unauthorized","status":401,"detail":"no access token was sent","code":"token_missing","request_id":"golden-1"}`,
			`WWW-Authenticate: Bearer realm="xteam"`},
		"token_malformed": {s.call("GET", me, "", id, "Authorization: Bearer x"),
			`{"type":"/docs/problems#token_malformed","title":"Unauthorized","status":401,"detail":"the access token is malformed","code":"token_malformed","request_id":"golden-1"}`,
			`WWW-Authenticate: Bearer realm="xteam", error="invalid_token", error_description="the access token is malformed"`},
		"credentials_invalid": {s.post(login, `{"username":"ann","password":"wrong"}`, id),
			`{"type":"/docs/problems#credentials_invalid","title":"Unauthorized","status":401,"detail":"the credentials are not valid","code":"credentials_invalid","request_id":"golden-1"}`,
			`WWW-Authenticate: Bearer realm="xteam"`},
		"forbidden": {s.post("/api/v1/admin/revocations", `{"all":true}`, id, bearer(p)),
			`{"type":"/docs/problems#forbidden","title":"Forbidden","status":403,"detail":"the caller may not do this","code":"forbidden","request_id":"golden-1"}`, ""},
		"not_found": {s.call("GET", "/nothing", "", id),
			`{"type":"/docs/problems#not_found","title":"Not Found","status":404,"detail":"there is nothing here","code":"not_found","request_id":"golden-1"}`, ""},
		"method_not_allowed": {s.call("PUT", me, "", id),
			`{"type":"/docs/problems#method_not_allowed","title":"Method Not Allowed","status":405,"detail":"this method is not served here; these are: GET, HEAD, PATCH","code":"method_not_allowed","request_id":"golden-1"}`,
			"Allow: GET, HEAD, PATCH"},
		"malformed_json": {s.post(login, `{`, id),
			`{"type":"/docs/problems#malformed_json","title":"Bad Request","status":400,"detail":"the body is not valid JSON","code":"malformed_json","request_id":"golden-1"}`, ""},
		"validation_failed": {s.post(login, `{"email":"x","password":"y"}`, id),
			`{"type":"/docs/problems#validation_failed","title":"Unprocessable Entity","status":422,"detail":"the input is not valid","code":"validation_failed","request_id":"golden-1","errors":[{"field":"email","message":"must be an e-mail address like name@example.com, of at most 254 ASCII characters"}]}`, ""},
		"unsupported_media_type": {s.call("POST", login, "{}", id),
			`{"type":"/docs/problems#unsupported_media_type","title":"Unsupported Media Type","status":415,"detail":"send the body as application/json","code":"unsupported_media_type","request_id":"golden-1"}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(try.want, try.got.Body.String()); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
			if h, v, _ := strings.Cut(try.head, ": "); h != "" && try.got.Header().Get(h) != v {
				t.Errorf("%s: got %q, want %q", h, try.got.Header().Get(h), v)
			}
			if got := try.got.Header().Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control: got %q, want no-store", got)
			}
		})
	}
}

// TestSuccessBodies: the members of the answers that clients rely on are always there.
func TestSuccessBodies(t *testing.T) {
	s := newService(t)
	ann := s.user("ann", account.RoleUser) // who gave no full name
	got := s.call("GET", "/api/v1/users/me", "", bearer(s.signIn("ann"))).Body.String()
	want := fmt.Sprintf(`{"id":"%s","email":"ann@example.com","username":"ann","full_name":"","role":"user","is_active":true,"created_at":%q}`,
		ann.ID, ann.Created.Time().Format(time.RFC3339Nano))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("me (-want +got):\n%s", diff)
	}
}

// TestTwoCredentials: two Authorization headers are never a mixture (RFC 6750, section 2), on no route.
func TestTwoCredentials(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	two := []string{bearer(p), "Authorization: Bearer other"}
	wants(t, s.call("GET", "/api/v1/users/me", "", two...), 400, "malformed_request")
	wants(t, s.post("/api/v1/auth/login", `{"username":"ann","password":"`+password+`"}`, two...), 400, "malformed_request")
	wants(t, s.call("GET", "/api/v1/users/me", "", bearer(p)+", "+bearer(p)[len("Authorization: "):]), 401, "token_malformed")
	s.h = httpapi.AsOperator(s.h)
	wants(t, s.call("POST", "/api/v1/admin/revocations", `{"all":true}`, two...), 400, "malformed_request")
}

// TestOperatorWithAToken: at the operator's door a token speaks for its bearer, not for the operator.
func TestOperatorWithAToken(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	s.h = httpapi.AsOperator(s.h)
	wants(t, s.call("POST", "/api/v1/admin/revocations", `{"all":true}`, bearer(p)), 403, "forbidden")
	if w := s.call("GET", "/api/v1/users/me", "", bearer(p)); w.Code != 200 {
		t.Errorf("me: %d %s", w.Code, w.Body)
	}
}

// TestAllowOfEachPath: a 405 lists what the path takes, whatever the method was; TRACE is one everywhere.
func TestAllowOfEachPath(t *testing.T) {
	s := newService(t)
	for _, try := range []struct{ method, target, allow string }{
		{"TRACE", "/health", "GET, HEAD"}, {"TRACE", "/api/v1/auth/login", "POST"}, {"TRACE", "/nothing", ""},
		{"OPTIONS", "/health", "GET, HEAD"}, {"OPTIONS", "/api/v1/auth/login", "POST"}, {"PROPFIND", "/health", "GET, HEAD"}, {"GET", "/api/v1/auth/login", "POST"}, {"HEAD", "/api/v1/auth/login", "POST"},
	} {
		w := s.call(try.method, try.target, "secret in the body")
		if w.Code != 405 || w.Header().Get("Allow") != try.allow || len(w.Header()["Allow"]) != 1 {
			t.Errorf("%s %s: got %d, Allow %q, want 405, %q", try.method, try.target, w.Code, w.Header()["Allow"], try.allow)
		}
	}
	for _, target := range []string{"/health", "/healthz", "/readyz"} {
		if w := s.call("HEAD", target, ""); w.Code != 200 {
			t.Errorf("HEAD %s: %d", target, w.Code)
		}
	}
	wants(t, s.call("GET", "/.", ""), 404, "not_found")
	wants(t, s.call("GET", "/..", ""), 404, "not_found")
	wants(t, s.call("GET", "/health/", ""), 404, "not_found")
	wants(t, s.call("GET", "/%2e%2e/health", ""), 404, "not_found")
	wants(t, s.call("GET", "/%2fhealth", ""), 404, "not_found")
}

// TestTooLargeWithoutReading: a length that is declared too large is refused on every route, before a byte is read.
func TestTooLargeWithoutReading(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	for _, try := range []struct{ method, target string }{{"POST", "/api/v1/auth/logout"}, {"POST", "/api/v1/auth/login"}, {"GET", "/api/v1/users/me"}, {"GET", "/health"}} {
		r := httptest.NewRequest(try.method, try.target, untouched{t})
		r.ContentLength = 1<<20 + 1
		r.Header.Set("Authorization", "Bearer "+p.AccessToken)
		w := httptest.NewRecorder()
		s.h.ServeHTTP(w, r)
		wants(t, w, 413, "body_too_large")
	}
	if w := s.call("GET", "/api/v1/users/me", "", bearer(p)); w.Code != 200 {
		t.Errorf("the session did not outlive a refused logout: %d", w.Code)
	}
}

type untouched struct{ t *testing.T }

func (u untouched) Read([]byte) (int, error) { u.t.Error("the body was read"); return 0, io.EOF }

// TestRefusalsAreNotFaults: what a client brings about, and a bound that holds, is no line in the log for each request; a fault is one, with the request's id.
func TestRefusalsAreNotFaults(t *testing.T) {
	for name, try := range map[string]struct {
		err    error
		status int
		code   string
		retry  string
		lines  int
	}{
		"a full gate":      {&ports.BusyError{What: "the hasher", RetryAfter: 2500 * time.Millisecond}, 503, "unavailable", "3", 0},
		"a full gate, now": {&ports.BusyError{What: "the hasher"}, 503, "unavailable", "1", 0},
		"no space":         {ports.ErrNoSpace, 507, "no_space", "", 0},
		"a fault below":    {fmt.Errorf("write to /secret/place: %w", ports.ErrUnavailable), 503, "unavailable", "1", 1},
		"out of time":      {fmt.Errorf("wait: %w", context.DeadlineExceeded), 503, "unavailable", "1", 1},
		"a fault":          {fmt.Errorf("at /secret/place"), 500, "internal", "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t)
			s.core.Passwords = failing{try.err}
			before := s.log.Len()
			w := s.post("/api/v1/auth/login", `{"username":"ann","password":"hunter2hunter2"}`, "X-Request-ID: named")
			wants(t, w, try.status, try.code)
			if got := w.Header().Get("Retry-After"); got != try.retry {
				t.Errorf("Retry-After: got %q, want %q", got, try.retry)
			}
			if strings.Contains(w.Body.String(), "secret") {
				t.Errorf("told: %s", w.Body)
			}
			said := s.log.String()[before:]
			if got := strings.Count(said, "\n"); got != try.lines || try.lines == 1 && !strings.Contains(said, `"request_id":"named"`) || strings.Contains(said, "hunter2") {
				t.Errorf("log: got %d lines, want %d: %s", got, try.lines, said)
			}
		})
	}
}

// TestTheClientHasGone: whoever hangs up while a password is compared is no fault of ours.
func TestTheClientHasGone(t *testing.T) {
	s := newService(t)
	before := s.log.Len()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, "POST", "/api/v1/auth/login", strings.NewReader(`{"username":"ann","password":"hunter2hunter2"}`))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	s.core.Passwords = failing{fmt.Errorf("wait for the password hasher: %w", context.Canceled)}
	s.h.ServeHTTP(w, r)
	wants(t, w, 503, "unavailable")
	if said := s.log.String()[before:]; said != "" {
		t.Errorf("log: %s", said)
	}
}

// TestStaleIsSilent: while the view is stale every signed-in request is refused; the view has said so once, and no request says it again.
func TestStaleIsSilent(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	stale := view.New(view.Options{}, view.Source{Name: "database", Truth: true, Revocations: s.core.Stores.Revocations}) // never run
	s.core.View = stale
	sessions := app.NewSessions(s.core)
	s.h = httpapi.New(httpapi.Services{Guard: app.NewGuard(s.core), Sessions: sessions, Accounts: s.accounts, Revoker: app.NewRevoker(s.core, sessions, "n"), View: stale,
		Probe: func(context.Context) error { return nil }}, httpapi.Options{}).Handler()
	before := s.log.Len()
	w := s.call("GET", "/api/v1/users/me", "", bearer(p))
	if w.Code != 503 || w.Header().Get("Retry-After") != "1" {
		t.Errorf("got %d, Retry-After %q, want 503, 1", w.Code, w.Header().Get("Retry-After"))
	}
	if said := s.log.String()[before:]; said != "" {
		t.Errorf("log: %s", said)
	}
	if w := s.call("GET", "/readyz", ""); w.Code != 503 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), `"revocation":{"status":"fail"`) {
		t.Errorf("/readyz: %d %s", w.Code, w.Body)
	}
}

// TestReadyz: the members, in one order, and nothing beside them; the store is asked once for however many ask here.
func TestReadyz(t *testing.T) {
	s := newService(t)
	asked := 0
	s.h = httpapi.New(httpapi.Services{Guard: app.NewGuard(s.core), Sessions: app.NewSessions(s.core), View: s.core.View, Probe: func(context.Context) error { asked++; return nil }}, httpapi.Options{}).Handler()
	var shape string
	for range 50 {
		var got struct {
			Status string
			Checks map[string]map[string]any
		}
		w := s.call("GET", "/readyz", "")
		check(t, json.Unmarshal(w.Body.Bytes(), &got))
		for _, name := range []string{"revocation", "store", "signing"} {
			c := got.Checks[name]
			if c["status"] != "ok" || c["latency_ms"] == nil || (c["age_ms"] != nil) != (name == "revocation") {
				t.Fatalf("%s: %s", name, w.Body)
			}
		}
		order := strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' || r == '.' {
				return -1
			}
			return r
		}, w.Body.String())
		if shape == "" {
			shape = order
		}
		if order != shape {
			t.Fatalf("two orders: %s, %s", shape, order)
		}
	}
	if asked == 50 {
		t.Error("the store was asked once for each request: nothing limits /readyz")
	}
}

// TestOriginOfEvents: an event names the client's address as the socket has it, whatever headers say, IPv4 in its own form, and a User-Agent cut to size.
func TestOriginOfEvents(t *testing.T) {
	s := newService(t)
	s.post("/api/v1/auth/login", `{"username":"ann","password":"wrong"}`, "X-Forwarded-For: 203.0.113.9", "Forwarded: for=203.0.113.9", "X-Real-IP: 203.0.113.9", "True-Client-IP: 203.0.113.9",
		"User-Agent: "+strings.Repeat("é", 1<<16), "X-Request-ID: named", "Cookie: sid=mine")
	all, _, err := s.core.Stores.Events.List(t.Context(), 0, 10)
	check(t, err)
	if len(all) != 1 {
		t.Fatalf("%d events, want 1", len(all))
	}
	want := audit.Event{Kind: audit.AuthenticationFailed, IPAddress: "192.0.2.7", RequestID: "named", UserAgent: strings.Repeat("é", audit.MaxUserAgent/2), Email: "ann"}
	got := audit.Event{Kind: all[0].Kind, IPAddress: all[0].IPAddress, RequestID: all[0].RequestID, UserAgent: all[0].UserAgent, Email: all[0].Email}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestOriginBehindAProxy: an event names the client that a trusted proxy names; a header that is not the configured one changes nothing, nor does Connection.
func TestOriginBehindAProxy(t *testing.T) {
	s := newService(t, httpapi.Options{Proxies: behind(httpapi.XForwardedFor)})
	s.post("/api/v1/auth/login", `{"username":"ann","password":"wrong"}`, "X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 203.0.113.9", "Forwarded: for=6.6.6.6", "X-Real-IP: 6.6.6.6",
		"X_Forwarded_For: 6.6.6.6", "Connection: close, x-forwarded-for", "X-Forwarded-Proto: https")
	all, _, err := s.core.Stores.Events.List(t.Context(), 0, 10)
	check(t, err)
	if len(all) != 1 || all[0].IPAddress != "203.0.113.9" {
		t.Errorf("got %+v, want one event from 203.0.113.9", all)
	}
}

// TestStrictTransport: Strict-Transport-Security is sent where the client's own connection is encrypted, as far as somebody who is trusted says so.
func TestStrictTransport(t *testing.T) {
	const want = "max-age=31536000; includeSubDomains"
	s := newService(t, httpapi.Options{Proxies: behind(httpapi.XForwardedFor)})
	if got := s.call("GET", "/nothing", "", "X-Forwarded-Proto: https").Header().Get("Strict-Transport-Security"); got != want {
		t.Errorf("behind a proxy that says https: got %q, want %q", got, want)
	}
	for _, heads := range [][]string{{"X-Forwarded-Proto: http"}, {"Forwarded: for=203.0.113.9;proto=https"}, nil} {
		if got := s.call("GET", "/health", "", heads...).Header()["Strict-Transport-Security"]; got != nil {
			t.Errorf("%q: got %q, want none", heads, got)
		}
	}
	if got := newService(t).call("GET", "/health", "", "X-Forwarded-Proto: https").Header()["Strict-Transport-Security"]; got != nil {
		t.Errorf("with no trusted proxy: got %q, want none", got)
	}
}

// TestNobodyChoosesASession: each sign-in has a session of its own, whatever cookies come with it.
func TestNobodyChoosesASession(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	seen := map[string]bool{}
	for range 3 {
		var p pair
		check(t, json.Unmarshal(s.post("/api/v1/auth/login", `{"username":"ann","password":"`+password+`"}`, "Cookie: sid=0123456789abcdef0123456789abcdef").Body.Bytes(), &p))
		link, err := session.ParseRefresh(p.RefreshToken)
		check(t, err)
		if seen[link.Session.String()] {
			t.Error("two sign-ins share a session")
		}
		seen[link.Session.String()] = true
	}
	for _, member := range []string{"sid", "session_id"} {
		wants(t, s.post("/api/v1/auth/login", `{"username":"ann","password":"`+password+`","`+member+`":"0123456789abcdef0123456789abcdef"}`), 422, "validation_failed")
	}
}

// TestManyHeaders: 500 headers, several request ids.
func TestManyHeaders(t *testing.T) {
	s := newService(t)
	var heads []string
	for i := range 500 {
		heads = append(heads, fmt.Sprintf("X-H%d: v", i))
	}
	if w := s.call("GET", "/health", "", heads...); w.Code != 200 {
		t.Errorf("500 headers: %d", w.Code)
	}
	if got := s.call("GET", "/health", "", "X-Request-ID: one", "X-Request-ID: two").Header()["X-Request-Id"]; len(got) != 1 || got[0] == "one" || got[0] == "two" {
		t.Errorf("two request ids: got %q, want one of our own", got)
	}
}

// TestPanicAfterTheAnswerBegan: what has begun is cut, so that nobody takes it for whole.
func TestPanicAfterTheAnswerBegan(t *testing.T) {
	s := newService(t)
	served := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(served)
		s.h.ServeHTTP(breaking{w}, r)
	}))
	defer srv.Close()
	got, err := http.Get(srv.URL + "/health")
	if err == nil {
		_, err = io.ReadAll(got.Body)
		_ = got.Body.Close()
	}
	if err == nil {
		t.Error("the client took a broken answer for whole")
	}
	<-served // what it logged is there
	if !strings.Contains(s.log.String(), "A handler panicked") {
		t.Errorf("log: %s", s.log)
	}
}

// breaking is a writer whose body panics.
type breaking struct{ http.ResponseWriter }

func (b breaking) Write([]byte) (int, error) { panic("broken") }
