package passhash

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
)

// The parameters of new argon2id hashes: those of OWASP's Password Storage Cheat Sheet. A change of them upgrades hashes at the next sign-in.
const (
	newMemory = 19456 // KiB
	newTime   = 2     // passes over the memory
	newLanes  = 1
	newSalt   = 16 // bytes, as RFC 9106 advises
	newSum    = 32 // bytes
)

// What a stored hash may ask for, so that none is a weapon: the whole of it costs less than bcrypt at cost 12. RFC 9106's second choice (64 MiB, 3 passes,
// 4 lanes), which many libraries have as their default, is within.
const (
	maxMemory = 64 << 10      // KiB
	maxPasses = 4 * maxMemory // KiB × passes
	maxTime   = 16
	maxLanes  = 4 // each runs on a core of its own
	minSalt   = 8
	minSum    = 16 // a shorter one could be met by chance
	maxBytes  = 64 // of salt, and of sum
)

// argon2idHash is a hash of argon2id with all that it takes to compute it again.
type argon2idHash struct {
	memory uint32 // KiB
	time   uint32 // passes
	lanes  uint8
	salt   []byte
	sum    []byte
}

// passes is the work of computing it, in passes over one KiB.
func (a *argon2idHash) passes() int { return int(a.memory) * int(a.time) }

// current reports whether it is made as new ones are.
func (a *argon2idHash) current() bool {
	return a.memory == newMemory && a.time == newTime && a.lanes == newLanes && len(a.salt) == newSalt && len(a.sum) == newSum
}

// String is the hash in the PHC string format.
func (a *argon2idHash) String() string {
	b := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", a.memory, a.time, a.lanes, b.EncodeToString(a.salt), b.EncodeToString(a.sum))
}

// parseArgon2id reads a hash in the PHC string format, strictly: what is taken is what String writes, to the byte, and computing it stays within the bounds.
func parseArgon2id(text string) (argon2idHash, bool) {
	fields := strings.Split(text, "$")
	if len(fields) != 6 {
		return argon2idHash{}, false
	}
	var a argon2idHash
	if _, err := fmt.Sscanf(fields[3], "m=%d,t=%d,p=%d", &a.memory, &a.time, &a.lanes); err != nil {
		return argon2idHash{}, false
	}
	a.salt, _ = base64.RawStdEncoding.DecodeString(fields[4]) // what cannot be decoded is not written again as it was
	a.sum, _ = base64.RawStdEncoding.DecodeString(fields[5])
	if a.String() != text {
		return argon2idHash{}, false
	}
	return a, a.lanes >= 1 && a.lanes <= maxLanes && a.memory >= 8*uint32(a.lanes) && a.memory <= maxMemory &&
		a.time >= 1 && a.time <= maxTime && a.passes() <= maxPasses &&
		len(a.salt) >= minSalt && len(a.salt) <= maxBytes && len(a.sum) >= minSum && len(a.sum) <= maxBytes
}

// newArgon2id hashes a password under a new salt.
func (h *Hasher) newArgon2id(password []byte) *argon2idHash {
	a := &argon2idHash{memory: newMemory, time: newTime, lanes: newLanes, salt: make([]byte, newSalt)}
	_, _ = rand.Read(a.salt) // it never fails: without chance it ends the process
	a.sum = h.derive(password, a.salt, a.time, a.memory, a.lanes, newSum)
	return a
}

// matches computes the hash of the password and compares in constant time.
func (h *Hasher) matches(a *argon2idHash, password []byte) bool {
	return subtle.ConstantTimeCompare(h.derive(password, a.salt, a.time, a.memory, a.lanes, uint32(len(a.sum))), a.sum) == 1
}

// spendPasses takes the time that is left of a comparison with a new hash once this work of it is done.
func (h *Hasher) spendPasses(done int) {
	left := max(0, newMemory*newTime-done)
	salt := make([]byte, newSalt)
	if whole := left / newMemory; whole > 0 {
		h.derive(nil, salt, uint32(whole), newMemory, newLanes, newSum)
	}
	if rest := left % newMemory; rest > 0 {
		h.derive(nil, salt, 1, uint32(rest), newLanes, newSum)
	}
}
