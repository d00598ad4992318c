package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/audit"
)

// after is the checklist of a deployment that runs, in the order of the contract.
var after = []examination{
	{"auth_failures.counted", false, failuresCounted},
	{"ratelimit.counted", false, limitsCounted},
	{"alerts.delivered", false, alertsDelivered},
	{"revocation.works", false, revocationWorks},
	{"health.answers", false, healthAnswers},
	{"headers.seen", false, headersSeen},
	{"validation.routes", false, routesValidate},
	{"audit.verifies", false, auditVerifies},
	{"audit.reviewed", false, auditReviewed},
	{"clock.skew", false, clockSkew},
	{"keys.age", false, keysAge},
	{"apikeys.age", false, apiKeysAge},
}

// disturbing are the checks that others may notice, which are gone through when all others are over: one spends this address's sign-ins of a minute, one sends an alert.
var disturbing = []string{"ratelimit.counted", "alerts.delivered"}

// examineLive goes through the checklist of what runs, the disturbing checks last, and answers it in its order.
func examineLive(ctx context.Context, p *patient) diagnosis {
	order := slices.Clone(after)
	slices.SortStableFunc(order, func(a, b examination) int {
		return slices.Index(disturbing, a.id) - slices.Index(disturbing, b.id)
	})
	d := examine(ctx, p, order, liveWithin)
	place := func(id string) int {
		return slices.IndexFunc(after, func(e examination) bool { return e.id == id })
	}
	slices.SortFunc(d.Checks, func(a, b finding) int { return place(a.ID) - place(b.ID) })
	return d
}

// sawIt is what became of something that must be told of in three places.
type sawIt struct {
	metric, log, event bool
	why                []string // what could not be looked at, or was not found
	blind              bool     // one of them could not be looked at, and none was looked at in vain
}

func (s *sawIt) missed(format string, args ...any) {
	s.why = append(s.why, fmt.Sprintf(format, args...))
}

// finding is of what, with the fix for one that was not told of everywhere.
func (s *sawIt) finding(what string) finding {
	var seen []string
	for name, is := range map[string]bool{"the metrics": s.metric, "the log": s.log, "the events": s.event} {
		if is {
			seen = append(seen, name)
		}
	}
	slices.Sort(seen)
	text := what + " shows in " + strings.Join(seen, " and ")
	if len(seen) == 0 {
		text = what + " shows nowhere"
	}
	switch {
	case len(seen) == 3:
		return pass("%s shows in the events, the log and the metrics", what)
	case s.blind:
		return unseen("run this where the server runs, with its settings, or give --log FILE and --metrics URL", "%s; %s", text, strings.Join(s.why, "; "))
	}
	return fail("see that the URL, the administrator's side, the log and the metrics are of one system, and LOG_LEVEL is INFO or WARNING", "%s; %s", text, strings.Join(s.why, "; "))
}

// look waits until a request is told of: by a line of the log with a message, and by a metric that was at a figure before.
func (l *living) look(ctx context.Context, id, message, series string, before float64, s *sawIt) {
	failed, blind := false, false
	if l.log == "" {
		blind = true
		s.missed("the log goes to stderr, and cannot be read here")
	} else {
		var err error
		s.log = await(ctx, func() bool { var is bool; is, err = l.logged(message, id); return is || err != nil }) && err == nil
		switch {
		case err != nil:
			blind = true
			s.missed("the log cannot be read: %v", err)
		case !s.log:
			failed = true
			s.missed("%s has no line %q of the request %s", l.log, message, id)
		}
	}
	var err error
	counted := false
	s.metric = await(ctx, func() bool {
		var page string
		if page, err = l.figures(ctx); err != nil {
			return true
		}
		now, ok := summed(page, series)
		counted = ok
		return ok && now > before
	}) && err == nil
	switch {
	case err != nil:
		blind = true
		s.missed("the metrics cannot be read: %v", err)
	case !counted:
		blind = true
		s.missed("this version has no metric of %s", series)
	case !s.metric:
		failed = true
		s.missed("the metrics did not count it: behind several servers, give --live the address of the one whose metrics these are")
	}
	s.blind = blind && !failed && s.event
}

