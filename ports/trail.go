package ports

import (
	"context"

	"github.com/xteam/xteam/domain/audit"
)

// Trail keeps the chain of the audit trail: what was linked of the events of the same store. It is made of any number of nodes, and stays one chain: who appends says behind which head.
type Trail interface {
	// Append adds links behind a head, the one that Head answered, and makes next the head: all of it or nothing. When the head is not that any more it is ErrTaken, and nothing is
	// stored: of concurrent appends behind one head exactly one succeeds. There are at most audit.MaxBatch links, which follow the head without a gap, and next is a head of the last of them;
	// without links it is one of the same record. What does not follow is an error, and nothing is stored. A trail that has not begun has the zero head; without links it may begin behind any record,
	// as one does that was cut and is carried over.
	Append(ctx context.Context, was audit.Checkpoint, links []audit.Link, next audit.Checkpoint) error
	// Head answers where the chain ends, and what was cut of it. One that is there and was changed, so that it cannot be read, is an *audit.DamagedError; one that is missing is the zero head.
	Head(ctx context.Context) (audit.Head, error)
	// List answers at most limit links in the order of their records, beginning behind record after, or behind the cut if that is later. It ends before a record that was changed, so that it cannot be read;
	// when that is the first it is an *audit.DamagedError with its number.
	List(ctx context.Context, after uint64, limit int) ([]audit.Link, error)
}

// TrailCare takes out of a trail what is not to be kept any longer.
type TrailCare interface {
	// Erase takes the salts from records, and from the events that they tell of all that is personal (audit.Event.Erase). It answers how many had a salt, each erased whole or not at all. What is erased
	// already, or is not there, is passed over. An event that is missing, or cannot be read, does not keep the salt.
	Erase(ctx context.Context, seqs ...uint64) (erased int, err error)
	// Cut takes away the records up to that of the cut, and the events up to the position that the link behind it has as Behind; from then on it is the Head's cut. The last record cannot be cut
	// away, and a cut before the one that stands is none: both are errors, and nothing is changed. It may be called again with the cut that stands, and goes on where it was interrupted.
	Cut(ctx context.Context, cut audit.Checkpoint) error
}
