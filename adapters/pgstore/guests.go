package pgstore

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/jackc/pgx/v5"

	"github.com/xteam/xteam/ports"
)

// Guests is the port of who has connections to the server.
type Guests struct{ db *DB }

var _ ports.Guests = (*Guests)(nil)

// Guests answers the port of guests: the sessions of this database, and whoever copies the server as a whole (walsender). Who comes by way of a pooler has its address.
func (db *DB) Guests() *Guests { return &Guests{db} }

// Guests implements ports.Guests. A role without pg_read_all_stats, which pg_monitor has, sees its own sessions alone.
func (p *Guests) Guests(ctx context.Context) (all []ports.Guest, whole bool, err error) {
	db := p.db
	if err := db.ready(ctx); err != nil {
		return nil, false, err
	}
	conn, err := db.acquire(ctx)
	if err != nil {
		return nil, false, db.told(ctx, "ask", err)
	}
	defer conn.Release()
	short, cancel := db.bound(ctx)
	defer cancel()
	if all, whole, err = guests(short, conn.Conn()); err != nil {
		return nil, false, db.told(ctx, "ask", &lost{err: err})
	}
	return all, whole, nil
}

// maxGuests is how many are told; where there are more, not all are.
const maxGuests = 10_000

// The statements are not among the generated ones, as their generator does not know this view. Of a session that the role may not see, backend_type is NULL, and so it is none of these.
const (
	seesEverybody = `SELECT pg_has_role('pg_read_all_stats', 'USAGE')`
	listsGuests   = `SELECT coalesce(host(client_addr), ''), coalesce(usename, ''), count(*)::int FROM pg_stat_activity
		WHERE backend_type = 'client backend' AND datname = current_database() OR backend_type = 'walsender' GROUP BY 1, 2 LIMIT $1`
)

func guests(ctx context.Context, conn *pgx.Conn) (all []ports.Guest, whole bool, err error) {
	if err := conn.QueryRow(ctx, seesEverybody).Scan(&whole); err != nil {
		return nil, false, err
	}
	rows, err := conn.Query(ctx, listsGuests, maxGuests)
	if err != nil {
		return nil, false, err
	}
	all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (g ports.Guest, err error) {
		var address string
		if err := row.Scan(&address, &g.User, &g.Connections); err != nil || address == "" {
			return g, err
		}
		if g.Address, err = netip.ParseAddr(address); err != nil {
			return g, fmt.Errorf("the server lists a session from what is no address")
		}
		g.Address = g.Address.Unmap().WithZone("")
		return g, nil
	})
	return all, whole && len(all) < maxGuests, err
}
