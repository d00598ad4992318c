package app

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/upload"
	"github.com/xteam/xteam/ports"
)

// UploadsOptions are what uploads are tuned by.
type UploadsOptions struct {
	Rules  upload.Rules
	Detect upload.Detect
	Logger *slog.Logger // default: nothing is logged
}

// Uploads takes files of users, keeps them, and gives them back to whoever they belong to, and to nobody else. The bytes are in a ports.Files, what is known of them in the database, which
// decides: a file is there once its record is committed, with the event that tells of it, and gone once that is.
type Uploads struct {
	core    *Core
	files   ports.Files
	options UploadsOptions
	turns   [64]chan struct{} // held by whoever counts the files of an owner and adds one, or deletes one

	mu     sync.Mutex
	coming map[id.User]coming // what is on its way, on this node
	all    int                // files of those
	read   map[id.User]int    // files that are being read, on this node

	knowing chan struct{} // held by whoever looks whether the files are ours
	known   atomic.Bool   // they are
}

// coming is what of a user is on its way.
type coming struct {
	files int
	bytes int64
}

// mostRead is how many files of a user may be read at a time, on one node.
const mostRead = 16

// How many files may be on their way at a time, on one node: of one user, and of all. Each holds some memory, and space on the disk that its quota does not count until it is kept.
const (
	mostComing    = 16
	mostComingAll = 256
)

// NewUploads keeps the bytes in files. Settle is to be called before the first is taken, and Run should be running.
func NewUploads(c *Core, files ports.Files, o UploadsOptions) *Uploads {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	u := &Uploads{core: c, files: files, options: o, coming: map[id.User]coming{}, read: map[id.User]int{}, knowing: make(chan struct{}, 1)}
	for i := range u.turns {
		u.turns[i] = make(chan struct{}, 1)
	}
	return u
}

// MaxSize is how long a file may be, in bytes.
func (u *Uploads) MaxSize() int64 { return u.options.Rules.MaxSize }

// Incoming is a file that is on its way. It is for one goroutine, which must call Abort when it is done with it.
type Incoming struct {
	u     *Uploads
	r     Request
	c     Caller
	info  upload.File
	check *upload.Check
	file  ports.NewFile
	used  int64 // bytes that the owner kept when it began
	came  int64 // bytes that are counted as coming
	over  bool
}

// Begin takes a file that the caller calls by that name, and that has at least so many bytes as far as that is known. A name that is not taken is an *upload.InvalidError; an owner who has no room,
// *upload.QuotaError; a disk that has none, ports.ErrNoSpace; where too many are on their way it is a *CrowdedError.
func (u *Uploads) Begin(ctx context.Context, r Request, c Caller, name string, least int64) (_ *Incoming, err error) {
	label := upload.Clean(name)
	kind, err := u.options.Rules.Extensions.Kind(label)
	if err != nil {
		return nil, err
	}
	if least > u.options.Rules.MaxSize {
		return nil, &upload.SizeError{Most: u.options.Rules.MaxSize}
	}
	if err := u.arrives(c.User()); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			u.left(c.User(), 0)
		}
	}()
	if err := u.Recognise(ctx, true); err != nil {
		return nil, err
	}
	all, err := u.core.Stores.Uploads.OfUser(ctx, c.User())
	if err != nil {
		return nil, err
	}
	use := upload.UseOf(all)
	now := use
	now.Bytes += u.came(c.User(), 0) // after what is kept was read: what was kept meanwhile is counted in neither
	if err := u.options.Rules.Room(now, max(least, 0)); err != nil {
		return nil, err
	}
	fid, err := id.New[id.File](u.core.Random)
	if err != nil {
		return nil, unavailable("draw the id of a file", err)
	}
	file, err := u.files.Create(ctx, fid)
	if err != nil {
		return nil, err
	}
	return &Incoming{u: u, r: r, c: c, info: upload.File{ID: fid, Owner: c.User(), Label: label, Type: kind.Media()}, check: upload.NewCheck(kind, u.options.Rules.MaxSize, u.options.Detect), file: file, used: use.Bytes}, nil
}

