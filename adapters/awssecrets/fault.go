package awssecrets

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

// refusal is why there is no secret, in one sentence. It matches ports.ErrUnavailable.
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
	staleCodes     = []string{"ExpiredTokenException", "ExpiredToken", "RequestExpired"}
	badCodes       = []string{"UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature", "MissingAuthenticationToken", "MissingAuthenticationTokenException", "InvalidAccessKeyId"}
	deniedCodes    = []string{"AccessDeniedException", "AccessDenied", "UnauthorizedOperation"}
	throttledCodes = []string{"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded", "ThrottledException", "LimitExceededException"}
	keyCodes       = []string{"DecryptionFailure", "KMSAccessDeniedException", "KMSDisabledException", "KMSInvalidStateException", "KMSNotFoundException"}
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

// fault says what an error of the SDK means. Of the error's own text it takes the code alone: a message, and what could not be read, may hold anything.
func (s *Secrets) fault(ctx context.Context, name string, err error) error {
	if errors.Is(err, errNoCredentials) {
		return s.noCredentials(ctx)
	}
	place := s.place(name)
	var api smithy.APIError
	if errors.As(err, &api) && plain(api.ErrorCode()) {
		code := api.ErrorCode()
		is := func(codes []string) bool { return slices.Contains(codes, code) }
		switch {
		case is(staleCodes):
			return expired{refusal(fmt.Sprintf("AWS Secrets Manager says for the secret %s that the credentials have expired (%s): renew them, and see this machine's clock", place, code))}
		case is(badCodes):
			return expired{refusal(fmt.Sprintf("AWS Secrets Manager does not take the credentials for the secret %s (%s): see that they are of this account and partition", place, code))}
		case is(deniedCodes):
			return refuse("AWS denies the secret %s (%s): allow the role secretsmanager:GetSecretValue of it, and kms:Decrypt if it has a key of its own", place, code)
		case is(throttledCodes):
			return refuse("AWS Secrets Manager throttles requests, for the secret %s too (%s): it is asked again later", place, code)
		case is(keyCodes):
			return refuse("AWS cannot decrypt the secret %s (%s): see the state of its KMS key, and allow the role kms:Decrypt", place, code)
		case code == "InvalidRequestException":
			return refuse("AWS does not hand out the secret %s (%s): it is marked for deletion, most often, then restore it (aws secretsmanager restore-secret)", place, code)
		}
		return refuse("AWS Secrets Manager fails for the secret %s (%s%s)", place, status(err), code)
	}
	return s.unreachable(ctx, place, err)
}

func (s *Secrets) unreachable(ctx context.Context, place string, err error) error {
	var dns *net.DNSError
	var network *net.OpError
	var answered *smithyhttp.ResponseError
	switch {
	case errors.Is(err, errTooLong):
		return refuse("AWS Secrets Manager gives an answer of more than %d bytes for the secret %s: see what stands between here and AWS", maxAnswer, place)
	case ctx.Err() != nil:
		return refuse("AWS Secrets Manager gave no answer for the secret %s within %v: see that this machine reaches it", place, s.o.Timeout)
	case errors.As(err, &answered) && answered.HTTPStatusCode() != 0:
		return refuse("AWS Secrets Manager gives an answer that makes no sense for the secret %s (%d): see what stands between here and AWS", place, answered.HTTPStatusCode())
	case errors.As(err, &dns):
		return refuse("AWS Secrets Manager cannot be reached for the secret %s: its host has no address in DNS: see the region, and the network", place)
	case errors.As(err, &network):
		return refuse("AWS Secrets Manager cannot be reached for the secret %s: see the network, and the VPC endpoint if there is one", place)
	default:
		return refuse("AWS Secrets Manager cannot be asked for the secret %s: see the network, TLS, and the VPC endpoint if there is one", place)
	}
}

func (s *Secrets) noCredentials(ctx context.Context) error {
	if ctx.Err() != nil {
		return refuse("no credentials for AWS Secrets Manager in %s were had within %v: give the instance, task or pod a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", s.o.Region, s.o.Timeout)
	}
	return refuse("no credentials for AWS Secrets Manager in %s were had: give the instance, task or pod a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", s.o.Region)
}

// status is that of the answer, where there is one, and a blank.
func status(err error) string {
	if answered, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		return fmt.Sprintf("%d ", answered.HTTPStatusCode())
	}
	return ""
}

// plain reports whether a code has the form that all of the service's have: one word of letters that says what it is. Another may be
// anything, and UnknownError is the SDK's own word for it.
func plain(code string) bool {
	known := slices.ContainsFunc([][]string{staleCodes, badCodes, deniedCodes, throttledCodes, keyCodes}, func(codes []string) bool { return slices.Contains(codes, code) })
	return known || len(code) <= 64 && code != "UnknownError" && strings.Trim(code, letters) == "" && (strings.HasSuffix(code, "Exception") || strings.HasSuffix(code, "Error"))
}

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// maxAnswer bounds what is read of an answer, in bytes: a secret is at most 64 KiB there, and JSON makes six bytes of one at worst.
const maxAnswer = 1 << 20

var errTooLong = errors.New("the answer is too long")

// bounded answers a client like the one that is given, which follows no redirects and reads no more of an answer than maxAnswer.
func bounded(given *http.Client) *http.Client {
	c := http.Client{}
	if given != nil {
		c = *given
	}
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
