package app_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// about are the details of an event.
type about = map[string]string

// revokedBy is the event of a withdrawal.
func revokedBy(actor, subject string, why revocation.Reason, details about) audit.Event {
	return audit.Event{Kind: audit.TokenRevoked, Severity: audit.Info, Outcome: audit.Success, Actor: actor, Subject: subject, Reason: why.String(), Details: details}
}

func sessionOf(s *scene, tk app.Tokens) string { return s.caller(tk).Session().String() }

// signedIn is the event of a sign-in of Ann.
func signedIn(s *scene, tk app.Tokens) audit.Event {
	return audit.Event{Kind: audit.AuthenticationSucceeded, Severity: audit.Info, Outcome: audit.Success, Actor: s.ann.ID.String(), Subject: s.ann.ID.String(), Email: "ann@example.com",
		Details: about{"session": sessionOf(s, tk), "new_network": "198.51.100.0/24"}}
}

// begunAnew is that of a new session of hers, for which she did not sign in.
func begunAnew(s *scene, tk app.Tokens) audit.Event {
	e := signedIn(s, tk)
	delete(e.Details, "new_network")
	return e
}

// notSignedIn is the event of a sign-in that failed.
func notSignedIn(subject, login string) audit.Event {
	return audit.Event{Kind: audit.AuthenticationFailed, Severity: audit.Warning, Outcome: audit.Failure, Subject: subject, Email: login, Reason: "credentials_invalid"}
}

