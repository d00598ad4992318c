package bench_test

import (
	"crypto/rand"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/badgerstore"
	"github.com/xteam/xteam/adapters/fieldcrypt"
	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/secret"
)

// guess is the n-th of 10,000 wrong passwords a second, each from an address of its own and at an account of its own: nothing of it is counted together.
func guess(n int, began instant.Instant) audit.Event {
	var eid id.Event
	eid[0], eid[1], eid[2], eid[3] = byte(n), byte(n>>8), byte(n>>16), 1
	return audit.Event{ID: eid, Time: began.Add(time.Duration(n) * 100 * time.Microsecond), Kind: audit.AuthenticationFailed, Severity: audit.Warning, Outcome: audit.Failure,
		Email: fmt.Sprintf("user%d@example.com", n), IPAddress: fmt.Sprintf("10.%d.%d.%d", n>>16&255, n>>8&255, n&255), UserAgent: "curl/8.5.0"}
}

// BenchmarkAlertRules tells what of a core the rules take while 10,000 events a second come, by themselves and with what it takes to read them from the embedded store, and what memory.
func BenchmarkAlertRules(b *testing.B) {
	const rounds, most = 5, 100_000
	began := instant.Of(time.Now())
	var alone, read spread
	events := make([]audit.Event, most)
	for n := range events {
		events[n] = guess(n, began)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	e := alert.NewEngine(alert.Rules())
	for range rounds {
		start := time.Now()
		for n := range events {
			_ = e.Take(&events[n], began.Add(time.Hour), false)
		}
		alone = append(alone, time.Since(start).Seconds()/most*10_000*100)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	held := float64(int64(after.HeapAlloc)-int64(before.HeapAlloc)) / (1 << 20)
	runtime.KeepAlive(e)

	db, err := badgerstore.Open(b.TempDir(), badgerstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	keyring, err := fieldcrypt.Open(b.Context(), db.Keys(), secret.New("a root key for benchmarks, 32 bytes or more"), secret.Text{}, rand.Reader, instant.Of(time.Now()))
	if err != nil {
		b.Fatal(err)
	}
	db.Unlock(keyring)
	const kept = 40_000
	for n := 0; n < kept; n += 1000 {
		if err := db.Events().Record(b.Context(), events[n:n+1000]...); err != nil {
			b.Fatal(err)
		}
	}
	for range rounds {
		e, at, took := alert.NewEngine(alert.Rules()), uint64(0), 0
		start := time.Now()
		for {
			page, last, err := db.Events().List(b.Context(), at, 4096)
			if err != nil {
				b.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			for i := range page {
				_ = e.Take(&page[i], began.Add(time.Hour), false)
			}
			at, took = last, took+len(page)
		}
		if took != kept {
			b.Fatalf("%d of %d events were read", took, kept)
		}
		read = append(read, time.Since(start).Seconds()/kept*10_000*100)
	}
	report.add(row{figure: "alert rules, at 10,000 events a second of as many addresses", goal: "≤ 10 % of a core", measured: alone.show("%.1f") + " %", met: alone.median() <= 10})
	report.add(row{figure: "the same, with reading the events from the embedded store", goal: "–", measured: read.show("%.1f") + " %", met: true})
	report.add(row{figure: "what the rules hold of 100,000 addresses and accounts", goal: "≤ 64 MiB", measured: fmt.Sprintf("%.0f MiB", held), met: held <= 64})
}