// counter is what the metrics say of a series now; 0 when they cannot be read, which look tells of.
func (l *living) counter(ctx context.Context, series string) float64 {
	page, err := l.figures(ctx)
	if err != nil {
		return 0
	}
	n, _ := summed(page, series)
	return n
}

// failuresCounted signs in with a wrong password, to an account that there is not.
func failuresCounted(ctx context.Context, p *patient) finding {
	l, series := p.live, `kind="`+string(audit.AuthenticationFailed)+`"`
	var trail auditPage
	if err := l.admin.get(ctx, auditPath+"?limit=1", &trail); err != nil {
		return unseen("see to the administrator's side", "the audit trail cannot be read: %v", err)
	}
	before := l.counter(ctx, series)
	body := fmt.Sprintf(`{"email":"nobody-%s@probe.invalid","password":"wrong-%s"}`, strings.ToLower(rand.Text()), rand.Text())
	got, err := l.ask(ctx, l.front, http.MethodPost, loginPath, "", body)
	switch {
	case err != nil:
		return unseen("see that the URL is right and can be reached from here", "a wrong password: %v", err)
	case got.status != http.StatusUnauthorized:
		return fail("give --live the URL of the service itself", "a wrong password was answered with %d %s, not 401", got.status, got.problem().Code)
	case got.id() == "":
		return fail("have the proxy leave X-Request-Id as it is", "the answer to a wrong password names no request")
	}
	var s sawIt
	from := trail.Last
	s.event = await(ctx, func() bool {
		var page auditPage
		if l.admin.get(ctx, auditPath+"?limit=100&after="+strconv.FormatUint(from, 10), &page) != nil {
			return false
		}
		from = max(from, page.Next)
		return slices.ContainsFunc(page.Items, func(e auditEvent) bool {
			return e.RequestID == got.id() && e.Kind == string(audit.AuthenticationFailed)
		})
	})
	if !s.event {
		s.missed("the audit trail has no event of the request %s", got.id())
	}
	l.look(ctx, got.id(), audit.AuthenticationFailed.Message(), series, before, &s)
	return s.finding("a wrong password")
}

// maxLimitTries is how many requests are sent to meet a limit.
const maxLimitTries = 300

// limitsCounted signs in with nothing at all until a limit says no.
func limitsCounted(ctx context.Context, p *patient) finding {
	l := p.live
	const series = "xteam_rate_limited_total{"
	on := "RATE_LIMIT_ENABLED=true"
	events, err := l.follow(ctx, string(audit.RateLimited))
	if err != nil {
		return unseen("see to the administrator's side", "the live events cannot be followed: %v", err)
	}
	defer events.close()
	before := l.counter(ctx, series)
	var got *reply
	for n := 1; ; n++ {
		if got, err = l.ask(ctx, l.hasty, http.MethodPost, loginPath, "", "{"); err != nil {
			return unseen("see that the URL is right and can be reached from here", "a sign-in: %v", err)
		}
		if got.status == http.StatusTooManyRequests {
			break
		}
		limit, _ := strconv.Atoi(got.header.Get("X-RateLimit-Limit"))
		switch {
		case limit == 0:
			return fail(on, "an answer tells of no limit")
		case limit > maxLimitTries-50:
			return unseen("see to RATE_LIMIT_AUTH: it is 5 unless it is set", "%d sign-ins a minute are too many to be tried here", limit)
		case n > limit+50:
			return fail(on+", and have the proxies name the client in TRUSTED_PROXY_HEADER", "%d sign-ins in a row were let through, of %d a minute", n, limit)
		}
	}
	if code := got.problem().Code; code != "rate_limited" || got.header.Get("Retry-After") == "" {
		return fail("have the proxy leave 429 as it is", "a refusal says %q, and when to ask again: %q", code, got.header.Get("Retry-After"))
	}
	var s sawIt
	if s.event = events.saw(ctx, got.id()); !s.event {
		s.missed("no event tells of the request %s: behind several servers, give --live the address of the one that is asked for them", got.id())
	}
	l.look(ctx, got.id(), audit.RateLimited.Message(), series, before, &s)
	return s.finding("a request beyond a limit")
}

