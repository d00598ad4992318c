package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	xteam "github.com/xteam/xteam/cmd/xteam"
)

// What the table of failures says is shown by tests that exist.
func TestFailuresAreShown(t *testing.T) {
	for part, tests := range xteam.FailureTests() {
		if len(tests) == 0 {
			t.Errorf("%s: no test shows it", part)
		}
		for _, test := range tests {
			folder, name, _ := strings.Cut(test, " ")
			name, row, _ := strings.Cut(name, "/")
			files, _ := filepath.Glob(filepath.Join("../..", folder, "*_test.go"))
			found := false
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				found = found || strings.Contains(string(text), "func "+name+"(t *testing.T)")
			}
			if row != "" {
				text, err := os.ReadFile(filepath.Join("../..", folder, "faults_linux_test.go"))
				found = found && err == nil && strings.Contains(string(text), `name: "`+row+`"`)
			}
			if !found {
				t.Errorf("%s: there is no test %s", part, test)
			}
		}
	}
}
