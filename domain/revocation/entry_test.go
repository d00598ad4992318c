package revocation_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/token"
)

// oneOfEach is a valid entry of each kind.
func oneOfEach() map[revocation.Kind]revocation.Entry {
	const at, until = instant.Instant(1_000_000), instant.Instant(2_000_000)
	base := revocation.Entry{By: "operator", Note: "stolen laptop", At: at, Until: until}
	with := func(kind revocation.Kind, why revocation.Reason, set func(*revocation.Entry)) revocation.Entry {
		e := base
		e.Kind, e.Reason = kind, why
		set(&e)
		return e
	}
	all := map[revocation.Kind]revocation.Entry{}
	for _, e := range []revocation.Entry{
		with(revocation.Token, revocation.Logout, func(e *revocation.Entry) { e.Token = id.Token{1} }),
		with(revocation.Session, revocation.RefreshReuse, func(e *revocation.Entry) { e.Session = id.Session{1} }),
		with(revocation.User, revocation.UserDisabled, func(e *revocation.Entry) { e.User, e.Min = id.User{1}, 7 }),
		with(revocation.Key, revocation.KeyRevoked, func(e *revocation.Entry) { e.KeyID, e.Until = "kid-1", instant.Forever }),
		with(revocation.Epoch, revocation.EpochRaised, func(e *revocation.Entry) { e.Epoch, e.Until = 3, instant.Forever }),
		with(revocation.IssuedBefore, revocation.BeforeTime, func(e *revocation.Entry) { e.Before = at - 1 }),
		with(revocation.APIKey, revocation.KeyRevoked, func(e *revocation.Entry) { e.APIKey = id.APIKey{1} }),
	} {
		all[e.Kind] = e
	}
	return all
}

func TestAnEntryNamesExactlyWhatItsKindSays(t *testing.T) {
	all := oneOfEach()
	if len(all) != 7 {
		t.Fatalf("%d kinds, want 7", len(all))
	}
	name := map[revocation.Kind]func(to, from *revocation.Entry){
		revocation.Token:        func(to, from *revocation.Entry) { to.Token = from.Token },
		revocation.Session:      func(to, from *revocation.Entry) { to.Session = from.Session },
		revocation.User:         func(to, from *revocation.Entry) { to.User, to.Min = from.User, from.Min },
		revocation.Key:          func(to, from *revocation.Entry) { to.KeyID = from.KeyID },
		revocation.Epoch:        func(to, from *revocation.Entry) { to.Epoch = from.Epoch },
		revocation.IssuedBefore: func(to, from *revocation.Entry) { to.Before = from.Before },
		revocation.APIKey:       func(to, from *revocation.Entry) { to.APIKey = from.APIKey },
	}
	for kind, e := range all {
		if err := e.Validate(); err != nil {
			t.Errorf("%v: %v", kind, err)
		}
		for other, from := range all {
			if two := e; other != kind {
				name[other](&two, &from)
				if err := two.Validate(); !errors.Is(err, revocation.ErrInvalid) {
					t.Errorf("a %v entry that names a %v too: %v, want ErrInvalid", kind, other, err)
				}
			}
		}
		none, empty := e, revocation.Entry{}
		name[kind](&none, &empty)
		if err := none.Validate(); !errors.Is(err, revocation.ErrInvalid) {
			t.Errorf("a %v entry that names nothing: %v, want ErrInvalid", kind, err)
		}
	}
}

