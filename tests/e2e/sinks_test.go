package e2e_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// hooks takes alerts on an address that it may leave and come back to.
type hooks struct {
	addr, secret string

	mu     sync.Mutex
	alerts []string // ids of the messages with a signature that holds, in their order
	walls  []string // lists of blocked networks
	links  []string // of notices to ann@example.com
	points []string // whole messages with checkpoints
	wrong  []string
}

// wall is the list that came last; "nothing" before the first.
func (h *hooks) wall() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.walls) == 0 {
		return "nothing"
	}
	return h.walls[len(h.walls)-1]
}

// listen answers messages until the end that it answers.
func (h *hooks) listen(t *testing.T) (end func()) {
	t.Helper()
	l, err := net.Listen("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h, ReadHeaderTimeout: patience}}
	s.Start()
	t.Cleanup(s.Close)
	return s.Close
}

func (h *hooks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	id, at := r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp")
	mac := hmac.New(sha256.New, []byte(h.secret))
	mac.Write([]byte(id + "." + at + "." + string(body)))
	seconds, err := strconv.ParseInt(at, 10, 64)
	var message struct {
		Type string
		Data struct {
			Events   []struct{ ID, Kind string }
			Networks []string
			Email    string
			Link     string
		}
	}
	bad := json.Unmarshal(body, &message)
	h.mu.Lock()
	defer h.mu.Unlock()
	wall := bad == nil && message.Type == "blocked_networks" && message.Data.Networks != nil && strings.HasPrefix(id, "wall_")
	notice := bad == nil && message.Type == "sign_in_from_new_network" && message.Data.Email == "ann@example.com"
	switch {
	case r.Header.Get("Webhook-Signature") != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)), err != nil || time.Since(time.Unix(seconds, 0)).Abs() > patience,
		!wall && !notice && message.Type != "audit_checkpoint" && (bad != nil || message.Type != "security_events" || len(message.Data.Events) != 1 || message.Data.Events[0].Kind != "alert_raised" || message.Data.Events[0].ID != id):
		h.wrong = append(h.wrong, string(body))
		w.WriteHeader(http.StatusBadRequest)
	case message.Type == "audit_checkpoint":
		h.points = append(h.points, string(body))
	case notice:
		h.links = append(h.links, message.Data.Link)
	case wall:
		h.walls = append(h.walls, strings.Join(message.Data.Networks, " "))
	default:
		h.alerts = append(h.alerts, id)
	}
}

// got are the ids of what came, each once.
func (h *hooks) got() map[string]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := map[string]bool{}
	for _, id := range h.alerts {
		all[id] = true
	}
	return all
}

// syslogs takes whatever is sent to an address.
type syslogs struct {
	tail
	addr string
}

func takeSyslog(t *testing.T) *syslogs {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	s := &syslogs{addr: l.Addr().String()}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(s, c)
			_ = c.Close()
		}
	}()
	return s
}

// TestAlertsArrive: an alert is posted with a signature that holds; one that is raised while nobody listens, by a server that is killed meanwhile, comes after both are back, and everything is in the file
// of events and with the receiver of syslog as well.
func TestAlertsArrive(t *testing.T) {
	h := &hooks{addr: freeAddr(t), secret: "planted-secret-of-the-alerts"}
	gone := h.listen(t)
	folder := t.TempDir()
	file := filepath.Join(folder, "events.jsonl")
	logs := takeSyslog(t)
	metrics := freeAddr(t)
	env := environ(folder, "EVENT_SYSLOG_URL=syslog://"+logs.addr, "METRICS_ADDR="+metrics, "ALERT_WEBHOOK_URL=http://"+h.addr+"/planted-path?k=planted-query", "ALERT_WEBHOOK_SECRET="+h.secret, "ALERT_WEBHOOK_PRIVATE=true", "EVENT_FILE="+file)
	admin(t, env)
	s := serve(t, env)
	if got := must(t, env, "", "alerts", "test"); !strings.Contains(got, "its receiver has taken it") {
		t.Errorf("the first alert: %s", got)
	}
	until(t, "the first alert comes", func() bool { return len(h.got()) == 1 })

	gone()
	if r := xteam(t, env, "", "alerts", "test"); r.code != 1 || !strings.Contains(r.err, "the test alert has not arrived") {
		t.Errorf("with nobody there: %+v", r)
	}
	until(t, "the log says that it was not taken", func() bool { return strings.Contains(s.log.String(), "sink/webhook") })
	until(t, "the metrics say so", func() bool {
		_, page := metricsPage(t, "http://"+metrics, "")
		return regexp.MustCompile(`(?m)^xteam_sink_tries\{sink="webhook"\} [1-9]`).MatchString(page) && regexp.MustCompile(`(?m)^xteam_sink_lag_seconds\{sink="webhook"\} [1-9]`).MatchString(page) &&
			strings.Contains(page, `xteam_sink_tries{sink="file"} 0`)
	})
	boss := s.signIn("admin@example.com")
	s.want(http.StatusOK, http.MethodGet, me, boss.Access, nil) // nobody waits for it
	_ = s.end(syscall.SIGKILL)
	again := serve(t, env)
	h.listen(t)
	until(t, "the second alert comes", func() bool { return len(h.got()) == 2 })
	until(t, "the file has everything", func() bool {
		b, err := os.ReadFile(file)
		return err == nil && strings.Count(string(b), `"kind":"alert_raised"`) >= 2 && strings.Contains(string(b), `"kind":"authentication_succeeded"`)
	})
	until(t, "the receiver of syslog has everything", func() bool {
		text := logs.String()
		return strings.Count(text, " xteam - alert_raised - {") >= 2 && strings.Contains(text, " xteam - authentication_succeeded - {")
	})
	if h.mu.Lock(); len(h.wrong) > 0 {
		t.Errorf("messages that cannot be believed: %q", h.wrong)
	}
	h.mu.Unlock()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if all := s.log.String() + again.log.String() + string(b) + logs.String(); strings.Contains(all, "planted") {
		t.Error("the webhook's secret, or the rest of its address, is in the logs, the file or the syslog")
	}
}

