package redisstore_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/xteam/xteam/adapters/redisstore"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	ourports "github.com/xteam/xteam/ports"
)

// ring holds the keys 1 to its number, and makes MACs under the last.
type ring uint16

func (r ring) Current() uint16 { return uint16(r) }

func (r ring) MAC(key uint16, message []byte) (sum [32]byte, ok bool) {
	if key == 0 || key > uint16(r) {
		return sum, false
	}
	h := hmac.New(sha256.New, []byte{byte(key), 'k', 'e', 'y'})
	h.Write(message)
	return [32]byte(h.Sum(nil)), true
}

// spoilt are ways in which an entry that lies in Redis cannot be read. want is what Mend makes of one that the caller knows, and of one that nobody knows.
var spoilt = map[string]struct {
	spoil          func(t *testing.T, c redis.Cmdable, key string, e *revocation.Entry)
	known, unknown string
}{
	"written by hand":            {put(func(string, *revocation.Entry) string { return "oops" }), "rewritten", "removed"},
	"empty":                      {put(func(string, *revocation.Entry) string { return "" }), "rewritten", "removed"},
	"cut off":                    {put(func(is string, _ *revocation.Entry) string { return is[:len(is)/2] }), "rewritten", "removed"},
	"another reason":             {put(func(is string, _ *revocation.Entry) string { return is[:1] + "\x05" + is[2:] }), "rewritten", "removed"},
	"another MAC":                {put(func(is string, _ *revocation.Entry) string { return is[:len(is)-1] + string([]byte{is[len(is)-1] ^ 1}) }), "rewritten", "removed"},
	"forged without a MAC":       {put(func(_ string, e *revocation.Entry) string { return redisstore.Encode(e) }), "renewed", "left"},
	"a later version":            {put(func(string, *revocation.Entry) string { return "\x03anything" }), "left", "left"},
	"under a key that is unheld": {put(func(is string, _ *revocation.Entry) string { return is[:len(is)-18] + "\x00\x09" + is[len(is)-16:] }), "left", "left"},
	"of another type": {func(t *testing.T, c redis.Cmdable, key string, _ *revocation.Entry) {
		ok(t, c.Del(t.Context(), key).Err())
		ok(t, c.RPush(t.Context(), key, "x").Err())
	}, "rewritten", "removed"},
}

func put(value func(is string, e *revocation.Entry) string) func(*testing.T, redis.Cmdable, string, *revocation.Entry) {
	return func(t *testing.T, c redis.Cmdable, key string, e *revocation.Entry) {
		is, err := c.Get(t.Context(), key).Result()
		ok(t, err)
		ok(t, c.Set(t.Context(), key, value(is, e), redis.KeepTTL).Err())
	}
}

// look is everything up to the first Caught: the keys of entries, and of what could not be read.
func look(t *testing.T, r redisstore.Revocations) (entries map[string]bool, unread []string) {
	t.Helper()
	entries = map[string]bool{}
	enough := fmt.Errorf("enough")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := r.Follow(ctx, func(n ourports.News) error {
		for i := range n.Entries {
			entries[n.Entries[i].Key()] = true
		}
		unread = append(unread, n.Unread...)
		if n.Caught {
			return enough
		}
		return nil
	}); err != enough {
		t.Fatalf("Follow: %v", err)
	}
	return entries, unread
}

