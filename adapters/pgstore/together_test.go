package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/pgstore"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

// crowd has every company held up until so many changes wait: they travel together.
func crowd(t *testing.T, db *pgstore.DB, url string) (goOn func(waiting int)) {
	t.Helper()
	conn := connected(t, url)
	run1(t, conn, "begin")
	run1(t, conn, "lock table events in access exclusive mode")
	var first sync.WaitGroup
	for i := range pgstore.Companies {
		first.Go(func() {
			if err := db.System().Commit(context.Background(), ports.Effects{Events: []audit.Event{anEvent()}}); err != nil {
				t.Error(err)
			}
		})
		eventually(t, "a company is held up", func() bool { waiting, stuck := db.Waiting(); return waiting == 0 && stuck == i+1 })
	}
	t.Cleanup(first.Wait)
	return func(waiting int) {
		t.Helper()
		eventually(t, "everybody waits", func() bool { n, _ := db.Waiting(); return n == waiting })
		run1(t, conn, "rollback")
		first.Wait()
	}
}

// apart are ids that do not wait for one another.
func apart(db *pgstore.DB, n int) (all [][16]byte) {
	for {
		all = all[:0]
		for range n {
			all = append(all, newID[[16]byte]())
		}
		if db.Apart(all...) {
			return all
		}
	}
}

// batches is how many transactions have written events.
func batches(t *testing.T, db *pgstore.DB) (n int) {
	t.Helper()
	n, err := db.Batches(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestChangesTravelTogether: what comes while the database is busy shares transactions, and all of it is there.
func TestChangesTravelTogether(t *testing.T) {
	db, url := opened(t, patient)
	goOn := crowd(t, db, url)
	const n = 2*pgstore.Company - 10
	entries, events := make([]revocation.Entry, n), make([]audit.Event, n)
	var all sync.WaitGroup
	for i := range n {
		entries[i], events[i] = anEntry(), anEvent()
		all.Go(func() {
			if err := db.System().Commit(t.Context(), ports.Effects{Revocations: entries[i : i+1], Events: events[i : i+1]}); err != nil {
				t.Error(err)
			}
		})
	}
	goOn(n)
	all.Wait()
	if got := batches(t, db); got != pgstore.Companies+2 {
		t.Errorf("%d changes took %d transactions, want 2", n, got-pgstore.Companies)
	}
	stored := everything(t, db)
	for i := range entries {
		if stored[entries[i].Key()] != entries[i] {
			t.Errorf("entry %d: %+v", i, stored[entries[i].Key()])
		}
	}
	seen := map[id.Event]bool{}
	listed, _, err := db.Events().List(t.Context(), 0, 1000)
	for _, e := range listed {
		seen[e.ID] = true
	}
	for i := range events {
		if !seen[events[i].ID] {
			t.Errorf("event %d is lost (%v)", i, err)
		}
	}
}

// TestOneOfACompany: what is wrong with one change is that one's own, whatever it is: the others are carried out.
func TestOneOfACompany(t *testing.T) {
	db, url := opened(t, patient)
	taken := account.Account{ID: newID[id.User](), Email: must(account.ParseEmail("taken@example.com")), Username: must(account.ParseUsername("taken"))}
	people := []account.Account{taken}
	for i, uid := range apart(db, 4) {
		people = append(people, account.Account{ID: uid, Email: must(account.ParseEmail(fmt.Sprintf("p%d@example.com", i))), Username: must(account.ParseUsername(fmt.Sprintf("person%d", i)))})
	}
	for _, a := range people {
		if err := db.Accounts().Create(t.Context(), a, ports.Effects{}); err != nil {
			t.Fatal(err)
		}
	}
	refusal := errors.New("a refusal")
	gone, leave := context.WithCancel(t.Context())
	defer leave()
	renamed := func(name string) func(account.Account) (account.Account, ports.Effects, error) {
		return func(a account.Account) (account.Account, ports.Effects, error) {
			a.FullName = must(account.ParseFullName(name))
			return a, ports.Effects{Events: []audit.Event{anEvent()}}, nil
		}
	}
	for name, c := range map[string]struct {
		ctx    context.Context
		uid    id.User
		change func(account.Account) (account.Account, ports.Effects, error)
		want   error
	}{
		"a name that another has": {t.Context(), people[1].ID, func(a account.Account) (account.Account, ports.Effects, error) {
			a.Email = taken.Email
			return a, ports.Effects{}, nil
		}, ports.ErrTaken},
		"a refusal of its own": {t.Context(), people[1].ID, func(a account.Account) (account.Account, ports.Effects, error) { return a, ports.Effects{}, refusal }, refusal},
		"an entry that is none": {t.Context(), people[1].ID, func(a account.Account) (account.Account, ports.Effects, error) {
			return a, ports.Effects{Revocations: make([]revocation.Entry, 1)}, nil
		}, revocation.ErrInvalid},
		"a record that is none": {t.Context(), newID[id.User](), renamed("nobody"), ports.ErrNotFound},
		"a caller who has gone": {gone, people[1].ID, renamed("gone"), context.Canceled},
		"a panic":               {t.Context(), people[1].ID, func(account.Account) (account.Account, ports.Effects, error) { panic(refusal) }, refusal},
	} {
		goOn := crowd(t, db, url)
		var all sync.WaitGroup
		var got error
		all.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					got, _ = p.(error)
				}
			}()
			got = db.Accounts().Update(c.ctx, c.uid, c.change)
		})
		for i := range 3 {
			all.Go(func() {
				if err := db.Accounts().Update(t.Context(), people[2+i].ID, renamed(fmt.Sprint(name, " ", 2+i))); err != nil {
					t.Errorf("%s, another: %v", name, err)
				}
			})
		}
		waiting := 4
		if errors.Is(c.want, context.Canceled) {
			eventually(t, "they wait", func() bool { n, _ := db.Waiting(); return n == waiting })
			leave()
			waiting--
		}
		goOn(waiting)
		all.Wait()
		if !errors.Is(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
		for i := 2; i < len(people); i++ {
			if a, err := db.Accounts().Find(t.Context(), people[i].ID); err != nil || a.FullName.String() != fmt.Sprint(name, " ", i) {
				t.Errorf("%s: account %d is called %q (%v)", name, i, a.FullName, err)
			}
		}
		if a, err := db.Accounts().Find(t.Context(), people[1].ID); err != nil || !errors.Is(c.want, context.Canceled) && a != people[1] {
			t.Errorf("%s: something of it was kept: %+v (%v)", name, a, err)
		}
	}
}

