package main_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/xteam/xteam/app"
	xteam "github.com/xteam/xteam/cmd/xteam"
)

const key = "q7Zt0Lw4Vb9Xn2Rk8Hs5Jd1Fg6Pc3Mya"

func TestSettingsDefaults(t *testing.T) {
	got, err := xteam.Parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := xteam.Parsed{Addr: "127.0.0.1:8000", Folder: "data", Store: "data", Access: 30 * time.Minute, Refresh: 7 * 24 * time.Hour,
		Leeway: 30 * time.Second, BcryptCost: 12, LogFormat: "json", Issuer: "xteam", Strict: "false", Hasher: "bcrypt", MinFreeSpace: 256 << 20, UploadQuota: 1 << 30, Introspection: true}
	got.Limits = app.LimiterOptions{} // a test of their own
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("with nothing set (-want +got):\n%s", diff)
	}
}

func TestSettingsTaken(t *testing.T) {
	got, err := xteam.Parse(map[string]string{"HTTP_ADDR": "[::1]:0", "DATA_DIR": "/a/b/", "DATABASE_URL": "badger:///c/d", "ACCESS_TOKEN_EXPIRE_MINUTES": "1440",
		"REFRESH_TOKEN_EXPIRE_DAYS": "30", "JWT_LEEWAY": "0s", "BCRYPT_COST": "10", "PASSWORD_HASHER": "argon2id", "LOG_FORMAT": "text", "JWT_ISSUER": "i", "REVOCATION_STRICT": "true",
		"SECRET_KEY": key, "ROOT_KEY": key + "r", "SECRET_KEY_PREVIOUS": key + "1, " + key + "2", "ENVIRONMENT": "production",
		"RATE_LIMIT_AUTH": "5", "MIN_FREE_SPACE": "2MiB", "SECRETS_URL": "env:", "REDIS_URL": "", "TERM": "dumb"})
	if err != nil {
		t.Fatal(err)
	}
	want := xteam.Parsed{Addr: "[::1]:0", Folder: "/a/b", Store: "/c/d", Access: 24 * time.Hour, Refresh: 30 * 24 * time.Hour,
		BcryptCost: 10, LogFormat: "text", Issuer: "i", Strict: "true", Hasher: "argon2id", MinFreeSpace: 2 << 20, UploadQuota: 1 << 30}
	got.Limits = app.LimiterOptions{}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("with everything set (-want +got):\n%s", diff)
	}
}

