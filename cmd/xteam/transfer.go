package main

import (
	"archive/tar"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam/assembly"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/ports"
)

// transferred is what was carried over.
type transferred struct {
	Accounts    int      `json:"accounts"`
	Sessions    int      `json:"sessions"`
	APIKeys     int      `json:"api_keys"`
	Uploads     int      `json:"files"`
	Keys        int      `json:"keys"`
	Revocations int      `json:"revocations"`
	Blocks      int      `json:"blocks"`
	Events      int      `json:"events"`
	Records     uint64   `json:"audit_records"`
	Trail       string   `json:"audit_trail,omitempty"`            // why it was left out
	Unreadable  []uint64 `json:"unreadable_events,omitempty"`      // their positions, the first hundred; they are told of as unreadable in the target too
	Unread      int      `json:"unreadable_events_more,omitempty"` // beyond those
	Undone      []string `json:"undone,omitempty"`                 // of a restore: what was disabled or revoked since, and is so no more
	Epoch       int64    `json:"epoch,omitempty"`                  // of a restore: tokens of a lower one are refused
}

func (t *transferred) text() string {
	return fmt.Sprintf("%d accounts, %d sessions, %d API keys, %d files, %d keys, %d revocations, %d blocked networks, %d events and an audit trail of %d records", t.Accounts, t.Sessions, t.APIKeys, t.Uploads, t.Keys, t.Revocations, t.Blocks, t.Events, t.Records)
}

// lacks is a line that says what was not carried over.
func (t *transferred) lacks() string {
	text := ""
	if n := len(t.Unreadable) + t.Unread; n > 0 {
		text = fmt.Sprintf("\nevents that cannot be read, for they were changed in the store, and stand as unreadable in the copy: %d, at the positions %s", n, strings.Trim(fmt.Sprint(t.Unreadable), "[]"))
		if t.Unread > 0 {
			text += fmt.Sprintf(" and %d more", t.Unread)
		}
	}
	if t.Trail != "" {
		text += "\nthe audit trail was left out: " + t.Trail
	}
	return text
}

func (c *cli) migrate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate --from URL --to URL",
		Short: "Carry everything from one store to another",
		Long: `Carries accounts, sessions, keys, revocations and events from one store to another,
and then compares them. Stop the servers of both first. The secrets are those of
the settings; they stay the same. When it is interrupted, begin it again: what is
there already is made the same. Afterwards set DATABASE_URL to the new store.
Sessions that ended more than an hour ago may be left behind.`,
		Example: "  xteam migrate --from badger:///var/lib/xteam --to 'postgres://xteam:…@db.example.com/xteam?sslmode=verify-full'",
		Args:    cobra.NoArgs,
	}
	from := cmd.Flags().String("from", "", "the store that is, as DATABASE_URL names it")
	to := cmd.Flags().String("to", "", "the store that is to be")
	for _, name := range []string{"from", "to"} {
		_ = cmd.MarkFlagRequired(name) // fails for a flag that is not there alone
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		s, get, err := c.settings()
		if err != nil {
			return err
		}
		var was, is settings
		if !database(&was, *from) || *from == "" {
			return c.misuse("--from takes a store as DATABASE_URL names it, such as badger:///var/lib/xteam")
		}
		if !database(&is, *to) || *to == "" || *to == *from {
			return c.misuse("--to takes another store as DATABASE_URL names it, such as badger:///var/lib/xteam")
		}
		if !storeExists(was) {
			return fmt.Errorf("there is no store in %s: name the one that is with --from", absolute(was.Store))
		}
		told := c.telling(*asJSON)
		defer told.end()
		done, err := c.transfer(cmd.Context(), s, get, was, is, false, told, nil)
		if err != nil {
			return err
		}
		return c.print(*asJSON, done, done.text()+" were carried over, and are the same in both"+done.lacks())
	})
	return cmd
}

func (c *cli) backup() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Keep a copy of everything in a file",
		Long: `Keeps a copy of accounts, sessions, keys, revocations and events in a file that
only its owner can read. What is personal or secret in it is sealed under ROOT_KEY:
keep that too, and SECRET_KEY, elsewhere. Stop the server first where it has the
embedded store.`,
		Example: "  xteam backup /var/backups/xteam-$(date +%F).tar",
		Args:    cobra.ExactArgs(1),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		s, get, err := c.settings()
		if err != nil {
			return err
		}
		file := cmd.Flags().Arg(0)
		if file == "" {
			return c.misuse("which file? Give its name")
		}
		if !storeExists(s) {
			return noStore(s)
		}
		folder, err := os.MkdirTemp(filepath.Dir(file), ".xteam-backup-")
		if err != nil {
			return unwritable(file, err)
		}
		defer func() { _ = os.RemoveAll(folder) }()
		told := c.telling(*asJSON)
		defer told.end()
		done, err := c.transfer(cmd.Context(), s, get, s, settings{Store: filepath.Join(folder, "store")}, true, told, nil)
		if err != nil {
			return err
		}
		told.step("writing %s", file)
		if err := pack(filepath.Join(folder, "store"), file, told); err != nil {
			return err
		}
		return c.print(*asJSON, done, done.text()+" are kept in "+file+done.lacks())
	})
	return cmd
}

