package audit_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
)

// signer holds a key of the tests' own.
type signer ed25519.PrivateKey

func newSigner(name string) signer {
	seed := sha256.Sum256([]byte(name))
	return signer(ed25519.NewKeyFromSeed(seed[:]))
}

func (s signer) public() ed25519.PublicKey {
	return ed25519.PrivateKey(s).Public().(ed25519.PublicKey)
}

func (s signer) sign(c audit.Checkpoint) audit.Checkpoint {
	c.Key = audit.KeyIDOf(s.public())
	copy(c.Signature[:], ed25519.Sign(ed25519.PrivateKey(s), c.Message()))
	return c
}

// numbered is as good as random, and the same each time.
func numbered(what string, n int) [32]byte { return sha256.Sum256(fmt.Appendf(nil, "%s %d", what, n)) }

func event(n int) audit.Event {
	eid := numbered("event", n)
	e := audit.Event{ID: id.Event(eid[:16]), Time: instant.Instant(1_790_000_000_000_000 + int64(n)*1_000_003), Kind: audit.AuthenticationSucceeded, Severity: audit.Info, Outcome: audit.Success,
		Actor: id.User(eid[8:24]).String(), Subject: id.Session(eid[16:]).String(), Email: fmt.Sprintf("user%d@example.com", n), IPAddress: "198.51.100.7", UserAgent: "Mozilla/5.0 (X11; Linux x86_64)",
		RequestID: "r-" + id.Event(eid[:16]).String()[:8], Reason: "logout", Details: map[string]string{"client": "web", "note": "n"}}
	switch n % 7 {
	case 3:
		e.Email, e.Details, e.Kind, e.Outcome, e.Severity = "", nil, audit.AuthenticationFailed, audit.Failure, audit.Warning
	case 5:
		e.Time -= 3_600_000_000 // a clock that went back
	case 6:
		e.UserAgent = "a\r\nb\x00\x1b[31m\u202egnp\u2028\xff\"\\"
	}
	return e
}

// trail is a chain, and what is beside it.
type trail struct {
	signer signer
	links  []audit.Link
	events []audit.Event
	head   audit.Head
	lost   map[int]bool // the records that stand for events that could not be read
}

// newTrail links n events in batches, with a checkpoint behind each.
func newTrail(s signer, n, batch int, lost ...int) *trail {
	t := &trail{signer: s, lost: map[int]bool{}}
	for _, seq := range lost {
		t.lost[seq] = true
	}
	chain := audit.ChainOf(s.public())
	t.head.Last = s.sign(audit.Checkpoint{Purpose: audit.Headed, Chain: chain, Time: 1_790_000_000_000_000, Head: chain.Genesis()})
	for at := 0; at < n; at += batch {
		t.link(at, min(batch, n-at))
	}
	return t
}

// link links events from number at on.
func (t *trail) link(at, n int) {
	var events []audit.Event
	var salts []audit.Salt
	for i := range n {
		e := event(at + i)
		if t.lost[at+i+1] {
			e = audit.StandIn(uint64(at+i+1), []byte{1}, 1, nil)
		}
		events, salts = append(events, e), append(salts, audit.Salt(numbered("salt", at+i)))
	}
	links := t.head.Last.Chained(events, salts)
	last := &links[n-1].Record
	t.head.Last = t.signer.sign(audit.Checkpoint{Purpose: audit.Headed, Chain: t.head.Last.Chain, Time: last.Time, Seq: last.Seq, Head: last.Hash(), Position: last.Seq})
	signed := t.head.Last
	links[n-1].Checkpoint = &signed
	t.links, t.events = append(t.links, links...), append(t.events, events...)
}

func (t *trail) entries() []audit.Entry {
	all := make([]audit.Entry, len(t.links))
	for i := range t.links {
		all[i] = t.links[i].Entry(&t.events[i])
	}
	return all
}

