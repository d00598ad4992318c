package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xteam/xteam/adapters/pgstore"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/node"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/system"
	"github.com/xteam/xteam/ports"
	"github.com/xteam/xteam/ports/porttest"
)

// opened is a store on a database of its own, and that database's URL.
func opened(t testing.TB, o pgstore.Options) (*pgstore.DB, string) {
	t.Helper()
	url := database(t, t.TempDir())
	return reopened(t, url, o), url
}

func reopened(t testing.TB, url string, o pgstore.Options) *pgstore.DB {
	t.Helper()
	db, err := pgstore.Open(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	db.Unlock(sealer{})
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// connected is a connection beside the store's.
func connected(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func run1(t testing.TB, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// everything is what a new follower is given until it has caught up.
func everything(t testing.TB, db *pgstore.DB) map[string]revocation.Entry {
	t.Helper()
	enough := errors.New("enough")
	got := map[string]revocation.Entry{}
	err := db.Revocations().Follow(context.Background(), func(n ports.News) error {
		for _, e := range n.Entries {
			got[e.Key()] = e
		}
		if n.Caught {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
	return got
}

// watch follows in the background, and answers whether an entry has been delivered, and how many rounds ended.
func watch(t testing.TB, db *pgstore.DB) (seen func(revocation.Entry) bool, rounds func() int64) {
	t.Helper()
	var all sync.Map
	var caught atomic.Int64
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = db.Revocations().Follow(ctx, func(n ports.News) error {
			for _, e := range n.Entries {
				all.Store(e.Key(), true)
			}
			if n.Caught {
				caught.Add(1)
			}
			return nil
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return func(e revocation.Entry) bool { _, ok := all.Load(e.Key()); return ok }, caught.Load
}

// TestEntriesThatCommitLate holds a transaction open that has its number, while later ones commit and are delivered: when it ends at last, its entry is delivered too.
func TestEntriesThatCommitLate(t *testing.T) {
	db, url := opened(t, pgstore.Options{Poll: 20 * time.Millisecond})
	other := reopened(t, url, pgstore.Options{})
	seen, rounds := watch(t, db)
	eventually(t, "the first round", func() bool { return rounds() > 0 })
	conn := connected(t, url)
	late := anEntry()
	run1(t, conn, "begin")
	run1(t, conn, "insert into revocations (key, reason, asked_by, note, at, until) values ($1, 1, '', '', 1, $2)", []byte(late.Key()), int64(late.Until))
	for range 5 {
		e := anEntry()
		if err := other.Revocations().Record(t.Context(), e); err != nil { // another node's: nothing wakes the follower
			t.Fatal(err)
		}
		eventually(t, "a later entry, while an earlier transaction is open", func() bool { return seen(e) })
		n := rounds()
		eventually(t, "more rounds", func() bool { return rounds() >= n+3 })
	}
	if seen(late) {
		t.Fatal("an entry was delivered that is not committed")
	}
	run1(t, conn, "commit")
	eventually(t, "the entry that was committed late", func() bool { return seen(late) })
}

// TestEventsThatCommitLate is the same of events: one that was written first and committed last stands behind those that were read meanwhile.
func TestEventsThatCommitLate(t *testing.T) {
	db, url := opened(t, pgstore.Options{})
	conn := connected(t, url)
	run1(t, conn, "begin")
	late := anEvent()
	sealed := must(sealer{}.Seal("events/"+string(late.ID[:]), pgstore.EncodeEvent(late)))
	run1(t, conn, "insert into events (batch, place, id, sealed) values (nextval('event_batches'), 1, $1, $2)", late.ID[:], sealed)
	first := anEvent()
	if err := db.Events().Record(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	got, last, err := db.Events().List(t.Context(), 0, 10)
	if err != nil || len(got) != 1 || got[0].ID != first.ID {
		t.Fatalf("got %d events, error %v, want the one that is committed", len(got), err)
	}
	run1(t, conn, "commit")
	got, _, err = db.Events().List(t.Context(), last, 10)
	if err != nil || len(got) != 1 || got[0].ID != late.ID {
		t.Fatalf("behind what was read: got %d events, error %v, want the one that was committed late", len(got), err)
	}
}

// TestALoadedDump: the numbers of transactions in it are those of another server.
func TestALoadedDump(t *testing.T) {
	db, url := opened(t, pgstore.Options{})
	e := anEntry()
	if err := db.Revocations().Record(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	conn := connected(t, url)
	run1(t, conn, "update revocations set xid = '4611686018427387904'")
	again := reopened(t, url, pgstore.Options{Poll: 10 * time.Millisecond})
	if all := everything(t, again); len(all) != 1 {
		t.Errorf("got %d entries, want 1", len(all))
	}
	var ahead bool
	if err := conn.QueryRow(t.Context(), "select exists(select from revocations where xid >= pg_snapshot_xmax(pg_current_snapshot()))").Scan(&ahead); err != nil || ahead {
		t.Errorf("numbers that the server has yet to give: got %v, error %v, want none", ahead, err)
	}
}

// TestAFollowerEndsWithItsConnection: what it remembers of one server's transactions is held against no other's.
func TestAFollowerEndsWithItsConnection(t *testing.T) {
	db, url := opened(t, pgstore.Options{Poll: 10 * time.Millisecond})
	ended := make(chan error, 1)
	started := make(chan struct{})
	var once sync.Once
	go func() {
		ended <- db.Revocations().Follow(context.Background(), func(ports.News) error { once.Do(func() { close(started) }); return nil })
	}()
	<-started
	run1(t, connected(t, url), "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
	if err := <-ended; !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	if err := db.Revocations().Record(t.Context(), anEntry()); err != nil { // the pool's broken connections are replaced
		t.Errorf("Record afterwards: %v", err)
	}
}

// TestAFollowerEndsWithItsTable: rows of a dump that is restored under a running server are as old as the dump says, so that a follower would miss none of those that are gone.
func TestAFollowerEndsWithItsTable(t *testing.T) {
	for name, sql := range map[string]string{
		"emptied":    "begin; create temp table kept as select * from revocations limit 1; truncate revocations; insert into revocations select * from kept; commit",
		"made anew":  "begin; alter table revocations rename to old; create table revocations (like old including all); commit",
		"moved back": "begin; create table other (like revocations including all); alter table revocations rename to later; alter table other rename to revocations; commit",
	} {
		t.Run(name, func(t *testing.T) {
			db, url := opened(t, pgstore.Options{Poll: 10 * time.Millisecond})
			if err := db.Revocations().Record(t.Context(), anEntry(), anEntry()); err != nil {
				t.Fatal(err)
			}
			ended, started := make(chan error, 1), make(chan struct{})
			var once sync.Once
			go func() {
				ended <- db.Revocations().Follow(context.Background(), func(n ports.News) error {
					if n.Caught {
						once.Do(func() { close(started) })
					}
					return nil
				})
			}()
			<-started
			run1(t, connected(t, url), sql)
			select {
			case err := <-ended:
				if !errors.Is(err, ports.ErrUnavailable) || !strings.Contains(err.Error(), "emptied or made anew") {
					t.Errorf("got %v", err)
				}
			case <-time.After(time.Minute):
				t.Error("the follower goes on")
			}
		})
	}
}

// TestClaim: one of many is told that it shall put back what was lost, and another when its time is over or its node is gone.
func TestClaim(t *testing.T) {
	one, url := opened(t, pgstore.Options{})
	two := reopened(t, url, pgstore.Options{})
	claims := func(db *pgstore.DB, howLong time.Duration) bool {
		t.Helper()
		mine, err := db.Revocations().Claim(t.Context(), howLong)
		if err != nil {
			t.Fatal(err)
		}
		return mine
	}
	if !claims(one, 3*time.Second) {
		t.Fatal("nobody has it, and the first was refused")
	}
	if claims(one, time.Hour) || claims(two, time.Hour) {
		t.Error("two have it")
	}
	deadline := time.Now().Add(time.Minute)
	for !claims(two, time.Hour) {
		if time.Now().After(deadline) {
			t.Fatal("its time is over, and nobody else gets it")
		}
	}
	if claims(one, time.Hour) {
		t.Error("two have it")
	}
	run1(t, connected(t, url), "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())")
	for !claims(one, time.Hour) {
		if time.Now().After(deadline) {
			t.Fatal("who had it is gone, and nobody else gets it")
		}
	}
}

// TestBrokenConnections: a statement that was never sent, or whose transaction cannot have been committed, is tried once more.
func TestBrokenConnections(t *testing.T) {
	db, url := opened(t, patient)
	conn := connected(t, url)
	v := aSession()
	if err := db.Sessions().Create(t.Context(), v, ports.Effects{}); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		run1(t, conn, "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
		if err := db.Sessions().Update(t.Context(), v.ID, func(v session.Session) (session.Session, ports.Effects, error) {
			v.Counter++
			return v, ports.Effects{}, nil
		}); err != nil {
			t.Fatalf("Update: %v", err)
		}
	}
	if got, err := db.Sessions().Find(t.Context(), v.ID); err != nil || got.Counter != 6 {
		t.Errorf("got counter %d, error %v, want 6: no change was made twice", got.Counter, err)
	}
}

// TestUnknownOutcome kills the connection while its commit is under way: whatever happened, the call does not report success.
func TestUnknownOutcome(t *testing.T) {
	db, url := opened(t, patient)
	conn := connected(t, url)
	run1(t, conn, `create function slow() returns trigger language plpgsql as 'begin perform pg_sleep(30); return null; end'`)
	run1(t, conn, `create constraint trigger slow after insert on sessions deferrable initially deferred for each row execute function slow()`)
	done := make(chan error, 1)
	v := aSession()
	go func() { done <- db.Sessions().Create(context.Background(), v, ports.Effects{}) }()
	eventually(t, "a commit that waits", func() bool {
		var n int
		err := conn.QueryRow(t.Context(), "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and query = 'commit' and wait_event = 'PgSleep'").Scan(&n)
		return err == nil && n > 0
	})
	if err := <-done; !errors.Is(err, ports.ErrUnavailable) || !strings.Contains(err.Error(), "not known") {
		t.Errorf("got %v, want ErrUnavailable that says that the outcome is not known", err)
	}
}

// TestConflicts: a transaction that lost is run again, and in the end told of.
func TestConflicts(t *testing.T) {
	db, url := opened(t, patient)
	conn := connected(t, url)
	v := aSession()
	if err := db.Sessions().Create(t.Context(), v, ports.Effects{}); err != nil {
		t.Fatal(err)
	}
	run1(t, conn, "create sequence tries")
	run1(t, conn, `create function lose() returns trigger language plpgsql as
		'begin if nextval(''tries'') < 4 then raise exception ''lost'' using errcode = ''serialization_failure''; end if; return new; end'`)
	run1(t, conn, "create trigger lose before update on sessions for each row execute function lose()")
	ran := 0
	bump := func(v session.Session) (session.Session, ports.Effects, error) {
		ran++
		v.Counter++
		return v, ports.Effects{Events: nil, Revocations: []revocation.Entry{anEntry()}}, nil
	}
	if err := db.Sessions().Update(t.Context(), v.ID, bump); err != nil {
		t.Fatal(err)
	}
	if got, err := db.Sessions().Find(t.Context(), v.ID); err != nil || got.Counter != 2 || ran != 4 || len(everything(t, db)) != 1 {
		t.Errorf("got counter %d after %d runs, error %v, want 2 after 4, and one revocation", got.Counter, ran, err)
	}
	run1(t, conn, "select setval('tries', 1, false)")
	run1(t, conn, "alter sequence tries increment by 1 minvalue 0 maxvalue 3 start 0 restart 0 cycle")
	if err := db.Sessions().Update(t.Context(), v.ID, bump); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("that always loses: got %v, want ErrUnavailable", err)
	}
	if got, err := db.Sessions().Find(t.Context(), v.ID); err != nil || got.Counter != 2 {
		t.Errorf("got counter %d, error %v, want 2", got.Counter, err)
	}
}

// TestTimeouts: a statement that takes too long, and a row that another node holds, are ErrUnavailable in time, and the connection is good again.
func TestTimeouts(t *testing.T) {
	db, url := opened(t, pgstore.Options{StatementTimeout: 2 * time.Second, LockTimeout: 200 * time.Millisecond})
	conn := connected(t, url)
	v := aSession()
	if err := db.Sessions().Create(t.Context(), v, ports.Effects{}); err != nil {
		t.Fatal(err)
	}
	bump := func() error {
		return db.Sessions().Update(t.Context(), v.ID, func(v session.Session) (session.Session, ports.Effects, error) {
			v.Counter++
			return v, ports.Effects{}, nil
		})
	}
	run1(t, conn, "begin")
	run1(t, conn, "select from sessions for update")
	if err := bump(); !errors.Is(err, ports.ErrUnavailable) || !strings.Contains(err.Error(), "lock timeout") {
		t.Errorf("a row that is held: got %v, want ErrUnavailable for the lock timeout", err)
	}
	run1(t, conn, "rollback")
	run1(t, conn, `create function slow() returns trigger language plpgsql as 'begin perform pg_sleep(30); return new; end'`)
	run1(t, conn, "create trigger slow before update on sessions for each row execute function slow()")
	if err := bump(); !errors.Is(err, ports.ErrUnavailable) || !strings.Contains(err.Error(), "statement timeout") {
		t.Errorf("a slow statement: got %v, want ErrUnavailable for the statement timeout", err)
	}
	run1(t, conn, "drop trigger slow on sessions")
	eventually(t, "a change afterwards", func() bool { return bump() == nil })
}

// TestPoolExhausted: of 500 callers of a pool whose connections all hang, each has its answer in a bounded time, and afterwards all is well.
func TestPoolExhausted(t *testing.T) {
	db, url := opened(t, pgstore.Options{MaxConns: 4, Wait: 500 * time.Millisecond, StatementTimeout: 20 * time.Second, LockTimeout: 20 * time.Second})
	conn := connected(t, url)
	ids := make([]id.Session, 16)
	for i := range ids {
		v := aSession()
		ids[i] = v.ID
		if err := db.Sessions().Create(t.Context(), v, ports.Effects{}); err != nil {
			t.Fatal(err)
		}
	}
	run1(t, conn, "begin")
	run1(t, conn, "lock table sessions in access exclusive mode")
	holders, release := context.WithCancel(t.Context())
	defer release()
	var held sync.WaitGroup
	for i := range 4 {
		held.Go(func() { _, _ = db.Sessions().Find(holders, ids[i]) })
	}
	eventually(t, "a pool without a free connection", func() bool { idle, total := db.Idle(); return idle == 0 && total == 4 })
	var all sync.WaitGroup
	var refused atomic.Int64
	start := time.Now()
	for i := range 500 {
		all.Go(func() {
			_, err := db.Sessions().Find(t.Context(), ids[i%len(ids)])
			if errors.Is(err, ports.ErrUnavailable) {
				refused.Add(1)
			} else {
				t.Errorf("got %v, want ErrUnavailable", err)
			}
		})
	}
	all.Wait()
	if took := time.Since(start); took > 15*time.Second || refused.Load() != 500 {
		t.Errorf("500 callers: %d refused after %v, want all within a bound of half a second and what the machine takes", refused.Load(), took)
	}
	run1(t, conn, "rollback")
	held.Wait()
	if _, err := db.Sessions().Find(t.Context(), ids[0]); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestTextThatLooksLikeSQL goes there and back.
func TestTextThatLooksLikeSQL(t *testing.T) {
	db, _ := opened(t, patient)
	for _, text := range []string{"$1", "$$", "'; --", `\'; drop table accounts; --`, "a\x00b", "\xff\xfe"} {
		r := keyset.Ring{Name: "ring " + strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), ""), Keys: []keyset.Key{{ID: strings.ToValidUTF8(text, "?"), Wrapped: []byte(text)}}}
		if err := db.Keys().Create(t.Context(), r, ports.Effects{}); err != nil {
			t.Errorf("a ring named %q: %v", r.Name, err)
		}
		if got, err := db.Keys().Find(t.Context(), r.Name); err != nil || got.Name != r.Name || string(got.Keys[0].Wrapped) != text {
			t.Errorf("a ring named %q: got %+v, error %v", r.Name, got, err)
		}
		v, e := anEvent(), anEntry()
		v.Subject, v.Email, v.UserAgent, v.Details = text, text, text, map[string]string{text: text}
		e.By, e.Note = text, text
		if err := db.Events().Record(t.Context(), v); err != nil {
			t.Errorf("an event of %q: %v", text, err)
		}
		all, _, err := db.Events().List(t.Context(), 0, 100)
		if err != nil || len(all) == 0 {
			t.Fatalf("List: %d events, error %v", len(all), err)
		}
		if got := all[len(all)-1]; got.Subject != text || got.Email != text || got.UserAgent != text || got.Details[text] != text {
			t.Errorf("an event of %q: got %+v", text, got)
		}
		if err := db.Revocations().Record(t.Context(), e); err != nil {
			t.Errorf("a revocation by %q: %v", text, err)
		}
		if got := everything(t, db)[e.Key()]; got != e {
			t.Errorf("a revocation by %q: got %+v", text, got)
		}
		s := aSession()
		s.Device.UserAgent = text
		if err := db.Sessions().Create(t.Context(), s, ports.Effects{}); err != nil {
			t.Errorf("a session of %q: %v", text, err)
		}
		if got, err := db.Sessions().Find(t.Context(), s.ID); err != nil || got.Device.UserAgent != text {
			t.Errorf("a session of %q: got %q, error %v", text, got.Device.UserAgent, err)
		}
	}
	a := account.Account{ID: newID[id.User](), Email: must(account.ParseEmail("a$$'{1}@example.com")), FullName: must(account.ParseFullName("'; -- $1"))}
	if err := db.Accounts().Create(t.Context(), a, ports.Effects{}); err != nil {
		t.Fatal(err)
	}
	if got, err := db.Accounts().Named(t.Context(), account.Login{Email: a.Email}); err != nil || got != a {
		t.Errorf("got %+v, error %v", got, err)
	}
}

// TestBeforeUnlock: keys and the system's state can be read and written, the rest is unavailable.
func TestBeforeUnlock(t *testing.T) {
	url := database(t, t.TempDir())
	db, err := pgstore.Open(t.Context(), url, pgstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Keys().Create(t.Context(), keyset.Ring{Name: keyset.Data}, ports.Effects{}); err != nil {
		t.Errorf("a ring: %v", err)
	}
	if err := db.System().Update(t.Context(), func(s system.State) (system.State, ports.Effects, error) { s.Epoch++; return s, ports.Effects{}, nil }); err != nil {
		t.Errorf("the state: %v", err)
	}
	if err := db.Revocations().Record(t.Context(), anEntry()); err != nil {
		t.Errorf("a revocation without a note: %v", err)
	}
	if err := db.Ping(t.Context()); err != nil {
		t.Errorf("Ping: %v", err)
	}
	for what, err := range map[string]error{
		"an event": db.Events().Record(t.Context(), anEvent()), "a session": db.Sessions().Create(t.Context(), aSession(), ports.Effects{}),
		"an account": db.Accounts().Create(t.Context(), account.Account{ID: newID[id.User]()}, ports.Effects{}),
	} {
		if !errors.Is(err, ports.ErrUnavailable) {
			t.Errorf("%s: got %v, want ErrUnavailable", what, err)
		}
	}
}

// TestSweep deletes what expired Margin ago, and nothing else; of two nodes one does it.
func TestSweep(t *testing.T) {
	db, url := opened(t, pgstore.Options{})
	kept, gone := anEntry(), anEntry()
	gone.At, gone.Until = now().Add(-100*time.Hour), now().Add(-pgstore.Margin-time.Minute)
	kept.At, kept.Until = now().Add(-100*time.Hour), now().Add(-pgstore.Margin+time.Hour)
	old, fresh := aSession(), aSession()
	old.Expires = gone.Until
	for _, err := range []error{db.Revocations().Record(t.Context(), kept, gone), db.Sessions().Create(t.Context(), old, ports.Effects{}),
		db.Sessions().Create(t.Context(), fresh, ports.Effects{})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	conn := connected(t, url)
	run1(t, conn, "begin")
	run1(t, conn, "select pg_advisory_xact_lock($1)", int64(0x787465616d03))
	if err := db.Sweep(t.Context(), now()); err != nil || len(everything(t, db)) != 2 {
		t.Errorf("while another node sweeps: got %d entries, error %v, want 2", len(everything(t, db)), err)
	}
	run1(t, conn, "commit")
	for _, at := range []time.Duration{-24 * time.Hour, 0, 1000 * time.Hour} { // a clock behind, the right one, and one far ahead, which the server's holds back
		if err := db.Sweep(t.Context(), now().Add(at)); err != nil {
			t.Fatal(err)
		}
		all := everything(t, db)
		if _, ok := all[kept.Key()]; !ok || len(all) == 2 != (at < 0) {
			t.Errorf("by a clock that is %v ahead: got %d entries", at, len(all))
		}
	}
	if _, err := db.Sessions().Find(t.Context(), old.ID); !errors.Is(err, ports.ErrNotFound) {
		t.Errorf("a session that expired long ago: got %v, want ErrNotFound", err)
	}
	if _, err := db.Sessions().Find(t.Context(), fresh.ID); err != nil {
		t.Errorf("a live session: %v", err)
	}
}

// TestANameThatLies: an index that names another account would sign somebody in as somebody else.
func TestANameThatLies(t *testing.T) {
	db, url := opened(t, patient)
	a := account.Account{ID: newID[id.User](), Email: must(account.ParseEmail("ann@example.com")), Username: must(account.ParseUsername("Ann"))}
	b := account.Account{ID: newID[id.User](), Email: must(account.ParseEmail("bob@example.com")), Username: must(account.ParseUsername("Bob"))}
	for _, v := range []account.Account{a, b} {
		if err := db.Accounts().Create(t.Context(), v, ports.Effects{}); err != nil {
			t.Fatal(err)
		}
	}
	conn := connected(t, url)
	run1(t, conn, "create temp table was as select * from accounts where id = $1", a.ID[:])
	run1(t, conn, "delete from accounts where id = $1", a.ID[:])
	run1(t, conn, "update accounts set email = was.email, username = was.username from was where accounts.id = $1", b.ID[:])
	for _, login := range []account.Login{{Email: a.Email}, {Username: a.Username}} {
		if got, err := db.Accounts().Named(t.Context(), login); !errors.Is(err, ports.ErrUnavailable) {
			t.Errorf("got %v, %v, want ErrUnavailable", got.ID, err)
		}
	}
	run1(t, conn, "update accounts set sealed = was.sealed from was where accounts.id = $1", b.ID[:])
	if _, err := db.Accounts().Find(t.Context(), b.ID); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("a record in another's place: got %v, want ErrUnavailable", err)
	}
}

// TestNothingPersonalInTheClear dumps every row as text.
func TestNothingPersonalInTheClear(t *testing.T) {
	db, url := opened(t, patient)
	a := account.Account{ID: newID[id.User](), Email: must(account.ParseEmail("planted@example.com")), Username: must(account.ParseUsername("Planted")), FullName: must(account.ParseFullName("Planted Name"))}
	v, e, w := aSession(), anEntry(), anEvent()
	v.Device.UserAgent, e.Note, w.Email = "planted agent", "planted note", "planted@example.com"
	for _, err := range []error{db.Accounts().Create(t.Context(), a, ports.Effects{Events: nil}), db.Sessions().Create(t.Context(), v, ports.Effects{}),
		db.Revocations().Record(t.Context(), e), db.Events().Record(t.Context(), w)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	conn := connected(t, url)
	for _, table := range []string{"accounts", "sessions", "revocations", "events", "api_keys", "rings", "system"} {
		rows, err := conn.Query(t.Context(), "select encode(convert_to(t::text, 'UTF8'), 'escape') || ' ' || t::text from "+table+" t")
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lines {
			for _, form := range []string{"planted", fmt.Sprintf("%x", "planted"), fmt.Sprintf("%x", "Planted")} {
				if strings.Contains(strings.ToLower(line), form) {
					t.Errorf("table %s holds %q in the clear", table, form)
				}
			}
		}
	}
}

// TestTheServerIsAskedToSync: a call is acknowledged once the server's log is on its disk up to where it was before the call, and further. The check fails without synchronous_commit.
func TestTheServerIsAskedToSync(t *testing.T) {
	s, err := newServer(t, "-c", "synchronous_commit=off", "-c", "wal_writer_delay=10s", "-c", "autovacuum=off", "-c", "bgwriter_lru_maxpages=0")
	demand(t, err)
	t.Cleanup(s.stop)
	db := reopened(t, s.url("postgres", "sslmode=disable"), patient)
	conn := connected(t, s.url("postgres", "sslmode=disable"))
	asked := func() func() bool {
		var before string
		if err := conn.QueryRow(t.Context(), "select pg_current_wal_insert_lsn()::text").Scan(&before); err != nil {
			t.Fatal(err)
		}
		return func() (flushed bool) {
			if err := conn.QueryRow(t.Context(), "select pg_current_wal_flush_lsn() > $1::text::pg_lsn", before).Scan(&flushed); err != nil {
				t.Fatal(err)
			}
			return flushed
		}
	}
	for _, call := range porttest.Synced(t, ported(db, s.url("postgres", "sslmode=disable")), asked) {
		t.Errorf("%s was acknowledged before the server's log was on its disk", call)
	}
	run1(t, conn, "create table async (n int)")
	since := asked()
	run1(t, conn, "insert into async values (1)") // of this connection nothing was asked
	if since() {
		t.Error("a commit that waits for no disk looks as if it had: the check proves nothing")
	}
}

// TestEnter: who must be alone on a database is refused while another begins on it and has left no word, however long that takes, and keeps all others from it until its end.
func TestEnter(t *testing.T) {
	first, url := opened(t, pgstore.Options{})
	begins := func(alone bool) (*pgstore.DB, error) {
		t.Helper()
		db, err := pgstore.Open(t.Context(), url, pgstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return db, db.Enter(t.Context(), alone)
	}
	refused := func(what string, err error, why string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), " is in use, "+why) {
			t.Errorf("%s: %v, want that it is in use, %s", what, err, why)
		}
	}
	if err := first.Enter(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	second, err := begins(false)
	if err != nil {
		t.Fatalf("beside another: %v", err)
	}
	_, err = begins(true)
	refused("alone, beside two others", err, "by a program that begins")
	if err := second.Close(); err != nil { // it waits until its lock is gone
		t.Fatal(err)
	}
	_, err = begins(true)
	refused("alone, beside another", err, "by a program that begins")
	if err := first.Nodes().Say(t.Context(), node.Word{Node: newID[id.Node](), Text: []byte("hello")}); err != nil {
		t.Fatal(err)
	}
	var alone *pgstore.DB
	eventually(t, "the other's words tell of it", func() bool {
		alone, err = begins(true)
		return err == nil
	})
	if words, err := alone.Nodes().Hear(t.Context()); err != nil || len(words) != 1 {
		t.Errorf("who is alone hears %d words, %v", len(words), err)
	}
	_, err = begins(false)
	refused("beside one that is alone", err, "by a program that must be alone")
	_, err = begins(true)
	refused("alone, beside one that is", err, "by a program")
	if err := alone.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := begins(false); err != nil {
		t.Errorf("when it has gone: %v", err)
	}
	if _, err := begins(true); err == nil {
		t.Error("two are alone")
	}
	if err := alone.Enter(t.Context(), false); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("of one that is closed: %v", err)
	}
}
