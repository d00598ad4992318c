package arch_test

import (
	"strings"
	"testing"
	"testing/fstest"
)

// TestTheTree holds this module to every rule.
func TestTheTree(t *testing.T) {
	tr := here(t)
	if len(tr.files) < 20 || len(portInterfaces(tr)) < 8 {
		t.Fatalf("%d files and %d ports were found: that is not this module", len(tr.files), len(portInterfaces(tr)))
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, broken := range r.check(tr) {
				t.Error(broken)
			}
		})
	}
}

// good is a small tree that keeps every rule, and comes near to breaking some.
var good = map[string]string{
	".gitignore":        "data/\n/bin/\n*.out\n",
	"data/notes.go":     "package notes\nfunc init() {}\n",
	"domain/clock/c.go": "package clock\nimport \"time\"\nconst Hour = time.Hour\nfunc Later(now time.Time) time.Time { return now.Add(Hour) }\n",
	"domain/clock/c_test.go": "package clock_test\nimport (\n\"testing\"\n\"math/rand/v2\"\n\"pgregory.net/rapid\"\n\"" + module + "/domain/clock\"\n)\n" +
		"var _ = clock.Hour\nvar _ = rand.Int\nvar _ *rapid.T\nfunc TestX(*testing.T) {}\n",
	"domain/secret/s.go":                  "package secret\nimport _ \"log/slog\"\n",
	"ports/ports.go":                      "package ports\nimport \"context\"\ntype Keeper interface { Keep(ctx context.Context, what string) error }\n",
	"ports/porttest/keeper.go":            "package porttest\nimport (\n_ \"testing\"\n_ \"math/rand/v2\"\n_ \"pgregory.net/rapid\"\n_ \"" + module + "/ports\"\n)\n",
	"app/app.go":                          "package app\nimport (\n_ \"log/slog\"\n_ \"" + module + "/ports\"\n_ \"" + module + "/app/view\"\n)\n",
	"app/view/view.go":                    "package view\nimport _ \"" + module + "/domain/clock\"\n",
	"app/xteam/xteam.go":                  "package xteam\nimport (\n_ \"" + module + "/app\"\n_ \"" + module + "/adapters/badgerstore\"\n_ \"" + module + "/adapters/httpapi\"\n)\n",
	"app/xteam/wire.go":                   "//go:build wireinject\n\npackage xteam\nimport _ \"github.com/google/wire\"\n",
	"app/xteam/wire_gen.go":               "//go:build !wireinject\n// +build !wireinject\n\npackage xteam\n",
	"adapters/badgerstore/box.go":         "package badgerstore\nimport (\n\"context\"\n\"" + module + "/ports\"\n_ \"github.com/dgraph-io/badger/v4\"\n)\n" + boxed + "var _ ports.Keeper = (*Box)(nil)\n",
	"adapters/badgerstore/box_test.go":    "package badgerstore_test\nimport _ \"" + module + "/adapters/httpapi\"\nfunc init() {}\n",
	"adapters/badgerstore/inner/in.go":    "package inner\nfunc Table() []int { names := []int{1}; names[0] = 2; return names }\n",
	"adapters/httpapi/api.go":             "package httpapi\nimport (\n_ \"" + module + "/app\"\n_ \"github.com/go-json-experiment/json/jsontext\"\n_ \"net/http\"\n)\n",
	"adapters/redisstore/r.go":            "package redisstore\nimport \"" + module + "/ports\"\nvar _ ports.Keeper = keeper{}\n",
	"adapters/jwks/j.go":                  "package jwks\nimport _ \"github.com/lestrrat-go/jwx/v2/jwk\"\ntype Remote struct{}\n",
	"cmd/xteam/main.go":                   "package main\nimport (\n\"os\"\n_ \"" + module + "/adapters/redisstore\"\n_ \"" + module + "/adapters/badgerstore\"\n_ \"github.com/spf13/cobra\"\n)\nvar version = \"dev\"\nfunc main() { version := os.Getenv(\"X\"); version = \"\"; _ = version }\n",
	"tests/e2e/e2e_test.go":               "package e2e_test\nimport _ \"" + module + "/app/xteam\"\n",
	"tests/e2e/testdata/bad.go":           "this is not Go",
	".tools/bad.go":                       "this is not Go",
	"adapters/badgerstore/_old/broken.go": "this is not Go",
}

