package ports

import (
	"context"

	"github.com/xteam/xteam/domain/alert"
)

// Alerts keeps the book of alerts, whole and sealed. It always exists: a new store holds an empty one.
type Alerts interface {
	// Update is as System.Update.
	Update(ctx context.Context, change func(alert.Book) (alert.Book, Effects, error)) error
	// Load answers the book as it was last committed.
	Load(ctx context.Context) (alert.Book, error)
}
