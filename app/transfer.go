package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/block"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/incident"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/system"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/domain/upload"
	"github.com/xteam/xteam/ports"
)

// transferPage is how many accounts or events are read at a time.
const transferPage = 500

// Transferred counts what a transfer carried over, or found there already.
type Transferred struct {
	Accounts, Sessions, APIKeys, Keys, Revocations, Events, Blocks, Uploads int
	Unreadable                                                              []uint64 // the positions of events that cannot be read, in the source or in what that was carried over from: the first maxUnreadable
	MoreUnreadable                                                          int      // beyond those
}

// maxUnreadable is how many positions of events that cannot be read are told.
const maxUnreadable = 100

// errOther is what refuses a store that holds something else.
var errOther = errors.New("the target holds another system: name an empty one, or the one that this transfer began with")

// CopyKeys carries the rings of keys over. It works before either store is unlocked, and comes first: what follows is sealed by those keys. A target that holds other data keys is refused.
func CopyKeys(ctx context.Context, from, to ports.Keys) (n int, err error) {
	for _, name := range []string{keyset.Data, keyset.Signing, keyset.Audit} {
		ring, err := from.Find(ctx, name)
		if errors.Is(err, ports.ErrNotFound) {
			continue
		}
		if err != nil {
			return n, fmt.Errorf("read the ring %q: %w", name, err)
		}
		n += len(ring.Keys)
		err = to.Create(ctx, ring, ports.Effects{})
		if errors.Is(err, ports.ErrTaken) {
			err = to.Update(ctx, name, func(is keyset.Ring) (keyset.Ring, ports.Effects, error) {
				if name != keyset.Signing && !reflect.DeepEqual(is, ring) {
					return is, ports.Effects{}, errOther
				}
				return ring, ports.Effects{}, nil
			})
		}
		if err != nil {
			return n, fmt.Errorf("store the ring %q: %w", name, err)
		}
	}
	return n, nil
}

// Transfer carries everything but the keys from one store to another, which must both be out of use. It may be called again after it failed: what is there already is made the same. What
// the target holds beside it stays, and so does what its state has that is greater: no number goes back.
func Transfer(ctx context.Context, from, to Stores) (t Transferred, err error) {
	state, err := from.System.Load(ctx)
	if err != nil {
		return t, err
	}
	if err := to.System.Update(ctx, func(is system.State) (system.State, ports.Effects, error) {
		return state.Joined(is), ports.Effects{}, nil
	}); err != nil {
		return t, fmt.Errorf("store the system's state: %w", err)
	}
	err = each(ctx, from, func(a account.Account, sessions []session.Session, keys []apikey.Key) error {
		t.Accounts++
		if err := put(to.Accounts.Create(ctx, a, ports.Effects{}), func() error {
			return to.Accounts.Update(ctx, a.ID, func(account.Account) (account.Account, ports.Effects, error) { return a, ports.Effects{}, nil })
		}); err != nil {
			return fmt.Errorf("store the account %s: %w", a.ID, err)
		}
		for _, x := range sessions {
			t.Sessions++
			if err := put(to.Sessions.Create(ctx, x, ports.Effects{}), func() error {
				return to.Sessions.Update(ctx, x.ID, func(session.Session) (session.Session, ports.Effects, error) { return x, ports.Effects{}, nil })
			}); err != nil {
				return fmt.Errorf("store the session %s: %w", x.ID, err)
			}
		}
		for _, k := range keys {
			t.APIKeys++
			if err := put(to.APIKeys.Create(ctx, k, ports.Effects{}), func() error {
				return to.APIKeys.Update(ctx, k.ID, func(apikey.Key) (apikey.Key, ports.Effects, error) { return k, ports.Effects{}, nil })
			}); err != nil {
				return fmt.Errorf("store the API key %s: %w", k.ID, err)
			}
		}
		files, err := filesOf(ctx, from, a.ID)
		if err != nil {
			return err
		}
		for _, f := range files {
			t.Uploads++
			if err := put(to.Uploads.Create(ctx, f, ports.Effects{}), func() error { return nil }); err != nil { // what is known of one never changes
				return fmt.Errorf("store what is known of the file %s: %w", f.ID, err)
			}
		}
		return nil
	})
	if err != nil {
		return t, err
	}
	if t.Blocks, err = copyBlocks(ctx, from.Blocks, to.Blocks); err != nil {
		return t, err
	}
	if err := errors.Join(copyIncidents(ctx, from.Incidents, to.Incidents), copyAlerts(ctx, from.Alerts, to.Alerts)); err != nil {
		return t, err
	}
	if err := copyEvents(ctx, from.Events, to.Events, &t); err != nil {
		return t, err
	}
	t.Revocations, err = copyRevocations(ctx, from.Revocations, to.Revocations) // the last: none is missed that came with something else
	return t, err
}

