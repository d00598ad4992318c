package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/domain/account"
)

const app1 = "https://app.example.com"

func origins(t testing.TB, list ...string) httpapi.Origins {
	t.Helper()
	o, err := httpapi.ParseOrigins(list)
	check(t, err)
	return o
}

// crossOrigin are the headers of an answer by which a browser decides what another origin's script may see.
func crossOrigin(h http.Header) map[string]string {
	got := map[string]string{}
	for name, values := range h {
		if strings.HasPrefix(name, "Access-Control-") || name == "Vary" {
			got[name] = strings.Join(values, " | ")
		}
	}
	return got
}

// TestCORS: an origin of the list may read answers, refusals too, and ask in advance; with no cookies there are no credentials.
func TestCORS(t *testing.T) {
	s := newService(t, httpapi.Options{Origins: origins(t, app1, "http://localhost:3000")})
	s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	const exposed = "X-Request-ID, X-RateLimit-Limit, X-RateLimit-Remaining, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, Allow, Content-Disposition, ETag, Accept-Ranges, Content-Range"
	for _, origin := range []string{app1, "http://localhost:3000"} {
		want := map[string]string{"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": exposed, "Vary": "Origin"}
		for _, w := range []*httptest.ResponseRecorder{
			s.call("GET", "/api/v1/users/me", "", "Origin: "+origin, bearer(p)),
			s.call("GET", "/api/v1/users/me", "", "Origin: "+origin),
			s.call("GET", "/nothing", "", "Origin: "+origin),
			s.call("GET", "//", "", "Origin: "+origin),
			s.call("OPTIONS", "/api/v1/users/me", "", "Origin: "+origin), // asks for nothing in advance
		} {
			if diff := cmp.Diff(want, crossOrigin(w.Header())); diff != "" {
				t.Errorf("%d (-want +got):\n%s", w.Code, diff)
			}
		}
		w := s.call("OPTIONS", "/api/v1/users/me", "", "Origin: "+origin, "Access-Control-Request-Method: PATCH", "Access-Control-Request-Headers: authorization,content-type")
		if diff := cmp.Diff(map[string]string{
			"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Methods": "GET, HEAD, POST, PATCH, DELETE",
			"Access-Control-Allow-Headers": "Authorization, Content-Type, X-API-Key, X-Request-ID, Last-Event-ID, Range, If-Range, If-Match, If-None-Match, Traceparent", "Access-Control-Max-Age": "600",
			"Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
		}, crossOrigin(w.Header())); diff != "" || w.Code != 204 || w.Body.Len() > 0 {
			t.Errorf("a preflight: %d %s (-want +got):\n%s", w.Code, w.Body, diff)
		}
		if w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("X-Request-ID") == "" {
			t.Errorf("a preflight lacks the headers of every answer: %v", w.Header())
		}
	}
}

// TestCORSExposed: a script may read every header of an answer that is meant for it, and send every one that means something in a request of its own.
func TestCORSExposed(t *testing.T) {
	s := newService(t, httpapi.Options{Origins: origins(t, app1)})
	s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	at := filesAt + "/" + s.uploaded(p, "a.md", "0123456789").ID
	mayRead := map[string]bool{}
	for _, name := range []string{"Cache-Control", "Content-Language", "Content-Length", "Content-Type", "Expires", "Last-Modified", "Pragma"} { // always (Fetch, CORS-safelisted response-header name)
		mayRead[name] = true
	}
	for name := range httpapi.Headers() { // the browser's own
		mayRead[name] = true
	}
	answers := []*httptest.ResponseRecorder{
		s.call("GET", at, "", "Origin: "+app1, bearer(p)),
		s.call("GET", at, "", "Origin: "+app1, bearer(p), "Range: bytes=2-4"),
		s.call("GET", at, "", "Origin: "+app1, bearer(p), "Range: bytes=70-"),
		s.call("GET", "/api/v1/users/me", "", "Origin: "+app1),
		s.call("PUT", "/api/v1/users/me", "", "Origin: "+app1, bearer(p)),
	}
	for _, w := range answers {
		for name := range strings.SplitSeq(w.Header().Get("Access-Control-Expose-Headers"), ", ") {
			mayRead[http.CanonicalHeaderKey(name)] = true
		}
		for name := range w.Header() {
			if !mayRead[name] && !strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%d: %s is for the script, which cannot read it", w.Code, name)
			}
		}
	}
	if w := answers[1]; w.Code != 206 || w.Header().Get("Content-Range") == "" || w.Header().Get("Etag") == "" || answers[2].Code != 416 || answers[4].Header().Get("Allow") == "" {
		t.Errorf("%d %v, %d, %v: not the answers that were meant", w.Code, w.Header(), answers[2].Code, answers[4].Header())
	}
	w := s.call("OPTIONS", at, "", "Origin: "+app1, "Access-Control-Request-Method: GET")
	for _, name := range []string{"Authorization", "Content-Type", "If-Match", "If-None-Match", "If-Range", "Last-Event-ID", "Range", "Traceparent", "X-API-Key", "X-Request-ID"} {
		if !strings.Contains(", "+w.Header().Get("Access-Control-Allow-Headers")+",", ", "+name+",") {
			t.Errorf("%s cannot be sent", name)
		}
	}
}

