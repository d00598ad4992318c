package bench_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/fieldcrypt"
	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/adapters/pgstore"
	"github.com/xteam/xteam/adapters/redisstore"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

const logoutPath = "/api/v1/auth/logout"

// BenchmarkClusterGET asks a node with revocations in Redis and buckets of its own, and one on Badger, in turns. /users/me reads its account from PostgreSQL, once
// a request; forward-auth, the guard alone, asks nobody.
func BenchmarkClusterGET(b *testing.B) {
	n := newNodes(startRedis(b, "always"), startPostgres(b))
	n.enrol(b)
	node := n.join(b)
	folder := b.TempDir()
	enrol(b, folder)
	alone := serve(b, folder)
	rate := func(s *server, path string) func() float64 {
		token, _ := s.signIn(b)
		return func() float64 {
			began := time.Now()
			answered := s.load(b, path, []string{token}, 32, time.Second)
			return float64(answered) / time.Since(began).Seconds()
		}
	}
	for _, of := range []struct{ figure, path string }{{"a guarded GET (forward-auth)", verifyPath}, {"GET /users/me", mePath}} {
		cluster, badger := rate(node, of.path), rate(alone, of.path)
		cluster()
		badger()
		asked, base := inTurns(7, cluster, badger)
		ratio := asked.over(base)
		metric(b, ratio.median(), "x-of-Badger"+strings.ReplaceAll(of.path, "/", "-"))
		report.add(row{figure: of.figure + ", revocations in Redis, local buckets, requests a second", goal: "≥ 0.95 × Badger", measured: asked.show("%.0f") + "/s",
			baseline: "Badger " + base.shown("%.0f", "a second"), ratio: ratio.show("%.2f"), met: ratio.median() >= 0.95})
	}
}

// three is a system of three nodes, a token that one of them has issued, what makes more, each of a session of its own, and what revokes past the nodes.
func three(b *testing.B) (n *nodes, issued string, signedIn func(n int) []string, straight revoking) {
	b.Helper()
	redis, postgres := startRedis(b, "always"), startPostgres(b)
	n = newNodes(redis, postgres)
	n.enrol(b)
	for range 3 {
		n.join(b)
	}
	issued, _ = n.all[0].signIn(b)
	return n, issued, sessions(b, postgres, issued), into(b, redis, postgres)
}

// BenchmarkClusterRevoked revokes on one of three nodes and watches another refuse, while a core is to spare and while both are saturated: one token, as a client of OAuth does it; a session by a
// log-out; and what lies between Redis and the other node alone.
func BenchmarkClusterRevoked(b *testing.B) {
	n, issued, signedIn, straight := three(b)
	single := single(n.all[0].key(b, issued))
	n.watch(b, others(b, issued, 90), single) // what each connection prepares is there
	n.watch(b, signedIn(90), logOut)
	watch := func(when string, most float64) {
		const times = 600
		n.revoked(b, "a token revoked (RFC 7009) on one node of three to refused on another, "+when, most, others(b, issued, times), single)
		n.revoked(b, "a log-out on one node of three to refused on another, "+when, most, signedIn(times), logOut)
		n.revoked(b, "recorded in Redis, past the database, to refused on a node, "+when, most, others(b, issued, times), straight)
	}
	watch("a core to spare", 5)
	relieve := n.saturate(b, issued)
	watch("both cores saturated", 25)
	relieve()
}

// revoked puts what watch has seen into the table.
func (n *nodes) revoked(b *testing.B, figure string, most float64, tokens []string, revoke revoking) {
	b.Helper()
	cores := processors(b)
	whole, after := n.watch(b, tokens, revoke)
	busy := cores()
	metric(b, whole.at(0.99), "p99-ms:"+strings.ReplaceAll(figure, " ", "-"))
	report.add(row{figure: figure, goal: fmt.Sprintf("p99 ≤ %.0f ms", most), met: whole.at(0.99) <= most,
		measured: fmt.Sprintf("p50 %.1f, p95 %.1f, p99 %.1f ms from the request; p50 %.1f, p99 %.1f ms from its answer; %.1f cores busy", whole.at(0.5), whole.at(0.95), whole.at(0.99), after.at(0.5), after.at(0.99), busy)})
}