// tells says which events each act leaves, but for what all have in common: where the request came from, and when.
var tells = map[string]func(s *scene, tk app.Tokens) []audit.Event{
	"login": func(s *scene, tk app.Tokens) []audit.Event { return []audit.Event{signedIn(s, tk)} },
	"login with a hash that is to be made anew": func(s *scene, tk app.Tokens) []audit.Event {
		return []audit.Event{{Kind: audit.PasswordRehashed, Severity: audit.Info, Outcome: audit.Success, Actor: app.System, Subject: s.ann.ID.String()}, signedIn(s, tk)}
	},
	"login with too many sessions": func(s *scene, tk app.Tokens) []audit.Event {
		return []audit.Event{revokedBy(app.System, s.ann.ID.String(), revocation.SessionEnded, about{"session": s.c.Session().String(), "note": "the user has signed in once more than 1 times"}), signedIn(s, tk)}
	},
	"login with a wrong password": func(s *scene, _ app.Tokens) []audit.Event {
		return []audit.Event{notSignedIn(s.ann.ID.String(), "ann")}
	},
	"login with an unknown name": func(*scene, app.Tokens) []audit.Event { return []audit.Event{notSignedIn("", "nobody")} },
	"login of a disabled account": func(s *scene, _ app.Tokens) []audit.Event {
		return []audit.Event{notSignedIn(s.ann.ID.String(), "ann")}
	},
	"refresh": func(s *scene, tk app.Tokens) []audit.Event {
		return []audit.Event{{Kind: audit.SessionRefreshed, Severity: audit.Info, Outcome: audit.Success, Actor: s.ann.ID.String(), Subject: s.ann.ID.String(), Details: about{"session": sessionOf(s, tk)}}}
	},
	"refresh with an earlier token": func(s *scene, _ app.Tokens) []audit.Event {
		return []audit.Event{{Kind: audit.RefreshReused, Severity: audit.Critical, Outcome: audit.Failure, Subject: s.ann.ID.String(), Reason: "refresh_reuse", Details: about{"session": s.c.Session().String()}}}
	},
	"log-out": func(s *scene, _ app.Tokens) []audit.Event {
		return []audit.Event{revokedBy(s.ann.ID.String(), s.ann.ID.String(), revocation.Logout, about{"session": s.c.Session().String()})}
	},
	"log-out of a session that is forgotten": func(s *scene, _ app.Tokens) []audit.Event {
		return []audit.Event{revokedBy(s.ann.ID.String(), s.ann.ID.String(), revocation.Logout, about{"session": id.Session{7}.String()})}
	},
	"log-out of all": func(s *scene, _ app.Tokens) []audit.Event {
		return []audit.Event{revokedBy(s.ann.ID.String(), s.ann.ID.String(), revocation.UserRevoked, nil)}
	},
	"change of password": func(s *scene, tk app.Tokens) []audit.Event {
		return []audit.Event{{Kind: audit.PasswordChanged, Severity: audit.Warning, Outcome: audit.Success, Actor: s.ann.ID.String(), Subject: s.ann.ID.String(), Reason: "password_changed"}, begunAnew(s, tk)}
	},
	"change of password with a wrong one": func(s *scene, _ app.Tokens) []audit.Event {
		return []audit.Event{notSignedIn(s.ann.ID.String(), "ann@example.com")}
	},
	"change of profile": func(s *scene, _ app.Tokens) []audit.Event {
		return []audit.Event{{Kind: audit.ProfileChanged, Severity: audit.Info, Outcome: audit.Success, Actor: s.ann.ID.String(), Subject: s.ann.ID.String(), Email: "ann@example.com",
			Details: about{"changed": "username"}}}
	},
	"change of e-mail": func(s *scene, _ app.Tokens) []audit.Event {
		return []audit.Event{{Kind: audit.EmailChanged, Severity: audit.Warning, Outcome: audit.Success, Actor: s.ann.ID.String(), Subject: s.ann.ID.String(), Email: "eve@example.com",
			Details: about{"changed": "email username", "previous_email": "ann@example.com"}}}
	},
	"change of e-mail with a wrong password": func(s *scene, _ app.Tokens) []audit.Event {
		return []audit.Event{notSignedIn(s.ann.ID.String(), "ann@example.com")}
	},
	"unlock": func(s *scene, _ app.Tokens) []audit.Event {
		return []audit.Event{{Kind: audit.AccountUnlocked, Severity: audit.Info, Outcome: audit.Success, Actor: s.admin.Name, Subject: s.ann.ID.String()}}
	},
	"set password": func(s *scene, _ app.Tokens) []audit.Event {
		return []audit.Event{{Kind: audit.PasswordChanged, Severity: audit.Warning, Outcome: audit.Success, Actor: s.admin.Name, Subject: s.ann.ID.String()}}
	},
	"demote one of two administrators": func(s *scene, _ app.Tokens) []audit.Event {
		return []audit.Event{{Kind: audit.RoleChanged, Severity: audit.Warning, Outcome: audit.Success, Actor: s.admin.Name, Subject: s.id("cyd"), Details: about{"role": "user"}}}
	},
	"end one's own session": func(s *scene, _ app.Tokens) []audit.Event {
		return []audit.Event{revokedBy(s.ann.ID.String(), s.ann.ID.String(), revocation.SessionEnded, about{"session": s.c.Session().String()})}
	},
	"change of name": func(s *scene, _ app.Tokens) []audit.Event {
		return []audit.Event{{Kind: audit.ProfileChanged, Severity: audit.Info, Outcome: audit.Success, Actor: s.ann.ID.String(), Subject: s.ann.ID.String(), Email: "ann@example.com",
			Details: about{"changed": "username"}}}
	},
	"change of e-mail address": func(s *scene, _ app.Tokens) []audit.Event {
		return []audit.Event{{Kind: audit.EmailChanged, Severity: audit.Warning, Outcome: audit.Success, Actor: s.ann.ID.String(), Subject: s.ann.ID.String(), Email: "anna@example.com",
			Details: about{"changed": "email", "previous_email": "ann@example.com"}}}
	},
	"change of e-mail address with a wrong password": func(s *scene, _ app.Tokens) []audit.Event {
		return []audit.Event{notSignedIn(s.ann.ID.String(), "ann@example.com")}
	},
	"end an own session": func(s *scene, _ app.Tokens) []audit.Event {
		return []audit.Event{revokedBy(s.ann.ID.String(), s.ann.ID.String(), revocation.SessionEnded, about{"session": s.c.Session().String()})}
	},
	"own sessions":                         nil,
	"change of name to another's":          nil,
	"login after too many wrong passwords": nil,
	"end another's session":                nil,
	"register": func(s *scene, _ app.Tokens) []audit.Event {
		cyd := s.id("cyd") // who registers acts for themselves
		return []audit.Event{{Kind: audit.AccountCreated, Severity: audit.Info, Outcome: audit.Success, Actor: cyd, Subject: cyd, Email: "cyd@example.com", Details: about{"role": "user"}}}
	},
	"create": func(s *scene, _ app.Tokens) []audit.Event {
		return []audit.Event{{Kind: audit.AccountCreated, Severity: audit.Info, Outcome: audit.Success, Actor: s.admin.Name, Subject: s.id("cyd"), Email: "cyd@example.com", Details: about{"role": "admin"}}}
	},
	"set role": func(s *scene, _ app.Tokens) []audit.Event {
		return []audit.Event{{Kind: audit.RoleChanged, Severity: audit.Warning, Outcome: audit.Success, Actor: s.admin.Name, Subject: s.ann.ID.String(), Details: about{"role": "admin"}}}
	},
	"disable": func(s *scene, _ app.Tokens) []audit.Event {
		return []audit.Event{{Kind: audit.AccountDisabled, Severity: audit.Warning, Outcome: audit.Success, Actor: s.admin.Name, Subject: s.ann.ID.String()}}
	},
	"enable": func(s *scene, _ app.Tokens) []audit.Event {
		return []audit.Event{{Kind: audit.AccountEnabled, Severity: audit.Info, Outcome: audit.Success, Actor: s.admin.Name, Subject: s.ann.ID.String()}}
	},
	"revoke a user by id":     userRevoked,
	"revoke a user by e-mail": userRevoked,
	"revoke a user by name":   userRevoked,
	"revoke a session":        sessionRevoked,
	"revoke a refresh token":  sessionRevoked,
	"revoke an access token": func(s *scene, _ app.Tokens) []audit.Event {
		return []audit.Event{revokedBy(s.admin.Name, s.ann.ID.String(), revocation.UserRevoked, about{"jti": s.c.Claims.ID.String(), "note": stolen})}
	},
	"revoke a token id": func(s *scene, _ app.Tokens) []audit.Event { // whose it is, is not known
		return []audit.Event{revokedBy(s.admin.Name, "", revocation.UserRevoked, about{"jti": s.c.Claims.ID.String(), "note": stolen})}
	},
	"revoke a key": func(s *scene, _ app.Tokens) []audit.Event {
		e := revokedBy(s.admin.Name, "", revocation.KeyRevoked, about{"kid": s.c.Claims.KeyID, "note": stolen})
		e.Severity = audit.Critical
		return []audit.Event{e}
	},
	"revoke a key of before": func(s *scene, _ app.Tokens) []audit.Event {
		e := revokedBy(s.admin.Name, "", revocation.KeyRevoked, about{"kid": "hs-before", "note": stolen})
		e.Severity = audit.Critical
		return []audit.Event{e}
	},
	"revoke what was issued before": func(s *scene, _ app.Tokens) []audit.Event {
		e := revokedBy(s.admin.Name, "", revocation.BeforeTime, about{"selector": "issued_before", "note": stolen})
		e.Severity = audit.Critical
		return []audit.Event{e}
	},
	"revoke all": func(s *scene, _ app.Tokens) []audit.Event {
		return []audit.Event{{Kind: audit.EpochRaised, Severity: audit.Critical, Outcome: audit.Success, Actor: s.admin.Name, Reason: "epoch", Details: about{"selector": "epoch", "note": stolen}}}
	},
	"deny": func(s *scene, _ app.Tokens) []audit.Event {
		return []audit.Event{{Kind: audit.PermissionDenied, Severity: audit.Warning, Outcome: audit.Failure, Actor: s.ann.ID.String(), Reason: "forbidden", Details: about{"endpoint": "/api/v1/admin/users", "method": "GET"}}}
	},

	"refresh once more within the grace":                nil,
	"me":                                                nil,
	"demote the last administrator":                     nil,
	"see a page of accounts":                            nil,
	"see a page of her sessions":                        nil,
	"see a page of all sessions":                        nil,
	"explain an access token":                           nil,
	"explain a refresh token":                           nil,
	"see one's own sessions":                            nil,
	"look-up":                                           nil,
	"see what revoking a user would do":                 nil,
	"see what revoking all would do":                    nil,
	"see what revoking what was issued before would do": nil,
	"see what revoking a session would do":              nil,
	"start":                                             nil,
}

