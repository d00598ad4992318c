package keyset_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/secret"
)

var terms = keyset.Terms{Publish: 15 * time.Minute, Tokens: time.Hour}

const minute = instant.Instant(60_000_000)

// own is a key of the system's own, a pair, and symmetric one whose id begins with "hs".
func own(id string) keyset.Key {
	k := keyset.Key{ID: id, Purpose: keyset.Sign, Algorithm: keyset.ES256, Public: []byte("public"), Wrapped: []byte("wrapped")}
	if strings.HasPrefix(id, "hs") {
		k.Algorithm, k.Public = keyset.HS256, nil
	}
	return k
}

// setting is a key that a setting gives.
func setting(id string) keyset.Key {
	return keyset.Key{ID: id, Purpose: keyset.Sign, Algorithm: keyset.HS256, Secret: secret.New("the secret of " + id)}
}

// states are the keys of a ring with their states, in their order.
func states(r keyset.Ring) string {
	var all []string
	for _, k := range r.Keys {
		all = append(all, k.ID+" "+k.State.String())
	}
	return strings.Join(all, ", ")
}

func want(t *testing.T, r keyset.Ring, want string) {
	t.Helper()
	if got := states(r); got != want {
		t.Errorf("the ring is %q, want %q", got, want)
	}
}

func TestRotateSignsAtOnce(t *testing.T) {
	r := must(keyset.Ring{}.Rotate(own("a"), 1))(t)
	want(t, r, "a primary")
	r = must(r.Rotate(own("b"), 2))(t)
	want(t, r, "a retiring, b primary")
	r = must(r.Prepare(own("c"), 3))(t)
	want(t, must(r.Rotate(own("c"), 4))(t), "a retiring, b retiring, c primary") // the one that waits
	r = must(r.Rotate(own("d"), 5))(t)
	want(t, r, "a retiring, b retiring, c gone, d primary") // and another in its place
	for _, again := range []string{"a", "b", "c", "d"} {
		if got, err := r.Rotate(own(again), 6); err == nil || states(got) != states(r) {
			t.Errorf("Rotate to %s, which has been: %v, %s", again, err, states(got))
		}
	}
	for _, k := range r.Keys {
		if signs := k.State == keyset.Primary; signs != (len(k.Wrapped) > 0) {
			t.Errorf("%s is %v and has a private half of %d bytes: who signs with it no more needs none", k.ID, k.State, len(k.Wrapped))
		}
	}
}

func TestASymmetricKeyKeepsItsSecretWhileItVerifies(t *testing.T) {
	r := must(keyset.Ring{}.Rotate(own("hs-a"), 0))(t)
	r = must(r.Rotate(own("b"), minute))(t)
	held := func(want bool) {
		t.Helper()
		if k, _ := r.Find("hs-a"); (len(k.Wrapped) > 0) != want {
			t.Errorf("%v: it has a secret of %d bytes, want one: %v", k.State, len(k.Wrapped), want)
		}
	}
	held(true)
	revoked := must(r.Revoke("hs-a", 2*minute))(t)
	r, _ = r.Step(keyset.Sign, terms, 61*minute)
	held(false)
	r = revoked
	held(true) // to tell its tokens from others'
	r, _ = r.Step(keyset.Sign, terms, 62*minute-1)
	held(true)
	r, changed := r.Step(keyset.Sign, terms, 62*minute)
	held(false) // nobody is left to be told why
	if len(changed) != 1 || changed[0].State != keyset.Revoked {
		t.Errorf("Step changed %v, want the key that was revoked", changed)
	}
}

func TestPrepareOneAtATime(t *testing.T) {
	r := must(keyset.Ring{}.Prepare(own("a"), 1))(t)
	want(t, r, "a primary") // there was none
	r = must(r.Prepare(own("b"), 2))(t)
	want(t, r, "a primary, b next")
	got, err := r.Prepare(own("c"), 3)
	if !errors.Is(err, keyset.ErrPending) || !strings.Contains(err.Error(), `"b"`) || states(got) != states(r) {
		t.Errorf("a second: %v, %s", err, states(got))
	}
	if _, err := r.Prepare(keyset.Key{ID: "x", Purpose: keyset.Seal}, 3); err != nil {
		t.Errorf("one of another purpose: %v", err)
	}
	if got, err := must(r.Drop("b", 3))(t).Prepare(own("b"), 4); !errors.Is(err, keyset.ErrDuplicate) {
		t.Errorf("one that has been: %v, %s", err, states(got))
	}
}

