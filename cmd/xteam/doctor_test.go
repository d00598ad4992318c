package main_test

import (
	"archive/zip"
	"bytes"
	"crypto/x509"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	xteam "github.com/xteam/xteam/cmd/xteam"
)

// examined is one check with settings, in a working directory of its own.
func examined(t *testing.T, id string, env map[string]string, now time.Time, vulndb string) xteam.Finding {
	t.Helper()
	if env == nil {
		env = map[string]string{}
	}
	if env["DATA_DIR"] == "" {
		env["DATA_DIR"] = filepath.Join(t.TempDir(), "data")
	}
	all, err := xteam.Examine(t.Context(), env, now, vulndb)
	check(t, err)
	f, ok := all[id]
	if !ok {
		t.Fatalf("there is no check %s", id)
	}
	return f
}

// wantVerdict holds a finding to its verdict, to words of what was seen, and to a fix where there is something to mend.
func wantVerdict(t *testing.T, f xteam.Finding, verdict, seen string) {
	t.Helper()
	if f.Verdict != verdict || !strings.Contains(f.Seen, seen) || (f.Verdict == "pass") != (f.Fix == "") {
		t.Errorf("%s: got %+v, want %s with %q, and a fix unless it passes", f.ID, f, verdict, seen)
		return
	}
	proves(f.ID, verdict)
}

// TestDoctorBefore: each check that needs no server is red for its own fault, and green once that is mended.
func TestDoctorBefore(t *testing.T) {
	now := time.Now()
	lasts := func(d time.Duration) map[string]string {
		p := newPair(t, issue(t, 7, func(c *x509.Certificate) { c.NotAfter = now.Add(d) }))
		return map[string]string{"SSL_CERTFILE": p.cert, "SSL_KEYFILE": p.key}
	}
	one, other := newPair(t, issue(t, 1)), newPair(t, issue(t, 2))
	for _, c := range []struct {
		id, verdict, seen string
		env               map[string]string
	}{
		{"secret_key.strength", "pass", "32 random bytes", nil},
		{"secret_key.strength", "pass", "32 bytes of no known pattern", map[string]string{"SECRET_KEY": key}},
		{"secret_key.strength", "fail", "SECRET_KEY is a value that", map[string]string{"SECRET_KEY": strings.Repeat("ab", 20)}},
		{"secret_key.strength", "fail", "ROOT_KEY is a value that", map[string]string{"ROOT_KEY": strings.Repeat("0123456789", 4)}},
		{"secret_key.strength", "unknown", "cannot be read", map[string]string{"SECRETS_URL": "file:///nowhere/at/all"}},

		{"tls.on", "fail", "nothing says", nil},
		{"tls.on", "fail", "too many may say so", map[string]string{"TRUSTED_PROXIES": "0.0.0.0/1"}},
		{"tls.on", "pass", "a proxy among", map[string]string{"TRUSTED_PROXIES": "10.0.0.1"}},
		{"tls.on", "pass", "valid until", lasts(90 * 24 * time.Hour)},
		{"tls.on", "warn", "9 days left", lasts(10*24*time.Hour - time.Minute)},
		{"tls.on", "fail", "that is over", lasts(-time.Minute)},
		{"tls.on", "fail", "no pair", map[string]string{"SSL_CERTFILE": one.cert, "SSL_KEYFILE": other.key}},

		{"cors.restricted", "pass", "no page", nil},
		{"cors.restricted", "pass", "https://app.example.com", map[string]string{"CORS_ORIGINS": "https://app.example.com"}},
		{"cors.restricted", "fail", "*", map[string]string{"CORS_ORIGINS": "*"}},
		{"cors.restricted", "fail", "http://app.example.com", map[string]string{"CORS_ORIGINS": "http://app.example.com"}},
		{"cors.restricted", "fail", "https://localhost", map[string]string{"CORS_ORIGINS": "https://localhost:3000"}},

		{"hosts.trusted", "fail", "any Host", nil},
		{"hosts.trusted", "pass", "refused", map[string]string{"TRUSTED_HOSTS": "example.com"}},

		{"ratelimit.on", "pass", "60 requests", nil},
		{"ratelimit.on", "fail", "shadow", map[string]string{"RATE_LIMIT_ENABLED": "shadow"}},
		{"ratelimit.on", "fail", "off", map[string]string{"RATE_LIMIT_ENABLED": "false"}},

		{"tokens.lifetime", "pass", "30m", nil},
		{"tokens.lifetime", "fail", "2h", map[string]string{"ACCESS_TOKEN_EXPIRE_MINUTES": "120"}},
		{"tokens.lifetime", "fail", "31 days", map[string]string{"REFRESH_TOKEN_EXPIRE_DAYS": "31", "SESSION_MAX_DAYS": "60"}},

		{"db.encrypted", "pass", "folder of this machine", nil},
		{"db.encrypted", "unknown", "cannot be used", map[string]string{"DATABASE_URL": "postgres://u:planted-password@127.0.0.1:1/x", "SECRET_KEY": key, "ROOT_KEY": key + "r"}},
		{"db.networks", "pass", "folder of this machine", nil},
		{"db.networks", "warn", "nobody says", map[string]string{"REDIS_URL": "redis://u:planted-password@127.0.0.1:1", "SECRET_KEY": key, "ROOT_KEY": key + "r"}},
		{"db.networks", "unknown", "REVOCATION_URL", map[string]string{"REDIS_URL": "redis://u:planted-password@127.0.0.1:1", "SECRET_KEY": key, "ROOT_KEY": key + "r", "DB_ALLOWED_NETWORKS": "127.0.0.0/8"}},
		{"db.networks", "unknown", "cannot be used", map[string]string{"DATABASE_URL": "postgres://u:planted-password@127.0.0.1:1/x", "SECRET_KEY": key, "ROOT_KEY": key + "r", "DB_ALLOWED_NETWORKS": "127.0.0.0/8"}},
		{"redis.auth", "pass", "no Redis", nil},
		{"redis.auth", "unknown", "REVOCATION_URL", map[string]string{"REDIS_URL": "redis://u:planted-password@127.0.0.1:1", "SECRET_KEY": key, "ROOT_KEY": key + "r"}},

		{"data.permissions", "pass", "not there yet", nil},
		{"files.folder", "pass", "not there yet", nil},
	} {
		t.Run(c.id+" "+c.verdict+" "+c.seen, func(t *testing.T) {
			t.Chdir(t.TempDir())
			f := examined(t, c.id, c.env, now, "")
			wantVerdict(t, f, c.verdict, c.seen)
			if strings.Contains(f.Seen+f.Fix, "planted") {
				t.Errorf("it shows a password: %+v", f)
			}
		})
	}
}

