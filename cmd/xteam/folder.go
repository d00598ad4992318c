package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	osuser "os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// absolute is a path as a message names it.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// exposed is a folder that others could write to, and its mode then.
type exposed struct {
	path string
	mode fs.FileMode
}

// claimFolders makes the data folder if there is none, and sees to it that the folders of the settings are this user's own. Whoever else could write to one could
// put another store, other secrets or another socket there. It answers those that it had to close to others.
func claimFolders(s settings) (were []exposed, err error) {
	if err := os.MkdirAll(s.Folder, 0o700); err != nil {
		return nil, fmt.Errorf("the data folder %s cannot be made: %w: name another with DATA_DIR", absolute(s.Folder), plainly(err))
	}
	for _, f := range []struct{ setting, path string }{{"DATA_DIR", s.Folder}, {"DATABASE_URL", s.Store}} {
		if f.setting == "DATABASE_URL" && (f.path == s.Folder || f.path == "") {
			continue
		}
		mode, err := claim(f.setting, absolute(f.path))
		if err != nil {
			return nil, err
		}
		if mode != 0 {
			were = append(were, exposed{absolute(f.path), mode})
		}
	}
	return were, nil
}

// claim answers the folder's mode if it had to be changed, else 0.
func claim(setting, folder string) (before fs.FileMode, err error) {
	info, err := os.Stat(folder)
	if err != nil || !info.IsDir() {
		return 0, nil //nolint:nilerr // opening the store says what is wrong with it, or makes it
	}
	uid, known := ownerOf(info)
	mode, own := info.Mode(), os.Geteuid()
	switch {
	case !known:
		return 0, nil
	case uid != own:
		return 0, fmt.Errorf("%s: the folder %s belongs to user %d, and this is run by user %d: %s, or name another folder", setting, folder, uid, own, runAs(uid))
	case mode.Perm()&0o022 == 0:
		return 0, nil
	case mode&fs.ModeSticky != 0:
		return 0, fmt.Errorf("%s: the folder %s is shared by all users of this machine: name one of its own, such as %s", setting, folder, filepath.Join(folder, "xteam"))
	}
	if err := os.Chmod(folder, 0o700); err != nil { //nolint:gosec // G302 thinks of files: a folder without x cannot be entered
		return 0, fmt.Errorf("%s: other users can write to the folder %s, and that cannot be changed: %w", setting, folder, err)
	}
	return mode.Perm(), nil
}

// ownsAlone reports whether the folder belongs to that user, and no other but root can write to it, or put another in its place: the folders above it and the links
// on the way are that user's or root's too, and in those that others can write to, such as /tmp, they cannot rename what is not theirs.
func ownsAlone(folder string, uid int) bool {
	theirs := func(path string) (info fs.FileInfo, ok bool) {
		info, err := os.Lstat(path)
		if err != nil {
			return nil, false
		}
		owner, known := ownerOf(info)
		return info, known && (owner == uid || owner == 0)
	}
	path := absolute(folder)
	const links = 40 // as many as the kernel follows
	for range links {
		at, rest := string(filepath.Separator), strings.Split(strings.TrimPrefix(path, string(filepath.Separator)), string(filepath.Separator))
		for {
			info, ok := theirs(at)
			if !ok {
				return false
			}
			open := info.Mode().Perm()&0o022 != 0
			if len(rest) == 0 {
				owner, _ := ownerOf(info)
				return owner == uid && info.IsDir() && !open
			}
			if open && info.Mode()&fs.ModeSticky == 0 {
				return false
			}
			next := filepath.Join(at, rest[0])
			if info, ok = theirs(next); !ok {
				return false
			}
			rest = rest[1:]
			if info.Mode().Type() == fs.ModeSymlink {
				target, err := os.Readlink(next)
				if err != nil {
					return false
				}
				if !filepath.IsAbs(target) {
					target = filepath.Join(at, target)
				}
				path = filepath.Join(append([]string{target}, rest...)...)
				break
			}
			at = next
		}
	}
	return false
}

// runAs says how a command is run as another user.
func runAs(uid int) string {
	name := fmt.Sprintf("'#%d'", uid) // as sudo takes it
	if u, err := osuser.LookupId(strconv.Itoa(uid)); err == nil {
		name = u.Username
	}
	return fmt.Sprintf("run it as that user, with `sudo -u %s xteam …`", name)
}

// storeExists reports whether there is a store, whole or damaged.
func storeExists(s settings) bool {
	if s.DatabaseURL != "" { // opening it says what is wrong
		return true
	}
	entries, err := os.ReadDir(s.Store)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist) // opening it says what is wrong
	}
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		return e.Name() == "MANIFEST" || slices.Contains([]string{".sst", ".vlog", ".mem"}, filepath.Ext(e.Name()))
	})
}

// noStore says so. Commands on a new store would report success, and have done nothing to the one that was meant.
func noStore(s settings) error {
	setting := "DATA_DIR"
	if s.Store != s.Folder {
		setting = "DATABASE_URL"
	}
	text := fmt.Sprintf("there is no store in %s: name the folder of one with %s", absolute(s.Store), setting)
	if dev := filepath.Join(s.Folder, "dev"); setting == "DATA_DIR" && storeExists(settings{Store: dev, Folder: dev}) {
		text += "; what `xteam dev` made is reached with DATA_DIR=" + dev
	}
	return errors.New(text)
}

// inUse reports whether a store could not be opened because somebody has it open.
func inUse(err error) bool { return err != nil && strings.Contains(err.Error(), " is in use, ") }

const (
	waiting = 10 * time.Second // for a store that is in use: longer than a command takes, or a stop
	looking = 20 * time.Millisecond
)

// whenFree tries again while that meets a store that is in use, for a while.
func whenFree(ctx context.Context, try func() (busy bool, err error)) error {
	tooLong := time.After(waiting)
	again := time.NewTicker(looking)
	defer again.Stop()
	for {
		busy, err := try()
		if !busy {
			return err
		}
		select {
		case <-again.C:
		case <-tooLong:
			return err
		case <-ctx.Done():
			return err
		}
	}
}
