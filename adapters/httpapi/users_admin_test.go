package httpapi_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/domain/account"
)

const (
	usersPath    = "/api/v1/admin/users"
	allSessions  = "/api/v1/admin/sessions"
	notForAll    = `{"force":true}`
	betterSecret = "another horse entirely"
)

// adminOf makes an administrator and signs them in.
func (s *service) adminOf(name string) (account.Account, pair) {
	s.t.Helper()
	a := s.user(name, account.RoleAdmin)
	return a, s.signIn(name)
}

// TestAdminRoutesAreForAdministrators: each of them refuses who is nobody and who is not one, before it looks at anything.
func TestAdminRoutesAreForAdministrators(t *testing.T) {
	s := newService(t)
	ann := s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	was := s.stored(ann.ID)
	for _, try := range []string{"GET /users", "GET /users/ann", "POST /users", "POST /users/ann/disable", "POST /users/ann/enable", "POST /users/ann/unlock", "POST /users/ann/role", "POST /users/ann/password", "GET /sessions",
		"DELETE /sessions/" + sessionOf(t, p), "POST /explain", "POST /revocations", "POST /revoke-user-tokens"} {
		method, path, _ := strings.Cut(try, " ")
		wants(t, s.call(method, "/api/v1/admin"+path, "", "X-Operator: true"), 401, "token_missing")
		wants(t, s.call(method, "/api/v1/admin"+path, `{"role":"admin","password":"`+betterSecret+`"}`, bearer(p)), 403, "forbidden")
	}
	if is := s.stored(ann.ID); is != was {
		t.Errorf("changed to %+v", is)
	}
}

// TestListUsers: every account once, in pages of any size, without a cursor that one could not have been given.
func TestListUsers(t *testing.T) {
	s := newService(t)
	_, admin := s.adminOf("root")
	want := map[string]bool{"root": true}
	for i := range 6 {
		name := fmt.Sprintf("user-%d", i)
		s.user(name, account.RoleUser)
		want[name] = true
	}
	for _, size := range []int{1, 2, 3, 6, 7, 8, 100} {
		got, pages := map[string]bool{}, 0
		for cursor := ""; ; pages++ {
			page := s.list(fmt.Sprintf("%s?limit=%d&cursor=%s", usersPath, size, cursor), bearer(admin))
			if len(page.Items) > size || len(page.Items) == 0 {
				t.Fatalf("a page of %d for %d", len(page.Items), size)
			}
			for _, u := range page.Items {
				if got[u["username"].(string)] {
					t.Errorf("%v twice", u["username"])
				}
				got[u["username"].(string)] = true
			}
			if page.Next == nil {
				break
			}
			cursor = *page.Next
		}
		if diff := cmp.Diff(want, got); diff != "" || pages != (len(want)-1)/size {
			t.Errorf("pages of %d: %d more (-want +got):\n%s", size, pages, diff)
		}
	}
	first := s.list(usersPath, bearer(admin)).Items[0]
	if fields := slices.Sorted(maps.Keys(first)); !cmp.Equal(fields, []string{"created_at", "email", "full_name", "id", "is_active", "role", "username"}) {
		t.Errorf("fields %v", fields)
	}
}

