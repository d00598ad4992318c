package httpapi

import (
	"net/http"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/instant"
)

// createUserBody is what a new account takes.
type createUserBody struct {
	person `json:",inline"`
	Role   string `json:"role"`
	Decoy  bool   `json:"decoy"`
}

// createdUser is a new account, and of a decoy the API key to leave about.
type createdUser struct {
	user   `json:",inline"`
	APIKey string `json:"api_key,omitzero"` // of a decoy: told this once
}

func (u createdUser) appendJSON(b []byte) ([]byte, error) {
	b, err := u.user.appendJSON(b)
	if err != nil || u.APIKey == "" {
		return b, err
	}
	if b, err = appendQuote(append(b[:len(b)-1], `,"api_key":`...), u.APIKey); err != nil {
		return nil, err
	}
	return append(b, '}'), nil
}

func (a *API) createUser(x *exchange) error {
	var in createUserBody
	if err := x.read(&in); err != nil {
		return err
	}
	if in.Role == "" {
		in.Role = string(account.RoleUser)
	}
	reg, bad := in.registration()
	role, err := account.ParseRole(in.Role)
	if err != nil {
		bad.fields = append(bad.fields, fieldError{"role", "must be user or admin"})
	}
	if in.Decoy && role == account.RoleAdmin {
		bad.fields = append(bad.fields, fieldError{"role", "must be user: a decoy is no administrator"})
	}
	if len(bad.fields) > 0 {
		return bad
	}
	if in.Decoy {
		made, key, err := a.Accounts.CreateDecoy(x.ctx(), x.actor(), reg)
		if err != nil {
			return err
		}
		return x.write(http.StatusCreated, createdUser{userOf(&made), key.RevealPlaintext()})
	}
	made, err := a.Accounts.Create(x.ctx(), x.actor(), reg, role)
	if err != nil {
		return err
	}
	return x.write(http.StatusCreated, userOf(&made))
}

// revokeUserTokensBody is what a revocation of all of a user's tokens takes.
type revokeUserTokensBody struct {
	UserID string `json:"user_id"`
}

func (a *API) revokeUserTokens(x *exchange) error {
	var in revokeUserTokensBody
	if err := x.read(&in); err != nil {
		return err
	}
	if in.UserID == "" {
		return invalid("user_id", "is required: an id, an e-mail address or a user name")
	}
	got, err := a.Revoker.Revoke(x.ctx(), x.actor(), app.Selector{User: in.UserID}, "", false)
	if err != nil {
		return err
	}
	return x.write(http.StatusOK, endedBy(got))
}

// revoked is what a revocation did, or would do.
type revoked struct {
	ended   `json:",inline"`
	Nodes   []nodeTime `json:"nodes"`             // who refuses, and after how long; the node that was asked first
	Missing []string   `json:"missing,omitempty"` // who lives and has not said so within three seconds; each refuses once it hears of it
	DryRun  bool       `json:"dry_run,omitzero"`
	Hint    string     `json:"hint,omitempty"` // what is left to be done by hand
}

type nodeTime struct {
	Node string  `json:"node"`
	MS   float64 `json:"ms"`
}

// revokeBody is what a revocation takes: exactly one of user_id, session_id, token, jti, kid, issued_before and all.
type revokeBody struct {
	UserID       string     `json:"user_id"`
	SessionID    string     `json:"session_id"`
	Token        hidden     `json:"token"`
	JTI          string     `json:"jti"`
	KID          string     `json:"kid"`
	Force        bool       `json:"force"`         // a kid that this system does not hold
	IssuedBefore *time.Time `json:"issued_before"` // RFC 3339
	All          bool       `json:"all"`
	Reason       string     `json:"reason"`
	DryRun       bool       `json:"dry_run"`
}

func (a *API) revoke(x *exchange) error {
	var in revokeBody
	if err := x.read(&in); err != nil {
		return err
	}
	sel := app.Selector{User: in.UserID, Session: in.SessionID, Token: in.Token.Text, JTI: in.JTI, Key: in.KID, Force: in.Force, All: in.All}
	if in.IssuedBefore != nil {
		sel.IssuedBefore = instant.Of(*in.IssuedBefore)
		if sel.IssuedBefore == 0 {
			sel.IssuedBefore-- // as good: both lie before every token, and 0 would say that no time was given
		}
	}
	got, err := a.Revoker.Revoke(x.ctx(), x.actor(), sel, in.Reason, in.DryRun)
	if err != nil {
		return err
	}
	return x.write(http.StatusOK, revokedOf(a.Revoker.Confirm(x.ctx(), got), in.DryRun))
}

func revokedOf(got app.Revoked, dry bool) revoked {
	out := revoked{ended: endedBy(got), Nodes: nodeTimes(got.Nodes), DryRun: dry, Hint: got.Hint}
	out.Missing = got.Missing
	return out
}

func nodeTimes(all []app.NodeTime) []nodeTime {
	out := make([]nodeTime, 0, len(all))
	for _, n := range all {
		out = append(out, nodeTime{n.Node, float64(n.Took.Microseconds()) / 1000})
	}
	return out
}
