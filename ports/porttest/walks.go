package porttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

var errRule = errors.New("refused by the rule")

// witness collects the events that must have been committed, in order: one for each call that succeeded.
type witness struct {
	events ports.Events
	after  uint64
	want   []audit.Event
}

func watch(t testing.TB, s Store) *witness {
	_, last := trailBehind(t, s.Events, 0)
	return &witness{events: s.Events, after: last}
}

// committed compares what a call answered with what it should have, and remembers its event when it succeeded.
func (w *witness) committed(t *rapid.T, call string, e audit.Event, got, want error) {
	if !errors.Is(got, want) || (got == nil) != (want == nil) {
		t.Fatalf("%s: got error %v, want %v", call, got, want)
	}
	if got == nil {
		w.want = append(w.want, e)
	}
}

func (w *witness) check(t *rapid.T) {
	got, _, err := w.events.List(context.Background(), w.after, len(w.want)+1)
	if diff := differ(w.want, got); err != nil || diff != "" {
		t.Fatalf("events of the walk: error %v (-want +got):\n%s", err, diff)
	}
}

// walkAccounts creates, changes, renames and looks up a few accounts whose ids and names often clash, on a store that other walks have used.
func walkAccounts(outer *testing.T, open Open) {
	s := opened(outer, open)
	everyone := map[id.User]account.Account{} // of all walks
	rapid.Check(outer, func(t *rapid.T) {
		mine := map[id.User]account.Account{}
		salt := unique()
		var ids []id.User
		var emails []account.Email
		var names []account.Username
		for i := range 4 {
			ids = append(ids, newID[id.User]())
			emails = append(emails, email(fmt.Sprintf("e%d.%s", i, salt)))
			names = append(names, username(fmt.Sprintf("N%d.%s", i, salt)), username(strings.ToUpper(fmt.Sprintf("N%d.%s", i, salt))))
		}
		w := watch(outer, s)
		anID, anEmail, aName := rapid.SampledFrom(ids), rapid.SampledFrom(emails), rapid.SampledFrom(names)
		taken := func(a account.Account) error {
			for uid, o := range mine {
				if uid != a.ID && (o.Email == a.Email || o.Username.Folded() == a.Username.Folded()) {
					return ports.ErrTaken
				}
			}
			return nil
		}
		t.Repeat(map[string]func(*rapid.T){
			"create": func(t *rapid.T) {
				a, e := newAccount(), newEvent()
				a.ID, a.Email, a.Username = anID.Draw(t, "id"), anEmail.Draw(t, "email"), aName.Draw(t, "name")
				want := taken(a)
				if _, ok := mine[a.ID]; ok {
					want = ports.ErrTaken
				}
				w.committed(t, "Create", e, s.Accounts.Create(context.Background(), a, ports.Effects{Events: []audit.Event{e}}), want)
				if want == nil {
					mine[a.ID], everyone[a.ID] = a, a
				}
			},
			"update": func(t *rapid.T) {
				uid, e := anID.Draw(t, "id"), newEvent()
				next, ok := mine[uid]
				next.Generation += token.Generation(rapid.IntRange(1, 9).Draw(t, "add"))
				if rapid.Bool().Draw(t, "rename") {
					next.Email, next.Username = anEmail.Draw(t, "email"), aName.Draw(t, "name")
				}
				refuse := rapid.IntRange(0, 4).Draw(t, "refuse") == 0
				want := taken(next)
				switch {
				case !ok:
					want = ports.ErrNotFound
				case refuse:
					want = errRule
				}
				err := s.Accounts.Update(context.Background(), uid, func(got account.Account) (account.Account, ports.Effects, error) {
					if diff := differ(mine[uid], got); diff != "" {
						t.Fatalf("what the function was handed (-want +got):\n%s", diff)
					}
					if refuse {
						return next, ports.Effects{Events: []audit.Event{e}}, errRule
					}
					return next, ports.Effects{Events: []audit.Event{e}}, nil
				})
				w.committed(t, "Update", e, err, want)
				if want == nil {
					mine[uid], everyone[uid] = next, next
				}
			},
			"list": func(t *rapid.T) {
				after, limit := anID.Draw(t, "after"), rapid.IntRange(1, 20).Draw(t, "limit")
				want := slices.SortedFunc(maps.Values(everyone), func(a, b account.Account) int { return bytes.Compare(a.ID[:], b.ID[:]) })
				want = slices.DeleteFunc(want, func(a account.Account) bool { return bytes.Compare(a.ID[:], after[:]) <= 0 })
				got, err := s.Accounts.List(context.Background(), after, limit)
				if diff := differ(want[:min(limit, len(want))], got); err != nil || diff != "" {
					t.Fatalf("List: error %v (-want +got):\n%s", err, diff)
				}
			},
			"": func(t *rapid.T) {
				owners := map[string]account.Account{}
				for _, uid := range ids {
					a, ok := mine[uid]
					got, err := s.Accounts.Find(context.Background(), uid)
					agree(t, "Find", a, ok, got, err)
					if ok {
						owners[a.Email.String()], owners[a.Username.Folded()] = a, a
					}
				}
				var logins []account.Login
				for _, e := range emails {
					logins = append(logins, account.Login{Email: e})
				}
				for _, n := range names {
					logins = append(logins, account.Login{Username: n})
				}
				for _, l := range logins {
					a, ok := owners[l.String()]
					got, err := s.Accounts.Named(context.Background(), l)
					agree(t, "Named", a, ok, got, err)
				}
			},
		})
		w.check(t)
	})
}

