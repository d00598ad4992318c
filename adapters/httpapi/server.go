package httpapi

import (
	"bytes"
	stdlog "log"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Server is an http.Server for h with limits that a slow or hostile client cannot stretch: 10 s for the header and 64 KiB of it, a body at 64 KiB a second
// or more (see body.go), 30 s for a body that no handler reads, 60 s for the answer and for an idle connection. A TLS handshake has 10 s too. Over TLS it
// speaks HTTP/2 as well: 100 requests at a time on a connection, of which 1 MiB in all and 256 KiB each may wait to be read; a connection that is silent
// for 15 s is asked whether it lives, and has 15 s to say so. What net/http has to say,
// such as that no more connections can be accepted, is a warning in log: a line a second at most, with the count of what it stands for. A handshake
// that fails is the client's own affair, and a line at the debug level.
func Server(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:                      h,
		ConnContext:                  knowHeaded,
		DisableGeneralOptionsHandler: true, // OPTIONS * gets an answer of the chain, with its headers
		ReadHeaderTimeout:            10 * time.Second,
		ReadTimeout:                  30 * time.Second,
		WriteTimeout:                 60 * time.Second,
		IdleTimeout:                  60 * time.Second,
		MaxHeaderBytes:               64 << 10,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          100,
			MaxReceiveBufferPerConnection: 1 << 20,
			MaxReceiveBufferPerStream:     256 << 10,
			SendPingTimeout:               15 * time.Second,
			PingTimeout:                   15 * time.Second,
			WriteByteTimeout:              10 * time.Second,
		},
		ErrorLog: stdlog.New(&thinned{log: log}, "", 0),
	}
}

// thinned hands on a line a second.
type thinned struct {
	log *slog.Logger

	mu    sync.Mutex
	last  time.Time // when a line was handed on
	since int       // lines since then
}

func (t *thinned) Write(line []byte) (int, error) {
	if bytes.HasPrefix(line, []byte("http: TLS handshake error")) {
		t.log.Debug("A TLS handshake failed", "says", strings.TrimSpace(string(line)))
		return len(line), nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.since++
	if now := time.Now(); t.last.IsZero() || now.Sub(t.last) >= time.Second {
		t.log.Warn("The HTTP server met a fault", "says", strings.TrimSpace(string(line)), "count", t.since)
		t.last, t.since = now, 0
	}
	return len(line), nil
}
