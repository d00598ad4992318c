package httpapi

import "net/http"

// setUpPage is for whoever follows the link with a browser. It repeats nothing of the request.
const setUpPage = `This link makes the first administrator of this server, once.

There is no page for it yet: the server printed a command with curl beside the link. It sends to /api/v1/setup, with POST,

  {"token": "what follows #token= in the link", "email": "", "username": "", "password": ""}

Or run, on the server itself: xteam users create --role admin --email E --username U --password-stdin
`

func (a *API) aboutSetUp(x *exchange) error {
	x.Header()["Content-Type"] = textType
	x.WriteHeader(http.StatusOK)
	_, _ = x.Write([]byte(setUpPage)) // a client that has gone
	return nil
}

// setUpBody is what the first administrator's registration takes.
type setUpBody struct {
	person `json:",inline"`
	Token  hidden `json:"token"`
}

// setUp makes the first administrator for whoever has the token of the link.
func (a *API) setUp(x *exchange) error {
	var in setUpBody
	if err := x.readAny(&in, maxBody, errTooLarge); err != nil {
		return err
	}
	reg, bad := in.registration()
	if in.Token.Text.IsZero() {
		bad.note("token", "is required: it stands in the link")
	}
	if len(bad.fields) > 0 {
		return bad
	}
	made, err := a.SetUp.Use(x.ctx(), x.request(), in.Token.Text, reg)
	if err != nil {
		return err
	}
	return x.write(http.StatusCreated, userOf(&made))
}