// sameTold demands that the journal was told, from a line on, of what was stored from an event on, in its order, and of at most one event of another kind.
func (s *scene) sameTold(stored, told int, also audit.Kind) {
	s.t.Helper()
	kept, lines := s.events()[stored:], s.journal.told[told:]
	if n := len(lines) - 1; also != "" && n >= 0 && lines[n].Kind == also {
		lines = lines[:n]
	}
	if diff := cmp.Diff(kept, lines, cmpopts.EquateEmpty()); diff != "" {
		s.t.Errorf("stored, against told (-stored +told):\n%s", diff)
	}
}

func userRevoked(s *scene, _ app.Tokens) []audit.Event {
	return []audit.Event{revokedBy(s.admin.Name, s.ann.ID.String(), revocation.UserRevoked, about{"note": stolen})}
}

func sessionRevoked(s *scene, _ app.Tokens) []audit.Event {
	return []audit.Event{revokedBy(s.admin.Name, s.ann.ID.String(), revocation.SessionEnded, about{"session": s.c.Session().String(), "note": stolen})}
}

// id is the id of an account, as text.
func (w *world) id(name string) string {
	w.t.Helper()
	a, err := w.accounts.Lookup(context.Background(), name)
	w.must(err)
	return a.ID.String()
}

// TestEveryActIsTold: a use case leaves exactly its events, in the store and in the journal, with who did what to whom, from where, in which request.
func TestEveryActIsTold(t *testing.T) {
	ids := map[id.Event]string{}
	for name, a := range acts {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			if a.ready != nil {
				a.ready(s)
			}
			stored, told := len(s.events()), len(s.journal.told)
			tk, err := a.do(t.Context(), s)
			a.answers(s, err)
			expect, stated := tells[name]
			if !stated {
				t.Fatal("nobody has said what it tells")
			}
			var want []audit.Event
			if expect != nil {
				want = expect(s, tk)
			}
			got := s.events()[stored:]
			s.sameTold(stored, told, a.line)
			if len(got) != len(want) {
				t.Fatalf("%d events, want %d: %+v", len(got), len(want), got)
			}
			for i, w := range want {
				g := got[i]
				if other := ids[g.ID]; other != "" || g.ID.IsZero() {
					t.Errorf("the event has the id %v, as one of %q", g.ID, other)
				}
				ids[g.ID] = name
				w.ID, w.Time = g.ID, instant.Instant(s.clock.Load())
				if w.Kind != audit.PasswordRehashed {
					w.IPAddress, w.UserAgent, w.RequestID = "198.51.100.9", "curl", "req-abroad"
				}
				if diff := cmp.Diff(w, g, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("event %d (-want +got):\n%s", i, diff)
				}
			}
		})
	}
}

