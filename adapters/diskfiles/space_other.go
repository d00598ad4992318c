//go:build !linux

package diskfiles

import "errors"

// freeSpace is not known there: nothing is watched.
func freeSpace(string) (int64, error) { return 0, errors.ErrUnsupported }
