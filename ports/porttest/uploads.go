package porttest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/upload"
	"github.com/xteam/xteam/ports"
)

// newUpload is a file with no field zero.
func newUpload() upload.File {
	return upload.File{ID: newID[id.File](), Owner: newID[id.User](), Label: upload.Clean("a summer in Ångström, 李.md"), Type: "text/plain; charset=utf-8", Size: 1 << 43, Created: wall()}
}

// holdsUploads demands that an owner has exactly these files, in this order.
func holdsUploads(t testing.TB, s Store, uid id.User, want ...upload.File) {
	t.Helper()
	got, err := s.Uploads.OfUser(t.Context(), uid)
	if diff := differ(want, got); err != nil || diff != "" && len(want)+len(got) > 0 {
		t.Errorf("OfUser: error %v (-want +got):\n%s", err, diff)
	}
	for _, f := range want {
		if got, err := s.Uploads.Find(t.Context(), f.ID); err != nil || got != f {
			t.Errorf("Find: got %+v, error %v, want %+v", got, err, f)
		}
	}
}

// Uploads proves a ports.Uploads, and that its effects reach the ports.Revocations and ports.Events of the same store.
func Uploads(t *testing.T, open Open) {
	filled(t, newUpload())
	sub(t, "Create stores a new file whole, with its effects", func(t *testing.T) {
		s := opened(t, open)
		f, e := newUpload(), newEffects()
		if err := s.Uploads.Create(t.Context(), f, e); err != nil {
			t.Fatalf("Create: %v", err)
		}
		holdsUploads(t, s, f.Owner, f)
		checkEffects(t, s, e, true)
	})
	sub(t, "an empty file is kept as one", func(t *testing.T) {
		s := opened(t, open)
		f := upload.File{ID: newID[id.File](), Owner: newID[id.User](), Label: upload.Clean(""), Type: "text/plain", Created: -5}
		if err := s.Uploads.Create(t.Context(), f, ports.Effects{}); err != nil {
			t.Fatalf("Create: %v", err)
		}
		holdsUploads(t, s, f.Owner, f)
	})
	sub(t, "Create of what exists is ErrTaken, and stores nothing", func(t *testing.T) {
		s := opened(t, open)
		f, e := newUpload(), newEffects()
		if err := s.Uploads.Create(t.Context(), f, ports.Effects{}); err != nil {
			t.Fatalf("Create: %v", err)
		}
		other := newUpload()
		other.ID = f.ID
		if err := s.Uploads.Create(t.Context(), other, e); !errors.Is(err, ports.ErrTaken) {
			t.Errorf("Create of what exists: got error %v, want ErrTaken", err)
		}
		holdsUploads(t, s, f.Owner, f)
		holdsUploads(t, s, other.Owner)
		checkEffects(t, s, e, false)
	})
	sub(t, "an invalid effect stores and deletes nothing", func(t *testing.T) {
		s := opened(t, open)
		f, other := newUpload(), newUpload()
		if err := s.Uploads.Create(t.Context(), f, ports.Effects{}); err != nil {
			t.Fatalf("Create: %v", err)
		}
		bad := newEffects()
		bad.Revocations[1].Until = 0
		if err := s.Uploads.Create(t.Context(), other, bad); err == nil {
			t.Error("Create with an invalid effect succeeded")
		}
		if err := s.Uploads.Delete(t.Context(), f.ID, bad); err == nil {
			t.Error("Delete with an invalid effect succeeded")
		}
		holdsUploads(t, s, other.Owner)
		holdsUploads(t, s, f.Owner, f)
		checkEffects(t, s, bad, false)
	})
	sub(t, "Delete takes one file away, with its effects, and nothing else", func(t *testing.T) {
		s := opened(t, open)
		f, other, e, none := newUpload(), newUpload(), newEffects(), newEffects()
		other.Owner, other.Created = f.Owner, f.Created
		for _, f := range []upload.File{f, other} {
			if err := s.Uploads.Create(t.Context(), f, ports.Effects{}); err != nil {
				t.Fatalf("Create: %v", err)
			}
		}
		if err := s.Uploads.Delete(t.Context(), f.ID, e); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		checkEffects(t, s, e, true)
		holdsUploads(t, s, f.Owner, other)
		if _, err := s.Uploads.Find(t.Context(), f.ID); !errors.Is(err, ports.ErrNotFound) {
			t.Errorf("Find of what was deleted: got error %v, want ErrNotFound", err)
		}
		for what, fid := range map[string]id.File{"what was deleted": f.ID, "what never was": newID[id.File]()} {
			if err := s.Uploads.Delete(t.Context(), fid, none); !errors.Is(err, ports.ErrNotFound) {
				t.Errorf("Delete of %s: got error %v, want ErrNotFound", what, err)
			}
		}
		checkEffects(t, s, none, false)
		if err := s.Uploads.Create(t.Context(), f, ports.Effects{}); err != nil {
			t.Errorf("Create of an id that was deleted: %v", err)
		}
	})
	sub(t, "of concurrent creations of one id exactly one succeeds, and of deletions too", func(t *testing.T) {
		s := opened(t, open)
		for range 3 {
			f := newUpload()
			var made, deleted, odd atomic.Int64
			together(crowd/4, func(int) {
				switch err := s.Uploads.Create(context.Background(), f, ports.Effects{}); {
				case err == nil:
					made.Add(1)
				case !errors.Is(err, ports.ErrTaken):
					odd.Add(1)
				}
			})
			together(crowd/4, func(int) {
				switch err := s.Uploads.Delete(context.Background(), f.ID, ports.Effects{}); {
				case err == nil:
					deleted.Add(1)
				case !errors.Is(err, ports.ErrNotFound):
					odd.Add(1)
				}
			})
			if made.Load() != 1 || deleted.Load() != 1 || odd.Load() != 0 {
				t.Errorf("%d created, %d deleted, %d failed otherwise, want 1, 1 and 0", made.Load(), deleted.Load(), odd.Load())
			}
			holdsUploads(t, s, f.Owner)
		}
	})
	sub(t, "OfUser answers all files of an owner, oldest first, as the caller's own", func(t *testing.T) {
		s := opened(t, open)
		uid, now := newID[id.User](), wall()
		var want []upload.File
		for _, age := range []time.Duration{3, 1, 4, 15, 9, 2, 6} {
			f, other := newUpload(), newUpload()
			f.Owner, f.Created = uid, now.Add(-age*time.Hour)
			want = append(want, f)
			for _, f := range []upload.File{f, other} {
				if err := s.Uploads.Create(t.Context(), f, ports.Effects{}); err != nil {
					t.Fatalf("Create: %v", err)
				}
			}
		}
		slices.SortFunc(want, older)
		holdsUploads(t, s, uid, want...)
		if got, err := s.Uploads.OfUser(t.Context(), uid); err == nil {
			got[0], got[1] = got[1], got[0]
		}
		holdsUploads(t, s, uid, want...)
		holdsUploads(t, s, newID[id.User]())
	})
	sub(t, "a call whose context has ended fails with its error", func(t *testing.T) {
		s := opened(t, open)
		f := newUpload()
		if err := s.Uploads.Create(t.Context(), f, ports.Effects{}); err != nil {
			t.Fatalf("Create: %v", err)
		}
		ended(t, map[string]func(context.Context) error{
			"Create": func(ctx context.Context) error { return s.Uploads.Create(ctx, newUpload(), ports.Effects{}) },
			"Delete": func(ctx context.Context) error { return s.Uploads.Delete(ctx, f.ID, ports.Effects{}) },
			"Find":   func(ctx context.Context) error { _, err := s.Uploads.Find(ctx, f.ID); return err },
			"OfUser": func(ctx context.Context) error { _, err := s.Uploads.OfUser(ctx, f.Owner); return err },
		})
		holdsUploads(t, s, f.Owner, f)
	})
	sub(t, "a random walk agrees with a map", func(t *testing.T) { walkUploads(t, open) })
}

