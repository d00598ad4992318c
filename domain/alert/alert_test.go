package alert_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
)

var begin = instant.Of(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))

// failure is a sign-in that failed so long after the beginning.
func failure(after time.Duration, subject, email, address string) *audit.Event {
	return &audit.Event{ID: id.Event{1}, Time: begin.Add(after), Kind: audit.AuthenticationFailed, Subject: subject, Email: email, IPAddress: address}
}

// fired takes events and answers the names and counts of what fires.
func fired(e *alert.Engine, events ...*audit.Event) (all []string) {
	for _, v := range events {
		for _, f := range e.Take(v, v.Time, false) {
			all = append(all, fmt.Sprintf("%s %s %d", f.Rule, f.Group, f.Count))
		}
	}
	return all
}

func only(t *testing.T, settings string) *alert.Engine {
	t.Helper()
	var off []string
	for _, r := range alert.Rules() {
		if !strings.Contains(settings, r.Name+"=") {
			off = append(off, r.Name+"=off")
		}
	}
	rules, err := alert.ParseRules(settings + "," + strings.Join(off, ","))
	if err != nil {
		t.Fatal(err)
	}
	return alert.NewEngine(rules)
}

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestThresholdWindowAndCooldown(t *testing.T) {
	e := only(t, "failed_sign_ins_by_address=3/10s/20s")
	at := func(seconds int) *audit.Event {
		return failure(time.Duration(seconds)*time.Second, "", "x", "192.0.2.1")
	}
	same(t, fired(e, at(0), at(1), at(12)))                                                                             // never three within the window
	same(t, fired(e, at(13), at(14)), "failed_sign_ins_by_address 192.0.2.1 3")                                         // 12, 13, 14
	same(t, fired(e, at(15), at(16), at(17), at(33)))                                                                   // told of already
	same(t, fired(e, at(34), at(35)), "failed_sign_ins_by_address 192.0.2.1 3")                                         // and again once the cooldown is over
	same(t, fired(only(t, "failed_sign_ins_by_address=2/10s"), at(5), at(1)), "failed_sign_ins_by_address 192.0.2.1 2") // a clock that went back
	same(t, fired(only(t, "failed_sign_ins_by_address=1/10s"), failure(0, "", "x", "no address")))
}

func TestNamesOfOneAccountCountAsOne(t *testing.T) {
	e := only(t, "failed_sign_ins_by_account=4/1m,guessing_from_many_addresses=3/1m,password_spraying=2/1m")
	same(t, fired(e, failure(0, "", "eve", "192.0.2.1"), failure(0, "", "Eve", "192.0.2.1"), failure(0, "", "EVE", "192.0.2.1")))
	same(t, fired(e, failure(1, "", "eve", "192.0.2.2")), "failed_sign_ins_by_account eve 4")
	same(t, fired(e, failure(2, "", "eVe", "2001:db8::1"), failure(3, "", "eve", "2001:db8::2")), "guessing_from_many_addresses eve 3")
	same(t, fired(e, failure(4, "0123456789abcdef0123456789abcdef", "bob", "192.0.2.1")), "password_spraying  2")
}

func TestSpraying(t *testing.T) {
	e := alert.NewEngine(alert.Rules())
	var got []string
	for i := range 500 {
		got = append(got, fired(e, failure(time.Duration(i)*100*time.Millisecond, fmt.Sprintf("%032x", i), "", fmt.Sprintf("10.0.%d.%d", i%200/100, i%100)))...)
	}
	same(t, got, "password_spraying  50")
}

func TestUnusualRevocations(t *testing.T) {
	revoked := func(hour int, n int) *audit.Event {
		return &audit.Event{Time: begin.Add(time.Duration(hour)*time.Hour + time.Minute), Kind: audit.TokenRevoked, Actor: "system", Reason: alert.Counted, Details: map[string]string{"of": fmt.Sprint(n)}}
	}
	e := only(t, "revocations=1000/1h/1h")
	for hour := range 24 {
		same(t, fired(e, revoked(hour, 30)))
	}
	kept := e.Usual()
	same(t, fired(e, revoked(24, 149)))
	same(t, fired(e, revoked(24, 1)), "revocations  150")
	other := only(t, "revocations=1000/1h/1h")
	other.Restore(kept)
	same(t, fired(other, revoked(24, 150)), "revocations  150")
	same(t, fired(only(t, "revocations=1000/1h/1h"), revoked(24, 150))) // nothing is known to be usual
	other.Restore([]byte{1, 2})
}

