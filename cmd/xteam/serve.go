package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/domain/secret"
)

// drain bounds how long the stop waits for requests that are being answered; for the operator's a quarter of it more.
const drain = 8 * time.Second

func (c *cli) serve() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: `Runs the server. It prints one line, ready http://HOST:PORT, when it takes
requests, and on a store without an administrator a link that makes the first
one, once, within 30 minutes. Its log goes to stderr or to LOG_FILE. SIGTERM and
SIGINT let it answer what it has begun and end it with exit code 0; SIGHUP opens
LOG_FILE anew, and reads the secrets and the files of the certificate, which it
else does by itself. Other settings are read once, at the start. While it runs,
the operator's commands reach it through a socket in DATA_DIR.`,
		Example: "  HTTP_ADDR=0.0.0.0:8000 DATA_DIR=/var/lib/xteam xteam serve",
		Args:    cobra.NoArgs,
	}
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		s, get, err := c.settings()
		if err != nil {
			return s.forServing(err)
		}
		hangups := make(chan os.Signal, 1)
		signal.Notify(hangups, syscall.SIGHUP) // from the first moment: unheard, it would end the process
		defer signal.Stop(hangups)
		var setUp secret.Text
		srv, err := start(cmd.Context(), s, get, c.err, func(sys *system) error {
			token, err := sys.setUp.Offer(cmd.Context()) // before anybody can register
			if err != nil {
				sys.Log.Error("The set-up link could not be made", "error", err.Error())
			}
			setUp = token
			return nil
		})
		if err != nil {
			return err
		}
		defer srv.stop()
		for _, what := range mistyped() {
			srv.sys.Log.Warn("A setting may be mistyped", "what", what)
		}
		if _, err := fmt.Fprintf(c.out, "ready %s\n", srv.base); err != nil {
			srv.sys.Log.Warn("The ready line could not be written", "error", err.Error())
		}
		c.printSetUp(srv, &s, setUp)
		return srv.wait(cmd.Context(), hangups)
	})
	return cmd
}

// server is a system that takes requests on its address and on the operator's socket.
type server struct {
	base     string       // http://host:port, or https://, as it listens
	cert     *certificate // nil: plain HTTP
	sys      *system
	closeAll func()
	public   *http.Server
	figures  *http.Server // nil without METRICS_ADDR
	operator *http.Server // nil on a system without its socket, which is the next
	socket   *operatorListener
	guests   atomic.Int64 // connections on it
	ended    chan error   // why a listener ended before the stop
}

// start opens the system and, if it is fit, its listeners. When it answers, requests are taken.
func start(ctx context.Context, s settings, get lookup, errs io.Writer, fit func(*system) error) (_ *server, err error) {
	signal.Ignore(syscall.SIGPIPE) // a log whose reader has gone must not end the server
	go keepSmall(ctx)
	cert, err := openCertificate(&s)
	if err := s.forServing(err); err != nil {
		return nil, err
	}
	were, err := claimFolders(s)
	if err != nil {
		return nil, err
	}
	var sys *system
	var closeAll func()
	err = whenFree(ctx, func() (busy bool, err error) {
		if sys, closeAll, err = open(ctx, s, get, errs); !inUse(err) {
			return false, err
		}
		conn, unheard := dialSocket(ctx, s.Folder)
		if unheard != nil {
			return true, err
		}
		_ = conn.Close() // a server has the store, and will not give it up soon
		return false, err
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			closeAll()
		} else {
			sys.output.release()
		}
	}()
	for _, folder := range were {
		sys.Log.Warn("Others could write to the data folder; now it is open to its owner alone", "folder", folder.path, "mode_before", folder.mode.String())
	}
	if err := fit(sys); err != nil {
		return nil, err
	}
	if err := sys.recognise(ctx, &s); err != nil {
		return nil, err
	}
	// The store comes first: a second server on one folder is told of the folder, whatever its address.
	public, base, err := listen(ctx, s.Addr)
	if err != nil {
		return nil, listenFault("HTTP_ADDR", s.Addr, err)
	}
	var figures net.Listener
	if s.MetricsAddr != "" {
		if figures, _, err = listen(ctx, s.MetricsAddr); err != nil {
			_ = public.Close()
			return nil, listenFault("METRICS_ADDR", s.MetricsAddr, err)
		}
	}
	srv := &server{base: base, cert: cert, sys: sys, closeAll: closeAll, ended: make(chan error, 2)}
	if peersKnown {
		if srv.socket, err = listenOperator(ctx, s.Folder); err != nil {
			_ = public.Close()
			if figures != nil {
				_ = figures.Close()
			}
			return nil, err
		}
		srv.operator = srv.serve(srv.socket, sys.Operator, srv.count, nil)
	} else {
		sys.Log.Warn("There is no operator's socket on this system: commands work while the server is stopped")
	}
	if figures != nil {
		if addr := figures.Addr().String(); s.Environment == production && strangersReach(addr) {
			sys.Log.Warn("METRICS_ADDR may be reached by strangers, and asks nobody who they are: listen on an address of this machine or of a private network, or have a firewall before it", "address", addr)
		}
		srv.figures = srv.serve(figures, onlyMetrics(sys.Metrics), nil, nil)
	}
	if cert != nil {
		cert.tellTo(sys.Log)
		srv.base = "https" + strings.TrimPrefix(base, "http")
	}
	srv.public = srv.serve(public, sys.Public, nil, cert)
	srv.public.RegisterOnShutdown(sys.tethers.Stop) // event streams are requests that would be waited for
	return srv, nil
}

