package graphqlapi_test

import (
	"slices"
	"testing"

	"github.com/xteam/xteam/adapters/graphqlapi"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/block"
	state "github.com/xteam/xteam/domain/system"
)

// TestMembersAreCalledAsTheSchemaCallsThem: also those that an error does not carry.
func TestMembersAreCalledAsTheSchemaCallsThem(t *testing.T) {
	for err, want := range map[error]string{
		state.ErrFuture: "issuedBefore", app.ErrPasswordNeeded: "currentPassword", block.ErrInvalid: "cidr",
		&app.SelectorError{Field: "issued_before", Detail: "must lie after 1970"}: "issuedBefore", &app.SelectorError{Field: "alg"}: "algorithm", &app.SelectorError{Field: "api_keys"}: "apiKeys", &app.SelectorError{Field: "session_id"}: "id",
		&app.SelectorError{Field: "token"}: "token", &apikey.InvalidError{Field: "requests_per_minute"}: "requestsPerMinute", &apikey.InvalidError{Field: "expires_in_days"}: "expiresInDays",
	} {
		if got := graphqlapi.FaultsOf(err); !slices.Equal(got, []string{want}) {
			t.Errorf("%v names %q, want %q", err, got, want)
		}
	}
}
