// Package filesecrets reads secrets from a folder with one file for each, as Kubernetes, Docker and systemd mount them.
package filesecrets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// tries is how often a file is looked for that a change of the whole folder took away under our hands.
const tries = 5

// remedy is how each of those who put files there is told to keep them from others.
const remedy = "give it defaultMode: 0400 in Kubernetes (and the pod an fsGroup), mode: 0400 in Docker, else chmod 0640, and think of the secret as known"

// refusal is why there is no secret, in one sentence. It matches ports.ErrUnavailable.
type refusal string

func (r refusal) Error() string        { return string(r) }
func (r refusal) Is(target error) bool { return target == ports.ErrUnavailable }

func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

// errMoved is a file that was there and is not, or is another than it was a moment before.
var errMoved = errors.New("it was replaced while it was read")

// Folder reads secrets from a folder. It keeps nothing, neither a value nor an open file, so that a folder that is mounted anew is read as it is.
type Folder struct{ path string }

var _ ports.Secrets = (*Folder)(nil)

// Open answers the folder of that path, or an error in one sentence if it is missing, cannot be read, or is one in which anybody may put files. There is nothing to
// close.
func Open(folder string) (*Folder, error) {
	path, err := filepath.Abs(folder)
	if err != nil || folder == "" {
		return nil, refuse("%q is no folder of secrets: give its path, as in file:///run/secrets", folder)
	}
	f := &Folder{path}
	root, _, err := f.open()
	if err != nil {
		return nil, err
	}
	return f, root.Close()
}

// Get implements ports.Secrets: it answers what the file of that name holds, less one line end at its end, which editors and echo leave. Links are followed within
// the folder, and those that are absolute or lead out of it are refused; so is a file that everybody can read or that others than its owner can write. What is no
// regular file is never opened. An empty file is ErrNotFound; every fault matches ports.ErrUnavailable, a folder that is gone too.
//
// A folder whose names everybody may list is taken, as all mounts are such. One that others can write to is taken if it is sticky, as Kubernetes' are, and then a file in
// it must be root's or ours: nobody else can have put it there.
func (f *Folder) Get(ctx context.Context, name string) (secret.Text, error) {
	if name == "" || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
		return secret.Text{}, refuse("%.40q is no name of a secret: use capital letters, digits and underscores", name)
	}
	for try := 1; ; try++ {
		if err := ctx.Err(); err != nil {
			return secret.Text{}, err
		}
		value, err := f.get(name)
		if errors.Is(err, errMoved) && try < tries {
			continue
		}
		if errors.Is(err, errMoved) {
			err = refuse("%s is a link to nothing, or is written in place without end: replace it whole, by a rename", filepath.Join(f.path, name))
		}
		return value, err
	}
}

func (f *Folder) get(name string) (secret.Text, error) {
	path := filepath.Join(f.path, name)
	root, shared, err := f.open()
	if err != nil {
		return secret.Text{}, err
	}
	defer func() { _ = root.Close() }()
	info, err := root.Stat(name)
	if err != nil {
		return secret.Text{}, f.missing(root, name, err)
	}
	if err := fit(path, info, shared); err != nil {
		return secret.Text{}, err
	}
	// What was a file a moment before may be a pipe: it is not waited for, and looked at again.
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return secret.Text{}, f.missing(root, name, err)
	}
	defer func() { _ = file.Close() }()
	value, err := read(path, file, shared)
	if err != nil {
		return secret.Text{}, err
	}
	if value == "" {
		return secret.Text{}, fmt.Errorf("secret %s: %w in %s: its file is empty", name, ports.ErrNotFound, f.path)
	}
	if err := secret.Check(path, value); err != nil {
		return secret.Text{}, refusal(err.Error())
	}
	return secret.New(value), nil
}

// open opens the folder, and answers whether others may put files into it.
func (f *Folder) open() (root *os.Root, shared bool, err error) {
	root, err = os.OpenRoot(f.path)
	if err != nil {
		return nil, false, refuse("the folder of secrets %s cannot be opened (%s): see SECRETS_URL, that it is mounted, and that this user may read it", f.path, why(err))
	}
	info, err := root.Stat(".")
	if err != nil {
		_ = root.Close()
		return nil, false, refuse("the folder of secrets %s cannot be looked at (%s)", f.path, why(err))
	}
	shared = info.Mode().Perm()&0o022 != 0
	if shared && info.Mode()&fs.ModeSticky == 0 {
		_ = root.Close()
		return nil, false, refuse("the folder of secrets %s can be written by others than its owner (mode %04o): set it to 0750, and see what is in it", f.path, info.Mode().Perm())
	}
	return root, shared, nil
}

// missing says why there is no file of that name to be had.
func (f *Folder) missing(root *os.Root, name string, err error) error {
	path := filepath.Join(f.path, name)
	listed, statErr := root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && errors.Is(statErr, fs.ErrNotExist):
		return fmt.Errorf("secret %s: %w in %s", name, ports.ErrNotFound, f.path)
	case errors.Is(err, fs.ErrNotExist):
		return errMoved
	case errors.Is(err, fs.ErrPermission):
		return refuse("%s cannot be read by this user: give it to the user or its group (fsGroup in Kubernetes), not to everybody", path)
	case statErr == nil && listed.Mode()&fs.ModeSymlink != 0:
		return refuse("%s is a link that leads out of %s or nowhere: put the file into the folder itself", path, f.path)
	default:
		return refuse("%s cannot be read (%s)", path, why(err))
	}
}

// fit refuses what is no file, a file that is not the owner's matter, and one that is too long. Shared is whether others may put files beside it.
func fit(path string, info fs.FileInfo, shared bool) error {
	perm := info.Mode().Perm()
	switch {
	case !info.Mode().IsRegular():
		return refuse("%s is no file (%s): put the secret there in a regular one", path, info.Mode().Type())
	case perm&0o007 != 0:
		return refuse("%s is open to everybody (mode %04o): %s", path, perm, remedy)
	case perm&0o020 != 0:
		return refuse("%s can be written by a group (mode %04o): %s", path, perm, remedy)
	case shared && !trusted(info):
		return refuse("%s belongs to another user, and lies where everybody can put files: see who put it there", path)
	case info.Size() > secret.MaxLen+int64(len("\r\n")):
		return refuse("%s is longer than %d bytes: give the secret alone", path, secret.MaxLen)
	}
	return nil
}

// read answers the text of a file less one line end, if it stood still meanwhile.
func read(path string, file *os.File, shared bool) (string, error) {
	before, err := file.Stat()
	if err != nil {
		return "", refuse("%s cannot be looked at (%s)", path, why(err))
	}
	if err := fit(path, before, shared); err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(file, before.Size()+1))
	if err != nil {
		return "", refuse("%s cannot be read (%s)", path, why(err))
	}
	if after, err := file.Stat(); err != nil || int64(len(text)) != before.Size() || after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime()) {
		return "", errMoved
	}
	value, cut := strings.CutSuffix(string(text), "\n")
	if cut {
		value = strings.TrimSuffix(value, "\r")
	}
	return value, nil
}

// why is the system's own word, without the path that the sentence names already.
func why(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}
