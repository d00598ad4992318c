package arch_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

// reason is a line of the list in DECISIONS.md: a module, and what it is for.
var reason = regexp.MustCompile("(?m)^- `([^` ]+\\.[^` ]+/[^` ]+)`: (\\S.{10,})$")

// TestDependenciesHaveReasons holds DECISIONS.md against go.mod: what is required by this module itself is there, once, with what it is for, and nothing else is.
func TestDependenciesHaveReasons(t *testing.T) {
	text, err := os.ReadFile("../../DECISIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## What each direct dependency is for\n")
	if !ok {
		t.Fatal("DECISIONS.md has no section of that name")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var listed []string
	for _, m := range reason.FindAllStringSubmatch(section, -1) {
		listed = append(listed, m[1])
	}
	if lines := strings.Count(section, "\n- "); lines != len(listed) {
		t.Errorf("%d lines begin with a dash, and %d say of a module what it is for", lines, len(listed))
	}
	if want := direct(t); !slices.Equal(listed, want) {
		t.Errorf("DECISIONS.md tells of\n%s\nand go.mod requires\n%s", strings.Join(listed, "\n"), strings.Join(want, "\n"))
	}
}

// direct are the modules that go.mod requires and does not call indirect, in order.
func direct(t *testing.T) (paths []string) {
	data, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := modfile.Parse("go.mod", data, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range mod.Require {
		if !r.Indirect {
			paths = append(paths, r.Mod.Path)
		}
	}
	if len(mod.Replace) > 0 || len(mod.Exclude) > 0 {
		t.Error("go.mod replaces or excludes a module: a program that embeds this one would not")
	}
	slices.Sort(paths)
	return paths
}
