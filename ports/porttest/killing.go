package porttest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/upload"
	"github.com/xteam/xteam/ports"
)

// hand is one of those who write in a child process. It makes one change after another, each with a number that is one more than the last; what a change writes
// beside the number follows from it, so that whoever reads the store knows what has to be there.
type hand struct {
	name string
	step func() (int64, error) // makes the next change, and answers its number once it is acknowledged
	at   func() (int64, error) // the number that the store holds; nil where it holds none but the effects
}

// hands are one for each port of state, and one for each port that only records, whose numbers begin behind start.
func hands(s Store, start int64) []hand {
	ctx := context.Background()
	all := []hand{
		handOf("account", accountsOf(s), numbered[id.User]("account", 0)),
		handOf("session", sessionsOf(s), numbered[id.Session]("session", 0)),
		handOf("API_key", apiKeysOf(s), numbered[id.APIKey]("API_key", 0)),
		handOf("ring", keysOf(s), killedRing),
		handOf("system", systemOf(s), struct{}{}),
	}
	recorded, told := start, start
	return append(all,
		hand{name: "revocations", step: func() (int64, error) {
			recorded++
			return recorded, s.Revocations.Record(ctx, effectsOf("revocations", recorded).Revocations...)
		}},
		hand{name: "events", step: func() (int64, error) {
			told++
			return told, s.Events.Record(ctx, effectsOf("events", told).Events...)
		}},
		hand{name: "uploads", step: func() (n int64, err error) {
			uid := numbered[id.User]("uploads", 0)
			all, err := s.Uploads.OfUser(ctx, uid)
			if err != nil {
				return 0, err
			}
			if n = 1; len(all) > 0 {
				n += all[len(all)-1].Size
			}
			if len(all) > 2 {
				if err := s.Uploads.Delete(ctx, all[0].ID, ports.Effects{}); err != nil {
					return n, err
				}
			}
			f := upload.File{ID: numbered[id.File]("uploads", n), Owner: uid, Label: upload.Clean("n.md"), Size: n, Created: instant.Instant(n)}
			return n, s.Uploads.Create(ctx, f, effectsOf("uploads", n))
		}, at: func() (n int64, err error) {
			all, err := s.Uploads.OfUser(ctx, numbered[id.User]("uploads", 0))
			if len(all) > 0 {
				n = all[len(all)-1].Size
			}
			return n, err
		}},
		hand{name: "trail", step: func() (int64, error) {
			h, err := s.Trail.Head(ctx)
			if err != nil {
				return 0, err
			}
			links, next := behind(h.Last, newEvents(2), 0)
			return int64(next.Seq / 2), s.Trail.Append(ctx, h.Last, links, next)
		}, at: func() (int64, error) { return chained(s) }})
}

// chained demands that the links of a trail are those up to its head, one behind the other, and answers how many pairs of them there are.
func chained(s Store) (int64, error) {
	h, err := s.Trail.Head(context.Background())
	if err != nil || h.Last.IsZero() {
		return 0, err
	}
	links, err := s.Trail.List(context.Background(), 0, 1<<20)
	if err != nil {
		return 0, err
	}
	var prev audit.Hash
	for i := range links {
		if r := &links[i].Record; r.Seq != uint64(i)+1 || r.Prev != prev {
			return 0, fmt.Errorf("record %d does not follow the one before", r.Seq)
		}
		prev = links[i].Record.Hash()
	}
	if uint64(len(links)) != h.Last.Seq || prev != h.Last.Head || len(links)%2 != 0 {
		return 0, fmt.Errorf("the head is of %d records, and there are %d", h.Last.Seq, len(links))
	}
	return int64(len(links) / 2), nil
}

// killedRing is the name of the ring that a hand changes.
const killedRing = "killed"

// handOf is the hand of one value.
func handOf[K comparable, V any](name string, k keeper[K, V], key K) hand {
	return hand{name: name,
		step: func() (n int64, err error) {
			err = k.update(context.Background(), key, func(v V) (V, ports.Effects, error) {
				v = k.bump(v)
				n = k.count(v)
				return v, effectsOf(name, n), nil
			})
			return n, err
		},
		at: func() (int64, error) {
			v, err := k.find(context.Background(), key)
			return k.count(v), err
		}}
}