// followed are the live events of one kind.
type followed struct {
	ids   chan string // of the requests that they are of
	close func()
}

// follow tells of the events of a kind from now on.
func (l *living) follow(ctx context.Context, kind string) (*followed, error) {
	ctx, cancel := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://operator/api/v1/admin/events", http.NoBody)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("Accept", "text/event-stream")
	client := &http.Client{Transport: l.admin.http.Transport} // without a limit of time: ctx has one
	res, err := client.Do(req)                                //nolint:bodyclose // close closes it, or the lines below
	if err != nil {
		cancel()
		return nil, unreached(err)
	}
	if res.StatusCode != http.StatusOK {
		cancel()
		_ = res.Body.Close()
		return nil, fmt.Errorf("they are answered with %d", res.StatusCode)
	}
	f := &followed{make(chan string, 64), func() { cancel(); _ = res.Body.Close() }}
	go func() {
		defer close(f.ids)
		for lines := bufio.NewReader(io.LimitReader(res.Body, 64*maxAnswer)); ; {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			var e struct {
				Kind      string `json:"kind"`
				RequestID string `json:"request_id"`
			}
			data, ok := strings.CutPrefix(line, "data:")
			if !ok || json.Unmarshal([]byte(data), &e) != nil || e.Kind != kind {
				continue
			}
			select {
			case f.ids <- e.RequestID:
			case <-ctx.Done():
				return
			}
		}
	}()
	return f, nil
}

// saw waits for the event of a request.
func (f *followed) saw(ctx context.Context, id string) bool {
	ctx, cancel := context.WithTimeout(ctx, awaitFor)
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return false
		case got, ok := <-f.ids:
			if !ok || got == id {
				return ok
			}
		}
	}
}

// alertsPath asks for an alert that means nothing.
const alertsPath = "/api/v1/admin/alerts/test"

// alertsDelivered has a test alert sent.
func alertsDelivered(ctx context.Context, p *patient) finding {
	var got struct {
		Delivered *bool  `json:"delivered"`
		Reason    string `json:"reason"`
	}
	err := p.live.admin.post(ctx, alertsPath, struct{}{}, &got)
	if no := (*refusal)(nil); errors.As(err, &no) && (no.Status == http.StatusNotFound || no.Status == http.StatusMethodNotAllowed) {
		return unseen("have Prometheus alert by .deploy/prometheus/xteam.rules.yml meanwhile", "this version sends no alerts by itself")
	}
	switch {
	case err != nil:
		return fail("see to ALERT_WEBHOOK_URL", "a test alert could not be sent: %v", err)
	case got.Delivered == nil:
		return unseen("set ALERT_WEBHOOK_URL, or have Prometheus alert by .deploy/prometheus/xteam.rules.yml", "a test alert was raised; %s", cmp.Or(got.Reason, "whether it arrived was not said"))
	case !*got.Delivered:
		return fail("see to ALERT_WEBHOOK_URL, and whether it can be reached from the server", "a test alert did not arrive: %s", got.Reason)
	}
	return pass("a test alert arrived")
}

