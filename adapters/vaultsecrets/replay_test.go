package vaultsecrets_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/vaultsecrets"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// replayed stands in for Vault: to each call that is foreseen it gives an answer that a real server gave (testdata/README.md), or one that a test made up.
type replayed struct {
	*httptest.Server
	t testing.TB

	mu      sync.Mutex
	answers map[string]http.HandlerFunc
	calls   []call
}

type call struct {
	what   string // GET secret/data/xteam?version=1
	header http.Header
	body   map[string]any
}

const (
	read   = "GET secret/data/xteam"
	read1  = "GET secret/data/xteam?version=1"
	read2  = "GET secret/data/xteam?version=2"
	lookUp = "GET auth/token/lookup-self"
	login  = "PUT auth/approle/login"
	renew  = "PUT auth/token/renew-self"
	revoke = "PUT auth/token/revoke-self"
	health = "GET sys/health"
)

// replay starts one that knows how to log in and what the secret is. Changes are pairs of a call and a recording.
func replay(t testing.TB, changes ...string) *replayed {
	t.Helper()
	v := &replayed{t: t, answers: map[string]http.HandlerFunc{}}
	v.set(read, "current", read1, "version-1", read2, "version-2-deleted", lookUp, "look-up", login, "login", renew, "renewed", revoke, "revoked")
	v.set(changes...)
	v.Server = httptest.NewServer(v)
	t.Cleanup(v.Close)
	return v
}

func (v *replayed) set(pairs ...string) {
	for i := 0; i < len(pairs); i += 2 {
		v.answer(pairs[i], recorded(v.t, pairs[i+1]))
	}
}

func (v *replayed) answer(what string, with http.HandlerFunc) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.answers[what] = with
}

// recorded is an answer of testdata.
func recorded(t testing.TB, name string) http.HandlerFunc {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := bytes.Cut(text, []byte("\n"))
	var status int
	if err := json.Unmarshal(head[:3], &status); err != nil {
		t.Fatal(err)
	}
	return made(status, string(head[4:]), string(body))
}

func made(status int, kind, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func (v *replayed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	what := r.Method + " " + strings.TrimPrefix(r.URL.Path, "/v1/")
	if r.URL.RawQuery != "" && !strings.HasPrefix(what, health) {
		what += "?" + r.URL.RawQuery
	}
	c := call{what: what, header: r.Header.Clone()}
	_ = json.NewDecoder(r.Body).Decode(&c.body)
	v.mu.Lock()
	v.calls = append(v.calls, c)
	with := v.answers[what]
	v.mu.Unlock()
	if with == nil {
		v.t.Errorf("Vault is asked %s, which is not foreseen", what)
		with = made(404, "application/json", `{"errors":[]}`)
	}
	with(w, r)
}

func (v *replayed) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls = nil
}

// count is how often a call was made.
func (v *replayed) count(what string) (n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range v.calls {
		if c.what == what {
			n++
		}
	}
	return n
}

// last is the last call of a kind.
func (v *replayed) last(what string) call {
	v.t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range v.calls {
		if c := v.calls[len(v.calls)-1-i]; c.what == what {
			return c
		}
	}
	v.t.Fatalf("%s was not called", what)
	return call{}
}

func (v *replayed) byToken() vaultsecrets.Options {
	return vaultsecrets.Options{Address: v.URL, Mount: "secret", Path: "xteam", Token: secret.New("planted-token")}
}

func (v *replayed) byAppRole() vaultsecrets.Options {
	return vaultsecrets.Options{Address: v.URL, Mount: "secret", Path: "xteam", RoleID: "planted-role", SecretID: secret.New("planted-secret-id")}
}

// clock is turned by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) turn(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(by)
}

