package pgstore_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xteam/xteam/adapters/pgstore"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

func TestParseURL(t *testing.T) {
	for text, want := range map[string]pgstore.URL{
		"postgres://u:p@db.test:5432/x?sslmode=verify-full":         {Name: "db.test:5432/x", Encrypted: true, Verified: true, Suggestion: "postgres://u@db.test:5432/x?sslmode=verify-full"},
		"postgresql://u:p@db.test/x?sslmode=verify-ca":              {Name: "db.test/x", Encrypted: true, Suggestion: "postgres://u@db.test/x?sslmode=verify-full"},
		"postgresql+asyncpg://u:p@db.test:5432/x?ssl=require":       {Name: "db.test:5432/x", Encrypted: true, Suggestion: "postgres://u@db.test:5432/x?sslmode=verify-full"},
		"postgresql+asyncpg://u:p@db.test:5432/x?ssl=verify-full":   {Name: "db.test:5432/x", Encrypted: true, Verified: true, Suggestion: "postgres://u@db.test:5432/x?sslmode=verify-full"},
		"postgres://u:p@db.test/x":                                  {Name: "db.test/x", Suggestion: "postgres://u@db.test/x?sslmode=verify-full"},
		"postgres://u:p@db.test/x?sslmode=disable":                  {Name: "db.test/x", Suggestion: "postgres://u@db.test/x?sslmode=verify-full"},
		"postgres://u@a.test:1,b.test:2/x?sslmode=require":          {Name: "a.test:1,b.test:2/x", Encrypted: true, Suggestion: "postgres://u@a.test:1,b.test:2/x?sslmode=verify-full"},
		"postgres:///x?host=/run/postgresql&user=u&password=hidden": {Name: "/run/postgresql/x", Local: true, Suggestion: "postgres:///x?host=%2Frun%2Fpostgresql&sslmode=verify-full&user=u"},
	} {
		got, err := pgstore.ParseURL(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got.Name != want.Name || got.Encrypted != want.Encrypted || got.Verified != want.Verified || got.Local != want.Local || got.Suggestion != want.Suggestion {
			t.Errorf("%s: got encrypted %v, verified %v, local %v, %s, %s", text, got.Encrypted, got.Verified, got.Local, got.Name, got.Suggestion)
		}
		if !pgstore.Names(text) {
			t.Errorf("%s does not name PostgreSQL", text)
		}
		if s := fmt.Sprintf("%v %+v %#v %s", got, got, got, got); strings.Contains(s, "u:p@") || strings.Contains(s, "hidden") {
			t.Errorf("a URL tells its password: %s", s)
		}
	}
	for _, text := range []string{"", "mysql://u:hidden@h/x", "postgres://u:hidden@h", "postgres://u:hidden@/x", "postgres://u:hidden@h/x?sslmode=on", "postgres://u:hid%zzden@h/x",
		"postgres://u:hidden@h/x?ssl=require&sslmode=disable", "postgres://u:hidden@h/x/y", "postgres://u:hid#den@h/x", "postgres://u:hidden@h:port/x"} {
		if got, err := pgstore.ParseURL(text); err == nil || strings.Contains(err.Error(), "hid") {
			t.Errorf("%q: got %v, error %v, want one that does not tell the password", text, got, err)
		}
	}
	if pgstore.Names("badger:///x") || pgstore.Names("") {
		t.Error("another URL names PostgreSQL")
	}
}

// TestNeverTheSimpleProtocol: nor when the URL asks for it.
func TestNeverTheSimpleProtocol(t *testing.T) {
	for _, mode := range []string{"simple_protocol", "exec", ""} {
		got, err := pgstore.Mode("postgres://u@h/x?default_query_exec_mode=" + mode)
		if mode != "" && (err != nil || got != pgx.QueryExecModeCacheStatement) {
			t.Errorf("%s: got %v, error %v", mode, got, err)
		}
	}
}

// refused demands that Open fails with a sentence that holds these words, and not the password.
func refused(t *testing.T, url string, words ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	db, err := pgstore.Open(ctx, url, pgstore.Options{})
	if err == nil {
		_ = db.Close()
		t.Errorf("it was opened, want it refused: %v", words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("got %q, want a sentence with %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "of$$tests") || strings.Contains(err.Error(), "pw%2F") || strings.Contains(err.Error(), "\n") {
		t.Errorf("the error tells the password, or has lines: %q", err)
	}
}

func TestRefusals(t *testing.T) {
	_, url := opened(t, pgstore.Options{})
	t.Run("no such database", func(t *testing.T) { refused(t, on(url, "nobody"), `database "nobody" does not exist`, "createdb") })
	t.Run("no such host", func(t *testing.T) {
		refused(t, "postgres://u:p@nowhere.invalid/x", "its host cannot be found")
	})
	t.Run("another password", func(t *testing.T) {
		refused(t, strings.Replace(url, "%2F", "-", 1), "password authentication failed")
	})
	t.Run("nobody listens", func(t *testing.T) { refused(t, "postgres://u:p@127.0.0.1:1/x", "connection refused") })
	t.Run("newer tables", func(t *testing.T) {
		_, url := opened(t, pgstore.Options{})
		run1(t, connected(t, url), "insert into goose_db_version (version_id, is_applied) values (9999, true)")
		refused(t, url, "version 9999", "at most", "start the newer program")
	})
	t.Run("read-only", func(t *testing.T) {
		_, url := opened(t, pgstore.Options{})
		conn := connected(t, url)
		var name string
		if err := conn.QueryRow(t.Context(), "select current_database()").Scan(&name); err != nil {
			t.Fatal(err)
		}
		run1(t, conn, "alter database "+name+" set default_transaction_read_only = on")
		refused(t, url, "read-only", "primary")
	})
	t.Run("a user who may not write", func(t *testing.T) {
		_, url := opened(t, pgstore.Options{})
		conn := connected(t, url)
		run1(t, conn, "do $$ begin create user reader login password 'reader'; exception when duplicate_object then null; end $$")
		run1(t, conn, "grant select on all tables in schema public to reader")
		refused(t, strings.Replace(url, "xteam:pw%2Fof$$tests", "reader:reader", 1), "may not write")
	})
}

// TestTwoNodesMigrateAtOnce: eight, on an empty database.
func TestTwoNodesMigrateAtOnce(t *testing.T) {
	server := base(t)
	if err := admin(server, "create database empty"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin(server, "drop database empty with (force)") })
	var nodes sync.WaitGroup
	for range 8 {
		nodes.Go(func() {
			db, err := pgstore.Open(t.Context(), on(server, "empty"), patient)
			if err != nil {
				t.Error(err)
				return
			}
			if err := db.Revocations().Record(t.Context(), anEntry()); err != nil && !errors.Is(err, ports.ErrTaken) {
				t.Error(err)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	nodes.Wait()
	var n int
	if err := connected(t, on(server, "empty")).QueryRow(t.Context(), "select count(*) from goose_db_version where version_id = 1").Scan(&n); err != nil || n != 1 {
		t.Errorf("the first migration was applied %d times, error %v", n, err)
	}
}

// TestFsyncOff: a server that may lose what it acknowledged is refused.
func TestFsyncOff(t *testing.T) {
	s, err := newServer(t, "-c", "fsync=off")
	demand(t, err)
	t.Cleanup(s.stop)
	refused(t, s.url("postgres", "sslmode=disable"), "fsync=off")
}

// authority is a certificate authority of the tests'.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority() authority {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	plan := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "of these tests"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	return authority{must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, plan, plan, &key.PublicKey, key)))), key}
}

func (a authority) file(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// give writes a certificate for a name, and its key, into the folder of a server.
func (a authority) give(t *testing.T, s *server, name string) {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	plan := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der := must(x509.CreateCertificate(rand.Reader, plan, a.cert, &key.PublicKey, a.key))
	for path, block := range map[string]*pem.Block{"server.crt": {Type: "CERTIFICATE", Bytes: der}, "server.key": {Type: "EC PRIVATE KEY", Bytes: must(x509.MarshalECPrivateKey(key))}} {
		path = filepath.Join(s.data(), path)
		if err := errors.Join(os.WriteFile(path, pem.EncodeToMemory(block), 0o600), own(path)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTLS: verify-full proves name and authority, nothing falls back to plain, and the seed's spelling encrypts.
func TestTLS(t *testing.T) {
	s, err := newServer(t)
	demand(t, err)
	t.Cleanup(s.stop)
	ours, other := newAuthority(), newAuthority()
	ours.give(t, s, "localhost")
	hba := filepath.Join(s.data(), "pg_hba.conf")
	if err := errors.Join(os.WriteFile(hba, []byte("hostssl all xteam 127.0.0.1/32 scram-sha-256\nhost all all all reject\n"), 0o600), own(hba)); err != nil {
		t.Fatal(err)
	}
	s.kill()
	s.args = []string{"-c", "ssl=on", "-c", "ssl_cert_file=server.crt", "-c", "ssl_key_file=server.key"}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	named := func(host, query string) string {
		return strings.Replace(s.url("postgres", query), "127.0.0.1", host, 1)
	}
	seed := func(url string) string { return strings.Replace(url, "postgres://", "postgresql+asyncpg://", 1) }
	for what, url := range map[string]string{
		"verify-full, own authority": named("localhost", "sslmode=verify-full&sslrootcert="+ours.file(t)), "the seed's require": seed(named("127.0.0.1", "ssl=require")),
		"the seed's verify-full": seed(named("localhost", "ssl=verify-full&sslrootcert="+ours.file(t))),
	} {
		db, err := pgstore.Open(t.Context(), url, patient)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if err := db.Ping(t.Context()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if now, err := db.Clock(t.Context()); err != nil || time.Since(now).Abs() > 5*time.Second {
			t.Errorf("%s: its clock: %v, %v", what, now, err)
		}
		var encrypted bool
		if err := connected(t, strings.Replace(strings.Replace(url, "postgresql+asyncpg", "postgres", 1), "ssl=", "sslmode=", 1)).
			QueryRow(t.Context(), "select bool_and(ssl) from pg_stat_ssl join pg_stat_activity using (pid) where usename = 'xteam' and application_name = 'xteam'").Scan(&encrypted); err != nil || !encrypted {
			t.Errorf("%s: encrypted: got %v, error %v", what, encrypted, err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	for url, verified := range map[string]bool{named("localhost", "sslmode=verify-full&sslrootcert="+ours.file(t)): true, named("127.0.0.1", "sslmode=require"): false} {
		seen, err := pgstore.Look(t.Context(), url)
		if err != nil || seen.Verified != verified || seen.Protocol != "TLS 1.3" || !seen.Durable || seen.Now == 0 {
			t.Errorf("%s: seen %+v, %v; want that verified is %v", seen.URL, seen, err, verified)
		}
	}
	if _, err := pgstore.Look(t.Context(), named("localhost", "sslmode=verify-full&sslrootcert="+other.file(t))); err == nil || !strings.Contains(err.Error(), "authority that is not trusted") {
		t.Errorf("a server of another authority: %v", err)
	}
	if seen, err := pgstore.Look(t.Context(), base(t)); err != nil || seen.Protocol != "" || seen.Verified {
		t.Errorf("without encryption: seen %+v, %v", seen, err)
	}
	refused(t, named("127.0.0.1", "sslmode=verify-full&sslrootcert="+ours.file(t)), "another name")
	refused(t, named("localhost", "sslmode=verify-full&sslrootcert="+other.file(t)), "authority that is not trusted")
	refused(t, named("localhost", "sslmode=verify-full"), "authority that is not trusted")
	refused(t, named("localhost", "sslmode=disable"), "no encryption")
	plain := base(t)
	refused(t, strings.Replace(plain, "sslmode=disable", "sslmode=require", 1), "does not speak TLS")
	refused(t, strings.Replace(plain, "sslmode=disable", "sslmode=verify-full", 1), "does not speak TLS")
}

// TestCrash kills the server under load, again and again: what was acknowledged is there, what failed is ErrUnavailable, no change is made twice, and all goes on by itself.
func TestCrash(t *testing.T) {
	s, err := newServer(t)
	demand(t, err)
	t.Cleanup(s.stop)
	db := reopened(t, s.url("postgres", "sslmode=disable"), pgstore.Options{Wait: time.Second})
	const writers = 8
	sessions := make([]session.Session, writers)
	for i := range sessions {
		sessions[i] = aSession()
		if err := db.Sessions().Create(t.Context(), sessions[i], ports.Effects{}); err != nil {
			t.Fatal(err)
		}
	}
	var stop atomic.Bool
	var acknowledged, failed [writers]atomic.Int64
	var mu sync.Mutex
	var entries []revocation.Entry
	var all sync.WaitGroup
	for i := range sessions {
		all.Go(func() {
			for !stop.Load() {
				e := anEntry()
				err := db.Sessions().Update(context.Background(), sessions[i].ID, func(v session.Session) (session.Session, ports.Effects, error) {
					v.Counter++
					return v, ports.Effects{Revocations: []revocation.Entry{e}}, nil
				})
				switch {
				case err == nil:
					acknowledged[i].Add(1)
					mu.Lock()
					entries = append(entries, e)
					mu.Unlock()
				case errors.Is(err, ports.ErrUnavailable):
					failed[i].Add(1)
				default:
					t.Errorf("got %v, want ErrUnavailable", err)
				}
			}
		})
	}
	total := func(of *[writers]atomic.Int64) (n int64) {
		for i := range of {
			n += of[i].Load()
		}
		return n
	}
	for range 3 {
		before := total(&acknowledged)
		eventually(t, "changes", func() bool { return total(&acknowledged) > before+50 })
		failures := total(&failed)
		s.kill()
		eventually(t, "failures", func() bool { return total(&failed) > failures+writers })
		if err := s.start(); err != nil {
			t.Fatal(err)
		}
	}
	before := total(&acknowledged)
	eventually(t, "changes after the last start", func() bool { return total(&acknowledged) > before+50 })
	stop.Store(true)
	all.Wait()
	live := everything(t, db)
	for _, e := range entries {
		if _, ok := live[e.Key()]; !ok {
			t.Fatal("a revocation that was acknowledged is missing")
		}
	}
	var counted int64
	for i := range sessions {
		v, err := db.Sessions().Find(t.Context(), sessions[i].ID)
		if err != nil {
			t.Fatal(err)
		}
		n := int64(v.Counter - sessions[i].Counter)
		counted += n
		if yes, no := acknowledged[i].Load(), failed[i].Load(); n < yes || n > yes+no {
			t.Errorf("a session was changed %d times, want %d, which were acknowledged, and at most %d more, of which that is not known", n, yes, no)
		}
	}
	if int64(len(live)) != counted {
		t.Errorf("%d changes, and %d revocations that came with them", counted, len(live))
	}
	t.Logf("%d acknowledged, %d failed, %d there", total(&acknowledged), total(&failed), counted)
}

// TestASilentServer: one that is stopped, and answers nothing, holds no call up for longer than a statement may take; it goes on where it was.
func TestASilentServer(t *testing.T) {
	s, err := newServer(t)
	demand(t, err)
	t.Cleanup(s.stop)
	db := reopened(t, s.url("postgres", "sslmode=disable"), pgstore.Options{StatementTimeout: 2 * time.Second, Wait: 2 * time.Second, Poll: 20 * time.Millisecond})
	v := aSession()
	if err := db.Sessions().Create(t.Context(), v, ports.Effects{}); err != nil {
		t.Fatal(err)
	}
	followed, started := make(chan error, 1), make(chan struct{})
	var once sync.Once
	go func() {
		followed <- db.Revocations().Follow(context.Background(), func(ports.News) error { once.Do(func() { close(started) }); return nil })
	}()
	<-started
	bump := func() error {
		return db.Sessions().Update(context.Background(), v.ID, func(v session.Session) (session.Session, ports.Effects, error) {
			v.Counter++
			return v, ports.Effects{}, nil
		})
	}
	s.signal(syscall.SIGSTOP)
	defer s.signal(syscall.SIGCONT)
	for what, call := range map[string]func() error{"Update": bump, "Find": func() error { _, err := db.Sessions().Find(context.Background(), v.ID); return err },
		"Follow": func() error { return <-followed }, "Ping": func() error { return db.Ping(context.Background()) }} {
		start := time.Now()
		if err := call(); !errors.Is(err, ports.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v, want ErrUnavailable", what, err)
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s: answered after %v, want it after some seconds", what, took)
		}
	}
	s.signal(syscall.SIGCONT)
	eventually(t, "a change afterwards", func() bool { return bump() == nil })
}
