package faults_test

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// history is everything that clients saw of a cluster while something of it failed. Times are since its start, by the one clock of this process.
type history struct {
	start time.Time

	mu      sync.Mutex
	tokens  map[string]*fate // by access token
	uses    []use
	others  map[string]int  // answers that say nothing about a token: by what they were
	pending map[string]bool // sessions whose revocation is in force, and is not written down yet
	wrong   []string        // answers that nothing excuses
}

// fate is what became of a token.
type fate struct {
	session string
	asked   time.Duration // when its revocation was asked for; 0: it was not
	known   time.Duration // when that was acknowledged; 0: it was not
}

// use is one call with a token.
type use struct {
	token      string
	node       int
	begun, end time.Duration
	status     int
	code       string
}

func newHistory() *history {
	return &history{start: time.Now(), tokens: map[string]*fate{}, others: map[string]int{}, pending: map[string]bool{}}
}

func (h *history) now() time.Duration { return time.Since(h.start) + 1 }

// issued notes a token that was handed out.
func (h *history) issued(token, session string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tokens[token] = &fate{session: session}
}

// revoking notes that the revocation of a session is asked for, and revoked that it was acknowledged.
func (h *history) revoking(session string) {
	h.mark(session, func(f *fate, at time.Duration) { f.asked = at })
}
func (h *history) revoked(session string) {
	h.mark(session, func(f *fate, at time.Duration) { f.known = at })
}

func (h *history) mark(session string, set func(*fate, time.Duration)) {
	at := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.tokens {
		if f.session == session {
			set(f, at)
		}
	}
}

// inForce notes that a node has put the revocation of a session in force, and could not write it down yet.
func (h *history) inForce(session string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pending[session] = true
}

// settled notes that what was in force must be written down by now, and every node have heard of it.
func (h *history) settled() (sessions int) {
	h.mu.Lock()
	pending := h.pending
	h.pending = map[string]bool{}
	h.mu.Unlock()
	for session := range pending {
		h.revoked(session)
	}
	return len(pending)
}

// setBack notes that the database no longer is what it was when the tokens were handed out: any of them may be refused from now on.
func (h *history) setBack() {
	at := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.tokens {
		if f.asked == 0 {
			f.asked = at
		}
	}
}

// complain notes an answer that nothing excuses.
func (h *history) complain(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wrong = append(h.wrong, fmt.Sprintf(format, args...))
}

// used notes a call.
func (h *history) used(u use) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.uses = append(h.uses, u)
}

// saw counts an answer that says nothing about a token.
func (h *history) saw(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.others[what]++
}

// verdict is what the history shows.
type verdict struct {
	requests, revocations int
	accepted              []string      // calls that were let in with a token whose revocation had been acknowledged for longer than the bound
	lost                  []string      // good tokens that were refused, and answers that nothing excuses
	unavailable           int           // calls that were answered 503
	silent                int           // calls that were not answered
	p99, longest          time.Duration // of the calls that were answered
}

// judge holds the history against the rule: nobody is let in with a token whose revocation was acknowledged more than bound ago, and no token is refused whose revocation nobody
// asked for.
func (h *history) judge(bound time.Duration) verdict {
	h.mu.Lock()
	defer h.mu.Unlock()
	var v verdict
	seen := map[string]bool{}
	for _, f := range h.tokens {
		if f.known > 0 && !seen[f.session] {
			seen[f.session] = true
			v.revocations++
		}
	}
	var took []time.Duration
	for _, u := range h.uses {
		v.requests++
		f := h.tokens[u.token]
		if u.status != 0 {
			took = append(took, u.end-u.begun)
		}
		switch {
		case u.status == 0:
			v.silent++
		case u.status == 503:
			v.unavailable++
		case u.status == 200 && f.known > 0 && u.begun > f.known+bound:
			v.accepted = append(v.accepted, fmt.Sprintf("node %d let a token in %v after its revocation was acknowledged", u.node, u.begun-f.known))
		case u.status == 401 && (f.asked == 0 || u.end < f.asked):
			v.lost = append(v.lost, fmt.Sprintf("node %d refused a good token with %s", u.node, u.code))
		case u.status != 200 && u.status != 401:
			v.lost = append(v.lost, fmt.Sprintf("node %d answered %d %s", u.node, u.status, u.code))
		}
	}
	v.lost = append(v.lost, h.wrong...)
	if slices.Sort(took); len(took) > 0 {
		v.p99, v.longest = took[len(took)*99/100], took[len(took)-1]
	}
	return v
}