// Every refusal to retire, and the earliest time at which it is none.
func TestRetire(t *testing.T) {
	r := must(keyset.Ring{}.Rotate(own("old"), 0))(t)
	r = must(r.Rotate(own("primary"), 10*minute))(t)
	r = must(r.Prepare(own("next"), 20*minute))(t)
	r = must(r.Add(own("gone"), true, 0))(t)
	r = must(r.Drop("gone", 0))(t)
	r = must(r.Add(own("revoked"), true, 0))(t)
	r = must(r.Revoke("revoked", 0))(t)
	for _, c := range []struct {
		kid  string
		now  instant.Instant
		want error
	}{
		{"old", 10 * minute, &keyset.EarlyError{}},
		{"old", 70*minute - 1, &keyset.EarlyError{}},
		{"old", 70 * minute, nil},
		{"next", 20 * minute, nil}, // it has signed nothing
		{"primary", 1000 * minute, keyset.ErrSigns},
		{"gone", 1000 * minute, keyset.ErrTransition},
		{"revoked", 1000 * minute, keyset.ErrTransition},
		{"none", 1000 * minute, keyset.ErrUnknown},
	} {
		got, err := r.Retire(c.kid, terms, c.now)
		early := (*keyset.EarlyError)(nil)
		switch _, tooEarly := c.want.(*keyset.EarlyError); {
		case tooEarly:
			if !errors.As(err, &early) || early.KeyID != c.kid || early.At != 70*minute || !strings.Contains(err.Error(), early.At.String()) {
				t.Errorf("%s at %v: %v, want the earliest time, %v", c.kid, c.now, err, 70*minute)
			}
		case !errors.Is(err, c.want):
			t.Errorf("%s at %v: %v, want %v", c.kid, c.now, err, c.want)
		case err == nil:
			if k, _ := got.Find(c.kid); k.State != keyset.Gone || k.Changed != c.now || k.Wrapped != nil {
				t.Errorf("%s at %v became %+v", c.kid, c.now, k)
			}
		}
		if err != nil && states(got) != states(r) {
			t.Errorf("%s at %v was refused and changed the ring to %s", c.kid, c.now, states(got))
		}
	}
}

func TestStep(t *testing.T) {
	r := must(keyset.Ring{}.Rotate(own("a"), 0))(t)
	r = must(r.Prepare(own("b"), 10*minute))(t)
	for _, c := range []struct {
		now     instant.Instant
		want    string
		changed string
	}{
		{10 * minute, "a primary, b next", ""},
		{25*minute - 1, "a primary, b next", ""},
		{25 * minute, "a retiring, b primary", "a retiring, b primary"},
		{85*minute - 1, "a retiring, b primary", ""},
		{85 * minute, "a gone, b primary", "a gone"},
		{1000 * minute, "a gone, b primary", ""},
	} {
		next, changed := r.Step(keyset.Sign, terms, c.now)
		want(t, next, c.want)
		if got := states(keyset.Ring{Keys: changed}); got != c.changed {
			t.Errorf("at %v changed %q, want %q", c.now, got, c.changed)
		}
		if again, changed := next.Step(keyset.Sign, terms, c.now); len(changed) != 0 || fmt.Sprint(again) != fmt.Sprint(next) {
			t.Errorf("at %v a second time changed %v", c.now, changed)
		}
		r = next
	}
	for _, k := range r.Keys {
		if k.ID == "b" && k.Changed != 25*minute {
			t.Errorf("b signs since %v", k.Changed)
		}
	}
	late := must(keyset.Ring{}.Rotate(own("a"), 0))(t)
	late = must(late.Prepare(own("b"), 0))(t)
	late, _ = late.Step(keyset.Sign, terms, 1000*minute) // nobody was there for long: the tokens of a are as old as its last moment
	want(t, late, "a retiring, b primary")
}

// Keys that settings give stay what the settings say until the first rotation, however old.
func TestStepLeavesGivenKeysAlone(t *testing.T) {
	r, _ := keyset.Ring{}.Give(setting("one"), []keyset.Key{setting("zero")}, 0)
	same, changed := r.Step(keyset.Sign, terms, 1000*minute)
	if len(changed) != 0 || states(same) != "one primary, zero retiring" {
		t.Errorf("before a rotation: %s", states(same))
	}
	r = must(r.Rotate(own("a"), 1000*minute))(t)
	r, _ = r.Step(keyset.Sign, terms, 1000*minute)
	want(t, r, "one retiring, zero gone, a primary") // zero signed nothing for long
	r, _ = r.Step(keyset.Sign, terms, 1060*minute)
	want(t, r, "one gone, zero gone, a primary")
}