// Every row refuses what it does not take, with its name, and shows no secret.
func TestSettingsRefused(t *testing.T) {
	bad := map[string][]string{
		"ENVIRONMENT":                 {"prod", "PROD", "x\ny"},
		"HTTP_ADDR":                   {"8000", "localhost", "localhost:http", "localhost:65536", "::1:80"},
		"DATA_DIR":                    {"a\x00b"},
		"DATABASE_URL":                {"postgres:///planted-secret", "mysql://u:planted-secret@h/d", "badger://host/path", "badger:relative", "badger:///", "planted-secret", "badger:///p?x=planted-secret"},
		"SECRET_KEY":                  {"planted-secret", key[:31]},
		"SECRET_KEY_PREVIOUS":         {"planted-secret", key + ",", key + ",planted-secret"},
		"ROOT_KEY":                    {"planted-secret"},
		"JWT_ALGORITHM":               {"none", "HS512", "hs256", "ES256,HS256"},
		"SECRETS_URL":                 {"planted-secret", "env", "env:x", "http://planted-secret", "vault"},
		"ROOT_KEY_PREVIOUS":           {"planted-secret"},
		"KEY_ROTATION_INTERVAL":       {"30", "59m", "-1h", "8761h", "1d"},
		"JWT_LEEWAY":                  {"30", "-1s", "2m1s"},
		"JWT_ISSUER":                  {strings.Repeat("i", 201)},
		"JWT_AUDIENCE":                {strings.Repeat("a", 201)},
		"ACCESS_TOKEN_EXPIRE_MINUTES": {"0", "1441", "-1", "30m", "99999999999999999999"},
		"REFRESH_TOKEN_EXPIRE_DAYS":   {"0", "366", "7d", "31"},
		"SESSION_MAX_DAYS":            {"0", "3651"},
		"TRUSTED_PROXIES":             {"*", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/8,", ",", "10.0.0.0/8 192.0.2.0/24", "proxy.example.com", "fe80::1%eth0", "::ffff:0.0.0.0/95", "10.0.0", "all"},
		"TRUSTED_PROXY_HEADER":        {"x-real-ip", "X-Real-IP", "x-forwarded-for,forwarded"},
		"TRUSTED_HOSTS":               {"https://example.com", "example.com:443", "example.com,", "*example.com", "example.com.", "a b"},
		"CORS_ORIGINS":                {"app.example.com", "https://app.example.com/", "https://*.example.com", "null", "https://app.example.com,", "https://App.example.com"},
		"COOKIE_MODE":                 {"true", "TRUE", "lax"},
		"SSL_CERTFILE":                {"a\x00b"},
		"SSL_KEYFILE":                 {"a\x00b"},
		"LOG_FILE":                    {"a\x00b"},
		"LOG_LEVEL":                   {"trace", "TRACE", "info+2"},
		"LOG_FORMAT":                  {"xml"},
		"PASSWORD_HASHER":             {"argon2", "argon2i", "Argon2", "scrypt", "bcrypt,argon2id"},
		"BCRYPT_COST":                 {"9", "17", "twelve"},
		"REVOCATION_MAX_STALENESS":    {"5", "99ms", "2h"},
		"REVOCATION_POLL":             {"1", "9ms", "5s"},
		"REVOCATION_STRICT":           {"yes", "1"},
		"UPLOAD_DIR":                  {"a\x00b"},
		"MAX_UPLOAD_SIZE":             {"0", "-1", "100MB", "1025GiB", "x", "99999999999999999999"},
		"UPLOAD_QUOTA":                {"0", "-1", "100MB", "1025GiB", "x"},
		"ALLOWED_EXTENSIONS":          {"py", ".exe", "*", ".py;.js", ".py,", ","},
		"MIN_FREE_SPACE":              {"256MB", "-1", "1.5GiB", "256 MiB", "MiB", "1025GiB", "1099511627777", "99999999999999999999", "1TiB", "+1"},
		"FEED_RETENTION":              {"1", "999ms", "25h", "0", "-1s"},
		"MAX_CONNECTIONS":             {"0", "-1", "1000001", "many"},
		"MAX_CONNECTIONS_PER_USER":    {"0", "-1", "1000001", "many"},
		"GRAPHQL_INTROSPECTION":       {"yes", "1", "YES"},
		"AUDIT_CHECKPOINTS":           {"a\x00b", "https://h/x", "syslog://h"},
		"AUDIT_WEBHOOK_URL":           {"planted-secret", "ftp://planted-secret@h/", "https://", "https:planted-secret", "https://h/#planted-secret"},
		"AUDIT_WEBHOOK_SECRET":        {"planted-secret", "whsec_planted-secret-planted-secret"},
		"AUDIT_WEBHOOK_PRIVATE":       {"yes", "1"},
		"ALERT_RULES":                 {"x", "unknown=1", "password_spraying", "password_spraying=0", "password_spraying=1/2", "password_spraying=1/1m/1m/1m", "epoch_raised=off,epoch_raised=1"},
		"EVENT_FILE":                  {"a\x00b"},
		"EVENT_SYSLOG_URL":            {"planted-secret", "syslog://", "http://planted-secret", "udp://h:514", "syslog://u:planted-secret@h", "syslog://h/planted-secret", "syslog://h:0", "syslog://h:65536", "syslog://h:syslog"},
		"ALERT_WEBHOOK_URL":           {"planted-secret", "ftp://planted-secret@h/", "https://", "https:planted-secret", "https://h/#planted-secret", "https://:443/planted-secret", "https://planted\x00@h/"},
		"ALERT_WEBHOOK_SECRET":        {"planted-secret", "whsec_planted-secret-planted-secret", "whsec_cGxhbnRlZA=="},
		"EVENT_FORMAT":                {"CEF ", "xml", "json,cef"},
		"DB_ALLOWED_NETWORKS":         {"here", "10.0.0.1/8", "10.0.0.0/8,", "10.0.0.0/33", "::ffff:10.0.0.0/90", "fe80::1%eth0"},
		"FIREWALL_URL":                {"planted-secret", "awswaf://", "awswaf://eu-central-1/REGIONAL?ipv4=planted-secret", "ftp://planted-secret@h/", "https://", "awssm://planted-secret/x"},
		"FIREWALL_SECRET":             {"planted-secret", "whsec_planted-secret-planted-secret", "whsec_cGxhbnRlZA=="},
		"FIREWALL_PRIVATE":            {"yes", "1"},
		"NOTIFY_WEBHOOK_URL":          {"planted-secret", "ftp://planted-secret@h/", "https://", "https:planted-secret", "https://h/#planted-secret"},
		"NOTIFY_WEBHOOK_SECRET":       {"planted-secret", "whsec_planted-secret-planted-secret"},
		"NOTIFY_WEBHOOK_PRIVATE":      {"yes", "1"},
		"PUBLIC_URL":                  {"id.example.com", "ftp://h/", "https://", "https://user:planted-secret@h/", "https://h/?a=b", "https://h/#x", "https://h?"},
		"ALERT_WEBHOOK_PRIVATE":       {"yes", "1", "10.0.0.0/8"},
		"AUDIT_RETENTION":             {"1", "23h", "-24h", "876001h", "400d"},
		"OTEL_EXPORTER_OTLP_ENDPOINT": {"127.0.0.1:4318", "grpc://x:4317", "http://u:p@x", "http://x?y", "http://"},
		"OTEL_EXPORTER_OTLP_HEADERS":  {"planted", "=x", "a b=c", "a=%zz", "a=b%0d%0ac"},
		"OTEL_TRACES_SAMPLER_ARG":     {"2", "-1", "NaN", "all"},
		"OTEL_METRIC_EXPORT_INTERVAL": {"0", "99", "1m", "-5"},
		"METRICS_ADDR":                {"9100", "localhost", "localhost:http", "localhost:65536"},

		"RATE_LIMIT_URL":                 {"redis://", "memory", "memory://", "http://:planted-secret@h"},
		"REDIS_URL":                      {"planted-secret", "redis:planted-secret", "memory:", "rediss://", "redis+http://h"},
		"REVOCATION_URL":                 {"planted-secret", "memory:", "postgres://u:planted-secret@h/d"},
		"RATE_LIMIT_ENABLED":             {"yes", "Yes", "1", "off"},
		"RATE_LIMIT_REQUESTS_PER_MINUTE": {"0", "-1", "1000000001", "60/m", "99999999999999999999"},
		"RATE_LIMIT_AUTH":                {"0", "1000000001", "5.0"},
		"RATE_LIMIT_READ":                {"0", "1000000001", "no number"},
		"RATE_LIMIT_WRITE":               {"0", "1000000001", "+"},
		"RATE_LIMIT_EXPENSIVE":           {"0", "1000000001", "1e3"},
		"RATE_LIMIT_REFRESH":             {"0", "1000000001", "0x10"},
		"RATE_LIMIT_API_KEY":             {"-1", "1000000001", "none"},
		"RATE_LIMIT_VERIFY":              {"-1", "1000000001", "none"},
	}
	for _, name := range xteam.SettingNames() {
		if len(bad[name]) == 0 {
			t.Errorf("%s: this test has no bad value for it", name)
		}
		for _, v := range bad[name] {
			_, err := xteam.Parse(map[string]string{name: v})
			if err == nil {
				t.Errorf("%s=%q was taken", name, v)
				continue
			}
			got := err.Error()
			if !strings.HasPrefix(got, name+": got ") || !strings.Contains(got, ", takes ") || strings.Contains(got, "\n") {
				t.Errorf("%s=%q: got %q, want one line: the name, what it got, what it takes", name, v, got)
			}
			if strings.Contains(got, "planted") || strings.Contains(got, key[:8]) || len(got) > 250 {
				t.Errorf("%s=%q: %q shows a secret, or too much", name, v, got)
			}
		}
	}
}

// TestWordsInAnyCase: a word of a fixed set means the same however it is written, and one that is none is shown as it was written. Of an algorithm the case counts, and it is told how it is spelt.
func TestWordsInAnyCase(t *testing.T) {
	words := map[string][]string{"ENVIRONMENT": {"development", "staging", "production"}, "RATE_LIMIT_ENABLED": {"true", "false", "shadow"}, "TRUSTED_PROXY_HEADER": {"x-forwarded-for", "forwarded"}, "COOKIE_MODE": {"on", "off"},
		"GRAPHQL_INTROSPECTION": {"true", "false", "on", "off"}, "LOG_LEVEL": {"debug", "info", "warn", "error"}, "LOG_FORMAT": {"json", "text"}, "PASSWORD_HASHER": {"bcrypt", "argon2id"}, "REVOCATION_STRICT": {"true", "false"},
		"AUDIT_WEBHOOK_PRIVATE": {"true", "false"}, "EVENT_FORMAT": {"json", "cef"}, "ALERT_WEBHOOK_PRIVATE": {"true", "false"}, "NOTIFY_WEBHOOK_PRIVATE": {"true", "false"}, "FIREWALL_PRIVATE": {"true", "false"}}
	for name, all := range words {
		for _, word := range all {
			env := map[string]string{name: word, "ROOT_KEY": key + "r"}
			want, err := xteam.Whole(env)
			if err != nil {
				t.Fatal(err)
			}
			for _, other := range []string{strings.ToUpper(word), strings.ToUpper(word[:1]) + word[1:]} {
				env[name] = other
				if got, err := xteam.Whole(env); err != nil || got != want {
					t.Errorf("%s=%s is not %s: %v", name, other, word, err)
				}
			}
		}
	}
	for _, row := range xteam.WordsOf() {
		if words[row] == nil {
			t.Errorf("%s: this test does not know its words", row)
		}
	}
	for env, want := range map[[2]string]string{
		{"LOG_LEVEL", "Loud"}: `LOG_LEVEL: got "Loud", takes debug, info, warn or error`, {"JWT_ALGORITHM", "eddsa"}: `JWT_ALGORITHM: got "eddsa", takes HS256, ES256, EdDSA, RS256 or PS256: it is spelt EdDSA`,
		{"JWT_ALGORITHM", "HS512"}: `JWT_ALGORITHM: got "HS512", takes HS256, ES256, EdDSA, RS256 or PS256`,
	} {
		if _, err := xteam.Parse(map[string]string{env[0]: env[1]}); err == nil || err.Error() != want {
			t.Errorf("%v: got %v, want %s", env, err, want)
		}
	}
}

// TestAlertRulesSayWhatIsWrong: which rule, which part of it, and what is accepted.
func TestAlertRulesSayWhatIsWrong(t *testing.T) {
	for v, want := range map[string]string{
		"epoch_raised=off,nonsense=1":      `there is no rule "nonsense"`,
		"epoch_raised=off,epoch_raised=1":  "the rule epoch_raised is named twice",
		"password_spraying=0":              `the rule password_spraying: its threshold is "0": it must be from 1 to 100000, or off`,
		"password_spraying=30/2":           `the rule password_spraying: its window is "2": it must be from 1s to 1h0m0s, such as 10m`,
		"password_spraying=30/5m/48h":      `the rule password_spraying: its cooldown is "48h": it must be from 1s to 24h0m0s, such as 10m`,
		"password_spraying=30/5m/15m/1m":   "the rule password_spraying: \"30/5m/15m/1m\" has too many parts",
		"refresh_reuse=2, password_typing": `there is no rule "password_typing"`,
	} {
		if _, err := xteam.Parse(map[string]string{"ALERT_RULES": v}); err == nil || !strings.HasPrefix(err.Error(), "ALERT_RULES: got ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it to say: %s", v, err, want)
		}
	}
}

