package verify

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

const (
	feedSilence = 5 * time.Second // without a line, though a heartbeat comes every second; then it is asked for anew
	feedTries   = 4               // in a row that told nothing; then a line is logged
	firstPause  = 500 * time.Millisecond
	lastPause   = 4 * time.Second
	longestWait = time.Minute      // that is taken of a Retry-After
	maxLine     = 1 << 20          // bytes
	feedLife    = 15 * time.Minute // of a connection: clocks that run unequally part by no more than they do meanwhile
	maxAge      = time.Hour        // that is believed of a heartbeat
)

// feed is the revocations of an XTeam elsewhere, as it tells other services of them.
type feed struct {
	url    string
	key    secret.Text
	client *http.Client
	log    *slog.Logger

	mu  sync.Mutex
	err error // of the last try
}

var _ ports.Revocations = (*feed)(nil)

func newFeed(o *Options) (*feed, error) {
	u, err := url.Parse(o.Feed)
	if err != nil || u.Host == "" || u.User != nil {
		return nil, errors.New("verify: Options.Feed is a URL such as https://auth.example/api/v1/revocations, without a user")
	}
	if addr, err := netip.ParseAddr(u.Hostname()); u.Scheme != "https" && (u.Scheme != "http" || u.Hostname() != "localhost" && (err != nil || !addr.IsLoopback())) {
		return nil, fmt.Errorf("verify: Options.Feed of %s is asked for by %q: it must be https, since the API key is sent there, and what is revoked is believed", u.Host, u.Scheme)
	}
	transport := o.Transport
	if transport == nil {
		transport = &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, ResponseHeaderTimeout: feedSilence, TLSHandshakeTimeout: feedSilence}
	}
	return &feed{url: u.String(), key: o.APIKey, log: o.Logger, client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return errors.New("it redirects, and the API key is for nobody else")
	}}}, nil
}

// Record is of ports.Revocations: a follower records nothing.
func (f *feed) Record(context.Context, ...revocation.Entry) error {
	return fmt.Errorf("a follower of the feed cannot record: %w", ports.ErrUnavailable)
}

// Follow is of ports.Revocations, save that it never gives up: a connection that ends is made again from where it was, however long that takes, for what has been told stays known. The view sees by its
// silence that it is lost.
func (f *feed) Follow(ctx context.Context, fn func(ports.News) error) error {
	at := &place{}
	for failed := 0; ; {
		heard, err := f.stream(ctx, at, fn)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case at.stopped != nil:
			return at.stopped
		}
		f.mu.Lock()
		f.err = err
		f.mu.Unlock()
		if failed++; heard {
			failed = 0
		}
		if failed == feedTries {
			f.log.Warn("The feed of revocations does not answer: it is asked again and again", "error", err.Error())
		}
		timer := time.NewTimer(pause(failed, err))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// pause is how long to wait after so many failures in a row, of which err was the last. Many followers lose a node at the same moment: chance parts them.
func pause(failed int, err error) time.Duration {
	var refused *refusedError
	if errors.As(err, &refused) && refused.wait > 0 {
		return refused.wait + jittered(max(refused.wait/4, firstPause))
	}
	return jittered(min(firstPause<<min(failed, 10), lastPause))
}

// jittered is between a half of d and d.
func jittered(d time.Duration) time.Duration {
	var b [2]byte
	_, _ = rand.Read(b[:]) // it never fails
	return d/2 + d/2*time.Duration(int(b[0])<<8|int(b[1]))/65536
}

// refusedError is an answer that is no feed, and how long it said to wait.
type refusedError struct {
	host, status string
	wait         time.Duration
}

func (e *refusedError) Error() string { return "the feed of " + e.host + " answers " + e.status }

func refusedBy(resp *http.Response, host string) error {
	e := &refusedError{host: host, status: resp.Status}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.wait = time.Duration(min(s, int(longestWait/time.Second))) * time.Second
	}
	return e
}

// last is the error of the last try.
func (f *feed) last() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// place is where a follower is.
type place struct {
	id      string
	asked   time.Time // when the connection was asked for
	stopped error     // of whoever is told
}

// stream follows one connection until it ends, and answers why.
func (f *feed) stream(ctx context.Context, at *place, fn func(ports.News) error) (heard bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	quiet := time.AfterFunc(feedSilence, cancel)
	defer quiet.Stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url, http.NoBody)
	if err != nil {
		return false, err
	}
	r.Header.Set("X-API-Key", f.key.RevealPlaintext())
	r.Header.Set("Accept", "text/event-stream")
	if at.id != "" {
		r.Header.Set("Last-Event-ID", at.id)
	}
	at.asked = time.Now()
	resp, err := f.client.Do(r)
	if err != nil {
		return false, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return false, refusedBy(resp, r.URL.Host)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxLine)
	var event, data, eid string
	for lines.Scan() {
		quiet.Reset(feedSilence)
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "event":
			event = value
		case "data":
			data = value
		case "id":
			eid = value
		case "":
			if event == "" {
				continue
			}
			if err := at.take(event, data, fn); err != nil {
				return heard, err
			}
			if eid != "" {
				at.id = eid
			}
			if event == "heartbeat" && time.Since(at.asked) > feedLife {
				return true, errRenewed
			}
			heard, event, data, eid = heard || event == "heartbeat", "", "", ""
		}
	}
	return heard, ended(lines.Err())
}

