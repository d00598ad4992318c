package ports

import (
	"context"
	"time"

	"github.com/xteam/xteam/domain/revocation"
)

// News is one delivery of a source of revocations to a follower.
type News struct {
	// Entries may repeat and come in any order; they are a union, never a replacement.
	Entries []revocation.Entry
	// Unread are the keys (revocation.Entry.Key) of entries that are held here and could not be read: damaged, forged, or of another version of the program; one whose key is not known either is empty. What
	// they say only the truth can tell, once it was asked after this; until then Caught is not all.
	Unread []string
	// Caught says: with this delivery you have all that I held when this round began. It is how a
	// follower knows the age of its view.
	Caught bool
	// Unvouched says, with Caught, that nobody has said yet that the source is whole (Voucher): it may have lost all that it held. Who knows better puts it back; who has nothing else must not trust it.
	Unvouched bool
	// Age is, with Caught, how old what is held was by then: of a source that hears from others itself.
	Age time.Duration
}

// Revocations is a source of revocations: a set that only grows until an entry's time is over.
type Revocations interface {
	// Record returns once the entries are durable here. It is idempotent: an entry that is here already (revocation.Entry.Key) stays as it is. It refuses
	// an invalid entry with revocation.ErrInvalid, and then stores none of the call's. A call of any length is taken; an error may leave a part of it stored.
	Record(ctx context.Context, entries ...revocation.Entry) error
	// Follow calls fn, never twice at once, first with everything that is live here, in batches of bounded size, then with everything that is committed
	// from then on, through Record or as an effect, by any node, and each time with Caught at the end of a round; when there is nothing new, with Caught alone, at least once a second. It
	// returns when ctx ends (with the context's error) or when the source is lost (ErrUnavailable); following again begins again with everything that is live. An
	// entry is delivered at least until its Until has passed, and by the truth, which is a store of state, for a day longer: by that it is seen what a store that was set back has lost. A wall clock that jumped, at
	// any time, by less than a day, loses none.
	// The first delivery with Caught comes when everything live has been delivered. An error of fn ends Follow with it.
	Follow(ctx context.Context, fn func(News) error) error
}

// Finder is a source of revocations that can be asked for some entries, where to follow it would be to read all.
type Finder interface {
	// Find answers the entries that are here and whose Key begins with one of the texts, in any order, each once. It takes any number of texts, none of which is empty. None that
	// fits is no error.
	Find(ctx context.Context, beginnings ...string) ([]revocation.Entry, error)
}

// StoredRevocations are those of a store of state, which is the truth.
type StoredRevocations interface {
	Revocations
	Finder
}

// Claimer is a source of revocations that many nodes follow, of which one at a time is to put back what it has lost.
type Claimer interface {
	// Claim reports whether the caller is that one: for so long nobody else is told so.
	Claim(ctx context.Context, howLong time.Duration) (mine bool, err error)
}

// Asked is a source that is polled, and that can be asked at once.
type Asked interface {
	// Ask has the followers of this process asked now. It waits for nothing.
	Ask()
}

// Mender is a source whose entries can be damaged or forged where they lie.
type Mender interface {
	// Mend goes through all that is held and puts right what cannot be read (News.Unread): what is known is written anew, what no version of the program wrote is removed, if remove says so and it is not known, and
	// what another version wrote is left alone. known answers, of some keys, the entries that the caller has. Of many nodes one does it, and at most once a minute: for the others it does nothing.
	Mend(ctx context.Context, remove bool, known func(keys []string) []revocation.Entry) (Mended, error)
}

// Mended counts what Mend put right.
type Mended struct {
	Rewritten int // were damaged or forged, and are written anew
	Renewed   int // were of an earlier version, and are written anew
	Removed   int // were damaged or forged, and name nothing that is known
	Left      int // are left as they are
}

// Voucher is a source of revocations that others read without this program. After it has lost what it held, they trust it only once somebody says that it is whole again.
type Voucher interface {
	// Vouch says that everything that the caller knows to be revoked has been recorded here.
	Vouch(ctx context.Context) error
}
