package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
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

// signIns is a page of them.
type signIns struct {
	Items []signIn `json:"items"`
	Next  *string  `json:"next"`
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
	limit := f.Int("limit", 50, "sessions of a page, 1 to 100")
	cursor := f.String("cursor", "", "where the page begins, as the page before said")
	all := f.Bool("all", false, "every page")
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
		got := signIns{Items: []signIn{}, Next: cursor}
		for got.Next != nil {
			query := url.Values{"limit": {strconv.Itoa(*limit)}, "cursor": {*got.Next}}
			if *who != "" {
				query.Set("user", *who)
			}
			var page signIns
			err := api.get(cmd.Context(), sessionsPath+"?"+query.Encode(), &page)
			if _, unknown := refused(err, http.StatusNotFound); unknown {
				return fmt.Errorf("no account has %q as its id, e-mail address or user name", *who)
			}
			if err != nil {
				return err
			}
			got.Items, got.Next = append(got.Items, page.Items...), page.Next
			if !*all {
				break
			}
		}
		rows := [][]string{{"ID", "USER", "BEGUN", "FROM", "LAST USED", "FROM", "ENDS", "WITH"}}
		for i := range got.Items {
			s := &got.Items[i]
			rows = append(rows, []string{s.ID, s.User, clock(s.CreatedAt), s.Address, clock(s.LastUsedAt), s.LastAddress, clock(s.ExpiresAt), printable(s.Agent)})
		}
		if err := c.print(*asJSON, got, aligned(rows)); err != nil {
			return err
		}
		if got.Next != nil && !*asJSON {
			fmt.Fprintf(c.err, "There are more: --cursor %s\n", *got.Next)
		}
		return nil
	})
	return cmd
}
