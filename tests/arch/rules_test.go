package arch_test

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// rule answers one sentence for each place that breaks it.
type rule struct {
	name  string
	check func(*tree) []string
}

var rules = []rule{
	{"top-level folders", topLevel},
	{"domain imports", domainImports},
	{"domain asks no clock", domainClock},
	{"ports imports", portsImports},
	{"app imports", appImports},
	{"adapters do not know one another", adaptersApart},
	{"only transports import app", appImportedBy},
	{"nobody imports a composition root", rootsImportedBy},
	{"a library has one home", libraryHomes},
	{"wire only where it is tagged", wireTagged},
	{"an embedded program stays small", embeddedBuild},
	{"no math/rand", noMathRand},
	{"no init", noInit},
	{"no assigned globals", noAssignedGlobals},
	{"adapters read no environment", noEnvironment},
	{"adapters say which port they are", portsAsserted},
}

// roots are the composition roots: they choose the adapters.
var roots = []string{"cmd", "app/xteam", "app/verify"}

// transports are the adapters by which others call us: they hold the application.
var transports = []string{"adapters/httpapi", "adapters/graphqlapi", "adapters/wsfeed", "adapters/console"}

// domainStd is all of the standard library that the domain may import: nothing that does I/O, waits, or asks the machine for time or chance.
// embed reads when a program is built, never when it runs: what it embeds is a constant (the common passwords of domain/account).
var domainStd = []string{
	"bytes", "cmp", "embed", "encoding", "errors", "fmt", "hash", "io", "iter", "maps", "math", "net/netip", "regexp", "slices", "sort", "strconv", "strings",
	"sync", "time", "unicode", "unique", "unsafe",
	"crypto/aes", "crypto/cipher", "crypto/ecdsa", "crypto/ed25519", "crypto/elliptic", "crypto/hkdf", "crypto/hmac", "crypto/sha256", "crypto/sha3",
	"crypto/sha512", "crypto/subtle",
}

// domainNot are packages beneath those that the domain may not import all the same.
var domainNot = []string{"math/rand", "encoding/gob"}

func topLevel(t *tree) (broken []string) {
	want := []string{"adapters", "app", "cmd", "domain", "ports", "tests"}
	for _, name := range t.top {
		if !slices.Contains(want, name) {
			broken = append(broken, fmt.Sprintf("%s/: the folders at the root are %s", name, strings.Join(want, ", ")))
		}
	}
	for _, name := range want {
		if !slices.Contains(t.top, name) {
			broken = append(broken, name+"/ is missing at the root")
		}
	}
	return broken
}

// imports judges every import of the files that are asked for.
func imports(t *tree, which func(*file) bool, allowed func(f *file, to string) bool, why string) (broken []string) {
	for _, f := range t.files {
		if !which(f) {
			continue
		}
		for _, spec := range f.syntax.Imports {
			to := strings.Trim(spec.Path.Value, "`\"")
			if !allowed(f, to) {
				broken = append(broken, fmt.Sprintf("%s imports %s: %s", t.at(spec), to, why))
			}
		}
	}
	return broken
}

func domainMay(f *file, to string) bool {
	if to == "log/slog" {
		return f.dir == "domain/secret"
	}
	if folder, ok := ours(to); ok {
		return within(folder, "domain")
	}
	in := func(list []string) bool {
		return slices.ContainsFunc(list, func(p string) bool { return within(to, p) })
	}
	return in(domainStd) && !in(domainNot)
}

func domainImports(t *tree) []string {
	broken := imports(t, func(f *file) bool { return f.in("domain") && !f.test }, domainMay,
		"the domain imports the domain and a short list of the standard library")
	return append(broken, imports(t, func(f *file) bool { return f.in("domain") && f.test },
		func(_ *file, to string) bool { folder, ok := ours(to); return !ok || within(folder, "domain") },
		"a test of the domain needs nothing outside it")...)
}

func domainClock(t *tree) []string {
	return uses(t, func(f *file) bool { return f.in("domain") && !f.test }, "time",
		[]string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Local", "LoadLocation"}, "now is handed in")
}

// uses finds every mention of a package's names, called or not.
func uses(t *tree, which func(*file) bool, pkg string, names []string, why string) (broken []string) {
	for _, f := range t.files {
		local, ok := f.imports[pkg]
		if !ok || !which(f) {
			continue
		}
		if local == "." {
			broken = append(broken, fmt.Sprintf("%s imports %s by a dot: its names cannot be told from others", f.name, pkg))
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == local && x.Obj == nil && slices.Contains(names, sel.Sel.Name) {
				broken = append(broken, fmt.Sprintf("%s uses %s.%s: %s", t.at(sel), pkg, sel.Sel.Name, why))
			}
			return true
		})
	}
	return broken
}

func portsImports(t *tree) []string {
	broken := imports(t, func(f *file) bool { return f.in("ports") && !f.in("ports/porttest") && !f.test },
		func(f *file, to string) bool { return to == "context" || domainMay(f, to) }, "ports are made of the domain and context")
	return append(broken, imports(t, func(f *file) bool { return f.in("ports/porttest") },
		func(_ *file, to string) bool {
			if folder, ok := ours(to); ok {
				return within(folder, "domain") || within(folder, "ports")
			}
			return !foreign(to) || testLibrary(to)
		}, "a conformance suite knows ports, the domain and what tests are made of")...)
}

