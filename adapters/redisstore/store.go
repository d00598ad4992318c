package redisstore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/xteam/xteam/ports"
)

// Store is a Redis that holds revocations and buckets. All methods may be called at once.
type Store struct {
	opts    Options
	client  redis.UniversalClient // for what is idempotent: it tries again
	once    redis.UniversalClient // for the buckets: it never does
	keys    keys
	gate    breaker
	shorter int64 // a length of the stream for tests; 0: the usual

	plain, sealed gathering

	mu     sync.Mutex
	policy string // maxmemory-policy as last read; empty: not known
}

// The refusals of a Redis that is not what it has to be. They match ports.ErrUnavailable too.
var (
	// ErrReadOnly says that the address is that of a replica, which takes no writes.
	ErrReadOnly error = &fault{text: "it is a read-only replica: give the primary's address, or Sentinels (redis+sentinel://) that know it"}
	// ErrDenied says that the user or password is wrong, or lacks a right.
	ErrDenied error = &fault{text: "user or password is wrong, or the user lacks a right"}
	// ErrFull says that Redis has reached maxmemory, and evicts nothing.
	ErrFull error = &fault{text: "it is full (maxmemory): raise it, or find what else fills it"}
	// ErrLost says that what was followed is not what it was: another server answers, or this one lost a part of what it held. Following again begins with everything that is
	// there; whoever holds more puts it back with Record, and then vouches for it.
	ErrLost error = &fault{text: "a part of what Redis held was lost"}
)

// fault is an error that matches ports.ErrUnavailable.
type fault struct {
	text string
	is   error // one of the above, or nil
}

func (f *fault) Error() string { return f.text }
func (f *fault) Is(target error) bool {
	return target == ports.ErrUnavailable || f.is != nil && target == f.is
}

// quiet takes what go-redis would write to the standard error: what it tells is in the errors of the calls.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// New makes a store that connects when it is first used. It does no I/O but reading CAFile. It silences go-redis' own log, for the whole process.
func New(o Options) (*Store, error) {
	redis.SetLogger(quiet{})
	o, err := o.checked()
	if err != nil {
		return nil, err
	}
	config, err := o.tls()
	if err != nil {
		return nil, err
	}
	s := &Store{opts: o, keys: keysOf(o.Namespace), client: o.client(config, 3, o.Timeout), once: o.client(config, 0, o.Timeout)}
	s.gate.log = o.Logger
	return s, nil
}

// Open makes a store and refuses a Redis that cannot be used: see Check. It does not read what Redis holds.
func Open(ctx context.Context, o Options) (*Store, error) {
	s, err := New(o)
	if err != nil {
		return nil, err
	}
	if err := s.Check(ctx); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// Close ends every call that is under way, and the use of the store. Those who follow get an error.
func (s *Store) Close() error { return errors.Join(s.client.Close(), s.once.Close()) }

// Check asks Redis whether it can be used, by a write, reads how it evicts, and marks data that is new. A reader in another language trusts that only once a node has vouched for it. ErrReadOnly,
// ErrDenied and ErrFull say what has to be changed; another error, that Redis does not answer.
func (s *Store) Check(ctx context.Context) error {
	return s.call(ctx, "the start check", func(ctx context.Context) error {
		if err := s.client.Set(ctx, s.keys.of("probe"), "1", time.Second).Err(); err != nil {
			return err
		}
		if _, err := s.begin(ctx); err != nil {
			return err
		}
		s.setPolicy(s.readPolicy(ctx))
		return s.once.Ping(ctx).Err() // so that the buckets' first call need not connect within its 20 ms
	})
}

// Clock is the time by the server's clock, of a Cluster by that of any node.
func (s *Store) Clock(ctx context.Context) (now time.Time, err error) {
	err = s.call(ctx, "its clock", func(ctx context.Context) (err error) {
		now, err = s.client.Time(ctx).Result()
		return err
	})
	return now, err
}

// Evicting is Redis' maxmemory-policy as the last Check read it, and whether it could be read. Any but noeviction loses revocations when the memory is full.
func (s *Store) Evicting() (policy string, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.policy, s.policy != ""
}

func (s *Store) setPolicy(policy string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policy = policy
}

// readPolicy is the policy of the server, of a Cluster's primaries the first that evicts, or nothing when it is not told.
func (s *Store) readPolicy(ctx context.Context) string {
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok {
		return policyOf(ctx, s.client)
	}
	var mu sync.Mutex
	worst, known := "noeviction", true
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		policy := policyOf(ctx, c)
		mu.Lock()
		defer mu.Unlock()
		if policy == "" {
			known = false
		} else if policy != "noeviction" {
			worst = policy
		}
		return nil
	})
	if err != nil || !known && worst == "noeviction" {
		return ""
	}
	return worst
}

// policyOf asks in two ways: some hosts forbid CONFIG, some users INFO.
func policyOf(ctx context.Context, c redis.Cmdable) string {
	if got, err := c.ConfigGet(ctx, "maxmemory-policy").Result(); err == nil && got["maxmemory-policy"] != "" {
		return got["maxmemory-policy"]
	}
	text, _ := c.Info(ctx, "memory").Result()
	return infoField(text, "maxmemory_policy")
}

func infoField(info, name string) string {
	for line := range strings.SplitSeq(info, "\n") {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// call runs do within the store's time-out and answers what its error means.
func (s *Store) call(ctx context.Context, what string, do func(ctx context.Context) error) error {
	return s.within(ctx, s.opts.Timeout, what, do)
}

func (s *Store) within(ctx context.Context, limit time.Duration, what string, do func(ctx context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := do(bounded)
	if err != nil && ctx.Err() == nil {
		s.lookAround(ctx)
	}
	return meant(ctx, what, err)
}

// lookAround has a Cluster asked anew, in the background, who has which slots: go-redis goes on asking a primary that is gone for as long as ten seconds.
func (s *Store) lookAround(ctx context.Context) {
	for _, c := range []redis.UniversalClient{s.client, s.once} {
		if cluster, ok := c.(*redis.ClusterClient); ok {
			cluster.ReloadState(ctx)
		}
	}
}

// meant is what an error of go-redis means to the caller with ctx. The cause is told and not wrapped: a time-out of our own is not the caller's.
func meant(ctx context.Context, what string, err error) error {
	var known *fault
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &known):
		return err
	}
	text := err.Error()
	for _, kind := range []struct {
		is    error
		marks []string
	}{
		{ErrReadOnly, []string{"READONLY"}},
		{ErrDenied, []string{"WRONGPASS", "NOAUTH", "NOPERM", "ERR invalid password", "ERR AUTH"}},
		{ErrFull, []string{"OOM "}},
	} {
		for _, mark := range kind.marks {
			if strings.Contains(text, mark) {
				return &fault{fmt.Sprintf("Redis, %s: %v (%v)", what, kind.is, firstLine(text)), kind.is}
			}
		}
	}
	return &fault{text: fmt.Sprintf("Redis, %s: %v: %s", what, ports.ErrUnavailable, firstLine(text))}
}

func firstLine(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	return text[:min(len(text), 300)]
}

func lost(why string) error {
	return &fault{text: "Redis: " + ErrLost.Error() + ": " + why, is: ErrLost}
}

// keys are the names of what is stored.
type keys struct{ prefix, buckets string }

func keysOf(namespace string) keys {
	return keys{prefix: namespace + ":{r}:", buckets: namespace + ":b:"}
}

func (k keys) of(name string) string { return k.prefix + name }

// newID is a name that no other data has.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}
