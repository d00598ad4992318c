package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/xteam/xteam/adapters/pgstore"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
	"github.com/xteam/xteam/ports/porttest"
)

// standby makes and starts a server that follows this one.
func (s *server) standby(t *testing.T) *server {
	t.Helper()
	root := must(os.MkdirTemp("", "xteam-pg-"))
	b := &server{dir: root, bin: s.bin, port: porttest.Free(t)}
	if err := errors.Join(os.Chmod(root, 0o755), own(root)); err != nil {
		t.Fatal(err)
	}
	cmd := as(exec.Command(filepath.Join(s.bin, "pg_basebackup"), "-D", b.data(), "-R", "-X", "stream", "-c", "fast", "-d",
		fmt.Sprintf("host=127.0.0.1 port=%d user=xteam password=%s application_name=b", s.port, password)))
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("pg_basebackup: %v\n%s", err, out)
	}
	if err := b.start(); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestFailover promotes a standby under load, once the primary was killed. The URL names both. What was acknowledged is on the new primary, for the old one waited for it; no change is made twice;
// a standby that was not promoted is never written to, nor taken at the start.
func TestFailover(t *testing.T) {
	a, err := newServer(t)
	demand(t, err)
	t.Cleanup(a.stop)
	b := a.standby(t)
	t.Cleanup(b.stop)
	run1(t, connected(t, a.url("postgres", "sslmode=disable")), "alter system set synchronous_standby_names = '*'")
	run1(t, connected(t, a.url("postgres", "sslmode=disable")), "select pg_reload_conf()")
	refused(t, b.url("postgres", "sslmode=disable"), "read-only")
	u := must(url.Parse(b.url("postgres", "sslmode=disable")))
	u.Host = fmt.Sprintf("127.0.0.1:%d,127.0.0.1:%d", b.port, a.port) // the standby first: it is to be passed over
	db := reopened(t, u.String(), pgstore.Options{})
	v := aSession()
	if err := db.Sessions().Create(t.Context(), v, ports.Effects{}); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var acknowledged, failed atomic.Int64
	var mu sync.Mutex
	var entries []revocation.Entry
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for !stop.Load() {
				e := anEntry()
				err := db.Sessions().Update(context.Background(), v.ID, func(v session.Session) (session.Session, ports.Effects, error) {
					v.Counter++
					return v, ports.Effects{Revocations: []revocation.Entry{e}}, nil
				})
				switch {
				case err == nil:
					acknowledged.Add(1)
					mu.Lock()
					entries = append(entries, e)
					mu.Unlock()
				case errors.Is(err, ports.ErrUnavailable):
					failed.Add(1)
				default:
					t.Errorf("got %v, want ErrUnavailable", err)
				}
			}
		})
	}
	eventually(t, "changes", func() bool { return acknowledged.Load() > 50 })
	a.kill()
	n := failed.Load()
	eventually(t, "failures", func() bool { return failed.Load() > n+10 })
	run1(t, connected(t, b.url("postgres", "sslmode=disable")), "alter system set synchronous_standby_names = ''")
	run1(t, connected(t, b.url("postgres", "sslmode=disable")), "select pg_promote()")
	n = acknowledged.Load()
	eventually(t, "changes on the new primary", func() bool { return acknowledged.Load() > n+50 })
	stop.Store(true)
	all.Wait()
	got, err := db.Sessions().Find(t.Context(), v.ID)
	if err != nil {
		t.Fatal(err)
	}
	live := everything(t, db)
	for _, e := range entries {
		if _, ok := live[e.Key()]; !ok {
			t.Fatal("a revocation that was acknowledged is missing")
		}
	}
	if n := int64(got.Counter - v.Counter); n < acknowledged.Load() || n > acknowledged.Load()+failed.Load() || n != int64(len(live)) {
		t.Errorf("changed %d times, with %d revocations, want %d, which were acknowledged, and at most %d more", n, len(live), acknowledged.Load(), failed.Load())
	}
	t.Logf("%d acknowledged, %d failed", acknowledged.Load(), failed.Load())
}

// TestDemoted: a server that refuses writes on connections that took them before is left, and a change that it refused is made on the next connection.
func TestDemoted(t *testing.T) {
	db, link := opened(t, patient)
	conn := connected(t, link)
	v := aSession()
	if err := db.Sessions().Create(t.Context(), v, ports.Effects{}); err != nil {
		t.Fatal(err)
	}
	run1(t, conn, "create sequence refusals")
	run1(t, conn, `create function refuse() returns trigger language plpgsql as
		'begin if nextval(''refusals'') = 1 then raise exception ''cannot execute in a read-only transaction'' using errcode = ''25006''; end if; return new; end'`)
	run1(t, conn, "create trigger refuse before update on sessions for each row execute function refuse()")
	ran := 0
	if err := db.Sessions().Update(t.Context(), v.ID, func(v session.Session) (session.Session, ports.Effects, error) {
		ran++
		v.Counter++
		return v, ports.Effects{}, nil
	}); err != nil || ran != 2 {
		t.Errorf("got error %v after %d runs, want none after 2", err, ran)
	}
	run1(t, conn, `create or replace function refuse() returns trigger language plpgsql as
		'begin raise exception ''cannot execute in a read-only transaction'' using errcode = ''25006''; end'`)
	if err := db.Sessions().Update(t.Context(), v.ID, func(v session.Session) (session.Session, ports.Effects, error) {
		v.Counter++
		return v, ports.Effects{}, nil
	}); !errors.Is(err, ports.ErrUnavailable) || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("that refuses always: got %v, want ErrUnavailable", err)
	}
}
