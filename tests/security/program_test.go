package security_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// program is the binary, which is built when the first test needs it.
var program struct {
	once   sync.Once
	folder string
	err    error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if program.folder != "" {
		_ = os.RemoveAll(program.folder)
	}
	os.Exit(code)
}

func binary(t *testing.T) string {
	t.Helper()
	program.once.Do(func() {
		if program.folder, program.err = os.MkdirTemp("", "xteam-security"); program.err != nil {
			return
		}
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(program.folder, "xteam"), "github.com/xteam/xteam/cmd/xteam")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			program.err = fmt.Errorf("build: %w\n%s", err, out)
		}
	})
	if program.err != nil {
		t.Fatal(program.err)
	}
	return filepath.Join(program.folder, "xteam")
}

// result is how a command ended.
type result struct {
	code     int
	out, err string
}

// run runs a command to its end, in a folder of its own.
func run(t *testing.T, env []string, stdin string, args ...string) result {
	t.Helper()
	name := binary(t)
	ctx, cancel := context.WithTimeout(t.Context(), soon+10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env, cmd.Dir, cmd.Stdin = append([]string{"PATH=" + os.Getenv("PATH"), "HTTP_ADDR=127.0.0.1:0", "BCRYPT_COST=10"}, env...), t.TempDir(), strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	exit := (*exec.ExitError)(nil)
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Fatalf("%v did not end: %s", args, errs.String())
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// serveOnce starts a server that is to refuse its start.
func serveOnce(t *testing.T, env ...string) result {
	t.Helper()
	return run(t, append([]string{"DATA_DIR=" + t.TempDir()}, env...), "", "serve")
}

func readAll(r io.Reader) string {
	b, _ := io.ReadAll(r) // what was cut off is judged by what came
	return string(b)
}