var errRenewed = errors.New("the connection is old, and is made anew")

func ended(err error) error {
	if err == nil {
		return errors.New("the feed has ended")
	}
	return err
}

// told is what the feed says: of all its events the members that there are.
type told struct {
	Kind    string  `json:"kind"`
	Value   string  `json:"value"`
	MinGen  int64   `json:"min_gen"`
	Reason  string  `json:"reason"`
	At      string  `json:"at"`
	Until   *string `json:"until"`
	Entries []told  `json:"entries"`
	AgeMS   int64   `json:"age_ms"`
	Elapsed int64   `json:"elapsed_ms"` // since the request came there
	Code    string  `json:"code"`
}

// take hands on one event.
func (at *place) take(event, data string, fn func(ports.News) error) error {
	var t told
	if err := json.Unmarshal([]byte(data), &t); err != nil {
		return fmt.Errorf("the feed says what is no JSON: %w", err)
	}
	var news ports.News
	switch event {
	case "snapshot":
	case "revocation":
		t.Entries = []told{t}
	case "heartbeat":
		age, err := at.age(&t)
		if err != nil {
			return err
		}
		news.Caught, news.Age = true, age
	case "end":
		return fmt.Errorf("the feed was ended: %s", t.Code)
	default:
		return nil // a reset: what is known stays, and a snapshot follows
	}
	for i := range t.Entries {
		e, err := t.Entries[i].entry()
		if err != nil {
			return err
		}
		news.Entries = append(news.Entries, e)
	}
	if len(news.Entries) == 0 && !news.Caught {
		return nil
	}
	if err := fn(news); err != nil {
		at.stopped = err
		return err
	}
	return nil
}

// age is how old what was told is by now. The server says how old it was when it said so, and how long after the request came that was; what the request and the answer were on the way since it was
// asked for is the rest, whatever held the answer up. It is never too young; too old by how long the connection took to be made.
func (at *place) age(t *told) (time.Duration, error) {
	for _, ms := range [...]int64{t.AgeMS, t.Elapsed} {
		if ms < 0 || time.Duration(ms) > maxAge/time.Millisecond {
			return 0, fmt.Errorf("the feed says an age that is none: %d ms, %d ms after the request", t.AgeMS, t.Elapsed)
		}
	}
	lag := time.Since(at.asked) - time.Duration(t.Elapsed)*time.Millisecond
	return time.Duration(t.AgeMS)*time.Millisecond + max(lag, 0), nil
}

// entry reads a revocation. One of a kind that is not known makes the feed worthless to whoever does not know it: it is an error, and the view goes stale.
func (t *told) entry() (e revocation.Entry, err error) {
	read := func(text string) instant.Instant {
		at, bad := time.Parse(time.RFC3339Nano, text)
		if bad != nil {
			err = errors.Join(err, fmt.Errorf("the feed says a time that is none: %.40q", text))
		}
		return instant.Of(at)
	}
	e = revocation.Entry{Reason: reasonOf(t.Reason), At: read(t.At), Until: instant.Forever}
	if t.Until != nil {
		e.Until = read(*t.Until)
	}
	var bad error
	var n int64
	switch t.Kind {
	case "jti":
		e.Kind = revocation.Token
		e.Token, bad = id.Parse[id.Token](t.Value)
	case "sid":
		e.Kind = revocation.Session
		e.Session, bad = id.Parse[id.Session](t.Value)
	case "user":
		e.Kind, e.Min = revocation.User, token.Generation(t.MinGen)
		e.User, bad = id.Parse[id.User](t.Value)
	case "api_key":
		e.Kind = revocation.APIKey
		e.APIKey, bad = id.Parse[id.APIKey](t.Value)
	case "kid":
		e.Kind, e.KeyID = revocation.Key, t.Value
	case "epoch":
		e.Kind = revocation.Epoch
		n, bad = strconv.ParseInt(t.Value, 10, 64)
		e.Epoch = token.Epoch(n)
	case "issued_before":
		e.Kind, e.Before = revocation.IssuedBefore, read(t.Value)
	default:
		bad = fmt.Errorf("the feed says a kind of revocation that is not known here: %.40q", t.Kind)
	}
	return e, errors.Join(err, bad)
}

func reasonOf(text string) revocation.Reason {
	for r := revocation.Logout; r <= revocation.EpochRaised; r++ {
		if r.String() == text {
			return r
		}
	}
	return 255 // of a later version: it withdraws all the same
}
