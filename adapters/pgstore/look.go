package pgstore

import (
	"context"
	"crypto/tls"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/xteam/xteam/adapters/pgstore/queries"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/ports"
)

// Seen is what a live connection tells of a database. The zero value tells nothing good.
type Seen struct {
	URL      URL             // as it was read
	Protocol string          // of the encryption, such as TLS 1.3; empty without
	Verified bool            // the server's certificate was held against the host's name and an authority, on this very connection
	Durable  bool            // what is acknowledged survives a loss of power: fsync is on, and commits wait for it
	Now      instant.Instant // the server's clock
	Guests   []ports.Guest   // who has sessions of this database
	Whole    bool            // these are all
}

// Look connects once, as Open does but without touching a table, and says what it saw. The error is one sentence, without the password.
func Look(ctx context.Context, text string) (Seen, error) {
	u, err := ParseURL(text)
	if err != nil {
		return Seen{}, err
	}
	cfg, err := configure(u, Options{}.filled())
	if err != nil {
		return Seen{}, err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg.ConnConfig)
	if err != nil {
		return Seen{}, fmt.Errorf("the database %s cannot be used: %w", u.Name, unreachable(err))
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it has served
	f, err := queries.New(conn).ServerFacts(ctx)
	if err != nil {
		return Seen{}, fmt.Errorf("the database %s cannot be used: %w", u.Name, unreachable(err))
	}
	seen := Seen{URL: u, Durable: f.Fsync == "on" && f.SynchronousCommit != "off" && f.SynchronousCommit != "local", Now: instant.Instant(f.Now)}
	if seen.Guests, seen.Whole, err = guests(ctx, conn); err != nil {
		return Seen{}, fmt.Errorf("the database %s cannot be used: %w", u.Name, unreachable(err))
	}
	if c, ok := conn.PgConn().Conn().(*tls.Conn); ok {
		state := c.ConnectionState()
		seen.Protocol = tls.VersionName(state.Version)
		seen.Verified = u.Verified && len(state.VerifiedChains) > 0
	}
	return seen, nil
}
