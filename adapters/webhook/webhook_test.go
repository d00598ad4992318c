package webhook_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/webhook"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/secret"
)

const plain = "planted-secret-of-the-webhook"

var noon = time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)

// got is one request as the receiver had it.
type got struct {
	header http.Header
	body   string
}

type receiver struct {
	*httptest.Server
	mu  sync.Mutex
	all []got
}

func receive(t *testing.T, answer http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		b, _ := io.ReadAll(q.Body)
		r.mu.Lock()
		r.all = append(r.all, got{q.Header, string(b)})
		r.mu.Unlock()
		answer(w, q)
	}))
	r.Config.ErrorLog = nil
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) received() []got { r.mu.Lock(); defer r.mu.Unlock(); return r.all }

func (r *receiver) roots() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(r.Certificate())
	return p
}

func sender(t *testing.T, o webhook.Options) *webhook.Sender {
	t.Helper()
	if o.Secret.IsZero() {
		o.Secret = secret.New(plain)
	}
	if o.Now == nil {
		o.Now = func() time.Time { return noon }
	}
	s, err := webhook.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func ok(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

func TestMessagesAreSigned(t *testing.T) {
	r := receive(t, ok)
	for name, c := range map[string]struct{ given, key string }{
		"a text":                   {plain, plain},
		"after the field's custom": {"whsec_" + base64.StdEncoding.EncodeToString([]byte("\x00\xff another secret of 32 bytes")), "\x00\xff another secret of 32 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			s := sender(t, webhook.Options{URL: strings.Replace(r.URL, "https://", "https://user:pass@", 1) + "/in?k=v", Secret: secret.New(c.given), Private: true, Roots: r.roots()})
			if err := s.Send(t.Context(), "msg-1", []byte(`{"a":1}`)); err != nil {
				t.Fatal(err)
			}
			all := r.received()
			m := all[len(all)-1]
			mac := hmac.New(sha256.New, []byte(c.key))
			fmt.Fprintf(mac, "msg-1.%d.%s", noon.Unix(), `{"a":1}`)
			want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
			if m.header.Get("webhook-signature") != want || m.header.Get("webhook-id") != "msg-1" || m.header.Get("webhook-timestamp") != fmt.Sprint(noon.Unix()) || m.body != `{"a":1}` {
				t.Errorf("received %v %s, want the signature %s", m.header, m.body, want)
			}
			if u, p, _ := (&http.Request{Header: m.header}).BasicAuth(); u != "user" || p != "pass" {
				t.Errorf("the user of the address: %q %q", u, p)
			}
		})
	}
}

// The example that the scheme is published with.
func TestThePublishedSignature(t *testing.T) {
	r := receive(t, ok)
	s := sender(t, webhook.Options{URL: r.URL, Private: true, Roots: r.roots(), Secret: secret.New("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), Now: func() time.Time { return time.Unix(1614265330, 0) }})
	if err := s.Send(t.Context(), "msg_p5jXN8AQM9LWM0D4loKWxJek", []byte(`{"test": 2432232314}`)); err != nil {
		t.Fatal(err)
	}
	if sig := r.received()[0].header.Get("webhook-signature"); sig != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Errorf("signed %s", sig)
	}
}

func TestWhatIsNotDelivered(t *testing.T) {
	elsewhere := receive(t, ok)
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"500": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "it answered with 500"},
		"410": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(410) }, "it answered with 410"},
		"a redirect": {func(w http.ResponseWriter, q *http.Request) {
			http.Redirect(w, q, elsewhere.URL, http.StatusTemporaryRedirect)
		}, "redirects"},
		"nothing at all": {func(_ http.ResponseWriter, q *http.Request) { <-q.Context().Done(); panic(http.ErrAbortHandler) }, "did not answer in time"}, // nor afterwards
		"a cut connection": {func(w http.ResponseWriter, _ *http.Request) {
			c, _, _ := w.(http.Hijacker).Hijack()
			_ = c.Close()
		}, "broke before it answered"},
		"an answer without end": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			for range 100 {
				_, _ = w.Write(make([]byte, 64<<10))
			}
		}, "it answered with 500"},
		"headers without end": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
			w.WriteHeader(200)
		}, "broke before it answered"},
	} {
		t.Run(name, func(t *testing.T) {
			r := receive(t, c.answer)
			s := sender(t, webhook.Options{URL: strings.Replace(r.URL, "https://", "https://u:planted-password@", 1) + "/planted-path?k=planted-query", Private: true, Roots: r.roots(), Timeout: 3 * time.Second})
			err := s.Send(t.Context(), "1", []byte("{}"))
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got error %v, want one that says %q", err, c.says)
			}
			if strings.Contains(err.Error(), "planted") {
				t.Errorf("the error tells a secret: %v", err)
			}
			if n := len(r.received()); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
	if n := len(elsewhere.received()); n != 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
	t.Run("to whose certificate nobody vouches", func(t *testing.T) {
		r := receive(t, ok)
		err := sender(t, webhook.Options{URL: r.URL, Private: true}).Send(t.Context(), "1", nil)
		if err == nil || !strings.Contains(err.Error(), "certificate") || len(r.received()) != 0 {
			t.Errorf("got %v", err)
		}
	})
	t.Run("after the caller has gone", func(t *testing.T) {
		r := receive(t, ok)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := sender(t, webhook.Options{URL: r.URL, Private: true, Roots: r.roots()}).Send(ctx, "1", nil); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("to nobody", func(t *testing.T) {
		r := receive(t, ok)
		r.Close()
		err := sender(t, webhook.Options{URL: r.URL, Private: true}).Send(t.Context(), "1", nil)
		if err == nil || !strings.Contains(err.Error(), "cannot be reached") {
			t.Errorf("got %v", err)
		}
	})
}

// A name is judged by what it stands for at the moment of the connection.
func TestPrivateAddressesAreRefused(t *testing.T) {
	r := receive(t, ok)
	port := r.URL[strings.LastIndex(r.URL, ":"):]
	for _, host := range []string{"127.0.0.1", "localhost", "127.1.2.3", "[::ffff:127.0.0.1]", "[::1]"} {
		err := sender(t, webhook.Options{URL: "https://" + host + port, Roots: r.roots()}).Send(t.Context(), "1", nil)
		if err == nil || !strings.Contains(err.Error(), "not allowed") {
			t.Errorf("%s: got error %v, want that it is not allowed", host, err)
		}
	}
	if n := len(r.received()); n != 0 {
		t.Errorf("%d requests came", n)
	}
	for _, c := range []struct {
		address        string
		public, inside bool // allowed
	}{
		{"8.8.8.8:443", true, true}, {"[2606:4700::1]:443", true, true}, {"10.1.2.3:443", false, true}, {"172.16.0.1:443", false, true}, {"192.168.1.1:443", false, true},
		{"127.0.0.1:443", false, true}, {"[::1]:443", false, true}, {"[fd00:ec2::254]:80", false, true}, {"100.64.0.1:443", false, true}, {"[::ffff:10.0.0.1]:443", false, true},
		{"169.254.169.254:80", false, false}, {"[fe80::1%lo]:443", false, false}, {"[::ffff:169.254.169.254]:80", false, false}, {"0.0.0.0:443", false, false}, {"[::]:443", false, false},
		{"224.0.0.1:443", false, false}, {"[ff02::1]:443", false, false}, {"255.255.255.255:443", false, false}, {"[64:ff9b::a00:1]:443", false, true}, {"[2002:a00:1::]:443", false, true}, {"here", false, false},
	} {
		if public, inside := webhook.Permitted(c.address, false) == nil, webhook.Permitted(c.address, true) == nil; public != c.public || inside != c.inside {
			t.Errorf("%s: got %v, and %v where private ones are allowed, want %v and %v", c.address, public, inside, c.public, c.inside)
		}
	}
}

func TestOptionsThatCannotBe(t *testing.T) {
	good := webhook.Options{URL: "https://hooks.example/x", Secret: secret.New(plain)}
	for name, change := range map[string]func(*webhook.Options){
		"no address":           func(o *webhook.Options) { o.URL = "" },
		"no host":              func(o *webhook.Options) { o.URL = "https:///planted" },
		"another scheme":       func(o *webhook.Options) { o.URL, o.Private = "ftp://planted@hooks.example/", true },
		"http":                 func(o *webhook.Options) { o.URL = "http://planted@hooks.example/" },
		"a fragment":           func(o *webhook.Options) { o.URL += "#planted" },
		"an address in pieces": func(o *webhook.Options) { o.URL = "https://planted\x00@h/" },
		"no secret":            func(o *webhook.Options) { o.Secret = secret.Text{} },
		"a short secret":       func(o *webhook.Options) { o.Secret = secret.New("planted") },
		"a damaged secret":     func(o *webhook.Options) { o.Secret = secret.New("whsec_planted-planted-planted-planted") },
		"a short key":          func(o *webhook.Options) { o.Secret = secret.New("whsec_cGxhbnRlZA==") },
	} {
		o := good
		change(&o)
		if _, err := webhook.New(o); err == nil || strings.Contains(err.Error(), "planted") {
			t.Errorf("%s: got error %v, want one without a secret", name, err)
		}
	}
	s := sender(t, good)
	if text := fmt.Sprintf("%v %+v %#v", s, *s, s); strings.Contains(text, plain) {
		t.Error("a sender prints its secret")
	}
}

func TestEventsInMessages(t *testing.T) {
	r := receive(t, ok)
	sink := webhook.NewSink(sender(t, webhook.Options{URL: r.URL, Private: true, Roots: r.roots()}))
	one := audit.Event{ID: id.Event{1}, Time: instant.Of(noon), Kind: audit.RefreshReused, Severity: audit.Critical, UserAgent: "a\r\n\x1b[2J\u202e Bearer eyJhbGciOiJIUzI1NiJ9.planted"}
	two := audit.Event{ID: id.Event{2}, Time: instant.Of(noon), Kind: audit.TokenRevoked, Severity: audit.Info, Details: map[string]string{"note": strings.Repeat("x", 1<<20)}}
	for _, events := range [][]audit.Event{{}, {one}, {one, two}, {one, two}, {two, one}} {
		if err := sink.Deliver(t.Context(), events...); err != nil {
			t.Fatal(err)
		}
	}
	all := r.received()
	if len(all) != 4 {
		t.Fatalf("%d messages, want 4", len(all))
	}
	var ids []string
	for i, m := range all {
		ids = append(ids, m.header.Get("webhook-id"))
		var body struct {
			Type string
			Data struct{ Events []struct{ ID, Kind string } }
		}
		if err := json.Unmarshal([]byte(m.body), &body); err != nil || body.Type != "security_events" || len(body.Data.Events) != min(i+1, 2) {
			t.Errorf("message %d: %v, %d events of type %q", i, err, len(body.Data.Events), body.Type)
		}
		if strings.Contains(m.body, "planted") || strings.ContainsAny(m.body, "\r\n\x1b\u202e") || len(m.body) > 20<<10 {
			t.Errorf("message %d holds what it should not, in %d bytes", i, len(m.body))
		}
	}
	if ids[0] != one.ID.String() || ids[1] != ids[2] || ids[1] == ids[3] || ids[1] == ids[0] {
		t.Errorf("ids: %v", ids)
	}
}
