package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/ports"
)

const (
	page      = 1000                   // entries in one delivery, about
	listening = 400 * time.Millisecond // how long a read of the stream waits for something new
	checking  = 500 * time.Millisecond // how often the data is looked at, at most
	sampled   = 16                     // entries whose keys are looked for at each look
	searched  = 1000                   // as many when Redis says that it has evicted something
)

// Follow delivers everything that is live, then what comes, and says so at least once a second. It ends within about two seconds of the last sign of a server that hangs,
// and with ErrLost within about one when the data is not what it was: it, its mark or its epoch is gone, the last position no longer stands in the stream, fewer
// entries were recorded than before, entries were evicted, or another server answers, which may lack the last writes without any other sign.
//
// A follower that is further behind than the stream reaches is given everything again.
func (r Revocations) Follow(ctx context.Context, fn func(ports.News) error) error {
	f := follower{s: r.s, r: r, fn: fn}
	if err := f.start(ctx); err != nil {
		return err
	}
	if err := f.load(ctx); err != nil {
		return err
	}
	return f.tail(ctx)
}

// follower is one Follow.
type follower struct {
	s     *Store
	r     Revocations
	fn    func(ports.News) error
	place place
	server
	asked   time.Time // when what is told now was asked for
	heard   time.Time // when Redis last answered
	checked time.Time // when the data was last looked at
	vouched bool      // the data was vouched for before what was last read was
	counted int64     // how many entries had ever been recorded when the data was last looked at
	refused error     // of fn
}

// server is who answers, as far as it tells.
type server struct {
	run, replication string
	evicted          string
}

func (f *follower) start(ctx context.Context) error {
	f.asked = time.Now()
	return f.s.call(ctx, "the start of following", func(ctx context.Context) (err error) {
		if err := f.s.writes(ctx); err != nil {
			return err
		}
		if f.server, err = f.s.who(ctx); err != nil {
			return err
		}
		f.place, err = f.s.begin(ctx)
		f.heard, f.checked = time.Now(), time.Now()
		return err
	})
}

// load delivers everything that is in the live set, with Caught at its end. It reads one page ahead of what it delivers: nearly all of the time is Redis' own.
func (f *follower) load(ctx context.Context) error {
	f.vouched = f.place.vouched
	reading, stop := context.WithCancel(ctx)
	pages := f.r.pages(reading)
	defer func() {
		stop()
		for range pages { // until nobody reads any more
		}
	}()
	for p := range pages {
		if p.err != nil {
			return p.err
		}
		f.heard = p.heard
		f.r.open(&p) // while Redis is asked for the next
		if err := f.deliver(ctx, p.entries, keysOfAll(p.unread), false); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return f.deliver(ctx, nil, nil, true)
}

func keysOfAll(unread []unread) (keys []string) {
	for i := range unread {
		keys = append(keys, keyOf(unread[i].name))
	}
	return keys
}

// unread is what could not be read.
type unread struct {
	name, value string // empty: nothing that is a text
	is          reading
}

// loaded is a page of the live set, or why there is none.
type loaded struct {
	names   []string
	values  []any // of the names; nil: what lies there is no text
	entries []revocation.Entry
	unread  []unread
	heard   time.Time // when Redis answered
	err     error
}

// pages reads the live set until its end, an error, or the end of ctx; then the channel is closed. The values of one page are read together with the names of the next.
func (r Revocations) pages(ctx context.Context) <-chan loaded {
	pages := make(chan loaded, 1)
	go func() {
		defer close(pages)
		var names []string
		for cursor, first := uint64(0), true; first || len(names) > 0 || cursor != 0; first = false {
			var p loaded
			p.err = r.s.call(ctx, "the loading of revocations", func(ctx context.Context) (err error) {
				p, names, cursor, err = r.page(ctx, names, cursor, first || cursor != 0)
				return err
			})
			p.heard = time.Now()
			select {
			case pages <- p:
			case <-ctx.Done():
				return
			}
			if p.err != nil {
				return
			}
		}
	}()
	return pages
}

// deliver hands entries over, in bounded parts.
func (f *follower) deliver(ctx context.Context, entries []revocation.Entry, unread []string, caught bool) error {
	if len(unread) > 0 { // before Caught
		if err := f.tell(ctx, ports.News{Unread: unread}); err != nil {
			return err
		}
	}
	for len(entries) > page {
		if err := f.tell(ctx, ports.News{Entries: entries[:page:page]}); err != nil {
			return err
		}
		entries = entries[page:]
	}
	if len(entries) == 0 && !caught {
		return nil
	}
	return f.tell(ctx, ports.News{Entries: entries, Caught: caught, Unvouched: caught && !f.vouched})
}

func (f *follower) tell(ctx context.Context, news ports.News) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if news.Caught {
		news.Age = time.Since(f.asked)
	}
	f.refused = f.fn(news)
	f.heard = time.Now() // the time that fn took is not Redis' silence
	return f.refused
}

