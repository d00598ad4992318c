package app_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	words "github.com/xteam/xteam/domain/node"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// What the database lost is put back with what it says of records: when an entry is over, what it ended still does not live. What names no record, or one that the database has not any more, is
// put back by itself.
func TestWhatTheDatabaseLostIsMended(t *testing.T) {
	w := newWorld(t)
	names := []string{"ann", "bob", "eve"}
	users, pairs := map[string]id.User{}, map[string]app.Tokens{}
	for _, name := range names {
		users[name] = w.user(name).ID
		pairs[name] = w.signIn(name)
	}
	key := w.issue(w.caller(pairs["eve"]), apikey.UsersRead)
	now := instant.Of(w.core.Now())
	of := func(e revocation.Entry) revocation.Entry {
		e.Reason, e.At, e.Until = revocation.UserRevoked, now, now.Add(time.Hour)
		if e.Kind == revocation.Epoch || e.Kind == revocation.Key {
			e.Until = instant.Forever
		}
		return e
	}
	h := app.NewHealing(w.core, slog.New(slog.DiscardHandler)).Healer()
	sid := w.caller(pairs["ann"]).Session()
	entries := []revocation.Entry{
		of(revocation.Entry{Kind: revocation.Session, Session: sid}),
		of(revocation.Entry{Kind: revocation.Session, Session: id.Session{9}}),
		of(revocation.Entry{Kind: revocation.User, User: users["bob"], Min: 7}),
		of(revocation.Entry{Kind: revocation.User, User: id.User{9}, Min: 7}),
		of(revocation.Entry{Kind: revocation.APIKey, APIKey: key.ID}),
		of(revocation.Entry{Kind: revocation.Token, Token: id.Token{9}}),
		of(revocation.Entry{Kind: revocation.Key, KeyID: "another"}),
	}
	for range 2 { // whoever puts back may have to do it again
		w.must(h.PutBack(t.Context(), entries))
	}
	held := map[string]bool{}
	for _, e := range w.entries() {
		held[e.Key()] = true
	}
	for _, e := range entries {
		if !held[e.Key()] {
			t.Errorf("%v was not put back", e.Kind)
		}
	}
	x, err := w.store.Sessions().Find(t.Context(), sid) // a microsecond late: whoever owes it does not take it for their own attempt, whose event would be there
	w.must(err)
	bob, err := w.store.Accounts().Find(t.Context(), users["bob"])
	w.must(err)
	k, err := w.store.APIKeys().Find(t.Context(), key.ID)
	w.must(err)
	if x.Ended != now+1 || x.EndedReason != revocation.UserRevoked || bob.Generation != 7 || bob.SessionsFrom != 7 || bob.KeysFrom != 7 || k.Revoked == 0 {
		t.Errorf("the records are %+v, %+v, %+v", x, bob, k)
	}
	if _, err := w.refresh(pairs["eve"]); err != nil {
		t.Errorf("whom nothing names: %v", err)
	}
	w.must(h.PutBack(t.Context(), []revocation.Entry{of(revocation.Entry{Kind: revocation.Epoch, Epoch: 4}), of(revocation.Entry{Kind: revocation.IssuedBefore, Before: now})}))
	if s, err := w.store.System().Load(t.Context()); err != nil || s.Epoch != 4 || s.SessionsFrom != 4 || s.SessionsAfter != now {
		t.Errorf("the state is %+v, %v", s, err)
	}
}

// poisoned are sessions of which none can be changed, for some reason.
type poisoned struct {
	ports.Sessions
	err error
}

func (p poisoned) Update(context.Context, id.Session, func(session.Session) (session.Session, ports.Effects, error)) error {
	return fmt.Errorf("read a session: %w: %w", ports.ErrUnavailable, p.err)
}

// A record that cannot be mended, perhaps for ever, keeps nothing else from being put back. Of one that does not open the entry is put back by itself: that a store does not answer, or its keys are not opened yet, is no such thing.
func TestOneRecordThatCannotBeMended(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		bare bool
	}{
		"does not open":    {ports.ErrDamaged, true},
		"does not answer":  {context.DeadlineExceeded, false},
		"is locked":        {errors.New("its data keys have not been opened yet"), false},
		"of a newer store": {errors.New("it was written by a newer version"), false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.core.Stores.Sessions = poisoned{w.core.Stores.Sessions, c.err}
			at := instant.Of(w.core.Now())
			bare := revocation.Entry{Kind: revocation.Token, Token: id.Token{9}, Reason: revocation.Logout, At: at, Until: at.Add(time.Hour)}
			ended := revocation.Entry{Kind: revocation.Session, Session: id.Session{9}, Reason: revocation.Logout, At: at, Until: at.Add(time.Hour)}
			err := app.NewHealing(w.core, slog.New(slog.DiscardHandler)).Healer().PutBack(t.Context(), []revocation.Entry{ended, bare})
			has := func(e revocation.Entry) bool {
				return slices.ContainsFunc(w.entries(), func(is revocation.Entry) bool { return is.Key() == e.Key() })
			}
			if (err == nil) != c.bare || has(ended) != c.bare || !has(bare) {
				t.Errorf("%v, and there is %v; want the token's entry put back, and the session's: %v", err, w.entries(), c.bare)
			}
		})
	}
}

