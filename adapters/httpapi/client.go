package httpapi

import (
	"net/http"
	"net/netip"
	"strings"
)

// Proxies are whose word is taken for where a request comes from. The zero value trusts nobody: a client is who the socket says.
type Proxies struct {
	Trusted []netip.Prefix // the addresses of proxies; an IPv4 network may be written in either form
	Header  ProxyHeader    // the one header of theirs that is read; whatever the others say is ignored
}

// ProxyHeader names a header by which proxies tell whom they speak for.
type ProxyHeader uint8

const (
	// XForwardedFor is X-Forwarded-For, with X-Forwarded-Proto beside it.
	XForwardedFor ProxyHeader = iota
	// Forwarded is the header of RFC 7239.
	Forwarded
)

// plain has every IPv4 network in its own form, as addresses are compared.
func (p Proxies) plain() Proxies {
	trusted := make([]netip.Prefix, len(p.Trusted))
	for i, t := range p.Trusted {
		if t.Addr().Is4In6() && t.Bits() >= 96 {
			t = netip.PrefixFrom(t.Addr().Unmap(), t.Bits()-96)
		}
		trusted[i] = t
	}
	p.Trusted = trusted
	return p
}

func (p Proxies) trusts(a netip.Addr) bool {
	for _, t := range p.Trusted {
		if t.Contains(a) {
			return true
		}
	}
	return false
}

// speak reports whether a request comes from one of the proxies itself.
func (p Proxies) speak(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && p.trusts(peer.Addr().Unmap().WithZone(""))
}

// from is where a request comes from, and whether it came over TLS. Both are what the socket says, unless its other end is trusted: then the header is
// read from the right, where each proxy adds the address of whom it heard, past those that are trusted. What is no address ends the
// walk at the last hop that was one. The address has no zone, and IPv4 its own form; it is the zero Addr on a Unix socket. A connection that is known has read the
// socket's address already.
func (p Proxies) from(r *http.Request, known *headed) (client netip.Addr, secure bool) {
	if known != nil && known.remote == r.RemoteAddr { // else somebody who knows better has changed it
		client = known.peer.Addr().Unmap().WithZone("")
	} else if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		client = peer.Addr().Unmap().WithZone("")
	}
	secure = r.TLS != nil
	if !p.trusts(client) {
		return client, secure
	}
	if p.Header == Forwarded {
		client, proto := p.forwarded(client, r.Header["Forwarded"])
		return client, secure || strings.EqualFold(proto, "https")
	}
	if said := r.Header["X-Forwarded-Proto"]; len(said) > 0 {
		_, nearest, _ := lastElement(said[len(said)-1]) // those before it may be the client's own
		secure = secure || strings.EqualFold(trim(nearest), "https")
	}
	return p.forwardedFor(client, r.Header["X-Forwarded-For"]), secure
}

// forwardedFor walks the lines of X-Forwarded-For.
func (p Proxies) forwardedFor(client netip.Addr, lines []string) netip.Addr {
	for i := len(lines) - 1; i >= 0; i-- {
		for rest, more := lines[i], true; more; {
			var hop string
			rest, hop, more = lastElement(rest)
			a, ok := address(trim(hop))
			if !ok {
				return client
			}
			client = a
			if !p.trusts(a) {
				return client
			}
		}
	}
	return client
}

// forwarded walks the lines of Forwarded. It answers also by which protocol the client asked, as whoever heard it says.
func (p Proxies) forwarded(client netip.Addr, lines []string) (_ netip.Addr, proto string) {
	for i := len(lines) - 1; i >= 0; i-- {
		for rest, more := lines[i], true; more; {
			var hop string
			rest, hop, more = lastElement(rest)
			node, by, ok := element(hop)
			if !ok {
				return client, proto
			}
			a, ok := address(node)
			if !ok {
				return client, proto
			}
			client, proto = a, by
			if !p.trusts(a) {
				return client, proto
			}
		}
	}
	return client, proto
}

// lastElement parts the last element of a list from what stands before it. A comma within a quoted string parts nothing; strings are looked for from the
// right, so that one which a client left open on the left cannot swallow what a proxy added to it.
func lastElement(s string) (before, last string, more bool) {
	quoted := false
	for i := len(s) - 1; i >= 0; i-- {
		switch {
		case s[i] == '"' && !(quoted && escaped(s[:i])):
			quoted = !quoted
		case s[i] == ',' && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return "", s, false
}

// escaped reports whether the character behind s is: an odd number of backslashes stands before it.
func escaped(s string) bool { return (len(s)-len(strings.TrimRight(s, `\`)))%2 == 1 }

// element reads one element of Forwarded (RFC 7239, section 4) as far as it matters here: node is its for, proto its proto. An element without for, with
// either of them twice, or against the grammar is not ok; only a value without quotes may hold more than a token, since proxies send ports so.
func element(s string) (node, proto string, ok bool) {
	for s = trim(s); s != ""; s = trim(s) {
		if s[0] == ';' { // the grammar has empty pairs
			s = s[1:]
			continue
		}
		name, rest, found := strings.Cut(s, "=")
		if !found || name == "" || strings.ContainsAny(name, " \t;\"") {
			return "", "", false
		}
		var value string
		if value, s, ok = pairValue(rest); !ok {
			return "", "", false
		}
		var to *string
		switch {
		case strings.EqualFold(name, "for"):
			to = &node
		case strings.EqualFold(name, "proto"):
			to = &proto
		default:
			continue
		}
		if *to != "" || value == "" {
			return "", "", false
		}
		*to = value
	}
	return node, proto, node != ""
}

// pairValue reads the value of a pair, and answers what follows it: nothing, or what begins with a semicolon.
func pairValue(s string) (value, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		if i := strings.IndexByte(s, ';'); i >= 0 {
			s, rest = s[:i], s[i:]
		}
		s = strings.TrimRight(s, " \t")
		return s, rest, !strings.ContainsAny(s, " \t\"\\")
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			rest = trim(s[i+1:])
			return b.String(), rest, rest == "" || rest[0] == ';'
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

// address reads a node (RFC 7239, section 6): an address of IPv6 in brackets or bare, or of IPv4, each with a port or without.
func address(node string) (netip.Addr, bool) {
	host, port, ported := node, "", false
	bracketed := strings.HasPrefix(node, "[")
	switch {
	case bracketed:
		var closed bool
		host, port, closed = strings.Cut(node[1:], "]")
		if !closed {
			return netip.Addr{}, false
		}
		if port != "" {
			if port[0] != ':' {
				return netip.Addr{}, false
			}
			port, ported = port[1:], true
		}
	case strings.Count(node, ":") == 1:
		host, port, ported = strings.Cut(node, ":")
	}
	if ported && !isPort(port) {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(host)
	if err != nil || bracketed && !a.Is6() {
		return netip.Addr{}, false
	}
	return a.Unmap().WithZone(""), true
}

// isPort judges a port of a node: up to five digits, or a name that hides one.
func isPort(s string) bool {
	if hidden, ok := strings.CutPrefix(s, "_"); ok {
		return hidden != ""
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 5
}

// trim takes optional white space away (RFC 9110, section 5.6.3).
func trim(s string) string { return strings.Trim(s, " \t") }
