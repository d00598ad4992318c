package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/ports"
)

// marked is the cursor whose state is the mark of the files that this database knows of.
const marked = "files"

// StrangeFilesError says that the store of files is not the one that the files of this database were written to.
type StrangeFilesError struct {
	Want string // the mark of that one
	Got  string // the mark of this; empty: it has none
}

func (e *StrangeFilesError) Error() string {
	if e.Got == "" {
		return fmt.Sprintf("this is not where the files of this database were written to: it has no mark, and theirs is %s", e.Want)
	}
	return fmt.Sprintf("this is not where the files of this database were written to: its mark is %s, and theirs is %s", e.Got, e.Want)
}

// Unwrap has whoever asks for a file be told to come again: none was found missing yet.
func (e *StrangeFilesError) Unwrap() error { return ports.ErrUnavailable }

// Recognise answers a *StrangeFilesError where the store of files carries another mark than this database remembers, or none: a folder whose volume is not mounted, a wrong setting, or the folder of another
// system. Until it is put right no file is taken, given or deleted. What carries no mark and was never used gets one when the first file comes, or where first says that it is to. Nodes that share a database
// need not share the time of their start: one alone marks, and the others then know.
func (u *Uploads) Recognise(ctx context.Context, first bool) error {
	files, ok := u.files.(ports.MarkedFiles)
	if !ok || u.known.Load() {
		return nil
	}
	if err := take(ctx, u.knowing); err != nil {
		return err
	}
	defer func() { <-u.knowing }()
	leave, err := u.core.turn(ctx, "files")
	if err != nil {
		return err
	}
	defer leave()
	want, err := u.core.Stores.Cursors.Find(ctx, marked)
	if err != nil {
		return err
	}
	got, err := files.Mark(ctx)
	switch {
	case err != nil:
		return err
	case len(want.State) > 0 && string(want.State) != got:
		return &StrangeFilesError{string(want.State), got}
	case len(want.State) == 0 && got == "" && !first:
		return nil
	case got == "":
		mark, err := id.New[id.File](u.core.Random)
		if err != nil {
			return unavailable("draw the mark of the store of files", err)
		}
		got = mark.String()
		if err := files.SetMark(ctx, got); err != nil {
			return err
		}
	}
	if len(want.State) == 0 { // a mark that nobody remembers is of a start that was cut off, or of a database that was put back
		want.State = []byte(got)
		if _, err := u.core.Stores.Cursors.Swap(ctx, want); errors.Is(err, ports.ErrTaken) {
			return unavailable("remember the mark of the store of files", err) // another node had no turn, and was faster
		} else if err != nil {
			return err
		}
	}
	u.known.Store(true)
	return nil
}
