package httpapi

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/xteam/xteam/domain/secret"
)

// hidden is a member of a body that must never be seen again.
type hidden struct{ secret.Text }

// UnmarshalText takes the secret into keeping.
func (h *hidden) UnmarshalText(b []byte) error {
	h.Text = secret.New(string(b))
	return nil
}

// errNoBody is of a body of nothing but white space.
var errNoBody error = &syntaxError{"the body is empty: send one JSON object"}

// maxFaults is after how many members that are wrong no more is read: neither the answer to the largest body nor the work on it is large.
const maxFaults = 16

// decode reads raw, one JSON object, into the struct that v points to: member names in exactly this case, each at most once, none that v does not have, nothing
// behind the object. What is wrong with the syntax is one *syntaxError; what is wrong with members, *validationError, is said of all of them at once. Neither
// repeats a value.
func decode(raw []byte, v any) error {
	switch text := bytes.TrimLeft(raw, " \t\r\n"); {
	case len(text) == 0:
		return errNoBody
	case text[0] != '{':
		return &syntaxError{"the body must be one JSON object"}
	}
	var bad validationError
	err := members(jsontext.NewDecoder(bytes.NewBuffer(raw)), places(reflect.ValueOf(v).Elem(), nil), &bad)
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return &syntaxError{"the body names a member twice"}
	case err != nil:
		return &syntaxError{"the body is not valid JSON"}
	case len(bad.fields) > 0:
		return &bad
	}
	return nil
}

// place is where the value of a member goes.
type place struct {
	name string
	to   any
}

// places lists the fields of a struct by their json tags, and those of the structs that are embedded in it.
func places(v reflect.Value, to []place) []place {
	for i := range v.NumField() {
		name, option, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if option == "inline" {
			to = places(v.Field(i), to)
		} else {
			to = append(to, place{name, v.Field(i).Addr().Interface()})
		}
	}
	return to
}

// members reads the object to the end of the body, or until enough is wrong. It answers what is wrong with the syntax, and notes in bad what is wrong with members.
func members(dec *jsontext.Decoder, to []place, bad *validationError) error {
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for faults := 0; faults < maxFaults; {
		if dec.PeekKind() == jsontext.KindEndObject {
			return end(dec)
		}
		token, err := dec.ReadToken()
		if err != nil {
			return err
		}
		name := token.String()
		value, err := dec.ReadValue()
		if err != nil {
			return err
		}
		at := slices.IndexFunc(to, func(p place) bool { return p.name == name })
		switch {
		case at < 0:
			faults++
			bad.note(shown(name), "is not a member that is taken here")
		case json.Unmarshal(value, to[at].to) != nil:
			faults++
			bad.note(name, wanted(to[at].to))
		}
	}
	return nil
}

// end reads the end of the object and of the body.
func end(dec *jsontext.Decoder) error {
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	if dec.PeekKind() != jsontext.KindInvalid || len(bytes.TrimLeft(dec.UnreadBuffer(), " \t\r\n")) > 0 {
		return errTrailing
	}
	return nil
}

var errTrailing = errors.New("something follows the object")

// note adds what is wrong with a member; one complaint of each is enough.
func (e *validationError) note(field, message string) {
	if !slices.ContainsFunc(e.fields, func(f fieldError) bool { return f.Field == field }) {
		e.fields = append(e.fields, fieldError{field, message})
	}
}

// wanted says what a member takes.
func wanted(to any) string {
	switch to.(type) {
	case *bool:
		return "must be true or false"
	case **int64:
		return "must be a whole number"
	case *[]string:
		return "must be a list of strings"
	case *time.Time, **time.Time:
		return "must be a time in RFC 3339, such as 2026-05-01T12:00:00Z"
	}
	return "must be a string"
}

// shown is a client's own name of a member for an answer. It is repeated only when it can be nothing but a name.
func shown(name string) string {
	if len(name) == 0 || len(name) > 32 {
		return "body"
	}
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '_' {
			return "body"
		}
	}
	return name
}
