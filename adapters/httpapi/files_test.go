package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/adapters/diskfiles"
	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/adapters/mimetypes"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/upload"
	"github.com/xteam/xteam/ports"
)

const (
	filesAt     = "/api/v1/files"
	asMultipart = "Content-Type: multipart/form-data; boundary=edge"
	mostFile    = 300_000
)

func (*service) extensions() upload.Extensions {
	e, _ := upload.ParseExtensions([]string{".py", ".md", ".json"})
	return e
}

// asFile is the body of a form with one file.
func asFile(name, content string) string {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	_ = w.SetBoundary("edge")
	p, _ := w.CreateFormFile("file", name)
	_, _ = io.WriteString(p, content)
	_ = w.Close()
	return b.String()
}

type sentFile struct {
	ID, Filename string
	Size         int64
}

func (s *service) upload(p pair, name, content string) *httptest.ResponseRecorder {
	return s.call("POST", filesAt, asFile(name, content), asMultipart, bearer(p))
}

func (s *service) uploaded(p pair, name, content string) (f sentFile) {
	s.t.Helper()
	w := s.upload(p, name, content)
	if err := json.Unmarshal(w.Body.Bytes(), &f); err != nil || w.Code != 201 {
		s.t.Fatalf("upload: %d %s", w.Code, w.Body)
	}
	return f
}

// onDisk is how many files take space.
func (s *service) onDisk() (n int) {
	s.t.Helper()
	check(s.t, filepath.WalkDir(s.folder, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != diskfiles.MarkName {
			n++
		}
		if os.IsNotExist(err) {
			return nil
		}
		return err
	}))
	return n
}

