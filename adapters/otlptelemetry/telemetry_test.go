package otlptelemetry_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/xteam/xteam/adapters/otlptelemetry"
)

// open sends to nobody.
func open(t testing.TB, o otlptelemetry.Options) *otlptelemetry.Telemetry {
	t.Helper()
	o.Endpoint = "http://127.0.0.1:1"
	made, err := otlptelemetry.Open(t.Context(), o, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(made.Close)
	return made
}

// TestWorkOfNoRequest: what belongs to no request that is followed costs nothing.
func TestWorkOfNoRequest(t *testing.T) {
	made := open(t, otlptelemetry.Options{Ratio: 1})
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		part, end := made.Begin(ctx, "accounts.find")
		end(false)
		if part != ctx {
			t.Error("a span was begun")
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// TestOddRequests: trace contexts that are none, and addresses that are none, are followed like requests without; a handler's panic goes on.
func TestOddRequests(t *testing.T) {
	made := open(t, otlptelemetry.Options{Ratio: 1, Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	h := made.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/panic" {
			panic(http.ErrAbortHandler)
		}
		_ = http.NewResponseController(w).Flush()
	}))
	for _, named := range [][]string{nil, {""}, {"00-0-0-0"}, {"00-00000000000000000000000000000000-00f067aa0ba902b7-01"}, {"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
		{"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b8-01"}, {string(make([]byte, 1<<20))}} {
		for _, from := range []string{"192.0.2.1:1", "@", "", "[2001:db8::1%eth0]:1"} {
			r := httptest.NewRequest("PLANTED", "/", http.NoBody)
			r.RemoteAddr, r.Header["Traceparent"] = from, named
			w := httptest.NewRecorder()
			if h.ServeHTTP(w, r); w.Code != http.StatusOK {
				t.Errorf("%.80q from %q: %d", named, from, w.Code)
			}
		}
	}
	defer func() {
		if recover() != http.ErrAbortHandler {
			t.Error("the panic did not go on")
		}
	}()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/panic", http.NoBody))
}

// BenchmarkHandler is what a request pays for being followed, or for having been left out.
func BenchmarkHandler(b *testing.B) {
	for name, ratio := range map[string]float64{"followed": 1, "left out": 0} {
		b.Run(name, func(b *testing.B) {
			h := open(b, otlptelemetry.Options{Ratio: ratio}).Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
			r := httptest.NewRequest("GET", "/", http.NoBody)
			w := httptest.NewRecorder()
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		})
	}
}
