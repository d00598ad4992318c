package main_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScript plays the command lines in testdata/script. Each has an empty working directory and none of the environment's settings.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HTTP_ADDR", "127.0.0.1:0")
			e.Setenv("BCRYPT_COST", "10")
			e.Setenv("ESC", "\x1b")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "await": await, "http": request, "capture": capture,
			// certificate SERIAL CERT KEY writes a pair for this machine into two files.
			"certificate": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) != 3 {
					ts.Fatalf("usage: certificate serial cert key")
				}
				serial, err := strconv.ParseInt(args[0], 10, 64)
				ts.Check(err)
				made := issue(t, serial)
				ts.Check(os.WriteFile(ts.MkAbs(args[1]), made.cert, 0o600))
				ts.Check(os.WriteFile(ts.MkAbs(args[2]), made.key, 0o600))
			}},
	})
}

// exits N COMMAND ARGS… runs a command that must end with that code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code command [args...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%v ended with %d, want %d", args[1:], got, want)
	}
}

// await FILE [REGEXP] waits until a file exists, and holds that.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: await file [regexp]")
	}
	holds := regexp.MustCompile("(?m)" + strings.Join(args[1:], ""))
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	tooLong := time.After(30 * time.Second)
	for {
		if text, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && holds.Match(text) {
			return
		}
		select {
		case <-tick.C:
		case <-tooLong:
			ts.Fatalf("%s did not appear, or not with %s", args[0], holds)
		}
	}
}

// http STATUS METHOD URL [BODY [TOKEN]] sends a request, whose answer must have that status. Its body is stdout. The variable TRUST names a file with the
// certificate of a server that has one.
func request(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 || len(args) > 5 {
		ts.Fatalf("usage: http status method url [body [token]]")
	}
	args = append(args, "", "")
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, args[1], args[2], strings.NewReader(args[3]))
	ts.Check(err)
	req.Header.Set("Content-Type", "application/json")
	if args[4] != "" {
		req.Header.Set("Authorization", "Bearer "+args[4])
	}
	var trusted []issued
	if file := ts.Getenv("TRUST"); file != "" {
		trusted = append(trusted, issued{cert: []byte(ts.ReadFile(file))})
	}
	res, err := trusting(trusted...).Do(req)
	ts.Check(err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	ts.Check(err)
	_, err = ts.Stdout().Write(append(text, '\n'))
	ts.Check(err)
	if strconv.Itoa(res.StatusCode) != args[0] {
		ts.Fatalf("%s %s: got %s %s, want %s", args[1], args[2], res.Status, text, args[0])
	}
}

// capture NAME FILE REGEXP sets a variable to the first group of the match; the file may be stdout.
func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: capture name file regexp")
	}
	found := regexp.MustCompile("(?m)" + args[2]).FindStringSubmatch(ts.ReadFile(args[1]))
	if len(found) < 2 {
		ts.Fatalf("%s has nothing that %s matches", args[1], args[2])
	}
	ts.Setenv(args[0], found[1])
}
