package httpapi_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/domain/account"
)

// raw serves the API on a socket, and answers a function that sends bytes and reads one answer and how long it took.
func raw(t *testing.T, s *service) func(sent string) (status int, body string, took time.Duration) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	srv := httpapi.Server(s.h, slog.New(slog.DiscardHandler))
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return func(sent string) (int, string, time.Duration) {
		t.Helper()
		c, err := net.Dial("tcp", l.Addr().String())
		check(t, err)
		defer c.Close()
		check(t, c.SetDeadline(time.Now().Add(time.Minute)))
		begun := time.Now()
		go func() { _, _ = io.WriteString(c, sent) }()
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		check(t, err)
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body) // what is refused before it was read whole may be cut off
		return res.StatusCode, string(body), time.Since(begun)
	}
}

// TestPathsThatNormalise: a path that some proxy, cache or server takes for another is none here, or it is that other one with its own guard: there is no spelling
// by which a route is reached without what the route asks for.
func TestPathsThatNormalise(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	send := raw(t, s)
	bearer := bearer(s.signIn("ann"))
	for path, want := range map[string][2]int{ // with no token, and with a user's
		"/api/v1/users/me":                         {401, 200},
		"/api/v1/users/%6d%65":                     {401, 200}, // letters may be written so (RFC 3986, section 2.3)
		"/%61pi/v1/users/me":                       {401, 200},
		"/api/v1/users/me?":                        {401, 200},
		"/api/v1/users/me?x=/../../health":         {401, 200},
		"http://xteam.test/api/v1/users/me":        {401, 200},
		"/api/v1/%61dmin/users":                    {401, 403},
		"/health?/api/v1/users/me":                 {200, 200},
		"//api/v1/users/me":                        {404, 404},
		"/api//v1/users/me":                        {404, 404},
		"/api/v1/users/me/":                        {404, 404},
		"/api/v1/users/me//":                       {404, 404},
		"/api/v1/users/./me":                       {404, 404},
		"/api/v1/users/../users/me":                {404, 404},
		"/api/v1/users/%2e%2e/users/me":            {404, 404},
		"/api/v1/users/..%2fusers/me":              {404, 404},
		"/api/v1/users%2fme":                       {404, 404},
		"/api/v1/users%252fme":                     {404, 404},
		"/api/v1/users%5cme":                       {404, 404},
		"/api/v1/users\\me":                        {404, 404},
		"/health/..;/api/v1/users/me":              {404, 404},
		"/health/;/../api/v1/users/me":             {404, 404},
		"/health;/api/v1/users/me":                 {404, 404},
		"/health;x":                                {404, 404},
		"/health/../api/v1/users/me":               {404, 404},
		"/health/..%2fapi/v1/users/me":             {404, 404},
		"/health%2f..%2fapi/v1/users/me":           {404, 404},
		"/health/%2e%2e/api/v1/users/me":           {404, 404},
		"/health%00":                               {404, 404},
		"/health%0a":                               {404, 404},
		"/health%20":                               {404, 404},
		"/health.json":                             {404, 404},
		"/HEALTH":                                  {404, 404},
		"/api/v1/Users/me":                         {404, 404},
		"/api/v1/users/me;jsessionid=1":            {404, 404},
		"/api/v1/users/me%3b":                      {404, 404},
		"/api/v1/users/me%23":                      {404, 404},
		"/api/v1/users/me%3fx":                     {404, 404},
		"/api/v1/users/me/.":                       {404, 404},
		"/api/v1/users/me%ff":                      {404, 404},
		"/api/v1/users/mé":                         {404, 404},
		"/api/v1/users/ｍｅ":                         {404, 404},
		"/api/v1/users/me%c0%ae":                   {404, 404},
		"/api/v1/users/me%":                        {400, 400},
		"/" + strings.Repeat("../", 500) + "etc":   {404, 404},
		"/" + strings.Repeat("%2e%2e/", 500) + "x": {404, 404},
		"http://xteam.test//api/v1/users/me":       {404, 404},
		"http://xteam.test":                        {404, 404},
		"*":                                        {404, 404},
		"api/v1/users/me":                          {400, 400},
	} {
		for i, head := range []string{"", bearer + "\r\n"} {
			status, body, _ := send("GET " + path + " HTTP/1.1\r\nHost: xteam.test\r\nConnection: close\r\n" + head + "\r\n")
			if status != want[i] {
				t.Errorf("%.60s, token %v: got %d %s, want %d", path, i == 1, status, body, want[i])
			}
			if i == 0 && strings.Contains(body, "ann@") {
				t.Errorf("%s: answered without a token: %s", path, body)
			}
		}
	}
}

