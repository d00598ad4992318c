//go:build faultclock

package main

import (
	"os"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

// machineClock is a clock that is wrong by as many seconds as the file says that XTEAM_FAULT_CLOCK names, from the moment on that the file says it: as of a machine whose clock is set. The
// monotonic reading, which no setting touches, stays as it is. tests/faults builds the program so; nothing that is shipped holds this file.
func machineClock() time.Time {
	now := time.Now()
	text, err := os.ReadFile(os.Getenv("XTEAM_FAULT_CLOCK"))
	if err != nil {
		return now
	}
	off, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return now
	}
	*(*uint64)(unsafe.Pointer(&now)) += uint64(off) << 30 // the seconds of time.Time's first word lie above 30 bits of nanoseconds
	return now
}
