package httpapi

import (
	"net/http"
	"strings"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/secret"
)

// Cookies has browsers carry the tokens, where no script can read them. The zero value sets none and reads none.
type Cookies struct {
	On      bool
	Refresh time.Duration // how long a browser keeps a refresh token; default: until it is closed
}

// The cookies (RFC 6265bis, section 4.1.3: the prefixes are promises that browsers hold a server to).
const (
	accessCookie  = "__Host-xteam_at"
	refreshCookie = "__Secure-xteam_rt"
	refreshPath   = "/api/v1/auth/refresh" // to which alone the second is sent
)

// errCrossOrigin is app.ErrCrossOrigin of a cookie, so that other transports know it too.
var errCrossOrigin error = crossOriginError{}

type crossOriginError struct{}

func (crossOriginError) Error() string { return "a page of another origin may not use the cookie" }

// Is is for errors.Is.
func (crossOriginError) Is(other error) bool { return other == app.ErrCrossOrigin }

// setCookies gives the browser its tokens. It is done in answer to JSON only, which no form of another site's page can send: else such a page could sign its
// visitor in as somebody else.
func (x *exchange) setCookies(t app.Tokens) {
	if x.api.cookies.On && saysJSON(x.r.Header.Get("Content-Type")) {
		x.setCookie(accessCookie, "/", t.Access, t.ExpiresIn)
		x.setCookie(refreshCookie, refreshPath, t.Refresh, x.api.cookies.Refresh)
	}
}

// dropCookies takes them from the browser.
func (x *exchange) dropCookies() {
	if x.api.cookies.On {
		x.setCookie(accessCookie, "/", secret.Text{}, -1)
		x.setCookie(refreshCookie, refreshPath, secret.Text{}, -1)
	}
}

func (x *exchange) setCookie(name, path string, value secret.Text, life time.Duration) {
	c := http.Cookie{ //nolint:gosec // G124 wants SameSite=Strict, with which whoever follows a link to here is signed out
		Name: name, Value: value.RevealPlaintext(), Path: path, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode, MaxAge: int(life / time.Second),
	}
	if life < 0 {
		c.MaxAge = -1
	}
	x.Header().Add("Set-Cookie", c.String())
}

// cookie is the token in a cookie of this name; zero when there is none, and when a credential is in a header, which wins. It is refused to pages of other origins.
func (x *exchange) cookie(name string) (secret.Text, error) {
	if !x.api.cookies.On || x.credentialed() {
		return secret.Text{}, nil
	}
	value, found := "", false
	for _, line := range x.r.Header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			if v, ok := strings.CutPrefix(trim(pair), name+"="); ok {
				if found {
					return secret.Text{}, errTwoCredentials
				}
				value, found = v, true
			}
		}
	}
	if !found {
		return secret.Text{}, nil
	}
	if !x.ownPage() {
		return secret.Text{}, errCrossOrigin
	}
	x.byCookie = true
	return secret.New(value), nil
}

// ownPage judges whether a page of this service or of a listed origin made the request, as far as its browser says; a link to here that was followed from
// another page is good too. A request without a word of that is no browser's of these years, whose cookies are not sent by other sites' forms (SameSite).
func (x *exchange) ownPage() bool {
	origin, site := x.r.Header["Origin"], x.r.Header["Sec-Fetch-Site"]
	switch {
	case len(origin) > 1 || len(site) > 1:
		return false
	case len(origin) == 1 && x.api.origins.exact[origin[0]]:
		return true
	case len(origin) == 1 && origin[0] == "null":
		return false
	case len(site) == 1 && site[0] != "same-origin" && site[0] != "none":
		return len(origin) == 0 && x.changesNothing() && x.r.Header.Get("Sec-Fetch-Mode") == "navigate"
	case len(site) == 0 && len(origin) == 1:
		scheme := "http://"
		if x.secure {
			scheme = "https://"
		}
		return origin[0] == scheme+x.r.Host
	}
	return true
}

// isSafe reports whether a method changes nothing (RFC 9110, section 9.2.1).
func isSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// changesNothing reports whether the request has a safe method, and in a proxy's question also the request that it is about.
func (x *exchange) changesNothing() bool {
	if asksForAnother(x.r.URL.Path) {
		if method, _ := x.original(); method != "" && !isSafe(method) {
			return false
		}
	}
	return isSafe(x.r.Method)
}

// simple refuses a request by cookie that changes something and that a form could send. A proxy's question is about another service's request. A file has the form of a form: it is taken of a
// browser that says where the page is from, which ownPage has judged.
func (x *exchange) simple() error {
	if isUpload(x.r) && len(x.r.Header["Origin"])+len(x.r.Header["Sec-Fetch-Site"]) > 0 {
		return nil
	}
	if x.byCookie && !isSafe(x.r.Method) && !asksForAnother(x.r.URL.Path) && !saysJSON(x.r.Header.Get("Content-Type")) {
		return errNotJSON
	}
	return nil
}
