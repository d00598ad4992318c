package redisstore_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/redisstore"
	"github.com/xteam/xteam/domain/revocation"
	ourports "github.com/xteam/xteam/ports"
)

func TestFlushedDataIsLost(t *testing.T) {
	server := start(t)
	s := open(t, at(server))
	all := newEntries(300)
	record(t, s, all...)
	n := follow(t, s)
	since := time.Now()
	ok(t, server.admin.FlushAll(t.Context()).Err())
	if err := n.lost(t); !strings.Contains(err.Error(), "FLUSHALL") {
		t.Errorf("Follow: got error %v, want one that says what happened", err)
	}
	if took := time.Since(since); took > 15*time.Second {
		t.Errorf("the loss was noticed after %v, want about a second", took)
	}
	record(t, s, all...) // what whoever follows does
	if got := len(holds(t, s)); got != len(all) {
		t.Errorf("put back: got %d, want %d", got, len(all))
	}
}

func TestEveryLossIsNoticed(t *testing.T) {
	server := start(t)
	cases := map[string]struct {
		lose func(t *testing.T, prefix string)
		why  string
	}{
		"the mark":              {func(t *testing.T, p string) { ok(t, server.admin.Del(t.Context(), p+"id").Err()) }, "all of it is gone"},
		"another mark":          {func(t *testing.T, p string) { ok(t, server.admin.Set(t.Context(), p+"id", "other", 0).Err()) }, "other data"},
		"the epoch":             {func(t *testing.T, p string) { ok(t, server.admin.Del(t.Context(), p+"epoch").Err()) }, "epoch"},
		"the set":               {func(t *testing.T, p string) { ok(t, server.admin.Del(t.Context(), p+"live").Err()) }, "set of what is live"},
		"the stream":            {func(t *testing.T, p string) { ok(t, server.admin.Del(t.Context(), p+"stream").Err()) }, "position"},
		"the stream's last one": {func(t *testing.T, p string) { dropLast(t, server, p+"stream") }, "position"},
		"the count":             {func(t *testing.T, p string) { ok(t, server.admin.Set(t.Context(), p+"count", 1, 0).Err()) }, "recorded"},
	}
	for what, c := range cases {
		t.Run(what, func(t *testing.T) {
			o := at(server)
			s := open(t, o)
			record(t, s, newEntries(20)...)
			ok(t, s.Revocations().Vouch(t.Context()))
			n := follow(t, s)
			beats := n.beats()
			eventually(t, "a second beat", func() bool { return n.beats() > beats })
			if errs := n.failures(); len(errs) > 0 {
				t.Fatalf("before the loss: %v", errs)
			}
			c.lose(t, o.Namespace+":{r}:")
			if err := n.lost(t); !strings.Contains(err.Error(), c.why) {
				t.Errorf("Follow: got error %v, want one with %q", err, c.why)
			}
		})
	}
}

func dropLast(t *testing.T, server *server, stream string) {
	t.Helper()
	last, err := server.admin.XRevRangeN(t.Context(), stream, "+", "-", 1).Result()
	ok(t, err)
	ok(t, server.admin.XDel(t.Context(), stream, last[0].ID).Err())
}

func TestAnotherProcessIsALoss(t *testing.T) {
	server := start(t, "--appendonly", "yes", "--appendfsync", "always")
	s := open(t, at(server))
	before := newEntries(50)
	record(t, s, before...)
	n := follow(t, s)
	server.kill()
	if err := s.Revocations().Record(t.Context(), newEntry()); !errors.Is(err, ourports.ErrUnavailable) {
		t.Errorf("Record while Redis is down: got error %v, want ErrUnavailable", err)
	}
	server.run(t)
	server.ready(t)
	after := newEntry()
	eventually(t, "Redis records again", func() bool { return s.Revocations().Record(t.Context(), after) == nil })
	n.has(t, append(before, after)...)
	held := holds(t, s)
	for i := range before {
		if !held[before[i].Key()] {
			t.Fatal("an entry that was acknowledged with appendfsync always is gone after kill -9")
		}
	}
}