// BenchmarkClusterRate has as many revoked on three nodes as go.
func BenchmarkClusterRate(b *testing.B) {
	n, issued, signedIn, straight := three(b)
	n.sustain(b, "tokens revoked over HTTP (RFC 7009) a second, three nodes, 32 callers", others(b, issued, 32_000), single(n.all[0].key(b, issued)))
	n.sustain(b, "log-outs over HTTP a second, three nodes, 32 callers", signedIn(16_000), logOut)
	n.sustain(b, "revocations into Redis a second, one a call, three nodes that follow, 32 callers", others(b, issued, 120_000), straight)
}

// revoking has a token revoked, by way of a node or past it.
type revoking func(s *server, token string) error

// single revokes one access token, as a client of OAuth does that signs in with an API key (RFC 7009).
func single(key string) revoking {
	return func(s *server, token string) error {
		req, err := http.NewRequest(http.MethodPost, s.base+"/api/v1/oauth/revoke", strings.NewReader("token="+token))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+key)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
			return fmt.Errorf("revoke: got %d (%v)", resp.StatusCode, err)
		}
		return nil
	}
}

// key makes an API key that may revoke the tokens of its owner.
func (s *server) key(b *testing.B, token string) string {
	b.Helper()
	req, err := http.NewRequest(http.MethodPost, s.base+"/api/v1/api-keys", strings.NewReader(`{"name":"bench","scopes":["tokens:revoke"]}`))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	var got struct{ Key string }
	if err := errors.Join(err, json.Unmarshal(text, &got)); err != nil || resp.StatusCode != http.StatusCreated {
		b.Fatalf("create a key: %d %s %v", resp.StatusCode, text, err)
	}
	return got.Key
}

func logOut(s *server, token string) error {
	status, err := s.status(http.MethodPost, logoutPath, token)
	if err == nil && status != http.StatusNoContent {
		err = fmt.Errorf("log-out: got %d", status)
	}
	return err
}

// into records in Redis as a node does once its database has committed: this process is in the place of the node.
func into(b *testing.B, url, postgres string) revoking {
	b.Helper()
	keyring := keysIn(b, postgres)
	o, err := redisstore.Parse(url)
	if err != nil {
		b.Fatal(err)
	}
	store, err := redisstore.Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() })
	codec := newCodec(b, jwtcodec.Options{})
	return func(_ *server, token string) error {
		claims, err := codec.Parse(token)
		if err != nil {
			return err
		}
		now := instant.Of(time.Now())
		return store.Revocations().Sealed(keyring).Record(b.Context(), revocation.Entry{Kind: revocation.Token, Token: claims.ID, Reason: revocation.UserRevoked, By: "operator", At: now, Until: now.Add(time.Hour)})
	}
}

// keysIn are the keys of the nodes, which the first of them has made in their database.
func keysIn(b *testing.B, postgres string) *fieldcrypt.Keyring {
	b.Helper()
	db, err := pgstore.Open(b.Context(), postgres, pgstore.Options{StatementTimeout: patience})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	keyring, err := fieldcrypt.Open(b.Context(), db.Keys(), secret.New(rootKey), secret.Text{}, rand.Reader, instant.Of(time.Now()))
	if err != nil {
		b.Fatal(err)
	}
	return keyring
}

// sessions makes tokens like the one that was issued, each of a session of its own, as a sign-in would: the password of each would take all the time.
func sessions(b *testing.B, postgres, issued string) func(n int) []string {
	b.Helper()
	db, err := pgstore.Open(b.Context(), postgres, pgstore.Options{Wait: patience})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	db.Unlock(keysIn(b, postgres))
	codec := newCodec(b, jwtcodec.Options{})
	claims, err := codec.Parse(issued)
	if err != nil {
		b.Fatal(err)
	}
	like, err := db.Sessions().Find(b.Context(), claims.Session)
	if err != nil {
		b.Fatal(err)
	}
	return func(n int) []string {
		tokens := make([]string, n)
		var group sync.WaitGroup
		for c := range 32 {
			group.Go(func() {
				for i := c; i < n; i += 32 {
					s, own := like, *claims
					s.ID, own.ID = random[id.Session](), random[id.Token]()
					own.Session = s.ID
					text, err := codec.Sign(own)
					if err := errors.Join(err, db.Sessions().Create(b.Context(), s, ports.Effects{})); err != nil {
						b.Error(err)
						return
					}
					tokens[i] = text.RevealPlaintext()
				}
			})
		}
		if group.Wait(); b.Failed() {
			b.FailNow()
		}
		return tokens
	}
}

