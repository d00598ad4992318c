// Package otlptelemetry sends traces and metrics to an OpenTelemetry collector (OTLP over HTTP). No request ever waits for it: what cannot be sent in time is dropped.
//
// A span has a name and attributes of fixed sets: the route's pattern, the method, the status, the kind of work. Nothing that a client sends, and nobody's name, is in one.
package otlptelemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	bridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/xteam/xteam/ports"
)

// Options are where to send, and how much.
type Options struct {
	Endpoint string            // of the collector: http://host:4318, or with https; /v1/traces and /v1/metrics are added
	Headers  map[string]string // of every request to it; they may be secret
	Service  string            // default xteam
	Version  string            // of the program
	Ratio    float64           // of the requests that are followed, 0 to 1; a trusted proxy's decision comes first
	Every    time.Duration     // between two sendings of the metrics; default a minute
	Trusted  []netip.Prefix    // proxies whose trace is gone on with; another's is only pointed to
	Logger   *slog.Logger      // told when the collector stops taking, and takes again; nil: nobody is
}

const (
	sendWithin = 5 * time.Second // for one request to the collector
	stopWithin = 2 * time.Second // for what is left at the stop
	queue      = 2048            // spans that wait; what is more is dropped
)

// Telemetry follows requests and sends what it saw.
type Telemetry struct {
	tracer  trace.Tracer
	spans   *sdktrace.TracerProvider
	meters  *sdkmetric.MeterProvider
	trusted []netip.Prefix
}

var _ ports.Tracer = (*Telemetry)(nil)

// Open makes ready to send; the collector need not be there. The metrics are those of a Prometheus registry, under the same names.
func Open(ctx context.Context, o Options, figures prometheus.Gatherer) (*Telemetry, error) {
	if o.Service == "" {
		o.Service = "xteam"
	}
	if o.Every == 0 {
		o.Every = time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	base := strings.TrimSuffix(o.Endpoint, "/")
	spans, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(base+"/v1/traces"), otlptracehttp.WithHeaders(o.Headers), otlptracehttp.WithTimeout(sendWithin), otlptracehttp.WithRetry(otlptracehttp.RetryConfig{}))
	if err != nil {
		return nil, fmt.Errorf("make the sender of traces: %w", err)
	}
	meters, err := otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(base+"/v1/metrics"), otlpmetrichttp.WithHeaders(o.Headers), otlpmetrichttp.WithTimeout(sendWithin), otlpmetrichttp.WithRetry(otlpmetrichttp.RetryConfig{}))
	if err != nil {
		return nil, fmt.Errorf("make the sender of metrics: %w", err)
	}
	about := resource.NewSchemaless(attribute.String("service.name", o.Service), attribute.String("service.version", o.Version))
	t := &Telemetry{trusted: o.Trusted}
	t.spans = sdktrace.NewTracerProvider(sdktrace.WithResource(about), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(o.Ratio))),
		sdktrace.WithBatcher(&spanSender{SpanExporter: spans, state: state{log: o.Logger, what: "traces"}}, sdktrace.WithMaxQueueSize(queue), sdktrace.WithBatchTimeout(time.Second), sdktrace.WithExportTimeout(sendWithin)))
	t.meters = sdkmetric.NewMeterProvider(sdkmetric.WithResource(about), sdkmetric.WithReader(sdkmetric.NewPeriodicReader(&meterSender{Exporter: meters, state: state{log: o.Logger, what: "metrics"}},
		sdkmetric.WithInterval(o.Every), sdkmetric.WithTimeout(sendWithin), sdkmetric.WithProducer(bridge.NewMetricProducer(bridge.WithGatherer(figures))))))
	t.tracer = t.spans.Tracer("github.com/xteam/xteam")
	return t, nil
}

// Close sends what is left, for a short time at the most.
func (t *Telemetry) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	_ = t.spans.Shutdown(ctx) // the sender has told of it
	_ = t.meters.Shutdown(ctx)
}

// Begin implements ports.Tracer.
func (t *Telemetry) Begin(ctx context.Context, work string) (part context.Context, end func(failed bool)) {
	if !trace.SpanFromContext(ctx).IsRecording() {
		return ctx, func(bool) {}
	}
	ctx, span := t.tracer.Start(ctx, work)
	return ctx, func(failed bool) {
		if failed {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// methods are those that a span is named by; another is OTHER.
var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}

// Handler follows each request that next answers. The trace that a trusted proxy began (W3C Trace Context) goes on; of another's request a new one begins, with a link to what it named.
func (t *Telemetry) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method := "OTHER"
		if slices.Contains(methods, r.Method) {
			method = r.Method
		}
		ctx, how := t.begin(r)
		ctx, span := t.tracer.Start(ctx, method, append(how, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attribute.String("http.request.method", method)))...)
		defer span.End()
		if !span.IsRecording() {
			next.ServeHTTP(w, r.WithContext(ctx))
			return
		}
		r = r.WithContext(ctx)
		answer := &answer{ResponseWriter: w}
		defer func() {
			if _, path, ok := strings.Cut(r.Pattern, "/"); ok { // which the router has put there
				span.SetName(method + " /" + path)
				span.SetAttributes(attribute.String("http.route", "/"+path))
			}
			span.SetAttributes(attribute.Int("http.response.status_code", answer.status))
			if answer.status >= http.StatusInternalServerError {
				span.SetStatus(codes.Error, "")
			}
		}()
		next.ServeHTTP(answer, r)
	})
}

// begin reads the trace that a request names, and decides how far it is believed.
func (t *Telemetry) begin(r *http.Request) (context.Context, []trace.SpanStartOption) {
	named := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), propagation.HeaderCarrier(http.Header{"Traceparent": r.Header["Traceparent"]})))
	if !named.IsValid() || len(r.Header["Traceparent"]) != 1 {
		return r.Context(), []trace.SpanStartOption{trace.WithNewRoot()}
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err == nil && slices.ContainsFunc(t.trusted, func(p netip.Prefix) bool { return p.Contains(from.Addr().Unmap()) }) {
		return trace.ContextWithRemoteSpanContext(r.Context(), named), nil
	}
	return r.Context(), []trace.SpanStartOption{trace.WithNewRoot(), trace.WithLinks(trace.Link{SpanContext: named})}
}

// answer remembers the status.
type answer struct {
	http.ResponseWriter
	status int
}

// WriteHeader is of http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status < http.StatusOK {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write is of http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	if a.status < http.StatusOK {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// state tells when the collector stops taking, and when it takes again. The SDK is told of no failure: it would write it to stderr each time.
type state struct {
	log    *slog.Logger
	what   string
	failed atomic.Bool
}

func (s *state) heard(err error) {
	switch {
	case err != nil && s.failed.CompareAndSwap(false, true):
		s.log.Warn("The collector does not take what is sent; it is dropped meanwhile", "what", s.what, "error", err.Error())
	case err == nil && s.failed.CompareAndSwap(true, false):
		s.log.Info("The collector takes what is sent again", "what", s.what)
	}
}

type spanSender struct {
	sdktrace.SpanExporter
	state state
}

func (s *spanSender) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	s.state.heard(s.SpanExporter.ExportSpans(ctx, spans))
	return nil
}

type meterSender struct {
	sdkmetric.Exporter
	state state
}

func (m *meterSender) Export(ctx context.Context, all *metricdata.ResourceMetrics) error {
	m.state.heard(m.Exporter.Export(ctx, all))
	return nil
}
