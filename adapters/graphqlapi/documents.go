package graphqlapi

import (
	"context"
	"sync"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
)

// Documents that were found good are kept, for clients send the same ones again and again.
const (
	maxDocuments = 256
	maxKept      = 4 << 10 // bytes of one that is kept
)

// documents keeps the last ones, in the order in which they came: what is asked for often comes again.
type documents struct {
	mu   sync.RWMutex
	kept map[string]*ast.QueryDocument
	ring [maxDocuments]string
	next int
}

var _ graphql.Cache[*ast.QueryDocument] = (*documents)(nil)

// Get is of graphql.Cache.
func (d *documents) Get(_ context.Context, text string) (*ast.QueryDocument, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	doc, ok := d.kept[text]
	return doc, ok
}

// Add is of graphql.Cache.
func (d *documents) Add(_ context.Context, text string, doc *ast.QueryDocument) {
	if len(text) > maxKept {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kept == nil {
		d.kept = make(map[string]*ast.QueryDocument, maxDocuments)
	}
	if _, is := d.kept[text]; is {
		return
	}
	delete(d.kept, d.ring[d.next])
	d.ring[d.next], d.kept[text] = text, doc
	d.next = (d.next + 1) % maxDocuments
}
