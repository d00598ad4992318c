//go:build !faultclock

package main

import "time"

// machineClock is the clock of this machine. Only the program that the table of failures builds for itself has another.
func machineClock() time.Time { return time.Now() }