func TestFilesOverREST(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	s.user("bob", account.RoleUser)
	s.user("root", account.RoleAdmin)
	ann, bob, root := s.signIn("ann"), s.signIn("bob"), s.signIn("root")
	content := "# Straße\n" + strings.Repeat("x", 200_000)
	w := s.upload(ann, `..\Ängstlich "\.md`, content)
	var f sentFile
	check(t, json.Unmarshal(w.Body.Bytes(), &f))
	if w.Code != 201 || f.Filename != `_.md` && f.Filename != `Ängstlich __.md` || f.Size != int64(len(content)) || len(f.ID) != 32 {
		t.Fatalf("upload: %d %s", w.Code, w.Body)
	}
	f = s.uploaded(ann, "Ängstlich.md", content)
	at := filesAt + "/" + f.ID
	w = s.call("GET", at, "", bearer(ann))
	if w.Code != 200 || w.Body.String() != content {
		t.Fatalf("download: %d, %d bytes", w.Code, w.Body.Len())
	}
	for name, want := range map[string]string{"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
		"Content-Disposition": `attachment; filename="_ngstlich.md"; filename*=UTF-8''%C3%84ngstlich.md`, "Cache-Control": "no-store", "Accept-Ranges": "bytes", "Etag": `"` + f.ID + `"`} {
		if got := w.Header()[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if w := s.call("HEAD", at, "", bearer(ann)); w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Length") != fmt.Sprint(len(content)) {
		t.Errorf("HEAD: %d %v", w.Code, w.Header())
	}
	never := filesAt + "/" + strings.Repeat("a", 32)
	for who, p := range map[string]pair{"another user": bob, "an administrator": root} {
		for _, method := range []string{"GET", "DELETE", "HEAD"} {
			theirs, none := s.call(method, at, "", bearer(p), "X-Request-Id: same"), s.call(method, never, "", bearer(p), "X-Request-Id: same")
			if theirs.Code != 404 || none.Code != 404 || theirs.Body.String() != none.Body.String() {
				t.Errorf("%s by %s: %d %s, want as of what never was: %d %s", method, who, theirs.Code, theirs.Body, none.Code, none.Body)
			}
		}
		if w := s.call("GET", filesAt, "", bearer(p)); w.Code != 200 || w.Body.String() != `{"items":[],"next":null}` {
			t.Errorf("the list of %s: %d %s", who, w.Code, w.Body)
		}
	}
	key := s.key(ann, "users:read", "api-keys:write")
	for _, target := range []string{"GET " + filesAt, "GET " + at, "DELETE " + at} {
		method, path, _ := strings.Cut(target, " ")
		wants(t, s.call(method, path, "", "X-API-Key: "+key.Key), 403, "forbidden")
		wants(t, s.call(method, path, ""), 401, "token_missing")
	}
	wants(t, s.call("POST", filesAt, asFile("a.md", "x"), asMultipart, "X-API-Key: "+key.Key), 403, "forbidden")
	wants(t, s.call("POST", filesAt, asFile("a.md", "x"), asMultipart), 401, "token_missing")
	for _, bad := range []string{"/x", "/" + strings.ToUpper(f.ID), "/%2e%2e%2fsecret", "/" + strings.Repeat("0", 32)} {
		wants(t, s.call("GET", filesAt+bad, "", bearer(ann)), 404, "not_found")
	}
	if w := s.call("DELETE", at, "", bearer(ann)); w.Code != 204 {
		t.Errorf("delete: %d %s", w.Code, w.Body)
	}
	wants(t, s.call("DELETE", at, "", bearer(ann)), 404, "not_found")
	wants(t, s.call("GET", at, "", bearer(ann)), 404, "not_found")
	if n := s.onDisk(); n != 1 {
		t.Errorf("%d files are on the disk, want 1", n)
	}
	wants(t, s.call("DELETE", "/api/v1/admin/users/ann/files", "", bearer(ann)), 403, "forbidden")
	if w := s.call("DELETE", "/api/v1/admin/users/ann/files", "", bearer(root)); w.Code != 200 || w.Body.String() != `{"deleted":1}` || s.onDisk() != 0 {
		t.Errorf("delete all of a user: %d %s", w.Code, w.Body)
	}
}

func TestRangesOfFiles(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	ann := s.signIn("ann")
	const content = "0123456789"
	f, empty := s.uploaded(ann, "a.md", content), s.uploaded(ann, "b.md", "")
	tag := `"` + f.ID + `"`
	for _, c := range []struct {
		heads  string
		status int
		body   string
	}{
		{"Range: bytes=0-3", 206, "0123"}, {"Range: bytes=8-", 206, "89"}, {"Range: bytes=-3", 206, "789"}, {"Range: bytes=5-99999999999999999", 206, "56789"}, {"Range: bytes=-99", 206, content},
		{"Range: bytes=10-", 416, ""}, {"Range: bytes=10-20", 416, ""}, {"Range: bytes=-0", 416, ""},
		{"Range: bytes=3-1", 200, content}, {"Range: bytes=", 200, content}, {"Range: bytes=-", 200, content}, {"Range: lines=1-2", 200, content}, {"Range: bytes=a-b", 200, content},
		{"Range: bytes=99999999999999999999-", 200, content}, {"Range: bytes=0-0,2-2", 200, content}, {"Range: bytes=" + strings.Repeat("0-,", 5000) + "0-", 200, content}, {"Range: bytes=--1", 200, content},
		{"Range: bytes=0-1|If-Range: " + tag, 206, "01"}, {"Range: bytes=0-1|If-Range: \"other\"", 200, content}, {"Range: bytes=99-|If-Range: \"other\"", 200, content},
		{"If-None-Match: " + tag, 304, ""}, {"If-None-Match: \"other\"", 200, content}, {"If-Match: \"other\"", 412, ""},
		{"Range: bytes=0-1|Range: bytes=2-3", 200, content}, {"If-Match: " + tag, 200, content},
		{"Range: bytes=10-|If-Match: " + tag, 416, ""}, {"Range: bytes=10-|If-None-Match: \"other\"", 416, ""}, {"Range: bytes=10-|If-None-Match: " + tag, 304, ""},
		{"Range: bytes=0-1|If-Match: \"other\"", 412, ""}, {"If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT", 412, ""},
	} {
		w := s.call("GET", filesAt+"/"+f.ID, "", append(strings.Split(c.heads, "|"), bearer(ann))...)
		if w.Code != c.status || c.status < 400 && w.Body.String() != c.body {
			t.Errorf("%.60s: got %d %.60q, want %d %q", c.heads, w.Code, w.Body, c.status, c.body)
		}
		if h := w.Header(); c.status >= 400 && (h.Get("Content-Disposition") != "" || h.Get("ETag") != "" || h.Get("Last-Modified") != "" || strings.Contains(h.Get("Content-Security-Policy"), "sandbox")) {
			t.Errorf("%s: a refusal with headers of the file: %v", c.heads, h)
		}
		if c.status == 412 {
			wants(t, w, 412, "precondition_failed")
		}
		if c.status == 416 {
			wants(t, w, 416, "range_not_satisfiable")
			if got := w.Header().Get("Content-Range"); got != "bytes */10" {
				t.Errorf("%s: Content-Range %q", c.heads, got)
			}
		}
	}
	if w := s.call("GET", filesAt+"/"+empty.ID, "", bearer(ann)); w.Code != 200 || w.Body.Len() != 0 {
		t.Errorf("an empty file: %d %s", w.Code, w.Body)
	}
	for _, r := range []string{"bytes=0-", "bytes=-1"} {
		wants(t, s.call("GET", filesAt+"/"+empty.ID, "", bearer(ann), "Range: "+r), 416, "range_not_satisfiable")
	}
}

// TestNamesOfFilesInHeaders: whatever a file is called, the header that names it can be read, has the name, and nothing beside it.
func TestNamesOfFilesInHeaders(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	ann := s.signIn("ann")
	for _, name := range []string{"a.md", "日本語.md", "a;b=c, d.md", "100%.md", "it's (1)!.md", "a\u202Ecod.md", `a".md`, "nul.md", "%0d%0aSet-Cookie%3a x.md", strings.Repeat("é", 300) + ".md", "{\"msg\":\"Token revoked\"}.md", "a\u2028b\u0085c.md", "a\xffb.md"} {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		check(t, w.SetBoundary("edge"))
		quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name)
		p, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {`form-data; name="file"; filename="` + quoted + `"`}})
		check(t, err)
		_, _ = io.WriteString(p, "x")
		check(t, w.Close())
		sent := s.call("POST", filesAt, b.String(), asMultipart, bearer(ann))
		var f sentFile
		check(t, json.Unmarshal(sent.Body.Bytes(), &f))
		if want := upload.Clean(name).String(); sent.Code != 201 || f.Filename != want {
			t.Errorf("%q: got %d %s, want the label %q", name, sent.Code, sent.Body, want)
			continue
		}
		got := s.call("GET", filesAt+"/"+f.ID, "", bearer(ann)).Header()["Content-Disposition"]
		if len(got) != 1 || strings.ContainsFunc(got[0], func(r rune) bool { return r < 0x20 || r > 0x7e }) {
			t.Errorf("%q: the header is %q", name, got)
			continue
		}
		kind, params, err := mime.ParseMediaType(got[0])
		if err != nil || kind != "attachment" || len(params) != 1 || params["filename"] != f.Filename {
			t.Errorf("%q: %q is read as %s %q, error %v", name, got[0], kind, params, err)
		}
	}
	for line := range strings.Lines(s.log.String()) { // CVE-2020-36567: nothing that a client calls a file forges a line
		var said map[string]any
		if err := json.Unmarshal([]byte(line), &said); err != nil || said["msg"] == "Token revoked" {
			t.Errorf("the log has the line %q: %v", line, err)
		}
	}
}

