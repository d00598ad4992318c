package httpapi_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/ports"
)

const auditPath = "/api/v1/admin/audit"

// audited is a service with an administrator and n events of a hostile client beside the others.
func audited(t *testing.T, n int) (s *service, root string) {
	t.Helper()
	s = newService(t)
	s.user("root", account.RoleAdmin)
	root = bearer(s.signIn("root"))
	var events []audit.Event
	for i := range n {
		e := audit.Event{Time: instant.Of(time.Now()), Kind: audit.AuthenticationFailed, Severity: audit.Warning, Outcome: audit.Failure, Email: "x\r\n{\"seq\":1}\x00", IPAddress: "192.0.2.1",
			UserAgent: "\x1b[31m\u202efdp.exe\u2028\xff", Details: map[string]string{"n": fmt.Sprint(i), "long": strings.Repeat("é", i%50)}}
		_, _ = rand.Read(e.ID[:])
		events = append(events, e)
	}
	check(t, s.core.Stores.Events.Record(t.Context(), events...))
	return s, root
}

type shownPage struct {
	Items []struct {
		Seq     *uint64
		ID      id.Event
		Email   string
		Erased  bool
		Missing bool
		Details map[string]string // an object, as in every other place that events go
	}
	Next uint64 `json:"next_after"`
	Last uint64
}

func (s *service) auditPage(query, root string) (p shownPage) {
	s.t.Helper()
	w := s.call("GET", auditPath+query, "", root)
	if w.Code != 200 {
		s.t.Fatalf("%s: %d %s", query, w.Code, w.Body)
	}
	check(s.t, json.Unmarshal(w.Body.Bytes(), &p))
	return p
}

func TestTheAuditTrailIsReadInPages(t *testing.T) {
	s, root := audited(t, 130)
	p := s.auditPage("?after=0", root)
	if len(p.Items) != 50 || p.Items[0].Seq != nil || p.Last != 0 || p.Items[49].Details["n"] == "" {
		t.Errorf("before anything is linked: %d events, the first with number %v", len(p.Items), p.Items[0].Seq)
	}
	n, err := s.all.Trail.Link(t.Context())
	check(t, err)
	seen := 0
	for next := uint64(0); ; {
		p := s.auditPage(fmt.Sprintf("?limit=100&after=%d", next), root)
		if len(p.Items) == 0 {
			break
		}
		if len(p.Items) > 100 || p.Last != uint64(n) || *p.Items[0].Seq != next+1 {
			t.Fatalf("behind record %d: %d records from %d on, of %d", next, len(p.Items), *p.Items[0].Seq, p.Last)
		}
		seen, next = seen+len(p.Items), p.Next
	}
	if p := s.auditPage("?limit=1", root); seen != n || len(p.Items) != 1 || *p.Items[0].Seq != uint64(n) {
		t.Errorf("read %d of %d; the latest is %v", seen, n, p.Items)
	}
	if w := s.post("/api/v1/admin/audit/review", `{"note":"`+strings.Repeat("x", 501)+`"}`, root); wants(t, w, 422, "validation_failed")["errors"].([]any)[0].(map[string]any)["field"] != "note" {
		t.Errorf("a note that is too long: %s", w.Body)
	}
	for _, query := range []string{"?limit=101", "?limit=0", "?after=-1", "?after=x", "?after=18446744073709551616", "?cursor=1", "/export?format=xml", "/export?from=yesterday", "/export?to=" + strings.Repeat("9", 100),
		"/export?from=2026-05-02T00:00:00Z&to=2026-05-01T00:00:00Z"} {
		if w := s.call("GET", auditPath+query, "", root); w.Code != 422 {
			t.Errorf("%s: %d %s, want 422", query, w.Code, w.Body)
		}
	}
	if p := s.auditPage("?after=18446744073709551615", root); len(p.Items) != 0 {
		t.Errorf("behind the last number there is: %d items", len(p.Items))
	}
}