// copyBlocks carries blocked networks over. What the target blocks beside them stays: a restore lets nobody in who was blocked since.
func copyBlocks(ctx context.Context, from, to ports.Blocks) (n int, err error) {
	l, err := from.Load(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the blocked networks: %w", err)
	}
	err = to.Update(ctx, func(is block.List) (block.List, ports.Effects, error) {
		next := is
		for _, b := range l.Blocks {
			if slices.Contains(is.Blocks, b) {
				continue
			}
			var err error
			if next, err = next.Put(b, 0); err != nil { // 0: those that are over too, so that both are the same
				return is, ports.Effects{}, err
			}
		}
		next.Revision = max(next.Revision, l.Revision)
		return next, ports.Effects{}, nil
	})
	if err != nil {
		return 0, fmt.Errorf("store the blocked networks: %w", err)
	}
	return len(l.Blocks), nil
}

// copyIncidents carries the casebook over, and with it who may sign in and which nodes serve nobody. A target that has a later one keeps it: a restore takes nothing back of what was done since.
func copyIncidents(ctx context.Context, from, to ports.Incidents) error {
	b, err := from.Load(ctx)
	if err != nil {
		return fmt.Errorf("read the incidents: %w", err)
	}
	err = to.Update(ctx, func(is incident.Casebook) (incident.Casebook, ports.Effects, error) {
		if is.Revision >= b.Revision {
			return is, ports.Effects{}, nil
		}
		return b, ports.Effects{}, nil
	})
	if err != nil {
		return fmt.Errorf("store the incidents: %w", err)
	}
	return nil
}

// copyAlerts carries the book of alerts over to a target that has none.
func copyAlerts(ctx context.Context, from, to ports.Alerts) error {
	b, err := from.Load(ctx)
	if err != nil {
		return fmt.Errorf("read the alerts: %w", err)
	}
	err = to.Update(ctx, func(is alert.Book) (alert.Book, ports.Effects, error) {
		if len(is.Alerts)+len(is.Silences) > 0 {
			return is, ports.Effects{}, nil
		}
		return b, ports.Effects{}, nil
	})
	if err != nil {
		return fmt.Errorf("store the alerts: %w", err)
	}
	return nil
}

// sameBlocks answers the first block that the target has not, or has otherwise.
func sameBlocks(ctx context.Context, from, to ports.Blocks) (missing *block.Block, err error) {
	was, err1 := from.Load(ctx)
	is, err2 := to.Load(ctx)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	for i := range was.Blocks {
		if !slices.Contains(is.Blocks, was.Blocks[i]) {
			return &was.Blocks[i], nil
		}
	}
	return nil, nil
}

// put answers how a record was created, or how one that was there already was replaced.
func put(created error, replace func() error) error {
	if errors.Is(created, ports.ErrTaken) {
		return replace()
	}
	return created
}

// filesOf is what a store knows of the files of an account; their bytes are not in it.
func filesOf(ctx context.Context, s Stores, uid id.User) ([]upload.File, error) {
	if s.Uploads == nil {
		return nil, nil
	}
	all, err := s.Uploads.OfUser(ctx, uid)
	if err != nil {
		return nil, fmt.Errorf("read the files of %s: %w", uid, err)
	}
	return all, nil
}

