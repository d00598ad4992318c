package awswaf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/xteam/xteam/ports"
)

// refusal is why a set is not as it should be, in one sentence. It matches ports.ErrUnavailable.
type refusal string

func (r refusal) Error() string        { return string(r) }
func (r refusal) Is(target error) bool { return target == ports.ErrUnavailable }

func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

// expired is a refusal of credentials that may have been good: other ones may be had.
type expired struct{ refusal }

var errExpired = errors.New("credentials have expired")

func (e expired) Is(target error) bool { return target == errExpired || e.refusal.Is(target) }

// The codes by which the service refuses, as far as it matters to somebody who has to do something.
var (
	credentialCodes = []string{"ExpiredTokenException", "ExpiredToken", "RequestExpired", "UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature", "MissingAuthenticationToken", "MissingAuthenticationTokenException"}
	deniedCodes     = []string{"AccessDeniedException", "AccessDenied", "UnauthorizedOperation"}
	throttledCodes  = []string{"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"}
)

// asking asks for credentials, and tells apart that there are none. What a provider says of that is not passed on, as it holds answers of other services.
type asking struct{ aws.CredentialsProvider }

var errNoCredentials = errors.New("no credentials were had")

// Retrieve implements aws.CredentialsProvider.
func (a asking) Retrieve(ctx context.Context) (aws.Credentials, error) {
	got, err := a.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, errNoCredentials
	}
	return got, nil
}

// fault says what an error of the SDK means; of none it is nil. Of the error's own text it takes the code alone: a message, and what could not be read, may hold anything.
func (f *Firewall) fault(ctx context.Context, s IPSet, err error) error {
	place := f.place(s)
	var api smithy.APIError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errNoCredentials):
		return refuse("no credentials for AWS WAF in %s were had: give the instance, task or pod a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", f.o.Region)
	case !errors.As(err, &api) || !plain(api.ErrorCode()):
		return f.unreachable(ctx, place, err)
	}
	switch code := api.ErrorCode(); {
	case slices.Contains(credentialCodes, code):
		return expired{refusal(fmt.Sprintf("AWS WAF does not take the credentials for the IP set %s (%s): see that they are of this account, that they have not expired, and this machine's clock", place, code))}
	case slices.Contains(deniedCodes, code):
		return refuse("AWS denies the IP set %s (%s): allow the role wafv2:GetIPSet and wafv2:UpdateIPSet of it", place, code)
	case slices.Contains(throttledCodes, code):
		return refuse("AWS WAF throttles requests, for the IP set %s too (%s): it is asked again later", place, code)
	case code == "WAFNonexistentItemException":
		return refuse("AWS WAF has no IP set %s of the scope %s with the id that the URL of the firewall gives (%s): `aws wafv2 list-ip-sets` tells what it has", place, f.o.Scope, code)
	case code == "WAFLimitsExceededException":
		return refuse("AWS WAF takes no more networks in the IP set %s (%s): unblock some, or block wider networks in their place", place, code)
	case code == "WAFOptimisticLockException":
		return refuse("the IP set %s is changed by somebody else again and again (%s): it is to be this server's alone", place, code)
	default:
		return refuse("AWS WAF fails for the IP set %s (%s%s)", place, status(err), code)
	}
}

func (f *Firewall) unreachable(ctx context.Context, place string, err error) error {
	var dns *net.DNSError
	var network *net.OpError
	var answered *smithyhttp.ResponseError
	switch {
	case errors.Is(err, errTooLong):
		return refuse("AWS WAF gives an answer of more than %d bytes for the IP set %s: see what stands between here and AWS", maxAnswer, place)
	case ctx.Err() != nil:
		return refuse("AWS WAF gave no answer for the IP set %s within %v: see that this machine reaches it", place, f.o.Timeout)
	case errors.As(err, &answered) && answered.HTTPStatusCode() != 0:
		return refuse("AWS WAF gives an answer that makes no sense for the IP set %s (%d): see what stands between here and AWS", place, answered.HTTPStatusCode())
	case errors.As(err, &dns):
		return refuse("AWS WAF cannot be reached for the IP set %s: its host has no address in DNS: see the region, and the network", place)
	case errors.As(err, &network):
		return refuse("AWS WAF cannot be reached for the IP set %s: see the network, and the VPC endpoint if there is one", place)
	default:
		return refuse("AWS WAF cannot be asked for the IP set %s: see the network, TLS, and the VPC endpoint if there is one", place)
	}
}

// status is that of the answer, where there is one, and a blank.
func status(err error) string {
	if answered, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		return fmt.Sprintf("%d ", answered.HTTPStatusCode())
	}
	return ""
}

// plain reports whether a code has the form that all of the service's have: one word of letters that says what it is. Another may be anything, and UnknownError is the SDK's own word for it.
func plain(code string) bool {
	known := slices.Contains(slices.Concat(credentialCodes, deniedCodes, throttledCodes), code)
	return known || len(code) <= 64 && code != "UnknownError" && strings.Trim(code, letters) == "" && (strings.HasSuffix(code, "Exception") || strings.HasSuffix(code, "Error"))
}

// maxAnswer bounds what is read of an answer, in bytes: ten thousand networks of IPv6 in full are half of it.
const maxAnswer = 1 << 20

var errTooLong = errors.New("the answer is too long")

// bounded answers a client like the one that is given, which follows no redirects and reads no more of an answer than maxAnswer.
func bounded(given *http.Client) *http.Client {
	c := *given
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	c.Transport = limited{c.Transport}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

type limited struct{ base http.RoundTripper }

// RoundTrip reads the answer whole.
func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
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
	return answer, nil
}
