package pgstore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/pgstore"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

// Records, events and the head that somebody changed in the tables are told with their places; what stands before and behind them is read as ever.
func TestWhatWasChangedInTheTables(t *testing.T) {
	db, url := opened(t, patient)
	var events []audit.Event
	for range 6 {
		events = append(events, anEvent())
	}
	demand(t, db.Events().Record(t.Context(), events...))
	head, err := db.Trail().Head(t.Context())
	demand(t, err)
	links := head.Last.Chained(events, make([]audit.Salt, len(events)))
	last := &links[len(links)-1].Record
	demand(t, db.Trail().Append(t.Context(), head.Last, links, audit.Checkpoint{Purpose: audit.Headed, Seq: last.Seq, Head: last.Hash()}))
	placed, _, err := db.Events().List(t.Context(), 0, 10)
	if err != nil || len(placed) != 6 {
		t.Fatalf("%d events, %v", len(placed), err)
	}
	damaged := func(err error, at uint64) {
		t.Helper()
		var is *audit.DamagedError
		if !errors.As(err, &is) || is.At != at || !errors.Is(err, ports.ErrUnavailable) {
			t.Errorf("got %v, want a DamagedError at %d", err, at)
		}
	}
	conn := connected(t, url)
	const flip = `SET sealed = set_byte(sealed, length(sealed) - 1, get_byte(sealed, length(sealed) - 1) # 1) `

	run1(t, conn, `UPDATE trail `+flip+`WHERE seq = 3`)
	if all, err := db.Trail().List(t.Context(), 0, 10); err != nil || len(all) != 2 {
		t.Errorf("records before the damaged one: %d, %v", len(all), err)
	}
	_, err = db.Trail().List(t.Context(), 2, 10)
	damaged(err, 3)
	if all, err := db.Trail().List(t.Context(), 3, 10); err != nil || len(all) != 3 || all[0].Record.Seq != 4 {
		t.Errorf("records behind it: %d, %v", len(all), err)
	}

	run1(t, conn, `UPDATE events `+flip+`WHERE position = 5`)
	if all, last, err := db.Events().List(t.Context(), 0, 10); err != nil || len(all) != 4 || last != 4 {
		t.Errorf("events before the damaged one: %d, last %d, %v", len(all), last, err)
	}
	_, _, err = db.Events().List(t.Context(), 4, 10)
	damaged(err, 5)

	run1(t, conn, `UPDATE trail_head SET body = substr(body, 1, length(body) - 1)`)
	_, err = db.Trail().Head(t.Context())
	damaged(err, 0)
	run1(t, conn, `DELETE FROM trail_head`)
	if head, err := db.Trail().Head(t.Context()); err != nil || head != (audit.Head{}) {
		t.Errorf("a head that is gone: %+v, %v, want none", head, err)
	}
}

// A session, an account and an API key that somebody changed in the tables are damaged, to whoever reads and to whoever changes them. That the data keys have not been opened yet, or another version wrote it, is no damage.
func TestRecordsThatWereChangedInTheTables(t *testing.T) {
	db, url := opened(t, patient)
	a := account.Account{ID: newID[id.User](), Email: must(account.ParseEmail("ann@example.com")), Username: must(account.ParseUsername("Ann"))}
	x, k := aSession(), apikey.Key{ID: newID[id.APIKey](), Owner: a.ID, Created: now(), Expires: now().Add(time.Hour)}
	demand(t, errors.Join(db.Accounts().Create(t.Context(), a, ports.Effects{}), db.Sessions().Create(t.Context(), x, ports.Effects{}), db.APIKeys().Create(t.Context(), k, ports.Effects{})))
	calls := func(db *pgstore.DB) map[string]error {
		_, err1 := db.Accounts().Find(t.Context(), a.ID)
		_, err2 := db.Sessions().Find(t.Context(), x.ID)
		_, err3 := db.APIKeys().Find(t.Context(), k.ID)
		return map[string]error{
			"find an account": err1, "find a session": err2, "find an API key": err3,
			"change an account": db.Accounts().Update(t.Context(), a.ID, func(a account.Account) (account.Account, ports.Effects, error) { return a, ports.Effects{}, nil }),
			"change a session":  db.Sessions().Update(t.Context(), x.ID, func(x session.Session) (session.Session, ports.Effects, error) { return x, ports.Effects{}, nil }),
			"change an API key": db.APIKeys().Update(t.Context(), k.ID, func(k apikey.Key) (apikey.Key, ports.Effects, error) { return k, ports.Effects{}, nil }),
		}
	}
	for what, err := range calls(db) {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	conn := connected(t, url)
	for _, table := range []string{"accounts", "sessions", "api_keys"} {
		run1(t, conn, `UPDATE `+table+` SET sealed = set_byte(sealed, length(sealed) - 1, get_byte(sealed, length(sealed) - 1) # 1)`)
	}
	for what, err := range calls(db) {
		if !errors.Is(err, ports.ErrDamaged) || !errors.Is(err, ports.ErrUnavailable) {
			t.Errorf("%s: %v, want it damaged", what, err)
		}
	}
	locked, err := pgstore.Open(t.Context(), url, patient)
	demand(t, err)
	defer locked.Close() //nolint:errcheck // it has served
	for what, err := range calls(locked) {
		if errors.Is(err, ports.ErrDamaged) || !errors.Is(err, ports.ErrUnavailable) {
			t.Errorf("%s, without its keys: %v, want it unavailable", what, err)
		}
	}
}
