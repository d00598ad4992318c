package azuresecrets_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azfake "github.com/Azure/azure-sdk-for-go/sdk/azcore/fake"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets/fake"
)

const host = "prod-xteam.vault.azure.net"

// vault is Key Vault as azsecrets' own fake server has it, with the rules that its documentation tells: the version that was stored last is the current one, enabled or
// not; one that is disabled is not handed out; a secret that was deleted is not found among the others. It stands where the network would, wants a token, and writes
// errors as Key Vault does.
type vault struct {
	server *fake.ServerTransport

	mu      sync.Mutex
	secrets map[string][]version
	gone    map[string]bool
	n       int
	broken  func(*http.Request) (*http.Response, error) // answers in its stead if it is set
	first   bool                                        // also the request without a token, by which the SDK asks for a challenge
	tokens  map[string]bool                             // those that are taken
	calls   int                                         // with a token
	strays  []string                                    // hosts that were asked beside it
	inner   string                                      // the inner code of 403
	nosy    bool                                        // whether deleted secrets may be looked at
	pages   int                                         // the length of a page
}

type version struct {
	id       string
	value    string
	created  time.Time
	disabled bool
}

func newVault() *vault {
	v := &vault{secrets: map[string][]version{}, gone: map[string]bool{}, tokens: map[string]bool{"fake_token": true}, pages: 2, nosy: true}
	v.server = fake.NewServerTransport(&fake.Server{GetSecret: v.get, GetDeletedSecret: v.getDeleted, NewListSecretPropertiesVersionsPager: v.list})
	return v
}

// put stores a new version, a second after the one before.
func (v *vault) put(id, value string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.n++
	v.secrets[id] = append(v.secrets[id], version{fmt.Sprintf("%032x", v.n*7919%65536), value, time.Unix(1_700_000_000+int64(v.n), 0), false})
}

func (v *vault) change(do func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	do()
}

func (v *vault) get(_ context.Context, name, of string, _ *azsecrets.GetSecretOptions) (resp azfake.Responder[azsecrets.GetSecretResponse], failed azfake.ErrorResponder) {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := v.secrets[name]
	for i := len(all) - 1; i >= 0 && !v.gone[name]; i-- {
		one := all[i]
		if of != "" && one.id != of {
			continue
		}
		if one.disabled {
			v.inner = "SecretDisabled"
			failed.SetResponseError(403, "Forbidden")
			return
		}
		id, enabled := azsecrets.ID("https://"+host+"/secrets/"+name+"/"+one.id), true
		resp.SetResponse(200, azsecrets.GetSecretResponse{Secret: azsecrets.Secret{ID: &id, Value: &one.value, Attributes: &azsecrets.SecretAttributes{Created: &one.created, Enabled: &enabled}}}, nil)
		return
	}
	failed.SetResponseError(404, "SecretNotFound")
	return
}

func (v *vault) getDeleted(_ context.Context, name string, _ *azsecrets.GetDeletedSecretOptions) (resp azfake.Responder[azsecrets.GetDeletedSecretResponse], failed azfake.ErrorResponder) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case !v.nosy:
		v.inner = "ForbiddenByRbac"
		failed.SetResponseError(403, "Forbidden")
	case !v.gone[name]:
		failed.SetResponseError(404, "SecretNotFound")
	default:
		id := azsecrets.ID("https://" + host + "/secrets/" + name)
		resp.SetResponse(200, azsecrets.GetDeletedSecretResponse{DeletedSecret: azsecrets.DeletedSecret{ID: &id}}, nil)
	}
	return
}

func (v *vault) list(name string, _ *azsecrets.ListSecretPropertiesVersionsOptions) (pages azfake.PagerResponder[azsecrets.ListSecretPropertiesVersionsResponse]) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var page []*azsecrets.SecretProperties
	flush := func() {
		pages.AddPage(200, azsecrets.ListSecretPropertiesVersionsResponse{SecretPropertiesListResult: azsecrets.SecretPropertiesListResult{Value: page}}, nil)
		page = nil
	}
	for _, one := range v.secrets[name] {
		id, enabled := azsecrets.ID("https://"+host+"/secrets/"+name+"/"+one.id), !one.disabled
		page = append(page, &azsecrets.SecretProperties{ID: &id, Attributes: &azsecrets.SecretAttributes{Created: &one.created, Enabled: &enabled}})
		if len(page) == v.pages {
			flush()
		}
	}
	flush()
	return pages
}

