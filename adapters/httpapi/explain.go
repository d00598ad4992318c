package httpapi

import (
	"errors"
	"net/http"
	"time"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/token"
)

// explanation is what can be said of a token; what is not known is left out.
type explanation struct {
	Kind        string       `json:"kind"` // access_token, refresh_token, api_key or unknown
	Taken       bool         `json:"taken"`
	Code        string       `json:"code,omitempty"`   // of the refusal
	Reason      string       `json:"reason,omitempty"` // of the revocation
	Detail      string       `json:"detail,omitempty"`
	Since       *time.Time   `json:"since,omitempty"` // of the revocation
	By          string       `json:"by,omitempty"`    // who asked for it: a user id, operator or system
	Note        string       `json:"note,omitempty"`  // in their words
	Verified    bool         `json:"verified"`        // this system made the token; else what it says is whatever its maker wanted
	Key         *keyState    `json:"key,omitempty"`
	Claims      *claims      `json:"claims,omitempty"`
	User        *user        `json:"user,omitempty"`
	Session     *pastSignIn  `json:"session,omitempty"`
	APIKey      *programKey  `json:"api_key,omitempty"`
	Revocations []withdrawal `json:"revocations"` // all that name it, the earliest first
}

// keyState is a signing key, as far as a token names it.
type keyState struct {
	KID     string `json:"kid"`
	Held    bool   `json:"held"` // it signs or verifies now
	Revoked bool   `json:"revoked"`
}

// claims are those of an access token, by their names in it, with times for people.
type claims struct {
	Issuer    string     `json:"iss"`
	Subject   string     `json:"sub"`
	Audience  []string   `json:"aud"`
	ClientID  string     `json:"client_id"`
	IssuedAt  *time.Time `json:"iat"`
	NotBefore *time.Time `json:"nbf"`
	ExpiresAt *time.Time `json:"exp"`
	ID        string     `json:"jti"`
	Session   string     `json:"sid"`
	Gen       int64      `json:"gen"`
	Epoch     int64      `json:"ep"`
	Scope     string     `json:"scope"`
	Roles     []string   `json:"roles"`
}

// pastSignIn is a session that may have ended.
type pastSignIn struct {
	anySignIn   `json:",inline"`
	EndedAt     *time.Time `json:"ended_at"` // null while it has not been ended itself
	EndedReason string     `json:"ended_reason,omitempty"`
}

// withdrawal is a revocation that names the token.
type withdrawal struct {
	Names  string     `json:"names"` // by what: jti, sid, user, kid, epoch, issued_before or api_key
	Reason string     `json:"reason"`
	Since  time.Time  `json:"since"`
	By     string     `json:"by"`
	Note   string     `json:"note"`
	Until  *time.Time `json:"until"` // when it is forgotten; null: never
}

// explainBody is what an explanation takes.
type explainBody struct {
	Token hidden `json:"token"`
}

// explain tells an administrator about a token, which is neither repeated nor logged.
func (a *API) explain(x *exchange) error {
	var in explainBody
	if err := x.read(&in); err != nil {
		return err
	}
	if in.Token.IsZero() {
		return invalid("token", "is required: an access token, a refresh token or an API key")
	}
	e, err := a.Sessions.Explain(x.ctx(), in.Token.Text)
	if err != nil {
		return err
	}
	out := explanation{Kind: "unknown", Taken: e.Refused == nil, Since: timeOf(e.Since), Verified: e.Verified, Revocations: []withdrawal{}}
	switch {
	case e.APIKey:
		out.Kind = "api_key"
	case e.Refresh:
		out.Kind = "refresh_token"
	case e.Claims != nil:
		out.Kind = "access_token"
		out.Key, out.Claims = &keyState{e.Claims.KeyID, e.Held, a.View.KeyRevoked(e.Claims.KeyID)}, claimsOf(e.Claims)
	}
	if e.Refused != nil {
		p, _ := problemOf(e.Refused)
		out.Code, out.Reason, out.Detail = p.Code, p.Reason, p.Detail
		if errors.Is(e.Refused, token.ErrInvalid) {
			out.Detail = e.Refused.Error() // an administrator may know what exactly is wrong
		}
	}
	for i := range e.Revocations {
		out.Revocations = append(out.Revocations, withdrawalOf(&e.Revocations[i]))
	}
	if out.Code == "token_revoked" && len(e.Revocations) > 0 {
		out.By, out.Note = e.Revocations[0].By, e.Revocations[0].Note
	}
	if e.Account != nil {
		u := userOf(e.Account)
		out.User = &u
	}
	if e.Known != nil {
		k := programKeyOf(&e.Known.Key, e.Known.Ended)
		out.APIKey = &k
	}
	if e.Session != nil {
		out.Session = pastSignInOf(e.Session)
	}
	return x.write(http.StatusOK, out)
}

func claimsOf(c *token.Claims) *claims {
	out := &claims{Issuer: c.Issuer, Audience: c.Audience, ClientID: c.ClientID, IssuedAt: timeOf(c.IssuedAt), NotBefore: timeOf(c.NotBefore), ExpiresAt: timeOf(c.ExpiresAt),
		Gen: int64(c.Generation), Epoch: int64(c.Epoch), Scope: c.Scope, Roles: c.Roles}
	if !c.Subject.IsZero() {
		out.Subject = c.Subject.String()
	}
	if !c.Session.IsZero() {
		out.Session = c.Session.String()
	}
	if !c.ID.IsZero() {
		out.ID = c.ID.String()
	}
	return out
}

func pastSignInOf(s *session.Session) *pastSignIn {
	p := &pastSignIn{anySignIn: anySignInOf(s), EndedAt: timeOf(s.Ended)}
	if s.Ended != 0 {
		p.EndedReason = s.EndedReason.String()
	}
	return p
}

func withdrawalOf(e *revocation.Entry) withdrawal {
	w := withdrawal{Names: e.Kind.String(), Reason: e.Reason.String(), Since: e.At.Time(), By: e.By, Note: e.Note}
	if e.Until != instant.Forever {
		w.Until = timeOf(e.Until)
	}
	return w
}

// timeOf is a time that may be missing.
func timeOf(at instant.Instant) *time.Time {
	if at == 0 {
		return nil
	}
	t := at.Time()
	return &t
}
