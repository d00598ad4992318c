package security_test

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
	"testing"

	"github.com/xteam/xteam/domain/account"
)

// upload sends one file under a name, by a form of one part.
func (n *node) upload(name, content, bearer string) answer {
	n.t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	h := textproto.MIMEHeader{}
	h.Set("Content-Disposition", `form-data; name="file"; filename="`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name)+`"`)
	h.Set("Content-Type", "text/html")
	part, err := w.CreatePart(h)
	if err != nil {
		n.t.Fatal(err)
	}
	_, _ = io.WriteString(part, content)
	_ = w.Close()
	return n.ask(request{method: "POST", path: v1 + "/files", bearer: bearer, body: b.Bytes(), header: http.Header{"Content-Type": {w.FormDataContentType()}}})
}

func filesAreStopped(t *testing.T) {
	n := one(t, plan{})
	ann := n.ann()
	if a := n.upload("big.py", strings.Repeat("#", 2<<20), ann.access); a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("2 MiB where 1 is the most: %d %s", a.status, a.body)
	}
	const form = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x.py\"\r\n\r\nprint(1)\n"
	for name, body := range map[string]io.Reader{"broken off": strings.NewReader(form), "broken off in the head": strings.NewReader(form[:40]), "without end": io.MultiReader(strings.NewReader(form), strings.NewReader(strings.Repeat("#", 2<<20)))} {
		a := n.ask(request{method: "POST", path: v1 + "/files", bearer: ann.access, body: body, header: http.Header{"Content-Type": {"multipart/form-data; boundary=x"}}})
		if a.status < 400 || a.status >= 500 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if items, _ := n.get(v1+"/files", ann.access).json["items"].([]any); len(items) != 0 {
		t.Errorf("something is left: %v", items)
	}
}

func contentAgrees(t *testing.T) {
	n := one(t, plan{})
	ann := n.ann()
	for name, content := range map[string]string{"a.json": "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 100), "b.json": "<!DOCTYPE html><html><script>alert(1)</script></html>", "c.json": "PK\x03\x04" + strings.Repeat("\x00", 100), "d.py": "\x00\x01\x02", "e.md": "\xff\xfe\xff", "f.py.exe": "print(1)", "g.exe": "MZ", "h.py\x00.exe": "print(1)", "i": "print(1)", "j.html": "<html>", "k.svg": "<svg onload=alert(1)>"} {
		if a := n.upload(name, content, ann.access); a.status < 400 || a.status >= 500 {
			t.Errorf("%q: %d %s", name, a.status, a.body)
		}
	}
	made := n.upload("good.py", "print(1)\n", ann.access)
	if made.status != http.StatusCreated {
		t.Fatalf("%d %s", made.status, made.body)
	}
	got := n.get(v1+"/files/"+made.text("id"), ann.access)
	if h := got.header; got.status != http.StatusOK || got.body != "print(1)\n" || h.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(h.Get("Content-Disposition"), "attachment") || strings.Contains(h.Get("Content-Type"), "html") {
		t.Errorf("%d %q %v", got.status, got.body, h)
	}
	n.user("bea", account.RoleUser)
	bea := n.signIn("bea")
	never := n.get(v1+"/files/"+strings.Repeat("ab", 16), bea.access)
	for _, method := range []string{"GET", "DELETE"} {
		a := n.ask(request{method: method, path: v1 + "/files/" + made.text("id"), bearer: bea.access})
		delete(a.json, "request_id")
		delete(never.json, "request_id")
		if a.status != http.StatusNotFound || fmt.Sprint(a.json) != fmt.Sprint(never.json) {
			t.Errorf("%s of another's: %d %s; of none: %s", method, a.status, a.body, never.body)
		}
	}
}

func quotas(t *testing.T) {
	n := one(t, plan{})
	ann := n.ann()
	refused := 0
	for i := range 20 { // of nearly 1 MiB each, where 16 MiB are the most
		if a := n.upload(fmt.Sprintf("x%d.py", i), strings.Repeat("#", 1<<20-100), ann.access); a.status >= 500 && a.status != http.StatusInsufficientStorage {
			t.Errorf("%d %s", a.status, a.body)
		} else if a.status != http.StatusCreated {
			refused++
		}
	}
	if refused < 3 {
		t.Errorf("of 20 files of 1 MiB %d were refused beside a quota of 16", refused)
	}
}

func namesAreLabels(t *testing.T) {
	n := one(t, plan{})
	ann := n.ann()
	for _, name := range []string{"../../etc/x.py", `..\..\windows\x.py`, `C:\x.py`, "/etc/cron.d/x.py", strings.Repeat("a", 5000) + ".py", "CON.py", "x.py.", "x .py", "\u202eyp.exe.py", "a\r\nSet-Cookie: b=c.py", "%2e%2e%2fx.py", ".py", "..py", "a/b/c.py"} {
		a := n.upload(name, "print(1)\n", ann.access)
		if a.status >= 500 || a.status == http.StatusOK {
			t.Errorf("%q: %d %s", name, a.status, a.body)
		}
		if a.status != http.StatusCreated {
			continue
		}
		label := a.text("filename")
		if strings.ContainsAny(label, "/\\\r\n\x00\u202e:") || len(label) > 255 || strings.HasPrefix(label, "..") {
			t.Errorf("%q is labelled %q", name, label)
		}
		got := n.get(v1+"/files/"+a.text("id"), ann.access)
		if got.status != http.StatusOK || got.header.Get("Set-Cookie") != "" || strings.ContainsAny(got.header.Get("Content-Disposition"), "\r\n") {
			t.Errorf("%q: %d %v", name, got.status, got.header)
		}
	}
}
