package upload_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/xteam/xteam/domain/upload"
)

func TestALabelIsANameThatEverySystemTakes(t *testing.T) {
	long := strings.Repeat("a", 300)
	for name, want := range map[string]string{
		"main.py":                               "main.py",
		"../../etc/passwd":                      "passwd",
		`C:\Users\ann\notes.md`:                 "notes.md",
		"/":                                     "_",
		"":                                      "_",
		"..":                                    "_",
		". . .":                                 "_",
		".py":                                   "_.py",
		"-rf.py":                                "_-rf.py",
		"~root.md":                              "_~root.md",
		"a.py...  .":                            "a.py",
		"  a.py":                                "a.py",
		"a.py:stream.js":                        "a.py_stream.js",
		"CON":                                   "_CON",
		"con.py":                                "_con.py",
		"Nul .tar.py":                           "_Nul .tar.py",
		"com1.md":                               "_com1.md",
		"LPT³.md":                               "_LPT³.md",
		"com10.md":                              "com10.md",
		"console.md":                            "console.md",
		"photo\u202Egnp.js":                     "photognp.js",
		"a\u2066b\u200Fc\u200Bd\uFEFF.py":       "abcd.py",
		"a\r\nSet-Cookie: x\t\x00\x1b[31m.py":   "aSet-Cookie_ x[31m.py",
		"a\u2028{\"msg\":1}\u0085.md":           "a{_msg__1}.md",
		"a\xff\xfeb.py":                         "a_b.py",
		"a\u00a0b\u3000.py":                     "a b .py",
		`what?*<is>|"this".md`:                  "what__" + "_is___this_.md",
		"日本語.md":                                "日本語.md",
		long + ".py":                            strings.Repeat("a", 252) + ".py",
		strings.Repeat("é", 200) + ".JSON":      strings.Repeat("é", 125) + ".json",
		"a." + long:                             ("a." + long)[:255],
		strings.Repeat("a", 254) + " .x" + long: strings.Repeat("a", 254),
	} {
		l := upload.Clean(name)
		if l.String() != want {
			t.Errorf("Clean(%q): got %q, want %q", name, l, want)
		}
		if again := upload.Clean(l.String()); again != l {
			t.Errorf("Clean(%q): got %q, want what is clean to stay", l, again)
		}
	}
}

func TestAnExtensionIsAskedOfTheLabel(t *testing.T) {
	for name, want := range map[string]string{"a.py": ".py", "a.PY": ".py", "a.py.": ".py", "a.tar.gz": ".gz", "py": "", ".py": ".py", "a.py\x00.js": ".js", "a.js/b": "", "İ.Pİ": ".pİ", "a.ｐｙ": ".ｐｙ"} {
		if got := upload.Clean(name).Extension(); got != want {
			t.Errorf("the extension of %q: got %q, want %q", name, got, want)
		}
	}
	e, ok := upload.ParseExtensions([]string{".py", " .JSON", ".py"})
	if !ok || e.String() != ".py, .json" {
		t.Fatalf("ParseExtensions: got %v, %v", e, ok)
	}
	for _, bad := range [][]string{nil, {""}, {"py"}, {".py", ".exe"}, {"*"}} {
		if _, ok := upload.ParseExtensions(bad); ok {
			t.Errorf("ParseExtensions(%q) took it", bad)
		}
	}
	for name, takes := range map[string]bool{"a.py": true, "a.json": true, "a.js": false, "a": false, "py": false, "a.py.exe": false} {
		if _, err := e.Kind(upload.Clean(name)); (err == nil) != takes {
			t.Errorf("%q: got error %v, want taken %v", name, err, takes)
		}
	}
}

// check hands content to a Check in pieces, and answers its verdict.
func check(ext string, content []byte, piece int, types ...string) error {
	e, ok := upload.ParseExtensions([]string{ext})
	if !ok {
		panic(ext)
	}
	k, err := e.Kind(upload.Clean("a" + ext))
	if err != nil {
		panic(err)
	}
	c := upload.NewCheck(k, 1<<20, func([]byte) []string { return types })
	for len(content) > 0 {
		n := min(piece, len(content))
		if err := c.Next(content[:n]); err != nil {
			return err
		}
		content = content[n:]
	}
	return c.End()
}