// each calls f with every account, and what it has.
func each(ctx context.Context, s Stores, f func(account.Account, []session.Session, []apikey.Key) error) error {
	for behind := (id.User{}); ; {
		page, err := s.Accounts.List(ctx, behind, transferPage)
		if err != nil {
			return fmt.Errorf("read accounts: %w", err)
		}
		for _, a := range page {
			sessions, err := s.Sessions.OfUser(ctx, a.ID)
			if err != nil {
				return fmt.Errorf("read the sessions of %s: %w", a.ID, err)
			}
			keys, err := s.APIKeys.OfUser(ctx, a.ID)
			if err != nil {
				return fmt.Errorf("read the API keys of %s: %w", a.ID, err)
			}
			if err := f(a, sessions, keys); err != nil {
				return err
			}
		}
		if len(page) < transferPage {
			return nil
		}
		behind = page[len(page)-1].ID
	}
}

func copyRevocations(ctx context.Context, from, to ports.Revocations) (n int, err error) {
	err = from.Follow(ctx, func(news ports.News) error {
		if len(news.Entries) > 0 {
			if err := to.Record(ctx, news.Entries...); err != nil {
				return fmt.Errorf("store revocations: %w", err)
			}
			n += len(news.Entries)
		}
		if news.Caught {
			return errNothing
		}
		return nil
	})
	if errors.Is(err, errNothing) {
		err = nil
	}
	return n, err
}

// errSpoiled refuses a target that holds an event otherwise than the source, because it cannot be read on one side.
var errSpoiled = errors.New("an event that cannot be read any more on one side stands whole on the other: name an empty target")

// copyEvents carries events over in their order, from where an earlier transfer ended. What cannot be read is carried over as that: the target tells of it as the source does.
func copyEvents(ctx context.Context, from, to ports.Events, t *Transferred) error {
	var there []id.Event
	spoiled := map[int]bool{}
	if err := eachEvent(ctx, to, func(events []audit.Event) error {
		for i := range events {
			if events[i].Kind == audit.EventUnreadable {
				spoiled[len(there)] = true
			}
			there = append(there, events[i].ID)
		}
		return nil
	}); err != nil {
		return err
	}
	return eachEvent(ctx, from, func(events []audit.Event) error {
		fresh := events
		for i := range events {
			e, n := &events[i], t.Events+i
			if e.Kind == audit.EventUnreadable {
				t.unreadable(e)
			}
			if n >= len(there) {
				continue
			}
			if fresh = fresh[1:]; there[n] != e.ID {
				if spoiled[n] || e.Kind == audit.EventUnreadable {
					return errSpoiled
				}
				return errOther
			}
		}
		t.Events += len(events)
		return to.Record(ctx, fresh...)
	})
}

// unreadable notes where an event stood that cannot be read.
func (t *Transferred) unreadable(e *audit.Event) {
	at, err := strconv.ParseUint(e.Details["position"], 10, 64)
	if err != nil || len(t.Unreadable) == maxUnreadable { // of one that was erased nothing is known but that it is there
		t.MoreUnreadable++
		return
	}
	t.Unreadable = append(t.Unreadable, at)
}

func eachEvent(ctx context.Context, s ports.Events, f func([]audit.Event) error) error {
	for behind := uint64(0); ; {
		events, last, err := s.List(ctx, behind, transferPage)
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
		if len(events) == 0 {
			return nil
		}
		if err := f(events); err != nil {
			return err
		}
		behind = last
	}
}

