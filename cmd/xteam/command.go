package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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
	if len(args) == 0 || !strings.HasPrefix(args[0], "__") { // which completes for a shell, and reads flags more than once
		takesOnce(root)
	}
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	cmd, err := stranger(root, args)
	if err == nil {
		cmd, err = root.ExecuteContextC(ctx)
	}
	switch {
	case err == nil:
		return succeeded
	case c.began && ctx.Err() != nil && errors.Is(err, context.Canceled):
		_, _ = fmt.Fprintf(errs, "xteam: `%s` was interrupted\n", cmd.CommandPath())
		return failed
	case c.began:
		for line := range strings.Lines(err.Error()) {
			_, _ = fmt.Fprintf(errs, "xteam: %s\n", strings.TrimSuffix(line, "\n"))
		}
		return failed
	}
	first := inOurWords(cmd, err)
	_, _ = fmt.Fprintf(errs, "xteam: %s; see `%s --help`\n", first, cmd.CommandPath())
	return misused
}

// stranger is a usage error for a command that there is not, and the group in which it was looked for: also when help is asked for with it.
func stranger(root *cobra.Command, args []string) (*cobra.Command, error) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	if made, _, err := root.Find([]string{"completion"}); err == nil {
		made.Short = "Print what makes a shell complete commands and flags"
		made.Long = "Prints a script that makes a shell complete the commands and flags of xteam. The help\nof each says where the shell looks for it."
		made.Example = "  source <(xteam completion bash)\n  xteam completion fish >~/.config/fish/completions/xteam.fish"
		for _, shell := range made.Commands() {
			shell.Example = map[string]string{"bash": "  source <(xteam completion bash)", "zsh": "  xteam completion zsh >\"${fpath[1]}/_xteam\"", "fish": "  xteam completion fish | source",
				"powershell": "  xteam completion powershell | Out-String | Invoke-Expression"}[shell.Name()]
		}
	}
	group, rest, err := root.Find(args)
	if err == nil && group.Name() == "help" && len(rest) > 0 {
		return stranger(root, rest)
	}
	if err != nil || !group.HasAvailableSubCommands() || len(rest) == 0 || strings.HasPrefix(rest[0], "-") || strings.HasPrefix(rest[0], "__") { // those are cobra's own
		return group, nil
	}
	text := "there is no command " + printable(group.CommandPath()+" "+rest[0])
	group.SuggestionsMinimumDistance = 2
	if near := group.SuggestionsFor(rest[0]); len(near) > 0 {
		text += "; perhaps `" + group.CommandPath() + " " + strings.Join(near, "` or `"+group.CommandPath()+" ") + "`"
	}
	return group, errors.New(text)
}

// once is the value of a flag that takes one, by whichever of its names: the library would take the last of two, and a user that was to be revoked would be left out.
type once struct {
	pflag.Value
	given bool
}

var errTwice = errors.New("is given twice, and takes one value")

// Set takes the first.
func (o *once) Set(text string) error {
	if o.given {
		return errTwice
	}
	o.given = true
	return o.Value.Set(text)
}

// takesOnce has every flag of every command taken once that takes one value.
func takesOnce(root *cobra.Command) {
	for _, cmd := range everyCommand(root) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if f.NoOptDefVal == "" && !strings.HasSuffix(f.Value.Type(), "Array") {
				f.Value = &once{Value: f.Value}
				f.DefValue = strings.TrimPrefix(f.DefValue, "0s") // which help leaves out of a plain duration
			}
		})
	}
}

var (
	flagsMissing = regexp.MustCompile(`^required flag\(s\) "(.*)" not set$`)
	wrongValue   = regexp.MustCompile(`^invalid argument (".*") for "(?:-., )?(--[a-z-]+)" flag: strconv\.Parse(Bool|Int|Uint|Float): `)
	wrongNumber  = regexp.MustCompile(`^(accepts|requires) .* arg\(s\), .*received (\d+)$`)
)

// inOurWords is a usage error of the library as a sentence. It repeats no argument of a command that takes none: it may be a secret whose flag was forgotten.
func inOurWords(cmd *cobra.Command, err error) string {
	if bad := (*pflag.InvalidValueError)(nil); errors.As(err, &bad) && errors.Is(err, errTwice) {
		name := "--" + bad.GetFlag().Name
		if short := bad.GetFlag().Shorthand; short != "" {
			name += " (-" + short + ")"
		}
		return name + " " + errTwice.Error()
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	if m := flagsMissing.FindStringSubmatch(text); m != nil {
		return "give --" + strings.ReplaceAll(m[1], `", "`, " and --") + " too"
	}
	if m := wrongValue.FindStringSubmatch(text); m != nil {
		takes := map[string]string{"Bool": "true or false", "Float": "a number"}
		return m[2] + ": got " + m[1] + ", takes " + cmp.Or(takes[m[3]], "a whole number")
	}
	if m := wrongNumber.FindStringSubmatch(text); m != nil {
		got := m[2] + " arguments were given"
		if m[2] == "1" {
			got = "1 argument was given"
		}
		return got + "; it is `" + strings.TrimSuffix(cmd.UseLine(), " [flags]") + "`"
	}
	if strings.HasPrefix(text, "unknown command ") {
		return cmd.CommandPath() + " takes flags alone, and something else stands beside them"
	}
	return text
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "xteam",
		Short: "Sign users in, hand out tokens, and revoke any of them at once",
		Long: `XTeam signs users in, hands out short-lived access tokens and rotating refresh
tokens, and revokes any of them at once. Its settings come from the environment
and from a file .env in the working directory; the environment wins.

What to do about a break-in says xteam incident --help; what the failure of a part
does, xteam config --failure-modes; what is wrong with a deployment, xteam doctor.`,
		Example: `  xteam dev
  xteam serve
  xteam revoke --user ann@example.com`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	users := &cobra.Command{Use: "users", Short: "Accounts", Args: cobra.NoArgs,
		Example: "  xteam users list\n  xteam users disable bob\n  xteam users set-role ann@example.com admin"}
	users.AddCommand(c.usersCreate(), c.usersList(), c.usersShow(), c.usersDisable(), c.usersEnable(), c.usersSetRole(), c.usersSetPassword(), c.usersUnlock())
	secret := &cobra.Command{Use: "secret", Short: "Secrets for SECRET_KEY and ROOT_KEY", Args: cobra.NoArgs, Example: "  xteam secret generate"}
	secret.AddCommand(c.secretGenerate())
	keys, apiKeys, trail, blocked, alerts, sessions := c.keys(), c.apiKeys(), c.audit(), c.blockedIPs(), c.alerts(), c.sessions()
	for _, group := range []*cobra.Command{root, users, secret, keys, apiKeys, trail, blocked, alerts, sessions} {
		group.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	root.AddCommand(c.serve(), c.dev(), users, sessions, keys, apiKeys, c.revoke(), c.scan(), c.incident(), c.explain(), alerts, blocked, trail, secret, c.config(), c.doctor(), c.nodes(), c.migrate(), c.backup(), c.restore(), c.version())
	completes(root)
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
