package graphqlapi

import (
	"context"
	"encoding/base64"
	"encoding/binary"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/upload"
	"github.com/xteam/xteam/ports"
)

// How many items a page of a list may have, and has unless it is said.
const (
	pageMost  = 100
	pageUsual = 50
)

func pageSize(first *int) (int, error) {
	switch {
	case first == nil:
		return pageUsual, nil
	case *first < 1 || *first > pageMost:
		return 0, invalid("first", "must be a number from 1 to 100")
	}
	return *first, nil
}

// The lists that have cursors. A cursor says which list it is of in its first byte. It holds nothing but what its page showed, and opens nothing: whoever makes one up
// begins elsewhere in a list that they may read.
const (
	ofUsers       byte = 1 // and the id
	ofSessions    byte = 2 // and the user, the time and the id
	ofAPIKeys     byte = 3 // and the id
	ofSigningKeys byte = 4 // and the kid
	ofAlerts      byte = 6 // and the id
	ofIncidents   byte = 9 // and the id
	ofFiles       byte = 8 // and the id
	ofEvents      byte = 5 // and a position, and the number of events behind it
)

var cursorText = base64.RawURLEncoding.Strict()

func cursor(of byte, parts ...[]byte) string {
	b := []byte{of}
	for _, p := range parts {
		b = append(b, p...)
	}
	return cursorText.EncodeToString(b)
}

// behind reads a cursor of that list and length in bytes; a length of 0 is any. None at all is the start.
func behind(after *string, of byte, length int) ([]byte, error) {
	if value(after) == "" {
		return nil, nil
	}
	b, err := cursorText.DecodeString(*after)
	if err != nil || len(b) < 2 || b[0] != of || length != 0 && len(b) != 1+length {
		return nil, invalid("after", "must be a cursor that this list has answered, or empty")
	}
	return b[1:], nil
}

func pageInfo(cursors []string, began, more bool) *PageInfo {
	p := &PageInfo{HasNextPage: more, HasPreviousPage: began}
	if len(cursors) > 0 {
		p.StartCursor, p.EndCursor = &cursors[0], &cursors[len(cursors)-1]
	}
	return p
}

// cut answers the page of a whole list that begins behind an item.
func cut[T any](all []T, size int, is func(*T) bool) (page []T, began, more bool) {
	for i := range all {
		if is(&all[i]) {
			all, began = all[i+1:], true
			break
		}
	}
	if len(all) > size {
		return all[:size], began, true
	}
	return all, began, false
}

// Users is of QueryResolver.
func (q query) Users(ctx context.Context, first *int, after *string) (*UserConnection, error) {
	if _, _, err := admit(ctx, rules.adminRead); err != nil {
		return nil, err
	}
	size, err := pageSize(first)
	if err != nil {
		return nil, err
	}
	var from id.User
	b, err := behind(after, ofUsers, len(from))
	if err != nil {
		return nil, err
	}
	copy(from[:], b)
	all, more, err := q.Accounts.Page(ctx, from, size)
	if err != nil {
		return nil, err
	}
	out := &UserConnection{Edges: make([]UserEdge, len(all)), Nodes: make([]User, len(all))}
	cursors := make([]string, len(all))
	for i := range all {
		out.Nodes[i], cursors[i] = User{all[i]}, cursor(ofUsers, all[i].ID[:])
		out.Edges[i] = UserEdge{cursors[i], &out.Nodes[i]}
	}
	out.PageInfo = pageInfo(cursors, b != nil, more)
	return out, nil
}

// Sessions is of QueryResolver.
func (q query) Sessions(ctx context.Context, first *int, after, user *string, everybody *bool) (*SessionConnection, error) {
	others := value(user) != "" || value(everybody)
	rule := rules.own
	if others {
		rule = rules.adminRead
	}
	_, who, err := admit(ctx, rule)
	if err != nil {
		return nil, err
	}
	size, err := pageSize(first)
	if err != nil {
		return nil, err
	}
	if value(user) != "" && value(everybody) {
		return nil, invalid("everybody", "must be left out beside user")
	}
	var from app.Place
	b, err := behind(after, ofSessions, len(from.User)+8+len(from.Session))
	if err != nil {
		return nil, err
	}
	if b != nil {
		n := copy(from.User[:], b)
		from.Created = instant.Instant(binary.BigEndian.Uint64(b[n:]))
		copy(from.Session[:], b[n+8:])
	}
	if !others {
		return q.ownSessions(ctx, who, size, from, b != nil)
	}
	var of id.User
	if value(user) != "" {
		acct, err := q.Accounts.Lookup(ctx, *user)
		if err != nil {
			return nil, err
		}
		of = acct.ID
		if b != nil && from.User != of {
			return nil, invalid("after", "is of another list")
		}
	}
	all, next, more, err := q.API.Sessions.Page(ctx, of, from, size)
	if err != nil {
		return nil, err
	}
	nodes := make([]Session, len(all))
	for i := range all {
		nodes[i] = Session{Session: all[i], Current: who.Claims != nil && all[i].ID == who.Session()}
	}
	out := sessionsOf(nodes, b != nil, more)
	if more { // a page of everybody's may be empty before the last
		end := placeCursor(next)
		out.PageInfo.EndCursor = &end
	}
	return out, nil
}

