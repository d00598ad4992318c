package httpapi

import (
	"errors"
	"net/http"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/ports"
)

// programKey is an API key as its owner sees it. What has not happened is null.
type programKey struct {
	ID            string     `json:"id"`
	Name          string     `json:"name"`
	Scopes        []string   `json:"scopes"`
	Environment   string     `json:"environment"` // dev, stg or prd
	Status        string     `json:"status"`      // live, retiring (another has taken its place), expired or revoked
	CreatedAt     time.Time  `json:"created_at"`
	ExpiresAt     time.Time  `json:"expires_at"`
	MadeBy        maker      `json:"made_by"`
	LastUsedAt    *time.Time `json:"last_used_at"` // written down once a minute, as last_ip_address and uses are
	LastIPAddress *string    `json:"last_ip_address"`
	Uses          uint64     `json:"uses"`
	UsualUses     *uint64    `json:"usual_uses_per_hour"` // of an hour in which it is used; null until that is known
	Networks      []string   `json:"networks"`            // that it was used from, the latest first
	PerMinute     *int64     `json:"requests_per_minute"` // null: as many as the service gives each key
	ReplacedBy    *string    `json:"replaced_by"`         // the id of the key that took its place
	RetiresAt     *time.Time `json:"retires_at"`          // when it is refused for that reason
	RevokedAt     *time.Time `json:"revoked_at"`
	Reason        *string    `json:"reason"` // why it is revoked
}

// maker is who made a key: both null for one from before that was kept.
type maker struct {
	Session *string `json:"session"` // the sign-in that it goes back to, through whatever keys
	APIKey  *string `json:"api_key"` // the key that asked for it; null when the sign-in itself did
}

func programKeyOf(k *apikey.Key, ended error) programKey {
	out := programKey{ID: k.ID.String(), Name: k.Name.String(), Scopes: k.Scopes.Names(), Environment: string(k.Environment), Status: "live",
		CreatedAt: k.Created.Time(), ExpiresAt: k.Expires.Time(), LastUsedAt: timeOf(k.LastUsed), Uses: k.Uses, RetiresAt: timeOf(k.Retires), RevokedAt: timeOf(k.Revoked)}
	if k.LastFrom.Address.IsValid() {
		address := addressOf(k.LastFrom.Address)
		out.LastIPAddress = &address
	}
	if usual := k.Habit.Usual(); usual > 0 {
		out.UsualUses = &usual
	}
	out.Networks = texts(k.Networks.List())
	if k.Limit > 0 {
		limit := k.Limit
		out.PerMinute = &limit
	}
	if !k.Successor.IsZero() {
		next := k.Successor.String()
		out.ReplacedBy = &next
	}
	if by := k.MadeBy.Session; !by.IsZero() {
		text := by.String()
		out.MadeBy.Session = &text
	}
	if by := k.MadeBy.Key; !by.IsZero() {
		text := by.String()
		out.MadeBy.APIKey = &text
	}
	var revoked *revocation.RevokedError
	switch {
	case errors.As(ended, &revoked):
		reason := revoked.Reason.String()
		out.Status, out.Reason = "revoked", &reason
	case ended != nil:
		out.Status = "expired"
	case k.Retires != 0:
		out.Status = "retiring"
	}
	return out
}

// newKey is the one answer that holds a key's text.
type newKey struct {
	programKey `json:",inline"`
	Key        string `json:"key"`
}

func (x *exchange) writeNewKey(k app.IssuedKey) error {
	return x.write(http.StatusCreated, newKey{programKeyOf(&k.Key, nil), k.Text.RevealPlaintext()})
}

func (a *API) listKeys(x *exchange) error {
	q, err := x.query("limit", "cursor")
	if err != nil {
		return err
	}
	all, err := a.APIKeys.List(x.ctx(), x.request(), x.caller)
	if err != nil {
		return err
	}
	all, next, err := keysPage(all, q["limit"], q["cursor"])
	if err != nil {
		return err
	}
	page := list[programKey]{Items: make([]programKey, 0, len(all)), Next: next}
	for i := range all {
		page.Items = append(page.Items, programKeyOf(&all[i].Key, all[i].Ended))
	}
	return x.write(http.StatusOK, page)
}

// makeKeyBody is what a new API key takes.
type makeKeyBody struct {
	Name   string   `json:"name"`
	Scopes []string `json:"scopes"`              // none: users:read
	Days   *int64   `json:"expires_in_days"`     // not given: 90
	Limit  *int64   `json:"requests_per_minute"` // not given: as many as the service gives each key
}

func (a *API) makeKey(x *exchange) error {
	var in makeKeyBody
	if err := x.read(&in); err != nil {
		return err
	}
	var bad validationError
	var w apikey.Wish
	var err error
	w.Name, err = apikey.ParseName(in.Name)
	bad.noteWish(err)
	w.Scopes, err = apikey.ParseScopes(in.Scopes)
	bad.noteWish(err)
	w.Life, err = lifeOf(in.Days)
	bad.noteWish(err)
	if in.Limit != nil {
		w.Limit, err = apikey.ParseLimit(*in.Limit)
		bad.noteWish(err)
	}
	if len(bad.fields) > 0 {
		return &bad
	}
	k, err := a.APIKeys.Issue(x.ctx(), x.request(), x.caller, w)
	if err != nil {
		return err
	}
	return x.writeNewKey(k)
}