// export writes an export of some of the records.
func (t *trail) export(first, last int) []byte {
	var b []byte
	entries := t.entries()
	before, head := audit.ChainOf(t.signer.public()).Genesis(), t.head.Last.Head
	for i := first - 1; i < last; i++ {
		b = append(entries[i].AppendLine(b), '\n')
		if c := entries[i].Checkpoint; c != nil {
			b = append(c.AppendLine(b), '\n')
		}
		head = entries[i].Record.Hash()
	}
	if first <= last {
		before = entries[first-1].Record.Prev
	}
	end := t.signer.sign(audit.Checkpoint{Purpose: audit.Exported, Chain: t.head.Last.Chain, Time: 1_800_000_000_000_000, First: uint64(first), Before: before, Seq: uint64(last), Head: head, Digest: sha256.Sum256(b)})
	return append(end.AppendLine(b), '\n')
}

func verifier(t testing.TB, s signer, elsewhere ...audit.Checkpoint) *audit.Verifier {
	t.Helper()
	v, err := audit.NewVerifier([]ed25519.PublicKey{s.public()}, elsewhere...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// verified reads a trail as it is kept.
func (t *trail) verified(tb testing.TB, elsewhere ...audit.Checkpoint) audit.Report {
	v := verifier(tb, t.signer, elsewhere...)
	if !t.head.Cut.IsZero() {
		v.Checkpoint(&t.head.Cut)
	}
	entries := t.entries()
	for i := range entries {
		v.Entry(&entries[i])
	}
	return v.Head(&t.head.Last)
}

func verifiedFile(tb testing.TB, s signer, b []byte, elsewhere ...audit.Checkpoint) audit.Report {
	f := audit.NewFile(verifier(tb, s, elsewhere...))
	for len(b) > 0 { // in odd pieces
		n := min(len(b), 1021)
		_, _ = f.Write(b[:n])
		b = b[n:]
	}
	return f.Close()
}

func TestAWholeTrailIsFoundWhole(t *testing.T) {
	s := newSigner("audit")
	for _, n := range []int{0, 1, 2, 7, 300} {
		trail := newTrail(s, n, 64)
		if r := trail.verified(t, trail.head.Last); !r.OK() || r.Records != n || r.Last.Seq != uint64(n) || r.First != 1 || r.Good != uint64(n) || r.Points < n/64 {
			t.Errorf("of %d records: %+v", n, r)
		}
		if r := verifiedFile(t, s, trail.export(1, n), trail.head.Last); !r.OK() || r.Records != n || r.Last.Seq != uint64(n) {
			t.Errorf("an export of %d records: %+v", n, r)
		}
	}
	if r := verifiedFile(t, s, newTrail(s, 300, 64).export(100, 200)); !r.OK() || r.Records != 101 || r.First != 100 || r.Last.Seq != 200 {
		t.Errorf("a part: %+v", r)
	}
}

func TestAnErasedPersonalPartBreaksNothing(t *testing.T) {
	trail := newTrail(newSigner("audit"), 20, 8)
	trail.links[4].Salt, trail.links[11].Salt = audit.Salt{}, audit.Salt{}
	trail.events[4].Erase()
	trail.events[11].Erase()
	if r := trail.verified(t); !r.OK() || r.Erased != 2 {
		t.Errorf("two erased: %+v", r)
	}
	b := trail.export(1, 20)
	if r := verifiedFile(t, trail.signer, b); !r.OK() || r.Erased != 2 {
		t.Errorf("two erased, exported: %+v", r)
	}
	if bytes.Contains(b, []byte("user4@example.com")) || !bytes.Contains(b, []byte("user5@example.com")) {
		t.Error("the export has what was erased, or lacks what was not")
	}
}

func TestACutThatWasSignedIsABeginning(t *testing.T) {
	trail := newTrail(newSigner("audit"), 100, 10)
	trail.head.Cut = trail.signer.sign(audit.Checkpoint{Purpose: audit.Cut, Chain: trail.head.Last.Chain, Time: trail.events[99].Time, Seq: 30, Head: trail.links[29].Record.Hash()})
	trail.links, trail.events = trail.links[30:], trail.events[30:]
	if r := trail.verified(t); !r.OK() || r.First != 31 || r.Records != 70 {
		t.Errorf("behind a cut: %+v", r)
	}
	trail.links, trail.events = trail.links[1:], trail.events[1:]
	if r := trail.verified(t); !finds(r, audit.Removed, 31) {
		t.Errorf("one record more is missing: %+v", r.Findings)
	}
	trail.head.Cut = audit.Checkpoint{}
	if r := trail.verified(t); !finds(r, audit.Removed, 1) {
		t.Errorf("records are missing, and no cut was signed: %+v", r.Findings)
	}
}

// finds reports whether that fault was found there.
// TestLostEventsAreToldAndHideNothing: records that stand for events which could not be read are findings with which a trail holds, one for a run of them; however many there are, what else is wrong is found beside them.
func TestLostEventsAreToldAndHideNothing(t *testing.T) {
	s := newSigner("one")
	tr := newTrail(s, 60, 7, 3, 10, 11, 12, 60)
	for name, r := range map[string]audit.Report{"kept": tr.verified(t), "exported": verifiedFile(t, s, tr.export(1, 60))} {
		if r.OK() || !r.Holds() || r.Lost != 5 || r.Good != 60 || r.Records != 60 || len(r.Findings) != 3 || r.More != 0 {
			t.Fatalf("%s: %+v", name, r)
		}
		sum := "sha256:4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a"
		for i, want := range []audit.Finding{{Seq: 3, Text: "record 3 stands for an event that could not be read"}, {Seq: 10, To: 12, Text: "records 10 to 12 stand for events that could not be read"}, {Seq: 60, Text: "record 60 stands"}} {
			if f := r.Findings[i]; f.Fault != audit.Lost || f.Seq != want.Seq || f.To != want.To || !strings.HasPrefix(f.Text, want.Text) || !strings.HasSuffix(f.Text, sum) || (f.Line > 0) != (name == "exported") {
				t.Errorf("%s: finding %d: %+v", name, i, f)
			}
		}
	}
	tr.links[19].Record.Actor = "mallory"
	if r := tr.verified(t); r.Holds() || r.Lost != 5 || r.Good >= 20 || r.Good < 12 || r.Worst().Fault == audit.Lost || r.Findings[1].Fault != audit.Lost {
		t.Errorf("one was changed: %+v", r)
	}

	var every []int
	for i := 2; i <= 1000; i += 2 {
		every = append(every, i)
	}
	tr = newTrail(s, 1001, 100, every...)
	if r := tr.verified(t); !r.Holds() || r.Lost != 500 || len(r.Findings) > 30 || r.More != 0 || !strings.HasPrefix(r.Findings[len(r.Findings)-1].Text, "480 records more, the last of them record 1000,") {
		t.Errorf("every other one: %d, %+v", r.Lost, r.Findings)
	}
	for i := 4; i < 1000; i += 20 { // what is personal of 50 others
		tr.events[i].Email = "mallory@example.com"
	}
	r := tr.verified(t)
	n := 0
	for _, f := range r.Findings {
		n += map[bool]int{true: 1}[f.Fault == audit.Beside]
	}
	if r.Holds() || n != 50 || r.Good != 4 {
		t.Errorf("beside so many lost: %d of 50 are found, good up to %d", n, r.Good)
	}
}

// TestStandIn: one for the same bytes in the same place, another for others.
func TestStandIn(t *testing.T) {
	is := audit.StandIn(7, []byte("abc"), 3, []byte{1, 2})
	if is.Reason != "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" || is.Severity != audit.Critical || is.Details["position"] != "7" || is.Details["bytes"] != "3" || is.Details["id"] != "0102" || is.ID.IsZero() {
		t.Errorf("got %+v", is)
	}
	seen := map[id.Event]bool{is.ID: true}
	if again := audit.StandIn(7, []byte("abc"), 3, []byte{1, 2}); !seen[again.ID] {
		t.Error("the same is another")
	}
	for i, other := range []audit.Event{audit.StandIn(8, []byte("abc"), 3, []byte{1, 2}), audit.StandIn(7, []byte("abd"), 3, []byte{1, 2}), audit.StandIn(7, []byte("abc"), 4, []byte{1, 2}), audit.StandIn(7, []byte("abc"), 3, nil)} {
		if seen[other.ID] {
			t.Errorf("%d is the same", i)
		}
		seen[other.ID] = true
	}
	long := audit.StandIn(1, make([]byte, audit.MaxStored+5), audit.MaxStored+5, make([]byte, 40))
	if same := audit.StandIn(1, make([]byte, audit.MaxStored), audit.MaxStored, nil); long.Reason != same.Reason || len(long.Details["id"]) != 32 {
		t.Errorf("a long one: %+v", long)
	}
}

func finds(r audit.Report, f audit.Fault, seq uint64) bool {
	for _, found := range r.Findings {
		if found.Fault == f && found.Seq == seq {
			return true
		}
	}
	return false
}

// rehash makes the chain fit again behind a change, as somebody may who owns the store and no key.
func (t *trail) rehash() {
	for i := 1; i < len(t.links); i++ {
		t.links[i].Record.Prev = t.links[i-1].Record.Hash()
	}
}

func TestEachTamperingIsNamedWithItsPlace(t *testing.T) {
	const n = 40 // with checkpoints at 10, 20, 30 and 40
	s := newSigner("audit")
	other := newTrail(s, 25, 10)
	other.link(1000, 15)
	for name, c := range map[string]struct {
		do        func(*trail)
		fault     audit.Fault
		seq       uint64
		elsewhere []audit.Checkpoint
	}{
		"a record is changed":                   {do: func(t *trail) { t.links[16].Record.Outcome = audit.Failure }, fault: audit.Changed, seq: 17},
		"and what is beside it, and its salt":   {do: func(t *trail) { t.links[16].Record.Kind = "x"; t.events[16].Kind = "x" }, fault: audit.Changed, seq: 17},
		"the last record is changed":            {do: func(t *trail) { t.links[39].Record.Outcome = "x"; t.events[39].Outcome = "x" }, fault: audit.Changed, seq: 40},
		"what is personal is changed":           {do: func(t *trail) { t.events[16].Email = "eve@example.com" }, fault: audit.Beside, seq: 17},
		"what is personal is gone":              {do: func(t *trail) { t.events[16] = audit.Event{} }, fault: audit.Beside, seq: 17},
		"what is told is changed beside":        {do: func(t *trail) { t.events[16].Outcome = audit.Failure }, fault: audit.Beside, seq: 17},
		"a record is removed":                   {do: func(t *trail) { t.remove(16, 17) }, fault: audit.Removed, seq: 17},
		"several are removed":                   {do: func(t *trail) { t.remove(16, 25) }, fault: audit.Removed, seq: 17},
		"one is removed, and the rest numbered": {do: func(t *trail) { t.remove(16, 17); t.renumber(); t.rehash() }, fault: audit.Moved, seq: 20},
		"the first are removed":                 {do: func(t *trail) { t.remove(0, 5) }, fault: audit.Removed, seq: 1},
		"two change places":                     {do: func(t *trail) { t.swap(16, 17) }, fault: audit.Moved, seq: 17},
		"one is moved":                          {do: func(t *trail) { t.insert(30, t.links[4], t.events[4]); t.remove(4, 5) }, fault: audit.Moved, seq: 5},
		"one is there twice":                    {do: func(t *trail) { t.insert(17, t.links[16], t.events[16]) }, fault: audit.Inserted, seq: 17},
		"one is inserted, and the rest fitted":  {do: func(t *trail) { t.insert(17, t.links[3], t.events[3]); t.renumber(); t.rehash() }, fault: audit.Moved, seq: 20},
		"one is added at the end": {do: func(t *trail) {
			extra := newTrail(s, n+1, 10)
			t.links, t.events = append(t.links, extra.links[n]), append(t.events, extra.events[n])
			t.links[n].Checkpoint = nil
		}, fault: audit.Inserted, seq: 41},
		"the end is cut off":                    {do: func(t *trail) { t.remove(35, 40) }, fault: audit.CutOff, seq: 36},
		"everything is cut off":                 {do: func(t *trail) { t.remove(0, 40) }, fault: audit.CutOff, seq: 1},
		"the end is cut off up to a checkpoint": {do: func(t *trail) { t.remove(30, 40); t.head.Last = *t.links[29].Checkpoint }, fault: audit.CutOff, seq: 31, elsewhere: []audit.Checkpoint{newTrail(s, n, 10).head.Last}},
		"the head is gone":                      {do: func(t *trail) { t.head.Last = audit.Checkpoint{} }, fault: audit.Unsigned, seq: 40},
		"the head is forged":                    {do: func(t *trail) { t.head.Last = newSigner("eve").sign(t.head.Last) }, fault: audit.BadSign, seq: 40},
		"the head's count is changed":           {do: func(t *trail) { t.head.Last.Seq = 39 }, fault: audit.BadSign, seq: 39},
		"a checkpoint is forged":                {do: func(t *trail) { t.links[19].Checkpoint.Head[3] ^= 1 }, fault: audit.BadSign, seq: 20},
		"a checkpoint is moved":                 {do: func(t *trail) { t.links[24].Checkpoint, t.links[19].Checkpoint = t.links[19].Checkpoint, nil }, fault: audit.Moved, seq: 20},
		"a record is changed, and the rest fitted": {do: func(t *trail) {
			t.links[16].Record.Outcome, t.events[16].Outcome = audit.Failure, audit.Failure
			t.rehash()
		}, fault: audit.Forked, seq: 11},
		"two heads of one count":                    {do: func(*trail) {}, fault: audit.Forked, seq: 40, elsewhere: []audit.Checkpoint{newTrail(s, n, 10).head.Last, other.head.Last}},
		"an older checkpoint is extended otherwise": {do: func(t *trail) { *t = *other }, fault: audit.Forked, seq: 26, elsewhere: []audit.Checkpoint{newTrail(s, n, 10).head.Last}},
		"another chain's":                           {do: func(t *trail) { *t = *newTrail(newSigner("other"), n, 10); t.signer = s }, fault: audit.OtherChain, seq: 1},
	} {
		t.Run(name, func(t *testing.T) {
			trail := newTrail(s, n, 10)
			c.do(trail)
			r := trail.verified(t, c.elsewhere...)
			if !finds(r, c.fault, c.seq) {
				t.Errorf("got %v, want %s at record %d", r.Findings, c.fault, c.seq)
			}
			if r.Good >= c.seq && c.fault != audit.BadSign && c.fault != audit.Unsigned && len(c.elsewhere) < 2 && c.fault != audit.Forked {
				t.Errorf("the last good record is said to be %d, want one before %d", r.Good, c.seq)
			}
		})
	}
}

func (t *trail) remove(from, to int) {
	t.links, t.events = append(t.links[:from:from], t.links[to:]...), append(t.events[:from:from], t.events[to:]...)
}

func (t *trail) insert(at int, l audit.Link, e audit.Event) {
	t.links = append(t.links[:at:at], append([]audit.Link{l}, t.links[at:]...)...)
	t.events = append(t.events[:at:at], append([]audit.Event{e}, t.events[at:]...)...)
}

func (t *trail) swap(i, j int) {
	t.links[i], t.links[j] = t.links[j], t.links[i]
	t.events[i], t.events[j] = t.events[j], t.events[i]
}

func (t *trail) renumber() {
	for i := range t.links {
		t.links[i].Record.Seq = uint64(i + 1)
	}
}

// Whatever single bit of an export is another, it is found; so are 1,000 tamperings at random, and none in 1,000 that were not touched.
func TestAnyFlippedBitOfAnExportIsFound(t *testing.T) {
	trail := newTrail(newSigner("audit"), 2, 2)
	trail.links[1].Salt = audit.Salt{}
	trail.events[1].Erase()
	whole := trail.export(1, 2)
	if r := verifiedFile(t, trail.signer, whole); !r.OK() {
		t.Fatal(r.Findings)
	}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 1 << (i % 8)
		if r := verifiedFile(t, trail.signer, b); r.OK() {
			t.Fatalf("bit %d of byte %d, in %q, was not missed", i%8, i, whole[max(i-20, 0):min(i+20, len(whole))])
		}
	}
	for n := 0; n < len(whole); n += 5 {
		if r := verifiedFile(t, trail.signer, whole[:n]); r.OK() {
			t.Fatalf("a cut at byte %d of %d was not missed", n, len(whole))
		}
	}
}

func TestAThousandTamperingsAtRandomAreFound(t *testing.T) {
	s := newSigner("audit")
	found := 0
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 12).Draw(t, "records")
		trail := newTrail(s, n, rapid.IntRange(1, 8).Draw(t, "batch"))
		first := rapid.IntRange(1, n).Draw(t, "first")
		whole := trail.export(first, rapid.IntRange(first, n).Draw(t, "last"))
		if r := verifiedRapid(t, s, whole); !r.OK() {
			t.Fatalf("an untouched export: %v", r.Findings)
		}
		for range 9 { // and nine more: a thousand in all
			first := rapid.IntRange(1, n).Draw(t, "first")
			if r := verifiedRapid(t, s, trail.export(first, rapid.IntRange(first, n).Draw(t, "last"))); !r.OK() {
				t.Fatalf("an untouched export: %v", r.Findings)
			}
		}
		for range 10 {
			b, what := tampered(t, whole)
			if bytes.Equal(b, whole) {
				continue
			}
			if r := verifiedRapid(t, s, b); r.OK() {
				t.Fatalf("%s was not found", what)
			}
			found++
		}
	})
	if found < 900 { // rapid checks 100 trails, of 10 tamperings each
		t.Errorf("%d tamperings were tried, want some 1,000", found)
	}
}