// saturate keeps every core busy with a process that only counts, and the nodes with guarded requests, until it is relieved.
func (n *nodes) saturate(b *testing.B, token string) (relieve func()) {
	b.Helper()
	ctx, stop := context.WithCancel(b.Context())
	var group sync.WaitGroup
	for range runtime.NumCPU() {
		spin := exec.CommandContext(ctx, "sh", "-c", "while :; do :; done")
		spin.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := spin.Start(); err != nil {
			b.Fatal(err)
		}
		group.Go(func() { _ = spin.Wait() }) // it ends by being killed
	}
	request := []byte("GET " + verifyPath + " HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer " + token + "\r\n\r\n")
	for _, s := range n.all {
		for range 2 {
			group.Go(func() {
				if _, err := drive(ctx, strings.TrimPrefix(s.base, "http://"), [][]byte{request}, 0); err != nil {
					b.Error(err)
				}
			})
		}
	}
	return func() { stop(); group.Wait() }
}

// watch revokes each token at one node while another holds a stream of events open for it, which that node ends once it refuses the token: in milliseconds from before the revoking, and from
// after it. Whoever asked again and again would take the very processors that are to be to spare. Then the node is asked, and must refuse.
func (n *nodes) watch(b *testing.B, tokens []string, revoke revoking) (whole, after spread) {
	b.Helper()
	for i, token := range tokens {
		here, there := n.all[i%3], n.all[(i+1+i/3%2)%3]
		ended := there.follow(b, token)
		began := time.Now()
		err := revoke(here, token)
		answered := time.Now()
		if err != nil {
			b.Fatal(err)
		}
		select {
		case at := <-ended:
			whole, after = append(whole, ms(at.Sub(began))), append(after, ms(max(0, at.Sub(answered))))
		case <-time.After(patience):
			b.Fatal("the stream of a revoked token never ended")
		}
		if got, err := there.status(http.MethodGet, verifyPath, token); err != nil || got != http.StatusUnauthorized {
			b.Fatalf("after the stream of a token was ended: got %d (%v)", got, err)
		}
	}
	return whole, after
}

// follow opens a stream of events by a token, and answers what is told when the node says that it ends it.
func (s *server) follow(b *testing.B, token string) <-chan time.Time {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, s.base+"/api/v1/events", http.NoBody)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		b.Fatalf("a stream of events: got %d", resp.StatusCode)
	}
	ended := make(chan time.Time, 1)
	go func() {
		defer resp.Body.Close()
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if lines.Text() == "event: end" {
				ended <- time.Now()
				return
			}
		}
	}()
	return ended
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// at is a quantile.
func (s spread) at(q float64) float64 {
	sorted := slices.Sorted(slices.Values(s))
	return sorted[int(float64(len(sorted)-1)*q)]
}

