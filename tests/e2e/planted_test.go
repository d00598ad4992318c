package e2e_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// planted are secrets, each by the place where it was put.
type planted map[string]string

// make is a new secret that has the form of no name and no e-mail address.
func (p planted) make(place string) string {
	p[place] = fmt.Sprintf("Planted!%d!secret#of(%s)", 1000+len(p), rand.Text())
	return p[place]
}

// forms are the ways in which a secret may lie in a file: as it is, in hexadecimal, and in base64 at each of the three offsets.
func forms(secret string) map[string][]byte {
	all := map[string][]byte{"raw": []byte(secret), "hex": []byte(hex.EncodeToString([]byte(secret))), "HEX": []byte(strings.ToUpper(hex.EncodeToString([]byte(secret))))}
	for shift := range 3 {
		padded := append(make([]byte, shift), secret...)
		padded = padded[:len(padded)/3*3]
		for name, e := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			text := e.EncodeToString(padded)
			if shift > 0 {
				text = text[4:] // shares bits with what stands before
			}
			all[fmt.Sprintf("%s at %d", name, shift)] = []byte(text)
		}
	}
	return all
}

// search names every planted secret that content holds.
func (p planted) search(t *testing.T, where string, content []byte) {
	t.Helper()
	for place, secret := range p {
		for form, text := range forms(secret) {
			if i := bytes.Index(content, text); i >= 0 {
				t.Errorf("%s holds the secret of %s, as %s: …%q…", where, place, form, content[max(0, i-80):min(len(content), i+len(text)+20)])
			}
		}
	}
}