// What cannot be read is told by its key and not believed, keeps nothing else from being told, and is put right: written anew when it is known, removed when it is not and no version of the program wrote it.
func TestWhatCannotBeReadIsMended(t *testing.T) {
	for what, c := range spoilt {
		for _, known := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, known: %v", what, known), func(t *testing.T) {
				server := single(t)
				o := at(server)
				s := open(t, o)
				r := s.Revocations().Sealed(ring(2))
				bad, others := newEntry(), newEntries(3)
				ok(t, r.Record(t.Context(), append(others, bad)...))
				key := o.Namespace + ":{r}:jti:" + bad.Token.String()
				c.spoil(t, server.admin, key, &bad)

				entries, unread := look(t, r)
				if len(entries) != 3 || entries[bad.Key()] || !slices.Equal(unread, []string{bad.Key()}) {
					t.Fatalf("%d entries and %q unread, want the three others and the key of one", len(entries), unread)
				}
				asked := 0
				done, err := r.Mend(t.Context(), true, func(keys []string) []revocation.Entry {
					if asked += len(keys); known {
						return []revocation.Entry{bad}
					}
					return nil
				})
				ok(t, err)
				want := c.unknown
				if known {
					want = c.known
				}
				if got := map[ourports.Mended]string{{Rewritten: 1}: "rewritten", {Renewed: 1}: "renewed", {Removed: 1}: "removed", {Left: 1}: "left"}[done]; got != want || asked != 1 {
					t.Errorf("%+v, and %d keys were asked for; want it %s", done, asked, want)
				}
				entries, unread = look(t, r)
				if whole := want == "rewritten" || want == "renewed"; entries[bad.Key()] != whole || (len(unread) == 0) != (want != "left") || len(entries) < 3 {
					t.Errorf("afterwards %d entries, this one among them: %v, and %q unread", len(entries), entries[bad.Key()], unread)
				}
				if n, err := server.admin.Exists(t.Context(), key).Result(); err != nil || (n == 0) != (want == "removed") {
					t.Errorf("its key is there: %v, %v", n, err)
				}
				if done, err := r.Mend(t.Context(), true, nil); err != nil || done != (ourports.Mended{}) {
					t.Errorf("a second time within a minute: %+v, %v, want nothing", done, err)
				}
			})
		}
	}
}

// What may be owed to the database is not removed.
func TestMendSpares(t *testing.T) {
	server := single(t)
	o := at(server)
	r := open(t, o).Revocations().Sealed(ring(1))
	e := newEntry()
	ok(t, r.Record(t.Context(), e))
	key := o.Namespace + ":{r}:jti:" + e.Token.String()
	ok(t, server.admin.Set(t.Context(), key, "oops", 0).Err())
	done, err := r.Mend(t.Context(), false, func([]string) []revocation.Entry { return nil })
	if n, _ := server.admin.Exists(t.Context(), key).Result(); err != nil || done != (ourports.Mended{Left: 1}) || n != 1 {
		t.Errorf("%+v, %v, and its key is there: %d; want it left", done, err, n)
	}
}

// Whoever lays something under the key of an entry before it is recorded does not keep it from those who follow.
func TestRecordOverWhatLiesThere(t *testing.T) {
	for what, c := range spoilt {
		t.Run(what, func(t *testing.T) {
			server := single(t)
			o := at(server)
			s := open(t, o)
			s2 := open(t, o)
			e, spare := newEntry(), newEntry()
			r := s.Revocations().Sealed(ring(2))
			ok(t, r.Record(t.Context(), spare))
			value, err := server.admin.Get(t.Context(), o.Namespace+":{r}:jti:"+spare.Token.String()).Result()
			ok(t, err)
			key := o.Namespace + ":{r}:jti:" + e.Token.String()
			ok(t, server.admin.Set(t.Context(), key, value, time.Hour).Err()) // moved from elsewhere
			c.spoil(t, server.admin, key, &e)
			told := make(chan string, 100)
			caught := make(chan struct{}, 1000)
			ctx, cancel := context.WithCancel(t.Context())
			over := make(chan error, 1)
			go func() {
				over <- s2.Revocations().Sealed(ring(2)).Follow(ctx, func(n ourports.News) error {
					for i := range n.Entries {
						told <- n.Entries[i].Key()
					}
					if n.Caught {
						caught <- struct{}{}
					}
					return nil
				})
			}()
			<-caught
			ok(t, r.Record(t.Context(), e))
			if c.known != "left" {
				eventually(t, "the follower hears of it by Redis", func() bool {
					select {
					case key := <-told:
						return key == e.Key()
					default:
						return false
					}
				})
				if entries, unread := look(t, r); !entries[e.Key()] || len(unread) > 0 {
					t.Errorf("it is read: %v, unread %q", entries[e.Key()], unread)
				}
			}
			cancel()
			if err := <-over; !errors.Is(err, context.Canceled) {
				t.Errorf("Follow: %v", err)
			}
		})
	}
}

