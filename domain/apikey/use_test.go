package apikey_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/session"
)

var begin = instant.Of(time.Date(2030, 1, 1, 0, 30, 0, 0, time.UTC))

func from(address string) session.Origin {
	return session.Origin{Address: netip.MustParseAddr(address)}
}

func texts(all []netip.Prefix) (out []string) {
	for _, p := range all {
		out = append(out, p.String())
	}
	return out
}

func TestNewNetworks(t *testing.T) {
	var k apikey.Key
	use := func(at session.Origin, others ...string) []string {
		t.Helper()
		var all []netip.Prefix
		for _, p := range others {
			all = append(all, netip.MustParsePrefix(p))
		}
		var seen apikey.Noticed
		k, seen = k.Used(apikey.Use{N: 1, Last: begin, From: at, Networks: all})
		return texts(seen.Networks)
	}
	expect := func(got []string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("new networks (-want +got):\n%s", diff)
		}
	}
	expect(use(session.Origin{}))
	expect(use(from("192.0.2.1"), "192.0.2.0/24")) // the very first one
	rushed, _ := apikey.Key{}.Used(apikey.Use{N: 3, Last: begin, From: from("192.0.2.1"), Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24")}})
	if diff := cmp.Diff([]string{"192.0.2.0/24", "198.51.100.0/24"}, texts(rushed.Networks.List())); diff != "" {
		t.Errorf("what is known of a key that went there and back at once (-want +got):\n%s", diff)
	}
	k = apikey.Key{}
	expect(use(from("192.0.2.1"), "192.0.2.0/24", "198.51.100.0/24"), "198.51.100.0/24") // there and back, before it was ever written down
	expect(use(from("192.0.2.200")))
	expect(use(from("198.51.100.9")))
	expect(use(from("203.0.113.1")), "203.0.113.0/24")
	expect(use(from("203.0.113.2")))
	expect(use(from("2001:db8::1"), "192.0.2.0/24", "10.0.0.0/24"), "10.0.0.0/24", "2001:db8::/64")
	if diff := cmp.Diff([]string{"2001:db8::/64", "10.0.0.0/24", "192.0.2.0/24", "203.0.113.0/24", "198.51.100.0/24"}, texts(k.Networks.List())); diff != "" {
		t.Errorf("what is known (-want +got):\n%s", diff)
	}
	for i := range 20 { // far more than are kept with their names
		use(session.Origin{Address: netip.AddrFrom4([4]byte{10, 1, byte(i), 1})})
	}
	expect(use(from("2001:db8::2")))
	expect(use(from("192.0.2.1")))
	if got := len(k.Networks.List()); got != apikey.MaxNetworks {
		t.Errorf("%d networks are known", got)
	}
	k = apikey.Key{LastFrom: from("192.0.2.1")} // from before they were kept
	expect(use(from("198.51.100.1")), "198.51.100.0/24")
	k = apikey.Key{LastFrom: from("192.0.2.1"), Networks: apikey.Networks{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24")}} // from before more than those were known
	expect(use(from("203.0.113.1"), "198.51.100.0/24", "192.0.2.0/24"), "203.0.113.0/24")
}

// TestAKeyThatRoams uses keys from so many networks in turn, a round a day: each network is told of once, and of one that is used from more than are known, that it is.
func TestAKeyThatRoams(t *testing.T) {
	for what, c := range map[string]struct {
		networks, days int
		news, roams    int
	}{
		"eight":                      {8, 100, 7, 0},
		"nine":                       {9, 100, 8, 0},
		"as many as are known":       {session.MaxPlaces, 100, session.MaxPlaces - 1, 0},
		"one more":                   {session.MaxPlaces + 1, 30, session.MaxPlaces - 1, 1},
		"very many":                  {1000, 30, session.MaxPlaces - 1, 1},
		"very many, for a long time": {200, 91, session.MaxPlaces - 1, 4},
	} {
		t.Run(what, func(t *testing.T) {
			var k apikey.Key
			news, roams, at := 0, 0, begin
			for range c.days {
				for i := range c.networks {
					var seen apikey.Noticed
					k, seen = k.Used(apikey.Use{N: 1, Last: at, From: session.Origin{Address: netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1})}})
					news += len(seen.Networks)
					if len(seen.Roams) > 0 {
						roams++
					}
				}
				at = at.Add(24 * time.Hour)
			}
			if news != c.news || roams != c.roams {
				t.Errorf("told of %d new networks, and %d times that it roams, want %d and %d", news, roams, c.news, c.roams)
			}
			// When it does not roam any more, what is new is told of.
			at = at.Add(2 * apikey.Roams)
			if _, seen := k.Used(apikey.Use{N: 1, Last: at, From: from("192.0.2.1")}); len(seen.Networks) != 1 || seen.Roams != nil {
				t.Errorf("a new network after a rest: %+v", seen)
			}
		})
	}
	// All that comes with the one that is too many is told of together.
	var k apikey.Key
	k, _ = k.Used(apikey.Use{N: 1, Last: begin, From: from("192.0.2.1")})
	var all []netip.Prefix
	for i := range session.MaxPlaces {
		all = append(all, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i)}), 24))
	}
	if _, seen := k.Used(apikey.Use{N: 1, Last: begin, From: from("192.0.2.1"), Networks: all}); seen.Networks != nil || len(seen.Roams) != session.MaxPlaces {
		t.Errorf("so many at once: %+v", seen)
	}
}