func TestAnEntryIsRefused(t *testing.T) {
	all := oneOfEach()
	for name, c := range map[string]struct {
		kind  revocation.Kind
		spoil func(*revocation.Entry)
	}{
		"no kind":                {revocation.Token, func(e *revocation.Entry) { e.Kind = 0 }},
		"a kind to come":         {revocation.Token, func(e *revocation.Entry) { e.Kind = 8 }},
		"no reason":              {revocation.Token, func(e *revocation.Entry) { e.Reason = 0 }},
		"a reason to come":       {revocation.Token, func(e *revocation.Entry) { e.Reason = 11 }},
		"no time":                {revocation.Token, func(e *revocation.Entry) { e.At = 0 }},
		"a time before 1970":     {revocation.Token, func(e *revocation.Entry) { e.At = -1 }},
		"no end":                 {revocation.Token, func(e *revocation.Entry) { e.Until = 0 }},
		"an end as it begins":    {revocation.Token, func(e *revocation.Entry) { e.Until = e.At }},
		"a long name of who":     {revocation.Token, func(e *revocation.Entry) { e.By = strings.Repeat("x", 65) }},
		"a long note":            {revocation.Token, func(e *revocation.Entry) { e.Note = strings.Repeat("x", 501) }},
		"generation 0":           {revocation.User, func(e *revocation.Entry) { e.Min = 0 }},
		"a generation below":     {revocation.User, func(e *revocation.Entry) { e.Min = -1 }},
		"a generation of nobody": {revocation.User, func(e *revocation.Entry) { e.User = id.User{} }},
		"a long kid":             {revocation.Key, func(e *revocation.Entry) { e.KeyID = strings.Repeat("k", revocation.MaxKeyID+1) }},
		"a key for a while":      {revocation.Key, func(e *revocation.Entry) { e.Until = instant.Forever - 1 }},
		"an epoch for a while":   {revocation.Epoch, func(e *revocation.Entry) { e.Until = instant.Forever - 1 }},
		"an epoch below":         {revocation.Epoch, func(e *revocation.Entry) { e.Epoch = -1 }},
		"before what is to come": {revocation.IssuedBefore, func(e *revocation.Entry) { e.Before = e.At + 1 }},
		"before 1970":            {revocation.IssuedBefore, func(e *revocation.Entry) { e.Before = -1 }},
	} {
		t.Run(name, func(t *testing.T) {
			e := all[c.kind]
			c.spoil(&e)
			if err := e.Validate(); !errors.Is(err, revocation.ErrInvalid) {
				t.Errorf("Validate = %v, want ErrInvalid", err)
			}
		})
	}
	for name, c := range map[string]struct {
		kind revocation.Kind
		set  func(*revocation.Entry)
	}{
		"the longest texts": {revocation.Session, func(e *revocation.Entry) { e.By, e.Note = strings.Repeat("x", 64), strings.Repeat("x", 500) }},
		"nobody, no words":  {revocation.Session, func(e *revocation.Entry) { e.By, e.Note = "", "" }},
		"the longest kid":   {revocation.Key, func(e *revocation.Entry) { e.KeyID = strings.Repeat("k", revocation.MaxKeyID) }},
		"before now":        {revocation.IssuedBefore, func(e *revocation.Entry) { e.Before = e.At }},
		"the shortest life": {revocation.Token, func(e *revocation.Entry) { e.Until = e.At + 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			e := all[c.kind]
			c.set(&e)
			if err := e.Validate(); err != nil {
				t.Errorf("Validate = %v, want nil", err)
			}
		})
	}
}

func TestTheFormOfAKey(t *testing.T) {
	user := id.User{0: 0xaa, 15: 0xbb}
	for _, c := range []struct {
		e    revocation.Entry
		want string
	}{
		{revocation.Entry{Kind: revocation.Token, Token: id.Token(user)}, "\x01" + string(user[:])},
		{revocation.Entry{Kind: revocation.Session, Session: id.Session(user)}, "\x02" + string(user[:])},
		{revocation.Entry{Kind: revocation.User, User: user, Min: 0x0102}, "\x03" + string(user[:]) + "\x00\x00\x00\x00\x00\x00\x01\x02"},
		{revocation.Entry{Kind: revocation.Key, KeyID: "kid-1"}, "\x04kid-1"},
		{revocation.Entry{Kind: revocation.Epoch, Epoch: math.MaxInt64}, "\x05\x7f\xff\xff\xff\xff\xff\xff\xff"},
		{revocation.Entry{Kind: revocation.IssuedBefore, Before: 0x0102030405060708}, "\x06\x01\x02\x03\x04\x05\x06\x07\x08"},
		{revocation.Entry{Kind: revocation.APIKey, APIKey: id.APIKey(user)}, "\x07" + string(user[:])},
		{revocation.Entry{Kind: 9}, ""},
	} {
		if got := c.e.Key(); got != c.want {
			t.Errorf("the key of a %v entry is %q, want %q: stores have it on disk", c.e.Kind, got, c.want)
		}
	}
}

func TestNamesAreThoseOfTheContract(t *testing.T) {
	for k, want := range map[revocation.Kind]string{0: "kind(0)", 1: "jti", 2: "sid", 3: "user", 4: "kid", 5: "epoch", 6: "issued_before", 7: "api_key", 8: "kind(8)", 255: "kind(255)"} {
		if got := k.String(); got != want {
			t.Errorf("kind %d is called %q, want %q", uint8(k), got, want)
		}
	}
	for r, want := range map[revocation.Reason]string{0: "reason(0)", 1: "logout", 2: "session_ended", 3: "user_revoked", 4: "password_changed", 5: "role_changed",
		6: "user_disabled", 7: "key_revoked", 8: "refresh_reuse", 9: "issued_before", 10: "epoch", 11: "reason(11)", 255: "reason(255)"} {
		if got := r.String(); got != want {
			t.Errorf("reason %d is called %q, want %q", uint8(r), got, want)
		}
	}
	err := &revocation.RevokedError{Verdict: revocation.Verdict{Kind: revocation.User, Reason: revocation.RoleChanged, At: 1}}
	if want := "the access token is revoked: role_changed"; err.Error() != want {
		t.Errorf("the refusal reads %q, want %q", err, want)
	}
	err.Kind = revocation.APIKey
	if want := "the API key is revoked: role_changed"; err.Error() != want {
		t.Errorf("the refusal reads %q, want %q", err, want)
	}
}

