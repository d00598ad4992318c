package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const alertsAt = "/api/v1/admin/alerts"

// alertItem is an alert as the API shows it.
type alertItem struct {
	ID             string     `json:"id"`
	Rule           string     `json:"rule"`
	Severity       string     `json:"severity"`
	Group          string     `json:"group"`
	Since          time.Time  `json:"since"`
	Last           time.Time  `json:"last"`
	Count          uint64     `json:"count"`
	Raised         uint32     `json:"raised"`
	Sample         []string   `json:"sample"`
	Contain        string     `json:"contain"`
	AcknowledgedAt *time.Time `json:"acknowledged_at"`
	AcknowledgedBy string     `json:"acknowledged_by"`
}

func (a *alertItem) whom() string {
	if a.Group == "" {
		return "everybody"
	}
	return printable(a.Group)
}

func (a *alertItem) state() string {
	if a.AcknowledgedAt != nil {
		return "acknowledged"
	}
	return "open"
}

// text is the alert for people.
func (a *alertItem) text() string {
	rows := [][]string{{"alert", a.ID}, {"rule", a.Rule}, {"severity", a.Severity}, {"about", a.whom()}, {"since", clock(a.Since)}, {"last", clock(a.Last)},
		{"count", strconv.FormatUint(a.Count, 10)}, {"state", a.state()}}
	if a.AcknowledgedAt != nil {
		rows = append(rows, []string{"by", printable(a.AcknowledgedBy) + " at " + clock(*a.AcknowledgedAt)})
	}
	for _, s := range a.Sample {
		rows = append(rows, []string{"event", printable(s)})
	}
	if a.Contain != "" {
		rows = append(rows, []string{"contain it", printable(a.Contain)})
	}
	return aligned(rows)
}

func (c *cli) alerts() *cobra.Command {
	group := &cobra.Command{
		Use:   "alerts",
		Short: "What has been noticed: attacks, and what is broken",
		Long: `Alerts are raised by rules: so many events of a kind within a window, of one account,
one address, or all. Each names what happened, since when, how many, and the command
that contains it. It is told of in the log, in the audit trail and to whoever follows
the events. ALERT_RULES changes the rules.`,
		Args:    cobra.NoArgs,
		Example: "  xteam alerts list --open\n  xteam alerts contain 4f1c2b9a0d3e5f67 --dry-run\n  xteam alerts ack 4f1c2b9a0d3e5f67",
	}
	group.AddCommand(c.alertsList(), c.alertsShow(), c.alertsAck(), c.alertsSilence(), c.alertsContain(), c.alertsTest(), c.alertsRules())
	return group
}

func (c *cli) alertsList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list [--open]",
		Short:   "List alerts, the newest first",
		Example: "  xteam alerts list --open\n  xteam alerts list --json",
		Args:    cobra.NoArgs,
	}
	open := cmd.Flags().Bool("open", false, "those alone that nobody has acknowledged")
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		api, err := c.admin(cmd.Context(), false)
		if err != nil {
			return err
		}
		defer api.close()
		all, err := pages[alertItem](cmd.Context(), api, alertsAt, url.Values{"open": {strconv.FormatBool(*open)}}, longest, "", true)
		if err != nil {
			return err
		}
		rows := [][]string{{"ALERT", "SEVERITY", "RULE", "ABOUT", "COUNT", "SINCE", "LAST", "STATE"}}
		for i := range all.Items {
			a := &all.Items[i]
			rows = append(rows, []string{a.ID, a.Severity, a.Rule, a.whom(), strconv.FormatUint(a.Count, 10), clock(a.Since), clock(a.Last), a.state()})
		}
		return c.print(*asJSON, all, aligned(rows))
	})
	return cmd
}