func openAt(t testing.TB, o vaultsecrets.Options, c *clock) *vaultsecrets.Secrets {
	t.Helper()
	s, err := vaultsecrets.OpenAt(t.Context(), o, c.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestReplayedFields(t *testing.T) {
	v := replay(t)
	s := openAt(t, v.byToken(), newClock())
	wants(t, s, "SECRET_KEY", "recorded-key-of-version-3")
	wants(t, s, "SECRET_KEY_PREVIOUS", "recorded-key-of-version-1") // version 2 is deleted
	wants(t, s, "PLANTED_PREVIOUS", "recorded-own")
	wants(t, s, "ROOT_KEY", "recorded-root-key")
	wantsNone(t, s, "ROOT_KEY_PREVIOUS") // it is the same in each version
	for _, name := range []string{"MISSING", "MISSING_PREVIOUS", "EMPTY", "EMPTY_PREVIOUS", "NULL", "secret_key", "", "_PREVIOUS"} {
		wantsNone(t, s, name)
	}
	for name, says := range map[string]string{"NUMBER": "NUMBER is not a text", "LIST": "LIST is not a text", "LINE_END": "LINE_END ends with a line end",
		"TWO_LINES": "TWO_LINES holds a control character", "NUL": "NUL holds a control character"} {
		wantsNoUse(t, s, name, v.URL+", secret/xteam: "+says)
	}
	if n := v.count(lookUp); n != 1 {
		t.Errorf("the token was looked up %d times", n)
	}
	for _, c := range v.calls {
		if c.header.Get("X-Vault-Token") != "planted-token" || c.header.Get("X-Vault-Request") != "true" || c.header.Get("X-Vault-Namespace") != "" {
			t.Errorf("%s was sent with %v", c.what, c.header)
		}
	}
}

func TestReplayedPreviousLooksBackAFewVersions(t *testing.T) {
	v := replay(t)
	version := func(n, value string) http.HandlerFunc {
		return made(200, "application/json", `{"data":{"data":{"SECRET_KEY":"`+value+`"},"metadata":{"version":`+n+`}}}`)
	}
	v.answer(read, version("40", "new"))
	for _, n := range []string{"39", "38", "37", "36"} {
		v.answer(read+"?version="+n, version(n, "new"))
	}
	v.answer(read+"?version=35", version("35", "old"))
	s := openAt(t, v.byToken(), newClock())
	wants(t, s, "SECRET_KEY_PREVIOUS", "old")
	v.answer(read+"?version=35", version("35", "new"))
	wantsNone(t, s, "SECRET_KEY_PREVIOUS") // and version 34 is not asked for: that would fail the test
	v.answer(read+"?version=37", made(200, "application/json", `{"data":{"data":{"SECRET_KEY":7},"metadata":{"version":37}}}`))
	v.answer(read+"?version=36", version("36", ""))
	v.answer(read+"?version=35", version("35", "old"))
	wants(t, s, "SECRET_KEY_PREVIOUS", "old") // what is no text is passed over
	v.answer(read, version("40", ""))
	wantsNone(t, s, "SECRET_KEY_PREVIOUS") // what is not there any more has none before
	v.answer(read, made(200, "application/json", `{"data":{"data":{"SECRET_KEY":"new","SECRET_KEY_PREVIOUS":""},"metadata":{"version":40}}}`))
	wantsNone(t, s, "SECRET_KEY_PREVIOUS") // an empty field ends it
	v.answer(read, version("40", "new"))
	v.set(read+"?version=38", "sealed", health, "health-sealed")
	wantsNoUse(t, s, "SECRET_KEY_PREVIOUS", "is sealed")
}

// What a real server refused with, to a reader that had read before.
func TestReplayedRefusalsWhileRunning(t *testing.T) {
	for answer, says := range map[string]string{
		"current-deleted":   ", secret/xteam is deleted in its current version, 3: undelete it (vault kv undelete), or write a new one",
		"current-destroyed": ", secret/xteam is destroyed in its current version, 3: write a new one",
		"no-secret":         ", secret/xteam: there is no secret: write it",
		"no-engine":         ": there is no secrets engine at secret/: enable KV, version 2, there",
		"denied":            ", secret/xteam does not let the token read (403): give one in VAULT_TOKEN that has not expired, and let a policy of it read the path secret/data/xteam",
		"unknown-token":     ", secret/xteam does not know the token (403), which is wrong, has expired or was revoked: give another in VAULT_TOKEN",
		"sealed":            " is sealed: unseal it (vault operator unseal), then reading goes on by itself",
		"look-up":           ", secret/xteam is not what the KV engine, version 2, answers: see the mount",
		"login":             ", secret/xteam is not what the KV engine, version 2, answers: see the mount",
		"revoked":           " answers 204",
	} {
		t.Run(answer, func(t *testing.T) {
			v := replay(t, health, "health-sealed")
			s := openAt(t, v.byToken(), newClock())
			wants(t, s, "SECRET_KEY", "recorded-key-of-version-3")
			v.set(read, answer)
			for _, name := range []string{"SECRET_KEY", "SECRET_KEY_PREVIOUS", "MISSING"} {
				wantsNoUse(t, s, name, "Vault at "+v.URL+says)
			}
			refuses(t, v.byToken(), "Vault at "+v.URL+says)
			v.set(read, "current")
			wants(t, s, "SECRET_KEY", "recorded-key-of-version-3")
		})
	}
}

func TestReplayedRefusalsOfALogin(t *testing.T) {
	for answer, says := range map[string]string{
		"login-refused": " refuses the AppRole login at auth/approle (400): invalid role or secret ID: see VAULT_ROLE_ID and VAULT_SECRET_ID",
		"no-method":     " refuses the AppRole login at auth/approle (403): permission denied",
		"sealed":        " is not initialised: initialise it",
		"current":       " answers the AppRole login at auth/approle without a token",
		"revoked":       " answers 204",
	} {
		v := replay(t, login, answer, health, "health-not-initialised")
		refuses(t, v.byAppRole(), "Vault at "+v.URL+says)
		if n := v.count(login); n != 1 {
			t.Errorf("%s: %d logins", answer, n)
		}
	}
}

// What does not come from a Vault, or not whole. No real server gives these.
func TestMadeUpAnswers(t *testing.T) {
	long := `{"data":{"data":{"SECRET_KEY":"` + strings.Repeat("planted", 1<<20/7) + `"},"metadata":{"version":1}}}`
	for name, c := range map[string]struct {
		with http.HandlerFunc
		says string
	}{
		"HTML":                     {made(200, "text/html; charset=utf-8", "<html>planted</html>"), ` answers 200 with "text/html" where JSON belongs`},
		"HTML that refuses":        {made(403, "text/html", "<html>planted</html>"), ` answers 403 with "text/html"`},
		"HTML of a proxy":          {made(502, "text/html", "<html>planted</html>"), ` answers 502 with "text/html"`},
		"HTML that is not found":   {made(404, "text/html", "<html>planted</html>"), ` answers 404 with "text/html"`},
		"HTML called JSON":         {made(200, "application/json", "<html>planted</html>"), " is not whole JSON of the form that Vault has"},
		"no content type":          {made(200, "", `{"planted":1}`), ` where JSON belongs`},
		"an odd content type":      {made(200, "planted\u00e9; ;", "{}"), ` where JSON belongs`},
		"JSON that is cut":         {made(200, "application/json", `{"data":{"data":{"SECRET_KEY":"planted-and-cut`), " is not whole JSON of the form that Vault has"},
		"a refusal that is cut":    {made(400, "application/json", `{"errors":["planted`), " is not whole JSON of the form that Vault has"},
		"another form of JSON":     {made(200, "application/json", `{"data":[1,2,"planted"]}`), " is not whole JSON of the form that Vault has"},
		"a list":                   {made(200, "application/json", `["planted"]`), " is not whole JSON of the form that Vault has"},
		"deep JSON":                {made(200, "application/json", `{"data":`+strings.Repeat("[", 500_000)), " is not whole JSON of the form that Vault has"},
		"nothing":                  {made(200, "application/json", ""), " is not what the KV engine, version 2, answers"},
		"null":                     {made(200, "application/json", "null"), " is not what the KV engine, version 2, answers"},
		"no metadata":              {made(200, "application/json", `{"data":{"data":{"SECRET_KEY":"planted"}}}`), " is not what the KV engine, version 2, answers"},
		"no number of a version":   {made(200, "application/json", `{"data":{"data":{"SECRET_KEY":"planted"},"metadata":{"version":1e999}}}`), " is not what the KV engine, version 2, answers"},
		"a secret of 1 MiB":        {made(200, "application/json", long), ", secret/xteam: SECRET_KEY is longer than 65536 bytes: give the secret alone"},
		"an answer of 5 MiB":       {made(200, "application/json", `{"data":{"x":"`+strings.Repeat("planted", 5<<20/7)+`"}}`), " gives an answer of more than 4194304 bytes"},
		"a refusal of 5 MiB":       {made(403, "application/json", `{"errors":["`+strings.Repeat("planted", 5<<20/7)+`"]}`), " gives an answer of more than 4194304 bytes"},
		"a long reason":            {made(418, "application/json", `{"errors":["`+strings.Repeat("x", 5000)+`\n\u001b[31m"]}`), " answers 418: xxx"},
		"a reason with our token":  {made(418, "application/json", `{"errors":["the token planted-token is a teapot"]}`), " answers 418"},
		"a quota":                  {made(429, "application/json", `{"errors":["request path \"x\": rate limit quota exceeded"]}`), " refuses for now (429): a quota of requests is spent"},
		"a connection that breaks": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, " broke off, or does not speak HTTP as Vault does"},
		"an answer that breaks off": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			made(200, "application/json", `{"data":{"planted`)(w, r)
		}, " broke off, or does not speak HTTP as Vault does"},
	} {
		t.Run(name, func(t *testing.T) {
			v := replay(t)
			s := openAt(t, v.byToken(), newClock())
			v.answer(read, c.with)
			wantsNoUse(t, s, "SECRET_KEY", "Vault at "+v.URL, c.says)
			if name != "a secret of 1 MiB" {
				refuses(t, v.byToken(), "Vault at "+v.URL, c.says)
			}
			if n := v.count(read); n > 3 && !strings.Contains(c.says, "broke off") { // a connection that breaks before it answers is tried anew by net/http
				t.Errorf("the secret was asked for %d times: an answer that is no use is asked for once", n)
			}
			v.set(read, "current")
			wants(t, s, "SECRET_KEY", "recorded-key-of-version-3")
		})
	}
}

