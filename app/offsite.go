package app

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/instant"
)

// offsiteEvery is how often a checkpoint is sent off this machine, while there are new records.
const offsiteEvery = time.Minute

// offsite hands the signed head of the audit trail to a place off this machine. The store keeps what was not taken: the head that is sent next vouches for everything before it.
type offsite struct {
	core *Core
	send func(ctx context.Context, c audit.Checkpoint) error
}

// offsiteSent is what was sent last, and goes with the place.
type offsiteSent struct {
	Seq  uint64          `json:"seq"`
	Head string          `json:"head"`
	At   instant.Instant `json:"at"`
}

// options are the duty's.
func (w *offsite) options(o DutyOptions) DutyOptions {
	o.Take, o.Always, o.Most, o.Every, o.Patience = w.take, true, 4096, 2*time.Second, 15*time.Second
	return o
}

// take sends the head if it is another than the last that was taken, and that was a while ago.
func (w *offsite) take(ctx context.Context, b Batch) ([]byte, error) {
	var last offsiteSent
	if len(b.State) > 0 && json.Unmarshal(b.State, &last) != nil {
		last = offsiteSent{} // of another version: it is sent once more
	}
	now := w.core.now()
	if now >= last.At && now.Sub(last.At) < offsiteEvery {
		return nil, nil
	}
	head, err := w.core.Stores.Trail.Head(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the head of the audit trail: %w", err)
	}
	if head.Last.Seq == 0 || head.Last.Seq == last.Seq && head.Last.Head.String() == last.Head {
		return nil, nil
	}
	if err := w.send(ctx, head.Last); err != nil {
		return nil, err
	}
	return json.Marshal(offsiteSent{head.Last.Seq, head.Last.Head.String(), now})
}
