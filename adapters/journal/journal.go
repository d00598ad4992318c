// Package journal tells people what happens: security events as log lines, and the logger that no secret of ours gets through.
package journal

import (
	"context"
	"log/slog"
	"maps"
	"slices"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/ports"
)

// MaxText is how much of a text from outside is written to the line of an event, in bytes.
const MaxText = 256

// Journal writes each security event as one log line.
type Journal struct{ handler slog.Handler }

var _ ports.Journal = (*Journal)(nil)

// New answers a journal that writes through a logger, best one of NewLogger.
func New(l *slog.Logger) *Journal { return &Journal{l.Handler()} }

// Write implements ports.Journal. The line has the event's own time, the kind's message, the level of its severity (a failure is at least a warning), and
// the event's fields, less the empty ones. Token revoked also has the user as user_id, and Rate limit exceeded the address as client_ip.
// Texts are cut to MaxText bytes, and what could forge or hide a part of the line is escaped. A line that cannot be written is lost.
func (j *Journal) Write(ctx context.Context, events ...audit.Event) {
	for i := range events {
		e := &events[i]
		level := levelOf(e)
		if !j.handler.Enabled(ctx, level) {
			continue
		}
		r := slog.NewRecord(e.Time.Time(), level, printable(e.Kind.Message(), MaxText, ""), 0)
		r.AddAttrs(attributes(e)...)
		_ = j.handler.Handle(ctx, r)
	}
}

func levelOf(e *audit.Event) slog.Level {
	switch {
	case e.Severity >= audit.Critical:
		return slog.LevelError
	case e.Severity == audit.Warning, e.Outcome == audit.Failure:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

func attributes(e *audit.Event) []slog.Attr {
	attrs := make([]slog.Attr, 0, 16)
	add := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, printable(value, MaxText, "")))
		}
	}
	add("email", e.Email)
	add("ip_address", e.IPAddress)
	add("user_agent", e.UserAgent)
	switch e.Kind {
	case audit.TokenRevoked:
		add("user_id", e.Subject)
	case audit.RateLimited:
		add("client_ip", e.IPAddress)
	}
	add("endpoint", e.Details["endpoint"])
	add("reason", e.Reason)
	if !e.ID.IsZero() {
		add("event_id", e.ID.String())
	}
	add("kind", string(e.Kind))
	add("outcome", string(e.Outcome))
	add("severity", e.Severity.String())
	add("actor", e.Actor)
	add("subject", e.Subject)
	add("request_id", e.RequestID)
	var details []any
	for _, key := range slices.Sorted(maps.Keys(e.Details)) {
		if value := e.Details[key]; value != "" && key != "endpoint" {
			details = append(details, slog.String(printable(key, MaxText, ""), printable(value, MaxText, "")))
		}
	}
	if len(details) > 0 {
		attrs = append(attrs, slog.Group("details", details...))
	}
	return attrs
}
