package httpapi_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/ports"
)

// reader reads a stream of events.
type reader struct {
	t    *testing.T
	resp *http.Response
	in   *bufio.Scanner
}

type message struct{ id, event, data string }

// next is the next event, heartbeats and pings left out; false at the end of the stream.
func (r *reader) next() (m message, ok bool) {
	r.t.Helper()
	for r.in.Scan() {
		switch line := r.in.Text(); {
		case line == "" && m.event != "" && m.event != "heartbeat":
			return m, true
		case line == "":
			m = message{}
		case strings.HasPrefix(line, "id: "):
			m.id = line[4:]
		case strings.HasPrefix(line, "event: "):
			m.event = line[7:]
		case strings.HasPrefix(line, "data: "):
			m.data = line[6:]
		}
	}
	return m, false
}

func (r *reader) want(event, part string) message {
	r.t.Helper()
	m, ok := r.next()
	if !ok || m.event != event || !strings.Contains(m.data, part) {
		r.t.Fatalf("got %+v (%v); want %s with %s", m, ok, event, part)
	}
	return m
}

// streaming serves the service as the server is, with limits of time so short that they would end what stays open if they held for it.
func (s *service) streaming(t *testing.T) (base string, tethers *app.Tethers) {
	t.Helper()
	tethers = app.NewTethers(s.core, app.TethersOptions{MaxPerUser: 2})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); tethers.Run(ctx) }()
	live := app.NewLive(s.core.Journal, s.core.Stores.Events, plain{})
	s.core.Journal = live
	told := make(chan struct{})
	go func() { defer close(told); live.Run(ctx) }()
	s.all.Tethers, s.all.Live = tethers, live
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	server := httpapi.Server(httpapi.New(s.all, httpapi.Options{}).Handler(), nil)
	server.ReadTimeout, server.WriteTimeout, server.ReadHeaderTimeout = 2*time.Second, 2*time.Second, 2*time.Second
	go func() { _ = server.Serve(httpapi.Plain(l)) }()
	t.Cleanup(func() { cancel(); <-done; <-told; _ = server.Close() })
	return "http://" + l.Addr().String(), tethers
}

func follow(t *testing.T, url, text, last string) *reader {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", url, http.NoBody)
	check(t, err)
	r.Header.Set("Authorization", "Bearer "+text)
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Accept-Encoding", "gzip")
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(r)
	check(t, err)
	t.Cleanup(func() { _ = resp.Body.Close() })
	in := &reader{t, resp, bufio.NewScanner(resp.Body)}
	if resp.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(resp.Body)
		check(t, err)
		in.in = bufio.NewScanner(z)
	}
	in.in.Buffer(nil, 1<<20)
	return in
}

func TestEventStreams(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	s.user("root", account.RoleAdmin)
	base, tethers := s.streaming(t)
	user, boss := s.signIn("ann"), s.signIn("root")
	own := follow(t, base+"/api/v1/events", user.AccessToken, "")
	if ct := own.resp.Header.Get("Content-Type"); ct != "text/event-stream" || own.resp.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("the headers are %v", own.resp.Header)
	}
	all := follow(t, base+"/api/v1/admin/events", boss.AccessToken, "")
	<-time.After(2500 * time.Millisecond) // longer than the server's limits for what does not stay open
	s.signIn("ann")
	first := own.want("security", `"authentication_succeeded"`)
	all.want("security", `"authentication_succeeded"`)
	s.signIn("root") // ann is not told
	s.signIn("ann")
	again := follow(t, base+"/api/v1/events", user.AccessToken, first.id)
	m := own.want("security", `"authentication_succeeded"`)
	var e, e2 struct{ ID string }
	check(t, json.Unmarshal([]byte(m.data), &e))
	for e2.ID != e.ID { // what came before may come again
		m = again.want("security", `"authentication_succeeded"`)
		check(t, json.Unmarshal([]byte(m.data), &e2))
	}
	for _, foreign := range []string{"0", "garbage", first.id + "x"} {
		f := follow(t, base+"/api/v1/admin/events", boss.AccessToken, foreign)
		f.want("reset", "{}")
		_ = f.resp.Body.Close()
		for tethers.Open() > 3 {
			<-time.After(10 * time.Millisecond)
		}
	}
	third := follow(t, base+"/api/v1/events", user.AccessToken, "")
	if third.resp.StatusCode != 429 {
		t.Errorf("the third of two: %d", third.resp.StatusCode)
	}
	if r := follow(t, base+"/api/v1/admin/events", user.AccessToken, ""); r.resp.StatusCode != 403 {
		t.Errorf("everybody's for a user: %d", r.resp.StatusCode)
	}
	c, err := s.all.Guard.Admit(user.AccessToken)
	check(t, err)
	check(t, s.all.Sessions.Logout(t.Context(), app.Request{}, c))
	for _, r := range []*reader{own, again} {
		m, ok := r.next()
		if strings.Contains(m.data, `"permission_denied"`) { // of above; it may have come too late
			m, ok = r.next()
		}
		if want := `{"code":"token_revoked","reason":"logout"}`; !ok || m.event != "end" || m.data != want {
			t.Errorf("got %+v; want the end, %s", m, want)
		}
		if m, ok := r.next(); ok {
			t.Errorf("after the end came %+v", m)
		}
	}
	w := s.call("GET", "/api/v1/admin/events?limit=2", "", bearer(boss))
	var page struct {
		Items []struct{ Kind string }
		Next  string
	}
	if check(t, json.Unmarshal(w.Body.Bytes(), &page)); w.Code != 200 || len(page.Items) != 2 || page.Next == "" {
		t.Errorf("the list: %d %s", w.Code, w.Body)
	}
	success(t, operation{}, s.call("GET", "/api/v1/admin/events?cursor="+page.Next, "", bearer(boss)))
	wants(t, s.call("GET", "/api/v1/admin/events?cursor=AAAA", "", bearer(boss)), 422, "validation_failed")
}