// revocationWorks revokes a token that was used, and uses it again.
func revocationWorks(ctx context.Context, p *patient) finding {
	l := p.live
	token, err := l.probe.signIn(ctx)
	if err != nil {
		return unseen("give --live the URL of the system that the administrator's side is of", "%v", err)
	}
	if got, err := l.ask(ctx, l.front, http.MethodGet, mePath, token, ""); err != nil || got.status != http.StatusOK {
		return fail("have the proxy pass Authorization on", "a new token is not taken: %s", told(got, err))
	}
	var hit revoked
	began := time.Now()
	if err := l.admin.post(ctx, revocationsPath, revocationRequest{User: l.probe.made.ID, Reason: "xteam doctor"}, &hit); err != nil {
		return fail("see to the store: xteam nodes, /readyz", "the token could not be revoked: %v", err)
	}
	asked := 2*len(hit.Nodes) + 2 // behind several nodes, each has a good chance
	for n := range asked {
		got, err := l.ask(ctx, l.front, http.MethodGet, mePath, token, "")
		switch {
		case err != nil:
			return unseen("see that the URL can be reached from here", "a revoked token: %v", err)
		case got.status/100 == 2:
			return fail("have no proxy keep answers; xteam nodes shows whether a server takes revoked tokens", "a token was still taken %v after its revocation was answered, at the request %d", time.Since(began).Round(time.Millisecond), n+1)
		case got.problem().Code != "token_revoked":
			return fail("have the proxy leave answers as they are", "a revoked token was answered %s, not 401 token_revoked", told(got, nil))
		}
	}
	took := "at once"
	if len(hit.Nodes) > 0 {
		took = strings.TrimPrefix(seenBy(hit.Nodes, nil), "; ")
	}
	if len(hit.Missing) > 0 {
		return fail("xteam nodes shows how they are", "the token is refused at the URL, but %s did not say in time that it refuses it", strings.Join(hit.Missing, ", "))
	}
	return pass("a token that was revoked is refused; %s", took)
}

// told is an answer in a few words.
func told(got *reply, err error) string {
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(strconv.Itoa(got.status) + " " + got.problem().Code)
}

// healthAnswers asks the three probes.
func healthAnswers(ctx context.Context, p *patient) finding {
	var weak []string
	for _, path := range []string{"/health", "/healthz", "/readyz"} {
		got, err := p.live.ask(ctx, p.live.front, http.MethodGet, path, "", "")
		if err != nil {
			return fail("see that the server runs, and that the URL is right and can be reached from here", "%s: %v", path, err)
		}
		var said struct {
			Status string `json:"status"`
			Checks map[string]struct {
				Status string `json:"status"`
			} `json:"checks"`
		}
		if json.Unmarshal(got.body, &said) != nil || said.Status == "" {
			return fail("have the proxy pass /health, /healthz and /readyz on", "%s was answered with %d, and not by the server", path, got.status)
		}
		var bad []string
		for name, c := range said.Checks {
			if c.Status != "ok" {
				bad = append(bad, name+" is "+c.Status)
			}
		}
		slices.Sort(bad)
		if got.status != http.StatusOK {
			return fail("see to what it says", "%s says %d: %s", path, got.status, strings.Join(append(bad, said.Status), ", "))
		}
		weak = append(weak, bad...)
	}
	if len(weak) > 0 {
		return warn("see the log for the reason", "all three answer 200, but %s", strings.Join(weak, ", "))
	}
	return pass("/health, /healthz and /readyz answer 200")
}

// headersSeen looks at the headers of answers of different kinds.
func headersSeen(ctx context.Context, p *patient) finding {
	l := p.live
	wrong := map[string]string{}
	for _, path := range []string{"/health", mePath, "/nowhere-" + strings.ToLower(rand.Text())} {
		got, err := l.ask(ctx, l.front, http.MethodGet, path, "", "")
		if err != nil {
			return unseen("see that the URL is right and can be reached from here", "%s: %v", path, err)
		}
		for name, want := range httpapi.Headers() {
			switch is := got.header.Values(name); {
			case len(is) == 0:
				wrong[name] = name + " is missing"
			case !sameHeader(name, is, want):
				wrong[name] = fmt.Sprintf("%s is %q", name, strings.Join(is, " | "))
			}
		}
		if got.id() == "" {
			wrong["X-Request-Id"] = "X-Request-Id is missing"
		}
		const hsts = "Strict-Transport-Security"
		if strings.HasPrefix(l.base, "https:") && !strings.Contains(got.header.Get(hsts), "max-age=") {
			wrong[hsts] = hsts + " is missing: the server is not told that its clients come over TLS"
		}
	}
	var all []string
	for _, text := range wrong {
		all = append(all, text)
	}
	slices.Sort(all)
	if len(all) > 0 {
		return fail("have the proxy leave them as they are, and name it in TRUSTED_PROXIES with X-Forwarded-Proto", "%s", strings.Join(all, "; "))
	}
	what := fmt.Sprintf("%d headers stand on answers of 200, 401 and 404", len(httpapi.Headers())+1)
	u, err := url.Parse(l.base)
	switch {
	case strings.HasPrefix(l.base, "https:"):
		return pass("%s, and Strict-Transport-Security", what)
	case err == nil && loopback(net.JoinHostPort(u.Hostname(), "0")):
		return pass("%s; over TLS there is one more", what)
	}
	return fail("give --live the https:// URL, and serve no other", "%s, but clients come without TLS: Strict-Transport-Security is never sent", what)
}

