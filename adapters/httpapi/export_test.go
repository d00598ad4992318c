package httpapi

import (
	"net/http"
	"net/netip"
)

// From is where a request comes from by the word of these proxies, and whether over TLS.
func From(p Proxies, r *http.Request) (netip.Addr, bool) { return p.plain().from(r) }