// TestEveryRevocationSaysWhoAskedAndWhy: in the words of who asked, where there are any.
func TestEveryRevocationSaysWhoAskedAndWhy(t *testing.T) {
	for name, kinds := range withdraws {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			a := acts[name]
			if a.ready != nil {
				a.ready(s)
			}
			had := len(s.entries())
			tk, err := a.do(t.Context(), s)
			a.answers(s, err)
			got := s.entries()[had:]
			if len(got) != len(kinds) {
				t.Fatalf("%d revocations, want %d", len(got), len(kinds))
			}
			by, note := s.ann.ID.String(), ""
			switch {
			case strings.HasPrefix(name, "revoke"):
				by, note = s.admin.Name, stolen
			case name == "set role" || name == "disable" || name == "set password" || name == "demote one of two administrators":
				by = s.admin.Name
			case name == "refresh with an earlier token":
				by = app.System
			case name == "login with too many sessions":
				by, note = app.System, "the user has signed in once more than 1 times"
			}
			why := tells[name](s, tk)[0].Reason
			for _, e := range got {
				if e.By != by || e.Note != note {
					t.Errorf("the revocation of the %v is by %q for %q, want by %q for %q", e.Kind, e.By, e.Note, by, note)
				}
				if why != "" && e.Reason.String() != why {
					t.Errorf("the revocation of the %v says %v, and its event %q", e.Kind, e.Reason, why)
				}
			}
		})
	}
}

