package e2e_test

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// The ready line has the host that was asked for, and an IPv4 address is not also all of IPv6.
func TestReadyLine(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "0.0.0.0", "localhost", "[::1]"} {
		if l, err := net.Listen("tcp", host+":0"); err != nil {
			t.Logf("this machine does not listen on %s: %v", host, err)
			continue
		} else {
			_ = l.Close()
		}
		s := serve(t, environ(t.TempDir(), "HTTP_ADDR="+host+":0"))
		port, ok := strings.CutPrefix(s.base, "http://"+host+":")
		if !ok {
			t.Errorf("HTTP_ADDR=%s:0: the ready line says %s", host, s.base)
		}
		s.want(http.StatusOK, http.MethodGet, "/healthz", "", nil)
		if host == "0.0.0.0" {
			if conn, err := net.Dial("tcp", "[::1]:"+port); err == nil {
				_ = conn.Close()
				t.Error("HTTP_ADDR=0.0.0.0:0 listens on [::1] too")
			}
		}
		if err := s.end(syscall.SIGTERM); err != nil {
			t.Errorf("the stop: %v", err)
		}
	}
}

// A server without descriptors says so where an operator sees it, and not in ten thousand lines; it is well again when there are some.
func TestNoDescriptorsLeft(t *testing.T) {
	needs(t, "sh")
	env := environ(t.TempDir())
	s := launch(t, env, func(cmd *exec.Cmd) {
		cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", `ulimit -n 64; exec "$@"`, "sh"}, cmd.Args...)
	})
	var all []net.Conn
	drop := func() {
		for _, c := range all {
			_ = c.Close()
		}
	}
	defer drop()
	for range 100 { // the kernel takes those that the server cannot
		c, err := net.Dial("tcp", strings.TrimPrefix(s.base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	until(t, "the log says that there are too many open files, and how often", func() bool {
		for line := range strings.Lines(s.log.String()) {
			var l struct {
				Level, Says string
				Count       int
			}
			d := json.NewDecoder(bytes.NewReader([]byte(line)))
			if err := d.Decode(&l); err == nil && strings.Contains(l.Says, "too many open files") && l.Level == "WARN" && l.Count > 1 {
				return true
			}
		}
		return false
	})
	if n := strings.Count(s.log.String(), "too many open files"); n > 10 {
		t.Errorf("the log says it %d times within a moment, want a line a second", n)
	}
	drop()
	s.want(http.StatusOK, http.MethodGet, "/healthz", "", nil)
	if err := s.end(syscall.SIGTERM); err != nil {
		t.Errorf("the stop: %v", err)
	}
}