// rotateKeyBody is what a rotation of an API key takes.
type rotateKeyBody struct {
	Days  *int64 `json:"expires_in_days"` // not given: as long as the old one was to live
	Hours *int64 `json:"overlap_hours"`   // not given: 24
}

func (a *API) rotateKey(x *exchange) error {
	kid, err := keyNamed(x)
	if err != nil {
		return err
	}
	var in rotateKeyBody
	if err := x.readOptional(&in); err != nil {
		return err
	}
	var bad validationError
	how := app.Rotation{Overlap: apikey.DefaultOverlap}
	how.Life, err = lifeOf(in.Days)
	bad.noteWish(err)
	if in.Hours != nil {
		how.Overlap, err = apikey.ParseOverlap(*in.Hours)
		bad.noteWish(err)
	}
	if len(bad.fields) > 0 {
		return &bad
	}
	k, err := a.APIKeys.Rotate(x.ctx(), x.request(), x.caller, kid, how)
	if err != nil {
		return err
	}
	return x.writeNewKey(k)
}

func (a *API) revokeKey(x *exchange) error {
	kid, err := keyNamed(x)
	if err != nil {
		return err
	}
	line, err := x.children()
	if err != nil {
		return err
	}
	if line {
		ended, err := a.APIKeys.RevokeLine(x.ctx(), x.request(), x.caller, kid)
		if err != nil {
			return err
		}
		return x.write(http.StatusOK, endedKeysOf(ended))
	}
	if err := a.APIKeys.Revoke(x.ctx(), x.request(), x.caller, kid); err != nil {
		return err
	}
	x.WriteHeader(http.StatusNoContent)
	return nil
}

// endedKeys are the ids of the keys that an act ended.
type endedKeys struct {
	Revoked []string `json:"revoked"`
}

func endedKeysOf(all []id.APIKey) endedKeys {
	out := endedKeys{make([]string, len(all))}
	for i, kid := range all {
		out.Revoked[i] = kid.String()
	}
	return out
}

// children reports whether a key's line is to end with it. Another query than that would be a wish that is not seen.
func (x *exchange) children() (bool, error) {
	q, err := x.query("children")
	if err != nil {
		return false, err
	}
	switch q["children"] {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	}
	return false, invalid("children", "must be true or false")
}

// anyProgramKey is an API key as administrators see it.
type anyProgramKey struct {
	programKey `json:",inline"`
	UserID     string `json:"user_id"`
}

// listKeysOf lists all keys of one account, which are few, on one page.
func (a *API) listKeysOf(x *exchange) error {
	q, err := x.query("user", "limit", "cursor")
	if err != nil {
		return err
	}
	if q["user"] == "" {
		return invalid("user", "is required: an id, an e-mail address or a user name")
	}
	acct, err := a.Accounts.Lookup(x.ctx(), q["user"])
	if err != nil {
		return err
	}
	all, err := a.APIKeys.ListOf(x.ctx(), acct.ID)
	if err != nil {
		return err
	}
	all, next, err := keysPage(all, q["limit"], q["cursor"])
	if err != nil {
		return err
	}
	page := list[anyProgramKey]{Items: make([]anyProgramKey, 0, len(all)), Next: next}
	for i := range all {
		page.Items = append(page.Items, anyProgramKey{programKeyOf(&all[i].Key, all[i].Ended), all[i].Owner.String()})
	}
	return x.write(http.StatusOK, page)
}

// showKey shows a key by its id, whoever owns it.
func (a *API) showKey(x *exchange) error {
	kid, err := keyNamed(x)
	if err != nil {
		return err
	}
	k, err := a.APIKeys.Find(x.ctx(), kid)
	if err != nil {
		return err
	}
	return x.write(http.StatusOK, anyProgramKey{programKeyOf(&k.Key, k.Ended), k.Owner.String()})
}

// endKeyBody is what the end of somebody's API key takes.
type endKeyBody struct {
	Children bool   `json:"children"` // and all that it made
	Reason   string `json:"reason"`
}

// endKey ends a key by its id, whoever owns it.
func (a *API) endKey(x *exchange) error {
	kid, err := keyNamed(x)
	if err != nil {
		return err
	}
	var in endKeyBody
	if err := x.readOptional(&in); err != nil {
		return err
	}
	ended, err := a.APIKeys.End(x.ctx(), x.actor(), kid, in.Reason, in.Children)
	if err != nil {
		return err
	}
	return x.write(http.StatusOK, endedKeysOf(ended))
}

// keyNamed is the id in the path. What is no id names no key.
func keyNamed(x *exchange) (id.APIKey, error) {
	kid, err := id.Parse[id.APIKey](x.r.PathValue("id"))
	if err != nil {
		return kid, ports.ErrNotFound
	}
	return kid, nil
}

func lifeOf(days *int64) (time.Duration, error) {
	if days == nil {
		return 0, nil
	}
	return apikey.ParseLife(*days)
}

// noteWish adds what is wrong with a wish for a key.
func (e *validationError) noteWish(err error) {
	if wish := (*apikey.InvalidError)(nil); errors.As(err, &wish) {
		e.note(wish.Field, wish.Detail)
	}
}
