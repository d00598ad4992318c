package faults_test

import (
	"testing"
	"time"
)

// The checker sees a planted fault of each kind, and none where there is none.
func TestTheCheckerSeesPlantedFaults(t *testing.T) {
	const bound = time.Second
	at := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	for name, c := range map[string]struct {
		use                                 use
		asked, known                        time.Duration
		accepted, lost, unavailable, silent int
	}{
		"a good token is let in":                         {use: use{begun: at(1), end: at(1.1), status: 200}},
		"a good token is refused":                        {use: use{begun: at(1), end: at(1.1), status: 401}, lost: 1},
		"a token is refused before anybody asked":        {use: use{begun: at(1), end: at(1.1), status: 401}, asked: at(2), known: at(3), lost: 1},
		"a token is refused while it is being revoked":   {use: use{begun: at(1), end: at(2.5), status: 401}, asked: at(2), known: at(3)},
		"a token is let in while it is being revoked":    {use: use{begun: at(2.5), end: at(2.6), status: 200}, asked: at(2), known: at(3)},
		"a token is let in within the bound":             {use: use{begun: at(3.9), end: at(4.5), status: 200}, asked: at(2), known: at(3)},
		"a token is let in after the bound":              {use: use{begun: at(4.1), end: at(4.2), status: 200}, asked: at(2), known: at(3), accepted: 1},
		"a revocation that was never acknowledged":       {use: use{begun: at(9), end: at(9.1), status: 200}, asked: at(2)},
		"nobody answers":                                 {use: use{begun: at(1), end: at(1.1)}, silent: 1},
		"the service says that it cannot":                {use: use{begun: at(1), end: at(1.1), status: 503}, unavailable: 1},
		"a fault of the service":                         {use: use{begun: at(1), end: at(1.1), status: 500}, lost: 1},
		"a revoked token is refused for ever afterwards": {use: use{begun: at(99), end: at(99.1), status: 401}, asked: at(2), known: at(3)},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory()
			h.issued("a", "s")
			h.tokens["a"].asked, h.tokens["a"].known = c.asked, c.known
			c.use.token = "a"
			h.used(c.use)
			v := h.judge(bound)
			if len(v.accepted) != c.accepted || len(v.lost) != c.lost || v.unavailable != c.unavailable || v.silent != c.silent || v.requests != 1 {
				t.Errorf("got %+v, want %d accepted, %d lost, %d unavailable, %d silent", v, c.accepted, c.lost, c.unavailable, c.silent)
			}
		})
	}
}

// What is in force and not written down yet counts once it must be; a database that was set back excuses the loss of what was handed out before, and nothing else; what nothing excuses is
// counted.
func TestTheCheckerSeesMore(t *testing.T) {
	const bound = time.Second
	late := func(h *history) time.Duration { return h.now() + 2*bound }
	h := newHistory()
	h.issued("a", "s")
	h.revoking("s")
	h.inForce("s")
	h.used(use{token: "a", begun: late(h), end: late(h), status: 200})
	if v := h.judge(bound); len(v.accepted) != 0 {
		t.Errorf("in force, not written down: got %+v, want nothing accepted", v)
	}
	if n := h.settled(); n != 1 {
		t.Errorf("settled: got %d, want 1", n)
	}
	h.used(use{token: "a", begun: late(h), end: late(h), status: 200})
	if v := h.judge(bound); len(v.accepted) != 2 || v.revocations != 1 {
		t.Errorf("settled: got %+v, want both accepted, 1 revocation", v)
	}

	h = newHistory()
	h.issued("a", "s")
	h.issued("c", "u")
	h.revoking("u")
	h.revoked("u")
	h.setBack()
	h.issued("b", "t")
	for _, u := range []use{{token: "a", status: 401}, {token: "b", status: 401}, {token: "c", status: 200}} {
		u.begun = late(h)
		u.end = u.begun
		h.used(u)
	}
	if v := h.judge(bound); len(v.lost) != 1 || len(v.accepted) != 1 {
		t.Errorf("set back: got %+v, want one lost, one accepted", v)
	}

	h = newHistory()
	h.complain("a sign-in was answered %d", 500)
	if v := h.judge(bound); len(v.lost) != 1 {
		t.Errorf("an answer that nothing excuses: got %+v, want it among the lost", v)
	}
}