// Whatever a client sends, and wherever, nothing that was written holds a password, a token or a key; at the debug level too.
func TestPlantedSecrets(t *testing.T) {
	p := planted{}
	folder := t.TempDir()
	logFile := filepath.Join(t.TempDir(), "xteam.log")
	env := environ(folder, "LOG_LEVEL=debug", "LOG_FILE="+logFile,
		"SECRET_KEY="+p.make("SECRET_KEY"), "ROOT_KEY="+p.make("ROOT_KEY"), "SECRET_KEY_PREVIOUS="+p.make("SECRET_KEY_PREVIOUS"))
	boss := p.make("the administrator's password")
	must(t, env, boss, "users", "create", "--email", "admin@example.com", "--username", "admin", "--role", "admin", "--full-name", p.make("users create, full name"), "--password-stdin")
	s := serve(t, env)

	// What is as it should be.
	tokens := 0
	keep := func(a answer) answer {
		for _, text := range []string{a.Access, a.Refresh} {
			if text != "" {
				tokens++
				p[fmt.Sprintf("token %d", tokens)] = text
				if i := strings.LastIndexByte(text, '.'); i > 0 {
					p[fmt.Sprintf("signature %d", tokens)] = text[i+1:]
				}
			}
		}
		return a
	}
	ann := object{"email": "ann@example.com", "username": "ann", "password": p.make("register, password"), "full_name": p.make("register, full name")}
	s.want(http.StatusCreated, http.MethodPost, register, "", ann)
	in := keep(s.want(http.StatusOK, http.MethodPost, login, "", object{"username": "ann", "password": ann["password"]}))
	in = keep(s.want(http.StatusOK, http.MethodPost, refresh, "", object{"refresh_token": in.Refresh}))
	s.want(http.StatusOK, http.MethodGet, me, in.Access, nil)
	changed := p.make("change-password, new")
	in = keep(s.want(http.StatusOK, http.MethodPost, "/api/v1/auth/change-password", in.Access, object{"current_password": ann["password"], "new_password": changed}))
	root := keep(s.want(http.StatusOK, http.MethodPost, login, "", object{"email": "admin@example.com", "password": boss}))

	// API keys: each is a secret from its first answer on.
	const keys = "/api/v1/api-keys"
	fresh := func(a answer) (id, text string) {
		t.Helper()
		var k struct{ ID, Key string }
		if err := json.Unmarshal([]byte(a.Text), &k); err != nil || len(k.Key) != 91 {
			t.Fatalf("a new key: %v, %s", err, a.Text)
		}
		tokens++
		p[fmt.Sprintf("API key %d", tokens)] = k.Key[40:83] // the id is no secret
		return k.ID, k.Key
	}
	kid, key := fresh(s.want(http.StatusCreated, http.MethodPost, keys, in.Access, object{"name": p.make("API key, name")}))
	s.want(http.StatusOK, http.MethodGet, me, key, nil)
	s.want(http.StatusForbidden, http.MethodPost, logout, key, nil)
	s.want(http.StatusOK, http.MethodGet, keys, in.Access, nil)
	next, rotated := fresh(s.want(http.StatusCreated, http.MethodPost, keys+"/"+kid+"/rotate", in.Access, object{"overlap_hours": 0}))
	s.want(http.StatusUnauthorized, http.MethodGet, me, key, nil)
	s.want(http.StatusNoContent, http.MethodDelete, keys+"/"+next, in.Access, nil)
	s.want(http.StatusUnauthorized, http.MethodGet, me, rotated, nil)
	s.want(http.StatusUnauthorized, http.MethodGet, me, rotated[:90]+"x", nil)

	// Secrets where they do not belong.
	tries := 0
	try := func(method, path, bearer string, body any) {
		t.Helper()
		tries++
		if a, err := s.call(method, path, bearer, body); err != nil || a.Status < 400 || a.Status >= 500 {
			t.Errorf("%s %s %v: got %d %s, %v, want a refusal", method, path, body, a.Status, a.Text, err)
		}
	}
	for _, field := range []string{"email", "username", "password", "full_name", "unknown"} {
		body := object{"email": fmt.Sprintf("bob%s@example.com", field[:2]), "username": "bob-" + field[:2], "password": p.make("register, password beside " + field)}
		switch field {
		case "full_name":
			body[field] = strings.Repeat(p.make("register, long "+field), 8)
		case "password":
			body[field] = strings.Repeat(p.make("register, long "+field), 3)
		default:
			body[field] = p.make("register, " + field)
		}
		try(http.MethodPost, register, "", body)
		body = object{"email": "ann@example.com", "password": p.make("login, wrong password beside " + field)}
		if field != "password" && field != "email" {
			body[field] = p.make("login, " + field)
		}
		if field == "email" {
			body[field] = p.make("login, email")
		}
		try(http.MethodPost, login, "", body)
	}
	try(http.MethodPost, register, "", object{"email": "ann@example.com", "username": "ann2", "password": p.make("register, taken e-mail")})
	try(http.MethodPost, login, "", object{"email": "nobody@example.com", "password": p.make("login, unknown user")})
	try(http.MethodPost, refresh, "", object{"refresh_token": p.make("refresh, garbage")})
	try(http.MethodPost, refresh, "", object{"refresh_token": in.Refresh + p.make("refresh, appended")})
	try(http.MethodPost, refresh, "", object{"refresh_token": []string{p.make("refresh, an array")}})
	try(http.MethodPost, "/api/v1/auth/change-password", in.Access, object{"current_password": p.make("change-password, current"), "new_password": p.make("change-password, new, refused")})
	try(http.MethodGet, me, p.make("bearer"), nil)
	try(http.MethodGet, me, in.Access[:len(in.Access)-4]+"AAAA", nil)
	try(http.MethodGet, me+"?access_token="+base64.RawURLEncoding.EncodeToString([]byte(p.make("query"))), "", nil)
	for _, field := range []string{"name", "scopes", "expires_in_days", "unknown"} {
		body := object{"name": "x"}
		body[field] = p.make("API keys, "+field) + "\x00"
		try(http.MethodPost, keys, in.Access, body)
	}
	try(http.MethodPost, keys+"/"+kid+"/rotate", in.Access, object{"overlap_hours": p.make("rotate, overlap_hours")})
	try(http.MethodDelete, keys+"/"+base64.RawURLEncoding.EncodeToString([]byte(p.make("API key, id in the path"))), in.Access, nil)
	try(http.MethodGet, me, "xt_prd_"+p.make("API key, bearer"), nil)
	for _, field := range []string{"user_id", "session_id", "token", "jti", "kid", "issued_before", "all", "dry_run", "unknown"} {
		// A kid is public and may be any text without a space.
		try(http.MethodPost, revoke, root.Access, object{field: p.make("revocations, "+field) + " "})
		try(http.MethodPost, revoke, in.Access, object{field: p.make("revocations by a user, " + field)})
	}
	try(http.MethodPost, "/api/v1/admin/revoke-user-tokens", root.Access, object{"user_id": p.make("revoke-user-tokens, user_id")})

	// Secrets in what is no request at all, or hardly one.
	raw := func(text string) {
		t.Helper()
		tries++
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, text) // the server may have refused it before its end
		_ = conn.(*net.TCPConn).CloseWrite()
		if b, err := io.ReadAll(conn); err == nil && bytes.HasPrefix(b, []byte("HTTP/1.1 2")) {
			t.Errorf("%q was answered with %q", text, b)
		}
	}
	body := func(text string) {
		t.Helper()
		for _, path := range []string{register, login, refresh, revoke} {
			raw(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: e2e\r\nConnection: close\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, root.Access, len(text), text))
		}
	}
	body(`{"email":"ann@example.com","password":"` + p.make("body cut off"))
	body(`{"email":"ann@example.com","password":"` + p.make("duplicate, first") + `","password":"` + p.make("duplicate, second") + `"}`)
	body(`{"` + p.make("field name") + `":1}`)
	body(p.make("no JSON"))
	body(`"` + p.make("a string") + `"`)
	body(`{"email":"ann@example.com","password":{"` + p.make("object, name") + `":"` + p.make("object, value") + `"}}`)
	body(`{"email":"ann@example.com","PASSWORD":"` + p.make("other case") + `"}`)
	body(`{"email":"ann@example.com","password":"x"} ` + p.make("trailing"))
	body("{\"email\":\"ann@example.com\",\"password\":\"" + p.make("invalid UTF-8") + "\xff\"}")
	body(strings.Repeat("[", 20000) + p.make("deep"))
	body(`{"password":"` + strings.Repeat(p.make("over a megabyte"), 40000) + `"}`)
	raw(p.make("no HTTP") + "\r\n\r\n")
	raw("GET /" + p.make("path, no version") + "\r\n\r\n")
	raw("GET /api/v1/users/me HTTP/1.1\r\nHost: e2e\r\n" + p.make("header without a colon") + "\r\n\r\n")
	raw("GET /api/v1/users/me HTTP/1.1\r\nHost: " + p.make("host") + "\r\n\r\n")
	raw("GET /api/v1/users/me HTTP/9.9\r\nAuthorization: Bearer " + p.make("version") + "\r\n\r\n")
	for _, header := range []string{"Authorization: Basic ", "Authorization: ", "Authorization: Bearer  ", "Proxy-Authorization: Basic ", "Cookie: __Host-xteam_at=", "X-API-Key: ", "Referer: http://e2e/?token=",
		"X-Request-ID: ", "Content-Encoding: ", "Content-Type: ", "Accept: ", "Accept-Language: ", "Origin: ", "X-Forwarded-For: ", "Forwarded: for=", "Expect: ", "Transfer-Encoding: ", "Upgrade: ", "If-None-Match: "} {
		raw("POST " + logout + " HTTP/1.1\r\nHost: e2e\r\nConnection: close\r\n" + header + p.make("header "+header) + "\r\nContent-Length: 0\r\n\r\n")
	}
	raw("GET " + me + " HTTP/1.1\r\nHost: e2e\r\nConnection: close\r\nAuthorization: Bearer " + p.make("first of two") + "\r\nAuthorization: Bearer " + p.make("second of two") + "\r\n\r\n")

	// Commands that fail.
	for _, args := range [][]string{{"revoke", "--token", "-"}, {"users", "create", "--email", "x", "--username", "y", "--password-stdin"}, {"users", "create", "--email", "ann@example.com", "--username", "ann3", "--password-stdin"}} {
		secret := p.make("standard input of " + strings.Join(args, " "))
		if r := xteam(t, env, secret, args...); r.code == 0 {
			t.Errorf("xteam %v went well", args)
		} else {
			p.search(t, fmt.Sprintf("the output of xteam %v", args), []byte(r.out+r.err))
		}
	}
	for _, e := range []string{"ROOT_KEY=", "SECRET_KEY="} { // a root key that opens nothing here
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		r := xteam(t, append(env, e+p.make("another "+e)), "", "serve")
		p.search(t, "the output of a second server", []byte(r.out+r.err))
	}

	// The audit trail, as it is shown and exported.
	for _, format := range []string{"jsonl", "cef"} {
		name := filepath.Join(t.TempDir(), "audit."+format)
		r := xteam(t, env, "", "audit", "export", "--out", name, "--format", format)
		if r.code != 0 {
			t.Errorf("xteam audit export: %d %s", r.code, r.err)
		}
		text, err := os.ReadFile(name)
		if err != nil || bytes.Count(text, []byte("ann@example.com")) == 0 {
			t.Errorf("the export, of %d bytes, %v, does not tell of ann", len(text), err)
		}
		p.search(t, "the export "+format, text)
	}
	if r := xteam(t, env, "", "audit", "tail", "-n", "100", "--json"); r.code != 0 {
		t.Errorf("xteam audit tail: %d %s", r.code, r.err)
	} else {
		p.search(t, "xteam audit tail", []byte(r.out))
	}

	keep(s.want(http.StatusOK, http.MethodPost, login, "", object{"username": "ann", "password": changed}))
	if err := s.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	r := xteam(t, append(env, "ROOT_KEY="+p.make("a wrong ROOT_KEY")), "", "serve")
	if r.code != 1 || strings.Count(r.err, "\n") != 1 || !strings.Contains(r.err, "ROOT_KEY") {
		t.Errorf("a start with another ROOT_KEY: got %d, %q, want 1 and one line that names it", r.code, r.err)
	}
	p.search(t, "the output of a start with another ROOT_KEY", []byte(r.out+r.err))

	// All that was written.
	p.search(t, "stdout", []byte(s.out.String()))
	p.search(t, "stderr", []byte(s.log.String()))
	log, err := os.ReadFile(logFile)
	if err != nil || !bytes.Contains(log, []byte(`"msg":"Authentication failed"`)) {
		t.Errorf("the log, of %d bytes, %v, does not tell of a failed sign-in", len(log), err)
	}
	p.search(t, "the log file", log)
	var files, size int
	err = filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if err == nil && d.Name() == "secrets" {
				return fs.SkipDir
			}
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		files++
		size += len(b)
		p.search(t, name, b)
		// Nor is there an address or a name that is to be sealed.
		for _, personal := range []string{"ann@example.com", "nobody@example.com"} {
			if bytes.Contains(b, []byte(personal)) {
				t.Errorf("%s holds %s in the clear", name, personal)
			}
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Errorf("the data folder: %d files, %v", files, err)
	}
	t.Logf("%d secrets, %d requests, %d files of %d bytes", len(p), tries, files, size)
}

// The search itself finds a secret in every form.
func TestPlantedSearch(t *testing.T) {
	secret := planted{}.make("here")
	for shift := range 3 {
		before := strings.Repeat("x", shift)
		for name, content := range map[string]string{
			"raw": secret, "hex": hex.EncodeToString([]byte(before + secret)), "base64": base64.StdEncoding.EncodeToString([]byte(before + secret + "after")), "base64url": base64.RawURLEncoding.EncodeToString([]byte(before + secret)),
		} {
			found := false
			for _, text := range forms(secret) {
				found = found || bytes.Contains([]byte(content), text)
			}
			if !found {
				t.Errorf("a secret as %s behind %d bytes is not found", name, shift)
			}
		}
	}
}
