package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/incident"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// IncidentStatus is how far the containment of an incident has come.
type IncidentStatus struct {
	Incident incident.Incident
	Took     time.Duration // from the call until the last node had said that it refuses, of the target that took longest; 0: nothing was contained, or not all of it
	Missing  []string      // who lives and has not said so
	Undone   int           // targets that could not be contained
	Percent  int           // of the users whose sign-ins are let in
	Isolated []incident.Isolation
}

// Status asks the nodes again that had not said yet that they refuse what was contained, and answers how long it took until all had.
func (i *Incidents) Status(ctx context.Context, iid string) (IncidentStatus, error) {
	is, err := i.Find(ctx, iid)
	if err != nil {
		return IncidentStatus{}, err
	}
	if is.State != incident.Resolved {
		i.askMissing(ctx, &is)
	}
	st := IncidentStatus{Incident: is, Percent: i.Percent(), Isolated: i.Isolations()}
	for k := range is.Targets {
		t := &is.Targets[k]
		st.Undone += count(!t.Done())
		for _, n := range t.Nodes {
			st.Took = max(st.Took, time.Duration(n.Micros)*time.Microsecond)
		}
		for _, m := range t.Missing {
			if !slices.Contains(st.Missing, m) {
				st.Missing = append(st.Missing, m)
			}
		}
	}
	if st.Undone > 0 || len(st.Missing) > 0 {
		st.Took = 0
	}
	return st, nil
}

// askMissing asks about targets that a node had not said it refuses, and keeps what they say. Who has gone meanwhile is missing no more: no node serves before it knows every revocation.
func (i *Incidents) askMissing(ctx context.Context, is *incident.Incident) {
	missing := func(t *incident.Target) bool { return t.Done() && len(t.Missing) > 0 }
	if i.core.Nodes == nil || !slices.ContainsFunc(is.Targets, func(t incident.Target) bool { return missing(&t) }) {
		return
	}
	asked := time.Now()
	news := false
	for t, c := range i.askOf(ctx, is.Targets, missing, asked) {
		before := max(instant.Of(asked).Sub(t.Asked), 0) // by the clock: the call may have been on another node
		for _, s := range c.Nodes {
			if slices.Contains(t.Missing, s.Node) {
				t.Nodes = append(t.Nodes, incident.Seen{Node: s.Node, Micros: (before + s.Took).Microseconds()})
			}
		}
		news = news || !slices.Equal(t.Missing, c.Missing)
		t.Missing = c.Missing
	}
	if !news {
		return
	}
	held := i.held.Load()
	var next incident.Casebook
	err := i.core.Stores.Incidents.Update(ctx, func(b incident.Casebook) (incident.Casebook, ports.Effects, error) {
		var err error
		next, err = b.Seen(is.ID, is.Targets)
		return next, ports.Effects{}, err
	})
	if err != nil {
		i.o.Logger.Warn("What nodes have said of an incident could not be kept; it is asked for again", "error", err.Error())
		return
	}
	i.take(next, held)
}

// Tried is what came of trying a target again.
type Tried struct {
	Kind  incident.Kind
	Value string
	OK    bool
	Seen  string // what was tried, and how it ended
}

// IncidentVerdict is what came of trying everything again that an incident contained.
type IncidentVerdict struct {
	Incident incident.Incident
	Tried    []Tried
	Nodes    []NodeTime // who refuses all of it
	Missing  []string   // who lives and takes something of it, or has not said so in time
	Trail    *audit.Report
	TrailErr error // why the trail could not be read; nil: it was, or there is none
	OK       bool
}

// probe is what a node is to refuse.
type probe struct {
	Token   string `json:"token,omitempty"`   // has the audience of a canary, and opens nothing
	Network string `json:"network,omitempty"` // must be turned away
	Entry   []byte `json:"entry,omitempty"`   // the key of a revocation that must be held
}