func (c *cli) restore() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put the state of a backup in force again",
		Long: `Puts what a backup holds into the store, which may be empty or the same system of
later. Stop the servers first. Nothing that was revoked comes back: every access
token and every session of before is ended, and everybody signs in anew. But what
was disabled, demoted or revoked after the backup is as it was then, and passwords are
too: the accounts and API keys of which that is known are listed.`,
		Example: "  xteam restore /var/backups/xteam-2026-05-01.tar",
		Args:    cobra.ExactArgs(1),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		s, get, err := c.settings()
		if err != nil {
			return err
		}
		file := cmd.Flags().Arg(0)
		if _, err := claimFolders(s); err != nil {
			return err
		}
		folder, err := os.MkdirTemp(s.Folder, ".xteam-restore-")
		if err != nil {
			return fmt.Errorf("make a folder in %s: %w", absolute(s.Folder), err)
		}
		defer func() { _ = os.RemoveAll(folder) }()
		told := c.telling(*asJSON)
		defer told.end()
		told.step("unpacking %s", file)
		made, err := unpack(file, folder, told)
		if err != nil {
			return err
		}
		done, err := c.transfer(cmd.Context(), s, get, settings{Store: folder}, s, false, told, func(ctx context.Context, from, to assembly.Database) (func(*transferred) error, error) {
			told.step("looking at what is in force")
			r, err := app.Restoring(ctx, from.Stores, to.Stores)
			if err != nil {
				return nil, err
			}
			err = r.Begin(ctx, to.Stores, instant.Of(time.Now()), func(algorithm string) (keyset.Key, error) {
				return app.NewSigningKey(assembly.NewCodec(), to.Sealer, algorithm)
			})
			return func(t *transferred) error {
				raised, err := r.Finish(ctx, to.Stores, instant.Of(time.Now()), rand.Reader)
				t.Undone, t.Epoch = r.Undone, int64(raised)
				return err
			}, err
		})
		if err != nil {
			return err
		}
		text := done.text() + " of " + clock(made) + " are in force; every token and session of before is ended" + done.lacks()
		if len(done.Undone) > 0 {
			text += "\nlook at what is no more as it was:\n  " + strings.Join(done.Undone, "\n  ")
		}
		return c.print(*asJSON, done, text)
	})
	return cmd
}

// openFree is openStore, and waits for what another command or a stop holds for a moment. That a server runs is said at once.
func openFree(ctx context.Context, s settings, secrets *assembly.Secrets, log *slog.Logger, before func(assembly.Database) error) (db assembly.Database, closeAll func(), err error) {
	err = whenFree(ctx, func() (busy bool, err error) {
		db, closeAll, err = openStore(ctx, s, secrets, log, before)
		return inUse(err) && !errors.Is(err, errServed), err
	})
	return db, closeAll, err
}

// telling begins to tell what a command is at, unless it answers programs.
func (c *cli) telling(asJSON bool) *progress {
	if asJSON {
		return nil
	}
	return c.progress()
}

