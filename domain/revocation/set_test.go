package revocation_test

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/token"
)

// oracle is the set as one would write it without a thought of speed: the entries by their keys.
type oracle map[string]revocation.Entry

func (o oracle) add(e revocation.Entry) (news bool) {
	e.By, e.Note = "", ""
	old, ok := o[e.Key()]
	if ok {
		if old.At < e.At || old.At == e.At && old.Reason < e.Reason {
			e.At, e.Reason = old.At, old.Reason
		}
		e.Until = max(e.Until, old.Until)
	}
	o[e.Key()] = e
	return !ok || old != e
}

func (o oracle) sweep(now instant.Instant) (gone int) {
	for k, e := range o {
		if e.Until < now {
			delete(o, k)
			gone++
		}
	}
	return gone
}

func (o oracle) withdraws(c *token.Claims) (revocation.Verdict, bool) {
	var first *revocation.Entry
	for _, e := range o {
		if !names(&e, c) {
			continue
		}
		if first == nil || e.At < first.At || e.At == first.At && (e.Kind < first.Kind || e.Kind == first.Kind && e.Reason < first.Reason) {
			first = &e
		}
	}
	if first == nil {
		return revocation.Verdict{}, false
	}
	return revocation.Verdict{Kind: first.Kind, Reason: first.Reason, At: first.At}, true
}

func names(e *revocation.Entry, c *token.Claims) bool {
	if !c.APIKey.IsZero() && e.Kind != revocation.User && e.Kind != revocation.APIKey {
		return false // an API key is no token: what names tokens does not name it
	}
	switch e.Kind {
	case revocation.Token:
		return e.Token == c.ID
	case revocation.Session:
		return e.Session == c.Session
	case revocation.User:
		return e.User == c.Subject && c.Generation < e.Min
	case revocation.Key:
		return e.KeyID == c.KeyID
	case revocation.Epoch:
		return c.Epoch < e.Epoch
	case revocation.IssuedBefore:
		return c.IssuedAt <= e.Before
	case revocation.APIKey:
		return e.APIKey == c.APIKey
	}
	return false
}

func (o oracle) sorted() []revocation.Entry {
	var list []revocation.Entry
	for _, e := range o {
		list = append(list, e)
	}
	return sorted(list)
}

func sorted(list []revocation.Entry) []revocation.Entry {
	slices.SortFunc(list, func(a, b revocation.Entry) int { return strings.Compare(a.Key(), b.Key()) })
	return list
}

// idOf makes few ids, some of which share a word or have a word of zeros, as nobody draws but an operator can type.
func idOf(n int) (v [16]byte) {
	binary.LittleEndian.PutUint64(v[:8], uint64(n%4)<<40)
	binary.LittleEndian.PutUint64(v[8:], uint64(n/4))
	if v == [16]byte{} {
		v[15] = 0xff
	}
	return v
}

const ids = 24

// kinds has the one with the most to it more than once.
var kinds = []revocation.Kind{revocation.User, revocation.User, revocation.User, revocation.Token, revocation.Session,
	revocation.Key, revocation.Epoch, revocation.IssuedBefore, revocation.APIKey}

func entries() *rapid.Generator[revocation.Entry] {
	return rapid.Custom(func(t *rapid.T) revocation.Entry {
		e := revocation.Entry{
			Kind:   rapid.SampledFrom(kinds).Draw(t, "kind"),
			Reason: revocation.Reason(rapid.IntRange(1, 10).Draw(t, "reason")),
			At:     instant.Instant(rapid.IntRange(1, 6).Draw(t, "at")),
			By:     "operator",
			Note:   "a note",
		}
		e.Until = e.At + instant.Instant(rapid.IntRange(1, 40).Draw(t, "life"))
		switch n := rapid.IntRange(0, ids-1).Draw(t, "id"); e.Kind {
		case revocation.Token:
			e.Token = idOf(n)
		case revocation.Session:
			e.Session = idOf(n)
		case revocation.User:
			e.User = idOf(n % 4)
			e.Min = token.Generation(rapid.IntRange(1, 6).Draw(t, "min"))
		case revocation.Key:
			e.KeyID, e.Until = fmt.Sprint("k", n), instant.Forever
		case revocation.Epoch:
			e.Epoch, e.Until = token.Epoch(n%5+1), instant.Forever
		case revocation.IssuedBefore:
			e.Before = e.At - instant.Instant(rapid.IntRange(0, int(e.At)-1).Draw(t, "before"))
		case revocation.APIKey:
			e.APIKey = idOf(n)
		}
		if err := e.Validate(); err != nil {
			t.Fatalf("the generator makes what is not valid: %v: %+v", err, e)
		}
		return e
	})
}

