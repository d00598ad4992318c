package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	"github.com/xteam/xteam/adapters/pgstore"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam/assembly"
	"github.com/xteam/xteam/ports"
)

// openGuests watches who has sessions of the stores, where DB_ALLOWED_NETWORKS says from where they may come, until the cleanup. Badger has none but this program's.
func openGuests(ctx context.Context, s settings, c *app.Core, db assembly.Database, r redisStores, log *slog.Logger) (*app.Guests, func(), error) {
	var stores []app.WatchedStore
	if db.Guests != nil {
		stores = append(stores, app.WatchedStore{Name: "database", Guests: db.Guests})
	}
	if r.feed != nil {
		stores = append(stores, app.WatchedStore{Name: "redis", Guests: r.feed.Guests()})
	}
	if r.buckets != nil && r.buckets != r.feed {
		stores = append(stores, app.WatchedStore{Name: "rate_limits", Guests: r.buckets.Guests()})
	}
	return assembly.StartGuests(ctx, c, stores, app.GuestsOptions{Networks: s.StoreNetworks, Rules: s.AlertRules, Logger: log})
}

// storeNetworks looks from where the sessions of the database and of Redis come at this moment.
func storeNetworks(ctx context.Context, p *patient) finding {
	if !p.s.shared() {
		return pass("the store is a folder of this machine: nobody has sessions of it")
	}
	if len(p.s.StoreNetworks) == 0 {
		return warn("DB_ALLOWED_NETWORKS=NETWORK,… of the servers and of whoever keeps the stores", "nobody says from where sessions of the database and of Redis may come: somebody who has their password is not noticed")
	}
	if p.s.DatabaseURL != "" && p.database == nil {
		seen, err := pgstore.Look(ctx, p.s.DatabaseURL)
		if err != nil {
			return unseen("see to DATABASE_URL, and run this from where the service runs", "%v", err)
		}
		p.database = &seen
	}
	var seen []string
	unknown := pass("")
	if p.database != nil {
		seen = append(seen, foreigners("the database", p.database.Guests, p.s.StoreNetworks)...)
		if len(seen) == 0 && !p.database.Whole {
			unknown = unseen("grant pg_read_all_stats to its user", "the user of DATABASE_URL may not see the sessions of others")
		}
	}
	worst := ofRedis(func(r seenRedis) finding {
		if all := foreigners(r.setting, r.seen.Guests, p.s.StoreNetworks); len(all) > 0 {
			return finding{Verdict: fails, Seen: strings.Join(all, "; ")}
		}
		if !r.seen.Whole {
			return unseen("give its user the right +client|list", "the user of %s may not see the sessions of others", r.setting)
		}
		return pass("")
	})(ctx, p)
	if worst.Verdict == fails {
		seen = append(seen, worst.Seen)
	}
	switch {
	case len(seen) > 0:
		return fail("find out who it is; change the password of the store, end the session, and close the way there; or add the network to DB_ALLOWED_NETWORKS", "%s", strings.Join(seen, "; "))
	case worst.Verdict != passes:
		return worst
	case unknown.Verdict != passes:
		return unknown
	}
	return pass("every session of the stores comes from DB_ALLOWED_NETWORKS, or from their own machine")
}

// foreigners tells of the first few addresses that sessions come from and may not.
func foreigners(store string, all []ports.Guest, networks []netip.Prefix) (told []string) {
	var from []string
	for _, g := range all {
		if app.IsForeign(g, networks) && !slices.Contains(from, g.Address.String()) {
			from = append(from, g.Address.String())
		}
	}
	if len(from) == 0 {
		return nil
	}
	slices.Sort(from)
	return []string{fmt.Sprintf("%s has sessions from %s, outside DB_ALLOWED_NETWORKS (%d addresses)", store, strings.Join(from[:min(len(from), 5)], ", "), len(from))}
}
