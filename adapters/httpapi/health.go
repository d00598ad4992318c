package httpapi

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/xteam/xteam/ports"
)

type status struct {
	Status string `json:"status"`
}

// alive answers while the process serves at all.
func (a *API) alive(x *exchange) error { return x.write(http.StatusOK, status{"ok"}) }

// metrics answers in the registry's own format.
func (a *API) metrics(x *exchange) error {
	a.Metrics.ServeHTTP(x, x.r)
	return nil
}

// check is how one part is, with nothing that an outsider could use.
type check struct {
	Status    string  `json:"status"` // ok or fail; the store, the secrets and the revocations may be degraded
	LatencyMS float64 `json:"latency_ms"`
}

// ageCheck is a check of what is taken in from elsewhere. It has no age before that came in first.
type ageCheck struct {
	check `json:",inline"`
	AgeMS *float64 `json:"age_ms,omitempty"`
}

// lagCheck is a check of what is done behind the requests.
type lagCheck struct {
	check `json:",inline"`
	LagMS float64 `json:"lag_ms"` // how old the oldest event is of which it has not been done
}

// auditLate is how old an event may be that is not linked, or not where it is to go, before that is told of.
const auditLate = 10 * time.Second

type readiness struct {
	Status string `json:"status"`
	Checks struct {
		Revocation ageCheck  `json:"revocation"`
		Store      check     `json:"store"`
		Signing    check     `json:"signing"`
		RateLimit  check     `json:"rate_limit"`
		Secrets    *ageCheck `json:"secrets,omitempty"`
		Audit      *lagCheck `json:"audit,omitempty"`
		Sinks      *lagCheck `json:"sinks,omitempty"`     // the latest of the places that events go to
		Firewall   *lagCheck `json:"firewall,omitempty"`  // that is kept to what is blocked
		Isolation  *check    `json:"isolation,omitempty"` // of a node that is to serve nobody, for an incident
	} `json:"checks"`
}

// ready answers 200 while signed-in requests are answered, the store is there and tokens can be issued, else 503. Limits that cannot be counted are told of, and
// take nothing away; so is a store that takes no new users and sign-ins for lack of space, as long as it takes revocations: no other node would be better off. Revocations that are in force and not written down yet are told of too,
// and events that are not linked into the audit trail, or sent on, in time. A node that takes a canary that was revoked is not ready, nor is one that is isolated.
func (a *API) ready(x *exchange) error {
	begun := time.Now()
	st := a.View.Status()
	age, heard := a.View.Age()
	var out readiness
	out.Checks.Revocation.check = check{verdict(st.OK), ms(time.Since(begun))}
	if heard {
		old := ms(age)
		out.Checks.Revocation.AgeMS = &old
	}
	if st.OK && a.Pending != nil && a.Pending.Len() > 0 {
		out.Checks.Revocation.Status = "degraded"
	}
	ok, degraded, took := a.store.ask(x.ctx(), a.Probe)
	out.Checks.Store = check{verdict(ok), ms(took)}
	if degraded {
		out.Checks.Store.Status = "degraded"
	}
	begun = time.Now()
	signing := a.Sessions.CanIssue()
	out.Checks.Signing = check{verdict(signing), ms(time.Since(begun))}
	out.Checks.RateLimit = check{verdict(a.Limiter.Counts()), 0}
	if a.Secrets != nil {
		age, fault := a.Secrets.Status()
		old := ms(age)
		out.Checks.Secrets = &ageCheck{check{"ok", 0}, &old}
		if fault != nil { // the last good ones are used on
			out.Checks.Secrets.Status = "degraded"
		}
	}
	if a.Trail != nil {
		st := a.Trail.Status()
		out.Checks.Audit = &lagCheck{check{"ok", 0}, ms(st.Lag)}
		if st.Err != nil || st.Lag > auditLate { // events are kept, and linked later
			out.Checks.Audit.Status = "degraded"
		}
	}
	out.Checks.Sinks, out.Checks.Firewall = a.sinksCheck(), a.firewallCheck()
	takes := a.Nodes.Canary().Failed // what was revoked
	if takes {
		out.Checks.Revocation.Status = verdict(false)
	}
	if a.Incidents.Isolated() {
		out.Checks.Isolation = &check{"fail", 0}
	}
	all := st.OK && ok && signing && !takes && !a.Incidents.Isolated()
	out.Status = verdict(all)
	if all {
		return x.write(http.StatusOK, out)
	}
	x.Header().Set("Retry-After", "1")
	return x.write(http.StatusServiceUnavailable, out)
}

// sinksCheck is how the worst of the sinks goes, nil without any. Which they are nobody outside is told.
func (a *API) sinksCheck() *lagCheck {
	if a.Sinks == nil {
		return nil
	}
	var out *lagCheck
	for _, st := range a.Sinks.Status() {
		if out == nil {
			out = &lagCheck{check{"ok", 0}, 0}
		}
		out.after(st.Lag, st.Err)
	}
	return out
}

// firewallCheck is how the firewall is kept, nil without one.
func (a *API) firewallCheck() *lagCheck {
	if a.Firewall == nil {
		return nil
	}
	st := a.Firewall.Status()
	out := &lagCheck{check{"ok", 0}, 0}
	out.after(st.Lag, st.Err)
	return out
}

// after takes up how one more thing goes.
func (c *lagCheck) after(lag time.Duration, err error) {
	if err != nil || lag > auditLate { // it is tried again, and nothing is lost
		c.Status = "degraded"
	}
	c.LagMS = max(c.LagMS, ms(lag))
}

// The store is asked at most once in askEvery, however many ask for /readyz, which no limit holds back, and has askTimeout to answer.
const (
	askEvery   = 200 * time.Millisecond
	askTimeout = time.Second
)

// asked remembers what the store answered last. The zero value has not asked.
type asked struct {
	mu       sync.Mutex
	at       time.Time
	took     time.Duration
	ok       bool
	degraded bool
}

// ask answers whether the store answers, whether it takes nothing new all the same, and how long it took. The question outlives whoever asks: others wait for its answer.
func (s *asked) ask(ctx context.Context, probe func(context.Context) error) (ok, degraded bool, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at.IsZero() || time.Since(s.at) >= askEvery {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
		defer cancel()
		begun := time.Now()
		err := probe(ctx)
		s.degraded = errors.Is(err, ports.ErrNoSpace)
		s.ok = err == nil || s.degraded
		s.at = time.Now()
		s.took = s.at.Sub(begun)
	}
	return s.ok, s.degraded, s.took
}

func verdict(ok bool) string {
	if ok {
		return "ok"
	}
	return "fail"
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
