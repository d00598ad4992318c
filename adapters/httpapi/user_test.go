package httpapi_test

import (
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/adapters/httpapi"
)

// TestUserText: a user writes itself as json.Marshal would write it.
func TestUserText(t *testing.T) {
	at := time.Date(2026, 11, 25, 21, 52, 32, 692127000, time.UTC)
	for _, u := range []httpapi.User{
		{},
		{ID: "85f14d4885c03097d22ee2d763a2f1e1", Email: "ann@example.com", Username: "ann", FullName: "Ann Ångström", Role: "user", IsActive: true, CreatedAt: at},
		{FullName: "\"<b>&\\ \u2028 \x01 \U0001f600", Username: "a\tb", CreatedAt: at.Truncate(time.Second)},
	} {
		got, err := u.AppendJSON([]byte("before "))
		if err != nil {
			t.Fatal(err)
		}
		type plain httpapi.User // without the method
		want, err := json.Marshal(plain(u))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff("before "+string(want), string(got)); diff != "" {
			t.Error(diff)
		}
	}
	if got, err := (httpapi.User{FullName: "\xff"}).AppendJSON(nil); err == nil {
		t.Errorf("a name that is no text became %s", got)
	}
}
