package bench_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
)

// oneGroup puts this process, and with it all that it starts, into one control group, as services are. By itself Linux gives each session a share of the processors of its own (autogroup), and
// each process of PostgreSQL is a session: where the cores are saturated one of them may then wait for half a second until it is its turn. Where that cannot be changed the table says so.
func oneGroup() {
	if on, err := os.ReadFile("/proc/sys/kernel/sched_autogroup_enabled"); err != nil || !bytes.HasPrefix(on, []byte("1")) {
		return
	}
	me := []byte(strconv.Itoa(os.Getpid()))
	for _, root := range []string{"/sys/fs/cgroup/cpu", "/sys/fs/cgroup"} { // version 1, version 2
		if root == "/sys/fs/cgroup" {
			if given, err := os.ReadFile(filepath.Join(root, "cgroup.subtree_control")); err != nil || !bytes.Contains(given, []byte("cpu")) {
				continue
			}
		}
		group := filepath.Join(root, "xteam-bench-"+string(me))
		if os.Mkdir(group, 0o755) != nil {
			continue
		}
		report.atEnd(func() {
			_ = os.WriteFile(filepath.Join(root, "cgroup.procs"), me, 0) // a group that has processes cannot be removed
			_ = os.Remove(group)
		})
		if os.WriteFile(filepath.Join(group, "cgroup.procs"), me, 0) == nil {
			return
		}
	}
	report.notes = append(report.notes, "Each session has a share of the processors of its own (sched_autogroup_enabled): what PostgreSQL does waits longer than it would beside services. As root this run would have changed it for itself.")
}
