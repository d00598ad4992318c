// Package graphql has programs that others wrote speak GraphQL with the real program: the audits of servers over HTTP, and a client of sockets.
package graphql_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience is how long anything may take that is sure to come.
const patience = 60 * time.Second

const password = "correct-Horse-battery-9-staple"

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestOthersPrograms: every audit passes that is a MUST or a SHOULD; the client subscribes, is cut with 4401 and the reason, and connects again.
func TestOthersPrograms(t *testing.T) {
	folder := installed(t)
	url := serve(t)
	var audits []struct{ ID, Name, Status, Reason string }
	fatal(t, json.Unmarshal(run(t, folder, "audit.mjs", url), &audits))
	ok := 0
	for _, a := range audits {
		t.Logf("%s %-5s %s %s", a.ID, a.Status, a.Name, a.Reason)
		switch {
		case a.Status == "ok":
			ok++
		case strings.HasPrefix(a.Name, "MUST"), strings.HasPrefix(a.Name, "SHOULD"):
			t.Errorf("%s: %s: %s", a.ID, a.Name, a.Reason)
		}
	}
	t.Logf("%d of %d audits are ok", ok, len(audits))
	if len(audits) < 60 {
		t.Errorf("there were %d audits", len(audits))
	}
	var got struct {
		Ended           bool
		Code, Connected int
		Within          int
		Reason, Kind    string
	}
	fatal(t, json.Unmarshal(run(t, folder, "subscribe.mjs", url, password), &got))
	if !got.Ended || got.Code != 4401 || got.Reason != "token_revoked: user_revoked" || got.Connected != 2 || got.Within > 10_000 || got.Kind != "authentication_succeeded" {
		t.Errorf("the client: %+v", got)
	}
}

// TestReadme plays the README's lines of shell, to the letter but for the port.
func TestReadme(t *testing.T) {
	needs(t, "curl", "bash")
	text, err := os.ReadFile("../../README.md")
	fatal(t, err)
	_, section, _ := strings.Cut(string(text), "\n## GraphQL\n")
	_, lines, _ := strings.Cut(section, "\n```sh\n")
	lines, _, ok := strings.Cut(lines, "\n```\n")
	if !ok {
		t.Fatal("the README has no lines of GraphQL")
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-eu", "-c", "TOKEN=\n"+strings.ReplaceAll(lines, "http://localhost:8000", serve(t)))
	out, err := cmd.CombinedOutput()
	fatal(t, err)
	for _, want := range []string{`{"data":{"me":{"username":"ann","role":"USER"},"sessions":{"nodes":[{"ipAddress":"127.0.0.1","current":true}]`, `{"data":{"logout":true}}`, `"problem":"token_revoked"`, `"reason":"logout"`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the lines say %s, want %s in it", out, want)
		}
	}
}

// run runs a script of node to its end, which must be a good one, and answers what it says.
func run(t *testing.T, folder string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", args...)
	cmd.Dir = folder
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
	modules := filepath.Join(cache, "xteam-tools", "graphql-"+hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(modules); err != nil {
		fatal(t, os.MkdirAll(filepath.Dir(modules), 0o755))
		fresh, err := os.MkdirTemp(filepath.Dir(modules), "graphql-new-")
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

// serve builds and starts the real program with an administrator root and a user ann, and answers where it serves.
func serve(t *testing.T) (url string) {
	t.Helper()
	folder := t.TempDir()
	binary := filepath.Join(folder, "xteam")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "github.com/xteam/xteam/cmd/xteam")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
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
