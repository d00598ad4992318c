package app_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/audit"
)

// TestHeldBackSignInsAreToldAndCounted: a sign-in that is held back is told of as such and as no wrong password, the first of each account and address at once, the rest as a count. For any number of them the trail
// keeps one record, which says how many there were, and so does the report of the incident.
func TestHeldBackSignInsAreToldAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := braked(t, app.LimiterOptions{})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.core.Limiter.Run(ctx) }()
		i := w.incidents()
		ann, bob := w.user("ann"), w.user("bob")
		is := opened(t, i)
		if _, err := i.Contain(t.Context(), root, "", app.Containment{HoldSignIns: true}); err != nil {
			t.Fatal(err)
		}
		told, kept := len(w.journal.told), len(w.events())
		tries := func(n int, r app.Request, name string) {
			for range n {
				if err := w.try(r, name, password); !errors.Is(err, app.ErrHeldBack) {
					t.Fatalf("%s: %v", name, err)
				}
			}
		}
		tries(51, home, "ann")
		tries(1, abroad, "ann")
		tries(1, home, "bob")
		type line struct {
			Kind                             audit.Kind
			Subject, Email, IP, Reason, More string
		}
		lines := func() (all []line) {
			for _, e := range w.journal.since(told) {
				all = append(all, line{e.Kind, e.Subject, e.Email, e.IPAddress, e.Reason, e.Details["more"]})
			}
			return all
		}
		want := []line{
			{audit.SignInHeldBack, ann.ID.String(), "ann@example.com", "192.0.2.7", "sign_in_held", ""},
			{audit.SignInHeldBack, ann.ID.String(), "ann@example.com", abroadIP, "sign_in_held", ""},
			{audit.SignInHeldBack, bob.ID.String(), "bob@example.com", "192.0.2.7", "sign_in_held", ""},
		}
		if diff := cmp.Diff(want, lines()); diff != "" {
			t.Errorf("at once (-want +got):\n%s", diff)
		}
		after(1100 * time.Millisecond)
		want = append(want, line{audit.SignInHeldBack, ann.ID.String(), "ann@example.com", "192.0.2.7", "sign_in_held", "50"})
		if diff := cmp.Diff(want, lines()); diff != "" {
			t.Errorf("a second later (-want +got):\n%s", diff)
		}
		stop()
		<-done
		if n := len(w.events()); n != kept {
			t.Errorf("%d events are kept of what is only told", n-kept)
		}
		alerts, err := app.NewAlerts(w.core, nil, app.NewBlocks(w.core, app.BlocksOptions{}), w.revoker, app.AlertsOptions{Counts: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		alerts.Run(ctx) // which has ended: it hands over what was counted
		all := w.events()[kept:]
		if len(all) != 1 || all[0].Kind != audit.SignInHeldBack || all[0].Outcome != audit.Failure || all[0].Details["of"] != "53" {
			t.Errorf("of the counts is kept: %+v", all)
		}
		r, err := i.Report(t.Context(), root, is.ID)
		if err != nil || !strings.Contains(r.Markdown, "Sign-in held back, 53 times") || strings.Contains(r.Markdown, "0 accounts") {
			t.Errorf("the report (%v):\n%s", err, r.Markdown)
		}
	})
}
