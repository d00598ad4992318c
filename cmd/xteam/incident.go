package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	domainincident "github.com/xteam/xteam/domain/incident"
)

const incidentsAt = "/api/v1/admin/incidents"

// incidentItem is an incident as the API shows it.
type incidentItem struct {
	ID         string           `json:"id"`
	Name       string           `json:"name"`
	State      string           `json:"state"`
	OpenedAt   time.Time        `json:"opened_at"`
	OpenedBy   string           `json:"opened_by"`
	Since      time.Time        `json:"since"`
	ResolvedAt *time.Time       `json:"resolved_at"`
	Targets    []incidentTarget `json:"targets"`
	Steps      []incidentStep   `json:"steps"`
}

type incidentTarget struct {
	Kind          string     `json:"kind"`
	Value         string     `json:"value"`
	AskedAt       time.Time  `json:"asked_at"`
	Done          bool       `json:"done"`
	Failed        string     `json:"failed,omitempty"`
	SessionsEnded int        `json:"sessions_ended"`
	Nodes         []nodeTime `json:"nodes"`
	Missing       []string   `json:"missing,omitempty"`
}

type incidentStep struct {
	At   time.Time `json:"at"`
	Kind string    `json:"kind"`
	By   string    `json:"by"`
	Note string    `json:"note"`
}

// incident is the group of what is done about a break-in.
func (c *cli) incident() *cobra.Command {
	group := &cobra.Command{
		Use:   "incident",
		Short: "What is done about a break-in, step by step",
		Long: `An incident is opened, contained, verified, eradicated, recovered from, reported and
resolved, by these commands, in this order or any other. Each step is kept with the
incident and in the audit trail. Where one incident is open, the commands mean that
one; else --incident names it.`,
		Args: cobra.NoArgs,
		Example: `  xteam incident open "a stolen laptop"
  xteam incident contain --user ann --ip 198.51.100.0/24 --dry-run
  xteam incident contain --user ann --ip 198.51.100.0/24 --reason "her laptop is gone"
  xteam incident verify
  xteam incident eradicate --signing-key
  xteam incident recover --percent 100
  xteam incident report --out report.md --evidence evidence.jsonl
  xteam incident resolve`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	group.AddCommand(c.incidentOpen(), c.incidentList(), c.incidentContain(), c.incidentIsolate(), c.incidentStatus(), c.incidentVerify(), c.incidentEradicate(), c.incidentRecover(), c.incidentReport(), c.incidentResolve(), c.incidentDrill())
	return group
}

func (c *cli) incidentOpen() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "open NAME",
		Short: "Begin an incident",
		Long: `Begins an incident. It collects what is done under it, and what happened from an hour
ago on, or from --since on.`,
		Example: "  xteam incident open \"a stolen laptop\"\n  xteam incident open \"guessed passwords\" --since 24h",
		Args:    cobra.ExactArgs(1),
	}
	since := cmd.Flags().String("since", "", "from when on what happened belongs to it: a time in RFC 3339, or how long ago, such as 24h")
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		in := map[string]any{"name": cmd.Flags().Arg(0)}
		if *since != "" {
			at, ok := moment(*since, time.Now())
			if !ok {
				return c.misuse("--since takes a time in RFC 3339, such as 2026-05-01T12:00:00Z, or how long ago, such as 24h")
			}
			in["since"] = at
		}
		api, err := c.admin(cmd.Context(), false)
		if err != nil {
			return err
		}
		defer api.close()
		var is incidentItem
		if err := api.post(cmd.Context(), incidentsAt, in, &is); err != nil {
			return err
		}
		return c.print(*asJSON, is, fmt.Sprintf("the incident %s is open: contain it with `xteam incident contain`", is.ID))
	})
	return cmd
}

func (c *cli) incidentList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list [--open]",
		Short:   "List incidents, the newest first",
		Example: "  xteam incident list --open\n  xteam incident list --json",
		Args:    cobra.NoArgs,
	}
	open := cmd.Flags().Bool("open", false, "those alone that are not resolved")
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		api, err := c.admin(cmd.Context(), false)
		if err != nil {
			return err
		}
		defer api.close()
		all, err := pages[incidentItem](cmd.Context(), api, incidentsAt, url.Values{"open": {strconv.FormatBool(*open)}}, longest, "", true)
		if err != nil {
			return err
		}
		rows := [][]string{{"INCIDENT", "STATE", "OPENED", "BY", "TARGETS", "NAME"}}
		for i := range all.Items {
			is := &all.Items[i]
			rows = append(rows, []string{is.ID, is.State, clock(is.OpenedAt), printable(is.OpenedBy), strconv.Itoa(len(is.Targets)), printable(is.Name)})
		}
		return c.print(*asJSON, all, aligned(rows))
	})
	return cmd
}