func TestTheListOfFilesHasPages(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	ann := s.signIn("ann")
	var want []string
	for i := range 7 {
		want = append(want, s.uploaded(ann, fmt.Sprintf("%d.md", i), "x").ID)
	}
	for _, limit := range []int{1, 2, 3, 7, 8} {
		var got []string
		for cursor, pages := "", 0; ; pages++ {
			w := s.call("GET", fmt.Sprintf("%s?limit=%d&cursor=%s", filesAt, limit, cursor), "", bearer(ann))
			var page struct {
				Items []sentFile
				Next  *string
			}
			check(t, json.Unmarshal(w.Body.Bytes(), &page))
			for _, f := range page.Items {
				got = append(got, f.ID)
			}
			if page.Next == nil || pages > 10 {
				break
			}
			cursor = *page.Next
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d: got %v, want %v", limit, got, want)
		}
	}
	for _, bad := range []string{"limit=0", "limit=101", "limit=x", "cursor=x", "cursor=' OR 1=1--", "cursor=" + strings.Repeat("A", 34), "cursor=" + strings.Repeat("A", 5000), "page=2", "limit=1&limit=2"} {
		wants(t, s.call("GET", filesAt+"?"+strings.ReplaceAll(bad, " ", "%20"), "", bearer(ann)), 422, "validation_failed")
	}
}

