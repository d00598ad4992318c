package graphqlapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam"
)

// soon is how long anything may take that is sure to come.
const soon = 20 * time.Second

// socket is a client's. It is read all the while, so that the server's pings are answered however slow the test is.
type socket struct {
	t    *testing.T
	conn *websocket.Conn
	in   chan heard
}

// heard is a message, or why there are no more.
type heard struct {
	text []byte
	err  error
}

// dial opens a socket to a server of the system's handler.
func dial(t *testing.T, url string, protocols ...string) *socket {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, strings.Replace(url, "http", "ws", 1)+"/graphql", &websocket.DialOptions{Subprotocols: protocols})
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(1 << 20)
	c, over := &socket{t, conn, make(chan heard, 1000)}, make(chan struct{})
	t.Cleanup(func() { close(over); _ = conn.CloseNow() })
	go func() {
		for {
			_, text, err := conn.Read(context.Background())
			select {
			case c.in <- heard{text, err}:
			case <-over:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return c
}

func (c *socket) say(text string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), soon)
	defer cancel()
	if err := c.conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

// hear is the next message, or how the socket was closed.
func (c *socket) hear() (m map[string]any, closed *websocket.CloseError) {
	c.t.Helper()
	next := c.next()
	if over := (websocket.CloseError{}); errors.As(next.err, &over) {
		return nil, &over
	}
	if next.err != nil {
		c.t.Fatal(next.err)
	}
	if err := json.Unmarshal(next.text, &m); err != nil {
		c.t.Fatal(err)
	}
	return m, nil
}

func (c *socket) next() heard {
	c.t.Helper()
	select {
	case next := <-c.in:
		return next
	case <-time.After(soon):
		c.t.Fatal("nothing is heard, and the socket is open")
		return heard{}
	}
}

// hears wants a message of that type.
func (c *socket) hears(kind string) map[string]any {
	c.t.Helper()
	m, closed := c.hear()
	if closed != nil || m["type"] != kind {
		c.t.Fatalf("got %v %v, want %s", m, closed, kind)
	}
	return m
}

// ends wants the socket closed with that code and reason.
func (c *socket) ends(code websocket.StatusCode, reason string) {
	c.t.Helper()
	for {
		m, closed := c.hear()
		if closed == nil && m["type"] != "next" {
			c.t.Errorf("got %v, want the end", m)
		}
		if closed != nil {
			if closed.Code != code || closed.Reason != reason {
				c.t.Errorf("closed with %d %q, want %d %q", closed.Code, closed.Reason, code, reason)
			}
			return
		}
	}
}

// begin opens a socket with a token.
func begin(t *testing.T, url, token string) *socket {
	t.Helper()
	c := dial(t, url, "graphql-transport-ws")
	c.say(`{"type":"connection_init","payload":{"Authorization":"Bearer ` + token + `"}}`)
	c.hears("connection_ack")
	return c
}

func serving(t *testing.T, o xteam.Options) (*system, string) {
	t.Helper()
	s := newSystem(t, o)
	server := httptest.NewServer(s.h)
	t.Cleanup(server.Close)
	return s, server.URL
}

func TestSubscriptionsEndWithTheirToken(t *testing.T) {
	s, url := serving(t, xteam.Options{})
	ann, bea, root := s.User("ann"), s.User("bea"), s.Admin("root")
	token, _ := s.SignIn(ann)
	boss, _ := s.SignIn(root)
	own, all := begin(t, url, token), begin(t, url, boss)
	for _, c := range []*socket{own, all} {
		c.say(`{"id":"1","type":"subscribe","payload":{"query":"subscription { securityEvents { kind subject } }"}}`)
		c.say(`{"type":"ping"}`)
		c.hears("pong")
		c.say(`{"id":"2","type":"subscribe","payload":{"query":"{ me { username } }"}}`)
		c.hears("next")
		c.hears("complete")
	}
	s.SignIn(bea)
	s.SignIn(ann)
	at := func(m map[string]any) map[string]any {
		return m["payload"].(map[string]any)["data"].(map[string]any)["securityEvents"].(map[string]any)
	}
	if e := at(own.hears("next")); e["kind"] != "authentication_succeeded" || e["subject"] != ann.ID.String() {
		t.Errorf("a user is told of others: %v", e)
	}
	if e := at(all.hears("next")); e["subject"] != bea.ID.String() {
		t.Errorf("an administrator is not told of everybody: %v", e)
	}
	before := time.Now()
	wants(t, s.ask(`mutation { revokeUserTokens(userId: "ann") { sessionsEnded } }`, nil, bearer(boss)))
	own.ends(4401, "token_revoked: user_revoked")
	if took := time.Since(before); took > soon/2 {
		t.Errorf("it took %v", took)
	}
	again := dial(t, url, "graphql-transport-ws")
	again.say(`{"type":"connection_init","payload":{"Authorization":"Bearer ` + token + `"}}`)
	again.ends(4401, "token_revoked: user_revoked")
	token, _ = s.SignIn(ann)
	begin(t, url, token)
}

// TestHandshakes: what opens no WebSocket is refused as everything is, and the library has no word in it.
func TestHandshakes(t *testing.T) {
	s := newSystem(t, xteam.Options{})
	const upgrade, version, key = "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
	for _, heads := range [][]string{{upgrade}, {upgrade, version, key}, {upgrade, "Connection: close", version, key}, {upgrade, "Connection: Upgrade", version}, {upgrade, "Connection: Upgrade", version, "Sec-WebSocket-Key: abc"},
		{upgrade, "Connection: Upgrade", "Sec-WebSocket-Version: 13, 8", key}, {upgrade, "Connection: Upgrade", "Sec-WebSocket-Version: 8", key}} {
		if a := s.send("GET", "/graphql", "", heads...); a.status != 426 || a.header.Get("Content-Type") != "application/problem+json" || a.header.Get("Sec-WebSocket-Version") != "13" {
			t.Errorf("%q: %d %s", heads, a.status, a.text)
		}
	}
	token, _ := s.SignIn(s.User("ann"))
	for _, head := range []string{"Authorization: Bearer " + token, "X-API-Key: abc"} { // it is told where the credential goes, and a good one is not repeated
		a := s.send("GET", "/graphql", "", upgrade, "Connection: Upgrade", version, key, head)
		if a.status != 400 || !strings.Contains(a.text, `"malformed_request"`) || !strings.Contains(a.text, "connection_init") || strings.Contains(a.text, "not two") || strings.Contains(a.text, token) {
			t.Errorf("%.30q: %d %s", head, a.status, a.text)
		}
	}
}

func TestSocketsOfBadManners(t *testing.T) {
	s, url := serving(t, xteam.Options{})
	ann := s.User("ann")
	token, _ := s.SignIn(ann)
	for name, c := range map[string]struct {
		say    []string
		code   websocket.StatusCode
		reason string
	}{
		"no init":              {[]string{`{"id":"1","type":"subscribe","payload":{"query":"{ __typename }"}}`}, 4401, "connection_init comes first"},
		"no JSON":              {[]string{`{`}, 4400, "a message must be one JSON object of the protocol"},
		"an array":             {[]string{`[]`}, 4400, "a message must be one JSON object of the protocol"},
		"a member twice":       {[]string{`{"type":"ping","type":"pong"}`}, 4400, "a message must be one JSON object of the protocol"},
		"no UTF-8":             {[]string{"{\"type\":\"\xff\"}"}, 4400, "a message must be one JSON object of the protocol"},
		"an unknown type":      {[]string{`{"type":"start"}`}, 4400, "there is no message of that type"},
		"garbage for a token":  {[]string{`{"type":"connection_init","payload":{"token":"garbage"}}`}, 4401, "token_malformed"},
		"two tokens":           {[]string{`{"type":"connection_init","payload":{"token":"a","Authorization":"Bearer b"}}`}, 4400, `connection_init takes one token, as {"Authorization": "Bearer …"}`},
		"a token of no string": {[]string{`{"type":"connection_init","payload":{"token":1}}`}, 4400, `connection_init takes one token, as {"Authorization": "Bearer …"}`},
		"init twice":           {[]string{`{"type":"connection_init"}`, `{"type":"connection_init"}`}, 4429, "too many initialisation requests"},
		"no id":                {[]string{`{"type":"connection_init"}`, `{"type":"subscribe","payload":{"query":"{ __typename }"}}`}, 4400, "an operation needs an id of at most 64 bytes"},
		"no payload":           {[]string{`{"type":"connection_init"}`, `{"type":"subscribe","id":"1"}`}, 4400, "the payload of subscribe is one operation"},
	} {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, url, "graphql-transport-ws")
			for i, text := range c.say {
				if i > 0 {
					conn.hears("connection_ack")
				}
				conn.say(text)
			}
			conn.ends(c.code, c.reason)
		})
	}
	c := begin(t, url, token)
	c.say(`{"id":"1","type":"subscribe","payload":{"query":"subscription { securityEvents { kind } }"}}`)
	c.say(`{"id":"1","type":"subscribe","payload":{"query":"{ __typename }"}}`)
	c.ends(4409, "an operation of that id runs")

	c = begin(t, url, token)
	for i := range 17 {
		c.say(fmt.Sprintf(`{"id":"%d","type":"subscribe","payload":{"query":"subscription { securityEvents { kind } }"}}`, i))
	}
	if m := c.hears("error"); m["id"] != "16" {
		t.Errorf("%v", m)
	}
	c.say(`{"id":"3","type":"complete"}`)
	c.say(`{"id":"x","type":"subscribe","payload":{"query":"{ nothing }"}}`)
	c.hears("error")

	c = dial(t, url, "graphql-transport-ws") // anybody's
	c.say(`{"type":"connection_init","payload":{}}`)
	c.hears("connection_ack")
	c.say(`{"id":"1","type":"subscribe","payload":{"query":"subscription { securityEvents { kind } }"}}`)
	if m := c.hears("error"); !strings.Contains(fmt.Sprint(m), "UNAUTHENTICATED") {
		t.Errorf("%v", m)
	}
	c.say(`{"id":"2","type":"subscribe","payload":{"query":"{ me { id } }"}}`)
	if m := c.hears("next"); !strings.Contains(fmt.Sprint(m), "token_missing") {
		t.Errorf("%v", m)
	}
	c.hears("complete")
	for _, q := range []string{`"query":"subscription { a: securityEvents { kind } b: securityEvents { kind } }"`, `"query":"subscription($x: Boolean!) { securityEvents @skip(if: $x) { kind } }","variables":{"x":true}`} {
		c.say(`{"id":"3","type":"subscribe","payload":{` + q + `}}`)
		if m := c.hears("error"); !strings.Contains(fmt.Sprint(m), "GRAPHQL_VALIDATION_FAILED") {
			t.Errorf("%s: %v", q, m)
		}
	}
	if log := s.log.String(); strings.Contains(log, "level=ERROR") {
		t.Errorf("the log tells of a fault: %s", log)
	}
	big := dial(t, url, "graphql-transport-ws")
	// The server does not wait for the end of it: the client may still be writing when the socket is gone.
	_ = big.conn.Write(t.Context(), websocket.MessageText, []byte(`{"type":"ping","payload":{"x":"`+strings.Repeat("x", 200<<10)+`"}}`))
	err := big.next().err
	if code := websocket.CloseStatus(err); err == nil || code != -1 && code != websocket.StatusMessageTooBig {
		t.Errorf("too long a message: %v", err)
	}
}