func TestEvictedEntriesAreNoticed(t *testing.T) {
	for _, tells := range []bool{true, false} { // whether the user may ask INFO
		server := start(t)
		o := at(server)
		if !tells {
			ok(t, server.admin.Do(t.Context(), "ACL", "SETUSER", "blind", "on", ">pw", "~*", "&*", "+@all", "-info", "-config").Err())
			o.Username, o.Password = "blind", hidden("pw")
		}
		s := open(t, o)
		record(t, s, newEntries(2000)...)
		n := follow(t, s)
		ok(t, server.admin.ConfigSet(t.Context(), "maxmemory-policy", "allkeys-random").Err())
		ok(t, server.admin.ConfigSet(t.Context(), "maxmemory", "1500kb").Err())
		for i := range 3000 { // something else fills it
			if server.admin.Set(t.Context(), "filler:"+newEntry().Token.String(), strings.Repeat("x", 200+i%7), 0).Err() != nil {
				break
			}
		}
		if err := n.lost(t); err == nil {
			t.Error("eviction was not noticed")
		}
		ok(t, server.admin.ConfigSet(t.Context(), "maxmemory", "0").Err())
		ok(t, s.Check(t.Context()))
		policy, known := s.Evicting()
		if known != tells || tells && policy != "allkeys-random" {
			t.Errorf("Evicting: got %q, %v, want allkeys-random to be told: %v", policy, known, tells)
		}
	}
}

func TestAFullRedisIsUnavailable(t *testing.T) {
	server := start(t, "--maxmemory-policy", "noeviction")
	s := open(t, at(server))
	if policy, known := s.Evicting(); policy != "noeviction" || !known {
		t.Errorf("Evicting: got %q, %v, want noeviction", policy, known)
	}
	n := follow(t, s)
	ok(t, server.admin.ConfigSet(t.Context(), "maxmemory", "1kb").Err())
	err := s.Revocations().Record(t.Context(), newEntry())
	if !errors.Is(err, redisstore.ErrFull) || !errors.Is(err, ourports.ErrUnavailable) {
		t.Errorf("Record: got error %v, want ErrFull", err)
	}
	if _, err := s.Buckets().Take(t.Context(), now, demand()); !errors.Is(err, ourports.ErrUnavailable) {
		t.Errorf("Take: got error %v, want ErrUnavailable", err)
	}
	ok(t, server.admin.ConfigSet(t.Context(), "maxmemory", "0").Err())
	e := newEntry()
	record(t, s, e)
	n.has(t, e)
}

func TestAHungServerEndsFollowAndRecord(t *testing.T) {
	server := start(t)
	s := open(t, at(server))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	caught, ended := make(chan struct{}), make(chan error, 1)
	var once sync.Once
	go func() {
		ended <- s.Revocations().Follow(ctx, func(n ourports.News) error {
			if n.Caught {
				once.Do(func() { close(caught) })
			}
			return nil
		})
	}()
	<-caught
	server.signal(t, syscall.SIGSTOP)
	defer server.signal(t, syscall.SIGCONT)
	since := time.Now()
	if err := s.Revocations().Record(t.Context(), newEntry()); !errors.Is(err, ourports.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Record: got error %v, want ErrUnavailable and no time-out of the caller's", err)
	}
	if took := time.Since(since); took > 10*time.Second {
		t.Errorf("Record on a hung server took %v, want about a second", took)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, ourports.ErrUnavailable) {
			t.Errorf("Follow: got error %v, want ErrUnavailable", err)
		}
		if took := time.Since(since); took > 12*time.Second {
			t.Errorf("Follow on a hung server ended after %v, want about two seconds", took)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Follow on a hung server does not end")
	}
	server.signal(t, syscall.SIGCONT)
	e := newEntry()
	eventually(t, "Redis records again", func() bool { return s.Revocations().Record(t.Context(), e) == nil })
	if !holds(t, s)[e.Key()] {
		t.Error("what was recorded after the hang is not there")
	}
}

func TestScriptsAreLoadedAgain(t *testing.T) {
	server := start(t)
	s := open(t, at(server))
	n := follow(t, s)
	stop := make(chan struct{})
	var flushing sync.WaitGroup
	flushing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = server.admin.ScriptFlush(context.Background()).Err()
			}
		}
	})
	var all []revocation.Entry
	for range 200 {
		e := newEntry()
		record(t, s, e)
		all = append(all, e)
		if _, err := s.Buckets().Take(t.Context(), now, demand()); err != nil {
			t.Fatalf("Take while scripts are flushed: %v", err)
		}
	}
	close(stop)
	flushing.Wait()
	n.has(t, all...)
	if errs := n.failures(); len(errs) > 0 {
		t.Errorf("Follow ended meanwhile: %v", errs)
	}
}

