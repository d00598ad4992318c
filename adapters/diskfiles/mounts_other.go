//go:build unix && !linux

package diskfiles

// alone is not known there.
func alone(string) string { return "" }