// TestAnIDAgain: an id is free for another operation from the last word about the one before on, whoever has it.
func TestAnIDAgain(t *testing.T) {
	s, url := serving(t, xteam.Options{})
	token, _ := s.SignIn(s.User("ann"))
	c := begin(t, url, token)
	for range 15 {
		c.say(`{"id":"1","type":"subscribe","payload":{"query":"{ nothing }"}}`)
		c.hears("error")
		c.say(`{"id":"1","type":"subscribe","payload":{"query":"{ __typename }"}}`)
		c.hears("next")
		c.hears("complete")
		c.say(`{"id":"1","type":"subscribe","payload":{"query":"subscription { securityEvents { kind } }"}}`)
		c.say(`{"id":"1","type":"complete"}`)
	}
}

// frame is a masked one, with a key of zeros, of at most 65,535 bytes.
func frame(first byte, payload string) string {
	size := string([]byte{0x80 | byte(len(payload))})
	if len(payload) > 125 {
		size = string([]byte{0x80 | 126, byte(len(payload) >> 8), byte(len(payload))})
	}
	return string([]byte{first}) + size + "\x00\x00\x00\x00" + payload
}

// TestHostileFrames: what breaks the protocol of WebSockets, or floods one, ends it at once, and takes no memory.
func TestHostileFrames(t *testing.T) {
	_, url := serving(t, xteam.Options{})
	init := frame(0x81, `{"type":"connection_init"}`)
	for name, c := range map[string]struct {
		protocol, sent string
		code           int
	}{
		"unmasked":               {"graphql-transport-ws", "\x81\x02{}", -1},
		"compressed, not agreed": {"graphql-transport-ws", init + frame(0xc1, "bomb"), 1002},
		"fragments without end":  {"graphql-transport-ws", init + frame(0x01, "{") + strings.Repeat(frame(0x00, strings.Repeat(" ", 60_000)), 4), 1009},
		"a fragmented ping":      {"graphql-transport-ws", init + frame(0x09, "a"), 1002},
		"a long ping":            {"graphql-transport-ws", init + frame(0x89, strings.Repeat("a", 126)), 1002},
		"an unknown opcode":      {"graphql-transport-ws", init + frame(0x83, ""), 1002},
		"binary":                 {"graphql-transport-ws", init + frame(0x82, "{}"), 4400},
		"a close without a code": {"graphql-transport-ws", init + frame(0x88, ""), 0},
		"a flood of pings":       {"graphql-transport-ws", init + strings.Repeat(frame(0x89, "a"), 400), 1008},
		"a flood of messages":    {"graphql-transport-ws", init + strings.Repeat(frame(0x81, `{"type":"pong"}`), 400), 1008},
		"another subprotocol":    {"graphql-ws", "", 4406},
		"none":                   {"", "", 4406},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(soon))
			asks := "GET /graphql HTTP/1.1\r\nHost: " + strings.TrimPrefix(url, "http://") + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
			if c.protocol != "" {
				asks += "Sec-WebSocket-Protocol: " + c.protocol + "\r\n"
			}
			go func() { _, _ = io.WriteString(conn, asks+"\r\n"+c.sent) }() // the server may not read to the end
			br := bufio.NewReader(conn)
			r, err := http.ReadResponse(br, nil)
			if err != nil || r.StatusCode != http.StatusSwitchingProtocols || r.Header.Get("Sec-WebSocket-Extensions") != "" {
				t.Fatal(r, err)
			}
			if got := closed(br); got != c.code {
				t.Errorf("closed with %d; want %d", got, c.code)
			}
		})
	}
}

