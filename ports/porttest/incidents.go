package porttest

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/xteam/xteam/domain/incident"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/ports"
)

func incidentsOf(s Store) keeper[struct{}, incident.Casebook] {
	k := keeper[struct{}, incident.Casebook]{
		key:   func(incident.Casebook) struct{} { return struct{}{} },
		count: func(b incident.Casebook) int64 { return int64(b.Revision) },
		bump: func(b incident.Casebook) incident.Casebook {
			if b.Revision == 0 {
				b, _, err := b.Begin("0123456789abcdef", "a stolen laptop", "operator", false, 1, 2)
				if err != nil {
					panic(err)
				}
				return b
			}
			b, _, err := b.Do("", incident.Step{At: 3, Kind: "contained", By: "operator"}, incident.Contained, newTarget(0))
			if err != nil {
				panic(err)
			}
			return b
		},
		scribble: func(b incident.Casebook) {
			for i := range b.Incidents {
				b.Incidents[i].Steps[0].By = "scribbled"
			}
		},
	}
	if s.Incidents != nil {
		k.update = func(ctx context.Context, _ struct{}, change func(incident.Casebook) (incident.Casebook, ports.Effects, error)) error {
			return s.Incidents.Update(ctx, change)
		}
		k.find = func(ctx context.Context, _ struct{}) (incident.Casebook, error) { return s.Incidents.Load(ctx) }
	}
	return k
}

func newTarget(n int) incident.Target {
	return incident.Target{Kind: incident.Network, Value: "198.51.100." + strconv.Itoa(n) + "/32", Asked: 5, Failed: "it took too long", Sessions: 2, Nodes: []incident.Seen{{Node: "a", Micros: 7}}, Missing: []string{"b"},
		Proof: incident.Proof{Revocations: [][]byte{{1, 2, 3}}, Until: 9, Generation: 4, Epoch: 5, Blocks: 6}}
}

// Incidents proves a ports.Incidents, and that its effects reach the ports.Revocations and ports.Events of the same store.
func Incidents(t *testing.T, open Open) {
	keeping(t, open, incidentsOf)
	sub(t, "a new store holds an empty book", func(t *testing.T) { incidentsOf(opened(t, open)).holds(t, incident.Casebook{}) })
	sub(t, "the revision is that of the book", func(t *testing.T) {
		s := opened(t, open)
		for want := range uint64(3) {
			if got, err := s.Incidents.Revision(t.Context()); err != nil || got != want {
				t.Errorf("Revision: got %d, error %v; want %d", got, err, want)
			}
			err := s.Incidents.Update(t.Context(), func(b incident.Casebook) (incident.Casebook, ports.Effects, error) {
				return incidentsOf(s).bump(b), ports.Effects{}, nil
			})
			if err != nil {
				t.Fatalf("Update: %v", err)
			}
		}
	})
	sub(t, "a long book is kept whole", func(t *testing.T) {
		s := opened(t, open)
		var want incident.Casebook
		for i := range incident.MaxOpen {
			var err error
			if want, _, err = want.Begin(strconv.Itoa(i), strings.Repeat("é", incident.MaxName/2), "operator", false, 0, instant.Instant(i)<<40); err != nil {
				t.Fatal(err)
			}
			var all []incident.Target
			for n := range incident.MaxTargets {
				all = append(all, newTarget(n))
			}
			if want, _, err = want.Do(strconv.Itoa(i), incident.Step{Kind: "contained", Note: strings.Repeat("é", incident.MaxNote/2)}, incident.Contained, all...); err != nil {
				t.Fatal(err)
			}
		}
		want.Held, want.Salt, want.Isolated = 90, "1", []incident.Isolation{{Node: "b", By: "operator", At: 1, Incident: "1"}}
		if err := s.Incidents.Update(t.Context(), func(incident.Casebook) (incident.Casebook, ports.Effects, error) { return want, ports.Effects{}, nil }); err != nil {
			t.Fatalf("Update: %v", err)
		}
		incidentsOf(s).holds(t, want)
	})
}