// alertCommand is a command on one alert.
func (c *cli) alertCommand(use, short, long, example string, do func(*cobra.Command, *admin, string) (any, string, error)) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Long: long, Example: example, Args: cobra.ExactArgs(1)}
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		aid := cmd.Flags().Arg(0)
		api, err := c.admin(cmd.Context(), false)
		if err != nil {
			return err
		}
		defer api.close()
		out, text, err := do(cmd, api, alertsAt+"/"+url.PathEscape(aid))
		if _, unknown := refused(err, http.StatusNotFound); unknown {
			return fmt.Errorf("there is no alert %s: `xteam alerts list` shows those that are kept", printable(aid))
		}
		if err != nil {
			return err
		}
		return c.print(*asJSON, out, text)
	})
	return cmd
}

func (c *cli) alertsShow() *cobra.Command {
	return c.alertCommand("show ALERT", "Show an alert, and the command that contains it", "Shows an alert with its last events, and the command that contains it.", "  xteam alerts show 4f1c2b9a0d3e5f67",
		func(cmd *cobra.Command, api *admin, at string) (any, string, error) {
			var a alertItem
			err := api.get(cmd.Context(), at, &a)
			return a, a.text(), err
		})
}

func (c *cli) alertsAck() *cobra.Command {
	return c.alertCommand("ack ALERT", "Note that you have seen to an alert", "Notes that you have seen to an alert. What comes after it, of the same rule and account or address, is another alert.", "  xteam alerts ack 4f1c2b9a0d3e5f67",
		func(cmd *cobra.Command, api *admin, at string) (any, string, error) {
			var a alertItem
			err := api.post(cmd.Context(), at+"/acknowledge", struct{}{}, &a)
			return a, "the alert " + a.ID + " is acknowledged", err
		})
}

func (c *cli) alertsSilence() *cobra.Command {
	var lasts time.Duration
	var every bool
	cmd := c.alertCommand("silence ALERT --for DURATION [--every]", "Have nobody told of what a rule finds, for a while",
		"Has nobody told, for a while, of what the alert's rule finds of the same account or\naddress, or with --every of any. It is kept all the same, and listed.", "  xteam alerts silence 4f1c2b9a0d3e5f67 --for 2h",
		func(cmd *cobra.Command, api *admin, at string) (any, string, error) {
			if lasts < time.Minute || lasts > 30*24*time.Hour {
				return nil, "", c.misuse("--for takes from 1m to 720h, such as 2h")
			}
			var s struct {
				Rule  string    `json:"rule"`
				Group string    `json:"group"`
				Until time.Time `json:"until"`
			}
			err := api.post(cmd.Context(), at+"/silence", map[string]any{"seconds": int64(lasts / time.Second), "every": every}, &s)
			return s, "nobody is told of " + s.Rule + " until " + clock(s.Until), err
		})
	cmd.Flags().DurationVar(&lasts, "for", 0, "how long, such as 30m or 48h")
	cmd.Flags().BoolVar(&every, "every", false, "whatever account or address the rule finds")
	return cmd
}