// A standby that knows an active server forwards to it, or sends on to it; one that knows none is not to be had from a real server for long.
func TestMadeUpStandby(t *testing.T) {
	v := replay(t)
	s := openAt(t, v.byToken(), newClock())
	v.answer(health, made(299, "application/json", `{"initialized":true,"sealed":false,"standby":true}`)) //nolint:misspell // Vault names it so
	v.answer(read, made(500, "application/json", `{"errors":["local node not active but active cluster node not found"]}`))
	says := "Vault at " + v.URL + " is a standby that knows no active server: start one, or give its address in VAULT_ADDR"
	wantsNoUse(t, s, "SECRET_KEY", says)
	refuses(t, v.byToken(), says)
	v.answer(health, made(299, "application/json", `{"initialized":true,"sealed":false,"standby":false}`)) //nolint:misspell // Vault names it so
	wantsNoUse(t, s, "SECRET_KEY", "Vault at "+v.URL+" fails (500): local node not active")
	v.answer(health, made(200, "text/html", "planted"))
	wantsNoUse(t, s, "SECRET_KEY", "Vault at "+v.URL+" fails (500): local node not active")
}

// Vault may be served beneath a path.
func TestReplayedBeneathAPath(t *testing.T) {
	v := replay(t)
	beneath := httptest.NewServer(http.StripPrefix("/beneath/here", v))
	defer beneath.Close()
	o := v.byAppRole()
	o.Address = beneath.URL + "/beneath/here/"
	wants(t, openAt(t, o, newClock()), "SECRET_KEY", "recorded-key-of-version-3")
}

