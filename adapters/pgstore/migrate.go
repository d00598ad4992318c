package pgstore

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/xteam/xteam/adapters/pgstore/queries"
)

//go:embed migrations/*.sql
var migrations embed.FS

// The keys of PostgreSQL's advisory locks, of which every program on a database has the same: "xteam" and a number.
const (
	lockMigration    = 0x787465616d_01
	lockEvents       = 0x787465616d_02
	lockHousekeeping = 0x787465616d_03
	lockAlone        = 0x787465616d_04
	lockHealing      = 0x787465616d_10
)

// migrate makes or moves on the tables, under a lock: one node does it, the others wait and find it done. There is no way back, and tables that are newer
// than this program are left alone.
func migrate(ctx context.Context, c *pgx.ConnConfig) error {
	patient := c.Copy() // the lock is waited for, and a migration may take its time: the caller's context bounds both
	patient.RuntimeParams["statement_timeout"], patient.RuntimeParams["lock_timeout"], patient.RuntimeParams["idle_in_transaction_session_timeout"] = "0", "0", "0"
	lock, err := pgx.ConnectConfig(ctx, patient)
	if err != nil {
		return unreachable(err)
	}
	defer lock.Close(context.WithoutCancel(ctx)) //nolint:errcheck // the server lets go of the lock
	q := queries.New(lock)
	if err := q.LockForConnection(ctx, lockMigration); err != nil {
		return fmt.Errorf("wait for another node that prepares its tables: %w", unreachable(err))
	}
	folder, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	std := stdlib.OpenDB(*patient)
	defer std.Close() //nolint:errcheck // it has served
	provider, err := goose.NewProvider(goose.DialectPostgres, std, folder, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read the migrations of this program: %w", err)
	}
	defer provider.Close() //nolint:errcheck // it has served
	is, err := provider.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("read the version of its tables: %w", unreachable(err))
	}
	sources := provider.ListSources()
	if newest := sources[len(sources)-1].Version; is > newest {
		return fmt.Errorf("its tables are of version %d, and this program knows %d at most: start the newer program", is, newest)
	}
	if _, err := provider.Up(ctx); err != nil {
		if c := code(err); c != "" {
			return fmt.Errorf("its tables cannot be made or moved on: %w", unreachable(err))
		}
		return errors.New("its tables cannot be made or moved on: " + why(err))
	}
	if err := q.AdoptRevocations(ctx); err != nil {
		return fmt.Errorf("look at its revocations: %w", unreachable(err))
	}
	return nil
}