// appNot is what of the standard library the application leaves to adapters.
var appNot = []string{"net/http", "net/rpc", "net/smtp", "database/sql", "os", "syscall", "plugin", "html/template"}

func appImports(t *tree) []string {
	return imports(t, func(f *file) bool { return f.in("app") && !f.inAny(roots...) && !f.test },
		func(_ *file, to string) bool {
			if folder, ok := ours(to); ok {
				return within(folder, "domain") || folder == "ports" || within(folder, "app") && !isRoot(folder)
			}
			return !foreign(to) && !slices.ContainsFunc(appNot, func(p string) bool { return within(to, p) })
		}, "the application knows the domain, ports and the standard library without its doors to the world")
}

func isRoot(folder string) bool {
	return slices.ContainsFunc(roots, func(r string) bool { return within(folder, r) })
}

// adapter is the adapter's folder that a path lies in.
func adapter(folder string) (string, bool) {
	parts := strings.SplitN(folder, "/", 3)
	if len(parts) < 2 || parts[0] != "adapters" {
		return "", false
	}
	return parts[0] + "/" + parts[1], true
}

func adaptersApart(t *tree) []string {
	return imports(t, func(f *file) bool { return f.in("adapters") && !f.test },
		func(f *file, to string) bool {
			folder, ok := ours(to)
			if !ok {
				return true
			}
			if other, ok := adapter(folder); ok {
				own, _ := adapter(f.dir)
				return own == other
			}
			return within(folder, "domain") || folder == "ports" || within(folder, "app") // app: judged by another rule
		}, "an adapter knows the domain, ports and its one library, never another adapter")
}

func appImportedBy(t *tree) []string {
	return imports(t, func(f *file) bool { return !f.test && !f.inAny("app", "cmd", "tests") && !f.inAny(transports...) },
		func(_ *file, to string) bool { folder, ok := ours(to); return !ok || !within(folder, "app") },
		"only a transport holds the application: "+strings.Join(transports, ", "))
}

func rootsImportedBy(t *tree) []string {
	return imports(t, func(f *file) bool { return !f.test && f.inAny("domain", "ports", "app", "adapters") },
		func(f *file, to string) bool {
			folder, ok := ours(to)
			if !ok || !isRoot(folder) {
				return true
			}
			return f.in(folder) || f.in("app/xteam") && within(folder, "app/xteam") || f.in("app/verify") && within(folder, "app/verify")
		}, "a composition root is imported by programs and tests only")
}

func noMathRand(t *tree) []string {
	return imports(t, func(f *file) bool { return !f.test && !f.in("ports/porttest") },
		func(_ *file, to string) bool { return !within(to, "math/rand") },
		"chance comes from crypto/rand, handed in as an io.Reader")
}

func noInit(t *tree) (broken []string) {
	for _, f := range t.files {
		if f.test {
			continue
		}
		for _, d := range f.syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				broken = append(broken, fmt.Sprintf("%s: a func init runs in every program that links the package: write a constructor", t.at(fn)))
			}
		}
	}
	return broken
}

// noAssignedGlobals finds package-level variables that some function assigns to, or whose fields or elements it assigns to: state that two systems
// in one process would share. A variable that is only declared, such as a table or an error, is a constant in all but name.
func noAssignedGlobals(t *tree) (broken []string) {
	globals := map[string]map[string]bool{} // folder, then name
	each := func(do func(*file)) {
		for _, f := range t.files {
			if !f.test {
				do(f)
			}
		}
	}
	each(func(f *file) {
		for _, d := range f.syntax.Decls {
			gen, ok := d.(*ast.GenDecl)
			if !ok || gen.Tok != token.VAR {
				continue
			}
			for _, s := range gen.Specs {
				for _, name := range s.(*ast.ValueSpec).Names {
					if globals[f.dir] == nil {
						globals[f.dir] = map[string]bool{}
					}
					globals[f.dir][name.Name] = name.Name != "_"
				}
			}
		}
	})
	each(func(f *file) {
		// A local name resolves to its own declaration; one of the package resolves to the declaration at the top of this file, or to none.
		top := map[any]bool{nil: true}
		for _, d := range f.syntax.Decls {
			if gen, ok := d.(*ast.GenDecl); ok {
				for _, s := range gen.Specs {
					top[s] = true
				}
			}
		}
		judge := func(target ast.Expr) {
			x := rootOf(target)
			if x == nil || !globals[f.dir][x.Name] || x.Obj != nil && !top[x.Obj.Decl] {
				return
			}
			broken = append(broken, fmt.Sprintf("%s assigns to the package's variable %s: hold it in a value that somebody makes", t.at(target), x.Name))
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					for _, target := range n.Lhs {
						judge(target)
					}
				}
			case *ast.IncDecStmt:
				judge(n.X)
			}
			return true
		})
	})
	return broken
}

// rootOf is the name that an assignment's target begins with.
func rootOf(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.IndexExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}

func noEnvironment(t *tree) []string {
	// The conformance suites tell a test's child process by its environment what it is.
	return uses(t, func(f *file) bool {
		return f.inAny("adapters", "app", "ports", "domain") && !f.in("ports/porttest") && !f.test
	}, "os",
		[]string{"Getenv", "LookupEnv", "Environ", "ExpandEnv", "Args"}, "settings are parsed in cmd and handed in")
}
