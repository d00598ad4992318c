package porttest

import (
	"os/exec"
	"syscall"
)

func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// killGroup kills a command and what it started with SIGKILL.
func killGroup(cmd *exec.Cmd) error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

// mark leaves a line in a trace of this process's system calls: a sync of a file that does not exist.
func mark(n int) { _ = syscall.Fsync(-n) }
