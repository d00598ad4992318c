package verify_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/app/verify"
	"github.com/xteam/xteam/domain/secret"
)

// asked is one request for the feed: when it came, and from which place on.
type asked struct {
	at   time.Time
	last string
}

// script answers the requests for a feed one after the other, and notes them. The last answer is for all that follow.
type script struct {
	answers  []func(context.Context) (*http.Response, error)
	requests []asked
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	n := min(len(s.requests), len(s.answers)-1)
	s.requests = append(s.requests, asked{time.Now(), r.Header.Get("Last-Event-ID")})
	return s.answers[n](r.Context())
}

// says is a stream that says a text; after that it ends, or stays open.
func says(text string, stays bool) func(context.Context) (*http.Response, error) {
	return func(ctx context.Context) (*http.Response, error) {
		read, write := io.Pipe()
		go func() {
			_, _ = io.WriteString(write, text)
			if stays {
				<-ctx.Done()
			}
			_ = write.CloseWithError(io.EOF)
		}()
		return &http.Response{StatusCode: 200, Body: read}, nil
	}
}

func refuses(status int, retry string) func(context.Context) (*http.Response, error) {
	return func(context.Context) (*http.Response, error) {
		h := http.Header{}
		if retry != "" {
			h.Set("Retry-After", retry)
		}
		return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: h, Body: http.NoBody}, nil
	}
}

func fails(context.Context) (*http.Response, error) { return nil, errors.New("connection refused") }

const (
	whole = "id: a.1\nevent: snapshot\ndata: {\"entries\":[],\"more\":false}\n\nevent: heartbeat\ndata: {\"age_ms\":0,\"elapsed_ms\":0}\n\n"
	some  = "id: a.2\nevent: revocation\ndata: {\"kind\":\"jti\",\"value\":\"00000000000000000000000000000001\",\"reason\":\"logout\",\"at\":\"2026-01-01T00:00:00Z\",\"until\":null}\n\n"
)

// following opens a follower of the script in a bubble of its own time, and has it followed for a while.
func following(t *testing.T, s *script, d time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		v, err := verify.Open(t.Context(), verify.Options{Secret: secret.New(signing), Feed: "https://auth.example/api/v1/revocations", APIKey: secret.New("xt_dev_key"), Transport: s})
		check(t, err)
		<-time.After(d)
		v.Close()
	})
}

// However long the feed is away, a follower that knows what was told until then asks for what followed.
func TestAFollowerKeepsItsPlace(t *testing.T) {
	s := &script{answers: []func(context.Context) (*http.Response, error){says(whole+some, false), fails, fails, fails, fails, fails, refuses(503, ""), fails, fails, says(whole, true)}}
	following(t, s, time.Minute)
	if len(s.requests) < 10 {
		t.Fatalf("%d requests in a minute", len(s.requests))
	}
	for i, r := range s.requests[1:10] {
		if r.last != "a.2" {
			t.Errorf("request %d asks from %q on; want a.2", i+2, r.last)
		}
	}
	for i := range 9 {
		if gap := s.requests[i+1].at.Sub(s.requests[i].at); gap < 250*time.Millisecond || gap > 4*time.Second {
			t.Errorf("between request %d and the next are %v", i+1, gap)
		}
	}
}

// A server that says when it can be asked again is not asked before, and not by all at once.
func TestAFollowerWaitsAsLongAsItIsTold(t *testing.T) {
	for retry, want := range map[string][2]time.Duration{
		"7":                    {7 * time.Second, 9 * time.Second},
		"86400":                {time.Minute, 75 * time.Second},
		"-1":                   {0, 4 * time.Second},
		"0":                    {0, 4 * time.Second},
		"soon":                 {0, 4 * time.Second},
		"99999999999999999999": {0, 4 * time.Second},
	} {
		for _, status := range []int{429, 503} {
			s := &script{answers: []func(context.Context) (*http.Response, error){says(whole, false), refuses(status, retry), says(whole, true)}}
			following(t, s, 2*time.Minute)
			if len(s.requests) < 3 {
				t.Fatalf("%q: %d requests", retry, len(s.requests))
			}
			if gap := s.requests[2].at.Sub(s.requests[1].at); gap < want[0] || gap > want[1] {
				t.Errorf("%d with Retry-After %q: asked again after %v; want %v", status, retry, gap, want)
			}
		}
	}
}

func TestFollowersDoNotComeBackTogether(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 8 {
		s := &script{answers: []func(context.Context) (*http.Response, error){says(whole, false), says(strings.Replace(whole, "a.1", "b.1", 1), true)}}
		following(t, s, 3*time.Second)
		seen[s.requests[1].at.Sub(s.requests[0].at)] = true
	}
	if len(seen) < 4 {
		t.Errorf("of eight followers that lost one node, the times at which they came back are %v", seen)
	}
}
