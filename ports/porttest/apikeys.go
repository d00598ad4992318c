package porttest

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

func apiKeysOf(s Store) keeper[id.APIKey, apikey.Key] {
	k := keeper[id.APIKey, apikey.Key]{
		key:   func(v apikey.Key) id.APIKey { return v.ID },
		fresh: newAPIKey,
		count: func(v apikey.Key) int64 { return int64(v.Uses) },
		bump:  func(v apikey.Key) apikey.Key { v.Uses++; return v },
		moved: map[string]func(apikey.Key) apikey.Key{
			"the id":    func(v apikey.Key) apikey.Key { v.ID = newID[id.APIKey](); return v },
			"the owner": func(v apikey.Key) apikey.Key { v.Owner = newID[id.User](); return v },
		},
		create: func(context.Context, apikey.Key, ports.Effects) error { return nil },
	}
	if s.APIKeys != nil {
		k.create, k.update, k.find = s.APIKeys.Create, s.APIKeys.Update, s.APIKeys.Find
	}
	return k
}

// newAPIKey is a key with no field zero.
func newAPIKey() apikey.Key {
	at := wall()
	return apikey.Key{ID: newID[id.APIKey](), Owner: newID[id.User](), Generation: 1 << 41, Environment: apikey.Staging, Name: must(apikey.ParseName("deploy bot 李")),
		Scopes: 1<<31 | apikey.UsersRead, Hash: [32]byte{1, 31: 2}, Created: at, Expires: at + 3e12, MadeBy: apikey.Maker{Session: newID[id.Session](), Key: newID[id.APIKey]()}, Successor: newID[id.APIKey](), Retires: at + 2e12,
		Revoked: at + 5, RevokedReason: revocation.KeyRevoked, LastUsed: at + 4, LastFrom: origin("2001:db8::7"), Uses: 1 << 43,
		Networks: networks(), Known: places(), Roamed: at + 3, Habit: apikey.Habit{Hour: 1 << 20, Uses: 1 << 42, Unusual: true, Average: 1 << 44, Hours: 1 << 19}, Limit: 1 << 29, Warned: 2}
}

// networks are as many as can be kept, of both families.
func networks() (n apikey.Networks) {
	for i := range n {
		n[i] = netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, byte(i)}), 24)
	}
	n[3] = netip.MustParsePrefix("2001:db8:0:7::/64")
	return n
}

// places are as many as can be remembered.
func places() (p session.Places) {
	for i := range session.MaxPlaces {
		p = p.With(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i)}), 24), wall())
	}
	return p
}

// APIKeys proves a ports.APIKeys, and that its effects reach the ports.Revocations and ports.Events of the same store.
func APIKeys(t *testing.T, open Open) {
	filled(t, newAPIKey())
	keeping(t, open, apiKeysOf)
	ofOwner(t, open)
	replacing(t, open)
	sub(t, "a key that was never used, rotated or revoked says nothing of it", func(t *testing.T) {
		s := opened(t, open)
		v := newAPIKey()
		v = apikey.Key{ID: v.ID, Owner: v.Owner, Generation: 1, Environment: apikey.Production, Name: v.Name, Scopes: apikey.UsersRead, Hash: v.Hash, Created: v.Created, Expires: v.Expires}
		if err := s.APIKeys.Create(t.Context(), v, ports.Effects{}); err != nil {
			t.Fatalf("Create: %v", err)
		}
		if got, err := s.APIKeys.Find(t.Context(), v.ID); err != nil || got != v {
			t.Errorf("Find: got %+v, error %v, want %+v", got, err, v)
		}
	})
	sub(t, "a key is not forgotten within an hour after its Kept", func(t *testing.T) {
		for what, end := range map[string]func(v *apikey.Key, at instant.Instant){
			"one that expired":      func(v *apikey.Key, at instant.Instant) { v.Expires = at },
			"one that was replaced": func(v *apikey.Key, at instant.Instant) { v.Retires = at },
			"one that was revoked":  func(v *apikey.Key, at instant.Instant) { v.Revoked = at },
		} {
			s := opened(t, open)
			v := newAPIKey()
			v.Retires, v.Revoked = 0, 0
			end(&v, wall().Add(-apikey.Keep-55*time.Minute))
			v.Created, v.LastUsed = v.End()-3, v.End()-2
			if err := s.APIKeys.Create(t.Context(), v, ports.Effects{}); err != nil {
				t.Fatalf("Create of %s: %v", what, err)
			}
			apiKeysOf(s).holds(t, v)
			v = apiKeysOf(s).bump(v)
			if err := s.APIKeys.Update(t.Context(), v.ID, func(apikey.Key) (apikey.Key, ports.Effects, error) { return v, ports.Effects{}, nil }); err != nil {
				t.Fatalf("Update of %s: %v", what, err)
			}
			apiKeysOf(s).holds(t, v)
			if all, err := s.APIKeys.OfUser(t.Context(), v.Owner); err != nil || len(all) != 1 {
				t.Errorf("OfUser, of %s: got %d, error %v, want 1", what, len(all), err)
			}
		}
	})
	sub(t, "a key whose end comes later after all is not forgotten at the one it had", func(t *testing.T) {
		s := opened(t, open)
		v := newAPIKey()
		v.Revoked = wall().Add(-apikey.Keep - 30*time.Minute)
		v.Created = v.Revoked - 3
		if err := s.APIKeys.Create(t.Context(), v, ports.Effects{}); err != nil {
			t.Fatalf("Create: %v", err)
		}
		v.Revoked, v.Retires, v.Expires = 0, 0, wall().Add(1000*time.Hour)
		if err := s.APIKeys.Update(t.Context(), v.ID, func(apikey.Key) (apikey.Key, ports.Effects, error) { return v, ports.Effects{}, nil }); err != nil {
			t.Fatalf("Update: %v", err)
		}
		apiKeysOf(s).holds(t, v)
	})
	ending(t, open)
	sub(t, "a random walk agrees with a map", func(t *testing.T) { walkAPIKeys(t, open) })
}

