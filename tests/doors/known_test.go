package doors_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/secret"
)

var rawURL = base64.RawURLEncoding

// signedIn keeps new tokens, and tells whether there are any.
func (k *known) signedIn(s *system, code string, fields []string, access, refresh string) string {
	if code == "" {
		k.access, k.refresh, k.session = append(k.access, access), append(k.refresh, refresh), append(k.session, sessionOf(s, access))
	}
	return told(code, fields, access != "", refresh != "")
}

// made keeps a new API key.
func (k *known) made(code string, fields []string, key, status string) string {
	if code == "" {
		k.key = append(k.key, key)
	}
	return told(code, fields, key != "", status)
}

// keyID is the id in the text of an API key.
func keyID(text string) string {
	p, err := apikey.Parse(text)
	if err != nil {
		return ""
	}
	return p.ID.String()
}

// administers reports whether a credential says that it is an administrator's: by REST they have routes of their own.
func (k *known) administers(s *system, text string) bool {
	if apikey.Looks(text) {
		e, err := s.x.Sessions().Explain(context.Background(), secret.New(text))
		return err == nil && e.Known != nil && e.Known.Scopes.Has(apikey.Admin)
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return false
	}
	b, err := rawURL.DecodeString(parts[1])
	var c struct{ Roles []string }
	return err == nil && json.Unmarshal(b, &c) == nil && len(c.Roles) == 1 && c.Roles[0] == "admin"
}
