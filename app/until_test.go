package app_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/system"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// withdraws says which kinds of entry each act leaves.
var withdraws = map[string][]revocation.Kind{
	"refresh with an earlier token":          {revocation.Session},
	"login with too many sessions":           {revocation.Session},
	"log-out":                                {revocation.Token, revocation.Session},
	"log-out of a session that is forgotten": {revocation.Token, revocation.Session},
	"log-out of all":                         {revocation.User},
	"end an own session":                     {revocation.Session},
	"set password":                           {revocation.User},
	"demote one of two administrators":       {revocation.User},
	"end one's own session":                  {revocation.Session},
	"change of password":                     {revocation.User},
	"set role":                               {revocation.User},
	"disable":                                {revocation.User},
	"revoke a user by id":                    {revocation.User},
	"revoke a user by e-mail":                {revocation.User},
	"revoke a user by name":                  {revocation.User},
	"revoke a session":                       {revocation.Session},
	"revoke an access token":                 {revocation.Token},
	"revoke a refresh token":                 {revocation.Session},
	"revoke a token id":                      {revocation.Token},
	"revoke a key":                           {revocation.Key},
	"revoke a key of before":                 {revocation.Key},
	"revoke what was issued before":          {revocation.IssuedBefore},
	"revoke all":                             {revocation.Epoch},
}

const (
	longest = 9 * time.Hour                   // the longest access lifetime ever configured
	beyond  = 30*time.Second + 10*time.Minute // leeway and margin
)

// past is a scene on a system whose access tokens once lived for 9 hours, and whose Ann has one of those; now it is 30 minutes.
func past(t *testing.T) *scene {
	s := newScene(t)
	s.must(s.store.System().Update(t.Context(), func(x system.State) (system.State, ports.Effects, error) {
		return x.Configure(longest), ports.Effects{}, nil
	}))
	claims := *s.c.Claims
	claims.ID, claims.ExpiresAt = id.Token{9}, claims.IssuedAt.Add(longest)
	s.tk.Access = s.signed(claims)
	s.c = s.caller(s.tk)
	s.turn(20 * time.Minute)
	return s
}

// TestUntilOfEveryRevocation: no revocation ends before the last token that it names can have expired, the leeway and ten minutes included; nor, but for keys
// and epochs, much later: the set of what is live stays small. What is known only by its id may have the longest life ever configured.
func TestUntilOfEveryRevocation(t *testing.T) {
	for name, a := range acts {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := past(t)
				if a.ready != nil {
					a.ready(s)
				}
				had := len(s.entries())
				_, err := a.do(t.Context(), s)
				a.answers(s, err)
				got := s.entries()[had:]
				if len(got) != len(withdraws[name]) {
					t.Fatalf("%d revocations are stored, want %d: %+v", len(got), len(withdraws[name]), got)
				}
				now := instant.Instant(s.clock.Load())
				for i, e := range got {
					if e.Kind != withdraws[name][i] {
						t.Errorf("revocation %d is of a %v, want of a %v", i, e.Kind, withdraws[name][i])
					}
					last := now.Add(longest) // the last token of today's rules, or of any before
					if e.Kind == revocation.Token && name != "revoke a token id" {
						last = s.c.Claims.ExpiresAt
					}
					least, most := last.Add(beyond), last.Add(beyond+time.Minute)
					if e.Kind == revocation.Key || e.Kind == revocation.Epoch {
						least, most = instant.Forever, instant.Forever
					}
					if e.Until < least || e.Until > most {
						t.Errorf("the revocation of the %v ends at %v, want %v to %v", e.Kind, e.Until, least, most)
					}
					if e.At != now {
						t.Errorf("the revocation of the %v was asked for at %v, want %v", e.Kind, e.At, now)
					}
				}
			})
		})
	}
}

