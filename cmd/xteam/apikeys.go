package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const apiKeysPath = "/api/v1/admin/api-keys"

// apiKey is a key of a program, as the API shows it to administrators.
type apiKey struct {
	ID          string     `json:"id"`
	UserID      string     `json:"user_id"`
	Name        string     `json:"name"`
	Scopes      []string   `json:"scopes"`
	Environment string     `json:"environment"`
	Status      string     `json:"status"`
	Created     time.Time  `json:"created_at"`
	Expires     time.Time  `json:"expires_at"`
	MadeBy      apiKeyBy   `json:"made_by"`
	LastUsed    *time.Time `json:"last_used_at"`
	LastAddress *string    `json:"last_ip_address"`
	Uses        uint64     `json:"uses"`
	Usual       *uint64    `json:"usual_uses_per_hour"`
	Networks    []string   `json:"networks"`
	PerMinute   *int64     `json:"requests_per_minute"`
	ReplacedBy  *string    `json:"replaced_by"`
	Retires     *time.Time `json:"retires_at"`
	Revoked     *time.Time `json:"revoked_at"`
	Reason      *string    `json:"reason"`
}

// apiKeyBy is who made a key.
type apiKeyBy struct {
	Session *string `json:"session"`
	APIKey  *string `json:"api_key"`
}

// apiKeys is the list of them.
type apiKeys struct {
	Items []apiKey `json:"items"`
}

func (c *cli) apiKeys() *cobra.Command {
	group := &cobra.Command{
		Use:     "api-keys",
		Aliases: []string{"apikeys"},
		Short:   "The keys that programs sign in with",
		Long: `The keys that programs sign in with, in the name of a user. Only a user can make
one, of their own; an operator sees them and ends them. rotate is for that user, on whatever machine.`,
		Args:    cobra.NoArgs,
		Example: "  xteam api-keys list --user ann@example.com\n  xteam api-keys revoke ID --children --reason \"found in a repository\"",
	}
	group.AddCommand(c.apiKeysList(), c.apiKeysShow(), c.apiKeysRotate(), c.apiKeysRevoke())
	return group
}

func (c *cli) apiKeysList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list --user U",
		Short: "List the keys of a user, how they are used and who made them",
		Long: `Lists the keys of a user, oldest first: those that live, and those that ended in
the last seven days. How a key was used is up to a minute behind. MADE BY is the
key that asked for it; a key that was stolen may have made others.`,
		Example: "  xteam api-keys list --user ann@example.com\n  xteam api-keys list --user ann --json",
		Args:    cobra.NoArgs,
	}
	user := cmd.Flags().String("user", "", "id, e-mail address or user name")
	_ = cmd.MarkFlagRequired("user") // fails for a flag that is not there alone
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		if *user == "" {
			return c.misuse("whose keys? Give --user an id, an e-mail address or a user name")
		}
		api, err := c.admin(cmd.Context(), false)
		if err != nil {
			return err
		}
		defer api.close()
		got := apiKeys{Items: []apiKey{}}
		err = api.get(cmd.Context(), apiKeysPath+"?"+url.Values{"user": {*user}}.Encode(), &got)
		if _, unknown := refused(err, http.StatusNotFound); unknown {
			return noAccount(*user)
		}
		if err != nil {
			return err
		}
		rows := [][]string{{"ID", "NAME", "SCOPES", "STATE", "MADE", "EXPIRES", "USES", "LAST", "FROM", "MADE BY"}}
		for i := range got.Items {
			rows = append(rows, got.Items[i].row())
		}
		return c.print(*asJSON, got, aligned(rows))
	})
	return cmd
}

func (c *cli) apiKeysShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show a key: how it is used, from where, and when it ends",
		Long: `Shows a key by its id, which stands in its text after the environment: how often it
was used and how often it usually is in an hour in which it is, from where, when it
ends and who made it. How it was used is up to a minute behind.`,
		Example: "  xteam api-keys show ID\n  xteam api-keys show ID --json",
		Args:    cobra.ExactArgs(1),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		kid, err := c.keyArgument(cmd)
		if err != nil {
			return err
		}
		api, err := c.admin(cmd.Context(), false)
		if err != nil {
			return err
		}
		defer api.close()
		var got apiKey
		err = api.get(cmd.Context(), apiKeysPath+"/"+url.PathEscape(kid), &got)
		if err := unknownKey(err, kid); err != nil {
			return err
		}
		return c.print(*asJSON, got, aligned(got.lines()))
	})
	return cmd
}

