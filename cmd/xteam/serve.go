package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/xteam/xteam/adapters/httpapi"
)

// drain bounds how long the stop waits for requests that are being answered.
const drain = 8 * time.Second

func (c *cli) serve() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: `Runs the server. It prints one line, ready http://HOST:PORT, when it takes
requests; its log goes to stderr or to LOG_FILE. SIGTERM and SIGINT let it answer
what it has begun and end it with exit code 0; SIGHUP opens LOG_FILE anew. While it runs, the operator's
commands reach it through a socket in DATA_DIR.`,
		Example: "  HTTP_ADDR=0.0.0.0:8000 DATA_DIR=/var/lib/xteam xteam serve",
		Args:    cobra.NoArgs,
	}
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		s, get, err := c.settings()
		if err != nil {
			return err
		}
		hangups := make(chan os.Signal, 1)
		signal.Notify(hangups, syscall.SIGHUP) // from the first moment: unheard, it would end the process
		defer signal.Stop(hangups)
		srv, err := start(cmd.Context(), s, get, c.err)
		if err != nil {
			return err
		}
		defer srv.stop()
		if _, err := fmt.Fprintf(c.out, "ready %s\n", srv.base); err != nil {
			srv.sys.Log.Warn("The ready line could not be written", "error", err.Error())
		}
		return srv.wait(cmd.Context(), hangups)
	})
	return cmd
}

// server is a system that takes requests on its address and on the operator's socket.
type server struct {
	base     string // http://host:port, as it listens
	sys      *system
	closeAll func()
	servers  []*http.Server
	ended    chan error // why a listener ended before the stop
}

// start opens the system and its listeners. When it answers, requests are taken.
func start(ctx context.Context, s settings, get lookup, errs io.Writer) (_ *server, err error) {
	signal.Ignore(syscall.SIGPIPE) // a log whose reader has gone must not end the server
	sys, closeAll, err := open(ctx, s, get, errs)
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
	// The store comes first: a second server on one folder is told of the folder, whatever its address.
	public, err := net.Listen("tcp", s.Addr)
	if err != nil {
		return nil, listenFault(s.Addr, err)
	}
	operator, err := listenOperator(ctx, s.Folder)
	if err != nil {
		_ = public.Close()
		return nil, err
	}
	srv := &server{base: "http://" + public.Addr().String(), sys: sys, closeAll: closeAll, ended: make(chan error, 2)}
	srv.serve(public, sys.Public)
	srv.serve(operator, sys.Operator)
	return srv, nil
}

// listenFault says what to do about an address that cannot be listened on.
func listenFault(addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is taken by another program: set HTTP_ADDR to another address, such as HTTP_ADDR=127.0.0.1:8001", addr)
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return fmt.Errorf("HTTP_ADDR: %s cannot be listened on: %w", addr, err)
}

func (srv *server) serve(l net.Listener, h http.Handler) {
	s := httpapi.Server(h, srv.sys.Log)
	srv.servers = append(srv.servers, s)
	go func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			srv.ended <- fmt.Errorf("listen on %s: %w", l.Addr(), err)
		}
	}()
}

// wait answers nil when ctx ends, or why the server cannot go on. At each hangup it opens the log anew.
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
		}
	}
}

// stop takes no more requests, lets those that have begun be answered, and closes everything.
func (srv *server) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	done := make(chan error, len(srv.servers))
	for _, s := range srv.servers {
		go func() { done <- s.Shutdown(ctx) }()
	}
	for _, s := range srv.servers {
		if err := <-done; err != nil {
			srv.sys.Log.Warn("Requests were cut off at the stop", "error", err.Error())
		}
		defer func() { _ = s.Close() }()
	}
	srv.closeAll()
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
