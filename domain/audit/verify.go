package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"slices"

	"github.com/xteam/xteam/domain/instant"
)

// Fault is something that is wrong with a trail.
type Fault string

// The faults. The texts are shown and exported: they never change meaning.
const (
	Changed     Fault = "changed"     // a record is not what it was
	Removed     Fault = "removed"     // records are missing between others, or at the beginning
	Moved       Fault = "moved"       // a record stands in another place
	Inserted    Fault = "inserted"    // a record was added
	CutOff      Fault = "cut"         // records are missing at the end
	Forked      Fault = "fork"        // the records go on from a head that was signed in another way, or two heads of one count were signed
	Beside      Fault = "personal"    // the personal part is not what was committed to, or is missing
	Unsigned    Fault = "unsigned"    // the end of a trail, or of an export, is not signed
	BadSign     Fault = "signature"   // a checkpoint is not signed by a key that is trusted
	Unreadable  Fault = "unreadable"  // a line is none of an export
	OtherBytes  Fault = "bytes"       // an export has other bytes than those that were signed
	OtherChain  Fault = "other_chain" // a checkpoint is of another chain
	OutOfTurn   Fault = "out_of_turn" // a line stands where none of its kind belongs
	Interrupted Fault = "interrupted" // the last line has no end
	Lost        Fault = "lost"        // a record stands for an event that could not be read when it was linked; the chain holds
)

// Finding is a fault with its place.
type Finding struct {
	Fault Fault
	Seq   uint64 // the record; of several the first
	To    uint64 // the last of several; 0: it is one
	Line  int    // of an export; 0: it is not of one
	Text  string // one clear sentence
}

// String is the sentence, with the line where there is one.
func (f Finding) String() string {
	if f.Line > 0 {
		return fmt.Sprintf("line %d: %s", f.Line, f.Text)
	}
	return f.Text
}

// Report is what was found.
type Report struct {
	Findings []Finding       // none: the trail is whole; at most MaxFindings
	More     int             // findings beyond those
	First    uint64          // the first record, or the one that would be
	Last     Checkpoint      // what signed the end
	Records  int             //
	Erased   int             // of them those whose personal part was erased
	Lost     int             // of them those that stand for an event that could not be read when it was linked
	Points   int             // checkpoints that hold
	From, To instant.Instant // the earliest and the latest time of a record
	Reviewed instant.Instant // when the trail was last reviewed, as far as it tells
	Good     uint64          // the last record up to which everything holds
}

// OK reports whether nothing is wrong.
func (r Report) OK() bool { return len(r.Findings) == 0 }

// Holds reports whether the records are what was linked, and all of it: nothing is wrong but that events were lost before they were linked, of which it tells itself.
func (r Report) Holds() bool {
	return r.More == 0 && !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Fault != Lost })
}

// Worst is the first finding that is not of a lost event, or else the first.
func (r Report) Worst() Finding {
	for _, f := range r.Findings {
		if f.Fault != Lost {
			return f
		}
	}
	return r.Findings[0]
}

// MaxFindings bounds the findings of a report.
const MaxFindings = 100

// maxLost bounds those of lost events: they leave room for others.
const maxLost = 20

// Verifier reads a trail from its beginning to its end, and finds what is wrong with it. It holds nothing of the records that it has read, whatever their number.
type Verifier struct {
	keys  map[KeyID]ed25519.PublicKey
	chain ChainID
	known []Checkpoint // kept elsewhere, by Seq, that were not reached yet

	begun  bool
	seq    uint64 // of the last record
	hash   Hash   // what the next one must hold
	next   uint64 // the number that is expected
	signed uint64 // the last record of which a checkpoint holds
	blind  bool   // the last record could not be read: hash says nothing
	lost   lost
	points map[uint64]Hash
	gaps   [][2]uint64
	cut    *Checkpoint
	end    *Checkpoint
	line   int
	first  Hash // what the first record holds as the hash before it

	room  [512]byte
	other []byte
	out   Report
}

// lost are records one behind the other that stand for events that could not be read.
type lost struct {
	first, last uint64 // 0: there are none
	line        int
	what        string // stood in the place of the first
	runs        int    // that were told
	more, end   uint64 // records of those beyond maxLost, and the last of them
}

// errNoKey says that nothing can be verified.
var errNoKey = errors.New("no public key was given: nothing can be verified without one")

