package faults_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestAListIsOneStatement: what GraphQL lists is one statement of PostgreSQL, however long the list is.
func TestAListIsOneStatement(t *testing.T) {
	const users = 30
	c := newCluster(t, plan{nodes: 1, users: users})
	boss := c.call(0, http.MethodPost, "/api/v1/auth/login", "", map[string]any{"username": "admin", "password": password})
	asks := func(query string) string {
		t.Helper()
		got := c.call(0, http.MethodPost, "/graphql", boss.AccessToken, map[string]any{"query": query})
		if got.status != http.StatusOK || strings.Contains(got.text, `"errors"`) {
			t.Fatalf("%s: %d %s", query, got.status, got.text)
		}
		return got.text
	}
	c.postgres.must("ALTER SYSTEM SET log_line_prefix = '%p '")
	c.postgres.must("ALTER SYSTEM SET log_statement = 'all'")
	c.postgres.must("SELECT pg_reload_conf()")
	until(t, "PostgreSQL writes its statements down", func() bool {
		was := c.postgres.statements(t)
		asks(`{ me { id } }`)
		return c.postgres.statements(t).names["FindAccount :one"] > was.names["FindAccount :one"]
	})
	for query, want := range map[string]map[string]int{
		`{ users(first: 100) { nodes { id email username fullName role isActive createdAt } edges { node { id email } } } }`:                         {"ListAccounts :many": 1},
		`{ apiKeys(first: 100, user: "user1") { nodes { id name scopes } edges { node { id } } } }`:                                                  {"ListAPIKeys :many": 1, "FindAccountByUsername :one": 1, "FindAccount :one": 1}, // by name, and what their keys may do
		`{ securityEvents(first: 20) { nodes { id time kind actor subject email ipAddress details { name value } } edges { cursor node { id } } } }`: {"ListEvents :many": 2},                                                          // and whether there is one more
	} {
		var text string
		var wrong []string
		for range 5 { // the node reads events for its own work too, now and then: what one request asks is what was asked once without any of that
			was := c.postgres.statements(t)
			text = asks(query)
			is := c.postgres.statements(t)
			wrong = wrong[:0]
			for _, name := range []string{"ListAccounts :many", "FindAccount :one", "FindAccountByEmail :one", "FindAccountByUsername :one", "ListSessions :many", "FindSession :one", "ListAPIKeys :many", "FindAPIKey :one", "ListEvents :many"} {
				if n := is.names[name] - was.names[name]; n != want[name] {
					wrong = append(wrong, fmt.Sprintf("%s was asked %d times, want %d", name, n, want[name]))
				}
			}
			if len(wrong) == 0 {
				break
			}
		}
		for _, w := range wrong {
			t.Errorf("%s: %s", query, w)
		}
		if n := strings.Count(text, `"username"`); strings.Contains(query, "users(") && n != users+1 {
			t.Errorf("%d users were answered", n)
		}
	}
}