func (q query) ownSessions(ctx context.Context, who app.Caller, size int, from app.Place, began bool) (*SessionConnection, error) {
	all, err := q.API.Sessions.Own(ctx, who)
	if err != nil {
		return nil, err
	}
	nodes := make([]Session, 0, len(all))
	for i := range all {
		s := &all[i]
		if !began || s.Created > from.Created || s.Created == from.Created && string(s.ID[:]) > string(from.Session[:]) {
			nodes = append(nodes, Session{Session: *s, Current: s.ID == who.Session()})
		}
	}
	more := len(nodes) > size
	if more {
		nodes = nodes[:size]
	}
	return sessionsOf(nodes, began, more), nil
}

func placeCursor(p app.Place) string {
	return cursor(ofSessions, p.User[:], binary.BigEndian.AppendUint64(nil, uint64(p.Created)), p.Session[:])
}

func sessionsOf(nodes []Session, began, more bool) *SessionConnection {
	out := &SessionConnection{Edges: make([]SessionEdge, len(nodes)), Nodes: nodes}
	cursors := make([]string, len(nodes))
	for i := range nodes {
		cursors[i] = placeCursor(app.Place{User: nodes[i].User, Created: nodes[i].Created, Session: nodes[i].ID})
		out.Edges[i] = SessionEdge{cursors[i], &nodes[i]}
	}
	out.PageInfo = pageInfo(cursors, began, more)
	return out
}

// APIKeys is of QueryResolver.
func (q query) APIKeys(ctx context.Context, first *int, after, user *string) (*APIKeyConnection, error) {
	rule := rules.listKeys
	if value(user) != "" {
		rule = rules.adminRead
	}
	v, who, err := admit(ctx, rule)
	if err != nil {
		return nil, err
	}
	size, err := pageSize(first)
	if err != nil {
		return nil, err
	}
	var from id.APIKey
	b, err := behind(after, ofAPIKeys, len(from))
	if err != nil {
		return nil, err
	}
	copy(from[:], b)
	var all []app.ListedKey
	if value(user) == "" {
		all, err = q.API.APIKeys.List(ctx, v.Request(), who)
	} else {
		acct, lost := q.Accounts.Lookup(ctx, *user)
		if lost != nil {
			return nil, lost
		}
		all, err = q.API.APIKeys.ListOf(ctx, acct.ID)
	}
	if err != nil {
		return nil, err
	}
	page, began, more := cut(all, size, func(k *app.ListedKey) bool { return k.ID == from })
	out := &APIKeyConnection{Edges: make([]APIKeyEdge, len(page)), Nodes: make([]APIKey, len(page))}
	cursors := make([]string, len(page))
	for i := range page {
		out.Nodes[i], cursors[i] = APIKey{page[i]}, cursor(ofAPIKeys, page[i].ID[:])
		out.Edges[i] = APIKeyEdge{cursors[i], &out.Nodes[i]}
	}
	out.PageInfo = pageInfo(cursors, began, more)
	return out, nil
}

// Files is of QueryResolver.
func (q query) Files(ctx context.Context, first *int, after *string) (*FileConnection, error) {
	_, who, err := admit(ctx, rules.own)
	if err != nil {
		return nil, err
	}
	size, err := pageSize(first)
	if err != nil {
		return nil, err
	}
	var from id.File
	b, err := behind(after, ofFiles, len(from))
	if err != nil {
		return nil, err
	}
	copy(from[:], b)
	if q.Uploads == nil {
		return nil, ports.ErrNotFound
	}
	all, err := q.Uploads.List(ctx, who)
	if err != nil {
		return nil, err
	}
	page, began, more := cut(all, size, func(f *upload.File) bool { return f.ID == from })
	out := &FileConnection{Edges: make([]FileEdge, len(page)), Nodes: make([]File, len(page))}
	cursors := make([]string, len(page))
	for i := range page {
		out.Nodes[i], cursors[i] = File{page[i]}, cursor(ofFiles, page[i].ID[:])
		out.Edges[i] = FileEdge{cursors[i], &out.Nodes[i]}
	}
	out.PageInfo = pageInfo(cursors, began, more)
	return out, nil
}

