package security_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/passhash"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam/assembly"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/ports"
)

const (
	faults  = "tests/faults/faults_linux_test.go:TestFaults/"
	network = "it takes real servers and a network that can be cut: three nodes play it, beside a checker of what was acknowledged"
)

// failureExhibits are failures of what the product stands on. What takes real servers, disks or signals is played where those are.
var failureExhibits = []exhibit{
	{ids: []string{"failure-closed"}, play: closedWhenSilent},
	{ids: []string{"failure-redis-slow"}, why: network, tests: []string{faults + "Redis: latency 500 ms", "app/buckets_test.go:TestFallbackCountsLocallyWhileTheSharedBucketsAreAway"}},
	{ids: []string{"failure-redis-hung"}, why: network, tests: []string{faults + "Redis: SIGSTOP for 60 s", "adapters/redisstore/faults_test.go:TestAHungServerEndsFollowAndRecord"}},
	{ids: []string{"failure-redis-down"}, why: network, tests: []string{faults + "Redis: kill -9"}},
	{ids: []string{"failure-redis-scripts"}, why: network, tests: []string{faults + "Redis: SCRIPT FLUSH", "adapters/redisstore/faults_test.go:TestScriptsAreLoadedAgain"}},
	{ids: []string{"failure-redis-failover"}, why: network, tests: []string{faults + "Redis: failover by Sentinel during writes", "adapters/redisstore/faults_test.go:TestAReplicaThatLacksTheLastWrites"}},
	{ids: []string{"failure-redis-demoted", "envoyproxy/ratelimit#1191"}, why: network, tests: []string{faults + "Redis: an old primary still answers one node", "adapters/redisstore/faults_test.go:TestDemotedPrimary"}},
	{ids: []string{"failure-redis-replica"}, why: "it takes a real replica: the start is refused by a probe write", tests: []string{"adapters/redisstore/faults_test.go:TestWrongPasswordAndReplica"}},
	{ids: []string{"failure-redis-flushed"}, why: network, tests: []string{faults + "Redis: FLUSHALL", faults + "Redis: an old dump is restored", "adapters/redisstore/faults_test.go:TestEveryLossIsNoticed"}},
	{ids: []string{"failure-redis-evicting"}, why: network, tests: []string{faults + "Redis: full, each evicting policy in turn", "adapters/redisstore/faults_test.go:TestEvictedEntriesAreNoticed", "tests/faults/doctor_linux_test.go:TestDoctorOfStores"}},
	{ids: []string{"failure-redis-clock"}, why: "every call hands in its own time, which the conformance suite of buckets holds against the domain by a random walk", tests: []string{"adapters/redisstore/conformance_test.go:TestStore", "app/clocks_test.go:TestClocks"}},
	{ids: []string{"failure-badger-full"}, why: "it takes a disk of its own: a file system in memory that is filled to the last block", tests: []string{"adapters/badgerstore/fulldisk_linux_test.go:TestFullDisk", "tests/e2e/space_test.go:TestTooLittleSpace"}},
	{ids: []string{"failure-badger-sync"}, why: "kill -9 cannot see a missing sync: the calls to the kernel are counted", tests: []string{"adapters/badgerstore/conformance_test.go:TestSyncsAreCounted"}},
	{ids: []string{"failure-badger-torn"}, why: "the files of a killed store are cut and flipped where the store itself is tested", tests: []string{"adapters/badgerstore/torn_test.go:TestTornFiles", "adapters/badgerstore/logs_test.go:TestATornTailIsTold"}},
	{ids: []string{"failure-kill"}, why: "it takes the real process, which is killed under load", tests: []string{"tests/e2e/crash_test.go:TestKilledUnderLoad", faults + "a node: kill -9 of each in turn"}},
	{ids: []string{"failure-two-processes"}, why: "it takes two processes", tests: []string{"tests/e2e/operator_test.go:TestSecondServer", "cmd/xteam/socket_test.go:TestSocketLeftBehind"}},
	{ids: []string{"failure-clock-forward"}, play: clockJumps, tests: []string{"adapters/badgerstore/time_test.go:TestAClockThatJumps", "app/view/view_test.go:TestAClockThatJumps"}},
	{ids: []string{"failure-clock-back"}, play: clockGoesBack, tests: []string{"domain/ratelimit/limit_test.go:TestABucketFromTheFutureRecovers", faults + "nodes: a clock is set back"}},
	{ids: []string{"failure-clock-skew"}, play: clocksApart, tests: []string{faults + "nodes: clocks 60 s apart"}},
	{ids: []string{"failure-postgres-down"}, play: databaseDown, tests: []string{faults + "PostgreSQL: kill -9", "app/pending_test.go:TestRevocationsWhileTheDatabaseIsDown"}},
	{ids: []string{"failure-postgres-failover"}, why: "it takes a real standby that is promoted", tests: []string{"adapters/pgstore/failover_test.go:TestFailover", "adapters/pgstore/failover_test.go:TestDemoted"}},
	{ids: []string{"failure-postgres-pool"}, why: network, tests: []string{faults + "PostgreSQL: pool exhausted", "adapters/pgstore/store_test.go:TestPoolExhausted"}},
	{ids: []string{"failure-postgres-tls"}, why: "it takes a real server with a certificate of another CA", tests: []string{"adapters/pgstore/open_test.go:TestTLS"}},
	{ids: []string{"failure-vault-sealed"}, why: "it takes a real Vault that is sealed", tests: []string{"adapters/vaultsecrets/real_linux_test.go:TestRealVault", "app/secrets_test.go:TestSecretsThroughAnOutage"}},
	{ids: []string{"failure-vault-token", "hashicorp/vault#26844"}, why: "a Vault's recorded answers show it, which a real one is held to", tests: []string{"adapters/vaultsecrets/replay_test.go:TestReplayedLoginsThatFailAreNoStorm", "adapters/vaultsecrets/real_linux_test.go:TestRealVault"}},
	{ids: []string{"failure-secret-rotated"}, why: "it takes a real Vault beside a real server under load", tests: []string{"tests/e2e/vault_linux_test.go:TestRealVaultRotatesASecret", "tests/e2e/rotation_test.go:TestRotationUnderLoad"}},
	{ids: []string{"failure-secret-denied"}, why: "the use cases keep the last good secrets, whatever source they have", tests: []string{"app/secrets_test.go:TestSecretsThatVanish", "adapters/vaultsecrets/replay_test.go:TestReplayedRefusalsWhileRunning"}},
	{ids: []string{"failure-clouds"}, why: "a made-up endpoint throttles, hangs and talks nonsense where the adapters of the clouds are tested", tests: []string{"adapters/awssecrets/secrets_test.go:TestOutages", "adapters/azuresecrets/secrets_test.go:TestOutages", "adapters/awssecrets/secrets_test.go:TestTriesAreFew"}},
	{ids: []string{"failure-log"}, why: "it takes a process whose log has no reader, or no room", tests: []string{"tests/e2e/log_test.go:TestLogNobodyReads", "tests/e2e/log_test.go:TestLogPipeWithoutReader", "tests/e2e/operator_test.go:TestLogRotation"}},
	{ids: []string{"failure-audit"}, play: changeAndEventAreOne, tests: []string{"app/app_test.go:TestCommittedWithEffects", "app/faults_test.go:TestAFaultIsNoRefusal"}},
	{ids: []string{"failure-webhook"}, why: "it takes a receiver that refuses, hangs and fails, and a server that is killed meanwhile", tests: []string{"tests/e2e/sinks_test.go:TestAlertsArrive", "adapters/webhook/webhook_test.go:TestWhatIsNotDelivered"}},
	{ids: []string{"failure-slow-clients"}, why: "raw sockets send a byte a second into each part of a request where the server's own limits are tested", tests: []string{"adapters/httpapi/slow_test.go:TestSlowBodies", "adapters/httpapi/slow_test.go:TestSlowHeader", "adapters/httpapi/tls_test.go:TestSlowHello", "cmd/xteam/tls_test.go:TestSlowClients"}},
	{ids: []string{"failure-idle-sockets"}, why: "ten thousand sockets take processes of their own; what one takes, and how soon one user's among ten thousand end, is measured", tests: []string{"adapters/wsfeed/memory_test.go:TestWhatAnIdleSocketTakes", "app/tethers_test.go:TestOneUserAmongTenThousand", "tests/e2e/listen_test.go:TestNoDescriptorsLeft"}},
	{ids: []string{"failure-herd-logins"}, play: herdOfSignIns, tests: []string{"tests/e2e/signin_test.go:TestSignInsWait"}},
	{ids: []string{"failure-herd-refreshes"}, play: herdOfRefreshes},
	{ids: []string{"failure-half-a-cluster"}, why: network, tests: []string{faults + "Redis: network cut both ways for one node", "tests/faults/nodes_linux_test.go:TestThreeNodes"}},
	{ids: []string{"failure-certificate"}, why: "the pair of files is renewed half-way where the listener is tested", tests: []string{"cmd/xteam/tls_test.go:TestCertificateRenewedHalfWay", "cmd/xteam/tls_test.go:TestServeRenews"}},
	{ids: []string{"failure-sigterm"}, why: "it takes the real process, which is told to stop under load", tests: []string{"tests/e2e/crash_test.go:TestStopUnderLoad"}},
}