// NewVerifier trusts the keys, of which the first is that of the chain's beginning. Elsewhere are checkpoints that were kept elsewhere: the trail must hold what they say.
func NewVerifier(keys []ed25519.PublicKey, elsewhere ...Checkpoint) (*Verifier, error) {
	v := &Verifier{keys: map[KeyID]ed25519.PublicKey{}, points: map[uint64]Hash{}}
	for _, k := range keys {
		v.keys[KeyIDOf(k)] = k
	}
	if len(keys) == 0 {
		return nil, errNoKey
	}
	v.chain = ChainOf(keys[0])
	v.next, v.hash = 1, v.chain.Genesis()
	for i := range elsewhere {
		if c := &elsewhere[i]; v.trusts(c, "a checkpoint that was kept elsewhere") {
			v.known = append(v.known, *c)
		}
	}
	slices.SortStableFunc(v.known, func(a, b Checkpoint) int { return int(min(max(int64(a.Seq-b.Seq), -1), 1)) })
	for i := 1; i < len(v.known); i++ {
		if a, b := &v.known[i-1], &v.known[i]; a.Seq == b.Seq && a.Head != b.Head {
			v.found(Forked, a.Seq, 0, "fork: of %d records two heads were signed and kept elsewhere, at %s and at %s", a.Seq, a.Time, b.Time)
		}
	}
	return v, nil
}

func (v *Verifier) found(f Fault, seq, to uint64, format string, args ...any) {
	if v.out.Holds() {
		v.out.Good = min(v.seq, max(seq, 1)-1)
	}
	v.add(Finding{Fault: f, Seq: seq, To: to, Line: v.line, Text: fmt.Sprintf(format, args...)})
}

func (v *Verifier) add(f Finding) {
	if len(v.out.Findings) == MaxFindings {
		v.out.More++
		return
	}
	v.out.Findings = append(v.out.Findings, f)
}

// trusts reports whether a checkpoint is of this chain, and signed.
func (v *Verifier) trusts(c *Checkpoint, what string) bool {
	key, known := v.keys[c.Key]
	switch {
	case !known:
		v.found(BadSign, c.Seq, 0, "%s, of %d records, is signed by the key %s, which is not the one that was given", what, c.Seq, c.Key)
	case !c.SignedBy(key):
		v.found(BadSign, c.Seq, 0, "%s, of %d records, has a signature that does not hold", what, c.Seq)
	case c.Chain != v.chain:
		v.found(OtherChain, c.Seq, 0, "%s, of %d records, is of another chain, %s", what, c.Seq, c.Chain)
	default:
		return true
	}
	return false
}

// span names records.
func span(first, last uint64) string {
	if first >= last {
		return fmt.Sprintf("record %d", first)
	}
	return fmt.Sprintf("records %d to %d", first, last)
}

// Entry takes the next record.
func (v *Verifier) Entry(e *Entry) {
	r := &e.Record
	if r.Kind != EventUnreadable {
		v.tellLost()
	}
	v.place(r)
	v.out.Records++
	if r.Time < v.out.From || v.out.From == 0 {
		v.out.From = r.Time
	}
	v.out.To = max(v.out.To, r.Time)
	if r.Kind == AuditReviewed {
		v.out.Reviewed = max(v.out.Reviewed, r.Time)
	}
	v.seq, v.next, v.hash = r.Seq, r.Seq+1, r.hash(&v.room)
	if r.Kind == EventUnreadable {
		v.loses(r)
	}
	switch {
	case e.Erased():
		v.out.Erased++
	case e.Personal == nil:
		v.found(Beside, r.Seq, 0, "what record %d tells of is missing beside the chain, or was changed there, and was not erased by this service", r.Seq)
	default:
		var is Hash
		if is, v.other = e.Personal.commit(e.Salt, v.other); is != r.Commitment {
			v.found(Beside, r.Seq, 0, "what is personal of record %d was changed", r.Seq)
		}
	}
	v.reached()
	if e.Checkpoint != nil {
		v.Checkpoint(e.Checkpoint)
	}
}

// loses notes a record that stands for an event that could not be read. A run of them is one finding.
func (v *Verifier) loses(r *Record) {
	v.out.Lost++
	if l := &v.lost; l.first == 0 || l.last+1 != r.Seq {
		v.tellLost()
		l.first, l.line, l.what = r.Seq, v.line, r.Reason
	}
	v.lost.last = r.Seq
}