// agree demands what a look-up answers: want, or ErrNotFound.
func agree[V any](t *rapid.T, call string, want V, ok bool, got V, err error) {
	if !ok {
		if !errors.Is(err, ports.ErrNotFound) {
			t.Fatalf("%s of what is missing: got error %v, want ErrNotFound", call, err)
		}
		return
	}
	if diff := differ(want, got); err != nil || diff != "" {
		t.Fatalf("%s: error %v (-want +got):\n%s", call, err, diff)
	}
}

// walkSessions creates, refreshes, ends and looks up a few sessions of two users.
func walkSessions(outer *testing.T, open Open) {
	s := opened(outer, open)
	rapid.Check(outer, func(t *rapid.T) {
		mine := map[id.Session]session.Session{}
		var ids []id.Session
		for range 5 {
			ids = append(ids, newID[id.Session]())
		}
		users := []id.User{newID[id.User](), newID[id.User]()}
		w := watch(outer, s)
		anID, aUser := rapid.SampledFrom(ids), rapid.SampledFrom(users)
		t.Repeat(map[string]func(*rapid.T){
			"create": func(t *rapid.T) {
				v, e := newSession(), newEvent()
				v.ID, v.User = anID.Draw(t, "id"), aUser.Draw(t, "user")
				v.Created += instant.Instant(rapid.IntRange(-1000, 1000).Draw(t, "created")) * 1_000_000
				var want error
				if _, ok := mine[v.ID]; ok {
					want = ports.ErrTaken
				}
				w.committed(t, "Create", e, s.Sessions.Create(context.Background(), v, ports.Effects{Events: []audit.Event{e}}), want)
				if want == nil {
					mine[v.ID] = v
				}
			},
			"update": func(t *rapid.T) {
				sid, e := anID.Draw(t, "id"), newEvent()
				next, ok := mine[sid]
				next.Counter += rapid.Uint64Range(1, 9).Draw(t, "add")
				next.Last.Successor = rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(t, "successor")
				next.Ended = wall() * instant.Instant(rapid.IntRange(0, 1).Draw(t, "ended"))
				refuse := rapid.IntRange(0, 4).Draw(t, "refuse") == 0
				var want, answer error
				switch {
				case !ok:
					want = ports.ErrNotFound
				case refuse:
					want, answer = errRule, errRule
				}
				err := s.Sessions.Update(context.Background(), sid, func(got session.Session) (session.Session, ports.Effects, error) {
					if diff := differ(mine[sid], got); diff != "" {
						t.Fatalf("what the function was handed (-want +got):\n%s", diff)
					}
					return next, ports.Effects{Events: []audit.Event{e}}, answer
				})
				w.committed(t, "Update", e, err, want)
				if want == nil {
					mine[sid] = next
				}
			},
			"": func(t *rapid.T) {
				for _, sid := range ids {
					v, ok := mine[sid]
					got, err := s.Sessions.Find(context.Background(), sid)
					agree(t, "Find", v, ok, got, err)
				}
				for _, uid := range users {
					got, err := s.Sessions.OfUser(context.Background(), uid)
					if err != nil {
						t.Fatalf("OfUser: %v", err)
					}
					n := 0
					for _, v := range mine {
						if v.User == uid {
							n++
						}
					}
					if len(got) != n || !slices.IsSortedFunc(got, func(a, b session.Session) int { return int(a.Created - b.Created) }) {
						t.Fatalf("OfUser: got %d, want %d, by Created", len(got), n)
					}
					for _, v := range got {
						agree(t, "OfUser", mine[v.ID], true, v, nil)
					}
				}
			},
		})
		w.check(t)
	})
}