// TestDoctorSecretsStorage: a file of secrets that others read, or that git holds, is red.
func TestDoctorSecretsStorage(t *testing.T) {
	t.Chdir(t.TempDir())
	look := func() xteam.Finding { return examined(t, "secrets.storage", nil, time.Now(), "") }
	wantVerdict(t, look(), "pass", "no file of them is open")
	check(t, os.WriteFile(".env", []byte("SECRET_KEY="+key+"\n"), 0o600))
	wantVerdict(t, look(), "pass", "no file of them is open")
	check(t, os.Chmod(".env", 0o644))
	wantVerdict(t, look(), "fail", "open to other users")
	check(t, os.Chmod(".env", 0o600))
	if _, err := exec.LookPath("git"); err != nil {
		t.Fatal("git is not installed: make deps")
	}
	git := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	git("init", "-q")
	wantVerdict(t, look(), "pass", "no file of them is open")
	git("add", "-f", ".env")
	wantVerdict(t, look(), "fail", "committed to git")
	git("rm", "-q", "--cached", ".env")
	t.Setenv("PATH", t.TempDir())
	wantVerdict(t, look(), "unknown", "could not be seen")

	folder := t.TempDir()
	kept := filepath.Join(folder, "secrets", "SECRET_KEY")
	check(t, os.Mkdir(filepath.Dir(kept), 0o700))
	check(t, os.WriteFile(kept, []byte(key), 0o644))
	check(t, os.Remove(".env"))
	wantVerdict(t, examined(t, "secrets.storage", map[string]string{"DATA_DIR": folder}, time.Now(), ""), "fail", "SECRET_KEY is open")
}

