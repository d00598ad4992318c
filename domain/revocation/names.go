package revocation

import "github.com/xteam/xteam/domain/token"

// Withdraws reports whether the entry names the token with the claims c, or the API key that they stand for: what Set.Withdraws says of a set of this entry alone. It is for
// whoever looks for the entry behind a verdict, for a set keeps neither By nor Note.
func (e *Entry) Withdraws(c *token.Claims) bool {
	if e.Kind == User {
		return !e.User.IsZero() && e.User == c.Subject && c.Generation < e.Min
	}
	if !c.APIKey.IsZero() {
		return e.Kind == APIKey && e.APIKey == c.APIKey
	}
	switch e.Kind {
	case Token:
		return !e.Token.IsZero() && e.Token == c.ID
	case Session:
		return !e.Session.IsZero() && e.Session == c.Session
	case Key:
		return e.KeyID != "" && e.KeyID == c.KeyID
	case Epoch:
		return c.Epoch < e.Epoch
	case IssuedBefore:
		return e.Before > 0 && c.IssuedAt <= e.Before
	}
	return false
}
