package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func (c *cli) incidentDrill() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drill",
		Short: "Rehearse an incident from its beginning to its end, and measure it",
		Long: `Plays a whole incident on the running system, with two accounts of its own, and prints
how long each step took and when each server refused. One account is contained: its
tokens are revoked, it is barred, and an address from the range for documentation
(2001:db8::/32) is blocked. What was contained is then tried again on every server, and
the other account must not have felt it; the incident is reported and resolved. No
other account, session, key or block is touched, and nobody's sign-in is held back. In
the end, when it is interrupted too, both accounts are barred, the block is lifted and
the incident closed; the accounts stay for the next drill, and the audit trail keeps
what was done. One drill at a time, of half a minute at the longest. The exit code is 1
when a step did not go as it should.`,
		Example: "  xteam incident drill\n  xteam incident drill --json | jq .contained_ms",
		Args:    cobra.NoArgs,
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		api, err := c.admin(cmd.Context(), false)
		if err != nil {
			return err
		}
		defer api.close()
		d, err := api.drill(cmd.Context())
		if err != nil {
			return err
		}
		return errors.Join(c.print(*asJSON, d, d.text()), d.wrong())
	})
	return cmd
}

// drill is a rehearsal and what came of it.
type drill struct {
	Steps     []drillStep `json:"steps"`
	Contained float64     `json:"contained_ms"` // 0: it was not contained
	Nodes     []nodeTime  `json:"nodes"`
	Missing   []string    `json:"missing,omitempty"`
	Incident  string      `json:"incident"`
	Passed    bool        `json:"passed"`
}

// drillStep is one thing that was done or tried.
type drillStep struct {
	Name string  `json:"name"`
	MS   float64 `json:"ms"`
	Seen string  `json:"seen"`
	OK   bool    `json:"ok"`
}

// drillPatience bounds the request: the server plays for 30 s, cleans up for 10, and may wait before for a turn.
const drillPatience = 55 * time.Second

// drill has the server play one. Whoever goes meanwhile ends it: the server then cleans up by itself.
func (a *admin) drill(ctx context.Context) (*drill, error) {
	long := *a.http
	if long.Timeout > 0 {
		long.Timeout = drillPatience
	}
	var d drill
	_, err := exchange(ctx, &long, http.MethodPost, "http://"+operatorHost+incidentsAt+"/drill", "", nil, &d)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, errors.New("the drill was interrupted: the server bars and lifts what it made; `xteam incident list --open` shows whether it is done")
	case err != nil:
		return nil, err
	}
	return &d, nil
}

// wrong is an error of the steps that did not go as they should.
func (d *drill) wrong() error {
	var all []error
	for _, s := range d.Steps {
		if !s.OK {
			all = append(all, fmt.Errorf("the drill went wrong at %q: %s", s.Name, printable(s.Seen)))
		}
	}
	if len(all) == 0 && !d.Passed {
		return errors.New("the drill did not pass")
	}
	return errors.Join(all...)
}

// text is a line for each step, then the figure that matters.
func (d *drill) text() string {
	rows := [][]string{{"STEP", "TOOK", "OK", "SEEN"}}
	for _, s := range d.Steps {
		seen, _, _ := strings.Cut(s.Seen, "\n")
		rows = append(rows, []string{s.Name, fmt.Sprintf("%.1f ms", s.MS), map[bool]string{false: "NO", true: "yes"}[s.OK], printable(seen)})
	}
	text := aligned(rows) + "\n\n"
	for _, n := range d.Nodes {
		text += fmt.Sprintf("%s refused after %.1f ms\n", printable(n.Node), n.MS)
	}
	if d.Contained == 0 {
		return text + "The account was not contained."
	}
	return text + fmt.Sprintf("Time to contain: %.1f ms, from the call until every server had said that it refuses.", d.Contained)
}
