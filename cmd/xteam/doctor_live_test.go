package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	xteam "github.com/xteam/xteam/cmd/xteam"
)

// before is a proxy before a server, which may answer by itself: then answered is true.
func before(t *testing.T, base string, answered func(http.ResponseWriter, *http.Request) bool, change func(*http.Response) error) string {
	t.Helper()
	to, err := url.Parse(base)
	check(t, err)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }, ModifyResponse: change}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answered == nil || !answered(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// live is one check of what runs at a URL.
type live struct {
	url, log, metrics, key string
	now                    time.Time
}

func (l live) wants(t *testing.T, id, verdict, seen string) {
	t.Helper()
	if l.now.IsZero() {
		l.now = time.Now()
	}
	all, _, err := xteam.ExamineLive(t.Context(), l.url, l.log, l.metrics, l.key, l.now, id)
	check(t, err)
	wantVerdict(t, all[id], verdict, seen)
}

// TestDoctorLive: each check of what runs is green at a server that is as it should be, and red for its own fault: of what stands before the server, or of what was let slide.
func TestDoctorLive(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	s := runServer(t, "LOG_FILE="+log, "RATE_LIMIT_REQUESTS_PER_MINUTE=100000", "RATE_LIMIT_AUTH=60", "RATE_LIMIT_WRITE=1000")
	days := func(n int) time.Time { return time.Now().AddDate(0, 0, n) }

	t.Run("health.answers", func(t *testing.T) {
		live{url: s.base}.wants(t, "health.answers", "pass", "answer 200")
		live{url: before(t, s.base, func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/readyz" {
				http.NotFound(w, r)
			}
			return r.URL.Path == "/readyz"
		}, nil)}.wants(t, "health.answers", "fail", "/readyz was answered with 404")
		live{url: "http://127.0.0.1:1"}.wants(t, "health.answers", "fail", "no answer")
	})
	t.Run("headers.seen", func(t *testing.T) {
		live{url: s.base}.wants(t, "headers.seen", "pass", "11 headers")
		live{url: before(t, s.base, nil, func(r *http.Response) error { r.Header.Del("X-Frame-Options"); return nil })}.wants(t, "headers.seen", "fail", "X-Frame-Options is missing")
		live{url: before(t, s.base, nil, func(r *http.Response) error { r.Header.Add("X-Frame-Options", "SAMEORIGIN"); return nil })}.wants(t, "headers.seen", "fail", `"DENY | SAMEORIGIN"`)
	})
	t.Run("revocation.works", func(t *testing.T) {
		live{url: s.base}.wants(t, "revocation.works", "pass", "refused by")
		var mu sync.Mutex
		kept := map[string][]byte{} // by token, as a cache that forgets no-store
		live{url: before(t, s.base, func(w http.ResponseWriter, r *http.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			body, ok := kept[r.Header.Get("Authorization")]
			if ok = ok && r.Method == http.MethodGet; ok {
				_, _ = w.Write(body)
			}
			return ok
		}, func(r *http.Response) error {
			if r.Request.Method == http.MethodGet && r.StatusCode == http.StatusOK && r.Request.Header.Get("Authorization") != "" {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				kept[r.Request.Header.Get("Authorization")] = body
				r.Body = io.NopCloser(bytes.NewReader(body))
			}
			return nil
		})}.wants(t, "revocation.works", "fail", "was still taken")
	})
	t.Run("validation.routes", func(t *testing.T) {
		live{url: s.base}.wants(t, "validation.routes", "pass", "routes refuse a body")
		live{url: before(t, s.base, func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/api/v1/auth/refresh" {
				w.WriteHeader(http.StatusOK)
			}
			return r.URL.Path == "/api/v1/auth/refresh"
		}, nil)}.wants(t, "validation.routes", "fail", "POST /api/v1/auth/refresh answered 200")
	})
	t.Run("auth_failures.counted", func(t *testing.T) {
		live{url: s.base}.wants(t, "auth_failures.counted", "pass", "the events, the log and the metrics")
		n := 0
		counter := before(t, s.base, func(w http.ResponseWriter, _ *http.Request) bool {
			n++
			fmt.Fprintf(w, "# HELP x_total x\nx_total{kind=\"authentication_failed\"} %d\n", n)
			return true
		}, nil)
		live{url: s.base, metrics: counter}.wants(t, "auth_failures.counted", "pass", "the events, the log and the metrics")
		live{url: s.base, metrics: counter, log: filepath.Join(t.TempDir(), "nowhere")}.wants(t, "auth_failures.counted", "unknown", "no such file")
		still := before(t, s.base, func(w http.ResponseWriter, _ *http.Request) bool {
			fmt.Fprintf(w, "x_total{kind=\"authentication_failed\"} 7\n")
			return true
		}, nil)
		live{url: s.base, metrics: still}.wants(t, "auth_failures.counted", "fail", "did not count it")
		live{url: before(t, s.base, func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusOK); return true }, nil)}.wants(t, "auth_failures.counted", "fail", "answered with 200")
	})
	t.Run("audit.reviewed", func(t *testing.T) {
		live{url: s.base}.wants(t, "audit.verifies", "pass", "hold")
		live{url: s.base}.wants(t, "audit.reviewed", "fail", "nobody has reviewed")
		var out bytes.Buffer
		if code := xteam.Run(t.Context(), []string{"audit", "review", "--note", "all of it"}, nil, &out, &out); code != 0 {
			t.Fatalf("exit %d: %s", code, &out)
		}
		for deadline := time.Now().Add(30 * time.Second); ; { // it is linked within a second
			all, _, err := xteam.ExamineLive(t.Context(), s.base, "", "", "", time.Now(), "audit.reviewed")
			check(t, err)
			if all["audit.reviewed"].Verdict == "pass" {
				wantVerdict(t, all["audit.reviewed"], "pass", "")
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("after a review: %+v", all)
			}
			<-time.After(200 * time.Millisecond)
		}
		live{url: s.base, now: days(40)}.wants(t, "audit.reviewed", "fail", "40 days ago")
	})
	t.Run("clock.skew", func(t *testing.T) {
		live{url: s.base}.wants(t, "clock.skew", "pass", "0s off this host")
		live{url: s.base, now: time.Now().Add(4 * time.Second)}.wants(t, "clock.skew", "warn", "off this host")
		live{url: s.base, now: time.Now().Add(-10 * time.Second)}.wants(t, "clock.skew", "fail", "off this host")
	})
	t.Run("keys.age", func(t *testing.T) {
		live{url: s.base}.wants(t, "keys.age", "pass", "is 0 days old")
		live{url: s.base, now: days(85)}.wants(t, "keys.age", "warn", "is 8")
		live{url: s.base, now: days(100)}.wants(t, "keys.age", "fail", "90 is the most")
	})

	key := adminKey(t, s.base)
	t.Run("apikeys.age", func(t *testing.T) {
		live{url: s.base}.wants(t, "apikeys.age", "pass", "1 API keys live")
		live{url: s.base, now: days(100)}.wants(t, "apikeys.age", "fail", "of ann, ")
	})
	t.Run("alerts.delivered", func(t *testing.T) {
		live{url: s.base}.wants(t, "alerts.delivered", "unknown", "the log alone has it: no receiver is set")
		answer := ""
		alerts := before(t, s.base, func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/api/v1/admin/alerts/test" {
				_, _ = io.WriteString(w, answer)
			}
			return r.URL.Path == "/api/v1/admin/alerts/test"
		}, nil)
		answer = `{"delivered":true}`
		live{url: alerts, key: key}.wants(t, "alerts.delivered", "pass", "arrived")
		answer = `{"delivered":false,"reason":"connection refused"}`
		live{url: alerts, key: key}.wants(t, "alerts.delivered", "fail", "connection refused")
	})
	t.Run("an API key in place of the socket", func(t *testing.T) {
		live{url: s.base, key: key}.wants(t, "revocation.works", "pass", "refused by")
		if _, _, err := xteam.ExamineLive(t.Context(), s.base+"/path", "", "", "", time.Now()); err == nil || !strings.Contains(err.Error(), "without a path") {
			t.Errorf("a URL with a path: %v", err)
		}
	})
	t.Run("ratelimit.counted", func(t *testing.T) { // the last: it spends the sign-ins
		live{url: s.base}.wants(t, "ratelimit.counted", "pass", "the events, the log and the metrics")
	})

	// The whole command: its form, its exit code, and what it leaves.
	var out, errs bytes.Buffer
	code := xteam.Run(t.Context(), []string{"doctor", "--live", s.base, "--json"}, nil, &out, &errs)
	var d struct {
		Checks []struct{ ID, Verdict, Seen, Fix string }
	}
	check(t, json.Unmarshal(out.Bytes(), &d))
	var ids []string
	bad := 0
	for _, c := range d.Checks {
		ids = append(ids, c.ID)
		if c.Verdict == "fail" {
			bad++
		}
	}
	if got := strings.Join(ids, " "); got != "auth_failures.counted ratelimit.counted alerts.delivered revocation.works health.answers headers.seen validation.routes audit.verifies audit.reviewed clock.skew keys.age apikeys.age" ||
		code != 0 || bad != 0 || !strings.Contains(errs.String(), "is disabled") || strings.Count(errs.String(), "\n") != 1 {
		t.Errorf("exit %d, %d failures\n%s%s", code, bad, &out, &errs)
	}
	out.Reset()
	if code := xteam.Run(t.Context(), []string{"users", "show", "xteam-doctor"}, nil, &out, &errs); code != 0 || !strings.Contains(out.String(), "disabled") {
		t.Errorf("the probe's account: %d %s", code, &out)
	}
	written, err := os.ReadFile(log)
	check(t, err)
	if strings.Contains(string(written), key) || strings.Contains(string(written), "Doctor-") {
		t.Error("the log has a key or a password of the doctor's")
	}
}

