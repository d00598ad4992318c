package main_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	xteam "github.com/xteam/xteam/cmd/xteam"
)

// proven are the verdicts that tests of this package have seen of each check of the doctor.
var proven struct {
	sync.Mutex
	verdicts map[string][]string
}

// proves notes that a set-up had a check come to a verdict.
func proves(id, verdict string) {
	proven.Lock()
	defer proven.Unlock()
	if proven.verdicts == nil {
		proven.verdicts = map[string][]string{}
	}
	proven.verdicts[id] = append(proven.verdicts[id], verdict)
}

// provenLive are the checks that only real servers can be red for, with what tests of tests/faults say of the set-up that makes them red, and of the one that makes them green.
var provenLive = map[string]struct{ file, red, green string }{
	"db.encrypted":     {"doctor_linux_test.go", `"db.encrypted": "fail is not encrypted"`, `"db.encrypted": "pass its certificate was verified"`},
	"db.networks":      {"doctor_linux_test.go", `"fail the database has sessions from 127.0.0.1"`, `"pass every session"`},
	"redis.encrypted":  {"doctor_linux_test.go", `"redis.encrypted": "fail crosses a network"`, `"redis.encrypted": "pass is TLS"`},
	"redis.auth":       {"doctor_linux_test.go", `"redis.auth": "fail answers whoever asks"`, `"redis.auth": "pass turns away"`},
	"redis.noeviction": {"doctor_linux_test.go", `"redis.noeviction": "fail allkeys-lru"`, `"redis.noeviction": "pass drops nothing"`},
	"redis.durable":    {"doctor_linux_test.go", `"redis.durable": "warn all revocations"`, `"redis.durable": "pass has on disk"`},
	"redis.entries":    {"doctor_linux_test.go", `"redis.entries": "fail 1 cannot be read"`, `"redis.entries": "pass can be read"`},
	"audit.verifies":   {"doctor_live_linux_test.go", `look()["audit.verifies"]; f.Verdict != "fail"`, `"audit.verifies": "pass hold"`},
}

// neverFail are the checks whose worst verdict is a warning.
var neverFail = []string{"redis.durable"}

// unproven says of which checks there is no set-up that makes them red, or none that makes them green.
func unproven() (missing []string) {
	proven.Lock()
	defer proven.Unlock()
	for _, id := range xteam.Checks() {
		red, green := slices.Contains(proven.verdicts[id], "fail"), slices.Contains(proven.verdicts[id], "pass")
		if live, ok := provenLive[id]; ok {
			text, err := os.ReadFile(filepath.Join("..", "..", "tests", "faults", live.file))
			red = err == nil && strings.Contains(string(text), live.red) && (strings.Contains(live.red, `fail`) || slices.Contains(neverFail, id))
			green = err == nil && strings.Contains(string(text), live.green)
		}
		if !red {
			missing = append(missing, id+": no test has a set-up that makes it fail")
		}
		if !green {
			missing = append(missing, id+": no test has a set-up that makes it pass")
		}
	}
	for id := range provenLive {
		if !slices.Contains(xteam.Checks(), id) {
			missing = append(missing, id+": there is no such check")
		}
	}
	return missing
}

// proving runs the tests, and fails a whole run that leaves a check of the doctor unproven.
type proving struct{ m *testing.M }

func (p proving) Run() int {
	code := p.m.Run()
	for _, part := range []string{"test.run", "test.skip", "test.list", "test.fuzz"} {
		if f := flag.Lookup(part); f != nil && f.Value.String() != "" {
			return code
		}
	}
	if missing := unproven(); code == 0 && missing != nil {
		fmt.Fprintln(os.Stderr, "FAIL: checks of the doctor\n"+strings.Join(missing, "\n"))
		return 1
	}
	return code
}

func TestMain(m *testing.M) {
	testscript.Main(proving{m}, map[string]func(){"xteam": xteam.Main})
}