// incidentCommand is a command on one incident: the one that is open, unless --incident names another.
func (c *cli) incidentCommand(cmd *cobra.Command, do func(cmd *cobra.Command, api *admin, at string) (out any, text string, err error)) *cobra.Command {
	iid := cmd.Flags().String("incident", "", "its id; without one the incident that is open")
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		at := incidentsAt + "/current"
		if *iid != "" {
			at = incidentsAt + "/" + url.PathEscape(*iid)
		}
		api, err := c.admin(cmd.Context(), false)
		if err != nil {
			return err
		}
		defer api.close()
		out, text, err := do(cmd, api, at)
		if no, several := refused(err, http.StatusConflict); several && *iid == "" && no.Detail == domainincident.ErrSeveral.Error() {
			return errors.New("several incidents are open: name one with --incident ID; `xteam incident list --open` shows them")
		}
		if out == nil {
			return err
		}
		return errors.Join(c.print(*asJSON, out, text), err)
	})
	return cmd
}

// containRequest names what is to be contained.
type containRequest struct {
	Users        []string `json:"users,omitempty"`
	Networks     []string `json:"networks,omitempty"`
	Sessions     []string `json:"sessions,omitempty"`
	Keys         []string `json:"keys,omitempty"`
	APIKeys      []string `json:"api_keys,omitempty"`
	IssuedBefore string   `json:"issued_before,omitempty"`
	AllSessions  bool     `json:"all_sessions,omitempty"`
	HoldSignIns  bool     `json:"hold_sign_ins,omitempty"`
	Seconds      int64    `json:"expires_in_seconds,omitempty"`
	Reason       string   `json:"reason,omitempty"`
	Force        bool     `json:"force,omitempty"`
	DryRun       bool     `json:"dry_run,omitempty"`
}

// contained is what came of it.
type contained struct {
	Incident    string           `json:"incident"`
	DryRun      bool             `json:"dry_run"`
	Targets     []incidentTarget `json:"targets"`
	Held        bool             `json:"sign_ins_held"`
	Contained   bool             `json:"contained"`
	ContainedMS float64          `json:"contained_ms"`
	Missing     []string         `json:"missing_nodes"`
	Recorded    bool             `json:"recorded"`
}

func (t *incidentTarget) name() string { return strings.TrimSpace(t.Kind + " " + printable(t.Value)) }

// text says what became of each target.
func (d *contained) text() string {
	var b strings.Builder
	failed := 0
	for i := range d.Targets {
		t := &d.Targets[i]
		switch {
		case d.DryRun:
			fmt.Fprintf(&b, "%s: %d sessions\n", t.name(), t.SessionsEnded)
		case !t.Done:
			failed++
			fmt.Fprintf(&b, "%s: NOT DONE: %s\n", t.name(), printable(t.Failed))
		default:
			fmt.Fprintf(&b, "%s: contained, %d sessions ended%s\n", t.name(), t.SessionsEnded, seenBy(t.Nodes, nil))
		}
	}
	switch {
	case d.DryRun:
		b.WriteString("nothing was done: without --dry-run it is")
	case d.Contained:
		fmt.Fprintf(&b, "Time to contain: %.1f ms, from the call until every server had said that it refuses.", d.ContainedMS)
	case failed > 0:
		fmt.Fprintf(&b, "%d of %d could not be contained: mend what is said of them, and contain them again", failed, len(d.Targets))
	default:
		fmt.Fprintf(&b, "not heard of %s in time: `xteam incident status` asks again", strings.Join(d.Missing, ", "))
	}
	if d.Held {
		b.WriteString("\nNobody but administrators may sign in: `xteam incident recover --percent N` lets them")
	}
	if !d.DryRun && !d.Recorded {
		b.WriteString("\nIt is in force, and the incident could not be written to: contain it again once the store is back")
	}
	return b.String()
}