// keyArgument is the id that a command was given.
func (c *cli) keyArgument(cmd *cobra.Command) (string, error) {
	switch kid := cmd.Flags().Arg(0); {
	case kid == "":
		return "", c.misuse("which key? Give an id, as `xteam api-keys list` shows it")
	case strings.HasPrefix(kid, "xt_"):
		return "", errors.New("that is the text of a key, not its id: hand it to `xteam revoke --token -` on standard input")
	default:
		return kid, nil
	}
}

// unknownKey is err, in other words where it says that there is no such key.
func unknownKey(err error, kid string) error {
	if _, unknown := refused(err, http.StatusNotFound); unknown {
		return fmt.Errorf("no API key has %q as its id: `xteam api-keys list --user U` shows those of a user", kid)
	}
	return err
}

// lines are what is known of a key, one below the other.
func (k *apiKey) lines() [][]string {
	row := k.row()
	lines := [][]string{{"id", k.ID}, {"name", row[1]}, {"owner", k.UserID}, {"scopes", strings.Join(k.Scopes, " ")}, {"environment", k.Environment}, {"state", k.Status}, {"made", row[4]}, {"made by", row[9]}, {"expires", row[5]}}
	add := func(name string, at *time.Time) {
		if at != nil {
			lines = append(lines, []string{name, clock(*at)})
		}
	}
	add("retires", k.Retires)
	if k.ReplacedBy != nil {
		lines = append(lines, []string{"replaced by", *k.ReplacedBy})
	}
	add("revoked", k.Revoked)
	if k.Reason != nil {
		lines = append(lines, []string{"reason", *k.Reason})
	}
	usual, limit, networks := "not known yet", "as every key", "none"
	if k.Usual != nil {
		usual = fmt.Sprintf("%d an hour in which it is used", *k.Usual)
	}
	if k.PerMinute != nil {
		limit = fmt.Sprintf("%d requests a minute", *k.PerMinute)
	}
	if len(k.Networks) > 0 {
		networks = strings.Join(k.Networks, " ")
	}
	return append(lines, []string{"limit", limit}, []string{"uses", row[6]}, []string{"usual", usual}, []string{"last used", row[7]}, []string{"from", row[8]}, []string{"networks", networks})
}

func (k *apiKey) row() []string {
	last, from, by := "never", "-", "a sign-in"
	if k.LastUsed != nil {
		last = clock(*k.LastUsed)
	}
	if k.LastAddress != nil {
		from = *k.LastAddress
	}
	switch {
	case k.MadeBy.APIKey != nil:
		by = *k.MadeBy.APIKey
	case k.MadeBy.Session == nil:
		by = "not known"
	}
	return []string{k.ID, printable(k.Name), strings.Join(k.Scopes, ","), k.Status, clock(k.Created), clock(k.Expires), fmt.Sprint(k.Uses), last, from, by}
}

// endedAPIKeys are the ids of the keys that a revocation ended.
type endedAPIKeys struct {
	Revoked []string `json:"revoked"`
}

func (c *cli) apiKeysRevoke() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "revoke ID [--children]",
		Short: "End a key for good: it is refused at once",
		Long: `Ends a key for good, by its id, which stands in its text after the environment: it
is refused at once, with the reason. With --children so is every key that it made,
that these made, and so on: what a thief would have left behind. To end a key by
its text, without leaving that in the process list: xteam revoke --token -`,
		Example: "  xteam api-keys revoke ID --reason \"found in a repository\"\n  xteam api-keys revoke ID --children --json",
		Args:    cobra.ExactArgs(1),
	}
	var in struct {
		Children bool   `json:"children,omitempty"`
		Reason   string `json:"reason,omitempty"`
	}
	cmd.Flags().BoolVar(&in.Children, "children", false, "and every key that it made, that these made, and so on")
	cmd.Flags().StringVar(&in.Reason, "reason", "", "why, in your words: kept with the event")
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		kid, err := c.keyArgument(cmd)
		if err != nil {
			return err
		}
		api, err := c.admin(cmd.Context(), false)
		if err != nil {
			return err
		}
		defer api.close()
		var got endedAPIKeys
		err = api.post(cmd.Context(), apiKeysPath+"/"+url.PathEscape(kid)+"/revoke", in, &got)
		if err := unknownKey(err, kid); err != nil {
			return err
		}
		return c.print(*asJSON, got, strings.Join(got.Revoked, " is dead\n")+" is dead")
	})
	return cmd
}
