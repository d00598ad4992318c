package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/incident"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

const (
	reportLines  = 2000    // of a report's timeline
	reportUsers  = 10_000  // that a report lists
	reportMarked = 200_000 // sign-ins that are remembered while the trail is read
)

// ErrNoTrail refuses what needs an audit trail where there is none.
var ErrNoTrail = errors.New("there is no audit trail to tell of")

// IncidentReport is a report and what proves it.
type IncidentReport struct {
	incident.Told
	Markdown string
}

// Report writes what the audit trail tells of an incident, from its beginning to now, or to when it was resolved: in order, with the users who are to be told. The whole trail is read, and verified, for it.
func (i *Incidents) Report(ctx context.Context, by Actor, iid string) (IncidentReport, error) {
	if i.trail == nil {
		return IncidentReport{}, ErrNoTrail
	}
	st, err := i.Status(ctx, iid)
	if err != nil {
		return IncidentReport{}, err
	}
	is := st.Incident
	if _, err := i.trail.Link(ctx); err != nil && !errors.Is(err, ErrTrailLost) && !errors.Is(err, ErrTrailForged) {
		return IncidentReport{}, err
	}
	now := i.core.now()
	t := telling{is: &is, to: cmp.Or(is.Resolved, now), signs: map[sign]int{}, users: map[string][]string{}, runs: map[audit.Kind]*noise{}}
	head, err := i.core.Stores.Trail.Head(ctx)
	if err != nil {
		return IncidentReport{}, err
	}
	found, err := i.trail.read(ctx, &head, nil, t.entry)
	told := incident.Told{Incident: is, At: now, By: by.Name, Contained: st.Took, ByHand: i.o.ByHand,
		Evidence: incident.Evidence{From: is.Since, To: t.to, Records: found.Records, Last: head.Last.Seq, Head: head.Last.Head.String()}}
	switch {
	case errors.Is(err, ErrTrailLost), errors.Is(err, ErrTrailForged):
		told.Evidence.Faults = []string{err.Error()}
	case err != nil:
		return IncidentReport{}, err
	}
	for _, f := range found.Findings {
		told.Evidence.Faults = append(told.Evidence.Faults, f.String())
	}
	t.flush()
	if err := i.affected(ctx, &t); err != nil {
		return IncidentReport{}, err
	}
	told.Timeline, told.Left = t.lines, t.left
	if told.Affected, told.MoreUsers, err = i.people(ctx, t.users, is.Drill); err != nil {
		return IncidentReport{}, err
	}
	told.MoreUsers = told.MoreUsers || t.more
	i.name(ctx, told.Timeline)
	said := fmt.Sprintf("%d lines, %d affected users", len(told.Timeline), len(told.Affected))
	if is.State != incident.Resolved {
		if _, err := i.change(ctx, by, audit.IncidentReported, audit.Success, map[string]string{"seen": said}, func(b incident.Casebook, now instant.Instant) (incident.Casebook, incident.Incident, error) {
			return b.Do(is.ID, incident.Step{At: now, Kind: "reported", By: by.Name, Note: said}, incident.Open)
		}); err != nil {
			return IncidentReport{}, err
		}
	} else if err := i.tellOf(ctx, by, audit.IncidentReported, audit.Success, is.ID, said); err != nil {
		return IncidentReport{}, err
	}
	return IncidentReport{told, told.Markdown()}, nil
}

// tellOf records an event about an incident whose record is closed.
func (i *Incidents) tellOf(ctx context.Context, by Actor, k audit.Kind, out audit.Outcome, iid, seen string) error {
	e, err := i.core.event(by.Request, k, audit.Warning, out)
	if err != nil {
		return err
	}
	e.Subject, e.Details = iid, map[string]string{"seen": seen}
	by.signs(&e)
	return i.core.tell(ctx, e)
}

// sign is a sign-in, or a try.
type sign struct {
	user    string
	address netip.Addr
	worked  bool
}

// telling gathers what a trail tells of an incident.
type telling struct {
	is       *incident.Incident
	to       instant.Instant
	lines    []incident.Line
	left     int
	signs    map[sign]int
	networks []netip.Prefix
	users    map[string][]string // why each is affected
	more     bool                // of those who are affected there may be others
	entered  int                 // sign-ins that are remembered
	runs     map[audit.Kind]*noise
	quiet    int // lines
	loud     int // lines of what anybody can cause
}

// noise is a run of records of one kind that come in numbers: they are told as one line.
type noise struct {
	line      incident.Line
	kind      audit.Kind
	n         uint64 // a record that sums others up counts as many as it says
	addresses map[string]bool
	accounts  map[string]bool
}

