package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/ports"
)

// trailPage is how many records are read at a time.
const trailPage = audit.MaxBatch

// trailReader reads records with what stands beside them, from page to page.
type trailReader struct {
	stores *Stores
	behind uint64        // the position behind which the events were read
	events []audit.Event // nil: none were
	next   int           // the first that may be the next record's
}

// page reads at most limit entries behind a record, or answers that the first of them is damaged.
func (r *trailReader) page(ctx context.Context, after uint64, limit int) (entries []audit.Entry, damaged uint64, err error) {
	links, err := r.stores.Trail.List(ctx, after, limit)
	if is := (*audit.DamagedError)(nil); errors.As(err, &is) && is.At > after {
		return nil, is.At, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read the audit trail: %w", err)
	}
	entries = make([]audit.Entry, len(links))
	for i := range links {
		if entries[i], err = r.entry(ctx, &links[i]); err != nil {
			return nil, 0, err
		}
	}
	return entries, 0, nil
}

func (r *trailReader) entry(ctx context.Context, l *audit.Link) (audit.Entry, error) {
	if l.Erased() {
		return l.Entry(nil), nil
	}
	event, err := r.event(ctx, l)
	if err != nil {
		return audit.Entry{}, err
	}
	e := l.Entry(event)
	if e.Personal != nil && e.Personal.Commit(e.Salt) == e.Record.Commitment {
		return e, nil
	}
	// It may have been erased, or cut away, since the link was read.
	again, err := r.stores.Trail.List(ctx, l.Record.Seq-1, 1)
	if err == nil && len(again) == 1 && again[0].Record == l.Record && again[0].Erased() {
		return again[0].Entry(nil), nil
	}
	return e, err
}

// event finds the event of a link: behind the position that the link has, in the order of the records. Nil: it is not there.
func (r *trailReader) event(ctx context.Context, l *audit.Link) (*audit.Event, error) {
	if r.events == nil || r.behind != l.Behind {
		events, err := r.legible(ctx, l.Behind)
		if err != nil {
			return nil, fmt.Errorf("read the events of the audit trail: %w", err)
		}
		r.behind, r.events, r.next = l.Behind, events, 0
	}
	for i := r.next; i < len(r.events); i++ {
		e := &r.events[i]
		if e.ID != l.Record.Event {
			continue
		}
		if r.next = i + 1; undated(e) {
			e.Time = l.Record.Time
		}
		return e, nil
	}
	return nil, nil
}

// legible reads the events of a batch behind a position, but for those that are damaged.
func (r *trailReader) legible(ctx context.Context, behind uint64) ([]audit.Event, error) {
	all := []audit.Event{}
	for n := 0; n < audit.MaxBatch; {
		events, last, err := r.stores.Events.List(ctx, behind, audit.MaxBatch-n)
		if damaged := (*audit.DamagedError)(nil); errors.As(err, &damaged) && damaged.At > behind {
			behind, n = damaged.At, n+1
			continue
		}
		if err != nil || len(events) == 0 {
			return all, err
		}
		all, behind, n = append(all, events...), last, n+len(events)
	}
	return all, nil
}

// TrailPage is a part of the trail, for people.
type TrailPage struct {
	Entries  []audit.Entry
	Unlinked []audit.Event // committed, and not linked yet: at the end alone, and at most as many as fit on the page
	Head     audit.Head
}

// Page reads at most limit records behind one, and what is not linked yet behind the last. Of a trail that is broken it reads what there is, and passes over what cannot be read.
func (t *Trail) Page(ctx context.Context, after uint64, limit int) (TrailPage, error) {
	p, err := t.records(ctx, after, limit)
	if err != nil || len(p.Entries) == limit {
		return p, err
	}
	p.Unlinked, _, err = t.core.Stores.Events.List(ctx, p.Head.Last.Position, limit-len(p.Entries))
	p.Unlinked = dated(p.Unlinked, t.core.now())
	return p, err
}