// arrives counts one more file of an owner.
func (u *Uploads) arrives(owner id.User) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.coming[owner]
	switch {
	case now.files >= mostComing:
		return &CrowdedError{Own: true, File: true, Max: mostComing}
	case u.all >= mostComingAll:
		return &CrowdedError{File: true, Max: mostComingAll}
	}
	now.files++
	u.coming[owner] = now
	u.all++
	return nil
}

// came counts bytes more of an owner, and answers how many there are.
func (u *Uploads) came(owner id.User, bytes int64) int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.coming[owner]
	now.bytes += bytes
	u.coming[owner] = now
	return now.bytes
}

// left counts a file less, of which so many bytes had come.
func (u *Uploads) left(owner id.User, bytes int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.coming[owner]
	now.files--
	now.bytes -= bytes
	u.coming[owner] = now
	u.all--
	if now.files == 0 {
		delete(u.coming, owner)
	}
}

// Write takes the bytes that follow. After an error the file is lost: *upload.SizeError, *upload.InvalidError and *upload.QuotaError as soon as that is seen.
func (in *Incoming) Write(p []byte) (int, error) {
	if err := in.check.Next(p); err != nil {
		return 0, err
	}
	in.came += int64(len(p))
	if in.u.came(in.c.User(), int64(len(p))) > in.u.options.Rules.Quota-in.used {
		return 0, &upload.QuotaError{Bytes: in.u.options.Rules.Quota}
	}
	return in.file.Write(p)
}

// End keeps the file, once all has come. Whoever was signed out meanwhile is refused as the guard refuses them.
func (in *Incoming) End(ctx context.Context) (upload.File, error) {
	defer in.Abort()
	u, owner := in.u, in.c.User()
	if err := in.check.End(); err != nil {
		return upload.File{}, err
	}
	if err := in.file.Seal(); err != nil {
		return upload.File{}, err
	}
	leave, err := u.turn(ctx, owner)
	if err != nil {
		return upload.File{}, err
	}
	defer leave()
	now := u.core.now() // before the owner is judged
	if err := u.core.Tunables.Policy().Check(in.c.Claims, now); err != nil {
		return upload.File{}, err
	}
	if err := u.core.View.Check(in.c.Claims); err != nil {
		return upload.File{}, err
	}
	if u.core.Incidents.Isolated() {
		return upload.File{}, ErrIsolated
	}
	all, err := u.core.Stores.Uploads.OfUser(ctx, owner)
	if err != nil {
		return upload.File{}, err
	}
	f := in.info
	f.Size, f.Created = in.check.Size(), now
	if err := u.options.Rules.Room(upload.UseOf(all), f.Size); err != nil {
		return upload.File{}, err
	}
	e, err := u.event(in.c.Actor(in.r), audit.FileUploaded, &f)
	if err != nil {
		return upload.File{}, err
	}
	eff := ports.Effects{Events: []audit.Event{e}}
	if err := u.core.Stores.Uploads.Create(ctx, f, eff); err != nil {
		if outage(err) && !errors.Is(err, ports.ErrNoSpace) { // it may be there
			u.noted("left in doubt", f.ID, in.file.Leave())
		}
		return upload.File{}, err
	}
	u.noted("kept", f.ID, in.file.Keep()) // it is read from where it is, until it is settled
	u.core.felt(ctx, eff)
	return f, nil
}

// Abort takes away what has come, unless End has kept it.
func (in *Incoming) Abort() {
	if in.over {
		return
	}
	in.over = true
	in.u.noted("dropped", in.info.ID, in.file.Drop())
	in.u.left(in.c.User(), in.came)
}

