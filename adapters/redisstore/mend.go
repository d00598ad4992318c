package redisstore

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/ports"
)

const (
	mendEvery = time.Minute // how often all nodes together go through what is held, at most
	mending   = 4096        // what cannot be read is gathered up to so many before who asks is asked what is known of it
)

// Mend is of ports.Mender. What it reads costs Redis as much as a node that joins.
func (r Revocations) Mend(ctx context.Context, remove bool, known func(keys []string) []revocation.Entry) (done ports.Mended, err error) {
	mine := false
	err = r.s.call(ctx, "the claim to mend", func(ctx context.Context) error {
		err := r.s.client.SetArgs(ctx, r.s.keys.of("mending"), "1", redis.SetArgs{Mode: "NX", TTL: mendEvery}).Err()
		mine = err == nil
		if err == redis.Nil { //nolint:errorlint // go-redis answers it bare
			return nil
		}
		return err
	})
	if err != nil || !mine {
		return done, err
	}
	ctx, stop := context.WithCancel(ctx)
	pages := r.pages(ctx)
	defer func() {
		stop()
		for range pages { // until nobody reads any more
		}
	}()
	var found []unread
	for p := range pages {
		if p.err != nil {
			return done, p.err
		}
		r.open(&p)
		if found = append(found, p.unread...); len(found) < mending {
			continue
		}
		if err := r.mend(ctx, found, remove, known, &done); err != nil {
			return done, err
		}
		found = nil
	}
	if err := ctx.Err(); err != nil {
		return done, err
	}
	err = r.mend(ctx, found, remove, known, &done)
	return done, err
}

// mend puts right what was found.
func (r Revocations) mend(ctx context.Context, found []unread, remove bool, known func(keys []string) []revocation.Entry, done *ports.Mended) error {
	entries := map[string]revocation.Entry{}
	for _, e := range known(slices.DeleteFunc(keysOfAll(found), func(key string) bool { return key == "" })) {
		entries[e.Key()] = e
	}
	var anew, renewed []replacement
	var over []unread
	for _, u := range found {
		e, ok := entries[keyOf(u.name)]
		switch {
		case ok && u.is == damaged:
			anew = append(anew, replacement{&e, r.write(&e), u.value})
		case ok && u.is == unsealed:
			renewed = append(renewed, replacement{&e, r.write(&e), u.value})
		case u.is == damaged && remove:
			over = append(over, u)
		default:
			done.Left++
		}
	}
	for _, one := range []struct {
		all []replacement
		n   *int
	}{{anew, &done.Rewritten}, {renewed, &done.Renewed}} {
		for part := range slices.Chunk(one.all, recording) {
			err := r.s.call(ctx, "the mending of revocations", func(ctx context.Context) error {
				n, err := r.s.replace(ctx, part, instant.Of(r.s.opts.Now()))
				*one.n += n
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	for part := range slices.Chunk(over, recording) {
		names, args := []string{r.s.keys.of("live")}, []any{}
		for _, u := range part {
			names, args = append(names, r.s.keys.of(u.name)), append(args, u.name, u.value)
		}
		err := r.s.call(ctx, "the removal of what is damaged", func(ctx context.Context) error {
			n, err := removeScript.Run(ctx, r.s.client, names, args...).Int()
			done.Removed += n
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
