package redisstore_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/redisstore"
	ourports "github.com/xteam/xteam/ports"
)

// TestLook sees what each server is like, by asking it.
func TestLook(t *testing.T) {
	for what, is := range map[string]struct {
		args []string
		want redisstore.Seen
	}{
		"as it should be": {[]string{"--requirepass", "pw", "--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"},
			redisstore.Seen{Local: true, Asks: true, Policy: "noeviction", Durable: redisstore.Nothing}},
		"a second":                  {[]string{"--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "volatile-ttl"}, redisstore.Seen{Local: true, Policy: "volatile-ttl", Durable: redisstore.Second}},
		"as it comes":               {[]string{"--appendonly", "no"}, redisstore.Seen{Local: true, Policy: "noeviction", Durable: redisstore.Much}},
		"nobody may ask for CONFIG": {[]string{"--rename-command", "CONFIG", "", "--appendonly", "yes"}, redisstore.Seen{Local: true, Policy: "noeviction", Durable: redisstore.Untold}},
	} {
		o := at(start(t, is.args...))
		if is.want.Asks {
			o.Password = hidden("pw")
		}
		got, err := redisstore.Look(t.Context(), o)
		if since := time.Since(got.Now); err != nil || since > 5*time.Second || since < -5*time.Second {
			t.Errorf("%s: its clock says %v, %v", what, got.Now, err)
		}
		if len(got.Guests) == 0 || !got.Whole {
			t.Errorf("%s: its guests are %+v, %v", what, got.Guests, got.Whole)
		}
		if want := (redisstore.Held{Known: true}); got.Held != want {
			t.Errorf("%s: it holds %+v, want nothing", what, got.Held)
		}
		got.Now, got.Guests, got.Whole, got.Held = time.Time{}, nil, false, redisstore.Held{}
		if !reflect.DeepEqual(got, is.want) {
			t.Errorf("%s: got %+v, want %+v", what, got, is.want)
		}
	}
	o := at(single(t))
	all := newEntries(4)
	record(t, open(t, o), all...)
	for i, value := range []string{"oops", "\x03later"} {
		ok(t, single(t).admin.Set(t.Context(), o.Namespace+":{r}:jti:"+all[i].Token.String(), value, 0).Err())
	}
	if got, err := redisstore.Look(t.Context(), o); err != nil || got.Held != (redisstore.Held{Known: true, Looked: 4, Damaged: 1, Later: 1}) {
		t.Errorf("it holds %+v, %v", got.Held, err)
	}
	gone := start(t)
	store := open(t, at(gone))
	if now, err := store.Clock(t.Context()); err != nil || time.Since(now).Abs() > 5*time.Second {
		t.Errorf("its clock: %v, %v", now, err)
	}
	gone.kill()
	if _, err := store.Clock(t.Context()); !errors.Is(err, ourports.ErrUnavailable) {
		t.Errorf("the clock of a server that is gone: %v", err)
	}
	if _, err := redisstore.Look(t.Context(), at(gone)); err == nil {
		t.Error("a server that is gone was seen")
	}
}