// tellLost makes a finding of the run that has ended.
func (v *Verifier) tellLost() {
	l := &v.lost
	switch {
	case l.first == 0:
	case l.runs == maxLost:
		l.more, l.end = l.more+l.last+1-l.first, l.last
	case l.last > l.first:
		l.runs++
		v.add(Finding{Fault: Lost, Seq: l.first, To: l.last, Line: l.line, Text: fmt.Sprintf("%s stand for events that could not be read when they were linked: they had been changed in the store; in the place of the first stood %s",
			span(l.first, l.last), Printable(l.what))})
	default:
		l.runs++
		v.add(Finding{Fault: Lost, Seq: l.first, Line: l.line, Text: fmt.Sprintf("record %d stands for an event that could not be read when it was linked: it had been changed in the store; in its place stood %s", l.first, Printable(l.what))})
	}
	l.first = 0
}

// Damaged takes a record that is there and cannot be read: it is not what was written. What stands behind it is held against the records behind that.
func (v *Verifier) Damaged(seq uint64) {
	v.tellLost()
	if !v.begun {
		v.begun, v.out.First = true, seq
	}
	if seq > v.next {
		v.found(Removed, v.next, seq-1, "%s missing: record %d stands behind record %d", plural(v.next, seq-1), seq, v.seq)
	}
	v.found(Changed, seq, 0, "record %d was changed: what is stored of it cannot be read", seq)
	v.seq, v.next, v.blind = seq, seq+1, true
	v.out.Records++
	v.reached()
}

// DamagedHead ends a trail whose head is there and cannot be read.
func (v *Verifier) DamagedHead() Report {
	v.found(Unsigned, v.seq, 0, "the signed head was changed: what is stored of it cannot be read")
	return v.report()
}

// place holds a record against the one before.
func (v *Verifier) place(r *Record) {
	if !v.begun {
		v.begin(r)
		return
	}
	if v.blind {
		v.blind, v.hash = false, r.Prev
	}
	switch {
	case r.Seq == v.next && r.Prev == v.hash:
	case r.Seq == v.next:
		v.found(Changed, v.seq, 0, "record %d was changed: record %d holds another hash of it", v.seq, r.Seq)
	case r.Seq > v.next:
		if len(v.gaps) < MaxFindings {
			v.gaps = append(v.gaps, [2]uint64{v.next, r.Seq - 1})
		}
		v.found(Removed, v.next, r.Seq-1, "%s missing: record %d stands behind record %d", plural(v.next, r.Seq-1), r.Seq, v.seq)
	default:
		missed := slices.ContainsFunc(v.gaps, func(g [2]uint64) bool { return g[0] <= r.Seq && r.Seq <= g[1] })
		if missed || r.Seq < v.out.First {
			v.found(Moved, r.Seq, 0, "record %d was moved: it stands behind record %d", r.Seq, v.seq)
		} else {
			v.found(Inserted, r.Seq, 0, "record %d is there once more: it was inserted behind record %d", r.Seq, v.seq)
		}
	}
}

func plural(first, last uint64) string {
	if first >= last {
		return span(first, last) + " is"
	}
	return span(first, last) + " are"
}

// begin takes the first record. A whole trail begins with record 1, or behind a cut that was signed; an export may begin anywhere, and its end says where.
func (v *Verifier) begin(r *Record) {
	v.begun, v.out.First = true, r.Seq
	switch {
	case v.cut != nil && (r.Seq != v.cut.Seq+1 || r.Prev != v.cut.Head):
		v.found(Removed, v.cut.Seq+1, 0, "the first record is %d, and does not follow the %d that were cut away at %s", r.Seq, v.cut.Seq, v.cut.Time)
	case r.Seq == 1 && r.Prev != v.chain.Genesis():
		v.found(OtherChain, 1, 0, "record 1 does not begin the chain of this key: it was changed, or is another chain's")
	}
	v.hash, v.seq, v.first = r.Prev, r.Seq-1, r.Prev
	v.out.Good = max(v.out.Good, v.seq)
}

// reached compares what is kept elsewhere with what has been read.
func (v *Verifier) reached() {
	for len(v.known) > 0 && v.known[0].Seq <= v.seq {
		k := v.known[0]
		v.known = v.known[1:]
		if k.Seq == v.seq {
			v.agrees(&k, "a checkpoint that was kept elsewhere")
		}
	}
}

