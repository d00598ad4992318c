package badgerstore

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
)

// bridge hands what Badger logs to slog. Badger says only here that it goes on without a table that it could not read.
type bridge struct {
	log     *slog.Logger
	ignored atomic.Bool
}

var _ badger.Logger = (*bridge)(nil)

// Errorf is a warning: whether it matters, the caller learns by an error.
func (b *bridge) Errorf(format string, args ...any) {
	line := one(format, args)
	if strings.HasPrefix(line, "Ignoring table") {
		b.ignored.Store(true)
	}
	b.log.Warn("badger", "says", line)
}

// Warningf is a warning.
func (b *bridge) Warningf(format string, args ...any) {
	b.log.Warn("badger", "says", one(format, args))
}

// Infof is for who looks for a fault.
func (b *bridge) Infof(format string, args ...any) { b.log.Debug("badger", "says", one(format, args)) }

// Debugf is dropped: it is called several times a write.
func (b *bridge) Debugf(string, ...any) {}

func one(format string, args []any) string {
	return strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ")
}
