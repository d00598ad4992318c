package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// Sink posts events: some in one message, in the order in which they were committed.
type Sink struct{ to *Sender }

var _ ports.Sink = (*Sink)(nil)

// NewSink is a sink that posts by way of a sender.
func NewSink(to *Sender) *Sink { return &Sink{to} }

// Deliver posts one message of type security_events. Its id is that of the event, or of several a digest of theirs: the same events have the same.
func (s *Sink) Deliver(ctx context.Context, events ...audit.Event) error {
	if len(events) == 0 {
		return nil
	}
	name := events[0].ID.String()
	if len(events) > 1 {
		sum := sha256.New()
		for i := range events {
			sum.Write(events[i].ID[:])
		}
		name = hex.EncodeToString(sum.Sum(nil)[:16])
	}
	b := events[len(events)-1].Time.Time().AppendFormat([]byte(`{"type":"security_events","timestamp":"`), time.RFC3339Nano)
	b = append(b, `","data":{"events":[`...)
	for i := range events {
		if i > 0 {
			b = append(b, ',')
		}
		b = events[i].AppendJSON(b)
	}
	return s.to.Send(ctx, name, secret.Scrub(append(b, `]}}`...)))
}
