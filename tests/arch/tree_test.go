// Package arch proves the house rules: which package may import which, where each library lives, and what no package may do.
//
// The sources are parsed in this process. The go command re-runs a cached test when a file or folder that the test has opened inside the module
// changes, so a result of this package is never stale; one that asked `go list` would be.
package arch_test

import (
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is the path of this module, as every import of its packages begins.
const module = "github.com/xteam/xteam"

// file is one Go source of the module.
type file struct {
	name    string // slash-separated, from the module's root
	dir     string // folder of name: the package, from the module's root
	test    bool   // a _test.go file
	syntax  *ast.File
	imports map[string]string // import path to the name it has in this file
	when    constraint.Expr   // its //go:build line; nil when there is none
}

// in reports whether the file lies in folder or beneath it.
func (f *file) in(folder string) bool { return within(f.dir, folder) }

// inAny reports whether the file lies in one of the folders or beneath it.
func (f *file) inAny(folders ...string) bool {
	return slices.ContainsFunc(folders, f.in)
}

// builds reports whether the file is part of a build for Linux with these tags.
func (f *file) builds(tags ...string) bool {
	return f.when == nil || f.when.Eval(func(tag string) bool {
		return slices.Contains([]string{"linux", "unix", "amd64", "gc", "cgo"}, tag) || strings.HasPrefix(tag, "go1.") || slices.Contains(tags, tag)
	})
}

// tree is the module as it lies in its folder.
type tree struct {
	fsys   fs.FS
	fset   *token.FileSet
	files  []*file
	top    []string // folders at the root, those that begin with a dot aside
	ignore []string // folders that .gitignore names
}

// at is the place of a node, for messages.
func (t *tree) at(n ast.Node) string { return t.fset.Position(n.Pos()).String() }

// load parses every Go file. What the go command does not look into is left out: testdata and folders that begin with a dot or an underscore.
func load(fsys fs.FS) (*tree, error) {
	t := &tree{fsys: fsys, fset: token.NewFileSet()}
	if text, err := fs.ReadFile(fsys, ".gitignore"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, ok := strings.CutSuffix(strings.TrimSpace(line), "/"); ok {
				t.ignore = append(t.ignore, strings.TrimPrefix(name, "/"))
			}
		}
	}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == ".":
			return nil
		case d.IsDir():
			base := path.Base(name)
			if strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" {
				return fs.SkipDir
			}
			if !strings.Contains(name, "/") {
				if slices.Contains(t.ignore, name) {
					return fs.SkipDir
				}
				t.top = append(t.top, name)
			}
			return nil
		case path.Ext(name) != ".go":
			return nil
		}
		f, err := parse(t.fset, fsys, name)
		if err != nil {
			return err
		}
		t.files = append(t.files, f)
		return nil
	})
	return t, err
}

func parse(fset *token.FileSet, fsys fs.FS, name string) (*file, error) {
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, err
	}
	syntax, err := parser.ParseFile(fset, name, text, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	f := &file{name: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), syntax: syntax, imports: map[string]string{}}
	for _, spec := range syntax.Imports {
		to, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		f.imports[to] = path.Base(to)
		if spec.Name != nil {
			f.imports[to] = spec.Name.Name
		}
	}
	for _, group := range syntax.Comments {
		if group.Pos() > syntax.Package {
			break
		}
		for _, line := range group.List {
			if constraint.IsGoBuild(line.Text) {
				if f.when, err = constraint.Parse(line.Text); err != nil {
					return nil, err
				}
			}
		}
	}
	return f, nil
}

// here is this module's tree.
func here(t *testing.T) *tree {
	t.Helper()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		text, err := os.ReadFile(filepath.Join(root, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module "+module+"\n") {
			break
		}
		if root == filepath.Dir(root) {
			t.Fatalf("no go.mod of %s above the working directory", module)
		}
		root = filepath.Dir(root)
	}
	tr, err := load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// within reports whether a slash-separated path is folder or lies beneath it.
func within(name, folder string) bool {
	return name == folder || strings.HasPrefix(name, folder+"/")
}

// ours answers the folder of an import of this module.
func ours(importPath string) (folder string, ok bool) {
	return strings.CutPrefix(importPath, module+"/")
}

// foreign reports whether an import is neither of this module nor of the standard library, whose paths have no dot in their first part.
func foreign(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return strings.Contains(first, ".") && !within(importPath, module)
}
