package ports

import (
	"context"

	"github.com/xteam/xteam/domain/incident"
)

// Incidents keeps the book of incidents, whole and sealed. It always exists: a new store holds an empty one, of revision 0. A change raises the revision, as the domain does; a store keeps it beside the book.
type Incidents interface {
	// Update is as System.Update.
	Update(ctx context.Context, change func(incident.Casebook) (incident.Casebook, Effects, error)) error
	// Load answers the book as it was last committed.
	Load(ctx context.Context) (incident.Casebook, error)
	// Revision answers that of the book, without reading it.
	Revision(ctx context.Context) (uint64, error)
}
