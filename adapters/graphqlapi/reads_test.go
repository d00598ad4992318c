package graphqlapi_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/xteam/xteam/adapters/graphqlapi"
	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam"
	"github.com/xteam/xteam/app/xteam/xteamtest"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/ports"
)

// countedAccounts counts what is read.
type countedAccounts struct {
	ports.Accounts
	reads *atomic.Int32
}

func (c countedAccounts) Find(ctx context.Context, uid id.User) (account.Account, error) {
	c.reads.Add(1)
	return c.Accounts.Find(ctx, uid)
}

func (c countedAccounts) Named(ctx context.Context, l account.Login) (account.Account, error) {
	c.reads.Add(1)
	return c.Accounts.Named(ctx, l)
}

func (c countedAccounts) List(ctx context.Context, from id.User, limit int) ([]account.Account, error) {
	c.reads.Add(1)
	return c.Accounts.List(ctx, from, limit)
}

// A list of 100 users is one read of the store, with every field that a user has, twice told, as nodes and as edges.
func TestAListIsOneRead(t *testing.T) {
	store := memstore.New().Accounts()
	for i := range 120 {
		email, err := account.ParseEmail(fmt.Sprintf("u%d@example.com", i))
		if err != nil {
			t.Fatal(err)
		}
		name, err := account.ParseUsername(fmt.Sprintf("user%d", i))
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Create(t.Context(), account.Account{ID: id.User{1, byte(i)}, Email: email, Username: name, Role: account.RoleUser, Created: 1}, ports.Effects{}); err != nil {
			t.Fatal(err)
		}
	}
	reads := &atomic.Int32{}
	accounts := app.NewAccounts(&app.Core{Stores: app.Stores{Accounts: countedAccounts{store, reads}}})
	s := &system{t: t, Kit: xteamtest.New(t, xteam.Options{Doors: func(all httpapi.Services, _ *slog.Logger) []httpapi.Mount {
		api := graphqlapi.New(graphqlapi.Services{Sessions: all.Sessions, Accounts: accounts, Revoker: all.Revoker, Rotator: all.Rotator, APIKeys: all.APIKeys, Tethers: all.Tethers, Live: all.Live, Blocks: all.Blocks, Alerts: all.Alerts, Incidents: all.Incidents, Disowner: all.Disowner, Uploads: all.Uploads}, graphqlapi.Options{})
		return []httpapi.Mount{{Method: http.MethodPost, Path: "/graphql", Handler: api}}
	}})}
	s.h = s.Handler()
	boss, _ := s.SignIn(s.Admin("root"))
	const fields = `{ id email username fullName role isActive createdAt }`
	for query, want := range map[string]int32{
		`{ users(first: 100) { nodes ` + fields + ` edges { cursor node ` + fields + ` } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }`: 1,
		`{ a: users(first: 10) { nodes ` + fields + ` } b: users(first: 10) { nodes ` + fields + ` } c: user(id: "user7") ` + fields + ` }`:                  3,
	} {
		reads.Store(0)
		a := s.ask(query, nil, bearer(boss))
		wants(t, a)
		if got := reads.Load(); got != want {
			t.Errorf("%.60s: the store was asked %d times; want %d", query, got, want)
		}
		if want == 1 {
			if n := len(a.Data["users"].(map[string]any)["nodes"].([]any)); n != 100 {
				t.Errorf("%d users were answered", n)
			}
		}
	}
}
