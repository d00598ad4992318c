package redisstore

import (
	"context"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/ports"
)

const (
	recording = 256    // entries in one run of the script, which holds Redis up for some 2 ms
	streamed  = 65_536 // entries that the stream holds at least: what a follower may be behind before it reads everything again

	// doubt is for how long after its end an entry is kept: the clock may have been wrong by a day, here or where the end was reckoned, and Redis' own may jump by an hour.
	doubt = 25 * time.Hour
	// life is the longest time to live that is given; what lasts longer has none.
	life = 100 * 365 * 24 * time.Hour
)

// Revocations is the store's ports.Revocations.
type Revocations struct{ s *Store }

var (
	_ ports.Revocations = Revocations{}
	_ ports.Voucher     = Revocations{}
	_ ports.Claimer     = Revocations{}
)

// Revocations answers the port of revocations.
func (s *Store) Revocations() Revocations { return Revocations{s} }

// recordScript makes entries part of the data. An entry that is there stays as it is; what is missing around it is put right. KEYS: live, stream, count, epoch, then three of each
// entry: its own, that of the number it raises (or its own again), and that number's copy for readers (or its own again). ARGV: the length of the stream, the time in
// seconds before which an entry must have ended to be dropped from live, then five of each entry: name, value, end in seconds, time to live in ms (0: none), number. A
// reader's copy is made only once the data is vouched for. Each entry of the stream bears the count, by which a follower sees that one is missing.
//
// Numbers are compared as text: a Lua number is a double, which spoils integers above 2^53.
var recordScript = redis.NewScript(`
local function above(a, b) return #a > #b or #a == #b and a > b end
local function raise(key, to, ttl)
  local is = redis.call('GET', key)
  local left = is and redis.call('PTTL', key) or 0
  if not is or above(to, is) then is = to end
  if ttl == '0' or left == -1 then redis.call('SET', key, is)
  else redis.call('SET', key, is, 'PX', above(tostring(math.floor(left)), ttl) and left or ttl) end
end
local fresh = 0
for i = 0, (#KEYS - 4) / 3 - 1 do
  local key, number = KEYS[5 + 3*i], KEYS[6 + 3*i]
  local name, value, ends, ttl, to = ARGV[3 + 5*i], ARGV[4 + 5*i], ARGV[5 + 5*i], ARGV[6 + 5*i], ARGV[7 + 5*i]
  local set
  if ttl == '0' then set = redis.call('SET', key, value, 'NX') else set = redis.call('SET', key, value, 'NX', 'PX', ttl) end
  local added = redis.call('ZADD', KEYS[1], 'NX', ends, name)
  if number ~= key then raise(number, to, ttl) end
  local copy = KEYS[7 + 3*i]
  if copy ~= key and redis.call('EXISTS', copy) == 1 then raise(copy, to, ttl) end
  if set or added == 1 then
    if not set then value = redis.call('GET', key) end
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[1], '*', 'n', redis.call('INCR', KEYS[3]), 'e', value)
    fresh = fresh + 1
  end
end
local over = redis.call('ZRANGE', KEYS[1], '-inf', '(' .. ARGV[2], 'BYSCORE', 'LIMIT', 0, #KEYS)
if #over > 0 then redis.call('ZREM', KEYS[1], unpack(over)) end
return fresh
`)

