package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/ports"
)

// AlertsOptions tune Alerts. The zero value works.
type AlertsOptions struct {
	Rules  []alert.Rule  // default: alert.Rules()
	Every  time.Duration // how often it is looked for events; default 500 ms
	Counts time.Duration // how often what was counted of refusals is handed over; default 10 s
	Logger *slog.Logger  // default: nothing is logged
}

const (
	alertMarks   = instant.Instant(time.Minute / time.Microsecond) // between two marks
	containFor   = time.Hour                                       // how long what contains an alert blocks addresses
	containMost  = 256                                             // addresses that it blocks at most
	containReads = 200                                             // pages of events that it looks through at most
	containPage  = 1000
)

// Alerts holds committed events against rules, on one node of many, and keeps what they find. What is raised is an event itself, and goes where events go.
type Alerts struct {
	core    *Core
	duty    *Duty
	trail   *Trail
	blocks  *Blocks
	revoker *Revoker
	rules   []alert.Rule
	o       AlertsOptions
	unkept  []alert.Firing       // what this node has found itself, and could not keep yet
	told    map[string]time.Time // when this node has last raised what it finds itself, by rule

	// These are the duty's.
	engine  *alert.Engine
	place   alertPlace
	judged  uint64 // the position of place.Last when the duty came to this node
	pending []alert.Firing
	counted []id.Event // the events of a batch that was counted, and whose alerts could not be kept
}

// alertPlace is what goes with the cursor.
type alertPlace struct {
	Marks [][2]int64 `json:"marks"` // the positions of events, and the times that had been reached there, one a minute: where to begin anew
	Done  int64      `json:"done"`  // the latest time of an event that was counted
	Last  id.Event   `json:"last"`  // the event that was counted last: those before it were judged, whatever their times are
	Usual []byte     `json:"usual"`
}

// NewAlerts are alerts that Run keeps. Without a trail, nobody is told of a broken one.
func NewAlerts(c *Core, trail *Trail, blocks *Blocks, revoker *Revoker, o AlertsOptions) (*Alerts, error) {
	if o.Rules == nil {
		o.Rules = alert.Rules()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Counts <= 0 {
		o.Counts = 10 * time.Second
	}
	a := &Alerts{core: c, trail: trail, blocks: blocks, revoker: revoker, rules: o.Rules, o: o, told: map[string]time.Time{}}
	var err error
	a.duty, err = NewDuty(c, DutyOptions{Name: "alerts", Begin: a.begin, Take: a.take, Most: 4096, Every: o.Every, MaxPause: 5 * time.Second, Logger: o.Logger})
	return a, err
}

// Run judges events until ctx ends, on one node of many; and on each node hands over what was counted of refusals, and finds what is wrong with the node itself.
func (a *Alerts) Run(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() { a.duty.Run(ctx) })
	both.Go(func() {
		tick := time.NewTicker(a.o.Counts)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				last, done := context.WithTimeout(context.WithoutCancel(ctx), lastWait)
				defer done()
				a.hand(last)
				return
			case <-tick.C:
				a.look(ctx)
			}
		}
	})
	both.Wait()
}

// look hands over what was counted of refusals, and raises what this node finds itself. What fails is tried again the next time.
func (a *Alerts) look(ctx context.Context) {
	a.hand(ctx)
	for _, f := range a.own() {
		if since, again := a.told[f.Rule]; again && time.Since(since) < a.rule(f.Rule).Cooldown {
			continue
		}
		a.told[f.Rule] = time.Now()
		a.o.Logger.Error("An alert: "+f.Sample[0], "rule", f.Rule) // the store that it is to be kept in may be what is wrong
		a.unkept = append(a.unkept, f)
	}
	if a.raise(ctx, a.unkept) == nil {
		a.unkept = nil
	}
}

// hand records what was counted of refusals. What the store does not take is counted still; only what a node has counted that dies is lost, of which its log tells.
func (a *Alerts) hand(ctx context.Context) {
	if a.core.Limiter == nil {
		return
	}
	taken := a.core.Limiter.sums.take()
	events, now := taken.events(), a.core.now()
	var err error
	for i := range events {
		events[i].Time = now
		if events[i].ID, err = id.New[id.Event](a.core.Random); err != nil {
			break
		}
	}
	if len(events) > 0 && err == nil {
		err = a.core.Stores.Events.Record(ctx, events...)
	}
	if err != nil {
		a.core.Limiter.sums.restore(taken)
	}
}

