package httpapi_test

import (
	"testing"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
)

// TestAThiefCannotKeepTheOwnerFromRevoking: with a token of the same user all buckets that are the user's can be emptied, and from the same network the address's. What
// only contains a theft goes on all the same, for each session by itself.
func TestAThiefCannotKeepTheOwnerFromRevoking(t *testing.T) {
	l := newLimited(t, app.LimiterOptions{PerAddress: 1000})
	l.user("ann", account.RoleUser)
	l.user("root", account.RoleAdmin)
	for _, name := range []string{"ann", "root"} {
		thief, role := l.tokens(name), `{"email":"no address"}`
		for range 40 { // each is charged, whatever it is answered
			l.call("PATCH", mePath, role, bearer(thief))
			l.post("/api/v1/admin/explain", `{}`, bearer(thief))
			l.post("/api/v1/auth/change-password", `{"current_password":"x","new_password":"y"}`, bearer(thief))
			l.call("DELETE", "/api/v1/auth/sessions/nothing", "", bearer(thief))
		}
		wants(t, l.call("PATCH", mePath, role, bearer(l.tokens(name))), 429, "rate_limited") // or this test shows nothing
		for range 1000 {
			l.call("GET", "/nothing", "")
		}
		wants(t, l.call("GET", "/nothing", ""), 429, "rate_limited")

		for _, try := range []struct{ method, path, body string }{
			{"DELETE", "/api/v1/auth/sessions/" + sessionOf(t, thief), ""},
			{"POST", "/api/v1/auth/logout", ""},
			{"POST", "/api/v1/auth/logout-all", ""},
			{"POST", "/api/v1/auth/change-password", `{"current_password":"` + password + `","new_password":"` + password + ` too"}`},
		} {
			if w := l.call(try.method, try.path, try.body, bearer(l.tokens(name))); w.Code >= 400 {
				t.Errorf("%s: %s %s: %d %s", name, try.method, try.path, w.Code, w.Body)
			}
		}
	}
}

// TestALeakedKeyCannotKeepTheOwnerFromTheKeys: the owner sees the keys, puts another in the place of one and ends the leaked one, whatever traffic that makes; to a
// key, listing and rotating are routes like others.
func TestALeakedKeyCannotKeepTheOwnerFromTheKeys(t *testing.T) {
	l := newLimited(t, app.LimiterOptions{PerAddress: 1000})
	l.user("ann", account.RoleUser)
	p := l.tokens("ann")
	leaked, good := l.key(p, "api-keys:write", "users:read"), l.key(p, "users:read")
	for range 70 {
		l.call("GET", mePath, "", "X-API-Key: "+leaked.Key)
		l.post(apiKeys, "{}", "X-API-Key: "+leaked.Key)
	}
	for range 1000 {
		l.call("GET", "/nothing", "")
	}
	l.from = "192.0.2.8:1"
	wants(t, l.call("GET", apiKeys, "", "X-API-Key: "+leaked.Key), 429, "rate_limited")
	wants(t, l.post(apiKeys+"/"+good.ID+"/rotate", "{}", "X-API-Key: "+leaked.Key), 429, "rate_limited")
	l.from = "192.0.2.7:1"
	wants(t, l.call("GET", "/nothing", ""), 429, "rate_limited")
	for _, try := range []struct{ method, path string }{{"GET", apiKeys}, {"POST", apiKeys + "/" + good.ID + "/rotate"}, {"DELETE", apiKeys + "/" + leaked.ID}} {
		if w := l.call(try.method, try.path, "", bearer(p)); w.Code >= 400 {
			t.Errorf("%s %s: %d %s", try.method, try.path, w.Code, w.Body)
		}
	}
}

// TestWhatContainsIsLimitedToo: each session has a bucket of its own for it, as large as the class's.
func TestWhatContainsIsLimitedToo(t *testing.T) {
	l := newLimited(t, app.LimiterOptions{Write: 3})
	l.user("root", account.RoleAdmin)
	one, two := l.tokens("root"), l.tokens("root")
	for _, try := range []struct{ path, body string }{
		{"/api/v1/admin/revoke-user-tokens", `{"user_id":"nobody"}`},
		{"/api/v1/admin/revocations", `{"user_id":"nobody"}`},
		{"/api/v1/admin/revocations", `{"user_id":"nobody"}`},
	} {
		wants(t, l.post(try.path, try.body, bearer(one)), 404, "not_found")
	}
	wants(t, l.post("/api/v1/admin/revocations", `{"user_id":"nobody"}`, bearer(one)), 429, "rate_limited")
	wants(t, l.call("DELETE", "/api/v1/admin/sessions/nothing", "", bearer(one)), 429, "rate_limited")
	wants(t, l.call("DELETE", "/api/v1/admin/sessions/nothing", "", bearer(two)), 404, "not_found")
	wants(t, l.post("/api/v1/admin/revocations", `{"user_id":"nobody"}`, bearer(two)), 404, "not_found")
}

// TestWhoMayNotContainIsChargedAsAUser: each refusal to somebody who is no administrator is recorded, so another sign-in buys them no more of those.
func TestWhoMayNotContainIsChargedAsAUser(t *testing.T) {
	l := newLimited(t, app.LimiterOptions{Write: 3})
	l.user("ann", account.RoleUser)
	for range 3 {
		wants(t, l.post("/api/v1/admin/revocations", `{"all":true}`, bearer(l.tokens("ann"))), 403, "forbidden")
	}
	wants(t, l.post("/api/v1/admin/revocations", `{"all":true}`, bearer(l.tokens("ann"))), 429, "rate_limited")
}