// CopyTrail carries the audit trail over, behind what Transfer did, and answers the number of its last record. A target that holds the same trail and more stays as it is; one that holds another is refused. The
// head is signed anew, for it tells where in its store the chain goes on: so a trail that does not hold (audit.Report.Holds) is not carried over, and is ErrTrailBroken.
func CopyTrail(ctx context.Context, from, to Stores, sealer ports.Sealer, now func() time.Time) (n uint64, err error) {
	was, err := from.Trail.Head(ctx)
	if err != nil || was.Last.IsZero() {
		return 0, err
	}
	source := NewTrail(&Core{Stores: from, Now: now}, sealer, TrailOptions{})
	report, err := source.Verify(ctx)
	if err != nil {
		return 0, fmt.Errorf("verify the audit trail: %w", err)
	}
	if !report.Holds() {
		return 0, fmt.Errorf("%w: %s", ErrTrailBroken, report.Worst())
	}
	is, err := to.Trail.Head(ctx)
	if err != nil {
		return 0, err
	}
	begun := was.Cut
	if begun.IsZero() {
		begun = audit.Checkpoint{Head: was.Last.Chain.Genesis()}
	}
	switch {
	case is.Last.IsZero():
		is.Last = audit.Checkpoint{Purpose: audit.Headed, Chain: was.Last.Chain, Seq: begun.Seq, Head: begun.Head}
		if err := to.Trail.Append(ctx, audit.Checkpoint{}, nil, is.Last); err != nil {
			return 0, fmt.Errorf("begin the audit trail: %w", err)
		}
	case is.Last.Seq >= was.Last.Seq:
		return was.Last.Seq, sameHead(ctx, to.Trail, &is, was.Last.Seq, was.Last.Head)
	default: // an earlier transfer was interrupted
		if err := sameHead(ctx, from.Trail, &was, is.Last.Seq, is.Last.Head); err != nil {
			return 0, err
		}
	}
	if is.Last, err = copyLinks(ctx, from.Trail, to, is.Last); err != nil {
		return 0, err
	}
	ring, err := to.Keys.Find(ctx, keyset.Audit)
	if err != nil {
		return 0, fmt.Errorf("read the audit keys: %w", err)
	}
	k, err := source.keyOf(ring)
	if err != nil {
		return 0, err
	}
	signed := k.signed(audit.Checkpoint{Purpose: audit.Headed, Time: instant.Of(now()), Seq: is.Last.Seq, Head: is.Last.Head, Position: is.Last.Position})
	if err := to.Trail.Append(ctx, is.Last, nil, signed); err != nil {
		return 0, fmt.Errorf("sign the audit trail: %w", err)
	}
	if !was.Cut.IsZero() && was.Cut != is.Cut {
		if err := to.TrailCare.Cut(ctx, was.Cut); err != nil {
			return 0, fmt.Errorf("store where the audit trail was cut: %w", err)
		}
	}
	return signed.Seq, nil
}

// sameHead demands that a trail has that hash at a record.
func sameHead(ctx context.Context, t ports.Trail, head *audit.Head, seq uint64, hash audit.Hash) error {
	for _, c := range []*audit.Checkpoint{&head.Last, &head.Cut} {
		if c.Seq == seq {
			if c.Head != hash {
				return errOther
			}
			return nil
		}
	}
	if seq == 0 {
		return nil // a chain that has not a record yet
	}
	links, err := t.List(ctx, seq-1, 1)
	switch {
	case err != nil:
		return err
	case len(links) == 0 || links[0].Record.Seq != seq || links[0].Record.Hash() != hash:
		return errOther
	}
	return nil
}

// copyLinks carries links over behind a head, to where their events stand in the target, and answers the head that is there then. It has no signature.
func copyLinks(ctx context.Context, from ports.Trail, to Stores, is audit.Checkpoint) (audit.Checkpoint, error) {
	for {
		links, err := from.List(ctx, is.Seq, audit.MaxBatch)
		if err != nil || len(links) == 0 {
			return is, err
		}
		events, last, err := to.Events.List(ctx, is.Position, len(links))
		if err != nil {
			return is, err
		}
		links = links[:min(len(links), max(len(events), 1))] // the others come next
		for i := range links {
			if i >= len(events) || events[i].ID != links[i].Record.Event {
				return is, fmt.Errorf("record %d of the audit trail tells of another event than stands in its place: %w", links[i].Record.Seq, errOther)
			}
			links[i].Behind = is.Position
		}
		end := &links[len(links)-1].Record
		next := audit.Checkpoint{Purpose: audit.Headed, Chain: is.Chain, Seq: end.Seq, Head: end.Hash(), Position: last}
		if err := to.Trail.Append(ctx, is, links, next); err != nil {
			return is, fmt.Errorf("store the audit trail: %w", err)
		}
		is = next
	}
}