// listen opens the public listener and answers its URL, with the host as the settings name it. An IPv4 address is that address alone, 0.0.0.0 not also every
// IPv6 address.
func listen(ctx context.Context, addr string) (l net.Listener, base string, err error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, "", err
	}
	network := "tcp"
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is4() {
		network = "tcp4"
	}
	var lc net.ListenConfig
	if l, err = lc.Listen(ctx, network, addr); err != nil {
		return nil, "", err
	}
	heard, port, err := net.SplitHostPort(l.Addr().String())
	return l, "http://" + net.JoinHostPort(cmp.Or(host, heard), port), err
}

// listenFault says what to do about an address that cannot be listened on.
func listenFault(setting, addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is taken by another program: set %s to another address, such as %s=127.0.0.1:8001", addr, setting, setting)
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	if errors.Is(err, syscall.EACCES) {
		return fmt.Errorf("%s: %s cannot be listened on: %w: set a port above 1023, or give this program the right to a low one (CAP_NET_BIND_SERVICE)", setting, addr, err)
	}
	return fmt.Errorf("%s: %s cannot be listened on: %w: set an address of this machine, such as 127.0.0.1:8000", setting, addr, err)
}

// onlyMetrics serves the metrics under their path and nothing else.
func onlyMetrics(page http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", page)
	return mux
}

// serve takes requests from l, over TLS when there is a certificate.
func (srv *server) serve(l net.Listener, h http.Handler, seen func(net.Conn, http.ConnState), cert *certificate) *http.Server {
	s := httpapi.Server(h, srv.sys.Log)
	s.ConnState = seen
	run := func(l net.Listener) error { return s.Serve(httpapi.Plain(l)) }
	if cert != nil {
		s.TLSConfig = cert.config()
		run = func(l net.Listener) error { return s.ServeTLS(l, "", "") }
	}
	go func() {
		if err := run(l); !errors.Is(err, http.ErrServerClosed) {
			srv.ended <- fmt.Errorf("listen on %s: %w", l.Addr(), err)
		}
	}()
	return s
}

// count keeps count of the operator's connections.
func (srv *server) count(_ net.Conn, now http.ConnState) {
	switch now {
	case http.StateNew:
		srv.guests.Add(1)
	case http.StateClosed, http.StateHijacked:
		srv.guests.Add(-1)
	}
}

// wait answers nil when ctx ends, or why the server cannot go on. At each hangup it opens the log anew, and reads the secrets and the certificate.
func (srv *server) wait(ctx context.Context, hangups <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-srv.ended:
			return err
		case <-hangups:
			if err := srv.sys.output.reopen(); err != nil {
				srv.sys.Log.Error("The log could not be opened anew; the old file is written on", "error", err.Error())
			}
			srv.sys.secrets.Again()
			if srv.cert != nil {
				srv.cert.reload()
			}
		}
	}
}

// stop takes no more requests, lets those that have begun be answered, and closes everything. The operator is served to the last: nobody else can open the store
// until it is closed.
func (srv *server) stop() {
	srv.shut(srv.public, drain)
	if srv.figures != nil {
		srv.shut(srv.figures, 0)
	}
	if srv.operator != nil {
		srv.seeOff()
		srv.shut(srv.operator, 0)
	}
	srv.closeAll()
}

// seeOff answers the commands that have reached the socket, and lets no others come: they wait for the store. Shutdown alone would cut off a command that has
// connected and not yet sent its request.
func (srv *server) seeOff() {
	ctx, cancel := context.WithTimeout(context.Background(), drain/4)
	defer cancel()
	err := srv.socket.leave(ctx)
	srv.operator.SetKeepAlivesEnabled(false)
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for err == nil && srv.guests.Load() > 0 {
		select {
		case <-again.C:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err != nil {
		srv.sys.Log.Warn("Commands were perhaps cut off at the stop", "error", err.Error())
	}
}

func (srv *server) shut(s *http.Server, within time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		srv.sys.Log.Warn("Requests were cut off at the stop", "error", err.Error())
		_ = s.Close()
	}
}

// loopback reports whether nobody but this machine can reach the address.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
