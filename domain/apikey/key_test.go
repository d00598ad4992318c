package apikey_test

import (
	"errors"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
)

const (
	start = instant.Instant(1_772_366_400_000_000)
	day   = 24 * time.Hour
)

func proof(n byte) apikey.Proof {
	return apikey.Proof{Environment: apikey.Production, ID: id.APIKey{n}, Hash: [32]byte{n}}
}

func wish(life time.Duration) apikey.Wish {
	n, err := apikey.ParseName("deploy bot")
	if err != nil {
		panic(err)
	}
	return apikey.Wish{Name: n, Scopes: apikey.Introspect, Life: life}
}

func act(now instant.Instant) apikey.Act {
	return apikey.Act{By: "operator", Note: "leaked", Now: now, Until: now.Add(time.Hour)}
}

func TestNew(t *testing.T) {
	k := apikey.New(proof(1), id.User{2}, 7, wish(0), start)
	want := apikey.Key{ID: id.APIKey{1}, Owner: id.User{2}, Generation: 7, Environment: apikey.Production, Name: k.Name, Scopes: apikey.Introspect, Hash: [32]byte{1},
		Created: start, Expires: start.Add(90 * day)}
	if k != want || k.Name.String() != "deploy bot" {
		t.Errorf("a new key is %+v, want %+v", k, want)
	}
	if k := apikey.New(proof(1), id.User{2}, 7, wish(1000*day), start); k.Expires != start.Add(365*day) {
		t.Errorf("it may live until %v, want a year at most", k.Expires)
	}
}

func TestOnlyTheVeryTextProves(t *testing.T) {
	k := apikey.New(proof(1), id.User{2}, 7, wish(0), start)
	other := proof(1)
	other.Hash[31] = 1
	moved := proof(1)
	moved.ID = id.APIKey{9}
	for name, c := range map[string]struct {
		p    apikey.Proof
		want bool
	}{"its own": {proof(1), true}, "another secret": {other, false}, "another id": {moved, false}, "nothing": {apikey.Proof{}, false}} {
		if got := k.Proved(c.p); got != c.want {
			t.Errorf("%s: Proved = %v, want %v", name, got, c.want)
		}
	}
}

func TestNamesAreShownToPeople(t *testing.T) {
	for s, want := range map[string]bool{"a": true, "CI of Ann Bø / 李": true, strings.Repeat("李", 100): true, " ": true,
		"": false, strings.Repeat("a", 101): false, strings.Repeat("é", 101): false, "a\nb": false, "a\x1b[2J": false, "\u2028": false, "a\u202eb": false, "\xff": false, "a\x00": false} {
		n, err := apikey.ParseName(s)
		var bad *apikey.InvalidError
		if got := err == nil; got != want || got && n.String() != s || !got && (!errors.As(err, &bad) || bad.Field != "name" || n != (apikey.Name{})) {
			t.Errorf("ParseName(%.20q) = %q, %v, want taken: %v", s, n, err, want)
		}
	}
}

func TestTimesAreBounded(t *testing.T) {
	for days, want := range map[int64]time.Duration{1: day, 90: 90 * day, 365: 365 * day, 0: -1, -1: -1, 366: -1, math.MaxInt64: -1, math.MinInt64: -1} {
		got, err := apikey.ParseLife(days)
		if want < 0 != (err != nil) || err == nil && got != want {
			t.Errorf("ParseLife(%d) = %v, %v, want %v", days, got, err, want)
		}
	}
	for hours, want := range map[int64]time.Duration{0: 0, 1: time.Hour, 720: 720 * time.Hour, -1: -1, 721: -1, math.MaxInt64: -1, math.MinInt64: -1} {
		got, err := apikey.ParseOverlap(hours)
		if want < 0 != (err != nil) || err == nil && got != want {
			t.Errorf("ParseOverlap(%d) = %v, %v, want %v", hours, got, err, want)
		}
	}
}

func TestScopesAndTheirNames(t *testing.T) {
	for want, scopes := range map[string]apikey.Scopes{"": 0, "users:read": apikey.UsersRead, "introspect admin": apikey.Introspect | apikey.Admin,
		"users:read introspect revocations:read api-keys:write admin tokens:revoke": apikey.Granted(account.RoleAdmin)} {
		if got := scopes.String(); got != want {
			t.Errorf("%b is called %q, want %q", scopes, got, want)
		}
		if got, err := apikey.ParseScopes(scopes.Names()); err != nil || got != max(scopes, apikey.UsersRead) {
			t.Errorf("ParseScopes(%q) = %v, %v", scopes.Names(), got, err)
		}
	}
	// What a store holds from a later version is not lost, and has no name that ParseScopes takes.
	later := apikey.Scopes(1<<31) | apikey.Admin
	if _, err := apikey.ParseScopes(later.Names()); err == nil || later.String() != "admin scope(31)" {
		t.Errorf("%v: %v", later, err)
	}
	for name, names := range map[string][]string{"nothing": nil, "empty": {}, "twice": {"users:read", "users:read"}} {
		if got, err := apikey.ParseScopes(names); err != nil || got != apikey.UsersRead {
			t.Errorf("%s: ParseScopes = %v, %v, want users:read", name, got, err)
		}
	}
	for _, names := range [][]string{{""}, {"users:read "}, {"Admin"}, {"users:read admin"}, {"*"}, {"users:*"}, {"admin", "root"}, slices.Repeat([]string{"admin"}, 65)} {
		var bad *apikey.InvalidError
		if got, err := apikey.ParseScopes(names); !errors.As(err, &bad) || bad.Field != "scopes" || got != 0 {
			t.Errorf("ParseScopes(%.40q) = %v, %v, want it refused", names, got, err)
		}
	}
}

