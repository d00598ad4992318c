package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/xteam/xteam/domain/id"
)

// MaxStored is how many bytes a store reads of an event that is sealed. The use cases make far smaller ones: whatever is longer is none.
const MaxStored = 1 << 20

// StandIn is what a store answers in the place of an event that is there and does not open: somebody changed it who has the store and not the keys. For the same bytes in the same place it is the same event,
// whoever reads them, so that it can be linked, judged and delivered as any other, once. Of what it tells, the SHA-256 of the bytes stands in the clear of its record; its id is its own, for what is stored as
// the id of the event, if that stands beside the bytes, was written by whoever changed them. It has no time: nobody knows when it was. Of size bytes stored are the first, up to MaxStored.
func StandIn(position uint64, stored []byte, size int64, kept []byte) Event {
	sum := sha256.Sum256(stored[:min(len(stored), MaxStored)])
	b := append(binary.BigEndian.AppendUint64([]byte("xteam unreadable event\x00"), position), sum[:]...)
	own := sha256.Sum256(append(binary.BigEndian.AppendUint64(b, uint64(size)), kept...))
	e := Event{ID: id.Event(own[:16]), Kind: EventUnreadable, Severity: Critical, Outcome: Failure, Actor: "system", Reason: "sha256:" + hex.EncodeToString(sum[:]),
		Details: map[string]string{"position": strconv.FormatUint(position, 10), "bytes": strconv.FormatInt(size, 10)}}
	if len(kept) > 0 {
		e.Details["id"] = hex.EncodeToString(kept[:min(len(kept), len(e.ID))])
	}
	return e
}

// DamagedError says that a part of the trail is there and is not what was stored, so that nothing of it can be read: somebody changed it who has the store and not the keys that it is sealed by.
type DamagedError struct {
	At  uint64 // the record, or the position of the event; 0: the head
	Err error  // of the store
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("what is stored of the audit trail at %d was changed: %v", e.At, e.Err)
}

// Unwrap answers what the store says.
func (e *DamagedError) Unwrap() error { return e.Err }
