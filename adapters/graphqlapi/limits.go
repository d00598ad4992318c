package graphqlapi

import (
	"fmt"
	"math"

	"github.com/99designs/gqlgen/graphql/errcode"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/lexer"
	"github.com/vektah/gqlparser/v2/parser"
)

// What a document may hold. All is counted as it is executed: a fragment counts wherever it is spread.
const (
	maxTokens     = 15_000
	maxDepth      = 15
	maxAliases    = 1_000
	maxFields     = 10_000
	maxDirectives = 100
	maxRepeats    = 500 // of a name in one place: the validation compares each with each (9,000 took 12 s)
	maxComplexity = 20_000
	maxNesting    = 200 // of brackets, before anything is parsed
)

// prepare refuses a document by what it costs, before it is validated, and answers how many fields it selects.
func prepare(text string, introspection bool) (fields int, _ *gqlerror.Error) {
	if err := lex(text); err != nil {
		return 0, err
	}
	doc, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: text}, maxTokens)
	if err != nil {
		return 0, parseFailed()
	}
	if circular(doc) {
		return 0, &gqlerror.Error{Message: "a fragment spreads itself", Extensions: map[string]any{"code": errcode.ValidationFailed}}
	}
	m := measure{doc: doc, introspection: introspection}
	for _, op := range doc.Operations {
		if err := m.set(op.SelectionSet, op.Directives, place{}, 1); err != nil {
			return 0, err
		}
	}
	return m.fields, nil
}

func parseFailed() *gqlerror.Error {
	return &gqlerror.Error{Message: "the document is not valid GraphQL", Extensions: map[string]any{"code": errcode.ParseFailed}}
}

func tooMuch(format string, args ...any) *gqlerror.Error {
	return &gqlerror.Error{Message: fmt.Sprintf(format, args...), Extensions: map[string]any{"code": badRequest, "problem": "document_too_large"}}
}

// lex reads the document's tokens and keeps none.
func lex(text string) *gqlerror.Error {
	l := lexer.New(&ast.Source{Input: text})
	nested := 0
	for n := 0; ; n++ {
		t, err := l.ReadToken()
		switch {
		case err != nil:
			return parseFailed()
		case t.Kind == lexer.EOF:
			return nil
		case n == maxTokens:
			return tooMuch("the document has more than %d tokens", maxTokens)
		}
		switch t.Kind {
		case lexer.BraceL, lexer.BracketL, lexer.ParenL:
			nested++
		case lexer.BraceR, lexer.BracketR, lexer.ParenR:
			nested--
		}
		if nested > maxNesting {
			return tooMuch("the document nests more than %d brackets", maxNesting)
		}
	}
}

// circular reports whether a fragment leads back to itself, whether it is spread or not.
func circular(doc *ast.QueryDocument) bool {
	const open, done = 1, 2
	seen := make(map[string]int, len(doc.Fragments))
	byName := make(map[string]*ast.FragmentDefinition, len(doc.Fragments))
	for _, f := range doc.Fragments {
		byName[f.Name] = f
	}
	var visit func(ast.SelectionSet) bool
	visit = func(all ast.SelectionSet) bool {
		for _, s := range all {
			var within ast.SelectionSet
			switch s := s.(type) {
			case *ast.Field:
				within = s.SelectionSet
			case *ast.InlineFragment:
				within = s.SelectionSet
			case *ast.FragmentSpread:
				f := byName[s.Name]
				switch {
				case f == nil || seen[s.Name] == done:
					continue
				case seen[s.Name] == open:
					return true
				}
				seen[s.Name] = open
				if visit(f.SelectionSet) {
					return true
				}
				seen[s.Name] = done
			}
			if visit(within) {
				return true
			}
		}
		return false
	}
	for _, f := range doc.Fragments {
		if seen[f.Name] == 0 {
			seen[f.Name] = open
			if visit(f.SelectionSet) {
				return true
			}
			seen[f.Name] = done
		}
	}
	return false
}

// measure counts what a document asks for.
type measure struct {
	doc                         *ast.QueryDocument
	introspection               bool
	fields, aliases, directives int
	repeats                     int
}

// place is where fields of an answer stand, by their names: those of one name there are one field, and so must fit one another.
type place map[string]place

// set counts a selection set whose fields are depth deep, with the directives of what has it.
func (m *measure) set(all ast.SelectionSet, on ast.DirectiveList, at place, depth int) *gqlerror.Error {
	if m.directives += len(on); m.directives > maxDirectives {
		return tooMuch("the document has more than %d directives", maxDirectives)
	}
	for _, s := range all {
		if m.fields++; m.fields > maxFields {
			return tooMuch("the document selects more than %d fields", maxFields)
		}
		var err *gqlerror.Error
		switch s := s.(type) {
		case *ast.Field:
			err = m.field(s, at, depth)
		case *ast.InlineFragment:
			err = m.set(s.SelectionSet, s.Directives, at, depth)
		case *ast.FragmentSpread:
			err = m.spread(s, at, depth)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *measure) field(f *ast.Field, at place, depth int) *gqlerror.Error {
	if depth > maxDepth {
		return tooMuch("the document goes more than %d fields deep", maxDepth)
	}
	if f.Alias != "" && f.Alias != f.Name {
		if m.aliases++; m.aliases > maxAliases {
			return tooMuch("the document has more than %d aliases", maxAliases)
		}
	}
	if !m.introspection && (f.Name == "__schema" || f.Name == "__type") {
		return &gqlerror.Error{Message: "introspection is off", Extensions: map[string]any{"code": errcode.ValidationFailed}}
	}
	within, again := at[f.Alias]
	if again {
		if m.repeats++; m.repeats > maxRepeats {
			return tooMuch("the document repeats fields more than %d times", maxRepeats)
		}
	} else {
		within = place{}
		at[f.Alias] = within
	}
	return m.set(f.SelectionSet, f.Directives, within, depth+1)
}

func (m *measure) spread(s *ast.FragmentSpread, at place, depth int) *gqlerror.Error {
	f := m.doc.Fragments.ForName(s.Name)
	if f == nil {
		return m.set(nil, s.Directives, at, depth) // the validation tells of it
	}
	if err := m.set(nil, s.Directives, at, depth); err != nil {
		return err
	}
	return m.set(f.SelectionSet, f.Directives, at, depth)
}

// pages weighs what a list asks for by how many items it may answer.
func pages() ComplexityRoot {
	var c ComplexityRoot
	weigh := func(child int, first *int) int {
		n := pageUsual
		if first != nil {
			n = min(max(*first, 1), pageMost)
		}
		if child > math.MaxInt32/pageMost {
			return math.MaxInt32
		}
		return 1 + n*child
	}
	c.Query.Users = func(child int, first *int, _ *string) int { return weigh(child, first) }
	c.Query.Sessions = func(child int, first *int, _, _ *string, _ *bool) int { return weigh(child, first) }
	c.Query.APIKeys = func(child int, first *int, _, _ *string) int { return weigh(child, first) }
	c.Query.Files = func(child int, first *int, _ *string) int { return weigh(child, first) }
	c.Query.Alerts = func(child int, first *int, _ *string, _ *bool) int { return weigh(child, first) }
	c.Query.Incidents = func(child int, first *int, _ *string, _ *bool) int { return weigh(child, first) }
	c.Query.SigningKeys = func(child int, first *int, _ *string) int { return weigh(child, first) }
	c.Query.SecurityEvents = func(child int, first *int, _ *string) int { return weigh(child, first) }
	return c
}