func TestWantsNext(t *testing.T) {
	often := keyset.Terms{Publish: 15 * time.Minute, Tokens: time.Hour, Rotate: 5 * time.Minute}
	daily := keyset.Terms{Publish: 15 * time.Minute, Tokens: time.Hour, Rotate: 24 * time.Hour}
	r := must(keyset.Ring{}.Rotate(own("a"), 0))(t)
	pending := must(r.Prepare(own("b"), 0))(t)
	for _, c := range []struct {
		r    keyset.Ring
		t    keyset.Terms
		now  instant.Instant
		want bool
	}{
		{r, terms, 100_000 * minute, false}, // by hand alone
		{r, daily, (24*60-15)*minute - 1, false},
		{r, daily, (24*60 - 15) * minute, true}, // so that it signs when the day is over
		{r, daily, 100_000 * minute, true},
		{r, often, 0, true}, // as often as can be
		{pending, daily, 100_000 * minute, false},
		{keyset.Ring{}, daily, 100_000 * minute, false}, // nothing to follow
	} {
		if got := c.r.WantsNext(keyset.Sign, c.t, c.now); got != c.want {
			t.Errorf("%s, every %v, at %v: %v", states(c.r), c.t.Rotate, c.now, got)
		}
	}
}

// What is foretold of a key is what Step makes of it, and when.
func TestOutlook(t *testing.T) {
	r := must(keyset.Ring{}.Rotate(own("a"), 0))(t)
	ahead := func(r keyset.Ring, kid string, t keyset.Terms) keyset.Outlook {
		k, _ := r.Find(kid)
		return r.Outlook(k, t)
	}
	daily := terms
	daily.Rotate = 24 * time.Hour
	often := terms
	often.Rotate = time.Minute
	next := must(r.Prepare(own("b"), 5*minute))(t)
	after, _ := next.Step(keyset.Sign, terms, 20*minute)
	over, _ := after.Step(keyset.Sign, terms, 80*minute)
	before, _ := keyset.Ring{}.Give(setting("one"), []keyset.Key{setting("zero")}, 0)
	for name, c := range map[string]struct{ got, want keyset.Outlook }{
		"signs, by hand":       {ahead(r, "a", terms), keyset.Outlook{Then: keyset.Retiring}},
		"signs, daily":         {ahead(r, "a", daily), keyset.Outlook{Then: keyset.Retiring, At: 24 * 60 * minute}},
		"signs, too often":     {ahead(r, "a", often), keyset.Outlook{Then: keyset.Retiring, At: 15 * minute}},
		"signs, one waits":     {ahead(next, "a", terms), keyset.Outlook{Then: keyset.Retiring, At: 20 * minute}},
		"waits":                {ahead(next, "b", terms), keyset.Outlook{Then: keyset.Primary, At: 20 * minute}},
		"verifies":             {ahead(after, "a", terms), keyset.Outlook{Then: keyset.Gone, At: 80 * minute}},
		"gone":                 {ahead(over, "a", terms), keyset.Outlook{}},
		"revoked":              {ahead(must(after.Revoke("a", 30*minute))(t), "a", terms), keyset.Outlook{}},
		"given, verifies only": {ahead(before, "zero", terms), keyset.Outlook{}},
	} {
		if c.got != c.want {
			t.Errorf("%s: %+v, want %+v", name, c.got, c.want)
		}
	}
}

