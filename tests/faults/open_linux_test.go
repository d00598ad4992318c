package faults_test

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// TestWhatIsOpenEndsOnEveryNode has a user's WebSockets and event streams open on three nodes, and revokes the user on one: all are told why, and are over within a second. A ticket of one node is taken by
// another, once.
func TestWhatIsOpenEndsOnEveryNode(t *testing.T) {
	c := newCluster(t, plan{nodes: 3, users: 1})
	type end struct {
		what string
		at   time.Time
		why  string
	}
	ends := make(chan end, 6)
	who := c.signIn(0, 0)
	for n := range c.nodes {
		conn, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(c.nodes[n].base, "http")+"/ws", &websocket.DialOptions{Subprotocols: []string{"xteam", who.AccessToken}})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				_, _, err := conn.Read(context.Background())
				var is websocket.CloseError
				if errors.As(err, &is) {
					ends <- end{"socket", time.Now(), is.Reason}
				}
				if err != nil {
					return
				}
			}
		}()
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
	begun := time.Now()
	c.command("", "revoke", "--user", "user0")
	acknowledged := time.Now()
	for range 6 {
		select {
		case e := <-ends:
			if !strings.Contains(e.why, "user_revoked") || e.at.Sub(acknowledged) > time.Second {
				t.Errorf("a %s ended %v after the revocation was acknowledged, with %s", e.what, e.at.Sub(acknowledged), e.why)
			}
			t.Logf("a %s ended %v after the command began", e.what, e.at.Sub(begun))
		case <-time.After(5 * time.Second):
			t.Fatal("some are still open")
		}
	}
}
