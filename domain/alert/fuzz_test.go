package alert_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/instant"
)

// FuzzDecode: what is no book is refused, and one that was read is written and read the same.
func FuzzDecode(f *testing.F) {
	b, _, _ := alert.Book{}.Raise(alert.Firing{ID: "0123456789abcdef", Rule: "refresh_reuse", Group: "ann", Since: begin, Last: begin, Count: 1, Sample: []string{"a", "b"}}, time.Second, begin)
	b, err := b.Silence(alert.Silence{Rule: "refresh_reuse", Group: "*", Until: begin.Add(time.Hour), By: "operator"}, begin)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b.Encode())
	f.Add([]byte(nil))
	f.Add([]byte(`{"Alerts":[{"Last":-1,"Count":18446744073709551615}],"Silences":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := alert.Decode(text)
		if err != nil {
			return
		}
		once := b.Encode()
		again, err := alert.Decode(once)
		if err != nil || string(again.Encode()) != string(once) {
			t.Fatalf("%q is read as %+v, and then as %+v (%v)", text, b, again, err)
		}
		for _, open := range []bool{false, true} {
			b.List(open, "", 10)
		}
		b.Raise(alert.Firing{Rule: "refresh_reuse", Last: begin}, time.Minute, begin)
	})
}

// FuzzParseRules: whatever is given, a rule is off, or within its bounds.
func FuzzParseRules(f *testing.F) {
	f.Add("failed_sign_ins_by_account=10/5m/30m,epoch_raised=off")
	f.Add("password_spraying=1/1h/24h, , revocations = 1000000")
	f.Add("refresh_reuse=0/-1s")
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := alert.ParseRules(text)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r\x1b") {
				t.Errorf("%q: the error %q holds what a terminal obeys", text, err)
			}
			return
		}
		if len(rules) != len(alert.Rules()) {
			t.Fatalf("%q makes %d rules of %d", text, len(rules), len(alert.Rules()))
		}
		for _, r := range rules {
			if r.Threshold < 0 || r.Threshold > 1_000_000_000 || r.Window < time.Second && r.Window != 0 || r.Cooldown < 0 {
				t.Errorf("%q: %s has the threshold %d in %v, the cooldown %v", text, r.Name, r.Threshold, r.Window, r.Cooldown)
			}
		}
	})
}

// FuzzRestore: what is usual is taken back as it was kept, and what is nothing of the kind changes nothing.
func FuzzRestore(f *testing.F) {
	f.Add(alert.NewEngine(alert.Rules()).Usual())
	f.Add([]byte{0x80})
	f.Add([]byte(strings.Repeat("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 200)))
	f.Fuzz(func(t *testing.T, kept []byte) {
		e := alert.NewEngine(alert.Rules())
		was := string(e.Usual())
		e.Restore(kept)
		is := e.Usual()
		other := alert.NewEngine(alert.Rules())
		other.Restore(is)
		if string(other.Usual()) != string(is) {
			t.Fatalf("%x is restored as %x, and that as %x", kept, is, other.Usual())
		}
		if len(kept) < 25 && string(is) != was {
			t.Fatalf("%x is too short, and was taken for %x", kept, is)
		}
		e.Take(&audit.Event{Time: begin, Kind: audit.TokenRevoked, Reason: alert.Counted, Details: map[string]string{"of": "18446744073709551615"}}, begin, false)
	})
}

// TestBookKeepsItsBounds: whatever is raised, acknowledged and silenced, by clocks that differ.
func TestBookKeepsItsBounds(t *testing.T) { rapid.Check(t, keepsItsBounds) }

// FuzzBook walks as TestBookKeepsItsBounds does, along ways that reach new code.
func FuzzBook(f *testing.F) {
	ways(f)
	f.Fuzz(rapid.MakeFuzz(keepsItsBounds))
}

func keepsItsBounds(t *rapid.T) {
	var b alert.Book
	now := begin
	toldOf := map[string]instant.Instant{} // rule and group: the last event of what was told
	for range 40 {
		now += instant.Instant(rapid.SampledFrom([]int64{0, 1, 1_000_000, 60_000_000, 3_600_000_000, -1_000_000}).Draw(t, "later"))
		before, _ := json.Marshal(b)
		was := b
		switch rapid.SampledFrom([]string{"raise", "raise", "raise", "acknowledge", "silence"}).Draw(t, "what") {
		case "raise":
			f := alert.Firing{Rule: rapid.SampledFrom([]string{"refresh_reuse", "revocations"}).Draw(t, "rule"), Group: fmt.Sprint(rapid.IntRange(0, 70).Draw(t, "group")), Count: rapid.Uint64Range(1, 9).Draw(t, "count"),
				Severity: audit.Warning, ID: "0123456789abcdef", Contain: "xteam alerts contain 0123456789abcdef"}
			f.Last = now.Add(-time.Duration(rapid.IntRange(-1, 5).Draw(t, "seconds ago")) * time.Second)
			f.Since = f.Last.Add(-time.Duration(rapid.IntRange(0, 60).Draw(t, "for")) * time.Second)
			cooldown := time.Duration(rapid.IntRange(0, 90).Draw(t, "cooldown")) * time.Second
			next, a, told := b.Raise(f, cooldown, now)
			key := a.Rule + " " + a.Group
			for _, k := range []string{key, f.Rule + " " + f.Group} { // a time that lies ahead is taken for now, and stays so when the clock goes on
				if last, ok := toldOf[k]; ok {
					toldOf[k] = min(last, now)
				}
			}
			if last, ok := toldOf[key]; ok && told && a.Last < last.Add(cooldown) {
				t.Fatalf("told of %s at %v, within %v of %v", key, a.Last, cooldown, last)
			}
			if told {
				toldOf[key] = a.Last
			}
			if kept, err := next.Find(a.ID); err != nil || kept.Last != a.Last || kept.Rule != f.Rule || kept.Group != f.Group && kept.Group != alert.More {
				t.Fatalf("raised %+v, kept %+v (%v)", a, kept, err)
			}
			if a.Contain != "" && !strings.HasSuffix(a.Contain, a.ID) {
				t.Fatalf("alert %s is contained by %q", a.ID, a.Contain)
			}
			b = next
		case "acknowledge":
			id := "none"
			if len(b.Alerts) > 0 {
				id = rapid.SampledFrom(b.Alerts).Draw(t, "which").ID
			}
			next, a, err := b.Ack(id, "operator", now)
			if (err == nil) != (id != "none") || err == nil && a.Open() {
				t.Fatalf("acknowledged %s: %+v, %v", id, a, err)
			}
			b = next
		case "silence":
			next, err := b.Silence(alert.Silence{Rule: "revocations", Group: rapid.SampledFrom([]string{"*", "1", "2"}).Draw(t, "whom"), Until: now.Add(time.Minute)}, now)
			if err != nil {
				t.Fatal(err)
			}
			b = next
		}
		if after, _ := json.Marshal(was); string(after) != string(before) {
			t.Fatalf("the book that was asked changed from %s to %s", before, after)
		}
		bounded(t, b)
	}
}

// bounded holds a book to what it promises of itself.
func bounded(t *rapid.T, b alert.Book) {
	open, ids := map[string]int{}, map[string]bool{}
	for i := range b.Alerts {
		a := &b.Alerts[i]
		if ids[a.ID] {
			t.Fatalf("two alerts have the id %s", a.ID)
		}
		ids[a.ID] = true
		if a.Open() {
			open[a.Rule]++
		}
		if open[a.Rule] > 51 { // More is one beyond
			t.Fatalf("%d alerts of %s are open", open[a.Rule], a.Rule)
		}
	}
	if len(b.Alerts) > alert.MaxAlerts || len(b.Silences) > alert.MaxSilences {
		t.Fatalf("%d alerts, %d silences", len(b.Alerts), len(b.Silences))
	}
	page, more := b.List(false, "", alert.MaxAlerts)
	if len(page) != len(b.Alerts) || more || !slices.IsSortedFunc(page, func(x, y alert.Alert) int { return int(max(-1, min(1, y.Last-x.Last))) }) {
		t.Fatalf("the list has %d of %d, more %v", len(page), len(b.Alerts), more)
	}
}

// ways adds walks that are long enough: what reads of an input that ends draws nothing more.
func ways(f *testing.F) {
	for i := range byte(4) {
		way := make([]byte, 8<<10)
		_, _ = rand.NewChaCha8([32]byte{i}).Read(way)
		f.Add(way)
	}
}

// TestIDsAreNotGivenTwice: an alert that ended in a moment that this node's clock has not reached goes on after it was acknowledged, with the same end.
func TestIDsAreNotGivenTwice(t *testing.T) {
	f := alert.Firing{Rule: "refresh_reuse", Group: "ann", Since: begin, Last: begin.Add(time.Second), Count: 1}
	b, a, _ := alert.Book{}.Raise(f, time.Minute, begin)
	b, _, err := b.Ack(a.ID, "operator", begin)
	if err != nil {
		t.Fatal(err)
	}
	b, again, _ := b.Raise(f, time.Minute, begin)
	if kept, err := b.Find(again.ID); err != nil || !kept.Open() || again.ID == a.ID {
		t.Errorf("raised again as %s, which the book keeps as %+v (%v)", again.ID, kept, err)
	}
}