// An entry that is over still ends what it ended, in a database that was set back to before that. Where no record belongs to it, it is put back by itself: what the database does not tell is missed again.
func TestWhatIsOverMendsRecords(t *testing.T) {
	w := newWorld(t)
	ann := w.user("ann")
	w.user("bob")
	pair, other := w.signIn("ann"), w.signIn("bob")
	key := w.issue(w.caller(w.signIn("ann")), apikey.UsersRead)
	sid := w.caller(other).Session()
	at := instant.Of(w.core.Now())
	w.turn(2 * time.Hour)
	of := func(e revocation.Entry) revocation.Entry {
		e.Reason, e.At, e.Until = revocation.UserRevoked, at, at.Add(time.Hour)
		return e
	}
	gone := of(revocation.Entry{Kind: revocation.Session, Session: id.Session{9}})
	w.must(app.NewHealing(w.core, slog.New(slog.DiscardHandler)).Healer().PutBack(t.Context(), []revocation.Entry{
		gone, of(revocation.Entry{Kind: revocation.Session, Session: sid}), of(revocation.Entry{Kind: revocation.User, User: ann.ID, Min: 7}),
		of(revocation.Entry{Kind: revocation.APIKey, APIKey: key.ID}), of(revocation.Entry{Kind: revocation.IssuedBefore, Before: at - 1}),
	}))
	for _, tk := range []app.Tokens{pair, other} {
		if _, err := w.refresh(tk); err == nil {
			t.Error("a session that had ended was refreshed")
		}
	}
	k, err := w.store.APIKeys().Find(t.Context(), key.ID)
	w.must(err)
	a, err := w.store.Accounts().Find(t.Context(), ann.ID)
	w.must(err)
	s, err := w.store.System().Load(t.Context())
	w.must(err)
	if k.Revoked == 0 || a.Generation != 7 || s.SessionsAfter != at-1 {
		t.Errorf("the records are %+v, %+v, %+v", k, a, s)
	}
	if !slices.ContainsFunc(w.entries(), func(e revocation.Entry) bool { return e.Key() == gone.Key() }) {
		t.Error("an entry that is over, to which no record belongs, was not put back")
	}
}

// The epoch is raised by itself, once, above all that is in force, where nobody can vouch for what the database lost, and nowhere else; sessions go on. Each loss is told of.
func TestALossThatNobodyCanVouchFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.user("ann")
		tk := w.signIn("ann")
		var log strings.Builder
		healing := app.NewHealing(w.core, slog.New(slog.NewTextHandler(&log, nil)))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); healing.Run(ctx) }()
		defer func() { stop(); <-done }()
		h := healing.Healer()
		for _, harmless := range []view.Healing{{Source: "redis", Unvouched: true}, {Source: "database", Truth: true}} {
			w.must(h.Begin(t.Context(), harmless))
			w.caller(tk)
		}
		w.must(h.Begin(t.Context(), view.Healing{Source: "database", Truth: true, Unvouched: true, Cause: "because"}))
		if _, err := w.admit(tk); err == nil || w.count(audit.EpochRaised) != 1 || w.view.Epoch() != 1 {
			t.Errorf("the token is judged %v, %d events, epoch %d", err, w.count(audit.EpochRaised), w.view.Epoch())
		}
		again, err := w.refresh(tk)
		w.must(err)
		w.caller(again)
		h.Healed(view.Healing{Source: "database", Truth: true, Entries: 3, Cause: "because"})
		synctest.Wait()
		var told []audit.Event
		for _, e := range w.events() {
			if e.Kind == audit.SourceHealed {
				told = append(told, e)
			}
		}
		if len(told) != 1 || told[0].Severity != audit.Critical || told[0].Details["source"] != "database" || told[0].Details["entries"] != "3" || told[0].Details["cause"] != "because" {
			t.Errorf("told of %+v", told)
		}
		if !strings.Contains(log.String(), "the epoch was raised") {
			t.Errorf("the log says %s", log.String())
		}
	})
}

