package httpapi_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/token"
)

// wire serves h on a free port, as a listener has it, and answers the address.
func wire(t *testing.T, h http.Handler, as func(net.Listener) net.Listener) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	srv := httpapi.Server(h, slog.New(slog.DiscardHandler))
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(as(l)) }()
	t.Cleanup(func() { _ = srv.Close(); <-ended })
	return l.Addr().String()
}

func bare(l net.Listener) net.Listener { return l }

// said is everything that a server says to a text, until it closes the connection.
func said(t *testing.T, address, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	check(t, err)
	defer c.Close()
	_, err = io.WriteString(c, text)
	check(t, err)
	all, err := io.ReadAll(c)
	check(t, err)
	return string(all)
}

// answersIn parts what was said to what was asked into answers: status lines and, below each, its headers in order, without the values that differ each time.
func answersIn(t *testing.T, asked, text string) (all []string) {
	t.Helper()
	in := bufio.NewReader(strings.NewReader(text))
	method, _, _ := strings.Cut(asked, " ")
	for {
		if _, err := in.Peek(1); err == io.EOF {
			return all
		}
		got, err := http.ReadResponse(in, &http.Request{Method: method})
		check(t, err)
		if got.StatusCode >= 200 {
			_, err = io.Copy(io.Discard, got.Body)
			check(t, err)
		}
		var b strings.Builder
		fmt.Fprintln(&b, got.Proto, got.Status)
		for _, name := range slices.Sorted(maps.Keys(got.Header)) {
			if name == "Date" || name == "X-Request-Id" {
				got.Header[name] = []string{"?"}
			}
			fmt.Fprintln(&b, name, strings.Join(got.Header[name], " | "))
		}
		all = append(all, b.String())
	}
}

// TestStandingLines: over a Plain listener every answer has the headers that it has over any other, each once.
func TestStandingLines(t *testing.T) {
	s := newService(t, httpapi.Options{Origins: origins(t, "https://app.test"),
		Proxies: httpapi.Proxies{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}})
	s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	apart, together := wire(t, s.h, httpapi.Plain), wire(t, s.h, bare)
	const host, last = " HTTP/1.1\r\nHost: x\r\n", "Connection: close\r\n\r\n"
	good := "Authorization: Bearer " + p.AccessToken + "\r\n"
	login := `{"username":"ann","password":"wrong"}`
	post := fmt.Sprintf("POST /api/v1/auth/login%sContent-Type: application/json\r\nContent-Length: %d\r\n", host, len(login))
	for name, text := range map[string]string{
		"verify head": "HEAD /api/v1/auth/verify,role=user/x" + host + good + last,
		"verify not":  "GET /api/v1/auth/verify,role=admin" + host + good + last,
		"guarded":     "GET /api/v1/users/me" + host + good + last,
		"head":        "HEAD /api/v1/users/me" + host + good + last,
		"HTTP/1.0":    "GET /api/v1/users/me HTTP/1.0\r\n" + good + "\r\n",
		"over TLS":    "GET /api/v1/users/me" + host + good + "X-Forwarded-Proto: https\r\n" + last,
		"verify":      "GET /api/v1/auth/verify" + host + good + last,
		"refused":     "GET /api/v1/users/me" + host + last,
		"unknown":     "GET /nothing" + host + last,
		"method":      "PUT /api/v1/users/me" + host + last,
		"preflight":   "OPTIONS /api/v1/users/me" + host + "Origin: https://app.test\r\nAccess-Control-Request-Method: GET\r\n" + last,
		"origin":      "GET /api/v1/users/me" + host + "Origin: https://app.test\r\n" + good + last,
		"continue":    post + "Expect: 100-continue\r\n" + last + login,
		"too large":   strings.Replace(post, "Content-Length: ", "Content-Length: 999999", 1) + last,
		"no request":  "GET / HTTP/1.1\r\n\r\n",
		"one another": post + "\r\n" + login + "GET /health" + host + "\r\nGET /api/v1/users/me" + host + good + "\r\nGET nonsense\r\n\r\n",
	} {
		want, got := answersIn(t, text, said(t, together, text)), answersIn(t, text, said(t, apart, text))
		if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
			t.Errorf("%s: %s", name, diff)
		}
	}
	leave := "POST /api/v1/auth/logout" + host + "Authorization: Bearer " + s.signIn("ann").AccessToken + "\r\n" + last
	out := answersIn(t, leave, said(t, apart, leave))
	if len(out) != 1 || !strings.HasPrefix(out[0], "HTTP/1.1 204") || strings.Count(out[0], "X-Frame-Options DENY\n") != 1 {
		t.Errorf("no content: got %q, want one 204 with the headers of every answer", out)
	}
}

