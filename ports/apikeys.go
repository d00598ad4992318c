package ports

import (
	"context"

	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
)

// APIKeys keeps API keys. A store may forget a key an hour or more after its Kept; never before.
type APIKeys interface {
	// Create stores a new key with its effects, or fails with ErrTaken when its id exists.
	Create(ctx context.Context, k apikey.Key, e Effects) error
	// Update is as Accounts.Update. The id and the owner of a key cannot change.
	Update(ctx context.Context, kid id.APIKey, change func(apikey.Key) (apikey.Key, Effects, error)) error
	// Replace is Update, and stores in the same step another key of the same owner. It fails with ErrTaken, and stores nothing, when the id of that one exists.
	Replace(ctx context.Context, kid id.APIKey, change func(old apikey.Key) (changed, next apikey.Key, e Effects, err error)) error
	// Find answers the key as it was last committed, or ErrNotFound.
	Find(ctx context.Context, kid id.APIKey) (apikey.Key, error)
	// OfUser answers all keys of an owner that are still kept, ended ones too, oldest first by Created.
	OfUser(ctx context.Context, uid id.User) ([]apikey.Key, error)
	// Ending answers at most limit keys, by their ids, whose End is at from or later, and before until; the first behind the key of that id.
	Ending(ctx context.Context, from, until instant.Instant, after id.APIKey, limit int) ([]apikey.Key, error)
}
