package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/xteam/xteam/adapters/pgstore"
)

// The verdicts of an examination.
const (
	passes  = "pass"
	warns   = "warn"
	fails   = "fail"
	unknown = "unknown" // what was seen says why
)

// finding is what one examination came to.
type finding struct {
	ID      string `json:"id"`
	Verdict string `json:"verdict"`
	Seen    string `json:"seen"`
	Fix     string `json:"fix"` // empty when it passes
}

func pass(format string, args ...any) finding {
	return finding{Verdict: passes, Seen: fmt.Sprintf(format, args...)}
}
func warn(fix, format string, args ...any) finding {
	return finding{Verdict: warns, Seen: fmt.Sprintf(format, args...), Fix: fix}
}
func fail(fix, format string, args ...any) finding {
	return finding{Verdict: fails, Seen: fmt.Sprintf(format, args...), Fix: fix}
}
func unseen(fix, format string, args ...any) finding {
	return finding{Verdict: unknown, Seen: fmt.Sprintf(format, args...), Fix: fix}
}

// unlike is a failure by the faults that a start in production would name.
func unlike(seen string, why faults) finding {
	return finding{Verdict: fails, Seen: seen, Fix: strings.Join(why, "; ")}
}

// examination is one line of the checklist.
type examination struct {
	id   string
	must bool // a start in production is refused while it fails
	look func(context.Context, *patient) finding
}

// patient is the deployment that is examined.
type patient struct {
	s      settings
	get    lookup
	now    time.Time
	vulndb string // a file or folder of the Go vulnerability database; may be empty

	live  *living   // what runs; nil for the checklist before a start
	told  *progress // may be nil
	began time.Time // when now was taken, by this host's clock

	database *pgstore.Seen // nil until it was looked at
	redis    []seenRedis
}

// diagnosis is every finding, in the order of the checklist.
type diagnosis struct {
	Checks []finding `json:"checks"`
}

// within bounds one examination: a server that hangs is not waited for by the others.
const within = 15 * time.Second

// errUnwell is a diagnosis with a failure.
var errUnwell = errors.New("a check failed: see what was seen and its fix above")

func (c *cli) doctor() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check a deployment, before it and while it runs",
		Long: `Goes through the deployment checklist against these settings, and connects to the
database and to Redis to see what they are like. Each line is a check with its
verdict (pass, warn, fail, or unknown with the reason), what was seen, and how to
mend it. The exit code is 1 when one fails. A check marked ! is one that a start
in production is refused for.

With --vulndb the modules of this program are held against a copy of the Go
vulnerability database: the file vulndb.zip of vuln.go.dev, a folder of its
entries, or one file of them.

With --live a deployment that runs is examined instead, at the URL that clients
use: what is counted and logged, whether a token that is revoked is refused on
every server, headers, probes, validation, the audit trail, clocks, and the age
of keys. It signs in with the account xteam-doctor, which it makes, and disables
again; a failed sign-in, a revocation and a few refusals are in the audit trail
afterwards, and this address has spent its sign-ins of a minute. The
administrator's side is the socket of the server in DATA_DIR, or the URL itself
with an administrator's API key; the log and the metrics are where these settings
say. Where a limit holds it back it takes a minute; unless --json is given, it tells
on standard error what it is at.`,
		Example: "  xteam doctor\n  xteam doctor --live https://xteam.example.com\n  xteam doctor --vulndb vulndb.zip\n  xteam doctor --json | jq '.checks[] | select(.verdict == \"fail\")'",
		Args:    cobra.NoArgs,
	}
	vulndb := cmd.Flags().String("vulndb", "", "a copy of the Go vulnerability database: vulndb.zip, a folder or a file of its entries")
	var o liveOptions
	f := cmd.Flags()
	f.StringVar(&o.url, "live", "", "the URL of a deployment that runs, as clients use it")
	f.BoolVar(&o.key, "api-key-stdin", false, "with --live: read an administrator's API key from standard input")
	f.StringVar(&o.ca, "ca", "", "with --live: a file with the authority of the server's certificate, if the system does not know it")
	f.StringVar(&o.log, "log", "", "with --live: the file of the server's log; LOG_FILE unless it is given")
	f.StringVar(&o.metrics, "metrics", "", "with --live: the URL of the server's metrics; METRICS_ADDR, or the administrator's side, unless it is given")
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		for _, name := range []string{"api-key-stdin", "ca", "log", "metrics"} {
			if f.Changed(name) && !f.Changed("live") {
				return c.misuse("--" + name + " goes with --live")
			}
		}
		s, get, err := c.settings()
		if err != nil {
			return err
		}
		now := time.Now()
		p := &patient{s: s, get: get, now: now, began: now, vulndb: *vulndb, told: c.telling(*asJSON)}
		var d diagnosis
		if !f.Changed("live") {
			d = examine(cmd.Context(), p, before, within)
		} else if d, err = c.examineURL(cmd.Context(), p, o); err != nil {
			return err
		}
		if err := c.print(*asJSON, d, d.text()); err != nil {
			return err
		}
		if slices.ContainsFunc(d.Checks, func(f finding) bool { return f.Verdict == fails }) {
			return errUnwell
		}
		return nil
	})
	return cmd
}

// examineURL goes through the checklist of what runs, and says what is left of it.
func (c *cli) examineURL(ctx context.Context, p *patient, o liveOptions) (diagnosis, error) {
	l, closeAll, err := c.reach(ctx, o, p.told)
	if err != nil {
		return diagnosis{}, err
	}
	defer closeAll()
	p.live = l
	d := examineLive(ctx, p)
	if left := l.probe.leave(ctx); left != "" {
		fmt.Fprintln(c.err, left)
	}
	return d, ctx.Err()
}

// examine goes through a list, with a bound for each.
func examine(ctx context.Context, p *patient, list []examination, most time.Duration) (d diagnosis) {
	defer p.told.end()
	for i, e := range list {
		p.told.step("checking %s (%d of %d)", e.id, i+1, len(list))
		ctx, cancel := context.WithTimeout(ctx, most)
		f := e.look(ctx, p)
		cancel()
		f.ID, f.Seen, f.Fix = e.id, printable(f.Seen), printable(f.Fix)
		d.Checks = append(d.Checks, f)
	}
	return d
}

// text is a line for each finding, and one more with the fix where there is one.
func (d diagnosis) text() string {
	widest := 0
	for _, f := range d.Checks {
		widest = max(widest, len(f.ID)+1)
	}
	counts := map[string]int{}
	var b strings.Builder
	for _, f := range d.Checks {
		counts[f.Verdict]++
		fmt.Fprintf(&b, "%-7s  %-*s  %s\n", f.Verdict, widest, f.ID+mark(f.ID), f.Seen)
		if f.Fix != "" {
			fmt.Fprintf(&b, "%-7s  %-*s  → %s\n", "", widest, "", f.Fix)
		}
	}
	fmt.Fprintf(&b, "%d pass, %d warn, %d fail, %d unknown", counts[passes], counts[warns], counts[fails], counts[unknown])
	return b.String()
}

// mark is ! behind a check that a start in production is refused for.
func mark(id string) string {
	if i := slices.IndexFunc(before, func(e examination) bool { return e.id == id }); i >= 0 && before[i].must {
		return "!"
	}
	return ""
}
