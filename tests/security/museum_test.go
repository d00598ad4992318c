// Package security_test plays, against the real product, what broke in others: TestMuseum the bugs that products of this kind had, with the input of each and the answer
// that XTeam must give, and TestValidation hostile values at everything that is served.
package security_test

import (
	"bufio"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// exhibit is what is shown of one or more entries of testdata/museum.txt. It is played here, or why says in a sentence why not.
type exhibit struct {
	ids  []string
	play func(*testing.T)
	why  string
	// tests are those that show it elsewhere, as folder/file.go:TestName; they exist.
	tests []string

	played string // by which of the ids it was played already
	failed bool
}

// museum is all that is shown.
func museum() []exhibit {
	return slices.Concat(tokenExhibits, sessionExhibits, revocationExhibits, signInExhibits, graphExhibits, logExhibits, standardExhibits, floodExhibits, asvsExhibits, failureExhibits)
}

// entry is a line of the committed list.
type entry struct{ id, says string }

// entries reads testdata/museum.txt: an id, and after a blank what went wrong.
func entries(t *testing.T) (all []entry) {
	t.Helper()
	f, err := os.Open("testdata/museum.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, says, ok := strings.Cut(line, " ")
		if !ok {
			t.Fatalf("%q says nothing", line)
		}
		all = append(all, entry{id, strings.TrimSpace(says)})
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestMuseum plays every entry of the list, or says why it is not played here. No entry is left out, and none is shown that the list lacks.
func TestMuseum(t *testing.T) {
	shown := map[string]*exhibit{}
	all := museum()
	for i := range all {
		e := &all[i]
		if (e.play == nil) == (e.why == "") {
			t.Errorf("%v: it is played, or a sentence says why not", e.ids)
		}
		for _, id := range e.ids {
			if shown[id] != nil {
				t.Errorf("%s is shown twice", id)
			}
			shown[id] = e
		}
	}
	listed, explained := entries(t), 0
	for _, en := range listed {
		e := shown[en.id]
		delete(shown, en.id)
		t.Run(en.id, func(t *testing.T) {
			if e == nil {
				t.Fatalf("nobody shows it: %s", en.says)
			}
			for _, at := range e.tests {
				if err := exists(at); err != "" {
					t.Error(err)
				}
			}
			if e.play == nil {
				t.Logf("explained: %s %v", e.why, e.tests)
				return
			}
			if e.played != "" { // one play shows all of an exhibit
				if t.Log("played as", e.played); e.failed {
					t.Fail()
				}
				return
			}
			e.played = en.id
			t.Cleanup(func() { e.failed = t.Failed() })
			e.play(t)
		})
		if e != nil && e.play == nil {
			explained++
		}
	}
	for id := range shown {
		t.Errorf("%s is shown, and testdata/museum.txt lacks it", id)
	}
	t.Logf("%d entries: %d played, %d explained", len(listed), len(listed)-explained, explained)
}

// exists answers what is wrong with a reference to a test, which is folder/file.go:TestName from the root of the repository, and may go on with a slash and the name of a subtest as it
// stands in a table of the file.
func exists(at string) string {
	path, name, ok := strings.Cut(at, ":")
	if !ok || !strings.HasPrefix(name, "Test") && !strings.HasPrefix(name, "Fuzz") && !strings.HasPrefix(name, "Example") {
		return at + " names no test: it is folder/file_test.go:TestName"
	}
	name, sub, _ := strings.Cut(name, "/")
	text, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(path)))
	if err != nil {
		return at + ": " + err.Error()
	}
	f, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution)
	if err != nil {
		return at + ": " + err.Error()
	}
	if sub != "" && !strings.Contains(string(text), strconv.Quote(sub)) {
		return at + ": the file has no such subtest"
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == name {
			return ""
		}
	}
	return at + ": the file has no such test"
}
