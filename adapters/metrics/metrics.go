// Package metrics serves what the service counts, in the text format of Prometheus. Every label has its values from a fixed set: nothing that a client sends, and
// nobody's name, becomes one.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/xteam/xteam/ports"
)

// Registry holds the metrics of one system.
type Registry struct {
	all     *prometheus.Registry
	guarded map[string]prometheus.Counter // by outcome; never changed
	judging prometheus.Histogram
	limited *prometheus.CounterVec
	visible prometheus.Histogram
	waiting prometheus.Histogram
	hashing prometheus.Histogram
	told    *prometheus.CounterVec
}

var _ ports.Meter = (*Registry)(nil)

// outcomes are how a request that the guard judged can end. What is not among them is counted as "other".
var outcomes = []string{"admitted", "forbidden", "token_missing", "token_malformed", "token_invalid", "token_expired", "token_revoked", "revocations_stale",
	"rate_limited", "address_blocked"}

// New is a registry with everything at 0, and with what the Go runtime and the operating system tell of the process.
func New() *Registry {
	guarded := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "xteam_guard_requests_total",
		Help: "Requests that the guard judged, by how that ended."}, []string{"outcome"})
	r := &Registry{
		all:     prometheus.NewRegistry(),
		guarded: map[string]prometheus.Counter{},
		judging: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "xteam_guard_duration_seconds",
			Help:    "How long the guard took for a request: credential, signature, policy, revocations and limits.",
			Buckets: []float64{1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 1e-3, 1e-2, 1e-1}}),
		limited: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "xteam_rate_limited_total",
			Help: "Requests that found a bucket without enough tokens, by the policy that held them back."}, []string{"policy"}),
		visible: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "xteam_revocation_visible_seconds",
			Help:    "Time from the call that asked for a revocation until this node refuses what it names.",
			Buckets: []float64{1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 0.1, 0.25, 1, 2.5, 10}}),
		waiting: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "xteam_password_hash_wait_seconds",
			Help:    "How long a password waited for the gate of the hasher; those that were turned away are not among them.",
			Buckets: []float64{1e-4, 1e-2, 5e-2, 0.1, 0.25, 0.5, 1, 2.5, 5}}),
		hashing: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "xteam_password_hash_duration_seconds",
			Help:    "How long the hash of a password took to compute, or the comparison with one.",
			Buckets: []float64{1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1, 2.5, 5}}),
	}
	r.told = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "xteam_events_total",
		Help: "Security events that were told on this node, by their kind and how they ended."}, []string{"kind", "outcome"})
	r.all.MustRegister(guarded, r.judging, r.limited, r.visible, r.waiting, r.hashing, r.told,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, o := range append(outcomes, other) {
		r.guarded[o] = guarded.WithLabelValues(o)
	}
	return r
}

const other = "other"

// Policies names what Limited can be told, so that each is there at 0 before anything happens. It is to be called once.
func (r *Registry) Policies(names []string) {
	for _, n := range names {
		r.limited.WithLabelValues(n)
	}
}

// Guarded implements ports.Meter.
func (r *Registry) Guarded(outcome string, took time.Duration) {
	n, ok := r.guarded[outcome]
	if !ok {
		n = r.guarded[other]
	}
	n.Inc()
	r.judging.Observe(took.Seconds())
}

// Limited implements ports.Meter.
func (r *Registry) Limited(policy string) { r.limited.WithLabelValues(policy).Inc() }

// Visible implements ports.Meter.
func (r *Registry) Visible(took time.Duration) { r.visible.Observe(max(took, 0).Seconds()) }

// Told implements ports.Meter.
func (r *Registry) Told(kind, outcome string) { r.told.WithLabelValues(kind, outcome).Inc() }

// Hashed implements ports.Meter.
func (r *Registry) Hashed(waited, took time.Duration) {
	r.waiting.Observe(waited.Seconds())
	r.hashing.Observe(took.Seconds())
}

// Gauge adds a figure that is asked for whenever the metrics are read. ask must answer at once; names are unique, begin with xteam_ and end with their unit.
func (r *Registry) Gauge(name, help string, ask func() float64) {
	r.all.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, ask))
}

// Gauges adds figures of one name, as Gauge does, by the values of a label: of a fixed set, as all are.
func (r *Registry) Gauges(name, help, label string, ask map[string]func() float64) {
	for value, one := range ask {
		r.all.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: prometheus.Labels{label: value}}, one))
	}
}

// Counter adds a figure that only rises, and is asked for as a Gauge is; its name ends with _total.
func (r *Registry) Counter(name, help string, ask func() float64) {
	r.all.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, ask))
}

// Gatherer is the registry itself, for what sends it elsewhere.
func (r *Registry) Gatherer() prometheus.Gatherer { return r.all }

// Handler serves the metrics. Whoever may read them is for the caller to decide.
func (r *Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r.all, promhttp.HandlerOpts{MaxRequestsInFlight: 4, DisableCompression: true})
}
