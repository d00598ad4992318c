package xteam_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/xteam/xteam/adapters/envsecrets"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam"
	"github.com/xteam/xteam/app/xteam/assembly"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
)

const password = "correct-Horse-battery-9-staple"

// nothingIsLeft waits until nothing runs any more that a test has begun.
func nothingIsLeft(t *testing.T) {
	t.Helper()
	err := goleak.Find()
	for late := time.Now().Add(30 * time.Second); err != nil && time.Now().Before(late); {
		err = goleak.Find()
	}
	if err != nil {
		t.Error(err)
	}
}

// A program opens the system, has it serve its API, judges a token itself, revokes it, and closes; the same folder opens again and still refuses.
func TestEmbedded(t *testing.T) {
	defer nothingIsLeft(t)
	ctx, dir := t.Context(), t.TempDir()
	x, err := xteam.Open(ctx, xteam.Options{Dir: dir, BcryptCost: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	email, _ := account.ParseEmail("ann@example.com")
	name, _ := account.ParseUsername("ann")
	ann, err := x.Accounts().Create(ctx, app.Actor{Name: app.System}, app.Registration{Email: email, Username: name, Password: secret.New(password)}, account.RoleUser)
	if err != nil {
		t.Fatal(err)
	}

	req := httptest.NewRequest(http.MethodPost, "/api/v1/auth/login", strings.NewReader(`{"email":"ann@example.com","password":"`+password+`"}`))
	req.Header.Set("Content-Type", "application/json")
	res := httptest.NewRecorder()
	x.Handler().ServeHTTP(res, req)
	var tokens struct {
		Access string `json:"access_token"`
	}
	if err := json.Unmarshal(res.Body.Bytes(), &tokens); err != nil || res.Code != http.StatusOK {
		t.Fatalf("sign in: got %d %s", res.Code, res.Body)
	}
	if c, err := x.Guard().Admit(tokens.Access); err != nil || c.User() != ann.ID {
		t.Fatalf("admit: got %v, %v, want %v", c, err, ann.ID)
	}
	orders := x.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ok := xteam.CallerFrom(r.Context())
		fmt.Fprint(w, c.User(), ok)
	}))
	get := func(authorization string) *httptest.ResponseRecorder {
		req, res := httptest.NewRequest(http.MethodGet, "/orders", nil), httptest.NewRecorder()
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		orders.ServeHTTP(res, req)
		return res
	}
	if res := get("Bearer " + tokens.Access); res.Code != http.StatusOK || res.Body.String() != fmt.Sprint(ann.ID, true) {
		t.Errorf("a protected handler: got %d %s, want the caller", res.Code, res.Body)
	}
	for authorization, code := range map[string]string{"": "token_missing", "Bearer nonsense": "token_malformed"} {
		if res := get(authorization); res.Code != http.StatusUnauthorized || !strings.Contains(res.Body.String(), code) || res.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("a protected handler, sent %q: got %d %s, want 401 %s", authorization, res.Code, res.Body, code)
		}
	}
	if _, ok := xteam.CallerFrom(ctx); ok {
		t.Error("there is a caller outside of a protected handler")
	}
	if got, err := x.Revoker().Revoke(ctx, app.Actor{Name: app.System}, app.Selector{User: "ann"}, "", false); err != nil || got.SessionsEnded != 1 {
		t.Errorf("revoke: got %v, %v, want one session ended", got, err)
	}
	if _, err := x.Guard().Admit(tokens.Access); err == nil {
		t.Error("the token was admitted after it was revoked")
	}
	if res := get("Bearer " + tokens.Access); res.Code != http.StatusUnauthorized || !strings.Contains(res.Body.String(), "user_revoked") {
		t.Errorf("a protected handler, sent the revoked token: got %d %s, want 401 with the reason", res.Code, res.Body)
	}
	if _, err := xteam.Open(ctx, xteam.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second one on the folder: got %v, want an error that names %s", err, dir)
	}
	x.Close()

	if x, err = xteam.Open(ctx, xteam.Options{Dir: dir, BcryptCost: 10}); err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if _, err := x.Guard().Admit(tokens.Access); err == nil || !bytes.Contains([]byte(err.Error()), []byte("revoked")) {
		t.Errorf("after it was opened again: got %v, want the token revoked", err)
	}
}

func TestOpenNeedsAFolder(t *testing.T) {
	if _, err := xteam.Open(t.Context(), xteam.Options{}); err == nil {
		t.Error("it opened without a folder")
	}
}

