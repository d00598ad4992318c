package vaultsecrets

import (
	"context"
	"time"
)

// OpenAt is Open by another clock.
func OpenAt(ctx context.Context, o Options, now func() time.Time) (*Secrets, error) {
	return open(ctx, o, now)
}