// noisy are the kinds that anybody can cause any number of.
var noisy = map[audit.Kind]bool{
	audit.AuthenticationFailed: true, audit.RateLimited: true, audit.AttemptsLimited: true, audit.AccessRefused: true, audit.APIKeyRefused: true, audit.RegistrationRefused: true,
	audit.AuthenticationSucceeded: true, audit.SessionRefreshed: true, audit.AccountCreated: true, audit.PasswordRehashed: true, audit.PermissionDenied: true, audit.ProfileChanged: true,
	audit.TokenRevoked: true, audit.AddressBlocked: true, audit.SignInHeldBack: true, audit.EventUnreadable: true,
}

// entry takes one record up.
func (t *telling) entry(e *audit.Entry) error {
	r := &e.Record
	if r.Time < t.is.Since || r.Time > t.to {
		return nil
	}
	p := e.Personal
	if p == nil {
		p = &audit.Personal{}
	}
	t.sign(r, p)
	line := incident.Line{At: r.Time, Seq: r.Seq, What: r.Kind.Message(), By: r.Actor, About: r.Subject, From: cmp.Or(p.IPAddress, p.Details["network"]), More: r.Reason}
	if r.Outcome == audit.Failure && !noisy[r.Kind] {
		line.What += " (failed)"
	}
	if line.About == "" {
		line.About = p.Email
	}
	for _, key := range slices.Sorted(maps.Keys(p.Details)) {
		if line.More != "" {
			line.More += "; "
		}
		line.More += key + "=" + p.Details[key]
	}
	if !noisy[r.Kind] {
		t.flush()
		t.add(line, false)
		return nil
	}
	run := t.runs[r.Kind]
	if run == nil {
		run = &noise{line: line, kind: r.Kind, addresses: map[string]bool{}, accounts: map[string]bool{}}
		t.runs[r.Kind] = run
	}
	run.n += alert.Weight(r.Actor, r.Reason, p.Details["of"])
	run.line.To = r.Seq
	const most = 100_000
	if whence := cmp.Or(p.IPAddress, p.Details["network"]); len(run.addresses) < most && whence != "" {
		run.addresses[whence] = true
	}
	if len(run.accounts) < most && line.About != "" {
		run.accounts[line.About] = true
	}
	return nil
}

// sign remembers a sign-in, or a try, and whom a record concerns anyhow.
func (t *telling) sign(r *audit.Record, p *audit.Personal) {
	switch r.Kind {
	case audit.AuthenticationSucceeded, audit.AuthenticationFailed, audit.SessionRefreshed:
		a, err := netip.ParseAddr(p.IPAddress)
		if err == nil && r.Subject != "" {
			t.remember(sign{r.Subject, a.Unmap().WithZone(""), r.Kind != audit.AuthenticationFailed})
		}
	case audit.AddressBlocked:
		if network, err := netip.ParsePrefix(p.Details["network"]); err == nil && !slices.Contains(t.networks, network) {
			t.networks = append(t.networks, network)
		}
	case audit.RefreshReused:
		t.because(r.Subject, "a refresh token of theirs was used twice")
	case audit.SignInDisowned:
		t.because(r.Subject, "they say that a sign-in was not theirs")
	case audit.AccountDisabled:
		t.because(r.Subject, "their account was barred")
	case audit.TokenRevoked:
		if r.Actor != r.Subject {
			t.because(r.Subject, "tokens of theirs were revoked")
		}
	}
}

// remember counts a sign-in, or a try. Tries, of which there may be any number, take no room from what worked.
func (t *telling) remember(s sign) {
	if _, known := t.signs[s]; !known {
		switch full := len(t.signs)-t.entered >= reportMarked; {
		case s.worked && t.entered >= reportMarked, !s.worked && full:
			t.more = true
			return
		case s.worked:
			t.entered++
		}
	}
	t.signs[s]++
}

func (t *telling) because(user, why string) {
	if _, err := id.Parse[id.User](user); err == nil && !slices.Contains(t.users[user], why) && len(t.users[user]) < 8 {
		t.users[user] = append(t.users[user], why)
	}
}

// flush ends all runs, in the order in which they began.
func (t *telling) flush() {
	for _, run := range slices.SortedFunc(maps.Values(t.runs), func(a, b *noise) int { return cmp.Compare(a.line.Seq, b.line.Seq) }) {
		t.add(run.told(), true)
	}
	clear(t.runs)
}

// told is a run as one line.
func (run *noise) told() incident.Line {
	l := run.line
	if l.To == l.Seq {
		l.To = 0
	}
	if run.n == 1 {
		return l
	}
	l.What = fmt.Sprintf("%s, %d times", l.What, run.n)
	var known []string // of records that sum others up neither may be
	if n := len(run.addresses); n > 0 {
		known = append(known, fmt.Sprintf("%d addresses", n))
	}
	if n := len(run.accounts); n > 0 && run.kind != audit.AddressBlocked {
		known = append(known, fmt.Sprintf("%d accounts", n))
	}
	l.More = strings.Join(known, ", ")
	if len(run.addresses) > 1 {
		l.From = fmt.Sprintf("%s and others", l.From)
	}
	if len(run.accounts) > 1 {
		l.About = fmt.Sprintf("%s and others", l.About)
	}
	return l
}

