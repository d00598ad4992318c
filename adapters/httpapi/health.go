package httpapi

import (
	"context"
	"net/http"
	"time"
)

type status struct {
	Status string `json:"status"`
}

// alive answers while the process serves at all.
func (a *API) alive(x *exchange) error { return x.write(http.StatusOK, status{"ok"}) }

// check is how one part is, with nothing that an outsider could use.
type check struct {
	Status    string   `json:"status"` // ok or fail
	LatencyMS *float64 `json:"latency_ms,omitempty"`
	AgeMS     *float64 `json:"age_ms,omitempty"`
}

type readiness struct {
	Status string           `json:"status"`
	Checks map[string]check `json:"checks"`
}

// ready answers 200 while signed-in requests are answered and the store is there, else 503.
func (a *API) ready(x *exchange) error {
	ctx, cancel := context.WithTimeout(x.ctx(), time.Second)
	defer cancel()
	st := a.View.Status()
	age, heard := a.View.Age()
	view := check{Status: verdict(st.OK)}
	if heard {
		view.AgeMS = ms(age)
	}
	begun := time.Now()
	err := a.Probe(ctx)
	store := check{Status: verdict(err == nil), LatencyMS: ms(time.Since(begun))}
	all := st.OK && err == nil
	code := http.StatusOK
	if !all {
		code = http.StatusServiceUnavailable
		x.Header().Set("Retry-After", "1")
	}
	return x.write(code, readiness{verdict(all), map[string]check{"revocation": view, "store": store}})
}

func verdict(ok bool) string {
	if ok {
		return "ok"
	}
	return "fail"
}

func ms(d time.Duration) *float64 {
	v := float64(d.Microseconds()) / 1000
	return &v
}