// sameHeader reports whether a header says what it must. Of lists that say what may be kept and what an answer hangs on, a proxy may add to what is there.
func sameHeader(name string, is []string, want string) bool {
	if name == "Vary" || name == "Cache-Control" {
		return strings.Contains(strings.ToLower(strings.Join(is, ",")), strings.ToLower(want))
	}
	return !slices.ContainsFunc(is, func(s string) bool { return s != want })
}

// routesValidate sends a body that is cut off to every route that takes one. Such a body can ask for nothing.
func routesValidate(ctx context.Context, p *patient) finding {
	l := p.live
	got, err := l.ask(ctx, l.front, http.MethodGet, "/openapi.json", "", "")
	var described struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err != nil || got.status != http.StatusOK || json.Unmarshal(got.body, &described) != nil || len(described.Paths) == 0 {
		return fail("have the proxy pass /openapi.json on", "/openapi.json: %s", told(got, err))
	}
	token, err := l.probe.signIn(ctx)
	if err != nil {
		return unseen("give --live the URL of the system that the administrator's side is of", "%v", err)
	}
	key, err := l.probe.apiKey(ctx, token)
	if err != nil {
		return unseen("see to the answer", "%v", err)
	}
	var took []string
	tried := 0
	for path, methods := range described.Paths {
		for method, raw := range methods {
			var o struct {
				Body *struct {
					Content map[string]any `json:"content"`
				} `json:"requestBody"`
				Security []any `json:"security"`
			}
			if json.Unmarshal(raw, &o) != nil || o.Body == nil {
				continue
			}
			tried++
			media, body := "application/json", `{"doctor": "cut o`
			if _, form := o.Body.Content["application/x-www-form-urlencoded"]; form {
				media, body = "application/x-www-form-urlencoded", "token=%zz&token"
			}
			client, base, bearer := l.front, l.base, token
			switch {
			case strings.Contains(path, "/oauth/"): // whose clients are programs
				bearer = key
			case strings.Contains(path, "/admin/"):
				client, base, bearer = l.admin.http, "http://operator", ""
			case o.Security != nil && len(o.Security) == 0:
				bearer = ""
			}
			name := strings.ToUpper(method) + " " + path
			got, err := send(ctx, client, strings.ToUpper(method), base+filled(path, p), bearer, media, body)
			if err != nil {
				return unseen("see that the URL can be reached from here", "%s: %v", name, err)
			}
			if got.status != http.StatusBadRequest && got.status != http.StatusUnprocessableEntity && got.status != http.StatusUnsupportedMediaType { // of a route that takes no JSON
				took = append(took, fmt.Sprintf("%s answered %s", name, told(got, nil)))
			}
		}
	}
	slices.Sort(took)
	switch {
	case tried == 0:
		return fail("have the proxy pass /openapi.json on as it is", "/openapi.json describes no route that takes a body")
	case len(took) > 0:
		return fail("see what stands before the server, or tell us", "of %d routes some did not refuse a body that was cut off: %s", tried, strings.Join(took, "; "))
	}
	return pass("%d routes refuse a body that is cut off", tried)
}

