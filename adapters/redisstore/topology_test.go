package redisstore_test

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
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/xteam/xteam/adapters/redisstore"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/ratelimit"
	"github.com/xteam/xteam/domain/revocation"
	ourports "github.com/xteam/xteam/ports"
	"github.com/xteam/xteam/ports/porttest"
)

// authority is a certificate authority with one server, of that name, in PEM files.
func authority(t testing.TB, name string) (ca, certificate, key string) {
	t.Helper()
	dir := t.TempDir()
	write := func(file, kind string, der []byte) string {
		path := filepath.Join(dir, file)
		ok(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err)
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, &caKey.PublicKey, caKey)
	ok(t, err)
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: root.NotBefore, NotAfter: root.NotAfter}
	if ip := net.ParseIP(name); ip != nil {
		leaf.IPAddresses = []net.IP{ip}
	} else {
		leaf.DNSNames = []string{name}
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, &leafKey.PublicKey, caKey)
	ok(t, err)
	keyDER, err := x509.MarshalECPrivateKey(leafKey)
	ok(t, err)
	return write("ca.crt", "CERTIFICATE", rootDER), write("server.crt", "CERTIFICATE", leafDER), write("server.key", "EC PRIVATE KEY", keyDER)
}

func TestTLSAndRights(t *testing.T) {
	ca, certificate, key := authority(t, "redis.test")
	foreign, _, _ := authority(t, "redis.test")
	acl := filepath.Join(t.TempDir(), "users.acl")
	ok(t, os.WriteFile(acl, []byte("user default off\nuser xteam on >secret ~xteam:* &xteam:* +@all -@dangerous +config|get +info\nuser bare on >secret ~xteam:* &xteam:* +@all -@dangerous\n"+
		"user reader on >secret ~xteam:* &xteam:* +@read +@connection\n"), 0o600))
	port := porttest.Free(t)
	server := launch(t, 0, "--tls-port", strconv.Itoa(port), "--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", ca, "--tls-auth-clients", "no", "--aclfile", acl)
	t.Cleanup(server.end)
	parse := func(user, query string) redisstore.Options {
		o, err := redisstore.Parse(fmt.Sprintf("rediss://%s:secret@127.0.0.1:%d?server_name=redis.test&namespace=%s&ca=%s", user, port, own(), ca) + query)
		ok(t, err)
		o.BucketTimeout = 10 * time.Second
		return o
	}
	eventually(t, "the server is ready", func() bool {
		s, err := redisstore.Open(context.Background(), parse("xteam", ""))
		if err == nil {
			_ = s.Close()
		}
		return err == nil
	})
	for user, knows := range map[string]bool{"xteam": true, "bare": false} {
		t.Run(user, func(t *testing.T) {
			policy, known := open(t, parse(user, "")).Evicting()
			if known != knows || knows && policy != "noeviction" {
				t.Errorf("Evicting: got %q, %v, want it to be known: %v", policy, known, knows)
			}
			t.Run("revocations", func(t *testing.T) {
				porttest.Revocations(t, func(t testing.TB, _ string) porttest.Store { return ported(t, parse(user, "")) })
			})
			s := open(t, parse(user, ""))
			if _, err := s.Buckets().Take(t.Context(), now, demand()); err != nil {
				t.Errorf("Take: %v", err)
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		wrong := func(change func(*redisstore.Options)) redisstore.Options {
			o := parse("xteam", "")
			change(&o)
			return o
		}
		for what, c := range map[string]struct {
			o    redisstore.Options
			want error
		}{
			"the name of another server": {wrong(func(o *redisstore.Options) { o.ServerName = "" }), ourports.ErrUnavailable},
			"a foreign authority":        {wrong(func(o *redisstore.Options) { o.CAFile = foreign }), ourports.ErrUnavailable},
			"the system's authorities":   {wrong(func(o *redisstore.Options) { o.CAFile = "" }), ourports.ErrUnavailable},
			"no TLS":                     {wrong(func(o *redisstore.Options) { o.TLS, o.CAFile, o.ServerName = false, "", "" }), ourports.ErrUnavailable},
			"no such user":               {wrong(func(o *redisstore.Options) { o.Username = "nobody" }), redisstore.ErrDenied},
			"a user who may not write":   {wrong(func(o *redisstore.Options) { o.Username = "reader" }), redisstore.ErrDenied},
			"another's keys":             {wrong(func(o *redisstore.Options) { o.Namespace = "other" }), redisstore.ErrDenied},
		} {
			if s, err := redisstore.Open(t.Context(), c.o); !errors.Is(err, c.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("Open with %s: got %v, error %v, want %v", what, s != nil, err, c.want)
			}
		}
		if _, err := redisstore.New(wrong(func(o *redisstore.Options) { o.CAFile = key })); err == nil {
			t.Error("New with a key in place of an authority: got no error")
		}
	})
}

// TestSentinel: a failover during writes. What was acknowledged and lost is found out: Follow ends with ErrLost, and what a node holds is put back.
func TestSentinel(t *testing.T) {
	auth := []string{"--requirepass", "pw", "--masterauth", "pw"}
	primary := launch(t, porttest.Free(t), auth...)
	t.Cleanup(primary.end)
	admin := redisAdmin(t, primary, "pw")
	eventually(t, "the primary is ready", func() bool { return admin.Ping(context.Background()).Err() == nil })
	replica := launch(t, porttest.Free(t), append([]string{"--replicaof", "127.0.0.1 " + strconv.Itoa(primary.port)}, auth...)...)
	t.Cleanup(replica.end)
	other := redisAdmin(t, replica, "pw")
	eventually(t, "the replica is in step", func() bool {
		return strings.Contains(other.Info(context.Background(), "replication").Val(), "master_link_status:up")
	})
	o := redisstore.Options{Master: "mymaster", Password: hidden("pw"), Namespace: own(), BucketTimeout: 5 * time.Second}
	var sentinels []*redis.SentinelClient
	for range 3 {
		port := porttest.Free(t)
		file := filepath.Join(t.TempDir(), "s.conf")
		ok(t, os.WriteFile(file, fmt.Appendf(nil, "bind 127.0.0.1\nport %d\ndir %s\nsentinel monitor mymaster 127.0.0.1 %d 2\nsentinel auth-pass mymaster pw\n"+
			"sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 3000\n", port, filepath.Dir(file), primary.port), 0o600))
		s := launch(t, port, file, "--sentinel")
		t.Cleanup(s.end)
		s.ready(t)
		o.Addresses = append(o.Addresses, s.address())
		c := redis.NewSentinelClient(&redis.Options{Addr: s.address(), Protocol: 2, DisableIdentity: true})
		t.Cleanup(func() { c.Close() })
		sentinels = append(sentinels, c)
	}
	eventually(t, "the Sentinels know everybody", func() bool {
		for _, c := range sentinels {
			got := c.Master(context.Background(), "mymaster").Val()
			if got["num-other-sentinels"] != "2" || got["num-slaves"] != "1" {
				return false
			}
		}
		return true
	})
	s := open(t, o)
	n := follow(t, s)
	stop := make(chan struct{})
	var writing sync.WaitGroup
	var mu sync.Mutex
	var all []revocation.Entry
	writing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			e := newEntry()
			if err := s.Revocations().Record(context.Background(), e); err == nil {
				mu.Lock()
				all = append(all, e)
				mu.Unlock()
			} else if !errors.Is(err, ourports.ErrUnavailable) {
				t.Errorf("Record during a failover: got error %v, want ErrUnavailable", err)
			}
		}
	})
	written := func() int { mu.Lock(); defer mu.Unlock(); return len(all) }
	eventually(t, "entries were written", func() bool { return written() > 100 })
	primary.kill()
	since, before := time.Now(), written()
	eventually(t, "entries are written again", func() bool { return written() > before+100 })
	took := time.Since(since)
	eventually(t, "Follow ended", func() bool { return len(n.failures()) > 0 })
	ended := time.Since(since)
	beats := n.beats()
	eventually(t, "the node follows the new primary", func() bool { return n.beats() > beats })
	close(stop)
	writing.Wait()
	missing := 0
	held := holds(t, s)
	for i := range all {
		if !held[all[i].Key()] {
			missing++
		}
	}
	record(t, s, all...) // the database and the nodes hold them
	n.has(t, all...)
	if held := holds(t, s); len(held) < len(all) {
		t.Errorf("after it was put back: got %d entries, want at least %d", len(held), len(all))
	}
	t.Logf("Follow ended %v after the loss of the primary: %v", ended, n.failures()[0])
	t.Logf("written again after %v; of %d acknowledged entries the failover lost %d", took, len(all), missing)
}

