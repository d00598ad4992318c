package session_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/session"
)

func network(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i)}), 24)
}

// TestPlaces holds them against a list on paper, by whatever is done to them.
func TestPlaces(t *testing.T) {
	const day = 24 * time.Hour
	type seen struct {
		n  netip.Prefix
		at instant.Instant // the end of that day
	}
	end := func(at instant.Instant) instant.Instant {
		return instant.Of(at.Time().Truncate(day).Add(day)) - 1
	}
	rapid.Check(t, func(t *rapid.T) {
		now := instant.Of(time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC))
		var p session.Places
		var paper []seen
		draw := rapid.IntRange(0, 99)
		t.Repeat(map[string]func(*rapid.T){
			"see": func(t *rapid.T) {
				for range rapid.IntRange(1, 40).Draw(t, "times") {
					n := network(draw.Draw(t, "network"))
					at := now.Add(-time.Duration(rapid.IntRange(0, 3).Draw(t, "days ago")) * day)
					is := seen{n, end(at)}
					if i := slices.IndexFunc(paper, func(s seen) bool { return s.n == n }); i >= 0 {
						is.at = max(is.at, paper[i].at)
						paper = slices.Delete(paper, i, i+1)
					}
					paper = slices.Insert(paper, 0, is)
					paper = paper[:min(len(paper), session.MaxPlaces)]
					p = p.With(n, at)
				}
			},
			"forget": func(t *rapid.T) {
				n := network(draw.Draw(t, "network"))
				p = p.Without(n)
				paper = slices.DeleteFunc(paper, func(s seen) bool { return s.n == n })
			},
			"since": func(t *rapid.T) {
				at := now.Add(-time.Duration(rapid.IntRange(0, 50).Draw(t, "hours ago")) * time.Hour)
				p = p.Since(at)
				paper = slices.DeleteFunc(paper, func(s seen) bool { return s.at < at })
			},
			"wait": func(*rapid.T) { now = now.Add(10 * time.Hour) },
			"": func(t *rapid.T) {
				if p.Len() != len(paper) {
					t.Fatalf("there are %d, want %d", p.Len(), len(paper))
				}
				again, err := session.ParsePlaces(p.Bytes())
				if err != nil || again != p {
					t.Fatalf("they do not come back: %v", err)
				}
				for i := range 100 {
					want := instant.Instant(0)
					if at := slices.IndexFunc(paper, func(s seen) bool { return s.n == network(i) }); at >= 0 {
						want = paper[at].at
					}
					if got := p.Last(network(i)); got != want {
						t.Fatalf("%v was seen on %v, want %v", network(i), got, want)
					}
				}
			},
		})
	})
}

func TestPlacesTakeWhatIsOdd(t *testing.T) {
	var p session.Places
	if p.Bytes() != nil || p.With(netip.Prefix{}, 1) != p || p.Without(netip.Prefix{}) != p || p.Last(netip.Prefix{}) != 0 {
		t.Errorf("without a network: %v", p)
	}
	for at, want := range map[instant.Instant]instant.Instant{-5: 86_399_999_999, instant.Forever: 65536*86_400_000_000 - 1} {
		if got := p.With(network(1), at).Last(network(1)); got != want {
			t.Errorf("seen at %d: %d, want %d", at, got, want)
		}
	}
	if p.With(netip.MustParsePrefix("10.0.0.0/24"), 1).Last(netip.MustParsePrefix("10.0.0.0/23")) != 0 {
		t.Error("a wider network is another")
	}
	for _, n := range []int{1, 9, 11, 650, 6400} {
		if _, err := session.ParsePlaces(make([]byte, n)); err == nil {
			t.Errorf("%d bytes are taken", n)
		}
	}
}
