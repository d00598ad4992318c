package keyset_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
)

func TestThePurposesOfARingDoNotTouchOneAnother(t *testing.T) {
	var r keyset.Ring
	for _, k := range []keyset.Key{{ID: "seal-1", Purpose: keyset.Seal}, {ID: "index-1", Purpose: keyset.Index}, {ID: "seal-2", Purpose: keyset.Seal}} {
		r = must(r.Add(k, false, 1))(t)
	}
	r = must(r.Promote("seal-2", 2))(t)
	want := []keyset.Key{
		{ID: "seal-1", Purpose: keyset.Seal, State: keyset.Retiring, Created: 1, Changed: 2},
		{ID: "index-1", Purpose: keyset.Index, State: keyset.Primary, Created: 1, Changed: 1},
		{ID: "seal-2", Purpose: keyset.Seal, State: keyset.Primary, Created: 1, Changed: 2},
	}
	if diff := cmp.Diff(want, r.Keys, cmpopts.EquateComparable(keyset.Key{}.Secret)); diff != "" {
		t.Errorf("the ring after the seal key was changed (-want +got):\n%s", diff)
	}
	if k, ok := r.Primary(keyset.Sign); ok {
		t.Errorf("Primary(sign) = %s in a ring that has none", k.ID)
	}
}

func TestAPrimaryIsRevokedOnlyWhenAnotherOfItsPurposeStandsReady(t *testing.T) {
	var r keyset.Ring
	r = must(r.Add(keyset.Key{ID: "a", Purpose: keyset.Sign}, false, 1))(t)
	r = must(r.Add(keyset.Key{ID: "x", Purpose: keyset.Seal}, false, 1))(t)
	r = must(r.Add(keyset.Key{ID: "y", Purpose: keyset.Seal}, false, 1))(t) // ready, but for another purpose
	if _, err := r.Revoke("a", 2); !errors.Is(err, keyset.ErrLast) {
		t.Fatalf("Revoke of the only signing key = %v, want ErrLast", err)
	}
	r = must(r.Add(keyset.Key{ID: "b", Purpose: keyset.Sign}, false, 3))(t)
	r = must(r.Revoke("a", 4))(t)
	if k, _ := r.Primary(keyset.Sign); k.ID != "b" || k.Changed != 4 {
		t.Errorf("after the revocation %q signs since %v, want b since 4", k.ID, k.Changed)
	}
	if k, _ := r.Primary(keyset.Seal); k.ID != "x" {
		t.Errorf("the primary seal key is %q, want x as before", k.ID)
	}
}

