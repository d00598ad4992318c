package account_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/token"
)

const start = instant.Instant(1_772_366_400_000_000)

func ann(now instant.Instant) account.Account {
	e, _ := account.ParseEmail("ann@x.io")
	u, _ := account.ParseUsername("Ann")
	n, _ := account.ParseFullName("Ann Bø")
	return account.New(id.User{1}, e, u, n, account.RoleUser, secret.New("hash-0"), now)
}

func act(now instant.Instant) account.Act {
	return account.Act{By: "operator", Note: "why not", Now: now, Until: now.Add(time.Hour)}
}

func TestNew(t *testing.T) {
	a := ann(start)
	if a.Generation != 1 || a.SessionsFrom != 1 || a.KeysFrom != 1 || a.Disabled || a.Created != start || a.Updated != start || a.Role != account.RoleUser || a.ID != (id.User{1}) ||
		a.Email.String() != "ann@x.io" || a.Username.String() != "Ann" || a.FullName.String() != "Ann Bø" || !a.Password.Equal(secret.New("hash-0")) {
		t.Errorf("a new account is %+v", a)
	}
	if why, ok := a.MayRefresh(1); !ok || why != 0 {
		t.Errorf("its first session: %v, %v", why, ok)
	}
	if why, ok := a.MayUseKey(1); !ok || why != 0 {
		t.Errorf("its first API key: %v, %v", why, ok)
	}
}

// signedIn is a sign-in as one would keep it on paper.
type signedIn struct {
	generation token.Generation // of the sign-in
	tokens     token.Generation // of the access token that it has in hand
	over       bool
}

// apiKey is one that the owner made, as one would keep it on paper.
type apiKey struct {
	generation token.Generation // as it was made
	over       bool
}

// Whatever happens to an account, in whatever order: what was withdrawn stays withdrawn, what was not goes on.
func TestALifeOfAnAccount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := start
		a := ann(now)
		var sessions []*signedIn
		var keys []*apiKey
		var lastOfKeys revocation.Reason // of what ended keys last
		var least token.Generation       // the highest Min of all entries: an access token below it is withdrawn
		var last revocation.Reason       // of what ended sessions last
		disabled, role, hash := false, account.RoleUser, "hash-0"

		// raised looks at one raise of the generation: one valid entry, which withdraws everything before and nothing after.
		raised := func(before account.Account, e revocation.Entry, why revocation.Reason) {
			t.Helper()
			want := revocation.Entry{Kind: revocation.User, User: a.ID, Min: before.Generation + 1, Reason: why, By: "operator", Note: "why not", At: now, Until: now.Add(time.Hour)}
			if e != want || a.Generation != e.Min || a.Updated != now {
				t.Fatalf("generation %d → %d with the entry %+v, want %+v", before.Generation, a.Generation, e, want)
			}
			if err := e.Validate(); err != nil {
				t.Fatal(err)
			}
			least = e.Min
		}
		ends := func(why revocation.Reason) {
			for _, s := range sessions {
				s.over = true
			}
			last = why
		}
		endsKeys := func(why revocation.Reason) {
			for _, k := range keys {
				k.over = true
			}
			lastOfKeys = why
		}
		still := func(before account.Account, entries int, what string) {
			t.Helper()
			if a.Generation != before.Generation || a.SessionsFrom != before.SessionsFrom || a.SessionsEnded != before.SessionsEnded || a.KeysFrom != before.KeysFrom || a.KeysEnded != before.KeysEnded || entries != 0 {
				t.Fatalf("%s: %+v became %+v with %d entries", what, before, a, entries)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"sign in": func(*rapid.T) {
				if !a.Disabled {
					sessions = append(sessions, &signedIn{a.Generation, a.Generation, false})
				}
			},
			"make a key": func(*rapid.T) {
				if !a.Disabled {
					keys = append(keys, &apiKey{a.Generation, false})
				}
			},
			"refresh": func(*rapid.T) {
				for _, s := range sessions {
					if _, ok := a.MayRefresh(s.generation); ok {
						s.tokens = a.Generation
					}
				}
			},
			"revoke": func(t *rapid.T) {
				why := rapid.SampledFrom([]revocation.Reason{revocation.UserRevoked, revocation.Logout}).Draw(t, "why")
				before := a
				var e revocation.Entry
				a, e = a.Revoke(act(now), why)
				raised(before, e, why)
				ends(why)
			},
			"revoke all": func(t *rapid.T) {
				before := a
				var e revocation.Entry
				a, e = a.RevokeAll(act(now), revocation.UserRevoked)
				raised(before, e, revocation.UserRevoked)
				ends(revocation.UserRevoked)
				endsKeys(revocation.UserRevoked)
			},
			"set role": func(t *rapid.T) {
				r := rapid.SampledFrom([]account.Role{account.RoleUser, account.RoleAdmin}).Draw(t, "role")
				before := a
				var es []revocation.Entry
				if a, es = a.SetRole(r, act(now)); r == role {
					still(before, len(es), "the same role")
				} else if len(es) != 1 {
					t.Fatalf("another role: %d entries, want 1", len(es))
				} else {
					raised(before, es[0], revocation.RoleChanged)
				}
				role = r
			},
			"disable": func(t *rapid.T) {
				before := a
				var es []revocation.Entry
				if a, es = a.Disable(act(now)); disabled {
					still(before, len(es), "disabled again")
				} else if len(es) != 1 {
					t.Fatalf("disabled: %d entries, want 1", len(es))
				} else {
					raised(before, es[0], revocation.UserDisabled)
					ends(revocation.UserDisabled)
					endsKeys(revocation.UserDisabled)
				}
				disabled = true
			},
			"enable": func(*rapid.T) {
				before := a
				a = a.Enable(now)
				still(before, 0, "enabled")
				if disabled && a.Updated != now || !disabled && a != before {
					t.Fatalf("enabled: %+v became %+v", before, a)
				}
				disabled = false
			},
			"change password": func(t *rapid.T) {
				hash += "'"
				before := a
				var e revocation.Entry
				a, e = a.ChangePassword(secret.New(hash), act(now))
				raised(before, e, revocation.PasswordChanged)
				ends(revocation.PasswordChanged)
			},
			"rehash": func(t *rapid.T) {
				checked, before := rapid.SampledFrom([]string{hash, "another", ""}).Draw(t, "checked"), a
				a = a.Rehash(secret.New(checked), secret.New(hash+"+"), now)
				if still(before, 0, "rehashed"); checked == hash {
					hash += "+"
				} else if a != before {
					t.Fatalf("rehashed over another password: %+v became %+v", before, a)
				}
			},
			"wait": func(t *rapid.T) {
				now = now.Add(rapid.SampledFrom([]time.Duration{time.Microsecond, time.Hour, -time.Second}).Draw(t, "for"))
			},
			"": func(t *rapid.T) {
				if a.Disabled != disabled || a.Role != role || !a.Password.Equal(secret.New(hash)) || a.Created != start || a.ID != (id.User{1}) {
					t.Fatalf("the account is %+v; disabled %v, role %s, hash %s", a, disabled, role, hash)
				}
				if a.SessionsFrom > a.Generation || a.SessionsFrom < 1 || a.SessionsEnded != last {
					t.Fatalf("sessions from %d, ended by %v, in generation %d; the last end was by %v", a.SessionsFrom, a.SessionsEnded, a.Generation, last)
				}
				if a.KeysFrom > a.SessionsFrom || a.KeysFrom < 1 || a.KeysEnded != lastOfKeys {
					t.Fatalf("keys from %d, ended by %v, sessions from %d; the last end was by %v", a.KeysFrom, a.KeysEnded, a.SessionsFrom, lastOfKeys)
				}
				for i, k := range keys {
					why, ok := a.MayUseKey(k.generation)
					want, reason := !k.over && !disabled, lastOfKeys
					if disabled {
						reason = revocation.UserDisabled
					}
					if ok != want || !ok && why != reason || ok && why != 0 {
						t.Fatalf("key %d of generation %d: %v, %v; want %v, %v", i, k.generation, ok, why, want, reason)
					}
				}
				for i, s := range sessions {
					why, ok := a.MayRefresh(s.generation)
					want, reason := !s.over && !disabled, last
					if disabled {
						reason = revocation.UserDisabled
					}
					if ok != want || !ok && why != reason || ok && why != 0 {
						t.Fatalf("session %d of generation %d: %v, %v; want %v, %v", i, s.generation, ok, why, want, reason)
					}
					if s.over && s.tokens >= least {
						t.Fatalf("session %d is over, and its access token of generation %d is not withdrawn below %d", i, s.tokens, least)
					}
				}
				if a.Generation < least {
					t.Fatalf("a new token has generation %d and is withdrawn below %d", a.Generation, least)
				}
			},
		})
	})
}

