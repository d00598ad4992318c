package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/xteam/xteam/adapters/httpapi"
)

// behind trusts proxies in 10/8, 2001:db8:1::/48 and the one address 192.0.2.7.
func behind(h httpapi.ProxyHeader) httpapi.Proxies {
	return httpapi.Proxies{Header: h, Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48"), netip.MustParsePrefix("::ffff:192.0.2.7/128")}}
}

// from is a request from a socket's other end, with header lines "Name: value".
func from(remote string, heads ...string) *http.Request {
	r := httptest.NewRequest("GET", "http://xteam.test/health", http.NoBody)
	r.RemoteAddr = remote
	for _, h := range heads {
		k, v, _ := strings.Cut(h, ":")
		r.Header.Add(k, strings.Trim(v, " "))
	}
	return r
}

// TestClientBySocket: with no trusted proxy, or a peer that is none, no header says where a request comes from (CVE-2020-28483 and others).
func TestClientBySocket(t *testing.T) {
	forged := []string{"X-Forwarded-For: 203.0.113.9", "Forwarded: for=203.0.113.9;proto=https", "X-Real-IP: 203.0.113.9", "True-Client-IP: 203.0.113.9",
		"X-Client-IP: 203.0.113.9", "CF-Connecting-IP: 203.0.113.9", "X_Forwarded_For: 203.0.113.9", "X-Forwarded-Proto: https", "Via: 1.1 203.0.113.9"}
	for _, p := range []httpapi.Proxies{{}, {Header: httpapi.Forwarded}, behind(httpapi.XForwardedFor), behind(httpapi.Forwarded)} {
		for remote, want := range map[string]string{
			"198.51.100.1:80": "198.51.100.1", "[::ffff:198.51.100.1]:80": "198.51.100.1", "[2001:db8::1]:80": "2001:db8::1", "[fe80::1%eth0]:80": "fe80::1",
			"@": "invalid IP", "": "invalid IP", "pipe": "invalid IP",
		} {
			if got, secure := httpapi.From(p, from(remote, forged...)); got.String() != want || secure {
				t.Errorf("%v: from %q: got %v, secure %v, want %s, false", p, remote, got, secure, want)
			}
		}
	}
	if got, _ := httpapi.From(httpapi.Proxies{}, from("10.0.0.1:80", forged...)); got.String() != "10.0.0.1" {
		t.Errorf("a private address is no proxy unless it was named: got %v", got)
	}
}

// TestClientBehindProxies: the one header is read from the right, past what is trusted, to the first that is not; what is no address stops it there.
func TestClientBehindProxies(t *testing.T) {
	const peer = "10.0.0.1:443"
	for _, try := range []struct{ remote, head, want string }{
		{peer, "", "10.0.0.1"},
		{peer, "203.0.113.9", "203.0.113.9"},
		{"192.0.2.7:1", "203.0.113.9", "203.0.113.9"},
		{"[::ffff:192.0.2.7]:1", "203.0.113.9", "203.0.113.9"},
		{"[::ffff:10.9.9.9]:1", "203.0.113.9", "203.0.113.9"},
		{"[2001:db8:1::2]:1", "203.0.113.9", "203.0.113.9"},
		{"[2001:db8:1::2%eth0]:1", "203.0.113.9", "203.0.113.9"},
		{"[2001:db8:2::2]:1", "203.0.113.9", "2001:db8:2::2"},
		{peer, "6.6.6.6, 203.0.113.9", "203.0.113.9"},
		{peer, "6.6.6.6,203.0.113.9, 10.0.0.2 ,\t2001:db8:1::9", "203.0.113.9"},
		{peer, "10.0.0.3, 10.0.0.2", "10.0.0.3"}, // all are ours: the farthest
		{peer, "6.6.6.6 | 203.0.113.9", "203.0.113.9"},
		{peer, "6.6.6.6, 203.0.113.9 | 10.0.0.2", "203.0.113.9"},
		{peer, "203.0.113.9 | ", "10.0.0.1"}, // an empty line attests nobody
		{peer, "::ffff:203.0.113.9", "203.0.113.9"},
		{peer, "203.0.113.9, ::ffff:10.0.0.2", "203.0.113.9"},
		{peer, "203.0.113.9:4711", "203.0.113.9"},
		{peer, "[2001:db8::9]", "2001:db8::9"},
		{peer, "[2001:db8::9]:4711", "2001:db8::9"},
		{peer, "2001:db8::9", "2001:db8::9"},
		{peer, "fe80::1%eth0", "fe80::1"},
		{peer, "[fe80::1%25eth0]:1", "fe80::1"},
		// Garbage stops the walk at the last good hop.
		{peer, "6.6.6.6, unknown", "10.0.0.1"},
		{peer, "6.6.6.6, _hidden, 10.0.0.2", "10.0.0.2"},
		{peer, "6.6.6.6,,10.0.0.2", "10.0.0.2"},
		{peer, "6.6.6.6,", "10.0.0.1"},
		{peer, "6.6.6.6, 203.0.113.999", "10.0.0.1"},
		{peer, "6.6.6.6, 203.0.113.09", "10.0.0.1"},
		{peer, "6.6.6.6, 0xcb007109", "10.0.0.1"},
		{peer, "6.6.6.6, 203.0.113.9:", "10.0.0.1"},
		{peer, "6.6.6.6, 203.0.113.9:x", "10.0.0.1"},
		{peer, "6.6.6.6, 203.0.113.9:123456", "10.0.0.1"},
		{peer, "6.6.6.6, [203.0.113.9]", "10.0.0.1"},
		{peer, "6.6.6.6, [2001:db8::9", "10.0.0.1"},
		{peer, "6.6.6.6, 2001:db8::9]", "10.0.0.1"},
		{peer, "6.6.6.6, [2001:db8::9]4711", "10.0.0.1"},
		{peer, `6.6.6.6, "203.0.113.9"`, "10.0.0.1"},
		{peer, "6.6.6.6, 203.0.113.9 10.0.0.2", "10.0.0.1"},
		{peer, "6.6.6.6, for=203.0.113.9", "10.0.0.1"},
		{peer, "6.6.6.6, " + strings.Repeat("2", 1<<16), "10.0.0.1"},
	} {
		heads := []string{"Forwarded: for=6.6.6.7", "X-Real-IP: 6.6.6.8"} // the others are ignored
		if try.head != "" {
			for line := range strings.SplitSeq(try.head, "|") {
				heads = append(heads, "X-Forwarded-For: "+line)
			}
		}
		if got, _ := httpapi.From(behind(httpapi.XForwardedFor), from(try.remote, heads...)); got.String() != try.want {
			t.Errorf("from %s, X-Forwarded-For: %.80s: got %v, want %s", try.remote, try.head, got, try.want)
		}
	}
}

// TestClientByForwarded: the same of RFC 7239. A string that the client left open swallows nothing that a proxy added.
func TestClientByForwarded(t *testing.T) {
	for head, want := range map[string]string{
		"":                               "10.0.0.1",
		"for=203.0.113.9":                "203.0.113.9",
		"FOR=203.0.113.9":                "203.0.113.9",
		`for="203.0.113.9"`:              "203.0.113.9",
		"for=203.0.113.9:80":             "203.0.113.9", // a token by no grammar, and yet sent
		`for="203.0.113.9:1"`:            "203.0.113.9",
		`for="203.0.113.9:_obf.port-1"`:  "203.0.113.9",
		`for="[2001:db8:cafe::17]:4711"`: "2001:db8:cafe::17",
		`for="\[2001:db8:cafe::17\]"`:    "2001:db8:cafe::17",
		`for="[::ffff:203.0.113.9]"`:     "203.0.113.9",
		`by=10.0.0.1;for=203.0.113.9;host="a,b;c";proto=https`:           "203.0.113.9",
		"for=203.0.113.9 ; proto=http":                                   "203.0.113.9",
		"for=203.0.113.9;":                                               "203.0.113.9",
		"for=6.6.6.6, for=203.0.113.9, for=10.0.0.2":                     "203.0.113.9",
		"for=6.6.6.6 | for=203.0.113.9":                                  "203.0.113.9",
		`for=6.6.6.6;host="\"," , for=203.0.113.9;by="\\"`:               "203.0.113.9",
		`for=", for=203.0.113.9`:                                         "203.0.113.9",
		`for="6.6.6.6, for=203.0.113.9;host="x,y", for=10.0.0.2`:         "203.0.113.9",
		`for=6.6.6.6;x="\, for=203.0.113.9`:                              "203.0.113.9",
		`for=" | for=203.0.113.9`:                                        "203.0.113.9",
		"for=6.6.6.6, for=unknown":                                       "10.0.0.1",
		"for=6.6.6.6, for=_hidden, for=10.0.0.2":                         "10.0.0.2",
		"for=6.6.6.6, proto=https":                                       "10.0.0.1",
		"for=6.6.6.6, for=203.0.113.9;for=203.0.113.8":                   "10.0.0.1",
		"for=6.6.6.6, for =203.0.113.9":                                  "10.0.0.1",
		"for=6.6.6.6, for= 203.0.113.9":                                  "10.0.0.1",
		`for=6.6.6.6, for="203.0.113.9`:                                  "10.0.0.1",
		`for=6.6.6.6, for=203.0.113.9"`:                                  "10.0.0.1",
		`for=6.6.6.6, for="203.0.113.9"x`:                                "10.0.0.1",
		`for=6.6.6.6, for="203.0.113.9\"`:                                "10.0.0.1",
		"for=6.6.6.6, for":                                               "10.0.0.1",
		"for=6.6.6.6, =203.0.113.9":                                      "10.0.0.1",
		"for=6.6.6.6, 203.0.113.9":                                       "10.0.0.1",
		"for=6.6.6.6, for=203.0.113.9;proto=http;proto=https":            "10.0.0.1",
		"for=6.6.6.6, for=203.0.113.9;prot o=http":                       "10.0.0.1",
		"for=6.6.6.6, " + strings.Repeat(`for="\\\\\\\\\\\\`, 1<<12):     "10.0.0.1",
		"for=6.6.6.6, for=203.0.113.9;x=" + strings.Repeat("x", 1<<16):   "203.0.113.9",
		"for=6.6.6.6, for=203.0.113.9;" + strings.Repeat(";", 1<<12):     "203.0.113.9",
		strings.Repeat("for=10.0.0.3,", 1<<12) + "for=10.0.0.2":          "10.0.0.3",
		`for="203.0.113.9";host="` + strings.Repeat(`\"`, 1<<12) + `"`:   "203.0.113.9",
		`for="203.0.113.9";host="` + strings.Repeat(`\"`, 1<<12) + `\\"`: "203.0.113.9",
	} {
		heads := []string{"X-Forwarded-For: 6.6.6.7", "X-Real-IP: 6.6.6.8"}
		if head != "" {
			for line := range strings.SplitSeq(head, "|") {
				heads = append(heads, "Forwarded: "+line)
			}
		}
		if got, _ := httpapi.From(behind(httpapi.Forwarded), from("10.0.0.1:1", heads...)); got.String() != want {
			t.Errorf("Forwarded: %.80s: got %v, want %s", head, got, want)
		}
	}
}

// TestSecureBehindProxies: a proxy's word that its client came over TLS counts from a trusted one only, and only where it told of that client.
func TestSecureBehindProxies(t *testing.T) {
	x, f := behind(httpapi.XForwardedFor), behind(httpapi.Forwarded)
	for _, try := range []struct {
		p     httpapi.Proxies
		heads string
		want  bool
	}{
		{x, "X-Forwarded-Proto: https", true},
		{x, "X-Forwarded-Proto: HTTPS", true},
		{x, "X-Forwarded-Proto: http, https", true}, // the nearest proxy's own word
		{x, "X-Forwarded-Proto: http|X-Forwarded-Proto: https", true},
		{x, "X-Forwarded-Proto: https, http", false},
		{x, "X-Forwarded-Proto: https|X-Forwarded-Proto: http", false},
		{x, "X-Forwarded-Proto: httpss", false},
		{x, "X-Forwarded-Proto: ", false},
		{x, "Forwarded: for=203.0.113.9;proto=https", false},
		{x, "", false},
		{f, "Forwarded: for=203.0.113.9;proto=https", true},
		{f, `Forwarded: for=203.0.113.9;Proto="HTTPS"`, true},
		{f, "Forwarded: for=203.0.113.9;proto=https, for=10.0.0.2;proto=http", true}, // plain between the proxies, TLS to the client
		{f, "Forwarded: for=203.0.113.9;proto=http, for=10.0.0.2;proto=https", false},
		{f, "Forwarded: for=6.6.6.6;proto=https, for=203.0.113.9;proto=http", false},
		{f, "Forwarded: for=203.0.113.9", false},
		{f, "Forwarded: for=unknown;proto=https", false},
		{f, "X-Forwarded-Proto: https", false},
	} {
		var heads []string
		if try.heads != "" {
			heads = strings.Split(try.heads, "|")
		}
		if _, got := httpapi.From(try.p, from("10.0.0.1:1", heads...)); got != try.want {
			t.Errorf("%s: got %v, want %v", try.heads, got, try.want)
		}
		if _, got := httpapi.From(try.p, from("198.51.100.1:1", heads...)); got {
			t.Errorf("%s: from one that is no proxy: got true", try.heads)
		}
	}
}

// FuzzClient: whatever the headers are, the answer is an address in its plain form, without a zone; and what a trusted proxy appends is believed,
// whatever its client wrote before it.
func FuzzClient(f *testing.F) {
	for _, s := range []string{"", "6.6.6.6", "6.6.6.6,", `for="`, `for=6.6.6.6;x="\`, `for="\"`, "for=unknown", "[::1]:80, fe80::1%e", `"`, `\"`, ",", `",",`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sent string) {
		for name, h := range map[string]httpapi.ProxyHeader{"X-Forwarded-For": httpapi.XForwardedFor, "Forwarded": httpapi.Forwarded} {
			r := from("10.0.0.1:1")
			r.Header[name] = []string{sent, sent}
			got, _ := httpapi.From(behind(h), r)
			if !got.IsValid() || got.Is4In6() || got.Zone() != "" {
				t.Fatalf("%s: %q: got %v", name, sent, got)
			}
			added := "203.0.113.9, 10.0.0.2:5"
			if h == httpapi.Forwarded {
				added = `for="203.0.113.9:1";host="a,\"b", for=10.0.0.2`
			}
			for _, lines := range [][]string{{sent, added}, {sent + "," + added}, {sent, sent + ", " + added}} {
				r.Header[name] = lines
				if got, _ := httpapi.From(behind(h), r); got != netip.MustParseAddr("203.0.113.9") {
					t.Fatalf("%s: %q: got %v, want what the proxy added", name, lines, got)
				}
			}
		}
	})
}
