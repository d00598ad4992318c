package graphqlapi_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// kinds is what a status of REST is here.
var kinds = map[string]string{"400": "badRequest", "401": "unauthenticated", "403": "forbidden", "404": "notFound", "409": "conflict", "422": "badInput", "503": "unavailable", "507": "unavailable"}

// others are refusals that the REST transport has for itself, or that are told on what is open already.
var others = map[string]string{
	"app.ErrTwoCredentials": "errTwoCredentials there", "app.ErrHandshakeHeader": "before the upgrade", "app.ErrUpgrade": "the transport's own", "app.ErrSlow": "ends a subscription", "app.ErrGap": "ends a subscription", "ports.ErrNoSpace": "507 there",
}

// TestTheTableIsThatOfREST: each refusal that problems.go has, whose own test sees to it that it has all, has the same code here, and the kind that its status is.
func TestTheTableIsThatOfREST(t *testing.T) {
	rest, restTypes := table(t, "../httpapi/problems.go", "problemOf")
	here, hereTypes := table(t, "refusals.go", "refusalOf")
	for name, want := range rest {
		status, code, _ := strings.Cut(want, " ")
		got, known := here[name]
		if strings.Contains(name, ".") && others[name] == "" && (!known || got != kinds[status]+" "+code) {
			t.Errorf("%s: got %q, want %q", name, got, kinds[status]+" "+code)
		}
	}
	for name := range here {
		if _, known := rest[name]; !known && others[name] == "" {
			t.Errorf("%s is no refusal of REST", name)
		}
	}
	if diff := cmp.Diff(restTypes, hereTypes); diff != "" {
		t.Errorf("refusals with data (-REST +here):\n%s", diff)
	}
}

// table reads the sentinels of a file, as "status code", and the types of refusals that a function of it looks for.
func table(t *testing.T, file, function string) (sentinels map[string]string, types map[string]bool) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	sentinels, types = map[string]string{}, map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ValueSpec:
			if n.Names[0].Name != "sentinels" {
				return true
			}
			for _, line := range n.Values[0].(*ast.CompositeLit).Elts {
				var words []string
				for _, e := range line.(*ast.CompositeLit).Elts {
					words = append(words, word(e))
				}
				sentinels[words[0]] = strings.Join(words[1:], " ")
			}
			return false
		case *ast.FuncDecl:
			if n.Name.Name == function {
				ast.Inspect(n.Body, func(n ast.Node) bool {
					if star, ok := n.(*ast.StarExpr); ok {
						if name := word(star.X); strings.Contains(name, ".") {
							types[name] = true
						}
					}
					return true
				})
			}
		}
		return true
	})
	if len(sentinels) < 30 || len(types) < 10 {
		t.Fatalf("%s has %d sentinels and %d types: that is not the table", file, len(sentinels), len(types))
	}
	return sentinels, types
}

func word(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return word(e.X) + "." + e.Sel.Name
	case *ast.BasicLit:
		if s, err := strconv.Unquote(e.Value); err == nil {
			return s
		}
		return e.Value
	}
	return fmt.Sprintf("%T", e)
}
