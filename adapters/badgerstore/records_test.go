package badgerstore_test

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/xteam/xteam/adapters/badgerstore"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/system"
	"github.com/xteam/xteam/ports"
)

// full fails when a field of v, or of a struct in it, is zero: a field that is new in the domain has to be stored, and then shown here.
func full(t *testing.T, v any, but ...string) {
	t.Helper()
	var look func(path string, v reflect.Value)
	look = func(path string, v reflect.Value) {
		for _, b := range but {
			if path == b {
				return
			}
		}
		if v.IsZero() {
			t.Errorf("%s is zero in the test's record", path)
		}
		if v.Kind() == reflect.Struct {
			for i := range v.NumField() {
				if f := v.Type().Field(i); f.IsExported() {
					look(path+"."+f.Name, v.Field(i))
				}
			}
		}
	}
	look(reflect.TypeOf(v).Name(), reflect.ValueOf(v))
}

func TestEveryFieldIsKept(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	origin := func(a string) session.Origin {
		return session.Origin{Address: netip.MustParseAddr(a), UserAgent: "agent of " + a + " \xff\x00"}
	}
	a := account.Account{ID: newID[id.User](), Email: must(account.ParseEmail("ann@example.com")), Username: must(account.ParseUsername("Ann")),
		FullName: must(account.ParseFullName("Ann Ö.")), Role: account.RoleAdmin, Password: secret.New("$2b$"), Disabled: true, Decoy: true, Generation: 3, SessionsFrom: 2,
		SessionsEnded: revocation.UserRevoked, KeysFrom: 1, KeysEnded: revocation.UserDisabled, Places: session.Places{}.With(netip.MustParsePrefix("1.2.3.0/24"), now()), Created: -5, Updated: instant.Forever}
	full(t, a)
	x := session.Session{ID: newID[id.Session](), User: a.ID, Generation: 3, Epoch: 4, Counter: 1<<64 - 1, LiveHash: [32]byte{31: 1}, Idle: now().Add(time.Hour),
		Last: session.Rotation{At: 9, From: origin("::ffff:1.2.3.4"), Successor: []byte{0}}, Created: 1, LastUsed: 2, Expires: now().Add(2 * time.Hour),
		Device: origin("fe80::1%eth0"), LastFrom: origin("1.2.3.4"), Ended: now(), EndedReason: revocation.Logout}
	full(t, x)
	p := apikey.Key{ID: newID[id.APIKey](), Owner: a.ID, Generation: 5, Environment: apikey.Production, Name: must(apikey.ParseName("bot é")), Scopes: 1<<31 | 1, Hash: [32]byte{31: 1},
		Created: -3, Expires: now().Add(time.Hour), MadeBy: apikey.Maker{Session: newID[id.Session](), Key: newID[id.APIKey]()}, Successor: newID[id.APIKey](), Retires: now().Add(time.Minute), Revoked: now(), RevokedReason: revocation.KeyRevoked,
		LastUsed: 6, LastFrom: origin("2001:db8::1"), Uses: 1<<64 - 1,
		Networks: apikey.Networks{netip.MustParsePrefix("1.2.3.0/24"), {}, netip.MustParsePrefix("2001:db8::/64")}, Habit: apikey.Habit{Hour: 1, Uses: 1<<64 - 1, Unusual: true, Average: 1 << 63, Hours: 2}, Limit: 3, Warned: 2, Known: session.Places{}.With(netip.MustParsePrefix("1.2.3.0/24"), now()), Roamed: 7}
	full(t, p)
	k := keyset.Key{ID: "k1", Purpose: keyset.Sign, Algorithm: "ES256", State: keyset.Primary, Created: 1, Changed: 2, Public: []byte{1}, Wrapped: []byte{2}}
	full(t, k, "Key.Secret")
	r := keyset.Ring{Name: "signing", Keys: []keyset.Key{k, {ID: "k2"}}}
	st := system.State{Epoch: 1, LongestAccess: time.Hour, SessionsFrom: 2, SessionsAfter: 3}
	full(t, st)
	v := audit.Event{ID: newID[id.Event](), Time: 1, Kind: audit.TokenRevoked, Severity: audit.Critical, Outcome: audit.Failure, Actor: "a", Subject: "s", Email: "e",
		IPAddress: "i", UserAgent: "\xff", RequestID: "r", Reason: "w", Details: map[string]string{"": "", "a": "b", "c": "", "\x00": "\x00"}}
	full(t, v)
	at, until := now(), now().Add(time.Hour)
	entries := []revocation.Entry{
		{Kind: revocation.Token, Token: newID[id.Token](), Reason: revocation.Logout, By: "system", Note: "n", At: at, Until: until},
		{Kind: revocation.Session, Session: x.ID, Reason: revocation.SessionEnded, At: at, Until: until},
		{Kind: revocation.User, User: a.ID, Min: 1 << 40, Reason: revocation.UserRevoked, At: at, Until: until},
		{Kind: revocation.Key, KeyID: "k/\x00\xff", Reason: revocation.KeyRevoked, At: at, Until: instant.Forever},
		{Kind: revocation.Epoch, Epoch: 7, Reason: revocation.EpochRaised, At: at, Until: instant.Forever},
		{Kind: revocation.IssuedBefore, Before: at, Reason: revocation.BeforeTime, At: at, Until: until},
		{Kind: revocation.APIKey, APIKey: newID[id.APIKey](), Reason: revocation.KeyRevoked, At: at, Until: until},
	}
	kept := map[string]revocation.Entry{}
	for _, e := range entries {
		kept[e.Key()] = e
	}

	for _, err := range []error{
		s.Accounts().Create(t.Context(), a, ports.Effects{}),
		s.Sessions().Create(t.Context(), x, ports.Effects{Revocations: entries, Events: []audit.Event{v}}),
		s.APIKeys().Create(t.Context(), p, ports.Effects{}),
		s.Keys().Create(t.Context(), r, ports.Effects{}),
		s.System().Update(t.Context(), func(system.State) (system.State, ports.Effects, error) { return st, ports.Effects{}, nil }),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s.close(t)
	s = open(t, dir)
	defer s.close(t)
	events, _, err := s.Events().List(t.Context(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ got, want any }{
		{must(s.Accounts().Find(t.Context(), a.ID)), a},
		{must(s.Sessions().Find(t.Context(), x.ID)), x},
		{must(s.Sessions().OfUser(t.Context(), a.ID)), []session.Session{x}},
		{must(s.APIKeys().Find(t.Context(), p.ID)), p},
		{must(s.APIKeys().OfUser(t.Context(), a.ID)), []apikey.Key{p}},
		{must(s.Keys().Find(t.Context(), r.Name)), r},
		{must(s.System().Load(t.Context())), st},
		{events, []audit.Event{v}},
		{s.all(t), kept},
	} {
		if d := cmp.Diff(c.want, c.got, everything); d != "" {
			t.Errorf("%T, -want +got:\n%s", c.want, d)
		}
	}
}

// TestEventsComeBack gives all kinds of texts a turn.
func TestEventsComeBack(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.close(t)
	var after uint64
	rapid.Check(t, func(t *rapid.T) {
		bytes := rapid.Custom(func(t *rapid.T) string { return string(rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "bytes")) })
		v := anEvent()
		v.Time = instant.Instant(rapid.Int64().Draw(t, "time"))
		v.Email, v.UserAgent = bytes.Draw(t, "email"), bytes.Draw(t, "agent")
		if d := rapid.MapOf(bytes, bytes).Draw(t, "details"); len(d) > 0 {
			v.Details = d
		}
		if err := s.Events().Record(t.Context(), v); err != nil {
			t.Fatal(err)
		}
		got, last, err := s.Events().List(t.Context(), after, 10)
		if err != nil || last <= after {
			t.Fatalf("got position %d behind %d, %v", last, after, err)
		}
		after = last
		if d := cmp.Diff([]audit.Event{v}, got); d != "" {
			t.Fatalf("-want +got:\n%s", d)
		}
	})
}

// FuzzDecode: whatever stands in a value, reading it answers or fails, and what it answers is what it writes.
func FuzzDecode(f *testing.F) {
	for kind := range byte(7) {
		f.Add(kind, []byte{1})
		f.Add(kind, []byte("\x01\x01\x05\x01\x03abc"))
		f.Add(kind, []byte("\x01\x0d\x00\x0d\x00"))
		f.Add(kind, []byte("\x01\x08\x07\x01\x04\x01\x02\x03\x04"))
		f.Add(kind, []byte("\x02"))
		f.Add(kind, []byte(strings.Repeat("\xff", 40)))
	}
	f.Fuzz(func(t *testing.T, kind byte, value []byte) {
		read, again, err := badgerstore.Recode(kind, value)
		if err != nil {
			return
		}
		if d := cmp.Diff(read, again, everything, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("-read +read again:\n%s", d)
		}
	})
}
