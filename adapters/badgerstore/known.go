package badgerstore

import (
	"bytes"
	"sync"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/id"
)

// The bounds of what is remembered of accounts, in shards of one lock each. At some 500 bytes each they are about 16,000 accounts.
const (
	knownShards = 64
	knownBytes  = 8 << 20
)

// known are accounts that were read, opened and decoded lately, each as the last transaction that succeeded has left it: nobody else writes the folder, so
// the committer alone can make one old. It forgets what a transaction changes before that can be read, and what a slower reader found in an older one is
// not remembered any more.
type known struct{ shards [knownShards]knownShard }

type knownShard struct {
	mu       sync.Mutex
	accounts map[id.User]account.Account
	bytes    int
	changed  uint64 // the last transaction that changed an account of this shard
}

func (k *known) shard(uid id.User) *knownShard { return &k.shards[uid[len(uid)-1]%knownShards] }

// get answers an account that is remembered.
func (k *known) get(uid id.User) (account.Account, bool) {
	s := k.shard(uid)
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.accounts[uid]
	return a, ok
}

// put remembers an account as it is after the transaction read. The caller holds DB.life, so that Badger is not opened anew meanwhile.
func (k *known) put(a account.Account, read uint64) {
	s := k.shard(a.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, twice := s.accounts[a.ID]; twice || s.changed > read {
		return
	}
	if s.accounts == nil {
		s.accounts = map[id.User]account.Account{}
	}
	s.bytes += weight(a)
	for other := range s.accounts { // any will do: whoever is asked for again comes back
		if s.bytes <= knownBytes/knownShards {
			break
		}
		s.drop(other)
	}
	s.accounts[a.ID] = a
}

func (s *knownShard) drop(uid id.User) {
	if a, ok := s.accounts[uid]; ok {
		s.bytes -= weight(a)
		delete(s.accounts, uid)
	}
}

// forget is called with what a transaction has written, before anybody can read it.
func (k *known) forget(batch []*writeSet, written uint64) {
	for _, w := range batch {
		for _, e := range w.sets {
			k.forgetKey(e.Key, written)
		}
		for _, key := range w.deletes {
			k.forgetKey(key, written)
		}
	}
}

func (k *known) forgetKey(key []byte, written uint64) {
	raw, ok := bytes.CutPrefix(key, []byte(accountPrefix))
	if !ok {
		return
	}
	var uid id.User
	copy(uid[:], raw)
	s := k.shard(uid)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(uid)
	s.changed = written
}

// forgetAll is for a Badger that was opened on what a failure has left, as of the transaction found.
func (k *known) forgetAll(found uint64) {
	for i := range k.shards {
		s := &k.shards[i]
		s.mu.Lock()
		s.accounts, s.bytes, s.changed = nil, 0, found
		s.mu.Unlock()
	}
}

// weight is about what an account takes in memory.
func weight(a account.Account) int {
	const fixed = 320 // the struct, its key, and what the map leaves free
	return fixed + len(a.Email.String()) + len(a.Username.String()) + len(a.Username.Folded()) + len(a.FullName.String()) + a.Password.Len() + len(a.Places.Bytes())
}
