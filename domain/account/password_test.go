package account_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/xteam/xteam/domain/account"
)

const (
	stronger   = " (a few words that nobody would put together are easy to keep and hard to guess)"
	tooCommon  = "must not be a common or breached one" + stronger
	tooSimilar = "must not be the e-mail address, the user name, the full name or the product's name with little added or changed" + stronger
)

// check judges a password of an account of which nothing is known.
func check(p string) error {
	return account.CheckPassword(p, account.Email{}, account.Username{}, account.FullName{})
}

func TestPassword(t *testing.T) {
	for _, p := range []string{
		"12345-78", "pass w0rd", strings.Repeat("x", 64), strings.Repeat("x", 72), strings.Repeat("é", 36), strings.Repeat("𝄞", 18), "éééééééé", "𝄞𝄞𝄞𝄞𝄞𝄞𝄞𝄞", "        ", " pad pad ", "with\ttab!",
	} {
		if err := check(p); err != nil {
			t.Errorf("CheckPassword(%q) = %v, want nil", p, err)
		}
	}
	for _, p := range []string{
		"", "1234567", "ééééééé", "𝄞𝄞𝄞𝄞𝄞𝄞𝄞" /* 28 bytes, 7 characters */, strings.Repeat("x", 73), strings.Repeat("é", 36) + "x", strings.Repeat("𝄞", 18) + "x", strings.Repeat("x", 1<<20), "1234567\xff", "\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8",
		"a\x00b\x00c\x00d\x00", "correct horse\x00", "\x00correct horse", "password\x00", "!!!!!!!!\x00", "\x00\x00\x00\x00\x00\x00\x00\x00", // bcrypt cannot tell them apart
	} {
		refuses(t, check(p), "password", p)
	}
}

// TestCommonPassword is OWASP ASVS 5.0, 6.2.4 and 6.2.12.
func TestCommonPassword(t *testing.T) {
	for _, p := range []string{
		"password", "password123", "iloveyou", "iloveyou1", "qwertyuiop", "12345678", "123456789", "1234567890", "passw0rd", "P@ssw0rd", "Password1", "Password1!", "letmein1", "trustno1", "Welcome1", "Welcome123", "qwerty123", "1q2w3e4r",
		"1qaz2wsx", "zaq12wsx", "abcd1234", "aaaaaaaa", "00000000", "11223344", "87654321", "changeme", "Admin123", "administrator", "football", "Sunshine", "PASSWORD123", "PassWord123", "QwertyUiop",
	} {
		if err := check(p); err == nil || err.Error() != "password: "+tooCommon {
			t.Errorf("CheckPassword(%q) = %v, want %q", p, err, tooCommon)
		}
	}
	for _, p := range []string{
		"correct horse battery staple", "password123 and then some", " password123", "password123 ", "password\n", "\npassword", "password\npassword1", "pässword123", "ｐａｓｓｗｏｒｄ", "~~~~~~~~~", "𝄞password",
	} {
		if err := check(p); err != nil {
			t.Errorf("CheckPassword(%q) = %v, want nil", p, err)
		}
	}
}

// TestTheListOfCommonPasswords finds what the list was made of, in any letter case, and nothing that only looks like it. Of the lists it knows the one that lies beside.
func TestTheListOfCommonPasswords(t *testing.T) {
	kept, err := os.ReadFile("common/kept.txt")
	if err != nil {
		t.Fatal(err)
	}
	list := strings.Fields(string(kept))
	if len(list) < 15_000 {
		t.Fatalf("%d passwords in common/kept.txt, want 15,000 or more", len(list))
	}
	for i, p := range list {
		for _, typed := range []string{p, strings.ToUpper(p)} {
			if err := check(typed); err == nil || err.Error() != "password: "+tooCommon {
				t.Errorf("line %d: CheckPassword(%q) = %v, want %q", i+1, typed, err, tooCommon)
			}
		}
		for _, other := range []string{" " + p, p + " ", p + "\x00", p + "\n", p[:4] + "\n" + p[5:]} {
			if err := check(other); len(other) <= account.MaxPassword && err != nil && err.Error() == "password: "+tooCommon {
				t.Errorf("line %d: CheckPassword(%q) = %v, want anything else", i+1, other, err)
			}
		}
	}
}

// TestTheFileOfCommonPasswords holds it to what the search and DECISIONS.md rely on: its form, its size, and how many passwords it is of, from which follows how many others it takes for one.
func TestTheFileOfCommonPasswords(t *testing.T) {
	data, err := os.ReadFile("common/passwords.bin")
	if err != nil {
		t.Fatal(err)
	}
	const firsts = 1 << 16
	three := func(i int) int { return int(data[3*i])<<16 | int(data[3*i+1])<<8 | int(data[3*i+2]) }
	n := three(firsts - 1)
	if len(data) != 3*(firsts+n) || len(data) > 8<<20 || n < 600_000 || n > 1<<20 {
		t.Fatalf("%d marks in %d bytes; want 600,000 to 1,048,576 marks of three bytes behind a table of 196,608, 8 MiB at most", n, len(data))
	}
	for first, from := 0, 0; first < firsts; first++ {
		to := three(first)
		if to < from {
			t.Fatalf("the table falls from %d to %d at %#04x", from, to, first)
		}
		for i := from + 1; i < to; i++ {
			if three(firsts+i-1) >= three(firsts+i) {
				t.Fatalf("mark %d is not above the one before it", i)
			}
		}
		from = to
	}
	wrong := 0
	for i := range 200_000 {
		if check(fmt.Sprintf("%d \x01 of nobody", i)) != nil {
			wrong++
		}
	}
	if wrong > 1 { // at one in 1.8 million, none nine times in ten; always the same ones
		t.Errorf("of 200,000 texts that are in no list %d were taken for common passwords", wrong)
	}
}