// TestAlertsNeedTheirAddressAlone: nothing but ALERT_WEBHOOK_URL is given, and the receiver finds the secret of the signatures in the data folder.
func TestAlertsNeedTheirAddressAlone(t *testing.T) {
	h := &hooks{addr: freeAddr(t)}
	folder := t.TempDir()
	env := environ(folder, "ALERT_WEBHOOK_URL=http://"+h.addr+"/x")
	admin(t, env)
	s := serve(t, env)
	made, err := os.ReadFile(filepath.Join(folder, "secrets", "ALERT_WEBHOOK_SECRET"))
	if err != nil || len(made) != 43 {
		t.Fatalf("the secret that was made: %d bytes (%v)", len(made), err)
	}
	h.secret = string(made)
	h.listen(t)
	must(t, env, "", "alerts", "test")
	until(t, "the alert comes", func() bool { return len(h.got()) == 1 })
	_ = s.end(syscall.SIGTERM)
	serve(t, env)
	must(t, env, "", "alerts", "test")
	until(t, "one comes after a restart", func() bool { return len(h.got()) == 2 })
	if h.mu.Lock(); len(h.wrong) > 0 {
		t.Errorf("messages that cannot be believed: %q", h.wrong)
	}
	h.mu.Unlock()
}

// TestFirewallIsTold: what is blocked is posted to the firewall, whole, signed, within a second or so; what was changed while it was away comes once it is back, by a server that was killed meanwhile.
func TestFirewallIsTold(t *testing.T) {
	h := &hooks{addr: freeAddr(t), secret: "planted-secret-of-the-firewall"}
	gone := h.listen(t)
	folder := t.TempDir()
	env := environ(folder, "FIREWALL_URL=http://"+h.addr+"/planted-path", "FIREWALL_SECRET="+h.secret, "FIREWALL_PRIVATE=true", "METRICS_ADDR="+freeAddr(t))
	admin(t, env)
	s := serve(t, env)
	until(t, "the empty list comes", func() bool { return h.wall() == "" })
	must(t, env, "", "blocked-ips", "add", "198.51.100.0/24", "--for", "1h")
	must(t, env, "", "blocked-ips", "add", "2001:db8::/64")
	until(t, "both come", func() bool { return h.wall() == "198.51.100.0/24 2001:db8::/64" })
	gone()
	must(t, env, "", "blocked-ips", "remove", "2001:db8::/64")
	until(t, "the log says that it was not taken", func() bool { return strings.Contains(s.log.String(), `"duty":"firewall"`) })
	_ = s.end(syscall.SIGKILL)
	again := serve(t, env)
	h.listen(t)
	until(t, "what is left comes", func() bool { return h.wall() == "198.51.100.0/24" })
	if h.mu.Lock(); len(h.wrong) > 0 {
		t.Errorf("messages that cannot be believed: %q", h.wrong)
	}
	h.mu.Unlock()
	if strings.Contains(s.log.String()+again.log.String(), "planted") {
		t.Error("the secret, or the rest of the address, is in the logs")
	}
}