func TestKilledConnections(t *testing.T) {
	server := start(t)
	s := open(t, at(server))
	n := follow(t, s)
	stop := make(chan struct{})
	var killing sync.WaitGroup
	var kills atomic.Int64
	killing.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		heard, killed := 0, time.Now()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				beats := n.beats()
				if beats == heard && time.Since(killed) < time.Second { // on a slow machine nobody would come to hear anything
					continue
				}
				heard, killed = beats, time.Now()
				_ = server.admin.Do(context.Background(), "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Err()
				kills.Add(1)
			}
		}
	})
	var all []revocation.Entry
	for kills.Load() < 40 {
		e := newEntry()
		if err := s.Revocations().Record(t.Context(), e); err == nil {
			all = append(all, e)
		} else if !errors.Is(err, ourports.ErrUnavailable) {
			t.Errorf("Record: got error %v, want nil or ErrUnavailable", err)
		}
	}
	beats := n.beats()
	close(stop)
	killing.Wait()
	n.has(t, all...)
	if beats < 3 {
		t.Errorf("the node was caught up %d times while connections were killed, want it to go on hearing", beats)
	}
	if errs := n.failures(); len(errs) > 0 {
		t.Errorf("Follow ended %d times while connections were killed, first with %v: want it to go on", len(errs), errs[0])
	}
	t.Logf("%d entries recorded, the node was caught up %d times, Follow ended %d times", len(all), beats, len(n.failures()))
}

func TestPausedWritesAreWaitedFor(t *testing.T) {
	server := start(t)
	s := open(t, at(server))
	n := follow(t, s)
	ok(t, server.admin.Do(t.Context(), "CLIENT", "PAUSE", "300", "WRITE").Err())
	e := newEntry()
	record(t, s, e)
	n.has(t, e)
}

func TestWrongPasswordAndReplica(t *testing.T) {
	server := start(t, "--requirepass", "a-good-secret")
	o := at(server)
	o.Password = hidden("a-bad-secret")
	_, err := redisstore.Open(t.Context(), o)
	if !errors.Is(err, redisstore.ErrDenied) || strings.Contains(err.Error(), "a-bad-secret") {
		t.Errorf("Open with a wrong password: got error %v, want ErrDenied without it", err)
	}
	o.Password = hidden("a-good-secret")
	s := open(t, o)
	n := follow(t, s)
	admin := redisAdmin(t, server, "a-good-secret")
	ok(t, admin.ConfigSet(t.Context(), "requirepass", "rotated").Err())
	ok(t, admin.Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Err())
	eventually(t, "the rotated password is noticed", func() bool { return errors.Is(s.Revocations().Record(t.Context(), newEntry()), redisstore.ErrDenied) })
	eventually(t, "Follow ends", func() bool { return len(n.failures()) > 0 })
	ok(t, admin.ConfigSet(t.Context(), "requirepass", "a-good-secret").Err())
	e := newEntry()
	eventually(t, "the right password works again", func() bool { return s.Revocations().Record(t.Context(), e) == nil })
	n.has(t, e)

	primary := start(t)
	replica := start(t, "--replicaof", "127.0.0.1 "+strings.TrimPrefix(primary.address(), "127.0.0.1:"))
	if _, err := redisstore.Open(t.Context(), at(replica)); !errors.Is(err, redisstore.ErrReadOnly) {
		t.Errorf("Open on a replica: got error %v, want ErrReadOnly", err)
	}
}

func TestDemotedPrimary(t *testing.T) {
	first, second := start(t), start(t)
	s := open(t, at(first))
	e := newEntry()
	record(t, s, e)
	n := follow(t, s)
	ok(t, first.admin.Do(t.Context(), "REPLICAOF", "127.0.0.1", strings.TrimPrefix(second.address(), "127.0.0.1:")).Err())
	eventually(t, "Record says that it is read-only", func() bool { return errors.Is(s.Revocations().Record(t.Context(), newEntry()), redisstore.ErrReadOnly) })
	eventually(t, "Follow ends", func() bool { return len(n.failures()) > 0 })
	ok(t, first.admin.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err())
	eventually(t, "the promoted server takes writes", func() bool { return s.Revocations().Record(t.Context(), e) == nil })
	beats := n.beats()
	eventually(t, "the node hears it", func() bool { return n.beats() > beats })
}