// Record keeps the entries, in batches. What ended more than a day ago is not kept.
func (r Revocations) Record(ctx context.Context, entries ...revocation.Entry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for i := range entries {
		if err := entries[i].Validate(); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(entries, recording) {
		if err := r.s.call(ctx, "the recording of revocations", func(ctx context.Context) error { return r.s.record(ctx, part) }); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) record(ctx context.Context, entries []revocation.Entry) error {
	now := instant.Of(s.opts.Now())
	names := []string{s.keys.of("live"), s.keys.of("stream"), s.keys.of("count"), s.keys.of("epoch")}
	args := []any{s.streamed(), now.Add(-doubt).Seconds()}
	for i := range entries {
		e := &entries[i]
		ttl, ok := timeToLive(e.Until, now)
		if !ok {
			continue
		}
		key := s.keys.of(name(e))
		number, reader := key, key
		of, to := rises(e)
		if of != "" {
			number = s.keys.of(of)
		}
		if e.Kind == revocation.Epoch {
			reader = s.keys.of("epoch")
		}
		names = append(names, key, number, reader)
		args = append(args, name(e), encode(e), ends(e.Until), ttl, to)
	}
	if len(names) == 4 {
		return nil
	}
	return recordScript.Run(ctx, s.client, names, args...).Err()
}

// timeToLive is for how many milliseconds from now an entry is kept, 0 for ever; false when its time is long over.
func timeToLive(until, now instant.Instant) (ms string, ok bool) {
	end := until.Add(doubt)
	left := end.Sub(now)
	switch {
	case end == instant.Forever || left > life:
		return "0", true
	case left <= 0:
		return "", false
	}
	return strconv.FormatInt(left.Milliseconds()+1, 10), true
}

// ends is an end in whole seconds, rounded up, as a score that is exact.
func ends(until instant.Instant) string {
	if until.Seconds() >= math.MaxInt64/1_000_000 {
		return "+inf"
	}
	return strconv.FormatInt(until.Seconds()+1, 10)
}

// beginScript marks data that has no mark yet, and answers where a follower begins. KEYS: id, epoch, live, stream, count. ARGV: an id.
// The stream always holds an entry, and live a name, so that their loss is seen.
var beginScript = redis.NewScript(`
local id = redis.call('GET', KEYS[1])
if not id then
  id = ARGV[1]
  redis.call('SET', KEYS[1], id)
end
if not redis.call('ZSCORE', KEYS[3], 'id') then redis.call('ZADD', KEYS[3], '+inf', 'id') end
local last = redis.call('XREVRANGE', KEYS[4], '+', '-', 'COUNT', 1)
local position
if #last > 0 then position = last[1][1] else position = redis.call('XADD', KEYS[4], '*', 'begin', id) end
return {id, position, redis.call('GET', KEYS[5]) or '0', redis.call('EXISTS', KEYS[2])}
`)

// place is what a follower knows of the data that it follows.
type place struct {
	id       string
	position string // of the last entry of the stream that was read
	count    int64  // of all entries ever recorded, up to the position
	vouched  bool   // the epoch was there
}

func (s *Store) begin(ctx context.Context) (place, error) {
	got, err := beginScript.Run(ctx, s.client, s.keys.fixed(), newID()).Slice()
	if err != nil {
		return place{}, err
	}
	if len(got) != 4 {
		return place{}, errDamaged
	}
	p := place{id: text(got[0]), position: text(got[1]), vouched: number(got[3]) == 1}
	p.count, _ = strconv.ParseInt(text(got[2]), 10, 64)
	return p, nil
}

func (k keys) fixed() []string {
	return []string{k.of("id"), k.of("epoch"), k.of("live"), k.of("stream"), k.of("count")}
}

func text(v any) string { s, _ := v.(string); return s }

func number(v any) int64 { n, _ := v.(int64); return n }

// Count is how many entries are held, those that ended within the last day among them. It is cheap.
func (r Revocations) Count(ctx context.Context) (n int64, err error) {
	err = r.s.call(ctx, "the count of revocations", func(ctx context.Context) error {
		n, err = r.s.client.ZCard(ctx, r.s.keys.of("live")).Result()
		return err
	})
	return max(0, n-1), err // but for the name that is always there
}

// vouchScript says that the data is whole. KEYS: epoch, raised.
var vouchScript = redis.NewScript(`
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('SET', KEYS[1], redis.call('GET', KEYS[2]) or '0') end
return 1
`)

// Vouch says that everything that the caller knows to be revoked has been recorded here: of new data, and after a loss, readers in other languages refuse until somebody does. An empty
// Redis may be new, or have lost everything; only who knows the database can tell.
func (r Revocations) Vouch(ctx context.Context) error {
	return r.s.call(ctx, "the vouching for revocations", func(ctx context.Context) error {
		return vouchScript.Run(ctx, r.s.client, []string{r.s.keys.of("epoch"), r.s.keys.of("raised")}).Err()
	})
}

// Claim reports whether the caller is the one of many who shall put back what was lost: for that long nobody else is told so.
func (r Revocations) Claim(ctx context.Context, howLong time.Duration) (mine bool, err error) {
	err = r.s.call(ctx, "the claim to heal", func(ctx context.Context) error {
		err := r.s.client.SetArgs(ctx, r.s.keys.of("healing"), "1", redis.SetArgs{Mode: "NX", TTL: howLong}).Err()
		mine = err == nil
		if err == redis.Nil { //nolint:errorlint // go-redis answers it bare
			return nil
		}
		return err
	})
	return mine, err
}

// streamed is the length to which the stream is cut.
func (s *Store) streamed() int64 {
	if s.shorter > 0 {
		return s.shorter
	}
	return streamed
}