// Verify tries again what was contained. For each target a token is made that is in all respects one of those that were withdrawn, but for an audience that opens nothing, and is shown to the very guard that judges requests, on
// every node; accounts must be barred, sessions ended, addresses turned away. And the audit trail is read from its beginning to its end.
func (i *Incidents) Verify(ctx context.Context, by Actor, iid string) (IncidentVerdict, error) {
	is, err := i.Find(ctx, iid)
	if err != nil {
		return IncidentVerdict{}, err
	}
	out := IncidentVerdict{OK: true}
	var probes []probe
	for k := range is.Targets {
		t := &is.Targets[k]
		tried, theirs := i.try(ctx, t)
		out.OK = out.OK && tried.OK
		out.Tried, probes = append(out.Tried, tried), append(probes, theirs...)
	}
	if err := i.askProbes(ctx, probes, &out); err != nil {
		return IncidentVerdict{}, err
	}
	out.OK = out.OK && len(out.Missing) == 0
	if i.trail != nil {
		if _, err := i.trail.Link(ctx); err != nil && !errors.Is(err, ErrTrailLost) && !errors.Is(err, ErrTrailForged) { // what was done a moment ago is a part of it
			return IncidentVerdict{}, err
		}
		report, err := i.trail.Verify(ctx)
		if out.Trail, out.TrailErr = &report, err; err != nil {
			out.Trail = nil
		}
		out.OK = out.OK && err == nil && report.Holds()
	}
	good := 0
	for _, t := range out.Tried {
		good += count(t.OK)
	}
	outcome, said := audit.Success, fmt.Sprintf("%d of %d targets are refused", good, len(out.Tried))
	if len(out.Missing) > 0 {
		said += "; not confirmed by " + strings.Join(out.Missing, ", ")
	}
	switch {
	case out.TrailErr != nil:
		said += "; the audit trail could not be read"
	case out.Trail != nil && out.Trail.Holds():
		said += fmt.Sprintf("; the audit trail holds, %d records", out.Trail.Records)
	case out.Trail != nil:
		said += "; the audit trail does not hold"
	}
	if !out.OK {
		outcome = audit.Failure
	}
	if is.State == incident.Resolved { // its record is closed, the trail is not
		out.Incident = is
		return out, i.tellOf(ctx, by, audit.IncidentVerified, outcome, is.ID, said)
	}
	out.Incident, err = i.change(ctx, by, audit.IncidentVerified, outcome, map[string]string{"seen": said}, func(b incident.Casebook, now instant.Instant) (incident.Casebook, incident.Incident, error) {
		return b.Do(is.ID, incident.Step{At: now, Kind: "verified", By: by.Name, Note: said}, incident.Open)
	})
	return out, err
}

// try tries a target on this node, and answers what others are to be asked.
func (i *Incidents) try(ctx context.Context, t *incident.Target) (Tried, []probe) {
	out := Tried{Kind: t.Kind, Value: t.Value}
	var probes []probe
	fail := func(seen string) (Tried, []probe) {
		out.Seen, out.OK = seen, false
		return out, probes
	}
	if !t.Done() {
		return fail("it was not contained: " + t.Failed)
	}
	if t.Kind == incident.Network {
		p, err := netip.ParsePrefix(t.Value)
		if err != nil {
			return fail("it is no network")
		}
		probes = append(probes, probe{Network: p.String()})
		if !i.turnsAway(p) {
			return fail("it is let in: the block was lifted, or has ended")
		}
		out.Seen, out.OK = "turned away", true
		return out, probes
	}
	if t.Proof.Until > i.core.now() {
		for _, key := range t.Proof.Revocations {
			probes = append(probes, probe{Entry: key})
		}
	}
	if t.Kind == incident.Key || t.Kind == incident.APIKey {
		for _, p := range probes {
			if !i.refusesEntry(p.Entry) {
				return fail("its revocation is not in force here")
			}
		}
		if t.Kind == incident.Key && !i.core.View.KeyRevoked(t.Value) {
			return fail("what it signed is not refused")
		}
		if t.Kind == incident.APIKey {
			kid, err := id.Parse[id.APIKey](t.Value)
			if err != nil {
				return fail(err.Error())
			}
			k, err := i.core.Stores.APIKeys.Find(ctx, kid)
			switch {
			case errors.Is(err, ports.ErrNotFound):
			case err != nil:
				return fail("the store could not be asked")
			case k.Refusal(i.core.now()) == nil:
				return fail("the key goes on")
			}
		}
		out.Seen, out.OK = "what it signs or opens is refused", true
		return out, probes
	}
	text, err := i.replica(t)
	if err != nil {
		return fail("no token could be made to try it with: " + failure(err))
	}
	probes = append(probes, probe{Token: text})
	code := RefusalCode(i.refusesToken(text))
	switch code {
	case "token_revoked", "token_expired":
		out.Seen = "its tokens are refused as " + code
	case "":
		return fail("its tokens are taken")
	default:
		return fail("its tokens are refused as " + code + ", which proves nothing")
	}
	if why := i.stillOpen(ctx, t); why != "" {
		return fail(why)
	}
	switch t.Kind {
	case incident.User:
		out.Seen += ", and the account is barred"
	case incident.Session:
		out.Seen += ", and the session has ended"
	}
	out.OK = true
	return out, probes
}

