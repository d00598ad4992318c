package leak_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/leak"
	"github.com/xteam/xteam/domain/session"
)

var (
	key     = made(apikey.Production)
	refresh = session.RefreshToken{Key: 1, Session: id.Session{7}, Counter: 1, Secret: [32]byte{1: 9}, MAC: [32]byte{5}}.Text().RevealPlaintext()
)

func made(env apikey.Environment) string {
	text, _, err := apikey.Make(env, id.APIKey{9}, rand.Reader)
	if err != nil {
		panic(err)
	}
	return text.RevealPlaintext()
}

// found are the secrets in a text as "line:column text".
func found(t testing.TB, r io.Reader) (all []string) {
	t.Helper()
	if err := leak.Find(r, func(l leak.Leak) bool {
		all = append(all, fmt.Sprintf("%d:%d %s", l.Line, l.Column, l.Text.RevealPlaintext()))
		if shown := l.Shown() + fmt.Sprint(l); strings.Contains(shown, l.Text.RevealPlaintext()) || strings.Contains(shown, l.Text.RevealPlaintext()[45:80]) {
			t.Errorf("it is shown: %s", shown)
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestFind(t *testing.T) {
	wrong := key[:len(key)-1] + string(key[len(key)-1]^1)
	for what, c := range map[string]struct {
		text string
		want []string
	}{
		"nothing":           {"", nil},
		"both":              {"a\nKEY=" + key + "\n\n  \"" + refresh + "\"", []string{"2:5 " + key, "4:4 " + refresh}},
		"side by side":      {key + refresh + key, []string{"1:1 " + key, fmt.Sprintf("1:%d %s", 1+len(key), refresh), fmt.Sprintf("1:%d %s", 1+len(key)+len(refresh), key)}},
		"within a word":     {"xt_xtxt" + key + "xt_", []string{"1:8 " + key}},
		"another checksum":  {wrong + "\n" + refresh[:len(refresh)-1] + "!", nil},
		"cut":               {key[:len(key)-1], nil},
		"parted":            {key[:40] + "\n" + key[40:], nil},
		"another's keys":    {"xt_test_1234 xtr_ xt_prd_", nil},
		"lines of Windows":  {"a\r\n\r\n" + key + "\r\n", []string{"3:1 " + key}},
		"behind a long one": {strings.Repeat("x", 200_000) + key, []string{"1:200001 " + key}},
		"bytes of all kind": {"\xff\x00xt\x00" + key, []string{"1:6 " + key}},
	} {
		if diff := cmp.Diff(c.want, found(t, strings.NewReader(c.text))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
		if diff := cmp.Diff(c.want, found(t, iotest.OneByteReader(strings.NewReader(c.text)))); diff != "" {
			t.Errorf("%s, byte by byte (-want +got):\n%s", what, diff)
		}
	}
}

// Wherever a secret lies in whatever is read in whatever pieces, it is found once, where it is.
func TestFindAnywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var text bytes.Buffer
		var want []string
		line, column := 1, 1
		put := func(s string) {
			text.WriteString(s)
			for _, c := range []byte(s) {
				if column++; c == '\n' {
					line, column = line+1, 1
				}
			}
		}
		for range rapid.IntRange(0, 5).Draw(t, "secrets") {
			put(strings.Repeat(rapid.SampledFrom([]string{"x", "xt_", "\n", "abc \n", "xtr_"}).Draw(t, "noise"), rapid.SampledFrom([]int{0, 1, 7, 40, 16_000, 16_384, 16_400}).Draw(t, "times")))
			s := rapid.SampledFrom([]string{key, refresh}).Draw(t, "secret")
			want = append(want, fmt.Sprintf("%d:%d %s", line, column, s))
			put(s)
		}
		var got []string
		r := &pieces{text.Bytes(), rapid.SliceOfN(rapid.IntRange(500, 70_000), 1, 5).Draw(t, "pieces"), 0}
		if err := leak.Find(r, func(l leak.Leak) bool {
			got = append(got, fmt.Sprintf("%d:%d %s", l.Line, l.Column, l.Text.RevealPlaintext()))
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

// pieces reads so much at a time, in turns.
type pieces struct {
	left []byte
	by   []int
	n    int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.left) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.left[:min(len(p.left), p.by[p.n%len(p.by)])])
	p.left, p.n = p.left[n:], p.n+1
	return n, nil
}

func TestFindStops(t *testing.T) {
	n := 0
	if err := leak.Find(strings.NewReader(key+key+key), func(leak.Leak) bool { n++; return n < 2 }); err != nil || n != 2 {
		t.Errorf("%d, %v", n, err)
	}
	broken := errors.New("the disk is gone")
	if err := leak.Find(io.MultiReader(strings.NewReader(key), iotest.ErrReader(broken)), func(leak.Leak) bool { return true }); !errors.Is(err, broken) {
		t.Errorf("of a reader that fails: %v", err)
	}
}

// However long a text is, memory is bounded.
func TestFindInBoundedMemory(t *testing.T) {
	allocated := testing.AllocsPerRun(1, func() {
		if err := leak.Find(io.LimitReader(endless{}, 8<<20), func(leak.Leak) bool { t.Error("found"); return false }); err != nil {
			t.Error(err)
		}
	})
	if allocated > 10 {
		t.Errorf("%.0f allocations", allocated)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = "xt "[i%3]
	}
	return len(b), nil
}

// FuzzFind: whatever is read, what is found stands where it is said to, and is found however it is read.
func FuzzFind(f *testing.F) {
	for _, text := range []string{"", "xt_", key, refresh, "a\n" + key + refresh + "\nxtr_" + refresh, strings.Repeat("xt_dev_", 40) + key} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		lines := bytes.SplitAfter(text, []byte("\n"))
		var all []string
		if err := leak.Find(bytes.NewReader(text), func(l leak.Leak) bool {
			s := l.Text.RevealPlaintext()
			all = append(all, fmt.Sprintf("%d:%d %s", l.Line, l.Column, s))
			if !bytes.HasPrefix(lines[l.Line-1][l.Column-1:], []byte(s)) {
				t.Errorf("%d:%d is not where it is", l.Line, l.Column)
			}
			_, notKey := apikey.Parse(s)
			if _, notRefresh := session.ParseRefresh(s); notKey != nil && notRefresh != nil {
				t.Error("what was found is no secret")
			}
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(all, found(t, iotest.OneByteReader(bytes.NewReader(text)))); diff != "" {
			t.Errorf("byte by byte (-at once +so):\n%s", diff)
		}
	})
}
