package httpapi

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/token"
)

// user is an account as its owner and administrators see it.
type user struct {
	ID        string    `json:"id"`
	Email     string    `json:"email"`
	Username  string    `json:"username"`
	FullName  string    `json:"full_name"`
	Role      string    `json:"role"`
	IsActive  bool      `json:"is_active"`
	CreatedAt time.Time `json:"created_at"`
	Decoy     bool      `json:"decoy,omitzero"` // which its owner is never shown, as nobody can be
}

func userOf(a *account.Account) user {
	return user{a.ID.String(), a.Email.String(), a.Username.String(), a.FullName.String(), string(a.Role), !a.Disabled, a.Created.Time(), a.Decoy}
}

func (u user) appendJSON(b []byte) ([]byte, error) {
	for _, member := range [...]struct{ name, text string }{
		{`{"id":`, u.ID}, {`,"email":`, u.Email}, {`,"username":`, u.Username}, {`,"full_name":`, u.FullName}, {`,"role":`, u.Role},
	} {
		var err error
		if b, err = appendQuote(append(b, member.name...), member.text); err != nil {
			return nil, err
		}
	}
	b = strconv.AppendBool(append(b, `,"is_active":`...), u.IsActive)
	b = u.CreatedAt.AppendFormat(append(b, `,"created_at":"`...), time.RFC3339Nano)
	if u.Decoy {
		return append(b, `","decoy":true}`...), nil
	}
	return append(b, `"}`...), nil
}

// appendQuote appends s as a JSON string. Most are plain.
func appendQuote(b []byte, s string) ([]byte, error) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return jsontext.AppendQuote(b, s)
		}
	}
	return append(append(append(b, '"'), s...), '"'), nil
}

// tokens is what a sign-in answers (RFC 6749, section 5.1).
type tokens struct {
	AccessToken  string `json:"access_token,omitempty"`
	RefreshToken string `json:"refresh_token,omitempty"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"` // seconds
}

// writeTokens answers with tokens. To whom a cookie brought it they go as cookies alone: a script that got into a page finds none.
func (x *exchange) writeTokens(t app.Tokens) error {
	x.setCookies(t)
	if x.byCookie {
		return x.write(http.StatusOK, tokens{TokenType: "bearer", ExpiresIn: int64(t.ExpiresIn / time.Second)})
	}
	return x.write(http.StatusOK, tokens{t.Access.RevealPlaintext(), t.Refresh.RevealPlaintext(), "bearer", int64(t.ExpiresIn / time.Second)})
}

// person is the part of a body that describes a new account.
type person struct {
	Email    string `json:"email"`
	Username string `json:"username"`
	FullName string `json:"full_name"`
	Password hidden `json:"password"`
}

// registration collects everything that is wrong with the fields.
func (p *person) registration() (app.Registration, *validationError) {
	var bad validationError
	note := func(err error) {
		if field := (*account.InvalidError)(nil); errors.As(err, &field) {
			bad.fields = append(bad.fields, fieldError{field.Field, field.Detail})
		}
	}
	var r app.Registration
	var err error
	r.Email, err = account.ParseEmail(p.Email)
	note(err)
	r.Username, err = account.ParseUsername(p.Username)
	note(err)
	r.FullName, err = account.ParseFullName(p.FullName)
	note(err)
	r.Password = p.Password.Text
	note(account.CheckPassword(r.Password.RevealPlaintext(), r.Email, r.Username, r.FullName))
	return r, &bad
}

func (a *API) register(x *exchange) error {
	var in person
	if err := x.read(&in); err != nil {
		return err
	}
	reg, bad := in.registration()
	if len(bad.fields) > 0 {
		return bad
	}
	made, err := a.Accounts.Register(x.ctx(), x.request(), reg)
	if err != nil {
		return err
	}
	return x.write(http.StatusCreated, userOf(&made))
}

// loginBody is what a sign-in takes: email or username, not both.
type loginBody struct {
	Email    string `json:"email"`
	Username string `json:"username"`
	Password hidden `json:"password"`
}

func (a *API) login(x *exchange) error {
	var in loginBody
	if err := x.read(&in); err != nil {
		return err
	}
	who, err := account.ParseLogin(in.Email, in.Username)
	if err != nil {
		return err
	}
	if in.Password.IsZero() {
		return invalid("password", "is required")
	}
	t, err := a.Sessions.Login(x.ctx(), x.request(), who, in.Password.Text)
	if err != nil {
		return err
	}
	return x.writeTokens(t)
}

