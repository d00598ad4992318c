package main

import (
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"
)

const (
	soon  = time.Second     // for how long a command may be silent before it tells what it is at
	often = 5 * time.Second // until it tells how far it has come
)

// progress tells on stderr what a command is at that takes longer than a second: one line when the second is over, one for each step after that, and of a step that counts how far it is, every few seconds. A nil one is silent.
type progress struct {
	next *time.Timer

	mu     sync.Mutex
	to     io.Writer
	now    string // the step that goes on
	counts []tally
	told   bool // the second is over
	over   bool
}

// tally is how many of something a step has been through.
type tally struct {
	what string
	n    int64
}

// progress begins to tell, until end.
func (c *cli) progress() *progress {
	p := &progress{to: c.err}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = time.AfterFunc(soon, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.over {
			return
		}
		if !p.told || p.counts != nil {
			p.told = true
			p.tell()
		}
		p.next.Reset(often)
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
	p.now, p.counts = fmt.Sprintf(format, args...), nil
	p.tell()
}

// count notes that the step has been through n more of something.
func (p *progress) count(what string, n int) {
	if p == nil || n == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.counts {
		if p.counts[i].what == what {
			p.counts[i].n += int64(n)
			return
		}
	}
	p.counts = append(p.counts, tally{what, int64(n)})
}

// tell is called with the lock held.
func (p *progress) tell() {
	if !p.told || p.over || p.now == "" {
		return
	}
	line := p.now
	for i, c := range p.counts {
		line += [2]string{": ", ", "}[min(i, 1)] + strconv.FormatInt(c.n, 10) + " " + c.what
	}
	_, _ = fmt.Fprintln(p.to, line)
}

// end has nothing told any more.
func (p *progress) end() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.next.Stop()
}