// noted tells of what could not be done with a file, and will be when it is settled.
func (u *Uploads) noted(what string, fid id.File, err error) {
	if err != nil {
		u.options.Logger.Warn("A file could not be "+what+" now; it is tried again", "file", fid.String(), "error", err.Error())
	}
}

// List answers the caller's files, oldest first.
func (u *Uploads) List(ctx context.Context, c Caller) ([]upload.File, error) {
	return u.core.Stores.Uploads.OfUser(ctx, c.User())
}

// own answers a file of the caller's. One of another owner is as one that never was.
func (u *Uploads) own(ctx context.Context, c Caller, fid id.File) (upload.File, error) {
	f, err := u.core.Stores.Uploads.Find(ctx, fid)
	if err == nil && f.Owner != c.User() {
		err = ports.ErrNotFound
	}
	if err != nil {
		return upload.File{}, err
	}
	return f, nil
}

// Open answers a file of the caller's with its bytes, which are to be closed; so many at a time that one more is a *CrowdedError. One that is not theirs is ports.ErrNotFound, as one that never was; one whose bytes cannot be found, ports.ErrUnavailable.
func (u *Uploads) Open(ctx context.Context, c Caller, fid id.File) (upload.File, ports.StoredFile, error) {
	f, err := u.own(ctx, c, fid)
	if err != nil {
		return f, nil, err
	}
	u.mu.Lock()
	crowded := u.read[f.Owner] >= mostRead
	if !crowded {
		u.read[f.Owner]++
	}
	u.mu.Unlock()
	if crowded {
		return f, nil, &CrowdedError{Own: true, Max: mostRead}
	}
	if err := u.Recognise(ctx, false); err != nil {
		u.closed(f.Owner)
		return f, nil, err
	}
	bytes, err := u.files.Open(ctx, fid)
	if err != nil {
		u.closed(f.Owner)
	} else {
		bytes = &reading{bytes, sync.OnceFunc(func() { u.closed(f.Owner) })}
	}
	if errors.Is(err, ports.ErrNotFound) {
		if _, err := u.own(ctx, c, fid); err != nil { // it was deleted meanwhile
			return f, nil, err
		}
		return f, nil, unavailable("open a file", errors.New("the bytes of "+fid.String()+" are not in the folder of files: is it the one that they were written to?"))
	}
	return f, bytes, err
}

// closed counts one file less that is read.
func (u *Uploads) closed(owner id.User) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.read[owner]--; u.read[owner] <= 0 {
		delete(u.read, owner)
	}
}

// reading is a file that is counted while it is open.
type reading struct {
	ports.StoredFile
	done func()
}

// Close is of io.Closer.
func (r *reading) Close() error {
	defer r.done()
	return r.StoredFile.Close()
}

// Delete takes a file of the caller's away, for good. One that is not theirs is ports.ErrNotFound, as one that never was.
func (u *Uploads) Delete(ctx context.Context, r Request, c Caller, fid id.File) error {
	leave, err := u.turn(ctx, c.User())
	if err != nil {
		return err
	}
	defer leave()
	f, err := u.own(ctx, c, fid)
	if err != nil {
		return err
	}
	return u.delete(ctx, c.Actor(r), &f)
}

// DeleteOf takes all files of a user away, as when they are to be forgotten, and answers how many those were. Who may ask is for the caller to decide; the user need not be there any more.
func (u *Uploads) DeleteOf(ctx context.Context, by Actor, uid id.User) (deleted int, err error) {
	leave, err := u.turn(ctx, uid)
	if err != nil {
		return 0, err
	}
	defer leave()
	all, err := u.core.Stores.Uploads.OfUser(ctx, uid)
	if err != nil {
		return 0, err
	}
	for i := range all {
		if err := u.delete(ctx, by, &all[i]); err != nil {
			return deleted, err
		}
		deleted++
	}
	return deleted, nil
}

