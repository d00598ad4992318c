package app

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/ports"
)

// SinkOptions are one way that events go.
type SinkOptions struct {
	Name  string // of a fixed set: it names the kept place, and a label of metrics
	Sink  ports.Sink
	Kinds []audit.Kind // that are delivered; none: all
	Most  int          // events of one delivery; default 100
	// Checkpoint, in place of Sink, is sent the signed head of the audit trail: once a minute while there are new records, and again until it is taken. Of what it has not taken the next head tells as well.
	Checkpoint func(ctx context.Context, c audit.Checkpoint) error
}

// Sinks take committed events to other places: each to its own, by one node of many, at its own pace, from a place that is kept. One that does not take them holds up nobody; what it has not taken stays
// in the store and is tried again, as long as the store keeps it. It begins with what happens after it was first set.
type Sinks struct {
	core   *Core
	names  []string
	duties []*Duty
}

// NewSinks are sinks that Run delivers to.
func NewSinks(c *Core, log *slog.Logger, all ...SinkOptions) (*Sinks, error) {
	s := &Sinks{core: c}
	for _, o := range all {
		if o.Most <= 0 {
			o.Most = 100
		}
		how := DutyOptions{Name: "sink/" + o.Name, Most: o.Most, Logger: log, Take: func(ctx context.Context, b Batch) ([]byte, error) {
			return nil, o.deliver(ctx, b.Events)
		}}
		if o.Checkpoint != nil {
			how = (&offsite{c, o.Checkpoint}).options(how)
		}
		d, err := NewDuty(c, how)
		if err != nil {
			return nil, err
		}
		s.names, s.duties = append(s.names, o.Name), append(s.duties, d)
	}
	return s, nil
}

func (o *SinkOptions) deliver(ctx context.Context, events []audit.Event) error {
	events = gathered(events)
	if len(o.Kinds) > 0 {
		events = slices.DeleteFunc(slices.Clone(events), func(e audit.Event) bool { return !slices.Contains(o.Kinds, e.Kind) })
	}
	if len(events) == 0 {
		return nil
	}
	return o.Sink.Deliver(ctx, events...)
}

// Run delivers until ctx ends.
func (s *Sinks) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, d := range s.duties {
		all.Go(func() { d.Run(ctx) })
	}
	all.Wait()
}

// SinkStatus is how one sink goes, as this node knows.
type SinkStatus struct {
	Name  string
	Lag   time.Duration // how old the oldest event was that was not delivered, when it was looked for last
	Tries int           // how often what is next has failed, on the node that delivers; else 0
	Err   error         // why; nil: it goes well, or another node delivers
}

// Status is how each sink goes.
func (s *Sinks) Status() []SinkStatus {
	all := make([]SinkStatus, len(s.duties))
	for i, d := range s.duties {
		st := d.Status()
		all[i] = SinkStatus{Name: s.names[i], Lag: st.Lag, Tries: st.Tries, Err: st.Err}
	}
	return all
}

// End is a position behind which whatever is committed from now on is kept.
func (s *Sinks) End(ctx context.Context) (uint64, error) {
	head, err := s.core.Stores.Trail.Head(ctx)
	return head.Last.Position, err
}

// Took waits until a sink has taken an event that was committed behind a position, or ctx ends, and answers whether it has. Who delivers may be another node, so it is the kept place that tells. Has is false when there is no
// sink of that name.
func (s *Sinks) Took(ctx context.Context, name string, behind uint64, eid id.Event) (took, has bool, err error) {
	if s == nil || !slices.Contains(s.names, name) {
		return false, false, nil
	}
	at, err := s.position(ctx, behind, eid)
	if err != nil || at == 0 {
		return false, true, err
	}
	for {
		c, err := s.core.Stores.Cursors.Find(ctx, "sink/"+name)
		switch {
		case ctx.Err() != nil:
			return false, true, nil
		case err != nil:
			return false, true, err
		case c.Position >= at:
			return true, true, nil
		}
		if !pause(ctx, 100*time.Millisecond) {
			return false, true, nil
		}
	}
}

// position is where an event stands; 0: it is not there.
func (s *Sinks) position(ctx context.Context, behind uint64, eid id.Event) (uint64, error) {
	const page, most = 256, 64
	for range most {
		events, last, err := s.core.Stores.Events.List(ctx, behind, page)
		if err != nil || len(events) == 0 {
			return 0, err
		}
		if i := slices.IndexFunc(events, func(e audit.Event) bool { return e.ID == eid }); i >= 0 {
			_, at, err := s.core.Stores.Events.List(ctx, behind, i+1)
			return at, err
		}
		behind = last
	}
	return 0, nil
}