// transfer opens two stores and carries everything over: alone on both, unless the servers of the first may go on beside it. Around runs between, and what it answers at the end.
func (c *cli) transfer(ctx context.Context, s settings, get lookup, was, is settings, beside bool, told *progress, around func(ctx context.Context, from, to assembly.Database) (func(*transferred) error, error)) (*transferred, error) {
	log := slog.New(slog.DiscardHandler)
	told.step("opening the stores")
	secrets, closeSecrets, err := openSecrets(ctx, s, get, log)
	if err != nil {
		return nil, err
	}
	defer closeSecrets()
	var occupied error
	from, closeFrom, err := openFree(ctx, was, secrets, log, func(db assembly.Database) error {
		if occupied = enter(ctx, db, !beside); beside {
			return occupied
		}
		return nil // whoever it is says who they are once it is unlocked
	})
	if err != nil {
		return nil, err
	}
	defer closeFrom()
	if !beside {
		if err := cmp.Or(stopped(ctx, from.Nodes, from.MACs), occupied); err != nil {
			return nil, err
		}
	}
	from.Stores = told.counting(from.Stores)
	done := &transferred{}
	to, closeTo, err := openFree(ctx, is, secrets, log, func(db assembly.Database) (err error) {
		occupied := enter(ctx, db, true)
		if err := cmp.Or(stopped(ctx, db.Nodes, from.MACs), occupied); err != nil { // its keys are another system's else, which is refused next
			return err
		}
		done.Keys, err = app.CopyKeys(ctx, from.Stores.Keys, db.Stores.Keys)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer closeTo()
	finish := func(*transferred) error { return nil }
	if around != nil {
		if finish, err = around(ctx, from, to); err != nil {
			return nil, err
		}
	}
	told.step("copying everything")
	n, err := app.Transfer(ctx, from.Stores, to.Stores)
	if err != nil {
		return nil, err
	}
	told.step("comparing the copy")
	if err := app.Compare(ctx, from.Stores, to.Stores); err != nil {
		return nil, err
	}
	told.step("copying the audit trail")
	if done.Records, err = app.CopyTrail(ctx, from.Stores, to.Stores, to.Sealer, time.Now); errors.Is(err, app.ErrTrailBroken) {
		done.Trail = err.Error()
	} else if err != nil {
		return nil, err
	}
	done.Accounts, done.Sessions, done.APIKeys, done.Uploads, done.Revocations, done.Blocks, done.Events = n.Accounts, n.Sessions, n.APIKeys, n.Uploads, n.Revocations, n.Blocks, n.Events
	done.Unreadable, done.Unread = n.Unreadable, n.MoreUnreadable
	return done, finish(done)
}

// stopped answers an error that names the servers which work on a database that several may share; of the embedded store its lock has said so. What they write meanwhile would be left behind, or would undo what is
// carried over. Of the database that is written to it is asked before anything is changed there, signing keys too. Who begins from now on meets that this program is alone there.
func stopped(ctx context.Context, nodes ports.Nodes, macs ports.Authenticator) error {
	if nodes == nil {
		return nil
	}
	running, err := app.Running(ctx, nodes, macs)
	if err != nil {
		return fmt.Errorf("ask which servers run: %w", err)
	}
	if len(running) > 0 {
		for i := range running {
			running[i] = printable(running[i])
		}
		return fmt.Errorf("the database is in use by %s: stop every server of it first", strings.Join(running, ", "))
	}
	return nil
}

// pack writes the files of a folder into one file, which appears whole or not at all.
func pack(folder, file string, told *progress) (err error) {
	f, err := os.CreateTemp(filepath.Dir(file), ".xteam-backup-")
	if err != nil {
		return unwritable(file, err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	w := tar.NewWriter(io.MultiWriter(f, &countedBytes{told: told}))
	err = cmp.Or(w.AddFS(os.DirFS(folder)), w.Close(), f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return fmt.Errorf("put %s in its place: %w", file, err)
	}
	return nil
}

// maxBackup bounds what a backup unpacks to, in bytes.
const maxBackup = 1 << 40

// unpack writes the files of a backup into a folder, and answers when the backup was made.
func unpack(file, folder string, told *progress) (made time.Time, err error) {
	f, err := os.Open(file)
	if err != nil {
		return made, fmt.Errorf("%w: name a file that `xteam backup` made", plainly(err))
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return made, err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return made, err
	}
	defer func() { _ = root.Close() }()
	wrong := func(err error) error {
		return fmt.Errorf("%s is no backup, or is damaged: name a file that `xteam backup` made: %w", file, err)
	}
	r := tar.NewReader(io.TeeReader(f, &countedBytes{told: told}))
	for total := int64(0); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) { // or the file was cut off between two members
			if _, err := root.Stat("MANIFEST"); err != nil { // what a store cannot be without, and the last but its reserve
				return made, wrong(errors.New("there is no store in it, or not the whole of one"))
			}
			return info.ModTime(), nil
		}
		if err != nil {
			return made, wrong(err)
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		if total += h.Size; h.Typeflag != tar.TypeReg || total > maxBackup || h.Name != filepath.Base(h.Name) {
			return made, wrong(fs.ErrInvalid)
		}
		out, err := root.OpenFile(h.Name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return made, fmt.Errorf("unpack %s: %w", file, err)
		}
		if _, err := io.CopyN(out, r, h.Size); err != nil {
			return made, wrong(errors.Join(err, out.Close()))
		}
		if err := out.Close(); err != nil {
			return made, fmt.Errorf("unpack %s: %w", file, err)
		}
	}
}
