package e2e_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The Go of the README is a program's, to the letter: it is compiled as a package of this module that is nowhere but in an overlay of the build.
func TestReadmeProgram(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(text), "\n```go\n")
	snippet, _, closed := strings.Cut(after, "\n```\n")
	if !ok || !closed || strings.Contains(after[len(snippet)+4:], "\n```go\n") {
		t.Fatal("the README has not one piece of Go")
	}
	program := `package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/xteam/xteam/app/xteam"
)

func embed(ctx context.Context, mux *http.ServeMux) error {
` + snippet + `
	return nil
}

func main() { fmt.Println(embed(context.Background(), http.NewServeMux())) }
`
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	source, overlay := filepath.Join(t.TempDir(), "main.go"), filepath.Join(t.TempDir(), "overlay.json")
	listed, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, "tests/e2e/readme/main.go"): source}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{source: []byte(program), overlay: listed} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("go", "build", "-overlay", overlay, "-o", os.DevNull, "./tests/e2e/readme")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("the README's program: %v\n%s", err, out)
	}
}
