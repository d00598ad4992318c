//go:build !race

package wsfeed_test

import (
	"bufio"
	"fmt"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam"
	"github.com/xteam/xteam/domain/account"
)

// mostIdle is what an idle socket may take of memory: heap and stacks, the kernel's buffers aside. The client's end is counted too, which is a bare connection.
const mostIdle = 20 << 10

func TestWhatAnIdleSocketTakes(t *testing.T) {
	const sockets = 2000
	s := newService(t, func(o *xteam.Options) { o.MaxConnectionsPerUser = sockets + 1 })
	ann := s.user("ann", account.RoleUser)
	before := inUse()
	for range sockets {
		conn := s.raw()
		_ = conn.SetDeadline(time.Time{})
		_, _ = fmt.Fprintf(conn, "GET /ws?token=%s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", ann)
		if r, err := http.ReadResponse(bufio.NewReaderSize(conn, 2<<10), nil); err != nil || r.StatusCode != 101 {
			t.Fatal(r, err)
		}
	}
	each := (inUse() - before) / sockets
	t.Logf("an idle socket takes %d bytes", each)
	if each > mostIdle {
		t.Errorf("an idle socket takes %d bytes; want %d at most", each, mostIdle)
	}
	c, err := s.x.Guard().Admit(ann)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.x.Sessions().LogoutAll(t.Context(), app.Request{ID: "test"}, c); err != nil {
		t.Fatal(err)
	}
}

func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
