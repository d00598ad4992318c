package graphqlapi_test

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/xteam/xteam/adapters/graphqlapi"
	"github.com/xteam/xteam/app"
)

// open is a visit that lets everybody in.
type open struct{ app.Visit }

func (open) Admit(app.Rule) (app.Caller, error) { return app.Caller{}, nil }

func TestGraphiQL(t *testing.T) {
	get := func(encoding string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(app.WithVisit(context.Background(), open{}), http.MethodGet, "/graphiql", http.NoBody)
		r.Header.Set("Accept-Encoding", encoding)
		w := httptest.NewRecorder()
		graphqlapi.GraphiQL().ServeHTTP(w, r)
		return w
	}
	w := get("")
	text := w.Body.String()
	policy := w.Header().Get("Content-Security-Policy")
	if strings.Count(policy, "'sha256-") != 2 || strings.Contains(policy, "unsafe") || strings.Contains(policy, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=") { // that of nothing
		t.Errorf("the policy: %s", policy)
	}
	for _, wrong := range []string{`src="http`, `href="http`, "url(http", "@import", "sourceMappingURL"} {
		if head, _, _ := strings.Cut(text, "<script>"); strings.Contains(head, wrong) {
			t.Errorf("the page loads something: %s", wrong)
		}
	}
	if strings.Count(text, "\n<script>") != 1 || strings.Count(text, "</script>") != 1 || !strings.Contains(text, "MIT License") {
		t.Error("it is not one page with one script and its licences")
	}
	w = get("br, gzip")
	z, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	if unpacked, err := io.ReadAll(z); err != nil || string(unpacked) != text || w.Header().Get("Content-Encoding") != "gzip" {
		t.Errorf("compressed it is another: %v", err)
	}
}