// Alerts is of QueryResolver.
func (q query) Alerts(ctx context.Context, first *int, after *string, open *bool) (*AlertConnection, error) {
	if _, _, err := admit(ctx, rules.adminRead); err != nil {
		return nil, err
	}
	size, err := pageSize(first)
	if err != nil {
		return nil, err
	}
	b, err := behind(after, ofAlerts, 16)
	if err != nil {
		return nil, err
	}
	page, more, err := q.Services.Alerts.List(ctx, value(open), string(b), size)
	if err != nil {
		return nil, err
	}
	out := &AlertConnection{Edges: make([]AlertEdge, len(page)), Nodes: make([]Alert, len(page))}
	cursors := make([]string, len(page))
	for i := range page {
		out.Nodes[i], cursors[i] = alertOf(&page[i]), cursor(ofAlerts, []byte(page[i].ID))
		out.Edges[i] = AlertEdge{cursors[i], &out.Nodes[i]}
	}
	out.PageInfo = pageInfo(cursors, b != nil, more)
	return out, nil
}

// SigningKeys is of QueryResolver.
func (q query) SigningKeys(ctx context.Context, first *int, after *string) (*SigningKeyConnection, error) {
	if _, _, err := admit(ctx, rules.adminRead); err != nil {
		return nil, err
	}
	size, err := pageSize(first)
	if err != nil {
		return nil, err
	}
	b, err := behind(after, ofSigningKeys, 0)
	if err != nil {
		return nil, err
	}
	page, began, more := cut(q.Rotator.List(), size, func(k *app.ListedSigningKey) bool { return b != nil && k.ID == string(b) })
	out := &SigningKeyConnection{Edges: make([]SigningKeyEdge, len(page)), Nodes: make([]SigningKey, len(page))}
	cursors := make([]string, len(page))
	for i := range page {
		out.Nodes[i], cursors[i] = SigningKey{page[i].Key, page[i].Given}, cursor(ofSigningKeys, []byte(page[i].ID))
		out.Edges[i] = SigningKeyEdge{cursors[i], &out.Nodes[i]}
	}
	out.PageInfo = pageInfo(cursors, began, more)
	return out, nil
}

// SecurityEvents is of QueryResolver.
func (q query) SecurityEvents(ctx context.Context, first *int, after *string) (*SecurityEventConnection, error) {
	if _, _, err := admit(ctx, rules.adminRead); err != nil {
		return nil, err
	}
	size, err := pageSize(first)
	if err != nil {
		return nil, err
	}
	b, err := behind(after, ofEvents, 9)
	if err != nil {
		return nil, err
	}
	var from uint64
	if b != nil {
		from = binary.BigEndian.Uint64(b)
	}
	if b != nil && b[8] > 0 { // an event in the middle of a page: the store knows where the page began
		if _, from, err = q.Live.Page(ctx, from, int(b[8])); err != nil {
			return nil, err
		}
	}
	all, last, err := q.Live.Page(ctx, from, size)
	if err != nil {
		return nil, err
	}
	more := false
	if len(all) > 0 { // a page may be short for what is huge in it
		next, _, err := q.Live.Page(ctx, last, 1)
		if err != nil {
			return nil, err
		}
		more = len(next) > 0
	}
	out := &SecurityEventConnection{Edges: make([]SecurityEventEdge, len(all)), Nodes: make([]SecurityEvent, len(all))}
	cursors := make([]string, len(all))
	for i := range all {
		at, n := from, byte(i+1)
		if i == len(all)-1 {
			at, n = last, 0
		}
		out.Nodes[i], cursors[i] = SecurityEvent{all[i]}, cursor(ofEvents, binary.BigEndian.AppendUint64(nil, at), []byte{n})
		out.Edges[i] = SecurityEventEdge{cursors[i], &out.Nodes[i]}
	}
	out.PageInfo = pageInfo(cursors, b != nil, more)
	return out, nil
}