func TestGive(t *testing.T) {
	give := func(r keyset.Ring, current string, previous ...string) (keyset.Ring, []string) {
		k, all := keyset.Key{}, []keyset.Key{}
		if current != "" {
			k = setting(current)
		}
		for _, p := range previous {
			all = append(all, setting(p))
		}
		r.Keys = slices.Clone(r.Keys)
		for i := range r.Keys {
			r.Keys[i].Secret = secret.Text{} // as it is stored
		}
		return r.Give(k, all, 9)
	}
	first, _ := give(keyset.Ring{}, "one")
	second, _ := give(first, "two", "one")
	none, _ := give(keyset.Ring{}, "")
	rotated := must(second.Rotate(own("own"), 10))(t)
	revoked := must(rotated.Revoke("two", 11))(t)
	gone := must(first.Add(keyset.Key{ID: "zero", Purpose: keyset.Sign}, true, 1))(t)
	gone = must(gone.Drop("zero", 2))(t)
	early := must(second.Revoke("one", 3))(t) // before any rotation
	waiting := must(first.Prepare(own("own"), 3))(t)
	for name, c := range map[string]struct {
		r        keyset.Ring
		current  string
		previous []string
		want     string
		unused   string
	}{
		"nothing":                           {none, "", nil, "", "[]"},
		"previous alone":                    {none, "", []string{"zero"}, "zero retiring", "[]"},
		"the same again":                    {second, "two", []string{"one"}, "one retiring, two primary", "[]"},
		"back to the one before":            {second, "one", []string{"two"}, "one primary, two retiring", "[]"},
		"another, and none before":          {second, "three", nil, "one retiring, two retiring, three primary", "[]"},
		"nothing any more":                  {second, "", nil, "one retiring, two primary", "[]"},
		"one is both":                       {first, "one", []string{"one", "one"}, "one primary", "[]"},
		"twice before":                      {first, "one", []string{"zero", "zero"}, "one primary, zero retiring", "[]"},
		"gone signs again by a setting":     {gone, "zero", []string{"one"}, "one retiring, zero primary", "[]"},
		"gone does not verify again":        {gone, "one", []string{"zero"}, "one primary, zero gone", "[]"},
		"one waits to sign":                 {waiting, "two", []string{"one"}, "one retiring, own next, two primary", "[]"},
		"revoked, to sign again":            {early, "one", nil, "one revoked, two retiring", "[]"},
		"after a rotation":                  {rotated, "two", []string{"one"}, "one retiring, two retiring, own primary", "[]"},
		"after a rotation, a new one":       {rotated, "three", []string{"four"}, "one retiring, two retiring, own primary", "[three four]"},
		"revoked stays so, whatever gives":  {revoked, "two", []string{"one"}, "one retiring, two revoked, own primary", "[]"},
		"revoked stays so, given as before": {revoked, "one", []string{"two"}, "one retiring, two revoked, own primary", "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			before := fmt.Sprint(c.r)
			got, unused := give(c.r, c.current, c.previous...)
			want(t, got, c.want)
			if fmt.Sprint(unused) != c.unused {
				t.Errorf("unused: %v, want %s", unused, c.unused)
			}
			if fmt.Sprint(c.r) != before {
				t.Error("the ring that was asked changed")
			}
			for _, k := range got.Keys {
				given := k.ID == c.current || slices.Contains(c.previous, k.ID)
				if given != !k.Secret.IsZero() {
					t.Errorf("%s is given: %v, and has a secret: %v", k.ID, given, !k.Secret.IsZero())
				}
			}
		})
	}
}

