package jwks_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/adapters/jwks"
	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/ports"
)

const address = "https://issuer.example/.well-known/jwks.json"

// issuer is another issuer, without a network: so that a test may hold the time in its hands.
type issuer struct {
	mu      sync.Mutex
	text    string
	code    int
	wait    time.Duration // before the answer
	fetches atomic.Int64
	atOnce  atomic.Int64
	most    atomic.Int64
}

func (i *issuer) says(text string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.text, i.code = text, 200
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.fetches.Add(1)
	i.most.Store(max(i.most.Load(), i.atOnce.Add(1)))
	defer i.atOnce.Add(-1)
	i.mu.Lock()
	text, code, wait := i.text, i.code, i.wait
	i.mu.Unlock()
	select {
	case <-time.After(wait):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return &http.Response{StatusCode: code, Status: http.StatusText(code), Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
}

// pass lets time pass in a bubble.
func pass(d time.Duration) { <-time.After(d) }

func remote(t testing.TB, url string, o jwks.RemoteOptions) *jwks.Remote {
	t.Helper()
	r, err := jwks.NewRemote(url, jwtcodec.Check, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ids are those of a set's keys, or of none.
func ids(s *jwks.Set) string {
	if s == nil {
		return "nothing"
	}
	var all []string
	for _, k := range s.Keys {
		all = append(all, k.ID)
	}
	return strings.Join(all, " ")
}

func named(t testing.TB, ids ...string) string {
	t.Helper()
	var members []string
	for _, id := range ids {
		members = append(members, member(t, keyset.EdDSA, map[string]any{"kid": id}))
	}
	return setOf(members...)
}

func TestAddresses(t *testing.T) {
	for url, good := range map[string]bool{
		address: true, "https://issuer.example:8443/keys?tenant=a": true, "http://localhost:8000/jwks.json": true, "http://127.0.0.1/k": true, "http://[::1]:80/k": true,
		"http://issuer.example/k": false, "http://127.0.0.1.issuer.example/k": false, "http://localhost.issuer.example/k": false, "http://10.0.0.1/k": false, "file:///etc/passwd": false,
		"ftp://127.0.0.1/k": false, "": false, "issuer.example/k": false, "https:///k": false, "https://user:pass@issuer.example/k": false, "https://issuer.example/k#a": false, "https://issuer.example/\n": false,
	} {
		r, err := jwks.NewRemote(url, jwtcodec.Check, jwks.RemoteOptions{})
		if (err == nil) != good || (r != nil) != good {
			t.Errorf("%q: %v", url, err)
		}
		if err != nil && (strings.Contains(err.Error(), "pass@") || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%q: %v", url, err)
		}
	}
}

// TestUnknownKeysCostOneFetch: 1,000 askers at once and 10,000 one after another, all with ids that nobody knows.
func TestUnknownKeysCostOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{wait: time.Second}
		i.says(named(t, "a"))
		r := remote(t, address, jwks.RemoteOptions{Transport: i, Refresh: time.Hour})
		if s, err := r.Keys(t.Context()); ids(s) != "a" {
			t.Fatalf("got %s (%v)", ids(s), err)
		}
		pass(31 * time.Second)
		i.says(named(t, "a", "b"))
		began := i.fetches.Load()
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				if s, err := r.Look(t.Context()); ids(s) != "a b" || err != nil {
					t.Errorf("got %s (%v)", ids(s), err)
				}
			})
		}
		wg.Wait()
		if got := i.fetches.Load() - began; got != 1 || i.most.Load() != 1 {
			t.Errorf("1,000 askers cost %d fetches, %d of them at once", got, i.most.Load())
		}
		i.says(named(t, "c"))
		start := time.Now()
		for range 10_000 {
			if s, err := r.Look(t.Context()); ids(s) != "a b" || err != nil {
				t.Fatalf("got %s (%v)", ids(s), err)
			}
		}
		if got := i.fetches.Load() - began; got != 1 || time.Since(start) != 0 {
			t.Errorf("10,000 looks within the pause cost %d fetches more and %v", got-1, time.Since(start))
		}
		pass(30*time.Second - time.Second - 1) // the fetch took a second of them
		if s, _ := r.Look(t.Context()); ids(s) != "a b" {
			t.Error("it fetched again before the pause was over")
		}
		pass(1)
		if s, _ := r.Look(t.Context()); ids(s) != "c" {
			t.Errorf("after the pause: got %s", ids(s))
		}
	})
}

