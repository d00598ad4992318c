package account_test

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/id"
)

// details is all that can be said of a field: whole sentences that do not depend on the value.
var details = map[string][]string{
	"email":     {"must be an e-mail address like name@example.com, of at most 254 ASCII characters"},
	"username":  {"must be 3 to 50 of A-Z a-z 0-9 . _ - and not have the form of an id"},
	"full_name": {"must be at most 100 characters, without control characters"},
	"password":  {"must be at most 72 bytes; nothing is ever cut off", "must be valid UTF-8", "must not contain the character NUL", "must be at least 8 characters" + stronger, tooCommon, tooSimilar},
	"role":      {"must be user or admin"},
}

// refuses fails unless err is an InvalidError of that field, which keeps the value to itself.
func refuses(t *testing.T, err error, field, value string) {
	t.Helper()
	var invalid *account.InvalidError
	if !errors.As(err, &invalid) || invalid.Field != field || !slices.Contains(details[field], invalid.Detail) || err.Error() != field+": "+invalid.Detail {
		t.Errorf("%.80q gives %v, want an InvalidError of %s", value, err, field)
	}
}

func TestEmail(t *testing.T) {
	long := strings.Repeat("d", 63)
	for s, want := range map[string]string{
		"ann@x.io": "ann@x.io", "Ann@X.IO": "ann@x.io", "ANN@X.IO": "ann@x.io", "a@b.c": "a@b.c", "ann.b-c+tag_1@mail.example.com": "ann.b-c+tag_1@mail.example.com",
		"!#$%&'*+-/=?^_`{|}~@x.io": "!#$%&'*+-/=?^_`{|}~@x.io", "ann@xn--bcher-kva.example": "ann@xn--bcher-kva.example", "1@2.io": "1@2.io", "a@1.x1": "a@1.x1",
		strings.Repeat("L", 64) + "@x.io":                            strings.Repeat("l", 64) + "@x.io",
		"a@" + long + ".io":                                          "a@" + long + ".io",
		"a@" + strings.Repeat(long+".", 3) + strings.Repeat("e", 60): "a@" + strings.Repeat(long+".", 3) + strings.Repeat("e", 60), // 254 bytes
	} {
		if got, err := account.ParseEmail(s); err != nil || got.String() != want || got.IsZero() {
			t.Errorf("ParseEmail(%q) = %q, %v; want %q", s, got, err, want)
		}
	}
}

func TestWhatIsNoEmail(t *testing.T) {
	for _, s := range []string{
		"", "ann", "@", "@x.io", "ann@", "a@b", "ann@x", "ann@x.", "ann@.io", "ann@x..io", ".ann@x.io", "ann.@x.io", "a..n@x.io", "ann@@x.io", "ann@x@y.io", "ann@-x.io", "ann@x-.io", "ann@x.io-",
		" ann@x.io", "ann@x.io ", "a nn@x.io", "ann@ x.io", "ann@x.io\n", "\tann@x.io", "ann\x00@x.io", "ann@x.io\x00", "an\x7fn@x.io", "ann@x.io\r\nBcc: eve@x.io", "\x1b[31mann@x.io",
		"ａｎｎ@x.io", "ann＠x.io", "ann@ｘ.io", "ann@x。io", "Ａnn@x.io", "änn@x.io", "a\u0308nn@x.io", "аnn@x.io" /* Cyrillic */, "ann@bücher.example", "ann\u200b@x.io", "ann@x.io\u202e", "\ufeffann@x.io", "\u212aim@x.io", /* Kelvin */
		`"ann"@x.io`, `"a b"@x.io`, "ann(comment)@x.io", "(c)ann@x.io", "ann@x.io(c)", "Ann <ann@x.io>", "<ann@x.io>", "ann@[127.0.0.1]", "ann@[IPv6:::1]", "ann@127.0.0.1", "ann@1.2", "a,b@x.io", "a;b@x.io", `a\b@x.io`, "a:b@x.io",
		"ann@x_y.io", "ann@x.io/", "ann@x!.io", "ann@x.io,eve@x.io", "mailto:ann@x.io", "\xff@x.io", "ann@\xffx.io",
		strings.Repeat("l", 65) + "@x.io", "a@" + strings.Repeat("d", 64) + ".io", "a@" + strings.Repeat(strings.Repeat("d", 63)+".", 3) + strings.Repeat("e", 61),
	} {
		got, err := account.ParseEmail(s)
		refuses(t, err, "email", s)
		if !got.IsZero() || got.String() != "" {
			t.Errorf("ParseEmail(%q) gives %q beside an error", s, got)
		}
	}
}

