package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// markIn is a file in the data folder, which is on another disk than the database.
type markIn string

func (m markIn) file() string { return filepath.Join(string(m), "seen.json") }

// Load answers nothing of a file that is not there.
func (m markIn) Load() ([]byte, error) {
	text, err := os.ReadFile(m.file())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return text, err
}

// Store puts another file in the place of the one before.
func (m markIn) Store(mark []byte) error {
	if err := os.WriteFile(m.file()+".new", mark, 0o600); err != nil {
		return err
	}
	return os.Rename(m.file()+".new", m.file())
}
