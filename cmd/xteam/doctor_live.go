package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// living is a deployment that runs: its public URL, as anybody reaches it, and its administrator's side.
type living struct {
	base    string       // https://host
	front   *http.Client // follows no redirect; waits where a limit asks it to
	hasty   *http.Client // the same, and does not wait
	admin   *admin
	metrics string // the URL of the metrics; empty: the administrator's side has them
	log     string // the file of the log; empty: it is not at hand
	probe   *probe

	report    *auditReport // of the trail, once it was verified
	reportErr error
}

// liveWithin bounds one examination of what runs: a client that is held back by a limit waits.
const liveWithin = 2 * time.Minute

// liveOptions are what the command was given.
type liveOptions struct {
	url, ca, metrics, log string
	key                   bool // an administrator's API key comes on standard input
}

// maxAsk is the longest time for which a limit is waited for at a time.
const maxAsk = 20 * time.Second

// reach makes ready to examine the deployment at a URL. close is to be called.
func (c *cli) reach(ctx context.Context, o liveOptions, told *progress) (l *living, closeAll func(), err error) {
	u, ok := serverURL(o.url)
	if !ok {
		return nil, nil, c.misuse("--live takes the URL that clients use, such as https://xteam.example.com, without a path")
	}
	s, _, err := c.settings()
	if err != nil {
		return nil, nil, err
	}
	t, err := transportOf(o.ca)
	if err != nil {
		return nil, nil, err
	}
	l = &living{base: u.Scheme + "://" + u.Host, metrics: o.metrics, log: cmp.Or(o.log, s.LogFile),
		front: &http.Client{Transport: &unhurried{t, told}, CheckRedirect: stay}, hasty: &http.Client{Transport: t, CheckRedirect: stay}}
	if l.metrics == "" && s.MetricsAddr != "" {
		l.metrics = "http://" + s.MetricsAddr
	}
	l.metrics = strings.TrimSuffix(strings.TrimSuffix(l.metrics, "/"), "/metrics")
	if o.key {
		key, err := c.token(ctx, "the API key")
		if err != nil {
			return nil, nil, err
		}
		l.admin = &admin{&http.Client{Transport: &keyed{u, key, &unhurried{t, told}}, CheckRedirect: stay}, func() {}}
	} else if l.admin, err = dialAdmin(ctx, s.Folder); err != nil {
		return nil, nil, err
	} else if l.admin == nil {
		return nil, nil, fmt.Errorf("no server runs on the data folder %s: run this where one does, as its user, or give an administrator's API key with --api-key-stdin", absolute(s.Folder))
	}
	l.probe = &probe{l: l}
	return l, func() { l.admin.close(); t.CloseIdleConnections() }, nil
}

// serverURL is a URL that clients use, if it is one without a path.
func serverURL(text string) (*url.URL, bool) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return nil, false
	}
	return u, true
}

// transportOf trusts the authority in a file, or with none those of the system.
func transportOf(ca string) (*http.Transport, error) {
	t := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if ca == "" {
		return t, nil
	}
	text, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("read --ca: %w", plainly(err))
	}
	t.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate in PEM: give --ca the authority that the server's certificate is of", ca)
	}
	return t, nil
}

// stay follows no redirect: what was sent is for one server.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// unhurried sends a request again that a limit held back, once the answer says that there is room.
type unhurried struct {
	next http.RoundTripper
	told *progress // of the wait; may be nil
}

// RoundTrip implements http.RoundTripper.
func (w *unhurried) RoundTrip(r *http.Request) (*http.Response, error) {
	for {
		res, err := w.next.RoundTrip(r)
		if err != nil || res.StatusCode != http.StatusTooManyRequests {
			return res, err
		}
		after, bad := strconv.Atoi(res.Header.Get("Retry-After"))
		if bad != nil || after < 0 || time.Duration(after)*time.Second > maxAsk || r.Body != nil && r.GetBody == nil {
			return res, nil
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer))
		_ = res.Body.Close()
		w.told.step("waiting %ds: a limit holds this address back", after)
		select {
		case <-r.Context().Done():
			return nil, r.Context().Err()
		case <-time.After(time.Duration(after)*time.Second + 50*time.Millisecond):
		}
		again := r.Clone(r.Context())
		if r.GetBody != nil {
			if again.Body, err = r.GetBody(); err != nil {
				return nil, err
			}
		}
		r = again
	}
}

