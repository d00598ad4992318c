package httpapi

import (
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/xteam/xteam/app"
)

// Origins are the web origins (RFC 6454) whose scripts may read answers. The zero value is none.
type Origins struct {
	any   bool
	exact map[string]bool // as browsers send them
}

// ParseOrigins reads origins exactly as browsers send them: https://app.example.com, in lower case, with a port only where it is not the scheme's own, and nothing
// behind. The origin * is every one. An error names the one that is none.
func ParseOrigins(list []string) (Origins, error) {
	o := Origins{exact: map[string]bool{}}
	for _, one := range list {
		text := strings.TrimSpace(one)
		switch {
		case text == "*":
			o.any = true
		case isOrigin(text):
			o.exact[text] = true
		default:
			return Origins{}, fmt.Errorf("%q is no origin: write it as browsers send it, such as https://app.example.com or http://localhost:3000", one)
		}
	}
	return o, nil
}

// Any reports whether every origin is taken.
func (o Origins) Any() bool { return o.any }

// All are the origins that are taken by name, in order.
func (o Origins) All() []string { return slices.Sorted(maps.Keys(o.exact)) }

// isOrigin judges whether a browser could send it (RFC 6454, section 6.2).
func isOrigin(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || s != u.Scheme+"://"+u.Host {
		return false
	}
	host, port := u.Hostname(), u.Port()
	if n, err := strconv.ParseUint(port, 10, 16); port != "" && (err != nil || strconv.FormatUint(n, 10) != port || u.Scheme == "https" && n == 443 || u.Scheme == "http" && n == 80) {
		return false
	}
	if a, err := netip.ParseAddr(host); err == nil && a.Is6() {
		host = "[" + a.String() + "]"
	} else if !isName(host) {
		return false
	}
	if port != "" {
		host += ":" + port
	}
	return u.Host == host
}

// The headers of cross-origin answers (https://fetch.spec.whatwg.org/#http-cors-protocol). What a preflight asks for is never looked at: it is told all that is
// taken, and its browser compares.
var (
	varyOrigin    = []string{"Origin"}
	varyPreflight = []string{"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"}
	everyOrigin   = []string{"*"}
	corsExposed   = []string{"X-Request-ID, X-RateLimit-Limit, X-RateLimit-Remaining, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, Allow, Content-Disposition, ETag, Accept-Ranges, Content-Range"}
	corsMethods   = []string{"GET, HEAD, POST, PATCH, DELETE"}
	corsHeaders   = []string{"Authorization, Content-Type, X-API-Key, X-Request-ID, Last-Event-ID, Range, If-Range, If-Match, If-None-Match, Traceparent"}
	corsCookies   = []string{"true"}
	corsMaxAge    = []string{"600"} // seconds: how long an origin that is struck from the list goes on asking
)

// cors lets the origins that are listed read the answer, and answers a preflight of theirs. To any other origin nothing is said about origins at all.
func (x *exchange) cors() (answered bool) {
	sent := x.r.Header["Origin"]
	if len(sent) != 1 {
		return false
	}
	h := x.Header()
	switch o, cookies := &x.api.origins, x.api.cookies.On; {
	case o.any && !cookies: // with them, any page could ask in its visitor's name
		h["Access-Control-Allow-Origin"] = everyOrigin
	case o.exact[sent[0]]:
		h["Access-Control-Allow-Origin"] = sent[:1:1]
		if cookies {
			h["Access-Control-Allow-Credentials"] = corsCookies
		}
	default:
		return false
	}
	if x.r.Method != http.MethodOptions || len(x.r.Header["Access-Control-Request-Method"]) == 0 {
		h["Access-Control-Expose-Headers"] = corsExposed
		return false
	}
	h["Vary"] = varyPreflight
	h["Access-Control-Allow-Methods"] = corsMethods
	h["Access-Control-Allow-Headers"] = corsHeaders
	h["Access-Control-Max-Age"] = corsMaxAge
	if err := x.limit(app.Charge{Class: unclassed}); err != nil {
		x.refuse(err)
		return true
	}
	x.WriteHeader(http.StatusNoContent)
	return true
}