// TestSocketsThatAreLeft: one that never begins is closed after ten seconds, and of those whose clients go without a word nothing is left.
func TestSocketsThatAreLeft(t *testing.T) {
	s, url := serving(t, xteam.Options{MaxConnectionsPerUser: 1000})
	token, _ := s.SignIn(s.User("ann"))
	begin(t, url, token) // what is made once
	silent, begun := dial(t, url, "graphql-transport-ws"), time.Now()
	before := runtime.NumGoroutine()
	var all []*socket
	for range 200 {
		c := begin(t, url, token)
		c.say(`{"id":"1","type":"subscribe","payload":{"query":"subscription { securityEvents { kind } }"}}`)
		c.say(`{"type":"ping"}`)
		c.hears("pong")
		all = append(all, c)
	}
	if n := runtime.NumGoroutine(); n < before+400 { // a reader of the client's for each, and the server's own
		t.Fatalf("%d goroutines before, and %d with 200 sockets: they are not counted so", before, n)
	}
	for _, c := range all {
		_ = c.conn.CloseNow()
	}
	tick, left := time.NewTicker(10*time.Millisecond), time.Now()
	defer tick.Stop()
	for runtime.NumGoroutine() > before+5 {
		if <-tick.C; time.Since(left) > soon {
			t.Fatalf("%d goroutines before, and %d after", before, runtime.NumGoroutine())
		}
	}
	silent.ends(4408, "connection_init did not come in time")
	if took := time.Since(begun); took < 9*time.Second {
		t.Errorf("a socket that says nothing was closed after %v", took)
	}
}