// keyed carries an administrator's requests to the public URL, with an API key.
type keyed struct {
	to   *url.URL
	key  string
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (k *keyed) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host, r.Host = k.to.Scheme, k.to.Host, k.to.Host
	r.Header.Set("X-Api-Key", k.key)
	return k.next.RoundTrip(r)
}

// reply is an answer that was read.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// id is what the answer calls the request.
func (r *reply) id() string { return r.header.Get("X-Request-Id") }

// problem is the code of a refusal.
func (r *reply) problem() (p refusal) {
	_ = json.Unmarshal(r.body, &p) // of another form: no code
	return p
}

// ask sends one request to the public URL.
func (l *living) ask(ctx context.Context, client *http.Client, method, path, bearer, body string) (*reply, error) {
	return send(ctx, client, method, l.base+path, bearer, "application/json", body)
}

func send(ctx context.Context, client *http.Client, method, target, bearer, media, body string) (*reply, error) {
	var in io.Reader = http.NoBody
	if body != "" {
		in = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, in)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("User-Agent", "xteam-doctor")
	if body != "" {
		req.Header.Set("Content-Type", media)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, unreached(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 4*maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("the answer to %s %s was cut off: %w", method, req.URL.Path, err)
	}
	return &reply{res.StatusCode, res.Header, text}, nil
}

// unreached says why there was no answer, without the URL, which net/http repeats.
func unreached(err error) error {
	var at *url.Error
	if errors.As(err, &at) {
		return fmt.Errorf("no answer: %w", at.Err)
	}
	return err
}

// figures are the metrics, as one text.
func (l *living) figures(ctx context.Context) (string, error) {
	client, target := l.admin.http, "http://operator/metrics"
	if l.metrics != "" {
		client, target = l.hasty, l.metrics+"/metrics"
	}
	got, err := send(ctx, client, http.MethodGet, target, "", "", "")
	switch {
	case err != nil:
		return "", err
	case got.status == http.StatusNotFound && l.metrics == "":
		return "", errors.New("they are at METRICS_ADDR, an address of their own: give --metrics URL")
	case got.status != http.StatusOK:
		return "", fmt.Errorf("they are answered with %d", got.status)
	}
	return string(got.body), nil
}

// summed adds up what a page of metrics says of every series whose line has that text; false when there is none.
func summed(page, series string) (sum float64, ok bool) {
	for line := range strings.Lines(page) {
		i := strings.LastIndexByte(line, ' ')
		if i < 0 || line[0] == '#' || !strings.Contains(line[:i], series) {
			continue
		}
		if n, err := strconv.ParseFloat(strings.TrimSpace(line[i:]), 64); err == nil {
			sum, ok = sum+n, true
		}
	}
	return sum, ok
}

// maxLogTail is how much of the end of a log is looked through, in bytes.
const maxLogTail = 4 << 20

// logged reports whether a line of the log has both texts.
func (l *living) logged(message, id string) (bool, error) {
	file, err := os.Open(l.log)
	if err != nil {
		return false, plainly(err)
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Size() > maxLogTail {
		if _, err := file.Seek(-maxLogTail, io.SeekEnd); err != nil {
			return false, plainly(err)
		}
	}
	text, err := io.ReadAll(io.LimitReader(file, 2*maxLogTail))
	if err != nil {
		return false, plainly(err)
	}
	for line := range bytes.Lines(text) {
		if bytes.Contains(line, []byte(message)) && bytes.Contains(line, []byte(id)) {
			return true, nil
		}
	}
	return false, nil
}

// await asks again and again until something is so, or a few seconds have passed.
func await(ctx context.Context, so func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, awaitFor)
	defer cancel()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for !so() {
		select {
		case <-ctx.Done():
			return false
		case <-again.C:
		}
	}
	return true
}

// awaitFor is how long something may take to be told of: the trail is linked once a second, and a count of refusals is written as often.
const awaitFor = 8 * time.Second

// The account that the examinations sign in with. It is made once, and disabled while no examination goes on. Nobody can be sent mail there (RFC 2606).
const (
	probeName  = "xteam-doctor"
	probeEmail = "xteam-doctor@probe.invalid"
)

// probe is that account.
type probe struct {
	l *living

	mu   sync.Mutex
	made *user // nil: not asked for yet
	word string
}

// ready has the account there, active, with a password that nobody has seen and no session.
func (p *probe) ready(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.made != nil {
		return nil
	}
	p.word = "Doctor-" + rand.Text()
	var is user
	err := p.l.admin.post(ctx, usersPath, newUser{Email: probeEmail, Username: probeName, FullName: "xteam doctor", Role: "user", Password: p.word}, &is)
	if _, taken := refused(err, http.StatusConflict); taken {
		err = p.again(ctx, &is)
	}
	if err != nil {
		return fmt.Errorf("the account %s, which checks sign in with, cannot be made ready: %w", probeName, err)
	}
	p.made = &is
	return nil
}

// again takes up the account of an examination before.
func (p *probe) again(ctx context.Context, is *user) error {
	path := usersPath + "/" + probeName
	if err := p.l.admin.get(ctx, path, is); err != nil {
		return err
	}
	if is.Email != probeEmail || is.Role != "user" {
		return errors.New("an account of another purpose has its name")
	}
	if err := p.l.admin.post(ctx, path+"/password", map[string]string{"password": p.word}, nil); err != nil {
		return err
	}
	return p.l.admin.post(ctx, path+"/enable", struct{}{}, nil)
}

// signIn signs in at the public URL.
func (p *probe) signIn(ctx context.Context) (token string, err error) {
	if err := p.ready(ctx); err != nil {
		return "", err
	}
	body, err := json.Marshal(map[string]string{"username": probeName, "password": p.word})
	if err != nil {
		return "", fmt.Errorf("write the request: %w", err)
	}
	got, err := p.l.ask(ctx, p.l.front, http.MethodPost, loginPath, "", string(body))
	if err != nil {
		return "", err
	}
	var in struct {
		Token string `json:"access_token"`
	}
	if got.status != http.StatusOK || json.Unmarshal(got.body, &in) != nil || in.Token == "" {
		return "", fmt.Errorf("the account %s, made on the administrator's side, was answered %d %s when it signed in at the URL: are they one system?", probeName, got.status, got.problem().Code)
	}
	return in.Token, nil
}

// apiKey makes a key of the account's, which ends with it.
func (p *probe) apiKey(ctx context.Context, token string) (string, error) {
	got, err := p.l.ask(ctx, p.l.front, http.MethodPost, "/api/v1/api-keys", token, `{"name":"xteam doctor","scopes":["introspect","tokens:revoke"],"expires_in_days":1}`)
	if err != nil {
		return "", err
	}
	var made struct {
		Key string `json:"key"`
	}
	if got.status != http.StatusCreated || json.Unmarshal(got.body, &made) != nil || made.Key == "" {
		return "", fmt.Errorf("the account %s could not make an API key: %s", probeName, told(got, nil))
	}
	return made.Key, nil
}

// leave ends the account's sessions and disables it, and says so.
func (p *probe) leave(ctx context.Context) (said string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.made == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	if err := p.l.admin.post(ctx, usersPath+"/"+p.made.ID+"/disable", struct{}{}, nil); err != nil {
		return fmt.Sprintf("The account %s, which the checks signed in with, could not be disabled: xteam users disable %s", probeName, probeName)
	}
	p.made = nil
	return fmt.Sprintf("The account %s, which the checks signed in with, is disabled: it has no session and no API key.", probeName)
}
