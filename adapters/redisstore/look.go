package redisstore

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// Seen is what live connections tell of a Redis. The zero value tells nothing good.
type Seen struct {
	Encrypted bool // connections are TLS, and the server's certificate was held against its name and an authority
	Local     bool // every host is this machine
	Asks      bool // somebody without a password is turned away
	Policy    string
	Durable   Durability
	Now       time.Time // the server's clock
	Held      Held
	Guests    []ports.Guest
	Whole     bool // Guests are all who have connections
}

// Held is what was made of the entries that lie there, without the keys that tell which are forged.
type Held struct {
	Known   bool // it could be looked at
	Looked  int  // how many, lookAt at the most
	Damaged int
	Later   int // were written by a later version
}

// lookAt is how many entries Look looks at, and lookFor how long.
const (
	lookAt  = 100_000
	lookFor = 2 * time.Second
)

// Durability is how much of what Redis acknowledged a crash of its machine can take.
type Durability uint8

// The degrees. The zero value is that it was not told.
const (
	Untold  Durability = iota
	Nothing            // all that it acknowledges is on disk first: appendonly with appendfsync always
	Second             // up to a second: appendfsync everysec
	Much               // there is no append-only file, or the operating system writes it when it likes
)

// Look asks a Redis what it is like; of several servers the worst is told. The error is one sentence, without the password.
func Look(ctx context.Context, o Options) (seen Seen, err error) {
	s, err := New(o)
	if err != nil {
		return Seen{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	seen = Seen{Encrypted: o.TLS, Local: !(Options{Addresses: o.Addresses}).Exposed()}
	err = s.call(ctx, "the look at it", func(ctx context.Context) error {
		seen.Policy = s.readPolicy(ctx)
		seen.Durable = s.durability(ctx)
		now, err := s.client.Time(ctx).Result()
		seen.Now = now
		return err
	})
	if err != nil {
		return Seen{}, err
	}
	seen.Held = s.held(ctx)
	if seen.Guests, seen.Whole, err = s.Guests().Guests(ctx); err != nil {
		return Seen{}, err
	}
	seen.Asks, err = asks(ctx, o)
	return seen, err
}

// held looks at what is held, and changes nothing.
func (s *Store) held(ctx context.Context) (h Held) {
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	for cursor := uint64(0); ; {
		pairs, next, err := s.client.ZScan(ctx, s.keys.of("live"), cursor, "", page).Result()
		if err != nil {
			return h
		}
		var names, all []string
		for i := 0; i+1 < len(pairs); i += 2 {
			if pairs[i] != "id" {
				names, all = append(names, pairs[i]), append(all, s.keys.of(pairs[i]))
			}
		}
		if len(all) > 0 {
			values, err := s.client.MGet(ctx, all...).Result()
			if err != nil {
				return h
			}
			for i, v := range values {
				value, ok := v.(string)
				if !ok {
					continue // it is over, or no text: a node sees to it
				}
				h.Looked++
				switch _, is := s.Revocations().read(names[i], value); is {
				case damaged:
					h.Damaged++
				case foreign:
					h.Later++
				}
			}
		}
		h.Known = true
		if cursor = next; cursor == 0 || h.Looked >= lookAt {
			return h
		}
	}
}

// asks reports whether somebody who gives no password is turned away.
func asks(ctx context.Context, o Options) (bool, error) {
	o.Username, o.Password, o.SentinelUsername = "", secret.Text{}, ""
	if o.Master == "" {
		o.SentinelPassword = secret.Text{}
	}
	s, err := New(o)
	if err != nil {
		return false, err
	}
	defer s.Close() //nolint:errcheck // it has served
	err = s.call(ctx, "a look without a password", func(ctx context.Context) error { return s.client.Ping(ctx).Err() })
	return errors.Is(err, ErrDenied), nil // whatever else went wrong, nobody was turned away for it
}

// durability is the worst of all primaries.
func (s *Store) durability(ctx context.Context) Durability {
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok {
		return durabilityOf(ctx, s.client)
	}
	var mu sync.Mutex
	worst := Nothing
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		d := durabilityOf(ctx, c)
		mu.Lock()
		defer mu.Unlock()
		if d == Untold || worst != Untold && d > worst {
			worst = d
		}
		return nil
	})
	if err != nil {
		return Untold
	}
	return worst
}

func durabilityOf(ctx context.Context, c redis.Cmdable) Durability {
	got, err := c.ConfigGet(ctx, "append*").Result()
	if err == nil && got["appendonly"] != "" {
		switch {
		case got["appendonly"] != "yes", got["appendfsync"] == "no":
			return Much
		case got["appendfsync"] == "always":
			return Nothing
		}
		return Second
	}
	text, _ := c.Info(ctx, "persistence").Result()
	if strings.TrimSpace(infoField(text, "aof_enabled")) == "0" { // how often it is written, INFO does not tell
		return Much
	}
	return Untold
}
