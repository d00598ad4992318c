package porttest

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/ports"
)

// Trail proves a ports.Trail and a ports.TrailCare beside the ports.Events of the same store.
func Trail(t *testing.T, open Open) {
	sub(t, "a trail that has not begun has the zero head, and no links", func(t *testing.T) {
		s := opened(t, open)
		if h := headOf(t, s); h != (audit.Head{}) {
			t.Errorf("Head: got %+v", h)
		}
		checkLinks(t, s, nil)
	})
	sub(t, "Append adds links whole, and makes its checkpoint the head", func(t *testing.T) {
		s := opened(t, open)
		started := audit.Checkpoint{Purpose: audit.Headed, Chain: audit.ChainID{1}, Key: audit.KeyID{2}, Time: wall(), Head: audit.Hash{3}, Signature: [64]byte{4}}
		if err := s.Trail.Append(t.Context(), audit.Checkpoint{}, nil, started); err != nil {
			t.Fatalf("Append to begin: %v", err)
		}
		if h := headOf(t, s); h != (audit.Head{Last: started}) {
			t.Errorf("Head: got %+v, want %+v", h, started)
		}
		var all []audit.Link
		for _, n := range []int{1, 3, audit.MaxBatch} {
			all = append(all, linked(t, s, n)...)
			checkLinks(t, s, all)
		}
		is := headOf(t, s).Last
		next := is
		next.Position, next.Time = next.Position+7, next.Time+1
		if err := s.Trail.Append(t.Context(), is, nil, next); err != nil {
			t.Fatalf("Append of nothing: %v", err)
		}
		if h := headOf(t, s); h.Last != next {
			t.Errorf("Head: got %+v, want %+v", h.Last, next)
		}
		checkLinks(t, s, all)
	})
	sub(t, "List answers at most limit links behind a record", func(t *testing.T) {
		s := opened(t, open)
		all := linked(t, s, 30)
		for _, limit := range []int{1, 7, 30, 1000} {
			var got []audit.Link
			for after := uint64(0); ; {
				page, err := s.Trail.List(t.Context(), after, limit)
				if err != nil {
					t.Fatalf("List: %v", err)
				}
				if len(page) == 0 {
					break
				}
				if len(page) > limit {
					t.Fatalf("List with limit %d: got %d", limit, len(page))
				}
				got, after = append(got, page...), page[len(page)-1].Record.Seq
			}
			if diff := differ(all, got); diff != "" {
				t.Errorf("List by pages of %d (-want +got):\n%s", limit, diff)
			}
		}
		for _, after := range []uint64{30, 31, 1 << 62, 1<<64 - 1} {
			if page, err := s.Trail.List(t.Context(), after, 10); err != nil || len(page) > 0 {
				t.Errorf("List behind record %d: got %d links, error %v", after, len(page), err)
			}
		}
	})
	sub(t, "Append behind a head that is not the head any more is ErrTaken, and stores nothing", func(t *testing.T) {
		s := opened(t, open)
		all := linked(t, s, 2)
		was := headOf(t, s).Last
		all = append(all, linked(t, s, 1)...)
		is := headOf(t, s)
		other := was
		other.Position++
		for _, stale := range []audit.Checkpoint{{}, was, other} {
			links, next := behind(stale, newEvents(1), 0)
			if err := s.Trail.Append(t.Context(), stale, links, next); !errors.Is(err, ports.ErrTaken) {
				t.Errorf("Append behind another head: got error %v, want ErrTaken", err)
			}
		}
		if h := headOf(t, s); h != is {
			t.Errorf("Head: got %+v, want %+v", h, is)
		}
		checkLinks(t, s, all)
	})
	sub(t, "of concurrent appends behind one head exactly one succeeds", func(t *testing.T) {
		s := opened(t, open)
		all := linked(t, s, 1)
		was := headOf(t, s).Last
		var won atomic.Int64
		links, nexts, mine := make([][]audit.Link, crowd), make([]audit.Checkpoint, crowd), make([]bool, crowd)
		for i := range links {
			links[i], nexts[i] = behind(was, newEvents(1+i%3), 0)
		}
		together(crowd, func(i int) {
			switch err := s.Trail.Append(t.Context(), was, links[i], nexts[i]); {
			case err == nil:
				won.Add(1)
				mine[i] = true
			case !errors.Is(err, ports.ErrTaken):
				t.Errorf("Append: got error %v, want ErrTaken", err)
			}
		})
		if n := won.Load(); n != 1 {
			t.Fatalf("concurrent appends: got %d successes, want 1", n)
		}
		for i := range mine {
			if mine[i] {
				checkLinks(t, s, append(all, links[i]...))
				if h := headOf(t, s); h.Last != nexts[i] {
					t.Errorf("Head: got %+v, want that of the one who won", h.Last)
				}
			}
		}
	})
	sub(t, "what does not follow is refused, and nothing is stored", func(t *testing.T) {
		s := opened(t, open)
		all := linked(t, s, 3)
		is := headOf(t, s)
		for what, change := range map[string]func([]audit.Link, *audit.Checkpoint) []audit.Link{
			"a gap before the links":    func(l []audit.Link, _ *audit.Checkpoint) []audit.Link { return l[1:] },
			"a gap in the links":        func(l []audit.Link, _ *audit.Checkpoint) []audit.Link { return append(l[:1:1], l[2:]...) },
			"a head of a record before": func(l []audit.Link, c *audit.Checkpoint) []audit.Link { c.Seq--; return l },
			"a head of a record behind": func(l []audit.Link, c *audit.Checkpoint) []audit.Link { c.Seq++; return l },
			"a head that is none":       func(l []audit.Link, c *audit.Checkpoint) []audit.Link { c.Purpose = audit.Cut; return l },
			"links, but a zero head":    func(l []audit.Link, c *audit.Checkpoint) []audit.Link { *c = audit.Checkpoint{}; return l },
			"more links than go at once": func(_ []audit.Link, c *audit.Checkpoint) []audit.Link {
				links, next := behind(is.Last, newEvents(audit.MaxBatch+1), 0)
				*c = next
				return links
			},
		} {
			links, next := behind(is.Last, newEvents(3), 0)
			links = change(links, &next)
			if err := s.Trail.Append(t.Context(), is.Last, links, next); err == nil || errors.Is(err, ports.ErrTaken) {
				t.Errorf("Append of %s: got error %v, want one", what, err)
			}
		}
		if h := headOf(t, s); h != is {
			t.Errorf("Head: got %+v, want %+v", h, is)
		}
		checkLinks(t, s, all)
	})
	sub(t, "Erase takes the salts, and what is personal of the events, and nothing else", func(t *testing.T) {
		s := opened(t, open)
		all := append(linked(t, s, 9), linked(t, s, 5)...)
		told := trail(t, s.Events)
		gone := []uint64{2, 9, 14, 2, 99}
		if n, err := s.TrailCare.Erase(t.Context(), gone...); err != nil || n != 3 {
			t.Fatalf("Erase: got %d, error %v, want 3", n, err)
		}
		for _, seq := range gone[:3] {
			all[seq-1].Salt = audit.Salt{}
			told[seq-1].Erase()
		}
		checkLinks(t, s, all)
		if diff := differ(told, trail(t, s.Events)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if n, err := s.TrailCare.Erase(t.Context(), gone...); err != nil || n != 0 {
			t.Errorf("Erase again: got %d, error %v, want 0", n, err)
		}
		all = append(all, linked(t, s, 1)...)
		checkLinks(t, s, all)
	})
	sub(t, "Erase finds events that are stored twice, and is not kept by one that is missing", func(t *testing.T) {
		s := opened(t, open)
		e := newEvent()
		begun, next := behind(headOf(t, s).Last, []audit.Event{e, e, newEvent()}, 0)
		if err := s.Events.Record(t.Context(), e, e); err != nil {
			t.Fatal(err)
		}
		trail(t, s.Events) // only what was listed is linked
		if err := s.Trail.Append(t.Context(), headOf(t, s).Last, begun, next); err != nil {
			t.Fatal(err)
		}
		if n, err := s.TrailCare.Erase(t.Context(), 1, 2, 3); err != nil || n != 3 {
			t.Fatalf("Erase: got %d, error %v, want 3", n, err)
		}
		e.Erase()
		if diff := differ([]audit.Event{e, e}, trail(t, s.Events)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
	sub(t, "Erase is not kept by an event that cannot be read, and erases the others of its batch", func(t *testing.T) {
		s := opened(t, open)
		all := linked(t, s, 4)
		_, second, err := s.Events.List(t.Context(), 0, 2)
		if err != nil {
			t.Fatal(err)
		}
		s.Spoil(t, second)
		told := trail(t, s.Events)
		if n, err := s.TrailCare.Erase(t.Context(), 2, 3); err != nil || n != 2 {
			t.Fatalf("Erase: got %d, error %v, want 2", n, err)
		}
		all[1].Salt, all[2].Salt = audit.Salt{}, audit.Salt{}
		checkLinks(t, s, all)
		told[2].Erase()
		if diff := differ(told, trail(t, s.Events)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
	sub(t, "Cut takes away the oldest records and their events, and the rest goes on", func(t *testing.T) {
		s := opened(t, open)
		all := append(append(linked(t, s, 7), linked(t, s, 5)...), linked(t, s, 3)...)
		told := trail(t, s.Events)
		at := func(seq uint64) audit.Checkpoint {
			return audit.Checkpoint{Purpose: audit.Cut, Chain: audit.ChainID{1}, Time: wall(), Seq: seq, Head: all[min(seq, 15)-1].Record.Hash(), Signature: [64]byte{9}}
		}
		for _, wrong := range []audit.Checkpoint{at(15), at(16), {Purpose: audit.Headed, Seq: 7}, {Purpose: audit.Cut}} {
			if err := s.TrailCare.Cut(t.Context(), wrong); err == nil {
				t.Errorf("Cut at record %d of 15: got no error", wrong.Seq)
			}
		}
		checkLinks(t, s, all)
		first := at(7)
		for range 2 {
			if err := s.TrailCare.Cut(t.Context(), first); err != nil {
				t.Fatalf("Cut: %v", err)
			}
			if h := headOf(t, s); h.Cut != first || h.Last.Seq != 15 {
				t.Errorf("Head: got %+v", h)
			}
			checkLinks(t, s, all[7:])
			if diff := differ(told[7:], trail(t, s.Events)); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		}
		if err := s.TrailCare.Cut(t.Context(), at(3)); err == nil {
			t.Error("Cut before the one that stands: got no error")
		}
		second := at(14)
		if err := s.TrailCare.Cut(t.Context(), second); err != nil {
			t.Fatalf("Cut: %v", err)
		}
		checkLinks(t, s, all[14:])
		all = append(all, linked(t, s, 2)...)
		checkLinks(t, s, all[14:])
		if h := headOf(t, s); h.Cut != second || h.Last.Seq != 17 {
			t.Errorf("Head: got %+v", h)
		}
	})
	sub(t, "a trail may begin behind any record, and be cut there", func(t *testing.T) {
		s := opened(t, open)
		begun := audit.Checkpoint{Purpose: audit.Headed, Seq: 30, Head: audit.Hash{7}}
		if err := s.Trail.Append(t.Context(), audit.Checkpoint{}, nil, begun); err != nil {
			t.Fatalf("Append to begin behind record 30: %v", err)
		}
		all := append(linked(t, s, 3), linked(t, s, 2)...)
		cut := audit.Checkpoint{Purpose: audit.Cut, Seq: 30, Head: audit.Hash{7}}
		if err := s.TrailCare.Cut(t.Context(), cut); err != nil {
			t.Fatalf("Cut: %v", err)
		}
		checkLinks(t, s, all)
		if h := headOf(t, s); h.Cut != cut || h.Last.Seq != 35 {
			t.Errorf("Head: got %+v", h)
		}
		cut = audit.Checkpoint{Purpose: audit.Cut, Seq: 33, Head: all[2].Record.Hash()}
		if err := s.TrailCare.Cut(t.Context(), cut); err != nil {
			t.Fatalf("Cut: %v", err)
		}
		checkLinks(t, s, all[3:])
	})
	sub(t, "links are the caller's own: what is changed after the call is not changed in the store", func(t *testing.T) {
		s := opened(t, open)
		linked(t, s, 1)
		was := headOf(t, s).Last
		events := newEvents(2)
		links, next := behind(was, events, 0)
		want, _ := behind(was, events, 0)
		for i := range want {
			*want[i].Checkpoint = *links[i].Checkpoint
		}
		if err := s.Trail.Append(t.Context(), was, links, next); err != nil {
			t.Fatal(err)
		}
		links[0].Checkpoint.Seq, links[1] = 99, audit.Link{}
		got, err := s.Trail.List(t.Context(), 1, 9)
		if diff := differ(want, got); err != nil || diff != "" {
			t.Errorf("List: error %v (-want +got):\n%s", err, diff)
		}
		got[0].Checkpoint.Seq, got[1] = 99, audit.Link{}
		if got, err = s.Trail.List(t.Context(), 1, 9); err != nil || differ(want, got) != "" {
			t.Errorf("List again: error %v, or what was changed", err)
		}
	})
	sub(t, "a context that has ended ends every call with its error", func(t *testing.T) {
		s := opened(t, open)
		linked(t, s, 3)
		is := headOf(t, s).Last
		links, next := behind(is, newEvents(1), 0)
		ended(t, map[string]func(context.Context) error{
			"Append": func(ctx context.Context) error { return s.Trail.Append(ctx, is, links, next) },
			"Head":   func(ctx context.Context) error { _, err := s.Trail.Head(ctx); return err },
			"List":   func(ctx context.Context) error { _, err := s.Trail.List(ctx, 0, 1); return err },
			"Erase":  func(ctx context.Context) error { _, err := s.TrailCare.Erase(ctx, 1); return err },
			"Cut": func(ctx context.Context) error {
				return s.TrailCare.Cut(ctx, audit.Checkpoint{Purpose: audit.Cut, Seq: 1})
			},
		})
	})
}

// behind are links of events behind a head, each with a checkpoint, and the next head. The store's own events begin behind the position of the head.
func behind(was audit.Checkpoint, events []audit.Event, position uint64) ([]audit.Link, audit.Checkpoint) {
	salts := make([]audit.Salt, len(events))
	for i := range salts {
		salts[i] = audit.Salt{byte(i + 1), 31: 1}
	}
	links := was.Chained(events, salts)
	next := was
	for i := range links {
		links[i].Behind = was.Position
		next = audit.Checkpoint{Purpose: audit.Headed, Chain: audit.ChainID{1, 15: 2}, Key: audit.KeyID{3}, Time: wall(), Seq: links[i].Record.Seq, Head: links[i].Record.Hash(), Position: position, Signature: [64]byte{5, 63: 6}}
		signed := next
		links[i].Checkpoint = &signed
	}
	return links, next
}

// linked records n events and links them behind the head.
func linked(t testing.TB, s Store, n int) []audit.Link {
	t.Helper()
	was := headOf(t, s).Last
	events := newEvents(n)
	if err := s.Events.Record(t.Context(), events...); err != nil {
		t.Fatalf("Record: %v", err)
	}
	read, last, err := s.Events.List(t.Context(), was.Position, n)
	if err != nil || differ(events, read) != "" {
		t.Fatalf("List of the events to be linked: got %d of %d, error %v", len(read), n, err)
	}
	links, next := behind(was, events, last)
	if err := s.Trail.Append(t.Context(), was, links, next); err != nil {
		t.Fatalf("Append: %v", err)
	}
	return links
}

func headOf(t testing.TB, s Store) audit.Head {
	t.Helper()
	h, err := s.Trail.Head(t.Context())
	if err != nil {
		t.Fatalf("Head: %v", err)
	}
	return h
}

func checkLinks(t testing.TB, s Store, want []audit.Link) {
	t.Helper()
	got, err := s.Trail.List(t.Context(), 0, 1<<20)
	if err != nil {
		t.Fatalf("List: %v", err)
	}
	if diff := differ(want, got); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
}