// Rules is the table by which alerts are raised.
func (a *Alerts) Rules() []alert.Rule { return a.rules }

// begin has everything that still counts be seen again.
func (a *Alerts) begin(_ context.Context, c ports.Cursor) (uint64, error) {
	a.engine, a.place, a.pending, a.counted = alert.NewEngine(a.rules), alertPlace{}, nil, nil
	if len(c.State) > 0 && json.Unmarshal(c.State, &a.place) != nil {
		a.place = alertPlace{} // of another version: what is usual is learned anew
	}
	a.engine.Restore(a.place.Usual)
	a.place.Done = min(a.place.Done, int64(a.core.now())) // of a node whose clock was ahead
	a.judged = c.Position
	from, old := c.Position, int64(a.core.now().Add(-a.engine.Longest()))
	for i, m := range slices.Backward(a.place.Marks) {
		if from = uint64(max(m[0], 0)); m[1] < old || i == 0 {
			break
		}
	}
	return min(from, c.Position), nil
}

// take holds a batch against the rules, and keeps what they find.
func (a *Alerts) take(ctx context.Context, b Batch) ([]byte, error) {
	now := a.core.now()
	again := a.seen(b)
	was := gathered(b.Events[:again])
	events := slices.Concat(was, gathered(b.Events[again:]))
	again = len(was)
	for i := range events {
		e := &events[i]
		if slices.Contains(a.counted, e.ID) {
			continue
		}
		a.pending = append(a.pending, a.engine.Take(e, now, i < again)...)
		a.place.Done = max(a.place.Done, int64(min(e.Time, now)))
	}
	a.counted = a.counted[:0]
	for i := range events {
		a.counted = append(a.counted, events[i].ID)
	}
	for i := range a.pending {
		a.pending[i].Position = a.oldest()
	}
	if err := a.raise(ctx, a.pending); err != nil {
		return nil, err
	}
	a.pending, a.counted = nil, a.counted[:0]
	if b.Last > a.judged && len(b.Events) > 0 {
		a.place.Last = b.Events[len(b.Events)-1].ID
	}
	return a.marked(), nil
}

// seen is how many of a batch's events were judged before the duty came to this node. By their places, not by their times: another node's clock may be behind, and two events may be of one moment.
func (a *Alerts) seen(b Batch) int {
	if b.Last <= a.judged {
		return len(b.Events)
	}
	return 1 + slices.IndexFunc(b.Events, func(e audit.Event) bool { return e.ID == a.place.Last })
}

// oldest is a position behind which all events are that still count.
func (a *Alerts) oldest() uint64 {
	if len(a.place.Marks) == 0 {
		return a.duty.at
	}
	return uint64(max(a.place.Marks[0][0], 0))
}

// marked is what is to be kept with the place behind this batch.
func (a *Alerts) marked() []byte {
	at := a.duty.at // behind which this batch began: seen again, it is counted again
	marks := a.place.Marks
	if n := len(marks); n == 0 || a.place.Done-marks[n-1][1] >= int64(alertMarks) {
		marks = append(marks, [2]int64{int64(at), a.place.Done})
	}
	old := a.place.Done - int64(a.engine.Longest()/time.Microsecond)
	for len(marks) > 1 && marks[1][1] < old {
		marks = marks[1:]
	}
	a.place.Marks, a.place.Usual = marks, a.engine.Usual()
	text, err := json.Marshal(a.place)
	if err != nil {
		return nil
	}
	return text
}

// own is what the application itself has to tell.
func (a *Alerts) own() (all []alert.Firing) {
	now := a.core.now()
	add := func(rule, why string) {
		if f, on := alert.Fire(a.rules, rule, now, why); on {
			all = append(all, f)
		}
	}
	if a.trail != nil {
		if err := a.trail.Status().Err; errors.Is(err, ErrTrailLost) || errors.Is(err, ErrTrailForged) {
			add(alert.AuditBroken, err.Error())
		}
	}
	if !a.core.View.Fresh() {
		add(alert.StaleView, "the view of the revocations is stale on this node")
	}
	return all
}

