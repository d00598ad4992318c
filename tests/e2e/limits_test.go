package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The seed's examples of rate limiting, as written there: the numbers of its best practices, the headers, the exempt endpoints, and the line in the log.
func TestTheSeedsLimits(t *testing.T) {
	env := environ(t.TempDir(), "RATE_LIMIT_ENABLED=true", "RATE_LIMIT_REQUESTS_PER_MINUTE=60")
	admin(t, env)
	s := serve(t, env)
	get := func(method, path, bearer, body string) *http.Response {
		t.Helper()
		req, err := http.NewRequest(method, s.base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Forwarded-For", fmt.Sprintf("203.0.113.%d", len(body))) // believed from nobody
		if bearer != "" {
			req.Header.Set("Authorization", "Bearer "+bearer)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res
	}
	begun := time.Now()
	back := func() int { return int(time.Since(begun) / (12 * time.Second)) } // how many of the five a slow machine has back by now
	signedIn := s.signIn("admin@example.com")
	for i := range 4 {
		res := get("POST", login, "", `{"email":"admin@example.com","password":"wrong`+strings.Repeat("!", i)+`"}`)
		if res.StatusCode != 401 || res.Header.Get("X-RateLimit-Limit") != "5" || !in(res.Header.Get("X-RateLimit-Remaining"), 3-i, 3-i+back()) {
			t.Errorf("sign-in %d: %d with %v", i+2, res.StatusCode, res.Header)
		}
	}
	right := func() *http.Response {
		return get("POST", login, "", `{"email":"admin@example.com","password":"`+password+`"}`)
	}
	res := right()
	for tries := 0; res.StatusCode == 200 && tries < back(); tries++ {
		res = right()
	}
	if res.StatusCode != 429 || res.Header.Get("X-RateLimit-Remaining") != "0" || !in(res.Header.Get("Retry-After"), 1, 12) {
		t.Errorf("the sixth sign-in: %d with %v, want 429 for at most 12 s", res.StatusCode, res.Header)
	}
	for _, path := range []string{"/health", "/healthz", "/readyz"} {
		for range 30 {
			if res := get("GET", path, "", ""); res.StatusCode != 200 || res.Header.Get("X-RateLimit-Limit") != "" {
				t.Fatalf("%s: %d with %v", path, res.StatusCode, res.Header)
			}
		}
	}
	// The operator's socket has no limits, whoever the address is.
	for range 12 {
		must(t, env, "", "revoke", "--user", "admin", "--dry-run")
	}
	refused := 0
	for range 80 {
		res := get("GET", me, signedIn.Access, "")
		if res.StatusCode == 429 {
			refused++
			if !in(res.Header.Get("Retry-After"), 1, 60) || res.Header.Get("RateLimit") == "" || res.Header.Get("RateLimit-Policy") != `"address";q=60;w=60` {
				t.Fatalf("refused with %v", res.Header)
			}
		} else if res.StatusCode != 200 {
			t.Fatalf("a read: %d", res.StatusCode)
		}
	}
	if refused < 10 {
		t.Errorf("of 86 requests %d were refused, want some 25: 60 a minute", refused)
	}
	until(t, "the log tells of it", func() bool {
		log := s.log.String()
		return strings.Contains(log, `"msg":"Rate limit exceeded"`) && strings.Contains(log, `"client_ip":"127.0.0.1"`) && strings.Contains(log, `"endpoint":"`+login+`"`)
	})
}

// in reports whether a header is a whole number of that range.
func in(header string, least, most int) bool {
	var n int
	_, err := fmt.Sscan(header, &n)
	return err == nil && n >= least && n <= most && fmt.Sprint(n) == header
}

func TestShadowAndNoLimits(t *testing.T) {
	for mode, lines := range map[string]bool{"shadow": true, "false": false} {
		env := environ(t.TempDir(), "RATE_LIMIT_ENABLED="+mode)
		admin(t, env)
		s := serve(t, env)
		for range 12 {
			s.want(http.StatusUnauthorized, http.MethodPost, login, "", object{"email": "admin@example.com", "password": "wrong"})
		}
		if err := s.end(syscall.SIGTERM); err != nil {
			t.Errorf("%s: the end: %v", mode, err)
		}
		if got := strings.Contains(s.log.String(), "Rate limit exceeded"); got != lines {
			t.Errorf("%s: the log tells of refusals: %v, want %v", mode, got, lines)
		}
	}
}