// stillOpen says in what other way a user or a session goes on; empty: in none.
func (i *Incidents) stillOpen(ctx context.Context, t *incident.Target) string {
	switch t.Kind {
	case incident.User:
		uid, err := id.Parse[id.User](t.Value)
		if err != nil {
			return err.Error()
		}
		a, err := i.core.Stores.Accounts.Find(ctx, uid)
		switch {
		case errors.Is(err, ports.ErrNotFound):
		case err != nil:
			return "the store could not be asked"
		case !a.Disabled:
			return "the account may sign in again"
		}
	case incident.AllSessions, incident.IssuedBefore:
		whole, err := i.core.Stores.System.Load(ctx)
		if err != nil {
			return "the store could not be asked"
		}
		x := session.Session{Epoch: t.Proof.Epoch, LastUsed: t.Asked} // one that lived then
		if t.Kind == incident.IssuedBefore {
			at, err := time.Parse(time.RFC3339Nano, t.Value)
			if err != nil {
				return err.Error()
			}
			x.Epoch, x.LastUsed = whole.Epoch, instant.Of(at)
		}
		if _, ok := whole.MayRefresh(&x); ok {
			return "sessions of before can be refreshed"
		}
	case incident.Session:
		sid, err := id.Parse[id.Session](t.Value)
		if err != nil {
			return err.Error()
		}
		x, err := i.core.Stores.Sessions.Find(ctx, sid)
		switch {
		case errors.Is(err, ports.ErrNotFound):
		case err != nil:
			return "the store could not be asked"
		case x.Live(i.core.now()):
			return "the session can be refreshed"
		}
	}
	return ""
}

// replica is a token like those that the containment of a target withdrew, with an audience that opens nothing.
func (i *Incidents) replica(t *incident.Target) (string, error) {
	c := i.core
	jti, err1 := id.New[id.Token](c.Random)
	sub, err2 := id.New[id.User](c.Random)
	sid, err3 := id.New[id.Session](c.Random)
	if err := errors.Join(err1, err2, err3); err != nil {
		return "", unavailable("draw the ids of a probe", err)
	}
	iat := instant.Unix(t.Asked.Seconds())
	claims := token.Claims{ID: jti, Subject: sub, Session: sid, Issuer: c.Tunables.Issuer, Audience: []string{CanaryAudience}, ClientID: CanaryAudience, Generation: 1, Epoch: c.View.Epoch()}
	var err error
	switch t.Kind {
	case incident.User:
		claims.Subject, err = id.Parse[id.User](t.Value)
		claims.Generation = t.Proof.Generation
	case incident.Session:
		claims.Session, err = id.Parse[id.Session](t.Value)
	case incident.IssuedBefore:
		var at time.Time
		at, err = time.Parse(time.RFC3339Nano, t.Value)
		iat = instant.Unix(instant.Of(at).Seconds())
	case incident.AllSessions:
		claims.Epoch = t.Proof.Epoch
	}
	if err != nil {
		return "", err
	}
	claims.IssuedAt, claims.NotBefore, claims.ExpiresAt = iat, iat, iat.Add(c.Tunables.Access)
	text, err := c.Codec.Sign(claims)
	return text.RevealPlaintext(), err
}

// refusesToken is the guard's refusal of a replica; nil: it is taken.
func (i *Incidents) refusesToken(text string) error {
	policy := i.core.Tunables.Policy()
	policy.Audience = CanaryAudience
	_, err := NewGuard(i.core).admit(text, &policy)
	return err
}

func (i *Incidents) refusesEntry(key []byte) bool {
	e, ok := revocation.Named(key)
	return ok && i.core.View.Holds(&e)
}