// TestBadPages (CVE-2026-33504): a cursor from elsewhere, of another list, or none at all is refused; so is a page that is no page.
func TestBadPages(t *testing.T) {
	s := newService(t)
	root, admin := s.adminOf("root")
	s.user("ann", account.RoleUser)
	s.signIn("ann")
	users := *s.list(usersPath+"?limit=1", bearer(admin)).Next
	sessions := *s.list(allSessions+"?limit=1", bearer(admin)).Next
	s.signIn("ann")
	anns := *s.list(allSessions+"?limit=1&user=ann", bearer(admin)).Next
	raw := base64.RawURLEncoding
	b, err := raw.DecodeString(users)
	check(t, err)
	for _, query := range []string{
		"cursor=" + url.QueryEscape("' OR 1=1--"), "cursor=" + sessions, "cursor=" + users + "A", "cursor=" + users[1:], "cursor=" + users + "=", "cursor=" + users[:4] + "%0A" + users[4:], "cursor=%00",
		"cursor=" + root.ID.String(), "cursor=" + admin.AccessToken, "cursor=" + strings.Repeat("A", 60000), "cursor=" + raw.EncodeToString(append(b, 0)), "cursor=" + raw.EncodeToString(bytes.ToUpper(b)[:5]),
		"cursor=" + users + "&cursor=" + users, "limit=0", "limit=-1", "limit=101", "limit=1000000000", "limit=1e1", "limit=+1", "limit=%31%30%30%30", "limit=1&limit=1", "limit=ten", "limit=٣", "page=2", "user=ann",
	} {
		w := s.call("GET", usersPath+"?"+query, "", bearer(admin))
		wants(t, w, 422, "validation_failed")
		if w.Body.Len() > 1000 || strings.Contains(w.Body.String(), "OR 1=1") {
			t.Errorf("%.50s: %d bytes: %.300s", query, w.Body.Len(), w.Body)
		}
	}
	for _, query := range []string{"cursor=" + users, "cursor=" + anns, "user=root&cursor=" + anns, "user=ann&cursor=" + sessions, "user=root&cursor=" + sessions, "limit=101"} {
		wants(t, s.call("GET", allSessions+"?"+query, "", bearer(admin)), 422, "validation_failed")
	}
	wants(t, s.call("GET", usersPath+"?limit=%zz", "", bearer(admin)), 400, "malformed_request")
	wants(t, s.call("GET", usersPath+"?limit=1;cursor=2", "", bearer(admin)), 400, "malformed_request")
	for _, good := range []string{"limit=100", "limit=1", "limit=&cursor=", ""} {
		s.list(usersPath+"?"+good, bearer(admin))
	}
}

// TestUserActs: an administrator looks an account up by what people write, and each act says in its answer what the account is now.
func TestUserActs(t *testing.T) {
	s := newService(t)
	ann := s.user("ann", account.RoleUser)
	_, admin := s.adminOf("root")
	for _, handle := range []string{ann.ID.String(), "ann@example.com", "ANN@Example.com", "ann", "Ann", "ann%40example.com"} {
		var got map[string]any
		w := s.call("GET", usersPath+"/"+handle, "", bearer(admin))
		check(t, json.Unmarshal(w.Body.Bytes(), &got))
		if w.Code != 200 || got["id"] != ann.ID.String() {
			t.Errorf("%s: %d %s", handle, w.Code, w.Body)
		}
	}
	for _, handle := range []string{"nobody", strings.Repeat("a", 32), "nobody@example.com", "%00", "'--", strings.Repeat("x", 5000)} {
		wants(t, s.call("GET", usersPath+"/"+handle, "", bearer(admin)), 404, "not_found")
		wants(t, s.call("POST", usersPath+"/"+handle+"/disable", "", bearer(admin)), 404, "not_found")
		wants(t, s.post(usersPath+"/"+handle+"/password", `{"password":"`+betterSecret+`"}`, bearer(admin)), 404, "not_found")
	}
	p := s.signIn("ann")
	act := func(path, body, want string) {
		t.Helper()
		if w := s.call("POST", usersPath+path, body, bearer(admin)); w.Code != 200 || !strings.Contains(w.Body.String(), want) || !strings.Contains(w.Body.String(), ann.ID.String()) {
			t.Fatalf("%s: %d %s, want %s", path, w.Code, w.Body, want)
		}
	}
	dead := func(reason string) {
		t.Helper()
		if got := wants(t, s.call("GET", me, "", bearer(p)), 401, "token_revoked"); got["reason"] != reason {
			t.Errorf("reason %v, want %s", got["reason"], reason)
		}
	}
	act("/ann/role", `{"role":"admin"}`, `"role":"admin"`)
	dead("role_changed")
	wants(t, s.post(usersPath+"/ann/role", `{"role":"root"}`, bearer(admin)), 422, "validation_failed")
	wants(t, s.post(usersPath+"/ann/role", `{}`, bearer(admin)), 422, "validation_failed")
	act("/ann/role", `{"role":"user"}`, `"role":"user"`)
	p = s.signIn("ann")
	act("/ann@example.com/disable", ``, `"is_active":false`)
	dead("user_disabled")
	wants(t, s.post("/api/v1/auth/login", `{"username":"ann","password":"`+password+`"}`), 401, "credentials_invalid")
	act("/"+ann.ID.String()+"/enable", `{}`, `"is_active":true`)
	dead("user_disabled") // enabling revives nothing
	act("/ann/unlock", ``, `"username":"ann"`)
	p = s.signIn("ann")
	act("/ann/password", `{"password":"`+betterSecret+`"}`, `"username":"ann"`)
	dead("password_changed")
	if got := wants(t, s.post("/api/v1/auth/refresh", `{"refresh_token":"`+p.RefreshToken+`"}`), 401, "token_revoked"); got["reason"] != "password_changed" {
		t.Errorf("refresh: %v", got["reason"])
	}
	wants(t, s.post("/api/v1/auth/login", `{"username":"ann","password":"`+password+`"}`), 401, "credentials_invalid")
	if w := s.post("/api/v1/auth/login", `{"username":"ann","password":"`+betterSecret+`"}`); w.Code != 200 {
		t.Errorf("sign-in with the new password: %d", w.Code)
	}
	for _, body := range []string{`{}`, `{"password":"short"}`, `{"password":"password123"}`, `{"password":"ann@example.com"}`, `{"password":"` + strings.Repeat("x", 73) + `"}`, `{"password":"` + betterSecret + `","force":true}`} {
		wants(t, s.post(usersPath+"/ann/password", body, bearer(admin)), 422, "validation_failed")
	}
	for _, path := range []string{"/ann/disable", "/ann/enable"} {
		wants(t, s.post(usersPath+path, `{"role":"admin"}`, bearer(admin)), 422, "validation_failed")
		wants(t, s.post(usersPath+path, `[]`, bearer(admin)), 400, "malformed_json")
	}
	if strings.Contains(s.log.String(), betterSecret) {
		t.Error("the password is in the log")
	}
}