// refreshBody is what a refresh takes; from a browser with cookies no member is needed.
type refreshBody struct {
	RefreshToken hidden `json:"refresh_token"`
}

// refresh is charged to the session of a token that proves itself, so that many behind one address are not signed out; anything else is charged as a guess, a
// token that turns out to be dead too.
func (a *API) refresh(x *exchange) error {
	var in refreshBody
	unreadable := x.readAny(&in, maxToken, errTokenTooLarge) // as fetch sends a text
	nothing := unreadable == errNoBody                       //nolint:errorlint // decode answers it as it is
	if (nothing || unreadable == nil) && in.RefreshToken.IsZero() {
		text, err := x.cookie(refreshCookie)
		if in.RefreshToken.Text = text; err == nil {
			err = x.simple()
		}
		if err != nil || !nothing || x.byCookie {
			unreadable = err
		}
	}
	sid := a.Sessions.Named(in.RefreshToken.Text)
	if err := x.limit(app.Charge{Class: refresh, Session: sid}); err != nil {
		return err
	}
	if unreadable != nil {
		return unreadable
	}
	if in.RefreshToken.IsZero() {
		return invalid("refresh_token", "is required")
	}
	t, err := a.Sessions.Refresh(x.ctx(), x.request(), in.RefreshToken.Text)
	if err != nil {
		if p, _ := problemOf(err); p.Status != http.StatusUnauthorized {
			return err
		}
		if x.byCookie {
			x.dropCookies()
		}
		if !sid.IsZero() {
			if limited := x.limit(app.Charge{Class: auth}); limited != nil {
				return limited
			}
		}
		return err
	}
	return x.writeTokens(t)
}

func (a *API) logout(x *exchange) error {
	if err := a.Sessions.Logout(x.ctx(), x.request(), x.caller); err != nil {
		return x.ended(err)
	}
	x.dropCookies()
	x.WriteHeader(http.StatusNoContent)
	return nil
}

// ended takes the cookies away whose tokens are dead, though that is not durable yet.
func (x *exchange) ended(err error) error {
	if owed := (*app.NotDurableError)(nil); errors.As(err, &owed) {
		x.dropCookies()
	}
	return err
}

// ended is how many sessions an act ended. Counted is there, and false, when they could not all be counted in time: then there are at least so many.
type ended struct {
	SessionsEnded int   `json:"sessions_ended"`
	Counted       *bool `json:"counted,omitempty"`
}

func endedBy(r app.Revoked) ended {
	e := ended{SessionsEnded: r.SessionsEnded}
	if r.AtLeast {
		e.Counted = new(bool)
	}
	return e
}

func (a *API) logoutAll(x *exchange) error {
	got, err := a.Sessions.LogoutAll(x.ctx(), x.request(), x.caller)
	if err != nil {
		return gone(x.ended(err))
	}
	x.dropCookies()
	return x.write(http.StatusOK, endedBy(got))
}

// changePasswordBody is what a change of password takes.
type changePasswordBody struct {
	Current hidden `json:"current_password"`
	New     hidden `json:"new_password"`
}

func (a *API) changePassword(x *exchange) error {
	var in changePasswordBody
	if err := x.read(&in); err != nil {
		return err
	}
	if in.Current.IsZero() {
		return invalid("current_password", "is required")
	}
	t, err := a.Sessions.ChangePassword(x.ctx(), x.request(), x.caller, in.Current.Text, in.New.Text)
	if field := (*account.InvalidError)(nil); errors.As(err, &field) {
		return invalid("new_password", field.Detail)
	}
	if err != nil {
		return gone(err)
	}
	return x.writeTokens(t)
}

func (a *API) me(x *exchange) error {
	acct, err := a.Accounts.Me(x.ctx(), x.caller)
	if err != nil {
		return err
	}
	return x.write(http.StatusOK, userOf(&acct))
}

// gone turns "your own account does not exist" into what it means for the token that named it.
func gone(err error) error {
	if p, _ := problemOf(err); p.Status == http.StatusNotFound {
		return token.ErrInvalid
	}
	return err
}
