package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func (c *cli) incidentDrill() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drill",
		Short: "Rehearse an incident from its beginning to its end, and measure it",
		Long: `Plays a whole incident on the running system, with two accounts of its own, and prints
how long each step took and when each server refused. One account is contained: its
tokens are revoked, it is barred, and an address from the range for documentation
(2001:db8::/32) is blocked. What was contained is then tried again on every server, and
the other account must not have felt it; the incident is reported and resolved. No
other account, session, key or block is touched, and nobody's sign-in is held back. In
the end, when it is interrupted too, both accounts are barred, the block is lifted and
the incident closed; the accounts stay for the next drill, and the audit trail keeps
what was done. One drill at a time. The exit code is 1 when a step did not go as it
should.`,
		Example: "  xteam incident drill\n  xteam incident drill --json | jq .contained_ms",
		Args:    cobra.NoArgs,
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		api, err := c.admin(cmd.Context(), false)
		if err != nil {
			return err
		}
		defer api.close()
		d := newDrill(api)
		went := d.run(cmd.Context())
		return errors.Join(c.print(*asJSON, d, d.text()), went)
	})
	return cmd
}

// drill is a rehearsal and what came of it.
type drill struct {
	Steps     []drillStep `json:"steps"`
	Contained float64     `json:"contained_ms"` // from the call that revoked until the last server had said that it refuses; 0: it was not contained
	Nodes     []nodeTime  `json:"nodes"`        // when each one refused what was revoked
	Missing   []string    `json:"missing,omitempty"`
	Incident  string      `json:"incident"`
	Passed    bool        `json:"passed"`

	api             *admin
	stolen, other   drillAccount
	network         string // to be blocked: one address that nobody has
	mayBlock, began bool   // a block may stand; accounts may be there
	mayOpen         bool   // an incident may be open
}

// drillStep is one thing that was done or tried.
type drillStep struct {
	Name string  `json:"name"`
	MS   float64 `json:"ms"`
	Seen string  `json:"seen"`
	OK   bool    `json:"ok"`
}

// drillAccount is an account that drills play with. It is made once, and barred while none goes on; each drill gives it a password that nobody has seen.
type drillAccount struct {
	name, word      string
	made            user
	access, refresh string
}

// The drill's own names. Nobody can be sent mail there (RFC 2606).
const (
	drillStolen = "xteam-drill-stolen"
	drillOther  = "xteam-drill-other"
	drillReason = "incident drill"
)

// drillBlock is how long the block stands, in seconds, should nothing be left to lift it.
const drillBlock = 300

func newDrill(api *admin) *drill {
	var b [16]byte
	_, _ = rand.Read(b[4:])
	copy(b[:], []byte{0x20, 0x01, 0x0d, 0xb8})
	return &drill{Steps: []drillStep{}, Nodes: []nodeTime{}, api: api, network: netip.PrefixFrom(netip.AddrFrom16(b), 128).String(),
		stolen: drillAccount{name: drillStolen, word: "Drill-" + rand.Text()}, other: drillAccount{name: drillOther, word: "Drill-" + rand.Text()}}
}