// muted is a source of revocations that can fall silent.
type muted struct {
	ports.StoredRevocations
	silent atomic.Bool
}

func (m *muted) Follow(ctx context.Context, fn func(ports.News) error) error {
	return m.StoredRevocations.Follow(ctx, func(n ports.News) error {
		if m.silent.Load() {
			return ports.ErrUnavailable
		}
		return fn(n)
	})
}

func closedWhenSilent(t *testing.T) {
	m := &muted{}
	n := one(t, plan{stores: func(s *app.Stores) { m.StoredRevocations, s.Revocations = s.Revocations, m }, change: func(o *assembly.Options) { o.MaxStaleness = 4 * time.Second }})
	ann := n.ann()
	socket, _ := n.dialFeed("?token="+ann.access, nil)
	n.takenEverywhere(ann.access)
	m.silent.Store(true)
	eventually(t, "nobody is let in", soon, func() bool { return n.get(v1+"/users/me", ann.access).status == http.StatusServiceUnavailable })
	for door, v := range n.doors(ann.access) {
		if v.status != http.StatusServiceUnavailable {
			t.Errorf("%s while nobody knows what is revoked: %v", door, v)
		}
	}
	if a := n.get(v1+"/users/me", ann.access); a.code() != "revocations_stale" || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %s %v", a.status, a.body, a.header)
	}
	if a := n.get("/readyz", ""); a.status != http.StatusServiceUnavailable {
		t.Errorf("/readyz: %d %s", a.status, a.body)
	}
	if a := n.get("/healthz", ""); a.status != http.StatusOK {
		t.Errorf("/healthz: %d", a.status)
	}
	if code, _ := ends(t, socket); code < 1000 {
		t.Errorf("what was open was closed with %d", code)
	}
	m.silent.Store(false)
	eventually(t, "it mends by itself", soon, func() bool { return n.get(v1+"/users/me", ann.access).status == http.StatusOK })
}

