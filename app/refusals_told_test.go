package app_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/token"
)

// TestRefusalsAreToldOnceThenCountedToo: of refused tokens the first of each address and reason leaves a line at once, the rest one a second with a count. A shadow of the
// limits is none of these: the tokens were refused.
func TestRefusalsAreToldOnceThenCountedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := braked(t, app.LimiterOptions{Mode: app.Shadow})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.core.Limiter.Run(ctx) }()
		refuse := func(n int, r app.Request, err error) {
			for range n {
				w.guard.Refused(ctx, r, app.Caller{}, "GET /api/v1/users/me", err)
			}
		}
		type line struct{ IP, Reason, Endpoint, More, Of, Shadow string }
		lines := func() (all []line) {
			for _, e := range w.journal.since(0) {
				if e.Kind == audit.AccessRefused {
					all = append(all, line{e.IPAddress, e.Reason, e.Details["endpoint"], e.Details["more"], e.Details["of"], e.Details["shadow"]})
				}
			}
			return all
		}
		const what = "/api/v1/users/me"
		refuse(1001, abroad, token.ErrMalformed)
		refuse(3, abroad, token.ErrInvalid)
		refuse(1, home, token.ErrMalformed)
		refuse(9, home, token.ErrMissing) // which is told of nowhere
		want := []line{
			{abroadIP, "token_malformed", what, "", "", ""},
			{abroadIP, "token_invalid", what, "", "", ""},
			{"192.0.2.7", "token_malformed", what, "", "", ""},
		}
		if diff := cmp.Diff(want, lines()); diff != "" {
			t.Errorf("at once (-want +got):\n%s", diff)
		}
		after(1100 * time.Millisecond)
		want = append(want, line{abroadIP, "token_malformed", what, "1000", "1002", ""})
		if diff := cmp.Diff(want, lines()); diff != "" {
			t.Errorf("a second later (-want +got):\n%s", diff)
		}
		stop()
		<-done
	})
}
