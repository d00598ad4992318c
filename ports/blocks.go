package ports

import (
	"context"

	"github.com/xteam/xteam/domain/block"
)

// Blocks keeps the list of blocked networks, whole. It always exists: a new store holds an empty one.
type Blocks interface {
	// Update is as System.Update.
	Update(ctx context.Context, change func(block.List) (block.List, Effects, error)) error
	// Load answers the list as it was last committed.
	Load(ctx context.Context) (block.List, error)
	// Revision answers the list's alone, which is what a node asks every moment: it costs no more than a look.
	Revision(ctx context.Context) (uint64, error)
}