func TestUsername(t *testing.T) {
	hex := "0123456789abcdef0123456789abcdef"
	for _, s := range []string{"ann", "Ann", "ANN", "a.b", "a_b-c.d", "...", "123", strings.Repeat("x", 50), hex[:31], hex + "0", hex[:31] + "g", "u" + hex[:31]} {
		got, err := account.ParseUsername(s)
		if err != nil || got.String() != s || got.Folded() != strings.ToLower(s) || got.IsZero() {
			t.Errorf("ParseUsername(%q) = %q, folded %q, %v", s, got, got.Folded(), err)
		}
	}
	for _, s := range []string{
		"", "a", "an", strings.Repeat("x", 51), " ann", "ann ", "a nn", "ann\n", "ann\x00", "\x7fann", "ann@x", "ann@x.io", "a/b", `a\b`, "a'b", "a;--", "$1ab", "<ann>",
		"ａｎｎ", "änn", "a\u0308nn", "аnn" /* Cyrillic */, "ann\u200b", "\u202eann", "\u212aim", "ſam", "ann\xff", "\xff\xfe\xfd",
		hex, strings.ToUpper(hex), hex[:31] + "F", strings.Repeat("0", 32), strings.Repeat("A", 32), strings.Repeat("x", 1<<20),
	} {
		got, err := account.ParseUsername(s)
		refuses(t, err, "username", s)
		if !got.IsZero() || got.String() != "" {
			t.Errorf("ParseUsername(%q) gives %q beside an error", s, got)
		}
	}
}

func TestEveryCaseIsOneName(t *testing.T) {
	flip := func(t *rapid.T, s string) string {
		b := []byte(s)
		for i, up := range rapid.SliceOfN(rapid.Bool(), len(b), len(b)).Draw(t, "capitals") {
			if up {
				b[i] = strings.ToUpper(s)[i]
			}
		}
		return string(b)
	}
	rapid.Check(t, func(t *rapid.T) {
		address := rapid.StringMatching(`[a-z0-9+_-]{1,20}@[a-z0-9]{1,20}\.[a-z]{2,6}`).Draw(t, "address")
		a, errA := account.ParseEmail(address)
		b, errB := account.ParseEmail(flip(t, address))
		if errA != nil || errB != nil || a != b || a.String() != address {
			t.Fatalf("%q and %q: %v, %v", a, b, errA, errB)
		}
		name := rapid.StringMatching(`[a-z0-9._-]{3,50}`).Filter(func(s string) bool { return !id.Looks(s) }).Draw(t, "name")
		u, errU := account.ParseUsername(flip(t, name))
		if errU != nil || u.Folded() != name || !strings.EqualFold(u.String(), name) {
			t.Fatalf("%q folds to %q, %v", u, u.Folded(), errU)
		}
		for i, l := range []account.Login{must(account.ParseLogin(flip(t, address), "")), must(account.ParseLogin("", flip(t, name)))} {
			if want := []string{address, name}[i]; l.String() != want {
				t.Fatalf("the sign-in is counted for %q, want %q", l, want)
			}
		}
	})
}

func must(l account.Login, err error) account.Login {
	if err != nil {
		panic(err)
	}
	return l
}

func TestFullName(t *testing.T) {
	for _, s := range []string{"", "Ann", "Ann Bø", "Zoë \u0308", "李小龍", "O'Neill-Smith, Jr.", "'; DROP TABLE users; --", "👩‍💻", strings.Repeat("é", 100), strings.Repeat("𝄞", 100)} {
		if got, err := account.ParseFullName(s); err != nil || got.String() != s {
			t.Errorf("ParseFullName(%q) = %q, %v", s, got, err)
		}
	}
	for _, s := range []string{
		strings.Repeat("x", 101), strings.Repeat("é", 101), strings.Repeat("𝄞", 101), strings.Repeat("x", 1<<20), "Ann\n", "Ann\r\nSet-Cookie: x", "Ann\x00", "Ann\x1b[2J", "Ann\x7f", "Ann\u0085", "Ann\u009b2J", "Ann\u2028", "Ann\u2029",
		"nnA\u202e", "\u200fAnn", "\u2066Ann\u2069", "\xff", "Ann\xc3", "\xed\xa0\x80",
	} {
		got, err := account.ParseFullName(s)
		refuses(t, err, "full_name", s)
		if got.String() != "" {
			t.Errorf("ParseFullName(%q) gives %q beside an error", s, got)
		}
	}
}

func TestRole(t *testing.T) {
	for _, s := range []string{"user", "admin"} {
		if r, err := account.ParseRole(s); err != nil || string(r) != s {
			t.Errorf("ParseRole(%q) = %q, %v", s, r, err)
		}
	}
	for _, s := range []string{"", "Admin", "ADMIN", "root", "admin ", "user,admin", "ａdmin"} {
		r, err := account.ParseRole(s)
		refuses(t, err, "role", s)
		if r != "" {
			t.Errorf("ParseRole(%q) gives %q beside an error", s, r)
		}
	}
}

