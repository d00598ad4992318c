package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
)

const (
	feedBeat  = time.Second
	feedBatch = 500 // entries of one event snapshot
)

// feedEntry is a revocation as other services are told of it.
type feedEntry struct {
	Kind   string  `json:"kind"`              // jti, sid, user, kid, epoch, issued_before or api_key
	Value  string  `json:"value"`             // the id, the number of the least good epoch, or the time
	MinGen int64   `json:"min_gen,omitempty"` // of user: the least good generation
	Reason string  `json:"reason"`
	At     string  `json:"at"`    // when it was asked for: of several the earliest is the reason
	Until  *string `json:"until"` // after it nothing that it names is valid any more; null: it is for ever
}

func feedEntryOf(e *revocation.Entry) feedEntry {
	f := feedEntry{Kind: e.Kind.String(), Reason: e.Reason.String(), At: e.At.String()}
	if e.Until != instant.Forever {
		until := e.Until.String()
		f.Until = &until
	}
	switch e.Kind {
	case revocation.Token:
		f.Value = e.Token.String()
	case revocation.Session:
		f.Value = e.Session.String()
	case revocation.User:
		f.Value, f.MinGen = e.User.String(), int64(e.Min)
	case revocation.Key:
		f.Value = e.KeyID
	case revocation.Epoch:
		f.Value = strconv.FormatInt(int64(e.Epoch), 10)
	case revocation.IssuedBefore:
		f.Value = e.Before.String()
	case revocation.APIKey:
		f.Value = e.APIKey.String()
	}
	return f
}

// feedSnapshot is a part of everything that is live.
type feedSnapshot struct {
	Entries []feedEntry `json:"entries"`
	More    bool        `json:"more"` // another part follows
}

// heartbeat says that everything that this node knew has been told, how old that is, and how long after the request came it was said: by the last a follower finds how long it was on the way,
// though its clock is another.
type heartbeat struct {
	AgeMS     int64 `json:"age_ms"`
	ElapsedMS int64 `json:"elapsed_ms"`
}

// follow streams the revocations to another service, which asks by an API key that an administrator made for that, or to an administrator.
func (a *API) follow(x *exchange) error {
	if !x.caller.IsKey() && !x.caller.IsAdmin() {
		return a.Guard.Denied(x.ctx(), x.request(), x.caller, x.endpoint())
	}
	if _, err := x.query(); err != nil {
		return err
	}
	asked := time.Now()
	return x.streamed(app.FeedStream, func(ctx context.Context, s *stream) error {
		fo, whole, lost := a.Feed.Follow(x.r.Header.Get("Last-Event-ID"))
		if err := s.begin(true); err != nil {
			return err
		}
		if lost {
			if err := s.add("", "reset", struct{}{}); err != nil {
				return err
			}
		}
		if whole {
			if err := s.snapshot(ctx, fo); err != nil {
				return err
			}
		}
		beat := time.Now()
		for {
			due := !time.Now().Before(beat)
			say := saying(fo, asked)
			wait, cancel := context.WithDeadline(ctx, beat)
			entries, err := fo.Next(wait)
			cancel()
			if err != nil && (ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded)) {
				return err
			}
			for i := range entries {
				if err := s.admitted(ctx); err != nil {
					return err
				}
				eid := ""
				if i == len(entries)-1 {
					eid = fo.ID()
				}
				if err := s.add(eid, "revocation", feedEntryOf(&entries[i])); err != nil {
					return err
				}
			}
			if len(entries) > 0 {
				if err := s.flush(); err != nil {
					return err
				}
			}
			if due && fo.Caught() {
				if err := say(s); err != nil {
					return err
				}
				beat = time.Now().Add(feedBeat)
			}
		}
	})
}

// saying reads what a heartbeat says, which is said once what is in the log has been told: so it is never younger than that. As long as it is not known how old what is told is, it is a ping.
func saying(fo *app.Follower, asked time.Time) func(*stream) error {
	elapsed := time.Since(asked)
	age, ok := fo.Age()
	if !ok {
		return (*stream).ping
	}
	return func(s *stream) error {
		return s.send("", "heartbeat", heartbeat{AgeMS: age.Milliseconds(), ElapsedMS: elapsed.Milliseconds()})
	}
}

// snapshot sends everything that is live. Its last part has the place behind which the follower may resume.
func (s *stream) snapshot(ctx context.Context, fo *app.Follower) error {
	part := feedSnapshot{Entries: make([]feedEntry, 0, feedBatch)}
	for e := range fo.All() {
		if len(part.Entries) == feedBatch {
			part.More = true
			if err := s.admitted(ctx); err != nil {
				return err
			}
			if err := s.add("", "snapshot", part); err != nil {
				return err
			}
			part.Entries = part.Entries[:0]
		}
		part.Entries = append(part.Entries, feedEntryOf(&e))
	}
	part.More = false
	if err := s.admitted(ctx); err != nil {
		return err
	}
	return s.send(fo.ID(), "snapshot", part)
}

// ticket is what may stand in a URL for an access token, once.
type ticket struct {
	Ticket    string `json:"ticket"`
	ExpiresIn int64  `json:"expires_in"` // seconds
}

// issueTicket makes a ticket for the access token of the request.
func (a *API) issueTicket(x *exchange) error {
	text, _, err := credential(x.r)
	if x.byCookie {
		var kept secret.Text
		kept, err = x.cookie(accessCookie)
		text = kept.RevealPlaintext()
	}
	if err != nil {
		return err
	}
	t, err := a.Tickets.Issue(secret.New(text))
	if err != nil {
		return err
	}
	return x.write(http.StatusOK, ticket{t.RevealPlaintext(), int64(app.TicketLife / time.Second)})
}