// TestOverridesAreIgnored: no header names another path, method, host or identity than the request line does.
func TestOverridesAreIgnored(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	overrides := []string{"X-Original-URL: /api/v1/users/me", "X-Rewrite-URL: /api/v1/users/me", "X-Forwarded-Uri: /api/v1/users/me", "X-Forwarded-Prefix: /api/v1", "X-Forwarded-Method: GET", "X-Forwarded-Host: evil.test",
		"X-HTTP-Method-Override: GET", "X-HTTP-Method: GET", "X-Method-Override: GET", "X-Auth-User: 00000000000000000000000000000000", "X-Auth-Roles: admin", "X-User: admin", "X-Remote-User: admin", "Remote-User: admin",
		"Connection: close, authorization, x-auth-user, x-forwarded-for"}
	wants(t, s.call("GET", "/nothing", "", append(overrides, bearer(p))...), 404, "not_found")
	wants(t, s.call("POST", "/api/v1/users/me?_method=GET", "", append(overrides, bearer(p))...), 405, "method_not_allowed")
	wants(t, s.call("GET", "/api/v1/users/me", "", overrides...), 401, "token_missing")
	wants(t, s.post("/api/v1/admin/revoke-user-tokens", `{"user_id":"ann"}`, append(overrides, bearer(p))...), 403, "forbidden")
	if w := s.call("GET", "/api/v1/users/me", "", append(overrides, bearer(p))...); w.Code != 200 || !strings.Contains(w.Body.String(), `"username":"ann"`) {
		t.Errorf("with its own token: %d %s", w.Code, w.Body)
	}
}

// TestLargeHeads: what a request brings along without a body costs next to nothing, or is refused before a handler sees it (CVE-2025-58186, CVE-2025-61726).
func TestLargeHeads(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	send := raw(t, s)
	p := s.signIn("ann")
	heads := "Host: xteam.test\r\nConnection: close\r\nAuthorization: Bearer " + p.AccessToken + "\r\n"
	for name, try := range map[string]struct {
		sent  string
		taken bool // else it is refused with 431 or 414 or 400
	}{
		"16k cookies":              {"GET /api/v1/users/me HTTP/1.1\r\n" + heads + "Cookie: " + strings.Repeat("a=;", 16_000) + "\r\n\r\n", true},
		"16k cookies, a line each": {"GET /api/v1/users/me HTTP/1.1\r\n" + heads + strings.Repeat("Cookie: a=\r\n", 16_000) + "\r\n", false},
		"2k cookies, a line each":  {"GET /api/v1/users/me HTTP/1.1\r\n" + heads + strings.Repeat("Cookie: a=\r\n", 2_000) + "\r\n", true},
		"100k query parameters":    {"GET /api/v1/users/me?x" + strings.Repeat("&a", 100_000) + " HTTP/1.1\r\n" + heads + "\r\n", false},
		"20k query parameters":     {"GET /api/v1/users/me?x" + strings.Repeat("&a", 20_000) + " HTTP/1.1\r\n" + heads + "\r\n", true},
		"a header of 1 MiB":        {"GET /api/v1/users/me HTTP/1.1\r\n" + heads + "X: " + strings.Repeat("x", 1<<20) + "\r\n\r\n", false},
		"a User-Agent of 1 MiB":    {"GET /api/v1/users/me HTTP/1.1\r\n" + heads + "User-Agent: " + strings.Repeat("x", 1<<20) + "\r\n\r\n", false},
		"a path of 1 MiB":          {"GET /" + strings.Repeat("a/", 1<<19) + " HTTP/1.1\r\n" + heads + "\r\n", false},
		"50k forwarded hops":       {"GET /api/v1/users/me HTTP/1.1\r\n" + heads + "X-Forwarded-For: " + strings.Repeat("1,", 25_000) + "1\r\n\r\n", true},
		"languages":                {"GET /api/v1/users/me HTTP/1.1\r\n" + heads + "Accept-Language: " + strings.Repeat("de-", 20_000) + "\r\n\r\n", true},
		"8,000 dots in the token":  {"GET /api/v1/users/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer " + strings.Repeat(".", 8_000) + "\r\n\r\n", false},
	} {
		var status int
		var body string
		var took []time.Duration
		for tries := 0; tries < 5 || tries < 50 && slices.Min(took) > 20*time.Millisecond; tries++ { // a busy machine is no slow server
			var one time.Duration
			status, body, one = send(try.sent)
			took = append(took, one)
		}
		if try.taken != (status == 200) || !try.taken && status/100 != 4 {
			t.Errorf("%s: got %d %.100s, want it taken: %v", name, status, body, try.taken)
		}
		if best := slices.Min(took); best > 20*time.Millisecond {
			t.Errorf("%s: took %v, want below 20 ms", name, best)
		}
	}
}

