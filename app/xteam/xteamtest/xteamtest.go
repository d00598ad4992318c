// Package xteamtest gives the tests of a program that embeds XTeam a running system in one line: the real one, on a folder of the test, with users, tokens of
// any kind, and a clock to turn.
//
//	kit := xteamtest.New(t, xteam.Options{})
//	ann := kit.User("ann")
//	srv := httptest.NewServer(orders(kit.XTeam)) // the program's own handlers
//	…
//	req.Header.Set("Authorization", "Bearer "+kit.Token(ann))
//	req.Header.Set("Authorization", "Bearer "+kit.Revoked(ann)) // is to be refused
package xteamtest

import (
	"cmp"
	"context"
	"crypto/rand"
	"sync"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/envsecrets"
	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/token"
)

// Password is the password of every user of a kit.
const Password = "a password that is for tests only"

// Kit is a running system. Its methods fail the test when they cannot do what they are for.
type Kit struct {
	*xteam.XTeam

	t       testing.TB
	signing *jwtcodec.Codec // makes tokens as the system does
	foreign *jwtcodec.Codec // and as somebody who has another key

	mu   sync.Mutex
	turn time.Duration
}

// User is an account of a kit.
type User struct {
	ID              id.User
	Username, Email string
}

// New opens a system that ends with the test. The options are the program's own; the folder, the secrets and the clock are the kit's, hashes are made at the
// least cost, and unless the options say how, rates are not limited and the disk is not watched.
func New(t testing.TB, o xteam.Options) *Kit {
	t.Helper()
	k := &Kit{t: t}
	key, other := text(t), text(t)
	o.Dir, o.Now, o.BcryptCost, o.PasswordHasher = t.TempDir(), k.now, 10, ""
	o.Secrets = envsecrets.New(func(name string) (string, bool) { return key.RevealPlaintext(), name == "SECRET_KEY" })
	o.MinFreeSpace = cmp.Or(o.MinFreeSpace, -1)
	if l := o.Limits; l.Mode == app.Enforce && l.PerAddress+l.Auth+l.Read+l.Write+l.Expensive+l.Refresh+l.Verify+l.PerKey == 0 {
		o.Limits.Mode = app.Off
	}
	k.signing, k.foreign = codec(t, key), codec(t, other)
	x, err := xteam.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	k.XTeam = x
	return k
}

func text(t testing.TB) secret.Text {
	t.Helper()
	return secret.New(rand.Text() + rand.Text())
}

func codec(t testing.TB, key secret.Text) *jwtcodec.Codec {
	t.Helper()
	ring, err := keyset.Ring{Name: keyset.Signing}.Add(keyset.Key{ID: jwtcodec.SymmetricKeyID(key), Purpose: keyset.Sign, Algorithm: "HS256", Secret: key}, false, 1)
	if err != nil {
		t.Fatal(err)
	}
	c := jwtcodec.New(jwtcodec.Options{})
	if err := c.SetRing(ring); err != nil {
		t.Fatal(err)
	}
	return c
}

func (k *Kit) now() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return time.Now().Add(k.turn)
}

// Turn sets the clock forward by d, or back. Tokens, sessions and limits are judged by it.
func (k *Kit) Turn(d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.turn += d
}

// User makes an account with that user name, of at least 3 characters, and Password.
func (k *Kit) User(name string) User {
	k.t.Helper()
	return k.account(name, account.RoleUser)
}

// Admin is User for an administrator.
func (k *Kit) Admin(name string) User {
	k.t.Helper()
	return k.account(name, account.RoleAdmin)
}

func (k *Kit) account(name string, role account.Role) User {
	k.t.Helper()
	u, err := account.ParseUsername(name)
	if err != nil {
		k.t.Fatal(err)
	}
	e, err := account.ParseEmail(name + "@example.com")
	if err != nil {
		k.t.Fatal(err)
	}
	made, err := k.Accounts().Create(context.Background(), app.Actor{Name: app.System}, app.Registration{Email: e, Username: u, Password: secret.New(Password)}, role)
	if err != nil {
		k.t.Fatal(err)
	}
	return User{made.ID, u.String(), e.String()}
}

// SignIn signs a user in, and answers the texts of the access and the refresh token.
func (k *Kit) SignIn(u User) (access, refresh string) {
	k.t.Helper()
	login, err := account.ParseLogin("", u.Username)
	if err != nil {
		k.t.Fatal(err)
	}
	got, err := k.Sessions().Login(context.Background(), app.Request{}, login, secret.New(Password))
	if err != nil {
		k.t.Fatal(err)
	}
	return got.Access.RevealPlaintext(), got.Refresh.RevealPlaintext()
}

// Token is an access token of a new session of the user, as a sign-in gives it.
func (k *Kit) Token(u User) string {
	k.t.Helper()
	access, _ := k.SignIn(u)
	return access
}

// Forged is a token of the user that is signed with the system's own key, with claims that the test has changed.
func (k *Kit) Forged(u User, change func(*token.Claims)) string {
	k.t.Helper()
	return k.sign(k.signing, u, change)
}

// Expired is a token of the user whose time is over.
func (k *Kit) Expired(u User) string {
	k.t.Helper()
	return k.Forged(u, func(c *token.Claims) {
		c.IssuedAt, c.NotBefore = c.IssuedAt.Add(-48*time.Hour), c.NotBefore.Add(-48*time.Hour)
		c.ExpiresAt = c.IssuedAt.Add(time.Minute)
	})
}

// Revoked is a token of the user that was withdrawn.
func (k *Kit) Revoked(u User) string {
	k.t.Helper()
	access := k.Token(u)
	if err := k.RevokeToken(context.Background(), access, "a test"); err != nil {
		k.t.Fatal(err)
	}
	return access
}

// WrongAudience is a token of the user for another service.
func (k *Kit) WrongAudience(u User) string {
	k.t.Helper()
	return k.Forged(u, func(c *token.Claims) { c.Audience = []string{"another service"} })
}

// WrongKey is a token of the user that is right in all but its key, which is not the system's.
func (k *Kit) WrongKey(u User) string {
	k.t.Helper()
	return k.sign(k.foreign, u, func(*token.Claims) {})
}

// sign makes a token of the claims of a real one.
func (k *Kit) sign(c *jwtcodec.Codec, u User, change func(*token.Claims)) string {
	k.t.Helper()
	real, err := k.signing.Parse(k.Token(u))
	if err != nil {
		k.t.Fatal(err)
	}
	claims := *real
	if claims.ID, err = id.New[id.Token](rand.Reader); err != nil {
		k.t.Fatal(err)
	}
	change(&claims)
	text, err := c.Sign(claims)
	if err != nil {
		k.t.Fatal(err)
	}
	return text.RevealPlaintext()
}