// TestADawdlerIsLeftBehind: a change that takes long to make up its mind holds nobody up for long, and is carried out when it has.
func TestADawdlerIsLeftBehind(t *testing.T) {
	db, url := opened(t, patient)
	slow, quick := aSession(), aSession()
	ids := apart(db, 2)
	slow.ID, quick.ID = ids[0], ids[1]
	if err := errors.Join(db.Sessions().Create(t.Context(), slow, ports.Effects{}), db.Sessions().Create(t.Context(), quick, ports.Effects{})); err != nil {
		t.Fatal(err)
	}
	goOn := crowd(t, db, url)
	decide := make(chan struct{})
	late, soon := make(chan error, 1), make(chan error, 1)
	bump := func(wait <-chan struct{}) func(session.Session) (session.Session, ports.Effects, error) {
		return func(s session.Session) (session.Session, ports.Effects, error) {
			<-wait
			s.Counter++
			return s, ports.Effects{Events: []audit.Event{anEvent()}}, nil
		}
	}
	go func() { late <- db.Sessions().Update(t.Context(), slow.ID, bump(decide)) }()
	at := make(chan struct{})
	close(at)
	go func() { soon <- db.Sessions().Update(t.Context(), quick.ID, bump(at)) }()
	goOn(2)
	select {
	case err := <-soon:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("it waits for the other")
	}
	close(decide)
	if err := <-late; err != nil {
		t.Error(err)
	}
	for _, s := range []session.Session{slow, quick} {
		if is, err := db.Sessions().Find(t.Context(), s.ID); err != nil || is.Counter != 2 {
			t.Errorf("counter %d, want 2 (%v)", is.Counter, err)
		}
	}
}

