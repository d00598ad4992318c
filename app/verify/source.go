package verify

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/ports"
)

// followed is a source that is followed, and never written to.
type followed interface {
	ports.Revocations
	last() error // why it was not heard, if it is known
}

// follower is a source of which only Follow is left: a service that merely follows must not claim to heal it, nor vouch for it, nor record there.
type follower struct {
	from      ports.Revocations
	unvouched atomic.Bool
	unread    atomic.Bool
}

var errUnread = fmt.Errorf("the source holds entries that cannot be read, damaged or of a newer version: it is trusted once a node of XTeam has put them right: %w", ports.ErrUnavailable)

var errUnvouched = errors.New("nobody has vouched for the source: it is new, or has lost what it held; it is trusted once a node of XTeam has said that it is whole")

// Follow is of ports.Revocations. What a source tells that nobody vouches for is taken, and is never all of it. At an entry that cannot be read it ends: there is no truth to ask here.
func (f *follower) Follow(ctx context.Context, fn func(ports.News) error) error {
	return f.from.Follow(ctx, func(news ports.News) error {
		if f.unread.Store(len(news.Unread) > 0); len(news.Unread) > 0 {
			return errUnread
		}
		f.unvouched.Store(news.Unvouched)
		news.Caught = news.Caught && !news.Unvouched
		if len(news.Entries) == 0 && !news.Caught {
			return nil
		}
		return fn(news)
	})
}

// Record is of ports.Revocations: a follower records nothing.
func (f *follower) Record(context.Context, ...revocation.Entry) error {
	return fmt.Errorf("a follower cannot record: %w", ports.ErrUnavailable)
}

func (f *follower) last() error {
	if f.unread.Load() {
		return errUnread
	}
	if f.unvouched.Load() {
		return errUnvouched
	}
	return nil
}