// numbered is an id that follows from a hand and a number.
func numbered[T ~[16]byte](name string, n int64) (v T) {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(name), uint64(n)))
	copy(v[:], sum[:])
	return v
}

// effectsOf are the effects of one change of a hand.
func effectsOf(name string, n int64) (e ports.Effects) {
	for _, half := range []string{"first", "second"} {
		at := instant.Of(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC))
		e.Revocations = append(e.Revocations, revocation.Entry{Kind: revocation.Token, Token: numbered[id.Token](name+half, n), Reason: revocation.Logout,
			By: "operator", Note: "n", At: at, Until: instant.Forever - 1})
		e.Events = append(e.Events, audit.Event{ID: numbered[id.Event](name+half, n), Time: at, Kind: audit.TokenRevoked, Severity: audit.Info, Outcome: audit.Success})
	}
	return e
}

// kills is how often the child is killed; every third time at a system call that asks the disk or the server, where strace is there to do it.
const kills = 24

// killing has a child process write with all hands at once and kills it, again and again on one folder. Each time all that was acknowledged must be there, and of
// what was under way everything or nothing.
func killing(t *testing.T, open Open, calls string) {
	if dir := os.Getenv(folderSetting); dir != "" {
		writing(t, open(t, dir))
		return
	}
	dir := t.TempDir()
	s := open(t, dir)
	p := &proof{last: map[string]int64{}, base: map[string]int64{}, records: map[string][][2]int64{}}
	p.begin(t, s)
	shut(t, s)
	seed := random(wall())
	t.Logf("seed %d", seed)
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Log("without strace the child is killed at any moment, but not at a system call of choice")
	}
	written, window := 0, 40
	if calls == "write" { // a child on a server writes far more often than one syncs, and half of the first forty before its first change
		window = 400
	}
	for round := range kills {
		var under []string
		after := 1 + seed.below(150) // acknowledged changes
		if round%3 == 2 && strace != "" {
			under = []string{strace, "-f", "-qq", "-o", os.DevNull, "-e", "trace=" + calls,
				"-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", calls, 1+seed.below(window))}
			after = 10_000 // if there is no such call
		}
		acknowledged := p.round(t, dir, round, after, time.Duration(seed.below(3000))*time.Microsecond, under)
		s := open(t, dir)
		p.check(t, s, round, acknowledged)
		shut(t, s)
		written += len(acknowledged)
		if t.Failed() {
			t.Fatalf("in round %d, killed after %d acknowledged changes, under %q", round, len(acknowledged), under)
		}
	}
	t.Logf("%d changes acknowledged by %d processes that were killed", written, kills)
}

