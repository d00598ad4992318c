package app_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/ports"
)

// oneTurn is one turn for all names.
type oneTurn chan struct{}

func (o oneTurn) Turn(ctx context.Context, _ string) (func(), error) {
	select {
	case o <- struct{}{}:
		return sync.OnceFunc(func() { <-o }), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// slowLists take a while to list, so that two nodes would both have listed before either changes anything.
type slowListing struct{ ports.Accounts }

func (s slowListing) List(ctx context.Context, from id.User, limit int) ([]account.Account, error) {
	all, err := s.Accounts.List(ctx, from, limit)
	after(time.Second)
	return all, err
}

type slowKeyList struct{ ports.APIKeys }

func (s slowKeyList) OfUser(ctx context.Context, uid id.User) ([]apikey.Key, error) {
	all, err := s.APIKeys.OfUser(ctx, uid)
	after(time.Second)
	return all, err
}

// What holds over several records holds on two nodes of one database too: an administrator is left when two demote each other, and an owner has no more keys than may be.
func TestRulesOverSeveralNodes(t *testing.T) {
	t.Run("the last administrator", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			ann, bob := w.admin("ann"), w.admin("bob")
			w.core.Stores.Turns, w.core.Stores.Accounts = make(oneTurn, 1), slowListing{w.core.Stores.Accounts}
			errs := w.both(func(node int) error {
				of := []id.User{ann.ID, bob.ID}
				return app.NewAccounts(w.core).SetRole(t.Context(), app.Actor{Name: of[1-node].String()}, of[node], account.RoleUser)
			})
			if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs[:]...), account.ErrLastAdmin) {
				t.Errorf("two administrators who demote each other on two nodes: %v, want that one is left", errs)
			}
		})
	})
	t.Run("the number of API keys", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.user("ann")
			c := w.caller(w.signIn("ann"))
			for range apikey.MaxLive - 1 {
				w.issue(c, apikey.UsersRead)
			}
			w.core.Stores.Turns, w.core.Stores.APIKeys = make(oneTurn, 1), slowKeyList{w.core.Stores.APIKeys}
			errs := w.both(func(int) error {
				_, err := app.NewAPIKeys(w.core, w.guard).Issue(t.Context(), home, c, wish(apikey.UsersRead))
				return err
			})
			full := (*apikey.LimitError)(nil)
			if (errs[0] == nil) == (errs[1] == nil) || !errors.As(errors.Join(errs[:]...), &full) {
				t.Errorf("two nodes that make the last key: %v, want one of them refused", errs)
			}
		})
	})
	t.Run("a turn that cannot be had", func(t *testing.T) {
		w := newWorld(t)
		ann := w.admin("ann")
		c := w.caller(w.signIn("ann"))
		w.core.Stores.Turns = noTurn{}
		for range 2 { // and gives back what it has on this node
			_, issued := w.keys.Issue(t.Context(), home, c, wish(apikey.UsersRead))
			for _, err := range []error{issued, w.accounts.SetRole(t.Context(), root, ann.ID, account.RoleUser)} {
				if !errors.Is(err, ports.ErrUnavailable) {
					t.Errorf("%v, want ErrUnavailable", err)
				}
			}
		}
	})
}

type noTurn struct{}

func (noTurn) Turn(context.Context, string) (func(), error) { return nil, ports.ErrUnavailable }

// both does the same on two nodes at once.
func (w *world) both(do func(node int) error) (errs [2]error) {
	var both sync.WaitGroup
	for node := range errs {
		both.Go(func() { errs[node] = do(node) })
	}
	both.Wait()
	return errs
}