// closed reads until the close frame, and answers its code; 0 where it has none, and -1 where the connection was cut off without one.
func closed(br *bufio.Reader) int {
	for {
		head := make([]byte, 2)
		if _, err := io.ReadFull(br, head); err != nil {
			return -1
		}
		body := make([]byte, head[1]&0x7f)
		if _, err := io.ReadFull(br, body); err != nil {
			return -1
		}
		switch {
		case head[0] == 0x88 && len(body) < 2:
			return 0
		case head[0] == 0x88:
			return int(body[0])<<8 | int(body[1])
		}
	}
}

// TestGuessesOverSockets: fifty sign-ins over one socket, or over five, are five attempts.
func TestGuessesOverSockets(t *testing.T) {
	for _, sockets := range []int{1, 5} {
		t.Run(fmt.Sprint(sockets), func(t *testing.T) {
			s, url := serving(t, xteam.Options{Limits: app.LimiterOptions{PerAddress: 10_000, Auth: 5, Read: 1000, Write: 1000}})
			ann := s.User("ann")
			var all []*socket
			for range sockets {
				c := dial(t, url, "graphql-transport-ws")
				c.say(`{"type":"connection_init"}`)
				c.hears("connection_ack")
				all = append(all, c)
			}
			count := map[string]int{}
			began := time.Now()
			for i := range 50 {
				c := all[i%sockets]
				c.say(fmt.Sprintf(`{"id":"%d","type":"subscribe","payload":{"query":"mutation { login(input: {email: \"%s\", password: \"a wrong password\"}) { accessToken } }"}}`, i, ann.Email))
				m := c.hears("next")
				for _, code := range []string{"UNAUTHENTICATED", "RATE_LIMITED"} {
					if strings.Contains(fmt.Sprint(m), code) {
						count[code]++
					}
				}
				c.hears("complete")
			}
			later := int(time.Since(began) / (12 * time.Second)) // what comes back of five a minute
			if n := count["UNAUTHENTICATED"]; n < 5 || n > 5+later || n+count["RATE_LIMITED"] != 50 {
				t.Errorf("%v, want 5 guesses and at most %d more", count, later)
			}
		})
	}
}