// TestDoctorLiveLimits: limits that are off, or only count, are red.
func TestDoctorLiveLimits(t *testing.T) {
	for mode, seen := range map[string]string{"false": "tells of no limit", "shadow": "were let through"} {
		t.Run(mode, func(t *testing.T) {
			s := runServer(t, "RATE_LIMIT_ENABLED="+mode)
			live{url: s.base}.wants(t, "ratelimit.counted", "fail", seen)
		})
	}
}

// TestDoctorLiveTells: what takes its time is told of meanwhile, apart from the result.
func TestDoctorLiveTells(t *testing.T) {
	s := runServer(t, "LOG_FILE="+filepath.Join(t.TempDir(), "log"), "RATE_LIMIT_ENABLED=false")
	slow := before(t, s.base, func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/healthz" {
			<-time.After(1200 * time.Millisecond)
		}
		return false
	}, nil)
	var out, errs bytes.Buffer
	if code := xteam.Run(t.Context(), []string{"doctor", "--live", slow}, nil, &out, &errs); code != 1 || strings.Contains(out.String(), " of 12)") ||
		!strings.Contains(errs.String(), "checking alerts.delivered (12 of 12)\nThe account") {
		t.Errorf("exit %d\n%s\non stderr:\n%s", code, &out, &errs)
	}
}

