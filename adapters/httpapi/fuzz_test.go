package httpapi_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/domain/id"
)

// FuzzCursor: a cursor is one that its list would answer, in the one encoding that there is, or refused.
func FuzzCursor(f *testing.F) {
	ann := id.User{1}
	for _, list := range []string{"users", "sessions", "events"} {
		if first, err := httpapi.Cursor(list, "", ann); err == nil {
			f.Add(list, first, true)
			f.Add(list, first+"=", false)
		}
	}
	f.Add("users", "AAAAAAAAAAAAAAAAAAAAAAAA", false)
	f.Fuzz(func(t *testing.T, list, text string, own bool) {
		of := id.User{}
		if own {
			of = ann
		}
		again, err := httpapi.Cursor(list, text, of)
		if err == nil && text != "" && again != text {
			t.Errorf("%q of %s is read, and written as %q", text, list, again)
		}
	})
}

// FuzzOrigins: an origin that is taken is what a browser would send, to the letter.
func FuzzOrigins(f *testing.F) {
	for _, text := range []string{"https://app.example.com", "http://localhost:3000", "https://[::1]:8443", "*", "null", "https://a.b/", "https://A.b", "https://a.b:443", "https://a@b", "http://a\x00b", "https://ä.example"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o, err := httpapi.ParseOrigins([]string{text})
		if err != nil || o.Any() {
			return
		}
		for _, origin := range o.All() {
			u, err := url.Parse(origin)
			if err != nil || u.Scheme+"://"+u.Host != origin || strings.ToLower(origin) != origin || u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80" || strings.ContainsFunc(origin, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ',' }) {
				t.Errorf("%q is taken as the origin %q", text, origin)
			}
		}
	})
}

// FuzzHosts: what is taken for a host is a name or an address without signs that lead elsewhere, and is taken again as it is told.
func FuzzHosts(f *testing.F) {
	for _, text := range []string{"example.com", "*.example.com", "[::1]", "127.0.0.1", "::1", "*", "*.*", "a..b", "example.com.", "exa mple", "a:80", "fe80::1%eth0", "1.2.3", "[127.0.0.1]", "*.1.2.3.4"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := httpapi.ParseHosts([]string{text})
		if err != nil || h.Any() {
			return
		}
		again, err := httpapi.ParseHosts(h.Names())
		if err != nil || strings.Join(again.Names(), " ") != strings.Join(h.Names(), " ") {
			t.Errorf("%q is taken as %q, and that as %q (%v)", text, h.Names(), again.Names(), err)
		}
		if told := strings.Join(h.Names(), " "); strings.ContainsAny(told, "/@?#\\%,\"") || told == "" && !strings.Contains(text, "*") {
			t.Errorf("%q is taken as %q", text, told)
		}
	})
}
