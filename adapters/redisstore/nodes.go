package redisstore

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/node"
	"github.com/xteam/xteam/ports"
)

// Nodes is the port by which nodes leave word for one another: a hash of the words, and a short stream by which those who wait are told that there is another one. A Nodes is one node's.
type Nodes struct {
	s *Store

	mu   sync.Mutex
	last string // the position in the stream up to which Wait has told; empty: not known yet
}

var _ ports.Nodes = (*Nodes)(nil)

// Nodes answers one node's way to the others.
func (s *Store) Nodes() *Nodes { return &Nodes{s: s} }

// sayScript leaves a word with the time, by Redis' clock, and tells of it. Both keys go when nobody has said anything for an hour. KEYS: words, told. ARGV: the node, the text.
var sayScript = redis.NewScript(`
local now = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[1], now[1] .. string.format('%06d', now[2]) .. ':' .. ARGV[2])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 256, '*', 'n', ARGV[1])
redis.call('EXPIRE', KEYS[1], 3600)
redis.call('EXPIRE', KEYS[2], 3600)
return 1
`)

// hearScript answers the time and the words, and drops those that are older than a minute. KEYS: words.
var hearScript = redis.NewScript(`
local now = redis.call('TIME')
local at = now[1] .. string.format('%06d', now[2])
local words = redis.call('HGETALL', KEYS[1])
local out = {at}
for i = 1, #words, 2 do
  local said = string.match(words[i + 1], '^%d+')
  if not said or tonumber(string.sub(at, 1, -7)) - tonumber(string.sub(said, 1, -7)) > 60 then redis.call('HDEL', KEYS[1], words[i])
  else out[#out + 1] = words[i]; out[#out + 1] = words[i + 1] end
end
return out
`)

func (n *Nodes) keys() []string { return []string{n.s.keys.of("words"), n.s.keys.of("told")} }

// Say leaves a word.
func (n *Nodes) Say(ctx context.Context, w node.Word) error {
	if len(w.Text) > node.MaxWord {
		return fmt.Errorf("redis: a word of %d bytes, at most %d", len(w.Text), node.MaxWord)
	}
	return n.s.call(ctx, "the leaving of a word", func(ctx context.Context) error {
		return sayScript.Run(ctx, n.s.client, n.keys(), w.Node.String(), string(w.Text)).Err()
	})
}

// Hear reads all words.
func (n *Nodes) Hear(ctx context.Context) (words []node.Word, err error) {
	err = n.s.call(ctx, "the hearing of words", func(ctx context.Context) error {
		all, err := hearScript.Run(ctx, n.s.client, n.keys()[:1]).StringSlice()
		if err != nil || len(all) == 0 {
			return err
		}
		now, err := strconv.ParseInt(all[0], 10, 64)
		words = make([]node.Word, 0, len(all)/2)
		for i := 1; i+1 < len(all); i += 2 {
			at, text, ok := strings.Cut(all[i+1], ":")
			said, bad := strconv.ParseInt(at, 10, 64)
			var who id.Node
			if len(all[i]) != hex.EncodedLen(len(who)) || !ok || bad != nil {
				continue // nobody's here
			}
			if _, err := hex.Decode(who[:], []byte(all[i])); err != nil {
				continue
			}
			words = append(words, node.Word{Node: who, Text: []byte(text), Age: max(time.Duration(now-said)*time.Microsecond, 0)})
		}
		return err
	})
	return words, err
}

// waits is how long one Wait lasts at the most.
const waits = time.Second

// Wait reads the stream from where the last one ended.
func (n *Nodes) Wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n.mu.Lock()
	from := n.last
	n.mu.Unlock()
	told := n.keys()[1]
	if from == "" { // what was said before counts as news: nobody can say when it was
		from = "0"
	}
	bounded, cancel := context.WithTimeout(ctx, waits+n.s.opts.Timeout)
	defer cancel()
	streams, err := n.s.client.XRead(bounded, &redis.XReadArgs{Streams: []string{told, from}, Block: min(waits, n.s.opts.Timeout*9/10), Count: 256}).Result()
	if errors.Is(err, redis.Nil) {
		return nil
	}
	if err != nil {
		return meant(ctx, "the waiting for a word", err)
	}
	for _, s := range streams {
		if len(s.Messages) > 0 {
			n.mu.Lock()
			n.last = s.Messages[len(s.Messages)-1].ID
			n.mu.Unlock()
		}
	}
	return nil
}