const boxed = "type Box struct{}\nfunc (b *Box) Keep(ctx context.Context, what string) error { return nil }\n"

// with is the good tree with these files added, or in place of its own.
func with(changes map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for _, from := range []map[string]string{good, changes} {
		for name, text := range from {
			fsys[name] = &fstest.MapFile{Data: []byte(text)}
		}
	}
	return fsys
}

// TestGoodTree shows that no rule is broken by what it means to allow.
func TestGoodTree(t *testing.T) {
	tr, err := load(with(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		for _, broken := range r.check(tr) {
			t.Errorf("%s: %s", r.name, broken)
		}
	}
}

// TestRulesCanFail breaks every rule in each way that it is there for: one file is added to the good tree, or takes the place of one.
func TestRulesCanFail(t *testing.T) {
	imp := func(pkg string, paths ...string) string {
		return "package " + pkg + "\nimport (\n_ \"" + strings.Join(paths, "\"\n_ \"") + "\"\n)\n"
	}
	cases := []struct{ rule, why, file, text, want string }{
		{"top-level folders", "a seventh folder", "internal/x.go", "package internal\n", "internal/: the folders"},
		{"top-level folders", "a folder without Go", "docs/x.md", "hello", "docs/: the folders"},
		{"domain imports", "context", "domain/x/x.go", imp("x", "context"), "imports context"},
		{"domain imports", "a clock's home is elsewhere", "domain/x/x.go", imp("x", "os"), "imports os"},
		{"domain imports", "network", "domain/x/x.go", imp("x", "net/http"), "imports net/http"},
		{"domain imports", "chance", "domain/x/x.go", imp("x", "math/rand/v2"), "imports math/rand/v2"},
		{"domain imports", "the machine's chance", "domain/x/x.go", imp("x", "crypto/rand"), "imports crypto/rand"},
		{"domain imports", "a library", "domain/x/x.go", imp("x", "golang.org/x/crypto/bcrypt"), "imports golang.org/x/crypto/bcrypt"},
		{"domain imports", "the application", "domain/x/x.go", imp("x", module+"/app"), "imports " + module + "/app"},
		{"domain imports", "logging outside secret", "domain/x/x.go", imp("x", "log/slog"), "imports log/slog"},
		{"domain imports", "behind a tag", "domain/x/x.go", "//go:build wireinject\n\n" + imp("x", "os"), "imports os"},
		{"domain imports", "a name that only begins alike", "domain/x/x.go", imp("x", "iox"), "imports iox"},
		{"domain imports", "a test that needs an adapter", "domain/x/x_test.go", imp("x_test", module+"/adapters/badgerstore"), "a test of the domain"},
		{"domain asks no clock", "called", "domain/x/x.go", "package x\nimport \"time\"\nfunc F() time.Time { return time.Now() }\n", "uses time.Now"},
		{"domain asks no clock", "under another name", "domain/x/x.go", "package x\nimport clock \"time\"\nvar now = clock.Now\n", "uses time.Now"},
		{"domain asks no clock", "by a dot", "domain/x/x.go", "package x\nimport . \"time\"\nvar now = Now\n", "by a dot"},
		{"domain asks no clock", "since", "domain/x/x.go", "package x\nimport \"time\"\nfunc F(t time.Time) time.Duration { return time.Since(t) }\n", "uses time.Since"},
		{"domain asks no clock", "a timer", "domain/x/x.go", "package x\nimport \"time\"\nfunc F() <-chan time.Time { return time.After(1) }\n", "uses time.After"},
		{"ports imports", "an adapter", "ports/x.go", imp("ports", module+"/adapters/badgerstore"), "imports " + module + "/adapters/badgerstore"},
		{"ports imports", "network", "ports/x.go", imp("ports", "net/http"), "imports net/http"},
		{"ports imports", "a suite that knows a store", "ports/porttest/x.go", imp("porttest", module+"/adapters/badgerstore"), "a conformance suite"},
		{"ports imports", "a suite with a store's library", "ports/porttest/x.go", imp("porttest", "github.com/dgraph-io/badger/v4"), "a conformance suite"},
		{"app imports", "an adapter", "app/x.go", imp("app", module+"/adapters/badgerstore"), "imports " + module + "/adapters/badgerstore"},
		{"app imports", "a library", "app/x.go", imp("app", "github.com/golang-jwt/jwt/v5"), "imports github.com/golang-jwt"},
		{"app imports", "network", "app/view/x.go", imp("view", "net/http"), "imports net/http"},
		{"app imports", "the façade", "app/view/x.go", imp("view", module+"/app/xteam"), "imports " + module + "/app/xteam"},
		{"app imports", "the test suites", "app/x.go", imp("app", module+"/ports/porttest"), "imports " + module + "/ports/porttest"},
		{"adapters do not know one another", "another", "adapters/other/x.go", imp("other", module+"/adapters/badgerstore"), "imports " + module + "/adapters/badgerstore"},
		{"adapters do not know one another", "a folder in another", "adapters/httpapi/x.go", imp("httpapi", module+"/adapters/badgerstore/inner"), "imports " + module + "/adapters/badgerstore/inner"},
		{"adapters do not know one another", "the test suites", "adapters/httpapi/x.go", imp("httpapi", module+"/ports/porttest"), "imports " + module + "/ports/porttest"},
		{"only transports import app", "a store", "adapters/badgerstore/x.go", imp("badgerstore", module+"/app/view"), "only a transport"},
		{"only transports import app", "ports", "ports/x.go", imp("ports", module+"/app"), "only a transport"},
		{"nobody imports a composition root", "a transport", "adapters/httpapi/x.go", imp("httpapi", module+"/app/xteam"), "a composition root"},
		{"nobody imports a composition root", "one another", "app/verify/x.go", imp("verify", module+"/app/xteam"), "a composition root"},
		{"a library has one home", "another adapter", "adapters/httpapi/x.go", imp("httpapi", "github.com/golang-jwt/jwt/v5"), "its home is adapters/jwtcodec"},
		{"a library has one home", "a package in it", "adapters/httpapi/x.go", imp("httpapi", "github.com/dgraph-io/badger/v4/options"), "its home is adapters/badgerstore"},
		{"a library has one home", "jwx beside the tokens", "adapters/jwtcodec/x.go", imp("jwtcodec", "github.com/lestrrat-go/jwx/v2/jwk"), "its home is adapters/jwks"},
		{"a library has one home", "jwx in a composition root", "app/verify/x.go", imp("verify", "github.com/lestrrat-go/jwx/v2/jwt"), "its home is adapters/jwks"},
		{"a library has one home", "the façade", "app/xteam/x.go", imp("xteam", "golang.org/x/crypto/bcrypt"), "its home is adapters/passhash"},
		{"a library has one home", "a database's driver", "cmd/xteam/x.go", imp("main", "github.com/jackc/pgx/v5/pgxpool"), "its home is adapters/pgstore"},
		{"a library has one home", "a new one", "cmd/xteam/x.go", imp("main", "github.com/gorilla/mux"), "no folder is named"},
		{"a library has one home", "behind a tag", "adapters/httpapi/x.go", "//go:build wireinject\n\n" + imp("httpapi", "github.com/spf13/cobra"), "its home is cmd/xteam"},
		{"a library has one home", "a test's library in the product", "adapters/httpapi/x.go", imp("httpapi", "github.com/google/go-cmp/cmp"), "its home is ports/porttest"},
		{"wire only where it is tagged", "no tag", "app/xteam/x.go", imp("xteam", "github.com/google/wire"), "imports wire"},
		{"wire only where it is tagged", "the reverse tag", "app/xteam/x.go", "//go:build !wireinject\n\n" + imp("xteam", "github.com/google/wire"), "imports wire"},
		{"wire only where it is tagged", "a tag among others", "app/xteam/x.go", "//go:build wireinject || linux\n\n" + imp("xteam", "github.com/google/wire"), "imports wire"},
		{"wire only where it is tagged", "a tag below the package clause", "app/xteam/x.go", "package xteam\n\n//go:build wireinject\n\nimport _ \"github.com/google/wire\"\n", "imports wire"},
		{"an embedded program stays small", "at once", "app/xteam/x.go", imp("xteam", "github.com/redis/go-redis/v9"), "app/xteam links github.com/redis"},
		{"an embedded program stays small", "through an adapter", "adapters/badgerstore/x.go", imp("badgerstore", "github.com/lestrrat-go/jwx/v2/jwk"), "through app/xteam → adapters/badgerstore"},
		{"an embedded program stays small", "two steps away", "app/view/view.go", imp("view", "github.com/jackc/pgx/v5"), "through app/xteam → app → app/view"},
		{"an embedded program stays small", "the library that moves tables on", "app/xteam/x.go", imp("xteam", "github.com/pressly/goose/v3"), "links github.com/pressly"},
		{"an embedded program stays small", "only with the injectors' tag", "app/xteam/x.go", "//go:build wireinject\n\n" + imp("xteam", "github.com/hashicorp/vault/api"), "links github.com/hashicorp/vault"},
		{"an embedded program stays small", "the library that moves tables on", "app/xteam/x.go", imp("xteam", "github.com/pressly/goose/v3"), "links github.com/pressly"},
		{"an embedded program stays small", "only without it", "app/xteam/wire_gen.go", "//go:build !wireinject\n\n" + imp("xteam", "github.com/99designs/gqlgen/graphql"), "links github.com/99designs"},
		{"an embedded program stays small", "a cloud", "app/xteam/x.go", imp("xteam", "github.com/aws/aws-sdk-go-v2/config"), "links github.com/aws"},
		{"no math/rand", "in an adapter", "adapters/badgerstore/x.go", imp("badgerstore", "math/rand"), "imports math/rand"},
		{"no math/rand", "its second version", "cmd/xteam/x.go", imp("main", "math/rand/v2"), "imports math/rand/v2"},
		{"no init", "in an adapter", "adapters/badgerstore/x.go", "package badgerstore\nfunc init() {}\n", "func init"},
		{"no assigned globals", "a variable", "adapters/badgerstore/x.go", "package badgerstore\nvar n int\nfunc F() { n = 1 }\n", "variable n"},
		{"no assigned globals", "of another file", "adapters/badgerstore/inner/x.go", "package inner\nfunc F() { hidden++ }\nfunc G() { hidden += 2 }\nvar hidden int\n", "variable hidden"},
		{"no assigned globals", "an element", "adapters/badgerstore/x.go", "package badgerstore\nvar seen = map[string]int{}\nfunc F() { seen[\"a\"] = 1 }\n", "variable seen"},
		{"no assigned globals", "a field behind a pointer", "adapters/badgerstore/x.go", "package badgerstore\nvar b = &Box{}\nfunc F() { *b = Box{} }\n", "variable b"},
		{"adapters read no environment", "a store", "adapters/badgerstore/x.go", "package badgerstore\nimport \"os\"\nvar d = os.Getenv(\"DATA_DIR\")\n", "uses os.Getenv"},
		{"adapters read no environment", "as a value", "adapters/badgerstore/x.go", "package badgerstore\nimport \"os\"\nvar lookup = os.LookupEnv\n", "uses os.LookupEnv"},
		{"adapters say which port they are", "none said", "adapters/other/x.go", "package other\n", "adapters/other has no line"},
		{"adapters say which port they are", "one not said, where none need be", "adapters/jwks/x.go", "package jwks\nimport \"context\"\ntype Crate struct{}\nfunc (Crate) Keep(context.Context, string) error { return nil }\n", "Crate has the methods"},
		{"adapters say which port they are", "one not said", "adapters/badgerstore/x.go", "package badgerstore\nimport \"context\"\ntype Crate struct{}\nfunc (Crate) Keep(context.Context, string) error { return nil }\n", "Crate has the methods"},
		{"adapters say which port they are", "said of another type", "adapters/badgerstore/box.go", "package badgerstore\nimport (\n\"context\"\n\"" + module + "/ports\"\n)\n" + boxed + "type small struct{ Box }\nvar _ ports.Keeper = (*small)(nil)\n", "Box has the methods"},
	}
	failed := map[string]bool{}
	for _, c := range cases {
		t.Run(c.rule+"/"+c.why, func(t *testing.T) {
			failed[c.rule] = true
			tr, err := load(with(map[string]string{c.file: c.text}))
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rules {
				if r.name == c.rule {
					if got := strings.Join(r.check(tr), "\n"); !strings.Contains(got, c.want) {
						t.Errorf("got %q, want a sentence with %q", got, c.want)
					}
					return
				}
			}
			t.Error("there is no such rule")
		})
	}
	for _, r := range rules {
		if !failed[r.name] {
			t.Errorf("no case breaks the rule %q", r.name)
		}
	}
}
