package wsfeed_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
)

// service is a system that is served as the server serves it.
type service struct {
	t    *testing.T
	x    *xteam.XTeam
	addr string
	log  syncBuffer
	skew atomic.Int64
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newService(t *testing.T, change ...func(*xteam.Options)) *service {
	t.Helper()
	s := &service{t: t}
	log := slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	o := xteam.Options{Dir: t.TempDir(), BcryptCost: 10, Logger: log, Limits: app.LimiterOptions{Mode: app.Off}, MinFreeSpace: -1, Now: func() time.Time { return time.Now().Add(time.Duration(s.skew.Load())) }}
	for _, f := range change {
		f(&o)
	}
	x, err := xteam.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	s.x = x
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := httpapi.Server(x.Handler(), log)
	go func() { _ = server.Serve(httpapi.Plain(l)) }()
	s.addr = l.Addr().String()
	t.Cleanup(func() { x.Close(); _ = server.Close() })
	return s
}

var here = app.Request{ID: "test", Origin: session.Origin{Address: netip.MustParseAddr("127.0.0.1")}}

// user makes an account, and signs it in.
func (s *service) user(name string, role account.Role) string {
	s.t.Helper()
	email, err1 := account.ParseEmail(name + "@example.com")
	username, err2 := account.ParseUsername(name)
	login, err3 := account.ParseLogin("", name)
	if err := errors.Join(err1, err2, err3); err != nil {
		s.t.Fatal(err)
	}
	ctx, password := context.Background(), secret.New("correct horse battery")
	if _, err := s.x.Accounts().Create(ctx, app.Actor{Name: app.Operator, Request: here}, app.Registration{Email: email, Username: username, Password: password}, role); err != nil {
		s.t.Fatal(err)
	}
	tk, err := s.x.Sessions().Login(ctx, here, login, password)
	if err != nil {
		s.t.Fatal(err)
	}
	return tk.Access.RevealPlaintext()
}

func (s *service) logout(text string) {
	s.t.Helper()
	c, err := s.x.Guard().Admit(text)
	if err == nil {
		err = s.x.Sessions().Logout(context.Background(), here, c)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// dial opens a socket, or answers the refusal.
func (s *service) dial(query string, header http.Header, protocols ...string) (*websocket.Conn, *http.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return websocket.Dial(ctx, "ws://"+s.addr+"/ws"+query, &websocket.DialOptions{HTTPHeader: header, Subprotocols: protocols})
}

func (s *service) open(query string, header http.Header, protocols ...string) *websocket.Conn {
	s.t.Helper()
	c, r, err := s.dial(query, header, protocols...)
	if err != nil {
		s.t.Fatalf("dial: %v (%v)", err, r)
	}
	s.t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

// next is the kind of the next event.
func next(t *testing.T, c *websocket.Conn) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, b, err := c.Read(ctx)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	var e struct{ Kind, After string }
	if err := json.Unmarshal(b, &e); err != nil || e.After == "" {
		t.Fatalf("got %s: %v", b, err)
	}
	return e.Kind
}

// ended waits for the close, and answers it. Events before it are skipped.
func ended(t *testing.T, c *websocket.Conn) websocket.CloseError {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		_, _, err := c.Read(ctx)
		var is websocket.CloseError
		if errors.As(err, &is) {
			return is
		}
		if err != nil {
			t.Fatalf("read: %v", err)
		}
	}
}

func (s *service) ticket(text string) string {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), "POST", "http://"+s.addr+"/api/v1/auth/ws-ticket", http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+text)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var got struct {
		Ticket    string `json:"ticket"`
		ExpiresIn int    `json:"expires_in"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || resp.StatusCode != 200 || got.ExpiresIn != 30 {
		s.t.Fatalf("the ticket: %d %v %v", resp.StatusCode, got, err)
	}
	return got.Ticket
}

func TestEveryWayIn(t *testing.T) {
	s := newService(t)
	ann := s.user("ann", account.RoleUser)
	boss := s.user("boss", account.RoleAdmin)
	ticket := s.ticket(ann)
	sockets := []*websocket.Conn{
		s.open("?token="+ann, nil),
		s.open("", nil, "xteam", ann),
		s.open("?ticket="+ticket, nil),
		s.open("", http.Header{"Authorization": {"Bearer " + ann}}),
		s.open("?token="+ann, http.Header{"Origin": {"http://" + s.addr}}),
	}
	if got := sockets[1].Subprotocol(); got != "xteam" {
		t.Errorf("the subprotocol is %q", got)
	}
	all := s.open("?token="+boss, nil)
	other := s.user("ben", account.RoleUser) // ann is not told
	_ = other
	if k := next(t, all); k != "account_created" {
		t.Errorf("the administrator was told %s", k)
	}
	c, err := s.x.Guard().Admit(ann)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.x.Sessions().Login(t.Context(), here, login(t, "ann"), secret.New("correct horse battery")); err != nil {
		t.Fatal(err)
	}
	for i, c := range sockets {
		if k := next(t, c); k != "authentication_succeeded" {
			t.Errorf("socket %d was told %s", i, k)
		}
	}
	begun := time.Now()
	if _, err := s.x.Sessions().LogoutAll(t.Context(), here, c); err != nil {
		t.Fatal(err)
	}
	for i, c := range sockets {
		_, _, err := c.Read(t.Context())
		var is websocket.CloseError
		if !errors.As(err, &is) || is.Code != 4401 || is.Reason != "token_revoked: user_revoked" {
			t.Errorf("socket %d: %v; nothing may be told after the end", i, err)
		}
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("the sockets took %v to end", took)
	}
	for _, secret := range append(strings.Split(ann, "."), ticket) {
		if strings.Contains(s.log.String(), secret) {
			t.Fatal("a token is in the log")
		}
	}
}

func login(t *testing.T, name string) account.Login {
	t.Helper()
	l, err := account.ParseLogin("", name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestRefusedBeforeTheUpgrade(t *testing.T) {
	s := newService(t)
	ann, gone := s.user("ann", account.RoleUser), s.user("ben", account.RoleUser)
	s.logout(gone)
	ticket, late := s.ticket(ann), s.ticket(ann)
	s.open("?ticket="+ticket, nil)
	dead := s.user("cid", account.RoleUser)
	spent := s.ticket(dead)
	s.logout(dead)
	for name, c := range map[string]struct {
		query     string
		header    http.Header
		protocols []string
		status    int
		code      string
	}{
		"no token":                     {"", nil, nil, 401, "token_missing"},
		"garbage":                      {"?token=garbage", nil, nil, 401, "token_malformed"},
		"an empty one":                 {"?token=", nil, nil, 401, "token_missing"},
		"a revoked one":                {"?token=" + gone, nil, nil, 401, "token_revoked"},
		"a revoked one by protocol":    {"", nil, []string{"xteam", gone}, 401, "token_revoked"},
		"a ticket twice":               {"?ticket=" + ticket, nil, nil, 401, "token_invalid"},
		"a ticket of a revoked token":  {"?ticket=" + spent, nil, nil, 401, "token_revoked"},
		"a token as a ticket":          {"?ticket=" + ann, nil, nil, 401, "token_malformed"},
		"a ticket as a token":          {"?token=" + late, nil, nil, 401, "token_malformed"},
		"a changed ticket":             {"?ticket=" + late[:len(late)-8] + "AAAAAAAA", nil, nil, 401, "token_malformed"},
		"two tokens":                   {"?token=" + ann + "&token=" + ann, nil, nil, 400, "malformed_request"},
		"a token and a ticket":         {"?token=" + ann + "&ticket=" + late, nil, nil, 400, "malformed_request"},
		"a query and a header":         {"?token=" + ann, http.Header{"Authorization": {"Bearer " + ann}}, nil, 400, "malformed_request"},
		"a query and a protocol":       {"?token=" + ann, nil, []string{"xteam", ann}, 400, "malformed_request"},
		"a query and another protocol": {"?token=" + ann, nil, []string{"xteam", "chat"}, 400, "malformed_request"},
		"a ticket and a header":        {"?ticket=" + late, http.Header{"Authorization": {"Bearer " + ann}}, nil, 400, "malformed_request"},
		"a ticket and a key":           {"?ticket=" + late, http.Header{"X-Api-Key": {"x"}}, nil, 400, "malformed_request"},
		"a ticket and a protocol":      {"?ticket=" + late, nil, []string{"xteam", ann}, 400, "malformed_request"},
		"a token cut off":              {"", nil, []string{"xteam", ann[:strings.LastIndex(ann, ".")]}, 401, "token_malformed"},
		"another protocol alone":       {"", nil, []string{"graphql-ws"}, 401, "token_malformed"},
		"a cut-off token, a good one":  {"", http.Header{"Authorization": {"Bearer " + ann}}, []string{"xteam", ann[:30]}, 400, "malformed_request"},
		"a page of another origin":     {"?token=" + ann, http.Header{"Origin": {"https://evil.example"}}, nil, 403, "cross_origin"},
		"a page without an origin":     {"?token=" + ann, http.Header{"Origin": {"null"}}, nil, 403, "cross_origin"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, r, err := s.dial(c.query, c.header, c.protocols...)
			if err == nil {
				_ = conn.CloseNow()
				t.Fatal("it was let in")
			}
			if r == nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(r.Body)
			if r.StatusCode != c.status || !bytes.Contains(body, []byte(`"`+c.code+`"`)) || r.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("got %d %s; want %d %s", r.StatusCode, body, c.status, c.code)
			}
		})
	}
	s.open("?ticket="+late, nil) // whoever brought two credentials did not spend it
	late = s.ticket(ann)
	s.skew.Store(int64(31 * time.Second))
	if _, r, err := s.dial("?ticket="+late, nil); err == nil || r.StatusCode != 401 {
		t.Errorf("a ticket of 31 s ago: %v", err)
	}
	for _, head := range []string{
		"GET /ws?token=" + ann + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /ws?token=" + ann + " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 12\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		"GET /ws?token=" + ann + " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13, 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		"GET /ws?token=" + ann + " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
		"GET /ws?token=" + ann + " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n\r\n",
		"GET /ws?token=" + ann + " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
	} {
		conn := s.raw()
		_, _ = io.WriteString(conn, head)
		r, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || r.StatusCode != 426 || r.Header.Get("Sec-WebSocket-Version") != "13" || r.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%q: %v %v", head[len(head)-60:], r, err)
		}
	}
}

func (s *service) raw() net.Conn {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn
}

// A socket goes on where another ended; beyond what its user may ask of that, or from a place that is not theirs, it tells of the gap and begins with what is new.
func TestGoingOn(t *testing.T) {
	s := newService(t, func(o *xteam.Options) {
		o.Limits = app.LimiterOptions{PerAddress: 10_000, Auth: 1000, Read: 1000, Write: 1000, Expensive: 3}
	})
	ann, ben := s.user("ann", account.RoleUser), s.user("ben", account.RoleUser)
	place := func(c *websocket.Conn) (kind, after string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var e struct{ Kind, After string }
		_, b, err := c.Read(ctx)
		if err == nil {
			err = json.Unmarshal(b, &e)
		}
		if err != nil {
			t.Fatal(err)
		}
		return e.Kind, e.After
	}
	signIn := func() {
		t.Helper()
		if _, err := s.x.Sessions().Login(t.Context(), here, login(t, "ann"), secret.New("correct horse battery")); err != nil {
			t.Fatal(err)
		}
	}
	c := s.open("?token="+ann, nil)
	signIn()
	_, after := place(c)
	if n, err := strconv.ParseUint(after, 10, 64); err == nil {
		t.Errorf("the place %d tells how much has happened to everybody", n)
	}
	signIn()
	for i, want := range []string{"authentication_succeeded", "authentication_succeeded", "authentication_succeeded", "gap"} {
		if kind, _ := place(s.open("?token="+ann+"&after="+after, nil)); kind != want {
			t.Errorf("time %d: told %s first; want %s", i+1, kind, want)
		}
	}
	for _, foreign := range []string{"?token=" + ben + "&after=" + after, "?token=" + ben + "&after=0", "?token=" + ben + "&after=-1", "?token=" + ben + "&after=" + strings.Repeat("A", 9000)} {
		if kind, _ := place(s.open(foreign, nil)); kind != "gap" {
			t.Errorf("told %s first; want the gap", kind)
		}
	}
}

func TestEnds(t *testing.T) {
	s := newService(t, func(o *xteam.Options) { o.Access = time.Minute })
	expires, disabled := s.open("?token="+s.user("ann", account.RoleUser), nil), s.user("ben", account.RoleUser)
	off := s.open("?token="+disabled, nil)
	c, err := s.x.Guard().Admit(disabled)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.x.Accounts().Disable(t.Context(), app.Actor{Name: app.Operator, Request: here}, c.User()); err != nil {
		t.Fatal(err)
	}
	if is := ended(t, off); is.Code != 4401 || is.Reason != "token_revoked: user_disabled" {
		t.Errorf("disabled: %v", is)
	}
	s.skew.Store(int64(time.Minute))
	if is := ended(t, expires); is.Code != 4401 || is.Reason != "token_expired" {
		t.Errorf("expired: %v", is)
	}
	stopped := s.open("?token="+s.user("cid", account.RoleUser), nil)
	go s.x.Close()
	if is := ended(t, stopped); is.Code != websocket.StatusGoingAway {
		t.Errorf("stopped: %v", is)
	}
}

func TestSoManyOfOneUser(t *testing.T) {
	s := newService(t)
	ann, ben := s.user("ann", account.RoleUser), s.user("ben", account.RoleUser)
	first := s.open("?token="+ann, nil)
	for range 31 {
		s.open("?token="+ann, nil)
	}
	_, r, err := s.dial("?token="+ann, nil)
	if err == nil || r.StatusCode != 429 || r.Header.Get("Retry-After") == "" {
		t.Fatalf("the 33rd: %v", err)
	}
	s.open("?token="+ben, nil)
	if err := first.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); ; {
		c, _, err := s.dial("?token="+ann, nil)
		if err == nil {
			_ = c.CloseNow()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the seat was not given back: %v", err)
		}
	}
}

// upgrade opens a socket whose frames the test writes itself.
func (s *service) upgrade(text, more string) (net.Conn, *bufio.Reader) {
	s.t.Helper()
	conn := s.raw()
	_, _ = fmt.Fprintf(conn, "GET /ws?token=%s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", url.QueryEscape(text), more)
	br := bufio.NewReader(conn)
	r, err := http.ReadResponse(br, nil)
	if err != nil || r.StatusCode != 101 || r.Header.Get("X-Content-Type-Options") != "nosniff" {
		s.t.Fatalf("the upgrade: %v %v", r, err)
	}
	if r.Header.Get("Sec-WebSocket-Extensions") != "" {
		s.t.Error("compression was agreed to")
	}
	return conn, br
}

// frame is a masked one, with a key of zeros.
func frame(first byte, payload []byte) []byte {
	b := []byte{first}
	if len(payload) < 126 {
		b = append(b, 0x80|byte(len(payload)))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(len(payload)))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

// closeCode reads until the close frame.
func closeCode(t *testing.T, br *bufio.Reader) int {
	t.Helper()
	for {
		head := make([]byte, 2)
		if _, err := io.ReadFull(br, head); err != nil {
			t.Fatalf("no close frame came: %v", err)
		}
		body := make([]byte, head[1]&0x7f)
		if _, err := io.ReadFull(br, body); err != nil {
			t.Fatal(err)
		}
		if head[0]&0xf == 8 {
			if len(body) < 2 {
				return 0
			}
			return int(binary.BigEndian.Uint16(body))
		}
	}
}

func TestHostileFrames(t *testing.T) {
	s := newService(t)
	ann := s.user("ann", account.RoleUser)
	endless := append(frame(0x01, []byte("a")), bytes.Repeat(frame(0x00, []byte("and on")), 1000)...)
	for name, c := range map[string]struct {
		sent []byte
		code int
	}{
		"a message":              {frame(0x81, []byte("hello")), 1008},
		"binary":                 {frame(0x82, []byte{1, 2, 3}), 1008},
		"text that is not UTF-8": {frame(0x81, []byte{0xff, 0xfe}), 1007},
		"too long":               {frame(0x81, bytes.Repeat([]byte("a"), 5000)), 1009},
		"endless fragments":      {endless, 1009},
		"unmasked":               {[]byte{0x81, 2, 'h', 'i'}, 1002},
		"compressed, not agreed": {frame(0xc1, []byte("bomb")), 1002},
		"a long ping":            {frame(0x89, bytes.Repeat([]byte("a"), 126)), 1002},
		"a fragmented ping":      {frame(0x09, []byte("a")), 1002},
		"an unknown opcode":      {frame(0x83, nil), 1002},
		"a flood of pings":       {bytes.Repeat(frame(0x89, []byte("a")), 200), 1008},
		"a close without a code": {frame(0x88, nil), 0},
		"a close":                {frame(0x88, []byte{0x03, 0xe8}), 1000},
	} {
		t.Run(name, func(t *testing.T) {
			conn, br := s.upgrade(ann, "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: xteam\r\n")
			if _, err := conn.Write(c.sent); err != nil {
				t.Fatal(err)
			}
			if got := closeCode(t, br); got != c.code {
				t.Errorf("closed with %d; want %d", got, c.code)
			}
			_ = conn.Close() // else the server waits some seconds for its close to be answered
		})
	}
	conn, br := s.upgrade(ann, "")
	_, _ = conn.Write(frame(0x89, []byte("alive?")))
	head := make([]byte, 2)
	if _, err := io.ReadFull(br, head); err != nil || head[0] != 0x8a {
		t.Errorf("a ping was answered with %x, %v", head, err)
	}
	_ = conn.Close()
}
