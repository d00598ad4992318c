package httpapi_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

const revocations = "/api/v1/admin/revocations"

// uncountable is a store whose sessions cannot be listed.
type uncountable struct{ ports.Sessions }

func (uncountable) OfUser(context.Context, id.User) ([]session.Session, error) {
	return nil, ports.ErrUnavailable
}

// TestWhatCouldNotBeCounted: the revocation is in force, and the answer does not take it for one that hit nothing.
func TestWhatCouldNotBeCounted(t *testing.T) {
	s := newService(t)
	s.user("root", account.RoleAdmin)
	s.user("ann", account.RoleUser)
	admin, ann := s.signIn("root"), s.signIn("ann")
	sessions := s.core.Stores.Sessions
	s.core.Stores.Sessions = uncountable{sessions}
	if w := s.post("/api/v1/admin/revoke-user-tokens", `{"user_id":"ann"}`, bearer(admin)); w.Code != 200 || w.Body.String() != `{"sessions_ended":0,"counted":false}` {
		t.Errorf("revoke-user-tokens: %d %s", w.Code, w.Body)
	}
	wants(t, s.call("GET", "/api/v1/users/me", "", bearer(ann)), 401, "token_revoked")
	if w := s.post(revocations, `{"user_id":"ann"}`, bearer(admin)); w.Code != 200 || !strings.HasPrefix(w.Body.String(), `{"sessions_ended":0,"counted":false,"nodes":[{"node":"node-1","ms":`) {
		t.Errorf("revocations: %d %s", w.Code, w.Body)
	}
	if w := s.call("POST", "/api/v1/auth/logout-all", "", bearer(admin)); w.Code != 200 || w.Body.String() != `{"sessions_ended":0,"counted":false}` {
		t.Errorf("logout-all: %d %s", w.Code, w.Body)
	}
}

// TestIssuedBeforeTheFirstToken: a time before all tokens is a mistake, which reads as what it is and not as no selector.
func TestIssuedBeforeTheFirstToken(t *testing.T) {
	s := newService(t)
	s.h = httpapi.AsOperator(s.h)
	for _, at := range []string{"1970-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "1970-01-01T01:00:00+01:00"} {
		for _, dry := range []string{"true", "false"} {
			got := wants(t, s.post(revocations, `{"issued_before":"`+at+`","dry_run":`+dry+`}`), 422, "validation_failed")
			if b, _ := json.Marshal(got["errors"]); !strings.Contains(string(b), `"field":"issued_before"`) {
				t.Errorf("%s, dry run %s: %s", at, dry, b)
			}
		}
	}
	if w := s.post(revocations, `{"issued_before":"1970-01-01T00:00:01Z"}`); w.Code != 200 {
		t.Errorf("a second later: %d %s", w.Code, w.Body)
	}
}

// TestRevokedKeyOverHTTP: a kid that is not held is 404 unless forced. Once the key that signs is revoked another does, and the answer says which; the bearers of its tokens
// are told why they are refused.
func TestRevokedKeyOverHTTP(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	ann := s.signIn("ann").AccessToken
	s.h = httpapi.AsOperator(s.h)
	kid := s.core.Codec.KeyIDs()[0]
	wants(t, s.post(revocations, `{"kid":"hs-typo"}`), 404, "not_found")
	wants(t, s.post(revocations, `{"all":true,"force":true,"dry_run":true}`), 422, "validation_failed")
	if w := s.post(revocations, `{"kid":"hs-typo","force":true}`); w.Code != 200 || strings.Contains(w.Body.String(), "hint") {
		t.Errorf("forced: %d %s", w.Code, w.Body)
	}
	if w := s.call("GET", "/readyz", ""); w.Code != 200 || !strings.Contains(w.Body.String(), `"signing":{"status":"ok"`) {
		t.Errorf("/readyz before: %d %s", w.Code, w.Body)
	}
	w := s.post(revocations, `{"kid":"`+kid+`"}`)
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"hint":"`) || strings.Contains(w.Body.String(), "dry_run") {
		t.Fatalf("the key that signs: %d %s", w.Code, w.Body)
	}
	if w := s.call("GET", "/api/v1/users/me", "", "Authorization: Bearer "+ann); w.Code != 401 || !strings.Contains(w.Body.String(), `"reason":"key_revoked"`) {
		t.Errorf("a token that it signed: %d %s", w.Code, w.Body)
	}
	after := s.signIn("ann").AccessToken
	if w := s.call("GET", "/api/v1/users/me", "", "Authorization: Bearer "+after); w.Code != 200 || s.core.Codec.KeyIDs()[0] == kid {
		t.Errorf("a token of its successor: %d %s", w.Code, w.Body)
	}
	if w := s.call("GET", "/readyz", ""); w.Code != 200 {
		t.Errorf("/readyz after: %d %s", w.Code, w.Body)
	}
}
