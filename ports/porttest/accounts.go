package porttest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/ports"
)

func accountsOf(s Store) keeper[id.User, account.Account] {
	k := keeper[id.User, account.Account]{
		key:   func(a account.Account) id.User { return a.ID },
		fresh: newAccount,
		count: func(a account.Account) int64 { return int64(a.Generation) },
		bump:  func(a account.Account) account.Account { a.Generation++; return a },
		moved: map[string]func(account.Account) account.Account{
			"the id": func(a account.Account) account.Account { a.ID = newID[id.User](); return a },
		},
		create: func(context.Context, account.Account, ports.Effects) error { return nil },
	}
	if s.Accounts != nil {
		k.create, k.update, k.find = s.Accounts.Create, s.Accounts.Update, s.Accounts.Find
	}
	return k
}

// Accounts proves a ports.Accounts, and that its effects reach the ports.Revocations and ports.Events of the same store.
func Accounts(t *testing.T, open Open) {
	filled(t, newAccount())
	keeping(t, open, accountsOf)
	naming(t, open)
	renaming(t, open)
	listing(t, open)
	sub(t, "a random walk agrees with a map", func(t *testing.T) { walkAccounts(t, open) })
}

// named demands who answers to a name: want, or nobody when want is the zero id.
func named(t testing.TB, s Store, l account.Login, want id.User) {
	t.Helper()
	switch a, err := s.Accounts.Named(t.Context(), l); {
	case want.IsZero() && !errors.Is(err, ports.ErrNotFound):
		t.Errorf("Named %q: got %v, error %v, want ErrNotFound", l, a.ID, err)
	case !want.IsZero() && (err != nil || a.ID != want):
		t.Errorf("Named %q: got %v, error %v, want %v", l, a.ID, err, want)
	}
}

func byEmail(a account.Account) account.Login { return account.Login{Email: a.Email} }

func byName(a account.Account) account.Login { return account.Login{Username: a.Username} }

func naming(t *testing.T, open Open) {
	sub(t, "Named answers the account with that e-mail address or user name in any letter case, or ErrNotFound", func(t *testing.T) {
		s := opened(t, open)
		a, b := accountsOf(s).made(t), accountsOf(s).made(t)
		for _, want := range []account.Account{a, b} {
			for _, form := range []func(string) string{strings.ToLower, strings.ToUpper, func(s string) string { return s }} {
				named(t, s, account.Login{Email: must(account.ParseEmail(form(want.Email.String())))}, want.ID)
				named(t, s, account.Login{Username: must(account.ParseUsername(form(want.Username.String())))}, want.ID)
			}
			got, err := s.Accounts.Named(t.Context(), byName(want))
			if err != nil {
				t.Fatalf("Named: %v", err)
			}
			if diff := differ(want, got); diff != "" {
				t.Errorf("Named (-want +got):\n%s", diff)
			}
		}
		named(t, s, byEmail(newAccount()), id.User{})
		named(t, s, byName(newAccount()), id.User{})
		named(t, s, account.Login{}, id.User{})
	})
	sub(t, "Named answers what was committed last", func(t *testing.T) {
		s := opened(t, open)
		k := accountsOf(s)
		a := k.made(t)
		if err := s.Accounts.Update(t.Context(), a.ID, func(a account.Account) (account.Account, ports.Effects, error) {
			return k.bump(a), ports.Effects{}, nil
		}); err != nil {
			t.Fatalf("Update: %v", err)
		}
		got, err := s.Accounts.Named(t.Context(), byEmail(a))
		if diff := differ(k.bump(a), got); err != nil || diff != "" {
			t.Errorf("Named after an update: error %v (-want +got):\n%s", err, diff)
		}
	})
	for what, clash := range clashes {
		sub(t, "Create is ErrTaken, and stores nothing, when "+what+" belongs to another", func(t *testing.T) {
			s := opened(t, open)
			a, e := accountsOf(s).made(t), newEffects()
			b := clash(newAccount(), a)
			if err := s.Accounts.Create(t.Context(), b, e); !errors.Is(err, ports.ErrTaken) {
				t.Errorf("Create: got error %v, want ErrTaken", err)
			}
			if _, err := s.Accounts.Find(t.Context(), b.ID); !errors.Is(err, ports.ErrNotFound) {
				t.Errorf("Find of the refused account: got error %v, want ErrNotFound", err)
			}
			accountsOf(s).holds(t, a)
			named(t, s, byEmail(a), a.ID)
			named(t, s, byName(a), a.ID)
			if b.Email != a.Email {
				named(t, s, byEmail(b), id.User{})
			}
			if b.Username.Folded() != a.Username.Folded() {
				named(t, s, byName(b), id.User{})
			}
			checkEffects(t, s, e, false)
		})
		sub(t, "of concurrent creations with one name ("+what+") exactly one succeeds", func(t *testing.T) {
			s := opened(t, open)
			a := newAccount()
			effects, accounts, won := make([]ports.Effects, crowd), make([]account.Account, crowd), make([]bool, crowd)
			for i := range accounts {
				effects[i], accounts[i] = newEffects(), clash(newAccount(), a)
			}
			var made atomic.Int64
			together(crowd, func(i int) {
				switch err := s.Accounts.Create(t.Context(), accounts[i], effects[i]); {
				case err == nil:
					made.Add(1)
					won[i] = true
				case !errors.Is(err, ports.ErrTaken):
					t.Errorf("Create: got error %v, want ErrTaken", err)
				}
			})
			if got := made.Load(); got != 1 {
				t.Errorf("concurrent creations: got %d successes, want 1", got)
			}
			var lost ports.Effects
			for i := range won {
				if won[i] {
					accountsOf(s).holds(t, accounts[i])
					named(t, s, byEmail(accounts[i]), accounts[i].ID)
					named(t, s, byName(accounts[i]), accounts[i].ID)
					checkEffects(t, s, effects[i], true)
				} else {
					lost = also(lost, effects[i])
				}
			}
			checkEffects(t, s, lost, false)
			if all, err := s.Accounts.List(t.Context(), id.User{}, 2); err != nil || len(all) != 1 {
				t.Errorf("List: got %d accounts, error %v, want 1", len(all), err)
			}
		})
	}
}

