// Package httpapi is the REST transport: routes.go says what is served and to whom, chain.go what every request passes through, and problems.go which refusal
// becomes which answer. It decides nothing; package app does.
//
// The routes stand on net/http's own mux. A handler is a function from an exchange to an error; whatever it returns is answered as a problem (RFC 9457).
package httpapi

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/ports"
)

// Services are the use cases that are served. All but those that may be nil are needed.
type Services struct {
	Guard     *app.Guard
	Sessions  *app.Sessions
	Accounts  *app.Accounts
	Revoker   *app.Revoker
	Rotator   *app.Rotator
	Secrets   *app.Secrets // nil: /readyz tells nothing of them
	APIKeys   *app.APIKeys
	Tethers   *app.Tethers // nil: nothing is served that stays open
	Live      *app.Live    // nil: no events are
	Feed      *app.Feed    // nil: other services are told of no revocations
	Tickets   *app.Tickets // nil: there are none
	Trail     *app.Trail   // nil: the audit trail is not served
	View      *view.View
	Pending   *app.Pending                // nil: nothing is in force before it is durable
	SetUp     *app.SetUp                  // nil: nobody can make the first administrator by a link
	Disowner  *app.Disowner               // nil: no links are taken by which users end sign-ins
	Incidents *app.Incidents              // nil: there are no routes for what is done about a break-in
	Alerts    *app.Alerts                 // nil: nothing is held against rules, and there are no routes to see what they find
	Uploads   *app.Uploads                // nil: no files are taken
	Blocks    *app.Blocks                 // nil: nobody is turned away for their address, and there are no routes to have them so
	Limiter   *app.Limiter                // nil: nothing is limited
	Probe     func(context.Context) error // asks the store whether it answers; for /readyz
	Meter     ports.Meter                 // nil: nothing is counted
	Metrics   http.Handler                // served to administrators under /metrics; nil: nothing is
	JWKS      http.Handler                // served under /.well-known/jwks.json; nil: nothing is
	Nodes     *app.Nodes                  // nil: nothing is known of them
	Sinks     *app.Sinks                  // nil: /readyz tells nothing of where events go
	Firewall  *app.Firewall               // nil: there is none
	Mounts    []Mount                     // other transports
}

// Options of the transport. The zero value works.
type Options struct {
	Logger  *slog.Logger // default: nothing is logged
	Proxies Proxies      // default: none is trusted
	Hosts   Hosts        // default: any
	Origins Origins      // default: none
	Cookies Cookies      // default: none
	Version string       // of the program, in exports in CEF; default unknown
}

// API is the REST transport of one system. It holds no state of its own but two counters and the store's last answer to /readyz.
type API struct {
	Services
	log      *slog.Logger
	mux      *http.ServeMux
	proxies  Proxies
	hosts    Hosts
	probes   map[string]bool // paths that are answered whatever the address
	origins  Origins
	cookies  Cookies
	prefix   string // of request ids: tells this process from others
	count    atomic.Uint64
	waiting  atomic.Uint64 // answers that told somebody to come again after an outage
	store    asked
	verifier *route // serves verifyPath and all below it
	quotas   map[*app.Policy]*quota
	version  string
}

// New serves the services.
func New(s Services, o Options) *API {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails; a request id is no secret
	a := &API{Services: s, log: o.Logger, mux: http.NewServeMux(), proxies: o.Proxies.plain(), hosts: o.Hosts, origins: o.Origins, cookies: o.Cookies, prefix: hex.EncodeToString(b[:]) + "-", quotas: quotas(s.Limiter.Policies()), version: cmp.Or(o.Version, "unknown")}
	a.probes = probesOf(a.routes())
	for _, r := range a.routes() {
		r.api = a
		pattern := strings.TrimPrefix(r.method+" "+r.path, " ")
		if r.path == "/" { // and nothing below it
			pattern += "{$}"
		}
		a.mux.Handle(pattern, &r)
		if r.path == verifyPath {
			a.verifier = &r
		}
	}
	a.mux.Handle("/", http.HandlerFunc(a.unrouted))
	return a
}

// Handler serves everything that the transport has.
func (a *API) Handler() http.Handler { return a }

type operatorKey struct{}

// AsOperator serves h to the operator: whoever can open the listener may do what an administrator may, without a token. It belongs around the handler of a
// listener that only the operator can reach, such as a Unix socket whose peers are checked; no header can ask for it.
func AsOperator(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), operatorKey{}, true)))
	})
}