// raise keeps what was found, and tells of what is new.
func (a *Alerts) raise(ctx context.Context, found []alert.Firing) error {
	_, err := a.raised(ctx, found)
	return err
}

// raised is raise, and answers the events by which it is told.
func (a *Alerts) raised(ctx context.Context, found []alert.Firing) ([]audit.Event, error) {
	if len(found) == 0 {
		return nil, nil
	}
	var effects ports.Effects
	now := a.core.now()
	err := a.core.Stores.Alerts.Update(ctx, func(b alert.Book) (alert.Book, ports.Effects, error) {
		effects = ports.Effects{}
		for _, f := range found {
			var is alert.Alert
			var tell bool
			if b, is, tell = b.Raise(f, a.rule(f.Rule).Cooldown, now); !tell {
				continue
			}
			e, err := a.core.event(Request{}, audit.AlertRaised, is.Severity, audit.Success)
			if err != nil {
				return b, effects, err
			}
			a.about(&e, &is)
			effects.Events = append(effects.Events, e)
		}
		return b, effects, nil
	})
	if err != nil {
		return nil, fmt.Errorf("keep the alerts: %w", err)
	}
	a.core.felt(ctx, effects)
	return effects.Events, nil
}

// rule is a rule by its name; the zero rule for another's.
func (a *Alerts) rule(name string) alert.Rule {
	for _, r := range a.rules {
		if r.Name == name {
			return r
		}
	}
	return alert.Rule{}
}

// about has an event tell of an alert.
func (a *Alerts) about(e *audit.Event, is *alert.Alert) {
	e.Actor, e.Reason = System, is.Rule
	e.Details = map[string]string{"alert": is.ID, "since": is.Since.String(), "count": strconv.FormatUint(is.Count, 10), "sample": strings.Join(is.Sample, "; ")}
	if is.Contain != "" {
		e.Details["contain"] = is.Contain
	}
	uid, err := id.Parse[id.User](is.Group)
	of := a.rule(is.Rule).Grouping
	switch {
	case is.Group == "":
	case of == alert.Address && strings.HasPrefix(is.Group, "("): // of many, or of none
		e.Details["group"] = is.Group
	case of == alert.Address:
		e.IPAddress = strings.TrimSuffix(is.Group, "/64")
	case of == alert.Key && is.Group != alert.More:
		e.Details["api_key"] = is.Group
	case err == nil:
		e.Subject = uid.String()
	case of == alert.Account && is.Group != alert.More:
		e.Email = is.Group
	default:
		e.Details["group"] = is.Group
	}
}

// List answers at most limit alerts, the newest first, behind the one with an id (empty: at the start), and whether there are more; of open ones alone, if asked.
func (a *Alerts) List(ctx context.Context, open bool, behind string, limit int) ([]alert.Alert, bool, error) {
	b, err := a.core.Stores.Alerts.Load(ctx)
	if err != nil {
		return nil, false, err
	}
	page, more := b.List(open, behind, limit)
	return page, more, nil
}

// Open is how many alerts nobody has acknowledged; -1 when the store does not answer within a second.
func (a *Alerts) Open() int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	b, err := a.core.Stores.Alerts.Load(ctx)
	if err != nil {
		return -1
	}
	n := 0
	for i := range b.Alerts {
		n += count(b.Alerts[i].Open())
	}
	return n
}

// Find answers an alert, or alert.ErrUnknown.
func (a *Alerts) Find(ctx context.Context, aid string) (alert.Alert, error) {
	b, err := a.core.Stores.Alerts.Load(ctx)
	if err != nil {
		return alert.Alert{}, err
	}
	return b.Find(aid)
}

// Ack notes that somebody has seen to an alert; alert.ErrUnknown. What comes after it of the same rule and group is another alert.
func (a *Alerts) Ack(ctx context.Context, by Actor, aid string) (is alert.Alert, err error) {
	err = a.change(ctx, by, audit.AlertAcknowledged, func(b alert.Book, now instant.Instant) (alert.Book, map[string]string, error) {
		was, err := b.Find(aid)
		if err != nil {
			return b, nil, err
		}
		if is = was; !was.Open() {
			return b, nil, nil
		}
		b, is, err = b.Ack(aid, by.Name, now)
		return b, map[string]string{"alert": aid, "rule": is.Rule}, err
	})
	return is, err
}

