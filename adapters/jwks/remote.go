package jwks

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/ports"
)

// Times of a Remote.
const (
	fetchTimeout = 5 * time.Second
	pause        = 30 * time.Second // between two fetches of one kind, whoever asks: for keys that grew old, and for unknown ones
	firstPause   = time.Second      // while nothing was ever fetched
)

// RemoteOptions are the tunables of a Remote. The zero value works.
type RemoteOptions struct {
	// Refresh is how old the keys may grow before they are fetched again, MaxAge when zero.
	Refresh time.Duration
	// Transport does the request. When it is nil a connection is made for each, by the proxy that the environment names, if any.
	Transport http.RoundTripper
	// Now is the time, time.Now when nil.
	Now func() time.Time
}

// Remote holds the key set of another issuer. It fetches when it is asked, one fetch at a time for all who ask; at most one in 30 s for whoever has an
// unknown key, and as seldom for keys that grew old. It keeps the last good set through every failure. It has no goroutine but while it fetches, which
// takes at most 5 s.
type Remote struct {
	url    string
	check  func(keyset.Key) error
	client *http.Client
	o      RemoteOptions

	mu     sync.Mutex
	set    *Set // the last good one, or nil
	sum    [sha256.Size]byte
	begun  time.Time     // of the last fetch, good or not
	looked time.Time     // of the last one for an unknown key
	err    error         // of the last fetch
	flight chan struct{} // closed when the fetch that runs now ends; nil while none does
}

// Set is a key set as it was fetched. It is shared: it must not be changed.
type Set struct {
	Keys    []keyset.Key // the same slice for as long as the document is the same
	Fetched time.Time    // when it was last seen to be so
	Left    []string     // why keys of the document are not among Keys, one sentence each
}

// NewRemote makes a Remote of the key set at a URL, which must be https, or http on this machine. check says whether whoever verifies could hold a key;
// keys that it refuses are left out.
func NewRemote(address string, check func(keyset.Key) error, o RemoteOptions) (*Remote, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, errors.New("the address of a key set is a URL such as https://issuer.example/.well-known/jwks.json, without a user or a fragment")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return nil, fmt.Errorf("the key set of %s is asked for by %q: it must be https, since whoever can change it can make tokens", u.Host, u.Scheme)
	}
	if o.Refresh == 0 {
		o.Refresh = MaxAge
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Transport == nil {
		o.Transport = &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10}
	}
	r := &Remote{url: u.String(), check: check, o: o}
	r.client = &http.Client{Transport: o.Transport, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		if next.URL.Host != u.Host || next.URL.Scheme != u.Scheme || len(via) > 3 {
			return fmt.Errorf("it redirects to %s, and only what %s says itself is believed", next.URL.Host, u.Host)
		}
		return nil
	}}
	return r, nil
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// Keys answers the last good set. While there is none it waits for one, as long as ctx lets it; one that is older than Refresh is answered and fetched
// again beside. Without any the error matches ports.ErrUnavailable.
func (r *Remote) Keys(ctx context.Context) (*Set, error) {
	r.mu.Lock()
	set := r.set
	if set == nil {
		r.mu.Unlock()
		return r.Look(ctx)
	}
	if r.o.Now().Sub(set.Fetched) >= r.o.Refresh {
		r.fetch(r.begun, pause)
	}
	r.mu.Unlock()
	return set, nil
}

// Look is Keys for somebody who has a token of a key that is not in the set: it fetches again, or waits for the fetch that runs, as long as ctx lets it.
// Within 30 s of the last look that fetched it answers what there is at once: so any number of invented ids costs one fetch in 30 s. What fetched the
// keys before it does not count: the issuer may have made another a moment later. A fetch that fails leaves the last good set, which is then answered
// without an error; its Fetched tells how old it is.
func (r *Remote) Look(ctx context.Context) (*Set, error) {
	r.mu.Lock()
	last, least := r.looked, pause
	if r.set == nil {
		last, least = r.begun, firstPause
	}
	running := r.flight
	flight := r.fetch(last, least)
	if r.set != nil && flight != running {
		r.looked = r.begun
	}
	r.mu.Unlock()
	if flight != nil {
		select {
		case <-flight:
		case <-ctx.Done():
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.set != nil {
		return r.set, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("fetch the key set at %s: %w (%w)", r.url, ports.ErrUnavailable, err)
	}
	return nil, fmt.Errorf("fetch the key set at %s: %w (%w)", r.url, ports.ErrUnavailable, r.err)
}

// fetch begins a fetch, unless one runs or it is too soon after the last of its kind. It answers what is closed when the one that runs ends. r.mu is held.
func (r *Remote) fetch(last time.Time, least time.Duration) chan struct{} {
	if r.flight != nil {
		return r.flight
	}
	now := r.o.Now()
	if since := now.Sub(last); !last.IsZero() && since >= 0 && since < least {
		return nil
	}
	r.begun, r.flight = now, make(chan struct{})
	go r.run(r.flight)
	return r.flight
}

// run fetches once. It answers to nobody's context, since others wait for it than who began it.
func (r *Remote) run(flight chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	text, err := r.get(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	defer close(flight)
	r.flight = nil
	sum := sha256.Sum256(text)
	if err == nil && r.set != nil && sum == r.sum {
		r.set, r.err = &Set{Keys: r.set.Keys, Left: r.set.Left, Fetched: r.begun}, nil
		return
	}
	var fresh Set
	if err == nil {
		fresh.Keys, fresh.Left, err = r.parse(text)
	}
	if r.err = err; err == nil {
		fresh.Fetched = r.begun
		r.set, r.sum = &fresh, sum
	}
}

// rescue makes a panic an error of the fetch: many wait for it, and it is nobody's request.
func rescue(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("the fetch panicked: %v", p)
	}
}

// parse is Parse.
func (r *Remote) parse(text []byte) (keys []keyset.Key, left []string, err error) {
	defer rescue(&err)
	return Parse(text, r.check)
}

func (r *Remote) get(ctx context.Context) (_ []byte, err error) {
	defer rescue(&err)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", contentType+", application/json")
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", resp.Status)
	}
	var text bytes.Buffer
	n, err := io.Copy(&text, io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return nil, err
	}
	if n > maxDocument {
		return nil, fmt.Errorf("the key set is over %d bytes", maxDocument)
	}
	return text.Bytes(), nil
}