func TestWhatARoleMayGive(t *testing.T) {
	user, admin := apikey.Granted(account.RoleUser), apikey.Granted(account.RoleAdmin)
	if user != apikey.UsersRead|apikey.Introspect|apikey.KeysWrite|apikey.TokensRevoke || !admin.Has(user) || !admin.Has(apikey.Admin|apikey.RevocationsRead) {
		t.Errorf("a user may give %v, an administrator %v", user, admin)
	}
	if user.Has(apikey.Admin) || user.Has(apikey.UsersRead|apikey.Admin) || !user.Has(0) {
		t.Error("Has is not of all")
	}
	for _, r := range []account.Role{"", "root", "Admin"} {
		if got := apikey.Granted(r); got != 0 {
			t.Errorf("the role %q may give %v", r, got)
		}
	}
}

func TestRoom(t *testing.T) {
	var limit *apikey.LimitError
	for _, c := range []struct{ live, kept, want int }{{0, 0, 0}, {49, 49, 0}, {49, 999, 0}, {50, 50, 50}, {51, 51, 50}, {50, 1000, 50}, {49, 1000, 1000}, {0, 999, 0}, {0, 1000, 1000}, {0, 1001, 1000}} {
		err := apikey.Room(c.live, c.kept, 50)
		if c.want == 0 && err != nil || c.want != 0 && (!errors.As(err, &limit) || limit.Limit != c.want || limit.Kept != (c.want == 1000) || limit.Error() == "") {
			t.Errorf("with %d live of %d: %v, want the limit %d", c.live, c.kept, err, c.want)
		}
	}
}

