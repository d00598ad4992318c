package pgstore_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
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

// flip changes a bit under the seal.
const flip = `SET sealed = set_byte(sealed, length(sealed) - 1, get_byte(sealed, length(sealed) - 1) # 1) `

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
	if all, last, err := db.Events().List(t.Context(), 0, 10); err != nil || len(all) != 6 || last != 6 || all[3].ID != events[3].ID || all[4].Kind != audit.EventUnreadable || all[5].ID != events[5].ID {
		t.Errorf("events with a damaged one: %v, last %d, %v", all, last, err)
	}

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
	defer locked.Close()
	for what, err := range calls(locked) {
		if errors.Is(err, ports.ErrDamaged) || !errors.Is(err, ports.ErrUnavailable) {
			t.Errorf("%s, without its keys: %v, want it unavailable", what, err)
		}
	}
}

// Whatever somebody makes of the rows of events, each is told in its place, and no more is read of it at once than there is room for.
func TestEventsOfAnyBytes(t *testing.T) {
	db, url := opened(t, patient)
	var events []audit.Event
	for range 30 {
		events = append(events, anEvent())
	}
	demand(t, db.Events().Record(t.Context(), events...))
	if all, _, err := db.Events().List(t.Context(), 0, 100); err != nil || len(all) != len(events) {
		t.Fatalf("%d events, %v", len(all), err)
	}
	conn := connected(t, url)
	for position, change := range map[int]string{
		1: `sealed = ''`,
		2: `id = ''`,
		3: `id = id || '\x00'`,
		4: `id = decode(repeat('ab', 5000000), 'hex')`,
		5: `sealed = '\x00'`,
		6: `sealed = sealed || '\x00'`,
		7: `id = '\x00000000000000000000000000000001'`, // sealed for another
		8: `sealed = (SELECT sealed FROM events WHERE position = 9)`,
	} {
		run1(t, conn, `UPDATE events SET `+change+` WHERE position = $1`, position)
	}
	const huge = 3 << 20
	run1(t, conn, `UPDATE events SET sealed = decode(repeat('5a', $1), 'hex') WHERE position BETWEEN 11 AND 29`, huge)
	read := func(all []audit.Event, first int) {
		t.Helper()
		for i := range all {
			at := first + i
			bad := at <= 8 || at >= 11 && at <= 29
			if (all[i].Kind == audit.EventUnreadable) != bad || !bad && all[i].ID != events[at-1].ID || bad && all[i].Details["position"] != strconv.Itoa(at) {
				t.Errorf("position %d: got %+v", at, all[i])
			}
			if at >= 11 && at <= 29 && (all[i].Details["bytes"] != strconv.Itoa(huge) || all[i].Reason != fmt.Sprintf("sha256:%x", sha256.Sum256(bytes.Repeat([]byte{0x5a}, audit.MaxStored)))) {
				t.Errorf("position %d: got %+v", at, all[i])
			}
		}
	}
	pages := 0
	for after := uint64(0); ; pages++ {
		all, last, err := db.Events().List(t.Context(), after, 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(all) == 0 {
			break
		}
		read(all, int(after)+1)
		if last != after+uint64(len(all)) {
			t.Fatalf("behind %d: %d events, last %d", after, len(all), last)
		}
		after = last
	}
	if pages < 3 { // 19 that are longer than is read of one, and 8 of those at once
		t.Errorf("all were read in %d pages", pages)
	}
	last, err := db.Events().Latest(t.Context(), 0, 100)
	if err != nil || len(last) > 9 || len(last) < 2 {
		t.Errorf("the latest: %d, %v", len(last), err)
	}
	read(last, 31-len(last))
	if one, err := db.Events().Latest(t.Context(), 28, 1); err != nil || len(one) != 1 || one[0].ID != events[29].ID {
		t.Errorf("the last: %v, %v", one, err)
	}
}

// An event that opens and is not understood, as one of a newer program, is not taken for one that was changed: List ends before it, for it is whole and another node can read it.
func TestEventsOfANewerProgram(t *testing.T) {
	db, url := opened(t, patient)
	events := []audit.Event{anEvent(), anEvent(), anEvent()}
	demand(t, db.Events().Record(t.Context(), events...))
	sealed, err := sealer{}.Seal(pgstore.EventContext+string(events[1].ID[:]), []byte{99, '{', '}'})
	demand(t, err)
	if all, _, err := db.Events().List(t.Context(), 0, 10); err != nil || len(all) != 3 {
		t.Fatalf("%d events, %v", len(all), err)
	}
	run1(t, connected(t, url), `UPDATE events SET sealed = $1 WHERE position = 2`, sealed)
	if all, last, err := db.Events().List(t.Context(), 0, 10); err != nil || len(all) != 1 || last != 1 {
		t.Errorf("before it: %v, last %d, %v", all, last, err)
	}
	var is *audit.DamagedError
	if _, _, err := db.Events().List(t.Context(), 1, 10); !errors.As(err, &is) || is.At != 2 || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("at it: %v", err)
	}
	if all, err := db.Events().Latest(t.Context(), 0, 10); err != nil || len(all) != 3 || all[1].Kind != audit.EventUnreadable || all[2].ID != events[2].ID {
		t.Errorf("the latest: %v, %v", all, err)
	}
}