// RoundTrip stands where the network would.
func (v *vault) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != host {
		v.change(func() { v.strays = append(v.strays, r.URL.Host) })
		return nil, errors.New("nobody is asked but " + host + ", and not " + r.URL.Host)
	}
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	v.mu.Lock()
	broken, taken := v.broken, v.tokens[token]
	if token != "" {
		v.calls++
	}
	v.mu.Unlock()
	if broken == nil && !taken || token == "" && !v.first {
		a := answer(r, 401, "application/json", `{"error":{"code":"Unauthorized","message":"AKV10000: no or another token (planted-value)"}}`)
		a.Header.Set("WWW-Authenticate", `Bearer authorization="https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47", resource="https://vault.azure.net"`)
		return a, nil
	}
	if broken != nil {
		return broken(r)
	}
	got, err := v.server.Do(r)
	var refused *azcore.ResponseError
	if errors.As(err, &refused) { // the fake hands over what the client would make of an answer: here is the answer
		v.mu.Lock()
		defer v.mu.Unlock()
		return answer(r, refused.StatusCode, "application/json", refusal(refused.ErrorCode, v.inner)), nil
	}
	return got, err
}

// refusal is an error as Key Vault writes it, with what an adapter must not pass on.
func refusal(code, inner string) string {
	text, _ := json.Marshal(map[string]any{"error": map[string]any{"code": code, "message": "planted-value", "innererror": map[string]any{"code": inner}}})
	return string(text)
}

func answer(r *http.Request, status int, kind, text string) *http.Response {
	return &http.Response{StatusCode: status, Status: fmt.Sprint(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Type": {kind}}, Request: r,
		Body: io.NopCloser(bytes.NewReader([]byte(text)))}
}

func answers(status int, kind, text string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) { return answer(r, status, kind, text), nil }
}

func refuses(status int, code, inner string) func(*http.Request) (*http.Response, error) {
	return answers(status, "application/json", refusal(code, inner))
}

func challenges(header string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		a := answer(r, 401, "text/html", "planted-value")
		a.Header.Set("WWW-Authenticate", header)
		return a, nil
	}
}

// ways are those in which the vault, or what stands before it, fails. Each has what the sentence says of it.
var ways = map[string]struct {
	broken func(*http.Request) (*http.Response, error)
	says   string
}{
	"401":                      {refuses(401, "Unauthorized", ""), "does not take the credentials"},
	"401 without a challenge":  {answers(401, "text/html", "planted-value"), "does not take the credentials"},
	"a challenge of nonsense":  {challenges(`Bearer authorization="planted", resource="https://vault.azure.net"`), ""},
	"a challenge of elsewhere": {challenges(`Bearer authorization="https://login.microsoftonline.com/t", resource="https://planted.example"`), ""},
	"403 by role":              {refuses(403, "Forbidden", "ForbiddenByRbac"), "Key Vault Secrets User"},
	"403 by firewall":          {refuses(403, "Forbidden", "ForbiddenByFirewall"), "the firewall of the vault"},
	"403 of something else":    {answers(403, "text/html", "planted-value"), "makes no sense (403)"},
	"404 of something else":    {answers(404, "text/html", "planted-value"), "makes no sense (404)"},
	"404 of another code":      {refuses(404, "VaultNotFound", ""), "makes no sense (404)"},
	"429":                      {refuses(429, "Throttled", ""), "throttles requests"},
	"429 for long": {func(r *http.Request) (*http.Response, error) {
		a := answer(r, 429, "application/json", refusal("Throttled", ""))
		a.Header.Set("Retry-After", "600")
		return a, nil
	}, "throttles requests"},
	"503":            {answers(503, "text/plain", "planted-value"), "fails (503)"},
	"HTML":           {answers(200, "text/html", "<html>planted-value</html>"), "what is not understood"},
	"half an answer": {answers(200, "application/json", `{"value":"planted-val`), "what is not understood"},
	"an empty one":   {answers(200, "application/json", `{}`), "not about the secret"},
	"an answer of another secret": {answers(200, "application/json",
		`{"value":"planted-value","id":"https://`+host+`/secrets/OTHER/1234","attributes":{"enabled":true,"created":1700000000}}`), "not about the secret"},
	"an id of nonsense":   {answers(200, "application/json", `{"value":"planted-value","id":"%zz","attributes":{"enabled":true,"created":1700000000}}`), "not about the secret"},
	"an answer of no end": {answers(200, "application/json", `{"value":"`+strings.Repeat("planted", 1<<18)+`"}`), "more than 1048576 bytes"},
	"a redirect elsewhere": {func(r *http.Request) (*http.Response, error) {
		a := answer(r, 307, "text/plain", "")
		a.Header.Set("Location", "https://planted.example/")
		return a, nil
	}, "makes no sense (307)"},
	"a hang":  {func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }, "no answer"},
	"a reset": {func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }, "cannot be asked"},
}

// client is one whose network is the vault.
func (v *vault) client() *http.Client { return &http.Client{Transport: v} }
