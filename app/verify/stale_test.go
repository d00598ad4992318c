package verify_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/xteam/xteam/adapters/redisstore"
	"github.com/xteam/xteam/app/verify"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/ports"
	"github.com/xteam/xteam/ports/porttest"
)

// late hands on every byte of an answer, in order, some time later.
func late(t *testing.T, to string, by time.Duration) string {
	t.Helper()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := r.Clone(r.Context())
		out.URL.Scheme, out.URL.Host, out.RequestURI = "http", strings.TrimPrefix(to, "http://"), ""
		resp, err := http.DefaultTransport.RoundTrip(out)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer func() { _ = resp.Body.Close() }()
		for name, values := range resp.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(resp.StatusCode)
		_ = http.NewResponseController(w).Flush()
		type chunk struct {
			bytes []byte
			at    time.Time
		}
		chunks := make(chan chunk, 10_000)
		go func() {
			defer close(chunks)
			for {
				b := make([]byte, 4096)
				n, err := resp.Body.Read(b)
				if chunks <- (chunk{b[:n], time.Now()}); err != nil {
					return
				}
			}
		}()
		for c := range chunks {
			<-time.After(time.Until(c.at.Add(by)))
			if _, err := w.Write(c.bytes); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
		}
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL
}

func TestWhatTheFeedIsOnItsWayMakesItOld(t *testing.T) {
	s := newService(t, "ES256")
	const by = 1500 * time.Millisecond
	o := s.options()
	o.Feed = late(t, s.base, by) + "/api/v1/revocations"
	v, err := verify.Open(t.Context(), o)
	check(t, err)
	defer v.Close()
	if age := v.Status().Age; age < by {
		t.Errorf("what came %v late is %v old", by, age)
	}
	_, err = v.Verify(s.access)
	check(t, err)
	o.MaxStaleness = time.Second
	strict, err := verify.Open(t.Context(), o)
	if err == nil {
		defer strict.Close()
		if _, err = strict.Verify(s.access); err == nil {
			t.Errorf("what came %v late is taken for %v fresh", by, o.MaxStaleness)
		}
	}
}

func TestAHeartbeatThatCannotBeIsNotBelieved(t *testing.T) {
	s := newService(t, "ES256")
	for _, data := range []string{`{"age_ms":9223372036855}`, `{"age_ms":-1}`, `{"age_ms":0,"elapsed_ms":9223372036854775807}`, `{"age_ms":0,"elapsed_ms":-5}`} {
		fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "event: snapshot\ndata: {\"entries\":[],\"more\":false}\n\nevent: heartbeat\ndata: "+data+"\n\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}))
		o := s.options()
		o.Feed = fake.URL
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		v, err := verify.Open(ctx, o)
		cancel()
		if err == nil {
			v.Close()
			t.Errorf("%s is believed", data)
		}
		fake.Close()
	}
}

// redisAt starts a Redis, and answers where.
func redisAt(t *testing.T) (string, *redis.Client) {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("XTEAM_TEST_REAL") == "1" {
			t.Fatal("redis-server is missing")
		}
		t.Skip("redis-server is missing")
	}
	port := strconv.Itoa(porttest.Free(t))
	at := "127.0.0.1:" + port
	cmd := exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", t.TempDir())
	check(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	c := redis.NewClient(&redis.Options{Addr: at, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = c.Close() })
	eventually(t, "Redis answers", func() bool { return c.Ping(t.Context()).Err() == nil })
	return at, c
}

func TestARedisThatNobodyVouchedForIsNotTrusted(t *testing.T) {
	at, c := redisAt(t)
	s := newService(t, "ES256")
	st, err := redisstore.New(redisstore.Options{Addresses: []string{at}})
	check(t, err)
	defer func() { _ = st.Close() }()
	o := verify.Options{JWKS: s.base + "/.well-known/jwks.json", Source: st.Revocations(), MaxStaleness: 2 * time.Second}
	if err = refusal(t, o, "vouched"); err == nil || !strings.Contains(err.Error(), "vouched") {
		t.Fatalf("an empty Redis that nobody vouched for: %v", err)
	}
	check(t, st.Revocations().Vouch(t.Context())) // as a node does
	v, err := verify.Open(t.Context(), o)
	check(t, err)
	defer v.Close()
	_, err = v.Verify(s.access)
	check(t, err)
	check(t, st.Revocations().Record(t.Context(), revocation.Entry{Kind: revocation.Session, Session: s.caller.Claims.Session, Reason: revocation.Logout, By: "test", At: s.caller.Claims.IssuedAt, Until: s.caller.Claims.ExpiresAt}))
	eventually(t, "the revocation is known", func() bool { _, err = v.Verify(s.access); return verify.Reason(err) == "logout" })

	// What is lost beside a follower stays lost: it neither puts back, nor claims, nor vouches, and goes stale.
	check(t, c.FlushAll(t.Context()).Err())
	eventually(t, "it goes stale", func() bool { return !v.Status().OK })
	keys, err := c.Keys(t.Context(), "*").Result()
	check(t, err)
	for _, key := range keys {
		if strings.HasSuffix(key, ":epoch") || strings.Contains(key, ":sid:") || strings.HasSuffix(key, ":healing") {
			t.Errorf("a follower wrote %s", key)
		}
	}
}

// counted is a source that can be written to, and has lost an entry when it is followed for the second time.
type counted struct {
	ports.Revocations
	entry revocation.Entry
	times *atomic.Int32
	wrote chan string
}

func (c counted) Follow(ctx context.Context, fn func(ports.News) error) error {
	if c.times.Add(1) == 1 {
		return errors.Join(fn(ports.News{Entries: []revocation.Entry{c.entry}, Caught: true}), ports.ErrUnavailable)
	}
	if err := errors.Join(fn(ports.News{Caught: true}), fn(ports.News{Caught: true})); err != nil { // what lacks twice is lost
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func (c counted) Record(context.Context, ...revocation.Entry) error { c.wrote <- "record"; return nil }
func (c counted) Vouch(context.Context) error                       { c.wrote <- "vouch"; return nil }

func TestAFollowerWritesNothing(t *testing.T) {
	s := newService(t, "ES256")
	claims := s.caller.Claims
	c := counted{times: &atomic.Int32{}, wrote: make(chan string, 100), entry: revocation.Entry{Kind: revocation.Session, Session: claims.Session, Reason: revocation.Logout, By: "test", At: claims.IssuedAt, Until: instant.Forever}}
	v, err := verify.Open(t.Context(), verify.Options{JWKS: s.base + "/.well-known/jwks.json", Source: c})
	check(t, err)
	eventually(t, "it is followed again", func() bool { return c.times.Load() == 2 })
	select {
	case what := <-c.wrote:
		t.Errorf("it wrote: %s", what)
	case <-time.After(200 * time.Millisecond):
	}
	v.Close()
}
