package session

import (
	"bytes"
	"cmp"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
)

// Place is where in the list of all sessions one stands: by their users, and oldest first of each. The zero Place is the start.
type Place struct {
	User    id.User
	Created instant.Instant
	Session id.Session
}

// Place is where s stands.
func (s *Session) Place() Place { return Place{s.User, s.Created, s.ID} }

// Compare is negative when p comes before q.
func (p Place) Compare(q Place) int {
	return cmp.Or(bytes.Compare(p.User[:], q.User[:]), cmp.Compare(p.Created, q.Created), bytes.Compare(p.Session[:], q.Session[:]))
}