// TestLinesOfALimitedAnswer: what the limits say, and the request's own id, is the same over a Plain listener as over another.
func TestLinesOfALimitedAnswer(t *testing.T) {
	l := newLimited(t, app.LimiterOptions{PerAddress: 1000, Read: 11})
	l.user("ann", account.RoleUser)
	ask := "GET /api/v1/users/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Request-Id: mine\r\nAuthorization: Bearer " + l.tokens("ann").AccessToken + "\r\n\r\n"
	together, apart := wire(t, l.h, bare), wire(t, l.h, httpapi.Plain)
	for n := 10; n > 0; n -= 2 {
		want, raw := answersIn(t, ask, said(t, together, ask)), said(t, apart, ask)
		now := strings.NewReplacer(fmt.Sprintf(";r=%d;", n), fmt.Sprintf(";r=%d;", n-1), fmt.Sprintf("Remaining %d\n", n), fmt.Sprintf("Remaining %d\n", n-1))
		if diff := cmp.Diff(now.Replace(want[0]), answersIn(t, ask, raw)[0]); diff != "" || !strings.Contains(want[0], fmt.Sprintf("X-Ratelimit-Remaining %d\n", n)) {
			t.Errorf("%d left: %s", n, diff)
		}
		if strings.Count(raw, "\r\nX-Request-Id: mine\r\n") != 1 {
			t.Errorf("got %q, want the request's own id once", raw)
		}
	}
	want, got := said(t, together, ask), said(t, apart, ask)
	if !strings.HasPrefix(want, "HTTP/1.1 200") {
		t.Errorf("got %q, want the eleventh", want)
	}
	if want, got = answersIn(t, ask, said(t, together, ask))[0], answersIn(t, ask, got)[0]; cmp.Diff(want, got) != "" || !strings.HasPrefix(got, "HTTP/1.1 429") {
		t.Errorf("refused: %s", cmp.Diff(want, got))
	}
}

// TestStandingLinesOfHandlers: they are there once, whatever way a handler has of answering, and nowhere but in answers.
func TestStandingLinesOfHandlers(t *testing.T) {
	s := newService(t)
	const ask = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
	for name, try := range map[string]struct {
		text string
		h    http.HandlerFunc
		want []string // the beginnings of the answers
	}{
		"says nothing":  {ask + "\r\nhi", func(http.ResponseWriter, *http.Request) {}, []string{"HTTP/1.1 200"}},
		"writes only":   {ask + "\r\nhi", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") }, []string{"HTTP/1.1 200"}},
		"writes much":   {ask + "\r\nhi", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<17)) }, []string{"HTTP/1.1 200"}},
		"flushes first": {ask + "\r\nhi", func(w http.ResponseWriter, _ *http.Request) { _ = http.NewResponseController(w).Flush() }, []string{"HTTP/1.1 200"}},
		"twice":         {ask + "\r\nhi", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404); w.WriteHeader(200) }, []string{"HTTP/1.1 404"}},
		"many headers":  {ask + "\r\nhi", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Long", strings.Repeat("x", 9000)) }, []string{"HTTP/1.1 200"}},
		"reads on": {ask + "Expect: 100-continue\r\n\r\nhi", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) },
			[]string{"HTTP/1.1 100", "HTTP/1.1 200"}},
		"early hints":    {ask + "\r\nhi", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(201) }, []string{"HTTP/1.1 103", "HTTP/1.1 201"}},
		"panics":         {ask + "\r\nhi", func(http.ResponseWriter, *http.Request) { panic("oh") }, []string{"HTTP/1.1 500"}},
		"has its own id": {ask + "\r\nhi", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Request-Id", "mine") }, []string{"HTTP/1.1 200"}},
		"has its own":    {ask + "\r\nhi", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Frame-Options", "DENY") }, []string{"HTTP/1.1 200"}},
	} {
		got := said(t, wire(t, s.h.(*httpapi.API).Through(try.h), httpapi.Plain), strings.Replace(try.text, "Host: x", "Host: x\r\nConnection: close", 1))
		answers := answersIn(t, try.text, got)
		if len(answers) != len(try.want) {
			t.Errorf("%s: got %q, want %d answers", name, got, len(try.want))
			continue
		}
		for i, a := range answers {
			times := 1
			if strings.HasPrefix(a, "HTTP/1.1 1") {
				times = 0
			}
			if n := strings.Count(a, "X-Frame-Options DENY\n"); n != times || strings.Count(a, "X-Request-Id ?\n") != times || strings.Count(a, "Cache-Control no-store\n") != times || !strings.HasPrefix(a, try.want[i]) {
				t.Errorf("%s: got %q, want %s with the headers %d times", name, a, try.want[i], times)
			}
		}
	}
}