// TestRefusedBeforeAnyHandler: what net/http refuses in its own words it refuses for good, repeating nothing of what was sent.
func TestRefusedBeforeAnyHandler(t *testing.T) {
	s := newService(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	srv := httpapi.Server(s.h, slog.New(slog.DiscardHandler))
	go func() { _ = srv.Serve(httpapi.Plain(l)) }()
	t.Cleanup(func() { _ = srv.Close() })
	const head = "Host: x\r\nAuthorization: Bearer planted\r\n"
	for sent, want := range map[string]int{
		"planted\r\n\r\n":               400,
		"GET /planted HTTP/1.1\r\n\r\n": 400,
		"GET /planted HTTP/1.1\r\n" + head + "Host: planted\r\n\r\n":                                400,
		"GET /planted HTTP/1.1\r\n" + head + "planted planted: 1\r\n\r\n":                           400,
		"GET /planted HTTP/1.1\r\n" + head + "X: planted\x00\r\n\r\n":                               400,
		"GET /planted HTTP/2.1\r\n" + head + "\r\n":                                                 505,
		"GET /planted HTTP/1.1\r\n" + head + "Expect: planted\r\n\r\n":                              417,
		"POST /planted HTTP/1.1\r\n" + head + "Content-Length: planted\r\n\r\n":                     400,
		"POST /planted HTTP/1.1\r\n" + head + "Transfer-Encoding: planted\r\n\r\n":                  501,
		"GET /planted HTTP/1.1\r\n" + head + "X: " + strings.Repeat("planted", 20_000) + "\r\n\r\n": 431,
	} {
		c, err := net.Dial("tcp", l.Addr().String())
		check(t, err)
		check(t, c.SetDeadline(time.Now().Add(time.Minute)))
		go func() { _, _ = io.WriteString(c, sent+"GET /health HTTP/1.1\r\nHost: x\r\n\r\n") }()
		got, _ := io.ReadAll(c) // until it is closed
		_ = c.Close()
		if text := string(got); !strings.HasPrefix(text, fmt.Sprintf("HTTP/1.1 %d ", want)) || strings.Contains(text, "planted") || strings.Count(text, "HTTP/1.1 ") != 1 || !strings.Contains(text, "\r\nConnection: close\r\n") {
			t.Errorf("%.80q: got %q, want %d and no more", sent, text, want)
		}
	}
}

// TestQueriesOfNoSize: a handler that is handed 100,000 parameters, past the bound of the server, looks at none of them.
func TestQueriesOfNoSize(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	var took []time.Duration
	for i := 0; i < 5 || i < 50 && slices.Min(took) > 20*time.Millisecond; i++ {
		begun := time.Now()
		w := s.call("GET", "/api/v1/users/me?"+strings.Repeat("&a", 100_000)+fmt.Sprint(i), "", bearer(p))
		took = append(took, time.Since(begun))
		if w.Code != 200 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if best := slices.Min(took); best > 20*time.Millisecond {
		t.Errorf("took %v, want below 20 ms", best)
	}
}
