package passhash

// SetCompare puts another function in the place of bcrypt's, so that a test can count the work or hold it.
func (b *Bcrypt) SetCompare(f func(hash, password []byte) error) { b.compare = f }
