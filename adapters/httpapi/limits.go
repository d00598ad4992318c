package httpapi

import (
	"strconv"
	"strings"
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

// tellLimit puts the tightest bucket into the headers. An answer that has begun says nothing more.
func (x *exchange) tellLimit(v *app.Verdict) {
	if x.wrote {
		return
	}
	x.limits = x.api.quotas[v.Policy]
	if x.limits == nil { // of a class of an embedding program's own
		x.limits = quotaOf(v.Policy)
	}
	x.remaining, x.next = v.Decision.Remaining, seconds(v.Decision.Next())
	if x.conn != nil && x.stands {
		return // head.go writes them
	}
	h := x.Header()
	x.putLimit(func(name string, is []string) { h[name] = is })
}

// putLimit puts the tightest bucket into a map of headers. Its two values that are not constant are one text, of which one is a part.
func (x *exchange) putLimit(put func(name string, is []string)) {
	var array [64]byte
	x.told[0] = string(x.appendRateLimit(array[:0]))
	rest := x.told[0][len(x.limits.left):]
	x.told[1], _, _ = strings.Cut(rest, ";")
	put(rateLimit, x.told[0:1:1])
	put(rateLimitRemaining, x.told[1:2:2])
	put(rateLimitLimit, x.limits.limit)
	put(rateLimitPolicy, x.limits.policy)
}

// appendRateLimit appends the value of RateLimit. Its t is the time until one more token is there, as Retry-After is: a client that waits for it can go on.
func (x *exchange) appendRateLimit(b []byte) []byte {
	b = strconv.AppendInt(append(b, x.limits.left...), x.remaining, 10)
	return strconv.AppendInt(append(b, ";t="...), x.next, 10)
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
	return app.Charge{Class: r.class, User: who.User(), Session: session, Key: who.Claims.APIKey, KeyLimit: who.Limit, Contains: contains}
}
