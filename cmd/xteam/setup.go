package main

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/secret"
)

// The set-up link's paths.
const (
	setUpPage = "/setup"
	setUpPath = "/api/v1/setup"
)

// printSetUp prints the one-time link of a store without an administrator, and the same as lines for a shell: there is no page for it yet. As they stand the lines make nobody,
// for the fields are empty. The token is the fragment of the link, which a browser sends to nobody: no log of a server or a proxy holds it, and no referrer. A server that
// cannot print it goes on: users create makes an administrator too.
func (c *cli) printSetUp(srv *server, s *settings, token secret.Text) {
	if token.IsZero() {
		return
	}
	base, secret := publicBase(s, srv.base), token.RevealPlaintext()
	_, err := fmt.Fprintf(c.out, `setup %s%s#token=%s
There is no administrator yet. The link makes the first administrator, once, within %d minutes. There is no page for it yet: fill this in and paste it.
curl -s %s%s -d @- <<'END'
{"token": "%s", "email": "", "username": "", "password": ""}
END
`, base, setUpPage, secret, int(app.SetUpLife/time.Minute), base, setUpPath, secret)
	if err != nil {
		srv.sys.Log.Error("The set-up link could not be written", "error", err.Error())
		return
	}
	srv.sys.Log.Info("There is no administrator yet: a link that makes the first administrator was printed on standard output", "good_for", app.SetUpLife.String())
}

// publicBase is where clients find the server, as far as the settings tell: under the first of its names, behind a proxy that ends TLS at the proxy's
// address, and on this machine where it listens on every address.
func publicBase(s *settings, base string) string {
	scheme, addr, _ := strings.Cut(base, "://")
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return base
	}
	name := ""
	if names := s.HTTP.Hosts.Names(); len(names) > 0 {
		name = names[0]
	}
	if name != "" && s.CertFile == "" && len(s.HTTP.Proxies.Trusted) > 0 {
		if a, err := netip.ParseAddr(name); err == nil && a.Is6() {
			name = "[" + name + "]"
		}
		return "https://" + name
	}
	if a, err := netip.ParseAddr(host); err == nil && a.IsUnspecified() {
		host = "localhost"
	}
	return scheme + "://" + net.JoinHostPort(cmp.Or(name, host), port)
}