// TestOfWhatRefusalsTell: the journal is told of refusals, and of nothing that is none. The store keeps none of them: anybody can make any number.
func TestOfWhatRefusalsTell(t *testing.T) {
	s := newScene(t)
	stored := len(s.events())
	for err, want := range map[error]string{
		token.ErrMalformed: "token_malformed", token.ErrInvalid: "token_invalid", token.ErrExpired: "token_expired", revocation.ErrStale: "revocations_stale",
		&revocation.RevokedError{Verdict: revocation.Verdict{Reason: revocation.RoleChanged}}: "token_revoked",
		token.ErrMissing: "", error(outage{}): "", context.Canceled: "", nil: "",
	} {
		told := len(s.journal.told)
		s.guard.Refused(t.Context(), abroad, s.c, strings.Repeat("e", 1000), err)
		lines := s.journal.told[told:]
		if want == "" {
			if len(lines) != 0 {
				t.Errorf("%v was told as %+v", err, lines)
			}
			continue
		}
		if len(lines) != 1 {
			t.Errorf("%v: %d lines, want 1", err, len(lines))
			continue
		}
		e := lines[0]
		if e.Kind != audit.AccessRefused || e.Severity != audit.Warning || e.Outcome != audit.Failure || e.Reason != want || e.IPAddress != "198.51.100.9" || e.UserAgent != "curl" || e.RequestID != "req-abroad" {
			t.Errorf("%v was told as %+v", err, e)
		}
		if e.Subject != s.ann.ID.String() || e.Details["session"] != s.c.Session().String() || len(e.Details["endpoint"]) != 200 {
			t.Errorf("%v was told of %q with %+v", err, e.Subject, e.Details)
		}
		if got := e.Details["revoked"]; (got == "role_changed") != (want == "token_revoked") {
			t.Errorf("%v was told with the reason %q", err, got)
		}
	}
	if n := len(s.events()) - stored; n != 0 {
		t.Errorf("%d of them are stored", n)
	}
}

// TestRefusalsWithoutRandomness: a line that has no id is not told, and the refusal is what it was.
func TestRefusalsWithoutRandomness(t *testing.T) {
	s := newScene(t)
	told := len(s.journal.told)
	taken := registration(t, "ann")
	s.core.Random = &stumbles{s.core.Random, 2} // the ids of the account and of its event are drawn before the name is found taken
	if _, err := s.accounts.Register(t.Context(), abroad, taken); !errors.Is(err, ports.ErrTaken) {
		t.Errorf("a taken name: %v", err)
	}
	s.core.Random = &stumbles{rand.Reader, 1}
	if _, err := s.sessions.ChangeProfile(t.Context(), abroad, s.c, profile(t, "", "bob"), secret.Text{}); !errors.Is(err, ports.ErrTaken) {
		t.Errorf("a change to a taken name: %v", err)
	}
	s.core.Random = broken{}
	s.guard.Refused(t.Context(), abroad, s.c, "GET /", token.ErrExpired)
	if lines := s.journal.told[told:]; len(lines) != 0 {
		t.Errorf("told: %+v", lines)
	}
}

