package porttest

import "testing"

// Accounts proves a ports.Accounts.
func Accounts(t *testing.T, open Open) {}

// Sessions proves a ports.Sessions.
func Sessions(t *testing.T, open Open) {}

// Keys proves a ports.Keys.
func Keys(t *testing.T, open Open) {}

// System proves a ports.System.
func System(t *testing.T, open Open) {}

// Revocations proves a ports.Revocations.
func Revocations(t *testing.T, open Open) {}

// Events proves a ports.Events.
func Events(t *testing.T, open Open) {}

// Durable proves that what a store acknowledged is there after it was closed, and after its process was killed.
func Durable(t *testing.T, open Open) {}

// Syncs proves that a store asks the disk before it acknowledges.
func Syncs(t *testing.T, open Open) {}