func TestSettingsAllFaultsAtOnce(t *testing.T) {
	_, err := xteam.Parse(map[string]string{"ENVIRONMENT": "production", "BCRYPT_COST": "4", "LOG_LEVEL": "loud", "SECRET_KEY": "short",
		"REFRESH_TOKEN_EXPIRE_DAYS": "31", "REVOCATION_POLL": "5s", "AUDIT_WEBHOOK_URL": "https://h", "UPLOAD_QUOTA": "0", "SSL_CERTFILE": "c.pem"})
	want := []string{"SECRET_KEY: ", "LOG_LEVEL: ", "BCRYPT_COST: ", "UPLOAD_QUOTA: ", "REFRESH_TOKEN_EXPIRE_DAYS: ", "REVOCATION_POLL: ", "ROOT_KEY: ", "AUDIT_WEBHOOK_SECRET: ", "SSL_KEYFILE: "}
	if diff := cmp.Diff(want, faulty(err)); diff != "" {
		t.Errorf("the faults (-want +got):\n%s", diff)
	}
	// What two settings say together is judged only where both say something.
	_, err = xteam.Parse(map[string]string{"REFRESH_TOKEN_EXPIRE_DAYS": "0", "SESSION_MAX_DAYS": "9999", "REVOCATION_POLL": "1h", "REVOCATION_MAX_STALENESS": "5",
		"ENVIRONMENT": "productive"})
	want = []string{"ENVIRONMENT: ", "REFRESH_TOKEN_EXPIRE_DAYS: ", "SESSION_MAX_DAYS: ", "REVOCATION_MAX_STALENESS: "}
	if diff := cmp.Diff(want, faulty(err)); diff != "" {
		t.Errorf("the faults (-want +got):\n%s", diff)
	}
}