// clashes give an account a name of another's.
var clashes = map[string]func(a, of account.Account) account.Account{
	"the e-mail address": func(a, of account.Account) account.Account { a.Email = of.Email; return a },
	"the folded user name": func(a, of account.Account) account.Account {
		a.Username = must(account.ParseUsername(strings.ToUpper(of.Username.String())))
		return a
	},
}

func renaming(t *testing.T, open Open) {
	rename := func(t testing.TB, s Store, from, to account.Account, e ports.Effects) error {
		t.Helper()
		return s.Accounts.Update(t.Context(), from.ID, func(a account.Account) (account.Account, ports.Effects, error) {
			a.Email, a.Username = to.Email, to.Username
			return a, e, nil
		})
	}
	sub(t, "a new name is found, and the old one is free for others afterwards", func(t *testing.T) {
		s := opened(t, open)
		a, to := accountsOf(s).made(t), newAccount()
		if err := rename(t, s, a, to, ports.Effects{}); err != nil {
			t.Fatalf("Update: %v", err)
		}
		named(t, s, byEmail(to), a.ID)
		named(t, s, byName(to), a.ID)
		named(t, s, byEmail(a), id.User{})
		named(t, s, byName(a), id.User{})
		other := newAccount()
		other.Email, other.Username = a.Email, a.Username
		if err := s.Accounts.Create(t.Context(), other, ports.Effects{}); err != nil {
			t.Fatalf("Create with the names that were given up: %v", err)
		}
		named(t, s, byEmail(a), other.ID)
		named(t, s, byName(a), other.ID)
		if err := rename(t, s, a, a, ports.Effects{}); !errors.Is(err, ports.ErrTaken) {
			t.Errorf("Update back to names that are another's by now: got error %v, want ErrTaken", err)
		}
		named(t, s, byName(to), a.ID)
	})
	sub(t, "another spelling of the own name is not taken", func(t *testing.T) {
		s := opened(t, open)
		a := accountsOf(s).made(t)
		to := a
		to.Username = must(account.ParseUsername(strings.ToUpper(a.Username.String())))
		if err := rename(t, s, a, to, ports.Effects{}); err != nil {
			t.Fatalf("Update: %v", err)
		}
		accountsOf(s).holds(t, to)
		named(t, s, byName(a), a.ID)
	})
	for what, clash := range clashes {
		sub(t, "Update is ErrTaken, and stores nothing, when "+what+" belongs to another", func(t *testing.T) {
			s := opened(t, open)
			a, b, e := accountsOf(s).made(t), accountsOf(s).made(t), newEffects()
			if err := rename(t, s, b, clash(b, a), e); !errors.Is(err, ports.ErrTaken) {
				t.Errorf("Update: got error %v, want ErrTaken", err)
			}
			fresh := newAccount() // one name is free, the other is not: neither may be taken
			if err := rename(t, s, b, clash(fresh, a), e); !errors.Is(err, ports.ErrTaken) {
				t.Errorf("Update: got error %v, want ErrTaken", err)
			}
			for _, want := range []account.Account{a, b} {
				accountsOf(s).holds(t, want)
				named(t, s, byEmail(want), want.ID)
				named(t, s, byName(want), want.ID)
			}
			if what == "the e-mail address" {
				named(t, s, byName(fresh), id.User{})
			} else {
				named(t, s, byEmail(fresh), id.User{})
			}
			checkEffects(t, s, e, false)
		})
		sub(t, "of concurrent renamings to one name ("+what+") exactly one succeeds", func(t *testing.T) {
			s := opened(t, open)
			to, accounts := newAccount(), make([]account.Account, 16)
			for i := range accounts {
				accounts[i] = accountsOf(s).made(t)
			}
			var won atomic.Int64
			together(len(accounts), func(i int) {
				switch err := rename(t, s, accounts[i], clash(accounts[i], to), ports.Effects{}); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, ports.ErrTaken):
					t.Errorf("Update: got error %v, want ErrTaken", err)
				}
			})
			if got := won.Load(); got != 1 {
				t.Errorf("concurrent renamings: got %d successes, want 1", got)
			}
			for _, a := range accounts { // whoever has it answers to it
				got, err := s.Accounts.Find(t.Context(), a.ID)
				if err != nil {
					t.Fatalf("Find: %v", err)
				}
				named(t, s, byEmail(got), a.ID)
				named(t, s, byName(got), a.ID)
			}
		})
	}
	sub(t, "accounts that trade their names at once never share one", func(t *testing.T) {
		s := opened(t, open)
		a, b := accountsOf(s).made(t), accountsOf(s).made(t)
		names := []account.Account{a, b, newAccount()}
		together(8, func(i int) {
			for n := range 10 {
				to, who := names[(i+n)%3], []account.Account{a, b}[i%2]
				if err := rename(t, s, who, to, ports.Effects{}); err != nil && !errors.Is(err, ports.ErrTaken) {
					t.Errorf("Update: got error %v, want none or ErrTaken", err)
				}
			}
		})
		owners := map[account.Email]id.User{}
		for _, uid := range []id.User{a.ID, b.ID} {
			got, err := s.Accounts.Find(t.Context(), uid)
			if err != nil {
				t.Fatalf("Find: %v", err)
			}
			owners[got.Email] = uid
		}
		if len(owners) != 2 {
			t.Error("two accounts have one e-mail address")
		}
		for _, n := range names {
			named(t, s, byEmail(n), owners[n.Email])
			named(t, s, byName(n), owners[n.Email])
		}
	})
}