// records reads at most limit records behind one.
func (t *Trail) records(ctx context.Context, after uint64, limit int) (p TrailPage, err error) {
	if p.Head, err = t.core.Stores.Trail.Head(ctx); err != nil {
		return p, err
	}
	r := trailReader{stores: &t.core.Stores}
	for more := true; more; {
		some, damaged, err := r.page(ctx, after, limit-len(p.Entries))
		if err != nil {
			return p, err
		}
		if len(some) > 0 {
			damaged = some[len(some)-1].Record.Seq
		}
		p.Entries, after = append(p.Entries, some...), max(after, damaged)
		more = damaged > 0 && after < p.Head.Last.Seq && len(p.Entries) < limit
	}
	return p, nil
}

// Latest reads the last records, at most limit, and the last of what is not linked yet, as many at most.
func (t *Trail) Latest(ctx context.Context, limit int) (TrailPage, error) {
	head, err := t.core.Stores.Trail.Head(ctx)
	if err != nil {
		return TrailPage{}, err
	}
	p, err := t.records(ctx, head.Last.Seq-min(head.Last.Seq, uint64(limit)), limit)
	if err != nil {
		return p, err
	}
	p.Unlinked, err = t.core.Stores.Events.Latest(ctx, p.Head.Last.Position, limit)
	p.Unlinked = dated(p.Unlinked, t.core.now())
	return p, err
}

// retries is how often a trail is read again that was cut while it was read.
const retries = 3

// Verify reads the whole trail and answers what is wrong with it. Elsewhere are checkpoints that were kept elsewhere. A finding is no error.
func (t *Trail) Verify(ctx context.Context, elsewhere ...audit.Checkpoint) (report audit.Report, err error) {
	for range retries {
		var was, is audit.Head
		if was, err = t.core.Stores.Trail.Head(ctx); err != nil {
			if damaged := (*audit.DamagedError)(nil); errors.As(err, &damaged) {
				return t.headless(ctx, elsewhere)
			}
			return report, err
		}
		if report, err = t.read(ctx, &was, elsewhere, nil); err != nil || report.Holds() {
			return report, err
		}
		if is, err = t.core.Stores.Trail.Head(ctx); err != nil || is.Cut == was.Cut {
			return report, err
		}
	}
	return report, err
}

// headless is what is wrong with a trail whose head cannot be read.
func (t *Trail) headless(ctx context.Context, elsewhere []audit.Checkpoint) (audit.Report, error) {
	keys, err := t.Keys(ctx)
	if err != nil {
		return audit.Report{}, err
	}
	v, err := audit.NewVerifier(keys, elsewhere...)
	if err != nil {
		return audit.Report{}, err
	}
	return v.DamagedHead(), nil
}

