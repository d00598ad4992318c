package faults_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// TestWhatIsOpenEndsOnEveryNode has a user's WebSockets, GraphQL subscriptions and event streams open on three nodes, and revokes the user on one: all are told why, and are over within a second. A ticket of one node is taken by
// another, once.
func TestWhatIsOpenEndsOnEveryNode(t *testing.T) {
	c := newCluster(t, plan{nodes: 3, users: 1})
	who := c.signIn(0, 0)
	got := c.call(1, http.MethodPost, "/api/v1/auth/ws-ticket", who.AccessToken, nil)
	_, ticket, _ := strings.Cut(got.text, `"ticket":"`)
	ticket, _, _ = strings.Cut(ticket, `"`)
	for i, taken := range []bool{true, false} { // made by node 1, redeemed at 2, then at 0
		conn, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(c.nodes[2-2*i].base, "http")+"/ws?ticket="+ticket, nil)
		if taken != (err == nil) {
			t.Errorf("the ticket, time %d: %v", i+1, err)
		}
		if err == nil {
			_ = conn.CloseNow()
		}
	}
	slowest := time.Hour
	for tries := 0; tries < 3 && slowest > time.Second; tries++ { // a busy machine is no slow node
		slowest = allEnd(t, c)
	}
	if slowest > time.Second {
		t.Errorf("the last one ended %v after the revocation was acknowledged, want a second at most", slowest)
	}
}

// allEnd opens something of each kind on each node, revokes the user, and answers how long after that was acknowledged the last of them ended.
func allEnd(t *testing.T, c *cluster) (slowest time.Duration) {
	t.Helper()
	type end struct {
		what string
		at   time.Time
		why  string
	}
	ends := make(chan end, 9)
	who := c.signIn(0, 0)
	closes := func(what string, conn *websocket.Conn) {
		for {
			_, _, err := conn.Read(context.Background())
			var is websocket.CloseError
			if errors.As(err, &is) {
				ends <- end{what, time.Now(), fmt.Sprint(int(is.Code), " ", is.Reason)}
			}
			if err != nil {
				return
			}
		}
	}
	for n := range c.nodes {
		conn, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(c.nodes[n].base, "http")+"/ws", &websocket.DialOptions{Subprotocols: []string{"xteam", who.AccessToken}})
		if err != nil {
			t.Fatal(err)
		}
		go closes("socket", conn)
		go closes("subscription", subscribed(t, c.nodes[n].base, who.AccessToken))
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.nodes[n].base+"/api/v1/events", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+who.AccessToken)
		resp, err := http.DefaultClient.Do(r)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(resp, err)
		}
		go func() {
			defer func() { _ = resp.Body.Close() }()
			last := ""
			for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
				if strings.HasPrefix(lines.Text(), "data: ") {
					last = lines.Text()
				}
			}
			ends <- end{"stream", time.Now(), last}
		}()
	}
	begun := time.Now()
	c.command("", "revoke", "--user", "user0")
	acknowledged := time.Now()
	for range 9 {
		select {
		case e := <-ends:
			if !strings.Contains(e.why, "user_revoked") || e.what != "stream" && !strings.HasPrefix(e.why, "4401 ") {
				t.Errorf("a %s ended with %s", e.what, e.why)
			}
			slowest = max(slowest, e.at.Sub(acknowledged))
			t.Logf("a %s ended %v after the command began", e.what, e.at.Sub(begun))
		case <-time.After(patience):
			t.Fatal("some are still open")
		}
	}
	return slowest
}

// subscribed is a socket of GraphQL that tells of the bearer's events.
func subscribed(t *testing.T, base, bearer string) *websocket.Conn {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(base, "http")+"/graphql", &websocket.DialOptions{Subprotocols: []string{"graphql-transport-ws"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, say := range []string{`{"type":"connection_init","payload":{"Authorization":"Bearer ` + bearer + `"}}`, `{"id":"1","type":"subscribe","payload":{"query":"subscription { securityEvents { kind } }"}}`, `{"id":"2","type":"subscribe","payload":{"query":"{ me { id } }"}}`} {
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(say)); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{`"connection_ack"`, `"next"`, `"complete"`} { // of the query: by then the subscription was asked for
		if _, b, err := conn.Read(t.Context()); err != nil || !strings.Contains(string(b), want) {
			t.Fatalf("heard %s, %v; want %s", b, err, want)
		}
	}
	return conn
}
