package httpapi

import (
	"encoding/base64"
	"errors"
	"math"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/token"
)

// Where OAuth's clients ask. They are libraries that follow the RFCs: what they send is a form, and what they can read of a refusal is RFC 6749's error (section 5.2), to which RFC 7009
// (section 2.2.1) and RFC 7662 (section 2.3) refer. So these routes alone answer no problem of RFC 9457.
const (
	introspectPath = "/api/v1/oauth/introspect"
	revokePath     = "/api/v1/oauth/revoke"
)

// speaksOAuth reports whether what is asked for is one of OAuth's routes.
func speaksOAuth(path string) bool { return path == introspectPath || path == revokePath }

// maxForm is the longest form that is read, in bytes: an access token of 8 KiB whose characters are all percent-encoded, and a hint.
const maxForm = 3*maxToken + 1<<10

var errFormTooLarge = &oauthError{"invalid_request", "the form is longer than 25600 bytes"}

// oauthError is a refusal in the words of RFC 6749.
type oauthError struct{ code, detail string }

func (e *oauthError) Error() string { return e.detail }

// oauthProblem is the body of a refusal (RFC 6749, section 5.2).
type oauthProblem struct {
	Error       string `json:"error"`             // invalid_request, invalid_client, insufficient_scope, unauthorized_client, unsupported_token_type, temporarily_unavailable or server_error
	Description string `json:"error_description"` // for people; it may change
}

// tokenForm is what both routes take.
type tokenForm struct {
	Token string `json:"token"`           // an access token, a refresh token or an API key
	Hint  string `json:"token_type_hint"` // not needed: a token says itself what it is
}

// tokenInForm reads the form. A parameter that is sent twice is refused, one without a value is as one that is not sent, and one that is not known means nothing (RFC 6749, section 3.2).
func (x *exchange) tokenInForm() (secret.Text, error) {
	refuse := func(detail string) (secret.Text, error) { return secret.Text{}, &oauthError{"invalid_request", detail} }
	if media, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type")); err != nil || media != "application/x-www-form-urlencoded" {
		return refuse("the body must be application/x-www-form-urlencoded")
	}
	if x.r.URL.RawQuery != "" || x.r.URL.ForceQuery {
		return refuse("parameters belong into the body: a query stands in logs")
	}
	raw, err := x.readAll(maxForm, errFormTooLarge)
	if err != nil {
		return secret.Text{}, err
	}
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return refuse("the form cannot be read")
	}
	for _, values := range form {
		if len(values) > 1 {
			return refuse("a parameter was sent more than once")
		}
	}
	if form.Get("client_secret") != "" || form.Get("client_assertion") != "" {
		return refuse("the client authenticates itself in a header, and by nothing else")
	}
	if form.Get("token") == "" {
		return refuse("token is missing")
	}
	return secret.New(form.Get("token")), nil
}

// introspection is what a token that is taken says; of one that is not, active alone is there, so that nobody learns why.
type introspection struct {
	Active    bool     `json:"active"`              // the token is taken now
	Scope     string   `json:"scope,omitzero"`      // words parted by spaces
	ClientID  string   `json:"client_id,omitzero"`  // of an API key its id
	TokenType string   `json:"token_type,omitzero"` // Bearer; missing of a refresh token, which is none
	ExpiresAt int64    `json:"exp,omitzero"`        // seconds since 1970
	IssuedAt  int64    `json:"iat,omitzero"`        // seconds since 1970
	NotBefore int64    `json:"nbf,omitzero"`        // seconds since 1970
	Subject   string   `json:"sub,omitzero"`
	Audience  []string `json:"aud,omitzero"`
	Issuer    string   `json:"iss,omitzero"`
	ID        string   `json:"jti,omitzero"`
	Session   string   `json:"sid,omitzero"`
}

// introspect tells a client of a token (RFC 7662). What proves nothing is charged to the address too: it may be a guess.
func (a *API) introspect(x *exchange) error {
	text, err := x.tokenInForm()
	if err != nil {
		return err
	}
	is, why, err := a.Sessions.Introspect(x.ctx(), a.Guard, text)
	switch {
	case err != nil:
		return err
	case is == nil:
		if code := app.RefusalCode(why); code == "token_malformed" || code == "token_invalid" {
			if limited := x.limit(app.Charge{Class: unclassed}); limited != nil {
				return limited
			}
			a.Guard.Refused(x.ctx(), x.request(), app.Caller{}, x.endpoint(), why)
		}
		return x.write(http.StatusOK, introspection{})
	case is.Refresh != nil:
		t := is.Refresh
		return x.write(http.StatusOK, introspection{Active: true, ExpiresAt: is.Until.Seconds(), Subject: t.User.String(), Session: t.ID.String()})
	}
	return x.write(http.StatusOK, introspectionOf(is.Access))
}

