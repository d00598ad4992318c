// Package webhook posts signed messages to an address that the operator chose, after the scheme of standardwebhooks.com: the headers webhook-id, webhook-timestamp and webhook-signature,
// an HMAC-SHA256 over "id.timestamp.body" under a secret that both sides know.
//
// The address is somebody's text, and this server stands where others do not: so a connection is refused, after its name was resolved and at the moment it is made, when it would go to an address
// of this machine or of a private network, unless that is allowed; to link-local ones, where clouds hand out credentials, always. No redirect is followed and no proxy is used.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/xteam/xteam/domain/secret"
)

// MinSecret is the least length of a secret, in bytes.
const MinSecret = 24

// maxAnswer is how much of an answer is read, in bytes: nothing of it is of interest but its status.
const maxAnswer = 64 << 10

// Options say where to and how. URL and Secret are needed.
type Options struct {
	URL     string           // https; also http where Private. It may hold a user and a password
	Secret  secret.Text      // whsec_ and base64, or any text: its bytes
	Private bool             // addresses of this machine and of private networks are allowed
	Timeout time.Duration    // of a whole message; default 10 s
	Roots   *x509.CertPool   // who signs certificates; nil: the system's
	Now     func() time.Time // default time.Now
}

// Sender posts messages. It keeps connections open; Close lets go of them.
type Sender struct {
	url    string
	name   string // how sentences name it: without user, path and query, which may be secret
	key    secret.Text
	now    func() time.Time
	client *http.Client
}

// New makes a sender. It connects to nothing.
func New(o Options) (*Sender, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.Opaque != "" || u.Fragment != "" {
		return nil, errors.New("the address of a webhook is a URL such as https://hooks.example/alerts")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !o.Private) {
		return nil, fmt.Errorf("the webhook at %s is to be reached by %q: it takes https; http goes only where private addresses are allowed", u.Host, u.Scheme)
	}
	key, err := keyOf(o.Secret)
	if err != nil {
		return nil, err
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	guard := func(_, address string, _ syscall.RawConn) error { return permitted(address, o.Private) }
	transport := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: o.Timeout, Control: guard}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.Roots},
		TLSHandshakeTimeout:    o.Timeout,
		MaxResponseHeaderBytes: 64 << 10,
		MaxConnsPerHost:        2,
		IdleConnTimeout:        30 * time.Second,
		DisableCompression:     true,
	}
	return &Sender{url: u.String(), name: u.Scheme + "://" + u.Host, key: key, now: o.Now, client: &http.Client{Transport: transport, Timeout: o.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}

// CheckSecret says what is wrong with a secret.
func CheckSecret(s secret.Text) error {
	_, err := keyOf(s)
	return err
}

// keyOf is the key that a secret stands for.
func keyOf(s secret.Text) (secret.Text, error) {
	text := s.RevealPlaintext()
	if coded, ok := strings.CutPrefix(text, "whsec_"); ok {
		b, err := base64.StdEncoding.DecodeString(coded)
		if err != nil {
			return secret.Text{}, errors.New("the secret of a webhook begins with whsec_, and what follows is not base64")
		}
		text = string(b)
	}
	if len(text) < MinSecret {
		return secret.Text{}, fmt.Errorf("the secret of a webhook has %d bytes: it takes at least %d", len(text), MinSecret)
	}
	return secret.New(text), nil
}

// Close lets go of connections that wait. Messages can be sent all the same.
func (s *Sender) Close() { s.client.CloseIdleConnections() }

// Send posts one message, of JSON, and returns once it was answered with a status of the 200s. The id is the message's own, and the same when it is sent again: by it the other side knows what it has.
func (s *Sender) Send(ctx context.Context, id string, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return s.fault("its address cannot be used")
	}
	at := strconv.FormatInt(s.now().Unix(), 10)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "XTeam")
	r.Header.Set("Webhook-Id", id)
	r.Header.Set("Webhook-Timestamp", at)
	r.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(s.mac(id, at, body)))
	answer, err := s.client.Do(r)
	if err != nil {
		return s.explain(ctx, err)
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxAnswer)) // the connection can be used again if that was all
	switch answer.StatusCode / 100 {
	case 2:
		return nil
	case 3:
		return s.fault("it redirects, which is not followed: give the address that it redirects to")
	}
	return s.fault("it answered with " + strconv.Itoa(answer.StatusCode))
}

func (s *Sender) mac(id, at string, body []byte) []byte {
	m := hmac.New(sha256.New, []byte(s.key.RevealPlaintext()))
	m.Write([]byte(id + "." + at + "."))
	m.Write(body)
	return m.Sum(nil)
}

func (s *Sender) fault(why string) error {
	return fmt.Errorf("post to the webhook at %s: %s", s.name, why)
}

// explain says why there was no answer. The library's own words hold the whole address.
func (s *Sender) explain(ctx context.Context, err error) error {
	var (
		refused   *refusedError
		untrusted *tls.CertificateVerificationError
		name      *net.DNSError
		network   net.Error
		op        *net.OpError
	)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("post to the webhook at %s: %w", s.name, ctx.Err())
	case errors.As(err, &refused):
		return s.fault(refused.Error())
	case errors.As(err, &untrusted):
		return s.fault("its certificate is not trusted: " + untrusted.Err.Error())
	case errors.As(err, &name):
		return s.fault("its name is not known to the resolver")
	case errors.As(err, &network) && network.Timeout():
		return s.fault("it did not answer in time")
	case errors.As(err, &op) && op.Op == "dial":
		return s.fault("it cannot be reached: " + op.Err.Error())
	}
	return s.fault("the connection broke before it answered")
}

// refusedError says that a connection would have gone where none may.
type refusedError struct{ address netip.Addr }

func (e *refusedError) Error() string {
	return fmt.Sprintf("its name stands for %s, an address of this machine or of a private or special network, which is not allowed", e.address)
}

// special are networks beyond those that package netip knows. Some carry an IPv4 address inside.
func special() []netip.Prefix {
	var all []netip.Prefix
	for _, p := range []string{"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "fec0::/10", "::/96"} {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

// permitted answers whether a connection may go to an address.
func permitted(address string, private bool) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return errors.New("the address of the connection cannot be read")
	}
	a := ap.Addr().Unmap().WithZone("")
	if a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return &refusedError{a}
	}
	if private {
		return nil
	}
	if a.IsLoopback() || a.IsPrivate() || !a.IsGlobalUnicast() {
		return &refusedError{a}
	}
	for _, p := range special() {
		if p.Contains(a) {
			return &refusedError{a}
		}
	}
	return nil
}
