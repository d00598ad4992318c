// Package ports holds what the application asks of the world: small interfaces whose comments are their contracts. Package porttest
// proves an implementation against them.
//
// Some rules hold for all of them. Every method may be called from many goroutines at once. A cancelled or expired context ends a call with an error
// that matches the context's; whether a change happened is then not known, and asking again tells. Values are the caller's own after the call:
// an implementation neither keeps nor changes the slices and maps that it was handed, nor those that it gave out. Time is handed in, never asked for.
// A fault of the technology behind a port is an error that matches ErrUnavailable.
package ports

import (
	"errors"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/revocation"
)

var (
	// ErrNotFound says that what was asked for does not exist.
	ErrNotFound = errors.New("not found")
	// ErrTaken says that what was to be created exists already, or a name of it belongs to another.
	ErrTaken = errors.New("taken")
	// ErrUnavailable says that the technology behind a port failed: nothing is known, and asking again later may help.
	ErrUnavailable = errors.New("unavailable")
	// ErrDamaged says that a record is there and does not open, though its key is held: it was changed where it lies, and asking again does not help. It matches ErrUnavailable too.
	ErrDamaged = damaged{}
	// ErrNoSpace says that the store keeps its last free space for revocations and events. It matches ErrUnavailable too.
	ErrNoSpace = noSpace{}
)

type noSpace struct{}

func (noSpace) Error() string        { return "no space left: the rest is kept for revocations and events" }
func (noSpace) Is(target error) bool { return target == ErrUnavailable }

type damaged struct{}

func (damaged) Error() string {
	return "it was damaged or changed where it lies: restore it from a backup"
}
func (damaged) Is(target error) bool { return target == ErrUnavailable }

// Effects are the consequences of a change of state. A store commits them in one transaction with it: all of it, or nothing. An invalid revocation among them
// is refused with revocation.ErrInvalid, and a revocation that is here already stays as it is.
type Effects struct {
	Revocations []revocation.Entry
	Events      []audit.Event
}