// short is a store of events that answers one at a time, as one does for what is huge.
type short struct{ ports.Events }

func (s short) List(ctx context.Context, after uint64, _ int) ([]audit.Event, uint64, error) {
	return s.Events.List(ctx, after, 1)
}

// A page that is not full does not end the list of events while there are more.
func TestShortPagesOfEvents(t *testing.T) {
	s := newService(t)
	s.user("root", account.RoleAdmin)
	boss := s.signIn("root")
	s.all.Live = app.NewLive(s.core.Journal, short{s.core.Stores.Events}, plain{})
	s.h = httpapi.New(s.all, httpapi.Options{}).Handler()
	want, _, err := s.core.Stores.Events.List(t.Context(), 0, 100)
	check(t, err)
	var got []string
	for path := "/api/v1/admin/events"; path != "" && len(got) < 100; {
		w := s.call("GET", path, "", bearer(boss))
		var page struct {
			Items []struct{ ID string }
			Next  string
		}
		if check(t, json.Unmarshal(w.Body.Bytes(), &page)); w.Code != 200 {
			t.Fatalf("%s: %d %s", path, w.Code, w.Body)
		}
		for _, e := range page.Items {
			got = append(got, e.ID)
		}
		if path = ""; page.Next != "" {
			path = "/api/v1/admin/events?cursor=" + page.Next
		}
	}
	if len(want) < 2 || len(got) != len(want) || got[len(got)-1] != want[len(want)-1].ID.String() {
		t.Errorf("%d events in pages of one, want %d", len(got), len(want))
	}
}

func entryOf(n int) revocation.Entry {
	now := instant.Of(time.Now())
	return revocation.Entry{Kind: revocation.Session, Session: id.Session{byte(n), byte(n >> 8), 1}, Reason: revocation.SessionEnded, By: "operator", At: now, Until: now.Add(time.Hour)}
}

// Sockets and streams take no seat of a service that follows the feed.
func TestAFollowerFindsASeatAmongSockets(t *testing.T) {
	s := newService(t)
	s.user("root", account.RoleAdmin)
	base, tethers := s.streaming(t)
	boss := s.signIn("root").AccessToken
	c, err := s.all.Guard.Admit(boss)
	check(t, err)
	for range 2 { // as many as one user may have
		leave, err := tethers.Seat(app.EventSocket, c)
		check(t, err)
		defer leave()
	}
	if r := follow(t, base+"/api/v1/admin/events", boss, ""); r.resp.StatusCode != 429 {
		t.Errorf("a third stream: %d", r.resp.StatusCode)
	}
	for range 3 {
		follow(t, base+"/api/v1/revocations", boss, "").want("snapshot", "")
	}
	if n := tethers.OpenOf(app.FeedStream); n != 3 {
		t.Errorf("%d followers are open; want 3", n)
	}
}

func TestTheFeedForOtherServices(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	s.user("root", account.RoleAdmin)
	base, tethers := s.streaming(t)
	boss := s.signIn("root").AccessToken
	if r := follow(t, base+"/api/v1/revocations", s.signIn("ann").AccessToken, ""); r.resp.StatusCode != 403 {
		t.Errorf("for a user: %d", r.resp.StatusCode)
	}
	for n := range 1200 {
		s.core.View.Publish(t.Context(), entryOf(n))
	}
	f := follow(t, base+"/api/v1/revocations", boss, "")
	if f.resp.Header.Get("Content-Encoding") != "gzip" {
		t.Error("the snapshot is not compressed")
	}
	seen, place := map[string]bool{}, ""
	for more := true; more; {
		m := f.want("snapshot", `"entries":[`)
		var part struct {
			Entries []struct{ Kind, Value, Reason, At, Until string }
			More    bool
		}
		check(t, json.Unmarshal([]byte(m.data), &part))
		for _, e := range part.Entries {
			seen[e.Kind+e.Value] = e.Reason == "session_ended" && e.Until != ""
		}
		more, place = part.More, m.id
	}
	if len(seen) != 1200 || !seen["sid"+id.Session{1, 2, 1}.String()] || place == "" {
		t.Errorf("%d were told, place %q", len(seen), place)
	}
	s.core.View.Publish(t.Context(), entryOf(5000))
	m := f.want("revocation", id.Session{5000 & 0xff, 5000 >> 8, 1}.String())
	_ = f.resp.Body.Close()
	s.core.View.Publish(t.Context(), entryOf(5001))
	f = follow(t, base+"/api/v1/revocations", boss, m.id) // goes on
	f.want("revocation", fmt.Sprintf("%x", []byte{5001 & 0xff, 5001 >> 8, 1}))
	_ = f.resp.Body.Close()
	for tethers.Open() > 0 {
		<-time.After(10 * time.Millisecond)
	}
	for _, last := range []string{"0123456789abcdef.7", "garbage", m.id + "9999"} {
		f = follow(t, base+"/api/v1/revocations", boss, last)
		f.want("reset", "{}")
		f.want("snapshot", `"more":true`)
		_ = f.resp.Body.Close()
		for tethers.Open() > 0 {
			<-time.After(10 * time.Millisecond)
		}
	}
	f = follow(t, base+"/api/v1/revocations", boss, "")
	for range 3 {
		f.want("snapshot", "")
	}
	tethers.Stop()
	f.want("end", `"stopping"`)
}
