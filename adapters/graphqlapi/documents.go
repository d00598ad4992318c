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

	smallDocument = maxComplexity/pageMost - 1 // fields, of which each may stand in one list: no list has another below it
)

// kept is a document, and whether no values of variables make it answer too much.
type kept struct {
	doc   *ast.QueryDocument
	small bool
}

// documents keeps the last ones, in the order in which they came: what is asked for often comes again.
type documents struct {
	mu   sync.RWMutex
	kept map[string]kept
	ring [maxDocuments]string
	next int
}

var _ graphql.Cache[*ast.QueryDocument] = (*documents)(nil)

// Get is of graphql.Cache.
func (d *documents) Get(_ context.Context, text string) (*ast.QueryDocument, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	k, ok := d.kept[text]
	return k.doc, ok
}

// find is Get, and whether the document is small.
func (d *documents) find(text string) (small, ok bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	k, ok := d.kept[text]
	return k.small, ok
}

// Add is of graphql.Cache.
func (d *documents) Add(ctx context.Context, text string, doc *ast.QueryDocument) {
	if len(text) > maxKept {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kept == nil {
		d.kept = make(map[string]kept, maxDocuments)
	}
	if _, is := d.kept[text]; is {
		return
	}
	delete(d.kept, d.ring[d.next])
	d.ring[d.next], d.kept[text] = text, kept{doc, fieldsOf(ctx) <= smallDocument}
	d.next = (d.next + 1) % maxDocuments
}

type fieldsKey struct{}

// fieldsOf is how many fields prepare counted in the document that is being looked at.
func fieldsOf(ctx context.Context) int {
	n, ok := ctx.Value(fieldsKey{}).(int)
	if !ok {
		return maxFields
	}
	return n
}