// TestARevocationOutlivesItsToken: the store drops an entry once its time is over, and until the last microsecond of its leeway the token is taken
// by whoever does not know of it.
func TestARevocationOutlivesItsToken(t *testing.T) {
	for _, name := range []string{"log-out", "log-out of all", "revoke an access token", "revoke a token id", "revoke a session", "disable"} {
		t.Run(name, func(t *testing.T) {
			s := past(t)
			if _, err := acts[name].do(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			set := revocation.NewSet()
			for _, e := range s.entries() {
				set.Add(e)
			}
			end := s.c.Claims.ExpiresAt.Add(s.core.Tunables.Leeway)
			if err := s.core.Tunables.Policy().Check(s.c.Claims, end-1); err != nil {
				t.Fatalf("the token dies before its time: %v", err)
			}
			set.Sweep(end.Add(token.Margin - time.Minute)) // a clock that is fast
			if _, withdrawn := set.Withdraws(s.c.Claims); !withdrawn {
				t.Error("the entry is gone and the token is not")
			}
			set.Sweep(end.Add(token.Margin + 2*longest))
			if n := set.Len(); n != 0 {
				t.Errorf("%d entries are left when nothing is left to withdraw", n)
			}
		})
	}
}

// TestADeadTokenIsRevokedAllTheSame (RFC 7009, section 2.2): that a token has expired is no error, and its entry is valid.
func TestADeadTokenIsRevokedAllTheSame(t *testing.T) {
	s := newScene(t)
	s.turn(100 * time.Hour)
	for _, name := range []string{"log-out", "revoke an access token"} {
		if _, err := acts[name].do(t.Context(), s); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	now := instant.Instant(s.clock.Load())
	for _, e := range s.entries() {
		if e.Until <= now {
			t.Errorf("an entry of the %v was over before it began", e.Kind)
		}
	}
}

// TestStartNotesTheLongestAccess: a shorter lifetime does not shorten what is known of the tokens that are out, and what is known is not written again.
func TestStartNotesTheLongestAccess(t *testing.T) {
	s := newScene(t)
	for _, try := range []struct {
		access, want time.Duration
		writes       int
	}{{30 * time.Minute, 30 * time.Minute, 0}, {2 * time.Hour, 2 * time.Hour, 1}, {time.Minute, 2 * time.Hour, 0}, {2 * time.Hour, 2 * time.Hour, 0}, {3 * time.Hour, 3 * time.Hour, 1}} {
		s.core.Tunables.Access = try.access
		s.stores.arm(-1, "", nil)
		s.must(s.core.Start(t.Context()))
		if n := len(s.stores.wrote); n != try.writes {
			t.Errorf("a start with %v writes %d times, want %d", try.access, n, try.writes)
		}
		if x, err := s.store.System().Load(t.Context()); err != nil || x.LongestAccess != try.want {
			t.Errorf("after a start with %v: %v, %v; want %v", try.access, x.LongestAccess, err, try.want)
		}
	}
}

// TestWhatCanBeNamed: a key that is revoked by force has an id that a token's header can hold, and what people write is as long as an entry can keep.
func TestWhatCanBeNamed(t *testing.T) {
	for kid, ok := range map[string]bool{
		"~": true, "!": true, strings.Repeat("k", revocation.MaxKeyID): true, strings.Repeat("k", revocation.MaxKeyID+1): false,
		"a b": false, "a\n": false, "\x00": false, "\x7f": false, "ключ": false,
	} {
		w := newWorld(t)
		_, err := w.revoker.Revoke(t.Context(), root, app.Selector{Key: kid, Force: true}, "", false)
		var bad *app.SelectorError
		if (err == nil) != ok || !ok && (!errors.As(err, &bad) || bad.Field != "kid") || w.view.KeyRevoked(kid) != ok {
			t.Errorf("%q: %v", kid, err)
		}
	}
	for note, ok := range map[string]bool{strings.Repeat("n", 500): true, strings.Repeat("n", 501): false} {
		w := newWorld(t)
		_, err := w.revoker.Revoke(t.Context(), root, app.Selector{All: true}, note, false)
		var bad *app.SelectorError
		if (err == nil) != ok || !ok && (!errors.As(err, &bad) || bad.Field != "reason") || (len(w.entries()) == 1) != ok {
			t.Errorf("a note of %d bytes: %v, and %d revocations", len(note), err, len(w.entries()))
		}
	}
}

// TestADryRunThatTakesTooLong answers what it could count, and says that there may be more.
func TestADryRunThatTakesTooLong(t *testing.T) {
	for _, sel := range []app.Selector{{User: "ann"}, {All: true}} {
		synctest.Test(t, func(t *testing.T) {
			store := &slowLists{}
			w := newWorld(t, func(c *app.Core) { store.Sessions, c.Stores.Sessions = c.Stores.Sessions, store })
			w.user("ann")
			w.signIn("ann")
			store.slow.Store(-1)
			got, err := w.revoker.Revoke(t.Context(), root, sel, "", true)
			if err != nil || got.SessionsEnded != 0 || !got.AtLeast || len(w.entries()) != 0 {
				t.Errorf("%+v, %v, and %d revocations", got, err, len(w.entries()))
			}
		})
	}
}
