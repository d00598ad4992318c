package graphqlapi

import (
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/secret"
)

// Values of the domain that are only ever answered are read by nobody; what is asked comes as text, and is parsed where it is used.
var errAnswered = errors.New("is answered and never asked")

// shapeError says of what shape a value must be.
type shapeError struct{ want string }

func (e *shapeError) Error() string { return e.want }

// text writes a value as a string of JSON.
func text(s string) graphql.Marshaler {
	return graphql.WriterFunc(func(w io.Writer) { quote(w, s) })
}

func quote(w io.Writer, s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			b, _ := json.Marshal(s) // a string always marshals
			_, _ = w.Write(b)
			return
		}
	}
	_, _ = io.WriteString(w, `"`)
	_, _ = io.WriteString(w, s)
	_, _ = io.WriteString(w, `"`)
}

// optional writes a value as null when it is empty.
func optional(s string) graphql.Marshaler {
	if s == "" {
		return graphql.Null
	}
	return text(s)
}

// MarshalPlain writes a string.
func MarshalPlain(s string) graphql.Marshaler { return text(s) }

// UnmarshalPlain takes strings alone: a number is not its digits.
func UnmarshalPlain(v any) (string, error) {
	if s, ok := v.(string); ok {
		return s, nil
	}
	return "", &shapeError{"must be a string"}
}

// MarshalSecret writes a token or a key to whom it is issued.
func MarshalSecret(s secret.Text) graphql.Marshaler { return text(s.RevealPlaintext()) }

// UnmarshalSecret takes a secret into keeping.
func UnmarshalSecret(v any) (secret.Text, error) {
	s, err := UnmarshalPlain(v)
	return secret.New(s), err
}

// MarshalEmail writes an e-mail address.
func MarshalEmail(v account.Email) graphql.Marshaler { return text(v.String()) }

// UnmarshalEmail is never asked for.
func UnmarshalEmail(any) (v account.Email, err error) { return v, errAnswered }

// MarshalUsername writes a user name.
func MarshalUsername(v account.Username) graphql.Marshaler { return text(v.String()) }

// UnmarshalUsername is never asked for.
func UnmarshalUsername(any) (v account.Username, err error) { return v, errAnswered }

// MarshalFullName writes a name; it is null where there is none.
func MarshalFullName(v account.FullName) graphql.Marshaler { return optional(v.String()) }

// UnmarshalFullName is never asked for.
func UnmarshalFullName(any) (v account.FullName, err error) { return v, errAnswered }

// MarshalAddress writes an address; it is null where none is known.
func MarshalAddress(v netip.Addr) graphql.Marshaler {
	if !v.IsValid() {
		return graphql.Null
	}
	return text(v.String())
}

// UnmarshalAddress is never asked for.
func UnmarshalAddress(any) (v netip.Addr, err error) { return v, errAnswered }

// MarshalKeyName writes the name of an API key.
func MarshalKeyName(v apikey.Name) graphql.Marshaler { return text(v.String()) }

// UnmarshalKeyName is never asked for.
func UnmarshalKeyName(any) (v apikey.Name, err error) { return v, errAnswered }

// MarshalEnvironment writes the environment of an API key.
func MarshalEnvironment(v apikey.Environment) graphql.Marshaler { return text(string(v)) }

// UnmarshalEnvironment is never asked for.
func UnmarshalEnvironment(any) (v apikey.Environment, err error) { return v, errAnswered }

// MarshalKeyState writes the state of a signing key.
func MarshalKeyState(v keyset.State) graphql.Marshaler { return text(v.String()) }

// UnmarshalKeyState is never asked for.
func UnmarshalKeyState(any) (v keyset.State, err error) { return v, errAnswered }

// MarshalKind writes what happened.
func MarshalKind(v audit.Kind) graphql.Marshaler { return text(string(v)) }

// UnmarshalKind is never asked for.
func UnmarshalKind(any) (v audit.Kind, err error) { return v, errAnswered }

// MarshalSeverity writes how loud an event is.
func MarshalSeverity(v audit.Severity) graphql.Marshaler { return text(v.String()) }

// UnmarshalSeverity is never asked for.
func UnmarshalSeverity(any) (v audit.Severity, err error) { return v, errAnswered }

// MarshalOutcome writes how what happened ended.
func MarshalOutcome(v audit.Outcome) graphql.Marshaler { return text(string(v)) }

// UnmarshalOutcome is never asked for.
func UnmarshalOutcome(any) (v audit.Outcome, err error) { return v, errAnswered }

// MarshalRole writes a role in capitals, as enumerations are.
func MarshalRole(v account.Role) graphql.Marshaler { return text(strings.ToUpper(string(v))) }

// UnmarshalRole is never asked for.
func UnmarshalRole(any) (v account.Role, err error) { return v, errAnswered }

// MarshalTime writes a time; one that was never set is null.
func MarshalTime(v instant.Instant) graphql.Marshaler {
	if v == 0 {
		return graphql.Null
	}
	return text(v.Time().UTC().Format(time.RFC3339Nano))
}

// UnmarshalTime is never asked for.
func UnmarshalTime(any) (v instant.Instant, err error) { return v, errAnswered }

// MarshalWhole writes a whole number.
func MarshalWhole(n int) graphql.Marshaler {
	return graphql.WriterFunc(func(w io.Writer) { _, _ = io.WriteString(w, strconv.Itoa(n)) })
}

// UnmarshalWhole takes whole numbers of 32 bits (the specification's section 3.5.1): no text of digits, and no fraction.
func UnmarshalWhole(v any) (int, error) {
	var digits string
	switch v := v.(type) {
	case json.Number:
		digits = string(v)
	case int64:
		digits = strconv.FormatInt(v, 10)
	case int:
		digits = strconv.Itoa(v)
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil {
		return 0, &shapeError{"must be a whole number of 32 bits"}
	}
	return int(n), nil
}
