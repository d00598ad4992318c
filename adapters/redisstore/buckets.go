package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/ratelimit"
	"github.com/xteam/xteam/ports"
)

const (
	maxDemands = 8       // of one call
	maxKey     = 128     // bytes
	maxNow     = 1 << 52 // µs, in the year 2112: with it and an hour's refill a Lua number is exact

	// margin is for how long a bucket is kept after it is full again, by the clock that was handed in: that clock may stand still or go back a little.
	margin = time.Minute
)

// ErrDemand says that a call asks for what no bucket can answer: too many demands, a key that is too long, a limit or a time out of range.
var ErrDemand = errors.New("buckets in Redis: the demand is not valid")

// Buckets is the store's ports.Buckets. A call waits for BucketTimeout at most; while Redis does not answer in time, calls fail at once with ports.ErrUnavailable, and one
// now and then tries.
//
// On a Redis Cluster each bucket of a call answers for itself, in one pipeline: what one gave stays taken when another refuses.
type Buckets struct{ s *Store }

var _ ports.Buckets = Buckets{}

// Buckets answers the port of token buckets.
func (s *Store) Buckets() Buckets { return Buckets{s} }

// bucketScript is ratelimit.Limit.Take and Give on several buckets, all or none. What is spent of a bucket may be 2^62 units, and a Lua number is exact up to 2^53: so it is counted in
// whole microseconds of refill and a rest in units, which is less than one microsecond's (refill).
//
// KEYS: the buckets. ARGV: take or give, now, the margin in ms, then five of each demand: its bucket, the period in µs, refill, its cost in µs and in units (-1: it can never be had).
// It answers, for each demand, what the bucket held before it, refilled (at, µs, units); then of each bucket what it holds after the call.
var bucketScript = redis.NewScript(`
local mode, now, margin = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local held, was, before = redis.call('MGET', unpack(KEYS)), {}, {}
local allowed = true
for d = 4, #ARGV, 5 do
  local i, period, refill, us, units = tonumber(ARGV[d]), tonumber(ARGV[d+1]), tonumber(ARGV[d+2]), tonumber(ARGV[d+3]), tonumber(ARGV[d+4])
  local b = held[i]
  if type(b) ~= 'table' then
    local at, q, r = now, 0, 0
    if b then
      local a, s, t = string.match(b, '^(%-?%d+) (%d+) (%d+)$')
      if not a then return redis.error_reply('ERR a bucket is damaged') end
      at, q, r = tonumber(a), tonumber(s), tonumber(t)
    end
    local elapsed, full = now - at, q
    if r > 0 then full = q + 1 end
    if full == 0 or elapsed >= full then at, q, r = now, 0, 0
    elseif elapsed > 0 then at, q = now, q - elapsed
    elseif -elapsed > period then at = now end
    b = {at, q, r}
    held[i], was[i] = b, {at, q, r}
  end
  before[#before+1], before[#before+2], before[#before+3] = b[1], b[2], b[3]
  if mode == 'take' then
    local q, r = b[2] + us, b[3] + units
    if r >= refill then q, r = q + 1, r - refill end
    if us >= 0 and (q < period or q == period and r == 0) then b[2], b[3] = q, r else allowed = false end
  else
    local q, r = b[2] - us, b[3] - units
    if r < 0 then q, r = q - 1, r + refill end
    if q < 0 then q, r = 0, 0 end
    b[2], b[3] = q, r
  end
end
if not allowed then held = was end
for i, key in ipairs(KEYS) do
  local b = held[i]
  if b[2] == 0 and b[3] == 0 then redis.call('DEL', key)
  else redis.call('SET', key, string.format('%.0f %.0f %.0f', b[1], b[2], b[3]), 'PX', string.format('%.0f', math.ceil((b[1] - now + b[2] + 1) / 1000) + margin)) end
  before[#before+1], before[#before+2], before[#before+3] = b[1], b[2], b[3]
end
return before
`)

// Take takes from all the buckets or from none. What no bucket can answer is ErrDemand.
func (b Buckets) Take(ctx context.Context, now instant.Instant, demands ...ports.Demand) ([]ratelimit.Decision, error) {
	if err := b.check(ctx, now, demands); err != nil {
		return nil, err
	}
	decisions := make([]ratelimit.Decision, len(demands))
	err := b.run(ctx, "take", now, demands, func(c *bucketCall, held []ratelimit.Bucket) {
		for j, d := range c.demands {
			of := demands[d]
			_, decisions[d] = of.Limit.Take(held[j], of.N, now)
			_, after := of.Limit.Take(held[len(c.demands)+c.at[j]], 0, now)
			decisions[d].Remaining, decisions[d].Reset = after.Remaining, after.Reset
		}
	})
	if err != nil {
		return nil, err
	}
	return decisions, nil
}

// Give puts back what a Take took. What no bucket can answer is ErrDemand.
func (b Buckets) Give(ctx context.Context, now instant.Instant, demands ...ports.Demand) error {
	if err := b.check(ctx, now, demands); err != nil {
		return err
	}
	demands = slices.DeleteFunc(slices.Clone(demands), func(d ports.Demand) bool { return d.N < 1 })
	for i := range demands {
		demands[i].N = min(demands[i].N, demands[i].Limit.Capacity)
	}
	return b.run(ctx, "give", now, demands, func(*bucketCall, []ratelimit.Bucket) {})
}