func ofOwner(t *testing.T, open Open) {
	sub(t, "OfUser answers all keys of an owner, ended ones too, oldest first by Created", func(t *testing.T) {
		s := opened(t, open)
		ann, bob, now := newID[id.User](), newID[id.User](), wall()
		var want []apikey.Key
		for _, age := range []time.Duration{3, 1, 4, 15, 9, 2, 6} {
			v := newAPIKey()
			v.Owner, v.Created = ann, now.Add(-age*time.Hour)
			switch age {
			case 4: // live
				v.Revoked, v.RevokedReason, v.Retires = 0, 0, 0
			case 15: // expired a while ago
				v.Expires, v.Revoked, v.Retires = now.Add(-time.Hour), 0, 0
			}
			want = append(want, v)
			other := newAPIKey()
			other.Owner = bob
			for _, v := range []apikey.Key{v, other} {
				if err := s.APIKeys.Create(t.Context(), v, ports.Effects{}); err != nil {
					t.Fatalf("Create: %v", err)
				}
			}
		}
		slices.SortFunc(want, func(a, b apikey.Key) int { return int(a.Created - b.Created) })
		for range 2 {
			got, err := s.APIKeys.OfUser(t.Context(), ann)
			if diff := differ(want, got); err != nil || diff != "" {
				t.Fatalf("OfUser: error %v (-want +got):\n%s", err, diff)
			}
			got[0], got[1] = got[1], got[0] // the caller's own
		}
		if got, err := s.APIKeys.OfUser(t.Context(), newID[id.User]()); err != nil || len(got) != 0 {
			t.Errorf("OfUser of nobody: got %d, error %v, want none", len(got), err)
		}
		ended(t, map[string]func(context.Context) error{
			"OfUser": func(ctx context.Context) error { _, err := s.APIKeys.OfUser(ctx, ann); return err },
		})
	})
	sub(t, "OfUser answers what was committed last", func(t *testing.T) {
		s := opened(t, open)
		k := apiKeysOf(s)
		v := k.made(t)
		for range 3 {
			if err := s.APIKeys.Update(t.Context(), v.ID, func(v apikey.Key) (apikey.Key, ports.Effects, error) { return k.bump(v), ports.Effects{}, nil }); err != nil {
				t.Fatalf("Update: %v", err)
			}
			v = k.bump(v)
			got, err := s.APIKeys.OfUser(t.Context(), v.Owner)
			if diff := differ([]apikey.Key{v}, got); err != nil || diff != "" {
				t.Errorf("OfUser after an update: error %v (-want +got):\n%s", err, diff)
			}
		}
	})
	sub(t, "keys of one owner created at once are all there", func(t *testing.T) {
		s := opened(t, open)
		uid := newID[id.User]()
		together(crowd, func(int) {
			v := newAPIKey()
			v.Owner = uid
			if err := s.APIKeys.Create(t.Context(), v, ports.Effects{}); err != nil {
				t.Errorf("Create: %v", err)
			}
		})
		if got, err := s.APIKeys.OfUser(t.Context(), uid); err != nil || len(got) != crowd {
			t.Errorf("OfUser: got %d, error %v, want %d", len(got), err, crowd)
		}
	})
}