func TestTenTimesTheUsual(t *testing.T) {
	var k apikey.Key
	use := func(hour int, n uint64) bool {
		var seen apikey.Noticed
		k, seen = k.Used(apikey.Use{N: n, Last: begin.Add(time.Duration(hour) * time.Hour)})
		return seen.Unusual
	}
	for hour := range 5 {
		if use(hour, 1_000_000) || k.Habit.Usual() != 0 {
			t.Fatalf("unusual in hour %d, when nothing is usual: %+v", hour, k.Habit)
		}
	}
	k = apikey.Key{}
	for hour := range 5 {
		use(24*hour, 15) // in hours without a use nothing is known
		use(24*hour, 5)
	}
	if use(200, 199) {
		t.Error("199 are not ten times 20")
	}
	if k.Habit.Usual() != 20 || k.Habit.In(begin.Add(200*time.Hour)) != 199 || k.Habit.In(begin.Add(201*time.Hour)) != 0 {
		t.Errorf("the habit is %+v", k.Habit)
	}
	if use(199, 5000) {
		t.Error("what came late is held against this hour")
	}
	if !use(200, 1) {
		t.Error("200 are ten times 20")
	}
	if use(200, 1000) {
		t.Error("told twice of an hour")
	}
	if !use(201, 3000) {
		t.Error("not told of the next hour")
	}
	before := k.Habit.Usual()
	use(5000, 1) // a clock that is ahead
	if use(202, 40) || k.Habit.In(begin.Add(202*time.Hour)) != 40 || k.Habit.Usual() <= before {
		t.Errorf("after a clock was ahead: %+v", k.Habit)
	}
	k = apikey.Key{}
	for hour := range 10 {
		use(hour, 1)
	}
	if use(10, 49) || !use(10, 1) {
		t.Error("of what is hardly used, 50 are unusual and 49 are not")
	}
	k.Habit.Average = 1 << 62
	use(11, 1<<63)
	use(12, 1<<63) // no number is too large
	if k.Uses == 0 {
		t.Error("uses are not counted")
	}
}

func TestWarnings(t *testing.T) {
	made := func(life time.Duration) apikey.Key {
		return apikey.New(apikey.Proof{}, id.User{1}, 1, apikey.Wish{Life: life}, begin)
	}
	warned := func(k apikey.Key, at ...time.Duration) (told []time.Duration) { // before its end
		for _, d := range at {
			var now bool
			if k, now = k.Warn(k.Expires.Add(-d)); now {
				told = append(told, d)
			}
		}
		return told
	}
	const day, h = 24 * time.Hour, time.Hour
	ended, rotated := made(90*day), made(90*day)
	ended.Revoked, rotated.Successor = begin, id.APIKey{1}
	for what, c := range map[string]struct {
		k        apikey.Key
		at, want []time.Duration
	}{
		"each once":                      {made(90 * day), []time.Duration{15 * day, 14*day + time.Microsecond, 14 * day, 13 * day, day + time.Microsecond, day, day - 1, 1, 0, -1}, []time.Duration{14 * day, day}},
		"late":                           {made(90 * day), []time.Duration{3 * day, 2 * day, 3 * h, h}, []time.Duration{3 * day, 3 * h}},
		"the nearest of those due alone": {made(90 * day), []time.Duration{5 * h, 4 * h}, []time.Duration{5 * h}},
		"a clock that goes back":         {made(90 * day), []time.Duration{5 * h, 10 * day}, []time.Duration{5 * h}},
		"made for two weeks":             {made(14 * day), []time.Duration{14 * day, 13 * day, day}, []time.Duration{day}},
		"made for a day":                 {made(day), []time.Duration{day, h}, nil},
		"revoked":                        {ended, []time.Duration{day}, nil},
		"another has taken its place":    {rotated, []time.Duration{day}, nil},
	} {
		if diff := cmp.Diff(c.want, warned(c.k, c.at...)); diff != "" {
			t.Errorf("%s: told so long before the end (-want +got):\n%s", what, diff)
		}
	}
}

func TestParseLimit(t *testing.T) {
	for n, ok := range map[int64]bool{-1: false, 0: false, 1: true, 1_000_000_000: true, 1_000_000_001: false} {
		if got, err := apikey.ParseLimit(n); (err == nil) != ok || ok && got != n {
			t.Errorf("%d: got %d, %v", n, got, err)
		}
	}
}