func verifiedRapid(t *rapid.T, s signer, b []byte) audit.Report {
	v, err := audit.NewVerifier([]ed25519.PublicKey{s.public()})
	if err != nil {
		t.Fatal(err)
	}
	f := audit.NewFile(v)
	_, _ = f.Write(b)
	return f.Close()
}

// tampered does something to an export.
func tampered(t *rapid.T, whole []byte) ([]byte, string) {
	b := bytes.Clone(whole)
	lines := bytes.SplitAfter(b, []byte("\n"))
	lines = lines[:len(lines)-1]
	i, j := rapid.IntRange(0, len(lines)-1).Draw(t, "line"), rapid.IntRange(0, len(lines)-1).Draw(t, "other line")
	what := rapid.SampledFrom([]string{"a bit", "a byte", "an inserted byte", "a truncation", "lines at the end", "a line removed", "lines swapped", "a line doubled", "a field of another line"}).Draw(t, "what")
	switch what {
	case "a bit":
		at := rapid.IntRange(0, len(b)-1).Draw(t, "at")
		b[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
	case "a byte":
		b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
	case "an inserted byte":
		at := rapid.IntRange(0, len(b)).Draw(t, "at")
		b = append(b[:at:at], append([]byte{rapid.Byte().Draw(t, "byte")}, b[at:]...)...)
	case "a truncation":
		b = b[:rapid.IntRange(0, len(b)-1).Draw(t, "at")]
	case "lines at the end":
		b = bytes.Join(lines[:i], nil)
	case "a line removed":
		b = bytes.Join(append(lines[:i:i], lines[i+1:]...), nil)
	case "lines swapped":
		lines[i], lines[j] = lines[j], lines[i]
		b = bytes.Join(lines, nil)
	case "a line doubled":
		b = bytes.Join(append(lines[:j:j], append([][]byte{lines[i]}, lines[j:]...)...), nil)
	default:
		fields, others := strings.Split(string(lines[i]), `,"`), strings.Split(string(lines[j]), `,"`)
		k := rapid.IntRange(0, min(len(fields), len(others))-1).Draw(t, "field")
		fields[k] = others[k]
		lines[i] = []byte(strings.Join(fields, `,"`))
		b = bytes.Join(lines, nil)
	}
	return b, what
}

func TestRecordsAreReadAsTheyWereWritten(t *testing.T) {
	trail := newTrail(newSigner("audit"), 30, 7)
	for i := range trail.links {
		r := trail.links[i].Record
		got, err := audit.DecodeRecord(r.Append(nil))
		if err != nil || got != r {
			t.Fatalf("record %d: got %+v, %v; want %+v", i+1, got, err, r)
		}
		e := trail.links[i].Entry(&trail.events[i])
		e.Checkpoint = nil
		line, err := audit.ParseLine(e.AppendLine(nil))
		if err != nil || line.Entry == nil {
			t.Fatalf("the line of record %d: %v", i+1, err)
		}
		if diff := cmp.Diff(&e, line.Entry); diff != "" {
			t.Errorf("the line of record %d (-want +got):\n%s", i+1, diff)
		}
	}
	c := trail.head.Last
	if got, err := audit.DecodeCheckpoint(c.Append(nil)); err != nil || got != c {
		t.Errorf("a checkpoint: got %+v, %v", got, err)
	}
	if line, err := audit.ParseLine(c.AppendLine(nil)); err != nil || line.Checkpoint == nil || *line.Checkpoint != c {
		t.Errorf("the line of a checkpoint: got %+v, %v", line, err)
	}
}

// Whatever a client sends, one line stays one line, shows no control character, and is read as it was written.
func TestOddTextsInALine(t *testing.T) {
	long := rapid.SampledFrom([]string{"", strings.Repeat("\x00", 1<<16), strings.Repeat("\xe2\x80\xae", 1<<15)})
	rapid.Check(t, func(t *rapid.T) {
		odd := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"\r\n", "\x00", "\x1b[2J", "\u202e", "\u2066", "\x7f", "\u0085", "\u2028", `"},{"seq":1`, `\u0000`, "\xff\xfe"}))
		e := audit.Event{ID: id.Event{1}, Kind: audit.Kind(odd.Draw(t, "kind")), Actor: odd.Draw(t, "actor"), Subject: odd.Draw(t, "subject"), Reason: odd.Draw(t, "reason"), Email: odd.Draw(t, "email"),
			IPAddress: odd.Draw(t, "ip"), UserAgent: long.Draw(t, "long") + odd.Draw(t, "agent"), RequestID: odd.Draw(t, "request"), Outcome: audit.Outcome(odd.Draw(t, "outcome")), Severity: audit.Severity(rapid.Byte().Draw(t, "severity")),
			Time: instant.Instant(rapid.Int64().Draw(t, "time")), Details: map[string]string{odd.Draw(t, "name"): odd.Draw(t, "detail")}}
		head := audit.Checkpoint{}
		links := head.Chained([]audit.Event{e}, []audit.Salt{{1}})
		entry := links[0].Entry(&e)
		line := entry.AppendLine(nil)
		if bytes.ContainsAny(line, "\r\n\x00\x1b\x7f\u202e\u2066\u2028\u0085") || !bytes.Equal(line, bytes.ToValidUTF8(line, nil)) {
			t.Fatalf("the line has what a terminal should not see: %q", line[:min(len(line), 500)])
		}
		got, err := audit.ParseLine(line)
		if err != nil {
			t.Fatalf("%v: %q", err, line[:min(len(line), 500)])
		}
		if diff := cmp.Diff(&entry, got.Entry); diff != "" {
			t.Fatalf("read again (-want +got):\n%s", diff)
		}
		if back, err := audit.DecodeRecord(entry.Record.Append(nil)); err != nil || back != entry.Record {
			t.Fatalf("decoded: %+v, %v", back, err)
		}
		if got.Entry.Personal.Commit(got.Entry.Salt) != got.Entry.Record.Commitment {
			t.Fatal("the commitment does not hold for what was exported")
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	for n := range 8 {
		r, _ := audit.Part(new(event(n)))
		r.Seq = uint64(n + 1)
		f.Add(r.Append(nil))
	}
	f.Add([]byte{})
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := audit.DecodeRecord(b)
		if err != nil {
			if !errors.Is(err, audit.ErrEncoding) || r != (audit.Record{}) {
				t.Errorf("got %+v, %v", r, err)
			}
			return
		}
		if again := r.Append(nil); !bytes.Equal(again, b) {
			t.Errorf("a second encoding of one record: %x and %x", b, again)
		}
	})
}

func FuzzParseLine(f *testing.F) {
	trail := newTrail(newSigner("audit"), 8, 3)
	for line := range bytes.Lines(trail.export(1, 8)) {
		f.Add(bytes.TrimSuffix(line, []byte("\n")))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := audit.ParseLine(b)
		if err != nil {
			return
		}
		var again []byte
		if l.Entry != nil {
			again = l.Entry.AppendLine(nil)
		} else {
			again = l.Checkpoint.AppendLine(nil)
		}
		if !bytes.Equal(again, b) {
			t.Errorf("a second line of one entry: %q and %q", b, again)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	const n = 20_000
	trail := newTrail(newSigner("audit"), n, 512)
	export := trail.export(1, n)
	b.ReportAllocs()
	for b.Loop() {
		if r := verifiedFile(b, trail.signer, export); !r.OK() {
			b.Fatal(r.Findings)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(len(export))/n, "bytes/record")
}