// TestFormsThatAreRefused: whatever is wrong with an upload is a refusal of the client's, and leaves nothing.
func TestFormsThatAreRefused(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	ann := s.signIn("ann")
	part := func(head, content string) string {
		return "--edge\r\n" + head + "\r\n\r\n" + content + "\r\n--edge--\r\n"
	}
	const disposition = `Content-Disposition: form-data; name="file"; filename="a.md"`
	good := part(disposition, "x")
	for what, c := range map[string]struct {
		kind, body string
		status     int
		code       string
	}{
		"JSON":                           {asJSON, `{"file":"x"}`, 415, "unsupported_media_type"},
		"no type":                        {"X-None: 1", good, 415, "unsupported_media_type"},
		"another multipart":              {"Content-Type: multipart/mixed; boundary=edge", good, 415, "unsupported_media_type"},
		"no boundary":                    {"Content-Type: multipart/form-data", good, 415, "unsupported_media_type"},
		"a boundary that is too long":    {"Content-Type: multipart/form-data; boundary=" + strings.Repeat("e", 71), good, 415, "unsupported_media_type"},
		"a type that is none":            {"Content-Type: multipart/form-data; boundary=\"", good, 415, "unsupported_media_type"},
		"nothing":                        {asMultipart, "", 400, "malformed_request"},
		"no parts":                       {asMultipart, "--edge--\r\n", 400, "malformed_request"},
		"another boundary":               {asMultipart, strings.ReplaceAll(good, "edge", "ledge"), 400, "malformed_request"},
		"a long preamble":                {asMultipart, strings.Repeat("x", 100_000) + "\r\n" + good, 400, "malformed_request"},
		"a long header":                  {asMultipart, part(disposition+"\r\nX-Long: "+strings.Repeat("x", 100_000), "x"), 400, "malformed_request"},
		"many headers":                   {asMultipart, part(disposition+strings.Repeat("\r\nX-H: 1", 20_000), "x"), 400, "malformed_request"},
		"no header":                      {asMultipart, part("X: 1", "x"), 400, "malformed_request"},
		"two dispositions":               {asMultipart, part(disposition+"\r\n"+disposition, "x"), 400, "malformed_request"},
		"two names":                      {asMultipart, part(disposition+`; filename="b.md"`, "x"), 400, "malformed_request"},
		"an attachment":                  {asMultipart, part(`Content-Disposition: attachment; name="file"; filename="a.md"`, "x"), 400, "malformed_request"},
		"base64":                         {asMultipart, part(disposition+"\r\nContent-Transfer-Encoding: base64", "eA=="), 400, "malformed_request"},
		"another field":                  {asMultipart, part(`Content-Disposition: form-data; name="upload"; filename="a.md"`, "x"), 422, "validation_failed"},
		"a field before":                 {asMultipart, "--edge\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhi\r\n" + good, 422, "validation_failed"},
		"a field behind":                 {asMultipart, strings.TrimSuffix(good, "--\r\n") + "\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhi\r\n--edge--\r\n", 422, "validation_failed"},
		"two files":                      {asMultipart, strings.TrimSuffix(good, "--\r\n") + "\r\n" + strings.TrimPrefix(good, "--edge\r\n"), 422, "validation_failed"},
		"no name":                        {asMultipart, part(`Content-Disposition: form-data; name="file"`, "x"), 422, "validation_failed"},
		"an empty name":                  {asMultipart, part(`Content-Disposition: form-data; name="file"; filename=""`, "x"), 422, "validation_failed"},
		"no end":                         {asMultipart, strings.TrimSuffix(good, "\r\n--edge--\r\n"), 400, "malformed_request"},
		"half an end":                    {asMultipart, strings.TrimSuffix(good, "--\r\n"), 400, "malformed_request"},
		"a long part behind":             {asMultipart, strings.TrimSuffix(good, "--\r\n") + "\r\nX-Long: " + strings.Repeat("x", 60_000), 400, "malformed_request"},
		"too long a file":                {asMultipart, asFile("a.md", strings.Repeat("x", mostFile+1)), 413, "body_too_large"},
		"a far longer one":               {asMultipart, asFile("a.md", strings.Repeat("x", 2*mostFile)), 413, "body_too_large"},
		"an extension that is not taken": {asMultipart, asFile("a.exe", "x"), 422, "validation_failed"},
		"content of another kind":        {asMultipart, asFile("a.py", "\x7fELF\x02\x01\x01\x00"), 422, "validation_failed"},
		"content that turns":             {asMultipart, asFile("a.md", strings.Repeat("x", 290_000)+"\x00"), 422, "validation_failed"},
		"JSON that is none":              {asMultipart, asFile("a.json", "{"), 422, "validation_failed"},
	} {
		w := s.call("POST", filesAt, c.body, c.kind, bearer(ann))
		t.Run(what, func(t *testing.T) { wants(t, w, c.status, c.code) })
		for _, told := range []string{"multipart:", "mime:", "/tmp"} {
			if strings.Contains(w.Body.String(), told) {
				t.Errorf("%s: the answer tells of the inside: %s", what, w.Body)
			}
		}
		if n := s.onDisk(); n != 0 {
			t.Fatalf("%s: %d files are left", what, n)
		}
	}
	wants(t, s.call("POST", filesAt+"?x=1", good, asMultipart, bearer(ann)), 422, "validation_failed")
	wants(t, s.call("POST", filesAt, good, asMultipart, bearer(ann), "Content-Encoding: gzip"), 415, "unsupported_media_type")
	for i := range len(good) - len("--\r\n") + 1 { // cut anywhere, it is no form
		if w := s.call("POST", filesAt, good[:i], asMultipart, bearer(ann)); w.Code != 400 || s.onDisk() != 0 {
			t.Errorf("the first %d bytes: %d %s, and %d files", i, w.Code, w.Body, s.onDisk())
		}
	}
	if s.log.Len() > 0 && strings.Contains(s.log.String(), string(audit.FileUploaded.Message())) {
		t.Error("the log tells of an upload")
	}
	s.uploaded(ann, "a.md", strings.Repeat("x", mostFile))
}

