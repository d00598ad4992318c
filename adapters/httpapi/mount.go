package httpapi

import (
	"net/http"
	"sync"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/token"
)

// Mount is another transport that stands inside this one's chain, at one path. Its handler finds an app.Visit in the context, by which it has whoever asks identified
// and charged: nothing of that is done before. The headers of every answer are there, and a handler may set its own values for them. The body is bounded and must
// arrive in time, as a route's own; an error of reading it is for Visit.Refuse.
type Mount struct {
	Method  string // none: any but TRACE
	Path    string // a pattern of net/http's mux
	Handler http.Handler
}

// mounted is the route of a mount.
func (a *API) mounted(m Mount) route {
	return route{method: m.Method, path: m.Path, class: exempt, access: anyone, mounted: true, serve: func(x *exchange) error {
		r := x.r.WithContext(app.WithVisit(x.ctx(), &visit{x: x}))
		r.Body = x.bounded()
		m.Handler.ServeHTTP(x, r)
		return nil
	}}
}

// visit is an exchange as a mounted transport sees it.
type visit struct {
	mu sync.Mutex // a transport may look after several things at once
	x  *exchange
}

var _ app.Visit = (*visit)(nil)

// Request is of app.Visit.
func (v *visit) Request() app.Request { return v.x.request() }

// Actor is of app.Visit.
func (v *visit) Actor() app.Actor {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.x.caller.Claims == nil && !v.x.operator {
		return app.Actor{Request: v.x.request()}
	}
	return v.x.actor()
}

// OwnPage is of app.Visit.
func (v *visit) OwnPage() bool {
	o := &v.x.api.origins
	return o.any && !v.x.api.cookies.On || v.x.ownPage()
}

// Refuse is of app.Visit.
func (v *visit) Refuse(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.x.wrote {
		v.x.refuse(err)
	}
}

// Charge is of app.Visit.
func (v *visit) Charge(c app.Charge) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.x.limit(c)
}

// Admit is of app.Visit.
func (v *visit) Admit(r app.Rule) (app.Caller, error) { return v.admit(r, v.x.identify) }

// AdmitBy is of app.Visit.
func (v *visit) AdmitBy(credential string, r app.Rule) (app.Caller, error) {
	x := v.x
	return v.admit(r, func(access) (app.Caller, error) {
		switch {
		case x.credentialed():
			return app.Caller{}, errTwoCredentials
		case credential == "":
			return app.Caller{}, token.ErrMissing
		case apikey.Looks(credential):
			return x.api.Guard.AdmitKey(x.ctx(), x.request(), credential)
		}
		return x.api.Guard.Admit(credential)
	})
}

func (v *visit) admit(r app.Rule, identify func(access) (app.Caller, error)) (app.Caller, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	x := v.x
	x.caller, x.operator, x.byCookie = app.Caller{}, false, false
	to := &route{class: r.Class, access: r.Access, contains: r.Contains, bySession: r.BySession, scope: r.Scope}
	if err := x.admitBy(to, identify); err != nil {
		return app.Caller{}, err
	}
	return x.caller, x.simple()
}