// alike are origins that are not https://app.example.com, though something may take them for it.
var alike = []string{
	"null", "http://app.example.com", "https://app.example.com.evil.test", "https://evilapp.example.com", "https://app.example.com:8443", "https://app.example.com:443",
	"https://app.example.com/", "https://app.example.com.", "https://APP.example.com", "HTTPS://app.example.com", "https://example.com", "https://app.example.co", "https://app-example.com",
	"https://x.app.example.com", "https://app.example.com@evil.test", "https://evil.test#https://app.example.com", "https://evil.test?https://app.example.com", "https://appxexample.com",
	"https://app.example.com, https://evil.test", "https://app.example.com https://evil.test", " https://app.example.com", "*", "file://", "app.example.com", "https://app.example.com%00.evil.test", "https://аpp.example.com",
}

// TestCORSLookAlikes: an origin that is not of the list, to the letter, gets no Access-Control header at all; whatever the answer, it says that it depends on Origin.
func TestCORSLookAlikes(t *testing.T) {
	listed := newService(t, httpapi.Options{Origins: origins(t, app1)})
	try := func(s *service, origin ...string) {
		t.Helper()
		var heads []string
		for _, o := range origin {
			heads = append(heads, "Origin: "+o)
		}
		for _, w := range []*httptest.ResponseRecorder{
			s.call("GET", "/health", "", heads...), s.call("GET", "/api/v1/users/me", "", heads...),
			s.call("OPTIONS", "/api/v1/auth/login", "", append(heads, "Access-Control-Request-Method: POST")...),
		} {
			if diff := cmp.Diff(map[string]string{"Vary": "Origin"}, crossOrigin(w.Header())); diff != "" {
				t.Errorf("%q: %d (-want +got):\n%s", origin, w.Code, diff)
			}
		}
	}
	for _, origin := range alike {
		try(listed, origin)
	}
	try(listed)
	try(listed, "")
	try(listed, app1, app1) // one request has one origin
	try(newService(t), app1)
}

// TestCORSAny: * lets every origin read, and never with credentials.
func TestCORSAny(t *testing.T) {
	s := newService(t, httpapi.Options{Origins: origins(t, "*")})
	w := s.call("GET", "/health", "", "Origin: https://anybody.test")
	if got := crossOrigin(w.Header()); got["Access-Control-Allow-Origin"] != "*" || got["Access-Control-Allow-Credentials"] != "" || got["Vary"] != "Origin" {
		t.Errorf("got %v", got)
	}
	if w := s.call("OPTIONS", "/x", "", "Origin: null", "Access-Control-Request-Method: PUT"); w.Code != 204 || w.Header().Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("a preflight: %d %v", w.Code, w.Header())
	}
}

// TestCORSBounded: what a preflight asks for is not even looked at, so that it costs nothing however long it is (CVE-2025-47908).
func TestCORSBounded(t *testing.T) {
	s := newService(t, httpapi.Options{Origins: origins(t, app1)})
	r := httptest.NewRequest("OPTIONS", "http://xteam.test/api/v1/users/me", http.NoBody)
	r.Header.Set("Origin", app1)
	r.Header.Set("Access-Control-Request-Method", "GET")
	one := testing.AllocsPerRun(100, func() { s.h.ServeHTTP(&sink{http.Header{}}, r) })
	r.Header.Set("Access-Control-Request-Headers", strings.Repeat(",", 60_000))
	took := time.Hour
	for tries := 0; tries < 50 && took > 5*time.Millisecond; tries++ { // a busy machine is no slow server
		begun := time.Now()
		s.h.ServeHTTP(&sink{http.Header{}}, r)
		took = min(took, time.Since(begun))
	}
	many := testing.AllocsPerRun(100, func() { s.h.ServeHTTP(&sink{http.Header{}}, r) })
	if took > 5*time.Millisecond || many > one+2 {
		t.Errorf("60,000 commas: %v and %v allocations, want below 5 ms and about the %v of none", took, many, one)
	}
}

// TestParseOrigins: an origin is what a browser sends, to the letter; anything else would never match, or match too much.
func TestParseOrigins(t *testing.T) {
	for _, good := range []string{"https://app.example.com", "http://localhost:3000", "https://192.0.2.1:8443", "https://[2001:db8::1]", "*", "https://xn--e1afmkfd.example"} {
		if _, err := httpapi.ParseOrigins([]string{good}); err != nil {
			t.Errorf("%q: got %v", good, err)
		}
	}
	for _, bad := range []string{"", "null", "app.example.com", "https://", "https://app.example.com/", "https://app.example.com/path", "https://App.example.com", "HTTPS://app.example.com", "https://app.example.com:443",
		"http://app.example.com:80", "https://*.example.com", "https://user@app.example.com", "https://app.example.com?x", "https://app.example.com#x", "https://app.example.com.", "ftp://app.example.com", "file://",
		"https://app.example.com https://b.example.com", "https://app.example.com:0443", "https://app.example.com:08443", "https://app.example.com:65536", "https://app.example.com:", "https://exämple.com", "https://[::1", "https://[2001:DB8::1]", "javascript:alert(1)"} {
		if _, err := httpapi.ParseOrigins([]string{app1, bad}); err == nil || bad != "" && !strings.Contains(err.Error(), bad) {
			t.Errorf("%q: got %v, want a refusal that names it", bad, err)
		}
	}
}