// turnsAway reports whether a whole network is blocked: its first and its last address are, which are of one block or of two.
func (i *Incidents) turnsAway(p netip.Prefix) bool {
	last := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(last)*8; bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	end, _ := netip.AddrFromSlice(last)
	return i.blocks.Blocked(p.Addr()) && i.blocks.Blocked(end)
}

// answersProbes answers the question askProbes: true once all are refused.
func (i *Incidents) answersProbes(_ context.Context, body []byte) bool {
	var all []probe
	if json.Unmarshal(body, &all) != nil {
		return false
	}
	for _, p := range all {
		switch {
		case p.Token != "":
			if code := RefusalCode(i.refusesToken(p.Token)); code != "token_revoked" && code != "token_expired" {
				return false
			}
		case p.Network != "":
			network, err := netip.ParsePrefix(p.Network)
			if err != nil || !i.turnsAway(network) {
				return false
			}
		case !i.refusesEntry(p.Entry):
			return false
		}
	}
	return true
}

// askProbes asks all nodes about probes, some at a time, and notes who refuses all of them.
func (i *Incidents) askProbes(ctx context.Context, probes []probe, out *IncidentVerdict) error {
	if i.core.Nodes == nil || len(probes) == 0 {
		out.Nodes = []NodeTime{{Node: i.o.Node}}
		return nil
	}
	begun := time.Now()
	var bodies [][]byte
	for len(probes) > 0 {
		n, size := 0, 2
		for n < len(probes) && (n == 0 || size+len(probes[n].Token)+len(probes[n].Entry)*2+100 < maxAsked/4) {
			size += len(probes[n].Token) + len(probes[n].Entry)*2 + 100
			n++
		}
		body, err := json.Marshal(probes[:n])
		if err != nil {
			return fmt.Errorf("write the probes of an incident: %w", err)
		}
		bodies, probes = append(bodies, body), probes[n:]
	}
	said := make([]Confirmation, len(bodies))
	var group sync.WaitGroup
	for k, body := range bodies { // all at once: a node that hangs is waited for once
		group.Go(func() { said[k] = i.core.Nodes.Confirm(ctx, askProbes, body) })
	}
	group.Wait()
	for _, c := range said {
		out.Nodes = c.Nodes
		for _, m := range c.Missing {
			if !slices.Contains(out.Missing, m) {
				out.Missing = append(out.Missing, m)
			}
		}
	}
	out.Nodes = slices.DeleteFunc(out.Nodes, func(n NodeTime) bool { return slices.Contains(out.Missing, n.Node) })
	for k := range out.Nodes {
		out.Nodes[k].Took = time.Since(begun)
	}
	return nil
}

// Eradication says what is to be replaced.
type Eradication struct {
	SigningKey bool     // another key signs; what the one before signed is still verified, unless it is contained
	APIKeys    []string // ids: each ends at once, and another takes its place, whose text is answered
	Reason     string
}

// Eradicated is what was replaced.
type Eradicated struct {
	Incident incident.Incident
	Key      *KeyRotation // nil: the signing key was not replaced
	APIKeys  []ReplacedKey
	ByHand   []string // what people have to change: a sentence each
	Recorded error    // why the incident could not be written to, though something was replaced; nil: it was
}

// ReplacedKey is an API key that ended, and the one in its place: to be handed to its owner.
type ReplacedKey struct {
	Was id.APIKey
	Is  IssuedKey
	Err error // why it was not replaced; nil: it was
}

