package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"

	"github.com/xteam/xteam/adapters/eventfile"
	"github.com/xteam/xteam/adapters/syslog"
	"github.com/xteam/xteam/adapters/webhook"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam/assembly"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/ports"
)

// webhookSecret is the setting of the secret that alerts are signed with. It is read through SECRETS_URL, at the start alone; where none is given, a server
// that shares no store makes one.
const webhookSecret = "ALERT_WEBHOOK_SECRET"

// notifySecret is that of the secret that notices to users are signed with, read likewise.
const notifySecret = "NOTIFY_WEBHOOK_SECRET"

// auditSecret is that of the secret that messages with checkpoints are signed with, read likewise.
const auditSecret = "AUDIT_WEBHOOK_SECRET"

// isPublic reports whether a text is where people reach this service.
func isPublic(v string) bool {
	u, err := url.Parse(v)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && u.User == nil && u.RawQuery == "" && u.Fragment == "" && !strings.ContainsAny(v, "?#")
}

// isWebhook reports whether the text has the form of a webhook's address; whether it may be reached that way hangs on another setting.
func isWebhook(v string) bool {
	u, err := url.Parse(v)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && u.Fragment == ""
}

// isSyslog reports whether the text names a receiver of syslog.
func isSyslog(v string) bool {
	_, err := syslog.New(syslog.Options{URL: v})
	return err == nil
}

// unfitSinks says why what events are sent to does not serve in production: what alerts tell of people crosses the network.
func unfitSinks(s *settings) (why faults) {
	if u, err := url.Parse(s.AlertURL); err == nil && u.Scheme == "http" && !local(u.Hostname()) {
		why = append(why, "ALERT_WEBHOOK_URL: got http, takes in production https, but for this machine itself: alerts tell of people")
	}
	if u, err := url.Parse(s.NotifyURL); err == nil && u.Scheme == "http" && !local(u.Hostname()) {
		why = append(why, "NOTIFY_WEBHOOK_URL: got http, takes in production https, but for this machine itself: notices tell of people, and hold links")
	}
	if u, err := url.Parse(s.AuditURL); err == nil && u.Scheme == "http" && !local(u.Hostname()) {
		why = append(why, "AUDIT_WEBHOOK_URL: got http, takes in production https, but for this machine itself: nobody else could tell that a checkpoint was kept")
	}
	if u, err := url.Parse(s.PublicURL); err == nil && u.Scheme == "http" {
		why = append(why, "PUBLIC_URL: got http, takes in production https: links in notices lead there")
	}
	if u, err := url.Parse(s.SyslogURL); err == nil && u.Scheme == "syslog" && !local(u.Hostname()) {
		why = append(why, "EVENT_SYSLOG_URL: got syslog, takes in production syslogs, which is TLS, but for this machine itself: events tell of people")
	}
	return why
}

// openSinks sends events to where the settings say until the cleanup. Whether anybody is there shows only then.
func openSinks(ctx context.Context, s settings, c *app.Core, db assembly.Database, secrets *assembly.Secrets, log *slog.Logger) (_ *app.Sinks, _ func(), err error) {
	var all []app.SinkOptions
	closeAll := func() {}
	if s.EventFile != "" {
		if is, err := os.Stat(s.EventFile); err == nil && is.IsDir() {
			return nil, nil, fmt.Errorf("EVENT_FILE: %s is a folder: name a file in it", s.EventFile)
		}
		to := eventfile.New(s.EventFile)
		if s.EventCEF {
			to = eventfile.NewCEF(s.EventFile, buildVersion().Version)
		}
		all = append(all, app.SinkOptions{Name: "file", Sink: to})
	}
	if s.SyslogURL != "" {
		node, _ := os.Hostname() // without one the messages have none
		o := syslog.Options{URL: s.SyslogURL, Hostname: node}
		if s.EventCEF {
			o.CEF = buildVersion().Version
		}
		to, err := syslog.New(o)
		if err != nil {
			return nil, nil, fmt.Errorf("EVENT_SYSLOG_URL: %w", err)
		}
		all = append(all, app.SinkOptions{Name: "syslog", Sink: to})
	}
	if s.AlertURL != "" {
		to, err := openWebhook(ctx, "ALERT_WEBHOOK_URL", webhookSecret, webhook.Options{URL: s.AlertURL, Private: s.AlertPrivate}, secrets)
		if err != nil {
			return nil, nil, err
		}
		closeAll = to.Close
		all = append(all, app.SinkOptions{Name: "webhook", Sink: webhook.NewSink(to), Kinds: []audit.Kind{audit.AlertRaised}, Most: 1}) // one receiver's fault is about one alert
	}
	if s.NotifyURL != "" {
		to, err := openWebhook(ctx, "NOTIFY_WEBHOOK_URL", notifySecret, webhook.Options{URL: s.NotifyURL, Private: s.NotifyPrivate}, secrets)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		closeAlerts := closeAll
		closeAll = func() { closeAlerts(); to.Close() }
		all = append(all, app.SinkOptions{Name: "notices", Sink: app.NewDisowner(c, db.Sealer, webhook.NewNotices(to), s.PublicURL), Kinds: []audit.Kind{audit.AuthenticationSucceeded}, Most: 20})
	}
	if s.AuditURL != "" {
		to, err := openWebhook(ctx, "AUDIT_WEBHOOK_URL", auditSecret, webhook.Options{URL: s.AuditURL, Private: s.AuditPrivate}, secrets)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		closeOthers := closeAll
		closeAll = func() { closeOthers(); to.Close() }
		all = append(all, app.SinkOptions{Name: "checkpoints", Checkpoint: webhook.NewCheckpoints(to).Send})
	}
	sinks, stop, err := assembly.StartSinks(ctx, c, all, log)
	if err != nil {
		closeAll()
		return nil, nil, err
	}
	return sinks, func() {
		stop()
		closeAll()
	}, nil
}

func openWebhook(ctx context.Context, setting, name string, o webhook.Options, secrets *assembly.Secrets) (*webhook.Sender, error) {
	get := secrets.Get
	if name == webhookSecret { // ALERT_WEBHOOK_URL does by itself
		get = secrets.GetOrMake
	}
	var err error
	o.Secret, err = get(ctx, name)
	if errors.Is(err, ports.ErrNotFound) {
		return nil, fmt.Errorf("%s: there is none where SECRETS_URL says, and %s needs it; `xteam secret generate` makes one", name, setting)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	to, err := webhook.New(o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	return to, nil
}