func TestTheQuotaOfFilesIsSaid(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	ann := s.signIn("ann")
	for range 10 {
		s.uploaded(ann, "a.md", strings.Repeat("x", mostFile))
	}
	wants(t, s.upload(ann, "a.md", "x"), 409, "quota_exceeded")
}

// TestAnUploadByCookieComesFromAPageOfOurs: no form of another site can send one, though it has the form of a form.
func TestAnUploadByCookieComesFromAPageOfOurs(t *testing.T) {
	s := newService(t, httpapi.Options{Cookies: httpapi.Cookies{On: true}})
	s.user("ann", account.RoleUser)
	cookie := "Cookie: __Host-xteam_at=" + s.signIn("ann").AccessToken
	body := asFile("a.md", "x")
	for heads, want := range map[string]int{
		"":                            415, // no browser of these years
		"Origin: http://xteam.test":   201,
		"Sec-Fetch-Site: same-origin": 201,
		"Sec-Fetch-Site: cross-site":  403,
		"Sec-Fetch-Site: same-site":   403,
		"Origin: http://evil.test":    403,
		"Origin: null":                403,
		"Origin: https://xteam.test":  403,
	} {
		all := []string{asMultipart, cookie}
		if heads != "" {
			all = append(all, heads)
		}
		if w := s.call("POST", filesAt, body, all...); w.Code != want {
			t.Errorf("%q: got %d %s, want %d", heads, w.Code, w.Body, want)
		}
	}
}

