package audit

import "fmt"

// DamagedError says that a part of the trail is there and is not what was stored, so that nothing of it can be read: somebody changed it who has the store and not the keys that it is sealed by.
type DamagedError struct {
	At  uint64 // the record, or the position of the event; 0: the head
	Err error  // of the store
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("what is stored of the audit trail at %d was changed: %v", e.At, e.Err)
}

// Unwrap answers what the store says.
func (e *DamagedError) Unwrap() error { return e.Err }
