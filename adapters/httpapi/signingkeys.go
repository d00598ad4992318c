package httpapi

import (
	"net/http"
	"time"

	"github.com/xteam/xteam/app"
)

// signingKey is a key as administrators see it. What is not known, or does not come, is null.
type signingKey struct {
	KID       string     `json:"kid"`
	Algorithm string     `json:"algorithm"`
	State     string     `json:"state"` // next, primary, retiring, gone or revoked
	CreatedAt time.Time  `json:"created_at"`
	ChangedAt time.Time  `json:"changed_at"`     // when it came into its state
	Given     bool       `json:"given"`          // by SECRET_KEY or SECRET_KEY_PREVIOUS
	Then      *string    `json:"then"`           // the state that comes next, or may
	ThenAt    *time.Time `json:"then_at"`        // when it comes by itself; null beside then: when somebody asks for it
	Retirable *time.Time `json:"retirable_from"` // of a key that retires: from when it may be ended without harm
}

func signingKeyOf(k *app.ListedSigningKey) signingKey {
	out := signingKey{KID: k.ID, Algorithm: k.Algorithm, State: k.State.String(), CreatedAt: k.Created.Time(), ChangedAt: k.Changed.Time(), Given: k.Given, ThenAt: timeOf(k.Outlook.At)}
	if k.Outlook.Then != 0 {
		then := k.Outlook.Then.String()
		out.Then = &then
	}
	if k.Retirable != 0 {
		out.Retirable = timeOf(k.Retirable)
	}
	return out
}

// listSigningKeys lists all keys that there are, and those that were and are remembered.
func (a *API) listSigningKeys(x *exchange) error {
	q, err := x.query("limit", "cursor")
	if err != nil {
		return err
	}
	limit, err := partSize(q["limit"])
	if err != nil {
		return err
	}
	all := a.Rotator.List()
	from, err := signingKeysBehind(q["cursor"], all)
	if err != nil {
		return err
	}
	all = all[from:]
	page := list[signingKey]{Items: make([]signingKey, 0, len(all))}
	if len(all) > limit {
		all = all[:limit]
		page.Next = nextSigningKeys(all[limit-1].ID)
	}
	for i := range all {
		page.Items = append(page.Items, signingKeyOf(&all[i]))
	}
	return x.write(http.StatusOK, page)
}

// rotated tells what a rotation did.
type rotated struct {
	KID       string     `json:"kid"`
	Algorithm string     `json:"algorithm"`
	Before    string     `json:"before"`         // the key that signed until now, or goes on until signs_at
	SignsAt   time.Time  `json:"signs_at"`       //
	Until     *time.Time `json:"verifies_until"` // the key before verifies until then; null: it goes on signing
	Given     bool       `json:"before_given"`   // and only as long as SECRET_KEY gives it
	Nodes     []nodeTime `json:"nodes"`          // those that had the new key before it signed; none where one is alone, or where it waits
	LagsUntil *time.Time `json:"lags_until"`     // until then other services may hold a key set without it; null: they all had the time to fetch it, or none can
}

// rotateSigningKeyBody is what a rotation of the signing key takes.
type rotateSigningKeyBody struct {
	Algorithm string `json:"alg"`
	Graceful  bool   `json:"graceful"`
}

func (a *API) rotateSigningKey(x *exchange) error {
	var in rotateSigningKeyBody
	if err := x.readOptional(&in); err != nil {
		return err
	}
	got, err := a.Rotator.Rotate(x.ctx(), x.actor(), in.Algorithm, in.Graceful)
	if err != nil {
		return err
	}
	return x.write(http.StatusOK, rotated{got.Key.ID, got.Key.Algorithm, got.Was, got.Signs.Time(), timeOf(got.Until), got.WasGiven, nodeTimes(got.Nodes), timeOf(got.LagsTo)})
}

func (a *API) retireSigningKey(x *exchange) error {
	if err := a.Rotator.Retire(x.ctx(), x.actor(), x.r.PathValue("kid")); err != nil {
		return err
	}
	x.WriteHeader(http.StatusNoContent)
	return nil
}

// revokeSigningKeyBody is what the revocation of a signing key takes.
type revokeSigningKeyBody struct {
	Reason string `json:"reason"`
}

// revokeSigningKey is a revocation by kid, with the successor in its answer.
func (a *API) revokeSigningKey(x *exchange) error {
	var in revokeSigningKeyBody
	if err := x.readOptional(&in); err != nil {
		return err
	}
	got, err := a.Revoker.Revoke(x.ctx(), x.actor(), app.Selector{Key: x.r.PathValue("kid")}, in.Reason, false)
	if err != nil {
		return err
	}
	return x.write(http.StatusOK, revokedOf(a.Revoker.Confirm(x.ctx(), got), false))
}

// jwks serves the public keys, which anybody may have and keep for a while.
func (a *API) jwks(x *exchange) error {
	a.JWKS.ServeHTTP(x, x.r)
	return nil
}
