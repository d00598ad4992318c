package azuresecrets

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/xteam/xteam/ports"
)

// refusal is why there is no secret, in one sentence. It matches ports.ErrUnavailable.
type refusal string

func (r refusal) Error() string        { return string(r) }
func (r refusal) Is(target error) bool { return target == ports.ErrUnavailable }

func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

// denied is a refusal for want of a permission.
type denied struct{ refusal }

func (d denied) Is(target error) bool { return target == errDenied || d.refusal.Is(target) }

var (
	errDenied  = errors.New("denied")
	errMissing = errors.New("there is no such secret")
)

const giveCredentials = "give the machine or pod an identity, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET"

// asking asks another credential, and tells apart that it gave no token. What it says of that is not passed on, as it holds answers of other services.
type asking struct{ azcore.TokenCredential }

// noToken is that no token was had. The pipeline does not try again: the credential did.
type noToken struct{}

func (noToken) Error() string { return "no token was had" }
func (noToken) NonRetriable() {}

// GetToken implements azcore.TokenCredential.
func (a asking) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := a.TokenCredential.GetToken(ctx, o)
	if err != nil {
		return azcore.AccessToken{}, noToken{}
	}
	return token, nil
}

// fault says what an error of the SDK means. Of its own text nothing is taken, as that holds whole answers.
func (s *Secrets) fault(ctx context.Context, id string, err error) error {
	var answered *azcore.ResponseError
	if !errors.As(err, &answered) {
		return s.unreachable(ctx, id, err)
	}
	vault := s.o.Vault
	code, inner := codes(answered)
	switch status := answered.StatusCode; {
	case status == http.StatusNotFound && code == "SecretNotFound":
		return errMissing
	case status == http.StatusForbidden && inner == "SecretDisabled":
		return refuse("the newest version of the secret %s in the vault %s is disabled: enable it, or store another", id, vault)
	case status == http.StatusForbidden && inner == "ForbiddenByFirewall":
		return refuse("the firewall of the vault %s lets nobody through from here to the secret %s: allow this network, or use a private endpoint", vault, id)
	case status == http.StatusForbidden && code != "":
		return denied{refusal(fmt.Sprintf("the vault %s denies the secret %s: give the identity the role Key Vault Secrets User, or Get and List by an access policy", vault, id))}
	case status == http.StatusUnauthorized:
		return refuse("the vault %s does not take the credentials for the secret %s: see that they are of its tenant, and this machine's clock", vault, id)
	case status == http.StatusTooManyRequests:
		return refuse("the vault %s throttles requests, for the secret %s too: it is asked again later", vault, id)
	case status >= 500:
		return refuse("the vault %s fails (%d) for the secret %s: it is asked again later", vault, status, id)
	default:
		return refuse("the vault %s gives an answer that makes no sense (%d) for the secret %s: see what stands between here and Azure", vault, status, id)
	}
}

// codes are the two codes of an error as Key Vault writes it, or empty.
func codes(answered *azcore.ResponseError) (code, inner string) {
	var told struct {
		Error struct {
			Code       string `json:"code"`
			InnerError struct {
				Code string `json:"code"`
			} `json:"innererror"`
		} `json:"error"`
	}
	if answered.RawResponse == nil || answered.RawResponse.Body == nil {
		return answered.ErrorCode, ""
	}
	text, err := io.ReadAll(answered.RawResponse.Body)
	if err != nil || json.Unmarshal(text, &told) != nil || told.Error.Code == "" {
		return answered.ErrorCode, ""
	}
	return told.Error.Code, told.Error.InnerError.Code
}

func (s *Secrets) unreachable(ctx context.Context, id string, err error) error {
	vault := s.o.Vault
	var dns *net.DNSError
	var network *net.OpError
	switch {
	case errors.Is(err, errTooLong):
		return refuse("the vault %s gives an answer of more than %d bytes for the secret %s: see what stands between here and Azure", vault, maxAnswer, id)
	case ctx.Err() != nil:
		return refuse("the vault %s gave no answer for the secret %s within %v: see that this machine reaches it, and has an identity", vault, id, s.o.Timeout)
	case errors.As(err, new(noToken)):
		return refuse("no token for the vault %s was had: %s", vault, giveCredentials)
	case errors.As(err, &dns):
		return refuse("the vault %s cannot be reached for the secret %s: its host has no address in DNS: see the vault's name, and the network", vault, id)
	case errors.As(err, &network):
		return refuse("the vault %s cannot be reached for the secret %s: see the network", vault, id)
	default:
		return refuse("the vault %s cannot be asked for the secret %s, or answers what is not understood: see the network, TLS, and what stands between here and Azure", vault, id)
	}
}

// maxAnswer bounds what is read of an answer, in bytes: a secret is at most 25 KB there.
const maxAnswer = 1 << 20

var errTooLong = errors.New("the answer is too long")

// bounded answers a client like the one that is given, which asks one host and follows no redirects, reads no more of an answer than maxAnswer, and hands on no challenge
// that the SDK stumbles over.
func bounded(given *http.Client, host string) *http.Client {
	c := http.Client{}
	if given != nil {
		c = *given
	}
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	c.Transport = limited{c.Transport, host}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

type limited struct {
	base http.RoundTripper
	host string // the vault's: where a list goes on is what the answer says, and the token would go there too
}

var errElsewhere = errors.New("the answer leads to another host")

// RoundTrip reads the answer whole.
func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" || r.URL.Host != l.host {
		return nil, errElsewhere
	}
	answer, err := l.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxAnswer {
		return nil, errTooLong
	}
	answer.Body = io.NopCloser(bytes.NewReader(text))
	if !namesTenant(answer.Header.Get("WWW-Authenticate")) {
		answer.Header.Del("WWW-Authenticate")
	}
	return answer, nil
}

// namesTenant reports whether a challenge has its tenant where azsecrets v1.5.1 takes it from without looking: it panics at an authorization of fewer than three
// slashes.
func namesTenant(challenge string) bool {
	for part := range strings.SplitSeq(strings.ReplaceAll(challenge, "Bearer ", ""), " ") {
		if value, is := strings.CutPrefix(part, "authorization="); is && strings.Count(value, "/") < 3 {
			return false
		}
	}
	return true
}