// What one server makes for itself, those that share a store with it do not have.
func TestSharedStoresNeedGivenSecrets(t *testing.T) {
	for name, url := range map[string]string{"DATABASE_URL": "postgres://u:planted-secret@h/d?sslmode=verify-full", "REDIS_URL": "rediss://:planted-secret@h1", "REVOCATION_URL": "redis+sentinel://h1:1,h2:2/main", "RATE_LIMIT_URL": "redis+cluster://h1:1,h2:2"} {
		_, err := xteam.Parse(map[string]string{name: url})
		if diff := cmp.Diff([]string{"SECRET_KEY: ", "ROOT_KEY: "}, faulty(err)); diff != "" {
			t.Errorf("%s without secrets (-want +got):\n%s", name, diff)
		}
		for _, more := range []map[string]string{{"SECRET_KEY": key, "ROOT_KEY": key + "r"}, {"JWT_ALGORITHM": "ES256", "ROOT_KEY": key + "r"}, {"SECRETS_URL": "file:///run/secrets"}} {
			more[name] = url
			if _, err := xteam.Parse(more); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// faulty are the names that an error begins its lines with.
func faulty(err error) (names []string) {
	if err == nil {
		return nil
	}
	for line := range strings.Lines(err.Error()) {
		name, _, _ := strings.Cut(line, " ")
		names = append(names, name+" ")
	}
	return names
}

func TestSettingsOfTheWebhooks(t *testing.T) {
	for _, of := range []string{"ALERT", "NOTIFY", "AUDIT"} {
		t.Run(of, func(t *testing.T) {
			settingsOfAWebhook(t, of+"_WEBHOOK_URL", of+"_WEBHOOK_SECRET", of+"_WEBHOOK_PRIVATE")
		})
	}
}

func settingsOfAWebhook(t *testing.T, url, word, private string) {
	for name, c := range map[string]struct {
		set  map[string]string
		want []string
	}{
		"a secret":               {map[string]string{url: "https://h/x", word: key}, nil},
		"a secret elsewhere":     {map[string]string{url: "https://h/x", "SECRETS_URL": "file:///run/secrets"}, nil},
		"none":                   {map[string]string{url: "https://h/x"}, []string{word + ": "}},
		"in the clear":           {map[string]string{url: "http://10.0.0.1/", word: key}, []string{url + ": "}},
		"in the clear, at home":  {map[string]string{url: "http://10.0.0.1/", word: key, private: "true"}, nil},
		"a secret without a use": {map[string]string{word: key}, nil},
	} {
		if url == "ALERT_WEBHOOK_URL" && name == "none" {
			c.want = nil // it is made
		}
		if url == "NOTIFY_WEBHOOK_URL" {
			c.set["PUBLIC_URL"] = "https://id.example.com"
		}
		_, err := xteam.Parse(c.set)
		if diff := cmp.Diff(c.want, faulty(err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// ALERT_WEBHOOK_URL does by itself, as long as no other server would make another secret, and no name could lead where nobody meant to go.
func TestAlertsNeedTheirAddressAlone(t *testing.T) {
	const url, word, private = "ALERT_WEBHOOK_URL", "ALERT_WEBHOOK_SECRET", "ALERT_WEBHOOK_PRIVATE"
	for name, c := range map[string]struct {
		set     map[string]string
		private bool
		want    []string
	}{
		"elsewhere":                        {map[string]string{url: "https://h/x"}, false, nil},
		"on this machine":                  {map[string]string{url: "http://127.0.0.1:9000/x"}, true, nil},
		"on this machine, by name":         {map[string]string{url: "https://localhost/x"}, true, nil},
		"on this machine, over IPv6":       {map[string]string{url: "http://[::1]:9000/x"}, true, nil},
		"on this machine, and told not to": {map[string]string{url: "http://127.0.0.1:9000/x", private: "false"}, false, []string{url + ": "}},
		"a name like this machine's":       {map[string]string{url: "http://127.0.0.1.example.com/x"}, false, []string{url + ": "}},
		"a private network":                {map[string]string{url: "http://10.0.0.1/x"}, false, []string{url + ": "}},
		"servers that share a store":       {map[string]string{url: "http://127.0.0.1:9000/x", "DATABASE_URL": "postgres://u@h/d", "SECRET_KEY": key, "ROOT_KEY": key + "r"}, true, []string{word + ": "}},
	} {
		got, err := xteam.Parse(c.set)
		if diff := cmp.Diff(c.want, faulty(err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if err == nil && got.AlertPrivate != c.private {
			t.Errorf("%s: private addresses are allowed: %v, want %v", name, got.AlertPrivate, c.private)
		}
	}
}

// GRAPHQL_INTROSPECTION is on and off as well as true and false.
func TestIntrospection(t *testing.T) {
	for v, want := range map[string]bool{"": true, "on": true, "true": true, "off": false, "false": false} {
		if got, err := xteam.Parse(map[string]string{"GRAPHQL_INTROSPECTION": v}); err != nil || got.Introspection != want {
			t.Errorf("GRAPHQL_INTROSPECTION=%s: %v (%v), want %v", v, got.Introspection, err, want)
		}
	}
}

// A file as long as MAX_UPLOAD_SIZE allows has a place, unless UPLOAD_QUOTA says that it has none.
func TestTheQuotaTakesAFile(t *testing.T) {
	for size, want := range map[string]int64{"1MiB": 1 << 30, "1GiB": 1 << 30, "2147483648": 2 << 30} {
		if got, err := xteam.Parse(map[string]string{"MAX_UPLOAD_SIZE": size}); err != nil || got.UploadQuota != want {
			t.Errorf("MAX_UPLOAD_SIZE=%s: a quota of %d (%v), want %d", size, got.UploadQuota, err, want)
		}
	}
	_, err := xteam.Parse(map[string]string{"MAX_UPLOAD_SIZE": "2GiB", "UPLOAD_QUOTA": "1GiB"})
	if diff := cmp.Diff([]string{"MAX_UPLOAD_SIZE: "}, faulty(err)); diff != "" {
		t.Errorf("a quota of less than a file (-want +got):\n%s", diff)
	}
}

func TestSettingsOfTheFirewall(t *testing.T) {
	const url, word = "FIREWALL_URL", "FIREWALL_SECRET"
	for name, c := range map[string]struct {
		set  map[string]string
		want []string
	}{
		"AWS WAF":               {map[string]string{url: "awswaf://us-east-1/CLOUDFRONT?ipv4=a/b&ipv6=c/d"}, nil},
		"a webhook":             {map[string]string{url: "https://h/x", word: key}, nil},
		"a secret elsewhere":    {map[string]string{url: "https://h/x", "SECRETS_URL": "file:///run/secrets"}, nil},
		"no secret":             {map[string]string{url: "https://h/x"}, []string{word + ": "}},
		"in the clear":          {map[string]string{url: "http://10.0.0.1/", word: key}, []string{url + ": "}},
		"in the clear, at home": {map[string]string{url: "http://10.0.0.1/", word: key, "FIREWALL_PRIVATE": "true"}, nil},
	} {
		_, err := xteam.Parse(c.set)
		if diff := cmp.Diff(c.want, faulty(err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestSettingsOfTheLimits(t *testing.T) {
	got, err := xteam.Parse(nil)
	want := app.LimiterOptions{Mode: app.Enforce, PerAddress: 60, Auth: 5, Read: 60, Write: 30, Expensive: 5, Refresh: 30}
	if diff := cmp.Diff(want, got.Limits, noFuncs); err != nil || diff != "" {
		t.Errorf("with nothing set: %v (-want +got):\n%s", err, diff)
	}
	got, err = xteam.Parse(map[string]string{"RATE_LIMIT_ENABLED": "shadow", "RATE_LIMIT_REQUESTS_PER_MINUTE": "1000000000", "RATE_LIMIT_AUTH": "1", "RATE_LIMIT_READ": "2", "RATE_LIMIT_WRITE": "3",
		"RATE_LIMIT_EXPENSIVE": "4", "RATE_LIMIT_REFRESH": "6", "RATE_LIMIT_VERIFY": "7", "RATE_LIMIT_API_KEY": "8", "RATE_LIMIT_URL": "memory:"})
	want = app.LimiterOptions{Mode: app.Shadow, PerAddress: 1_000_000_000, Auth: 1, Read: 2, Write: 3, Expensive: 4, Refresh: 6, Verify: 7, PerKey: 8}
	if diff := cmp.Diff(want, got.Limits, noFuncs); err != nil || diff != "" {
		t.Errorf("with everything set: %v (-want +got):\n%s", err, diff)
	}
	for v, want := range map[string]app.Mode{"true": app.Enforce, "false": app.Off} {
		if got, err := xteam.Parse(map[string]string{"RATE_LIMIT_ENABLED": v}); err != nil || got.Limits.Mode != want {
			t.Errorf("RATE_LIMIT_ENABLED=%s: %v, %v, want %v", v, got.Limits.Mode, err, want)
		}
	}
	// Production goes without them in no way.
	for _, v := range []string{"false", "shadow"} {
		_, err := xteam.Parse(map[string]string{"ENVIRONMENT": "production", "ROOT_KEY": key, "RATE_LIMIT_ENABLED": v})
		if diff := cmp.Diff([]string{"RATE_LIMIT_ENABLED: "}, faulty(err)); diff != "" {
			t.Errorf("production with RATE_LIMIT_ENABLED=%s (-want +got):\n%s", v, diff)
		}
	}
}

func TestMinFreeSpace(t *testing.T) {
	for v, want := range map[string]int64{"": 256 << 20, "0": 0, "0MiB": 0, "268435456": 256 << 20, "512KiB": 512 << 10, "1GiB": 1 << 30, "1024GiB": 1 << 40} {
		if got, err := xteam.Parse(map[string]string{"MIN_FREE_SPACE": v}); err != nil || got.MinFreeSpace != want {
			t.Errorf("MIN_FREE_SPACE=%s: got %d, %v, want %d", v, got.MinFreeSpace, err, want)
		}
	}
}

var noFuncs = cmpopts.IgnoreFields(app.LimiterOptions{}, "Now", "Logger")

func TestSettingsKeysApart(t *testing.T) {
	if _, err := xteam.Parse(map[string]string{"SECRET_KEY": key, "ROOT_KEY": key}); err == nil {
		t.Error("a ROOT_KEY that is SECRET_KEY was taken")
	}
	if _, err := xteam.Parse(map[string]string{"SECRET_KEY": key, "SECRET_KEY_PREVIOUS": key + "o, " + key + "r", "ROOT_KEY": key + "r"}); err == nil {
		t.Error("a ROOT_KEY that is one of SECRET_KEY_PREVIOUS was taken")
	}
}

func TestLoopback(t *testing.T) {
	for addr, want := range map[string]bool{"127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true, "localhost:1": true,
		":8000": false, "0.0.0.0:1": false, "[::]:1": false, "192.168.1.1:1": false, "example.com:1": false, "127.0.0.1.example.com:1": false} {
		if got := xteam.Loopback(addr); got != want {
			t.Errorf("loopback(%q): got %v, want %v", addr, got, want)
		}
	}
}
