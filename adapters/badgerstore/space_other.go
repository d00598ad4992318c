//go:build !linux

package badgerstore

import (
	"errors"
	"os"
)

// freeSpace is not known there: nothing is watched.
func freeSpace(string) (int64, error) { return 0, errors.ErrUnsupported }

// allocate gives no blocks ahead there.
func allocate(*os.File, int64) error { return errors.ErrUnsupported }
