package httpapi

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

// signIn is a session as its owner sees it.
type signIn struct {
	ID            string    `json:"id"`
	UserAgent     string    `json:"user_agent"`      // of the sign-in
	IPAddress     string    `json:"ip_address"`      // of the sign-in; empty when it is not known
	LastIPAddress string    `json:"last_ip_address"` // of the last refresh
	CreatedAt     time.Time `json:"created_at"`
	LastUsedAt    time.Time `json:"last_used_at"`   // the sign-in or the last refresh
	RefreshBefore time.Time `json:"refresh_before"` // it ends then unless it is refreshed
	ExpiresAt     time.Time `json:"expires_at"`     // it ends then whatever is done
}

func signInOf(s *session.Session) signIn {
	return signIn{s.ID.String(), s.Device.UserAgent, addressOf(s.Device.Address), addressOf(s.LastFrom.Address), s.Created.Time(), s.LastUsed.Time(), s.Idle.Time(), s.Expires.Time()}
}

func addressOf(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// ownSignIn is a session as who has it sees it.
type ownSignIn struct {
	signIn  `json:",inline"`
	Current bool `json:"current"` // the one that asks
}

func (a *API) ownSessions(x *exchange) error {
	q, err := x.query("limit", "cursor")
	if err != nil {
		return err
	}
	limit, err := partSize(q["limit"])
	if err != nil {
		return err
	}
	behind, err := sessionsBehind(q["cursor"], x.caller.User())
	if err != nil {
		return err
	}
	all, err := a.Sessions.Own(x.ctx(), x.caller)
	if err != nil {
		return err
	}
	all, more := part(all, limit, func(s *session.Session) bool { return s.Place().Compare(behind) > 0 })
	page := list[ownSignIn]{Items: make([]ownSignIn, 0, len(all))}
	for i := range all {
		page.Items = append(page.Items, ownSignIn{signInOf(&all[i]), all[i].ID == x.caller.Session()})
	}
	if more {
		page.Next = nextSessions(x.caller.User(), all[limit-1].Place())
	}
	return x.write(http.StatusOK, page)
}

func (a *API) endOwnSession(x *exchange) error {
	sid, err := id.Parse[id.Session](x.r.PathValue("id"))
	if err != nil {
		return ports.ErrNotFound
	}
	if err := a.Sessions.EndOwn(x.ctx(), x.request(), x.caller, sid); err != nil {
		return err
	}
	x.WriteHeader(http.StatusNoContent)
	return nil
}

// listSessions lists the sessions that go on, of one user or of everybody.
func (a *API) listSessions(x *exchange) error {
	q, err := x.query("limit", "cursor", "user")
	if err != nil {
		return err
	}
	limit, err := pageSize(q["limit"])
	if err != nil {
		return err
	}
	var of id.User
	if q["user"] != "" {
		acct, err := a.Accounts.Lookup(x.ctx(), q["user"])
		if err != nil {
			return err
		}
		of = acct.ID
	}
	behind, err := sessionsBehind(q["cursor"], of)
	if err != nil {
		return err
	}
	all, next, more, err := a.Sessions.Page(x.ctx(), of, behind, limit)
	if err != nil {
		return err
	}
	page := list[anySignIn]{Items: make([]anySignIn, 0, len(all))}
	for i := range all {
		page.Items = append(page.Items, anySignInOf(&all[i]))
	}
	if more {
		page.Next = nextSessions(of, next)
	}
	return x.write(http.StatusOK, page)
}

// anySignIn is a session as administrators see it.
type anySignIn struct {
	signIn `json:",inline"`
	UserID string `json:"user_id"`
}

func anySignInOf(s *session.Session) anySignIn { return anySignIn{signInOf(s), s.User.String()} }

func (a *API) endSession(x *exchange) error {
	sid, err := id.Parse[id.Session](x.r.PathValue("id"))
	if err != nil {
		return ports.ErrNotFound
	}
	if _, err := a.Revoker.Revoke(x.ctx(), x.actor(), app.Selector{Session: sid.String()}, "", false); err != nil {
		return err
	}
	x.WriteHeader(http.StatusNoContent)
	return nil
}
