package redisstore_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/xteam/xteam/adapters/redisstore"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/revocation"
)

// FuzzParse: a URL is refused without a word of its password, or names places that can be dialled.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"redis://127.0.0.1", "rediss://ann:pl4nted@redis.example.com:6380/3?ca=/ca.pem&namespace=x", "redis+sentinel://:pl4nted@a,b:26379,[::1]/main?sentinel_password=pl4nted&db=2",
		"rediss+cluster://ann:pl4nted@a:1,b:2?tls=true", "redis://:pl4nted%2@h", "redis://:pl4nted@h/pl4nted", "redis://:pl4nted#@h", "pl4nted",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o, err := redisstore.Parse(text)
		if strings.Contains(fmt.Sprintf("%v %+v", err, o.Password), "pl4nted") {
			t.Errorf("%q: the error is %v", text, err)
		}
		if err != nil {
			if !errors.Is(err, redisstore.ErrOptions) {
				t.Errorf("%q: the error is of another kind: %v", text, err)
			}
			return
		}
		if len(o.Addresses) == 0 || len(o.Addresses) > 1 && !o.Cluster && o.Master == "" || o.Cluster && (o.Master != "" || o.DB != 0) || o.DB < 0 || strings.HasPrefix(text, "rediss") && !o.TLS {
			t.Errorf("%q is read as %+v", text, o)
		}
		for _, a := range o.Addresses {
			if host, port, err := net.SplitHostPort(a); err != nil || host == "" || port == "" {
				t.Errorf("%q: %q is no place (%v)", text, a, err)
			}
		}
	})
}

// FuzzDecode: a value that no node wrote is refused, and one that was read is written as it was, or shorter where its numbers were not.
func FuzzDecode(f *testing.F) {
	for _, e := range []revocation.Entry{
		{Kind: revocation.Token, Token: id.Token{1}, Reason: revocation.Logout, By: "ann", Note: "a note", At: 5, Until: 9},
		{Kind: revocation.User, User: id.User{2}, Min: 7, Reason: revocation.RoleChanged, By: "operator", At: 5, Until: 9},
		{Kind: revocation.Key, KeyID: "k1", Reason: revocation.KeyRevoked, By: "operator", At: 5, Until: 9},
		{Kind: revocation.IssuedBefore, Before: 3, Reason: revocation.BeforeTime, By: "operator", At: 5, Until: 9},
	} {
		f.Add(redisstore.Encode(&e))
	}
	f.Add("")
	f.Add("\x02")
	f.Fuzz(func(t *testing.T, value string) {
		e, ok := redisstore.Decode(value)
		if !ok {
			return
		}
		once := redisstore.Encode(&e)
		again, ok := redisstore.Decode(once)
		if !ok || again != e || len(once) > len(value) {
			t.Errorf("%q is read as %+v, written as %q, and read as %+v", value, e, once, again)
		}
	})
}