// longestSilence bounds Silence.
const longestSilence = 30 * 24 * time.Hour

// ErrSilence refuses a silence of another length.
var ErrSilence = errors.New("a silence lasts from one minute to 30 days")

// Silence keeps the rule of an alert from being told of, for its group or for all; what comes is kept all the same. It refuses alert.ErrUnknown, ErrSilence and alert.ErrFull.
func (a *Alerts) Silence(ctx context.Context, by Actor, aid string, every bool, lasts time.Duration) (s alert.Silence, err error) {
	if lasts < time.Minute || lasts > longestSilence {
		return s, ErrSilence
	}
	err = a.change(ctx, by, audit.AlertSilenced, func(b alert.Book, now instant.Instant) (alert.Book, map[string]string, error) {
		is, err := b.Find(aid)
		if err != nil {
			return b, nil, err
		}
		s = alert.Silence{Rule: is.Rule, Group: is.Group, Until: now.Add(lasts), By: by.Name}
		if every {
			s.Group = "*"
		}
		b, err = b.Silence(s, now)
		return b, map[string]string{"alert": aid, "rule": is.Rule, "group": s.Group, "until": s.Until.String()}, err
	})
	return s, err
}

// change commits a change of the book with its event; without details there is none.
func (a *Alerts) change(ctx context.Context, by Actor, k audit.Kind, f func(alert.Book, instant.Instant) (alert.Book, map[string]string, error)) error {
	e, err := a.core.event(by.Request, k, audit.Info, audit.Success)
	if err != nil {
		return err
	}
	var effects ports.Effects
	err = a.core.Stores.Alerts.Update(ctx, func(b alert.Book) (alert.Book, ports.Effects, error) {
		effects = ports.Effects{}
		next, details, err := f(b, e.Time)
		if err != nil || details == nil {
			return b, effects, err
		}
		e.Details = details
		by.signs(&e)
		effects.Events = []audit.Event{e}
		return next, effects, nil
	})
	if err == nil {
		a.core.felt(ctx, effects)
	}
	return err
}

// Test raises an alert that means nothing, to see that it reaches whom it is to reach, and answers the event by which it is told; the zero id while it is silenced.
func (a *Alerts) Test(ctx context.Context, by Actor) (alert.Alert, id.Event, error) {
	f, _ := alert.Fire(nil, alert.TestAlert, a.core.now(), "asked for by "+by.Name)
	events, err := a.raised(ctx, []alert.Firing{f})
	if err != nil {
		return alert.Alert{}, id.Event{}, err
	}
	var eid id.Event
	if len(events) > 0 {
		eid = events[0].ID
	}
	b, err := a.core.Stores.Alerts.Load(ctx)
	if err != nil {
		return alert.Alert{}, eid, err
	}
	for _, is := range slices.Backward(b.Alerts) {
		if is.Rule == alert.TestAlert {
			return is, eid, nil
		}
	}
	return alert.Alert{}, eid, alert.ErrUnknown
}

// Contained is what was done against what an alert is about, or with a dry run what would be.
type Contained struct {
	Blocked       []netip.Prefix // for an hour
	Spared        []netip.Prefix // from where somebody had signed in before the alert began, or that is not to be blocked without force
	SignedIn      []string       // the users who have signed in from what is blocked since the alert began: a password may have been guessed
	SessionsEnded int
	KeysRevoked   int
	More          bool // there is more than is looked through, or blocked, at a time: contain it again
}

// ErrNotContainable refuses to contain what has no account, key or address that could be withdrawn or blocked.
var ErrNotContainable = errors.New("there is nobody to be contained: the alert names what to look at")