// TestALifeOfAKey does whatever can be done to keys, in any order and with a clock that goes back too: what has ended stays ended, a rotated key goes on just as long
// as it was said, nothing lives for longer than a year, and every end at once has its entry.
func TestALifeOfAKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now, drawn := start, byte(1)
		type kept struct {
			apikey.Key
			until   instant.Instant // as one would keep it on paper
			revoked bool
			rotated bool
			uses    uint64
		}
		life := rapid.SampledFrom([]time.Duration{0, day, 365 * day})
		lasts := func(d time.Duration) time.Duration {
			if d == 0 {
				return 90 * day
			}
			return d
		}
		l := life.Draw(t, "life")
		keys := []*kept{{Key: apikey.New(proof(1), id.User{2}, 7, wish(l), now), until: now.Add(lasts(l))}}
		one := func(t *rapid.T) *kept { return keys[rapid.IntRange(0, len(keys)-1).Draw(t, "key")] }
		valid := func(e revocation.Entry, k *kept) {
			t.Helper()
			if err := e.Validate(); err != nil || e.Kind != revocation.APIKey || e.APIKey != k.ID || e.Reason != k.RevokedReason || e.By != "operator" || e.Note != "leaked" ||
				e.At != min(k.Revoked, now) || e.Until != now.Add(time.Hour) {
				t.Fatalf("entry %+v, %v of the key %+v", e, err, k.Key)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"revoke": func(t *rapid.T) {
				k := one(t)
				before := k.Key
				var e revocation.Entry
				k.Key, e = k.Revoke(rapid.SampledFrom([]revocation.Reason{revocation.KeyRevoked, revocation.UserRevoked}).Draw(t, "why"), act(now))
				if k.revoked && k.Key != before {
					t.Fatalf("revoked again: %+v became %+v", before, k.Key)
				}
				k.revoked = true
				valid(e, k)
			},
			"rotate": func(t *rapid.T) {
				k := one(t)
				before := k.Key
				l, overlap := life.Draw(t, "life"), rapid.SampledFrom([]time.Duration{0, -time.Hour, time.Nanosecond, time.Hour, day, 1000 * day}).Draw(t, "overlap")
				drawn++
				old, next, entries, err := k.Rotate(proof(drawn), 9, l, overlap, act(now))
				var want error
				switch {
				case k.revoked || now >= k.until:
					want = apikey.ErrEnded
				case k.rotated:
					want = apikey.ErrRotated
				}
				if !errors.Is(err, want) || (err == nil) != (want == nil) {
					t.Fatalf("Rotate: %v, want %v", err, want)
				}
				if err != nil {
					if old != before || next != (apikey.Key{}) || entries != nil {
						t.Fatalf("refused, and %+v, %+v, %v", old, next, entries)
					}
					return
				}
				k.Key, k.rotated = old, true
				if overlap <= 0 {
					k.revoked = true
					if len(entries) != 1 {
						t.Fatalf("ended at once with %d entries", len(entries))
					}
					valid(entries[0], k)
				} else if k.until = min(k.until, now.Add(min(max(overlap, time.Hour), 30*day))); entries != nil {
					t.Fatalf("entries %v of a key that goes on", entries)
				}
				if l == 0 {
					l = before.Expires.Sub(before.Created)
				}
				want2 := apikey.New(proof(drawn), id.User{2}, 9, wish(l), now)
				want2.Networks, want2.Known, want2.Roamed, want2.Habit = before.Networks, before.Known, before.Roamed, before.Habit
				if next != want2 || old.Successor != next.ID {
					t.Fatalf("the successor is %+v, want %+v", next, want2)
				}
				keys = append(keys, &kept{Key: next, until: now.Add(l)})
			},
			"use": func(t *rapid.T) {
				k, n := one(t), rapid.Uint64Range(1, 1000).Draw(t, "uses")
				at := now.Add(-time.Duration(rapid.IntRange(0, 3).Draw(t, "minutes ago")) * time.Minute)
				before, from := k.Key, session.Origin{Address: netip.MustParseAddr("192.0.2.1"), UserAgent: at.String()}
				k.Key, _ = k.Used(apikey.Use{N: n, Last: at, From: from})
				k.uses += n
				if at < before.LastUsed && (k.LastUsed != before.LastUsed || k.LastFrom != before.LastFrom) || at >= before.LastUsed && (k.LastUsed != at || k.LastFrom != from) {
					t.Fatalf("used at %v: %+v became %+v", at, before, k.Key)
				}
			},
			"wait": func(t *rapid.T) {
				now = now.Add(rapid.SampledFrom([]time.Duration{time.Microsecond, time.Hour, 25 * time.Hour, 40 * day, -time.Second}).Draw(t, "for"))
			},
			"": func(t *rapid.T) {
				for _, k := range keys {
					err := k.Refusal(now)
					var revoked *revocation.RevokedError
					switch {
					case now >= k.until && !errors.Is(err, apikey.ErrExpired):
						t.Fatalf("at %v, after its time: %v, of %+v", now, err, k.Key)
					case now < k.until && k.revoked && (!errors.As(err, &revoked) || revoked.Kind != revocation.APIKey || revoked.Reason != k.RevokedReason || revoked.At != k.Revoked):
						t.Fatalf("revoked: %v, of %+v", err, k.Key)
					case now < k.until && !k.revoked && err != nil:
						t.Fatalf("at %v, alive until %v: %v, of %+v", now, k.until, err, k.Key)
					}
					if k.Uses != k.uses || k.Owner != (id.User{2}) || k.Scopes != apikey.Introspect || k.Name.String() != "deploy bot" || k.Expires.Sub(k.Created) > 365*day || k.Retires > k.Expires {
						t.Fatalf("the key is %+v, used %d times", k.Key, k.uses)
					}
					end := k.until
					if k.revoked {
						end = min(end, k.Revoked)
					}
					if k.End() != end || k.Kept() != end.Add(7*day) {
						t.Fatalf("it ends at %v and is kept until %v, want %v and seven days: %+v", k.End(), k.Kept(), end, k.Key)
					}
				}
			},
		})
	})
}

func TestLine(t *testing.T) {
	key := func(n, by byte) apikey.Key {
		return apikey.Key{ID: id.APIKey{n}, MadeBy: apikey.Maker{Key: id.APIKey{by}}}
	}
	// 1 is of a sign-in and made 3, which made 2; 4 is of a sign-in and made 5; 6 says of itself that 7 made it, and 7 that 6 did; 9 was made by one that is forgotten.
	all := []apikey.Key{key(1, 0), key(2, 3), key(3, 1), key(4, 0), key(5, 4), key(6, 7), key(7, 6), key(9, 8)}
	for root, want := range map[byte]string{1: "\x02\x03", 3: "\x02", 2: "", 4: "\x05", 6: "\x07", 8: "\x09", 99: "", 0: ""} {
		got := ""
		for _, k := range apikey.Line(id.APIKey{root}, all) {
			got += string(k.ID[:1])
		}
		if got != want {
			t.Errorf("the line of %d is %q, want %q", root, got, want)
		}
	}
}
