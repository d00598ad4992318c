package account_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/xteam/xteam/domain/account"
)

// check judges a password of an account of which nothing is known.
func check(p string) error { return account.CheckPassword(p, account.Email{}, account.Username{}) }

func TestPassword(t *testing.T) {
	for _, p := range []string{
		"12345-78", "pass w0rd", strings.Repeat("x", 64), strings.Repeat("x", 72), strings.Repeat("é", 36), strings.Repeat("𝄞", 18), "éééééééé", "𝄞𝄞𝄞𝄞𝄞𝄞𝄞𝄞", "        ", " pad pad ", "with\ttab!", "a\x00b\x00c\x00d\x00",
	} {
		if err := check(p); err != nil {
			t.Errorf("CheckPassword(%q) = %v, want nil", p, err)
		}
	}
	for _, p := range []string{
		"", "1234567", "ééééééé", "𝄞𝄞𝄞𝄞𝄞𝄞𝄞" /* 28 bytes, 7 characters */, strings.Repeat("x", 73), strings.Repeat("é", 36) + "x", strings.Repeat("𝄞", 18) + "x", strings.Repeat("x", 1<<20), "1234567\xff", "\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8",
	} {
		refuses(t, check(p), "password", p)
	}
}

const breached = "password: must not be a common or breached one"

// TestCommonPassword is OWASP ASVS 5.0, 6.2.4 and 6.2.12.
func TestCommonPassword(t *testing.T) {
	for _, p := range []string{
		"password", "password123", "iloveyou", "iloveyou1", "qwertyuiop", "12345678", "123456789", "1234567890", "passw0rd", "P@ssw0rd", "Password1", "Password1!", "letmein1", "trustno1", "Welcome1", "Welcome123", "qwerty123", "1q2w3e4r",
		"1qaz2wsx", "zaq12wsx", "abcd1234", "aaaaaaaa", "00000000", "11223344", "87654321", "changeme", "Admin123", "administrator", "football", "Sunshine", "PASSWORD123", "PassWord123", "QwertyUiop",
	} {
		if err := check(p); err == nil || err.Error() != breached {
			t.Errorf("CheckPassword(%q) = %v, want %q", p, err, breached)
		}
	}
	for _, p := range []string{
		"correct horse battery staple", "password123 and then some", " password123", "password123 ", "password\n", "\npassword", "password\npassword1", "password\x00", "pässword123", "ｐａｓｓｗｏｒｄ", "~~~~~~~~~", "!!!!!!!!\x00", "\x00\x00\x00\x00\x00\x00\x00\x00", "𝄞password",
	} {
		if err := check(p); err != nil {
			t.Errorf("CheckPassword(%q) = %v, want nil", p, err)
		}
	}
}

// TestTheListOfCommonPasswords holds the file to what its search relies on, finds every entry, in any letter case, and nothing between two of them.
func TestTheListOfCommonPasswords(t *testing.T) {
	data, err := os.ReadFile("common.txt")
	if err != nil {
		t.Fatal(err)
	}
	body, ended := strings.CutSuffix(string(data), "\n")
	list := strings.Split(body, "\n")
	if !ended || len(list) < 10_000 || len(data) > 150_000 {
		t.Errorf("%d entries in %d bytes, the last one ended: %v; want at least 10,000 in at most 150,000, each ended", len(list), len(data), ended)
	}
	for i, p := range list {
		if len(p) < account.MinPassword || len(p) > account.MaxPassword || !utf8.ValidString(p) || utf8.RuneCountInString(p) < account.MinPassword || p != strings.ToLower(p) || strings.ContainsAny(p, " \t\r\x00") {
			t.Errorf("line %d, %q: want 8 to 72 bytes of valid UTF-8, in lower case, without spaces", i+1, p)
		}
		if i > 0 && p <= list[i-1] {
			t.Errorf("line %d, %q, stands after %q: want each once, in the order of their bytes", i+1, p, list[i-1])
		}
		for _, typed := range []string{p, strings.ToUpper(p)} {
			if err := check(typed); err == nil || err.Error() != breached {
				t.Errorf("line %d: CheckPassword(%q) = %v, want %q", i+1, typed, err, breached)
			}
		}
	}
	for _, p := range list {
		for _, near := range []string{p[1:], p[2:], p[:len(p)-1], "!" + p, p + "!", p + "\x00", p + "\n", p[:len(p)-1] + "~", "~" + p[1:], p[:4] + "\n" + p[5:]} {
			_, listed := slices.BinarySearch(list, near)
			if err := check(near); len(near) >= account.MinPassword && (err != nil && err.Error() == breached) != listed {
				t.Errorf("CheckPassword(%q) = %v; listed: %v", near, err, listed)
			}
		}
	}
}

func TestPasswordThatTheAccountTells(t *testing.T) {
	email, err := account.ParseEmail("Ann.Lee@example.com")
	if err != nil {
		t.Fatal(err)
	}
	name, err := account.ParseUsername("Annie-B")
	if err != nil {
		t.Fatal(err)
	}
	const want = "password: must not be the user name, the e-mail address or the product's name, not even with digits or signs added"
	for _, p := range []string{
		"annie-b1", "Annie-B1", "ANNIE-B2026", "1annie-b", "annie-b-annie-b", "annie-bannie-b", "!Annie-B!", "ann.lee1", "Ann.Lee2026!", "ann.lee@example.com", "ANN.LEE@EXAMPLE.COM", "ann.lee@example.com1",
		"xteam123", "XTeam2026!", "xteamxteam", "xteam-xteam", "123xteam", "   xteam", "xteam\u00a0\u00a0\u00a0",
	} {
		if err := account.CheckPassword(p, email, name); err == nil || err.Error() != want {
			t.Errorf("CheckPassword(%q) = %v, want %q", p, err, want)
		}
	}
	for _, p := range []string{
		"annie-b likes tea", "annie-b93018472", "xteam83651920", "xteam-annie-b", "xteam is down again", "example.com", "example1.com", "ann.lee@example.org", "lee.ann1", "ännie-b1",
	} {
		if err := account.CheckPassword(p, email, name); err != nil {
			t.Errorf("CheckPassword(%q) = %v, want nil", p, err)
		}
	}
	for _, p := range []string{"annie-b1", "ann.lee@example.com"} { // another's names are as good as any
		if err := check(p); err != nil {
			t.Errorf("CheckPassword(%q) of an account without names = %v, want nil", p, err)
		}
	}
}
