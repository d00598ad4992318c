package main

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

const blockedIPsPath = "/api/v1/admin/blocked-ips"

// blockedIP is a blocked network as the API shows it.
type blockedIP struct {
	CIDR    string     `json:"cidr"`
	Reason  string     `json:"reason"`
	By      string     `json:"by"`
	Created time.Time  `json:"created_at"`
	Expires *time.Time `json:"expires_at"`
}

func (b *blockedIP) until() string {
	if b.Expires == nil {
		return "it is removed"
	}
	return clock(*b.Expires)
}

func (c *cli) blockedIPs() *cobra.Command {
	group := &cobra.Command{
		Use:   "blocked-ips",
		Short: "The addresses and networks that are turned away",
		Long: `The addresses and networks that are turned away: whoever comes from one is refused
on every route, by every server of the system within a second. Probes are answered
all the same, and so is this command.`,
		Args:    cobra.NoArgs,
		Example: "  xteam blocked-ips add 198.51.100.0/24 --for 2h --reason \"guesses passwords\"\n  xteam blocked-ips list\n  xteam blocked-ips remove 198.51.100.0/24",
	}
	group.AddCommand(c.blockedIPsList(), c.blockedIPsAdd(), c.blockedIPsRemove())
	return group
}

func (c *cli) blockedIPsList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List what is blocked, by whom, why and until when",
		Example: "  xteam blocked-ips list\n  xteam blocked-ips list --json",
		Args:    cobra.NoArgs,
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		api, err := c.admin(cmd.Context(), false)
		if err != nil {
			return err
		}
		defer api.close()
		all, err := pages[blockedIP](cmd.Context(), api, blockedIPsPath, url.Values{}, longest, "", true)
		if err != nil {
			return err
		}
		rows := [][]string{{"NETWORK", "SINCE", "UNTIL", "BY", "REASON"}}
		for i := range all.Items {
			b := &all.Items[i]
			rows = append(rows, []string{b.CIDR, clock(b.Created), b.until(), b.By, b.Reason})
		}
		return c.print(*asJSON, all, aligned(rows))
	})
	return cmd
}

func (c *cli) blockedIPsAdd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add CIDR [--for DURATION|--until TIME] [--reason R] [--force]",
		Short: "Turn an address or a network away",
		Long: `Turns away an address, such as 198.51.100.7, or a network, such as
198.51.100.0/24 or 2001:db8::/32: for a while, until a time, or until it is removed.
Without --force it takes nothing that would shut out whoever could take it back:
this machine, a proxy of TRUSTED_PROXIES, or a network wider than /8, or /16 of
IPv6. A block of the same network is replaced.`,
		Example: "  xteam blocked-ips add 198.51.100.7 --reason \"guesses passwords\"\n  xteam blocked-ips add 2001:db8::/32 --for 2h\n  xteam blocked-ips add 198.51.100.0/24 --until 2026-05-01T12:00:00Z --json",
		Args:    cobra.ExactArgs(1),
	}
	var in struct {
		CIDR    string `json:"cidr"`
		Reason  string `json:"reason,omitempty"`
		Seconds int64  `json:"expires_in_seconds,omitempty"`
		Until   string `json:"until,omitempty"`
		Force   bool   `json:"force,omitempty"`
	}
	f := cmd.Flags()
	lasts := f.Duration("for", 0, "how long, such as 30m or 48h")
	f.StringVar(&in.Until, "until", "", "until when: a time in RFC 3339, such as 2026-05-01T12:00:00Z")
	f.StringVar(&in.Reason, "reason", "", "why, in your words: kept with the block and its event")
	f.BoolVar(&in.Force, "force", false, "also what would shut out whoever could take it back")
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		in.CIDR, in.Seconds = f.Arg(0), int64(*lasts/time.Second)
		if f.Changed("for") && in.Seconds < 1 {
			return c.misuse("--for takes a second or more, such as 30m or 48h")
		}
		if f.Changed("for") && f.Changed("until") {
			return c.misuse("one at a time: --for and --until were given")
		}
		if _, ok := moment(in.Until, time.Now()); f.Changed("until") && !ok {
			return c.misuse("--until takes a time in RFC 3339, such as 2026-05-01T12:00:00Z")
		}
		api, err := c.admin(cmd.Context(), false)
		if err != nil {
			return err
		}
		defer api.close()
		var made struct {
			blockedIP
			Nodes   []nodeTime `json:"nodes"`
			Missing []string   `json:"missing,omitempty"`
		}
		if err := api.post(cmd.Context(), blockedIPsPath, in, &made); err != nil {
			return err
		}
		return c.print(*asJSON, made, made.CIDR+" is turned away until "+made.until()+seenBy(made.Nodes, made.Missing))
	})
	return cmd
}

func (c *cli) blockedIPsRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "remove CIDR",
		Short:   "Let an address or a network in again",
		Long:    "Lets in again what was blocked, named as `xteam blocked-ips list` shows it.",
		Example: "  xteam blocked-ips remove 198.51.100.0/24",
		Args:    cobra.ExactArgs(1),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		cidr := cmd.Flags().Arg(0)
		api, err := c.admin(cmd.Context(), false)
		if err != nil {
			return err
		}
		defer api.close()
		err = api.delete(cmd.Context(), blockedIPsPath+"?cidr="+url.QueryEscape(cidr))
		if _, unknown := refused(err, http.StatusNotFound); unknown {
			return fmt.Errorf("%s is not blocked: `xteam blocked-ips list` shows what is", cidr)
		}
		if err != nil {
			return err
		}
		return c.print(*asJSON, map[string]string{"removed": cidr}, cidr+" is let in again")
	})
	return cmd
}