func TestContentMustAgreeWithTheName(t *testing.T) {
	for _, c := range []struct {
		ext, content string
		types        []string
		ok           bool
	}{
		{".py", "print('hé, 日本')\n\f\t\r\n", []string{"text/plain"}, true},
		{".py", "", []string{"text/plain"}, true},
		{".py", "\xef\xbb\xbfprint()", []string{"text/plain"}, true},
		{".py", "#!/usr/bin/env python3\n", []string{"text/x-python", "text/plain"}, true},
		{".py", "#!/bin/sh\n", []string{"text/x-shellscript", "text/plain"}, false},
		{".py", "print(\x00)", []string{"application/octet-stream"}, false},
		{".py", "caf\xe9", []string{"text/plain"}, false},
		{".py", "cut \xe6\x97", []string{"text/plain"}, false},
		{".py", "cut \xf0\x9f\x98", []string{"text/plain"}, false},
		{".py", "a lone surrogate \xed\xa0\x80", []string{"text/plain"}, false},
		{".py", "too long \xc0\xaf", []string{"text/plain"}, false},
		{".py", "p\x00r\x00i\x00", []string{"text/plain"}, false},
		{".py", "BM is how it begins", []string{"image/bmp"}, true},
		{".py", "%PDF-1.4 and nothing but text", []string{"application/pdf"}, false},
		{".py", "<html><script>", []string{"text/html", "text/plain"}, false},
		{".js", "<svg onload=1>", []string{"image/svg+xml", "text/plain"}, false},
		{".md", "<h1 align=center>", []string{"text/html", "text/plain"}, true},
		{".md", "{\\rtf1", []string{"text/rtf", "text/plain"}, false},
		{".json", `{"a":[1,-0.5e+3,true,null,"\u00e9\n"]}`, []string{"application/json", "text/plain"}, true},
		{".json", "", []string{"text/plain"}, false},
		{".json", "print()", []string{"text/plain"}, false},
		{".json", `{"a":1`, []string{"application/json", "text/plain"}, false},
		{".json", `{"a":1}{}`, []string{"application/json", "text/plain"}, false},
		{".json", "\xef\xbb\xbf[]", []string{"text/plain"}, true},
		{".json", "\xef\xbb[]", []string{"text/plain"}, false},
		{".json", strings.Repeat("[", 1001) + strings.Repeat("]", 1001), []string{"text/plain"}, false},
		{".png", "\x89PNG\r\n\x1a\n", []string{"image/png"}, true},
		{".png", "\x89PNG\r\n\x1a\n", []string{"image/apng", "image/png"}, true},
		{".png", "<svg>", []string{"image/svg+xml", "text/plain"}, false},
		{".png", "", []string{"text/plain"}, false},
	} {
		for _, piece := range []int{1, 2, 3, 1 << 20} {
			err := check(c.ext, []byte(c.content), piece, c.types...)
			if bad := (*upload.InvalidError)(nil); (err == nil) != c.ok || err != nil && !errors.As(err, &bad) {
				t.Errorf("%s with %q, %d bytes at a time: got error %v, want taken %v", c.ext, c.content, piece, err, c.ok)
			}
		}
	}
}

// TestNoPlaceHidesABinaryByte: text is looked at many bytes at once, and each is seen wherever it stands, whatever stands beside it.
func TestNoPlaceHidesABinaryByte(t *testing.T) {
	for _, beside := range []string{"a", "\n", "\r", "\x1b", "é", "\u00ff"} {
		line := strings.Repeat(beside, 80/len(beside))
		for at := 0; at <= len(line); at += len(beside) {
			for b := range 0x80 {
				content := line[:at] + string(rune(b)) + line[at:]
				want := b >= 0x20 && b != 0x7f || strings.ContainsRune("\t\n\f\r\x1b", rune(b))
				if got := check(".md", []byte(content), len(content)) == nil; got != want {
					t.Fatalf("%#x at %d among %q: taken %v, want %v", b, at, beside, got, want)
				}
			}
		}
	}
}

func TestAFileIsJudgedByItsHead(t *testing.T) {
	e, _ := upload.ParseExtensions([]string{".md"})
	k, _ := e.Kind(upload.Clean("a.md"))
	var seen []int
	c := upload.NewCheck(k, 10<<10, func(head []byte) []string { seen = append(seen, len(head)); return []string{"application/pdf"} })
	piece := bytes.Repeat([]byte{'a'}, 3000)
	if err := c.Next(piece); err != nil {
		t.Fatalf("before the head is there: %v", err)
	}
	if err := c.Next(piece); err == nil {
		t.Error("a head of another type was taken")
	}
	if len(seen) != 1 || seen[0] != upload.Head {
		t.Errorf("detected of %v bytes, want %d once", seen, upload.Head)
	}
}