func clockJumps(t *testing.T) {
	n := one(t, plan{})
	ann := n.ann()
	other := n.signIn("ann")
	if a := n.post(v1+"/auth/logout", nil, ann.access); a.status != http.StatusNoContent {
		t.Fatalf("%d", a.status)
	}
	n.turn(time.Hour)
	n.signIn("ann") // something happens at that time
	if a := n.get(v1+"/users/me", other.access); a.status != http.StatusUnauthorized {
		t.Errorf("an hour ahead, a token of half an hour: %d", a.status)
	}
	n.turn(-time.Hour)
	n.refusedEverywhere(ann.access, "token_revoked")
	n.takenEverywhere(other.access)
}

func clockGoesBack(t *testing.T) {
	n := one(t, plan{change: func(o *assembly.Options) {
		o.Limits = app.LimiterOptions{PerAddress: 1000, Auth: 5, Read: 1000, Write: 1000}
	}})
	ann := n.ann()
	n.turn(-25 * time.Second) // within the leeway
	n.takenEverywhere(ann.access)
	n.turn(-time.Hour)
	count := map[int]int{}
	for range 20 {
		count[n.post(v1+"/auth/login", object{"username": "nobody", "password": "x"}, "").status]++
	}
	if count[http.StatusTooManyRequests] < 15 {
		t.Errorf("limits with a clock that was set back: %v", count)
	}
	for _, later := range []time.Duration{2 * time.Minute, time.Hour} { // while the clock is still behind the bucket's own time, and beyond that
		n.turn(later)
		if a := n.post(v1+"/auth/login", object{"username": "ann", "password": password}, ""); a.status != http.StatusOK {
			t.Errorf("a bucket froze: %d %s", a.status, a.body)
		}
	}
}

