package httpapi_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
)

// TestWhatIsNoUTF8HidesNothing: a client that calls itself, or asks for, what is no UTF-8 does not make a list unreadable in which that stands: neither what is kept from now on, nor what a store has from before.
func TestWhatIsNoUTF8HidesNothing(t *testing.T) {
	s := newService(t)
	s.user("root", account.RoleAdmin)
	s.user("ann", account.RoleUser)
	send := func(method, path, body, token string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header["User-Agent"] = []string{"an agent\xff\xfe"}
		r.Header["X-Request-Id"] = []string{"\xff"}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		s.h.ServeHTTP(w, r)
		return w
	}
	in := func(name string) string {
		w := send("POST", "/api/v1/auth/login", `{"username":"`+name+`","password":"`+password+`"}`, "")
		_, after, _ := strings.Cut(w.Body.String(), `"access_token":"`)
		token, _, _ := strings.Cut(after, `"`)
		return token
	}
	ann, root := in("ann"), in("root")
	send("POST", "/api/v1/auth/login", `{"username":"ann","password":"a wrong password"}`, "")
	send("GET", "/api/v1/admin/users/%ff%fe", "", ann) // of which an event tells: she may not
	before := audit.Event{ID: id.Event{1}, Time: instant.Of(time.Now()), Kind: audit.PermissionDenied, Outcome: audit.Failure, UserAgent: "\xff", Reason: "\xc0", Details: map[string]string{"endpoint": "GET /\xfe"}}
	check(t, s.core.Stores.Events.Record(t.Context(), before))
	for _, list := range []struct{ path, token string }{{"/api/v1/admin/events", root}, {"/api/v1/admin/sessions", root}, {"/api/v1/auth/sessions", ann}, {"/api/v1/admin/audit", root}} {
		w := send("GET", list.path, "", list.token)
		if w.Code != 200 || !utf8.Valid(w.Body.Bytes()) || !strings.Contains(w.Body.String(), "an agent\ufffd") {
			t.Errorf("%s: %d %s", list.path, w.Code, w.Body)
		}
	}
}
