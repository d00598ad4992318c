package main

import (
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

const sessionsPath = "/api/v1/admin/sessions"

// signIn is a session that lives, as the API shows it to an administrator.
type signIn struct {
	ID          string    `json:"id"`
	User        string    `json:"user_id"`
	Agent       string    `json:"user_agent"`
	Address     string    `json:"ip_address"`
	LastAddress string    `json:"last_ip_address"`
	CreatedAt   time.Time `json:"created_at"`
	LastUsedAt  time.Time `json:"last_used_at"`
	ExpiresAt   time.Time `json:"expires_at"`
}

func (c *cli) sessions() *cobra.Command {
	group := &cobra.Command{
		Use:   "sessions",
		Short: "Who is signed in, and from where",
		Long: `Sessions are sign-ins that live: each has a refresh token, and access tokens that are
made by it. xteam revoke ends one, or all of a user.`,
		Args:    cobra.NoArgs,
		Example: "  xteam sessions list --user ann@example.com\n  xteam revoke --session ID --reason \"not hers\"",
	}
	group.AddCommand(c.sessionsList())
	return group
}

func (c *cli) sessionsList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list [--user U]",
		Short:   "List who is signed in, everybody or one user, the latest sign-in first",
		Example: "  xteam sessions list\n  xteam sessions list --user ann@example.com --json",
		Args:    cobra.NoArgs,
	}
	f := cmd.Flags()
	who := f.String("user", "", "of this user alone: id, e-mail address or user name")
	p := pagingFlags(cmd, "sessions")
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		if f.Changed("user") && *who == "" {
			return c.misuse("--user needs a value")
		}
		api, err := c.admin(cmd.Context(), false)
		if err != nil {
			return err
		}
		defer api.close()
		query := url.Values{}
		if *who != "" {
			query.Set("user", *who)
		}
		got, err := pages[signIn](cmd.Context(), api, sessionsPath, query, p.limit, p.cursor, p.every)
		if _, unknown := refused(err, http.StatusNotFound); unknown {
			return noAccount(*who)
		}
		if err != nil {
			return err
		}
		rows := [][]string{{"ID", "USER", "BEGUN", "FROM", "LAST USED", "FROM", "ENDS", "WITH"}}
		for i := range got.Items {
			s := &got.Items[i]
			rows = append(rows, []string{s.ID, s.User, clock(s.CreatedAt), s.Address, clock(s.LastUsedAt), s.LastAddress, clock(s.ExpiresAt), printable(s.Agent)})
		}
		if err := c.print(*asJSON, got, aligned(rows)); err != nil {
			return err
		}
		c.more(got.Next, *asJSON)
		return nil
	})
	return cmd
}