// TestSlowUploads: 200 at one byte a second hold up nobody, and are given up; one that is as fast as it must be may take its minutes. (SECURITY-CASES, d: uploads.)
func TestSlowUploads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.user("ann", account.RoleUser)
		p := s.signIn("ann")
		l := piped(t, s)
		head := func(p pair, length int) string {
			return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\n%s\r\n%s\r\nContent-Length: %d\r\n\r\n", filesAt, bearer(p), asMultipart, length)
		}
		body := asFile("a.md", strings.Repeat("x", mostFile))
		const slow, each = 200, 10
		ended := make(chan string, slow)
		var of pair
		for i := range slow {
			if i%each == 0 {
				name := fmt.Sprintf("slow%d", i)
				s.user(name, account.RoleUser)
				of = s.signIn(name)
			}
			c, head := l.dial(), head(of, len(body))
			go func() {
				defer c.Close()
				answer := make(chan string, 1)
				go func() { all, _ := io.ReadAll(c); answer <- string(all) }()
				_, _ = io.WriteString(c, head+body[:1000])
				for i := 1000; ; i++ {
					if _, err := io.WriteString(c, body[i:i+1]); err != nil {
						break
					}
					<-time.After(time.Second)
				}
				ended <- <-answer
			}()
		}
		<-time.After(5 * time.Second)
		begun := time.Now()
		if w := s.upload(p, "b.md", "x"); w.Code != 201 || time.Since(begun) > time.Second {
			t.Errorf("beside them: %d %s after %v", w.Code, w.Body, time.Since(begun))
		}
		if n := s.onDisk(); n != slow+1 {
			t.Errorf("%d files are on the disk, want those that come and the one that is kept", n)
		}
		for range slow {
			if got := <-ended; !strings.HasPrefix(got, "HTTP/1.1 408 ") {
				t.Errorf("one byte a second: got %.60q, want 408", got)
			}
		}
		if took := time.Since(begun); took > 30*time.Second {
			t.Errorf("they were given up after %v", took)
		}
		synctest.Wait()
		if n := s.onDisk(); n != 1 {
			t.Errorf("%d files are left on the disk, want the one that is kept", n)
		}
	})
}

// TestAnUploadCutOffLeavesNothing: the connection ends at every tenth of the body. (SECURITY-CASES, d: uploads.)
func TestAnUploadCutOffLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.user("ann", account.RoleUser)
		p := s.signIn("ann")
		l := piped(t, s)
		body := asFile("a.md", strings.Repeat("x", mostFile))
		for tenth := range 10 {
			c := l.dial()
			_, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\n%s\r\n%s\r\nContent-Length: %d\r\n\r\n%s", filesAt, bearer(p), asMultipart, len(body), body[:len(body)*tenth/10])
			check(t, err)
			check(t, c.Close())
			synctest.Wait()
			if n := s.onDisk(); n != 0 {
				t.Errorf("after %d tenths: %d files are left", tenth, n)
			}
		}
	})
}

// TestAClientThatSendsNoMoreIsAnswered: it has sent a file whole, and closes its half of the connection; net/http takes that for its end, which is waited for here. One that does not answer is not waited for without end.
func TestAClientThatSendsNoMoreIsAnswered(t *testing.T) {
	for _, content := range []string{"x", strings.Repeat("x", mostFile)} {
		s := newService(t)
		s.user("ann", account.RoleUser)
		p := s.signIn("ann")
		asked := make(chan context.Context, 1)
		s.core.Stores.Uploads = hurried{s.core.Stores.Uploads, asked, new(int)}
		serve := s.h
		l, err := net.Listen("tcp", "127.0.0.1:0")
		check(t, err)
		srv := httpapi.Server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked <- r.Context()
			serve.ServeHTTP(w, r)
		}), slog.New(slog.DiscardHandler))
		go func() { _ = srv.Serve(l) }()
		t.Cleanup(func() { _ = srv.Close() })
		c, err := net.Dial("tcp", l.Addr().String())
		check(t, err)
		t.Cleanup(func() { _ = c.Close() })
		body := asFile("a.md", content)
		_, err = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\n%s\r\n%s\r\nContent-Length: %d\r\n\r\n%s", filesAt, bearer(p), asMultipart, len(body), body)
		check(t, err)
		check(t, c.(*net.TCPConn).CloseWrite())
		answer, err := io.ReadAll(c)
		check(t, err)
		if !strings.HasPrefix(string(answer), "HTTP/1.1 201 ") || s.onDisk() != 1 {
			t.Errorf("of %d bytes: got %.400q, and %d files", len(content), answer, s.onDisk())
		}
	}
}

// hurried waits until net/http has ended the request before it answers a second time what files there are, which is when the file has come.
type hurried struct {
	ports.Uploads
	asked <-chan context.Context
	calls *int
}

func (h hurried) OfUser(ctx context.Context, uid id.User) ([]upload.File, error) {
	if *h.calls++; *h.calls == 2 {
		<-(<-h.asked).Done()
	}
	return h.Uploads.OfUser(ctx, uid)
}