// Compare reads everything on both sides, and answers what is not the same on the other.
func Compare(ctx context.Context, from, to Stores) error {
	differs := func(what string, which any) error {
		return fmt.Errorf("%s %v is not the same in the target", what, which)
	}
	was, err1 := from.System.Load(ctx)
	is, err2 := to.System.Load(ctx)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if was.Joined(is) != is {
		return differs("the system's state", was)
	}
	err := each(ctx, from, func(a account.Account, sessions []session.Session, keys []apikey.Key) error {
		got, err := to.Accounts.Find(ctx, a.ID)
		if err != nil {
			return fmt.Errorf("the account %s: %w", a.ID, err)
		}
		if !reflect.DeepEqual(a, got) {
			return differs("the account", a.ID)
		}
		for _, x := range sessions {
			got, err := to.Sessions.Find(ctx, x.ID)
			if err != nil {
				return fmt.Errorf("the session %s: %w", x.ID, err)
			}
			if !reflect.DeepEqual(x, got) {
				return differs("the session", x.ID)
			}
		}
		for _, k := range keys {
			got, err := to.APIKeys.Find(ctx, k.ID)
			if err != nil {
				return fmt.Errorf("the API key %s: %w", k.ID, err)
			}
			if !reflect.DeepEqual(k, got) {
				return differs("the API key", k.ID)
			}
		}
		files, err := filesOf(ctx, from, a.ID)
		if err != nil {
			return err
		}
		for _, f := range files {
			got, err := to.Uploads.Find(ctx, f.ID)
			if err != nil {
				return fmt.Errorf("the file %s: %w", f.ID, err)
			}
			if f != got {
				return differs("the file", f.ID)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if missing, err := sameBlocks(ctx, from.Blocks, to.Blocks); err != nil {
		return err
	} else if missing != nil {
		return differs("the block of", missing.Prefix)
	}
	before, err1 := liveEntries(ctx, from.Revocations)
	after, err2 := liveEntries(ctx, to.Revocations)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	for key, e := range before {
		if after[key] != e {
			return differs("the revocation of", e.Kind)
		}
	}
	var events []audit.Event
	if err := eachEvent(ctx, from.Events, func(page []audit.Event) error { events = append(events, page...); return nil }); err != nil {
		return err
	}
	n := 0
	err = eachEvent(ctx, to.Events, func(page []audit.Event) error {
		for i := range page {
			if n < len(events) && !reflect.DeepEqual(page[i], events[n]) {
				return differs("the event", page[i].ID)
			}
			n++
		}
		return nil
	})
	if err == nil && n < len(events) {
		err = fmt.Errorf("%d events are missing in the target", len(events)-n)
	}
	return err
}

func liveEntries(ctx context.Context, r ports.Revocations) (map[string]revocation.Entry, error) {
	all := map[string]revocation.Entry{}
	err := r.Follow(ctx, func(news ports.News) error {
		for _, e := range news.Entries {
			all[e.Key()] = e
		}
		if news.Caught {
			return errNothing
		}
		return nil
	})
	if errors.Is(err, errNothing) {
		err = nil
	}
	return all, err
}

// Restore is what is known before an older state takes the place of a newer one.
type Restore struct {
	Undone []string // what was disabled, demoted, revoked or given another password since, and will be so no more

	epoch       token.Epoch
	raised      revocation.Entry
	generations map[id.User]token.Generation
}

// Restoring looks at what an older state will take the place of.
func Restoring(ctx context.Context, from, to Stores) (*Restore, error) {
	was, err1 := from.System.Load(ctx)
	is, err2 := to.System.Load(ctx)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	r := &Restore{epoch: max(was.Epoch, is.Epoch), generations: map[id.User]token.Generation{}}
	err := each(ctx, to, func(a account.Account, _ []session.Session, keys []apikey.Key) error {
		r.generations[a.ID] = a.Generation
		old, err := from.Accounts.Find(ctx, a.ID)
		switch {
		case errors.Is(err, ports.ErrNotFound):
			return nil
		case err != nil:
			return err
		}
		if a.Disabled && !old.Disabled {
			r.Undone = append(r.Undone, fmt.Sprintf("account %s (%s) was disabled", a.ID, a.Username))
		}
		if a.Role != old.Role {
			r.Undone = append(r.Undone, fmt.Sprintf("account %s (%s) had the role %s, and has %s", a.ID, a.Username, a.Role, old.Role))
		}
		if a.Generation > old.Generation && a.Password != old.Password { // one that was only hashed anew raises no generation
			r.Undone = append(r.Undone, fmt.Sprintf("account %s (%s) had another password, and that of before is good again", a.ID, a.Username))
		}
		for _, k := range keys {
			old, err := from.APIKeys.Find(ctx, k.ID)
			switch {
			case errors.Is(err, ports.ErrNotFound):
			case err != nil:
				return err
			case k.Revoked != 0 && old.Revoked == 0:
				r.Undone = append(r.Undone, fmt.Sprintf("API key %s of %s was revoked", k.ID, a.Username))
			}
		}
		return nil
	})
	return r, err
}

// Begin ends everything that was issued before the restore: a session, a password or a right of then is an old one. It comes before anything is carried over: a restore that is cut off leaves a store in which nothing of before is good, and can be
// done again. The epoch is above that of before, and does not go back. The system's own signing keys go, for one of them may have been revoked since, and whoever stole it can write any epoch: one that newKey makes takes their place.
func (r *Restore) Begin(ctx context.Context, to Stores, now instant.Instant, newKey func(algorithm string) (keyset.Key, error)) error {
	err := to.System.Update(ctx, func(s system.State) (system.State, ports.Effects, error) {
		s.Epoch = max(s.Epoch, r.epoch)
		s, r.raised = s.RevokeAll(Operator, "a backup was restored", now)
		return s, ports.Effects{Revocations: []revocation.Entry{r.raised}}, nil
	})
	if err != nil {
		return fmt.Errorf("raise the epoch: %w", err)
	}
	return replaceKeys(ctx, to.Keys, now, newKey)
}

// Finish raises the generations of accounts, which revocations that stay in force name, to those of before, and tells of the restore. It answers the epoch from which tokens are good.
func (r *Restore) Finish(ctx context.Context, to Stores, now instant.Instant, random io.Reader) (raised token.Epoch, err error) {
	for uid, least := range r.generations {
		err := to.Accounts.Update(ctx, uid, func(a account.Account) (account.Account, ports.Effects, error) {
			a.Generation = max(a.Generation, least)
			return a, ports.Effects{}, nil
		})
		if err != nil {
			return 0, fmt.Errorf("raise the generation of the account %s: %w", uid, err)
		}
	}
	eid, err := id.New[id.Event](random)
	if err != nil {
		return 0, err
	}
	event := audit.Event{ID: eid, Time: now, Kind: audit.EpochRaised, Severity: audit.Critical, Outcome: audit.Success, Actor: Operator, Reason: revocation.EpochRaised.String(),
		Details: map[string]string{"note": "a backup was restored"}}
	err = to.System.Update(ctx, func(s system.State) (system.State, ports.Effects, error) {
		return s.Knows(&r.raised), ports.Effects{Revocations: []revocation.Entry{r.raised}, Events: []audit.Event{event}}, nil
	})
	return r.raised.Epoch, err
}

// replaceKeys ends every signing key that is not given by settings, and has another sign in the place of the one that did.
func replaceKeys(ctx context.Context, keys ports.Keys, now instant.Instant, newKey func(algorithm string) (keyset.Key, error)) error {
	ring, err := keys.Find(ctx, keyset.Signing)
	if errors.Is(err, ports.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the signing keys: %w", err)
	}
	signs, ok := ring.Primary(keyset.Sign)
	if !ok || signs.Given() {
		signs = keyset.Key{}
	} else if signs, err = newKey(signs.Algorithm); err != nil {
		return fmt.Errorf("make a signing key: %w", err)
	}
	err = keys.Update(ctx, keyset.Signing, func(r keyset.Ring) (keyset.Ring, ports.Effects, error) {
		r.Keys = slices.Clone(r.Keys)
		for i := range r.Keys {
			if k := &r.Keys[i]; k.State.Verifies() && !k.Given() {
				k.State, k.Changed, k.Wrapped = keyset.Gone, now, nil
			}
		}
		if signs.ID == "" {
			return r, ports.Effects{}, nil
		}
		r, err := r.Add(signs, false, now)
		return r, ports.Effects{}, err
	})
	if err != nil {
		return fmt.Errorf("replace the signing keys: %w", err)
	}
	return nil
}

// NewSigningKey makes a signing key of the system's own, its secret half sealed.
func NewSigningKey(codec ports.SigningKeys, sealer ports.Sealer, algorithm string) (keyset.Key, error) {
	k, err := codec.NewKey(algorithm)
	if err != nil {
		return keyset.Key{}, err
	}
	k.Wrapped, err = sealer.Seal(sealedAt(k.ID), []byte(k.Secret.RevealPlaintext()))
	return k, err
}
