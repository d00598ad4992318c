package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/xteam/xteam/adapters/diskfiles"
	"github.com/xteam/xteam/app"
)

// remembered is the file of the data folder with the mark of the folder of files: what a check that asks no database knows.
const remembered = "files.mark"

// filesFolder is where the bytes of files are.
func filesFolder(s *settings) string { return cmp.Or(s.UploadDir, filepath.Join(s.Folder, "files")) }

// openFiles keeps files in UPLOAD_DIR, which is made ready; where it is not given, in a folder of DATA_DIR, which is made when it is needed.
func openFiles(s settings, log *slog.Logger) (*diskfiles.Store, func(), error) {
	files := diskfiles.New(filesFolder(&s), diskfiles.Options{MinFreeSpace: s.MinFreeSpace})
	if s.UploadDir != "" {
		err := files.Prepare()
		if err == nil && s.DatabaseURL != "" {
			err = files.Locks()
		}
		if err != nil {
			return nil, nil, fmt.Errorf("UPLOAD_DIR: %w", errors.Join(err, files.Close()))
		}
	}
	return files, func() {
		if err := files.Close(); err != nil {
			log.Error("The folder of files could not be closed", "error", err.Error())
		}
	}, nil
}

// recognise refuses to serve from another folder than the files of the database were written to. Where nodes share a database and UPLOAD_DIR is not given, a file that any user sends to one of them would
// keep the others from starting: there it is said, and no file is taken.
func (sys *system) recognise(ctx context.Context, s *settings) error {
	if sys.uploads == nil {
		return nil
	}
	err := sys.uploads.Recognise(ctx, s.UploadDir != "")
	if err == nil {
		err = remember(ctx, s)
	}
	strange := (*app.StrangeFilesError)(nil)
	switch {
	case err == nil:
	case errors.As(err, &strange) && (s.UploadDir != "" || s.DatabaseURL == ""):
		return fmt.Errorf("UPLOAD_DIR: %s: %w: %s", absolute(filesFolder(s)), strange, strangeFix(s, strange.Want))
	default:
		sys.Log.Error("The folder of files cannot be used, and no file is taken or given: name the one that all servers of the database share in UPLOAD_DIR", "folder", absolute(filesFolder(s)), "error", err.Error())
	}
	return nil
}

// strangeFix is what to do about a folder that is not the one with that mark.
func strangeFix(s *settings, mark string) string {
	return fmt.Sprintf("mount its volume, or set UPLOAD_DIR to the folder that the files are in now; if they were moved without its file %s, or are lost, write %s into %s", diskfiles.MarkName, mark, filepath.Join(absolute(filesFolder(s)), diskfiles.MarkName))
}

// remember notes the mark for xteam doctor.
func remember(ctx context.Context, s *settings) error {
	files := diskfiles.New(filesFolder(s), diskfiles.Options{})
	mark, err := files.Mark(ctx)
	if err = errors.Join(err, files.Close()); err != nil || mark == "" {
		return err
	}
	at := filepath.Join(s.Folder, remembered)
	if was, err := os.ReadFile(at); err == nil && strings.TrimSpace(string(was)) == mark {
		return nil
	}
	return os.WriteFile(at, []byte(mark+"\n"), 0o600)
}

// filesPlace looks whether the folder of files is the one that the last start found, and whether several servers can share it. The database itself knows for sure, and is asked at a start.
func filesPlace(ctx context.Context, p *patient) finding {
	at := absolute(filesFolder(&p.s))
	text, err := os.ReadFile(filepath.Join(p.s.Folder, remembered))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unseen("run this as the service's user", "%s cannot be read: %v", filepath.Join(absolute(p.s.Folder), remembered), err)
	}
	files := diskfiles.New(filesFolder(&p.s), diskfiles.Options{})
	defer func() { _ = files.Close() }()
	if _, err := os.Stat(at); errors.Is(err, fs.ErrNotExist) && len(text) == 0 {
		return pass("%s is not there yet: it is made for its owner alone", at)
	}
	want := strings.TrimSpace(string(text))
	got, err := files.Mark(ctx)
	switch {
	case err != nil:
		return unseen("run this as the service's user", "the folder of files %s cannot be looked at: %v", at, err)
	case want != "" && got == "":
		return fail(strangeFix(&p.s, want), "%s is not the folder that files were written to: it is missing, or has no mark, where that one's is %s", at, want)
	case want != "" && got != want:
		return fail(strangeFix(&p.s, want), "%s is not the folder that files were written to: its mark is %s, where that one's is %s", at, got, want)
	}
	if p.s.DatabaseURL != "" {
		if err := files.Locks(); err != nil && !errors.Is(err, fs.ErrNotExist) { // which the first start makes
			return fail("have UPLOAD_DIR on a file system that passes locks (flock) on to all servers, such as NFS 4", "servers that share a database cannot share %s: %v", at, err)
		}
		if p.s.UploadDir == "" {
			return warn("set UPLOAD_DIR to a folder that all servers share", "each server of the database keeps files in a folder of its own, such as %s: a file is found by one of them alone", at)
		}
	}
	if got == "" {
		return pass("no file was ever put into %s", at)
	}
	return pass("%s has the mark %s of the files that the last start found", at, got)
}
