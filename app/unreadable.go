package app

import (
	"strconv"
	"time"

	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/instant"
)

// dated gives events that cannot be read, whose time nobody knows, that at which they were found.
func dated(events []audit.Event, now instant.Instant) []audit.Event {
	for i := range events {
		if undated(&events[i]) {
			events[i].Time = now
		}
	}
	return events
}

func undated(e *audit.Event) bool { return e.Kind == audit.EventUnreadable && e.Time == 0 }

// age is how old the first of the events is, of those whose time is known; 0: there is none.
func age(events []audit.Event, now instant.Instant) time.Duration {
	for i := range events {
		if !undated(&events[i]) {
			return max(now.Sub(events[i].Time), 0)
		}
	}
	return 0
}

// unreadable is how many of the events at the beginning cannot be read.
func unreadable(events []audit.Event) (n int) {
	for n < len(events) && events[n].Kind == audit.EventUnreadable {
		n++
	}
	return n
}

// gathered has those that cannot be read told as one event, which counts them: whoever spoils many is not to flood those who are told. Its id is that of the last of them, so with one more of them it is another.
func gathered(events []audit.Event) []audit.Event {
	var first, last *audit.Event
	n := 0
	for i := range events {
		if e := &events[i]; e.Kind == audit.EventUnreadable {
			if n++; first == nil {
				first = e
			}
			last = e
		}
	}
	if n < 2 {
		return events
	}
	out := make([]audit.Event, 0, len(events)-n+1)
	for i := range events {
		e := events[i]
		switch {
		case e.Kind != audit.EventUnreadable:
		case &events[i] != last:
			continue
		default:
			e.Reason = alert.Counted
			e.Details = map[string]string{"of": strconv.Itoa(n), "position": first.Details["position"], "to": last.Details["position"]}
		}
		out = append(out, e)
	}
	return out
}