// Eradicate replaces the credentials of the system that may be known to others, and answers what only people can change. The new API keys are shown once, here.
func (i *Incidents) Eradicate(ctx context.Context, by Actor, iid string, what Eradication) (Eradicated, error) {
	is, err := i.Find(ctx, iid)
	if err != nil {
		return Eradicated{}, err
	}
	if is.State == incident.Resolved {
		return Eradicated{}, incident.ErrResolved
	}
	if len(what.Reason) > maxNote {
		return Eradicated{}, errNote
	}
	var ids []id.APIKey
	for _, text := range unique(what.APIKeys) {
		kid, err := id.Parse[id.APIKey](text)
		if err != nil {
			return Eradicated{}, &SelectorError{"api_keys", err.Error()}
		}
		if _, err := i.core.Stores.APIKeys.Find(ctx, kid); err != nil {
			if errors.Is(err, ports.ErrNotFound) {
				err = &SelectorError{"api_keys", kid.String() + " is not there"}
			}
			return Eradicated{}, err
		}
		ids = append(ids, kid)
	}
	out := Eradicated{ByHand: i.o.ByHand}
	var said []string
	if what.SigningKey && i.core.Rotator != nil {
		r, err := i.core.Rotator.Rotate(ctx, by, "", false)
		if err != nil {
			return out, err
		}
		out.Key = &r
		said = append(said, "key "+r.Key.ID+" signs, in the place of "+r.Was)
	}
	for _, kid := range ids {
		key, err := i.keys.replace(ctx, by, kid, "incident "+is.ID)
		if err == nil { // what it has made is no better than it was
			if _, lost := i.keys.End(ctx, by, kid, "incident "+is.ID, true); lost != nil {
				i.o.Logger.Error("The keys that an API key of an incident had made could not all be ended", "api_key", kid.String(), "error", lost.Error())
				said = append(said, "keys that API key "+kid.String()+" had made may go on")
			}
		}
		out.APIKeys = append(out.APIKeys, ReplacedKey{kid, key, err})
		if err != nil {
			i.o.Logger.Error("An API key of an incident could not be replaced", "api_key", kid.String(), "error", err.Error())
			said = append(said, "API key "+kid.String()+" not replaced")
			continue
		}
		said = append(said, "API key "+kid.String()+" replaced by "+key.Key.ID.String())
	}
	if len(said) == 0 {
		said = []string{"the list of what is to be changed by hand was read"}
	}
	replaced := out.Key != nil || len(out.APIKeys) > 0
	text := strings.Join(said, ", ")
	out.Incident, err = i.change(ctx, by, audit.IncidentEradicated, audit.Success, detailed(what.Reason, "replaced", cut(text, 2000)), func(b incident.Casebook, now instant.Instant) (incident.Casebook, incident.Incident, error) {
		return b.Do(is.ID, incident.Step{At: now, Kind: "eradicated", By: by.Name, Note: noted(text, what.Reason)}, incident.Eradicated)
	})
	if err != nil && replaced { // what takes a key's place is shown here alone
		out.Incident, out.Recorded, err = is, err, nil
	}
	return out, err
}

// replace ends an API key at once, whoever owns it, and makes another in its place, which may do what it could. One whose owner is barred, or that has ended, is apikey.ErrEnded.
func (a *APIKeys) replace(ctx context.Context, by Actor, kid id.APIKey, note string) (IssuedKey, error) {
	was, err := a.core.Stores.APIKeys.Find(ctx, kid)
	if err != nil {
		return IssuedKey{}, err
	}
	leave, err := a.turn(ctx, was.Owner)
	if err != nil {
		return IssuedKey{}, err
	}
	defer leave()
	acct, err := a.core.Stores.Accounts.Find(ctx, was.Owner)
	if err != nil {
		return IssuedKey{}, err
	}
	if acct.Disabled || ownersEnd(&was, &acct) != nil {
		return IssuedKey{}, apikey.ErrEnded
	}
	now := a.core.now()
	until, err := a.core.horizon(ctx, now)
	if err != nil {
		return IssuedKey{}, err
	}
	proof, text, err := a.draw()
	if err != nil {
		return IssuedKey{}, err
	}
	e, err := a.core.event(by.Request, audit.APIKeyRotated, audit.Warning, audit.Success)
	if err != nil {
		return IssuedKey{}, err
	}
	var next apikey.Key
	var eff ports.Effects
	err = a.core.Stores.APIKeys.Replace(ctx, kid, func(old apikey.Key) (apikey.Key, apikey.Key, ports.Effects, error) {
		old, made, entries, err := old.Rotate(proof, acct.Generation, 0, 0, apikey.Act{By: by.Name, Now: now, Until: until})
		if err != nil {
			return old, apikey.Key{}, ports.Effects{}, err
		}
		made.MadeBy = was.MadeBy
		told := e
		told.Subject, told.Details = was.Owner.String(), map[string]string{"api_key": kid.String(), "successor": made.ID.String(), "expires": made.Expires.String(), "note": note}
		by.signs(&told)
		next, eff = made, ports.Effects{Revocations: entries, Events: []audit.Event{told}}
		return old, made, eff, nil
	})
	if err != nil {
		return IssuedKey{}, err
	}
	a.core.felt(ctx, eff)
	return IssuedKey{next, text}, nil
}
