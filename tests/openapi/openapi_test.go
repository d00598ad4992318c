// Package openapi has programs that others wrote read the description that the real program serves: a linter, and a client that is generated from it.
package openapi_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// patience is how long anything may take that is sure to come.
const patience = 60 * time.Second

const password = "correct-Horse-battery-9-staple"

// binary is the real program, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) int {
	folder, err := os.MkdirTemp("", "xteam-openapi")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	binary = filepath.Join(folder, "xteam")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "github.com/xteam/xteam/cmd/xteam")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestTheDescription: the linter finds no error and nothing to warn of; the client that is generated from what is served compiles under the strictest options, as
// the README's does, and signs in, calls, revokes, and is told that its token is revoked.
func TestTheDescription(t *testing.T) {
	folder := installed(t)
	url := serve(t)
	res, err := http.Get(url + "/openapi.json")
	fatal(t, err)
	text, err := io.ReadAll(res.Body)
	fatal(t, err)
	fatal(t, res.Body.Close())
	fatal(t, os.WriteFile(filepath.Join(folder, "openapi.json"), text, 0o600))
	said := run(t, folder, "node_modules/.bin/redocly", "lint", "--format=json", "--extends=recommended", "openapi.json")
	var lint struct {
		Totals struct{ Errors, Warnings, Ignored *int }
	}
	if err := json.Unmarshal(said[bytes.IndexByte(said, '{'):], &lint); err != nil || lint.Totals.Errors == nil || *lint.Totals.Errors+*lint.Totals.Warnings+*lint.Totals.Ignored != 0 {
		t.Errorf("the linter: %v %s", err, said)
	}

	readme, err := os.ReadFile("../../README.md")
	fatal(t, err)
	_, after, ok := strings.Cut(string(readme), "\n```ts\n")
	example, _, closed := strings.Cut(after, "\n```\n")
	if !ok || !closed {
		t.Fatal("the README has no piece of TypeScript")
	}
	var manifest struct{ Dependencies map[string]string }
	pinned, err := os.ReadFile(filepath.Join(folder, "package.json"))
	fatal(t, err)
	fatal(t, json.Unmarshal(pinned, &manifest))
	for name, version := range manifest.Dependencies {
		if name != "@redocly/cli" && !strings.Contains(string(readme), name+"@"+version) {
			t.Errorf("the README does not install %s@%s, with which this test compiles its example", name, version)
		}
	}
	fatal(t, os.WriteFile(filepath.Join(folder, "readme.ts"), []byte(example), 0o600))
	run(t, folder, "node_modules/.bin/openapi-typescript", "openapi.json", "-o", "xteam.d.ts")
	run(t, folder, "node_modules/.bin/tsc", "-p", ".")
	var got map[string]any
	if said := run(t, folder, "client.js", url, password); json.Unmarshal(said, &got) != nil {
		t.Fatalf("the client says %s", said)
	}
	want := map[string]any{"email": "ann@example.com", "role": "owner", "first": "ann", "second": "root", "forbidden": "forbidden", "verified": true, "byKey": "ann", "dry": 1.0, "ended": 1.0,
		"status": 401.0, "code": "token_revoked", "reason": "user_revoked", "wrong": "validation_failed", "fields": []any{"email"}}
	if got["first"] == "root" { // the order of two random ids
		want["first"], want["second"] = "root", "ann"
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the client (-want +got):\n%s", diff)
	}
}

// run runs a script of node to its end, which must be a good one, and answers what it says.
func run(t *testing.T, folder string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "REDOCLY_TELEMETRY=off", "REDOCLY_SUPPRESS_UPDATE_NOTICE=true")
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node %v: %v\n%s%s", args, err, out, complaints.String())
	}
	return out
}

// installed is a folder of the test's own with the client and what it needs, which npm fetches once for each lock file into the user's cache.
func installed(t *testing.T) string {
	t.Helper()
	needs(t, "node", "npm")
	const source = "testdata/client"
	lock, err := os.ReadFile(filepath.Join(source, "package-lock.json"))
	fatal(t, err)
	sum := sha256.Sum256(lock)
	cache, err := os.UserCacheDir()
	fatal(t, err)
	modules := filepath.Join(cache, "xteam-tools", "openapi-"+hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(modules); err != nil {
		fatal(t, os.MkdirAll(filepath.Dir(modules), 0o755))
		fresh, err := os.MkdirTemp(filepath.Dir(modules), "openapi-new-")
		fatal(t, err)
		t.Cleanup(func() { _ = os.RemoveAll(fresh) })
		fatal(t, os.CopyFS(fresh, os.DirFS(source)))
		npm := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
		npm.Dir = fresh
		if out, err := npm.CombinedOutput(); err != nil {
			t.Fatalf("npm ci: %v\n%s", err, out)
		}
		if err := os.Rename(fresh, modules); err != nil && !errors.Is(err, os.ErrExist) { // another run may have been first
			if _, missing := os.Stat(modules); missing != nil {
				t.Fatal(err)
			}
		}
	}
	folder := t.TempDir()
	fatal(t, os.CopyFS(folder, os.DirFS(source)))
	fatal(t, os.Symlink(filepath.Join(modules, "node_modules"), filepath.Join(folder, "node_modules")))
	return folder
}

// needs skips a test on a machine without a program that it runs, and fails it where the real components are promised.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, name := range programs {
		switch _, err := exec.LookPath(name); {
		case err == nil:
		case os.Getenv("XTEAM_TEST_REAL") == "1":
			t.Fatalf("%s is not installed: make deps", name)
		default:
			t.Skipf("%s is not installed", name)
		}
	}
}

// serve starts the real program with an administrator root and a user ann, and answers where it serves.
func serve(t *testing.T) (url string) {
	t.Helper()
	folder := t.TempDir()
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + folder, "DATA_DIR=" + filepath.Join(folder, "data"), "HTTP_ADDR=127.0.0.1:0", "BCRYPT_COST=10", "RATE_LIMIT_ENABLED=false"}
	for name, role := range map[string]string{"root": "admin", "ann": "user"} {
		cmd := exec.CommandContext(t.Context(), binary, "users", "create", "--email", name+"@example.com", "--username", name, "--role", role, "--password-stdin")
		cmd.Env, cmd.Dir, cmd.Stdin = env, folder, strings.NewReader(password+"\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("xteam users create: %v\n%s", err, out)
		}
	}
	cmd := exec.Command(binary, "serve")
	var log bytes.Buffer
	cmd.Env, cmd.Dir, cmd.Stderr = env, folder, &log
	out, err := cmd.StdoutPipe()
	fatal(t, err)
	fatal(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	ready := make(chan string, 1)
	go func() {
		defer close(ready)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if _, url, ok := strings.Cut(lines.Text(), "ready "); ok {
				ready <- url
				return
			}
		}
	}()
	select {
	case url = <-ready:
	case <-time.After(patience):
	}
	if url == "" {
		t.Fatal("the program is not ready")
	}
	return url
}