// TestDoctorFilesFolder: a folder of files that is not the one of the last start is red, as is one that servers cannot share.
func TestDoctorFilesFolder(t *testing.T) {
	folder, place := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "files")
	env := map[string]string{"DATA_DIR": folder, "UPLOAD_DIR": place}
	look := func() xteam.Finding { return examined(t, "files.folder", env, time.Now(), "") }
	put := func(dir, name, text string) {
		t.Helper()
		check(t, os.MkdirAll(dir, 0o700))
		check(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	wantVerdict(t, look(), "pass", "not there yet")
	check(t, os.MkdirAll(place, 0o700))
	wantVerdict(t, look(), "pass", "no file was ever put")
	put(folder, "files.mark", "00aa\n")
	wantVerdict(t, look(), "fail", "has no mark, where that one's is 00aa")
	put(place, "mark", "00bb\n")
	wantVerdict(t, look(), "fail", "its mark is 00bb")
	put(place, "mark", "my shopping list\n")
	wantVerdict(t, look(), "unknown", "cannot be looked at")
	put(place, "mark", "00aa\n")
	wantVerdict(t, look(), "pass", "00aa")
	check(t, os.RemoveAll(place))
	wantVerdict(t, look(), "fail", "missing")
}

// TestDoctorDataPermissions: state that others can read or replace is red.
func TestDoctorDataPermissions(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "data")
	env := map[string]string{"DATA_DIR": folder}
	look := func() xteam.Finding { return examined(t, "data.permissions", env, time.Now(), "") }
	check(t, os.MkdirAll(filepath.Join(folder, "deep"), 0o700))
	wantVerdict(t, look(), "pass", "alone")
	check(t, os.Chmod(folder, 0o750))
	wantVerdict(t, look(), "fail", "open to other users")
	check(t, os.Chmod(folder, 0o722))
	wantVerdict(t, look(), "fail", "can write")
	check(t, os.Chmod(folder, 0o700))
	file := filepath.Join(folder, "deep", "000001.vlog")
	check(t, os.WriteFile(file, nil, 0o604))
	wantVerdict(t, look(), "fail", "000001.vlog")
	check(t, os.Chmod(file, 0o600))
	log := filepath.Join(t.TempDir(), "log")
	check(t, os.WriteFile(log, nil, 0o644))
	env["LOG_FILE"] = log
	wantVerdict(t, look(), "warn", "log")
	check(t, os.Chmod(log, 0o640))
	wantVerdict(t, look(), "pass", "alone")
}

const entries = `{"schema_version":"1.3.1","id":"GO-2099-0001","modified":"2099-01-02T00:00:00Z","affected":[{"package":{"name":"example.com/m","ecosystem":"Go"},
"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.2.3"},{"introduced":"1.4.0"},{"fixed":"1.4.2"}]}]}]}
{"id":"GO-2099-0002","modified":"2099-01-01T00:00:00Z","withdrawn":"2099-01-01T00:00:00Z","affected":[{"package":{"name":"example.com/m","ecosystem":"Go"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}]}]}
{"id":"GO-2099-0003","modified":"2098-01-01T00:00:00Z","affected":[{"package":{"name":"stdlib","ecosystem":"Go"},"ranges":[{"type":"SEMVER","events":[{"introduced":"1.20.0-0"},{"fixed":"1.20.5"}]}]}]}
`

// TestVulnerabilities: ranges, withdrawn entries and the three forms of a database.
func TestVulnerabilities(t *testing.T) {
	dir := t.TempDir()
	file, folder, archive := filepath.Join(dir, "all.json"), filepath.Join(dir, "db"), filepath.Join(dir, "vulndb.zip")
	check(t, os.WriteFile(file, []byte(entries), 0o600))
	check(t, os.MkdirAll(filepath.Join(folder, "ID"), 0o700))
	var packed bytes.Buffer
	w := zip.NewWriter(&packed)
	for i, one := range strings.Split(strings.TrimSpace(entries), "\n{") {
		if i > 0 {
			one = "{" + one
		}
		name := "ID/" + string(rune('a'+i)) + ".json"
		check(t, os.WriteFile(filepath.Join(folder, name), []byte(one), 0o600))
		f, err := w.Create(name)
		check(t, err)
		_, err = f.Write([]byte(one))
		check(t, err)
	}
	index, err := w.Create("index/db.json")
	check(t, err)
	_, err = index.Write([]byte(`{"modified":"2100-01-01T00:00:00Z"}`))
	check(t, err)
	check(t, w.Close())
	check(t, os.WriteFile(archive, packed.Bytes(), 0o600))
	for version, want := range map[string][]string{
		"v1.2.2": {"GO-2099-0001 in example.com/m v1.2.2 (fixed in v1.2.3)"}, "v1.2.3": nil, "v1.3.9": nil, "v1.4.1": {"GO-2099-0001 in example.com/m v1.4.1 (fixed in v1.4.2)"}, "v1.4.2": nil,
		"v0.0.0-20200101000000-abcdefabcdef": {"GO-2099-0001 in example.com/m v0.0.0-20200101000000-abcdefabcdef (fixed in v1.2.3)"},
	} {
		for _, database := range []string{file, folder, archive} {
			newest, read, hits, err := xteam.Scan(database, map[string]string{"example.com/m": version, "stdlib": "v1.20.5"})
			check(t, err)
			if diff := cmp.Diff(want, hits); diff != "" || read != 3 || newest.Year() != 2099 {
				t.Errorf("%s, %s: read %d up to %v (-want +got):\n%s", filepath.Base(database), version, read, newest, diff)
			}
		}
	}
	if _, _, hits, _ := xteam.Scan(file, map[string]string{"stdlib": "v1.20.4"}); len(hits) != 1 {
		t.Errorf("the standard library: %v", hits)
	}
	if v := xteam.Linked()["stdlib"]; !strings.HasPrefix(v, "v1.") {
		t.Errorf("this program's standard library is %q", v)
	}

	clean := filepath.Join(dir, "clean.json")
	check(t, os.WriteFile(clean, []byte(strings.ReplaceAll(entries, "stdlib", "nothing")), 0o600))
	hit := filepath.Join(dir, "hit.json")
	check(t, os.WriteFile(hit, []byte(`{"id":"GO-2099-0009","modified":"2099-01-02T00:00:00Z","affected":[{"package":{"name":"stdlib","ecosystem":"Go"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}]}]}`), 0o600))
	day := time.Date(2099, 1, 10, 0, 0, 0, 0, time.UTC)
	wantVerdict(t, examined(t, "deps.scanned", nil, day, clean), "pass", "no known vulnerability of 3 entries up to 2099-01-02")
	wantVerdict(t, examined(t, "deps.scanned", nil, day.AddDate(0, 0, 40), clean), "warn", "48 days ago")
	wantVerdict(t, examined(t, "deps.scanned", nil, day, hit), "fail", "GO-2099-0009 in stdlib")
	wantVerdict(t, examined(t, "deps.scanned", nil, day, ""), "unknown", "no vulnerability database")
	wantVerdict(t, examined(t, "deps.scanned", nil, day, filepath.Join(dir, "nowhere")), "unknown", "cannot be read")
	check(t, os.WriteFile(clean, []byte("no JSON at all"), 0o600))
	wantVerdict(t, examined(t, "deps.scanned", nil, day, clean), "unknown", "no entry")
}