// filled puts the probe's id in the place of each parameter of a path: there may be a record of that name or not, before the body is read nobody asks.
func filled(path string, p *patient) string {
	for {
		before, rest, ok := strings.Cut(path, "{")
		if !ok {
			return path
		}
		_, after, _ := strings.Cut(rest, "}")
		path = before + p.live.probe.made.ID + after
	}
}

// trail verifies the audit trail, once.
func (l *living) trail(ctx context.Context) (*auditReport, error) {
	if l.report == nil && l.reportErr == nil {
		client := &http.Client{Transport: l.admin.http.Transport} // a long trail takes longer than other answers
		l.report = new(auditReport)
		if _, l.reportErr = exchange(ctx, client, http.MethodGet, "http://operator"+auditPath+"/verify", "", nil, l.report); l.reportErr != nil {
			l.report = nil
		}
	}
	return l.report, l.reportErr
}

func auditVerifies(ctx context.Context, p *patient) finding {
	r, err := p.live.trail(ctx)
	switch {
	case err != nil:
		return unseen("xteam audit verify", "the trail could not be verified: %v", err)
	case !r.OK:
		var all []string
		for _, f := range r.Findings {
			all = append(all, f.Text)
		}
		if r.holds() {
			return warn("xteam audit verify names every place; see who could write to the store", "%d records hold, and %d of them stand for events that were lost: %s", r.Records, r.Lost, strings.Join(all[:min(len(all), 3)], "; "))
		}
		return fail("xteam audit verify names every place; keep a copy, and see who could write to the store", "%s", strings.Join(all[:min(len(all), 3)], "; "))
	}
	return pass("%d records up to %d hold, and %d checkpoints", r.Records, r.Last, r.Points)
}

// lateReview is the time after which the trail should be looked through again.
const lateReview = 31 * day

func auditReviewed(ctx context.Context, p *patient) finding {
	r, err := p.live.trail(ctx)
	const how = "look through it, then: xteam audit review --note \"what was looked at\""
	switch {
	case err != nil:
		return unseen("xteam audit verify", "the trail could not be read: %v", err)
	case r.Reviewed == nil:
		return fail(how, "nobody has reviewed the audit trail, as far as is kept")
	case p.now.Sub(*r.Reviewed) > lateReview:
		return fail(how, "the last review of the audit trail is of %s, %d days ago", r.Reviewed.Format(time.DateOnly), int(p.now.Sub(*r.Reviewed)/day))
	}
	return pass("the audit trail was last reviewed on %s", r.Reviewed.Format(time.DateOnly))
}

// slightSkew is an offset from which clocks should be seen to; from app.OffBy on the server itself tells of it.
const slightSkew = 2 * time.Second

// clockSkew compares this host's clock with the server's, by the header Date, and takes the server's word for those of its stores, which all its nodes are compared with.
func clockSkew(ctx context.Context, p *patient) finding {
	l := p.live
	asked := time.Now()
	got, err := l.ask(ctx, l.front, http.MethodGet, "/health", "", "")
	took := time.Since(asked)
	if err != nil {
		return unseen("see that the URL is right and can be reached from here", "%v", err)
	}
	date, err := http.ParseTime(got.header.Get("Date"))
	if err != nil {
		return unseen("have the proxy leave Date as it is", "the answer has no time")
	}
	// The header was written in the second that begins with date, at some time while the answer was waited for.
	host := date.Sub(p.now.Add(asked.Sub(p.began)))
	switch {
	case host > took:
		host -= took
	case host < -time.Second:
		host += time.Second
	default:
		host = 0
	}
	stores, known := time.Duration(0), false
	page, err := l.figures(ctx)
	if err == nil {
		var s float64
		s, known = summed(page, "xteam_clock_offset_seconds")
		stores = time.Duration(s * float64(time.Second))
	}
	seen := fmt.Sprintf("the server is %v off this host, its stores %v off the server", host.Abs().Round(100*time.Millisecond), stores.Abs().Round(time.Millisecond))
	const how = "set the clocks by NTP"
	switch worst := max(host.Abs(), stores.Abs()); {
	case worst >= app.OffBy:
		return fail(how, "%s", seen)
	case !known:
		return unseen("give --metrics URL", "the server is %v off this host; of its stores: %v", host.Abs().Round(100*time.Millisecond), err)
	case worst >= slightSkew:
		return warn(how, "%s", seen)
	}
	return pass("%s", seen)
}

