package vaultsecrets

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/hashicorp/vault/api"

	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// maxAnswer bounds what is read of an answer, in bytes: a secret of Vault is at most 1 MiB, as its storage has it.
const maxAnswer = 4 << 20

// refusal is why there is no secret, in one sentence. It matches ports.ErrUnavailable.
type refusal string

func (r refusal) Error() string        { return string(r) }
func (r refusal) Is(target error) bool { return target == ports.ErrUnavailable }

func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

// door is the only way to the server. It follows nobody to another host, reads an answer whole and within bounds, and takes JSON alone.
type door struct {
	to   *url.URL
	name string // how sentences begin: Vault at https://…
	base *http.Transport
}

func (d *door) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := d.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode/100 == 3 {
		return nil, d.redirected(answer)
	}
	body, err := readAtMost(answer.Body, maxAnswer)
	if errors.Is(err, errTooLong) {
		return nil, refuse("%s gives an answer of more than %d bytes: is it a Vault, and does the secret hold what is not XTeam's?", d.name, maxAnswer)
	}
	if err != nil {
		return nil, err
	}
	if kind, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type")); len(body) > 0 && (err != nil || kind != "application/json") {
		return nil, d.foreign(answer, kind, body)
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	return answer, nil
}

// redirected says where the answer points to, and no more of it than the host.
func (d *door) redirected(answer *http.Response) error {
	to, err := answer.Location()
	if err != nil {
		return refuse("%s answers with a redirect to nowhere (%d): is it a Vault?", d.name, answer.StatusCode)
	}
	return refuse("%s sends on to %q, where no token is taken, as a standby does that does not reach its active server: see that that runs, or give its address in VAULT_ADDR",
		d.name, clip(to.Scheme+"://"+to.Host))
}

func (d *door) foreign(answer *http.Response, kind string, body []byte) error {
	if d.to.Scheme == "http" && bytes.HasPrefix(body, []byte("Client sent an HTTP request to an HTTPS server")) {
		return refuse("%s speaks TLS: write https in VAULT_ADDR", d.name)
	}
	return refuse("%s answers %d with %q where JSON belongs: is it a Vault, or does a proxy stand before it?", d.name, answer.StatusCode, clip(orElse(kind, "no content type")))
}

var errTooLong = errors.New("too long")

func readAtMost(r io.Reader, most int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(text)) > most {
		err = errTooLong
	}
	return text, err
}

// clip keeps a foreign text short and on its line.
func clip(text string) string {
	line := []rune(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text))
	if len(line) > 200 {
		line = append(line[:200], '…')
	}
	return string(secret.Scrub([]byte(string(line))))
}

