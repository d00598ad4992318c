package httpapi

import (
	"net/http"
	"strings"
)

// verifyPath is where proxies ask whether a request is to be let through.
const verifyPath = "/api/v1/auth/verify"

// asksForAnother reports whether a path is a proxy's question about a request for another service, whose path may follow (as Envoy sends it).
func asksForAnother(path string) bool {
	return strings.HasPrefix(path, verifyPath) && (len(path) == len(verifyPath) || path[len(verifyPath)] == '/')
}

var nobody = []string{""}

// verify answers a proxy whose the credential of a request is, in four headers that are always there: a proxy that copies them onto the request leaves none of the
// client's own in their place. It looks at nothing but the credential, whatever method, path, query and headers come with it.
func (a *API) verify(x *exchange) error {
	c := x.caller
	h := x.Header()
	h["X-Auth-User"] = []string{c.User().String()}
	h["X-Auth-Session"] = nobody
	if !c.Session().IsZero() {
		h["X-Auth-Session"] = []string{c.Session().String()}
	}
	h["X-Auth-Scope"] = []string{c.Claims.Scope}                    // words parted by spaces
	h["X-Auth-Roles"] = []string{strings.Join(c.Claims.Roles, ",")} // names parted by commas
	x.WriteHeader(http.StatusOK)
	return nil
}