func older(a, b upload.File) int {
	return cmp.Or(cmp.Compare(a.Created, b.Created), bytes.Compare(a.ID[:], b.ID[:]))
}

// walkUploads creates, deletes and looks up a few files of two owners, with a few ids that often clash.
func walkUploads(outer *testing.T, open Open) {
	s := opened(outer, open)
	rapid.Check(outer, func(t *rapid.T) {
		mine := map[id.File]upload.File{}
		var ids []id.File
		for range 5 {
			ids = append(ids, newID[id.File]())
		}
		owners := []id.User{newID[id.User](), newID[id.User]()}
		w := watch(outer, s)
		anID, anOwner := rapid.SampledFrom(ids), rapid.SampledFrom(owners)
		t.Repeat(map[string]func(*rapid.T){
			"create": func(t *rapid.T) {
				f, e := newUpload(), newEvent()
				f.ID, f.Owner = anID.Draw(t, "id"), anOwner.Draw(t, "owner")
				f.Created += instant.Instant(rapid.IntRange(-1000, 1000).Draw(t, "created")) * 1_000_000
				var want error
				if _, ok := mine[f.ID]; ok {
					want = ports.ErrTaken
				}
				w.committed(t, "Create", e, s.Uploads.Create(context.Background(), f, ports.Effects{Events: []audit.Event{e}}), want)
				if want == nil {
					mine[f.ID] = f
				}
			},
			"delete": func(t *rapid.T) {
				fid, e := anID.Draw(t, "id"), newEvent()
				var want error
				if _, ok := mine[fid]; !ok {
					want = ports.ErrNotFound
				}
				w.committed(t, "Delete", e, s.Uploads.Delete(context.Background(), fid, ports.Effects{Events: []audit.Event{e}}), want)
				delete(mine, fid)
			},
			"look": func(t *rapid.T) {
				for _, fid := range ids {
					got, err := s.Uploads.Find(context.Background(), fid)
					if want, ok := mine[fid]; ok && (err != nil || got != want) || !ok && !errors.Is(err, ports.ErrNotFound) {
						t.Fatalf("Find: got %+v, error %v, want %+v, %v", got, err, want, ok)
					}
				}
				for _, uid := range owners {
					var want []upload.File
					for _, f := range mine {
						if f.Owner == uid {
							want = append(want, f)
						}
					}
					slices.SortFunc(want, older)
					got, err := s.Uploads.OfUser(context.Background(), uid)
					if err != nil || !slices.Equal(want, got) {
						t.Fatalf("OfUser: got %+v, error %v, want %+v", got, err, want)
					}
				}
				w.check(t)
			},
		})
		w.check(t)
	})
}