// What another node that lives owes to the database is not taken for a loss: that node is waited for, and when it does not write it down, or goes, nothing is raised. What is older than all that it owes is one.
func TestWhatIsOwedIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		board := memstore.NewBoard()
		among := func(core *app.Core, name string) (leave func()) {
			n, err := app.NewNodes(core, app.NodesOptions{Name: name}, app.Board{Name: "memory", Nodes: board.Nodes()})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan struct{})
			go func() { defer close(done); n.Run(ctx) }()
			t.Cleanup(func() { cancel(); <-done })
			return func() { cancel(); <-done }
		}
		o, starter := newOwing(t), newWorld(t)
		leave := among(o.core, "one")
		among(starter.core, "two")
		h := app.NewHealing(starter.core, slog.New(slog.DiscardHandler)).Healer()
		raised := func() int { return starter.count(audit.EpochRaised) }

		o.fail(before)
		at := o.now()
		for range 2 {
			if err := o.sessions.Logout(t.Context(), home, o.c); err == nil {
				t.Fatal("no error")
			}
			o.turn(time.Hour)
		}
		loss := view.Healing{Source: "database", Truth: true, Unvouched: true, Oldest: at}
		synctest.Wait()
		for range 9 {
			if err := h.Begin(t.Context(), loss); err == nil || raised() != 0 {
				t.Fatalf("while another node owes it: %v, raised %d times; want it put off", err, raised())
			}
			after(time.Second)
		}
		after(2 * time.Second)
		if err := h.Begin(t.Context(), loss); err != nil || raised() != 0 {
			t.Errorf("when that node has not written it down: %v, raised %d times; want it put back", err, raised())
		}
		leave()
		after(words.Silence)
		if err := h.Begin(t.Context(), loss); err != nil || raised() != 0 {
			t.Errorf("when that node has gone: %v, raised %d times; want it put back", err, raised())
		}
		older := loss
		older.Oldest--
		if err := h.Begin(t.Context(), older); err != nil || raised() != 1 {
			t.Errorf("what is older: %v, raised %d times, want once", err, raised())
		}
		after(time.Minute)
		if err := h.Begin(t.Context(), loss); err != nil || raised() != 2 {
			t.Errorf("long after: %v, raised %d times, want twice", err, raised())
		}
	})
}

// A revocation of a user in a database that was set back raises the generation above the one that is in force, or it would withdraw nothing.
func TestRevokingInADatabaseThatWasSetBack(t *testing.T) {
	for name, revoke := range map[string]func(*world, id.User) error{
		"a user": func(w *world, uid id.User) error {
			return second(w.revoker.Revoke(t.Context(), root, app.Selector{User: uid.String()}, "", false))
		},
		"everything": func(w *world, _ id.User) error {
			return second(w.revoker.Revoke(t.Context(), root, app.Selector{All: true}, "", false))
		},
		"a disabling": func(w *world, uid id.User) error {
			return w.accounts.Disable(t.Context(), root, uid)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			ann := w.user("ann")
			now := instant.Of(w.core.Now())
			w.view.Publish(t.Context(), revocation.Entry{Kind: revocation.User, User: ann.ID, Min: 9, Reason: revocation.UserRevoked, At: now, Until: now.Add(time.Hour)},
				revocation.Entry{Kind: revocation.Epoch, Epoch: 9, Reason: revocation.EpochRaised, At: now, Until: instant.Forever})
			good := token.Claims{ID: id.Token{1}, Subject: ann.ID, Session: id.Session{1}, Generation: 9, Epoch: 9, IssuedAt: now} // of a node that knew of both
			if err := w.view.Check(&good); err != nil {
				t.Fatal(err)
			}
			w.must(revoke(w, ann.ID))
			if err := w.view.Check(&good); err == nil {
				t.Error("the token is taken after it")
			}
		})
	}
}

// A refresh in a database that was set back brings back no session that was ended, and hands out no token that is dead.
func TestRefreshInADatabaseThatWasSetBack(t *testing.T) {
	for name, c := range map[string]struct {
		entry revocation.Entry
		alive bool
	}{
		"a session's end": {revocation.Entry{Kind: revocation.Session}, false},
		"a user's":        {revocation.Entry{Kind: revocation.User, Min: 9}, false},
		"everybody's":     {revocation.Entry{Kind: revocation.Epoch, Epoch: 9, Until: instant.Forever}, false},
		"by time":         {revocation.Entry{Kind: revocation.IssuedBefore}, false},
		"another's":       {revocation.Entry{Kind: revocation.Session, Session: id.Session{9}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			ann := w.user("ann")
			tk := w.signIn("ann")
			e := c.entry
			e.Reason, e.At = revocation.UserRevoked, instant.Of(w.core.Now())
			if e.Until == 0 {
				e.Until = e.At.Add(time.Hour)
			}
			switch {
			case e.Kind == revocation.Session && e.Session.IsZero():
				e.Session = w.caller(tk).Session()
			case e.Kind == revocation.User:
				e.User = ann.ID
			case e.Kind == revocation.IssuedBefore:
				e.Before = e.At
			}
			w.view.Publish(t.Context(), e)
			w.turn(time.Second)
			got, err := w.refresh(tk)
			ended := (*session.EndedError)(nil)
			if c.alive {
				w.must(err)
				w.caller(got)
			} else if !errors.As(err, &ended) {
				t.Errorf("a refresh: %v, want that the session has ended", err)
			}
			if _, err := w.sessions.Explain(t.Context(), tk.Refresh); err != nil {
				t.Error(err)
			}
			for range 2 {
				w.caller(w.signIn("ann")) // alive
			}
		})
	}
}
