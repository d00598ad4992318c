package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// soon is for how long a command may be silent before it tells what it is at.
const soon = time.Second

// progress tells on stderr what a command is at that takes longer than a second: one line when the second is over, and one for each step after that. A nil one is silent.
type progress struct {
	first *time.Timer

	mu   sync.Mutex
	to   io.Writer
	now  string // the step that goes on
	told bool   // the second is over
}

// progress begins to tell, until end.
func (c *cli) progress() *progress {
	p := &progress{to: c.err}
	p.first = time.AfterFunc(soon, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.told = true
		p.tell()
	})
	return p
}

// step is told when it begins.
func (p *progress) step(format string, args ...any) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = fmt.Sprintf(format, args...)
	p.tell()
}

// tell is called with the lock held.
func (p *progress) tell() {
	if p.told && p.now != "" {
		_, _ = fmt.Fprintln(p.to, p.now)
	}
}

// end has nothing told any more.
func (p *progress) end() {
	if p == nil {
		return
	}
	p.first.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to = io.Discard
}
