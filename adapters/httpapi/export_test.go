package httpapi

import (
	"net/http"
	"net/netip"
)

// From is where a request comes from by the word of these proxies, and whether over TLS.
func From(p Proxies, r *http.Request) (netip.Addr, bool) { return p.plain().from(r) }

// KeyScopes are the routes by method and path, with the scope that an API key needs there (empty: no key is taken), and those alone that know their caller.
func (a *API) KeyScopes() map[string]string {
	all := map[string]string{}
	for _, r := range a.routes() {
		if r.access != anyone {
			all[r.method+" "+r.path] = r.needs().String()
		}
	}
	return all
}

// User is an account as it is answered.
type User = user

// AppendJSON is how it writes itself.
func (u user) AppendJSON(b []byte) ([]byte, error) { return u.appendJSON(b) }
