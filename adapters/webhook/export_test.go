package webhook

// Permitted is what is asked of each connection.
func Permitted(address string, private bool) error { return permitted(address, private) }