// TestTheLastAdministrator cannot be disabled or demoted, however it is tried, but by the operator who insists; nobody disables their own account, or gives it a password
// without the old one.
func TestTheLastAdministrator(t *testing.T) {
	s := newService(t)
	root, admin := s.adminOf("root")
	wants(t, s.call("POST", usersPath+"/root/disable", "", bearer(admin)), 409, "own_account")
	wants(t, s.post(usersPath+"/root/password", `{"password":"`+betterSecret+`"}`, bearer(admin)), 409, "own_account")
	wants(t, s.post(usersPath+"/root/role", `{"role":"user"}`, bearer(admin)), 409, "last_admin")
	wants(t, s.post(usersPath+"/root/role", `{"role":"user","force":true}`, bearer(admin)), 403, "forbidden")
	wants(t, s.post(usersPath+"/root/disable", notForAll, bearer(admin)), 403, "forbidden")
	other, _ := s.adminOf("other")
	if w := s.call("POST", usersPath+"/other/disable", "", bearer(admin)); w.Code != 200 {
		t.Fatalf("one of two: %d %s", w.Code, w.Body)
	}
	public := s.h
	s.h = httpapi.AsOperator(public)
	wants(t, s.call("POST", usersPath+"/root/disable", ""), 409, "last_admin") // a disabled administrator counts for nothing
	wants(t, s.post(usersPath+"/root/role", `{"role":"user"}`), 409, "last_admin")
	wants(t, s.post(usersPath+"/root/disable", `{"force":false}`), 409, "last_admin")
	if w := s.call("GET", me, "", bearer(admin)); w.Code != 200 {
		t.Errorf("after refused changes: %d", w.Code)
	}
	if w := s.post(usersPath+"/root/role", `{"role":"admin"}`); w.Code != 200 {
		t.Errorf("the role that they have: %d %s", w.Code, w.Body)
	}
	for _, target := range []string{"/other/enable", "/other/disable", "/other/enable", "/root/disable"} {
		if w := s.call("POST", usersPath+target, ""); w.Code != 200 {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	wants(t, s.call("POST", usersPath+"/other/disable", ""), 409, "last_admin")
	if w := s.post(usersPath+"/other/disable", notForAll); w.Code != 200 {
		t.Errorf("the operator insists: %d %s", w.Code, w.Body)
	}
	if a, b := s.stored(root.ID), s.stored(other.ID); !a.Disabled || !b.Disabled {
		t.Error("not disabled")
	}
}

// TestAdministratorsAtOnce: of administrators who demote one another at once, one is left.
func TestAdministratorsAtOnce(t *testing.T) {
	s := newService(t)
	names := []string{"root", "other", "third"}
	for _, name := range names {
		s.user(name, account.RoleAdmin)
	}
	h := httpapi.AsOperator(s.h)
	for range 5 {
		var wait sync.WaitGroup
		var mu sync.Mutex
		refused := 0
		for _, name := range names {
			wait.Go(func() {
				one := *s
				one.h = h
				if w := one.post(usersPath+"/"+name+"/role", `{"role":"user"}`); w.Code == 409 {
					mu.Lock()
					refused++
					mu.Unlock()
				}
			})
		}
		wait.Wait()
		if refused != 1 {
			t.Fatalf("%d of 3 were spared, want 1", refused)
		}
		for _, name := range names {
			one := *s
			one.h = h
			one.post(usersPath+"/"+name+"/role", `{"role":"admin"}`)
		}
	}
}

// TestAdminSessions: of everybody or of one, in pages; an administrator ends any.
func TestAdminSessions(t *testing.T) {
	s := newService(t)
	_, admin := s.adminOf("root")
	ann := s.user("ann", account.RoleUser)
	s.user("idle", account.RoleUser)
	pairs := []pair{admin, s.signIn("ann"), s.signIn("ann"), s.signIn("ann")}
	s.call("POST", "/api/v1/auth/logout", "", bearer(s.signIn("ann"))) // one that has ended
	var hers, all []string
	for i, p := range pairs {
		all = append(all, sessionOf(t, p))
		if i > 0 {
			hers = append(hers, sessionOf(t, p))
		}
	}
	for _, size := range []int{1, 2, 3, 4, 50} {
		for target, want := range map[string][]string{allSessions + "?": all, allSessions + "?user=ann&": hers, allSessions + "?user=" + ann.ID.String() + "&": hers} {
			var got []string
			for cursor := ""; ; {
				page := s.list(fmt.Sprintf("%slimit=%d&cursor=%s", target, size, cursor), bearer(admin))
				for _, x := range page.Items {
					got = append(got, x["id"].(string))
					if x["user_id"] != ann.ID.String() && x["id"] != all[0] {
						t.Errorf("it is of %v", x["user_id"])
					}
				}
				if page.Next == nil {
					break
				}
				cursor = *page.Next
			}
			sorted := func(s []string) []string { return slices.Sorted(slices.Values(s)) }
			if diff := cmp.Diff(sorted(want), sorted(got)); diff != "" {
				t.Errorf("%s by %d (-want +got):\n%s", target, size, diff)
			}
		}
	}
	if got := s.list(allSessions+"?user=idle", bearer(admin)); len(got.Items) != 0 || got.Next != nil {
		t.Errorf("of one who is not signed in: %v", got)
	}
	wants(t, s.call("GET", allSessions+"?user=nobody", "", bearer(admin)), 404, "not_found")
	if w := s.call("DELETE", allSessions+"/"+hers[0], "", bearer(admin)); w.Code != 204 || w.Body.Len() != 0 {
		t.Errorf("DELETE: %d %s", w.Code, w.Body)
	}
	if got := wants(t, s.call("GET", me, "", bearer(pairs[1])), 401, "token_revoked"); got["reason"] != "session_ended" {
		t.Errorf("reason %v", got["reason"])
	}
	if got := s.list(allSessions+"?user=ann", bearer(admin)); len(got.Items) != 2 {
		t.Errorf("after it: %v", got.Items)
	}
	for _, id := range []string{strings.Repeat("a", 32), "x", ann.ID.String()} {
		wants(t, s.call("DELETE", allSessions+"/"+id, "", bearer(admin)), 404, "not_found")
	}
}
