package passhash

// SetCompare puts another function in the place of bcrypt's, so that a test can count the work or hold it.
func (h *Hasher) SetCompare(f func(hash, password []byte) error) { h.compare = f }

// SetDerive puts another function in the place of argon2id's.
func (h *Hasher) SetDerive(f func(password, salt []byte, time, memory uint32, threads uint8, keyLen uint32) []byte) {
	h.derive = f
}