// What cannot be is said before anything is made.
func TestOpenRefusesLivesThatCannotBe(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	for want, o := range map[string]xteam.Options{"access token": {Access: 25 * time.Hour}, "refresh token": {Refresh: 31 * 24 * time.Hour}, "leeway": {Leeway: time.Hour}, "session": {Session: -1}} {
		o.Dir = dir
		if _, err := xteam.Open(t.Context(), o); err == nil || !strings.HasPrefix(err.Error(), "xteam: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error that tells of the %s", err, want)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder: %v, want that there is none", err)
	}
	x, err := xteam.Open(t.Context(), xteam.Options{Dir: dir, Session: time.Hour, BcryptCost: 10}) // refresh tokens are no longer good than that
	if err != nil {
		t.Fatal(err)
	}
	x.Close()
}

// A folder goes from one password hasher to the other and back: the password stays good, and its hash is made anew once, at the first sign-in.
func TestThePasswordHasherIsChanged(t *testing.T) {
	defer nothingIsLeft(t)
	ctx, dir := t.Context(), t.TempDir()
	email, _ := account.ParseEmail("ann@example.com")
	name, _ := account.ParseUsername("ann")
	stored := func() string {
		silent := slog.New(slog.DiscardHandler)
		none := envsecrets.New(func(string) (string, bool) { return "", false })
		db, closeStore, err := assembly.OpenBadger(ctx, dir, 0, assembly.OpenSecrets(assembly.Source{Secrets: none}, dir, silent), silent)
		if err != nil {
			t.Fatal(err)
		}
		defer closeStore()
		ann, err := db.Stores.Accounts.Named(ctx, account.Login{Email: email})
		if err != nil {
			t.Fatal(err)
		}
		return ann.Password.RevealPlaintext()
	}
	x, err := xteam.Open(ctx, xteam.Options{Dir: dir, BcryptCost: 10})
	if err != nil {
		t.Fatal(err)
	}
	_, err = x.Accounts().Create(ctx, app.Actor{Name: app.System}, app.Registration{Email: email, Username: name, Password: secret.New(password)}, account.RoleUser)
	x.Close()
	if err != nil {
		t.Fatal(err)
	}
	before := stored()
	for i, c := range []struct {
		hasher, prefix string
		anew           bool
	}{
		{"", "$2a$10$", false},
		{"argon2id", "$argon2id$v=19$m=19456,t=2,p=1$", true},
		{"argon2id", "$argon2id$v=19$m=19456,t=2,p=1$", false},
		{"bcrypt", "$2a$10$", true},
	} {
		x, err := xteam.Open(ctx, xteam.Options{Dir: dir, BcryptCost: 10, PasswordHasher: c.hasher})
		if err != nil {
			t.Fatal(err)
		}
		_, wrong := x.Sessions().Login(ctx, app.Request{}, account.Login{Email: email}, secret.New("not "+password))
		_, right := x.Sessions().Login(ctx, app.Request{}, account.Login{Email: email}, secret.New(password))
		x.Close()
		if !errors.Is(wrong, account.ErrCredentials) || right != nil {
			t.Errorf("step %d: a wrong password: %v; the right one: %v", i, wrong, right)
		}
		after := stored()
		if !strings.HasPrefix(after, c.prefix) || (after != before) != c.anew {
			t.Errorf("step %d: the hash is %.40s…, and was %.40s…; want %s…, made anew: %v", i, after, before, c.prefix, c.anew)
		}
		before = after
	}
}

func TestOpenNeedsAKnownHasher(t *testing.T) {
	if _, err := xteam.Open(t.Context(), xteam.Options{Dir: t.TempDir(), PasswordHasher: "argon2i"}); err == nil || !strings.Contains(err.Error(), "argon2id") {
		t.Errorf("with a hasher that there is not: got %v, want an error that names those there are", err)
	}
}

