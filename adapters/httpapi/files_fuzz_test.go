package httpapi_test

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/upload"
)

// FuzzForm: whatever is sent for a form is refused and leaves nothing on the disk, or is one file of no more than was sent.
func FuzzForm(f *testing.F) {
	const head = "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.md\"\r\n"
	for _, body := range []string{
		asFile("a.md", "x"), asFile("b.json", `{"a":[1]}`), asFile("../../c.py", "print(1)\n"), asFile("a.exe", "x"), head + "\r\nx\r\n--edge", head + "Content-Transfer-Encoding: base64\r\n\r\neA==\r\n--edge--\r\n",
		head + head + "\r\nx\r\n--edge--\r\n", "--edge--\r\n", "", "preamble\r\n" + asFile("a.md", "--edge"), strings.ReplaceAll(asFile("a.md", "x"), "\r\n", "\n"), asFile("a.md", "\r\n--edge\r\n\r\n"),
	} {
		f.Add("multipart/form-data; boundary=edge", body)
	}
	f.Add("multipart/form-data; boundary=\"ed ge\"", "--ed ge--\r\n")
	f.Add("application/json", "{}")
	s := newService(f)
	s.user("ann", account.RoleUser)
	ann := bearer(s.signIn("ann"))
	f.Fuzz(func(t *testing.T, kind, body string) {
		s.t = t
		s.log.Reset()
		if strings.ContainsAny(kind, "\r\n") {
			return // net/http lets none through
		}
		w := s.call("POST", filesAt, body, "Content-Type: "+kind, ann)
		if w.Code != http.StatusCreated {
			if n := s.onDisk(); n != 0 || w.Code >= 500 || w.Code < 400 {
				t.Fatalf("%q as %q: %d %s, and %d files", body, kind, w.Code, w.Body, n)
			}
			return
		}
		var made sentFile
		if err := json.Unmarshal(w.Body.Bytes(), &made); err != nil || made.Size >= int64(len(body)) || s.onDisk() != 1 || strings.ContainsAny(made.Filename, "/\\\x00") {
			t.Fatalf("%q as %q: %s (%v), and %d files", body, kind, w.Body, err, s.onDisk())
		}
		if w := s.call("DELETE", filesAt+"/"+made.ID, "", ann); w.Code >= 300 || s.onDisk() != 0 {
			t.Fatalf("%q is deleted: %d %s, and %d files are left", made.Filename, w.Code, w.Body, s.onDisk())
		}
	})
}

// FuzzRange: of what passes, the standard library answers the whole file or one part of it, never several and never a fault.
func FuzzRange(f *testing.F) {
	for _, r := range []string{"bytes=0-1", "bytes=-3", "bytes=5-", "bytes=0-0,2-3", "bytes=9-1", "bytes= 1-2", "bytes=+1-2", "bytes=18446744073709551616-", "octets=1-2", "bytes=-0", "bytes=0-9223372036854775807", "bytes=1-2 "} {
		f.Add(r, "", uint16(10))
	}
	f.Add("bytes=0-1", `"tag"`, uint16(0))
	f.Add("bytes=0-1", `W/"tag"`, uint16(3))
	f.Fuzz(func(t *testing.T, sent, with string, size uint16) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Range"] = []string{sent}
		if with != "" {
			r.Header["If-Range"] = []string{with}
		}
		if err := httpapi.OneRange(r, `"tag"`, int64(size)); err != nil {
			return
		}
		asked := r.Header.Get("Range") != ""
		w := httptest.NewRecorder()
		w.Header().Set("ETag", `"tag"`)
		w.Header().Set("Content-Type", "application/octet-stream")
		content := bytes.Repeat([]byte("x"), int(size))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
		if w.Code != http.StatusOK && (w.Code != http.StatusPartialContent || !asked) || w.Body.Len() > int(size) || strings.HasPrefix(w.Header().Get("Content-Type"), "multipart/") {
			t.Errorf("Range %q, If-Range %q, of %d bytes: %d with %d bytes of %s", sent, with, size, w.Code, w.Body.Len(), w.Header().Get("Content-Type"))
		}
	})
}

// FuzzDisposition: whatever a client calls a file, others read its label in the header, and nothing else.
func FuzzDisposition(f *testing.F) {
	for _, name := range []string{"a.md", "Zürich \"1\".py", "naïve%41.json", "a\r\nX: 1.md", "\u202egpj.md", "con.md", "李.md", "a;b=c.md", "\xff\xfe.md", "'.md"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		label := upload.Clean(name)
		head := httpapi.Disposition(label)
		kind, params, err := mime.ParseMediaType(head)
		if err != nil || kind != "attachment" || params["filename"] != label.String() || len(params) != 1 || strings.ContainsAny(head, "\r\n\x00") {
			t.Errorf("%q is told as %q, and read as %q %q (%v)", name, head, kind, params, err)
		}
	})
}
