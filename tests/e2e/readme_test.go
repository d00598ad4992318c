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
	var snippets []string
	for rest := string(text); ; {
		_, after, more := strings.Cut(rest, "\n```go\n")
		if !more {
			break
		}
		snippet, behind, closed := strings.Cut(after, "\n```\n")
		if !closed {
			t.Fatal("a piece of Go in the README does not end")
		}
		snippets, rest = append(snippets, snippet), behind
	}
	if len(snippets) != 2 {
		t.Fatalf("the README has %d pieces of Go, want that of a program that embeds and that of one that verifies", len(snippets))
	}
	program := `package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/xteam/xteam/app/verify"
	"github.com/xteam/xteam/app/xteam"
	"github.com/xteam/xteam/domain/secret"
)

func embed(ctx context.Context, mux *http.ServeMux) error {
` + snippets[0] + `
	return nil
}

func verifies(ctx context.Context, mux *http.ServeMux, base, key, token string, orders http.Handler) error {
` + snippets[1] + `
	fmt.Println(claims)
	return err
}

func main() {
	ctx, mux := context.Background(), http.NewServeMux()
	fmt.Println(embed(ctx, mux), verifies(ctx, mux, "", "", "", mux))
}
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