// TestAnUnknownKeyIsLookedForAtOnce: what fetched the keys a moment before knew of no key that was made since; and a look is still one in 30 s.
func TestAnUnknownKeyIsLookedForAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{}
		i.says(named(t, "a"))
		r := remote(t, address, jwks.RemoteOptions{Transport: i, Refresh: time.Minute})
		if s, err := r.Keys(t.Context()); ids(s) != "a" {
			t.Fatalf("got %s (%v)", ids(s), err)
		}
		i.says(named(t, "a", "b"))
		for range 10 {
			if s, err := r.Look(t.Context()); ids(s) != "a b" || err != nil {
				t.Fatalf("got %s (%v)", ids(s), err)
			}
		}
		i.says(named(t, "c"))
		pass(30*time.Second - 1)
		if s, _ := r.Look(t.Context()); ids(s) != "a b" || i.fetches.Load() != 2 {
			t.Errorf("before the pause is over: got %s after %d fetches", ids(s), i.fetches.Load())
		}
		pass(30*time.Second + 1) // the keys grew old: they are fetched for that
		if s, _ := r.Keys(t.Context()); ids(s) != "a b" {
			t.Errorf("old keys: got %s", ids(s))
		}
		synctest.Wait()
		i.says(named(t, "d"))
		if s, _ := r.Look(t.Context()); ids(s) != "d" || i.fetches.Load() != 4 {
			t.Errorf("right after a refresh: got %s after %d fetches", ids(s), i.fetches.Load())
		}
	})
}

// TestNobodyWaitsLonger: who asks with little time gets what there is, while the fetch goes on for the others.
func TestNobodyWaitsLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{wait: 4 * time.Second}
		i.says(named(t, "a"))
		r := remote(t, address, jwks.RemoteOptions{Transport: i, Refresh: time.Minute})
		hurried, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if s, err := r.Keys(hurried); s != nil || !errors.Is(err, ports.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("got %s, %v after %v", ids(s), err, time.Since(start))
		}
		if s, err := r.Keys(t.Context()); ids(s) != "a" || err != nil || time.Since(start) != 4*time.Second || i.fetches.Load() != 1 {
			t.Errorf("got %s, %v after %v and %d fetches", ids(s), err, time.Since(start), i.fetches.Load())
		}
		pass(time.Minute)
		i.says(named(t, "b"))
		start = time.Now()
		if s, err := r.Keys(t.Context()); ids(s) != "a" || err != nil || time.Since(start) != 0 {
			t.Errorf("old keys: got %s, %v after %v", ids(s), err, time.Since(start))
		}
		late, cancelLate := context.WithTimeout(t.Context(), time.Second)
		defer cancelLate()
		if s, err := r.Look(late); ids(s) != "a" || err != nil || time.Since(start) != time.Second {
			t.Errorf("a look with little time: got %s, %v after %v", ids(s), err, time.Since(start))
		}
		pass(3 * time.Second)
		synctest.Wait()
		if s, _ := r.Keys(t.Context()); ids(s) != "b" {
			t.Errorf("the fetch beside was lost: got %s", ids(s))
		}
	})
}