func (b Buckets) check(ctx context.Context, now instant.Instant, demands []ports.Demand) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case len(demands) > maxDemands:
		return fmt.Errorf("%w: %d at once, at most %d", ErrDemand, len(demands), maxDemands)
	case now < 0 || now > maxNow:
		return fmt.Errorf("%w: it is made at %v", ErrDemand, now)
	}
	for _, d := range demands {
		if len(d.Key) > maxKey {
			return fmt.Errorf("%w: a key of %d bytes, at most %d", ErrDemand, len(d.Key), maxKey)
		}
		if err := d.Limit.Validate(); err != nil {
			return fmt.Errorf("%w: %w", ErrDemand, err)
		}
	}
	return nil
}

// bucketCall is one run of the script.
type bucketCall struct {
	keys    []string
	demands []int // which of the request's
	at      []int // the key of each
	args    []any
	result  *redis.Cmd
}

// calls says which runs a request takes: one, or, on a Cluster, one for each bucket.
func (b Buckets) calls(mode string, now instant.Instant, demands []ports.Demand) (calls []*bucketCall) {
	_, apart := b.s.once.(*redis.ClusterClient)
	for i, d := range demands {
		key := b.s.keys.buckets + d.Key + "/" + strconv.FormatInt(d.Limit.Capacity, 10) + "/" + strconv.FormatInt(d.Limit.Period.Microseconds(), 10)
		n := 0
		if apart {
			n = slices.IndexFunc(calls, func(c *bucketCall) bool { return c.keys[0] == key })
		}
		if n < 0 || len(calls) == 0 {
			n = len(calls)
			calls = append(calls, &bucketCall{args: []any{mode, int64(now), margin.Milliseconds()}})
		}
		calls[n].add(i, key, d)
	}
	return calls
}

func (c *bucketCall) add(i int, key string, d ports.Demand) {
	at := slices.Index(c.keys, key)
	if at < 0 {
		at = len(c.keys)
		c.keys = append(c.keys, key)
	}
	_, refill := units(d.Limit)
	us, rest := cost(d.Limit, d.N)
	c.demands, c.at = append(c.demands, i), append(c.at, at)
	c.args = append(c.args, at+1, d.Limit.Period.Microseconds(), refill, us, rest)
}

// run asks Redis once, within the budget, and hands the answers to take: the buckets before each demand, then after the call.
func (b Buckets) run(ctx context.Context, mode string, now instant.Instant, demands []ports.Demand, take func(*bucketCall, []ratelimit.Bucket)) error {
	if len(demands) == 0 {
		return nil
	}
	calls := b.calls(mode, now, demands)
	if !b.s.gate.admit() {
		return errOpen
	}
	err := b.s.within(ctx, b.s.opts.BucketTimeout, "the rate limits", func(ctx context.Context) error { return b.s.ask(ctx, calls) })
	b.s.gate.done(err == nil, err != nil && ctx.Err() != nil)
	if err != nil {
		return err
	}
	for _, c := range calls {
		held, err := c.held(demands)
		if err != nil {
			return &fault{text: "Redis, the rate limits: " + err.Error()}
		}
		take(c, held)
	}
	return nil
}

var errOpen error = &fault{text: "Redis, the rate limits: unavailable: it did not answer in time, and is asked again in a moment"}

func (s *Store) ask(ctx context.Context, calls []*bucketCall) error {
	if len(calls) == 1 {
		c := calls[0]
		c.result = bucketScript.Run(ctx, s.once, c.keys, c.args...)
		return c.result.Err()
	}
	pipe := s.once.Pipeline()
	for _, c := range calls {
		c.result = bucketScript.EvalSha(ctx, pipe, c.keys, c.args...)
	}
	_, _ = pipe.Exec(ctx) // each call has its own error
	for _, c := range calls {
		if redis.HasErrorPrefix(c.result.Err(), "NOSCRIPT") {
			c.result = bucketScript.Eval(ctx, s.once, c.keys, c.args...)
		}
		if err := c.result.Err(); err != nil {
			return err
		}
	}
	return nil
}

// held reads the script's answer.
func (c *bucketCall) held(demands []ports.Demand) ([]ratelimit.Bucket, error) {
	numbers, err := c.result.Int64Slice()
	if err != nil || len(numbers) != 3*(len(c.demands)+len(c.keys)) {
		return nil, errors.New("the answer is not that of the script")
	}
	limits := make([]ratelimit.Limit, len(c.keys))
	all := make([]ratelimit.Bucket, 0, len(c.demands)+len(c.keys))
	for i := 0; i < len(numbers); i += 3 {
		j := i / 3
		var l ratelimit.Limit
		if j < len(c.demands) {
			l = demands[c.demands[j]].Limit
			limits[c.at[j]] = l
		} else {
			l = limits[j-len(c.demands)]
		}
		_, refill := units(l)
		all = append(all, ratelimit.Bucket{At: instant.Instant(numbers[i]), Spent: numbers[i+1]*refill + numbers[i+2]})
	}
	return all, nil
}

// units are those of ratelimit.Limit: one token is tok of them, and a microsecond refills refill.
func units(l ratelimit.Limit) (tok, refill int64) {
	us := l.Period.Microseconds()
	a, b := l.Capacity, us
	for b != 0 {
		a, b = b, a%b
	}
	return us / a, l.Capacity / a
}

// cost is that of n tokens, at most all, in microseconds of refill and a rest in units; -1 in microseconds when there can never be as many, or it is none.
func cost(l ratelimit.Limit, n int64) (us, rest int64) {
	if n < 1 || n > l.Capacity {
		return -1, 0
	}
	tok, refill := units(l)
	high, low := bits.Mul64(uint64(n), uint64(tok))
	whole, part := bits.Div64(high, low, uint64(refill))
	return int64(whole), int64(part)
}
