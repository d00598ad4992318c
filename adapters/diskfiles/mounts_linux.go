package diskfiles

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// alone is the option by which the locks of a folder on a network file system are this machine's own; empty where there is none, or nobody says.
func alone(dir string) string {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	if dir, err = filepath.Abs(dir); err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return ""
	}
	return lonely(f, dir)
}

// lonely reads a list of mounts (proc_pid_mountinfo(5)), of which the last whose point is above dir, and nearest to it, holds dir.
func lonely(mounts io.Reader, dir string) (how string) {
	nearest := -1
	lines := bufio.NewScanner(mounts)
	for lines.Scan() {
		mount, about, ok := strings.Cut(lines.Text(), " - ")
		at, is := strings.Fields(mount), strings.Fields(about)
		if !ok || len(at) < 5 || len(is) < 3 {
			continue
		}
		point := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(at[4])
		if dir != point && !strings.HasPrefix(dir, strings.TrimSuffix(point, "/")+"/") || len(point) < nearest {
			continue
		}
		nearest, how = len(point), ""
		if !strings.HasPrefix(is[0], "nfs") {
			continue
		}
		for _, option := range strings.Split(is[2], ",") {
			if slices.Contains([]string{"nolock", "local_lock=flock", "local_lock=all"}, option) {
				how = option
			}
		}
	}
	return how
}