func ending(t *testing.T, open Open) {
	sub(t, "Ending answers the keys that end within a time, by their ids and in pages", func(t *testing.T) {
		s := opened(t, open)
		from := wall().Add(100 * 24 * time.Hour) // what other tests keep ends long before
		until := from.Add(time.Hour)
		var want []apikey.Key
		for i := range 40 {
			v := newAPIKey()
			v.Retires, v.Revoked, v.Expires = 0, 0, from.Add(time.Duration(i-10)*time.Hour/20)
			switch i {
			case 0:
				v.Expires = from
			case 1:
				v.Expires = until
			case 2:
				v.Expires, v.Retires = until.Add(time.Hour), until-1
			case 3:
				v.Expires, v.Revoked = from.Add(time.Minute), from-1
			}
			if err := s.APIKeys.Create(t.Context(), v, ports.Effects{}); err != nil {
				t.Fatalf("Create: %v", err)
			}
			if i%4 == 2 {
				v.Expires, v.Retires = v.Expires.Add(time.Minute), 0
				if err := s.APIKeys.Update(t.Context(), v.ID, func(apikey.Key) (apikey.Key, ports.Effects, error) { return v, ports.Effects{}, nil }); err != nil {
					t.Fatalf("Update: %v", err)
				}
			}
			if end := v.End(); end >= from && end < until {
				want = append(want, v)
			}
		}
		slices.SortFunc(want, func(a, b apikey.Key) int { return bytes.Compare(a.ID[:], b.ID[:]) })
		var got []apikey.Key
		after := id.APIKey{}
		for {
			page, err := s.APIKeys.Ending(t.Context(), from, until, after, 4)
			if err != nil || len(page) > 4 {
				t.Fatalf("Ending: %d, error %v", len(page), err)
			}
			if len(page) == 0 {
				break
			}
			got, after = append(got, page...), page[len(page)-1].ID
		}
		if diff := differ(want, got); diff != "" || len(want) < 15 {
			t.Errorf("Ending (-want of %d +got):\n%s", len(want), diff)
		}
		ended(t, map[string]func(context.Context) error{
			"Ending": func(ctx context.Context) error { _, err := s.APIKeys.Ending(ctx, from, until, after, 4); return err },
		})
	})
}

// heir is a key that may take the place of v.
func heir(v apikey.Key) apikey.Key {
	next := newAPIKey()
	next.Owner, next.Created = v.Owner, v.Created+1
	return next
}

