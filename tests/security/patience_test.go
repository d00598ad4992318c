//go:build !race

package security_test

// patience is by how much a bound of time is stretched.
const patience = 4

// racing reports whether the race detector is on: then what is many is fewer.
const racing = false