// delete is called within the owner's turn. The bytes are in doubt from before the record goes until after.
func (u *Uploads) delete(ctx context.Context, by Actor, f *upload.File) error {
	if err := u.Recognise(ctx, false); err != nil {
		return err
	}
	e, err := u.event(by, audit.FileDeleted, f)
	if err != nil {
		return err
	}
	bytes, err := u.files.Withdraw(ctx, f.ID)
	switch {
	case errors.Is(err, ports.ErrNotFound): // the record goes all the same
		bytes = nil
	case errors.Is(err, ports.ErrTaken):
		return &ports.BusyError{What: "the file", RetryAfter: time.Second}
	case err != nil:
		return err
	}
	eff := ports.Effects{Events: []audit.Event{e}}
	err = u.core.Stores.Uploads.Delete(ctx, f.ID, eff)
	gone := err == nil || errors.Is(err, ports.ErrNotFound)
	switch {
	case bytes == nil && err == nil:
		u.options.Logger.Warn("A file was deleted whose bytes are not in the folder of files: if they are in another, take them away there", "file", f.ID.String())
	case bytes == nil:
	case gone:
		u.noted("dropped", f.ID, bytes.Drop())
	case outage(err):
		u.noted("left in doubt", f.ID, bytes.Leave())
	default:
		u.noted("kept", f.ID, bytes.Keep())
	}
	if err == nil {
		u.core.felt(ctx, eff)
	}
	return err
}

func (u *Uploads) event(by Actor, k audit.Kind, f *upload.File) (audit.Event, error) {
	e, err := u.core.event(by.Request, k, audit.Info, audit.Success)
	e.Subject, e.Details = f.Owner.String(), map[string]string{"file": f.ID.String(), "filename": cut(f.Label.String(), upload.MaxLabel), "bytes": strconv.FormatInt(f.Size, 10)}
	by.signs(&e)
	return e, err
}

// turn waits until nobody else adds a file to an owner's or takes one away, on any node; then leave is to be called.
func (u *Uploads) turn(ctx context.Context, owner id.User) (leave func(), err error) {
	turn := u.turns[int(owner[0])%len(u.turns)]
	if err := take(ctx, turn); err != nil {
		return nil, err
	}
	others, err := u.core.turn(ctx, "files/"+owner.String())
	if err != nil {
		<-turn
		return nil, err
	}
	return func() { others(); <-turn }, nil
}

const (
	// settleEvery is how often it is looked for what crashes and faults have left.
	settleEvery = 5 * time.Minute
	// settleYoung is how long a commit may still be on its way to the database.
	settleYoung = time.Minute
)

// Settle takes away what was never kept, or was deleted, and keeps what was: whatever a crash or a fault has left. What other nodes are about is left alone. It is for the start of a node: of one that is alone nothing is on
// its way.
func (u *Uploads) Settle(ctx context.Context) error {
	if u.core.Stores.Turns == nil {
		return u.settle(ctx, 0)
	}
	return u.settle(ctx, settleYoung)
}

func (u *Uploads) settle(ctx context.Context, young time.Duration) error {
	if err := u.Recognise(ctx, false); err != nil { // what is in doubt among another's files is another's
		return err
	}
	dropped, err := u.files.Settle(ctx, young, func(ctx context.Context, fid id.File) (bool, error) {
		_, err := u.core.Stores.Uploads.Find(ctx, fid)
		if errors.Is(err, ports.ErrNotFound) {
			return false, nil
		}
		return err == nil, err
	})
	if dropped > 0 {
		u.options.Logger.Info("Files that were never completed, or were deleted, were taken away", "files", dropped)
	}
	return err
}

// Run settles now and then until ctx ends.
func (u *Uploads) Run(ctx context.Context) {
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := u.settle(ctx, settleYoung); err != nil && ctx.Err() == nil {
				u.options.Logger.Warn("What is in doubt among the files could not be settled; it is tried again", "error", err.Error())
			}
		case <-ctx.Done():
			return
		}
	}
}
