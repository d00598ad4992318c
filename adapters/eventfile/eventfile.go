// Package eventfile appends security events to a file, one a line: objects of JSON, or the Common Event Format.
package eventfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// Sink appends to the file of a path. It has the file open only while it writes: so whoever moves it away, or cuts it to nothing, to begin another, need tell nobody.
type Sink struct {
	path string
	line func(b []byte, e *audit.Event) []byte // without the newline
}

var _ ports.Sink = (*Sink)(nil)

// New is a sink of JSON. It opens nothing yet.
func New(path string) *Sink {
	return &Sink{path, func(b []byte, e *audit.Event) []byte { return e.AppendJSON(b) }}
}

// NewCEF is a sink of the Common Event Format, which names the version of the program. It opens nothing yet.
func NewCEF(path, version string) *Sink {
	return &Sink{path, func(b []byte, e *audit.Event) []byte { return e.AppendCEF(b, version) }}
}

// Deliver appends one line for each event, and has the disk asked for them. A line that a full disk has torn is ended before the next.
func (s *Sink) Deliver(ctx context.Context, events ...audit.Event) (err error) {
	if err := ctx.Err(); err != nil || len(events) == 0 {
		return err
	}
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o600) // without O_NONBLOCK a named pipe could hold us up
	if err != nil {
		return s.fault(err)
	}
	defer func() {
		if closed := f.Close(); err == nil && closed != nil {
			err = s.fault(closed)
		}
	}()
	is, err := f.Stat()
	if err != nil {
		return s.fault(err)
	}
	if !is.Mode().IsRegular() {
		return s.fault(errors.New("it is no regular file"))
	}
	var b []byte
	if n := is.Size(); n > 0 {
		var last [1]byte
		if _, err := f.ReadAt(last[:], n-1); err == nil && last[0] != '\n' {
			b = append(b, '\n')
		}
	}
	for i := range events {
		b = append(s.line(b, &events[i]), '\n')
	}
	if _, err := f.Write(secret.Scrub(b)); err != nil {
		return s.fault(err)
	}
	if err := f.Sync(); err != nil {
		return s.fault(err)
	}
	return nil
}

func (s *Sink) fault(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return fmt.Errorf("append events to the file %s: %w", s.path, err)
}