func TestCluster(t *testing.T) {
	var nodes []*server
	var addresses []string
	for range 6 {
		n := launch(t, porttest.Free(t), "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "1000")
		t.Cleanup(n.end)
		n.ready(t)
		nodes, addresses = append(nodes, n), append(addresses, n.address())
	}
	cli(t, append(append([]string{"--cluster", "create"}, addresses...), "--cluster-replicas", "1", "--cluster-yes")...)
	eventually(t, "the Cluster is ready", func() bool {
		for _, n := range nodes {
			if !strings.Contains(n.admin.ClusterInfo(context.Background()).Val(), "cluster_state:ok") {
				return false
			}
			if info := n.admin.Info(context.Background(), "replication").Val(); strings.Contains(info, "role:slave") && !strings.Contains(info, "master_link_status:up") {
				return false
			}
		}
		return true
	})
	options := func() redisstore.Options {
		return redisstore.Options{Cluster: true, Addresses: addresses[:2], Namespace: own(), BucketTimeout: 10 * time.Second}
	}
	if policy, known := open(t, options()).Evicting(); policy != "noeviction" || !known {
		t.Errorf("Evicting: got %q, %v, want noeviction", policy, known)
	}
	t.Run("revocations", func(t *testing.T) {
		porttest.Revocations(t, func(t testing.TB, _ string) porttest.Store { return ported(t, options()) })
	})
	t.Run("buckets", func(t *testing.T) {
		walkClustered(t, open(t, options()).Buckets())
	})
	t.Run("what was taken stays taken", func(t *testing.T) {
		b := open(t, options()).Buckets()
		var demands []ourports.Demand
		for i := range 8 { // in several slots
			demands = append(demands, ourports.Demand{Key: fmt.Sprint("k", i), Limit: ratelimit.Limit{Capacity: int64(1 + i), Period: time.Hour}, N: 1})
		}
		for call := range 3 {
			got, err := b.Take(t.Context(), now, demands...)
			ok(t, err)
			for i, d := range got {
				if want := int64(i - call); d.Remaining != max(0, want) || d.OK != (want >= 0) {
					t.Errorf("call %d on a bucket of %d: got %+v, want %d left", call, i+1, d, want)
				}
			}
		}
		for _, n := range nodes {
			ok(t, n.admin.ScriptFlush(t.Context()).Err())
		}
		if _, err := b.Take(t.Context(), now, demands...); err != nil {
			t.Errorf("Take after the scripts were flushed: %v", err)
		}
	})
	t.Run("a slot moves, and a primary is lost", func(t *testing.T) {
		o := options()
		s := open(t, o)
		n := follow(t, s)
		e := newEntry()
		record(t, s, e)
		n.has(t, e)
		slot := int(nodes[0].admin.ClusterKeySlot(t.Context(), o.Namespace+":{r}:id").Val())
		from, to := ownerOf(t, nodes, slot, true), ownerOf(t, nodes, slot, false)
		moveSlot(t, nodes, from, to, slot)
		e = newEntry()
		eventually(t, "the moved slot takes writes", func() bool { return s.Revocations().Record(context.Background(), e) == nil })
		_ = n.lost(t) // another server answers: everything is told again
		n.has(t, e)
		to.kill()
		e = newEntry()
		since, last := time.Now(), ""
		eventually(t, "the new primary takes writes", func() bool {
			err := s.Revocations().Record(context.Background(), e)
			if err != nil && err.Error() != last {
				last = err.Error()
				t.Logf("%v after the loss of the primary: %v", time.Since(since), err)
			}
			return err == nil
		})
		t.Logf("written again %v after the loss of the primary", time.Since(since))
		n.has(t, e)
	})
}

// walkClustered: each bucket of a Cluster by itself is exactly ratelimit.Limit, also when a call asks it twice. The suite as a whole asks for one step over all buckets, which a Cluster
// has not.
func walkClustered(t *testing.T, b ourports.Buckets) {
	rapid.Check(t, func(t *rapid.T) {
		at, key := now, newEntry().Token.String()
		l := ratelimit.Limit{Capacity: rapid.Int64Range(1, ratelimit.MaxCapacity).Draw(t, "capacity"), Period: time.Duration(rapid.Int64Range(1_000_000, 3_600_000_000).Draw(t, "µs")) * time.Microsecond}
		var bucket ratelimit.Bucket
		for range rapid.IntRange(1, 10).Draw(t, "steps") {
			at += instant.Instant(rapid.Int64Range(-l.Period.Microseconds(), l.Period.Microseconds()).Draw(t, "later"))
			demands := make([]ourports.Demand, rapid.IntRange(1, 3).Draw(t, "demands"))
			trial, allowed := bucket, true
			want := make([]bool, len(demands))
			for i := range demands {
				demands[i] = ourports.Demand{Key: key, Limit: l, N: rapid.Int64Range(1, l.Capacity).Draw(t, "n")}
				var d ratelimit.Decision
				trial, d = l.Take(trial, demands[i].N, at)
				want[i], allowed = d.OK, allowed && d.OK
			}
			if allowed {
				bucket = trial
			} else {
				bucket, _ = l.Take(bucket, 0, at)
			}
			_, after := l.Take(bucket, 0, at)
			got, err := b.Take(context.Background(), at, demands...)
			if err != nil {
				t.Fatal(err)
			}
			for i := range got {
				if got[i].OK != want[i] || got[i].Remaining != after.Remaining || got[i].Reset != after.Reset {
					t.Fatalf("demand %d: got %+v, want OK %v and %+v", i, got[i], want[i], after)
				}
			}
		}
	})
}

// ownerOf is the primary that has a slot, or another one.
func ownerOf(t testing.TB, nodes []*server, slot int, has bool) *server {
	t.Helper()
	slots, err := nodes[0].admin.ClusterSlots(t.Context()).Result() //nolint:staticcheck // its successor lists no primary first
	ok(t, err)
	for _, r := range slots {
		if (slot >= r.Start && slot <= r.End) != has {
			continue
		}
		for _, n := range nodes {
			if n.address() == r.Nodes[0].Addr {
				return n
			}
		}
	}
	t.Fatalf("no primary of slot %d", slot)
	return nil
}

func moveSlot(t testing.TB, nodes []*server, from, to *server, slot int) {
	t.Helper()
	ctx := t.Context()
	ids := map[*server]string{}
	for _, n := range []*server{from, to} {
		id, err := n.admin.Do(ctx, "CLUSTER", "MYID").Text()
		ok(t, err)
		ids[n] = id
	}
	ok(t, to.admin.Do(ctx, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[from]).Err())
	ok(t, from.admin.Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[to]).Err())
	for {
		keys, err := from.admin.ClusterGetKeysInSlot(ctx, slot, 1000).Result()
		ok(t, err)
		if len(keys) == 0 {
			break
		}
		args := []any{"MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "KEYS"}
		for _, k := range keys {
			args = append(args, k)
		}
		ok(t, from.admin.Do(ctx, args...).Err())
	}
	for _, n := range []*server{to, from} {
		ok(t, n.admin.Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", ids[to]).Err())
	}
}