// writing is the child: all hands at once, each change told on standard output once it is acknowledged.
func writing(t *testing.T, s Store) {
	round, err := strconv.ParseInt(os.Getenv(roundSetting), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	var out sync.Mutex
	var writers sync.WaitGroup
	for _, h := range hands(s, round<<32) {
		writers.Go(func() {
			for range 100_000 { // it is killed long before
				n, err := h.step()
				if err != nil {
					t.Errorf("%s: %v", h.name, err)
					return
				}
				out.Lock()
				_, err = fmt.Printf("acknowledged %s %d\n", h.name, n)
				out.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	writers.Wait()
}

// acknowledgement is one line of a child.
type acknowledgement struct {
	name string
	n    int64
}

// proof is what a store that children write to has to hold.
type proof struct {
	base    map[string]int64      // the number of each hand's value before the first child
	last    map[string]int64      // and the last that was acknowledged, or seen
	records map[string][][2]int64 // of each hand that only records: first and last of each round that was acknowledged
}

// begin creates the values that the hands change.
func (p *proof) begin(t *testing.T, s Store) {
	t.Helper()
	a, v, k, r := newAccount(), newSession(), newAPIKey(), newRing()
	a.ID, v.ID, k.ID, r.Name = numbered[id.User]("account", 0), numbered[id.Session]("session", 0), numbered[id.APIKey]("API_key", 0), killedRing
	for _, err := range []error{s.Accounts.Create(t.Context(), a, ports.Effects{}), s.Sessions.Create(t.Context(), v, ports.Effects{}),
		s.APIKeys.Create(t.Context(), k, ports.Effects{}), s.Keys.Create(t.Context(), r, ports.Effects{})} {
		if err != nil {
			t.Fatalf("Create: %v", err)
		}
	}
	for _, h := range hands(s, 0) {
		if h.at == nil {
			continue
		}
		n, err := h.at()
		if err != nil {
			t.Fatalf("Find of the %s: %v", h.name, err)
		}
		p.base[h.name], p.last[h.name] = n, n
	}
}

// round starts a child, kills it a moment after so many acknowledged changes, and answers those.
func (p *proof) round(t *testing.T, dir string, round, after int, moment time.Duration, under []string) []acknowledgement {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd, stderr := again(ctx, t, dir, under...)
	cmd.Env = append(cmd.Env, roundSetting+"="+strconv.Itoa(round))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start the child: %v", err)
	}
	var all []acknowledgement
	var other bytes.Buffer
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil { // the part of a line is one that was not told
			break
		}
		var a acknowledgement
		if _, err := fmt.Sscanf(line, "acknowledged %s %d\n", &a.name, &a.n); err != nil {
			other.WriteString(line)
			continue
		}
		if all = append(all, a); len(all) == after {
			time.AfterFunc(moment, func() { _ = killGroup(cmd) })
		}
	}
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err == nil || len(all) == 0 && len(under) == 0 || other.Len() > 0 {
		t.Fatalf("the child ended with %v after %d acknowledged changes, want it killed; it said:\n%s%s", err, len(all), other.String(), stderr)
	}
	return all
}

// numbers are those of the values that hands change.
func numbers(t *testing.T, s Store, start int64) map[string]int64 {
	t.Helper()
	all := map[string]int64{}
	for _, h := range hands(s, start) {
		if h.at == nil {
			continue
		}
		n, err := h.at()
		if err != nil {
			t.Fatalf("Find of the %s: %v", h.name, err)
		}
		all[h.name] = n
	}
	return all
}

// check looks for everything that was ever acknowledged, and for halves.
func (p *proof) check(t *testing.T, s Store, round int, acknowledged []acknowledgement) {
	t.Helper()
	for _, a := range acknowledged {
		p.last[a.name] = max(p.last[a.name], a.n)
	}
	start := int64(round) << 32
	// A server may still commit what it was sent before its client was killed: all of it is looked at without that happening in between.
	var entries map[string]revocation.Entry
	var events map[id.Event]int
	for before := map[string]int64(nil); ; {
		is := numbers(t, s, start)
		if before != nil && maps.Equal(before, is) {
			break
		}
		before, entries, events = is, live(t, s.Revocations), map[id.Event]int{}
		for _, e := range trail(t, s.Events) {
			events[e.ID]++
		}
	}
	// there counts what of the effects of one change is in the store.
	there := func(name string, n int64) (revocations, told int) {
		e := effectsOf(name, n)
		for i := range e.Revocations {
			if _, ok := entries[e.Revocations[i].Key()]; ok {
				revocations++
			}
			told += events[e.Events[i].ID]
		}
		return revocations, told
	}
	for _, h := range hands(s, start) {
		if h.at == nil {
			p.records[h.name] = append(p.records[h.name], [2]int64{start + 1, max(start, p.last[h.name])})
			for _, r := range p.records[h.name] {
				for n := r[0]; n <= r[1]; n++ {
					if revocations, told := there(h.name, n); revocations+told != 2 {
						t.Errorf("%s: of record %d, which was acknowledged, there are %d revocations and %d events", h.name, n, revocations, told)
					}
				}
			}
			continue
		}
		n, err := h.at()
		if err != nil {
			t.Errorf("Find of the %s: %v", h.name, err)
			continue
		}
		if last := p.last[h.name]; n < last || n > last+1 {
			t.Errorf("the %s: got number %d, want %d, the last that was acknowledged, or the one after it", h.name, n, last)
		}
		for i := p.base[h.name] + 1; i <= n && h.name != "trail"; i++ { // which has no effects
			if revocations, told := there(h.name, i); revocations != 2 || told != 2 {
				t.Errorf("the %s: change %d is there with %d revocations and %d events of its 2 and 2", h.name, i, revocations, told)
			}
		}
		if revocations, told := there(h.name, n+1); revocations+told > 0 {
			t.Errorf("the %s: change %d is not there, but %d revocations and %d events of it are", h.name, n+1, revocations, told)
		}
		p.last[h.name] = n
	}
}
