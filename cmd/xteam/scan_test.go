package main_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	xteam "github.com/xteam/xteam/cmd/xteam"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/session"
)

func leakedKey(t *testing.T) string {
	t.Helper()
	text, _, err := apikey.Make(apikey.Production, id.APIKey{1}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return text.RevealPlaintext()
}

// scanIn runs a scan and demands that it shows no secret.
func scanIn(t *testing.T, in io.Reader, code int, secrets []string, args ...string) (out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	if got := xteam.Run(t.Context(), append([]string{"scan"}, args...), in, &o, &e); got != code {
		t.Errorf("scan %q: %d, want %d: %s%s", args, got, code, o.String(), e.String())
	}
	for _, s := range secrets {
		for part := 45; part+16 < len(s); part += 8 {
			if all := o.String() + e.String(); strings.Contains(all, s[part:part+16]) {
				t.Fatalf("the secret is shown: %s", all)
			}
		}
	}
	return o.String(), e.String()
}

func TestScan(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege there")
	}
	t.Chdir(t.TempDir())
	key, refresh := leakedKey(t), session.RefreshToken{Key: 1, Session: id.Session{2}, Counter: 1, Secret: [32]byte{3, 7: 9}, MAC: [32]byte{4, 5: 6}}.Text().RevealPlaintext()
	wide := []byte{0xff, 0xfe}
	for _, r := range utf16.Encode([]rune("set KEY=\r\n" + key + "\r\n")) {
		wide = binary.LittleEndian.AppendUint16(wide, r)
	}
	for name, content := range map[string]string{
		"tree/.env":          "A=1\nB=2\nKEY=" + key + "\n",
		"tree/deep/er/notes": refresh + " and " + key,
		"tree/clean":         "xt_prd_ is how they begin, xtr_ too",
		"tree/wide.txt":      string(wide),
		"tree/" + key:        key,
		"tree/binary":        "\x7fELF\x00" + key,
		"tree/large":         strings.Repeat("x", 1<<20) + key,
		"outside/secret":     key,
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"tree/out": "../outside", "tree/file": "../outside/secret", "tree/deep/loop": "..", "tree/dangling": "nowhere", "link": "outside/secret"} {
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
	}
	secrets := []string{key, refresh}
	shown := "xt_prd_01000000000000000000000000000000_…"
	out, errs := scanIn(t, nil, 1, secrets, "--max-mib", "1", "tree")
	want := []string{
		"tree/.env:3:5: " + shown,
		"tree/deep/er/notes:1:1: xtr_… of the session 02000000000000000000000000000000",
		"tree/deep/er/notes:1:138: " + shown,
		"tree/wide.txt:2:1: " + shown,
		"tree/" + shown + ": in its name: " + shown,
		"tree/" + shown + ":1:1: " + shown,
		"5 files looked through, 1 binary, 1 too large, 4 links",
	}
	if diff := cmp.Diff(want, strings.Split(strings.TrimSpace(out), "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if errs != "xteam: 6 secrets were found: take them out of the files and their history, and revoke them\n" {
		t.Errorf("stderr: %s", errs)
	}
	out, _ = scanIn(t, nil, 1, secrets, "tree/large", "link") // what is named is looked into, a link too
	if out != "tree/large:1:1048577: "+shown+"\nlink:1:1: "+shown+"\n2 files looked through\n" {
		t.Errorf("stdout: %s", out)
	}
	out, _ = scanIn(t, nil, 0, secrets, "tree/clean", "tree/binary")
	if out != "1 file looked through, 1 binary\n" {
		t.Errorf("stdout: %s", out)
	}
	out, errs = scanIn(t, nil, 1, secrets, "tree/clean", "missing-"+key)
	if out != "1 file looked through, 1 unreadable\n" || !strings.Contains(errs, "1 file or folder could not be read: missing-"+shown+": no such file or directory") {
		t.Errorf("of one that is not there: %s%s", out, errs)
	}
	diff := "+++ b/x\n+" + key + "\n"
	out, _ = scanIn(t, strings.NewReader(diff), 1, secrets, "--json", "-")
	var got struct {
		Found []struct {
			Path, Kind, Secret, APIKey string
			Line, Column               int
		}
		Files int
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || len(got.Found) != 1 || got.Found[0].Path != "standard input" || got.Found[0].Line != 2 || got.Found[0].Column != 2 || got.Found[0].Kind != "api_key" {
		t.Errorf("as JSON: %s, %v", out, err)
	}
	scanIn(t, strings.NewReader("nothing"), 0, secrets, "-")
	scanIn(t, nil, 2, secrets)
	scanIn(t, nil, 2, secrets, "--max-mib", "-1", "tree")
	var many strings.Builder
	for range 1500 {
		many.WriteString(key + "\n")
	}
	many.WriteString(refresh + "\n") // which is listed all the same
	out, errs = scanIn(t, strings.NewReader(many.String()), 1, secrets, "-")
	if !strings.Contains(out, "\nand 1480 more\n") || !strings.Contains(out, "standard input:1501:1: ") || !strings.Contains(errs, "1501 secrets were found") {
		t.Errorf("of many: %s", errs)
	}
	if _, err := os.Stat("data"); err == nil {
		t.Error("a scan made a data folder")
	}
}

// TestScanUTF16: as Windows writes it, in both orders, with a mark and without, from a file and from standard input, in whatever pieces it comes; non-ASCII characters shift no column, and are no line.
func TestScanUTF16(t *testing.T) {
	t.Chdir(t.TempDir())
	key := leakedKey(t)
	shown := "xt_prd_01000000000000000000000000000000_…"
	text := strings.Repeat("x = 1\r\n", 9000) + "\u0a0a\u4141é=" + key + "\U0001f600\r\nnothing\r\n"
	for name, order := range map[string]binary.AppendByteOrder{"little": binary.LittleEndian, "big": binary.BigEndian} {
		for _, mark := range []string{"\ufeff", ""} {
			var content []byte
			for _, u := range utf16.Encode([]rune(mark + text)) {
				content = order.AppendUint16(content, u)
			}
			if err := os.WriteFile(name, content, 0o600); err != nil {
				t.Fatal(err)
			}
			out, _ := scanIn(t, nil, 1, []string{key}, name)
			if want := name + ":9001:5: " + shown + "\n1 file looked through\n"; out != want {
				t.Errorf("with the mark %q: %s, want %s", mark, out, want)
			}
			for _, in := range []io.Reader{bytes.NewReader(content), iotest.OneByteReader(bytes.NewReader(content))} {
				out, _ = scanIn(t, in, 1, []string{key}, "-")
				if want := "standard input:9001:5: " + shown + "\n"; !strings.HasPrefix(out, want) {
					t.Errorf("with the mark %q: %s, want %s", mark, out, want)
				}
			}
		}
	}
	if err := os.WriteFile("binary", []byte("\x7fELF\x00\x00\x00"+strings.Repeat("a\x00\x00b", 3000)+key), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, _ := scanIn(t, nil, 0, []string{key}, "binary"); out != "0 files looked through, 1 binary\n" {
		t.Errorf("a binary file: %s", out)
	}
	broken := errors.New("the disk is gone")
	if _, errs := scanIn(t, iotest.ErrReader(broken), 1, nil, "-"); !strings.Contains(errs, "standard input: the disk is gone") {
		t.Errorf("of a standard input that fails: %s", errs)
	}
}

// What has no end is left when whoever asked for it gives up.
func TestScanStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var out, errs bytes.Buffer
	in := readerFunc(func(b []byte) (int, error) { cancel(); return len(b), nil })
	if code := xteam.Run(ctx, []string{"scan", "-"}, in, &out, &errs); code != 1 || !strings.Contains(errs.String(), "stopped before everything was looked through") {
		t.Errorf("%d: %s", code, errs.String())
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// What is of another server, or no longer of any, is told apart, and where there is no server nothing is lost of what was found.
func TestScanRevokesWhatItCan(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("BCRYPT_COST", "10")
	key := leakedKey(t)
	if err := os.WriteFile("leak", []byte(key+"\n"+key), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs := scanIn(t, nil, 1, []string{key}, "--revoke", "leak")
	if !strings.HasPrefix(out, "leak:1:1: xt_prd_") || !strings.Contains(errs, "xteam: ") || strings.Contains(out, "revoked") {
		t.Errorf("without a server: %s%s", out, errs)
	}
	var o, e bytes.Buffer
	if code := xteam.Run(t.Context(), []string{"users", "create", "--email", "ann@example.com", "--username", "ann", "--password-stdin"}, strings.NewReader("correct-Horse-battery-9-staple\n"), &o, &e); code != 0 {
		t.Fatal(e.String())
	}
	out, _ = scanIn(t, nil, 1, []string{key}, "--revoke", "leak")
	if strings.Count(out, ": not revoked: ") != 2 || !strings.Contains(out, "of this system") {
		t.Errorf("of another server: %s", out)
	}
	out, _ = scanIn(t, nil, 1, []string{key}, "--revoke", "--json", "leak")
	if strings.Count(out, `"revoked":false`) != 2 {
		t.Errorf("as JSON: %s", out)
	}
}