func TestAnExportIsOneLineARecordWhateverClientsSent(t *testing.T) {
	s, root := audited(t, 3)
	for _, format := range []string{"jsonl", "cef"} {
		w := s.call("GET", auditPath+"/export?format="+format, "", root)
		text := w.Body.String()
		if w.Code != 200 || strings.ContainsAny(text, "\r\x00\x1b\u202e\u2028") {
			t.Fatalf("%s: %d, or with what no terminal should see: %q", format, w.Code, text)
		}
		for line := range strings.Lines(text) {
			if format == "jsonl" && !json.Valid([]byte(line)) || format == "cef" && !strings.HasPrefix(line, "CEF:0|XTeam|XTeam|") {
				t.Errorf("%s: a line that is none: %q", format, line)
			}
		}
		if n := strings.Count(text, "\n"); n < 5 {
			t.Errorf("%s: %d lines", format, n)
		}
	}
}

// listened is a trail that counts how often it is read.
type listened struct {
	ports.Trail
	lists atomic.Int64
	list  func([]audit.Link) []audit.Link
}

func (c *listened) List(ctx context.Context, after uint64, limit int) ([]audit.Link, error) {
	c.lists.Add(1)
	l, err := c.Trail.List(ctx, after, limit)
	if c.list != nil {
		l = c.list(l)
	}
	return l, err
}

// leaves is a client that goes away once it has read something.
type leaves struct {
	*httptest.ResponseRecorder
	cancel context.CancelFunc
}

func (l leaves) Write(b []byte) (int, error) {
	l.cancel()
	return l.ResponseRecorder.Write(b)
}

func TestAnExportEndsWithItsClient(t *testing.T) {
	s, root := audited(t, 20*audit.MaxBatch)
	c := &listened{Trail: s.core.Stores.Trail}
	s.core.Stores.Trail = c
	_, err := s.all.Trail.Link(t.Context())
	check(t, err)
	c.lists.Store(0)
	ctx, cancel := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(ctx, "GET", auditPath+"/export", nil)
	name, value, _ := strings.Cut(root, ": ")
	r.Header.Set(name, value)
	aborted := false
	func() {
		defer func() { aborted = recover() == http.ErrAbortHandler }()
		s.h.ServeHTTP(leaves{httptest.NewRecorder(), cancel}, r)
	}()
	if n := c.lists.Load(); !aborted || n > 3 {
		t.Errorf("aborted: %v; of 20 pages %d were read for a client that had gone", aborted, n)
	}
}

