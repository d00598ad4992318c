package httpapi

import (
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
)

// verifyPath is where proxies ask whether a request is to be let through. Behind a comma stands what they want of the credential beside that it is good, and behind
// a slash whatever path the request has that they ask about.
const verifyPath = "/api/v1/auth/verify"

// asksForAnother reports whether a path is a proxy's question about a request for another service, whose path may follow (as Envoy sends it).
func asksForAnother(path string) bool {
	return strings.HasPrefix(path, verifyPath) && (len(path) == len(verifyPath) || path[len(verifyPath)] == '/' || path[len(verifyPath)] == ',')
}

// demand is what a proxy wants of a credential beside that it is good: all of these roles and scopes.
type demand struct {
	roles  []account.Role
	scopes apikey.Scopes
}

// demandOf reads the demand in the path of a proxy's question: verify,role=admin,scope=users:read. Whoever set the proxy up wrote it; the path of the request that it
// asks about begins with a slash, so that no client's can reach into it, and what were added at its end could only demand more. What names no role and no scope
// of ours is not ok: nobody could meet it, or anybody.
func demandOf(path string) (d demand, ok bool) {
	rest := path[len(verifyPath):]
	if rest == "" || rest[0] == '/' {
		return d, true
	}
	written, _, _ := strings.Cut(rest[1:], "/")
	for one := range strings.SplitSeq(written, ",") {
		kind, name, _ := strings.Cut(one, "=")
		switch kind {
		case "role":
			role, err := account.ParseRole(name)
			if err != nil {
				return d, false
			}
			d.roles = append(d.roles, role)
		case "scope":
			scope, err := apikey.ParseScopes([]string{name})
			if err != nil {
				return d, false
			}
			d.scopes |= scope
		default:
			return d, false
		}
	}
	return d, true
}

// metBy reports whether the caller has all that is demanded. Who is signed in has the scopes that their role could give to a key.
func (d demand) metBy(c app.Caller) bool {
	for _, r := range d.roles {
		if !c.Claims.HasRole(string(r)) {
			return false
		}
	}
	has := c.Scopes
	if !c.IsKey() {
		for _, r := range c.Claims.Roles {
			has |= apikey.Granted(account.Role(r))
		}
	}
	return has.Has(d.scopes)
}

// verify answers a proxy whose the credential of a request is, in four headers that are always there: a proxy that copies them onto the request leaves none of the
// client's own in their place. It looks at the credential and at what is demanded of it alone, whatever method, path, query and headers come with it.
func (a *API) verify(x *exchange) error {
	if d, _ := demandOf(x.r.URL.Path); !d.metBy(x.caller) {
		return a.Guard.Lacks(x.ctx(), x.request(), x.caller, x.endpoint())
	}
	x.named = true
	if x.conn == nil {
		x.putIdentity()
	}
	x.WriteHeader(http.StatusOK)
	return nil
}

// The headers that name the bearer, as net/http's map has them.
const (
	identityUser    = "X-Auth-User"
	identitySession = "X-Auth-Session"
	identityScope   = "X-Auth-Scope" // words parted by spaces
	identityRoles   = "X-Auth-Roles" // names parted by commas
)

var nobody = []string{""}

// putIdentity puts them into the map, over whatever stands there.
func (x *exchange) putIdentity() {
	h, c := x.Header(), x.caller
	h[identityUser] = []string{c.User().String()}
	h[identitySession] = nobody
	if !c.Session().IsZero() {
		h[identitySession] = []string{c.Session().String()}
	}
	h[identityScope] = []string{c.Claims.Scope}
	h[identityRoles] = []string{strings.Join(c.Claims.Roles, ",")}
}

// appendIdentity appends the same as they stand in an answer of HTTP/1.1.
func (x *exchange) appendIdentity(b []byte) ([]byte, error) {
	c := x.caller
	user, session := c.User(), c.Session()
	b = hex.AppendEncode(append(b, identityUser+": "...), user[:])
	b = append(b, "\r\n"+identitySession+": "...)
	if !session.IsZero() {
		b = hex.AppendEncode(b, session[:])
	}
	b = append(append(b, "\r\n"+identityScope+": "...), c.Claims.Scope...)
	b = append(b, "\r\n"+identityRoles+": "...)
	bad := strings.ContainsAny(c.Claims.Scope, "\r\n")
	for i, role := range c.Claims.Roles {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, role...)
		bad = bad || strings.ContainsAny(role, "\r\n")
	}
	if bad {
		return nil, errNotOneLine
	}
	return append(b, "\r\n"...), nil
}

// The headers in which proxies tell of the request that they ask about. A client can send them too, and some proxies hand its own on: so nothing hangs on them but
// what the journal says, and that a request which changes something is no link that was followed.
const (
	forwardedMethod = "X-Forwarded-Method"
	forwardedURI    = "X-Forwarded-Uri"
)

// original is the request that a proxy asks about, by its own word: method and path, without the query, which may hold anything. It is empty where the proxy is
// not trusted, or says nothing, or too much.
func (x *exchange) original() (method, path string) {
	m, u := x.r.Header[forwardedMethod], x.r.Header[forwardedURI]
	if len(m) != 1 || len(u) > 1 || !x.api.proxies.speak(x.r) {
		return "", ""
	}
	if len(u) == 1 {
		path, _, _ = strings.Cut(u[0], "?")
	}
	return cut(m[0], 20), cut(path, 150)
}