// TestATakenNameIsToldOf: what the journal, and it alone, is told of a registration, or a change, that meets another's name.
func TestATakenNameIsToldOf(t *testing.T) {
	common := audit.Event{Severity: audit.Warning, Outcome: audit.Failure, IPAddress: "198.51.100.9", UserAgent: "curl", RequestID: "req-abroad", Reason: "taken"}
	for name, try := range map[string]struct {
		do   func(*scene) error
		want func(*scene, *audit.Event)
	}{
		"a registration": {func(s *scene) error {
			_, err := s.accounts.Register(t.Context(), abroad, registration(t, "ann"))
			return err
		}, func(_ *scene, e *audit.Event) { e.Kind, e.Email = audit.RegistrationRefused, "ann@example.com" }},
		"another user name": {func(s *scene) error {
			_, err := s.sessions.ChangeProfile(t.Context(), abroad, s.c, profile(t, "", "bob"), secret.Text{})
			return err
		}, func(s *scene, e *audit.Event) {
			e.Kind, e.Actor, e.Subject = audit.ProfileChanged, s.ann.ID.String(), s.ann.ID.String()
		}},
		"another e-mail address": {func(s *scene) error {
			_, err := s.sessions.ChangeProfile(t.Context(), abroad, s.c, profile(t, "bob@example.com", "ann"), secret.New(password))
			return err
		}, func(s *scene, e *audit.Event) {
			e.Kind, e.Actor, e.Subject, e.Email = audit.ProfileChanged, s.ann.ID.String(), s.ann.ID.String(), "bob@example.com"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			stored, told := len(s.events()), len(s.journal.told)
			if err := try.do(s); !errors.Is(err, ports.ErrTaken) {
				t.Fatal(err)
			}
			want := common
			want.Time = instant.Instant(s.clock.Load())
			try.want(s, &want)
			if diff := cmp.Diff([]audit.Event{want}, s.journal.told[told:], cmpopts.IgnoreFields(audit.Event{}, "ID")); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
			if n := len(s.events()) - stored; n != 0 {
				t.Errorf("%d events are stored", n)
			}
		})
	}
}

// TestWhoReachesForAnothersSession is told of, and learns no more than of one that never was.
func TestWhoReachesForAnothersSession(t *testing.T) {
	s := newScene(t)
	bob := s.caller(s.signIn("bob"))
	stored, told := len(s.events()), len(s.journal.told)
	theirs, none := s.sessions.EndOwn(t.Context(), abroad, s.c, bob.Session()), s.sessions.EndOwn(t.Context(), abroad, s.c, id.Session{9})
	if theirs != none || !errors.Is(none, ports.ErrNotFound) { // the very same answer
		t.Errorf("another's: %v; one that never was: %v", theirs, none)
	}
	want := []audit.Event{{Time: instant.Instant(s.clock.Load()), Kind: audit.PermissionDenied, Severity: audit.Warning, Outcome: audit.Failure, Actor: s.ann.ID.String(), Subject: bob.User().String(),
		IPAddress: "198.51.100.9", UserAgent: "curl", RequestID: "req-abroad", Reason: "foreign", Details: about{"session": bob.Session().String()}}}
	if diff := cmp.Diff(want, s.journal.told[told:], cmpopts.IgnoreFields(audit.Event{}, "ID")); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if n := len(s.events()) - stored; n != 0 {
		t.Errorf("%d events are stored", n)
	}
	s.core.Random = broken{}
	if err := s.sessions.EndOwn(t.Context(), abroad, s.c, bob.Session()); !errors.Is(err, ports.ErrNotFound) || len(s.journal.told) != told+1 {
		t.Errorf("without an id for the line: %v, told %+v", err, s.journal.told[told+1:])
	}
}