func listing(t *testing.T, open Open) {
	sub(t, "List answers at most limit accounts in the order of their ids, beginning behind after", func(t *testing.T) {
		s := opened(t, open)
		if all, err := s.Accounts.List(t.Context(), id.User{}, 10); err != nil || len(all) != 0 {
			t.Errorf("List of an empty store: got %d, error %v, want none", len(all), err)
		}
		var want []account.Account
		for i := range 25 {
			a := newAccount()
			a.ID[0] = byte(i * 37) // both halves of the range of a byte
			want = append(want, a)
			if err := s.Accounts.Create(t.Context(), a, ports.Effects{}); err != nil {
				t.Fatalf("Create: %v", err)
			}
		}
		slices.SortFunc(want, func(a, b account.Account) int { return bytes.Compare(a.ID[:], b.ID[:]) })
		for _, limit := range []int{1, 7, 25, 1000} {
			var got []account.Account
			for after := (id.User{}); ; {
				page, err := s.Accounts.List(t.Context(), after, limit)
				if err != nil {
					t.Fatalf("List: %v", err)
				}
				if len(page) == 0 {
					break
				}
				if len(page) > limit {
					t.Fatalf("List with limit %d: got %d", limit, len(page))
				}
				got, after = append(got, page...), page[len(page)-1].ID
			}
			if diff := differ(want, got); diff != "" {
				t.Errorf("List by pages of %d (-want +got):\n%s", limit, diff)
			}
		}
		behind := want[9].ID // one that is nobody's
		behind[15]++
		got, err := s.Accounts.List(t.Context(), behind, 3)
		if diff := differ(want[10:13], got); err != nil || diff != "" {
			t.Errorf("List behind an id that nobody has: error %v (-want +got):\n%s", err, diff)
		}
		last := id.User{}
		for i := range last {
			last[i] = 0xff
		}
		if got, err := s.Accounts.List(t.Context(), last, 3); err != nil || len(got) != 0 {
			t.Errorf("List behind the last id: got %d, error %v, want none", len(got), err)
		}
	})
	sub(t, "Named and List end with the context too", func(t *testing.T) {
		s := opened(t, open)
		a := accountsOf(s).made(t)
		ended(t, map[string]func(context.Context) error{
			"Named": func(ctx context.Context) error { _, err := s.Accounts.Named(ctx, byEmail(a)); return err },
			"List":  func(ctx context.Context) error { _, err := s.Accounts.List(ctx, id.User{}, 1); return err },
		})
	})
}
