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
type Revocations struct {
	s    *Store
	macs ports.Authenticator // nil: entries bear no MAC, and none is looked at
}

var (
	_ ports.Revocations = Revocations{}
	_ ports.Voucher     = Revocations{}
	_ ports.Claimer     = Revocations{}
	_ ports.Mender      = Revocations{}
)

// Revocations answers the port of revocations, for whoever has no keys: whatever lies in Redis is believed.
func (s *Store) Revocations() Revocations { return Revocations{s: s} }

// Sealed is the same with entries that bear a MAC under a key of the system's. One without a right one is not believed, and not lost: it is told as News.Unread.
func (r Revocations) Sealed(macs ports.Authenticator) Revocations { return Revocations{r.s, macs} }

// recording scripts share these. Numbers are compared as text: a Lua number is a double, which spoils integers above 2^53. What is no number, or of another type, counts as none: whoever damages one key
// keeps nothing else from being recorded.
const library = `
local function above(a, b) return #a > #b or #a == #b and a > b end
local function text(key)
  local is = redis.pcall('GET', key)
  return type(is) == 'string' and is or nil
end
local function raise(key, to, ttl)
  local is = text(key)
  if is and not string.match(is, '^%d+$') then is = nil end
  local left = is and redis.call('PTTL', key) or 0
  if not is or above(to, is) then is = to end
  if ttl == '0' or left == -1 then redis.call('SET', key, is)
  else redis.call('SET', key, is, 'PX', above(tostring(math.floor(left)), ttl) and left or ttl) end
end
local function tell(stream, counts, most, value)
  local n = redis.pcall('INCR', counts)
  if type(n) ~= 'number' then
    redis.call('SET', counts, 1)
    n = 1
  end
  redis.call('XADD', stream, 'MAXLEN', '~', most, '*', 'n', n, 'e', value)
end
`

// recordScript makes entries part of the data. An entry that is there stays as it is; what is missing around it is put right. KEYS: live, stream, count, epoch, then three of each
// entry: its own, that of the number it raises (or its own again), and that number's copy for readers (or its own again). ARGV: the length of the stream, the time in
// seconds before which an entry must have ended to be dropped from live, then five of each entry: name, value, end in seconds, time to live in ms (0: none), number. A
// reader's copy is made only once the data is vouched for. Each entry of the stream bears the count, by which a follower sees that one is missing.
//
// It answers three of each entry under whose key another value lies, which it does not judge: its place from 0, whether its name was missing in live, and the value (empty: none that is a text).
var recordScript = redis.NewScript(library + `
local others = {}
for i = 0, (#KEYS - 4) / 3 - 1 do
  local key, number = KEYS[5 + 3*i], KEYS[6 + 3*i]
  local name, value, ends, ttl, to = ARGV[3 + 5*i], ARGV[4 + 5*i], ARGV[5 + 5*i], ARGV[6 + 5*i], ARGV[7 + 5*i]
  local set
  if ttl == '0' then set = redis.call('SET', key, value, 'NX') else set = redis.call('SET', key, value, 'NX', 'PX', ttl) end
  local added = redis.call('ZADD', KEYS[1], 'NX', ends, name)
  if number ~= key then raise(number, to, ttl) end
  local copy = KEYS[7 + 3*i]
  if copy ~= key and redis.call('EXISTS', copy) == 1 then raise(copy, to, ttl) end
  local is = set and value or text(key) or ''
  if is ~= value then
    others[#others + 1] = i
    others[#others + 1] = added
    others[#others + 1] = is
  elseif set or added == 1 then tell(KEYS[2], KEYS[3], ARGV[1], value) end
end
local over = redis.call('ZRANGE', KEYS[1], '-inf', '(' .. ARGV[2], 'BYSCORE', 'LIMIT', 0, #KEYS)
if #over > 0 then redis.call('ZREM', KEYS[1], unpack(over)) end
return others
`)

