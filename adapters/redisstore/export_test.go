package redisstore

// Shorten cuts the stream to about n entries.
func (s *Store) Shorten(n int64) { s.shorter = n }

// ErrOptions is what every refusal of a URL or of Options matches.
var ErrOptions = errOptions