func introspectionOf(c *token.Claims) introspection {
	out := introspection{Active: true, Scope: c.Scope, ClientID: c.ClientID, TokenType: "Bearer", IssuedAt: c.IssuedAt.Seconds(), NotBefore: c.NotBefore.Seconds(),
		Subject: c.Subject.String(), Audience: c.Audience, Issuer: c.Issuer}
	if c.ExpiresAt != instant.Forever {
		out.ExpiresAt = c.ExpiresAt.Seconds()
	}
	if !c.ID.IsZero() {
		out.ID = c.ID.String()
	}
	if !c.Session.IsZero() {
		out.Session = c.Session.String()
	}
	return out
}

// revokeToken withdraws a token whose text the client holds (RFC 7009). The answer to one that is none, or none any more, is that of one that was: the client has what it wanted.
func (a *API) revokeToken(x *exchange) error {
	text, err := x.tokenInForm()
	if err != nil {
		return err
	}
	if err := a.Revoker.RevokeFor(x.ctx(), a.Guard, x.caller, x.request(), text); err != nil {
		return err
	}
	x.WriteHeader(http.StatusOK)
	return nil
}

// identifyClient answers which API key authenticates a client of OAuth's routes (RFC 6749, section 2.3): as bearer, in X-API-Key, or by client_secret_basic. Who is signed in is no client.
func (x *exchange) identifyClient() (app.Caller, error) {
	text, err := clientSecret(x.r)
	if err != nil {
		return app.Caller{}, err
	}
	return x.api.Guard.AdmitKey(x.ctx(), x.request(), text)
}

// clientSecret reads the API key. In client_secret_basic the user name is the key's id and the password the key, both encoded as in a form (section 2.3.1).
func clientSecret(r *http.Request) (string, error) {
	sent := r.Header[authorization]
	scheme, encoded, _ := strings.Cut(strings.Join(sent, ""), " ")
	if len(sent) != 1 || len(r.Header[ownHeader]) > 0 || !strings.EqualFold(scheme, "Basic") {
		text, key, err := credential(r)
		if err == nil && !key {
			err = apikey.ErrMalformed // a key's text tells itself; what else is signed in by is no client
		}
		return text, err
	}
	plain, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(plain) > maxToken {
		return "", apikey.ErrMalformed
	}
	user, password, ok := strings.Cut(string(plain), ":")
	user, err1 := url.QueryUnescape(user)
	password, err2 := url.QueryUnescape(password)
	if !ok || err1 != nil || err2 != nil {
		return "", apikey.ErrMalformed
	}
	kid, err := id.Parse[id.APIKey](user)
	if err != nil {
		return "", apikey.ErrMalformed
	}
	if p, err := apikey.Parse(password); err != nil || p.ID != kid {
		return "", apikey.ErrInvalid
	}
	return password, nil
}

// refuseOAuth answers a problem in the form of RFC 6749, section 5.2, and says nothing of why a client is not known.
func (x *exchange) refuseOAuth(err error, p problem) {
	h := x.Header()
	out := oauthProblem{"invalid_request", p.Detail}
	var own *oauthError
	switch {
	case errors.As(err, &own):
		out = oauthProblem{own.code, own.detail}
		p.Status = http.StatusBadRequest
	case errors.Is(err, app.ErrTokenType):
		out = oauthProblem{"unsupported_token_type", err.Error()}
	case errors.Is(err, app.ErrForeignToken):
		out = oauthProblem{"unauthorized_client", err.Error()}
	case p.Status == http.StatusUnauthorized:
		out = oauthProblem{"invalid_client", "the client is not authenticated: send an API key as bearer, in X-API-Key, or by its id and text as user name and password"}
		challenges := []string{`Basic realm="xteam", charset="UTF-8"`, `Bearer realm="xteam"`}
		if scheme, _, _ := strings.Cut(x.r.Header.Get(authorization), " "); strings.EqualFold(scheme, "Bearer") { // the scheme that was used comes first
			slices.Reverse(challenges)
		}
		h["Www-Authenticate"] = challenges
	case p.Status == http.StatusForbidden:
		out.Error = "insufficient_scope" // RFC 6750, section 3.1
	case p.Status == http.StatusTooManyRequests, p.Status == http.StatusServiceUnavailable:
		out.Error = "temporarily_unavailable"
	case p.Status >= http.StatusInternalServerError:
		out = oauthProblem{"server_error", "a fault of the server, which its log tells of under the id of the request"}
	case p.Status == http.StatusRequestTimeout:
		p.Status = http.StatusBadRequest
	}
	if p.retry > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64(math.Ceil(p.retry.Seconds())), 10))
	}
	b, bad := json.Marshal(out, lenient)
	if bad != nil {
		b = []byte("{}") // texts that are ours always marshal
	}
	x.send(p.Status, b)
}
