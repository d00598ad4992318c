package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

const usersPath = "/api/v1/admin/users"

// state is whether the account can sign in.
func (u *user) state() string {
	if u.IsActive && u.Decoy {
		return "decoy"
	}
	if u.IsActive {
		return "active"
	}
	return "disabled"
}

func (c *cli) usersList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List accounts",
		Long: `Lists accounts in the order of their ids, a page at a time. When there are more,
a line on stderr, and next in JSON, has the cursor of the next page.`,
		Example: "  xteam users list\n  xteam users list --all --json",
		Args:    cobra.NoArgs,
	}
	p := pagingFlags(cmd, "accounts")
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		api, err := c.admin(cmd.Context(), false)
		if err != nil {
			return err
		}
		defer api.close()
		got, err := pages[user](cmd.Context(), api, usersPath, url.Values{}, p.limit, p.cursor, p.every)
		if err != nil {
			return err
		}
		rows := [][]string{{"ID", "E-MAIL", "USER NAME", "ROLE", "STATE", "MADE"}}
		for i := range got.Items {
			u := &got.Items[i]
			rows = append(rows, []string{u.ID, u.Email, u.Username, u.Role, u.state(), clock(u.CreatedAt)})
		}
		if err := c.print(*asJSON, got, aligned(rows)); err != nil {
			return err
		}
		c.more(got.Next, *asJSON)
		return nil
	})
	return cmd
}

// noAccount says that a name is nobody's.
func noAccount(name string) error {
	return fmt.Errorf("no account has %q as its id, e-mail address or user name: `xteam users list` shows them", name)
}

// clock is a time as the command line writes it.
func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func (c *cli) usersShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show USER",
		Short:   "Show an account",
		Long:    "Shows an account, by its id, e-mail address or user name.",
		Example: "  xteam users show ann@example.com",
		Args:    cobra.ExactArgs(1),
	}
	return c.about(cmd, func(ctx context.Context, api *admin, path string, is *user) error { return api.get(ctx, path, is) }, (*user).text)
}

// text is a line for each thing that is known of the account.
func (u *user) text() string {
	rows := [][]string{{"id", u.ID}, {"e-mail", u.Email}, {"user name", u.Username}}
	if u.FullName != "" {
		rows = append(rows, []string{"full name", printable(u.FullName)})
	}
	return aligned(append(rows, []string{"role", u.Role}, []string{"state", u.state()}, []string{"made", clock(u.CreatedAt)}))
}

// about finishes a command on the account that its argument names: do asks for it under a path of the API, and say tells what its answer means.
func (c *cli) about(cmd *cobra.Command, do func(ctx context.Context, api *admin, path string, is *user) error, say func(*user) string) *cobra.Command {
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		name := cmd.Flags().Arg(0)
		if name == "" {
			return c.misuse("whose account? Give an id, an e-mail address or a user name")
		}
		api, err := c.admin(cmd.Context(), false)
		if err != nil {
			return err
		}
		defer api.close()
		var is user
		if err := do(cmd.Context(), api, usersPath+"/"+url.PathEscape(name), &is); err != nil {
			no, known := refused(err, http.StatusConflict)
			if _, unknown := refused(err, http.StatusNotFound); unknown {
				return noAccount(name)
			} else if known && no.Code == "last_admin" {
				return errors.New(no.Error() + ": add --force if you mean it")
			}
			return err
		}
		return c.print(*asJSON, is, say(&is))
	})
	return cmd
}

// posts is an act on an account that needs no more than a body.
func posts(act string, body any) func(context.Context, *admin, string, *user) error {
	return func(ctx context.Context, api *admin, path string, is *user) error {
		return api.post(ctx, path+act, body, is)
	}
}

// force is the body of a change that may take the last administrator.
type force struct {
	Force bool `json:"force,omitempty"`
}

const forceUsage = "the last active administrator too"

func (c *cli) usersDisable() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "disable USER",
		Short:   "Bar an account and withdraw all that it has",
		Long:    "Bars an account: nobody can sign in to it, its tokens are refused at once and its\nsessions end. The last active administrator stays, unless --force is given.",
		Example: "  xteam users disable ann@example.com",
		Args:    cobra.ExactArgs(1),
	}
	var in force
	cmd.Flags().BoolVar(&in.Force, "force", false, forceUsage)
	return c.about(cmd, posts("/disable", &in), func(u *user) string { return u.Username + " is disabled: all tokens are refused, all sessions ended" })
}

func (c *cli) usersEnable() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "enable USER",
		Short:   "Let a barred account sign in again",
		Long:    "Lets a barred account sign in again. What it had before stays withdrawn.",
		Example: "  xteam users enable ann@example.com",
		Args:    cobra.ExactArgs(1),
	}
	return c.about(cmd, posts("/enable", struct{}{}), func(u *user) string { return u.Username + " is enabled" })
}

func (c *cli) usersSetRole() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set-role USER user|admin",
		Short: "Give an account another role",
		Long: `Gives an account another role. Its access tokens are refused at once; its
sessions go on, and a refresh gives tokens with the new role. The last active
administrator stays one, unless --force is given.`,
		Example: "  xteam users set-role ann@example.com admin",
		Args:    cobra.ExactArgs(2),
	}
	var in struct {
		force
		Role string `json:"role"`
	}
	cmd.Flags().BoolVar(&in.Force, "force", false, forceUsage)
	c.about(cmd, posts("/role", &in), func(u *user) string {
		return u.Username + " has the role " + u.Role + " now: tokens of before are refused, sessions go on"
	})
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if in.Role = args[1]; in.Role != "user" && in.Role != "admin" {
			return c.misuse("the role is user or admin")
		}
		return run(cmd, args)
	}
	return cmd
}

func (c *cli) usersSetPassword() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set-password USER --password-stdin",
		Short: "Give an account another password and withdraw all that it has",
		Long: `Gives an account another password: its tokens are refused at once, and its
sessions end. The password is the first line of standard input, so that it stays
out of the process list; on a terminal it is asked for and not shown.`,
		Example: "  printf '%s\\n' \"$PASSWORD\" | xteam users set-password ann@example.com --password-stdin",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().Bool("password-stdin", false, "read the password from standard input")
	_ = cmd.MarkFlagRequired("password-stdin") // fails for a flag that is not there alone
	in := map[string]string{}
	c.about(cmd, posts("/password", in), func(u *user) string {
		return u.Username + " has another password: all tokens are refused, all sessions ended"
	})
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		c.began = true
		if in["password"], err = c.line(cmd.Context(), "the password"); err != nil { // before the store is opened: others wait for that
			return err
		}
		return run(cmd, args)
	}
	return cmd
}

func (c *cli) usersUnlock() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unlock USER",
		Short: "Forget the wrong passwords that were tried",
		Long: `Forgets the wrong passwords that were tried at an account, so that its owner
need not wait for their bounds. They are counted by the running server: while it
is stopped there is nothing to forget.`,
		Example: "  xteam users unlock ann@example.com",
		Args:    cobra.ExactArgs(1),
	}
	return c.about(cmd, posts("/unlock", struct{}{}), func(u *user) string {
		return u.Username + " can be signed in to again: wrong passwords of before do not count"
	})
}
