package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
)

// The page of a link by which a user ends a sign-in that was not theirs. Nothing happens before the button is pressed: whatever looks at links in mails presses none. What makes the link good stands in the fragment, which
// is sent to nobody but, by the script, to this server.
const (
	disownScript = `
const say = t => { document.getElementById("said").textContent = t };
const token = new URLSearchParams(location.hash.slice(1)).get("token");
history.replaceState(null, "", location.pathname);
const button = document.getElementById("end");
if (!token) { button.disabled = true; say("This link is not whole: copy all of it from the message.") }
button.addEventListener("click", async () => {
  button.disabled = true;
  try {
    const r = await fetch("api/v1/auth/disown", {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({token})});
    const a = await r.json().catch(() => ({}));
    say(r.ok ? "The sign-in has ended. Somebody knows your password: change it now, here and wherever you use it." : a.detail || "That did not work: try again in a minute.");
    button.disabled = r.ok || r.status === 403;
  } catch { say("The server cannot be reached: try again."); button.disabled = false }
});
`
	disownStyle = `body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:4rem auto;padding:0 1rem}button{font:inherit;padding:.5rem 1rem}`
	disownBody  = `<h1>This wasn’t me</h1>
<p>Somebody signed in to your account from a network that you had not signed in from before. If that was you, close this page.</p>
<p><button id="end">End that sign-in</button></p>
<p id="said" role="status"></p>
<noscript><p>This page needs JavaScript. Without it: sign in, end the session that you do not know, and change your password.</p></noscript>`
)

var disownPage = []byte(`<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="robots" content="noindex"><title>This wasn’t me</title><style>` + disownStyle + `</style>` + disownBody + `<script>` + disownScript + `</script></html>
`)

// disownPolicy lets this page's own script and style run, and reach this server alone.
var disownPolicy = []string{"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self'; script-src '" + digestOf(disownScript) + "'; style-src '" + digestOf(disownStyle) + "'"}

// digestOf names an inline text in a policy (CSP 3, section 2.3.1).
func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

func (a *API) aboutDisown(x *exchange) error {
	h := x.Header()
	h["Content-Type"], h["Content-Security-Policy"] = htmlType, disownPolicy
	x.WriteHeader(http.StatusOK)
	_, _ = x.Write(disownPage) // a client that has gone
	return nil
}

// disownRequest holds what stands in the link.
type disownRequest struct {
	Token hidden `json:"token"` // what follows #token= in the link
}

// disowned is what came of it.
type disowned struct {
	SessionsEnded int `json:"sessions_ended"` // that sign-in, and what was begun since from the same network
}

func (a *API) disown(x *exchange) error {
	var in disownRequest
	if err := x.read(&in); err != nil {
		return err
	}
	if strings.TrimSpace(in.Token.RevealPlaintext()) == "" {
		return invalid("token", "is required: it stands in the link")
	}
	n, err := a.Disowner.Disown(x.ctx(), x.request(), in.Token.Text)
	if err != nil {
		return err
	}
	return x.write(http.StatusOK, disowned{n})
}