// run plays all steps up to the first that fails, and cleans up in any case.
func (d *drill) run(ctx context.Context) error {
	went := d.play(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	err := errors.Join(went, d.step("clean up", func() (string, error) { return d.cleanUp(ctx) }))
	d.Passed = err == nil
	return err
}

func (d *drill) play(ctx context.Context) error {
	for _, s := range []struct {
		name string
		do   func(context.Context) (string, error)
	}{
		{"make ready", d.makeReady},
		{"sign in", d.signIns},
		{"open", d.open},
		{"contain", d.contain},
		{"status", d.status},
		{"verify", d.verify},
		{"verify: tokens", d.tryTokens},
		{"verify: sign-in", d.trySignIn},
		{"verify: others", d.tryOther},
		{"eradicate", d.eradicate},
		{"recover", d.recover},
		{"report", d.report},
		{"resolve", d.resolve},
	} {
		if ctx.Err() != nil {
			return fmt.Errorf("the drill was interrupted before %q", s.name)
		}
		if err := d.step(s.name, func() (string, error) { return s.do(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

// step does one thing, and notes how long it took and how it went.
func (d *drill) step(name string, do func() (string, error)) error {
	began := time.Now()
	seen, err := do()
	s := drillStep{Name: name, MS: milliseconds(time.Since(began)), Seen: seen, OK: err == nil}
	if err != nil {
		s.Seen = err.Error()
		err = fmt.Errorf("the drill went wrong at %q: %w", name, err)
	}
	d.Steps = append(d.Steps, s)
	return err
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (d *drill) makeReady(ctx context.Context) (string, error) {
	d.began = true
	for _, a := range []*drillAccount{&d.stolen, &d.other} {
		if err := a.ready(ctx, d.api); err != nil {
			return "", fmt.Errorf("the account %s cannot be made ready: %w", a.name, err)
		}
	}
	return "two accounts of the drill's own", nil
}

// ready has the account there and active.
func (a *drillAccount) ready(ctx context.Context, api *admin) error {
	email := a.name + "@probe.invalid"
	err := api.post(ctx, usersPath, newUser{Email: email, Username: a.name, FullName: "xteam incident drill", Role: "user", Password: a.word}, &a.made)
	if _, taken := refused(err, http.StatusConflict); !taken {
		return err
	}
	path := usersPath + "/" + a.name
	var is user
	if err := api.get(ctx, path, &is); err != nil {
		return err
	}
	if is.Email != email || is.Role != "user" {
		return errors.New("an account of another purpose has its name")
	}
	a.made = is
	if err := api.post(ctx, path+"/password", map[string]string{"password": a.word}, nil); err != nil {
		return err
	}
	return api.post(ctx, path+"/enable", struct{}{}, nil)
}

// signIn signs in to it with its password.
func (a *drillAccount) signIn(ctx context.Context, api *admin) error {
	var in struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if err := api.post(ctx, loginPath, map[string]string{"username": a.name, "password": a.word}, &in); err != nil {
		return err
	}
	if in.Access == "" || in.Refresh == "" {
		return errors.New("the answer to a sign-in holds no tokens")
	}
	a.access, a.refresh = in.Access, in.Refresh
	return nil
}

func (d *drill) signIns(ctx context.Context) (string, error) {
	for _, a := range []*drillAccount{&d.stolen, &d.other} {
		if err := a.signIn(ctx, d.api); err != nil {
			return "", fmt.Errorf("%s cannot sign in: %w", a.name, err)
		}
		if err := d.taken(ctx, a, true); err != nil {
			return "", err
		}
	}
	return "the tokens of both are taken", nil
}

// taken has the guard judge both tokens of an account, as it judges any request, and is an error unless it takes both or refuses both as wanted.
func (d *drill) taken(ctx context.Context, a *drillAccount, want bool) error {
	for kind, token := range map[string]string{"access": a.access, "refresh": a.refresh} {
		var is explanation
		if err := d.api.post(ctx, explainPath, map[string]string{"token": token}, &is); err != nil {
			return err
		}
		switch {
		case want && !is.Taken:
			return fmt.Errorf("the %s token of %s is refused as %s, and should be taken", kind, a.name, is.Code)
		case !want && is.Taken:
			return fmt.Errorf("the %s token of %s is still taken", kind, a.name)
		}
	}
	return nil
}

// open begins an incident of its own, beside those that are open.
func (d *drill) open(ctx context.Context) (string, error) {
	var is incidentItem
	d.mayOpen = true
	if err := d.api.post(ctx, incidentsAt, map[string]any{"name": drillReason, "drill": true}, &is); err != nil {
		return "", err
	}
	d.Incident = is.ID
	return "incident " + is.ID, nil
}

func (d *drill) at() string { return incidentsAt + "/" + d.Incident }

func (d *drill) contain(ctx context.Context) (string, error) {
	began := time.Now()
	d.mayBlock = true
	var did contained
	in := containRequest{Users: []string{d.stolen.made.ID}, Networks: []string{d.network}, Seconds: drillBlock, Reason: drillReason}
	if err := d.api.post(ctx, d.at()+"/contain", in, &did); err != nil {
		return "", err
	}
	took := milliseconds(time.Since(began))
	d.Missing = did.Missing
	ended := 0
	for i := range did.Targets {
		t := &did.Targets[i]
		if !t.Done {
			return "", fmt.Errorf("%s: %s", t.name(), t.Failed)
		}
		ended += t.SessionsEnded
		d.refused(t.Nodes)
	}
	switch {
	case !did.Contained:
		return "", fmt.Errorf("%s did not say in time that it refuses: `xteam nodes` shows who lives", strings.Join(did.Missing, ", "))
	case ended != 1:
		return "", fmt.Errorf("%d sessions ended, and one was begun", ended)
	}
	d.Contained = took
	return fmt.Sprintf("%d session ended, account barred, %s blocked%s", ended, d.network, seenBy(d.Nodes, nil)), nil
}

// refused notes when each node refused all of it: the latest of the times that are said of a target.
func (d *drill) refused(nodes []nodeTime) {
	for _, n := range nodes {
		at := slices.IndexFunc(d.Nodes, func(o nodeTime) bool { return o.Node == n.Node })
		if at < 0 {
			d.Nodes = append(d.Nodes, n)
			continue
		}
		d.Nodes[at].MS = max(d.Nodes[at].MS, n.MS)
	}
}

func (d *drill) status(ctx context.Context) (string, error) {
	var s incidentStatus
	if err := d.api.get(ctx, d.at(), &s); err != nil {
		return "", err
	}
	if !s.Contained || s.State != "contained" || len(s.Targets) != 2 {
		return "", fmt.Errorf("the incident is %s, and has %d targets", s.State, len(s.Targets))
	}
	return fmt.Sprintf("contained in %.1f ms", s.ContainedMS), nil
}

func (d *drill) verify(ctx context.Context) (string, error) {
	var v verdict
	if err := d.api.post(ctx, d.at()+"/verify", struct{}{}, &v); err != nil {
		return "", err
	}
	if !v.OK {
		return "", errors.New(strings.ReplaceAll(v.text(), "\n", "; "))
	}
	seen := fmt.Sprintf("%d targets are refused by %d servers", len(v.Tried), len(v.Nodes))
	if v.Audit != nil {
		seen += fmt.Sprintf("; the audit trail holds, %d records", v.Audit.Records)
	}
	return seen, nil
}

// eradicate replaces nothing: it reads the list of what would be to be changed by hand.
func (d *drill) eradicate(ctx context.Context) (string, error) {
	var e eradication
	err := d.api.post(ctx, d.at()+"/eradicate", struct{}{}, &e)
	return fmt.Sprintf("nothing is replaced in a drill; %d things would be to be changed by hand", len(e.ByHand)), err
}

// recover goes through the step. A drill holds nobody back, and lets nobody in whom a real incident holds back: of one the step changes nothing else.
func (d *drill) recover(ctx context.Context) (string, error) {
	err := d.api.post(ctx, d.at()+"/recover", map[string]any{"percent": 100}, nil)
	return "the step is noted; who may sign in stays as it is", err
}

func (d *drill) report(ctx context.Context) (string, error) {
	var r reported
	if err := d.api.post(ctx, d.at()+"/report", struct{}{}, &r); err != nil {
		return "", err
	}
	named := func(a *drillAccount) bool {
		for _, u := range r.Affected {
			if u.ID == a.made.ID {
				return true
			}
		}
		return false
	}
	switch {
	case !r.Audit.OK:
		return "", errors.New("the audit trail does not hold: `xteam audit verify` says more")
	case !named(&d.stolen):
		return "", errors.New("the report does not name whose account was stolen")
	case named(&d.other):
		return "", errors.New("the report names somebody whom it does not concern")
	}
	return fmt.Sprintf("%d lines, %d to notify", strings.Count(r.Markdown, "\n"), len(r.Affected)), nil
}

func (d *drill) resolve(ctx context.Context) (string, error) {
	err := d.api.post(ctx, d.at()+"/resolve", struct{}{}, nil)
	if err == nil {
		d.mayOpen = false
	}
	return "the incident is closed", err
}

func (d *drill) tryTokens(ctx context.Context) (string, error) {
	return "both tokens are refused", d.taken(ctx, &d.stolen, false)
}

// trySignIn must be refused for the account, and not because nobody can sign in at the moment.
func (d *drill) trySignIn(ctx context.Context) (string, error) {
	again := d.stolen
	err := again.signIn(ctx, d.api)
	var no *refusal
	switch {
	case err == nil:
		return "", errors.New("the barred account can sign in")
	case !errors.As(err, &no) || no.Status != http.StatusUnauthorized && no.Status != http.StatusForbidden:
		return "", fmt.Errorf("the sign-in was not refused as that of a barred account: %w", err)
	}
	return "refused as " + no.Code, nil
}

func (d *drill) tryOther(ctx context.Context) (string, error) {
	return "the other account's tokens are taken", d.taken(ctx, &d.other, true)
}

// cleanUp lifts the block and bars both accounts, which ends what they have. It tries all of it, whatever fails.
func (d *drill) cleanUp(ctx context.Context) (string, error) {
	var left []error
	if d.mayBlock {
		err := d.api.delete(ctx, blockedIPsPath+"?cidr="+url.QueryEscape(d.network))
		if _, none := refused(err, http.StatusNotFound); err != nil && !none {
			left = append(left, fmt.Errorf("the block of %s could not be lifted, and ends within %d s: %w", d.network, drillBlock, err))
		}
	}
	if d.mayOpen && d.Incident != "" {
		if err := d.api.post(ctx, d.at()+"/resolve", map[string]any{"force": true}, nil); err != nil {
			left = append(left, fmt.Errorf("the incident of the drill is still open, close it with `xteam incident resolve --force --incident %s`: %w", d.Incident, err))
		}
	}
	for _, a := range []*drillAccount{&d.stolen, &d.other} {
		if !d.began {
			break
		}
		if err := a.leave(ctx, d.api); err != nil {
			left = append(left, fmt.Errorf("the account %s could not be barred, do it with `xteam users disable %s`: %w", a.name, a.name, err))
		}
	}
	return "what the drill made is barred or lifted", errors.Join(left...)
}

// leave bars the account if it is the drill's. It is looked up by its name: one may have been made although the answer was not heard.
func (a *drillAccount) leave(ctx context.Context, api *admin) error {
	var is user
	err := api.get(ctx, usersPath+"/"+a.name, &is)
	if _, none := refused(err, http.StatusNotFound); none {
		return nil
	}
	if err != nil || is.Email != a.name+"@probe.invalid" || is.Role != "user" {
		return err
	}
	return api.post(ctx, usersPath+"/"+is.ID+"/disable", struct{}{}, nil)
}

// text is a line for each step, then the figure that matters.
func (d *drill) text() string {
	rows := [][]string{{"STEP", "TOOK", "OK", "SEEN"}}
	for _, s := range d.Steps {
		seen, _, _ := strings.Cut(s.Seen, "\n")
		rows = append(rows, []string{s.Name, fmt.Sprintf("%.1f ms", s.MS), map[bool]string{false: "NO", true: "yes"}[s.OK], printable(seen)})
	}
	text := aligned(rows) + "\n\n"
	for _, n := range d.Nodes {
		text += fmt.Sprintf("%s refused after %.1f ms\n", printable(n.Node), n.MS)
	}
	if d.Contained == 0 {
		return text + "The account was not contained."
	}
	return text + fmt.Sprintf("Time to contain: %.1f ms, from the call until every server had said that it refuses.", d.Contained)
}
