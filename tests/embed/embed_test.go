// Package embed_test proves from outside that a Go program can embed XTeam: one of at most 25 lines, in a module of its own, is built, run and killed, and what it
// links is held against a list.
package embed_test

import (
	"bufio"
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// linked is every module that the program links, beside its own and ours. What comes in here is looked at first: what it is for, and what it brings with it.
var linked = []string{
	"github.com/cespare/xxhash/v2",
	"github.com/coder/websocket", // of /ws; it brings nothing with it
	"github.com/dgraph-io/badger/v4",
	"github.com/dgraph-io/ristretto/v2",
	"github.com/dustin/go-humanize",
	"github.com/go-json-experiment/json",
	"github.com/go-logr/logr",
	"github.com/go-logr/stdr",
	"github.com/golang-jwt/jwt/v5",
	"github.com/google/flatbuffers",
	"github.com/klauspost/compress",
	"go.opentelemetry.io/auto/sdk",
	"go.opentelemetry.io/otel",
	"go.opentelemetry.io/otel/log",
	"go.opentelemetry.io/otel/metric",
	"go.opentelemetry.io/otel/trace",
	"golang.org/x/crypto",
	"golang.org/x/sys",
	"google.golang.org/protobuf",
}

func TestProgram(t *testing.T) {
	dir := t.TempDir()
	binary := build(t, dir)

	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range info.Deps {
		found = append(found, m.Path)
		if m.Path != "github.com/xteam/xteam" && !slices.Contains(linked, m.Path) {
			t.Errorf("the program links %s, which is not on the list", m.Path)
		}
	}
	for _, path := range linked {
		if !slices.Contains(found, path) {
			t.Errorf("%s is on the list, and the program does not link it", path)
		}
	}

	base, kill := run(t, binary, dir)
	call := func(method, path, bearer, body string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		if bearer != "" {
			r.Header.Set("Authorization", "Bearer "+bearer)
		}
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer got.Body.Close()
		text, err := io.ReadAll(got.Body)
		if err != nil {
			t.Fatal(err)
		}
		return got.StatusCode, string(text)
	}
	const who = `{"email":"ann@example.com","username":"ann","password":"correct-Horse-battery-9"}`
	if code, text := call("POST", "/api/v1/auth/register", "", who); code != 201 {
		t.Fatalf("register: %d %s", code, text)
	}
	code, text := call("POST", "/api/v1/auth/login", "", `{"username":"ann","password":"correct-Horse-battery-9"}`)
	var tokens struct {
		Access string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(text), &tokens); err != nil || code != 200 {
		t.Fatalf("sign in: %d %s", code, text)
	}
	if code, text := call("GET", "/orders", tokens.Access, ""); code != 200 || !strings.HasPrefix(text, "the orders of ") {
		t.Errorf("the program's own handler: %d %s", code, text)
	}
	if code, text := call("POST", "/api/v1/auth/logout", tokens.Access, ""); code != 204 {
		t.Fatalf("log out: %d %s", code, text)
	}
	refused := func(when string) {
		t.Helper()
		if code, text := call("GET", "/orders", tokens.Access, ""); code != 401 || !strings.Contains(text, `"token_revoked"`) {
			t.Errorf("%s: %d %s", when, code, text)
		}
	}
	refused("after the log-out")
	kill()
	base, kill = run(t, binary, dir)
	defer kill()
	refused("after kill -9 and another start")
}

// build makes the module and its program, as the README says, without the network.
func build(t *testing.T, dir string) (binary string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("testdata/program/main.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(program, []byte("\n")); n > 25 {
		t.Errorf("the program has %d lines, more than 25", n)
	}
	ours, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	// What we require, at the same versions: `go mod tidy` would write the part of it that is linked.
	requires := strings.Join(regexp.MustCompile(`(?s)require \(.*?\n\)\n`).FindAllString(string(ours), -1), "\n")
	mod := fmt.Sprintf("module example.com/program\n\ngo 1.26.0\n\nrequire github.com/xteam/xteam v0.0.0\n\n%s\nreplace github.com/xteam/xteam => %s\n", requires, root)
	for name, text := range map[string][]byte{"go.mod": []byte(mod), "go.sum": sums, "main.go": program} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	binary = filepath.Join(dir, "program")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	return binary
}

// run starts the program and answers where it listens, and how to kill it.
func run(t *testing.T, binary, dir string) (base string, kill func()) {
	t.Helper()
	cmd := exec.Command(binary)
	cmd.Dir = dir
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	kill = func() {
		if !ended {
			ended = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	t.Cleanup(kill)
	late := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		kill()
		t.Fatalf("the program said no address: %v\n%s", err, errs.String())
	}
	return strings.TrimSpace(line), kill
}
