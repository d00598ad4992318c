package bench_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/diskfiles"
	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/adapters/mimetypes"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/secret"
)

// source gives so many bytes of a text that is in memory.
type source struct {
	text []byte
	left int64
}

func (s *source) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(int64(len(p)), s.left)], s.text)
	s.left -= int64(n)
	return n, nil
}

// sent is a form with a source of so many bytes, in a file of its own that is on the disk already and in memory: the kernel sends it as it is (sendfile), so that the client, which would be on another
// machine, takes little of the processors that the server and the disk's writing need.
func sent(b *testing.B, dir string, text []byte, size int64) (f *os.File, kind string) {
	b.Helper()
	f, err := os.Create(filepath.Join(dir, "form"))
	if err != nil {
		b.Fatal(err)
	}
	form := multipart.NewWriter(f)
	part, err := form.CreateFormFile("file", "large.py")
	if err == nil {
		_, err = io.Copy(part, &source{text, size})
	}
	if err := errors.Join(err, form.Close(), f.Sync()); err != nil {
		b.Fatal(err)
	}
	return f, form.FormDataContentType()
}

// BenchmarkUpload sends a source of 100 MiB over loopback, which is checked, synced and written down before it is acknowledged, and holds the time against that of io.Copy to a file
// on the same disk with one fsync; and of io.Copy from a connection, with the same client; and gives the handler such a form from memory, past any connection. All that both ends of the connection allocate for it is counted.
func BenchmarkUpload(b *testing.B) {
	const size, rounds = 100 << 20, 7
	dir := b.TempDir()
	files := diskfiles.New(filepath.Join(dir, "files"), diskfiles.Options{})
	defer func() { _ = files.Close() }()
	x, err := xteam.Open(b.Context(), xteam.Options{Dir: dir, BcryptCost: 10, MinFreeSpace: -1, Limits: app.LimiterOptions{Mode: app.Off}, Uploads: xteam.Uploads{Files: files, Detect: mimetypes.Detect}})
	if err != nil {
		b.Fatal(err)
	}
	defer x.Close()
	access := signUp(b, x)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := httpapi.Server(x.Handler(), slog.New(slog.DiscardHandler))
	go func() { _ = srv.Serve(httpapi.Plain(l)) }()
	defer func() { _ = srv.Close() }()
	text := []byte(strings.Repeat("def f(x):\n    return x + 1  # one more\n", 30_000))
	url := "http://" + l.Addr().String() + "/api/v1/files"
	form, kind := sent(b, dir, text, size)
	defer func() { _ = form.Close() }()
	length, err := form.Seek(0, io.SeekEnd)
	if err != nil {
		b.Fatal(err)
	}
	var most uint64
	send := func() float64 {
		body, err := os.Open(form.Name()) // as it is: whatever wraps it would be copied from
		if err != nil {
			b.Fatal(err)
		}
		req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url, body)
		if err != nil {
			b.Fatal(err)
		}
		req.ContentLength = length
		req.Header.Set("Content-Type", kind)
		req.Header.Set("Authorization", "Bearer "+access)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		status, text := asked(b, req)
		took := time.Since(began)
		runtime.ReadMemStats(&after)
		most = max(most, after.TotalAlloc-before.TotalAlloc)
		dropFile(b, url, created(b, status, text), access)
		return size / took.Seconds() / (1 << 20)
	}
	direct := func() float64 {
		var head bytes.Buffer
		form := multipart.NewWriter(&head)
		if _, err := form.CreateFormFile("file", "large.py"); err != nil {
			b.Fatal(err)
		}
		tail := "\r\n--" + form.Boundary() + "--\r\n"
		req := httptest.NewRequest(http.MethodPost, url, io.MultiReader(&head, &source{text, size}, strings.NewReader(tail)))
		req.ContentLength = int64(head.Len()) + size + int64(len(tail))
		req.Header.Set("Content-Type", form.FormDataContentType())
		req.Header.Set("Authorization", "Bearer "+access)
		out := httptest.NewRecorder()
		began := time.Now()
		x.Handler().ServeHTTP(out, req)
		took := time.Since(began)
		dropFile(b, url, created(b, out.Code, out.Body.Bytes()), access)
		return size / took.Seconds() / (1 << 20)
	}
	copied := func() float64 { return copiedFrom(b, dir, &source{text, size}) }
	wired := func() float64 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		out, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		in, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		defer in.Close()
		if _, err := form.Seek(0, io.SeekStart); err != nil {
			b.Fatal(err)
		}
		go func() {
			_, _ = io.Copy(out, form)
			_ = out.Close()
		}()
		return copiedFrom(b, dir, struct{ io.Reader }{in}) // with a buffer: not spliced
	}
	send() // the first connection, and what is made once
	most = 0
	compare := func(figure, beside string, upload, bare func() float64) {
		ours, base := inTurns(rounds, upload, bare)
		ratio := ours.over(base)
		metric(b, ratio.median(), "x-of-"+strings.ReplaceAll(beside, " ", "-"))
		report.add(row{figure: figure, goal: "≥ 0.7 of " + beside, measured: ours.show("%.0f") + " MiB/s", baseline: base.shown("%.0f", "MiB/s"), ratio: ratio.show("%.2f"), met: ratio.median() >= 0.7})
	}
	compare("upload of 100 MiB from memory, checked, synced and written down", "io.Copy + fsync from memory", direct, copied)
	compare("the same over loopback", "io.Copy + fsync from a connection", send, wired)
	compare("the same over loopback, beside what had no connection", "io.Copy + fsync from memory, over none", send, copied)
	report.add(row{figure: "all that is allocated for it, at both ends of the connection", goal: "< 2 MiB", measured: fmt.Sprintf("%.2f MiB", float64(most)/(1<<20)), met: most < 2<<20})
}

