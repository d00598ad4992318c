package redisstore_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/token"
)

// reader is the package comment's reader in another language, line by line. Its second result is false when it has to refuse everything.
func reader(t testing.TB, c redis.Cmdable, namespace, kid string, claims token.Claims) (revoked, knows bool) {
	t.Helper()
	p := namespace + ":{r}:"
	got, err := c.MGet(t.Context(), p+"epoch", p+"jti:"+claims.ID.String(), p+"sid:"+claims.Session.String(),
		p+"gen:"+claims.Subject.String(), p+"kid:"+kid, p+"before").Result()
	ok(t, err)
	number := func(v any) int64 {
		s, _ := v.(string)
		n, _ := strconv.ParseInt(s, 10, 64)
		return n
	}
	if got[0] == nil {
		return false, false
	}
	return int64(claims.Epoch) < number(got[0]) || got[1] != nil || got[2] != nil || got[4] != nil ||
		int64(claims.Generation) < number(got[3]) || claims.IssuedAt.Seconds()*1_000_000 <= number(got[5]), true
}

func TestReader(t *testing.T) {
	server := single(t)
	now := instant.Of(time.Now())
	fill := func(e revocation.Entry) revocation.Entry {
		e.Reason, e.By, e.At = revocation.Logout, "operator", now
		if e.Until == 0 {
			e.Until = now.Add(time.Hour)
		}
		return e
	}
	claims := token.Claims{ID: newID[id.Token](), Session: newID[id.Session](), Subject: newID[id.User](), Generation: 1<<53 + 3, Epoch: 1<<53 + 3,
		IssuedAt: instant.Unix(now.Seconds())}
	good := func() token.Claims { return claims }
	cases := map[string]struct {
		entries []revocation.Entry
		other   func(*token.Claims) // a token that the entries do not name
	}{
		"token":   {[]revocation.Entry{{Kind: revocation.Token, Token: claims.ID}}, func(c *token.Claims) { c.ID = newID[id.Token]() }},
		"session": {[]revocation.Entry{{Kind: revocation.Session, Session: claims.Session}}, func(c *token.Claims) { c.Session = newID[id.Session]() }},
		"user, raised twice and out of order": {[]revocation.Entry{{Kind: revocation.User, User: claims.Subject, Min: claims.Generation + 1},
			{Kind: revocation.User, User: claims.Subject, Min: 2}}, func(c *token.Claims) { c.Generation++ }},
		"epoch, raised twice and out of order": {[]revocation.Entry{{Kind: revocation.Epoch, Epoch: claims.Epoch + 1, Until: instant.Forever},
			{Kind: revocation.Epoch, Epoch: 9, Until: instant.Forever}}, func(c *token.Claims) { c.Epoch++ }},
		"issued before": {[]revocation.Entry{{Kind: revocation.IssuedBefore, Before: claims.IssuedAt}, {Kind: revocation.IssuedBefore, Before: 5}},
			func(c *token.Claims) { c.IssuedAt = c.IssuedAt.Add(time.Second) }},
	}
	for what, c := range cases {
		t.Run(what, func(t *testing.T) {
			o := at(server)
			s := open(t, o)
			if _, knows := reader(t, server.admin, o.Namespace, "k1", good()); knows {
				t.Fatal("a Redis that is empty is trusted before anybody has vouched for it")
			}
			ok(t, s.Revocations().Vouch(t.Context()))
			if revoked, knows := reader(t, server.admin, o.Namespace, "k1", good()); revoked || !knows {
				t.Fatalf("before the revocation: revoked %v, knows %v, want a good token", revoked, knows)
			}
			for i := range c.entries {
				record(t, s, fill(c.entries[i]))
			}
			if revoked, _ := reader(t, server.admin, o.Namespace, "k1", good()); !revoked {
				t.Error("the token that is named: got good, want revoked")
			}
			other := good()
			c.other(&other)
			if revoked, _ := reader(t, server.admin, o.Namespace, "k1", other); revoked {
				t.Error("a token that is not named: got revoked, want good")
			}
		})
	}
	t.Run("signing key, for ever", func(t *testing.T) {
		o := at(server)
		s := open(t, o)
		ok(t, s.Revocations().Vouch(t.Context()))
		record(t, s, fill(revocation.Entry{Kind: revocation.Key, KeyID: "k1", Until: instant.Forever}))
		for kid, want := range map[string]bool{"k1": true, "k2": false} {
			if revoked, _ := reader(t, server.admin, o.Namespace, kid, good()); revoked != want {
				t.Errorf("a token by key %s: got revoked %v, want %v", kid, revoked, want)
			}
		}
		if left := server.admin.TTL(t.Context(), o.Namespace+":{r}:kid:k1").Val(); left != -1 {
			t.Errorf("the time to live of a signing key's entry: got %v, want none", left)
		}
	})
	t.Run("API key", func(t *testing.T) {
		o := at(server)
		s := open(t, o)
		key := newID[id.APIKey]()
		record(t, s, fill(revocation.Entry{Kind: revocation.APIKey, APIKey: key}))
		if n := server.admin.Exists(t.Context(), o.Namespace+":{r}:api_key:"+key.String()).Val(); n != 1 {
			t.Error("the API key that is revoked has no key")
		}
	})
	t.Run("keys end a day after what they name, whatever Redis' clock says", func(t *testing.T) {
		o := at(server)
		s := open(t, o)
		e := newEntry()
		record(t, s, e)
		if left := server.admin.TTL(t.Context(), o.Namespace+":{r}:jti:"+e.Token.String()).Val(); left < 25*time.Hour || left > 27*time.Hour {
			t.Errorf("the time to live of an entry that ends in an hour: got %v, want 26 h", left)
		}
		long := newEntry()
		long.Until = instant.Of(time.Now().Add(-30 * time.Hour))
		long.At = long.Until - 1
		record(t, s, long)
		if n := server.admin.Exists(t.Context(), o.Namespace+":{r}:jti:"+long.Token.String()).Val(); n != 0 {
			t.Error("an entry that was over more than a day ago is kept")
		}
	})
	t.Run("after a loss nothing is trusted until somebody vouches", func(t *testing.T) {
		server := start(t)
		o := at(server)
		s := open(t, o)
		n := follow(t, s)
		ok(t, server.admin.FlushAll(t.Context()).Err())
		_ = n.lost(t)
		record(t, s, fill(revocation.Entry{Kind: revocation.Epoch, Epoch: 7, Until: instant.Forever}))
		beats := n.beats()
		eventually(t, "the node follows again", func() bool { return n.beats() > beats+1 })
		_ = open(t, o) // another node that starts meanwhile vouches for nothing
		if _, knows := reader(t, server.admin, o.Namespace, "k1", good()); knows {
			t.Error("before anybody vouched: a reader trusts what is left")
		}
		ok(t, s.Revocations().Vouch(t.Context()))
		old := good()
		old.Epoch = 6
		if revoked, knows := reader(t, server.admin, o.Namespace, "k1", old); !revoked || !knows {
			t.Errorf("after somebody vouched: revoked %v, knows %v, want an old epoch revoked", revoked, knows)
		}
	})
}

func TestOneOfManyHeals(t *testing.T) {
	s := open(t, at(single(t)))
	for i, want := range []bool{true, false, false} {
		if mine, err := s.Revocations().Claim(context.Background(), time.Minute); err != nil || mine != want {
			t.Errorf("claim %d: got %v, %v, want %v", i, mine, err, want)
		}
	}
}
