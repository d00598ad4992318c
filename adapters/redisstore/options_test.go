package redisstore_test

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/adapters/redisstore"
	"github.com/xteam/xteam/domain/secret"
)

func statOf(info, command string) int {
	m := regexp.MustCompile(`(?m)^cmdstat_` + command + `:calls=(\d+)`).FindStringSubmatch(info)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

func TestParse(t *testing.T) {
	for url, want := range map[string]redisstore.Options{
		"redis://localhost":                       {Addresses: []string{"localhost:6379"}},
		"redis://:p%40ss@[::1]:7000/3":            {Addresses: []string{"[::1]:7000"}, Password: secret.New("p@ss"), DB: 3},
		"redis://[::1]":                           {Addresses: []string{"[::1]:6379"}},
		"rediss://u:pw@r.example.com/?ca=/ca.pem": {Addresses: []string{"r.example.com:6379"}, Username: "u", Password: secret.New("pw"), TLS: true, CAFile: "/ca.pem"},
		"redis+sentinel://u:pw@h1:26380,h2/mymaster?db=2&sentinel_username=s&sentinel_password=sp&namespace=a&tls=true&server_name=n": {Addresses: []string{"h1:26380", "h2:26379"},
			Master: "mymaster", DB: 2, Username: "u", Password: secret.New("pw"), SentinelUsername: "s", SentinelPassword: secret.New("sp"), Namespace: "a", TLS: true, ServerName: "n"},
		"rediss+sentinel://h1/m":          {Addresses: []string{"h1:26379"}, Master: "m", TLS: true},
		"redis+cluster://h1:7000,h2:7001": {Addresses: []string{"h1:7000", "h2:7001"}, Cluster: true},
		"rediss+cluster://u:p:q@h1/":      {Addresses: []string{"h1:6379"}, Cluster: true, TLS: true, Username: "u", Password: secret.New("p:q")},
	} {
		got, err := redisstore.Parse(url)
		if err != nil {
			t.Errorf("Parse(%q): %v", url, err)
			continue
		}
		got.Now, got.Logger = nil, nil
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b secret.Text) bool { return a.Equal(b) })); diff != "" {
			t.Errorf("Parse(%q) (-want +got):\n%s", url, diff)
		}
	}
	for _, url := range []string{"", "s3cr3t", "http://:s3cr3t@h", "redis://:s3cr3t@", "redis://:s3cr3t@h:0", "redis://:s3cr3t@h:70000", "redis://:s3cr3t@a,b", "redis://:s3cr3t@h/x",
		"redis://:s3cr3t@h/-1", "redis://:s3cr3t@h?db=1&db=2", "redis://:s3cr3t@h?s3cr3t=1", "redis+cluster://:s3cr3t@h/1", "redis+cluster://h?db=1", "redis+sentinel://:s3cr3t@h",
		"redis+sentinel://:s3cr3t@h/a/b", "redis://h?sentinel_password=s3cr3t", "rediss://:s3cr3t@h?tls=false", "redis://:s3cr3t%zz@h", "redis://s3cr3t%zz:x@h", "redis://:s3cr3t#x@h",
		"redis://:s3cr3t@h?%zz", "redis://:s3cr3t@1:2:3"} {
		if _, err := redisstore.Parse(url); !errors.Is(err, redisstore.ErrOptions) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("Parse(%q): got error %v, want a refusal that does not repeat it", url, err)
		}
	}
	for what, o := range map[string]redisstore.Options{
		"no host":                  {},
		"an authority, and no TLS": {Addresses: []string{"h:1"}, CAFile: "/ca.pem"},
		"a brace":                  {Addresses: []string{"h:1"}, Namespace: "a{b"},
	} {
		if _, err := redisstore.New(o); !errors.Is(err, redisstore.ErrOptions) {
			t.Errorf("New with %s: got error %v, want a refusal", what, err)
		}
	}
}

func TestExposed(t *testing.T) {
	for url, want := range map[string]bool{"redis://localhost": false, "redis://127.0.0.1": false, "redis://[::1]:1": false, "redis://r.example.com": true, "rediss://r.example.com": false,
		"redis+cluster://127.0.0.1,10.0.0.1": true} {
		o, err := redisstore.Parse(url)
		if err != nil || o.Exposed() != want {
			t.Errorf("Exposed of %s: got %v, %v, want %v", url, o.Exposed(), err, want)
		}
	}
}