// TestProductionIsRefusedForWhatTheDoctorSays: of the settings alone, each check that is marked and fails stops a start in production, all at once.
func TestProductionIsRefusedForWhatTheDoctorSays(t *testing.T) {
	t.Chdir(t.TempDir())
	env := map[string]string{"DATA_DIR": t.TempDir(), "SECRET_KEY": strings.Repeat("ab", 20), "CORS_ORIGINS": "*"}
	all, err := xteam.Examine(t.Context(), env, time.Now(), "")
	check(t, err)
	env["ENVIRONMENT"], env["ROOT_KEY"] = "production", key
	_, unfit, err := xteam.ParseEdge(env)
	check(t, err)
	why := strings.Join(unfit, "\n")
	for id, setting := range map[string]string{"secret_key.strength": "SECRET_KEY", "tls.on": "SSL_CERTFILE", "cors.restricted": "CORS_ORIGINS", "hosts.trusted": "TRUSTED_HOSTS"} {
		if all[id].Verdict != "fail" || !strings.Contains(why, setting+":") || !slices.Contains(xteam.Musts(), id) {
			t.Errorf("%s: the doctor says %s, and the start names:\n%s", id, all[id].Verdict, why)
		}
	}
}

// TestDoctorCommand prints a line for each check, exits 1 for a failure, and as JSON has the contract's form.
func TestDoctorCommand(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("DATA_DIR", filepath.Join(t.TempDir(), "data"))
	var out, errs bytes.Buffer
	if code := xteam.Run(t.Context(), []string{"doctor"}, nil, &out, &errs); code != 1 || !strings.Contains(out.String(), "fail     tls.on!") || !strings.Contains(out.String(), "→ TRUSTED_HOSTS") ||
		!strings.Contains(errs.String(), "a check failed") {
		t.Errorf("exit %d\n%s%s", code, &out, &errs)
	}
	out.Reset()
	t.Setenv("TRUSTED_PROXIES", "10.0.0.1")
	t.Setenv("TRUSTED_HOSTS", "example.com")
	if code := xteam.Run(t.Context(), []string{"doctor", "--json"}, nil, &out, &errs); code != 0 {
		t.Errorf("exit %d\n%s", code, &out)
	}
	var d struct {
		Checks []map[string]string `json:"checks"`
	}
	check(t, json.Unmarshal(out.Bytes(), &d))
	for _, c := range d.Checks {
		if c["id"] == "" || c["seen"] == "" || !slices.Contains([]string{"pass", "warn", "unknown"}, c["verdict"]) {
			t.Errorf("got %v", c)
		}
	}
	if len(d.Checks) != 17 {
		t.Errorf("got %d checks, want 17", len(d.Checks))
	}
}
