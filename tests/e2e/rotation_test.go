package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// rotations is what the log of a rotation under load looks back at: when each key was known to be dead.
type rotations struct {
	mu      sync.Mutex
	doomed  map[string]bool // by kid: its revocation has been asked for
	dead    map[string]bool // and was answered
	refused atomic.Int64    // tokens of dead keys that were refused, with the reason
	taken   atomic.Int64    // tokens of other keys that were taken
}

// fate is what may be said of a token of that key now.
func (r *rotations) fate(kid string) (doomed, dead bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.doomed[kid], r.dead[kid]
}

func (r *rotations) set(m map[string]bool, kid string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m[kid] = true
}

// use calls with a token, whose key may be revoked meanwhile, and judges the answer.
func (r *rotations) use(t *testing.T, s *server, access string) {
	key := kid(t, access)
	_, dead := r.fate(key)
	got, err := s.call(http.MethodGet, me, access, nil)
	doomed, _ := r.fate(key)
	switch {
	case err != nil:
		t.Errorf("a call: %v", err)
	case dead && (got.Status != http.StatusUnauthorized || got.Code != "token_revoked" && got.Code != "token_invalid"):
		t.Errorf("a token of the revoked key %s: got %d %s, want 401", key, got.Status, got.Text)
	case !doomed && got.Status != http.StatusOK:
		t.Errorf("a good token of the key %s: got %d %s", key, got.Status, got.Text)
	case got.Status == http.StatusOK:
		r.taken.Add(1)
	case got.Reason == "key_revoked":
		r.refused.Add(1)
	default:
		t.Errorf("a token of the revoked key %s: got %d %s, want it to be told why", key, got.Status, got.Text)
	}
}

// Keys are rotated and revoked every two seconds for a minute, through all algorithms, by hand, while 16 clients sign in, refresh and call: no good token is refused, none
// of a revoked key is taken, and nobody who signs in or refreshes is turned away.
func TestRotationUnderLoad(t *testing.T) {
	const clients, every, lasts = 16, 2 * time.Second, time.Minute
	env := environ(t.TempDir())
	admin(t, env)
	s := serve(t, env)
	for i := range clients {
		s.want(http.StatusCreated, http.MethodPost, register, "", object{"email": fmt.Sprintf("u%d@example.com", i), "username": fmt.Sprintf("user%d", i), "password": password})
	}
	r := &rotations{doomed: map[string]bool{}, dead: map[string]bool{}}
	over := make(chan struct{})
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			var held []string // access tokens, of the last keys
			for round := 0; ; round++ {
				a := s.signIn(fmt.Sprintf("u%d@example.com", i))
				held = append(held, a.Access)
				for range 10 {
					next, err := s.call(http.MethodPost, refresh, "", object{"refresh_token": a.Refresh})
					if err != nil || next.Status != http.StatusOK {
						t.Errorf("a refresh: got %d %s, %v", next.Status, next.Text, err)
						return
					}
					a = next
					held = append(held, a.Access)
					if len(held) > 60 { // some of long ago, some of now
						held = slices.Delete(held, 20, 40)
					}
					for j := range held {
						if (j+round)%5 == 0 || j == len(held)-1 {
							r.use(t, s, held[j])
						}
						select {
						case <-over:
							return
						default:
						}
					}
				}
			}
		})
	}

	algorithms := []string{"HS256", "ES256", "EdDSA", "RS256", "PS256"}
	signed := map[string]bool{}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := range int(lasts / every) {
		<-tick.C
		if t.Failed() {
			break
		}
		if n%3 < 2 {
			must(t, env, "", "keys", "rotate", "--alg", algorithms[n%len(algorithms)])
			signed[algorithms[n%len(algorithms)]] = true
			continue
		}
		// Every third time a key is revoked: the one that signs, and the next time one that verifies only.
		state := []string{"primary", "retiring"}[n/3%2]
		for _, k := range signingKeys(t, env) {
			if k.State == state {
				r.set(r.doomed, k.KID)
				must(t, env, "", "keys", "revoke", k.KID, "--reason", "a test")
				r.set(r.dead, k.KID)
				break
			}
		}
	}
	close(over)
	all.Wait()
	for _, alg := range algorithms {
		if !signed[alg] && !t.Failed() {
			t.Errorf("%s never signed", alg)
		}
	}
	t.Logf("%d tokens were taken, %d of dead keys were refused", r.taken.Load(), r.refused.Load())
	if r.taken.Load() == 0 || r.refused.Load() == 0 {
		t.Error("nothing was put to the test")
	}
	for line := range strings.Lines(s.log.String()) {
		if strings.Contains(line, `"level":"ERROR"`) && !strings.Contains(line, `"kind":"token_revoked"`) { // a key that is revoked is told of aloud
			t.Errorf("the log tells of a fault: %s", line)
		}
	}
}

// listedKey is a key as `xteam keys list --json` shows it.
type listedKey struct {
	KID, Algorithm, State string
	Given                 bool
	Then                  *string
}

func signingKeys(t *testing.T, env []string) []listedKey {
	t.Helper()
	var list struct{ Items []listedKey }
	if err := json.Unmarshal([]byte(must(t, env, "", "keys", "list", "--json")), &list); err != nil {
		t.Fatal(err)
	}
	return list.Items
}
