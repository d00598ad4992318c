package httpapi

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/url"
	"slices"
	"strconv"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
)

// list is a page of a list.
type list[T any] struct {
	Items []T     `json:"items"`
	Next  *string `json:"next"` // the cursor of the next page; null on the last
}

// How many items a page of a list may have, and has unless it is said.
const (
	pageMost  = 100
	pageUsual = 50
)

var errQuery = errors.New("the query is malformed")

// query reads the parameters of a list, of which each may be given once; those that are empty or missing are empty.
func (x *exchange) query(names ...string) (map[string]string, error) {
	sent, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil {
		return nil, errQuery
	}
	var bad validationError
	got := map[string]string{}
	for name, values := range sent {
		switch {
		case !slices.Contains(names, name):
			bad.note(shown(name), "is not a parameter that is taken here")
		case len(values) > 1:
			bad.note(name, "must be given once")
		default:
			got[name] = values[0]
		}
		if len(bad.fields) == maxFaults {
			break
		}
	}
	if len(bad.fields) > 0 {
		return nil, &bad
	}
	return got, nil
}

// pageSize reads the parameter limit.
func pageSize(text string) (int, error) {
	if text == "" {
		return pageUsual, nil
	}
	n, err := strconv.ParseUint(text, 10, 7)
	if err != nil || n < 1 || n > pageMost {
		return 0, invalid("limit", "must be a number from 1 to 100")
	}
	return int(n), nil
}

// The lists that have cursors. A cursor says which list it is of in its first byte; what follows is where the page begins. It holds nothing but what its page showed, and
// opens nothing: whoever makes one up begins elsewhere in a list that they may read.
const (
	cursorUsers       byte = 1 // and the id of the last user
	cursorSessions    byte = 2 // of one user: and their id, the time and the id of the last session
	cursorAllSessions byte = 3 // of everybody: the same
	cursorBlocks      byte = 4 // and the last network, in the form of IPv6, with the family and the length of its mask
	cursorEvents      byte = 5 // and the position of the last event
	cursorAlerts      byte = 6 // and the id of the last alert
	cursorIncidents   byte = 9 // and the id of the last incident
	cursorFiles       byte = 8 // and the time and the id of the last file
)

// cursorText is base64url without padding (RFC 4648, section 5).
var cursorText = base64.RawURLEncoding.Strict()

// parseCursor reads a cursor of that list and length in bytes.
func parseCursor(text string, of byte, length int) ([]byte, error) {
	bad := invalid("cursor", "must be one that this list has answered as next, or empty")
	if len(text) != cursorText.EncodedLen(1+length) {
		return nil, bad
	}
	b, err := cursorText.DecodeString(text)
	if err != nil || len(b) != 1+length || b[0] != of {
		return nil, bad
	}
	return b[1:], nil
}

func nextUsers(last id.User) *string {
	text := cursorText.EncodeToString(append([]byte{cursorUsers}, last[:]...))
	return &text
}

// usersBehind reads a cursor of the list of users; the empty one is the start.
func usersBehind(text string) (last id.User, err error) {
	if text == "" {
		return last, nil
	}
	b, err := parseCursor(text, cursorUsers, len(last))
	copy(last[:], b)
	return last, err
}

// cursorOf is which list of sessions is one user's, or everybody's.
func cursorOf(of id.User) byte {
	if of.IsZero() {
		return cursorAllSessions
	}
	return cursorSessions
}

func nextSessions(of id.User, p app.Place) *string {
	b := append([]byte{cursorOf(of)}, p.User[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(p.Created))
	text := cursorText.EncodeToString(append(b, p.Session[:]...))
	return &text
}

// sessionsBehind reads a cursor of the list of a user's sessions, or of everybody's; the empty one is the start.
func sessionsBehind(text string, of id.User) (p app.Place, err error) {
	if text == "" {
		return p, nil
	}
	b, err := parseCursor(text, cursorOf(of), len(p.User)+8+len(p.Session))
	if err != nil {
		return p, err
	}
	b = b[copy(p.User[:], b):]
	p.Created = instant.Instant(binary.BigEndian.Uint64(b))
	copy(p.Session[:], b[8:])
	if p.User.IsZero() || !of.IsZero() && p.User != of {
		return app.Place{}, invalid("cursor", "is of another list")
	}
	return p, nil
}

func nextEvents(last uint64) *string {
	text := cursorText.EncodeToString(binary.BigEndian.AppendUint64([]byte{cursorEvents}, last))
	return &text
}

// eventsBehind reads a cursor of the list of events; the empty one is the start.
func eventsBehind(text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	b, err := parseCursor(text, cursorEvents, 8)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(b), nil
}