// An embedded system has the server's rate limits, unless its program says otherwise.
func TestLimits(t *testing.T) {
	for want, o := range map[int]xteam.Options{5: {}, 2: {Limits: app.LimiterOptions{Auth: 2}}, 20: {Limits: app.LimiterOptions{Mode: app.Off}}} {
		o.Dir = t.TempDir()
		x, err := xteam.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		let := 0
		for range 20 {
			req, res := httptest.NewRequest(http.MethodPost, "/api/v1/auth/register", strings.NewReader(`{}`)), httptest.NewRecorder()
			req.Header.Set("Content-Type", "application/json")
			if x.Handler().ServeHTTP(res, req); res.Code == http.StatusUnprocessableEntity {
				let++
			} else if res.Code != http.StatusTooManyRequests {
				t.Errorf("register: got %d %s", res.Code, res.Body)
			}
		}
		x.Close()
		if let != want {
			t.Errorf("with %+v: %d of 20 registrations were let through, want %d", o.Limits, let, want)
		}
	}
	if x, err := xteam.Open(t.Context(), xteam.Options{Dir: t.TempDir(), Limits: app.LimiterOptions{Read: -1}}); err == nil {
		x.Close()
		t.Error("a limit of -1 was taken")
	}
}

// A program's own programs: a key is made, let in, and counted at the close; the folder opens again, the key still works and is revoked, and dies with the next opening too.
func TestEmbeddedAPIKeys(t *testing.T) {
	defer nothingIsLeft(t)
	ctx, dir := t.Context(), t.TempDir()
	open := func() *xteam.XTeam {
		t.Helper()
		x, err := xteam.Open(ctx, xteam.Options{Dir: dir, BcryptCost: 10, Environment: "prd"})
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	x := open()
	email, _ := account.ParseEmail("ann@example.com")
	name, _ := account.ParseUsername("ann")
	if _, err := x.Accounts().Create(ctx, app.Actor{Name: app.System}, app.Registration{Email: email, Username: name, Password: secret.New(password)}, account.RoleUser); err != nil {
		t.Fatal(err)
	}
	caller := func(x *xteam.XTeam) xteam.Caller {
		t.Helper()
		tokens, err := x.Sessions().Login(ctx, app.Request{}, account.Login{Username: name}, secret.New(password))
		if err != nil {
			t.Fatal(err)
		}
		c, err := x.Guard().Admit(tokens.Access.RevealPlaintext())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	called, err := apikey.ParseName("cron")
	if err != nil {
		t.Fatal(err)
	}
	k, err := x.APIKeys().Issue(ctx, app.Request{}, caller(x), apikey.Wish{Name: called, Scopes: apikey.UsersRead})
	if err != nil || !strings.HasPrefix(k.Text.RevealPlaintext(), "xt_prd_") {
		t.Fatalf("Issue: %+v, %v", k.Key, err)
	}
	served := func(h http.Handler) int {
		r := httptest.NewRequest("GET", "http://app.test/orders", nil)
		r.Header.Set("X-API-Key", k.Text.RevealPlaintext())
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	orders := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := xteam.CallerFrom(r.Context()); !ok || !c.IsKey() || c.User() != k.Owner {
			t.Errorf("the handler sees %+v, %v", c, ok)
		}
	})
	for want, h := range map[int]http.Handler{200: x.ProtectKeys(apikey.UsersRead, orders), 403: x.Protect(orders)} {
		if got := served(h); got != want {
			t.Errorf("a key on a handler of the program's own: %d, want %d", got, want)
		}
	}
	admit := func(x *xteam.XTeam) error {
		_, err := x.Guard().AdmitKey(ctx, app.Request{}, k.Text.RevealPlaintext())
		return err
	}
	if err := admit(x); err != nil {
		t.Fatal(err)
	}
	x.Close()
	x = open()
	if all, err := x.APIKeys().List(ctx, app.Request{}, caller(x)); err != nil || len(all) != 1 || all[0].Uses != 3 || all[0].Ended != nil {
		t.Errorf("opened again: %+v, %v, want three uses", all, err)
	}
	if err := admit(x); err != nil {
		t.Error(err)
	}
	if err := x.RevokeToken(ctx, k.Text.RevealPlaintext(), "leaked"); err != nil {
		t.Fatal(err)
	}
	var revoked *revocation.RevokedError
	if err := admit(x); !errors.As(err, &revoked) {
		t.Errorf("revoked: %v", err)
	}
	x.Close()
	x = open()
	defer x.Close()
	if err := admit(x); !errors.As(err, &revoked) || revoked.Reason != revocation.KeyRevoked {
		t.Errorf("revoked, and opened again: %v", err)
	}
	if _, err := xteam.Open(ctx, xteam.Options{Dir: t.TempDir(), Environment: "production"}); err == nil || !strings.Contains(err.Error(), "environment") {
		t.Errorf("an environment that is none: %v", err)
	}
}
