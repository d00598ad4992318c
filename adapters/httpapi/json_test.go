package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/domain/account"
)

// TestOddJSON: shapes that have cost other services dearly are refused with a small answer that repeats nothing, and what is taken is taken in any order.
func TestOddJSON(t *testing.T) {
	s := newService(t)
	const login = "/api/v1/auth/login"
	var keys, same strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&keys, `,"k%d":0`, i)
	}
	same.WriteString(strings.Repeat(`,"PassWord":0`, 80_000))
	for name, body := range map[string]string{
		"100,000 members":            `{"password":"x"` + keys.String()[:1_000_000-1] + `0}`,
		"one member 80,000 times":    `{"password":"x"` + same.String() + `}`,
		"arrays 10,000 deep":         `{"username":` + strings.Repeat("[", 9_990) + strings.Repeat("]", 9_990) + `,"password":"x"}`,
		"objects without end":        strings.Repeat(`{"a":`, 100_000),
		"arrays in an unknown":       `{"a":` + strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000) + `}`,
		"1 MiB where a number goes":  `{"all":"` + strings.Repeat("9", 1<<20-20) + `"}`,
		"a long number":              `{"username":` + strings.Repeat("9", 1<<20-50) + `,"password":"x"}`,
		"numbers beyond all bounds":  `{"username":-1e999999,"password":1e-999999}`,
		"letters that fold to s":     `{"username":"ann","pa` + "\u017f" + `sword":"x"}`,
		"an escape in a name, twice": `{"username":"ann","password":"x","p\u0061ssword":"y"}`,
		"a lone surrogate":           `{"username":"\ud800","password":"x"}`,
		"a byte order mark":          "\ufeff" + `{"username":"ann","password":"x"}`,
		"a comment":                  `{"username":"ann",/* */"password":"x"}`,
		"a comma too many":           `{"username":"ann","password":"x",}`,
		"a NUL":                      "{\"username\":\"a\x00n\",\"password\":\"x\"}",
		"NaN":                        `{"username":NaN,"password":"x"}`,
		"a form":                     `username=ann&password=x`,
		"an array of one":            `[{"username":"ann","password":"x"}]`,
		"null":                       `null`,
		"a text":                     `"ann"`,
		"a prototype":                `{"__proto__":{"role":"admin"},"username":"ann","password":"x"}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := s.post(login, body)
			if w.Code != 400 && w.Code != 422 || w.Body.Len() > 2048 || w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("got %d with %d bytes: %.300s", w.Code, w.Body.Len(), w.Body)
			}
		})
	}
	many := `{"password":"x"` + keys.String()[:1_000_000-1] + `0}`
	if n := testing.AllocsPerRun(1, func() { s.post(login, many) }); n > 1000 {
		t.Errorf("%v allocations for 100,000 members: the first faults should end the work", n)
	}
	s.user("ann", account.RoleUser)
	for _, body := range []string{
		`{"password":"` + password + `","username":"ann"}`, ` { "username" : "\u0061nn" , "password" : "` + password + `" } ` + "\r\n\t",
		`{"email":null,"username":"ann","password":"` + password + `"}`, `{"email":"","username":"ann","password":"` + password + `"}`,
	} {
		if w := s.post(login, body); w.Code != 200 {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
}

// TestAllThatIsWrongIsSaid: a body's answer names each of its members that is not taken or has another type, once, and says what would be.
func TestAllThatIsWrongIsSaid(t *testing.T) {
	s := newService(t)
	w := s.post("/api/v1/auth/register", `{"gen":1,"email":7,"username":"x","Password":"long enough","role":"admin"}`)
	const want = `"errors":[{"field":"gen","message":"is not a member that is taken here"},{"field":"email","message":"must be a string"},` +
		`{"field":"Password","message":"is not a member that is taken here"},{"field":"role","message":"is not a member that is taken here"}]}`
	if w.Code != 422 || !strings.HasSuffix(w.Body.String(), want) {
		t.Errorf("got %d %s, want 422 and %s", w.Code, w.Body, want)
	}
	s.h = httpapi.AsOperator(s.h)
	w = s.post("/api/v1/admin/revocations", `{"all":"true","issued_before":"2026-05-01","token":[1],"dry_run":0,"`+strings.Repeat("x", 33)+`":0,"a-b":0}`)
	const other = `"errors":[{"field":"all","message":"must be true or false"},{"field":"issued_before","message":"must be a time in RFC 3339, such as 2026-05-01T12:00:00Z"},` +
		`{"field":"token","message":"must be a string"},{"field":"dry_run","message":"must be true or false"},{"field":"body","message":"is not a member that is taken here"}]}`
	if w.Code != 422 || !strings.HasSuffix(w.Body.String(), other) {
		t.Errorf("got %d %s, want 422 and %s", w.Code, w.Body, other)
	}
}

// TestPasswordsAsTheyAre: a password is taken as it is sent, up to 72 bytes, and no composition is asked for (OWASP ASVS 5.0, 6.2).
func TestPasswordsAsTheyAre(t *testing.T) {
	s := newService(t)
	for i, try := range []struct {
		password string
		status   int
	}{
		{"1234567", 422}, {"12345-78", 201}, {strings.Repeat("a", 64), 201}, {strings.Repeat("é", 36), 201}, {strings.Repeat("é", 36) + "a", 422},
		{"  spaces kept  ", 201}, {"ÉÉÉÉÉÉÉÉ", 201},
	} {
		name := fmt.Sprintf("user-%d", i)
		w := s.post("/api/v1/auth/register", fmt.Sprintf(`{"email":"%s@example.com","username":%q,"password":%q}`, name, name, try.password))
		if w.Code != try.status || strings.Contains(w.Body.String(), try.password) {
			t.Fatalf("%q: got %d %s, want %d", try.password, w.Code, w.Body, try.status)
		}
		if try.status != 201 {
			continue
		}
		for typed, want := range map[string]int{try.password: 200, strings.TrimSpace(try.password) + "x": 401, strings.ToLower(try.password) + " ": 401} {
			if got := s.post("/api/v1/auth/login", fmt.Sprintf(`{"username":%q,"password":%q}`, name, typed)).Code; got != want {
				t.Errorf("%q for %q: got %d, want %d", typed, try.password, got, want)
			}
		}
	}
}

// FuzzLogin sends any body to sign-in: it is refused as the client's doing, with a small body of one shape that repeats no value.
func FuzzLogin(f *testing.F) {
	for _, seed := range []string{
		`{"username":"ann","password":"x"}`, `{"email":"a@b.cd","password":"\u0000"}`, `{"username":1e9}`, `{}`, `[`, `{"a":{"b":[null]}}`, "{\"\xff\":0}", `{"username":"ann","password":"x"}{}`,
		`{"password":true,"username":[],"email":{}}`, `{"a":1,"a":2}`, `"`, `{"username":"ann","password":"x","x~1y/z":0}`,
	} {
		f.Add(seed)
	}
	s := newService(f)
	s.core.Passwords = failing{context.Canceled} // whatever gets as far as a comparison ends there, at once
	f.Fuzz(func(t *testing.T, body string) {
		before := s.log.Len()
		w := s.post("/api/v1/auth/login", body)
		got := map[string]any{}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatalf("%q: %s: %v", body, w.Body, err)
		}
		switch w.Code {
		case 400, 413, 422:
			if s.log.Len() != before {
				t.Errorf("%q: log: %s", body, s.log.String()[before:])
			}
		case 503: // a well-formed sign-in
		default:
			t.Errorf("%q: %d", body, w.Code)
		}
		if w.Body.Len() > 4096 || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%q: %d bytes of %s", body, w.Body.Len(), w.Header().Get("Content-Type"))
		}
		s.log.Reset()
	})
}