func TestRefusals(t *testing.T) {
	var r keyset.Ring
	r = must(r.Add(keyset.Key{ID: "a", Purpose: keyset.Sign}, false, 1))(t)
	r = must(r.Add(keyset.Key{ID: "old", Purpose: keyset.Sign}, true, 1))(t)
	before := keyset.Ring{Name: r.Name, Keys: slices.Clone(r.Keys)}
	for name, c := range map[string]struct {
		do   func() (keyset.Ring, error)
		want error
	}{
		"add an id again":       {func() (keyset.Ring, error) { return r.Add(keyset.Key{ID: "a", Purpose: keyset.Seal}, false, 2) }, keyset.ErrDuplicate},
		"promote an unknown":    {func() (keyset.Ring, error) { return r.Promote("b", 2) }, keyset.ErrUnknown},
		"promote a retiring":    {func() (keyset.Ring, error) { return r.Promote("old", 2) }, keyset.ErrTransition},
		"promote the primary":   {func() (keyset.Ring, error) { return r.Promote("a", 2) }, keyset.ErrTransition},
		"drop the primary":      {func() (keyset.Ring, error) { return r.Drop("a", 2) }, keyset.ErrTransition},
		"revoke an unknown":     {func() (keyset.Ring, error) { return r.Revoke("b", 2) }, keyset.ErrUnknown},
		"revoke the last of it": {func() (keyset.Ring, error) { return r.Revoke("a", 2) }, keyset.ErrLast},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.do()
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if diff := cmp.Diff(before, got, cmpopts.EquateComparable(keyset.Key{}.Secret)); diff != "" {
				t.Errorf("a refused change changed the ring (-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever is asked of a ring: a purpose that ever had a primary has exactly one, a state is followed only by what may follow it, nothing
// leaves Revoked, and the ring that was asked stays as it was.
func TestALifeOfARing(t *testing.T) { rapid.Check(t, livesAsARing) }

// FuzzRing walks as TestALifeOfARing does, along ways that reach new code.
func FuzzRing(f *testing.F) {
	ways(f)
	f.Fuzz(rapid.MakeFuzz(livesAsARing))
}

func livesAsARing(t *rapid.T) {
	follows := map[keyset.State][]keyset.State{
		keyset.Next:     {keyset.Primary, keyset.Gone, keyset.Revoked},
		keyset.Primary:  {keyset.Retiring, keyset.Revoked},
		keyset.Retiring: {keyset.Gone, keyset.Revoked},
		keyset.Gone:     {keyset.Revoked},
	}
	var r keyset.Ring
	led := map[keyset.Purpose]bool{}
	ids := rapid.SampledFrom([]string{"1", "2", "3", "4", "5", "6"})
	purposes := rapid.SampledFrom([]keyset.Purpose{keyset.Sign, keyset.Seal})
	for step := range 30 {
		now := instant.Instant(step + 1)
		before := fmt.Sprint(r)
		kid, was := ids.Draw(t, "kid"), r
		var err error
		switch rapid.SampledFrom([]string{"add", "promote", "drop", "revoke"}).Draw(t, "what") {
		case "add":
			k := keyset.Key{ID: kid, Purpose: purposes.Draw(t, "purpose")}
			verifyOnly := rapid.Bool().Draw(t, "verifyOnly")
			if r, err = r.Add(k, verifyOnly, now); err == nil && !verifyOnly {
				led[k.Purpose] = true
			}
		case "promote":
			r, err = r.Promote(kid, now)
		case "drop":
			r, err = r.Drop(kid, now)
		case "revoke":
			r, err = r.Revoke(kid, now)
		}
		if fmt.Sprint(was) != before {
			t.Fatalf("the ring that was asked changed from %s to %v", before, was)
		}
		if err != nil && fmt.Sprint(r) != before {
			t.Fatalf("refused (%v), but the ring went from %s to %v", err, before, r)
		}
		primaries := map[keyset.Purpose]int{}
		for _, k := range r.Keys {
			if k.State == keyset.Primary {
				primaries[k.Purpose]++
			}
			if old, ok := was.Find(k.ID); ok && old.State != k.State {
				if !slices.Contains(follows[old.State], k.State) || k.Changed != now {
					t.Fatalf("key %s went from %v to %v at %v", k.ID, old.State, k.State, k.Changed)
				}
			}
		}
		for _, p := range []keyset.Purpose{keyset.Sign, keyset.Seal} {
			want := 0
			if led[p] {
				want = 1
			}
			if primaries[p] != want {
				t.Fatalf("%d primaries for %s, want %d: %v", primaries[p], p, want, r)
			}
			if k, ok := r.Primary(p); ok != led[p] || ok && k.Purpose != p {
				t.Fatalf("Primary(%s) = %v, %v", p, k, ok)
			}
		}
	}
}

func must(r keyset.Ring, err error) func(*testing.T) keyset.Ring {
	return func(t *testing.T) keyset.Ring {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
}

// ways adds walks that are long enough: what reads of an input that ends draws nothing more.
func ways(f *testing.F) {
	for i := range byte(4) {
		way := make([]byte, 8<<10)
		_, _ = rand.NewChaCha8([32]byte{i}).Read(way)
		f.Add(way)
	}
}