// TestACompanyOfWhichTheConnectionBreaks goes on, each alone.
func TestACompanyOfWhichTheConnectionBreaks(t *testing.T) {
	db, url := opened(t, patient)
	conn := connected(t, url)
	all := make([]session.Session, 8)
	for i, sid := range apart(db, len(all)) {
		all[i] = aSession()
		all[i].ID = sid
		if err := db.Sessions().Create(t.Context(), all[i], ports.Effects{}); err != nil {
			t.Fatal(err)
		}
	}
	run1(t, conn, "begin")
	run1(t, conn, "lock table sessions in access exclusive mode")
	var group sync.WaitGroup
	for i := range all {
		group.Go(func() {
			if err := db.Sessions().Update(t.Context(), all[i].ID, func(s session.Session) (session.Session, ports.Effects, error) {
				s.Counter++
				return s, ports.Effects{}, nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "all are held up", func() bool { waiting, stuck := db.Waiting(); return waiting == 0 && stuck >= 1 })
	run1(t, conn, "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and wait_event_type = 'Lock'")
	run1(t, conn, "rollback")
	group.Wait()
	for i := range all {
		if is, err := db.Sessions().Find(t.Context(), all[i].ID); err != nil || is.Counter != 2 {
			t.Errorf("session %d: counter %d, want 2 (%v)", i, is.Counter, err)
		}
	}
}

// TestWhoIsNotTakenAlong does not wait for ever: after Options.Wait, or once the caller has gone, nothing of the change happens.
func TestWhoIsNotTakenAlong(t *testing.T) {
	o := patient
	o.Wait = 3 * time.Second
	db, url := opened(t, o)
	goOn := crowd(t, db, url)
	ctx, leave := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() { gone <- db.System().Commit(ctx, ports.Effects{Events: []audit.Event{anEvent()}}) }()
	eventually(t, "it waits", func() bool { n, _ := db.Waiting(); return n == 1 })
	leave()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("a caller who has gone: %v", err)
	}
	if n, _ := db.Waiting(); n != 0 {
		t.Errorf("%d are still in the queue", n)
	}
	if err := db.System().Commit(t.Context(), ports.Effects{Events: []audit.Event{anEvent()}}); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("after the wait: %v", err)
	}
	goOn(0)
	eventually(t, "the companies have arrived", func() bool { _, stuck := db.Waiting(); return stuck == 0 })
	if got := batches(t, db); got != pgstore.Companies {
		t.Errorf("%d transactions were carried out, want those %d that had set out", got, pgstore.Companies)
	}
}

// TestARowThatIsHeld: whoever travels with one who wants a row that another node holds goes on without them.
func TestARowThatIsHeld(t *testing.T) {
	db, url := opened(t, patient)
	all := make([]session.Session, 6)
	for i, sid := range apart(db, len(all)) {
		all[i] = aSession()
		all[i].ID = sid
		if err := db.Sessions().Create(t.Context(), all[i], ports.Effects{}); err != nil {
			t.Fatal(err)
		}
	}
	goOn := crowd(t, db, url)
	conn := connected(t, url)
	run1(t, conn, "begin")
	run1(t, conn, "select 1 from sessions where id = $1 for update", all[0].ID[:])
	bump := func(s session.Session) (session.Session, ports.Effects, error) {
		s.Counter++
		return s, ports.Effects{}, nil
	}
	held, free := make(chan error, 1), make(chan error, len(all))
	go func() { held <- db.Sessions().Update(t.Context(), all[0].ID, bump) }()
	for i := range all[1:] {
		go func() { free <- db.Sessions().Update(t.Context(), all[1+i].ID, bump) }()
	}
	goOn(len(all))
	for range all[1:] {
		select {
		case err := <-free:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(25 * time.Second):
			t.Fatal("it waits for another's row")
		case err := <-held:
			t.Fatalf("a row that is held was changed, or given up: %v", err)
		}
	}
	run1(t, conn, "rollback")
	if err := <-held; err != nil {
		t.Error(err)
	}
}

// breaking is a sealer that panics.
type breaking struct{ sealer }

func (breaking) Seal(string, []byte) ([]byte, error) { panic("broken") }

// TestAPanicOfACompany is met by whose it is, in their own goroutine, where whoever called can deal with it.
func TestAPanicOfACompany(t *testing.T) {
	db, _ := opened(t, patient)
	db.Unlock(breaking{})
	defer func() {
		if p := recover(); p != "broken" {
			t.Errorf("got %v, want the panic", p)
		}
		db.Unlock(sealer{})
		if err := db.System().Commit(t.Context(), ports.Effects{Events: []audit.Event{anEvent()}}); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	}()
	_ = db.System().Commit(t.Context(), ports.Effects{Events: []audit.Event{anEvent()}})
}
