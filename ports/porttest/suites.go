package porttest

import "testing"

// Durable proves that what a store acknowledged is there after it was closed, and after its process was killed.
func Durable(t *testing.T, open Open) {}

// Syncs proves that a store asks the disk before it acknowledges.
func Syncs(t *testing.T, open Open) {}
