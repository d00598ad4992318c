package porttest

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/xteam/xteam/ports"
)

// newCursor is one of that name with something in every field.
func newCursor(name string) ports.Cursor {
	return ports.Cursor{Name: name, Position: 1<<62 + 7, Holder: "node 1", Tries: 3, Again: wall(), State: []byte{0, 1, 255}}
}

func swap(t testing.TB, s Store, c ports.Cursor) ports.Cursor {
	t.Helper()
	kept, err := s.Cursors.Swap(t.Context(), c)
	if err != nil {
		t.Fatalf("Swap: %v", err)
	}
	want := c
	want.Revision++
	if diff := cmp.Diff(want, kept, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("Swap (-want +got):\n%s", diff)
	}
	return kept
}

func checkCursor(t testing.TB, s Store, want ports.Cursor) {
	t.Helper()
	got, err := s.Cursors.Find(t.Context(), want.Name)
	if err != nil {
		t.Fatalf("Find: %v", err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("Find (-want +got):\n%s", diff)
	}
}

// Cursors proves a ports.Cursors.
func Cursors(t *testing.T, open Open) {
	sub(t, "a cursor that was never kept has its name, and is else zero", func(t *testing.T) {
		checkCursor(t, opened(t, open), ports.Cursor{Name: "none"})
	})
	sub(t, "what was kept last is answered, with a revision that rises by one", func(t *testing.T) {
		s := opened(t, open)
		c := newCursor("a")
		for _, next := range []func(*ports.Cursor){
			func(*ports.Cursor) {},
			func(c *ports.Cursor) { c.Position, c.Holder, c.Tries, c.Again, c.State = 0, "", 0, 0, nil },
			func(*ports.Cursor) {}, // the same once more
			func(c *ports.Cursor) { c.State = []byte(strings.Repeat("\xff", ports.MaxCursorState)) },
			func(c *ports.Cursor) { c.Holder, c.State = "né\n\"", []byte{0} },
		} {
			next(&c)
			c = swap(t, s, c)
			checkCursor(t, s, c)
		}
		if c.Revision != 5 {
			t.Errorf("the revision after five swaps: got %d", c.Revision)
		}
	})
	sub(t, "each name has a cursor of its own", func(t *testing.T) {
		s := opened(t, open)
		a, long := swap(t, s, newCursor("a")), swap(t, s, newCursor("a/b:"+strings.Repeat("c", 100)))
		a.Position = 1
		a = swap(t, s, a)
		checkCursor(t, s, a)
		checkCursor(t, s, long)
		checkCursor(t, s, ports.Cursor{Name: "a/"})
	})
	sub(t, "Swap of another revision than the kept one is ErrTaken, and stores nothing", func(t *testing.T) {
		s := opened(t, open)
		later := newCursor("a")
		later.Revision = 1
		if _, err := s.Cursors.Swap(t.Context(), later); !errors.Is(err, ports.ErrTaken) {
			t.Errorf("Swap of a later revision than none: got error %v, want ErrTaken", err)
		}
		checkCursor(t, s, ports.Cursor{Name: "a"})
		c := swap(t, s, swap(t, s, newCursor("a")))
		for _, revision := range []uint64{0, 1, 3, 1 << 40} {
			other := newCursor("a")
			other.Revision, other.Position = revision, 99
			if _, err := s.Cursors.Swap(t.Context(), other); !errors.Is(err, ports.ErrTaken) {
				t.Errorf("Swap of revision %d for 2: got error %v, want ErrTaken", revision, err)
			}
		}
		checkCursor(t, s, c)
	})
	sub(t, "of concurrent swaps of one revision exactly one succeeds", func(t *testing.T) {
		s := opened(t, open)
		c := ports.Cursor{Name: "a"}
		for range 3 { // the first is of a cursor that is not there
			var won atomic.Int64
			together(crowd, func(i int) {
				mine := c
				mine.Position = uint64(i) + 1
				switch _, err := s.Cursors.Swap(t.Context(), mine); {
				case err == nil:
					won.Add(int64(i) + 1 + 1000)
				case !errors.Is(err, ports.ErrTaken):
					t.Errorf("Swap: got error %v, want ErrTaken", err)
				}
			})
			if n := won.Load(); n < 1000 || n >= 2000 {
				t.Fatalf("concurrent swaps: got %d successes, want 1", n/1000)
			}
			c.Position, c.Revision = uint64(won.Load()-1000), c.Revision+1
			checkCursor(t, s, c)
		}
	})
	sub(t, "a state that is too long, and a cursor without a name, are errors, and nothing is stored", func(t *testing.T) {
		s := opened(t, open)
		c := swap(t, s, newCursor("a"))
		long, nameless := c, c
		long.State, nameless.Name, nameless.Revision = make([]byte, ports.MaxCursorState+1), "", 0
		for name, bad := range map[string]ports.Cursor{"a long state": long, "no name": nameless} {
			if _, err := s.Cursors.Swap(t.Context(), bad); err == nil || errors.Is(err, ports.ErrTaken) || errors.Is(err, ports.ErrUnavailable) {
				t.Errorf("Swap with %s: got error %v, want one that says so", name, err)
			}
		}
		checkCursor(t, s, c)
	})
	sub(t, "values are the caller's own", func(t *testing.T) {
		s := opened(t, open)
		given := newCursor("a")
		kept := swap(t, s, given)
		want := newCursor("a")
		want.Revision, want.Again = 1, given.Again
		given.State[0], kept.State[1] = 9, 9
		checkCursor(t, s, want)
		got, err := s.Cursors.Find(t.Context(), "a")
		if err != nil {
			t.Fatalf("Find: %v", err)
		}
		got.State[0] = 9
		checkCursor(t, s, want)
	})
	sub(t, "a context that has ended ends a call", func(t *testing.T) {
		s := opened(t, open)
		ended(t, map[string]func(context.Context) error{
			"Find": func(ctx context.Context) error { _, err := s.Cursors.Find(ctx, "a"); return err },
			"Swap": func(ctx context.Context) error { _, err := s.Cursors.Swap(ctx, newCursor("a")); return err },
		})
	})
}
