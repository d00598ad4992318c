package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/xteam/xteam/adapters/journal"
)

// quiet is the level of a command that runs beside no server and has no LOG_FILE: its own line on stderr says what happened.
const quiet = slog.LevelError + 4

const (
	maxQueue = 1 << 20         // bytes of lines that may wait to be written
	farewell = 2 * time.Second // how long the end waits for them
)

// output is where the log goes: LOG_FILE, or stderr when there is none. Nobody who logs waits for it. Lines wait in a bounded queue for one goroutine, which
// writes them in their order; one that the queue has no room for, or that cannot be written, is lost, and as soon as one can be written the log says how many
// were. Events that the store keeps are in it, whatever becomes of their lines.
type output struct {
	path string // empty: stderr
	errs io.Writer

	mu     sync.Mutex
	work   sync.Cond // on mu: something of what follows has changed
	queue  []queued
	size   int      // of the queue's lines, in bytes
	lost   int      // lines that found no room since the last one that did
	fresh  *os.File // LOG_FILE, opened anew: from now on this one
	held   bool     // nothing is written yet
	closed bool

	dropped atomic.Uint64 // lines that were lost since the start

	ended chan struct{} // closed when the last line was written
}

// queued is a line, and how many were lost just before it. It has no line when nothing came after those.
type queued struct {
	line []byte
	lost int
}

// openOutput opens LOG_FILE, if one is named. Lines for stderr are held until release, and forgotten if it never comes: a start that fails says one line on stderr,
// which is no log line. At the debug level nothing is held.
func openOutput(s settings, errs io.Writer) (*output, func(), error) {
	o := &output{path: s.LogFile, errs: errs, held: s.LogFile == "" && s.LogLevel > slog.LevelDebug, ended: make(chan struct{})}
	o.work.L = &o.mu
	w := &writer{to: errs, dropped: &o.dropped}
	var err error
	if w.notes, err = journal.NewLogger(&w.note, slog.LevelInfo, s.LogFormat); err != nil {
		return nil, nil, err
	}
	if err := o.reopen(); err != nil {
		return nil, nil, err
	}
	go o.run(w)
	return o, o.close, nil
}

// newLog is the log of the settings' level and form.
func newLog(s settings, o *output) (*slog.Logger, error) {
	return journal.NewLogger(o, s.LogLevel, s.LogFormat)
}

// Write takes a line, to be written soon or to be lost. It never waits and never fails.
func (o *output) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.size+len(line) > maxQueue {
		o.lost++
		o.dropped.Add(1)
		return len(line), nil
	}
	o.queue = append(o.queue, queued{bytes.Clone(line), o.lost})
	o.size += len(line)
	o.lost = 0
	o.work.Signal()
	return len(line), nil
}

// release lets the lines that were held go to stderr.
func (o *output) release() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.held = false
	o.work.Signal()
}

// reopen opens LOG_FILE anew, since somebody may have moved the file away to begin another. When that fails the old one is written on.
func (o *output) reopen() error {
	if o.path == "" {
		return nil
	}
	// Without O_NONBLOCK a named pipe that nobody reads would hold up whoever opens it.
	f, err := os.OpenFile(o.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return fmt.Errorf("LOG_FILE: the log cannot be written: %w: name a file in a folder that is there, and that this user may write to", plainly(err))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fresh != nil {
		_ = o.fresh.Close() // nothing was written to it
	}
	o.fresh = f
	o.work.Signal()
	return nil
}

// close writes what waits, if that can be done in good time.
func (o *output) close() {
	o.mu.Lock()
	o.closed = true
	o.work.Signal()
	o.mu.Unlock()
	select {
	case <-o.ended:
	case <-time.After(farewell):
	}
}

// run is the goroutine that writes.
func (o *output) run(w *writer) {
	defer close(o.ended)
	for {
		q, fresh, more := o.next()
		if fresh != nil {
			w.change(fresh)
		}
		if !more {
			break
		}
		w.put(q)
	}
	if w.lost > 0 && w.file != nil {
		_, _ = fmt.Fprintf(o.errs, "xteam: %d lines of the log were lost: %v\n", w.lost, w.why)
	}
	w.change(nil)
}

// next waits for something to write, or for a file to write it to. There is no more once the output is closed and all has been taken.
func (o *output) next() (q queued, fresh *os.File, more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for (o.held || len(o.queue) == 0 && o.lost == 0 && o.fresh == nil) && !o.closed {
		o.work.Wait()
	}
	fresh, o.fresh = o.fresh, nil
	switch {
	case o.held: // and closed
		return q, fresh, false
	case len(o.queue) > 0:
		q, o.queue = o.queue[0], o.queue[1:]
		o.size -= len(q.line)
		return q, fresh, true
	case o.lost > 0:
		q.lost, o.lost = o.lost, 0
		return q, fresh, true
	}
	return q, fresh, fresh != nil || !o.closed
}

var errFlood = errors.New("they came faster than they could be written")

// writer is what the writing goroutine alone has.
type writer struct {
	to    io.Writer
	file  *os.File // LOG_FILE, when to is one
	torn  bool     // the last line lacks its end
	lost  int      // lines since the log last said how many
	why   error    // the last of them was lost
	notes *slog.Logger
	note  bytes.Buffer // what notes writes to

	dropped *atomic.Uint64
}

// change goes on in another file.
func (w *writer) change(file *os.File) {
	if w.file != nil {
		_ = w.file.Close() // each write to it has answered for itself
	}
	if w.file = file; file != nil {
		w.to, w.torn = file, false
	}
}

// put writes what is queued, and before it how many lines were lost.
func (w *writer) put(q queued) {
	if q.lost > 0 {
		w.lost, w.why = w.lost+q.lost, errFlood
	}
	if w.lost > 0 {
		w.note.Reset()
		w.notes.Warn("Log lines were lost", "count", w.lost)
		if w.write(w.note.Bytes()) {
			w.lost, w.why = 0, nil
		}
	}
	if len(q.line) > 0 && !w.write(q.line) {
		w.lost++
		w.dropped.Add(1)
	}
}

func (w *writer) write(line []byte) bool {
	if w.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := w.to.Write(line)
	if n > 0 {
		w.torn = line[n-1] != '\n'
	}
	if err != nil {
		w.why = err
	}
	return err == nil
}
