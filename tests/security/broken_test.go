package security_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// broken is a deliberate fault of the product, and the exhibits that must notice it. The tree is never touched: the compiler is told to read other texts in the place of the files.
type broken struct {
	name  string // what is wrong with it
	edits []edit
	fails []seen
}

// edit replaces a text that a file of the module has exactly once.
type edit struct{ file, old, new string }

// seen is that each of some exhibits, their ids with blanks between, fails and says a text: so it is the fault that they saw, and no other.
type seen struct{ ids, says string }

// root is the folder of go.mod.
func root(t *testing.T) string {
	t.Helper()
	at, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// texts are the files as the break would have them, by their path in the module.
func (b broken) texts(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, e := range b.edits {
		text, ok := all[e.file]
		if !ok {
			read, err := os.ReadFile(filepath.Join(root(t), filepath.FromSlash(e.file)))
			if err != nil {
				t.Fatal(err)
			}
			text = string(read)
		}
		if n := strings.Count(text, e.old); n != 1 {
			t.Errorf("%s has %d times, want once: %s\nWrite the fault %q in breaks_test.go anew for what the product has become, and see it noticed: make museum-broken says how", e.file, n, e.old, b.name)
		}
		all[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	return all
}

// ids are those of the exhibits that must fail.
func (b broken) ids() (all []string) {
	for _, s := range b.fails {
		all = append(all, strings.Fields(s.ids)...)
	}
	return all
}

// TestBreaksApply: every break is one of the product as it is now, and there is one for every exhibit that is played, or a sentence that says why there is none.
func TestBreaksApply(t *testing.T) {
	played := map[string]bool{}
	for _, e := range museum() {
		for _, id := range e.ids {
			played[id] = e.play != nil
		}
	}
	aimed, names := map[string]bool{}, map[string]bool{}
	for _, b := range breaks {
		t.Run(b.name, func(t *testing.T) {
			if names[b.name] || len(b.edits) == 0 || len(b.fails) == 0 {
				t.Error("it has a name of its own, edits, and exhibits that fail")
			}
			names[b.name] = true
			for file, text := range b.texts(t) {
				if strings.HasSuffix(file, "_test.go") || strings.HasPrefix(file, "tests/") {
					t.Errorf("%s is of the tests: what is broken is the product", file)
				}
				if _, err := parser.ParseFile(token.NewFileSet(), file, text, parser.SkipObjectResolution); strings.HasSuffix(file, ".go") && err != nil {
					t.Error(err)
				}
			}
			for _, s := range b.fails {
				if s.says == "" {
					t.Errorf("%s: by what text is it known that the fault was seen?", s.ids)
				}
			}
			for _, id := range b.ids() {
				if !played[id] {
					t.Errorf("%s is no exhibit that is played", id)
				}
				aimed[id] = true
			}
		})
	}
	for id, is := range played {
		switch why := unbreakable[id]; {
		case is && !aimed[id] && why == "":
			t.Errorf("%s: no break is aimed at it, and no sentence says why none can be", id)
		case why != "" && (aimed[id] || !is):
			t.Errorf("%s: a sentence excuses it for nothing", id)
		}
	}
	for id := range unbreakable {
		if _, ok := played[id]; !ok {
			t.Errorf("%s is excused, and nobody shows it", id)
		}
	}
}

// TestBroken builds the museum over each break, and demands of each exhibit that is aimed at that it fails, and says what it saw. make museum-broken runs it.
func TestBroken(t *testing.T) {
	if os.Getenv("XTEAM_TEST_BROKEN") == "" {
		t.Skip("builds the product once for every break: make museum-broken runs it")
	}
	table := &bytes.Buffer{}
	w := tabwriter.NewWriter(table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nBREAK\tEXHIBIT\tSAYS\tSECONDS")
	played, count := 0, 0
	for _, b := range breaks {
		t.Run(b.name, func(t *testing.T) {
			begun := time.Now()
			played++
			outputs, failed := b.play(t)
			for _, s := range b.fails {
				for _, id := range strings.Fields(s.ids) {
					line := said(outputs, id, s.says)
					switch {
					case !failed[id]:
						t.Errorf("%s does not fail:\n%s", id, outputs[id])
					case line == "":
						t.Errorf("%s fails, and does not say %q:\n%s", id, s.says, outputs[id])
					default:
						count++
						fmt.Fprintf(w, "%s\t%s\t%.70s\t%.0f\n", b.name, id, line, time.Since(begun).Seconds())
					}
				}
			}
		})
	}
	_ = w.Flush()
	fmt.Fprintf(table, "%d of %d breaks were played; %d times an exhibit failed for its own reason\n", played, len(breaks), count)
	_, _ = table.WriteTo(os.Stdout)
}

// play runs the exhibits over the break, and answers what each wrote and whether it failed.
func (b broken) play(t *testing.T) (outputs map[string]string, failed map[string]bool) {
	t.Helper()
	folder, replaced := t.TempDir(), map[string]string{}
	for file, text := range b.texts(t) {
		name := filepath.Join(folder, strings.ReplaceAll(file, "/", "-"))
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replaced[filepath.Join(root(t), filepath.FromSlash(file))] = name
	}
	text, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(folder, "overlay.json")
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var only []string
	for _, id := range b.ids() {
		only = append(only, "^TestMuseum$/^"+strings.ReplaceAll(regexp.QuoteMeta(id), "/", "$/^")+"$")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-vet=off", "-ldflags=-s -w", "-json", "-timeout", "8m", "-run", strings.Join(only, "|"), "./tests/security")
	// In the environment, so that the program which some exhibits build is broken too.
	cmd.Dir, cmd.Env = root(t), append(os.Environ(), "XTEAM_TEST_BROKEN=", strings.TrimSpace("GOFLAGS="+os.Getenv("GOFLAGS")+" -overlay="+overlay))
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	outputs, failed = map[string]string{}, map[string]bool{}
	all := bufio.NewReader(bytes.NewReader(out))
	for {
		line, err := all.ReadString('\n')
		var event struct{ Action, Test, Output string }
		if json.Unmarshal([]byte(line), &event) == nil {
			id := strings.TrimPrefix(event.Test, "TestMuseum/")
			switch event.Action {
			case "output", "build-output":
				outputs[id] += event.Output
			case "fail":
				failed[id] = true
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
	}
	if whole := errs.String() + strings.Join(slices.Collect(maps.Values(outputs)), ""); harness.MatchString(whole) {
		t.Fatalf("it was not the exhibits that failed:\n%.8000s", whole)
	}
	return outputs, failed
}

var (
	harness  = regexp.MustCompile(`(?m)^panic: |^fatal error: |\[(build|setup) failed\]`)
	own      = regexp.MustCompile(`(?m)^\s+\w+_test\.go:\d+: .*(\n        .*)*`)
	playedAs = regexp.MustCompile(`played as (\S+)`)
)

// said is the message of an exhibit that holds a text: one of its own, or of the exhibit by whose play it was shown.
func said(outputs map[string]string, id, text string) string {
	if as := playedAs.FindStringSubmatch(outputs[id]); as != nil {
		id = as[1]
	}
	for _, message := range own.FindAllString(outputs[id], -1) {
		if strings.Contains(message, text) {
			_, after, _ := strings.Cut(strings.TrimSpace(message), ": ")
			return strings.Join(strings.Fields(after), " ")
		}
	}
	return ""
}