func TestARoleIsTakenAwayAndTheSessionsStay(t *testing.T) {
	a := ann(start)
	a, es := a.SetRole(account.RoleAdmin, act(start.Add(1000)))
	if len(es) != 1 || es[0].Min != 2 || a.Generation != 2 || a.SessionsFrom != 1 {
		t.Fatalf("%+v, %+v", a, es)
	}
	if _, ok := a.MayRefresh(1); !ok {
		t.Error("a session from before the change of role has ended")
	}
}

// What owners do themselves leaves their API keys alone; what is done to them does not.
func TestWhatEndsAPIKeys(t *testing.T) {
	for name, c := range map[string]struct {
		do    func(account.Account) account.Account
		lives bool
	}{
		"log out everywhere": {func(a account.Account) account.Account { a, _ = a.Revoke(act(start), revocation.UserRevoked); return a }, true},
		"change password": {func(a account.Account) account.Account {
			a, _ = a.ChangePassword(secret.New("x"), act(start))
			return a
		}, true},
		"another role": {func(a account.Account) account.Account { a, _ = a.SetRole(account.RoleAdmin, act(start)); return a }, true},
		"revoke all": {func(a account.Account) account.Account {
			a, _ = a.RevokeAll(act(start), revocation.UserRevoked)
			return a
		}, false},
		"disable":            {func(a account.Account) account.Account { a, _ = a.Disable(act(start)); return a }, false},
		"disable and enable": {func(a account.Account) account.Account { a, _ = a.Disable(act(start)); return a.Enable(start) }, false},
	} {
		a := c.do(ann(start))
		if _, got := a.MayUseKey(1); got != c.lives {
			t.Errorf("%s: the key lives: %v, want %v", name, got, c.lives)
		}
	}
}

func TestEnablingRevivesNothing(t *testing.T) {
	a, _ := ann(start).Disable(act(start))
	if why, ok := a.MayRefresh(a.Generation); ok || why != revocation.UserDisabled {
		t.Errorf("while disabled a session of its own generation: %v, %v", ok, why)
	}
	a = a.Enable(start.Add(time.Second))
	if why, ok := a.MayRefresh(1); ok || why != revocation.UserDisabled {
		t.Errorf("the session from before: %v, %v; want user_disabled", ok, why)
	}
	if _, ok := a.MayRefresh(a.Generation); !ok {
		t.Error("a new session is refused")
	}
}
