package security_test

import (
	"testing"
	"time"

	"github.com/coder/websocket"
)

// ends reads until the socket is closed, and answers the code and what came before it.
func ends(t testing.TB, c *websocket.Conn) (code websocket.StatusCode, heard []map[string]any) {
	t.Helper()
	for {
		m, closed := hear(t, c)
		if closed != nil {
			return closed.Code, heard
		}
		heard = append(heard, m)
	}
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, within time.Duration, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for begun := time.Now(); !ok(); <-tick.C {
		if time.Since(begun) > within {
			t.Fatalf("within %v it was not so that %s", within, what)
		}
	}
}

// few is n, or a fifth of it under the race detector.
func few(n int) int {
	if racing {
		return n / 5
	}
	return n
}

// fastest is the least that a call takes of five times: other programs' load is not the call's.
func fastest(call func()) time.Duration {
	least := time.Hour
	for range 5 {
		begun := time.Now()
		call()
		least = min(least, time.Since(begun))
	}
	return least
}
