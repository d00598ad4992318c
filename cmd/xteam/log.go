package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"github.com/xteam/xteam/adapters/journal"
)

// quiet is the level of a command that runs beside no server and has no LOG_FILE: its own line on stderr says what happened.
const quiet = slog.LevelError + 4

// output is where the log goes: LOG_FILE, or stderr when there is none.
type output struct {
	mu   sync.Mutex
	path string   // empty: stderr
	file *os.File // nil: stderr
	errs io.Writer
}

// openOutput opens LOG_FILE, if one is named.
func openOutput(s settings, errs io.Writer) (*output, func(), error) {
	o := &output{path: s.LogFile, errs: errs}
	if err := o.reopen(); err != nil {
		return nil, nil, err
	}
	return o, o.close, nil
}

// reopen opens the file anew, since somebody may have moved it away to begin another. When that fails the old one is written on.
func (o *output) reopen() error {
	if o.path == "" {
		return nil
	}
	f, err := os.OpenFile(o.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("the log cannot be written: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file != nil {
		_ = o.file.Close()
	}
	o.file = f
	return nil
}

func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file != nil {
		_ = o.file.Close()
	}
}

func (o *output) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.path == "" {
		return o.errs.Write(line)
	}
	return o.file.Write(line)
}

// newLog is the log of the settings' level and form.
func newLog(s settings, o *output) (*slog.Logger, error) {
	return journal.NewLogger(o, s.LogLevel, s.LogFormat)
}

// held keeps the log of a start until the start has succeeded: one that fails says one line on stderr, which is no log line. At the debug level nothing is held.
type held struct {
	mu   sync.Mutex
	to   io.Writer
	kept []byte
	free bool
}

func (h *held) Write(line []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.free {
		return h.to.Write(line)
	}
	h.kept = append(h.kept, line...)
	return len(line), nil
}

func (h *held) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, _ = h.to.Write(h.kept) // the log's reader may have gone
	h.kept, h.free = nil, true
}