// A value that is good for one key is not believed under another.
func TestAnEntryThatWasMoved(t *testing.T) {
	server := single(t)
	o := at(server)
	r := open(t, o).Revocations().Sealed(ring(1))
	a, b := newEntry(), newEntry()
	ok(t, r.Record(t.Context(), a, b))
	of := func(e revocation.Entry) string { return o.Namespace + ":{r}:jti:" + e.Token.String() }
	value, err := server.admin.Get(t.Context(), of(a)).Result()
	ok(t, err)
	ok(t, server.admin.Set(t.Context(), of(b), value, 0).Err())
	if entries, unread := look(t, r); !entries[a.Key()] || entries[b.Key()] || !slices.Equal(unread, []string{b.Key()}) {
		t.Errorf("read %v and unread %q", entries, unread)
	}
}

// What was sealed under a key before stays good as long as the key is held; an entry of another namespace is none of this one.
func TestSealsOutliveTheKey(t *testing.T) {
	server := single(t)
	o := at(server)
	s := open(t, o)
	all := everyKind()
	ok(t, s.Revocations().Sealed(ring(1)).Record(t.Context(), all...))
	if entries, unread := look(t, s.Revocations().Sealed(ring(3))); len(entries) != len(all) || len(unread) > 0 {
		t.Errorf("under a later key: %d entries, %q unread, want all %d", len(entries), unread, len(all))
	}
	if entries, unread := look(t, s.Revocations()); len(entries) != len(all) || len(unread) > 0 {
		t.Errorf("without keys: %d entries, %q unread, want all %d", len(entries), unread, len(all))
	}
	ok(t, s.Revocations().Sealed(ring(3)).Record(t.Context(), all...)) // that are there
	other := at(server)
	elsewhere := open(t, other)
	ok(t, elsewhere.Check(t.Context()))
	for i := range all {
		for key := range allKeys(t, server, o.Namespace) {
			if strings.HasSuffix(key, ":live") || strings.HasSuffix(key, ":stream") || strings.HasSuffix(key, ":id") {
				continue
			}
			ok(t, server.admin.Do(t.Context(), "COPY", key, other.Namespace+strings.TrimPrefix(key, o.Namespace), "REPLACE").Err())
		}
		_ = i
	}
	ok(t, server.admin.Do(t.Context(), "COPY", o.Namespace+":{r}:live", other.Namespace+":{r}:live", "REPLACE").Err())
	if entries, unread := look(t, elsewhere.Revocations().Sealed(ring(3))); len(entries) > 0 || len(unread) != len(all) {
		t.Errorf("in another namespace: %d entries, %d unread, want none believed", len(entries), len(unread))
	}
}

func allKeys(t *testing.T, server *server, namespace string) map[string]bool {
	t.Helper()
	keys, err := server.admin.Keys(t.Context(), namespace+":{r}:*").Result()
	ok(t, err)
	all := map[string]bool{}
	for _, key := range keys {
		all[key] = true
	}
	return all
}

func everyKind() []revocation.Entry {
	all := []revocation.Entry{
		{Kind: revocation.Token, Token: newID[id.Token]()}, {Kind: revocation.Session, Session: newID[id.Session]()}, {Kind: revocation.User, User: newID[id.User](), Min: 1 << 60},
		{Kind: revocation.Key, KeyID: "a kid:with/é", Until: instant.Forever}, {Kind: revocation.Epoch, Epoch: 1 << 59, Until: instant.Forever}, {Kind: revocation.IssuedBefore, Before: 77}, {Kind: revocation.APIKey, APIKey: newID[id.APIKey]()},
	}
	for i := range all {
		e := newEntry()
		all[i].Reason, all[i].By, all[i].At = e.Reason, e.By, e.At
		if all[i].Until == 0 {
			all[i].Until = e.Until
		}
	}
	return all
}

// Of every kind, what cannot be read is told by its key.
func TestKeysOfWhatCannotBeRead(t *testing.T) {
	server := single(t)
	o := at(server)
	s := open(t, o)
	r := s.Revocations().Sealed(ring(1))
	all := everyKind()
	ok(t, s.Revocations().Record(t.Context(), all...)) // as an earlier version did
	entries, unread := look(t, r)
	var want []string
	for i := range all {
		want = append(want, all[i].Key())
	}
	slices.Sort(want)
	slices.Sort(unread)
	if len(entries) > 0 || !slices.Equal(unread, want) {
		t.Errorf("%d entries, unread %q, want none, and %q", len(entries), unread, want)
	}
	done, err := r.Mend(t.Context(), true, func([]string) []revocation.Entry { return all })
	if entries, _ := look(t, r); err != nil || done != (ourports.Mended{Renewed: len(all)}) || len(entries) != len(all) {
		t.Errorf("mended %+v, %v, and then there are %d", done, err, len(entries))
	}
}