// page reads the entries with these names, and in the same round trip, if more is wanted, the names behind cursor. A name whose entry is gone is dropped, unless it
// came back meanwhile.
func (r Revocations) page(ctx context.Context, names []string, cursor uint64, more bool) (p loaded, next []string, after uint64, err error) {
	s := r.s
	pipe := s.client.Pipeline()
	var values *redis.SliceCmd
	var scan *redis.ScanCmd
	if len(names) > 0 {
		all := make([]string, len(names))
		for i := range names {
			all[i] = s.keys.of(names[i])
		}
		values = pipe.MGet(ctx, all...)
	}
	if more {
		scan = pipe.ZScan(ctx, s.keys.of("live"), cursor, "", page)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return p, nil, 0, err
	}
	if scan != nil {
		var pairs []string
		if pairs, after, err = scan.Result(); err != nil {
			return p, nil, 0, err
		}
		for i := 0; i+1 < len(pairs); i += 2 {
			if pairs[i] != "id" {
				next = append(next, pairs[i])
			}
		}
	}
	if values == nil {
		return p, next, after, nil
	}
	p.names, p.values = names, values.Val()
	var gone []string
	for i, v := range p.values {
		if _, ok := v.(string); !ok {
			gone = append(gone, names[i])
		}
	}
	there, err := s.tidy(ctx, gone)
	for _, name := range there { // it is no text, or came back: it is not known what it says
		p.unread = append(p.unread, unread{name: name, is: damaged})
	}
	return p, next, after, err
}

// open reads the values of a page.
func (r Revocations) open(p *loaded) {
	p.entries = make([]revocation.Entry, 0, len(p.names))
	for i, v := range p.values {
		value, ok := v.(string)
		if !ok {
			continue
		}
		if e, is := r.read(p.names[i], value); is == believed {
			p.entries = append(p.entries, e)
		} else {
			p.unread = append(p.unread, unread{p.names[i], value, is})
		}
	}
	p.names, p.values = nil, nil
}

// tidyScript drops names whose entries are gone, and answers those that are not. KEYS: live, then the entries' keys. ARGV: their names.
var tidyScript = redis.NewScript(`
local there = {}
for i, name in ipairs(ARGV) do
  if redis.call('EXISTS', KEYS[1 + i]) == 0 then redis.call('ZREM', KEYS[1], name) else there[#there + 1] = name end
end
return there
`)

func (s *Store) tidy(ctx context.Context, gone []string) (there []string, err error) {
	if len(gone) == 0 {
		return nil, nil
	}
	names, args := []string{s.keys.of("live")}, make([]any, len(gone))
	for i := range gone {
		names, args[i] = append(names, s.keys.of(gone[i])), gone[i]
	}
	return tidyScript.Run(ctx, s.client, names, args...).StringSlice()
}

// tail reads the stream from the position on.
func (f *follower) tail(ctx context.Context) error {
	for block := listening; ; {
		err := f.round(ctx, block)
		var known *fault
		switch {
		case err == nil:
			f.heard, block = time.Now(), listening
		case f.refused != nil:
			return f.refused
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errBehind):
			if err := f.again(ctx); err != nil {
				return err
			}
		case errors.As(err, &known):
			return err
		case errors.Is(err, redis.ErrClosed) || time.Since(f.heard) >= f.s.opts.Timeout:
			return meant(ctx, "the feed", err)
		default: // a connection that broke: the next one answers at once, or Redis is silent
			block = -1
			f.s.lookAround(ctx)
			if err := pause(ctx, 10*time.Millisecond); err != nil {
				return err
			}
		}
	}
}

