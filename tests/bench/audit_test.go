package bench_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/badgerstore"
	"github.com/xteam/xteam/adapters/fieldcrypt"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// BenchmarkAudit links events into the trail of the embedded store, synced, sealed and with checkpoints, as the chainer does; then verifies the trail there, and an export of it with nothing but the key.
func BenchmarkAudit(b *testing.B) {
	const records, rounds = 40_000, 5
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
	core := &app.Core{Stores: app.Stores{Keys: db.Keys(), Events: db.Events(), Trail: db.Trail(), TrailCare: db.Trail()}, Random: rand.Reader, Now: time.Now, Journal: untold{}}
	trail := app.NewTrail(core, keyring, app.TrailOptions{})
	var linking, reading, verifying spread
	var export bytes.Buffer
	for range rounds {
		tellEvents(b, db.Events(), records/rounds)
		start := time.Now()
		n, err := trail.Link(b.Context())
		if err != nil || n < records/rounds {
			b.Fatalf("linked %d, error %v", n, err)
		}
		linking = append(linking, float64(n)/time.Since(start).Seconds())
		start = time.Now()
		found, err := trail.Verify(b.Context())
		if err != nil || !found.OK() {
			b.Fatalf("the trail: %v, error %v", found.Findings, err)
		}
		reading = append(reading, float64(found.Records)/time.Since(start).Seconds())
		export.Reset()
		write, err := trail.Exporting(b.Context(), app.Actor{Name: app.Operator}, app.ExportOptions{})
		if err == nil {
			err = write(b.Context(), &export)
		}
		if err != nil {
			b.Fatal(err)
		}
		verifying = append(verifying, verifyExport(b, trail, export.Bytes()))
	}
	add := func(figure, goal string, least float64, all spread) {
		report.add(row{figure: figure, goal: goal, measured: all.show("%.0f") + "/s", met: all.median() >= least})
	}
	add("events linked into the audit trail, synced, with checkpoints", "≥ 5,000/s", 5000, linking)
	add("audit verify of an export", "≥ 200,000/s", 200_000, verifying)
	add("audit verify of the trail in the embedded store", "–", 0, reading)
}

func verifyExport(b *testing.B, trail *app.Trail, export []byte) float64 {
	keys, err := trail.Keys(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	v, err := audit.NewVerifier(keys)
	if err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	f := audit.NewFile(v)
	if _, err := io.CopyBuffer(f, struct{ io.Reader }{bytes.NewReader(export)}, make([]byte, 1<<20)); err != nil {
		b.Fatal(err)
	}
	r := f.Close()
	if !r.OK() {
		b.Fatal(r.Findings)
	}
	return float64(r.Records) / time.Since(start).Seconds()
}

// tellEvents records n sign-ins.
func tellEvents(b *testing.B, to ports.Events, n int) {
	for n > 0 {
		events := make([]audit.Event, min(n, 1000))
		for i := range events {
			events[i] = audit.Event{ID: random[id.Event](), Time: instant.Of(time.Now()), Kind: audit.AuthenticationSucceeded, Severity: audit.Info, Outcome: audit.Success, Actor: random[id.User]().String(),
				Subject: random[id.Session]().String(), Email: "ann@example.com", IPAddress: "198.51.100.7", UserAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", RequestID: "7382f398a069-2",
				Details: map[string]string{"client": "web"}}
		}
		if err := to.Record(b.Context(), events...); err != nil {
			b.Fatal(err)
		}
		n -= len(events)
	}
}

// untold is a journal that nobody reads.
type untold struct{}

func (untold) Write(context.Context, ...audit.Event) {}