func TestAnExportOfABrokenTrailHasNoEnd(t *testing.T) {
	s, root := audited(t, 30)
	_, err := s.all.Trail.Link(t.Context())
	check(t, err)
	s.core.Stores.Trail = &listened{Trail: s.core.Stores.Trail, list: func(l []audit.Link) []audit.Link {
		if len(l) > 12 {
			return append(l[:10:10], l[11:]...)
		}
		return l
	}}
	w := s.call("GET", auditPath+"/export", "", root)
	if w.Code != 200 || strings.Contains(w.Body.String(), `"checkpoint":"export"`) || !strings.Contains(w.Body.String(), `"seq":12`) {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
	w = s.call("GET", auditPath+"/verify", "", root)
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"ok":false`) || !strings.Contains(w.Body.String(), `record 11 is missing`) {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
}

func TestErasingIsForTheOperator(t *testing.T) {
	s, root := audited(t, 0)
	s.user("bob", account.RoleUser)
	if w := s.post(auditPath+"/erase", `{"user":"bob"}`, root); w.Code != 403 {
		t.Errorf("an administrator: %d %s", w.Code, w.Body)
	}
	s.h = httpapi.AsOperator(s.h)
	for body, want := range map[string]int{`{"user":"bob"}`: 200, `{"user":""}`: 422, `{}`: 422, `{"user":"nobody"}`: 404, `{"user":"` + strings.Repeat("x", 10000) + `"}`: 404} {
		if w := s.post(auditPath+"/erase", body); w.Code != want {
			t.Errorf("%.60s: %d %s, want %d", body, w.Code, w.Body, want)
		}
	}
	for _, item := range s.auditPage("?limit=100", root).Items {
		if item.Email == "bob@example.com" {
			t.Error("bob is still there")
		}
	}
}

// A checkpoint is no access token, and an access token no line of a trail.
func TestACheckpointIsNoToken(t *testing.T) {
	s, root := audited(t, 1)
	w := s.call("GET", auditPath+"/export", "", root)
	for line := range strings.Lines(w.Body.String()) {
		if w := s.call("GET", "/api/v1/users/me", "", "Authorization: Bearer "+strings.TrimSpace(line)); w.Code != 401 && w.Code != 400 {
			t.Errorf("a line as a token: %d", w.Code)
		}
	}
	_, token, _ := strings.Cut(root, "Bearer ")
	if _, err := audit.ParseLine([]byte(token)); err == nil {
		t.Error("a token as a line")
	}
	if _, err := audit.DecodeCheckpoint([]byte(token)); err == nil {
		t.Error("a token as a checkpoint")
	}
}

func TestReadinessTellsOfAuditThatIsBehind(t *testing.T) {
	s, _ := audited(t, 1)
	_, err := s.all.Trail.Link(t.Context())
	check(t, err)
	if w := s.call("GET", "/readyz", ""); w.Code != 200 || !strings.Contains(w.Body.String(), `"audit":{"status":"ok"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	s.core.Stores.Trail = unappendable{s.core.Stores.Trail}
	check(t, s.core.Stores.Events.Record(t.Context(), audit.Event{ID: id.Event{1}, Time: 1}))
	if _, err := s.all.Trail.Link(t.Context()); err == nil {
		t.Fatal("a trail that fails links")
	}
	if w := s.call("GET", "/readyz", ""); w.Code != 200 || !strings.Contains(w.Body.String(), `"audit":{"status":"degraded"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if st := s.all.Trail.Status(); st.Err == nil {
		t.Error("the status tells nothing of it")
	}
}

// TestReadinessTellsOfSinks: a place that takes no events is told of without its name, and turns no node away.
func TestReadinessTellsOfSinks(t *testing.T) {
	s, _ := audited(t, 1)
	if w := s.call("GET", "/readyz", ""); w.Code != 200 || strings.Contains(w.Body.String(), `"sinks"`) || strings.Contains(w.Body.String(), `"firewall"`) {
		t.Errorf("without any: %d %s", w.Code, w.Body)
	}
	var fails atomic.Bool
	sinks, err := app.NewSinks(s.core, nil, app.SinkOptions{Name: "planted-place", Sink: sinkFunc(func() error {
		if fails.Load() {
			return errors.New("planted-reason")
		}
		return nil
	})})
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); sinks.Run(ctx) }()
	defer func() { cancel(); <-done }()
	s.all.Sinks = sinks
	s.h = httpapi.New(s.all, httpapi.Options{}).Handler()
	says := func(status string) {
		t.Helper()
		deadline := time.Now().Add(10 * time.Second)
		for {
			w := s.call("GET", "/readyz", "")
			if w.Code != 200 || strings.Contains(w.Body.String(), "planted") || time.Now().After(deadline) {
				t.Fatalf("want %s: %d %s", status, w.Code, w.Body)
			}
			if strings.Contains(w.Body.String(), `"sinks":{"status":"`+status+`"`) {
				return
			}
		}
	}
	says("ok")
	fails.Store(true)
	check(t, s.core.Stores.Events.Record(t.Context(), audit.Event{ID: id.Event{1}, Time: 1, Kind: audit.TokenRevoked}))
	says("degraded")
	fails.Store(false)
	says("ok")
}

type sinkFunc func() error

func (f sinkFunc) Deliver(context.Context, ...audit.Event) error { return f() }

type unappendable struct{ ports.Trail }

func (unappendable) Append(context.Context, audit.Checkpoint, []audit.Link, audit.Checkpoint) error {
	return ports.ErrUnavailable
}