// walkAPIKeys creates, changes, replaces and looks up a few keys of two owners, with a few ids that often clash.
func walkAPIKeys(outer *testing.T, open Open) {
	s := opened(outer, open)
	rapid.Check(outer, func(t *rapid.T) {
		mine := map[id.APIKey]apikey.Key{}
		var ids []id.APIKey
		for range 5 {
			ids = append(ids, newID[id.APIKey]())
		}
		owners := []id.User{newID[id.User](), newID[id.User]()}
		w := watch(outer, s)
		anID, anOwner := rapid.SampledFrom(ids), rapid.SampledFrom(owners)
		fresh := func(t *rapid.T) apikey.Key {
			v := newAPIKey()
			v.ID, v.Owner = anID.Draw(t, "new id"), anOwner.Draw(t, "owner")
			v.Created += instant.Instant(rapid.IntRange(-1000, 1000).Draw(t, "created")) * 1_000_000
			return v
		}
		changed := func(t *rapid.T, v apikey.Key) apikey.Key {
			v.Uses += rapid.Uint64Range(1, 9).Draw(t, "uses")
			v.Created += instant.Instant(rapid.IntRange(-1, 1).Draw(t, "moved")) * 1_000_000
			v.Revoked = wall() * instant.Instant(rapid.IntRange(0, 1).Draw(t, "revoked"))
			return v
		}
		t.Repeat(map[string]func(*rapid.T){
			"create": func(t *rapid.T) {
				v, e := fresh(t), newEvent()
				var want error
				if _, ok := mine[v.ID]; ok {
					want = ports.ErrTaken
				}
				w.committed(t, "Create", e, s.APIKeys.Create(context.Background(), v, ports.Effects{Events: []audit.Event{e}}), want)
				if want == nil {
					mine[v.ID] = v
				}
			},
			"update": func(t *rapid.T) {
				kid, e := anID.Draw(t, "id"), newEvent()
				was, ok := mine[kid]
				next := changed(t, was)
				refuse := rapid.IntRange(0, 4).Draw(t, "refuse") == 0
				var want, answer error
				switch {
				case !ok:
					want = ports.ErrNotFound
				case refuse:
					want, answer = errRule, errRule
				}
				err := s.APIKeys.Update(context.Background(), kid, func(got apikey.Key) (apikey.Key, ports.Effects, error) {
					if diff := differ(mine[kid], got); diff != "" {
						t.Fatalf("what the function was handed (-want +got):\n%s", diff)
					}
					return next, ports.Effects{Events: []audit.Event{e}}, answer
				})
				w.committed(t, "Update", e, err, want)
				if want == nil {
					mine[kid] = next
				}
			},
			"replace": func(t *rapid.T) {
				kid, e := anID.Draw(t, "id"), newEvent()
				was, ok := mine[kid]
				old, next := changed(t, was), fresh(t)
				next.Owner = was.Owner
				var want error
				if _, taken := mine[next.ID]; taken {
					want = ports.ErrTaken
				}
				if !ok {
					want = ports.ErrNotFound
				}
				err := s.APIKeys.Replace(context.Background(), kid, func(got apikey.Key) (apikey.Key, apikey.Key, ports.Effects, error) {
					if diff := differ(mine[kid], got); diff != "" {
						t.Fatalf("what the function was handed (-want +got):\n%s", diff)
					}
					return old, next, ports.Effects{Events: []audit.Event{e}}, nil
				})
				w.committed(t, "Replace", e, err, want)
				if want == nil {
					mine[kid], mine[next.ID] = old, next
				}
			},
			"": func(t *rapid.T) {
				for _, kid := range ids {
					v, ok := mine[kid]
					got, err := s.APIKeys.Find(context.Background(), kid)
					agree(t, "Find", v, ok, got, err)
				}
				for _, uid := range owners {
					got, err := s.APIKeys.OfUser(context.Background(), uid)
					if err != nil {
						t.Fatalf("OfUser: %v", err)
					}
					n := 0
					for _, v := range mine {
						if v.Owner == uid {
							n++
						}
					}
					if len(got) != n || !slices.IsSortedFunc(got, func(a, b apikey.Key) int { return int(a.Created - b.Created) }) {
						t.Fatalf("OfUser: got %d, want %d, by Created", len(got), n)
					}
					for _, v := range got {
						agree(t, "OfUser", mine[v.ID], true, v, nil)
					}
				}
			},
		})
		w.check(t)
	})
}