func clocksApart(t *testing.T) {
	var count atomic.Int64
	h := newHouse(t, plan{change: func(o *assembly.Options) {
		apart := []time.Duration{-15 * time.Second, 15 * time.Second}[count.Add(1)%2]
		o.Now = func() time.Time { return time.Now().Add(apart) }
	}})
	nodes := []*node{h.node(), h.node()}
	nodes[0].user("ann", account.RoleUser)
	for i, n := range nodes {
		in := n.signIn("ann")
		for _, at := range nodes {
			at.takenEverywhere(in.access)
		}
		next := tokensOf(nodes[1-i].refresh(in.refresh, home, browser))
		if again := tokensOf(nodes[1-i].refresh(in.refresh, home, browser)); again.refresh != next.refresh || next.refresh == "" {
			t.Errorf("node %d: the parent does not get its successor again", i)
		}
		if a := nodes[i].post(v1+"/auth/logout", nil, next.access); a.status != http.StatusNoContent {
			t.Errorf("%d %s", a.status, a.body)
		}
		for _, at := range nodes {
			eventually(t, "it is refused there", soon, func() bool { return at.get(v1+"/users/me", next.access).status == http.StatusUnauthorized })
		}
	}
}

// away is a store of accounts that does not answer.
type away struct {
	ports.Accounts
	is atomic.Bool
}

func (a *away) Named(ctx context.Context, l account.Login) (account.Account, error) {
	if a.is.Load() {
		return account.Account{}, ports.ErrUnavailable
	}
	return a.Accounts.Named(ctx, l)
}

func (a *away) Create(ctx context.Context, made account.Account, eff ports.Effects) error {
	if a.is.Load() {
		return ports.ErrUnavailable
	}
	return a.Accounts.Create(ctx, made, eff)
}

func databaseDown(t *testing.T) {
	accounts, sessions := &away{}, &halting{}
	n := one(t, plan{stores: func(s *app.Stores) {
		accounts.Accounts, s.Accounts = s.Accounts, accounts
		sessions.Sessions, s.Sessions = s.Sessions, sessions
	}})
	ann := n.ann()
	accounts.is.Store(true)
	sessions.when.Store("before")
	for name, r := range map[string]request{
		"sign-in":      {method: "POST", path: v1 + "/auth/login", body: object{"username": "ann", "password": password}},
		"a refresh":    {method: "POST", path: v1 + "/auth/refresh", body: object{"refresh_token": ann.refresh}},
		"registration": {method: "POST", path: v1 + "/auth/register", body: object{"email": "bea@example.com", "username": "bea", "password": password + "!"}},
	} {
		begun := time.Now()
		if a := n.ask(r); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || time.Since(begun) > atOnce {
			t.Errorf("%s: %d %s after %v", name, a.status, a.body, time.Since(begun))
		}
	}
	if a := n.get(v1+"/auth/verify", ann.access); a.status != http.StatusOK {
		t.Errorf("signed-in traffic: %d %s", a.status, a.body)
	}
	if a := n.post(v1+"/auth/logout", nil, ann.access); a.status != http.StatusServiceUnavailable {
		t.Errorf("a revocation: %d %s", a.status, a.body)
	}
	if a := n.get(v1+"/auth/verify", ann.access); a.status != http.StatusUnauthorized {
		t.Errorf("it is in force all the same: %d", a.status)
	}
	accounts.is.Store(false)
	sessions.when.Store("")
	if a := n.post(v1+"/auth/register", object{"email": "bea@example.com", "username": "bea", "password": password + "!"}, ""); a.status != http.StatusCreated {
		t.Errorf("a registration was half done: %d %s", a.status, a.body)
	}
}