// anyEntry is an entry of whatever fields, valid or not.
func anyEntry(kind uint8, b []byte, kid string, n int64, reason uint8, at, until int64) revocation.Entry {
	var v [16]byte
	copy(v[:], b)
	e := revocation.Entry{Kind: revocation.Kind(kind), Reason: revocation.Reason(reason), At: instant.Instant(at), Until: instant.Instant(until)}
	switch e.Kind {
	case revocation.Token:
		e.Token = v
	case revocation.Session:
		e.Session = v
	case revocation.User:
		e.User, e.Min = v, token.Generation(n)
	case revocation.Key:
		e.KeyID = kid
	case revocation.Epoch:
		e.Epoch = token.Epoch(n)
	case revocation.IssuedBefore:
		e.Before = instant.Instant(n)
	case revocation.APIKey:
		e.APIKey = v
	}
	return e
}

// named is what an entry names, without why, by whom and when.
func named(e revocation.Entry) revocation.Entry {
	e.Reason, e.By, e.Note, e.At, e.Until = 0, "", "", 0, 0
	return e
}

func TestOneKeyIsOneName(t *testing.T) {
	few := rapid.Custom(func(t *rapid.T) revocation.Entry {
		return anyEntry(rapid.Uint8Range(1, 7).Draw(t, "kind"), rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1}), 1, 16).Draw(t, "id"),
			rapid.SampledFrom([]string{"a", "b", "\x00", "\x00\x00\x00\x00\x00\x00\x00\x01"}).Draw(t, "kid"), rapid.Int64Range(1, 3).Draw(t, "n"), rapid.Uint8().Draw(t, "reason"),
			rapid.Int64().Draw(t, "at"), rapid.Int64().Draw(t, "until"))
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := few.Draw(t, "a"), few.Draw(t, "b")
		if got, want := a.Key() == b.Key(), named(a) == named(b); got != want {
			t.Fatalf("one key: %v, one name: %v, of\n%+v\n%+v", got, want, a, b)
		}
	})
}

func FuzzEntry(f *testing.F) {
	for _, e := range oneOfEach() {
		f.Add(uint8(e.Kind), []byte{1}, e.KeyID, int64(e.Min)+int64(e.Epoch)+int64(e.Before), uint8(e.Reason), int64(e.At), int64(e.Until))
	}
	f.Add(uint8(0), []byte(nil), "", int64(0), uint8(0), int64(0), int64(0))
	f.Add(uint8(6), []byte(nil), "", int64(math.MinInt64), uint8(255), int64(math.MaxInt64), int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, kind uint8, b []byte, kid string, n int64, reason uint8, at, until int64) {
		e := anyEntry(kind, b, kid, n, reason, at, until)
		before := e
		err, key := e.Validate(), e.Key()
		switch {
		case e != before:
			t.Errorf("%+v became %+v", before, e)
		case err != nil && !errors.Is(err, revocation.ErrInvalid):
			t.Errorf("Validate = %v, want ErrInvalid", err)
		case err == nil && (len(key) < 2 || key[0] != kind || len(key) > 1+revocation.MaxKeyID):
			t.Errorf("a valid %v entry has the key %q", e.Kind, key)
		case err == nil && (e.At >= e.Until || e.Kind == revocation.Key && e.Until != instant.Forever):
			t.Errorf("an entry is valid from %v until %v", e.At, e.Until)
		case err == nil && strings.Contains(e.Kind.String()+e.Reason.String(), "("):
			t.Errorf("a valid entry has no name: %v, %v", e.Kind, e.Reason)
		}
	})
}

// TestNamed: a key tells what its entry names, and what is no key is refused.
func TestNamed(t *testing.T) {
	for _, e := range []revocation.Entry{
		{Kind: revocation.Token, Token: id.Token{1}}, {Kind: revocation.Session, Session: id.Session{2}}, {Kind: revocation.User, User: id.User{3}, Min: 1 << 40}, {Kind: revocation.Key, KeyID: "a key"},
		{Kind: revocation.Epoch, Epoch: 7}, {Kind: revocation.IssuedBefore, Before: 1 << 50}, {Kind: revocation.APIKey, APIKey: id.APIKey{4}},
	} {
		key := e.Key()
		if got, ok := revocation.Named([]byte(key)); !ok || got != e {
			t.Errorf("%s: got %+v, %v", e.Kind, got, ok)
		}
		for _, bad := range []string{"", key[:1], "\x09" + key[1:]} {
			if got, ok := revocation.Named([]byte(bad)); ok {
				t.Errorf("%s: %q was taken for %+v", e.Kind, bad, got)
			}
		}
	}
	if _, ok := revocation.Named([]byte("\x04" + strings.Repeat("k", revocation.MaxKeyID+1))); ok {
		t.Error("a kid that is too long was taken")
	}
}