func claims() *rapid.Generator[token.Claims] {
	return rapid.Custom(func(t *rapid.T) token.Claims {
		c := token.Claims{
			ID:         idOf(rapid.IntRange(0, ids-1).Draw(t, "jti")),
			Session:    idOf(rapid.IntRange(0, ids-1).Draw(t, "sid")),
			Subject:    idOf(rapid.IntRange(0, 3).Draw(t, "sub")),
			Generation: token.Generation(rapid.IntRange(0, 6).Draw(t, "gen")),
			KeyID:      fmt.Sprint("k", rapid.IntRange(0, ids-1).Draw(t, "kid")),
			Epoch:      token.Epoch(rapid.SampledFrom([]int{5, 5, 4, 3, 2, 1, 0}).Draw(t, "ep")),
			IssuedAt:   instant.Instant(rapid.IntRange(1, 8).Draw(t, "iat")),
		}
		if rapid.Bool().Draw(t, "is an API key") {
			c.APIKey = idOf(rapid.IntRange(0, ids-1).Draw(t, "API key"))
		}
		return c
	})
}

func same(t *rapid.T, set *revocation.Set, want oracle) {
	t.Helper()
	if got, want := sorted(slices.Collect(set.All())), want.sorted(); !slices.Equal(got, want) {
		t.Fatalf("All (-want +got):\n%s", cmp.Diff(want, got))
	}
	if got := set.Len(); got != len(want) {
		t.Fatalf("Len() = %d, want %d", got, len(want))
	}
	epoch := token.Epoch(0)
	for _, e := range want {
		epoch = max(epoch, e.Epoch)
	}
	if got := set.Epoch(); got != epoch {
		t.Fatalf("Epoch() = %d, want %d", got, epoch)
	}
	for n := range ids {
		kid := fmt.Sprint("k", n)
		_, revoked := want[string(revocation.Key)+kid]
		if got := set.KeyRevoked(kid); got != revoked {
			t.Fatalf("KeyRevoked(%q) = %t, want %t", kid, got, revoked)
		}
	}
}

// sameVerdicts asks for whatever one kind of entry can name, by itself.
func sameVerdicts(t *rapid.T, set *revocation.Set, want oracle) {
	t.Helper()
	const last = 1 << 40 // beyond every epoch and time of an entry
	for n := range ids {
		sameVerdict(t, set, want, &token.Claims{ID: idOf(n), Epoch: last, IssuedAt: last})
		sameVerdict(t, set, want, &token.Claims{Session: idOf(n), Epoch: last, IssuedAt: last})
		sameVerdict(t, set, want, &token.Claims{KeyID: fmt.Sprint("k", n), Epoch: last, IssuedAt: last})
		sameVerdict(t, set, want, &token.Claims{Subject: idOf(n % 4), Generation: token.Generation(n / 4), Epoch: last, IssuedAt: last})
		sameVerdict(t, set, want, &token.Claims{Epoch: token.Epoch(n), IssuedAt: last})
		sameVerdict(t, set, want, &token.Claims{Epoch: last, IssuedAt: instant.Instant(n)})
		sameVerdict(t, set, want, &token.Claims{APIKey: idOf(n), Epoch: last, IssuedAt: last})
	}
}

func sameVerdict(t *rapid.T, set *revocation.Set, want oracle, c *token.Claims) {
	t.Helper()
	gotV, got := set.Withdraws(c)
	wantV, wanted := want.withdraws(c)
	if got != wanted || gotV != wantV {
		t.Fatalf("Withdraws(%+v) = %+v, %t, want %+v, %t", *c, gotV, got, wantV, wanted)
	}
}