// FuzzAnswer reads a secret out of whatever bytes: a value, none, or a sentence that holds nothing of them.
func FuzzAnswer(f *testing.F) {
	for _, name := range []string{"current", "no-secret", "current-deleted", "login"} {
		text, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
		if err != nil {
			f.Fatal(err)
		}
		_, body, _ := bytes.Cut(text, []byte("\n"))
		f.Add(uint8(0), string(body))
		f.Add(uint8(1), string(body))
		f.Add(uint8(2), string(body))
	}
	v := replay(f)
	s := openAt(f, v.byToken(), newClock())
	v.answer(health, recorded(f, "health-sealed"))
	f.Fuzz(func(t *testing.T, status uint8, body string) {
		code := []int{200, 404, 403, 503}[status%4]
		v.answer(read, made(code, "application/json", body))
		v.forget()
		got, err := s.Get(t.Context(), "SECRET_KEY")
		switch {
		case err == nil && !got.IsZero() && code == 200 && secret.Check("SECRET_KEY", got.RevealPlaintext()) == nil:
		case errors.Is(err, ports.ErrNotFound) && got.IsZero() && code == 200:
		default:
			sentence(t, err, "Vault at "+v.URL)
		}
	})
}

func TestMadeUpLoginWithoutAToken(t *testing.T) {
	v := replay(t)
	v.answer(login, made(200, "application/json", `{"auth":{"client_token":"","mfa_requirement":{"mfa_request_id":"x"}}}`))
	refuses(t, v.byAppRole(), "Vault at "+v.URL+" answers the AppRole login at auth/approle without a token: XTeam can neither unwrap one nor take a second factor")
}