func TestHeldAndWithdrawn(t *testing.T) {
	r, _ := keyset.Ring{}.Give(setting("one"), []keyset.Key{setting("zero")}, 0)
	r = must(r.Rotate(own("a"), 1))(t)
	r = must(r.Prepare(own("b"), 2))(t)
	for i := range r.Keys {
		if r.Keys[i].ID == "zero" {
			r.Keys[i].Secret = secret.Text{}
		}
	}
	want(t, r.Held(), "one retiring, zero gone, a primary, b next")
	for revoked, what := range map[string]string{
		"":       "one retiring, zero retiring, a primary, b next",
		"one":    "one revoked, zero retiring, a primary, b next",
		"b":      "one retiring, zero retiring, a primary, b revoked",
		"a":      "one retiring, zero retiring, a revoked, b primary",
		"a zero": "one retiring, zero revoked, a revoked, b primary",
		"a b":    "one retiring, zero retiring, a revoked, b revoked", // nothing signs
	} {
		got := r.Withdrawn(func(kid string) bool { return slices.Contains(strings.Fields(revoked), kid) }, 7)
		want(t, got, what)
		for _, k := range got.Keys {
			if k.State == keyset.Revoked && k.Changed != 7 {
				t.Errorf("%s was revoked at %v", k.ID, k.Changed)
			}
		}
	}
	want(t, r, "one retiring, zero retiring, a primary, b next")
	again := r.Withdrawn(func(kid string) bool { return kid == "one" }, 7).Withdrawn(func(kid string) bool { return kid == "one" }, 8)
	if k, _ := again.Find("one"); k.Changed != 7 {
		t.Errorf("revoked at 7, it says %v", k.Changed)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	r := must(keyset.Ring{}.Rotate(own("a"), 0))(t)
	for i := range keyset.MaxGone + 10 {
		k := own(fmt.Sprint("dead-", i))
		k.State, k.Changed = keyset.Gone, instant.Instant(1000-i%100) // out of order
		if i%5 == 0 {
			k.State = keyset.Revoked
		}
		r.Keys = append(r.Keys, k)
	}
	for i := range 250 {
		k := own(fmt.Sprint("more-", i))
		k.State, k.Changed = keyset.Gone, instant.Instant(5000+i)
		r.Keys = append(r.Keys, k)
	}
	count := func(r keyset.Ring) (n map[keyset.State]int, oldest instant.Instant) {
		n, oldest = map[keyset.State]int{}, instant.Forever
		for _, k := range r.Keys {
			if n[k.State]++; k.State == keyset.Gone {
				oldest = min(oldest, k.Changed)
			}
		}
		return n, oldest
	}
	before, first := count(r)
	got, _ := r.Step(keyset.Sign, terms, 6000)
	after, oldest := count(got)
	if after[keyset.Gone] != keyset.MaxGone || after[keyset.Revoked] != before[keyset.Revoked] || after[keyset.Primary] != 1 || oldest <= first {
		t.Errorf("%v became %v, the oldest of %v instead of %v: want the newest %d that are gone, and all that were revoked", before, after, oldest, first, keyset.MaxGone)
	}
	for i := range 250 {
		if _, ok := got.Find(fmt.Sprint("more-", i)); !ok {
			t.Fatalf("the newest were forgotten: more-%d", i)
		}
	}
}

// fate is what a test remembers of one key.
type fate struct {
	signed instant.Instant // when it last signed; -1: never
	over   bool            // it was gone or revoked
	given  bool            // a setting gave it: until the first rotation settings may bring it back
}

// Whatever operators, settings and time do to the keys that sign, and whenever the system is looked after: one key signs, once there is one; a key only goes where it may;
// none verifies again that was ended; none goes while tokens of it are good; no secret is kept of what is gone.
func TestALifeOfKeysThatSign(t *testing.T) { rapid.Check(t, livesAsKeysThatSign) }

// FuzzKeysThatSign walks as TestALifeOfKeysThatSign does, along ways that reach new code.
func FuzzKeysThatSign(f *testing.F) {
	ways(f)
	f.Fuzz(rapid.MakeFuzz(livesAsKeysThatSign))
}

func livesAsKeysThatSign(t *rapid.T) {
	follows := map[keyset.State][]keyset.State{
		keyset.Next:     {keyset.Primary, keyset.Retiring, keyset.Gone, keyset.Revoked}, // a long night: it signed, and was followed
		keyset.Primary:  {keyset.Retiring, keyset.Gone, keyset.Revoked},
		keyset.Retiring: {keyset.Gone, keyset.Revoked},
		keyset.Gone:     {keyset.Revoked},
	}
	var r keyset.Ring
	fates := map[string]*fate{}
	terms := keyset.Terms{Publish: time.Duration(rapid.IntRange(0, 30).Draw(t, "publish")) * time.Minute, Tokens: time.Duration(rapid.IntRange(1, 60).Draw(t, "tokens")) * time.Minute, Rotate: time.Duration(rapid.IntRange(0, 90).Draw(t, "rotate")) * time.Minute}
	now, made, rotated := instant.Instant(minute), 0, false
	fresh := func() keyset.Key {
		made++
		if rapid.Bool().Draw(t, "symmetric") {
			return own(fmt.Sprint("hs-", made))
		}
		return own(fmt.Sprint("k", made))
	}
	for range rapid.IntRange(1, 60).Draw(t, "steps") {
		was, before := r, fmt.Sprint(r)
		now += instant.Instant(rapid.IntRange(0, 20).Draw(t, "minutes")) * minute
		if k, ok := r.Primary(keyset.Sign); ok && rapid.Bool().Draw(t, "signs") {
			fates[k.ID].signed = now
		}
		kid := "none"
		if len(r.Keys) > 0 {
			kid = rapid.SampledFrom(r.Keys).Draw(t, "key").ID
		}
		var err error
		settings := false
		switch rapid.SampledFrom([]string{"rotate", "rotate to next", "prepare", "retire", "revoke", "step", "step", "settings"}).Draw(t, "what") {
		case "rotate":
			r, err = r.Rotate(fresh(), now)
		case "rotate to next":
			k, _ := r.Find(kid)
			if k.ID == "" {
				k = fresh()
			}
			r, err = r.Rotate(k, now)
		case "prepare":
			r, err = r.Prepare(fresh(), now)
		case "retire":
			r, err = r.Retire(kid, terms, now)
		case "revoke":
			if k, _ := r.Find(kid); k.State == keyset.Primary {
				if next, err := r.Prepare(fresh(), now); err == nil {
					r = next
				}
			}
			if r, err = r.Revoke(kid, now); err != nil {
				r = was
			}
		case "step":
			if r.WantsNext(keyset.Sign, terms, now) {
				if r, err = r.Prepare(fresh(), now); err != nil {
					t.Fatalf("it wants a next key, and takes none: %v", err)
				}
			}
			var changed []keyset.Key
			middle := r
			r, changed = r.Step(keyset.Sign, terms, now)
			for _, k := range middle.Keys {
				is, ok := r.Find(k.ID)
				told := slices.ContainsFunc(changed, func(c keyset.Key) bool { return c.ID == k.ID })
				if ok && told != (is.State != k.State || len(is.Wrapped) != len(k.Wrapped)) {
					t.Fatalf("%s went from %v to %v, told: %v", k.ID, k.State, is.State, told)
				}
			}
			if again, more := r.Step(keyset.Sign, terms, now); len(more) > 0 || fmt.Sprint(again) != fmt.Sprint(r) {
				t.Fatalf("a second step at once changed %v", more)
			}
		case "settings":
			settings = true
			ids := rapid.SliceOfN(rapid.SampledFrom([]string{"s1", "s2", "s3"}), 1, 3).Draw(t, "given")
			var previous []keyset.Key
			for _, id := range ids[1:] {
				previous = append(previous, setting(id))
			}
			if k, _ := r.Find(ids[0]); k.State == keyset.Revoked {
				continue // whoever starts with such a one is refused
			}
			r, _ = r.Give(setting(ids[0]), previous, now)
			for i := range r.Keys {
				r.Keys[i].Secret = secret.Text{} // as it is stored
			}
		}
		if fmt.Sprint(was) != before {
			t.Fatal("the ring that was asked changed")
		}
		if err != nil && fmt.Sprint(r) != before {
			t.Fatalf("refused (%v), and %s became %s", err, states(was), states(r))
		}
		primaries := 0
		for _, k := range r.Keys {
			f := fates[k.ID]
			if f == nil {
				f = &fate{signed: -1, given: strings.HasPrefix(k.ID, "s")}
				fates[k.ID] = f
			}
			if k.State == keyset.Primary {
				primaries++
			}
			old, ok := was.Find(k.ID)
			bySetting := settings && f.given && !rotated
			if ok && old.State != k.State && !bySetting && !slices.Contains(follows[old.State], k.State) {
				t.Fatalf("%s went from %v to %v", k.ID, old.State, k.State)
			}
			if ok && old.State != k.State && k.Changed != now {
				t.Fatalf("%s went from %v to %v at %v, and it says %v", k.ID, old.State, k.State, now, k.Changed)
			}
			if ok && old.State == keyset.Revoked && k.State != keyset.Revoked {
				t.Fatalf("%s was revoked and is %v", k.ID, k.State)
			}
			if ok && old.State == keyset.Gone && k.State == keyset.Retiring {
				t.Fatalf("%s was gone and verifies", k.ID)
			}
			if f.over && k.State.Verifies() && !(f.given && !rotated) {
				t.Fatalf("%s had ended and is %v", k.ID, k.State)
			}
			f.over = !k.State.Verifies()
			if k.State == keyset.Gone && ok && old.State != keyset.Gone && f.signed >= 0 && now < f.signed.Add(terms.Tokens) {
				t.Fatalf("%s is gone at %v, and signed at %v: its tokens last %v", k.ID, now, f.signed, terms.Tokens)
			}
			if (k.State == keyset.Gone || len(k.Public) > 0 && k.State != keyset.Primary && k.State != keyset.Next) && len(k.Wrapped) > 0 {
				t.Fatalf("%s is %v and keeps a private half", k.ID, k.State)
			}
			if (k.State == keyset.Primary || k.State == keyset.Next) && !f.given && len(k.Wrapped) == 0 {
				t.Fatalf("%s is %v and has no private half", k.ID, k.State)
			}
		}
		if had := len(was.Keys) > 0; primaries != 1 && (had || primaries > 1) {
			t.Fatalf("%d keys sign: %s", primaries, states(r))
		}
		if k, ok := r.Primary(keyset.Sign); ok && !fates[k.ID].given {
			rotated = true
		} else if rotated {
			t.Fatalf("a setting took the keys back: %s", states(r))
		}
	}
}
