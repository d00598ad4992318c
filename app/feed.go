package app

import (
	"cmp"
	"context"
	"encoding/hex"
	"io"
	"iter"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/revocation"
)

const (
	feedMost = 1 << 16 // entries that are kept for those who resume, whatever the retention: some 15 MB
	feedPage = 256     // entries that Next answers at most
)

// Feed tells other services what is revoked. It keeps one log of what came in lately, for all that follow: each has a place in it, and nothing of its own that could grow. One that falls
// behind the log is dropped.
type Feed struct {
	view      *view.View
	now       func() time.Time
	retention time.Duration
	name      string // of this log: a place in another, of another node or of before a start, is none in this

	mu     sync.Mutex
	begun  bool
	first  uint64 // the number of log[0]; the first entry of all has 1
	log    []logged
	change chan struct{} // closed when the log grows
}

type logged struct {
	entry revocation.Entry
	at    time.Time
}

// NewFeed keeps what is revoked for the retention; 0 means as long as an access token lives. It keeps nothing before somebody follows.
func NewFeed(c *Core, retention time.Duration) (*Feed, error) {
	var name [8]byte
	if _, err := io.ReadFull(c.Random, name[:]); err != nil {
		return nil, unavailable("name the feed", err)
	}
	return &Feed{view: c.View, now: c.Now, retention: cmp.Or(retention, c.Tunables.Access), name: hex.EncodeToString(name[:]), first: 1, change: make(chan struct{})}, nil
}

// Follower is one that follows. It is for one goroutine.
type Follower struct {
	feed   *Feed
	next   uint64 // the number of the entry that comes next
	caught bool
}

// Follow begins behind the place that ID answered for an entry, which last is. Where there is none, or it is not known here, whole is true: the follower has to take everything that is live (All)
// before what comes then, and lost says that it had a place, which is no more.
func (f *Feed) Follow(last string) (fo *Follower, whole, lost bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.begun {
		f.begun = true
		f.view.Subscribe(f.add) // until the view ends
	}
	f.trim(f.now(), feedMost)
	end := f.first + uint64(len(f.log))
	name, text, _ := strings.Cut(last, ".")
	n, err := strconv.ParseUint(text, 10, 63)
	if err == nil && name == f.name && n+1 >= f.first && n+1 <= end {
		return &Follower{feed: f, next: n + 1}, false, false
	}
	return &Follower{feed: f, next: end}, true, last != ""
}

// add takes what the view has new.
func (f *Feed) add(e revocation.Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	f.trim(now, feedMost-1)
	f.log = append(f.log, logged{e, now})
	close(f.change)
	f.change = make(chan struct{})
}

// trim forgets what is past the retention, and the first of more entries than most. f.mu is held.
func (f *Feed) trim(now time.Time, most int) {
	old := max(len(f.log)-most, 0)
	for old < len(f.log) && now.Sub(f.log[old].at) > f.retention {
		old++
	}
	f.log, f.first = f.log[old:], f.first+uint64(old) // what is left of the array goes when the log next outgrows it
}

// All is everything that is live, without By and Note, in no order.
func (fo *Follower) All() iter.Seq[revocation.Entry] { return fo.feed.view.All() }

// ID is the follower's place: what Follow is given to go on from there.
func (fo *Follower) ID() string { return fo.feed.name + "." + strconv.FormatUint(fo.next-1, 10) }

// Next waits for entries, and answers some of them; an entry may come more than once. It answers ErrSlow when what comes next is not kept any more, and the cause of ctx when that ends.
func (fo *Follower) Next(ctx context.Context) ([]revocation.Entry, error) {
	for {
		some, change, err := fo.take()
		if err != nil || len(some) > 0 {
			return some, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-change:
		}
	}
}

func (fo *Follower) take() (some []revocation.Entry, change chan struct{}, err error) {
	f := fo.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	if fo.next < f.first {
		return nil, nil, ErrSlow
	}
	for i := fo.next - f.first; i < uint64(len(f.log)) && len(some) < feedPage; i++ {
		some = append(some, f.log[i].entry)
	}
	fo.next += uint64(len(some))
	fo.caught = fo.next == f.first+uint64(len(f.log))
	return some, f.change, nil
}

// Caught reports whether Next answered everything that there was when it last looked. What Age answered before that call is then good for what was answered until now.
func (fo *Follower) Caught() bool { return fo.caught }

// Age is how old what is told is, as View.Age has it.
func (fo *Follower) Age() (time.Duration, bool) { return fo.feed.view.Age() }