// read hands all entries up to a head to each, if there is one, and answers what is wrong with them.
func (t *Trail) read(ctx context.Context, head *audit.Head, elsewhere []audit.Checkpoint, each func(*audit.Entry) error) (audit.Report, error) {
	keys, err := t.Keys(ctx)
	if err != nil {
		return audit.Report{}, err
	}
	v, err := audit.NewVerifier(keys, elsewhere...)
	if err != nil {
		return audit.Report{}, err
	}
	if !head.Cut.IsZero() {
		v.Checkpoint(&head.Cut)
	}
	r := trailReader{stores: &t.core.Stores}
	take := func(entries []audit.Entry) error {
		for i := range entries {
			v.Entry(&entries[i])
			if each != nil {
				if err := each(&entries[i]); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for after := head.Cut.Seq; after < head.Last.Seq; {
		entries, damaged, err := r.page(ctx, after, int(min(trailPage, head.Last.Seq-after)))
		if err != nil {
			return audit.Report{}, err
		}
		if damaged > head.Last.Seq || damaged == 0 && len(entries) == 0 {
			break
		}
		if damaged > 0 {
			v.Damaged(damaged)
			after = damaged
			continue
		}
		if err := take(entries); err != nil {
			return audit.Report{}, err
		}
		after = entries[len(entries)-1].Record.Seq
	}
	beyond, damaged, err := r.page(ctx, head.Last.Seq, 1)
	if err != nil {
		return audit.Report{}, err
	}
	if is, err := t.core.Stores.Trail.Head(ctx); err != nil {
		return audit.Report{}, err
	} else if is.Last == head.Last { // so what stands beyond was not linked
		if damaged > 0 {
			v.Damaged(damaged)
		}
		if err := take(beyond); err != nil {
			return audit.Report{}, err
		}
	}
	return v.Head(&head.Last), nil
}

// ErrTrailBroken says that an export was not signed, for the trail does not hold.
var ErrTrailBroken = errors.New("the audit trail does not hold: the export was not signed; `xteam audit verify` tells what is wrong")

// ErrEmptySpan refuses a time that lies before another.
var ErrEmptySpan = errors.New("the end of an export lies before its beginning")

// ExportOptions say what is exported, and how.
type ExportOptions struct {
	From, To instant.Instant // all records between the first and the last of that time; 0: from the beginning, to the end
	CEF      bool            // lines of CEF; else of JSON
	Version  string          // of the program, for CEF
}

// Exporting links what there is, and tells of the export. It answers what then writes it: every record, and what is signed of them at the end. A trail that does not hold is
// written all the same, and its end is missing: then the answer is ErrTrailBroken.
func (t *Trail) Exporting(ctx context.Context, by Actor, o ExportOptions) (write func(context.Context, io.Writer) error, err error) {
	if o.From != 0 && o.To != 0 && o.To < o.From {
		return nil, ErrEmptySpan
	}
	form := "jsonl"
	if o.CEF {
		form = "cef"
	}
	if err := t.told(ctx, by, audit.AuditExported, map[string]string{"format": form}); err != nil {
		return nil, err
	}
	if _, err := t.Link(ctx); err != nil && !errors.Is(err, ErrTrailLost) && !errors.Is(err, ErrTrailForged) {
		return nil, err
	}
	return func(ctx context.Context, w io.Writer) error { return t.export(ctx, w, o) }, nil
}

// told records an event about the trail.
func (t *Trail) told(ctx context.Context, by Actor, k audit.Kind, details map[string]string) error {
	e, err := t.core.event(by.Request, k, audit.Warning, audit.Success)
	if err != nil {
		return err
	}
	e.Details = details
	by.signs(&e)
	return t.core.tell(ctx, e)
}

// export writes what Exporting promises.
func (t *Trail) export(ctx context.Context, w io.Writer, o ExportOptions) error {
	head, err := t.core.Stores.Trail.Head(ctx)
	if damaged := (*audit.DamagedError)(nil); errors.As(err, &damaged) {
		return ErrTrailBroken
	}
	if err != nil {
		return err
	}
	end := audit.Checkpoint{Purpose: audit.Exported, First: head.Cut.Seq + 1, Before: head.Cut.Head, Seq: head.Last.Seq, Head: head.Last.Head}
	if head.Cut.IsZero() {
		end.Before = head.Last.Chain.Genesis()
	}
	whole := o.From == 0 && o.To == 0
	if !whole { // what is not exported has to hold too: a head is signed for what is before it
		if err := t.narrow(ctx, &head, o, &end); err != nil {
			return err
		}
	}
	out := &exporter{w: w, o: o, sum: sha256.New()}
	if whole && !head.Cut.IsZero() {
		if err := out.checkpoint(&head.Cut); err != nil {
			return err
		}
	}
	var last *audit.Record
	report, err := t.read(ctx, &head, nil, func(e *audit.Entry) error {
		if r := &e.Record; r.Seq < end.First || r.Seq > end.Seq {
			return nil
		}
		kept := e.Record
		last = &kept
		return out.entry(e)
	})
	if err != nil {
		return err
	}
	if !report.Holds() || last != nil && last.Hash() != end.Head {
		return ErrTrailBroken
	}
	t.turn.Lock()
	k, _, err := t.open(ctx)
	t.turn.Unlock()
	if err != nil {
		return err
	}
	end.Time, end.Digest = t.core.now(), audit.Hash(out.sum.Sum(nil))
	end = k.signed(end)
	return out.checkpoint(&end)
}

// narrow finds the first and the last record of a span of time. Clocks may have gone back: what lies between those two is exported, whatever its time.
func (t *Trail) narrow(ctx context.Context, head *audit.Head, o ExportOptions, end *audit.Checkpoint) error {
	empty := audit.Checkpoint{Purpose: audit.Exported, First: head.Last.Seq + 1, Before: head.Last.Head, Seq: head.Last.Seq, Head: head.Last.Head}
	found := false
	*end = empty
	for after := head.Cut.Seq; after < head.Last.Seq; {
		links, err := t.core.Stores.Trail.List(ctx, after, int(min(trailPage, head.Last.Seq-after)))
		if damaged := (*audit.DamagedError)(nil); errors.As(err, &damaged) && damaged.At > after { // which is found when all of it is read
			after = damaged.At
			continue
		}
		if err != nil || len(links) == 0 {
			return err
		}
		for i := range links {
			r := &links[i].Record
			if r.Time < o.From || o.To != 0 && r.Time > o.To {
				continue
			}
			if !found {
				found, end.First, end.Before = true, r.Seq, r.Prev
			}
			end.Seq, end.Head = r.Seq, r.Hash()
		}
		after = links[len(links)-1].Record.Seq
	}
	return nil
}

// exporter writes lines, and remembers the sum of their bytes.
type exporter struct {
	w   io.Writer
	o   ExportOptions
	sum interface {
		io.Writer
		Sum([]byte) []byte
	}
	line []byte
}

func (x *exporter) entry(e *audit.Entry) error {
	if x.o.CEF {
		x.line = e.AppendCEF(x.line[:0], x.o.Version)
		return x.write()
	}
	x.line = e.AppendLine(x.line[:0])
	if err := x.write(); err != nil || e.Checkpoint == nil {
		return err
	}
	return x.checkpoint(e.Checkpoint)
}

func (x *exporter) checkpoint(c *audit.Checkpoint) error {
	switch {
	case !x.o.CEF:
		x.line = c.AppendLine(x.line[:0])
	case c.Purpose != audit.Exported:
		return nil
	default:
		x.line = c.AppendCEF(x.line[:0])
	}
	return x.write()
}

func (x *exporter) write() error {
	x.line = append(x.line, '\n')
	_, _ = x.sum.Write(x.line)
	_, err := x.w.Write(x.line)
	return err
}

// Review records that somebody has reviewed the trail.
func (t *Trail) Review(ctx context.Context, by Actor, note string) error {
	if len(note) > maxNote {
		return errLongNote
	}
	details := map[string]string{}
	if note = cut(note, maxNote); note != "" {
		details["note"] = note
	}
	e, err := t.core.event(by.Request, audit.AuditReviewed, audit.Info, audit.Success)
	if err != nil {
		return err
	}
	e.Details = details
	by.signs(&e)
	return t.core.tell(ctx, e)
}

// Erase takes out of the trail what is personal of everything that a user did, and of everything that tells of them, and answers of how many records. The user is named by an id, which need not be
// that of an account any more, or by an e-mail address or user name of one that is there; which networks it is known from is forgotten too. What happens is recorded; the trail holds as before.
func (t *Trail) Erase(ctx context.Context, by Actor, user string) (erased int, err error) {
	who, err := t.person(ctx, user)
	if err != nil {
		return 0, err
	}
	if _, err := t.Link(ctx); err != nil { // what is not linked could not be found again
		return 0, err
	}
	head, err := t.core.Stores.Trail.Head(ctx)
	if err != nil {
		return 0, err
	}
	r := trailReader{stores: &t.core.Stores}
	for after := uint64(0); after < head.Last.Seq; {
		entries, damaged, err := r.page(ctx, after, trailPage)
		if err != nil {
			return erased, err
		}
		if damaged > 0 {
			after = damaged
			continue
		}
		if len(entries) == 0 {
			break
		}
		var theirs []uint64
		for i := range entries {
			if e := &entries[i]; !e.Erased() && who.in(e) {
				theirs = append(theirs, e.Record.Seq)
			}
		}
		n, err := t.core.Stores.TrailCare.Erase(ctx, theirs...)
		erased += n
		if err != nil {
			return erased, err
		}
		after = entries[len(entries)-1].Record.Seq
	}
	var kept error // beside which the event of what was erased is recorded all the same
	if uid, err := id.Parse[id.User](who.id); err == nil {
		kept = t.core.forgetAll(ctx, uid)
	}
	e, err := t.core.event(by.Request, audit.PersonalDataErased, audit.Warning, audit.Success)
	if err != nil {
		return erased, err
	}
	e.Subject, e.Details = who.id, map[string]string{"records": strconv.Itoa(erased)}
	by.signs(&e)
	return erased, errors.Join(kept, t.core.tell(ctx, e))
}

// person is whom records are about.
type person struct {
	id    string
	names []string // folded
}

// person finds who is meant.
func (t *Trail) person(ctx context.Context, user string) (who person, err error) {
	var a account.Account
	uid, err := id.Parse[id.User](user)
	if err == nil {
		who.id = uid.String()
		a, err = t.core.Stores.Accounts.Find(ctx, uid)
	} else {
		a, err = t.core.lookup(ctx, user)
	}
	switch {
	case errors.Is(err, ports.ErrNotFound) && who.id != "":
		return who, nil
	case err != nil:
		return who, err
	}
	who.id, who.names = a.ID.String(), []string{a.Email.String(), a.Username.Folded()}
	return who, nil
}

// in reports whether an entry tells of the person.
func (p *person) in(e *audit.Entry) bool {
	names := func(text string) bool {
		return text != "" && (text == p.id || slices.Contains(p.names, strings.ToLower(text)))
	}
	if names(e.Record.Actor) || names(e.Record.Subject) {
		return true
	}
	if e.Personal == nil {
		return false
	}
	if names(e.Personal.Email) {
		return true
	}
	for _, text := range e.Personal.Details {
		if names(text) {
			return true
		}
	}
	return false
}

// Cut takes away the records that are older than a time, as far as all before them are too, and answers how many. What is left can be verified as before. The last record stays.
func (t *Trail) Cut(ctx context.Context, by Actor, before instant.Instant) (n uint64, err error) {
	t.turn.Lock()
	k, head, err := t.open(ctx)
	t.turn.Unlock()
	if err != nil {
		return 0, err
	}
	at := audit.Checkpoint{Purpose: audit.Cut, Time: t.core.now(), Seq: head.Cut.Seq}
	var last *audit.Link
	for after := head.Cut.Seq; ; {
		links, err := t.core.Stores.Trail.List(ctx, after, trailPage)
		if err != nil {
			return 0, err
		}
		for i := range links {
			l := links[i]
			if last != nil && l.Behind != last.Behind { // only whole batches go: the events of one are found behind one position
				at.Seq, at.Head = last.Record.Seq, last.Record.Hash()
			}
			if l.Record.Time >= before {
				links = nil
				break
			}
			last, after = &l, l.Record.Seq
		}
		if len(links) == 0 {
			break
		}
	}
	if at.Seq == head.Cut.Seq {
		if at.Seq > 0 { // what an interrupted cut has left
			err = t.core.Stores.TrailCare.Cut(ctx, head.Cut)
		}
		return 0, err
	}
	at = k.signed(at)
	if err := t.core.Stores.TrailCare.Cut(ctx, at); errors.Is(err, audit.ErrDisorder) {
		return 0, nil // another node was first
	} else if err != nil {
		return 0, err
	}
	n = at.Seq - head.Cut.Seq
	return n, t.told(ctx, by, audit.AuditCut, map[string]string{"records": strconv.FormatUint(n, 10), "up_to": strconv.FormatUint(at.Seq, 10)})
}
