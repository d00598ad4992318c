package app

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/ports"
)

// SinkOptions are one way that events go.
type SinkOptions struct {
	Name  string // of a fixed set: it names the kept place, and a label of metrics
	Sink  ports.Sink
	Kinds []audit.Kind // that are delivered; none: all
	Most  int          // events of one delivery; default 100
}

// Sinks take committed events to other places: each to its own, by one node of many, at its own pace, from a place that is kept. One that does not take them holds up nobody; what it has not taken stays
// in the store and is tried again, as long as the store keeps it. It begins with what happens after it was first set.
type Sinks struct {
	names  []string
	duties []*Duty
}

// NewSinks are sinks that Run delivers to.
func NewSinks(c *Core, log *slog.Logger, all ...SinkOptions) (*Sinks, error) {
	s := &Sinks{}
	for _, o := range all {
		if o.Most <= 0 {
			o.Most = 100
		}
		d, err := NewDuty(c, DutyOptions{Name: "sink/" + o.Name, Most: o.Most, Logger: log, Take: func(ctx context.Context, b Batch) ([]byte, error) {
			return nil, o.deliver(ctx, b.Events)
		}})
		if err != nil {
			return nil, err
		}
		s.names, s.duties = append(s.names, o.Name), append(s.duties, d)
	}
	return s, nil
}

func (o *SinkOptions) deliver(ctx context.Context, events []audit.Event) error {
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
