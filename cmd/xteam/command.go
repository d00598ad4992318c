package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// The exit codes.
const (
	succeeded = 0
	failed    = 1
	misused   = 2 // the command line itself is wrong
)

// cli is one run of the program.
type cli struct {
	in       io.Reader
	out, err io.Writer
	began    bool // a command's own work has begun: from here on an error is no usage error
}

// run carries out one command line and answers the exit code. An error is one line on errs, or one for each faulty setting.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	c := &cli{in: in, out: out, err: errs}
	root := c.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	cmd, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil:
		return succeeded
	case c.began:
		for line := range strings.Lines(err.Error()) {
			_, _ = fmt.Fprintf(errs, "xteam: %s\n", strings.TrimSuffix(line, "\n"))
		}
		return failed
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	_, _ = fmt.Fprintf(errs, "xteam: %s; see `%s --help`\n", first, cmd.CommandPath())
	return misused
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "xteam",
		Short: "Sign users in, hand out tokens, and revoke any of them at once",
		Long: `XTeam signs users in, hands out short-lived access tokens and rotating refresh
tokens, and revokes any of them at once. Its settings come from the environment
and from a file .env in the working directory; the environment wins.`,
		Example: `  xteam dev
  xteam serve
  xteam revoke --user ann@example.com`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	users := &cobra.Command{Use: "users", Short: "Accounts", Args: cobra.NoArgs, Example: "  xteam users create --help"}
	users.AddCommand(c.usersCreate(), c.usersList(), c.usersShow(), c.usersDisable(), c.usersEnable(), c.usersSetRole(), c.usersSetPassword(), c.usersUnlock())
	secret := &cobra.Command{Use: "secret", Short: "Secrets", Args: cobra.NoArgs, Example: "  xteam secret generate"}
	secret.AddCommand(c.secretGenerate())
	keys, apiKeys, trail, blocked, alerts := c.keys(), c.apiKeys(), c.audit(), c.blockedIPs(), c.alerts()
	for _, group := range []*cobra.Command{root, users, secret, keys, apiKeys, trail, blocked, alerts} {
		group.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	root.AddCommand(c.serve(), c.dev(), users, keys, apiKeys, c.revoke(), c.scan(), c.incident(), c.explain(), alerts, blocked, trail, secret, c.config(), c.doctor(), c.nodes(), c.migrate(), c.backup(), c.restore(), c.version())
	return root
}

// does marks where a command's own work begins.
func (c *cli) does(work func(*cobra.Command) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		c.began = true
		return work(cmd)
	}
}

// misuse is a usage error that only the command itself can see.
func (c *cli) misuse(text string) error {
	c.began = false
	return errors.New(text)
}

// settings reads the settings of this run.
func (c *cli) settings() (settings, lookup, error) {
	get, _, err := environment()
	if err != nil {
		return settings{}, nil, err
	}
	s, err := parse(get)
	return s, get, err
}

// print writes one result: as JSON when that was asked for, else as the text.
func (c *cli) print(asJSON bool, v any, text string) error {
	if asJSON {
		line, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
		text = string(line)
	}
	if _, err := fmt.Fprintln(c.out, text); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// jsonFlag gives a command the flag --json.
func jsonFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("json", false, "print the result as one JSON object")
}
