package httpapi_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/domain/account"
)

// TestListsInParts: a list that is whole by itself is answered in pages to whoever asks for them: each item once, in the order of the whole, by cursors that are good for this list alone.
func TestListsInParts(t *testing.T) {
	s := newService(t)
	s.user("root", account.RoleAdmin)
	s.user("ann", account.RoleUser)
	root, ann := s.signIn("root"), s.signIn("ann")
	for range 4 {
		s.signIn("ann")
		s.key(ann)
		if w := s.call("POST", "/api/v1/admin/keys/rotate", "", bearer(root)); w.Code != 200 { // nothing need be said
			t.Fatalf("rotate: %d %s", w.Code, w.Body)
		}
	}
	lists := []struct{ path, name, who string }{
		{sessionsPath, "id", bearer(ann)},
		{apiKeys, "id", bearer(ann)},
		{"/api/v1/admin/api-keys?user=ann&", "id", bearer(root)},
		{"/api/v1/admin/keys", "kid", bearer(root)},
	}
	cursors := make([]string, len(lists))
	for i := range lists {
		l := &lists[i]
		if l.path[len(l.path)-1] != '&' {
			l.path += "?"
		}
		whole := s.list(l.path, l.who)
		names := func(p listed) (all []string) {
			for _, item := range p.Items {
				all = append(all, item[l.name].(string))
			}
			return all
		}
		if n := len(whole.Items); n < 4 || n > 6 || whole.Next != nil {
			t.Fatalf("%s: %d items, next %v", l.path, n, whole.Next)
		}
		for size := 1; size <= len(whole.Items)+1; size++ {
			var got []string
			for cursor := ""; ; {
				page := s.list(fmt.Sprintf("%slimit=%d&cursor=%s", l.path, size, cursor), l.who)
				if len(page.Items) > size || len(page.Items) == 0 {
					t.Fatalf("%s: a page of %d items, want 1 to %d", l.path, len(page.Items), size)
				}
				got = append(got, names(page)...)
				if page.Next == nil {
					break
				}
				cursor = *page.Next
				cursors[i] = cursor
			}
			if diff := cmp.Diff(names(whole), got); diff != "" {
				t.Errorf("%s by %d:\n%s", l.path, size, diff)
			}
		}
		for _, bad := range []string{"limit=0", "limit=101", "limit=-1", "limit=x", "limit=1&limit=1", "cursor=A", "cursor=AAAA", "cursor=%00", "page=2"} {
			wants(t, s.call("GET", l.path+bad, "", l.who), 422, "validation_failed")
		}
	}
	for i, l := range lists {
		for j, cursor := range cursors {
			if i != j && !(min(i, j) == 1 && max(i, j) == 2) { // the keys of ann are the same list from both sides
				wants(t, s.call("GET", l.path+"cursor="+cursor, "", l.who), 422, "validation_failed")
			}
		}
	}
	wants(t, s.call("GET", sessionsPath+"?cursor="+cursors[0], "", bearer(root)), 422, "validation_failed")
	if kid := s.list("/api/v1/admin/keys", bearer(root)).Items[0]["kid"].(string); s.call("POST", "/api/v1/admin/keys/"+kid+"/revoke", "", bearer(root)).Code != 200 {
		t.Error("a signing key is revoked only for a reason")
	}
}
