package badgerstore_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/xteam/xteam/adapters/badgerstore"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/ports"
)

func someone(name string) account.Account {
	return account.Account{ID: newID[id.User](), Email: must(account.ParseEmail(name + "@example.com")), Username: must(account.ParseUsername(name))}
}

func raise(a account.Account) (account.Account, ports.Effects, error) {
	a.Generation++
	return a, ports.Effects{}, nil
}

// Whoever was told that an account has changed finds the change, and nobody finds an older account than somebody has found before.
func TestAKnownAccountIsNeverOld(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.close(t)
	a := someone("ann")
	if err := s.Accounts().Create(t.Context(), a, ports.Effects{}); err != nil {
		t.Fatal(err)
	}
	const writers, readers, updates = 4, 8, 200
	done := make(chan struct{})
	var writing, reading sync.WaitGroup
	for range readers {
		reading.Go(func() {
			for last := a.Generation; ; {
				got, err := s.Accounts().Find(t.Context(), a.ID)
				if err != nil || got.Generation < last {
					t.Errorf("found generation %d, %v behind %d", got.Generation, err, last)
					return
				}
				last = got.Generation
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for range writers {
		writing.Go(func() {
			for range updates {
				made := a.Generation
				err := s.Accounts().Update(t.Context(), a.ID, func(a account.Account) (account.Account, ports.Effects, error) {
					made = a.Generation + 1
					return raise(a)
				})
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := s.Accounts().Find(t.Context(), a.ID); err != nil || got.Generation < made {
					t.Errorf("found generation %d, %v after %d was acknowledged", got.Generation, err, made)
					return
				}
			}
		})
	}
	writing.Wait()
	close(done)
	reading.Wait()
	if got := must(s.Accounts().Find(t.Context(), a.ID)); got.Generation != writers*updates {
		t.Errorf("got generation %d at last, want %d", got.Generation, writers*updates)
	}
}

// A reader that was overtaken by a change does not have the old account remembered.
func TestASlowReadIsNotRemembered(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.close(t)
	a := someone("ann")
	if err := s.Accounts().Create(t.Context(), a, ports.Effects{}); err != nil {
		t.Fatal(err)
	}
	err := s.Accounts().ReadSlowly(t.Context(), a.ID, func() {
		if err := s.Accounts().Update(t.Context(), a.ID, raise); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := must(s.Accounts().Find(t.Context(), a.ID)); got.Generation != a.Generation+1 {
		t.Errorf("got generation %d, want %d", got.Generation, a.Generation+1)
	}
	if n, _ := s.Known(); n != 1 {
		t.Errorf("%d accounts are remembered after the change was read, want 1", n)
	}
}

// What is remembered is bounded, and is answered without reading.
func TestKnownAccountsAreBounded(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.close(t)
	var last account.Account
	for i := range 40_000 {
		last = someone(fmt.Sprintf("user%d", i))
		s.Remember(last)
	}
	if n, bytes := s.Known(); bytes > badgerstore.KnownBytes || bytes < badgerstore.KnownBytes/2 {
		t.Errorf("%d accounts of %d bytes are remembered, want between half of %d bytes and all", n, bytes, badgerstore.KnownBytes)
	}
	if n := testing.AllocsPerRun(100, func() { _ = must(s.Accounts().Find(t.Context(), last.ID)) }); n > 0 {
		t.Errorf("%v allocations to find what is remembered, want none", n)
	}
}

// What is remembered ends with the Badger that it was read from: a commit that failed may have happened, and a closed store answers nothing.
func TestAFailedStoreIsReadAnew(t *testing.T) {
	s := open(t, t.TempDir())
	a := someone("ann")
	if err := s.Accounts().Create(t.Context(), a, ports.Effects{}); err != nil {
		t.Fatal(err)
	}
	_ = must(s.Accounts().Find(t.Context(), a.ID))
	if err := s.Break(); err != nil {
		t.Fatal(err)
	}
	if err := s.Accounts().Update(t.Context(), a.ID, raise); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	if got, err := s.Accounts().Find(t.Context(), a.ID); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("found %v, %v while the store has failed, want ErrUnavailable", got.ID, err)
	}
	eventually(t, "the store is read again", func() bool { _, err := s.System().Load(t.Context()); return err == nil })
	if n, _ := s.Known(); n > 0 {
		t.Errorf("%d accounts are remembered from before the failure", n)
	}
	if got := must(s.Accounts().Find(t.Context(), a.ID)); got != a {
		t.Errorf("got %+v, want %+v", got, a)
	}
	s.close(t)
	if got, err := s.Accounts().Find(t.Context(), a.ID); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("found %v, %v after Close, want ErrUnavailable", got.ID, err)
	}
}
