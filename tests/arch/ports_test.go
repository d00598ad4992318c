package arch_test

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// methods are names with the types of their parameters and results.
type methods map[string]string

// shape writes the types of a function without the packages they come from, so that ports.Effects there is Effects here.
func shape(ft *ast.FuncType) string {
	var b strings.Builder
	for _, list := range []*ast.FieldList{ft.Params, ft.Results} {
		b.WriteString("(")
		if list != nil {
			for _, field := range list.List {
				for range max(1, len(field.Names)) {
					b.WriteString(unqualified.ReplaceAllString(types.ExprString(field.Type), "") + ", ")
				}
			}
		}
		b.WriteString(")")
	}
	return b.String()
}

var unqualified = regexp.MustCompile(`\b\w+\.`)

// portInterfaces are the interfaces of package ports.
func portInterfaces(t *tree) map[string]methods {
	found := map[string]methods{}
	for _, f := range t.files {
		if f.dir != "ports" || f.test {
			continue
		}
		for _, d := range f.syntax.Decls {
			gen, ok := d.(*ast.GenDecl)
			if !ok || gen.Tok != token.TYPE {
				continue
			}
			for _, s := range gen.Specs {
				spec := s.(*ast.TypeSpec)
				face, ok := spec.Type.(*ast.InterfaceType)
				if !ok || !spec.Name.IsExported() {
					continue
				}
				found[spec.Name.Name] = methods{}
				for _, m := range face.Methods.List {
					if ft, ok := m.Type.(*ast.FuncType); ok && len(m.Names) == 1 {
						found[spec.Name.Name][m.Names[0].Name] = shape(ft)
					}
				}
			}
		}
	}
	return found
}

// portless are adapters that stand behind no port: a composition root holds what they make.
var portless = []string{"adapters/jwks", "adapters/mimetypes"}

// portsAsserted asks two things of an adapter that is not a transport: it says of at least one type which port it implements, unless it is portless, and of every exported type
// that has all the methods of a port: var _ ports.X = (*T)(nil).
func portsAsserted(t *tree) (broken []string) {
	faces := portInterfaces(t)
	has := map[string]map[string]methods{} // adapter, then exported type
	says := map[string]map[string]bool{}   // adapter, then "port type"
	for _, f := range t.files {
		own, ok := adapter(f.dir)
		if !ok || f.test || slices.Contains(transports, own) {
			continue
		}
		if has[own] == nil {
			has[own], says[own] = map[string]methods{}, map[string]bool{}
		}
		for _, d := range f.syntax.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					continue
				}
				if name := typeName(d.Recv.List[0].Type); ast.IsExported(name) {
					if has[own][name] == nil {
						has[own][name] = methods{}
					}
					has[own][name][d.Name.Name] = shape(d.Type)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if spec, ok := s.(*ast.ValueSpec); ok && spec.Names[0].Name == "_" && len(spec.Values) == 1 {
						if sel, ok := spec.Type.(*ast.SelectorExpr); ok {
							says[own][sel.Sel.Name+" "+typeName(spec.Values[0])] = true
						}
					}
				}
			}
		}
	}
	for _, own := range slices.Sorted(maps.Keys(has)) {
		if len(says[own]) == 0 && !slices.Contains(portless, own) {
			broken = append(broken, own+" has no line var _ ports.X = (*T)(nil)")
		}
		for _, name := range slices.Sorted(maps.Keys(has[own])) {
			for _, face := range slices.Sorted(maps.Keys(faces)) {
				if implements(has[own][name], faces[face]) && !says[own][face+" "+name] {
					broken = append(broken, fmt.Sprintf("%s.%s has the methods of a port and does not say so: var _ ports.%s = (*%s)(nil)", own, name, face, name))
				}
			}
		}
	}
	return broken
}

func implements(have, want methods) bool {
	for name, n := range want {
		if got, ok := have[name]; !ok || got != n {
			return false
		}
	}
	return len(want) > 0
}

// typeName is T of T, *T, (*T)(nil), T{} and &T{}.
func typeName(e ast.Expr) string {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x.Name
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.CallExpr:
			e = x.Fun
		case *ast.CompositeLit:
			e = x.Type
		case *ast.UnaryExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		default:
			return ""
		}
	}
}