func TestSetIsAMapOfItsEntries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set, want := revocation.NewSet(), oracle{}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				for _, e := range rapid.SliceOfN(entries(), 1, 5).Draw(t, "entries") {
					news := want.add(e)
					if got := set.Add(e); got != news {
						t.Fatalf("Add(%+v) = %t, want %t", e, got, news)
					}
				}
			},
			"sweep": func(t *rapid.T) {
				now := instant.Instant(rapid.IntRange(0, 30).Draw(t, "now"))
				if got, gone := set.Sweep(now), want.sweep(now); got != gone {
					t.Fatalf("Sweep(%d) = %d, want %d", now, got, gone)
				}
			},
			"check": func(t *rapid.T) {
				c := claims().Draw(t, "claims")
				sameVerdict(t, set, want, &c)
			},
			"": func(t *rapid.T) {
				same(t, set, want)
				sameVerdicts(t, set, want)
			},
		})
	})
}

// TestSetIsAUnion deals the same entries, with repetitions, in any order to several sets, some of them swept before, and joins those.
func TestSetIsAUnion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(entries(), 1, 60).Draw(t, "entries")
		want := oracle{}
		for _, e := range list {
			want.add(e)
		}
		parts := make([]*revocation.Set, rapid.IntRange(1, 4).Draw(t, "parts"))
		for i := range parts {
			parts[i] = revocation.NewSet()
		}
		repeated := append(rapid.SliceOf(rapid.SampledFrom(list)).Draw(t, "repeated"), list...)
		for i, e := range rapid.Permutation(repeated).Draw(t, "order") {
			parts[i%len(parts)].Add(e)
		}
		joined := revocation.NewSet()
		for _, i := range rapid.Permutation(indexes(len(parts))).Draw(t, "joined") {
			for e := range parts[i].All() {
				joined.Add(e)
			}
		}
		now := instant.Instant(rapid.IntRange(0, 47).Draw(t, "now"))
		want.sweep(now)
		joined.Sweep(now)
		same(t, joined, want)
		sameVerdicts(t, joined, want)
		for _, c := range rapid.SliceOfN(claims(), 1, 20).Draw(t, "claims") {
			sameVerdict(t, joined, want, &c)
		}
	})
}