func changeAndEventAreOne(t *testing.T) {
	sessions := &halting{}
	n := one(t, plan{stores: func(s *app.Stores) { sessions.Sessions, s.Sessions = s.Sessions, sessions }})
	ann := n.ann()
	was := len(n.events())
	sessions.when.Store("rolled back")
	if a := n.refresh(ann.refresh, home, browser); a.status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", a.status, a.body)
	}
	sessions.when.Store("")
	if is := n.events(); len(is) != was {
		t.Errorf("an event of what did not happen: %v", is[was:])
	}
	if a := n.refresh(ann.refresh, home, browser); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
	if is := n.events(); len(is) != was+1 || is[was] != "session_refreshed" {
		t.Errorf("events of a refresh: %v", is[was:])
	}
}

func herdOfSignIns(t *testing.T) {
	hasher, err := passhash.New(passhash.Options{Kind: passhash.Argon2id, Gate: 1, Queue: 4, MaxWait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	n := one(t, plan{passwords: hasher})
	ann := n.ann()
	var mu sync.Mutex
	count := map[int]int{}
	var all sync.WaitGroup
	for range 60 {
		all.Go(func() {
			a := n.post(v1+"/auth/login", object{"username": "ann", "password": password}, "")
			mu.Lock()
			defer mu.Unlock()
			count[a.status]++
			if a.status != http.StatusOK && a.header.Get("Retry-After") == "" {
				t.Errorf("%d without Retry-After", a.status)
			}
		})
	}
	for range 20 {
		if a := n.get(v1+"/users/me", ann.access); a.status != http.StatusOK {
			t.Errorf("others: %d", a.status)
		}
	}
	all.Wait()
	if count[http.StatusOK] < 5 || count[http.StatusOK]+count[http.StatusServiceUnavailable]+count[http.StatusTooManyRequests] != 60 || count[http.StatusOK] == 60 {
		t.Errorf("60 sign-ins at once beside a queue of four: %v", count)
	}
}

func herdOfRefreshes(t *testing.T) {
	sessions := &halting{}
	n := one(t, plan{stores: func(s *app.Stores) { sessions.Sessions, s.Sessions = s.Sessions, sessions }, change: func(o *assembly.Options) { o.Tunables.MaxSessions = 5000 }})
	n.user("ann", account.RoleUser)
	var all []tokens
	for range few(500) {
		all = append(all, n.signIn("ann"))
	}
	sessions.when.Store("before")
	waits := map[string]bool{}
	for _, in := range all {
		a := n.refresh(in.refresh, home, browser)
		if a.status != http.StatusServiceUnavailable {
			t.Fatalf("%d %s", a.status, a.body)
		}
		waits[a.header.Get("Retry-After")] = true
	}
	if len(waits) < 2 || waits[""] || waits["0"] {
		t.Errorf("all are told to come back at once: %v", waits)
	}
	sessions.when.Store("")
	for i, in := range all {
		if a := n.refresh(in.refresh, home, browser); a.status != http.StatusOK {
			t.Fatalf("session %d was lost in the outage: %d %s", i, a.status, a.body)
		}
	}
}
