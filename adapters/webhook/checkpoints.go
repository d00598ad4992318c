package webhook

import (
	"context"
	"encoding/hex"
	"time"

	"github.com/xteam/xteam/domain/audit"
)

// Checkpoints posts signed heads of the audit trail, for a receiver that keeps them: against whoever owns the store and its keys, they are what the trail is held to.
type Checkpoints struct{ to *Sender }

// NewCheckpoints posts by a sender.
func NewCheckpoints(to *Sender) *Checkpoints { return &Checkpoints{to} }

// Send posts one checkpoint, whose id is made of its signature: the same one has the same.
//
//	{"type":"audit_checkpoint","timestamp":RFC 3339,"data":{"checkpoint":"head",…}}
//
// The data are the line that an export ends with, and what verify takes.
func (s *Checkpoints) Send(ctx context.Context, c audit.Checkpoint) error {
	b := c.Time.Time().AppendFormat([]byte(`{"type":"audit_checkpoint","timestamp":"`), time.RFC3339Nano)
	b = append(c.AppendLine(append(b, `","data":`...)), '}')
	return s.to.Send(ctx, "checkpoint_"+hex.EncodeToString(c.Signature[:16]), b)
}
