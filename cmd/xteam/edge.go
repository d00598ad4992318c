package main

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/domain/secret"
)

// networks reads addresses and networks (RFC 4632, section 3.1), parted by commas. Bits beyond a mask are refused: whoever wrote 10.1.2.3/8 may have
// meant one address, and would trust sixteen million.
func networks(to *[]netip.Prefix, v string) bool {
	for _, one := range list(v) {
		one = strings.TrimSpace(one)
		p, err := netip.ParsePrefix(one)
		if a, bad := netip.ParseAddr(one); bad == nil && a.Zone() == "" {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil || p != p.Masked() || p.Addr().Is4In6() && p.Bits() < 96 {
			return false
		}
		*to = append(*to, p)
	}
	return true
}

// list parts a list by its commas; nothing is no list.
func list(v string) []string {
	if v == "" {
		return nil
	}
	return strings.Split(v, ",")
}

func hosts(to *httpapi.Hosts, v string) bool {
	var err error
	*to, err = httpapi.ParseHosts(list(v))
	return err == nil
}

func origins(to *httpapi.Origins, v string) bool {
	var err error
	*to, err = httpapi.ParseOrigins(list(v))
	return err == nil
}

func proxyHeader(to *httpapi.ProxyHeader, v string) bool {
	switch v {
	case "x-forwarded-for":
		*to = httpapi.XForwardedFor
	case "forwarded":
		*to = httpapi.Forwarded
	default:
		return false
	}
	return true
}

// unfit says why settings that are good in themselves may not serve in production. The doctor says the same, check by check.
func unfit(s *settings) faults {
	why := slices.Concat(unfitTLS(s), unfitHosts(s), unfitOrigins(s), unfitDatabase(s), unfitSinks(s), unfitFirewall(s), unfitRedis("REVOCATION_URL", s.RevocationURL))
	if s.RateLimitURL != s.RevocationURL {
		why = append(why, unfitRedis("RATE_LIMIT_URL", s.RateLimitURL)...)
	}
	return why
}

func unfitTLS(s *settings) (why faults) {
	for _, p := range s.HTTP.Proxies.Trusted {
		if wide(p) {
			why = append(why, fmt.Sprintf("TRUSTED_PROXIES: got %s, takes in production only the networks of your proxies: from so wide a one anybody could choose the address that counts", p))
		}
	}
	if s.CertFile == "" && len(s.HTTP.Proxies.Trusted) == 0 {
		why = append(why, "SSL_CERTFILE: got nothing, takes in production a certificate, with SSL_KEYFILE; or TRUSTED_PROXIES names the proxy that ends TLS before this service")
	}
	return why
}

func unfitHosts(s *settings) faults {
	if s.HTTP.Hosts.Any() {
		return faults{"TRUSTED_HOSTS: got none, or *, takes in production the names by which clients reach this service, such as example.com,*.example.com"}
	}
	return nil
}

func unfitOrigins(s *settings) (why faults) {
	if s.HTTP.Origins.Any() {
		why = append(why, "CORS_ORIGINS: got *, takes in production the origins of your own front ends, such as https://app.example.com")
	}
	for _, o := range s.HTTP.Origins.All() {
		if u, err := url.Parse(o); err != nil || u.Scheme != "https" || local(u.Hostname()) {
			why = append(why, fmt.Sprintf("CORS_ORIGINS: got %s, takes in production only https:// origins that are not of this machine: a script from there could be anybody's", o))
		}
	}
	return why
}

// guessed says which of the secrets that the settings give are easily guessed: whoever guesses one that signs, or signed, makes tokens. Those that are too short are
// refused everywhere.
func guessed(get lookup) (why faults) {
	for name, values := range map[string][]string{"SECRET_KEY": {given(get, "SECRET_KEY")}, "SECRET_KEY_PREVIOUS": earlier(get), "ROOT_KEY": {given(get, "ROOT_KEY")}} {
		for _, v := range values {
			if weak := secret.Weakness(secret.New(v)); len(v) >= minSecret && weak != "" {
				why = append(why, name+": got a value that "+weak)
			}
		}
	}
	slices.Sort(why)
	return why
}

// earlier are the values of SECRET_KEY_PREVIOUS.
func earlier(get lookup) []string {
	all := strings.Split(given(get, "SECRET_KEY_PREVIOUS"), ",")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return all
}

// path takes the path of a file, or nothing.
func path(to *string, v string) bool {
	if strings.ContainsRune(v, 0) {
		return false
	}
	*to = v
	return true
}

// local judges a host that every machine is to itself.
func local(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && (a.IsLoopback() || a.IsUnspecified()) || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// local6 are the addresses that IPv6 has for networks of one's own (RFC 4193).
var local6 = netip.MustParsePrefix("fc00::/7")

// wide judges a network that nobody's proxies fill: wider than 10.0.0.0/8 or fc00::/7, or, of the public IPv6 addresses, than what one provider has, a /32.
func wide(p netip.Prefix) bool {
	switch bits := p.Bits(); {
	case p.Addr().Is4In6():
		return bits < 96+8
	case p.Addr().Is4():
		return bits < 8
	case local6.Contains(p.Addr()):
		return bits < local6.Bits()
	default:
		return bits < 32
	}
}

// strangersReach judges an address that is listened on: others than this machine and its own networks may reach it, as far as the address tells.
func strangersReach(addr string) bool {
	a, err := netip.ParseAddrPort(addr)
	ip := a.Addr().Unmap()
	return err != nil || !ip.IsLoopback() && !ip.IsPrivate() && !ip.IsLinkLocalUnicast()
}