// TestAReplicaThatLacksTheLastWrites is a failover by hand: the primary dies with what it had not yet passed on.
func TestAReplicaThatLacksTheLastWrites(t *testing.T) {
	primary := start(t)
	replica := start(t, "--replicaof", "127.0.0.1 "+strings.TrimPrefix(primary.address(), "127.0.0.1:"))
	eventually(t, "the replica is in step", func() bool {
		return strings.Contains(replica.admin.Info(context.Background(), "replication").Val(), "master_link_status:up")
	})
	door := newProxy(t, primary.address())
	o := at(primary)
	o.Addresses = []string{door.address()}
	s := open(t, o)
	old := newEntries(20)
	record(t, s, old...)
	eventually(t, "the replica has them", func() bool { return replica.admin.ZCard(context.Background(), o.Namespace+":{r}:live").Val() == 21 })
	n := follow(t, s)
	replica.signal(t, syscall.SIGSTOP)
	late := newEntry()
	record(t, s, late)
	n.has(t, late)
	primary.kill()
	replica.signal(t, syscall.SIGCONT)
	ok(t, replica.admin.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err())
	door.to.Store(replica.address())
	beats := n.beats()
	eventually(t, "the node follows the new primary", func() bool { return n.beats() > beats })
	n.mu.Lock()
	lacks := !n.round[late.Key()] && n.round[old[0].Key()]
	n.mu.Unlock()
	if !lacks && !holds(t, s)[late.Key()] {
		t.Error("the node is not told what the new primary lacks")
	}
	record(t, s, late)
	if held := holds(t, s); len(held) != 21 {
		t.Errorf("after it was put back: got %d entries, want 21", len(held))
	}
}

// An older state may stand under the same mark and epoch; who follows is told what it holds, and so what it lacks.
func TestAnOldDumpThatIsRestored(t *testing.T) {
	server := start(t)
	s := open(t, at(server))
	old, late := newEntries(20), newEntry()
	record(t, s, old...)
	ok(t, s.Revocations().Vouch(t.Context()))
	ok(t, server.admin.Save(t.Context()).Err())
	n := follow(t, s)
	record(t, s, late)
	n.has(t, append(old, late)...)
	server.kill()
	server.run(t) // with the dump of before the last one
	server.ready(t)
	eventually(t, "the node is told all that is there, and not the last entry", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return !n.round[late.Key()] && n.round[old[0].Key()]
	})
	record(t, s, late)
	if held := holds(t, s); len(held) != 21 {
		t.Errorf("after it was put back: got %d entries, want 21", len(held))
	}
}

// proxy passes connections on, later by a delay.
type proxy struct {
	l     net.Listener
	to    atomic.Value
	delay atomic.Int64
	wg    sync.WaitGroup
}

func newProxy(t testing.TB, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	p := &proxy{l: l}
	p.to.Store(to)
	ctx, cancel := context.WithCancel(context.Background())
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.pass(ctx, c) })
		}
	})
	t.Cleanup(func() { l.Close(); cancel(); p.wg.Wait() })
	return p
}

func (p *proxy) address() string { return p.l.Addr().String() }

func (p *proxy) pass(ctx context.Context, in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", p.to.Load().(string))
	if err != nil {
		return
	}
	defer out.Close()
	stop := context.AfterFunc(ctx, func() { in.Close(); out.Close() })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { p.copy(ctx, out, in, true) })
	both.Go(func() { p.copy(ctx, in, out, false) })
	both.Wait()
}

func (p *proxy) copy(ctx context.Context, to, from net.Conn, slow bool) {
	defer to.Close()
	defer from.Close()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if n > 0 && slow && p.delay.Load() > 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Duration(p.delay.Load())):
			}
		}
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil && err != io.EOF || n == 0 {
			return
		}
	}
}

func TestALongWay(t *testing.T) {
	server := start(t)
	door := newProxy(t, server.address())
	o := at(server)
	o.Addresses, o.BucketTimeout = []string{door.address()}, 20*time.Millisecond
	s := open(t, o)
	n := follow(t, s)
	door.delay.Store(int64(200 * time.Millisecond))
	all := newEntries(10)
	for _, e := range all {
		record(t, s, e)
	}
	n.has(t, all...)
	if errs := n.failures(); len(errs) > 0 {
		t.Errorf("Follow over 200 ms ended: %v", errs)
	}
	if _, err := s.Buckets().Take(t.Context(), now, demand()); !errors.Is(err, ourports.ErrUnavailable) {
		t.Errorf("Take over 200 ms: got error %v, want ErrUnavailable", err)
	}
}

func TestAFollowerBehindTheStreamIsGivenEverythingAgain(t *testing.T) {
	s := open(t, at(single(t)))
	s.Shorten(200)
	entered, held := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var mu sync.Mutex
	seen := map[string]bool{}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- s.Revocations().Follow(ctx, func(n ourports.News) error {
			if n.Caught {
				once.Do(func() { close(entered); <-held })
			}
			mu.Lock()
			defer mu.Unlock()
			for i := range n.Entries {
				seen[n.Entries[i].Key()] = true
			}
			return nil
		})
	}()
	<-entered
	all := newEntries(3000)
	record(t, s, all...)
	close(held)
	eventually(t, "everything was delivered", func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) == len(all) })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Follow: got error %v, want context.Canceled", err)
	}
}