// errNotContained makes the exit code 1 when the text has said what is wrong.
var errNotContained = errors.New("not everything is contained")

func (c *cli) incidentContain() *cobra.Command {
	var in containRequest
	var lasts time.Duration
	cmd := &cobra.Command{
		Use:   "contain --user U|--ip CIDR|--session S|--key KID|--api-key ID|--issued-before T|--all-sessions|--hold-sign-ins",
		Short: "Revoke, bar and block, on every server at once",
		Long: `Revokes, bars and blocks, on every server at once, and says how long each took to refuse
it. Selectors may be repeated and mixed. A user's tokens, sessions and API keys end, and
the account is barred; what a signing key signed is refused, and another signs; an
address or a network is blocked. --hold-sign-ins lets nobody but administrators sign in
until ` + "`recover`" + ` lets them. --dry-run says what it would hit. Your own address, this
machine and what is very wide need --force. The exit code is 1 unless all is contained.`,
		Example: `  xteam incident contain --user ann --user bob --dry-run
  xteam incident contain --ip 198.51.100.0/24 --for 24h
  xteam incident contain --all-sessions --hold-sign-ins --reason "the session store was read"
  xteam incident contain --issued-before 2h --key hs-4e07408562bedb8b60ce05c1decfe3ad`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringArrayVar(&in.Users, "user", nil, "id, e-mail address or user name")
	f.StringArrayVar(&in.Networks, "ip", nil, "an address or a network in CIDR")
	f.StringArrayVar(&in.Sessions, "session", nil, "id of a session (claim sid)")
	f.StringArrayVar(&in.Keys, "key", nil, "id of a signing key (header kid)")
	f.StringArrayVar(&in.APIKeys, "api-key", nil, "id of an API key")
	f.StringVar(&in.IssuedBefore, "issued-before", "", "time in RFC 3339, or how long ago, such as 2h")
	f.BoolVar(&in.AllSessions, "all-sessions", false, "every token and session of the system")
	f.BoolVar(&in.HoldSignIns, "hold-sign-ins", false, "let nobody but administrators sign in")
	f.DurationVar(&lasts, "for", 0, "how long addresses are blocked, such as 24h; until they are unblocked when it is not given")
	f.StringVar(&in.Reason, "reason", "", "why, in your words: kept with the events")
	f.BoolVar(&in.Force, "force", false, "also what is refused as risky, and a key that this system does not hold")
	f.BoolVar(&in.DryRun, "dry-run", false, "only say what it would hit")
	return c.incidentCommand(cmd, func(cmd *cobra.Command, api *admin, at string) (any, string, error) {
		if len(in.Users)+len(in.Networks)+len(in.Sessions)+len(in.Keys)+len(in.APIKeys) == 0 && in.IssuedBefore == "" && !in.AllSessions && !in.HoldSignIns {
			return nil, "", c.misuse("say what to contain: --user, --ip, --session, --key, --api-key, --issued-before, --all-sessions or --hold-sign-ins")
		}
		if in.IssuedBefore != "" {
			var ok bool
			if in.IssuedBefore, ok = moment(in.IssuedBefore, time.Now()); !ok {
				return nil, "", c.misuse("--issued-before takes a time in RFC 3339, such as 2026-05-01T12:00:00Z, or how long ago, such as 2h")
			}
		}
		if lasts < 0 || lasts > 0 && lasts < time.Second {
			return nil, "", c.misuse("--for takes how long, such as 24h")
		}
		in.Seconds = int64(lasts / time.Second)
		return api.contain(cmd.Context(), at, in)
	})
}

func (a *admin) contain(ctx context.Context, at string, in containRequest) (any, string, error) {
	var did contained
	if err := a.post(ctx, at+"/contain", in, &did); err != nil {
		return nil, "", err
	}
	if !in.DryRun && (!did.Contained || !did.Recorded) {
		return did, did.text(), errNotContained
	}
	return did, did.text(), nil
}

func (c *cli) incidentIsolate() *cobra.Command {
	in := map[string]any{}
	var release, force bool
	var note string
	cmd := &cobra.Command{
		Use:   "isolate NODE|ADDRESS [--release]",
		Short: "Have a server serve nobody, or turn an address away",
		Long: `Has a server serve nobody: it answers 503 to everything but probes, of which /readyz
says no, so that a load balancer leaves it; its connections end; it stays so when it is
started anew. The operator is served at its own socket all the same. --release has it
serve again. An address or a network is turned away by every server instead, as
` + "`contain --ip`" + ` does; --release unblocks it.`,
		Example: "  xteam incident isolate node-2 --note \"a shell was found on it\"\n  xteam incident isolate node-2 --release\n  xteam incident isolate 198.51.100.7",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().BoolVar(&release, "release", false, "have it serve again, or let it in")
	cmd.Flags().BoolVar(&force, "force", false, "also a server that is not heard of, or the only one; or an address that is risky to block")
	cmd.Flags().StringVar(&note, "note", "", "why, in your words")
	return c.incidentCommand(cmd, func(cmd *cobra.Command, api *admin, at string) (any, string, error) {
		name := cmd.Flags().Arg(0)
		if isNetwork(name) {
			if !release {
				return api.contain(cmd.Context(), at, containRequest{Networks: []string{name}, Reason: note, Force: force})
			}
			if err := api.delete(cmd.Context(), blockedIPsPath+"?cidr="+url.QueryEscape(name)); err != nil {
				return nil, "", err
			}
			return map[string]any{"network": name, "released": true}, name + " is let in again", nil
		}
		in["node"], in["release"], in["force"], in["note"] = name, release, force, note
		var out struct {
			Incident string     `json:"incident"`
			Node     string     `json:"node"`
			Isolated bool       `json:"isolated"`
			Nodes    []nodeTime `json:"nodes"`
			Missing  []string   `json:"missing_nodes"`
		}
		if err := api.post(cmd.Context(), at+"/isolate", in, &out); err != nil {
			return nil, "", err
		}
		text := printable(out.Node) + map[bool]string{true: " serves nobody", false: " serves again"}[out.Isolated]
		if len(out.Missing) > 0 {
			text += "; not heard of " + strings.Join(out.Missing, ", ") + " in time"
		}
		return out, text, nil
	})
}

// isNetwork reports whether a text is an address or a network, rather than the name of a node.
func isNetwork(text string) bool {
	_, err := netip.ParsePrefix(text)
	_, alone := netip.ParseAddr(text)
	return err == nil || alone == nil
}

// incidentStatus is how far the containment has come.
type incidentStatus struct {
	incidentItem
	Contained   bool     `json:"contained"`
	ContainedMS float64  `json:"contained_ms"`
	Undone      int      `json:"undone"`
	Missing     []string `json:"missing_nodes"`
	Percent     int      `json:"admitted_percent"`
	Isolated    []struct {
		Node string    `json:"node"`
		By   string    `json:"by"`
		At   time.Time `json:"at"`
	} `json:"isolated_nodes"`
}

func (s *incidentStatus) text() string {
	rows := [][]string{{"incident", s.ID}, {"name", printable(s.Name)}, {"state", s.State}, {"opened", clock(s.OpenedAt) + " by " + printable(s.OpenedBy)}, {"evidence from", clock(s.Since)}, {"may sign in", strconv.Itoa(s.Percent) + " % of the users"}}
	if s.ResolvedAt != nil {
		rows = append(rows, []string{"resolved", clock(*s.ResolvedAt)})
	}
	for _, i := range s.Isolated {
		rows = append(rows, []string{"isolated", printable(i.Node) + " since " + clock(i.At) + " by " + printable(i.By)})
	}
	for i := range s.Targets {
		t := &s.Targets[i]
		how := "contained" + seenBy(t.Nodes, nil)
		switch {
		case !t.Done:
			how = "NOT DONE: " + printable(t.Failed)
		case len(t.Missing) > 0:
			how += "; not heard of " + strings.Join(t.Missing, ", ")
		}
		rows = append(rows, []string{t.name(), how})
	}
	for _, st := range s.Steps {
		rows = append(rows, []string{clock(st.At), strings.TrimSpace(st.Kind + " by " + printable(st.By) + " " + printable(st.Note))})
	}
	text := aligned(rows)
	switch {
	case s.Contained:
		text += fmt.Sprintf("\nTime to contain: %.1f ms, from the call until every server had said that it refuses.", s.ContainedMS)
	case len(s.Targets) > 0:
		text += "\nNot everything is contained on every server."
	}
	return text
}

func (c *cli) incidentStatus() *cobra.Command {
	return c.incidentCommand(&cobra.Command{
		Use: "status", Short: "Show how far an incident is contained, and how long that took", Args: cobra.NoArgs, Example: "  xteam incident status\n  xteam incident status --incident 4f1c2b9a0d3e5f67 --json",
		Long: `Shows an incident with what was contained, how long each server took to refuse it, and
what was done. Servers that had not said that they refuse it are asked again.`,
	}, func(cmd *cobra.Command, api *admin, at string) (any, string, error) {
		var s incidentStatus
		if err := api.get(cmd.Context(), at, &s); err != nil {
			return nil, "", incidentLost(err)
		}
		return s, s.text(), nil
	})
}

// incidentLost says what there is not.
func incidentLost(err error) error {
	if _, unknown := refused(err, http.StatusNotFound); unknown {
		return errors.New("there is no incident with this id: `xteam incident list` shows those that are kept")
	}
	return err
}

// verdict is what came of trying again what was contained.
type verdict struct {
	Incident string `json:"incident"`
	OK       bool   `json:"ok"`
	Tried    []struct {
		Kind  string `json:"kind"`
		Value string `json:"value"`
		OK    bool   `json:"ok"`
		Seen  string `json:"seen"`
	} `json:"tried"`
	Nodes   []nodeTime `json:"nodes"`
	Missing []string   `json:"missing_nodes"`
	Audit   *struct {
		OK       bool     `json:"ok"`
		Records  int      `json:"records"`
		Findings []string `json:"findings"`
	} `json:"audit"`
}

func (v *verdict) text() string {
	rows := [][]string{{"TARGET", "REFUSED", "SEEN"}}
	for _, t := range v.Tried {
		rows = append(rows, []string{strings.TrimSpace(t.Kind + " " + printable(t.Value)), map[bool]string{false: "NO", true: "yes"}[t.OK], printable(t.Seen)})
	}
	var text strings.Builder
	text.WriteString(aligned(rows) + "\n")
	var names []string
	for _, n := range v.Nodes {
		names = append(names, printable(n.Node))
	}
	if len(names) > 0 {
		text.WriteString("all of it is refused by " + strings.Join(names, ", ") + "\n")
	}
	if len(v.Missing) > 0 {
		text.WriteString("NOT confirmed by " + strings.Join(v.Missing, ", ") + "\n")
	}
	switch {
	case v.Audit == nil:
		text.WriteString("there is no audit trail")
	case v.Audit.OK:
		fmt.Fprintf(&text, "the audit trail holds: %d records", v.Audit.Records)
	default:
		text.WriteString("the audit trail does NOT hold")
		for _, f := range v.Audit.Findings {
			text.WriteString("\n" + printable(f))
		}
	}
	return text.String()
}

func (c *cli) incidentVerify() *cobra.Command {
	return c.incidentCommand(&cobra.Command{
		Use: "verify", Short: "Try again what was contained, on every server", Args: cobra.NoArgs, Example: "  xteam incident verify",
		Long: `Tries again what was contained: tokens like those that were withdrawn are shown to the
guard of every server, accounts must be barred, sessions ended and addresses turned
away; and the audit trail is read from its beginning to its end. The exit code is 1
when anything is let in, or the trail does not hold.`,
	}, func(cmd *cobra.Command, api *admin, at string) (any, string, error) {
		var v verdict
		if err := api.post(cmd.Context(), at+"/verify", struct{}{}, &v); err != nil {
			return nil, "", incidentLost(err)
		}
		if !v.OK {
			return v, v.text(), errors.New("not everything is refused everywhere, or the audit trail does not hold")
		}
		return v, v.text(), nil
	})
}

// eradication is what was replaced.
type eradication struct {
	Incident string  `json:"incident"`
	Signs    *string `json:"signs"`
	Was      *string `json:"was"`
	APIKeys  []struct {
		Was  string  `json:"was"`
		ID   *string `json:"id"`
		Key  *string `json:"key"`
		Seen string  `json:"seen"`
	} `json:"api_keys"`
	ByHand   []string `json:"by_hand"`
	Recorded bool     `json:"recorded"`
}

func (e *eradication) text() string {
	var lines []string
	if e.Signs != nil {
		lines = append(lines, "key "+*e.Signs+" signs, in the place of "+*e.Was)
	}
	for _, k := range e.APIKeys {
		if k.Key == nil {
			lines = append(lines, "API key "+k.Was+": NOT "+printable(k.Seen))
			continue
		}
		lines = append(lines, "API key "+k.Was+" has ended; for its owner, shown this once: "+*k.Key)
	}
	if len(e.ByHand) > 0 {
		lines = append(lines, "To be changed by hand:")
	}
	for _, s := range e.ByHand {
		lines = append(lines, "- "+printable(s))
	}
	if len(lines) == 0 {
		return "nothing was replaced, and the settings tell of nothing that is to be changed by hand"
	}
	return strings.Join(lines, "\n")
}

func (c *cli) incidentEradicate() *cobra.Command {
	var in struct {
		SigningKey bool     `json:"signing_key,omitempty"`
		APIKeys    []string `json:"api_keys,omitempty"`
		Reason     string   `json:"reason,omitempty"`
	}
	cmd := &cobra.Command{
		Use: "eradicate [--signing-key] [--api-key ID]", Short: "Replace credentials, and list what only people can change", Args: cobra.NoArgs,
		Example: "  xteam incident eradicate\n  xteam incident eradicate --signing-key --api-key 9f86d081884c7d659a2feaa0c55ad015",
		Long: `Has another key sign (what the one before signed is verified on, unless it is contained
by its id), ends API keys and makes others in their place, which are shown once, and
lists what only people can change, such as ROOT_KEY and the passwords of databases.`,
	}
	cmd.Flags().BoolVar(&in.SigningKey, "signing-key", false, "have another key sign")
	cmd.Flags().StringArrayVar(&in.APIKeys, "api-key", nil, "id of an API key to be replaced")
	cmd.Flags().StringVar(&in.Reason, "reason", "", "why, in your words")
	return c.incidentCommand(cmd, func(cmd *cobra.Command, api *admin, at string) (any, string, error) {
		var e eradication
		if err := api.post(cmd.Context(), at+"/eradicate", in, &e); err != nil {
			return nil, "", incidentLost(err)
		}
		if !e.Recorded {
			return e, e.text(), errors.New("it is done, and the incident could not be written to")
		}
		for _, k := range e.APIKeys {
			if k.Key == nil {
				return e, e.text(), errors.New("not every API key could be replaced")
			}
		}
		return e, e.text(), nil
	})
}

func (c *cli) incidentRecover() *cobra.Command {
	var percent int
	var note string
	cmd := &cobra.Command{
		Use: "recover --percent N", Short: "Let sign-ins in, step by step", Args: cobra.NoArgs, Example: "  xteam incident recover --percent 10\n  xteam incident recover --percent 100",
		Long: `Lets the sign-ins of so many percent of the users in, on every server within a second.
Whoever is let in at one percentage is at each higher one; administrators always are.
100 ends it. What is signed in already goes on.`,
	}
	cmd.Flags().IntVar(&percent, "percent", -1, "of the users: from 0 to 100")
	cmd.Flags().StringVar(&note, "note", "", "in your words")
	return c.incidentCommand(cmd, func(cmd *cobra.Command, api *admin, at string) (any, string, error) {
		if percent < 0 || percent > 100 {
			return nil, "", c.misuse("--percent takes a number from 0 to 100")
		}
		var out struct {
			Incident string     `json:"incident"`
			Percent  int        `json:"admitted_percent"`
			Nodes    []nodeTime `json:"nodes"`
			Missing  []string   `json:"missing_nodes"`
		}
		if err := api.post(cmd.Context(), at+"/recover", map[string]any{"percent": percent, "note": note}, &out); err != nil {
			return nil, "", incidentLost(err)
		}
		text := fmt.Sprintf("%d %% of the users may sign in, on %d servers", out.Percent, len(out.Nodes))
		if len(out.Missing) > 0 {
			text += "; not heard of " + strings.Join(out.Missing, ", ") + " in time: each hears of it within a second of reaching the store"
		}
		return out, text, nil
	})
}

// reported is what the audit trail tells.
type reported struct {
	Incident string `json:"incident"`
	Markdown string `json:"markdown"`
	Affected []struct {
		ID       string   `json:"id"`
		Username string   `json:"username"`
		Email    string   `json:"email"`
		Why      []string `json:"why"`
	} `json:"affected"`
	More  bool      `json:"more"`
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	Audit struct {
		OK       bool     `json:"ok"`
		Records  int      `json:"records"`
		Findings []string `json:"findings"`
	} `json:"audit"`
}

func (c *cli) incidentReport() *cobra.Command {
	var out, evidence string
	cmd := &cobra.Command{
		Use: "report --out FILE [--evidence FILE]", Short: "Write what happened, whom to notify, and the evidence", Args: cobra.NoArgs,
		Example: "  xteam incident report --out report.md --evidence evidence.jsonl\n  xteam audit verify --file evidence.jsonl",
		Long: `Writes what the audit trail tells of an incident, in order, as Markdown, with the users
to be notified; and with --evidence its records as JSON lines, signed, which
` + "`xteam audit verify --file`" + ` proves. A file that is there already is left as it is.
The exit code is 1 when the audit trail does not hold; what there is is written all the
same.`,
	}
	cmd.Flags().StringVar(&out, "out", "", "a new file for the report; - writes it to standard output")
	cmd.Flags().StringVar(&evidence, "evidence", "", "a new file for the records")
	return c.incidentCommand(cmd, func(cmd *cobra.Command, api *admin, at string) (any, string, error) {
		if out == "" {
			return nil, "", c.misuse("--out takes the name of a new file, or -")
		}
		for _, name := range []string{out, evidence} {
			if _, err := os.Lstat(name); name != "" && name != "-" && !errors.Is(err, fs.ErrNotExist) {
				return nil, "", fmt.Errorf("%s is there already: name another file", name)
			}
		}
		var r reported
		if err := api.post(cmd.Context(), at+"/report", struct{}{}, &r); err != nil {
			return nil, "", incidentLost(err)
		}
		text := fmt.Sprintf("the report is in %s: %d users to notify", out, len(r.Affected))
		if out == "-" {
			text = strings.TrimSuffix(r.Markdown, "\n")
		} else if err := writeNew(out, r.Markdown); err != nil {
			return nil, "", err
		}
		if evidence != "" {
			got, err := api.export(cmd.Context(), evidence, url.Values{"format": {"jsonl"}, "from": {r.From.UTC().Format(time.RFC3339Nano)}, "to": {r.To.UTC().Format(time.RFC3339Nano)}})
			if err != nil {
				return r, text, err
			}
			text += fmt.Sprintf("\n%s are in %s, signed with the head %s", records(got.Records, got.First, got.Last), got.File, got.Head)
		}
		if !r.Audit.OK {
			return r, text, errors.New("the audit trail does not hold, and the report says where: `xteam audit verify` says more")
		}
		return r, text, nil
	})
}

// createNew makes a file that is not there yet, for its owner alone.
func createNew(file string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Clean(file), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil, fmt.Errorf("%s is there already: name another file", file)
	case err != nil:
		return nil, unwritable(file, err)
	}
	return f, nil
}

// unwritable is why a file that was named cannot be written.
func unwritable(file string, err error) error {
	return fmt.Errorf("%s cannot be written: %w: name a file in a folder that is there, and that you may write to", file, plainly(err))
}

// writeNew writes a file that is not there yet, whole and for its owner alone.
func writeNew(file, text string) error {
	f, err := createNew(file)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(file))
	}
	return nil
}

func (c *cli) incidentResolve() *cobra.Command {
	var note string
	var force bool
	cmd := &cobra.Command{
		Use: "resolve", Short: "Close an incident", Args: cobra.NoArgs, Example: "  xteam incident resolve --note \"the laptop was found\"",
		Long: `Closes an incident. What was contained stays contained. While it holds sign-ins back or a
server is isolated it is not over; that something could not be contained, --force
overrides.`,
	}
	cmd.Flags().StringVar(&note, "note", "", "in your words")
	cmd.Flags().BoolVar(&force, "force", false, "although something could not be contained")
	return c.incidentCommand(cmd, func(cmd *cobra.Command, api *admin, at string) (any, string, error) {
		var is incidentItem
		if err := api.post(cmd.Context(), at+"/resolve", map[string]any{"note": note, "force": force}, &is); err != nil {
			return nil, "", incidentLost(err)
		}
		return is, "the incident " + is.ID + " is resolved", nil
	})
}