// add adds a line while there is room: what anybody can cause takes none from what cannot.
func (t *telling) add(l incident.Line, noisy bool) {
	room := &t.quiet
	if noisy {
		room = &t.loud
	}
	if *room >= reportLines {
		t.left++
		return
	}
	*room++
	t.lines = append(t.lines, l)
}

// affected finds who is to be told: whose account, session or key was contained, and who was signed in to, or guessed at, from where was blocked.
func (i *Incidents) affected(ctx context.Context, t *telling) error {
	var all instant.Instant // everybody who was signed in then
	for k := range t.is.Targets {
		x := &t.is.Targets[k]
		switch x.Kind {
		case incident.User:
			t.because(x.Value, "their account was contained")
		case incident.Network:
			if p, err := netip.ParsePrefix(x.Value); err == nil && !slices.Contains(t.networks, p) {
				t.networks = append(t.networks, p)
			}
		case incident.Session:
			if sid, err := id.Parse[id.Session](x.Value); err == nil {
				s, err := i.core.Stores.Sessions.Find(ctx, sid)
				if err != nil && !errors.Is(err, ports.ErrNotFound) {
					return err
				}
				t.because(s.User.String(), "a session of theirs was contained")
			}
		case incident.APIKey:
			if kid, err := id.Parse[id.APIKey](x.Value); err == nil {
				key, err := i.core.Stores.APIKeys.Find(ctx, kid)
				if err != nil && !errors.Is(err, ports.ErrNotFound) {
					return err
				}
				t.because(key.Owner.String(), "an API key of theirs was contained")
			}
		case incident.AllSessions, incident.IssuedBefore, incident.Key:
			all = max(all, x.Asked)
		}
	}
	for s, n := range t.signs {
		at := slices.IndexFunc(t.networks, func(p netip.Prefix) bool { return p.Contains(s.address) })
		switch {
		case at < 0:
		case s.worked:
			t.because(s.user, "somebody signed in to their account from "+t.networks[at].String()+", which is blocked")
		default:
			times := "once"
			if n > 1 {
				times = fmt.Sprintf("%d times", n)
			}
			t.because(s.user, fmt.Sprintf("somebody guessed at their password from %s, which is blocked, %s", t.networks[at], times))
		}
	}
	for _, why := range t.users {
		slices.Sort(why)
	}
	if all == 0 {
		return nil
	}
	return i.core.eachSession(ctx, func(a *account.Account, x *session.Session) {
		if len(t.users) <= reportUsers && x.Created <= all && x.Expires > all && (x.Ended == 0 || x.Ended >= all) {
			t.because(a.ID.String(), "they were signed in when everybody was signed out")
		}
	})
}

// people are the users with what they are called.
func (i *Incidents) people(ctx context.Context, users map[string][]string, drill bool) (all []incident.Affected, more bool, err error) {
	for _, user := range slices.Sorted(maps.Keys(users)) {
		if len(all) >= reportUsers {
			return all, true, nil
		}
		uid, err := id.Parse[id.User](user)
		if err != nil || uid.IsZero() {
			continue
		}
		a, err := i.core.Stores.Accounts.Find(ctx, uid)
		if err != nil && !errors.Is(err, ports.ErrNotFound) {
			return nil, false, err
		}
		one := incident.Affected{ID: user, Why: users[user]}
		if err == nil {
			if !drill && strings.HasSuffix(a.Email.String(), ".invalid") { // reaches nobody (RFC 2606), as those of drills
				continue
			}
			one.Username, one.Email = a.Username.String(), a.Email.String()
		}
		all = append(all, one)
	}
	slices.SortStableFunc(all, func(x, y incident.Affected) int { return strings.Compare(x.Username, y.Username) })
	return all, false, nil
}

// name puts the names of users beside their ids, as far as they are there.
func (i *Incidents) name(ctx context.Context, lines []incident.Line) {
	names := map[string]string{}
	of := func(text string) string {
		first, rest, _ := strings.Cut(text, " ")
		uid, err := id.Parse[id.User](first)
		if err != nil || uid.IsZero() {
			return text
		}
		name, known := names[first]
		if !known {
			if a, err := i.core.Stores.Accounts.Find(ctx, uid); err == nil {
				name = a.Username.String()
			}
			names[first] = name
		}
		return strings.TrimSpace(cmp.Or(name, first) + " " + rest)
	}
	for k := range lines {
		lines[k].By, lines[k].About = of(lines[k].By), of(lines[k].About)
	}
}
