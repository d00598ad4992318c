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
entries, or one file of them.`,
		Example: "  xteam doctor\n  xteam doctor --vulndb vulndb.zip\n  xteam doctor --json | jq '.checks[] | select(.verdict == \"fail\")'",
		Args:    cobra.NoArgs,
	}
	vulndb := cmd.Flags().String("vulndb", "", "a copy of the Go vulnerability database: vulndb.zip, a folder or a file of its entries")
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		s, get, err := c.settings()
		if err != nil {
			return err
		}
		p := &patient{s: s, get: get, now: time.Now(), vulndb: *vulndb}
		d := examine(cmd.Context(), p, before)
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

// examine goes through a list.
func examine(ctx context.Context, p *patient, list []examination) (d diagnosis) {
	for _, e := range list {
		ctx, cancel := context.WithTimeout(ctx, within)
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
