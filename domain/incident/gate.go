package incident

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"

	"github.com/xteam/xteam/domain/id"
)

// Gate is what of a Casebook each request is held against. The zero Gate lets everybody in.
type Gate struct {
	held     int
	salt     string
	isolated []string
}

// Gate answers it.
func (b Casebook) Gate() Gate {
	g := Gate{held: b.Held, salt: b.Salt}
	for _, i := range b.Isolated {
		g.isolated = append(g.isolated, i.Node)
	}
	return g
}

// Admits reports whether a user's sign-in is let in. It is the same on every node, and whoever is let in at one percentage is at each higher one.
func (g *Gate) Admits(uid id.User) bool {
	if g.held == 0 {
		return true
	}
	sum := sha256.Sum256(append([]byte(g.salt+"\x00"), uid[:]...))
	return int(binary.BigEndian.Uint64(sum[:8])%Everybody) < Everybody-g.held
}

// Percent is whose sign-ins are let in.
func (g *Gate) Percent() int { return Everybody - g.held }

// Isolates reports whether the node with a name is to serve nobody.
func (g *Gate) Isolates(node string) bool { return slices.Contains(g.isolated, node) }

// Encode is the book as stores keep it.
func (b Casebook) Encode() []byte {
	if b.Revision == 0 {
		return nil
	}
	text, err := json.Marshal(b)
	if err != nil {
		panic(err) // texts and numbers always marshal
	}
	return text
}

// Decode reads what Encode wrote; nothing is an empty book.
func Decode(text []byte) (b Casebook, err error) {
	if len(text) == 0 {
		return b, nil
	}
	if json.Unmarshal(text, &b) != nil || b.Held < 0 || b.Held > Everybody {
		return Casebook{}, errors.New("the book of incidents is damaged")
	}
	return b, nil
}

// Clone is a book of its own.
func (b Casebook) Clone() Casebook {
	if b.Revision == 0 {
		return Casebook{}
	}
	c, err := Decode(b.Encode())
	if err != nil {
		panic(err)
	}
	return c
}