func replacing(t *testing.T, open Open) {
	gone := func(t testing.TB, s Store, kid id.APIKey) {
		t.Helper()
		if _, err := s.APIKeys.Find(t.Context(), kid); !errors.Is(err, ports.ErrNotFound) {
			t.Errorf("Find of the key that was not to be stored: got error %v, want ErrNotFound", err)
		}
	}
	sub(t, "Replace stores both keys whole, with its effects", func(t *testing.T) {
		s := opened(t, open)
		k := apiKeysOf(s)
		v := k.made(t)
		var all ports.Effects
		for range 3 {
			e, next := newEffects(), heir(v)
			if err := s.APIKeys.Replace(t.Context(), v.ID, func(got apikey.Key) (apikey.Key, apikey.Key, ports.Effects, error) {
				if diff := differ(v, got); diff != "" {
					t.Errorf("what the function was handed (-want +got):\n%s", diff)
				}
				return k.bump(got), next, e, nil
			}); err != nil {
				t.Fatalf("Replace: %v", err)
			}
			k.holds(t, k.bump(v))
			k.holds(t, next)
			if got, err := s.APIKeys.OfUser(t.Context(), v.Owner); err != nil || len(got) < 2 || got[len(got)-1].ID != next.ID {
				t.Errorf("OfUser: got %d, error %v, want the new one last", len(got), err)
			}
			all, v = also(all, e), next
		}
		checkEffects(t, s, all, true)
	})
	sub(t, "Replace of what is missing is ErrNotFound, and the function does not run", func(t *testing.T) {
		s := opened(t, open)
		v, next, ran := newAPIKey(), newAPIKey(), false
		err := s.APIKeys.Replace(t.Context(), v.ID, func(v apikey.Key) (apikey.Key, apikey.Key, ports.Effects, error) {
			ran = true
			return v, next, ports.Effects{}, nil
		})
		if !errors.Is(err, ports.ErrNotFound) || ran {
			t.Errorf("Replace of what is missing: got error %v and the function run: %v, want ErrNotFound and false", err, ran)
		}
		gone(t, s, next.ID)
	})
	refusal := errors.New("refused by the rule")
	for what, c := range map[string]struct {
		spoil func(old, next, other *apikey.Key, e *ports.Effects) error
		want  error // nil: any
	}{
		"the function's error is answered as it is":             {func(_, _, _ *apikey.Key, _ *ports.Effects) error { return refusal }, refusal},
		"an invalid revocation among the effects is ErrInvalid": {func(_, _, _ *apikey.Key, e *ports.Effects) error { e.Revocations[1].At = 0; return nil }, revocation.ErrInvalid},
		"a new key with the id of another is ErrTaken":          {func(_, next, other *apikey.Key, _ *ports.Effects) error { next.ID = other.ID; return nil }, ports.ErrTaken},
		"a new key with the id of the old one is ErrTaken":      {func(old, next, _ *apikey.Key, _ *ports.Effects) error { next.ID = old.ID; return nil }, ports.ErrTaken},
		"a new key of another owner is an error":                {func(_, next, _ *apikey.Key, _ *ports.Effects) error { next.Owner = newID[id.User](); return nil }, nil},
		"an old key with another id is an error":                {func(old, _, _ *apikey.Key, _ *ports.Effects) error { old.ID = newID[id.APIKey](); return nil }, nil},
		"keys that both become another owner's are an error too": {func(old, next, _ *apikey.Key, _ *ports.Effects) error {
			old.Owner = newID[id.User]()
			next.Owner = old.Owner
			return nil
		}, nil},
	} {
		sub(t, "of Replace, "+what+", and nothing is stored", func(t *testing.T) {
			s := opened(t, open)
			k := apiKeysOf(s)
			v, other, e := k.made(t), k.made(t), newEffects()
			given, changed, next := newEffects(), k.bump(v), heir(v)
			copy(given.Revocations, e.Revocations)
			copy(given.Events, e.Events)
			answer := c.spoil(&changed, &next, &other, &given)
			err := s.APIKeys.Replace(t.Context(), v.ID, func(apikey.Key) (apikey.Key, apikey.Key, ports.Effects, error) { return changed, next, given, answer })
			if err == nil || c.want != nil && !errors.Is(err, c.want) || answer != nil && err != answer { //nolint:errorlint // as it is
				t.Errorf("Replace: got error %v, want %v", err, c.want)
			}
			k.holds(t, v)
			k.holds(t, other)
			if next.ID != v.ID && next.ID != other.ID {
				gone(t, s, next.ID)
			}
			if changed.ID != v.ID {
				gone(t, s, changed.ID)
			}
			if got, err := s.APIKeys.OfUser(t.Context(), v.Owner); err != nil || len(got) != 1 {
				t.Errorf("OfUser: got %d, error %v, want 1", len(got), err)
			}
			checkEffects(t, s, e, false)
		})
	}
	sub(t, "of concurrent replacements of one key by a rule exactly one succeeds", func(t *testing.T) {
		s := opened(t, open)
		v := newAPIKey()
		v.Successor, v.Retires, v.Revoked = id.APIKey{}, 0, 0
		if err := s.APIKeys.Create(t.Context(), v, ports.Effects{}); err != nil {
			t.Fatalf("Create: %v", err)
		}
		var done atomic.Int64
		effects, heirs, won := make([]ports.Effects, crowd), make([]apikey.Key, crowd), make([]bool, crowd)
		for i := range heirs {
			effects[i], heirs[i] = newEffects(), heir(v)
		}
		together(crowd, func(i int) {
			switch err := s.APIKeys.Replace(t.Context(), v.ID, func(old apikey.Key) (apikey.Key, apikey.Key, ports.Effects, error) {
				if !old.Successor.IsZero() {
					return old, apikey.Key{}, ports.Effects{}, apikey.ErrRotated
				}
				old.Successor = heirs[i].ID
				return old, heirs[i], effects[i], nil
			}); {
			case err == nil:
				done.Add(1)
				won[i] = true
			case !errors.Is(err, apikey.ErrRotated):
				t.Errorf("Replace: got error %v, want the rule's", err)
			}
		})
		var lost ports.Effects
		for i := range won {
			if !won[i] {
				gone(t, s, heirs[i].ID)
				lost = also(lost, effects[i])
				continue
			}
			v.Successor = heirs[i].ID
			apiKeysOf(s).holds(t, v)
			apiKeysOf(s).holds(t, heirs[i])
			checkEffects(t, s, effects[i], true)
		}
		checkEffects(t, s, lost, false)
		if got := done.Load(); got != 1 {
			t.Errorf("concurrent replacements: got %d successes, want 1", got)
		}
	})
	// race has several keys replaced by one at once, and that one created beside it so many times: exactly one succeeds.
	race := func(t *testing.T, s Store, replacements, creations int) {
		t.Helper()
		k := apiKeysOf(s)
		old, next := make([]apikey.Key, replacements), newAPIKey()
		for i := range old {
			old[i] = newAPIKey()
			old[i].Owner = next.Owner
			if err := s.APIKeys.Create(t.Context(), old[i], ports.Effects{}); err != nil {
				t.Fatalf("Create: %v", err)
			}
		}
		var done, met atomic.Int64
		all := make(chan struct{})
		meet := func() { // so that none is over before the others begin, where a store lets them run at once
			if met.Add(1) == int64(replacements+creations) {
				close(all)
			}
			select {
			case <-all:
			case <-time.After(100 * time.Millisecond):
			}
		}
		together(replacements+creations, func(i int) {
			var err error
			if i < replacements {
				err = s.APIKeys.Replace(t.Context(), old[i].ID, func(v apikey.Key) (apikey.Key, apikey.Key, ports.Effects, error) {
					meet()
					return k.bump(v), next, ports.Effects{}, nil
				})
			} else {
				meet()
				err = s.APIKeys.Create(t.Context(), next, ports.Effects{})
			}
			switch {
			case err == nil:
				done.Add(1)
			case !errors.Is(err, ports.ErrTaken):
				t.Errorf("got error %v, want ErrTaken", err)
			}
		})
		changed := 0
		for _, v := range old {
			got, err := s.APIKeys.Find(t.Context(), v.ID)
			if err != nil {
				t.Fatalf("Find: %v", err)
			}
			if got.Uses != v.Uses {
				changed++
			}
		}
		if done.Load() != 1 || changed > 1 {
			t.Errorf("got %d successes and %d keys replaced, want 1 and 1 at most", done.Load(), changed)
		}
		k.holds(t, next)
	}
	sub(t, "of concurrent replacements by one new key exactly one succeeds", func(t *testing.T) { race(t, opened(t, open), 16, 0) })
	sub(t, "of a replacement and a creation of one new key at once exactly one succeeds", func(t *testing.T) {
		s := opened(t, open)
		for range 100 {
			race(t, s, 1, 1)
		}
	})
	sub(t, "keys that replace one another in a circle wait for nobody", func(t *testing.T) {
		s := opened(t, open)
		a, b := apiKeysOf(s).made(t), newAPIKey()
		b.Owner = a.Owner
		if err := s.APIKeys.Create(t.Context(), b, ports.Effects{}); err != nil {
			t.Fatalf("Create: %v", err)
		}
		together(crowd, func(i int) {
			from, to := a, b
			if i%2 == 1 {
				from, to = b, a
			}
			err := s.APIKeys.Replace(t.Context(), from.ID, func(v apikey.Key) (apikey.Key, apikey.Key, ports.Effects, error) { return v, to, ports.Effects{}, nil })
			if !errors.Is(err, ports.ErrTaken) {
				t.Errorf("Replace by a key that exists: got error %v, want ErrTaken", err)
			}
		})
	})
	sub(t, "a context that has ended ends Replace with its error", func(t *testing.T) {
		s := opened(t, open)
		v := apiKeysOf(s).made(t)
		ended(t, map[string]func(context.Context) error{
			"Replace": func(ctx context.Context) error {
				return s.APIKeys.Replace(ctx, v.ID, func(v apikey.Key) (apikey.Key, apikey.Key, ports.Effects, error) {
					return v, heir(v), ports.Effects{}, nil
				})
			},
		})
		if got, err := s.APIKeys.OfUser(t.Context(), v.Owner); err != nil || len(got) != 1 {
			t.Errorf("OfUser: got %d, error %v, want 1", len(got), err)
		}
	})
}
