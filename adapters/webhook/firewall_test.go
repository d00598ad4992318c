package webhook_test

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/webhook"
	"github.com/xteam/xteam/ports"
	"github.com/xteam/xteam/ports/porttest"
)

// The receiver is one as the documentation wants it: it goes by the newest timestamp, and forgets no id.
func TestFirewallConformance(t *testing.T) {
	porttest.Firewall(t, func(t *testing.T) (ports.Firewall, func() []netip.Prefix) {
		r := receive(t, ok)
		f := webhook.NewFirewall(sender(t, webhook.Options{URL: r.URL, Private: true, Roots: r.roots(), Now: clock()}))
		return f, func() []netip.Prefix {
			var newest time.Time
			var has []netip.Prefix
			seen := map[string]bool{}
			for _, m := range r.received() {
				var is struct {
					Type      string    `json:"type"`
					Timestamp time.Time `json:"timestamp"`
					Data      struct {
						Networks []netip.Prefix `json:"networks"`
					} `json:"data"`
				}
				if err := json.Unmarshal([]byte(m.body), &is); err != nil || is.Type != "blocked_networks" || is.Data.Networks == nil {
					t.Fatalf("not a list: %v %.200s", err, m.body)
				}
				name := m.header.Get("webhook-id")
				if seen[name] || name == "" {
					t.Errorf("the id %q came before, or is none", name)
				}
				if seen[name] = true; is.Timestamp.After(newest) {
					newest, has = is.Timestamp, is.Data.Networks
				}
			}
			return has
		}
	})
}

// clock moves by a millisecond whenever it is asked.
func clock() func() time.Time {
	var mu sync.Mutex
	now := noon
	return func() time.Time { mu.Lock(); defer mu.Unlock(); now = now.Add(time.Millisecond); return now }
}

func TestFirewallThatDoesNotTake(t *testing.T) {
	r := receive(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	f := webhook.NewFirewall(sender(t, webhook.Options{URL: r.URL, Private: true, Roots: r.roots()}))
	if f.Set(t.Context(), nil) == nil {
		t.Error("Set succeeded")
	}
}
