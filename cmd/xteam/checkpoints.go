package main

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// sendCheckpoints appends checkpoints to a file, of which each node may have its own or all one: a line is written at once, or not at all. Nil: there is no file.
func sendCheckpoints(file string) func(context.Context, []byte) error {
	if file == "" {
		return nil
	}
	return func(_ context.Context, line []byte) error {
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600) // each time: it may be rotated, and its disk mounted anew
		if err != nil {
			return fmt.Errorf("AUDIT_CHECKPOINTS: %w", err)
		}
		_, err = f.Write(line)
		if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
			return fmt.Errorf("AUDIT_CHECKPOINTS: %w", err)
		}
		return nil
	}
}
