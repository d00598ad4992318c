package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const keysPath = "/api/v1/admin/keys"

// signingKey is a key that signs, or signed, as the API shows it.
type signingKey struct {
	KID       string     `json:"kid"`
	Algorithm string     `json:"algorithm"`
	State     string     `json:"state"`
	Created   time.Time  `json:"created_at"`
	Changed   time.Time  `json:"changed_at"`
	Given     bool       `json:"given"`
	Then      *string    `json:"then"`
	ThenAt    *time.Time `json:"then_at"`
	Retirable *time.Time `json:"retirable_from"`
}

// signingKeys is the list of them.
type signingKeys struct {
	Items []signingKey `json:"items"`
}

// keyRotation is what a rotation did.
type keyRotation struct {
	KID       string     `json:"kid"`
	Algorithm string     `json:"algorithm"`
	Before    string     `json:"before"`
	Signs     time.Time  `json:"signs_at"`
	Until     *time.Time `json:"verifies_until"`
	Given     bool       `json:"before_given"`
	Nodes     []nodeTime `json:"nodes"`
	Lags      *time.Time `json:"lags_until"`
}

func (c *cli) keys() *cobra.Command {
	group := &cobra.Command{
		Use:   "keys",
		Short: "The keys that sign tokens",
		Long: `The keys that sign tokens. One is primary and signs. A next one is published and
will sign. Retiring ones verify what they signed; once that is over they are
gone. A revoked one is dead for ever, and so is everything that it signed.`,
		Args:    cobra.NoArgs,
		Example: "  xteam keys list\n  xteam keys rotate --alg ES256 --graceful",
	}
	group.AddCommand(c.keysList(), c.keysRotate(), c.keysRetire(), c.keysRevoke())
	return group
}

func (c *cli) keysList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the keys, their state and age, and what may happen to them next and when",
		Long: `Lists the keys: the one that signs first, then those that will, those that verify
only, those that were revoked, and those that are gone. NEXT says what happens to
a key by itself, or may be done to it.`,
		Example: "  xteam keys list\n  xteam keys list --json",
		Args:    cobra.NoArgs,
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		api, err := c.admin(cmd.Context(), false)
		if err != nil {
			return err
		}
		defer api.close()
		got := signingKeys{Items: []signingKey{}}
		if err := api.get(cmd.Context(), keysPath, &got); err != nil {
			return err
		}
		now := time.Now()
		rows := [][]string{{"KID", "ALGORITHM", "STATE", "FROM", "AGE", "NEXT"}}
		for i := range got.Items {
			k := &got.Items[i]
			rows = append(rows, []string{k.KID, k.Algorithm, k.State, k.from(), age(now.Sub(k.Created)), k.next()})
		}
		return c.print(*asJSON, got, aligned(rows))
	})
	return cmd
}

// from says whence the key is. Of a symmetric one that is over nothing is left that would tell.
func (k *signingKey) from() string {
	switch {
	case k.Given && k.State == "primary":
		return "SECRET_KEY"
	case k.Given:
		return "settings"
	case k.Algorithm == "HS256" && (k.State == "gone" || k.State == "revoked"):
		return "-"
	}
	return "made here"
}

// next says what happens to the key next, and when.
func (k *signingKey) next() string {
	switch {
	case k.State == "next" && k.ThenAt != nil:
		return "signs from " + clock(*k.ThenAt) + "; `rotate` has it sign now, `retire` ends it"
	case k.State == "primary" && k.ThenAt != nil:
		return "another signs from " + clock(*k.ThenAt)
	case k.State == "primary":
		return "`rotate` puts another in its place"
	case k.State == "retiring" && k.ThenAt != nil:
		return "gone from " + clock(*k.ThenAt) + ", when its tokens are over"
	case k.State == "retiring":
		return "verifies while the settings give it"
	case k.State == "revoked":
		return "dead for ever since " + clock(k.Changed)
	}
	return "gone since " + clock(k.Changed)
}

// age is a duration as people tell it.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(int(d.Seconds()), 0))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 2*day:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d/day))
}

func (c *cli) keysRotate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rotate [--alg A] [--graceful]",
		Short: "Have another key sign",
		Long: `Has another key sign, at once. The one before goes on verifying until its tokens
are over, so that no good token is refused. Services that verify by themselves may
hold a key set without the new key for a while: it says until when. With
--graceful the key is published now and signs only then, by itself.

Without --alg the algorithm is JWT_ALGORITHM if that is set, else that of the key
before. It may change: both verify meanwhile.`,
		Example: "  xteam keys rotate\n  xteam keys rotate --alg ES256 --graceful",
		Args:    cobra.NoArgs,
	}
	var in struct {
		Algorithm string `json:"alg,omitempty"`
		Graceful  bool   `json:"graceful,omitempty"`
	}
	f := cmd.Flags()
	f.StringVar(&in.Algorithm, "alg", "", "HS256, ES256, EdDSA, RS256 or PS256")
	f.BoolVar(&in.Graceful, "graceful", false, "publish the key now, and sign with it once everybody had the time to fetch it")
	_ = cmd.RegisterFlagCompletionFunc("alg", cobra.FixedCompletions(algorithms, cobra.ShellCompDirectiveNoFileComp)) // fails for a flag that is not there alone
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		if !isAlgorithm(in.Algorithm) && cmd.Flags().Changed("alg") {
			return c.misuse("--alg takes " + strings.Join(algorithms, ", "))
		}
		api, err := c.admin(cmd.Context(), false)
		if err != nil {
			return err
		}
		defer api.close()
		var got keyRotation
		if err := api.post(cmd.Context(), keysPath+"/rotate", in, &got); err != nil {
			return err
		}
		return c.print(*asJSON, got, got.text(in.Graceful))
	})
	return cmd
}