func indexes(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// permutations calls fn with every order of list.
func permutations[T any](list []T, fn func([]T)) {
	var from func(int)
	from = func(k int) {
		if k == len(list) {
			fn(list)
			return
		}
		for i := k; i < len(list); i++ {
			list[k], list[i] = list[i], list[k]
			from(k + 1)
			list[k], list[i] = list[i], list[k]
		}
	}
	from(0)
}

// CVE-2026-8922, CVE-2026-18218: of several cut-offs the wrong one won.
func TestEveryOrderOfRevocationsGivesOneVerdict(t *testing.T) {
	c := token.Claims{KeyID: "k1", ID: idOf(1), Session: idOf(2), Subject: idOf(3), Generation: 4, IssuedAt: 50}
	four := []revocation.Entry{
		{Kind: revocation.Token, Token: c.ID, Reason: revocation.Logout, At: 100, Until: 900},
		{Kind: revocation.Session, Session: c.Session, Reason: revocation.RefreshReuse, At: 100, Until: 900},
		{Kind: revocation.User, User: c.Subject, Min: 5, Reason: revocation.PasswordChanged, At: 100, Until: 900},
		{Kind: revocation.Key, KeyID: c.KeyID, Reason: revocation.KeyRevoked, At: 100, Until: instant.Forever},
	}
	for earliest := range five(four) {
		list := slices.Clone(four)
		want := revocation.Verdict{Kind: revocation.Token, Reason: revocation.Logout, At: 100} // all at once: the order of the kinds
		if earliest < len(list) {
			list[earliest].At = 99
			want = revocation.Verdict{Kind: list[earliest].Kind, Reason: list[earliest].Reason, At: 99}
		}
		orders := 0
		permutations(list, func(order []revocation.Entry) {
			orders++
			set := revocation.NewSet()
			for i, e := range order {
				set.Add(e)
				if _, ok := set.Withdraws(&c); !ok {
					t.Fatalf("after %d of %v the token is taken", i+1, order)
				}
			}
			if got, _ := set.Withdraws(&c); got != want {
				t.Fatalf("%v: got %+v, want %+v", order, got, want)
			}
		})
		if orders != 24 {
			t.Fatalf("%d orders, want 24", orders)
		}
	}
}

func five(four []revocation.Entry) []struct{} { return make([]struct{}, len(four)+1) }

// CVE-2020-26892: a revocation was compared with the wrong clock. Generations know none.
func TestANewSignInInTheMicrosecondOfTheRevocationIsGood(t *testing.T) {
	set := revocation.NewSet()
	for g := token.Generation(0); g < 1000; g++ {
		set.Add(revocation.Entry{Kind: revocation.User, User: idOf(1), Min: g + 1, Reason: revocation.UserRevoked, At: 7, Until: 9})
		older, newer := token.Claims{Subject: idOf(1), Generation: g, IssuedAt: 7}, token.Claims{Subject: idOf(1), Generation: g + 1, IssuedAt: 7}
		if _, ok := set.Withdraws(&older); !ok {
			t.Fatalf("generation %d is taken", g)
		}
		if v, ok := set.Withdraws(&newer); ok {
			t.Fatalf("generation %d is refused: %+v", g+1, v)
		}
	}
}

func TestWhatNamesNothingIsNothing(t *testing.T) {
	set := revocation.NewSet()
	for _, e := range []revocation.Entry{
		{}, {Kind: 8}, {Kind: revocation.APIKey}, {Kind: revocation.Token}, {Kind: revocation.Session}, {Kind: revocation.User, Min: 1},
		{Kind: revocation.User, User: idOf(1)}, {Kind: revocation.User, User: idOf(1), Min: -1},
		{Kind: revocation.Key}, {Kind: revocation.Epoch}, {Kind: revocation.IssuedBefore},
	} {
		e.Reason, e.At, e.Until = revocation.Logout, 1, 2
		if set.Add(e) {
			t.Errorf("Add(%+v) = true, want false", e)
		}
	}
	if got := set.Len(); got != 0 {
		t.Errorf("Len() = %d, want 0", got)
	}
	if v, ok := set.Withdraws(&token.Claims{}); ok {
		t.Errorf("claims of zeros are withdrawn: %+v", v)
	}
}

func TestWhatIsKeptForEver(t *testing.T) {
	set := revocation.NewSet()
	set.Add(revocation.Entry{Kind: revocation.Key, KeyID: "k", Reason: revocation.KeyRevoked, At: 1, Until: 2})
	set.Add(revocation.Entry{Kind: revocation.Epoch, Epoch: 3, Reason: revocation.EpochRaised, At: 1, Until: 2})
	set.Add(revocation.Entry{Kind: revocation.Token, Token: idOf(1), Reason: revocation.Logout, At: 1, Until: instant.Forever})
	if gone := set.Sweep(instant.Forever); gone != 0 {
		t.Errorf("Sweep forgot %d entries, want 0", gone)
	}
	if !set.KeyRevoked("k") || set.Epoch() != 3 || set.Len() != 3 {
		t.Errorf("KeyRevoked, Epoch, Len = %t, %d, %d, want true, 3, 3", set.KeyRevoked("k"), set.Epoch(), set.Len())
	}
	for e := range set.All() {
		if e.Until != instant.Forever {
			t.Errorf("%v ends at %v", e.Kind, e.Until)
		}
	}
}

// The time is kept to the microsecond, today and at the ends of the range.
func TestTimesAreExact(t *testing.T) {
	for _, at := range []instant.Instant{1, 1_790_000_000_123_456, 1_790_000_000_123_457, 1<<56 - 2} {
		for _, until := range []instant.Instant{at + 1, instant.Forever - 1, instant.Forever} {
			set := revocation.NewSet()
			e := revocation.Entry{Kind: revocation.Session, Session: idOf(5), Reason: revocation.SessionEnded, At: at, Until: until}
			set.Add(e)
			if diff := cmp.Diff([]revocation.Entry{e}, slices.Collect(set.All())); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got := set.Sweep(until); got != 0 {
				t.Errorf("Sweep at Until forgot %d, want 0", got)
			}
		}
	}
}

// An operator can enter any id. Whatever the ids have in common, the table stays a table: were the place of an id a plain part of
// it, the ids of one of these rows would make one heap, and looking all of them up would take half an hour.
func TestIDsThatCollideStayFast(t *testing.T) {
	const n = 100_000
	for name, make := range map[string]func(uint64) [16]byte{
		"first word zero":   func(i uint64) [16]byte { return words(0, i+1) },
		"first word equal":  func(i uint64) [16]byte { return words(0x0102030405060708, i) },
		"second word zero":  func(i uint64) [16]byte { return words(i+1, 0) },
		"second word equal": func(i uint64) [16]byte { return words(i<<40|1, 9) },
		"low bits":          func(i uint64) [16]byte { return words(i+1, i) },
	} {
		t.Run(name, func(t *testing.T) {
			set := revocation.NewSet()
			for i := range uint64(n) {
				if !set.Add(revocation.Entry{Kind: revocation.Token, Token: make(i), Reason: revocation.Logout, At: 1, Until: 2}) {
					t.Fatalf("id %d is taken for another", i)
				}
			}
			for i := range uint64(n) {
				if _, ok := set.Withdraws(&token.Claims{ID: make(i)}); !ok {
					t.Fatalf("id %d is not found", i)
				}
				if _, ok := set.Withdraws(&token.Claims{ID: make(i + n)}); ok {
					t.Fatalf("id %d is taken for another", i+n)
				}
			}
			if gone := set.Sweep(3); gone != n || set.Len() != 0 {
				t.Errorf("Sweep = %d with %d left, want %d and 0", gone, set.Len(), n)
			}
		})
	}
}

func words(a, b uint64) (v [16]byte) {
	binary.LittleEndian.PutUint64(v[:8], a)
	binary.LittleEndian.PutUint64(v[8:], b)
	return v
}

func TestWithdrawsAllocatesNothing(t *testing.T) {
	set := revocation.NewSet()
	c := token.Claims{KeyID: "k1", ID: idOf(1), Session: idOf(2), Subject: idOf(3), IssuedAt: 60}
	check := func() { set.Withdraws(&c) }
	if got := testing.AllocsPerRun(100, check); got != 0 {
		t.Errorf("%v allocations in an empty set, want 0", got)
	}
	for n := range token.Generation(4) {
		set.Add(revocation.Entry{Kind: revocation.User, User: c.Subject, Min: n + 1, Reason: revocation.UserRevoked, At: 1, Until: 2})
	}
	set.Add(revocation.Entry{Kind: revocation.Token, Token: c.ID, Reason: revocation.Logout, At: 1, Until: 2})
	set.Add(revocation.Entry{Kind: revocation.Key, KeyID: c.KeyID, Reason: revocation.KeyRevoked, At: 1, Until: 2})
	set.Add(revocation.Entry{Kind: revocation.Epoch, Epoch: 4, Reason: revocation.EpochRaised, At: 1, Until: 2})
	set.Add(revocation.Entry{Kind: revocation.IssuedBefore, Before: 60, Reason: revocation.BeforeTime, At: 61, Until: 62})
	if got := testing.AllocsPerRun(100, check); got != 0 {
		t.Errorf("%v allocations for a token that five kinds name, want 0", got)
	}
}

// TestReadersBesideWriters is for the race detector, and for what a reader may see: what was added before is always withdrawn,
// for one of the reasons that were given, while other entries come, tables grow and are swept.
func TestReadersBesideWriters(t *testing.T) {
	set := revocation.NewSet()
	const n = 4000
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	added := make([]chan int, 2)
	for w := range added {
		added[w] = make(chan int, n)
		writers.Go(func() {
			defer close(added[w])
			for i := w * n; i < (w+1)*n; i++ {
				set.Add(revocation.Entry{Kind: revocation.Token, Token: words(uint64(i), 1), Reason: revocation.Logout, At: 5, Until: 1000})
				for g := range token.Generation(3) {
					set.Add(revocation.Entry{Kind: revocation.User, User: words(uint64(i), 2), Min: g + 1,
						Reason: revocation.UserRevoked, At: instant.Instant(10 + g), Until: instant.Instant(999 + g)})
				}
				set.Add(revocation.Entry{Kind: revocation.Session, Session: words(uint64(i), 3), Reason: revocation.SessionEnded, At: 5, Until: 10})
				if i%100 == 0 {
					set.Add(revocation.Entry{Kind: revocation.Key, KeyID: fmt.Sprint("k", i), Reason: revocation.KeyRevoked, At: 5, Until: instant.Forever})
				}
				added[w] <- i
			}
		})
		readers.Go(func() {
			for i := range added[w] {
				if _, ok := set.Withdraws(&token.Claims{ID: words(uint64(i), 1)}); !ok {
					t.Errorf("token %d is taken", i)
				}
				if i%100 == 0 && !set.KeyRevoked(fmt.Sprint("k", i)) {
					t.Errorf("key %d is good", i)
				}
				want := revocation.Verdict{Kind: revocation.User, Reason: revocation.UserRevoked, At: 11}
				if got, ok := set.Withdraws(&token.Claims{Subject: words(uint64(i), 2), Generation: 1}); !ok || got != want {
					t.Errorf("user %d: got %+v, %t, want %+v", i, got, ok, want)
				}
				if v, ok := set.Withdraws(&token.Claims{Subject: words(uint64(i), 2), Generation: 3}); ok {
					t.Errorf("user %d is refused: %+v", i, v)
				}
				// Another reader meets the same user at any moment of its coming.
				if got, ok := set.Withdraws(&token.Claims{Subject: words(uint64(i+1), 2)}); ok && got.At != 10 {
					t.Errorf("user %d: got %+v, want the first entry's", i+1, got)
				}
			}
		})
	}
	var others sync.WaitGroup
	others.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			set.Sweep(500)
			for range set.All() {
			}
			runtime.Gosched()
		}
	})
	writers.Wait()
	readers.Wait()
	close(done)
	others.Wait()
	set.Sweep(500)
	if got, want := set.Len(), 2*n*4+2*n/100; got != want {
		t.Errorf("Len() = %d, want %d", got, want)
	}
}