// TestBounded: a million groups take bounded memory, and what is beyond the exact ones is told of early, never late.
func TestBounded(t *testing.T) {
	e := alert.NewEngine(alert.Rules())
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 1_000_000 {
		e.Take(failure(time.Duration(i)*100*time.Microsecond, fmt.Sprintf("%032x", i), "", fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255)), begin.Add(time.Hour), false)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if took := int64(after.HeapAlloc) - int64(before.HeapAlloc); took > 64<<20 {
		t.Errorf("a million groups took %d MiB", took>>20)
	}
	n := 0
	for range 30 {
		for _, f := range e.Take(failure(100*time.Second, "", "one more", "198.51.100.1"), begin.Add(time.Hour), false) {
			if f.Rule == "failed_sign_ins_by_address" && f.Group == alert.More && f.Contain == "" {
				n++
			}
		}
	}
	if n == 0 {
		t.Error("an address beyond the exact ones was not told of")
	}
	runtime.KeepAlive(e)
}

func TestParseRules(t *testing.T) {
	for text, want := range map[string]string{
		"nonsense=1":                              `there is no rule "nonsense"`,
		"password_spraying=0":                     "threshold is",
		"password_spraying=1/2":                   "its window is \"2\"",
		"password_spraying=1/2h":                  "its window is \"2h\"",
		"password_spraying=1/2m/x":                "its cooldown is \"x\"",
		"password_spraying=1/1m/1m/1m":            "too many parts",
		"password_spraying":                       "threshold is",
		"password_spraying=1,":                    "",
		"":                                        "",
		"password_spraying=1,password_spraying=2": "named twice",
		" password_spraying = off ":               "",
	} {
		_, err := alert.ParseRules(text)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}

func TestBook(t *testing.T) {
	e := only(t, "refresh_reuse=1/1m/1s")
	user := strings.Repeat("ab", 16)
	reuse := func(after time.Duration) alert.Firing {
		return e.Take(&audit.Event{Time: begin.Add(after), Kind: audit.RefreshReused, Subject: user}, begin.Add(after), false)[0]
	}
	var b alert.Book
	first := reuse(0)
	if !strings.HasPrefix(first.Contain, "xteam revoke --user "+user) {
		t.Errorf("contain: %q", first.Contain)
	}
	b, a, told := b.Raise(first, time.Second, begin.Add(2*time.Hour))
	if !told || a.Raised != 1 {
		t.Fatalf("raised: %+v %v", a, told)
	}
	if _, _, told = b.Raise(first, time.Second, begin.Add(2*time.Hour)); told {
		t.Error("told twice of one firing")
	}
	b, again, told := b.Raise(reuse(2*time.Second), time.Second, begin.Add(2*time.Hour))
	if !told || again.ID != a.ID || again.Raised != 2 || again.Count != 2 || len(b.Alerts) != 1 {
		t.Errorf("raised again: %+v %v", again, told)
	}
	if _, _, told = b.Raise(reuse(4*time.Second), time.Minute, begin.Add(2*time.Hour)); told {
		t.Error("told again within the cooldown")
	}
	b, a, err := b.Ack(a.ID, "operator", begin.Add(time.Minute))
	if err != nil || a.Open() || a.AckedBy != "operator" {
		t.Errorf("acknowledged: %+v %v", a, err)
	}
	b, fresh, told := b.Raise(reuse(2*time.Minute), time.Second, begin.Add(2*time.Hour))
	if !told || fresh.ID == a.ID || !fresh.Open() || len(b.Alerts) != 2 {
		t.Errorf("raised after it was acknowledged: %+v %v", fresh, told)
	}
	if b, err = b.Silence(alert.Silence{Rule: "refresh_reuse", Group: "*", Until: begin.Add(time.Hour)}, begin); err != nil {
		t.Fatal(err)
	}
	if b, _, told = b.Raise(reuse(3*time.Minute), time.Second, begin.Add(2*time.Hour)); told {
		t.Error("told of what is silenced")
	}
	if _, _, told = b.Raise(reuse(70*time.Minute), time.Second, begin.Add(2*time.Hour)); !told {
		t.Error("silent after the silence")
	}
	if page, more := b.List(false, "", 1); len(page) != 1 || !more || page[0].ID != fresh.ID {
		t.Errorf("list: %+v %v", page, more)
	}
	if page, more := b.List(false, fresh.ID, 5); len(page) != 1 || more || page[0].ID != a.ID {
		t.Errorf("list behind: %+v %v", page, more)
	}
	if page, _ := b.List(true, "", 5); len(page) != 1 {
		t.Errorf("open ones: %+v", page)
	}
	for i := range 2 * alert.MaxAlerts {
		f := first
		f.ID, f.Group, f.Last = fmt.Sprint(i), fmt.Sprint(i), begin.Add(time.Hour)
		b, _, _ = b.Raise(f, time.Second, begin.Add(2*time.Hour))
	}
	if len(b.Alerts) > 60 {
		t.Errorf("one rule has %d alerts", len(b.Alerts))
	}
	for i := range 2 * alert.MaxAlerts {
		f := first
		f.Rule, f.Severity, f.Last = fmt.Sprint(i), audit.Warning, begin.Add(time.Hour)
		b, _, _ = b.Raise(f, time.Second, begin.Add(2*time.Hour))
	}
	if _, err := b.Find(fresh.ID); len(b.Alerts) != alert.MaxAlerts || err != nil {
		t.Errorf("%d alerts are kept; the critical one that is open: %v", len(b.Alerts), err)
	}
}

// TestClockAhead: what a node two days ahead tells is taken for now, and what it noted in the book holds nothing back.
func TestClockAhead(t *testing.T) {
	e := only(t, "failed_sign_ins_by_address=3/10s/20s")
	ahead := failure(48*time.Hour, "", "x", "192.0.2.1")
	e.Take(ahead, begin, false)
	n := 0
	for i := range 6 {
		v := failure(time.Hour+time.Duration(i)*time.Second, "", "x", "192.0.2.2")
		n += len(e.Take(v, v.Time, false))
	}
	if n != 1 {
		t.Errorf("told %d times, want once", n)
	}
	var b alert.Book
	late := alert.Firing{ID: "a", Rule: "x", Last: begin.Add(48 * time.Hour)}
	b, _, _ = b.Raise(late, time.Minute, begin.Add(48*time.Hour))
	if _, _, told := b.Raise(alert.Firing{ID: "b", Rule: "x", Last: begin.Add(2 * time.Hour)}, time.Minute, begin.Add(time.Hour)); !told {
		t.Error("what a node ahead has noted holds an alert back")
	}
}

// TestAcknowledgedGoesOn: what goes on after it was acknowledged is another alert, with another id.
func TestAcknowledgedGoesOn(t *testing.T) {
	e := only(t, "failed_sign_ins_by_address=1/10m/1m")
	var b alert.Book
	ids := map[string]bool{}
	for i := range 4 {
		v := failure(time.Duration(i)*5*time.Minute, "", "x", "192.0.2.1")
		fired := e.Take(v, v.Time, false)
		if len(fired) != 1 {
			t.Fatalf("fired: %+v", fired)
		}
		var a alert.Alert
		b, a, _ = b.Raise(fired[0], time.Minute, v.Time)
		if ids[a.ID] || !strings.Contains(a.Contain, a.ID) {
			t.Errorf("the id %s again, or another is to be contained: %s", a.ID, a.Contain)
		}
		ids[a.ID] = true
		var err error
		if b, _, err = b.Ack(a.ID, "operator", v.Time); err != nil {
			t.Fatal(err)
		}
	}
}
