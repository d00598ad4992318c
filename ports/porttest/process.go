package porttest

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// folderSetting names the environment variable by which a child process knows that it is one, and on which folder it works.
const folderSetting = "XTEAM_PORTTEST_FOLDER"

// roundSetting names the environment variable that holds the number of a child among others on one folder.
const roundSetting = "XTEAM_PORTTEST_ROUND"

// again is a command that runs this very test in another process, on a folder, perhaps under another program. It dies with this process.
func again(ctx context.Context, t *testing.T, dir string, under ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatalf("the test's own program: %v", err)
	}
	var name []string
	for part := range strings.SplitSeq(t.Name(), "/") {
		name = append(name, "^"+regexp.QuoteMeta(part)+"$")
	}
	args := append(under, self, "-test.run="+strings.Join(name, "/"), "-test.count=1", "-test.timeout=5m")
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), folderSetting+"="+dir)
	cmd.SysProcAttr = ownGroup()
	cmd.Cancel = func() error { return killGroup(cmd) }
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	return cmd, &stderr
}

// random is a small generator (splitmix64): a test that failed is repeated with the seed that it printed.
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (r *random) below(n int) int { return int(r.next() % uint64(n)) }
