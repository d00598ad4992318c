package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const revocationsPath = "/api/v1/admin/revocations"

// revocationRequest names what is to be revoked: exactly one of the first seven.
type revocationRequest struct {
	User         string `json:"user_id,omitempty"`
	Session      string `json:"session_id,omitempty"`
	Token        string `json:"token,omitempty"`
	JTI          string `json:"jti,omitempty"`
	Key          string `json:"kid,omitempty"`
	Force        bool   `json:"force,omitempty"`
	IssuedBefore string `json:"issued_before,omitempty"`
	All          bool   `json:"all,omitempty"`
	Reason       string `json:"reason,omitempty"`
	DryRun       bool   `json:"dry_run,omitempty"`
}

// revoked is what a revocation hit, and how long every node took.
type revoked struct {
	Sessions int        `json:"sessions_ended"`
	Counted  *bool      `json:"counted,omitempty"` // false: there may be more
	Nodes    []nodeTime `json:"nodes"`
	Missing  []string   `json:"missing,omitempty"` // who lives and has not said that it refuses
	DryRun   bool       `json:"dry_run,omitempty"`
	Hint     string     `json:"hint,omitempty"` // what is left to be done by hand
}

func (c *cli) revoke() *cobra.Command {
	var in revocationRequest
	cmd := &cobra.Command{
		Use:   "revoke --user U|--session ID|--token T|--jti J|--key KID|--issued-before TIME|--all",
		Short: "Withdraw tokens at once",
		Long: `Withdraws tokens at once and ends the sessions that they came from: of a user
(id, e-mail address or user name), of one session, one token or API key, every token that
a key signed, every token issued before a time, or all. It works through the
running server, or on the store itself while the server is stopped. What was
revoked stays so.`,
		Example: `  xteam revoke --user ann@example.com --reason "laptop stolen"
  xteam revoke --token - <token.txt
  xteam revoke --issued-before 2026-05-01T12:00:00Z --dry-run
  xteam revoke --issued-before 2h --reason "the proxy logged tokens"`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&in.User, "user", "", "id, e-mail address or user name")
	f.StringVar(&in.Session, "session", "", "id of a session (claim sid)")
	f.StringVar(&in.Token, "token", "", "access or refresh token, or API key; - reads it from standard input, out of the process list")
	f.StringVar(&in.JTI, "jti", "", "id of an access token (claim jti)")
	f.StringVar(&in.Key, "key", "", "id of a signing key (header kid)")
	f.BoolVar(&in.Force, "force", false, "with --key: also one that this system does not hold, such as one of before")
	f.StringVar(&in.IssuedBefore, "issued-before", "", "time in RFC 3339, such as 2026-05-01T12:00:00Z, or how long ago, such as 2h")
	f.BoolVar(&in.All, "all", false, "every token of the system")
	f.StringVar(&in.Reason, "reason", "", "why, in your words: kept with the event")
	f.BoolVar(&in.DryRun, "dry-run", false, "only say how many sessions it would hit")
	selectors := []string{"user", "session", "token", "jti", "key", "issued-before", "all"}
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		var given []string
		for _, name := range selectors {
			if f.Changed(name) {
				given = append(given, "--"+name)
			}
		}
		switch last := len(given) - 1; {
		case last < 0:
			return c.misuse("say what to revoke: --user, --session, --token, --jti, --key, --issued-before or --all")
		case last > 0:
			return c.misuse("one at a time: " + strings.Join(given[:last], ", ") + " and " + given[last] + " were given")
		}
		for _, name := range selectors {
			if f.Changed(name) && (f.Lookup(name).Value.String() == "" || f.Lookup(name).Value.String() == "false") {
				return c.misuse("--" + name + " needs a value")
			}
		}
		if in.Force && in.Key == "" {
			return c.misuse("--force goes with --key")
		}
		if in.IssuedBefore != "" {
			var ok bool
			if in.IssuedBefore, ok = moment(in.IssuedBefore, time.Now()); !ok {
				return c.misuse("--issued-before takes a time in RFC 3339, such as 2026-05-01T12:00:00Z, or how long ago, such as 2h")
			}
		}
		if in.Token == "-" {
			var err error
			if in.Token, err = c.token(cmd.Context(), "the token"); err != nil {
				return err
			}
		}
		if in.Token = bare(in.Token); in.Token == "" && f.Changed("token") {
			return c.misuse("--token needs a value")
		}
		api, err := c.admin(cmd.Context(), false)
		if err != nil {
			return err
		}
		defer api.close()
		var hit revoked
		err = api.post(cmd.Context(), revocationsPath, in, &hit)
		if _, unknown := refused(err, http.StatusNotFound); unknown {
			return in.notFound(err)
		}
		if err != nil {
			return err
		}
		return c.print(*asJSON, hit, hit.text(in.DryRun))
	})
	return cmd
}

// moment is a time in RFC 3339, from one, or from how long ago it was.
func moment(text string, now time.Time) (string, bool) {
	if ago, err := time.ParseDuration(text); err == nil {
		then := now.Add(-ago)
		return then.UTC().Format(time.RFC3339Nano), ago >= 0 && then.Unix() > 0
	}
	_, err := time.Parse(time.RFC3339, text)
	return text, err == nil
}

// notFound says what there is not, since the API says only that something is not there. A token is not shown.
func (in revocationRequest) notFound(otherwise error) error {
	switch {
	case in.User != "":
		return noAccount(in.User)
	case in.Session != "":
		return fmt.Errorf("no session has %q as its id: give --session the claim sid of one of its tokens", in.Session)
	case in.Token != "":
		return errors.New("the session of this token is not in the store any more: it needs no revocation")
	case in.Key != "":
		return fmt.Errorf("no key of this system has %q as its id: give --key the header kid of a token, or add --force for a key of before", in.Key)
	}
	return otherwise
}

// text says it in one line, and in a second one what is left to be done.
func (r revoked) text(dry bool) string {
	would := map[bool]string{false: "", true: "would be "}[dry]
	plural := "s"
	if r.Sessions == 1 {
		plural = ""
	}
	var b strings.Builder
	if r.Counted != nil && !*r.Counted {
		b.WriteString("at least ")
	}
	fmt.Fprintf(&b, "%d session%s %sended", r.Sessions, plural, would)
	b.WriteString(seenBy(r.Nodes, r.Missing))
	if r.Hint != "" {
		b.WriteString("\n" + r.Hint)
	}
	return b.String()
}

// nodeTime is how long after it was asked a node had something in force.
type nodeTime struct {
	Node string  `json:"node"`
	MS   float64 `json:"ms"`
}

// seenBy says how many nodes have something in force, and after how long; of one alone its name.
func seenBy(nodes []nodeTime, missing []string) string {
	if len(nodes) == 0 && len(missing) == 0 {
		return ""
	}
	last := 0.0
	for _, n := range nodes {
		last = max(last, n.MS)
	}
	took := time.Duration(last * float64(time.Millisecond)).Round(10 * time.Microsecond)
	if len(nodes) == 1 && len(missing) == 0 {
		return fmt.Sprintf("; refused by %s after %s", nodes[0].Node, took)
	}
	text := fmt.Sprintf("; seen by %d of %d nodes in %s", len(nodes), len(nodes)+len(missing), took)
	if len(missing) > 0 {
		text += fmt.Sprintf("\nnot heard of %s in time: each refuses at its next REVOCATION_POLL, and one that cannot poll trusts\nwhat it knows no longer than REVOCATION_MAX_STALENESS; `xteam nodes` shows who lives", strings.Join(missing, ", "))
	}
	return text
}
