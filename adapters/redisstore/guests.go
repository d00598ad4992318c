package redisstore

import (
	"context"
	"net/netip"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/xteam/xteam/ports"
)

// Guests is the port of who has connections to the server.
type Guests struct{ s *Store }

var _ ports.Guests = (*Guests)(nil)

// Guests answers the port of guests: whoever is connected to the server, of a Cluster to any of its nodes, of several behind Sentinels to the primary, whichever database it uses; its replicas too.
func (s *Store) Guests() *Guests { return &Guests{s} }

// Guests implements ports.Guests. A user without the right +client|list sees nobody.
func (p *Guests) Guests(ctx context.Context) (all []ports.Guest, whole bool, err error) {
	var mu sync.Mutex
	seen := map[ports.Guest]int{}
	one := func(ctx context.Context, c redis.Cmdable) error {
		text, err := c.ClientList(ctx).Result()
		if err != nil && (strings.HasPrefix(err.Error(), "NOPERM") || strings.HasPrefix(err.Error(), "ERR unknown")) {
			text, err = "?", nil // no line of a list: somebody is not seen
		}
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		whole = count(seen, text) && whole
		return nil
	}
	err = p.s.call(ctx, "the list of its clients", func(ctx context.Context) error {
		whole = true
		clear(seen)
		if cluster, ok := p.s.client.(*redis.ClusterClient); ok {
			return cluster.ForEachShard(ctx, func(ctx context.Context, c *redis.Client) error { return one(ctx, c) })
		}
		return one(ctx, p.s.client)
	})
	if err != nil {
		return nil, false, err
	}
	for g, n := range seen {
		g.Connections = n
		all = append(all, g)
	}
	return all, whole, nil
}

// maxGuests is how many different ones are told.
const maxGuests = 10_000

// count adds the lines of CLIENT LIST, and answers whether each could be read, and was counted. The connection of a replica to its primary is none of a guest's.
func count(seen map[ports.Guest]int, text string) (whole bool) {
	whole = true
	for line := range strings.Lines(text) {
		fields := map[string]string{}
		for field := range strings.FieldsSeq(line) {
			name, value, _ := strings.Cut(field, "=")
			if _, again := fields[name]; !again {
				fields[name] = value
			}
		}
		if len(fields) == 0 || strings.ContainsRune(fields["flags"], 'M') {
			continue
		}
		g := ports.Guest{User: fields["user"]}
		if at, err := netip.ParseAddrPort(fields["addr"]); err == nil {
			g.Address = at.Addr().Unmap().WithZone("")
		} else if !strings.HasPrefix(fields["addr"], "/") { // not the path of a socket either
			whole = false
			continue
		}
		if seen[g] == 0 && len(seen) >= maxGuests {
			whole = false
			continue
		}
		seen[g]++
	}
	return whole
}
