package incident

import (
	"fmt"
	"strings"
	"time"

	"github.com/xteam/xteam/domain/instant"
)

// Line is one thing that happened, for a report.
type Line struct {
	At    instant.Instant
	Seq   uint64 // the record in the audit trail that tells of it; of several the first
	To    uint64 // the last of several that are told as one; 0: it is one
	What  string
	By    string // who did it
	About string // whom or what it concerns
	From  string // the address
	More  string // details
}

// Affected is a user to be told.
type Affected struct {
	ID, Username, Email string   // without the last two the account is gone
	Why                 []string // in plain words
}

// Evidence is what proves a report.
type Evidence struct {
	From, To instant.Instant // of the records that belong to the incident
	Records  int             // in the whole trail
	Last     uint64          // the last record
	Head     string          // its hash
	Faults   []string        // what is wrong with the trail; none: it holds
}

// Told is all that a report tells.
type Told struct {
	Incident  Incident
	At        instant.Instant // when it is written
	By        string
	Contained time.Duration // until every node refused; 0: not all of it was contained
	Timeline  []Line
	Left      int // lines for which there was no room
	Affected  []Affected
	MoreUsers bool // there are more than are listed
	ByHand    []string
	Evidence  Evidence
}

// Markdown is the report, in CommonMark with tables. Whatever a client or a person chose stands in it escaped, on one line, and cut to a length that can be read.
func (t *Told) Markdown() string {
	var w strings.Builder
	is := &t.Incident
	p := func(format string, args ...any) { fmt.Fprintf(&w, format, args...) }
	p("# Incident: %s\n\n", md(is.Name, MaxName))
	p("| | |\n|---|---|\n| id | `%s` |\n| state | %s |\n| opened | %s by %s |\n| evidence from | %s |\n", is.ID, is.State, at(is.Opened), md(is.By, 100), at(is.Since))
	if is.Resolved != 0 {
		p("| resolved | %s |\n", at(is.Resolved))
	}
	switch {
	case t.Contained > 0:
		p("| time to contain | %.1f ms, from the call until every node refused |\n", float64(t.Contained.Microseconds())/1000)
	case len(is.Targets) > 0:
		p("| time to contain | not everything is contained on every node |\n")
	}
	p("| affected users | %d%s |\n| written | %s by %s |\n", len(t.Affected), map[bool]string{true: " and more"}[t.MoreUsers], at(t.At), md(t.By, 100))

	p("\n## What was contained\n\n")
	if len(is.Targets) == 0 {
		p("Nothing yet.\n")
	} else {
		p("| what | asked for | sessions ended | refused by |\n|---|---|---|---|\n")
		for k := range is.Targets {
			p("%s", is.Targets[k].row())
		}
	}

	p("\n## What happened\n\nIn the order of the audit trail, whose record numbers stand in the second column.\n\n")
	p("| time | record | what | by | about | from | details |\n|---|---|---|---|---|---|---|\n")
	for k := range t.Timeline {
		p("%s", t.Timeline[k].row())
	}
	if t.Left > 0 {
		p("\n%d more records are in the evidence alone.\n", t.Left)
	}

	p("\n## Users to notify\n\n")
	if len(t.Affected) == 0 {
		p("Nobody, as far as the audit trail tells.\n")
	} else {
		p("| user | e-mail address | id | why |\n|---|---|---|---|\n")
		for _, a := range t.Affected {
			name, mail := md(a.Username, 100), md(a.Email, 254)
			if a.Username == "" {
				name = "(gone)"
			}
			p("| %s | %s | `%s` | %s |\n", name, mail, a.ID, md(strings.Join(a.Why, "; "), 500))
		}
		if t.MoreUsers {
			p("\nThere are more than can be listed.\n")
		}
	}

	p("\n## To be changed by hand\n\n")
	if len(t.ByHand) == 0 {
		p("Nothing that the settings tell of.\n")
	}
	for _, s := range t.ByHand {
		p("- [ ] %s\n", md(s, 500))
	}

	p("\n## Evidence\n\n")
	if len(t.Evidence.Faults) == 0 {
		p("The audit trail holds: %d records, up to record %d, whose hash is `%s`.\n", t.Evidence.Records, t.Evidence.Last, t.Evidence.Head)
	} else {
		p("**The audit trail does not hold**, so this report may not tell everything:\n\n")
		for _, f := range t.Evidence.Faults {
			p("- %s\n", md(f, 500))
		}
	}
	p("\nThe records from %s to %s are exported, and proved, by\n\n    xteam audit export --from %s --to %s --out evidence.jsonl\n    xteam audit verify --file evidence.jsonl\n", at(t.Evidence.From), at(t.Evidence.To), t.Evidence.From, t.Evidence.To)
	return w.String()
}

func (t *Target) row() string {
	refused := make([]string, 0, len(t.Nodes)+len(t.Missing))
	for _, n := range t.Nodes {
		refused = append(refused, fmt.Sprintf("%s in %.1f ms", n.Node, float64(n.Micros)/1000))
	}
	for _, m := range t.Missing {
		refused = append(refused, m+" has not said so")
	}
	if !t.Done() {
		refused = []string{"not done: " + t.Failed}
	}
	return fmt.Sprintf("| %s | %s | %d | %s |\n", md(strings.TrimSpace(string(t.Kind)+" "+t.Value), 200), at(t.Asked), t.Sessions, md(strings.Join(refused, ", "), 1000))
}

func (l *Line) row() string {
	seq := fmt.Sprint(l.Seq)
	if l.To > l.Seq {
		seq += "–" + fmt.Sprint(l.To)
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s |\n", at(l.At), seq, md(l.What, 200), md(l.By, 100), md(l.About, 100), md(l.From, 100), md(l.More, 600))
}

func at(i instant.Instant) string { return i.Time().Format("2006-01-02 15:04:05.000Z") }

// md is a text that stands for itself in a table of Markdown: on one line, without what is not shown, and without marks, links or HTML of its own.
func md(s string, most int) string {
	cutOff := len(s) > most
	s = clip(s, most)
	var w strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		switch {
		case Hidden(r):
			fmt.Fprintf(&w, "\\\\u%04x", r)
		case strings.ContainsRune("\\`*_[]<>|~&#!$@(){}:/.", r) && !plain(r, s):
			w.WriteByte('\\')
			w.WriteRune(r)
		default:
			w.WriteRune(r)
		}
	}
	if cutOff {
		w.WriteString("…")
	}
	return w.String()
}

// plain reports whether a character needs no escape in a text: what makes links alone (a scheme, www., an address) needs none where there is none of them.
func plain(r rune, s string) bool {
	switch r {
	case ':', '/':
		return !strings.Contains(s, "://")
	case '.':
		return !strings.Contains(strings.ToLower(s), "www.")
	case '@', '(', ')', '{', '}', '$':
		return true
	}
	return false
}
