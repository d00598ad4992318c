package id_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/id"
)

const sample = "00112233445566778899aabbccddeeff"

func TestNewTakesSixteenBytesAsTheyCome(t *testing.T) {
	source := bytes.NewReader([]byte("0123456789abcdefThe rest"))
	got, err := id.New[id.User](iotest.OneByteReader(source))
	if err != nil {
		t.Fatal(err)
	}
	if want := id.User([]byte("0123456789abcdef")); got != want {
		t.Errorf("New = %s, want %s", got, want)
	}
	if rest, _ := io.ReadAll(source); string(rest) != "The rest" {
		t.Errorf("New left %q of the source, want all after the first 16 bytes", rest)
	}
}

func TestABadSourceYieldsNothing(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		source io.Reader
		want   error
	}{
		"fails at once":   {iotest.ErrReader(broken), broken},
		"fails half-way":  {io.MultiReader(strings.NewReader("0123456"), iotest.ErrReader(broken)), broken},
		"is empty":        {strings.NewReader(""), io.EOF},
		"ends early":      {strings.NewReader("0123456789abcde"), io.ErrUnexpectedEOF},
		"gives zeroes":    {zeroes{}, id.ErrNotRandom},
		"gives 16 zeroes": {bytes.NewReader(make([]byte, 16)), id.ErrNotRandom},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := id.New[id.Session](c.source)
			if !errors.Is(err, c.want) || !got.IsZero() {
				t.Errorf("New = %s, %v; want no id and %v", got, err, c.want)
			}
		})
	}
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestNoTwoAreAlike(t *testing.T) {
	seen := map[id.Token]bool{}
	for range 100_000 {
		v, err := id.New[id.Token](rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if seen[v] {
			t.Fatalf("%s was drawn twice", v)
		}
		seen[v] = true
	}
}

func TestParseIsStrict(t *testing.T) {
	if got, err := id.Parse[id.User](sample); err != nil || got != (id.User{0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}) {
		t.Fatalf("Parse(%q) = %v, %v", sample, got, err)
	}
	for name, s := range map[string]string{
		"nothing":          "",
		"short":            sample[:31],
		"long":             sample + "0",
		"upper case":       strings.ToUpper(sample),
		"one upper case":   sample[:31] + "F",
		"zero":             strings.Repeat("0", 32),
		"a space before":   " " + sample[:31],
		"a newline behind": sample[:31] + "\n",
		"with dashes":      "00112233-4455-6677-8899-aabbccdd",
		"with 0x":          "0x" + sample[:30],
		"a letter past f":  sample[:31] + "g",
		"a NUL":            sample[:31] + "\x00",
		"fullwidth digits": strings.Repeat("０", 10) + "11",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := id.Parse[id.User](s)
			if !errors.Is(err, id.ErrInvalid) || !got.IsZero() {
				t.Errorf("Parse(%q) = %s, %v; want no id and ErrInvalid", s, got, err)
			}
			kept := id.User{1}
			if err := kept.UnmarshalText([]byte(s)); !errors.Is(err, id.ErrInvalid) || kept != (id.User{1}) {
				t.Errorf("UnmarshalText(%q) = %v and left %s, want ErrInvalid and what was there", s, err, kept)
			}
		})
	}
}

func TestTextAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := id.Event(rapid.SliceOfN(rapid.Byte(), 16, 16).Filter(func(b []byte) bool { return !bytes.Equal(b, make([]byte, 16)) }).Draw(t, "bytes"))
		text := v.String()
		if len(text) != 32 || text != strings.ToLower(text) || !id.Looks(text) {
			t.Fatalf("the text of %x is %q", [16]byte(v), text)
		}
		if got, err := id.Parse[id.Event](text); err != nil || got != v {
			t.Fatalf("Parse(%q) = %s, %v", text, got, err)
		}
		b, err := json.Marshal(map[id.Event]id.Event{v: v})
		if want := `{"` + text + `":"` + text + `"}`; err != nil || string(b) != want {
			t.Fatalf("as JSON %s, %v; want %s", b, err, want)
		}
		var got map[id.Event]id.Event
		if err := json.Unmarshal(b, &got); err != nil || got[v] != v || v.IsZero() {
			t.Fatalf("from JSON %v, %v; want %s", got, err, v)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", sample, strings.ToUpper(sample), strings.Repeat("0", 32), sample + sample, "0x" + sample[2:], "\xff" + sample[1:], "٠" + sample[2:]} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := id.Parse[id.Token](s)
		switch {
		case err != nil && !errors.Is(err, id.ErrInvalid):
			t.Errorf("Parse(%q) fails with %v, want ErrInvalid", s, err)
		case err != nil && !v.IsZero():
			t.Errorf("Parse(%q) gives %s beside an error", s, v)
		case err == nil && v.String() != s:
			t.Errorf("Parse(%q) has the text %q", s, v)
		case err != nil && id.Looks(s) && strings.Trim(s, "0") != "":
			t.Errorf("Parse refuses %q, which looks like an id", s)
		}
	})
}