// oldKey is the age of a key that should have been followed by another, unless KEY_ROTATION_INTERVAL says when.
const oldKey = 90 * day

func keysAge(ctx context.Context, p *patient) finding {
	var all signingKeys
	if err := p.live.admin.get(ctx, keysPath, &all); err != nil || len(all.Items) == 0 {
		return unseen("see to the administrator's side", "the keys cannot be read: %v", err)
	}
	most := oldKey
	if p.s.Rotation > 0 {
		most = p.s.Rotation + time.Hour // which it may be late, by itself
	}
	k := all.Items[0]
	age := p.now.Sub(k.Created)
	what := fmt.Sprintf("the key that signs, %s (%s), is %d days old", k.KID, k.Algorithm, int(age/day))
	switch {
	case age > most:
		return fail("xteam keys rotate, or KEY_ROTATION_INTERVAL to have it done by itself", "%s; %d is the most", what, int(most/day))
	case age > most-most/10:
		return warn("xteam keys rotate --graceful, or KEY_ROTATION_INTERVAL to have it done by itself", "%s; %d is the most", what, int(most/day))
	}
	return pass("%s", what)
}

// oldAPIKey is the age of an API key that should have been rotated: what one lives unless it is said otherwise.
const oldAPIKey = 90 * day

// maxOwners is how many accounts are asked for their keys.
const maxOwners = 2000

func apiKeysAge(ctx context.Context, p *patient) finding {
	var old []string
	owners, live := 0, 0
	cursor := ""
	for more := true; more; {
		var page listed[user]
		if err := p.live.admin.get(ctx, usersPath+"?"+url.Values{"limit": {"100"}, "cursor": {cursor}}.Encode(), &page); err != nil {
			return unseen("see to the administrator's side", "the accounts cannot be listed: %v", err)
		}
		for i := range page.Items {
			if owners++; owners > maxOwners {
				return keysFound(old, live, maxOwners, false)
			}
			var keys apiKeys
			if err := p.live.admin.get(ctx, apiKeysPath+"?"+url.Values{"user": {page.Items[i].ID}}.Encode(), &keys); ctx.Err() != nil {
				return keysFound(old, live, owners-1, false)
			} else if err != nil {
				return unseen("see to the administrator's side", "the API keys cannot be listed: %v", err)
			}
			for j := range keys.Items {
				if k := &keys.Items[j]; k.Status == "live" {
					if live++; p.now.Sub(k.Created) > oldAPIKey {
						old = append(old, fmt.Sprintf("%s of %s, %d days", k.ID, page.Items[i].Username, int(p.now.Sub(k.Created)/day)))
					}
				}
			}
		}
		if more = page.Next != nil; more {
			cursor = *page.Next
		}
	}
	return keysFound(old, live, owners, true)
}

// keysFound is what was found among the keys of so many accounts, which are all or not.
func keysFound(old []string, live, owners int, all bool) finding {
	switch {
	case len(old) > 0:
		more := ""
		if n := len(old) - 5; n > 0 {
			more = fmt.Sprintf(", and %d more", n)
			old = old[:5]
		}
		return fail("have their owners rotate them: POST /api/v1/api-keys/ID/rotate", "API keys that live for more than %d days: %s%s", int(oldAPIKey/day), strings.Join(old, ", "), more)
	case !all:
		return unseen("run this on the server's host, at its socket, when there is little to do", "no old API key among those of the first %d accounts; there are more", owners)
	}
	return pass("%d API keys live, none for more than %d days", live, int(oldAPIKey/day))
}