// copiedFrom is how fast a file is copied and synced, in MiB a second.
func copiedFrom(b *testing.B, dir string, from io.Reader) float64 {
	b.Helper()
	name := filepath.Join(dir, "copied")
	began := time.Now()
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	n, err := io.Copy(f, from)
	if err != nil {
		b.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	took := time.Since(began)
	if err := errors.Join(f.Close(), os.Remove(name)); err != nil {
		b.Fatal(err)
	}
	return float64(n) / took.Seconds() / (1 << 20)
}

// signUp makes a user, and answers an access token.
func signUp(b *testing.B, x *xteam.XTeam) string {
	b.Helper()
	email, err := account.ParseEmail("ann@example.com")
	if err != nil {
		b.Fatal(err)
	}
	name, err := account.ParseUsername("ann")
	if err != nil {
		b.Fatal(err)
	}
	word := secret.New("a long-legged heron")
	if _, err := x.Accounts().Create(b.Context(), app.Actor{Name: app.System}, app.Registration{Email: email, Username: name, Password: word}, account.RoleUser); err != nil {
		b.Fatal(err)
	}
	login, err := account.ParseLogin("", "ann")
	if err != nil {
		b.Fatal(err)
	}
	t, err := x.Sessions().Login(b.Context(), app.Request{}, login, word)
	if err != nil {
		b.Fatal(err)
	}
	return t.Access.RevealPlaintext()
}

// asked sends a request, and answers the status and the answer.
func asked(b *testing.B, req *http.Request) (status int, text []byte) {
	b.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	if text, err = io.ReadAll(res.Body); err != nil {
		b.Fatal(err)
	}
	return res.StatusCode, text
}

// created demands that a file was made, and answers its id.
func created(b *testing.B, status int, text []byte) string {
	b.Helper()
	var got struct{ ID string }
	if err := json.Unmarshal(text, &got); err != nil || status != http.StatusCreated {
		b.Fatalf("upload: %d %s, error %v", status, text, err)
	}
	return got.ID
}

func dropFile(b *testing.B, url, fid, access string) {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodDelete, url+"/"+fid, nil)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+access)
	if status, text := asked(b, req); status != http.StatusNoContent {
		b.Fatalf("delete: %d %s", status, text)
	}
}
