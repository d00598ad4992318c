package webhook_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/xteam/xteam/adapters/webhook"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/instant"
)

// TestCheckpointsArePosted: the data of the message are the very line that is signed for, and one checkpoint has one id however often it is sent.
func TestCheckpointsArePosted(t *testing.T) {
	r := receive(t, ok)
	to := webhook.NewCheckpoints(sender(t, webhook.Options{URL: r.URL, Private: true, Roots: r.roots()}))
	one := audit.Checkpoint{Purpose: audit.Headed, Time: instant.Of(noon), Seq: 7, Position: 9, Head: audit.Hash{1}, Signature: [64]byte{2}}
	two := one
	two.Signature[0]++
	for _, c := range []audit.Checkpoint{one, one, two} {
		if err := to.Send(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	all := r.received()
	if ids := [3]string{all[0].header.Get("webhook-id"), all[1].header.Get("webhook-id"), all[2].header.Get("webhook-id")}; ids[0] != ids[1] || ids[0] == ids[2] || ids[0] == "" {
		t.Errorf("the ids are %q", ids)
	}
	var message struct {
		Type, Timestamp string
		Data            json.RawMessage
	}
	if err := json.Unmarshal([]byte(all[0].body), &message); err != nil || message.Type != "audit_checkpoint" || message.Timestamp != "2030-01-02T12:00:00Z" {
		t.Fatalf("posted: %s (%v)", all[0].body, err)
	}
	if line, err := audit.ParseLine(message.Data); err != nil || line.Checkpoint == nil || *line.Checkpoint != one {
		t.Errorf("the data are %s (%v)", message.Data, err)
	}
}

func TestACheckpointThatIsNotTaken(t *testing.T) {
	r := receive(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	if err := webhook.NewCheckpoints(sender(t, webhook.Options{URL: r.URL, Private: true, Roots: r.roots()})).Send(t.Context(), audit.Checkpoint{}); err == nil {
		t.Error("it was taken")
	}
	if err := webhook.NewCheckpoints(sender(t, webhook.Options{URL: r.URL, Roots: r.roots()})).Send(t.Context(), audit.Checkpoint{}); err == nil || len(r.received()) != 1 {
		t.Errorf("a private address: %v", err)
	}
}