// agrees compares a checkpoint with the record that was read last.
func (v *Verifier) agrees(c *Checkpoint, what string) {
	if v.blind {
		return
	}
	if c.Head == v.hash {
		v.signed = c.Seq
		v.out.Points++
		return
	}
	v.found(Forked, v.signed+1, c.Seq, "fork: %s not those of which the head was signed at %s, by %s: behind record %d they were changed", plural(v.signed+1, c.Seq), c.Time, what, v.signed)
}

// Checkpoint takes a checkpoint that stands behind its last record, the cut that stands before the first, or the end of an export.
func (v *Verifier) Checkpoint(c *Checkpoint) {
	if v.end != nil {
		v.found(OutOfTurn, c.Seq, 0, "something stands behind the end of the export")
		return
	}
	switch c.Purpose {
	case Cut:
		if v.begun || v.cut != nil {
			v.found(OutOfTurn, c.Seq, 0, "a cut of %d records stands behind the beginning", c.Seq)
			return
		}
		if v.trusts(c, "a cut") {
			v.cut, v.signed = c, c.Seq
			v.seq, v.next, v.hash = c.Seq, c.Seq+1, c.Head
		}
	case Headed:
		if !v.trusts(c, "a checkpoint") {
			return
		}
		if was, twice := v.points[c.Seq]; twice && was != c.Head {
			v.found(Forked, c.Seq, 0, "fork: of %d records two heads were signed", c.Seq)
			return
		} else if twice {
			v.found(Inserted, c.Seq, 0, "a checkpoint of %d records is there once more", c.Seq)
			return
		}
		if len(v.points) < 1<<20 { // of a thousand million records
			v.points[c.Seq] = c.Head
		}
		if c.Seq != v.seq {
			v.found(Moved, c.Seq, 0, "a checkpoint of %d records stands behind record %d: it was moved, or records were added or removed and the others made to fit", c.Seq, v.seq)
			return
		}
		v.agrees(c, "a checkpoint")
	case Exported:
		v.end = c
	}
}

// Head ends a trail as it is kept: what was signed of its last record.
func (v *Verifier) Head(c *Checkpoint) Report {
	if c.IsZero() {
		v.found(Unsigned, v.seq, 0, "the signed head is missing: that is where a trail ends")
		return v.report()
	}
	if v.begun && v.cut == nil && v.out.First > 1 {
		v.found(Removed, 1, v.out.First-1, "%s missing: the first is record %d, and no cut was signed", plural(1, v.out.First-1), v.out.First)
	}
	if v.trusts(c, "the head") {
		v.out.Last = *c
		v.ends(c, "the head that was signed at "+c.Time.String())
	}
	return v.report()
}

// ends compares the end with the last record.
func (v *Verifier) ends(c *Checkpoint, what string) {
	switch {
	case c.Seq > v.seq:
		v.found(CutOff, v.seq+1, c.Seq, "%s cut off the end: %s has %d; the last good one is record %d", plural(v.seq+1, c.Seq), what, c.Seq, min(v.seq, v.good()))
	case c.Seq < v.seq:
		v.found(Inserted, c.Seq+1, v.seq, "%s behind the end: %s has %d", plural(c.Seq+1, v.seq), what, c.Seq)
	case v.blind: // which was found already
	case c.Head != v.hash && v.out.Holds():
		v.found(Changed, v.seq, 0, "record %d was changed, or all behind record %d: %s has another hash of it", v.seq, v.signed, what)
	case c.Head != v.hash:
		v.found(Changed, v.seq, 0, "record %d was changed: %s has another hash of it", v.seq, what)
	}
}

func (v *Verifier) good() uint64 {
	if v.out.Holds() {
		return v.seq
	}
	return v.out.Good
}

func (v *Verifier) report() Report {
	if v.tellLost(); v.lost.more > 0 {
		v.add(Finding{Fault: Lost, Seq: v.lost.end, Text: fmt.Sprintf("%d records more, the last of them record %d, stand for events that could not be read when they were linked", v.lost.more, v.lost.end)})
	}
	for i := range v.known {
		k := &v.known[i]
		if k.Seq > v.seq {
			v.found(CutOff, v.seq+1, k.Seq, "%s cut off the end: a checkpoint that was kept elsewhere, of %s, has %d; the last good one is record %d", plural(v.seq+1, k.Seq), k.Time, k.Seq, min(v.seq, v.good()))
			break
		}
	}
	if !v.begun {
		v.out.First = v.next
	}
	v.out.Good = v.good()
	return v.out
}

