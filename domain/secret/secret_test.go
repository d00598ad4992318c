package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/secret"
)

const planted = "Zq7-planted-secret"

// carrier holds a secret in each way in which a value can hold one.
type carrier struct {
	Open     secret.Text
	hidden   secret.Text
	Pointer  *secret.Text
	List     []secret.Text
	Map      map[string]secret.Text
	Any      any
	embedded struct{ secret.Text }
}

func carriers() map[string]any {
	s := secret.New(planted)
	c := carrier{s, s, &s, []secret.Text{s}, map[string]secret.Text{"k": s}, s, struct{ secret.Text }{s}}
	return map[string]any{"plain": s, "pointer": &s, "list": []secret.Text{s}, "array": [1]secret.Text{s}, "map": map[string]secret.Text{"k": s},
		"key": map[secret.Text]string{s: "v"}, "struct": c, "pointer to a struct": &c, "hidden": struct{ s secret.Text }{s}, "hidden list": struct{ s []any }{[]any{s}}}
}

// leaks reports whether text holds the planted secret, as it is or in a form that is read back at once.
func leaks(text string) bool {
	for _, form := range []string{planted, hex.EncodeToString([]byte(planted)), strings.ToUpper(hex.EncodeToString([]byte(planted))), base64.StdEncoding.EncodeToString([]byte(planted)),
		fmt.Sprint([]byte(planted)), fmt.Sprintf("% x", planted), "planted"} {
		if strings.Contains(text, form) {
			return true
		}
	}
	return false
}

func TestEveryVerbSaysRedacted(t *testing.T) {
	const verbs = "vTtbcdoOqxXUeEfFgGspwzZ!й"
	for name, value := range carriers() {
		for _, verb := range verbs {
			for _, flags := range []string{"", "+", "#", "-", " ", "0", "20", ".3", "+#20.5", "[1]"} {
				format := "%" + flags + string(verb)
				for _, text := range []string{fmt.Sprintf(format, value), fmt.Errorf(format, value).Error()} {
					if leaks(text) {
						t.Errorf("%s of %s: %s", format, name, text)
					}
					direct := name == "plain" && !strings.ContainsRune("Tpw!", verb)
					if direct && text != secret.Redacted {
						t.Errorf("%s of %s: %q, want %s", format, name, text, secret.Redacted)
					}
				}
			}
		}
		for _, format := range []string{"no verb", "%", "%*d", "%.*d", "%d %[9]d", "%[1]*d", "%d %d"} { // each of them a mistake
			if text := fmt.Sprintf(format, value, value); leaks(text) {
				t.Errorf("%s of %s: %s", format, name, text)
			}
		}
		if text := fmt.Sprint(value) + fmt.Sprintln(value); leaks(text) {
			t.Errorf("%s: %s", name, text)
		}
	}
	s := secret.New(planted)
	for _, got := range []string{s.String(), s.GoString(), fmt.Sprint(s), fmt.Sprint(&s), fmt.Sprintf("%v", s), fmt.Sprintf("%#v", s), fmt.Sprintf("%x", s), fmt.Sprintf("%d", s)} {
		if got != secret.Redacted {
			t.Errorf("got %q, want %s", got, secret.Redacted)
		}
	}
}

func TestNoLogTellsIt(t *testing.T) {
	for name, value := range carriers() {
		var out bytes.Buffer
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			l := slog.New(h)
			l.Info("x", "value", value)
			l.Info("x", slog.Group("g", "value", value))
			l.With("value", value).WithGroup("g").Info("x", slog.Any("error", fmt.Errorf("wrapped: %v", value)))
		}
		if out.Len() == 0 || leaks(out.String()) {
			t.Errorf("%s: the log holds\n%s", name, &out)
		}
		if name == "plain" && strings.Count(out.String(), secret.Redacted) != 8 {
			t.Errorf("%s: the log does not say %s each time:\n%s", name, secret.Redacted, &out)
		}
	}
}

func TestNoEncodingTellsIt(t *testing.T) {
	for name, value := range carriers() {
		var out bytes.Buffer
		_ = json.NewEncoder(&out).Encode(value)
		_ = xml.NewEncoder(&out).Encode(value) // refuses some, and what it says is looked at too
		if err := gob.NewEncoder(&out).Encode(value); err != nil {
			out.WriteString(err.Error())
		}
		if leaks(out.String()) {
			t.Errorf("%s: encoded as\n%s", name, &out)
		}
	}
	s := secret.New(planted)
	b, err := json.Marshal(map[string]any{"s": s, "p": &s})
	if want := `{"p":"[redacted]","s":"[redacted]"}`; err != nil || string(b) != want {
		t.Errorf("JSON is %s, %v; want %s", b, err, want)
	}
	if b, err := s.MarshalText(); err != nil || string(b) != secret.Redacted {
		t.Errorf("MarshalText = %q, %v; want %s", b, err, secret.Redacted)
	}
}

func TestErrorsThatCarryOne(t *testing.T) {
	s := secret.New(planted)
	err := errors.Join(fmt.Errorf("first: %v", s), fmt.Errorf("second: %w", fmt.Errorf("%+v", []any{s})))
	if leaks(err.Error()) || leaks(fmt.Sprintf("%#v %+v", err, err)) {
		t.Errorf("the error says %v", err)
	}
	_, _ = fmt.Fprint(io.Discard, s)
}

func TestItIsWhatWasPutIn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }), rapid.SampledFrom([]string{"", "a", "b"}))
		a, b := text.Draw(t, "a"), text.Draw(t, "b")
		s, o := secret.New(a), secret.New(b)
		if s.RevealPlaintext() != a || s.Len() != len(a) || s.IsZero() != (a == "") {
			t.Fatalf("of %q: %q, %d bytes, zero %v", a, s.RevealPlaintext(), s.Len(), s.IsZero())
		}
		if s.Equal(o) != (a == b) || (s == o) != (a == b) || !s.Equal(secret.New(a)) || s != secret.New(a) {
			t.Fatalf("%q and %q: Equal %v, == %v", a, b, s.Equal(o), s == o)
		}
	})
	var zero secret.Text
	if !zero.IsZero() || zero.RevealPlaintext() != "" || zero.Len() != 0 || !zero.Equal(secret.New("")) || zero != secret.New("") || zero.String() != secret.Redacted {
		t.Error("the zero value is not the empty secret")
	}
}
