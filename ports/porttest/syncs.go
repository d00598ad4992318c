package porttest

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/ports"
)

// tracer is the program that shows system calls, or none where it is missing: then a test that needs it fails where everything must be there, and is skipped elsewhere.
func tracer(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("strace")
	switch {
	case err == nil:
		return path
	case os.Getenv("XTEAM_TEST_REAL") == "1":
		t.Fatal("strace is missing: `make deps` installs it")
	default:
		t.Skip("strace is missing")
	}
	return ""
}

// Syncs proves that a store asks the disk before it acknowledges. A killed process cannot tell, for what it wrote is kept by the system: so the calls are counted.
func Syncs(t *testing.T, open Open) {
	for _, call := range Unsynced(t, open) {
		t.Errorf("%s was acknowledged, and the disk was not asked", call)
	}
}

// Unsynced answers the calls that a store acknowledges without a sync of a file that succeeded since the call began (fsync, fdatasync, or msync with MS_SYNC). It
// runs the test that calls it once more, in a process under strace.
func Unsynced(t *testing.T, open Open) (calls []string) {
	if dir := os.Getenv(folderSetting); dir != "" {
		s := open(t, dir)
		for i, w := range writes(s) {
			mark(2*i + 1)
			err := w.call()
			mark(2*i + 2)
			if err != nil {
				t.Errorf("%s: %v", w.name, err)
			}
		}
		shut(t, s)
		t.SkipNow() // the child has done its work; what its parent demands of the answer is not asked of it
	}
	strace := tracer(t)
	trace := t.TempDir() + "/trace"
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd, stderr := again(ctx, t, t.TempDir(), strace, "-f", "-qq", "-e", "trace=fsync,fdatasync,msync", "-e", "signal=none", "-o", trace)
	if out, err := cmd.Output(); err != nil {
		t.Fatalf("the child ended with %v; it said:\n%s%s", err, out, stderr)
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	synced := syncsBetween(string(text))
	for i, w := range writes(Store{}) {
		n, ok := synced[2*i+1]
		if !ok {
			t.Fatalf("the trace has no marks of %s:\n%s", w.name, text)
		}
		if n == 0 {
			calls = append(calls, w.name)
		}
	}
	return calls
}

// Synced demands of a store on a server that each of its calls that write is acknowledged only once the server has asked its disk. asked is called before each, and what it answers when the call
// has been acknowledged: whether the disk was asked since. It answers the calls of which that is not true.
func Synced(t testing.TB, s Store, asked func() (since func() bool)) (calls []string) {
	t.Helper()
	for _, w := range writes(s) {
		since := asked()
		if err := w.call(); err != nil {
			t.Errorf("%s: %v", w.name, err)
		}
		if !since() {
			calls = append(calls, w.name)
		}
	}
	return calls
}

// syncsBetween counts the syncs that succeeded between each mark and the next.
func syncsBetween(trace string) map[int]int {
	counts, current := map[int]int{}, 0
	for line := range strings.Lines(trace) {
		if n, ok := marked(line); ok {
			current, counts[n] = n, 0
			continue
		}
		sync := strings.Contains(line, "fsync") || strings.Contains(line, "fdatasync") || strings.Contains(line, "msync")
		if sync && strings.HasSuffix(strings.TrimSpace(line), "= 0") && !strings.Contains(line, "MS_ASYNC") {
			counts[current]++
		}
	}
	return counts
}

// marked reads the line that mark leaves.
func marked(line string) (n int, ok bool) {
	_, rest, ok := strings.Cut(line, "fsync(-")
	if !ok {
		return 0, false
	}
	digits, _, _ := strings.Cut(rest, ")")
	n, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(digits, " <unfinished ...>")))
	return n, err == nil
}

type write struct {
	name string
	call func() error
}

// writes is every call that writes, in an order in which each finds what it needs.
func writes(s Store) []write {
	ctx := context.Background()
	a, v, k, r, f := newAccount(), newSession(), newAPIKey(), newRing(), newUpload()
	return []write{
		{"Accounts.Create", func() error { return s.Accounts.Create(ctx, a, newEffects()) }},
		{"Accounts.Update", func() error { return updated(accountsOf(s), a.ID) }},
		{"Sessions.Create", func() error { return s.Sessions.Create(ctx, v, newEffects()) }},
		{"Sessions.Update", func() error { return updated(sessionsOf(s), v.ID) }},
		{"APIKeys.Create", func() error { return s.APIKeys.Create(ctx, k, newEffects()) }},
		{"APIKeys.Update", func() error { return updated(apiKeysOf(s), k.ID) }},
		{"APIKeys.Replace", func() error {
			return s.APIKeys.Replace(ctx, k.ID, func(k apikey.Key) (apikey.Key, apikey.Key, ports.Effects, error) {
				return k, heir(k), ports.Effects{}, nil
			})
		}},
		{"Uploads.Create", func() error { return s.Uploads.Create(ctx, f, newEffects()) }},
		{"Uploads.Delete", func() error { return s.Uploads.Delete(ctx, f.ID, newEffects()) }},
		{"Keys.Create", func() error { return s.Keys.Create(ctx, r, newEffects()) }},
		{"Keys.Update", func() error { return updated(keysOf(s), r.Name) }},
		{"System.Update", func() error { return updated(systemOf(s), struct{}{}) }},
		{"Blocks.Update", func() error { return updated(blocksOf(s), struct{}{}) }},
		{"Revocations.Record", func() error { return s.Revocations.Record(ctx, newEntry()) }},
		{"Events.Record", func() error { return s.Events.Record(ctx, newEvent()) }},
		{"Trail.Append", func() error {
			links, next := behind(audit.Checkpoint{}, newEvents(2), 0)
			return s.Trail.Append(ctx, audit.Checkpoint{}, links, next)
		}},
		{"TrailCare.Erase", func() error { _, err := s.TrailCare.Erase(ctx, 1, 2); return err }},
		{"TrailCare.Cut", func() error { return s.TrailCare.Cut(ctx, audit.Checkpoint{Purpose: audit.Cut, Seq: 1}) }},
		{"Alerts.Update", func() error {
			return s.Alerts.Update(ctx, func(b alert.Book) (alert.Book, ports.Effects, error) {
				return alertsOf(s).bump(b), ports.Effects{}, nil
			})
		}},
		{"Incidents.Update", func() error { return updated(incidentsOf(s), struct{}{}) }},
		{"Cursors.Swap", func() error { _, err := s.Cursors.Swap(ctx, newCursor("a")); return err }},
	}
}

func updated[K comparable, V any](k keeper[K, V], key K) error {
	return k.update(context.Background(), key, func(v V) (V, ports.Effects, error) { return k.bump(v), ports.Effects{}, nil })
}
