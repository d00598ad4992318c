package app

import (
	"fmt"
	"sync"

	"github.com/xteam/xteam/domain/id"
)

// Connection is what kind of thing is open.
type Connection uint8

// What can be open.
const (
	EventSocket   Connection = iota // a WebSocket of events
	EventStream                     // server-sent events
	GraphQLSocket                   // a WebSocket of GraphQL
	FeedStream                      // the feed of revocations, which another service follows
	connections
)

var connectionNames = [connections]string{EventSocket: "socket", EventStream: "stream", GraphQLSocket: "graphql", FeedStream: "feed"}

// Connections are all kinds.
func Connections() []Connection {
	return []Connection{EventSocket, EventStream, GraphQLSocket, FeedStream}
}

// String is the kind's name in a metric.
func (c Connection) String() string { return connectionNames[c] }

// CrowdedError refuses one more open connection.
type CrowdedError struct {
	Own  bool // it is the user's or the API key's own that are too many, not all together
	Feed bool // they are followers of the feed
	File bool // they are files that are on their way
	Max  int
}

func (e *CrowdedError) Error() string {
	switch {
	case e.Own && e.File:
		return fmt.Sprintf("%d files of the user are on their way already: let one arrive", e.Max)
	case e.File:
		return fmt.Sprintf("%d files are on their way to the server already: try again later", e.Max)
	case e.Own && e.Feed:
		return fmt.Sprintf("%d followers of the feed are open by this API key already: close one, or give the service another key", e.Max)
	case e.Own:
		return fmt.Sprintf("the user has %d connections open already: close one", e.Max)
	case e.Feed:
		return fmt.Sprintf("the server has %d followers of the feed already: try again later", e.Max)
	}
	return fmt.Sprintf("the server has %d connections open already: try again later", e.Max)
}

// seats counts what is open.
type seats struct {
	of   map[holder]int
	open [connections]int
}

// holder is whose seats are counted together. The zero holder is nobody, whose are counted among all alone.
type holder struct {
	user id.User
	key  id.APIKey // of a follower of the feed
	feed bool
}

func holderOf(c Connection, who Caller) (h holder) {
	if who.Claims == nil {
		return h
	}
	if c == FeedStream {
		return holder{who.User(), who.Claims.APIKey, true}
	}
	return holder{user: who.User()}
}

func (s *seats) all() (n int) {
	for _, open := range s.open {
		n += open
	}
	return n
}

// refusal is why there is no seat more, or nil.
func (s *seats) refusal(c Connection, h holder, o *TethersOptions) error {
	taken, most, own := s.all()-s.open[FeedStream], o.MaxOpen, o.MaxPerUser
	if c == FeedStream {
		taken, most, own = s.open[FeedStream], o.MaxFollowers, o.MaxPerKey
	}
	if c == GraphQLSocket && h == (holder{}) { // before connection_init, or to sign in: strangers must not take all seats of those who are known
		taken, most = s.of[h], max(o.MaxOpen/10, 1)
	}
	switch {
	case taken >= most, c != FeedStream && s.all()-s.open[FeedStream] >= o.MaxOpen:
		return &CrowdedError{Feed: c == FeedStream, Max: most}
	case h != holder{} && s.of[h] >= own:
		return &CrowdedError{Own: true, Feed: c == FeedStream, Max: own}
	}
	return nil
}

// Seat counts one more connection of a caller, and refuses it with a *CrowdedError where they or all together have too many, and with ErrStopping at the stop. Leave gives the seat back, and may be called
// more than once. Whoever has no account, as the operator, is counted among all alone.
func (t *Tethers) Seat(c Connection, who Caller) (leave func(), err error) {
	h := holderOf(c, who)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, ErrStopping
	}
	if err := t.seats.refusal(c, h, &t.options); err != nil {
		return nil, err
	}
	t.seats.of[h]++
	t.seats.open[c]++
	return sync.OnceFunc(func() { t.leave(c, h) }), nil
}

func (t *Tethers) leave(c Connection, h holder) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seats.open[c]--
	if t.seats.of[h]--; t.seats.of[h] == 0 {
		delete(t.seats.of, h)
	}
	if t.seats.all() == 0 {
		t.idle.Broadcast()
	}
}

// Open is how many connections have a seat.
func (t *Tethers) Open() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seats.all()
}

// OpenOf is how many of one kind have one.
func (t *Tethers) OpenOf(c Connection) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seats.open[c]
}
