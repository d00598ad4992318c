package httpapi

import (
	"errors"
	"net/http"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
)

// changeMe changes what is given of the caller's own account; null is as not given.
func (a *API) changeMe(x *exchange) error {
	var in struct {
		Email    *string `json:"email"`
		Username *string `json:"username"`
		FullName *string `json:"full_name"`
		Current  hidden  `json:"current_password"` // needed for a new e-mail address
	}
	if err := x.read(&in); err != nil {
		return err
	}
	var bad validationError
	p := account.Profile{
		Email:    parsed(in.Email, account.ParseEmail, &bad),
		Username: parsed(in.Username, account.ParseUsername, &bad),
		FullName: parsed(in.FullName, account.ParseFullName, &bad),
	}
	if len(bad.fields) > 0 {
		return &bad
	}
	is, err := a.Sessions.ChangeProfile(x.ctx(), x.request(), x.caller, p, in.Current.Text)
	if errors.Is(err, app.ErrPasswordNeeded) {
		return invalid("current_password", "is required for a new e-mail address")
	} else if err != nil {
		return err
	}
	return x.write(http.StatusOK, userOf(&is))
}

// parsed is a member that may be missing; what is wrong with it is noted in bad.
func parsed[T any](text *string, parse func(string) (T, error), bad *validationError) *T {
	if text == nil {
		return nil
	}
	v, err := parse(*text)
	if field := (*account.InvalidError)(nil); errors.As(err, &field) {
		bad.note(field.Field, field.Detail)
	}
	return &v
}
