package arch_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// homes says in which folder each library may be imported: one, but for the strict JSON that stands in for the standard library's.
// A library that is not here may not be imported at all.
var homes = map[string][]string{
	"github.com/golang-jwt/jwt/v5":         {"adapters/jwtcodec"},
	"github.com/lestrrat-go/jwx/v2":        {"adapters/jwks"},
	"github.com/dgraph-io/badger/v4":       {"adapters/badgerstore"},
	"github.com/redis/go-redis/v9":         {"adapters/redisstore"},
	"github.com/coder/websocket":           {"adapters/wsfeed", "adapters/graphqlapi"},
	"github.com/jackc/pgx/v5":              {"adapters/pgstore"},
	"github.com/pressly/goose/v3":          {"adapters/pgstore"},
	"github.com/hashicorp/vault/api":       {"adapters/vaultsecrets"},
	"github.com/aws/aws-sdk-go-v2":         {"adapters/awssecrets", "adapters/awswaf"},
	"github.com/aws/smithy-go":             {"adapters/awssecrets", "adapters/awswaf"},
	"github.com/Azure/azure-sdk-for-go":    {"adapters/azuresecrets"},
	"github.com/99designs/gqlgen":          {"adapters/graphqlapi"},
	"github.com/vektah/gqlparser/v2":       {"adapters/graphqlapi"},
	"github.com/go-json-experiment/json":   {"adapters/httpapi", "adapters/graphqlapi", "adapters/jwtcodec", "adapters/jwks"},
	"github.com/gabriel-vasile/mimetype":   {"adapters/mimetypes"},
	"golang.org/x/crypto/bcrypt":           {"adapters/passhash"},
	"golang.org/x/crypto/argon2":           {"adapters/passhash"},
	"golang.org/x/term":                    {"cmd/xteam"},
	"golang.org/x/mod":                     {"cmd/xteam"},
	"golang.org/x/crypto/chacha20poly1305": {"adapters/fieldcrypt"},
	"github.com/spf13/cobra":               {"cmd/xteam"},
	"github.com/spf13/pflag":               {"cmd/xteam"},
	"github.com/prometheus/client_golang":  {"adapters/metrics", "adapters/otlptelemetry"},
	"go.opentelemetry.io":                  {"adapters/otlptelemetry"},
	"github.com/google/wire":               nil, // anywhere, in files that the tag wireinject guards: wireTagged
	"pgregory.net/rapid":                   {"ports/porttest"},
	"github.com/google/go-cmp":             {"ports/porttest"},
	"go.uber.org/goleak":                   {"ports/porttest"},
	"github.com/rogpeppe/go-internal":      {"ports/porttest"},
}

// testLibraries are what tests are made of, besides what they test.
var testLibraries = []string{"pgregory.net/rapid", "github.com/google/go-cmp", "go.uber.org/goleak", "github.com/rogpeppe/go-internal"}

func testLibrary(importPath string) bool {
	return slices.ContainsFunc(testLibraries, func(p string) bool { return within(importPath, p) })
}

func libraryHomes(t *tree) (broken []string) {
	for _, f := range t.files {
		if f.test {
			continue
		}
		for _, to := range slices.Sorted(maps.Keys(f.imports)) {
			if !foreign(to) {
				continue
			}
			broken = append(broken, judge(f, to)...)
		}
	}
	return broken
}

func judge(f *file, to string) []string {
	for library, home := range homes {
		if !within(to, library) {
			continue
		}
		if home == nil || f.inAny(home...) {
			return nil
		}
		return []string{fmt.Sprintf("%s imports %s: its home is %s", f.name, to, strings.Join(home, " or "))}
	}
	return []string{fmt.Sprintf("%s imports %s: no folder is named as its home", f.name, to)}
}

func wireTagged(t *tree) (broken []string) {
	for _, f := range t.files {
		if _, ok := f.imports["github.com/google/wire"]; !ok {
			continue
		}
		if f.builds() || !f.builds("wireinject") {
			broken = append(broken, f.name+" imports wire: only a file with //go:build wireinject may, so that no program links it")
		}
	}
	return broken
}

// notEmbedded is what a Go program that embeds XTeam must not link because of it.
var notEmbedded = []string{"github.com/redis/go-redis", "github.com/hashicorp/vault", "github.com/99designs/gqlgen", "github.com/vektah/gqlparser",
	"github.com/jackc", "github.com/pressly/goose", "github.com/lestrrat-go/jwx", "github.com/aws", "github.com/Azure", "github.com/spf13", "github.com/prometheus", "github.com/gabriel-vasile", "go.opentelemetry.io", "github.com/google/wire", "database/sql", "testing"}

// embeddedBuild walks the module's imports from the façade. A foreign library's own imports are not followed: its home is what links it. With the tag
// of the injectors, which no program is built with, wire itself is to be expected.
func embeddedBuild(t *tree) (broken []string) {
	for _, tags := range [][]string{nil, {"wireinject"}} {
		from := map[string]string{"app/xteam": ""} // folder to the one that imports it
		for queue := []string{"app/xteam"}; len(queue) > 0; queue = queue[1:] {
			for _, f := range t.files {
				if f.dir != queue[0] || f.test || !f.builds(tags...) {
					continue
				}
				for _, to := range slices.Sorted(maps.Keys(f.imports)) {
					if folder, ok := ours(to); ok {
						if _, seen := from[folder]; !seen {
							from[folder] = f.dir
							queue = append(queue, folder)
						}
						continue
					}
					if to == "github.com/google/wire" && tags != nil {
						continue
					}
					if slices.ContainsFunc(notEmbedded, func(p string) bool { return within(to, p) || strings.HasPrefix(to, p+"-") }) {
						broken = append(broken, fmt.Sprintf("app/xteam links %s, through %s", to, chain(from, f.dir)))
					}
				}
			}
		}
	}
	return slices.Compact(broken)
}

func chain(from map[string]string, folder string) string {
	text := folder
	for from[folder] != "" {
		folder = from[folder]
		text = folder + " → " + text
	}
	return text
}
