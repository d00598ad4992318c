package httpapi

import (
	"context"
	"net/http"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/apikey"
)

type callerKey struct{}

// protected is any route of an embedding program's own that takes no API key.
var protected = route{class: exempt, access: signedIn}

// Protect lets to next only requests whose access token is taken, and no API key, with their caller in the context; the others get the API's own refusal. It
// changes nothing else: the headers of next's answers are next's own. Refusals are charged to the address that sent them, nothing else is charged.
func (a *API) Protect(next http.Handler) http.Handler { return a.protect(&protected, next) }

// ProtectKeys is Protect, and lets in API keys too that have the scope. One without it is refused with 403.
func (a *API) ProtectKeys(scope apikey.Scopes, next http.Handler) http.Handler {
	return a.protect(&route{class: exempt, access: signedIn, scope: scope}, next)
}

func (a *API) protect(to *route, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := a.begin(w, r)
		if x.turnedAway() {
			return
		}
		if err := x.admit(to); err != nil {
			x.setHeaders()
			x.refuse(err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, x.caller)))
	})
}

// Limit lets to next only requests that the rate limits have room for: those of their address, and those of the class, of whoever Protect let in before, or else of their
// address too. Every answer tells how much is left; the others get the API's own refusal, 429 with Retry-After.
func (a *API) Limit(class *app.Own, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := a.begin(w, r)
		if x.turnedAway() {
			return
		}
		c := app.Charge{Own: class}
		if who, ok := CallerFrom(r.Context()); ok {
			c.User, c.Key, c.KeyLimit = who.User(), who.Claims.APIKey, who.Limit
		}
		if err := x.limit(c); err != nil {
			x.setHeaders()
			x.refuse(err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// CallerFrom answers who a protected request comes from; false outside Protect.
func CallerFrom(ctx context.Context) (app.Caller, bool) {
	c, ok := ctx.Value(callerKey{}).(app.Caller)
	return c, ok
}
