package porttest

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/upload"
	"github.com/xteam/xteam/ports"
)

// patience is how long a condition is waited for before a test fails. It is no part of what is proved: a slow machine only waits.
const patience = time.Minute

// crowd is how many goroutines contend.
const crowd = 64

// same compares values of the domain whole. A nil slice or map equals an empty one; where nil means something, a subtest looks at it.
var same = cmp.Options{
	cmp.Comparer(func(a, b secret.Text) bool { return a.Equal(b) }),
	cmpopts.EquateComparable(account.Email{}, account.Username{}, account.FullName{}, apikey.Name{}, session.Places{}, upload.Label{}, netip.Addr{}, netip.Prefix{}),
	cmpopts.EquateEmpty(),
}

// differ tells how got is not what it should be, or nothing. Most of what is compared is equal, and found to be so without cmp, which takes its time.
func differ[V any](want, got V) string {
	if reflect.DeepEqual(want, got) {
		return ""
	}
	return cmp.Diff(want, got, same)
}

// opened opens a store on a new folder and closes it when the test is over.
func opened(t testing.TB, open Open) Store {
	t.Helper()
	s := open(t, t.TempDir())
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// sub runs a subtest beside others, as each has a store of its own.
func sub(t *testing.T, sentence string, test func(t *testing.T)) {
	t.Helper()
	t.Run(sentence, func(t *testing.T) {
		t.Parallel()
		test(t)
	})
}

func wall() instant.Instant { return instant.Of(time.Now()) }

func newID[T ~[16]byte]() T {
	v, err := id.New[T](rand.Reader)
	if err != nil {
		panic(err)
	}
	return v
}

var serial atomic.Int64

// unique is a short text that no other call gives.
func unique() string { return fmt.Sprintf("%s-%d", newID[id.Event]().String()[:8], serial.Add(1)) }

func must[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}

func email(name string) account.Email { return must(account.ParseEmail(name + "@example.com")) }

func username(name string) account.Username { return must(account.ParseUsername(name)) }

// newAccount is an account with a new name and no field zero.
func newAccount() account.Account {
	name := "Ann." + unique()
	at := wall()
	return account.Account{ID: newID[id.User](), Email: email(name), Username: username(name), FullName: must(account.ParseFullName("Ann Ångström 李")),
		Role: account.RoleAdmin, Password: secret.New("$2a$12$" + name), Disabled: true, Decoy: true,
		Generation: 1 << 40, SessionsFrom: 1<<40 - 1, SessionsEnded: revocation.PasswordChanged, KeysFrom: 1<<40 - 2, KeysEnded: revocation.UserDisabled,
		Places: places(), Created: at, Updated: at + 1}
}

// newSession is a session with no field zero.
func newSession() session.Session {
	at := wall()
	return session.Session{ID: newID[id.Session](), User: newID[id.User](), Generation: 1 << 41, Epoch: 1 << 42,
		Counter: 1 << 43, LiveHash: [32]byte{1, 31: 2}, Idle: at + 2e12,
		Last:    session.Rotation{At: at + 3, From: origin("2001:db8::7%eth0"), Successor: []byte("a sealed \x00 successor")},
		Created: at, LastUsed: at + 4, Expires: at + 3e12, Device: origin("192.0.2.1"), LastFrom: origin("::ffff:192.0.2.2"),
		Ended: at + 5, EndedReason: revocation.RefreshReuse}
}

func origin(address string) session.Origin {
	return session.Origin{Address: netip.MustParseAddr(address), UserAgent: "Mozilla/5.0 \x7f é " + address}
}

// newRing is a ring with a new name and no field zero but the secrets.
func newRing() keyset.Ring {
	at := wall()
	r := keyset.Ring{Name: "ring-" + unique()}
	for i, s := range []keyset.State{keyset.Next, keyset.Primary, keyset.Retiring, keyset.Gone, keyset.Revoked} {
		r.Keys = append(r.Keys, keyset.Key{ID: fmt.Sprintf("k%d", 9-i), Purpose: keyset.Sign, Algorithm: "ES256", State: s,
			Created: at + instant.Instant(i), Changed: at + 9, Public: []byte{0, byte(i)}, Wrapped: []byte{0xff, byte(i), 0}})
	}
	return r
}

// newEntry withdraws one token, which no other call names.
func newEntry() revocation.Entry {
	at := wall()
	return revocation.Entry{Kind: revocation.Token, Token: newID[id.Token](), Reason: revocation.Logout, By: "operator", Note: "noted é", At: at, Until: at.Add(time.Hour)}
}

// newEntries withdraws n tokens.
func newEntries(n int) []revocation.Entry {
	all := make([]revocation.Entry, n)
	for i := range all {
		all[i] = newEntry()
	}
	return all
}

// ofEachKind is one entry of each kind.
func ofEachKind() []revocation.Entry {
	at := wall()
	all := []revocation.Entry{
		{Kind: revocation.Token, Token: newID[id.Token](), Reason: revocation.Logout},
		{Kind: revocation.Session, Session: newID[id.Session](), Reason: revocation.SessionEnded},
		{Kind: revocation.User, User: newID[id.User](), Min: 1 << 40, Reason: revocation.RoleChanged},
		{Kind: revocation.Key, KeyID: "a kid/é " + unique(), Reason: revocation.KeyRevoked, Until: instant.Forever},
		{Kind: revocation.Epoch, Epoch: 1 << 41, Reason: revocation.EpochRaised, Until: instant.Forever},
		{Kind: revocation.IssuedBefore, Before: at - 1, Reason: revocation.BeforeTime},
		{Kind: revocation.APIKey, APIKey: newID[id.APIKey](), Reason: revocation.KeyRevoked},
	}
	for i := range all {
		all[i].By, all[i].Note, all[i].At = newID[id.User]().String(), "because\n\x00", at
		if all[i].Until == 0 {
			all[i].Until = at.Add(time.Hour)
		}
	}
	return all
}

// newEvent is an event with no field zero.
func newEvent() audit.Event {
	return audit.Event{ID: newID[id.Event](), Time: wall(), Kind: audit.TokenRevoked, Severity: audit.Warning, Outcome: audit.Failure,
		Actor: "operator", Subject: unique(), Email: "ann@example.com", IPAddress: "192.0.2.1", UserAgent: "curl/8 é", RequestID: "r-1", Reason: "logout",
		Details: map[string]string{"note": "a\nb", "é": ""}}
}

func newEvents(n int) []audit.Event {
	all := make([]audit.Event, n)
	for i := range all {
		all[i] = newEvent()
	}
	return all
}

// newEffects are effects that no other call gives.
func newEffects() ports.Effects {
	return ports.Effects{Revocations: newEntries(2), Events: newEvents(2)}
}

// filled fails the test when a field of a fixture is zero: what a fixture leaves out is not proved to be kept.
func filled(t *testing.T, v any, except ...string) {
	t.Helper()
	zeroFields(reflect.ValueOf(v), reflect.TypeOf(v).Name(), func(path string) {
		for _, e := range except {
			if e == path {
				return
			}
		}
		t.Errorf("the suite's fixture leaves %s zero: fill it in", path)
	})
}

func zeroFields(v reflect.Value, path string, found func(path string)) {
	switch {
	case v.IsZero():
		found(path)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				zeroFields(v.Field(i), path+"."+f.Name, found)
			}
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		for i := range v.Len() {
			zeroFields(v.Index(i), path+"[]", found)
		}
	}
}
