package verify_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/xteam/xteam/adapters/envsecrets"
	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/adapters/jwks"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/verify"
	"github.com/xteam/xteam/app/xteam"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

const signing = "a-signing-secret-of-at-least-32-bytes"

// service is an XTeam that is served.
type service struct {
	x      *xteam.XTeam
	base   string
	key    secret.Text
	server *http.Server
	access string
	caller app.Caller
}

var somebody = app.Request{ID: "test"}

func newService(t testing.TB, algorithm string) *service {
	t.Helper()
	ctx := context.Background()
	s := &service{}
	var err error
	s.x, err = xteam.Open(ctx, xteam.Options{Dir: t.TempDir(), BcryptCost: 10, Algorithm: algorithm, MinFreeSpace: -1, Limits: app.LimiterOptions{Mode: app.Off},
		JWKS:    func(keys func() []keyset.Key) http.Handler { return jwks.NewHandler(keys) },
		Secrets: envsecrets.New(func(name string) (string, bool) { return signing, name == app.SecretKey })})
	check(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	s.server = httpapi.Server(s.x.Handler(), nil)
	go func() { _ = s.server.Serve(httpapi.Plain(l)) }()
	s.base = "http://" + l.Addr().String()
	email, err1 := account.ParseEmail("root@example.com")
	name, err2 := account.ParseUsername("root")
	login, err3 := account.ParseLogin("", "root")
	check(t, errors.Join(err1, err2, err3))
	password := secret.New("correct horse battery")
	_, err = s.x.Accounts().Create(ctx, app.Actor{Name: app.Operator}, app.Registration{Email: email, Username: name, Password: password}, account.RoleAdmin)
	check(t, err)
	tk, err := s.x.Sessions().Login(ctx, somebody, login, password)
	check(t, err)
	keeper, err := s.x.Sessions().Login(ctx, somebody, login, password)
	check(t, err)
	s.access = tk.Access.RevealPlaintext()
	s.caller, err = s.x.Guard().Admit(s.access)
	check(t, err)
	owner, err := s.x.Guard().Admit(keeper.Access.RevealPlaintext())
	check(t, err)
	called, err := apikey.ParseName("another service")
	check(t, err)
	k, err := s.x.APIKeys().Issue(ctx, somebody, owner, apikey.Wish{Name: called, Scopes: apikey.RevocationsRead})
	check(t, err)
	s.key = k.Text
	t.Cleanup(func() { s.x.Close(); _ = s.server.Close() })
	return s
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *service) options() verify.Options {
	return verify.Options{JWKS: s.base + "/.well-known/jwks.json", Feed: s.base + "/api/v1/revocations", APIKey: s.key}
}

// patience is how long anything may take that is sure to come: a slow machine only waits.
const patience = 30 * time.Second

// eventually waits for a condition.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for !is() {
		select {
		case <-deadline.C:
			t.Fatalf("not within %v: %s", patience, what)
		case <-again.C:
		}
	}
}

// refusal is how Open fails that cannot succeed, and says why once it has got that far: a slow machine is given more time.
func refusal(t testing.TB, o verify.Options, says string) error {
	t.Helper()
	for within := time.Second; ; within *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		v, err := verify.Open(ctx, o)
		cancel()
		if err == nil {
			v.Close()
		}
		if err == nil || strings.Contains(err.Error(), says) || within >= patience {
			return err
		}
	}
}