// TestTheLastGoodSetIsKept through every kind of failure, with its age; and a fetch takes at most five seconds.
func TestTheLastGoodSetIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{code: 503}
		r := remote(t, address, jwks.RemoteOptions{Transport: i})
		if s, err := r.Keys(t.Context()); s != nil || !errors.Is(err, ports.ErrUnavailable) {
			t.Fatalf("got %s, %v", ids(s), err)
		}
		i.says(named(t, "a"))
		if s, _ := r.Keys(t.Context()); s != nil {
			t.Error("it did not pause after a failure")
		}
		pass(time.Second)
		first, err := r.Keys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for name, fail := range map[string]func(){
			"503":       func() { i.code = 503 },
			"a page":    func() { i.says("<html>") },
			"a secret":  func() { i.says(setOf(privateJWK(t, keyset.EdDSA))) },
			"too much":  func() { i.says(named(t, "b") + strings.Repeat(" ", 1<<20)) },
			"one twice": func() { i.says(named(t, "b", "b")) },
			"silence":   func() { i.wait = time.Hour },
		} {
			fail()
			pass(time.Minute)
			start := time.Now()
			s, err := r.Look(t.Context())
			if s != first || err != nil || !s.Fetched.Equal(first.Fetched) {
				t.Errorf("%s: got %s, %v", name, ids(s), err)
			}
			if name == "silence" && time.Since(start) != 5*time.Second {
				t.Errorf("silence took %v", time.Since(start))
			}
			i.wait = 0
		}
		i.says(named(t, "a"))
		pass(time.Minute)
		s, err := r.Look(t.Context())
		if err != nil || &s.Keys[0] != &first.Keys[0] || !s.Fetched.Equal(time.Now()) {
			t.Errorf("the same document again: fetched at %v, keys made anew: %v (%v)", s.Fetched, &s.Keys[0] != &first.Keys[0], err)
		}
	})
}

// TestRealAnswers: what a server of another issuer can do to a fetch, over a connection.
func TestRealAnswers(t *testing.T) {
	good := named(t, "a")
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, good) }))
	defer elsewhere.Close()
	var sent atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("/good", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, good) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/good", http.StatusFound) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+"/good", http.StatusFound)
	})
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
	})
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/html", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "<html><form>Sign in</form></html>")
	})
	mux.HandleFunc("/gone", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404); _, _ = io.WriteString(w, good) })
	mux.HandleFunc("/vast", func(w http.ResponseWriter, r *http.Request) { // 100 MiB
		chunk := []byte(strings.Repeat(" ", 64<<10))
		for range 1600 {
			n, err := w.Write(chunk)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100000")
		_, _ = io.WriteString(w, good)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	for path, says := range map[string]string{"/good": "", "/moved": "", "/away": "redirects to", "/file": "", "/loop": "redirects", "/html": "no key set", "/gone": "404", "/vast": "over 1048576 bytes", "/cut": "EOF"} {
		t.Run(path, func(t *testing.T) {
			s, err := remote(t, server.URL+path, jwks.RemoteOptions{}).Keys(t.Context())
			if path == "/good" || path == "/moved" {
				if ids(s) != "a" || err != nil {
					t.Errorf("got %s, %v", ids(s), err)
				}
				return
			}
			if s != nil || err == nil || !strings.Contains(err.Error(), says) || !errors.Is(err, ports.ErrUnavailable) {
				t.Errorf("got %s, %v; want an error with %q", ids(s), err, says)
			}
		})
	}
	if n := sent.Load(); n > 16<<20 {
		t.Errorf("%d bytes of an answer without end were taken", n)
	}
}

// roundTrip is a transport that is a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestAPanicOfAFetch is an error to all who wait for it, wherever it happens, and the next fetch goes on.
func TestAPanicOfAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{wait: time.Second}
		i.says(named(t, "a"))
		where := "the transport"
		transport := roundTrip(func(r *http.Request) (*http.Response, error) {
			got, err := i.RoundTrip(r)
			if where == "the transport" {
				panic(where)
			}
			return got, err
		})
		r, err := jwks.NewRemote(address, func(k keyset.Key) error {
			if where == "the check" {
				panic(where)
			}
			return jwtcodec.Check(k)
		}, jwks.RemoteOptions{Transport: transport})
		if err != nil {
			t.Fatal(err)
		}
		for _, where = range []string{"the transport", "the check"} {
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					if _, err := r.Keys(t.Context()); !errors.Is(err, ports.ErrUnavailable) || !strings.Contains(err.Error(), where) {
						t.Errorf("%s: got %v, want ErrUnavailable and why", where, err)
					}
				})
			}
			all.Wait()
			pass(31 * time.Second)
		}
		where = ""
		if s, err := r.Keys(t.Context()); ids(s) != "a" || err != nil {
			t.Errorf("afterwards: %s (%v)", ids(s), err)
		}
	})
}