// TestDoctorLiveMisused: a flag alone, and no server.
func TestDoctorLiveMisused(t *testing.T) {
	t.Setenv("DATA_DIR", t.TempDir())
	for args, want := range map[string]string{
		"doctor --log x":                          "--log goes with --live",
		"doctor --live ftp://x":                   "--live takes the URL",
		"doctor --live https://u:planted@x":       "--live takes the URL",
		"doctor --live http://127.0.0.1:1":        "no server runs on the data folder",
		"doctor --live https://x --ca /nowhere/x": "read --ca",
	} {
		var out, errs bytes.Buffer
		if code := xteam.Run(t.Context(), strings.Fields(args), nil, &out, &errs); code == 0 || !strings.Contains(errs.String(), want) || strings.Contains(errs.String(), "planted") {
			t.Errorf("%s: exit %d, %s", args, code, &errs)
		}
	}
}

// adminKey makes an administrator with an API key of the scope admin.
func adminKey(t *testing.T, base string) string {
	t.Helper()
	const word = "correct-Horse-battery-9-staple"
	var out bytes.Buffer
	if code := xteam.Run(t.Context(), []string{"users", "create", "--email", "ann@example.com", "--username", "ann", "--role", "admin", "--password-stdin"}, strings.NewReader(word+"\n"), &out, &out); code != 0 {
		t.Fatalf("exit %d: %s", code, &out)
	}
	var in struct {
		Token string `json:"access_token"`
		Key   string
	}
	for _, step := range []struct{ path, body string }{
		{"/api/v1/auth/login", `{"username":"ann","password":"` + word + `"}`},
		{"/api/v1/api-keys", `{"name":"doctor","scopes":["admin"]}`},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+step.path, strings.NewReader(step.body))
		check(t, err)
		req.Header.Set("Content-Type", "application/json")
		if in.Token != "" {
			req.Header.Set("Authorization", "Bearer "+in.Token)
		}
		res, err := http.DefaultClient.Do(req)
		check(t, err)
		text, err := io.ReadAll(res.Body)
		check(t, err)
		check(t, res.Body.Close())
		if json.Unmarshal(text, &in) != nil || res.StatusCode/100 != 2 {
			t.Fatalf("%s: %d %s", step.path, res.StatusCode, text)
		}
	}
	return in.Key
}