func TestAnotherServiceJudgesAsXTeamDoes(t *testing.T) {
	for _, algorithm := range []string{"ES256", "HS256"} {
		t.Run(algorithm, func(t *testing.T) {
			s := newService(t, algorithm)
			leaks := goleak.IgnoreCurrent()
			o := s.options()
			if algorithm == "HS256" {
				_, err := verify.Open(t.Context(), o)
				if err == nil || !strings.Contains(err.Error(), "Options.Secret is needed") {
					t.Fatalf("without the secret: %v", err)
				}
				o.Secret = secret.New(signing)
			}
			v, err := verify.Open(t.Context(), o)
			check(t, err)
			c, err := v.Verify(s.access)
			if err != nil || c.Subject != s.caller.User() {
				t.Fatalf("Verify: %v, %v", c, err)
			}
			served := httptest.NewServer(v.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, _ := verify.ClaimsFrom(r.Context())
				_, _ = fmt.Fprint(w, c.Subject)
			})))
			ask := func(text string) int {
				r, err := http.NewRequestWithContext(t.Context(), "GET", served.URL, http.NoBody)
				check(t, err)
				if text != "" {
					r.Header.Set("Authorization", "Bearer "+text)
				}
				resp, err := served.Client().Do(r)
				check(t, err)
				_ = resp.Body.Close()
				return resp.StatusCode
			}
			if got := [...]int{ask(s.access), ask(""), ask("garbage"), ask(s.access + "x")}; got != [...]int{200, 401, 401, 401} {
				t.Errorf("the middleware answers %v", got)
			}
			check(t, s.x.Sessions().Logout(t.Context(), somebody, s.caller))
			eventually(t, "the revocation is known", func() bool { _, err = v.Verify(s.access); return err != nil })
			_, here := s.x.Guard().Admit(s.access)
			if verify.Reason(err) != "logout" || err.Error() != here.Error() {
				t.Errorf("refused with %v; XTeam itself with %v", err, here)
			}
			if got := ask(s.access); got != 401 {
				t.Errorf("the middleware answers %d to a revoked token", got)
			}
			late, err := verify.Open(t.Context(), o) // by the snapshot
			check(t, err)
			if _, err := late.Verify(s.access); verify.Reason(err) != "logout" {
				t.Errorf("one that came later: %v", err)
			}
			for text, want := range map[string]error{"": token.ErrMissing, "garbage": token.ErrMalformed, s.access[:len(s.access)-4] + "AAAA": token.ErrInvalid} {
				if _, err := v.Verify(text); !errors.Is(err, want) {
					t.Errorf("%.10q: %v; want %v", text, err, want)
				}
			}
			late.Close()
			v.Close()
			v.Close()
			served.Close()
			served.Client().CloseIdleConnections()
			eventually(t, "no goroutine is left", func() bool {
				return goleak.Find(leaks, goleak.IgnoreAnyFunction("net/http.(*conn).serve"), goleak.IgnoreAnyFunction("net/http.(*connReader).backgroundRead")) == nil
			})
		})
	}
}

func TestNobodyIsLetInWhileWhatIsRevokedIsNotKnown(t *testing.T) {
	s := newService(t, "ES256")
	o := s.options()
	o.MaxStaleness = 2 * time.Second
	v, err := verify.Open(t.Context(), o)
	check(t, err)
	defer v.Close()
	_, err = v.Verify(s.access)
	check(t, err)
	_ = s.server.Close()
	eventually(t, "it goes stale", func() bool { _, err = v.Verify(s.access); return errors.Is(err, revocation.ErrStale) })
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", http.NoBody)
	r.Header.Set("Authorization", "Bearer "+s.access)
	v.Protect(http.NotFoundHandler()).ServeHTTP(w, r)
	if w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("answered %d %v", w.Code, w.Header())
	}
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	s := newService(t, "ES256")
	for want, change := range map[string]func(*verify.Options){
		"Options.JWKS":    func(o *verify.Options) { o.JWKS = "" },
		"Options.Feed":    func(o *verify.Options) { o.Feed = "" },
		"an APIKey":       func(o *verify.Options) { o.APIKey = secret.Text{} },
		"must be https":   func(o *verify.Options) { o.Feed = "http://auth.example/api/v1/revocations" },
		"answers 401":     func(o *verify.Options) { o.APIKey = secret.New("xt_dev_nonsense") },
		"Options.Leeway":  func(o *verify.Options) { o.Leeway = time.Hour },
		"answers 404":     func(o *verify.Options) { o.Feed = s.base + "/nothing" },
		"give one":        func(o *verify.Options) { o.Source = nowhere{} },
		"could not be he": func(o *verify.Options) { o.Feed, o.APIKey, o.Source = "", secret.Text{}, nowhere{} },
	} {
		o := s.options()
		change(&o)
		err := refusal(t, o, want)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), s.key.RevealPlaintext()) {
			t.Errorf("got %v; want %q", err, want)
		}
	}
}

// nowhere is a source that is never heard.
type nowhere struct{ ports.Revocations }

func (nowhere) Follow(ctx context.Context, _ func(ports.News) error) error {
	<-ctx.Done()
	return ctx.Err()
}