func (r *keyRotation) text(graceful bool) string {
	if graceful && r.Algorithm == "HS256" {
		return fmt.Sprintf("%s (%s) signs from %s; until then %s does\nno other service will be able to verify with it: its secret is kept here", r.KID, r.Algorithm, clock(r.Signs), r.Before)
	}
	if graceful {
		return fmt.Sprintf("%s (%s) is published and signs from %s; until then %s does", r.KID, r.Algorithm, clock(r.Signs), r.Before)
	}
	text := fmt.Sprintf("%s (%s) signs now", r.KID, r.Algorithm)
	if n := len(r.Nodes); n > 1 {
		text += fmt.Sprintf(", and all %d nodes had it before", n) + seenBy(r.Nodes, nil)
	}
	if r.Until != nil {
		text += fmt.Sprintf("; %s verifies until %s, when its tokens are over", r.Before, clock(*r.Until))
	}
	if r.Given {
		text += "\nleave SECRET_KEY where it is until then"
	}
	switch {
	case r.Lags != nil:
		text += "\nother services may hold a key set without it until " + clock(*r.Lags)
	case r.Algorithm == "HS256":
		text += "\nno other service can verify with it: its secret is kept here, and SECRET_KEY signs nothing any more"
	}
	return text
}

func (c *cli) keysRetire() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "retire KID",
		Short: "End a key that signs no more, or that waits to sign",
		Long: `Ends a key that signs no more, once the tokens that it signed are over, or one
that waits to sign. Keys do that by themselves; before the tokens are over it is
refused, and says from when it is safe. Use revoke for a key that is stolen.`,
		Example: "  xteam keys retire KID",
		Args:    cobra.ExactArgs(1),
	}
	return c.aboutKey(cmd, func(cmd *cobra.Command, api *admin, kid string) (any, string, error) {
		err := api.post(cmd.Context(), keysPath+"/"+url.PathEscape(kid)+"/retire", struct{}{}, nil)
		return map[string]string{"kid": kid, "state": "gone"}, kid + " is gone", err
	})
}

func (c *cli) keysRevoke() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "revoke KID",
		Short: "Kill a key: everything that it signed is dead at once, another signs",
		Long: `Kills a key that is stolen, or may be: every token that it signed is refused at
once on every node, for ever, and when it signs, another takes its place at once.
Sessions go on: their owners refresh once. It cannot be taken back, and no server
starts with a SECRET_KEY that was revoked.

Services that verify by themselves do not ask: with the public keys they take its
tokens until they fetch these anew, most in a quarter of an hour at the latest;
with SECRET_KEY until they are given another. To go on signing with a SECRET_KEY,
put the new one in its place first, and then revoke the key of the one before.`,
		Example: "  xteam keys revoke KID --reason \"the laptop of an operator was stolen\"",
		Args:    cobra.ExactArgs(1),
	}
	var in struct {
		Reason string `json:"reason,omitempty"`
	}
	cmd.Flags().StringVar(&in.Reason, "reason", "", "why, in your words: kept with the event")
	return c.aboutKey(cmd, func(cmd *cobra.Command, api *admin, kid string) (any, string, error) {
		var hit revoked
		err := api.post(cmd.Context(), keysPath+"/"+url.PathEscape(kid)+"/revoke", in, &hit)
		return hit, strings.Replace(hit.text(false), "0 sessions ended", kid+" is dead, and all that it signed", 1), err
	})
}

// aboutKey finishes a command on the key that its argument names.
func (c *cli) aboutKey(cmd *cobra.Command, do func(cmd *cobra.Command, api *admin, kid string) (result any, text string, err error)) *cobra.Command {
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		kid := cmd.Flags().Arg(0)
		if kid == "" {
			return c.misuse("which key? Give a kid, as `xteam keys list` shows it")
		}
		api, err := c.admin(cmd.Context(), false)
		if err != nil {
			return err
		}
		defer api.close()
		result, text, err := do(cmd, api, kid)
		if _, unknown := refused(err, http.StatusNotFound); unknown {
			return fmt.Errorf("no key of this system has %q as its id: `xteam keys list` shows them", kid)
		}
		if err != nil {
			return err
		}
		return c.print(*asJSON, result, text)
	})
	return cmd
}
