package pgstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/xteam/xteam/ports"
)

// The codes of PostgreSQL's that are looked at (its manual, appendix A).
const (
	uniqueViolation       = "23505"
	readOnlyTransaction   = "25006"
	invalidCatalogName    = "3D000"
	serializationFailure  = "40001"
	deadlockDetected      = "40P01"
	insufficientPrivilege = "42501"
	lockNotAvailable      = "55P03"
	queryCanceled         = "57014"
)

// lost is a failure of a statement, a connection or the server. Until it is told, it keeps what the driver said; what is told holds no value of a statement.
type lost struct {
	err     error
	unknown bool // whether a commit was carried out
}

func (l *lost) Error() string { return "the database failed" }

func (l *lost) Unwrap() error { return l.err }

// code is the code of a server's answer, or nothing.
func code(err error) string {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		return answer.Code
	}
	return ""
}

// told is what a caller hears of a failure: its context's end, a contract's word, or one sentence that matches ports.ErrUnavailable.
func (db *DB) told(ctx context.Context, doing string, err error) error {
	var l *lost
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return ports.ErrNotFound
	case !errors.As(err, &l): // none, or of the domain, or told already
		return err
	case code(err) == uniqueViolation:
		return ports.ErrTaken
	case ctx.Err() != nil:
		return fmt.Errorf("%s the database %s: %w", doing, db.name, ctx.Err())
	case db.isClosing():
		return db.errClosed()
	case l.unknown:
		return fmt.Errorf("%s the database %s: %w: whether it was written is not known: %s", doing, db.name, ports.ErrUnavailable, why(err))
	}
	return fmt.Errorf("%s the database %s: %w: %s", doing, db.name, ports.ErrUnavailable, why(err))
}

// why says what is wrong in words that hold no value: what a server says of its own state, and of a statement only the code.
func why(err error) string {
	var answer *pgconn.PgError
	switch {
	case errors.As(err, &answer):
		switch {
		case answer.Code == queryCanceled || answer.Code == lockNotAvailable || answer.Code == readOnlyTransaction:
			return answer.Message
		case len(answer.Code) == 5 && strings.Contains(" 08 28 3D 40 53 55 57 58 ", " "+answer.Code[:2]+" "):
			return answer.Message
		}
		return "it answered with SQLSTATE " + answer.Code
	case late(err):
		return "it did not answer in time"
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed):
		return "the connection was lost"
	}
	var unknown *net.DNSError
	if errors.As(err, &unknown) {
		return "its host cannot be found: " + unknown.Err
	}
	var refused *net.OpError
	if errors.As(err, &refused) {
		return refused.Err.Error()
	}
	return "the connection failed"
}

func (db *DB) errClosed() error {
	return fmt.Errorf("the database %s is closed: %w", db.name, ports.ErrUnavailable)
}

// unreadable is a record that this version cannot read.
func (db *DB) unreadable(what string, err error) error {
	return fmt.Errorf("read %s in the database %s: %w: %w", what, db.name, ports.ErrUnavailable, err)
}
