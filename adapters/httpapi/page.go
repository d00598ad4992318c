package httpapi

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"net/url"
	"slices"
	"strconv"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/apikey"
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

// errCursor refuses what is no cursor of the list.
var errCursor = invalid("cursor", "must be one that this list has answered as next, or empty")

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

// partSize reads the parameter limit of a list that is bounded, and whole unless a limit is given.
func partSize(text string) (int, error) {
	if text == "" {
		return math.MaxInt, nil
	}
	return pageSize(text)
}

// part cuts a page out of a list that is here whole: at most limit items of those that are behind. It answers whether there are more.
func part[T any](all []T, limit int, behind func(*T) bool) (page []T, more bool) {
	for i := range all {
		switch {
		case !behind(&all[i]):
		case len(page) == limit:
			return page, true
		default:
			page = append(page, all[i])
		}
	}
	return page, false
}

// The lists that have cursors. A cursor says which list it is of in its first byte; what follows is where the page begins. It holds nothing but what its page showed, and
// opens nothing: whoever makes one up begins elsewhere in a list that they may read.
const (
	cursorUsers       byte = 1  // and the id of the last user
	cursorSessions    byte = 2  // of one user: and their id, the time and the id of the last session
	cursorAllSessions byte = 3  // of everybody: the same
	cursorBlocks      byte = 4  // and the last network, in the form of IPv6, with the family and the length of its mask
	cursorEvents      byte = 5  // and the position of the last event
	cursorAlerts      byte = 6  // and the id of the last alert
	cursorAPIKeys     byte = 7  // and the time and the id of the last key
	cursorFiles       byte = 8  // and the time and the id of the last file
	cursorIncidents   byte = 9  // and the id of the last incident
	cursorSigningKeys byte = 10 // and the kid of the last key
)

// cursorText is base64url without padding (RFC 4648, section 5).
var cursorText = base64.RawURLEncoding.Strict()

// parseCursor reads a cursor of that list and length in bytes.
func parseCursor(text string, of byte, length int) ([]byte, error) {
	if len(text) != cursorText.EncodedLen(1+length) {
		return nil, errCursor
	}
	b, err := cursorText.DecodeString(text)
	if err != nil || len(b) != 1+length || b[0] != of {
		return nil, errCursor
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

func nextKeys(last *apikey.Key) *string {
	b := binary.BigEndian.AppendUint64([]byte{cursorAPIKeys}, uint64(last.Created))
	text := cursorText.EncodeToString(append(b, last.ID[:]...))
	return &text
}

// keysBehind reads a cursor of a list of API keys: whether a key, in the order of their times, is behind it. Behind the empty one all are.
func keysBehind(text string) (func(*app.ListedKey) bool, error) {
	if text == "" {
		return func(*app.ListedKey) bool { return true }, nil
	}
	var last id.APIKey
	b, err := parseCursor(text, cursorAPIKeys, 8+len(last))
	if err != nil {
		return nil, err
	}
	created := instant.Instant(binary.BigEndian.Uint64(b))
	copy(last[:], b[8:])
	return func(k *app.ListedKey) bool { return byAge(k, created, last) > 0 }, nil
}

// byAge compares a key with the time and the id of another.
func byAge(k *app.ListedKey, created instant.Instant, other id.APIKey) int {
	return cmp.Or(cmp.Compare(k.Created, created), bytes.Compare(k.ID[:], other[:]))
}

// keysPage is a page of the list of API keys that the parameters of a request ask for, with what it is to answer as next.
func keysPage(all []app.ListedKey, limit, cursor string) ([]app.ListedKey, *string, error) {
	most, err := partSize(limit)
	if err != nil {
		return nil, nil, err
	}
	behind, err := keysBehind(cursor)
	if err != nil {
		return nil, nil, err
	}
	slices.SortFunc(all, func(a, b app.ListedKey) int { return byAge(&a, b.Created, b.ID) })
	page, more := part(all, most, behind)
	if !more {
		return page, nil, nil
	}
	return page, nextKeys(&page[most-1].Key), nil
}

func nextSigningKeys(last string) *string {
	text := cursorText.EncodeToString(append([]byte{cursorSigningKeys}, last...))
	return &text
}

// signingKeysBehind reads a cursor of the list of signing keys, whose order is no order of their kids: how many of the list stand before its page.
func signingKeysBehind(text string, all []app.ListedSigningKey) (int, error) {
	if text == "" {
		return 0, nil
	}
	at := slices.IndexFunc(all, func(k app.ListedSigningKey) bool { return *nextSigningKeys(k.ID) == text })
	if at < 0 {
		return 0, errCursor
	}
	return at + 1, nil
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