// replaceScript puts values in the place of others, and tells of them, where those still lie there. KEYS: live, stream, count, then the entries'. ARGV: the length of the stream, then five of each entry: name, value,
// end in seconds, time to live in ms (0: none), and what lies there now (empty: nothing that is a text). It answers how many it replaced.
var replaceScript = redis.NewScript(library + `
local n = 0
for i = 0, #KEYS - 4 do
  local key, name, value, ends, ttl, was = KEYS[4 + i], ARGV[2 + 5*i], ARGV[3 + 5*i], ARGV[4 + 5*i], ARGV[5 + 5*i], ARGV[6 + 5*i]
  if (text(key) or '') == was then
    if ttl == '0' then redis.call('SET', key, value) else redis.call('SET', key, value, 'PX', ttl) end
    redis.call('ZADD', KEYS[1], 'NX', ends, name)
    tell(KEYS[2], KEYS[3], ARGV[1], value)
    n = n + 1
  end
end
return n
`)

// removeScript removes values that still lie there. KEYS: live, then the entries'. ARGV: two of each: name, and what lies there (empty: nothing that is a text). It answers how many it removed.
var removeScript = redis.NewScript(library + `
local n = 0
for i = 0, #KEYS - 2 do
  if (text(KEYS[2 + i]) or '') == ARGV[2 + 2*i] then
    redis.call('DEL', KEYS[2 + i])
    redis.call('ZREM', KEYS[1], ARGV[1 + 2*i])
    n = n + 1
  end
end
return n
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
	if len(entries) > 0 && len(entries) <= few {
		return r.gather(ctx, entries)
	}
	for part := range slices.Chunk(entries, recording) {
		if err := r.s.call(ctx, "the recording of revocations", func(ctx context.Context) error { return r.record(ctx, part) }); err != nil {
			return err
		}
	}
	return nil
}

func (r Revocations) record(ctx context.Context, entries []revocation.Entry) error {
	s, now := r.s, instant.Of(r.s.opts.Now())
	names := []string{s.keys.of("live"), s.keys.of("stream"), s.keys.of("count"), s.keys.of("epoch")}
	args := []any{s.streamed(), now.Add(-doubt).Seconds()}
	var kept []*revocation.Entry
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
		kept = append(kept, e)
		names = append(names, key, number, reader)
		args = append(args, name(e), r.write(e), ends(e.Until), ttl, to)
	}
	if len(kept) == 0 {
		return nil
	}
	others, err := recordScript.Run(ctx, s.client, names, args...).Slice()
	if err != nil || len(others) == 0 {
		return err
	}
	_, err = r.replace(ctx, others, kept, now)
	return err
}

// replace puts entries in the place of what recordScript has found under their keys, where that is not to be believed. What is, is told again if it was missing in live; what another version wrote stays.
func (r Revocations) replace(ctx context.Context, others []any, kept []*revocation.Entry, now instant.Instant) (n int, err error) {
	var all []replacement
	for i := 0; i+2 < len(others); i += 3 {
		at, was := number(others[i]), text(others[i+2])
		if at < 0 || at >= int64(len(kept)) {
			return 0, errDamaged
		}
		e := kept[at]
		is, of := r.read(name(e), was)
		switch {
		case of == believed && number(others[i+1]) == 1:
			all = append(all, replacement{&is, was, was})
		case of == unsealed, of == damaged:
			all = append(all, replacement{e, r.write(e), was})
		}
	}
	return r.s.replace(ctx, all, now)
}

// replacement is a value that takes the place of another.
type replacement struct {
	entry     *revocation.Entry
	value, of string
}

func (s *Store) replace(ctx context.Context, all []replacement, now instant.Instant) (n int, err error) {
	if len(all) == 0 {
		return 0, nil
	}
	names := []string{s.keys.of("live"), s.keys.of("stream"), s.keys.of("count")}
	args := []any{s.streamed()}
	for _, one := range all {
		ttl, ok := timeToLive(one.entry.Until, now)
		if !ok {
			continue
		}
		names = append(names, s.keys.of(name(one.entry)))
		args = append(args, name(one.entry), one.value, ends(one.entry.Until), ttl, one.of)
	}
	return replaceScript.Run(ctx, s.client, names, args...).Int()
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