// round reads what is new, waiting for it as long as block says, and delivers it; now and then it looks at the data before it says that this was all.
func (f *follower) round(ctx context.Context, block time.Duration) error {
	f.asked = time.Now()
	f.vouched = f.place.vouched
	entries, unread, more, err := f.read(ctx, block)
	if err != nil {
		return err
	}
	if time.Since(f.checked) >= checking {
		if err := f.deliver(ctx, entries, unread, false); err != nil {
			return err
		}
		entries, unread = nil, nil
		if err := f.look(ctx); err != nil {
			return err
		}
	}
	return f.deliver(ctx, entries, unread, !more)
}

// writes reports why Redis takes no writes, where that matters: what others revoke meanwhile is not there.
func (s *Store) writes(ctx context.Context) error {
	if !s.opts.Writes {
		return nil
	}
	return s.client.Set(ctx, s.keys.of("probe"), "1", time.Second).Err()
}

func (f *follower) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, f.s.opts.Timeout)
	defer cancel()
	err := f.check(ctx)
	if err == nil {
		f.checked = time.Now()
	}
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// again gives everything to a follower that was behind the stream.
func (f *follower) again(ctx context.Context) error {
	before, data := f.server, f.place.id
	if err := f.start(ctx); err != nil {
		return err
	}
	if err := f.same(before, data); err != nil {
		return err
	}
	return f.load(ctx)
}

// same is ErrLost when who answers, or the data, is another than before.
func (f *follower) same(before server, data string) error {
	switch {
	case f.place.id != data:
		return lost("it holds other data than before")
	case f.run != before.run:
		return lost("another server process answers, which may lack the last writes")
	case f.replication != before.replication:
		return lost("a failover took place, which may have lost the last writes")
	}
	return nil
}

// read reads what is behind the position, and waits for it as long as block says; -1: not at all. More says that there may be more already. Unread are the keys of what could not be read, as far as
// they are known.
func (f *follower) read(ctx context.Context, block time.Duration) (entries []revocation.Entry, unread []string, more bool, err error) {
	bounded, cancel := context.WithTimeout(ctx, max(block, 0)+f.s.opts.Timeout)
	defer cancel()
	got, err := f.s.client.XRead(bounded, &redis.XReadArgs{Streams: []string{f.s.keys.of("stream"), f.place.position}, Count: page, Block: block}).Result()
	if err == redis.Nil { //nolint:errorlint // go-redis answers it bare
		return nil, nil, false, nil
	}
	if err != nil || len(got) == 0 {
		return nil, nil, false, err
	}
	stands := false
	for _, m := range got[0].Messages {
		value, ok := m.Values["e"].(string)
		if !ok {
			f.place.position = m.ID
			continue // the mark of a beginning
		}
		n, _ := strconv.ParseInt(text(m.Values["n"]), 10, 64)
		if n != f.place.count+1 {
			// Something is missing, or was recorded on what is not this data any more; or somebody else wrote this, who must not have every node read everything again.
			if !stands {
				if err := f.look(ctx); err != nil {
					return nil, nil, false, err
				}
				stands = true
			}
			unread = append(unread, "")
			if 0 < n && n <= f.counted {
				f.place.count = n
			}
		} else {
			f.place.count = n
		}
		f.place.position = m.ID
		e, is := f.r.read("", value)
		if is != believed {
			key := ""
			if is == unsealed {
				key = e.Key()
			}
			unread = append(unread, key)
			continue
		}
		entries = append(entries, e)
	}
	return entries, unread, len(got[0].Messages) == page, nil
}

// errBehind says that the stream was cut before the position.
var errBehind error = &fault{text: "the follower is behind the stream"}

