package httpapi

import (
	"strconv"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/id"
)

// quota is what answers say of a policy that never changes; the slices are shared.
type quota struct {
	limit  []string // X-RateLimit-Limit
	policy []string // RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10, section 3)
	left   string   // how RateLimit begins (section 4)
}

func quotaOf(p *app.Policy) *quota {
	n := strconv.FormatInt(p.Limit.Capacity, 10)
	name := `"` + p.Name + `"`
	return &quota{[]string{n}, []string{name + ";q=" + n + ";w=" + strconv.FormatInt(int64(p.Limit.Period/time.Second), 10)}, name + ";r="}
}

func quotas(all []*app.Policy) map[*app.Policy]*quota {
	m := make(map[*app.Policy]*quota, len(all))
	for _, p := range all {
		m[p] = quotaOf(p)
	}
	return m
}

// limit charges the request, tells the client of the tightest of its buckets, and answers the refusal when there is one. The operator is not limited.
func (x *exchange) limit(c app.Charge) error {
	l := x.api.Limiter
	if l == nil || x.ctx().Value(operatorKey{}) != nil {
		return nil
	}
	c.Address = x.client()
	v, err := l.Take(x.ctx(), c)
	if v.Policy != nil {
		x.tellLimit(&v)
	}
	if v.Exceeded && x.api.Meter != nil {
		x.api.Meter.Limited(v.Policy.Name)
	}
	if v.Exceeded {
		l.Exceeded(x.ctx(), x.request(), x.endpoint(), c, v)
	}
	return err
}

// tellLimit puts the tightest bucket into the headers. RateLimit's t is the time until one more token is there, as Retry-After is: a client that waits for it can go on.
func (x *exchange) tellLimit(v *app.Verdict) {
	q := x.api.quotas[v.Policy]
	if q == nil { // of a class of an embedding program's own
		q = quotaOf(v.Policy)
	}
	var array [64]byte
	text := append(array[:0], q.left...)
	from := len(text)
	text = strconv.AppendInt(text, v.Decision.Remaining, 10)
	to := len(text)
	text = append(text, ";t="...)
	text = strconv.AppendInt(text, seconds(v.Decision.Next()), 10)
	x.told[0] = string(text)
	x.told[1] = x.told[0][from:to]
	h := x.Header()
	h["Ratelimit"] = x.told[0:1:1]
	h["X-Ratelimit-Remaining"] = x.told[1:2:2]
	h["X-Ratelimit-Limit"] = q.limit
	h["Ratelimit-Policy"] = q.policy
}

// seconds is d in whole seconds, rounded up.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// charge is what a request to a route costs whoever asks. Who was not admitted is nobody: a token that was refused costs its subject nothing. Who may not use an
// administrator's route contains nothing by it. A key without the
// route's scope costs its owner nothing either, and the address always something: each is told of.
func (r *route) charge(who app.Caller, admitted error) app.Charge {
	if admitted != nil && r.class == exempt || admitted == nil && !who.May(r.needs()) { // exempt: of an embedding program, which limits what it lets in by itself
		return app.Charge{Class: unclassed}
	}
	if admitted != nil || who.Claims == nil {
		return app.Charge{Class: r.class}
	}
	session := who.Session()
	if who.IsKey() { // a credential of its own, as a session's token is: two random ids never meet
		session = id.Session(who.Claims.APIKey)
	}
	contains := r.contains && (r.access != admin || who.IsAdmin()) && !(r.bySession && who.IsKey())
	return app.Charge{Class: r.class, User: who.User(), Session: session, Key: who.Claims.APIKey, Contains: contains}
}
