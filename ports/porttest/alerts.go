package porttest

import (
	"context"
	"strings"
	"testing"

	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/ports"
)

func alertsOf(s Store) keeper[struct{}, alert.Book] {
	k := keeper[struct{}, alert.Book]{
		key:   func(alert.Book) struct{} { return struct{}{} },
		count: func(b alert.Book) int64 { return int64(len(b.Silences) + countsOf(b)) },
		bump: func(b alert.Book) alert.Book {
			if b = b.Clone(); len(b.Alerts) == 0 {
				b.Alerts = []alert.Alert{newAlert()}
			}
			b.Alerts[0].Count++
			return b
		},
		scribble: func(b alert.Book) {
			for i := range b.Alerts {
				b.Alerts[i].Sample[0] = "scribbled"
			}
		},
	}
	if s.Alerts != nil {
		k.update = func(ctx context.Context, _ struct{}, change func(alert.Book) (alert.Book, ports.Effects, error)) error {
			return s.Alerts.Update(ctx, change)
		}
		k.find = func(ctx context.Context, _ struct{}) (alert.Book, error) { return s.Alerts.Load(ctx) }
	}
	return k
}

func countsOf(b alert.Book) (n int) {
	for i := range b.Alerts {
		n += int(b.Alerts[i].Count)
	}
	return n
}

func newAlert() alert.Alert {
	return alert.Alert{ID: "0123456789abcdef", Rule: "refresh_reuse", Severity: audit.Critical, Group: "ann@example.com", Since: 1, Last: 2, Raised: 3, Sample: []string{"one", "two"},
		Contain: "xteam revoke --user x --reason \"alert\"", Acked: 7, AckedBy: "operator"}
}

// Alerts proves a ports.Alerts, and that its effects reach the ports.Revocations and ports.Events of the same store.
func Alerts(t *testing.T, open Open) {
	keeping(t, open, alertsOf)
	sub(t, "a new store holds an empty book", func(t *testing.T) { alertsOf(opened(t, open)).holds(t, alert.Book{}) })
	sub(t, "a long book is kept whole", func(t *testing.T) {
		s := opened(t, open)
		var want alert.Book
		for i := range alert.MaxAlerts {
			a := newAlert()
			a.Group, a.Last = strings.Repeat("é", 127), instant.Instant(i)<<40
			want.Alerts = append(want.Alerts, a)
		}
		want.Silences = []alert.Silence{{Rule: "refresh_reuse", Group: "*", Until: wall(), By: "operator"}}
		if err := s.Alerts.Update(t.Context(), func(alert.Book) (alert.Book, ports.Effects, error) { return want, ports.Effects{}, nil }); err != nil {
			t.Fatalf("Update: %v", err)
		}
		alertsOf(s).holds(t, want)
	})
}
