package httpapi

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

var errUnknownHost = errors.New("this host is not served here: ask by a name that TRUSTED_HOSTS has, or put this one there")

// Hosts are the names that the service answers to. The zero value answers to any.
type Hosts struct {
	names map[string]bool // lower-case names, and addresses in their plain form
	below []string        // ".example.com" for *.example.com
}

// ParseHosts reads patterns: a name, an address, or *.name for every name below it, at any depth but not itself; no scheme and no port. Letter case does not
// count. The pattern * takes any host, as no pattern at all does. An error names the pattern that is none.
func ParseHosts(patterns []string) (Hosts, error) {
	h := Hosts{names: map[string]bool{}}
	for _, p := range patterns {
		lower := strings.ToLower(strings.TrimSpace(p))
		name, wild := strings.CutPrefix(lower, "*.")
		a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(lower, "["), "]"))
		switch bracketed := strings.HasPrefix(lower, "["); {
		case lower == "*":
			return Hosts{}, nil
		case err == nil && a.Zone() == "" && bracketed == strings.HasSuffix(lower, "]") && (!bracketed || a.Is6()):
			h.names[a.String()] = true
		case !isName(name) || isAddress(name):
			return Hosts{}, fmt.Errorf("%q is no host: write example.com, *.example.com or an address, without scheme and port", p)
		case wild:
			h.below = append(h.below, "."+name)
		default:
			h.names[name] = true
		}
	}
	return h, nil
}

// Any reports whether every host is answered.
func (h Hosts) Any() bool { return len(h.names) == 0 && len(h.below) == 0 }

// Names are those that are answered by name or address, in their order.
func (h Hosts) Names() []string { return slices.Sorted(maps.Keys(h.names)) }

// take reports whether the Host of a request (RFC 9110, section 7.2), its port aside, is one of the hosts. A name with a dot at its end is not: cookies and
// origins take that for another name.
func (h Hosts) take(host string) bool {
	if h.Any() {
		return true
	}
	name, ok := hostname(host)
	if !ok {
		return false
	}
	if h.names[name] {
		return true
	}
	for _, suffix := range h.below {
		if strings.HasSuffix(name, suffix) && isName(name) {
			return true
		}
	}
	return false
}

// hostname is the host without its port, in lower case; an address of IPv6 in its plain form.
func hostname(host string) (string, bool) {
	if inner, bracketed := strings.CutPrefix(host, "["); bracketed {
		text, port, closed := strings.Cut(inner, "]")
		a, err := netip.ParseAddr(text)
		if !closed || err != nil || !a.Is6() || port != "" && (port[0] != ':' || !digits(port[1:])) {
			return "", false
		}
		return a.String(), true
	}
	name, port, _ := strings.Cut(host, ":")
	return strings.ToLower(name), digits(port)
}

// isName judges a lower-case name of the DNS (RFC 1035, section 2.3.4, and underscores, which are seen).
func isName(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for i := range len(label) {
			if c := label[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// nearby reports whether a host is nobody's domain: an address, the bare name of a machine, or none, as HTTP/1.0 has it.
func nearby(host string) bool {
	name, ok := hostname(host)
	return ok && (isAddress(name) || !strings.Contains(name, "."))
}

// hosted refuses a host that is not served. Probes ask by an address or a machine's bare name, and what they are told depends on no name; a proxy asks by the name
// of the service that it asks for, or by our address; the operator's socket has no name.
func (x *exchange) hosted() error {
	path := x.r.URL.Path
	if x.api.hosts.take(x.r.Host) || x.api.probes[path] && nearby(x.r.Host) || asksForAnother(path) || x.ctx().Value(operatorKey{}) != nil {
		return nil
	}
	return errUnknownHost
}

// probesOf are the paths that are served to anybody, and without limit.
func probesOf(routes []route) map[string]bool {
	paths := map[string]bool{}
	for _, r := range routes {
		if r.class == exempt && r.access == anyone && r.method == http.MethodGet {
			paths[r.path] = true
		}
	}
	return paths
}
