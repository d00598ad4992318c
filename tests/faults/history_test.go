package faults_test

import (
	"fmt"
	"sync"
	"time"
)

// history is everything that clients saw of a cluster while something of it failed. Times are since its start, by the one clock of this process.
type history struct {
	start time.Time

	mu     sync.Mutex
	tokens map[string]*fate // by access token
	uses   []use
	others map[string]int // answers that say nothing about a token: by what they were
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
	return &history{start: time.Now(), tokens: map[string]*fate{}, others: map[string]int{}}
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
	accepted              []string // calls that were let in with a token whose revocation had been acknowledged for longer than the bound
	lost                  []string // good tokens that were refused
	unavailable           int      // calls that were answered 503, or not at all
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
	for _, u := range h.uses {
		v.requests++
		f := h.tokens[u.token]
		switch {
		case u.status == 0 || u.status == 503:
			v.unavailable++
		case u.status == 200 && f.known > 0 && u.begun > f.known+bound:
			v.accepted = append(v.accepted, fmt.Sprintf("node %d let a token in %v after its revocation was acknowledged", u.node, u.begun-f.known))
		case u.status == 401 && (f.asked == 0 || u.end < f.asked):
			v.lost = append(v.lost, fmt.Sprintf("node %d refused a good token with %s", u.node, u.code))
		case u.status != 200 && u.status != 401:
			v.lost = append(v.lost, fmt.Sprintf("node %d answered %d %s", u.node, u.status, u.code))
		}
	}
	return v
}
