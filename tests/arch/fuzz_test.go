package arch_test

import (
	"go/ast"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEachFuzzTargetHasACorpus: what `make fuzz-all` found once is committed, and replayed by every run.
func TestEachFuzzTargetHasACorpus(t *testing.T) {
	targets := 0
	for _, f := range here(t).files {
		if !f.test {
			continue
		}
		for _, d := range f.syntax.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Fuzz") {
				continue
			}
			targets++
			inputs, err := os.ReadDir(filepath.Join("../..", f.dir, "testdata", "fuzz", fn.Name.Name))
			if err != nil || len(inputs) == 0 || len(inputs) > 50 {
				t.Errorf("%s: %s has %d inputs, want 1 to 50: make fuzz-all", f.name, fn.Name.Name, len(inputs))
			}
		}
	}
	if targets < 30 {
		t.Errorf("%d fuzz targets were found", targets)
	}
}