// TestSimilarToNames is OWASP ASVS 5.0, 6.2.11.
func TestSimilarToNames(t *testing.T) {
	email, err := account.ParseEmail("Ann.Lee@mail.firma.example")
	if err != nil {
		t.Fatal(err)
	}
	user, err := account.ParseUsername("Heron-B")
	if err != nil {
		t.Fatal(err)
	}
	name, err := account.ParseFullName("Ánn-Marie Jess von Lindström 李小龍")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{
		"heron-b1", "Heron-B1", "HERON-B2026", "1heron-b", "heron-b-heron-b", "heron-bheron-b", "!Heron-B!", "heronb2026", "Heron2026", "ann.lee1", "Ann.Lee2026!", "lee.ann1", "AnnLee99", "ann.lee@mail.firma.example",
		"ANN.LEE@MAIL.FIRMA.EXAMPLE", "ann.lee@mail.firma.example1", "firma2026", "mail.firma", "Lindström1", "LINDSTRÖM!", "von Lindström", "lindström von", "MarieLindström", "marie-ann-99", "李小龍李小龍!!", "李小龍 2026",
		"xteam123", "XTeam2026!", "xteamxteam", "xteam-heron-b", "123xteam", "   xteam", "xteam\u00a0\u00a0\u00a0", "h3r0n2026", "Lind5tröm7", "mörtsdnil", "mörtsdnil1", "norehnoreh", "eeleelee", "@nn1ee99", "J3$$2026", "je552026",
		"Lindtröm", "Lindsttröm", "lintström", "Lindstrem", "Lindströmab", "heronxyz", "xteamabc", "ann.lee@mail.firma.exampel",
	} {
		if err := account.CheckPassword(p, email, user, name); err == nil || err.Error() != "password: "+tooSimilar {
			t.Errorf("CheckPassword(%q) = %v, want %q", p, err, tooSimilar)
		}
	}
	for _, p := range []string{
		"heron-b likes tea", "heron-b93018472", "xteam83651920", "xteam is down again", "planning leeway", "heroncamp", "marie-curie", "Lindgrön", "example.com", "a.b.c.d.e.f", "annihilate", "xxtteeaamm", "mail from ann", "小龍李小 2026",
	} {
		if err := account.CheckPassword(p, email, user, name); err != nil {
			t.Errorf("CheckPassword(%q) = %v, want nil", p, err)
		}
	}
	for _, p := range []string{"heron-b1", "ann.lee@mail.firma.example", "lindström1"} { // another's names are as good as any
		if err := check(p); err != nil {
			t.Errorf("CheckPassword(%q) of an account without names = %v, want nil", p, err)
		}
	}
}

// TestNamesThatAreTooShort: one or two characters stand in every password.
func TestNamesThatAreTooShort(t *testing.T) {
	email, err := account.ParseEmail("a@b.io")
	if err != nil {
		t.Fatal(err)
	}
	name, err := account.ParseFullName("Ö O'K") // together they are long enough
	if err != nil {
		t.Fatal(err)
	}
	refuses(t, account.CheckPassword("öok-2026", email, account.Username{}, name), "password", "öok-2026")
	for _, p := range []string{"a8b2o7k1", "aabb8822", "ö-ö-ö-ö-ö"} {
		if err := account.CheckPassword(p, email, account.Username{}, name); err != nil {
			t.Errorf("CheckPassword(%q) = %v, want nil", p, err)
		}
	}
}

// BenchmarkPassword judges against the longest names that there may be. The list alone is to take 5 µs at most, and to allocate nothing.
func BenchmarkPassword(b *testing.B) {
	b.Run("common", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			if account.IsCommon(passwords[i%len(passwords)]) {
				b.Fatal("common")
			}
		}
	})
	b.Run("whole", func(b *testing.B) {
		email, _ := account.ParseEmail(strings.Repeat("l.", 31) + "l@" + strings.Repeat("abc.", 46) + "io")
		user, _ := account.ParseUsername(strings.Repeat("abc.", 12) + "u")
		name, _ := account.ParseFullName(strings.Repeat("abc ", 25))
		b.ReportAllocs()
		for i := range b.N {
			if err := account.CheckPassword(passwords[i%len(passwords)], email, user, name); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// passwords are good ones, as many as make the list be read everywhere.
var passwords = func() (list []string) {
	for i := range 1 << 14 {
		list = append(list, fmt.Sprintf("a long-legged heron in the reeds, no. %d", i))
	}
	return list
}()