// checkScript looks at the data. KEYS: id, epoch, live, stream, count. ARGV: the position, the prefix of all keys, the time in seconds, how many entries to look for, the
// count at the position. It answers the id, whether the epoch is there, whether live is, where the position is (0: nowhere; 1: in the stream; 2: before it), the count, and how many of the entries that were looked
// for and whose time is not over are gone.
var checkScript = redis.NewScript(`
local missing, sample = 0, redis.call('ZRANDMEMBER', KEYS[3], ARGV[4], 'WITHSCORES')
for i = 1, #sample, 2 do
  if tonumber(sample[i + 1]) > tonumber(ARGV[3]) and redis.call('EXISTS', ARGV[2] .. sample[i]) == 0 then missing = missing + 1 end
end
local count, length = redis.call('GET', KEYS[5]) or '0', redis.call('XLEN', KEYS[4])
local stands = #redis.call('XRANGE', KEYS[4], ARGV[1], ARGV[1])
if stands == 0 and length > 0 and count - ARGV[5] >= length and #redis.call('XREVRANGE', KEYS[4], '(' .. ARGV[1], '-', 'COUNT', 1) == 0 then stands = 2 end
return {redis.call('GET', KEYS[1]) or '', redis.call('EXISTS', KEYS[2]), redis.call('ZSCORE', KEYS[3], 'id') and 1 or 0, stands, count, missing}
`)

func (f *follower) check(ctx context.Context) error {
	if err := f.s.writes(ctx); err != nil {
		return err
	}
	now, err := f.s.who(ctx)
	if err != nil {
		return err
	}
	look := sampled
	if now.evicted != f.evicted {
		look = searched
	}
	got, err := checkScript.Run(ctx, f.s.client, f.s.keys.fixed(), f.place.position, f.s.keys.prefix, instant.Of(f.s.opts.Now()).Seconds(), look, f.place.count).Slice()
	if err != nil {
		return err
	}
	if len(got) != 6 {
		return errDamaged
	}
	count, _ := strconv.ParseInt(text(got[4]), 10, 64)
	vouched := number(got[1]) == 1
	id := text(got[0])
	if id == "" {
		return lost("all of it is gone (FLUSHALL, or an empty server)")
	}
	after := follower{server: now, place: place{id: id}}
	if err := after.same(f.server, f.place.id); err != nil {
		return err
	}
	switch {
	case f.place.vouched && !vouched:
		return lost("its epoch is gone")
	case number(got[2]) != 1:
		return lost("the set of what is live is gone")
	case number(got[3]) == 2:
		return errBehind
	case number(got[3]) != 1:
		return lost("the last position no longer stands in the stream (an older state was restored)")
	case count < f.place.count:
		return lost(fmt.Sprintf("%d entries were recorded, and it was %d before", count, f.place.count))
	case number(got[5]) > 0:
		return lost(fmt.Sprintf("of %d entries %d are gone (eviction)", look, number(got[5])))
	}
	f.place.vouched, f.evicted, f.counted = vouched, now.evicted, count
	return nil
}

// who asks the server of the revocations who it is. One that does not tell is nobody.
func (s *Store) who(ctx context.Context) (server, error) {
	var c redis.Cmdable = s.client
	if cluster, ok := s.client.(*redis.ClusterClient); ok {
		node, err := cluster.MasterForKey(ctx, s.keys.of("id"))
		if err != nil {
			return server{}, err
		}
		c = node
	}
	pipe := c.Pipeline()
	process, replication, stats := pipe.Info(ctx, "server"), pipe.Info(ctx, "replication"), pipe.Info(ctx, "stats")
	if _, err := pipe.Exec(ctx); err != nil {
		if _, denied := err.(redis.Error); denied && !errors.Is(meant(ctx, "", err), ErrReadOnly) { //nolint:errorlint // an answer of the server, not of the network
			return server{}, nil
		}
		return server{}, err
	}
	if infoField(replication.Val(), "role") == "slave" {
		return server{}, ErrReadOnly
	}
	return server{run: infoField(process.Val(), "run_id"), replication: infoField(replication.Val(), "master_replid"), evicted: infoField(stats.Val(), "evicted_keys")}, nil
}