// TestOutliving: it goes on when the other ends, for a while, and ends at once when it is over.
func TestOutliving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(context.WithValue(t.Context(), hurried{}, 1))
		longer, cancel := httpapi.Outliving(ctx, time.Minute)
		if longer.Value(hurried{}) != 1 {
			t.Error("it knows nothing of the other")
		}
		end()
		<-time.After(time.Minute - 1)
		if synctest.Wait(); longer.Err() != nil {
			t.Error("it ended before its time")
		}
		<-time.After(1)
		if synctest.Wait(); longer.Err() == nil {
			t.Error("it does not end")
		}
		cancel()
		longer, cancel = httpapi.Outliving(t.Context(), time.Minute)
		if cancel(); longer.Err() == nil {
			t.Error("it goes on when it is over")
		}
	})
}

// TestALongUploadIsAnswered: the server's own time for an answer is over before the body has come.
func TestALongUploadIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.user("ann", account.RoleUser)
		p := s.signIn("ann")
		const long = 5 << 20
		s.all.Uploads = app.NewUploads(s.core, s.files, app.UploadsOptions{Rules: upload.Rules{Extensions: s.extensions(), MaxSize: long, Quota: long}, Detect: mimetypes.Detect})
		s.h = httpapi.New(s.all, httpapi.Options{}).Handler()
		l := piped(t, s)
		c := l.dial()
		defer c.Close()
		answer := make(chan string, 1)
		go func() { all, _ := io.ReadAll(c); answer <- string(all) }()
		body := asFile("a.md", strings.Repeat("x", long))
		begun := time.Now()
		_, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n%s\r\nTransfer-Encoding: chunked\r\n\r\n", filesAt, bearer(p), asMultipart)
		check(t, err)
		for rest := body; rest != ""; {
			n := min(len(rest), 66_000)
			_, err = fmt.Fprintf(c, "%x\r\n%s\r\n", n, rest[:n])
			check(t, err)
			rest = rest[n:]
			<-time.After(time.Second)
		}
		_, err = io.WriteString(c, "0\r\n\r\n")
		check(t, err)
		if got := <-answer; !strings.HasPrefix(got, "HTTP/1.1 201 ") || time.Since(begun) < 70*time.Second {
			t.Errorf("got %.80q after %v", got, time.Since(begun))
		}
	})
}

// TestADownloadMayBeSlow: a client that reads no faster than it must gets all of it, longer than the server's own time for an answer; one that stalls is cut off, and holds nothing open.
func TestADownloadMayBeSlow(t *testing.T) {
	const long = 8 << 20
	for pause, whole := range map[time.Duration]bool{800 * time.Millisecond: true, 10 * time.Second: false} { // a piece has 65,536 bytes
		synctest.Test(t, func(t *testing.T) {
			s := newService(t)
			s.user("ann", account.RoleUser)
			p := s.signIn("ann")
			s.all.Uploads = app.NewUploads(s.core, s.files, app.UploadsOptions{Rules: upload.Rules{Extensions: s.extensions(), MaxSize: long, Quota: long}, Detect: mimetypes.Detect})
			s.h = httpapi.New(s.all, httpapi.Options{}).Handler()
			content := strings.Repeat("x", long)
			f := s.uploaded(p, "a.md", content)
			l := piped(t, s)
			c := l.dial()
			defer c.Close()
			go func() {
				_, _ = fmt.Fprintf(c, "GET %s/%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n\r\n", filesAt, f.ID, bearer(p))
			}()
			var got []byte
			piece := make([]byte, 65_536)
			begun := time.Now()
			for {
				n, err := io.ReadFull(c, piece)
				got = append(got, piece[:n]...)
				if err != nil {
					break
				}
				<-time.After(pause)
			}
			_, rest, _ := bytes.Cut(got, []byte("\r\n\r\n"))
			if whole && (string(rest) != content || time.Since(begun) < 90*time.Second) || !whole && (len(rest) == long || time.Since(begun) > 2*time.Minute) {
				t.Errorf("with pauses of %v: got %d bytes in %v, of %d", pause, len(rest), time.Since(begun), len(content))
			}
		})
	}
}

// The longest file that a setting allows is not too slow.
func TestPaceOfLongFiles(t *testing.T) {
	began := time.Now()
	for last, n := began, int64(1); n <= 1<<40; n *= 2 {
		at := httpapi.AtLeast(began, n)
		if !at.After(last) {
			t.Fatalf("%d bytes are due at %v, before fewer are", n, at)
		}
		last = at
	}
}
