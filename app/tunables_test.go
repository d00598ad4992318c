package app_test

import (
	"strings"
	"testing"
	"time"

	"github.com/xteam/xteam/app"
)

func TestTunables(t *testing.T) {
	const day = 24 * time.Hour
	good := app.Tunables{Issuer: "i", Audience: "a", Access: 30 * time.Minute, Refresh: 7 * day, Session: 30 * day, Leeway: 30 * time.Second}
	for name, try := range map[string]struct {
		change func(*app.Tunables)
		says   string // empty: they are taken
	}{
		"the usual": {func(*app.Tunables) {}, ""},
		"the least": {func(t *app.Tunables) {
			t.Access, t.Refresh, t.Session, t.Leeway = time.Second, time.Second, time.Second, 0
		}, ""},
		"the most": {func(t *app.Tunables) {
			t.Access, t.Refresh, t.Session, t.Leeway = day, 365*day, 3650*day, 2*time.Minute
		}, ""},
		"access longer than a session":       {func(t *app.Tunables) { t.Access, t.Refresh, t.Session = day, time.Hour, time.Hour }, ""},
		"no access":                          {func(t *app.Tunables) { t.Access = 0 }, "access token is 0s: it must be between 1s and 24h0m0s"},
		"access over a day":                  {func(t *app.Tunables) { t.Access = day + 1 }, "access token"},
		"access below nothing":               {func(t *app.Tunables) { t.Access = -time.Hour }, "access token"},
		"no refresh":                         {func(t *app.Tunables) { t.Refresh = 0 }, "refresh token"},
		"a refresh token over a year":        {func(t *app.Tunables) { t.Refresh, t.Session = 366*day, 3650*day }, "refresh token"},
		"a refresh token beyond its session": {func(t *app.Tunables) { t.Session = day }, "refresh token is 168h0m0s: it must be between 1s and 24h0m0s"},
		"no session":                         {func(t *app.Tunables) { t.Session = 0 }, "life of a session"},
		"a session of eleven years":          {func(t *app.Tunables) { t.Session = 4000 * day }, "life of a session"},
		"leeway below nothing":               {func(t *app.Tunables) { t.Leeway = -1 }, "leeway"},
		"too much leeway":                    {func(t *app.Tunables) { t.Leeway = 121 * time.Second }, "leeway is 2m1s: it must be between 0s and 2m0s"},
		"sessions below nothing":             {func(t *app.Tunables) { t.MaxSessions = -1 }, "sessions"},
	} {
		tuned := good
		try.change(&tuned)
		err := tuned.Validate()
		if (err == nil) != (try.says == "") || err != nil && (!strings.Contains(err.Error(), try.says) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: %v, want one sentence with %q", name, err, try.says)
		}
		w := newWorld(t)
		w.core.Tunables = tuned
		if err := w.core.Start(t.Context()); (err == nil) != (try.says == "") {
			t.Errorf("%s: Start: %v", name, err)
		}
	}
}