func TestAllMayAdd(t *testing.T) {
	set := revocation.NewSet()
	for i := range uint64(1000) {
		set.Add(revocation.Entry{Kind: revocation.Token, Token: words(i, 1), Reason: revocation.Logout, At: 1, Until: 2})
	}
	seen := 0
	for e := range set.All() {
		set.Add(revocation.Entry{Kind: revocation.Session, Session: id.Session(e.Token), Reason: revocation.Logout, At: 1, Until: 2})
		set.Sweep(1)
		if seen++; seen == 500 {
			break
		}
	}
	if got := set.Len(); got != 1500 {
		t.Errorf("Len() = %d, want 1500", got)
	}
}

// TestHolds: what an entry names is withdrawn once the entry, or a wider one of its kind, is there; and not before.
func TestHolds(t *testing.T) {
	for _, e := range []revocation.Entry{
		{Kind: revocation.Token, Token: id.Token{1}}, {Kind: revocation.Session, Session: id.Session{1}}, {Kind: revocation.User, User: id.User{1}, Min: 5}, {Kind: revocation.Key, KeyID: "k"},
		{Kind: revocation.Epoch, Epoch: 5}, {Kind: revocation.IssuedBefore, Before: 5}, {Kind: revocation.APIKey, APIKey: id.APIKey{1}},
	} {
		e.Reason, e.At, e.Until = revocation.Logout, 6, instant.Forever
		s := revocation.NewSet()
		if s.Holds(&e) {
			t.Errorf("%s: an empty set holds it", e.Kind)
		}
		s.Add(e)
		if !s.Holds(&e) {
			t.Errorf("%s: it is not held", e.Kind)
		}
		wider, narrower := e, e
		wider.Min, wider.Epoch, wider.Before = e.Min*2, e.Epoch*2, e.Before*2
		if e.Min > 0 || e.Epoch > 0 || e.Before > 0 {
			if s.Holds(&wider) {
				t.Errorf("%s: a wider one is held", e.Kind)
			}
			narrower.Min, narrower.Epoch, narrower.Before = e.Min/2, e.Epoch/2, e.Before/2
			if !s.Holds(&narrower) {
				t.Errorf("%s: a narrower one is not held", e.Kind)
			}
		}
		other := e
		other.Token, other.Session, other.User, other.KeyID, other.APIKey = id.Token{2}, id.Session{2}, id.User{2}, "l", id.APIKey{2}
		if e.Kind != revocation.Epoch && e.Kind != revocation.IssuedBefore && s.Holds(&other) {
			t.Errorf("%s: another is held", e.Kind)
		}
	}
	if revocation.NewSet().Holds(&revocation.Entry{}) {
		t.Error("an entry of no kind is held")
	}
}