func TestTheSizeIsRefusedWhileItComes(t *testing.T) {
	e, _ := upload.ParseExtensions([]string{".md"})
	k, _ := e.Kind(upload.Clean("a.md"))
	for _, size := range []int{9, 10, 11} {
		c := upload.NewCheck(k, 10, func([]byte) []string { return nil })
		err := c.Next(make([]byte, 0))
		for i := 0; i < size && err == nil; i++ {
			err = c.Next([]byte{'a'})
		}
		if long := (*upload.SizeError)(nil); errors.As(err, &long) != (size == 11) || err == nil && c.Size() != int64(size) {
			t.Errorf("%d bytes where 10 may be: got error %v, size %d", size, err, c.Size())
		}
	}
}

func TestThereIsRoomUpToTheQuota(t *testing.T) {
	r := upload.Rules{Quota: 100}
	for _, c := range []struct {
		use   upload.Use
		bytes int64
		ok    bool
	}{{upload.Use{}, 100, true}, {upload.Use{}, 101, false}, {upload.Use{Files: 1, Bytes: 99}, 1, true}, {upload.Use{Files: 1, Bytes: 99}, 2, false},
		{upload.Use{Files: upload.MaxFiles - 1}, 0, true}, {upload.Use{Files: upload.MaxFiles}, 0, false}, {upload.Use{Bytes: 200}, 0, false}} {
		err := r.Room(c.use, c.bytes)
		if full := (*upload.QuotaError)(nil); (err == nil) != c.ok || err != nil && !errors.As(err, &full) {
			t.Errorf("%+v and %d more: got error %v, want room %v", c.use, c.bytes, err, c.ok)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, name := range []string{"main.py", "../a", `..\..\nul.js`, "a\u202ecod.js", strings.Repeat("é", 300), "\xff.py", "con.", " . ", "a\x00b", "-a", strings.Repeat(" ", 255) + "." + strings.Repeat("x", 33)} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		l := upload.Clean(name)
		s := l.String()
		switch {
		case s == "" || len(s) > upload.MaxLabel || !utf8.ValidString(s):
			t.Errorf("Clean(%q): %q is no name", name, s)
		case strings.ContainsAny(s, "/\\:*?\"<>|\x00\r\n\u202e\u2066\u200f"), strings.ContainsAny(s[:1], " .-~"), strings.ContainsAny(s[len(s)-1:], " ."):
			t.Errorf("Clean(%q): %q is not taken everywhere", name, s)
		case upload.Clean(s) != l:
			t.Errorf("Clean(%q): %q is not clean: %q", name, s, upload.Clean(s))
		}
	})
}

// FuzzJSON holds what is taken for JSON against the standard library, whatever the pieces that it comes in.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{}`, `[1,2.5e-3,"\ud834"]`, `{"a":{"b":[]}}`, `01`, `-`, `1e`, `"\x"`, `tru`, ` null `, `[,]`, `{"a":1,}`, `[1 2]`, "\"\t\"", `"` + "\x7f" + `"`, `{"a"}`, `1.`, `{1:2}`, "]"} {
		f.Add([]byte(s), 1)
		f.Add([]byte(s), 100)
	}
	f.Fuzz(func(t *testing.T, content []byte, piece int) {
		if piece < 1 || !utf8.Valid(content) || bytes.HasPrefix(content, []byte("\xef\xbb\xbf")) || bytes.ContainsAny(content, "\x7f") || len(content) > 900 {
			t.Skip()
		}
		if got, want := check(".json", content, piece) == nil, json.Valid(content); got != want {
			t.Errorf("%q, %d bytes at a time: taken %v, want %v", content, piece, got, want)
		}
	})
}

// FuzzText holds what is taken for text against the whole of it at once.
func FuzzText(f *testing.F) {
	f.Add([]byte("日本\xf0\x9f\x98\x80"), 1)
	f.Add([]byte("\xf4\x90\x80\x80 \xed\xa0\x80 \xc0"), 2)
	f.Add([]byte("a\xe6"), 3)
	f.Fuzz(func(t *testing.T, content []byte, piece int) {
		if piece < 1 {
			t.Skip()
		}
		want := utf8.Valid(content) && !bytes.ContainsFunc(content, func(r rune) bool {
			return r < 0x20 && !strings.ContainsRune("\t\n\f\r\x1b", r) || r == 0x7f
		})
		if got := check(".md", content, piece) == nil; got != want {
			t.Errorf("%q, %d bytes at a time: taken %v, want %v", content, piece, got, want)
		}
	})
}