// File verifies an export in JSON lines, which it takes in pieces of any size.
type File struct {
	v      *Verifier
	digest hash.Hash
	lines  uint64 // of an export in CEF
	part   []byte // of a line that has not ended
	parser parser
}

// NewFile has v read the lines of an export.
func NewFile(v *Verifier) *File { return &File{v: v, digest: sha256.New()} }

// Write takes the next piece. It never fails.
func (f *File) Write(b []byte) (int, error) {
	n := len(b)
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			break
		}
		line := b[:i]
		if len(f.part) > 0 {
			f.part = append(f.part, line...)
			line = f.part
		}
		f.lineOf(line)
		f.part, b = f.part[:0], b[i+1:]
	}
	if room := MaxLine + 1 - len(f.part); room > 0 {
		f.part = append(f.part, b[:min(len(b), room)]...)
	}
	return n, nil
}

func (f *File) lineOf(line []byte) {
	v := f.v
	v.line++
	if v.end != nil {
		v.found(OutOfTurn, v.seq, 0, "something stands behind the end of the export")
		return
	}
	if bytes.HasPrefix(line, []byte("CEF:0|")) {
		f.cef(line)
		return
	}
	var l Line
	var err error
	if len(line) > MaxLine {
		err = ErrLine
	} else {
		l, err = f.parser.parse(line)
	}
	switch {
	case err != nil:
		v.found(Unreadable, v.next, 0, "this is no line of an export as it was written: it stands behind record %d", v.seq)
	case l.Entry != nil:
		v.Entry(l.Entry)
	case l.Checkpoint.Purpose == Exported:
		f.end(l.Checkpoint)
	default:
		v.Checkpoint(l.Checkpoint)
	}
	f.add(line)
}

func (f *File) end(c *Checkpoint) {
	v := f.v
	v.end = c
	if v.trusts(c, "the end of the export") && c.Digest != Hash(f.digest.Sum(nil)) {
		v.found(OtherBytes, v.seq, 0, "the export has other bytes than those that were signed at %s", c.Time)
	}
}

func (f *File) add(line []byte) {
	_, _ = f.digest.Write(line)
	_, _ = f.digest.Write([]byte{'\n'})
}

// cef takes a line of an export in CEF. Of those only the bytes were signed, and how many records they are.
func (f *File) cef(line []byte) {
	v := f.v
	if c, ok := parseCEFEnd(string(line)); ok {
		f.end(&c)
		if f.lines = v.seq; !v.out.Holds() {
			v.out.Good = 0 // nothing says which of them
		}
		v.seq, v.hash, v.first = c.Seq, c.Head, c.Before
		v.begun, v.out.First = f.lines > 0, c.First
		if c.Seq+1-c.First != f.lines {
			v.found(Removed, c.First, c.Seq, "the export has %d records, and was signed with %d", f.lines, c.Seq+1-c.First)
		}
		return
	}
	v.seq++
	v.out.Records++
	f.add(line)
}

// Close ends the export and answers what was found.
func (f *File) Close() Report {
	v := f.v
	if len(f.part) > 0 {
		v.line++
		v.found(Interrupted, v.next, 0, "the last line has no end: the export is cut off behind record %d", v.seq)
	}
	end := v.end
	v.line = 0
	switch {
	case end == nil:
		v.found(Unsigned, v.next, 0, "the export has no signed end: it is cut off behind record %d, or is none", v.seq)
	case v.keys[end.Key] == nil || !end.SignedBy(v.keys[end.Key]):
	case v.begun && (end.First != v.out.First || v.out.Records > 0 && end.Before != v.first):
		v.found(Removed, end.First, max(v.out.First, 1)-1, "the export begins with record %d, and was signed from record %d on", v.out.First, end.First)
	default:
		if !v.begun && end.First == end.Seq+1 { // of a span without a record
			v.seq, v.next, v.hash = end.Seq, end.First, end.Head
			v.reached()
		}
		v.out.Last = *end
		v.ends(end, "the end that was signed at "+end.Time.String())
	}
	return v.report()
}