func TestMadeUpRedirectsAreNotFollowed(t *testing.T) {
	var asked []*http.Request
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = append(asked, r) }))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, to := range []string{other.URL + "/v1/secret/data/xteam?planted", "/v1/secret/data/elsewhere", "http://user:planted@" + strings.TrimPrefix(other.URL, "http://"), ""} {
			redirect := func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", to)
				w.WriteHeader(status)
			}
			v := replay(t)
			s := openAt(t, v.byAppRole(), newClock())
			v.answer(read, redirect)
			says := []string{"Vault at " + v.URL + " sends on to", "where no token is taken", "VAULT_ADDR"}
			if to == "" {
				says = []string{"redirect to nowhere"}
			} else if strings.HasPrefix(to, other.URL) {
				says = append(says, `"`+other.URL+`"`)
			}
			wantsNoUse(t, s, "SECRET_KEY", says...)
			v.answer(login, redirect)
			refuses(t, v.byAppRole(), says...)
		}
	}
	if len(asked) != 0 {
		t.Errorf("the other host was asked %d times, first %s with %v", len(asked), asked[0].URL, asked[0].Header)
	}
}

func TestMadeUpSlowAnswers(t *testing.T) {
	v := replay(t)
	o := v.byToken()
	s := openAt(t, o, newClock())
	slow := func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // nor does it answer afterwards
	}

	ctx, cancel := context.WithCancel(t.Context())
	arrived := make(chan struct{})
	v.answer(read, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		slow(w, r)
	})
	go func() {
		<-arrived
		cancel()
	}()
	if got, err := s.Get(ctx, "SECRET_KEY"); !errors.Is(err, context.Canceled) || errors.Is(err, ports.ErrNotFound) || !got.IsZero() {
		t.Errorf("a call that is cancelled while Vault is silent: %v", err)
	}

	o.Timeout = 20 * time.Millisecond
	for _, with := range []http.HandlerFunc{slow, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"data":`)
		_ = http.NewResponseController(w).Flush()
		slow(w, r)
	}} {
		v.answer(read, with)
		refuses(t, o, "Vault at "+v.URL+" gave no answer within 20ms: see that it runs and can be reached")
	}
	v.set(read, "current")
	wants(t, s, "SECRET_KEY", "recorded-key-of-version-3")
}

func TestReplayedDenialIsBelievedOfAFreshTokenOnly(t *testing.T) {
	v := replay(t)
	c := newClock()
	s := openAt(t, v.byAppRole(), c)
	if got := v.last(login); got.body["role_id"] != "planted-role" || got.body["secret_id"] != "planted-secret-id" || got.header.Get("X-Vault-Token") != "" {
		t.Errorf("the login was %v", got)
	}
	if got := v.last(read).header.Get("X-Vault-Token"); got != "recorded-token" {
		t.Errorf("the secret was asked for with the token %q", got)
	}

	// The token is revoked: whoever reads, the first logs in, once.
	for round := range 3 {
		before := v.count(login)
		v.answer(read, v.deniedUntilLogin(before+1))
		together(t, 32, func() { wants(t, s, "SECRET_KEY", "recorded-key-of-version-3") })
		if n := v.count(login) - before; n != 1 {
			t.Fatalf("round %d: 32 callers with a revoked token made %d logins, want 1", round, n)
		}
	}

	// The policy is gone: the first denial of a fresh token is believed, and no storm of logins follows.
	v.set(read, "denied")
	before := v.count(login)
	together(t, 32, func() {
		wantsNoUse(t, s, "SECRET_KEY", "does not let the token of this login read (403): let a policy of it read the path secret/data/xteam")
	})
	if n := v.count(login) - before; n != 1 {
		t.Errorf("32 denials made %d logins, want 1", n)
	}
	c.turn(2 * time.Second) // the first pause, though many were denied at once
	wantsNoUse(t, s, "SECRET_KEY", "(403)")
	if n := v.count(login) - before; n != 2 {
		t.Errorf("32 denials and one made %d logins, want 2", n)
	}
	before = v.count(login)
	for range 360 { // an hour, a read every 10 s
		c.turn(10 * time.Second)
		wantsNoUse(t, s, "SECRET_KEY", "(403)")
	}
	// Each minute the lease of the recorded token ends, and every 30 s a login is tried for the denial's sake.
	if n := v.count(login) - before; n > 125 {
		t.Errorf("an hour of denials made %d logins", n)
	}
	v.set(read, "current")
	wants(t, s, "SECRET_KEY", "recorded-key-of-version-3")
}

// One caller logs in again after a denial; another reads with the new token, and is denied before the first is: that is the first denial of a fresh token.
func TestReplayedDenialOfAnothersFreshToken(t *testing.T) {
	v := replay(t)
	s := openAt(t, v.byAppRole(), newClock())
	before, asked, denied := v.count(login), atomic.Int32{}, recorded(t, "denied")
	v.answer(read, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 2 { // the first caller's, after its login
			wantsNoUse(t, s, "SECRET_KEY", "(403)")
		}
		denied(w, r)
	})
	wantsNoUse(t, s, "SECRET_KEY", "(403)")
	if n := v.count(login) - before; n != 1 {
		t.Errorf("two callers made %d logins, want 1", n)
	}
	if n := asked.Load(); n != 3 {
		t.Errorf("two callers made %d reads, want 3", n)
	}
}

// deniedUntilLogin refuses as an unknown token is refused, until there were so many logins.
func (v *replayed) deniedUntilLogin(n int) http.HandlerFunc {
	denied, current := recorded(v.t, "unknown-token"), recorded(v.t, "current")
	return func(w http.ResponseWriter, r *http.Request) {
		if v.count(login) < n {
			denied(w, r)
			return
		}
		current(w, r)
	}
}

func TestReplayedLoginsThatFailAreNoStorm(t *testing.T) {
	v := replay(t)
	c := newClock()
	s := openAt(t, v.byAppRole(), c)
	v.set(read, "unknown-token", login, "login-refused")
	before := v.count(login)
	together(t, 32, func() { wantsNoUse(t, s, "SECRET_KEY", "refuses the AppRole login at auth/approle (400)") })
	if n := v.count(login) - before; n != 1 {
		t.Errorf("32 callers made %d logins that were refused, want 1", n)
	}
	for range 600 { // ten minutes, a read every second
		c.turn(time.Second)
		wantsNoUse(t, s, "SECRET_KEY", "refuses the AppRole login")
	}
	if n := v.count(login) - before; n < 18 || n > 25 {
		t.Errorf("ten minutes made %d logins: want pauses of 2, 4, 8, 16 and then 30 s", n)
	}
	v.set(read, "current", login, "login")
	c.turn(30 * time.Second)
	wants(t, s, "SECRET_KEY", "recorded-key-of-version-3")
	v.set(read, "unknown-token", login, "login-refused") // after success the pauses begin anew
	before = v.count(login)
	wantsNoUse(t, s, "SECRET_KEY", "refuses the AppRole login")
	c.turn(2 * time.Second)
	wantsNoUse(t, s, "SECRET_KEY", "refuses the AppRole login")
	if n := v.count(login) - before; n != 2 {
		t.Errorf("%d logins in two seconds after a success, want 2", n)
	}
}

func TestReplayedRenewal(t *testing.T) {
	v := replay(t)
	c := newClock()
	var log bytes.Buffer
	o := v.byAppRole()
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s := openAt(t, o, c)
	counts := func(when string, logins, renewals int) {
		t.Helper()
		wants(t, s, "SECRET_KEY", "recorded-key-of-version-3")
		if l, r := v.count(login), v.count(renew); l != logins || r != renewals {
			t.Errorf("%s: %d logins and %d renewals, want %d and %d", when, l, r, logins, renewals)
		}
	}
	counts("at the start", 1, 0)
	c.turn(39 * time.Second)
	counts("before two thirds of 60 s", 1, 0)
	c.turn(time.Second)
	together(t, 16, func() { wants(t, s, "SECRET_KEY", "recorded-key-of-version-3") })
	counts("at two thirds", 1, 1)
	c.turn(39 * time.Second)
	counts("before two thirds of the new lease", 1, 1)
	c.turn(time.Second)
	v.set(renew, "denied")
	counts("when renewal is refused", 2, 2)
	c.turn(60 * time.Second)
	counts("when the lease is over", 3, 2)

	// What is left of a token's greatest life is not worth having.
	v.answer(renew, made(200, "application/json", `{"auth":{"client_token":"recorded-token","lease_duration":5,"renewable":true}}`))
	c.turn(40 * time.Second)
	counts("when it is renewed for 5 s", 4, 3)

	// Vault is sealed for a while, but the read would be answered: the token is used while it lasts, and that is said once.
	v.set(renew, "sealed", login, "sealed", health, "health-sealed")
	log.Reset()
	c.turn(40 * time.Second)
	counts("when neither can be", 5, 4)
	counts("and once more", 5, 4)
	if n := strings.Count(log.String(), "could not be renewed"); n != 1 || strings.Contains(log.String(), "planted") || strings.Contains(log.String(), "recorded-token") {
		t.Errorf("the log says it %d times:\n%s", n, log.String())
	}
	c.turn(20 * time.Second)
	reads := v.count(read)
	wantsNoUse(t, s, "SECRET_KEY", "is sealed")
	if n := v.count(read) - reads; n != 0 {
		t.Errorf("a token that has ended was shown %d times", n)
	}
	v.set(read, "current", login, "login")
	c.turn(30 * time.Second)
	counts("when it is unsealed", 7, 4)
}

func TestMadeUpLoginThatLastsForEver(t *testing.T) {
	v := replay(t)
	c := newClock()
	s := openAt(t, v.byAppRole(), c)
	v.answer(login, made(200, "application/json", `{"auth":{"client_token":"recorded-token","lease_duration":0}}`))
	c.turn(time.Minute)
	for range 2 {
		together(t, 16, func() { wants(t, s, "SECRET_KEY", "recorded-key-of-version-3") })
		c.turn(1000 * time.Hour)
	}
	if n := v.count(login); n != 2 {
		t.Errorf("%d logins, want 2", n)
	}
}

func TestReplayedRenewalOfATokenThatIsGiven(t *testing.T) {
	v := replay(t)
	c := newClock()
	s := openAt(t, v.byToken(), c)
	c.turn(40 * time.Second)
	wants(t, s, "SECRET_KEY", "recorded-key-of-version-3")
	if got := v.last(renew); got.header.Get("X-Vault-Token") != "planted-token" {
		t.Errorf("renewed with %v", got.header)
	}
	v.set(renew, "denied")
	c.turn(40 * time.Second)
	wants(t, s, "SECRET_KEY", "recorded-key-of-version-3") // it lasts
	c.turn(time.Hour)
	v.set(read, "unknown-token")
	wantsNoUse(t, s, "SECRET_KEY", "does not know the token (403)")
	s.Close()
	if n := v.count(login) + v.count(revoke); n != 0 {
		t.Errorf("%d logins and revocations of a token that was given", n)
	}
	// A policy may refuse to tell how long a token lasts.
	v = replay(t, lookUp, "denied")
	s = openAt(t, v.byToken(), c)
	c.turn(1000 * time.Hour)
	wants(t, s, "SECRET_KEY", "recorded-key-of-version-3")
}

func TestReplayedKubernetesLogin(t *testing.T) {
	const login = "PUT auth/cluster/login"
	v := replay(t, login, "login")
	file := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("planted-first\n")
	o := vaultsecrets.Options{Address: v.URL, Mount: "secret", Path: "xteam", KubernetesRole: "xteam", KubernetesMount: "cluster", KubernetesSigned: file}
	c := newClock()
	s := openAt(t, o, c)
	if got := v.last(login).body; got["role"] != "xteam" || got["jwt"] != "planted-first" {
		t.Errorf("the login was %v", got)
	}
	write("planted-second")
	c.turn(time.Minute)
	wants(t, s, "SECRET_KEY", "recorded-key-of-version-3")
	if got := v.last(login).body; got["jwt"] != "planted-second" {
		t.Errorf("the file is read anew at each login; it was %v", got)
	}
	v.answer(login, made(400, "application/json", `{"errors":["bad planted-second"]}`))
	refuses(t, o, "refuses the Kubernetes login at auth/cluster (400)")
	write(strings.Repeat("planted", 10_000))
	refuses(t, o, "the service account's token cannot be read (too long)")
	o.KubernetesSigned = file + "-none"
	refuses(t, o, "the service account's token cannot be read", file+"-none", "no such file")
}

func TestReplayedNamespace(t *testing.T) {
	v := replay(t)
	o := v.byAppRole()
	o.Namespace = "team/a"
	s := openAt(t, o, newClock())
	s.Close()
	for _, c := range v.calls {
		if got := c.header.Get("X-Vault-Namespace"); got != "team/a" {
			t.Errorf("%s was sent with the namespace %q", c.what, got)
		}
	}
	if v.count(revoke) != 1 {
		t.Error("Close did not give the token back")
	}
}

// The library reads variables by itself; what an operator has exported for another program is not for us.
func TestReplayedWithAnotherProgramsEnvironment(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("another host was asked") }))
	defer other.Close()
	for name, value := range map[string]string{"VAULT_ADDR": other.URL, "VAULT_AGENT_ADDR": other.URL, "VAULT_TOKEN": "planted-other", "VAULT_NAMESPACE": "other",
		"VAULT_HEADERS": `{"X-Other":"planted"}`, "VAULT_WRAP_TTL": "60", "VAULT_SKIP_VERIFY": "true", "VAULT_PROXY_ADDR": other.URL, "HTTP_PROXY": other.URL, "VAULT_MAX_RETRIES": "5"} {
		t.Setenv(name, value)
	}
	v := replay(t)
	s := openAt(t, v.byAppRole(), newClock())
	v.set(read, "sealed", health, "health-sealed")
	wantsNoUse(t, s, "SECRET_KEY", "is sealed")
	if n := v.count(read); n != 2 {
		t.Errorf("the secret was asked for %d times, want 2", n)
	}
	for _, c := range v.calls {
		for _, name := range []string{"X-Vault-Namespace", "X-Vault-Wrap-TTL", "X-Other"} {
			if c.header.Get(name) != "" {
				t.Errorf("%s was sent with %s", c.what, name)
			}
		}
		if got := c.header.Get("X-Vault-Token"); got == "planted-other" {
			t.Errorf("%s was sent with the environment's token", c.what)
		}
	}
	t.Setenv("VAULT_MAX_RETRIES", "planted")
	refuses(t, v.byAppRole(), "one of the variables VAULT_")
}