// sustain has 32 callers revoke a token each, again and again, for four seconds, in which the rate of each second is told; and waits until every node refuses the last of each.
func (n *nodes) sustain(b *testing.B, figure string, tokens []string, revoke revoking) {
	b.Helper()
	const callers, seconds, goal = 32, 4, 2000
	own := len(tokens) / callers
	var counts [callers][seconds]float64
	var faults [callers]error
	var last [callers]string
	var group sync.WaitGroup
	cores, began, spent := processors(b), time.Now(), timesOf(b)
	for c := range callers {
		group.Go(func() {
			for _, token := range tokens[c*own : (c+1)*own] {
				if faults[c] = revoke(n.all[c%3], token); faults[c] != nil {
					return
				}
				second := int(time.Since(began) / time.Second)
				if last[c] = token; second >= seconds {
					return
				}
				counts[c][second]++
			}
			faults[c] = errors.New("the tokens are used up")
		})
	}
	group.Wait()
	ended, used, took := time.Now(), cores(), spent()
	if err := errors.Join(faults[:]...); err != nil {
		b.Fatal(err)
	}
	for _, s := range n.all {
		for _, token := range last {
			until(b, "every node refuses what was revoked", func() bool {
				got, err := s.status(http.MethodGet, verifyPath, token)
				return err == nil && got == http.StatusUnauthorized
			})
		}
	}
	behind := ms(time.Since(ended))
	rate := make(spread, seconds)
	for _, of := range counts {
		for i, one := range of {
			rate[i] += one
		}
	}
	all, each := 0.0, ""
	for _, one := range rate {
		all += one
	}
	for _, name := range slices.Sorted(maps.Keys(took)) {
		each += fmt.Sprintf(", %s %.2f", name, ms(took[name])/all)
	}
	metric(b, rate.median(), "a-second-"+strings.Fields(figure)[0])
	report.add(row{figure: figure, goal: "≥ 2,000/s", measured: fmt.Sprintf("%s/s; all refused %.0f ms later; %.1f cores busy; of processor time each, in ms%s", rate.show("%.0f"), behind, used, each), met: rate.median() >= goal})
}

// BenchmarkClusterJoin starts a node where a million revocations are live, which Redis and the database hold, until it answers, which is once it has all that the database holds, and until
// it has taken in what Redis holds; beside it a follower of Redis that only counts.
func BenchmarkClusterJoin(b *testing.B) {
	redis, postgres := startRedis(b, "everysec"), startPostgres(b) // they are only read from when it counts
	n := newNodes(redis, postgres)
	n.join(b) // what a first node prepares is there
	n.stop(b)
	o, err := redisstore.Parse(redis)
	if err != nil {
		b.Fatal(err)
	}
	store, err := redisstore.Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	truth, err := pgstore.Open(b.Context(), postgres, pgstore.Options{StatementTimeout: patience})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = truth.Close() }()
	sealed := store.Revocations().Sealed(keysIn(b, postgres))
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range million / 4 / 10_000 {
				entries := make([]revocation.Entry, 10_000)
				for i := range entries {
					entries[i] = entry(0)
				}
				if err := errors.Join(truth.Revocations().Record(b.Context(), entries...), sealed.Record(b.Context(), entries...)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	var ready, joined, memory spread
	for range 3 {
		cmd, folder := n.command(b, "serve")
		began := time.Now()
		s := launch(b, cmd)
		ready = append(ready, time.Since(began).Seconds())
		until(b, "the node has taken in what Redis holds", func() bool { return caughtUp(b, folder, "redis") })
		joined, memory = append(joined, time.Since(began).Seconds()), append(memory, s.resident(b))
		s.stop(b)
	}
	began, counted := time.Now(), 0
	enough := errors.New("enough")
	if err := sealed.Follow(b.Context(), func(news ports.News) error {
		if counted += len(news.Entries); news.Caught {
			return enough
		}
		return nil
	}); !errors.Is(err, enough) || counted < million {
		b.Fatalf("Follow: %d entries, %v", counted, err)
	}
	alone := time.Since(began).Seconds()
	metric(b, ready.median(), "s-to-answer")
	metric(b, joined.median(), "s-to-join")
	metric(b, memory.median(), "MiB-joined")
	report.add(row{figure: "1,000,000 live revocations in PostgreSQL and Redis: a node joins, and answers", goal: "< 5 s", measured: ready.show("%.1f") + " s; it had taken in what Redis holds after " + joined.shown("%.1f", "s"),
		baseline: fmt.Sprintf("a follower of Redis that only counts %.1f s", alone), ratio: fmt.Sprintf("%.2f", ready.median()/alone), met: ready.median() < 5})
	report.add(row{figure: "the same: resident memory once it has both", goal: "< 128 MiB", measured: memory.show("%.0f") + " MiB", met: memory.median() < 128})
}

// caughtUp reports whether a node has said that it has everything that a source of revocations held.
func caughtUp(b *testing.B, folder, source string) bool {
	b.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "log"))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "A source of revocations caught up") && strings.Contains(line, source) {
			return true
		}
	}
	return false
}