// TestEveryAnswerVariesByOrigin: a handler that names other headers by which its answer varies does not take that one away, over whatever listener.
func TestEveryAnswerVariesByOrigin(t *testing.T) {
	s := newService(t)
	for name, h := range map[string]http.HandlerFunc{
		"adds": func(w http.ResponseWriter, _ *http.Request) { w.Header().Add("Vary", "Accept") },
		"sets": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Vary", "Accept") },
		"both": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Vary", "Origin, Accept") },
	} {
		for on, as := range map[string]func(net.Listener) net.Listener{"apart": httpapi.Plain, "together": bare} {
			const ask = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
			answer := answersIn(t, ask, said(t, wire(t, s.h.(*httpapi.API).Through(h), as), ask))[0]
			if is := strings.ReplaceAll(answer, " | ", ", "); !strings.Contains(is, "\nVary Origin, Accept\n") {
				t.Errorf("%s, %s: got %q, want it to vary by Origin and Accept", name, on, answer)
			}
		}
	}
}

// TestAHijackedConnection: whoever takes the connection over writes what they like.
func TestAHijackedConnection(t *testing.T) {
	s := newService(t)
	address := wire(t, s.h.(*httpapi.API).Through(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "something else")
	}), httpapi.Plain)
	if got := said(t, address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); got != "something else" {
		t.Errorf("got %q", got)
	}
}

// TestNoAnswerWithoutItsHeaders: what does not begin as an answer does is not written while one is due.
func TestNoAnswerWithoutItsHeaders(t *testing.T) {
	for _, text := range []string{"", "Content-Type: text/plain\r\n\r\n", "HTTP/1.1 200 OK"} {
		if n, err := httpapi.Due(nil, []byte(text)); n != 0 || err == nil {
			t.Errorf("%q: wrote %d bytes, %v", text, n, err)
		}
	}
}

// TestAHeaderIsOneLine: a value that would end its line is no header of an answer, and no answer.
func TestAHeaderIsOneLine(t *testing.T) {
	if b, err := httpapi.NotOneLine("id", `"read";q=1;w=60`); err != nil || !strings.Contains(string(b), "\r\nX-Request-Id: id\r\n") {
		t.Errorf("got %q, %v", b, err)
	}
	for _, bad := range []string{"\r", "\n", "a\r\nSet-Cookie: b=c"} {
		if b, err := httpapi.NotOneLine(bad, "read"); err == nil {
			t.Errorf("an id %q: got %q", bad, b)
		}
		for _, claims := range []token.Claims{{Scope: bad}, {Roles: []string{"user", bad}}} {
			if b, err := httpapi.NotOneLineOf(&claims); err == nil {
				t.Errorf("the claims %+v became %q", claims, b)
			}
		}
		if b, err := httpapi.NotOneLine("id", bad); err == nil {
			t.Errorf("a limit %q: got %q", bad, b)
		}
	}
}

// TestAnotherRemoteAddrHolds: what knows better than the socket, such as a proxy protocol of an embedding program's own, changes RemoteAddr, over a Plain listener too.
func TestAnotherRemoteAddrHolds(t *testing.T) {
	s := newService(t)
	limits, err := app.NewLimiter(memstore.NewBuckets(memstore.BucketsOptions{}), s.core.Journal, s.core.Random, app.LimiterOptions{PerAddress: 1, Now: s.core.Now})
	check(t, err)
	h := httpapi.New(httpapi.Services{Guard: app.NewGuard(s.core), View: s.core.View, Limiter: limits, Probe: func(context.Context) error { return nil }}, httpapi.Options{}).Handler()
	var from atomic.Pointer[string]
	addr := wire(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a := from.Load(); a != nil {
			r.RemoteAddr = *a
		}
		h.ServeHTTP(w, r)
	}), httpapi.Plain)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	first, second := "192.0.2.1:5", "192.0.2.2:5"
	for _, step := range []struct {
		from *string
		want int
	}{{nil, 404}, {nil, 429}, {&first, 404}, {&first, 429}, {&second, 404}, {nil, 429}} {
		from.Store(step.from)
		resp, err := client.Get("http://" + addr + "/nothing")
		check(t, err)
		_, _ = io.Copy(io.Discard, resp.Body)
		check(t, resp.Body.Close())
		if resp.StatusCode != step.want {
			t.Errorf("from %v: %d, want %d", step.from, resp.StatusCode, step.want)
		}
	}
}
