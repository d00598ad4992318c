package httpapi

import (
	"net/http"
	"time"

	"github.com/xteam/xteam/domain/node"
)

// systemNode is a node of the system, as it says of itself.
type systemNode struct {
	ID            string     `json:"id"` // drawn anew at each start
	Name          string     `json:"name"`
	Version       string     `json:"version"`          // of the program
	StartedAt     time.Time  `json:"started_at"`       // by its own clock
	SeenMS        float64    `json:"seen_ms"`          // how long ago it was last heard; 0 for the one that answers
	ViewAgeMS     float64    `json:"view_age_ms"`      // of its view of the revocations
	Fresh         bool       `json:"fresh"`            // it trusts that view: signed-in requests are answered
	Held          int        `json:"revocations_held"` // how many revocations it holds in memory
	CanaryAt      *time.Time `json:"canary_at"`        // when it last judged a canary; null: not yet
	CanaryRefused *bool      `json:"canary_refused"`   // whether it refused that, as it should; null: it has judged none yet
}

func (a *API) listNodes(x *exchange) error {
	if _, err := x.query(); err != nil {
		return err
	}
	page := list[systemNode]{Items: []systemNode{}}
	for _, n := range a.Nodes.List() {
		page.Items = append(page.Items, systemNodeOf(n))
	}
	return x.write(http.StatusOK, page)
}

func systemNodeOf(n node.Status) systemNode {
	out := systemNode{ID: n.ID.String(), Name: n.Name, Version: n.Version, StartedAt: n.Started.Time(), SeenMS: ms(n.Seen), ViewAgeMS: ms(n.ViewAge), Fresh: n.Fresh, Held: n.Live, CanaryAt: timeOf(n.Canary.At)}
	if n.Canary.At != 0 {
		refused := !n.Canary.Failed
		out.CanaryRefused = &refused
	}
	return out
}
