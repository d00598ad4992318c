// Package bench measures what the product promises of speed, each figure beside its goal and, where there is one, beside a baseline that is measured
// in the same run, in turns with it: a ratio holds on a machine whose clock the absolute figures do not know. `make bench` prints one table.
//
// Each benchmark does its own rounds and is meant to run once: -benchtime 1x.
package bench_test

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if body := os.Getenv(bareBody); body != "" {
		serveBare(body, os.Getenv(bareHead))
		return
	}
	if folder := os.Getenv(eventful); folder != "" {
		beEventful(folder)
		return
	}
	if plan := os.Getenv(keyUse); plan != "" {
		useKeys(plan)
		return
	}
	oneGroup()
	code := m.Run()
	report.print()
	report.cleanup()
	os.Exit(code)
}

// row is one figure.
type row struct {
	figure   string
	goal     string
	measured string
	baseline string // what it is held against, or empty
	ratio    string
	met      bool
}

type table struct {
	mu      sync.Mutex
	rows    []row
	skipped []string
	notes   []string // what whoever reads the figures is to know of the machine
	end     []func()
}

var report = &table{}

// add puts a figure into the table, or nothing when it is there: the framework may run a benchmark again.
func (t *table) add(r row) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slices.ContainsFunc(t.rows, func(o row) bool { return o.figure == r.figure }) {
		t.rows = append(t.rows, r)
	}
}

// skip has the table say what was not measured, and why.
func (t *table) skip(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slices.Contains(t.skipped, what) {
		t.skipped = append(t.skipped, what)
	}
}

// atEnd has f run when everything is over.
func (t *table) atEnd(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, f)
}

func (t *table) cleanup() {
	for _, f := range slices.Backward(t.end) {
		f()
	}
}

func (t *table) print() {
	for _, what := range t.skipped {
		fmt.Println("not measured:", what)
	}
	if len(t.rows) == 0 {
		return
	}
	fmt.Printf("\n%s/%s, %d cores, %s%s; medians, in brackets the least and the greatest round\n\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), revision())
	for _, note := range t.notes {
		fmt.Println(note)
	}
	lines := [][]string{{"figure", "goal", "measured", "baseline", "ratio", ""}}
	missed := 0
	for _, r := range t.rows {
		verdict := "met"
		if !r.met {
			verdict = "MISSED"
			missed++
		}
		lines = append(lines, []string{r.figure, r.goal, r.measured, dash(r.baseline), dash(r.ratio), verdict})
	}
	widths := make([]int, len(lines[0]))
	for _, l := range lines {
		for i, cell := range l {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for n, l := range lines {
		for i, cell := range l {
			fmt.Printf("| %s%s ", cell, strings.Repeat(" ", widths[i]-len([]rune(cell))))
		}
		fmt.Println("|")
		if n == 0 {
			for _, w := range widths {
				fmt.Print("|", strings.Repeat("-", w+2))
			}
			fmt.Println("|")
		}
	}
	fmt.Printf("\n%d of %d goals met\n", len(t.rows)-missed, len(t.rows))
}

func dash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return ""
	}
	return ", " + info.Main.Version
}

// spread is a figure over its rounds.
type spread []float64

func (s spread) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	return sorted[len(sorted)/2]
}

func (s spread) least() float64    { return slices.Min(s) }
func (s spread) greatest() float64 { return slices.Max(s) }

// show writes the median, with the range in brackets.
func (s spread) show(format string) string {
	return fmt.Sprintf(format+" ("+format+"–"+format+")", s.median(), s.least(), s.greatest())
}

// shown is show without the range, for a baseline.
func (s spread) shown(format, unit string) string { return fmt.Sprintf(format+" "+unit, s.median()) }

// over divides round by round.
func (s spread) over(base spread) spread {
	out := make(spread, len(s))
	for i := range s {
		out[i] = s[i] / base[i]
	}
	return out
}

// cost is how long one call of f takes, in nanoseconds, over at least that long.
func cost(least time.Duration, f func()) float64 {
	for n := 1; ; n *= 2 {
		began := time.Now()
		for range n {
			f()
		}
		if took := time.Since(began); took >= least {
			return float64(took.Nanoseconds()) / float64(n)
		}
	}
}

// inTurns measures two things in rounds; which comes first turns about.
func inTurns(rounds int, a, b func() float64) (as, bs spread) {
	for r := range rounds {
		if r%2 == 0 {
			as = append(as, a())
			bs = append(bs, b())
		} else {
			bs = append(bs, b())
			as = append(as, a())
		}
	}
	return as, bs
}

// metric reports a figure in Go's own format too, without a time per operation that would mean nothing.
func metric(b *testing.B, v float64, unit string) {
	b.ReportMetric(v, unit)
	b.ReportMetric(0, "ns/op")
}

// heap is what lives after a collection, in bytes.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