// Contain does what contains an alert: it blocks, for an hour, the addresses from which somebody guesses, but for those from where somebody had signed in before it began; or it ends what the user
// has who is misused, or the API key. It refuses alert.ErrUnknown and ErrNotContainable.
func (a *Alerts) Contain(ctx context.Context, by Actor, aid string, dry bool) (Contained, error) {
	is, err := a.Find(ctx, aid)
	if err != nil {
		return Contained{}, err
	}
	r := a.rule(is.Rule)
	note := "alert " + is.ID
	switch {
	case r.Blocks():
		out, guessing, err := a.whence(ctx, &is, &r)
		if err != nil {
			return Contained{}, err
		}
		return a.block(ctx, by, guessing, out, note, dry)
	case r.Grouping == alert.Address && is.Contain != "":
		p := alert.Network(&audit.Event{IPAddress: strings.TrimSuffix(is.Group, "/64")})
		return a.block(ctx, by, []netip.Prefix{p}, Contained{}, note, dry)
	case r.Grouping == alert.User && is.Contain != "":
		ended, err := a.revoker.Revoke(ctx, by, Selector{User: is.Group}, note, dry)
		return Contained{SessionsEnded: ended.SessionsEnded}, err
	case r.Grouping == alert.Key && is.Contain != "":
		return a.endKey(ctx, by, is.Group, note, dry)
	}
	return Contained{}, ErrNotContainable
}

// endKey ends an API key, unless it has ended or is forgotten by now.
func (a *Alerts) endKey(ctx context.Context, by Actor, text, note string, dry bool) (Contained, error) {
	kid, err := id.Parse[id.APIKey](text)
	if err != nil {
		return Contained{}, ErrNotContainable
	}
	k, err := a.core.Stores.APIKeys.Find(ctx, kid)
	switch {
	case errors.Is(err, ports.ErrNotFound), err == nil && k.Refusal(a.core.now()) != nil:
		return Contained{}, nil
	case err != nil:
		return Contained{}, err
	case dry:
		return Contained{KeysRevoked: 1}, nil
	}
	e, err := a.core.endedKey(by, kid, note)
	if err != nil {
		return Contained{}, err
	}
	return Contained{KeysRevoked: 1}, a.core.revokeKey(ctx, e, kid, note)
}

// whence are the networks from which the events of an alert came, with those that are spared, and who has signed in from the others since.
func (a *Alerts) whence(ctx context.Context, is *alert.Alert, r *alert.Rule) (out Contained, guessing []netip.Prefix, err error) {
	bad, good, since := map[netip.Prefix]bool{}, map[netip.Prefix]bool{}, map[netip.Prefix]map[string]bool{}
	out.More = true
	for from, n := is.Position, 0; n < containReads; n++ {
		events, last, err := a.core.Stores.Events.List(ctx, from, containPage)
		if err != nil {
			return Contained{}, nil, err
		}
		if len(events) == 0 {
			out.More = false
			break
		}
		for i := range events {
			e := &events[i]
			p := alert.Network(e)
			switch {
			case !p.IsValid():
			case e.Kind == audit.AuthenticationSucceeded && e.Time < is.Since:
				good[p] = true
			case e.Kind == audit.AuthenticationSucceeded:
				if since[p] == nil {
					since[p] = map[string]bool{}
				}
				since[p][e.Subject] = true
			case e.Time >= is.Since && r.Concerns(e, is.Group):
				bad[p] = true
			}
		}
		from = last
	}
	users := map[string]bool{}
	for p := range bad {
		if good[p] {
			out.Spared = append(out.Spared, p)
			continue
		}
		guessing = append(guessing, p)
		maps.Copy(users, since[p])
	}
	for _, all := range [][]netip.Prefix{guessing, out.Spared} {
		slices.SortFunc(all, func(x, y netip.Prefix) int { return x.Addr().Compare(y.Addr()) })
	}
	out.SignedIn = slices.Sorted(maps.Keys(users))
	return out, guessing, nil
}

// block blocks networks for a while, those not that block.Wise refuses nor those that are blocked.
func (a *Alerts) block(ctx context.Context, by Actor, networks []netip.Prefix, out Contained, note string, dry bool) (Contained, error) {
	for _, p := range networks {
		if !p.IsValid() || a.blocks.Blocked(p.Addr()) {
			continue
		}
		if len(out.Blocked) == containMost {
			out.More = true
			break
		}
		if err := a.blocks.wise(by, p); err != nil {
			out.Spared = append(out.Spared, p)
			continue
		}
		if !dry {
			if _, err := a.blocks.Block(ctx, by, p, BlockOptions{For: containFor, Reason: note}); err != nil {
				return out, err
			}
		}
		out.Blocked = append(out.Blocked, p)
	}
	return out, nil
}
