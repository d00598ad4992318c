package app_test

import (
	"strings"
	"testing"

	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/id"
)

// FuzzFeedPlace: a follower goes on from a place of this feed's own that is kept, and of any other is told that it is lost.
func FuzzFeedPlace(f *testing.F) {
	w := newWorld(f)
	feed := w.newFeed()
	fo, _, _ := feed.Follow("")
	name, _, _ := strings.Cut(fo.ID(), ".")
	w.publish(0, 3)
	seen := map[id.Session]bool{}
	for len(seen) < 3 {
		entries, err := fo.Next(f.Context())
		if err != nil {
			f.Fatal(err)
		}
		for i := range entries {
			seen[entries[i].Session] = true
		}
	}
	for _, place := range []string{"0", "1", "3", "4", "-1", "+1", "1.", "01", "18446744073709551615", "9223372036854775807", ""} {
		f.Add("."+place, true)
	}
	f.Add("x.1", false)
	f.Add("", false)
	f.Fuzz(func(t *testing.T, place string, own bool) {
		if own {
			place = name + place
		}
		fo, whole, lost := feed.Follow(place)
		if whole && lost != (place != "") {
			t.Errorf("from %q: lost %v", place, lost)
		}
		if whole {
			return
		}
		if at, ok := strings.CutPrefix(place, name+"."); lost || !ok || fo.ID() != name+"."+canonical(at) || !strings.Contains("0 1 2 3", canonical(at)) {
			t.Errorf("from %q it goes on behind %q", place, fo.ID())
		}
	})
}

// canonical is a number without the zeros that lead it.
func canonical(number string) string {
	if cut := strings.TrimLeft(number, "0"); cut != "" {
		return cut
	}
	return "0"
}

// FuzzEventPlace: a place in the events is one that such a subscription would tell, in the one encoding that there is.
func FuzzEventPlace(f *testing.F) {
	l := app.NewLive(&journal{}, memstore.New().Events(), clearSealer{})
	ann := id.User{1}
	for _, n := range []uint64{0, 1, 1 << 63} {
		f.Add(l.PlaceAt(ann, n))
		f.Add(l.PlaceAt(id.User{2}, n))
	}
	f.Add("AA==")
	f.Add(strings.Repeat("A", 4096))
	f.Fuzz(func(t *testing.T, place string) {
		after, known := l.At(ann, place)
		if known && l.PlaceAt(ann, after) != place || !known && after != 0 {
			t.Errorf("%q is read as %d, %v, which is told as %q", place, after, known, l.PlaceAt(ann, after))
		}
	})
}