// TestTheProfileThatIsAnswered is the one that is stored; one that changes nothing is answered, and neither stored nor told.
func TestTheProfileThatIsAnswered(t *testing.T) {
	s := newScene(t)
	for _, name := range []string{"anna", "anna", "Anna"} {
		was := s.stored()
		before, err := s.store.Accounts().Find(t.Context(), s.ann.ID)
		s.must(err)
		told := len(s.journal.told)
		s.turn(time.Second)
		got, err := s.sessions.ChangeProfile(t.Context(), abroad, s.c, profile(t, "", name), secret.Text{})
		s.must(err)
		now, err := s.store.Accounts().Find(t.Context(), s.ann.ID)
		s.must(err)
		if got != now || got.Username.String() != name {
			t.Errorf("it answers %+v, and %+v is stored", got, now)
		}
		if same := before.Username.String() == name; same != (len(s.journal.told) == told) || same != reflect.DeepEqual(was, s.stored()) {
			t.Errorf("from %v to %s: told %+v", before.Username, name, s.journal.told[told:])
		}
	}
}

// TestNoCredentialIsKept: what a client or a person wrote in a place where no credential belongs is kept without it.
func TestNoCredentialIsKept(t *testing.T) {
	s := newScene(t)
	planted := []string{s.tk.Access.RevealPlaintext(), s.tk.Refresh.RevealPlaintext(), "xt_prd_0123456789abcdef0123456789abcdef_QrpR7secretsecretsecretsecret02"}
	for _, text := range planted {
		r := app.Request{ID: "req", Origin: session.Origin{UserAgent: "curl " + text}}
		if err := s.guard.Denied(t.Context(), r, s.c, "DELETE /api/v1/api-keys/"+text); !errors.Is(err, app.ErrForbidden) {
			t.Fatal(err)
		}
	}
	if _, err := s.revoker.Revoke(t.Context(), app.Actor{Name: app.Operator}, app.Selector{User: "ann"}, "seen: "+planted[1], false); err != nil {
		t.Fatal(err)
	}
	for _, e := range s.events() {
		for _, text := range planted {
			if strings.Contains(fmt.Sprint(e), text) {
				t.Errorf("an event holds a credential: %v", e)
			}
		}
	}
	last := s.events()[len(s.events())-1]
	if last.Details["note"] != "seen: [redacted]" {
		t.Errorf("the note: %q", last.Details["note"])
	}
}

// TestEventsAreBounded: what a client chooses is cut, and what is not known is empty.
func TestEventsAreBounded(t *testing.T) {
	s := newScene(t)
	long := app.Request{ID: "req", Origin: session.Origin{UserAgent: strings.Repeat("u", audit.MaxUserAgent+1)}}
	if err := s.guard.Denied(t.Context(), long, s.c, strings.Repeat("e", 1000)); !errors.Is(err, app.ErrForbidden) {
		t.Fatal(err)
	}
	login, err := account.ParseLogin("", "ann")
	s.must(err)
	if _, err := s.sessions.Login(t.Context(), app.Request{Origin: session.Origin{UserAgent: strings.Repeat("u", audit.MaxUserAgent)}}, login, s.tk.Refresh); !errors.Is(err, account.ErrCredentials) {
		t.Fatal(err)
	}
	all := s.events()
	for _, e := range all[len(all)-2:] {
		if len(e.UserAgent) != audit.MaxUserAgent || e.IPAddress != "" {
			t.Errorf("a User-Agent of %d bytes and the address %q, want %d and none", len(e.UserAgent), e.IPAddress, audit.MaxUserAgent)
		}
	}
	long.Origin.UserAgent = "x" + strings.Repeat("é", audit.MaxUserAgent)
	if err := s.guard.Denied(t.Context(), long, s.c, ""); !errors.Is(err, app.ErrForbidden) {
		t.Fatal(err)
	}
	if agent := s.events()[len(all)].UserAgent; !utf8.ValidString(agent) || len(agent) != audit.MaxUserAgent-1 {
		t.Errorf("a User-Agent is cut within a character, to %d bytes", len(agent))
	}
	if n := len(all[len(all)-2].Details["endpoint"]); n != 200 {
		t.Errorf("%d bytes of the endpoint are kept, want 200", n)
	}
}