// newClient makes a client that holds no token. The library reads VAULT_… by itself, so that everything which it took from there is put back.
func newClient(o Options, through *door) (*api.Client, error) {
	client, err := api.NewClient(&api.Config{
		Address:          o.Address,
		HttpClient:       &http.Client{Transport: through, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		CheckRetry:       func(context.Context, *http.Response, error) (bool, error) { return false, nil },
		DisableRedirects: true,
	})
	if err != nil {
		return nil, refuse("Vault's client does not understand one of the variables VAULT_… of the environment: unset those that XTeam does not name")
	}
	headers := http.Header{api.RequestHeaderName: {"true"}}
	if o.Namespace != "" {
		headers.Set(api.NamespaceHeaderName, o.Namespace)
	}
	client.SetHeaders(headers)
	client.ClearToken()
	client.SetWrappingLookupFunc(func(string, string) string { return "" })
	return client, nil
}

func newDoor(o Options) (*door, error) {
	to, err := parseAddress(o.Address)
	if err != nil {
		return nil, err
	}
	trusted, err := authorities(o.CAFile)
	if err != nil {
		return nil, err
	}
	return &door{to: to, name: "Vault at " + o.Address, base: &http.Transport{
		Proxy:                  o.Proxy,
		DialContext:            (&net.Dialer{Timeout: o.Timeout}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: trusted},
		TLSHandshakeTimeout:    o.Timeout,
		MaxResponseHeaderBytes: 64 << 10,
		MaxConnsPerHost:        8,
		IdleConnTimeout:        time.Minute,
		DisableCompression:     true, // and HTTP/1.1 alone: a call that got no answer takes its connection with it
	}}, nil
}

// answer is what Vault said: parsed where it is JSON of Vault's form, and its errors where it refuses.
type answer struct {
	status int
	secret *api.Secret // nil when the body is empty or an error
	errors []string
}

// ask makes one call, a read when there is no data, within the time-out. An error is a refusal or the context's own.
func (s *Secrets) ask(ctx context.Context, client *api.Client, path string, query url.Values, data map[string]any) (answer, error) {
	within, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	var got *api.Response
	var err error
	if data == nil {
		got, err = client.Logical().ReadRawWithDataWithContext(within, path, query)
	} else {
		var body []byte
		if body, err = json.Marshal(data); err != nil {
			return answer{}, refuse("%s cannot be asked: a credential is no text", s.door.name)
		}
		got, err = client.Logical().WriteRawWithContext(within, path, body)
	}
	var refused *api.ResponseError
	if got == nil || err != nil && !errors.As(err, &refused) {
		return answer{}, s.explain(ctx, err)
	}
	defer got.Body.Close()
	a := answer{status: got.StatusCode}
	if refused != nil {
		a.errors = refused.Errors
	}
	if a.secret, err = api.ParseSecret(got.Body); err != nil && (refused == nil || refused.RawError) {
		return answer{}, refuse("%s gives an answer (%d) that is not whole JSON of the form that Vault has: ask again, or look what stands before it", s.door.name, a.status)
	}
	return a, nil
}

// explain says why a call had no answer. It repeats nothing that came from the other side but a host's and an authority's name.
func (s *Secrets) explain(ctx context.Context, err error) error {
	var (
		ours      refusal
		network   *net.OpError
		name      *net.DNSError
		untrusted *tls.CertificateVerificationError
	)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("ask %s: %w", s.door.name, ctx.Err())
	case errors.As(err, &ours):
		return ours
	case errors.As(err, &untrusted):
		return s.untrusted(untrusted.Err)
	case errors.Is(err, http.ErrSchemeMismatch):
		return refuse("%s does not speak TLS: if that is meant, write http in VAULT_ADDR", s.door.name)
	case errors.Is(err, context.DeadlineExceeded):
		return refuse("%s gave no answer within %v: see that it runs and can be reached", s.door.name, s.o.Timeout)
	case errors.As(err, &name):
		return refuse("%s cannot be reached: its host has no address in DNS (%s): see VAULT_ADDR", s.door.name, clip(name.Err))
	case errors.As(err, &network):
		return refuse("%s cannot be reached (%s): see that it runs, and VAULT_ADDR", s.door.name, clip(network.Err.Error()))
	default:
		return refuse("%s broke off, or does not speak HTTP as Vault does: see that it runs, and VAULT_ADDR", s.door.name)
	}
}

func (s *Secrets) untrusted(err error) error {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &host):
		return refuse("%s has a certificate for another name: write the name that it is for in VAULT_ADDR", s.door.name)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return refuse("%s has a certificate that is not valid now: renew it, or set this machine's clock", s.door.name)
	case errors.As(err, &authority):
		return refuse("%s has a certificate by an authority that is not trusted: give that authority's in VAULT_CACERT", s.door.name)
	default:
		return refuse("%s has a certificate that is not accepted: see it, and VAULT_CACERT", s.door.name)
	}
}

// state says what an answer means that is about the server and not about the secret.
func (s *Secrets) state(ctx context.Context, a answer) error {
	if a.status == http.StatusTooManyRequests {
		return refuse("%s refuses for now (429): a quota of requests is spent", s.door.name)
	}
	if a.status/100 != 5 {
		return refuse("%s answers %d%s", s.door.name, a.status, s.said(a))
	}
	within, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	health, err := s.open.Sys().HealthWithContext(within)
	switch {
	case err != nil:
		return refuse("%s fails (%d)%s", s.door.name, a.status, s.said(a))
	case !health.Initialized: //nolint:misspell // Vault names it so
		return refuse("%s is not initialised: initialise it (vault operator init), unseal it, and write the secret", s.door.name)
	case health.Sealed:
		return refuse("%s is sealed: unseal it (vault operator unseal), then reading goes on by itself", s.door.name)
	case health.Standby:
		return refuse("%s is a standby that knows no active server: start one, or give its address in VAULT_ADDR", s.door.name)
	default:
		return refuse("%s fails (%d)%s", s.door.name, a.status, s.said(a))
	}
}

// said is what Vault gives as its reason, unless one of our credentials stands in it.
func (s *Secrets) said(a answer) string {
	text := clip(strings.Join(strings.Fields(strings.Join(a.errors, "; ")), " "))
	for _, credential := range []string{s.o.Token.RevealPlaintext(), s.o.SecretID.RevealPlaintext(), s.held.Token(), s.signed.Load().RevealPlaintext()} {
		if credential != "" && strings.Contains(text, credential) {
			return ""
		}
	}
	if text == "" {
		return ""
	}
	return ": " + text
}
