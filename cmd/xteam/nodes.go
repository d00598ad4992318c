package main

import (
	"time"

	"github.com/spf13/cobra"
)

// systemNode is a node as the API shows it.
type systemNode struct {
	ID            string     `json:"id"`
	Name          string     `json:"name"`
	Version       string     `json:"version"`
	StartedAt     time.Time  `json:"started_at"`
	SeenMS        float64    `json:"seen_ms"`
	ViewAgeMS     float64    `json:"view_age_ms"`
	Fresh         bool       `json:"fresh"`
	Revocations   int        `json:"revocations_held"`
	CanaryAt      *time.Time `json:"canary_at"`
	CanaryRefused *bool      `json:"canary_refused"`
}

type systemNodes struct {
	Items []systemNode `json:"items"`
}

func (c *cli) nodes() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "nodes",
		Short: "The servers of this system, and how each is",
		Long: `Lists the servers that work on the same database, as each says of itself every
second: how old its view of the revocations is, whether it trusts that, and
whether it refused the last canary, a token that is revoked every minute to see
that it does. One that has said nothing for five seconds is not listed.`,
		Example: "  xteam nodes\n  xteam nodes --json | jq '.items[] | select(.canary_refused == false)'",
		Args:    cobra.NoArgs,
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		api, err := c.admin(cmd.Context(), false)
		if err != nil {
			return err
		}
		defer api.close()
		var all systemNodes
		if err := api.get(cmd.Context(), "/api/v1/admin/nodes", &all); err != nil {
			return err
		}
		return c.print(*asJSON, all, all.text())
	})
	return cmd
}

func (all systemNodes) text() string {
	rows := [][]string{{"NAME", "VERSION", "STARTED", "HEARD", "VIEW", "CANARY"}}
	ago := func(ms float64) string {
		return time.Duration(ms * float64(time.Millisecond)).Round(time.Millisecond).String()
	}
	for _, n := range all.Items {
		view := ago(n.ViewAgeMS) + " old"
		if !n.Fresh {
			view += ", not trusted"
		}
		canary := "none yet"
		switch {
		case n.CanaryRefused == nil || n.CanaryAt == nil:
		case *n.CanaryRefused:
			canary = "refused at " + clock(*n.CanaryAt)
		default:
			canary = "TAKEN at " + clock(*n.CanaryAt) + ": start this server anew"
		}
		rows = append(rows, []string{printable(n.Name), printable(n.Version), clock(n.StartedAt), ago(n.SeenMS) + " ago", view, canary})
	}
	return aligned(rows)
}