// A flood of what no node wrote, in the stream and in the live set, ends no follower, and costs nobody all of it again.
func TestAFloodOfForgeries(t *testing.T) {
	server := start(t)
	o := at(server)
	s := open(t, o)
	r := s.Revocations().Sealed(ring(1))
	ok(t, r.Record(t.Context(), newEntries(50)...))
	var told, unread, loads int
	heard := make(chan string, 10_000)
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	caught := make(chan struct{}, 100_000)
	go func() {
		over <- r.Follow(ctx, func(n ourports.News) error {
			unread += len(n.Unread)
			for i := range n.Entries {
				told++
				heard <- n.Entries[i].Key()
			}
			if n.Caught {
				loads++
				select {
				case caught <- struct{}{}:
				default:
				}
			}
			return nil
		})
	}()
	<-caught
	p := o.Namespace + ":{r}:"
	good, err := server.admin.XRevRangeN(t.Context(), p+"stream", "+", "-", 1).Result()
	ok(t, err)
	value := good[0].Values["e"]
	forge := func(values ...any) {
		t.Helper()
		ok(t, server.admin.XAdd(t.Context(), &redis.XAddArgs{Stream: p + "stream", Values: values}).Err())
	}
	var all []revocation.Entry
	for i := range 300 {
		switch i % 6 {
		case 0:
			forge("n", 51+i, "e", "oops")
		case 1:
			forge("n", 0, "e", value)
		case 2:
			forge("n", 1<<40, "e", value)
		case 3:
			forge("n", "x", "e", "\x03later")
		case 4:
			forge("other", "field")
		case 5:
			ok(t, server.admin.Incr(t.Context(), p+"count").Err())
		}
		e := newEntry()
		all = append(all, e)
		ok(t, r.Record(t.Context(), e))
	}
	missing := map[string]bool{}
	for i := range all {
		missing[all[i].Key()] = true
	}
	eventually(t, "every entry is told", func() bool {
		for {
			select {
			case key := <-heard:
				delete(missing, key)
			default:
				return len(missing) == 0
			}
		}
	})
	select {
	case err := <-over:
		t.Fatalf("Follow ended: %v", err)
	default:
	}
	cancel()
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Errorf("Follow: %v", err)
	}
	if unread < 200 || told > 50+300+100 {
		t.Errorf("%d were told of as unread, and %d entries told in %d rounds; want each forgery, and nothing over and over", unread, told, loads)
	}
}

// Numbers for readers, the count and keys of another type keep nothing from being recorded.
func TestRecordBesideDamage(t *testing.T) {
	server := start(t)
	o := at(server)
	s := open(t, o)
	r := s.Revocations().Sealed(ring(1))
	p := o.Namespace + ":{r}:"
	all := everyKind()
	ok(t, r.Vouch(t.Context()))
	for _, key := range []string{p + "gen:" + all[2].User.String(), p + "before", p + "raised"} {
		ok(t, server.admin.RPush(t.Context(), key, "x").Err())
	}
	for _, key := range []string{p + "epoch", p + "count"} {
		ok(t, server.admin.Set(t.Context(), key, "no number", 0).Err())
	}
	ok(t, r.Record(t.Context(), all...))
	if entries, unread := look(t, r); len(entries) != len(all) || len(unread) > 0 {
		t.Errorf("%d entries, %q unread, want all", len(entries), unread)
	}
	for key, want := range map[string]string{"gen:" + all[2].User.String(): fmt.Sprint(int64(1) << 60), "before": "77", "raised": fmt.Sprint(int64(1) << 59), "epoch": fmt.Sprint(int64(1) << 59)} {
		if got, err := server.admin.Get(t.Context(), p+key).Result(); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %s", key, got, err, want)
		}
	}
}