func TestLogin(t *testing.T) {
	for _, both := range [][2]string{{"", ""}, {"ann@x.io", "ann"}, {" ", " "}, {"not one", "at all"}} {
		if l, err := account.ParseLogin(both[0], both[1]); !errors.Is(err, account.ErrNotOne) || l != (account.Login{}) {
			t.Errorf("ParseLogin%q = %v, %v; want ErrNotOne", both, l, err)
		}
	}
	for _, s := range []string{" ann", "ann ", "ａｎｎ", "an", "a\u0308nn", "ann\x00"} {
		l, err := account.ParseLogin("", s)
		if refuses(t, err, "username", s); l != (account.Login{}) {
			t.Errorf("ParseLogin(%q) gives %v beside an error", s, l)
		}
		l, err = account.ParseLogin(s+"@x.io ", "")
		if refuses(t, err, "email", s); l != (account.Login{}) {
			t.Errorf("ParseLogin(%q) gives %v beside an error", s, l)
		}
	}
}

// What is far too long is refused for its length before anything else is done with it: one small allocation, the error's own.
func TestTheLengthIsLookedAtFirst(t *testing.T) {
	for name, s := range map[string]string{"a 64 KiB local part": strings.Repeat("a", 64<<10) + "@x.io", "dots": strings.Repeat(".", 64<<10), "labels": "a@" + strings.Repeat("b.", 64<<10), "at signs": strings.Repeat("@", 64<<10),
		"quotes": `"` + strings.Repeat(`\"`, 32<<10) + `"@x.io`, "comments": strings.Repeat("(", 64<<10) + "a@x.io", "beyond ASCII": strings.Repeat("é", 32<<10)} {
		for field, parse := range map[string]func(){"email": func() { _, _ = account.ParseEmail(s) }, "username": func() { _, _ = account.ParseUsername(s) }, "full_name": func() { _, _ = account.ParseFullName(s) }} {
			const runs = 100
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			allocs := testing.AllocsPerRun(runs, parse)
			runtime.ReadMemStats(&after)
			if bytes := (after.TotalAlloc - before.TotalAlloc) / runs; allocs > 1 || bytes > 1024 {
				t.Errorf("%s as %s: %v allocations, %d bytes; want the error alone", name, field, allocs, bytes)
			}
		}
	}
}

func FuzzParseEmail(f *testing.F) {
	for _, s := range []string{"", "ann@x.io", "ANN@X.IO", `"a b"@x.io`, "a@[127.0.0.1]", "a(b)@c.d", "ａ@x.io", "a@b@c.d", "a@1.2.3.4", strings.Repeat("a", 64) + "@" + strings.Repeat("b.", 90) + "cd", "\xff@x.io"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := account.ParseEmail(s)
		if err != nil {
			if refuses(t, err, "email", s); !e.IsZero() {
				t.Errorf("%q beside an error", e)
			}
			return
		}
		got := e.String()
		again, err := account.ParseEmail(got)
		switch {
		case !strings.EqualFold(got, s) || got != strings.ToLower(s) || len(got) > account.MaxEmail:
			t.Errorf("%q became %q", s, got)
		case err != nil || again != e:
			t.Errorf("%q is no e-mail address a second time: %v", got, err)
		case strings.Count(got, "@") != 1 || strings.ContainsAny(got, " \"()<>[]:;,\\\x00\r\n\t\x7f") || strings.IndexFunc(got, func(r rune) bool { return r < '!' || r > '~' }) >= 0:
			t.Errorf("%q is taken for an e-mail address", s)
		}
	})
}

func FuzzParseUsername(f *testing.F) {
	for _, s := range []string{"", "ann", "Ann", " ann", "ａｎｎ", "0123456789abcdef0123456789ABCDEF", "...", "a@b", strings.Repeat("x", 51)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := account.ParseUsername(s)
		if err != nil {
			if refuses(t, err, "username", s); !u.IsZero() {
				t.Errorf("%q beside an error", u)
			}
			return
		}
		folded, err := account.ParseUsername(u.Folded())
		if u.String() != s || err != nil || folded.Folded() != u.Folded() || u.Folded() != strings.ToLower(s) || id.Looks(u.Folded()) || strings.Contains(s, "@") || len(s) < 3 || len(s) > 50 {
			t.Errorf("%q is taken for %q, folded %q, %v", s, u, u.Folded(), err)
		}
	})
}

func FuzzParseFullName(f *testing.F) {
	for _, s := range []string{"", "Ann Bø", "a\u0308", "\u202e", "\x1b[2J", "\u2028", "\xff", strings.Repeat("𝄞", 101)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := account.ParseFullName(s)
		switch {
		case err != nil:
			if refuses(t, err, "full_name", s); n.String() != "" {
				t.Errorf("%q beside an error", n)
			}
		case n.String() != s || !utf8.ValidString(s) || utf8.RuneCountInString(s) > 100 || strings.ContainsAny(s, "\x00\r\n\x1b\u2028\u2029\u202e\u0085"):
			t.Errorf("%q is taken for a name", s)
		}
	})
}