// TestCheckpointsArriveElsewhere: the head of the audit trail is posted to a receiver that was away until the server was started anew, and what it kept is what the trail is verified against.
func TestCheckpointsArriveElsewhere(t *testing.T) {
	h := &hooks{addr: freeAddr(t), secret: "planted-secret-of-the-checkpoints"}
	h.listen(t)()
	folder := t.TempDir()
	env := environ(folder, "AUDIT_WEBHOOK_URL=http://"+h.addr+"/planted-path", "AUDIT_WEBHOOK_SECRET="+h.secret, "AUDIT_WEBHOOK_PRIVATE=true")
	admin(t, env)
	s := serve(t, env)
	until(t, "the log says that it was not taken", func() bool { return strings.Contains(s.log.String(), "sink/checkpoints") })
	_ = s.end(syscall.SIGTERM)
	again := serve(t, env)
	h.listen(t)
	kept := func() []string { h.mu.Lock(); defer h.mu.Unlock(); return slices.Clone(h.points) }
	until(t, "a checkpoint comes", func() bool { return len(kept()) > 0 })
	file := filepath.Join(t.TempDir(), "kept")
	verify := func(text string) result {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return xteam(t, env, "", "audit", "verify", "--checkpoints", file)
	}
	var loose bytes.Buffer
	if err := json.Indent(&loose, []byte(kept()[0]), "", "  "); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"as it came": kept()[0] + "\n", "as a tool prints it": loose.String(), "some, one behind the other": strings.Repeat(kept()[0], 2)} {
		if r := verify(text); r.code != 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	for name, c := range map[string]struct{ text, says string }{
		"another number": {regexp.MustCompile(`"seq":[0-9]+`).ReplaceAllString(kept()[0], `"seq":999999`), "the trail does not hold"},
		"another thing":  {kept()[0] + `{"type":"security_events","data":{}}`, "value 2 of " + file + " is no checkpoint"},
		"cut off":        {kept()[0][:len(kept()[0])-9], "value 1 of " + file + " is no checkpoint"},
	} {
		if r := verify(c.text); r.code != 1 || !strings.Contains(r.err, c.says) {
			t.Errorf("%s: %+v, want %q", name, r, c.says)
		}
	}
	if h.mu.Lock(); len(h.wrong) > 0 {
		t.Errorf("messages that cannot be believed: %q", h.wrong)
	}
	h.mu.Unlock()
	if strings.Contains(s.log.String()+again.log.String(), "planted") {
		t.Error("the secret, or the rest of the address, is in the logs")
	}
}

// TestASignInThatWasNotMine: a sign-in from a new network is told to its user, with a link that ends it, once; a sign-in from a known one is not. The link is in no log and no event.
func TestASignInThatWasNotMine(t *testing.T) {
	h := &hooks{addr: freeAddr(t), secret: "planted-secret-of-the-notices"}
	h.listen(t)
	folder := t.TempDir()
	file := filepath.Join(folder, "events.jsonl")
	env := environ(folder, "NOTIFY_WEBHOOK_URL=http://"+h.addr+"/", "NOTIFY_WEBHOOK_SECRET="+h.secret, "NOTIFY_WEBHOOK_PRIVATE=true", "PUBLIC_URL=https://id.example.com", "TRUSTED_PROXIES=127.0.0.1/32", "EVENT_FILE="+file)
	must(t, env, password+"\n", "users", "create", "--email", "ann@example.com", "--username", "ann", "--password-stdin")
	s := serve(t, env)
	signIn := func(from string) (access string) {
		body, _ := json.Marshal(object{"username": "ann", "password": password})
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.base+"/api/v1/auth/login", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Forwarded-For", from)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		var got struct {
			Access string `json:"access_token"`
		}
		if err := json.NewDecoder(res.Body).Decode(&got); err != nil || got.Access == "" {
			t.Fatalf("a sign-in from %s: %d %v", from, res.StatusCode, err)
		}
		return got.Access
	}
	links := func() []string {
		h.mu.Lock()
		defer h.mu.Unlock()
		return slices.Clone(h.links)
	}
	home := signIn("192.0.2.7")
	stranger := signIn("198.51.100.9")
	again := signIn("198.51.100.77") // of the same network, which is known by now
	until(t, "the notice comes", func() bool { return len(links()) > 0 })
	text, ok := strings.CutPrefix(links()[0], "https://id.example.com/wasnt-me#token=")
	if !ok {
		t.Fatalf("the link is %s", links()[0])
	}
	token, err := url.QueryUnescape(text)
	if err != nil {
		t.Fatal(err)
	}
	s.want(http.StatusOK, http.MethodGet, "/wasnt-me", "", nil)
	s.want(http.StatusForbidden, http.MethodPost, "/api/v1/auth/disown", "", object{"token": token[:len(token)-2]})
	s.want(http.StatusOK, http.MethodPost, "/api/v1/auth/disown", "", object{"token": token})
	s.want(http.StatusForbidden, http.MethodPost, "/api/v1/auth/disown", "", object{"token": token})
	for _, access := range []string{stranger, again} {
		s.want(http.StatusUnauthorized, http.MethodGet, me, access, nil)
	}
	s.want(http.StatusOK, http.MethodGet, me, home, nil)
	until(t, "it is told of", func() bool {
		b, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(b), `"kind":"sign_in_disowned"`)
	})
	b, err := os.ReadFile(file)
	if all := s.log.String() + string(b); err != nil || strings.Contains(all, token) || strings.Contains(all, text) {
		t.Errorf("the link is in the log or an event: %v", err)
	}
	if got := len(links()); got != 1 {
		t.Errorf("%d notices came, want one", got)
	}
}
