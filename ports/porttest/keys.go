package porttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/system"
	"github.com/xteam/xteam/ports"
)

func keysOf(s Store) keeper[string, keyset.Ring] {
	k := keeper[string, keyset.Ring]{
		key:   func(r keyset.Ring) string { return r.Name },
		fresh: newRing,
		count: func(r keyset.Ring) int64 { return int64(r.Keys[0].Changed) },
		bump: func(r keyset.Ring) keyset.Ring {
			r = cloneRing(r)
			r.Keys[0].Changed++
			return r
		},
		scribble: func(r keyset.Ring) {
			r.Keys[0].Wrapped[0]++
			r.Keys[0].Public[1]++
			r.Keys[1], r.Keys[2] = r.Keys[2], r.Keys[1]
		},
		moved: map[string]func(keyset.Ring) keyset.Ring{
			"the name": func(r keyset.Ring) keyset.Ring { r.Name = "ring-" + unique(); return r },
		},
		create: func(context.Context, keyset.Ring, ports.Effects) error { return nil },
	}
	if s.Keys != nil {
		k.create, k.update, k.find = s.Keys.Create, s.Keys.Update, s.Keys.Find
	}
	return k
}

func cloneRing(r keyset.Ring) keyset.Ring {
	r.Keys = slices.Clone(r.Keys)
	for i := range r.Keys {
		r.Keys[i].Public, r.Keys[i].Wrapped = slices.Clone(r.Keys[i].Public), slices.Clone(r.Keys[i].Wrapped)
	}
	return r
}

// Keys proves a ports.Keys, and that its effects reach the ports.Revocations and ports.Events of the same store.
func Keys(t *testing.T, open Open) {
	filled(t, newRing(), "Ring.Keys[].Secret")
	keeping(t, open, keysOf)
	sub(t, "the secret half of a key comes back empty", func(t *testing.T) {
		s := opened(t, open)
		r := newRing()
		planted := cloneRing(r)
		planted.Keys[1].Secret = secret.New("planted in a created ring")
		if err := s.Keys.Create(t.Context(), planted, ports.Effects{}); err != nil {
			t.Fatalf("Create: %v", err)
		}
		keysOf(s).holds(t, r)
		if err := s.Keys.Update(t.Context(), r.Name, func(got keyset.Ring) (keyset.Ring, ports.Effects, error) {
			if diff := differ(r, got); diff != "" {
				t.Errorf("what the function was handed (-want +got):\n%s", diff)
			}
			got.Keys[2].Secret = secret.New("planted in an updated ring")
			return got, ports.Effects{}, nil
		}); err != nil {
			t.Fatalf("Update: %v", err)
		}
		keysOf(s).holds(t, r)
		if planted.Keys[1].Secret.IsZero() {
			t.Error("Create took the secret out of the caller's own ring")
		}
	})
	sub(t, "a ring keeps what is absent absent, any number of keys, and their order", func(t *testing.T) {
		s := opened(t, open)
		empty := keyset.Ring{Name: keyset.Data}
		if err := s.Keys.Create(t.Context(), empty, ports.Effects{}); err != nil {
			t.Fatalf("Create of an empty ring: %v", err)
		}
		keysOf(s).holds(t, empty)
		r := keyset.Ring{Name: keyset.Signing}
		for i := range 200 {
			r.Keys = append(r.Keys, keyset.Key{ID: fmt.Sprintf("k%d", i*7919%200), State: keyset.Next, Wrapped: make([]byte, 200)})
		}
		if err := s.Keys.Create(t.Context(), r, ports.Effects{}); err != nil {
			t.Fatalf("Create: %v", err)
		}
		keysOf(s).holds(t, r)
		keysOf(s).holds(t, empty)
		if got, err := s.Keys.Find(t.Context(), r.Name); err != nil || got.Keys[0].Public != nil {
			t.Errorf("Find: got public half %v, error %v, want nil", got.Keys[0].Public, err)
		}
	})
}

func systemOf(s Store) keeper[struct{}, system.State] {
	k := keeper[struct{}, system.State]{
		key:   func(system.State) struct{} { return struct{}{} },
		count: func(v system.State) int64 { return int64(v.Epoch) },
		bump:  func(v system.State) system.State { v.Epoch++; return v },
	}
	if s.System != nil {
		k.update = func(ctx context.Context, _ struct{}, change func(system.State) (system.State, ports.Effects, error)) error {
			return s.System.Update(ctx, change)
		}
		k.find = func(ctx context.Context, _ struct{}) (system.State, error) { return s.System.Load(ctx) }
	}
	return k
}

// System proves a ports.System, and that its effects reach the ports.Revocations and ports.Events of the same store.
func System(t *testing.T, open Open) {
	keeping(t, open, systemOf)
	sub(t, "a new store holds the zero State, and the function is handed it", func(t *testing.T) {
		s := opened(t, open)
		systemOf(s).holds(t, system.State{})
		if err := s.System.Update(t.Context(), func(v system.State) (system.State, ports.Effects, error) {
			if v != (system.State{}) {
				t.Errorf("what the function was handed: got %+v, want the zero State", v)
			}
			return v, ports.Effects{}, nil
		}); err != nil {
			t.Errorf("Update: %v", err)
		}
	})
	sub(t, "effects alone are kept, all or none, beside a change that goes on", func(t *testing.T) {
		s := opened(t, open)
		bad, good := newEffects(), newEffects()
		bad.Revocations[1].At = 0
		if err := s.System.Commit(t.Context(), bad); !errors.Is(err, revocation.ErrInvalid) {
			t.Errorf("Commit of an entry that cannot be: %v", err)
		}
		checkEffects(t, s, bad, false)
		changing, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		go func() {
			var once sync.Once
			done <- s.System.Update(t.Context(), func(v system.State) (system.State, ports.Effects, error) {
				once.Do(func() { close(changing); <-goOn })
				v.Epoch++
				return v, ports.Effects{}, nil
			})
		}()
		<-changing
		err := s.System.Commit(t.Context(), good)
		close(goOn)
		if err := errors.Join(err, <-done, s.System.Commit(t.Context(), ports.Effects{})); err != nil {
			t.Fatal(err)
		}
		checkEffects(t, s, good, true)
		ended(t, map[string]func(context.Context) error{"Commit": func(ctx context.Context) error { return s.System.Commit(ctx, newEffects()) }})
	})
	sub(t, "every field is kept", func(t *testing.T) {
		s := opened(t, open)
		want := system.State{Epoch: 1 << 40, LongestAccess: 24*time.Hour + time.Microsecond, SessionsFrom: 1 << 39, SessionsAfter: instant.Instant(1 << 50)}
		filled(t, want)
		if err := s.System.Update(t.Context(), func(system.State) (system.State, ports.Effects, error) { return want, ports.Effects{}, nil }); err != nil {
			t.Fatalf("Update: %v", err)
		}
		systemOf(s).holds(t, want)
	})
}