func (c *cli) alertsContain() *cobra.Command {
	var dry bool
	cmd := c.alertCommand("contain ALERT [--dry-run]", "Do what contains an alert",
		`Does what contains an alert: blocks, for an hour, the addresses from which somebody
guesses passwords, but for those from where somebody had signed in before; or ends
everything that the user has who is misused. It names who has signed in from there
since: a password may have been guessed. --dry-run says what it would hit.`, "  xteam alerts contain 4f1c2b9a0d3e5f67 --dry-run\n  xteam alerts contain 4f1c2b9a0d3e5f67",
		func(cmd *cobra.Command, api *admin, at string) (any, string, error) {
			var did struct {
				DryRun   bool     `json:"dry_run"`
				Blocked  []string `json:"blocked"`
				Spared   []string `json:"spared"`
				SignedIn []string `json:"signed_in"`
				Ended    int      `json:"sessions_ended"`
				Keys     int      `json:"api_keys_revoked"`
				More     bool     `json:"more"`
			}
			err := api.post(cmd.Context(), at+"/contain", map[string]bool{"dry_run": dry}, &did)
			if no, nobody := refused(err, http.StatusConflict); nobody && no.Code == "not_containable" {
				return nil, "", fmt.Errorf("%w: `xteam alerts show` tells what it names", err)
			}
			verb := map[bool]string{false: "blocked for an hour", true: "would be blocked"}[dry]
			lines := []string{fmt.Sprintf("%d addresses %s, %d spared, %d sessions ended, %d API keys revoked", len(did.Blocked), verb, len(did.Spared), did.Ended, did.Keys)}
			for _, b := range did.Blocked {
				lines = append(lines, "  "+b)
			}
			for _, b := range did.Spared {
				lines = append(lines, "  "+b+" is spared: somebody had signed in from there before, or it is not blocked without force")
			}
			for _, user := range did.SignedIn {
				lines = append(lines, "  "+printable(user)+" has signed in from one of these since it began: if that was not them, xteam revoke --user "+printable(user))
			}
			if did.More {
				lines = append(lines, "there is more than was looked through: contain it again")
			}
			return did, strings.Join(lines, "\n"), err
		})
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say what it would hit, and do nothing")
	return cmd
}

func (c *cli) alertsTest() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "test",
		Short:   "Raise an alert that means nothing",
		Long:    "Raises an alert that means nothing, to see that alerts reach whom they are to reach, and\nwaits until the receiver of ALERT_WEBHOOK_URL has taken it. The exit code is 1 when it\nhas not within twelve seconds.",
		Example: "  xteam alerts test",
		Args:    cobra.NoArgs,
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		api, err := c.admin(cmd.Context(), false)
		if err != nil {
			return err
		}
		defer api.close()
		var a struct {
			alertItem
			Delivered *bool  `json:"delivered"`
			Reason    string `json:"reason"`
		}
		if err := api.post(cmd.Context(), alertsAt+"/test", struct{}{}, &a); err != nil {
			return err
		}
		text := "the test alert " + a.ID + " is raised"
		switch {
		case a.Delivered == nil:
			return c.print(*asJSON, a, text+"; "+a.Reason)
		case !*a.Delivered:
			return errors.Join(c.print(*asJSON, a, text), errors.New("the test alert has not arrived: "+a.Reason))
		}
		return c.print(*asJSON, a, text+", and its receiver has taken it")
	})
	return cmd
}

func (c *cli) alertsRules() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "rules",
		Short:   "List the rules by which alerts are raised, as they are set",
		Long:    "Lists the rules by which alerts are raised. ALERT_RULES changes them, such as\nALERT_RULES=failed_sign_ins_by_account=10/5m/30m,epoch_raised=off",
		Example: "  xteam alerts rules",
		Args:    cobra.NoArgs,
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		api, err := c.admin(cmd.Context(), false)
		if err != nil {
			return err
		}
		defer api.close()
		type rule struct {
			Name      string `json:"name"`
			Meaning   string `json:"meaning"`
			Severity  string `json:"severity"`
			Threshold int    `json:"threshold"`
			Window    int64  `json:"window_seconds"`
			Cooldown  int64  `json:"cooldown_seconds"`
		}
		var page struct {
			Items []rule  `json:"items"`
			Next  *string `json:"next"`
		}
		if err := api.get(cmd.Context(), "/api/v1/admin/alert-rules", &page); err != nil {
			return err
		}
		rows := [][]string{{"RULE", "SEVERITY", "THRESHOLD", "WINDOW", "COOLDOWN", "MEANING"}}
		for _, r := range page.Items {
			threshold := strconv.Itoa(r.Threshold)
			if r.Threshold == 0 {
				threshold = "off"
			}
			rows = append(rows, []string{r.Name, r.Severity, threshold, (time.Duration(r.Window) * time.Second).String(), (time.Duration(r.Cooldown) * time.Second).String(), r.Meaning})
		}
		return c.print(*asJSON, page, aligned(rows))
	})
	return cmd
}
