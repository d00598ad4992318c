//go:build !race

package security_test

// patience is by how much a bound of time is stretched.
const patience = 4
