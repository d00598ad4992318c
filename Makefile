# XTeam. Needed: Go and make. `make` alone tells what there is to do.

SHELL      = /bin/sh
CACHE      = $(or $(XDG_CACHE_HOME),$(HOME)/.cache)
TOOLS      = $(CACHE)/xteam-tools
SOURCES    = adapters app cmd domain ports tests
FUZZTIME   = 10s
BENCHFLAGS =

# Tools of `make verify`, each built once in a folder that carries its version.
GOLANGCI_LINT = $(TOOLS)/golangci-lint-v2.15.0/golangci-lint
GO_LICENSES   = $(TOOLS)/go-licenses-v1.6.0/go-licenses
SQLC          = $(TOOLS)/sqlc-v1.31.1/sqlc
GOVULNCHECK   = $(TOOLS)/govulncheck-v1.9.0/govulncheck
CYCLONEDX     = $(TOOLS)/cyclonedx-gomod-v1.10.0/cyclonedx-gomod

LICENCES = Apache-2.0,BSD-2-Clause,BSD-3-Clause,ISC,MIT,MPL-2.0

# What tests need beside Go, as command:Debian package. The race detector is linked with C.
NEEDS = strace:strace curl:curl bash:bash sslscan:sslscan systemd-analyze:systemd cc:gcc cc:libc6-dev node:nodejs npm:npm redis-server:redis-server redis-cli:redis-tools pg_ctlcluster:postgresql nginx:nginx-light caddy:caddy haproxy:haproxy promtool:prometheus

.PHONY: help run test test-vault faults museum-broken verify bench profile graphiql passwords fuzz fuzz-all build same sbom deps vulns format vet lint wire sql gql api tidy licences

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

run: build ## build and start a first look: the tour, an administrator, lines to paste
	bin/xteam dev

test: deps ## every test, with the race detector and the real components (15 to 19 min on 2 cores, 23 cold)
	@race=-race; \
	if ! command -v cc >/dev/null; then \
	  [ -z "$$CI" ] || { echo 'make test: no C compiler, so no race detector; CI must have one' >&2; exit 1; }; \
	  echo 'make test: no C compiler is installed, so the tests run without the race detector'; race=; \
	fi; \
	XTEAM_TEST_REAL=1 go test $$race -timeout 20m ./...
	@# What counts allocations is built without the race detector only, which allocates too.
	@plain=$$(grep -rl --include='*_test.go' '^//go:build !race' $(SOURCES) | xargs -r -n 1 dirname | sort -u | sed 's|^|./|'); \
	[ -z "$$plain" ] || { echo 'go test, without the race detector, of what counts allocations'; XTEAM_TEST_REAL=1 go test -timeout 10m $$plain; }

test-vault: ## what a real Vault server proves; it is built once into the cache (about 11 min and 5 GB of memory on 2 cores)
	@packages=$$(grep -rl --include='*_test.go' XTEAM_TEST_VAULT $(SOURCES) | xargs -r -n 1 dirname | sort -u | sed 's|^|./|'); \
	[ -n "$$packages" ] || { echo 'make test-vault: no test asks for XTEAM_TEST_VAULT'; exit 1; }; \
	vault=$$(.ci/vault) && XTEAM_TEST_VAULT="$$vault" go test $(if $(shell command -v cc),-race) -count=1 -timeout 10m -run '^TestReal' $$packages

faults: deps ## three nodes, real Redis and PostgreSQL, and what goes wrong with them, as a table (about 4 min on 2 cores)
	XTEAM_TEST_REAL=1 XTEAM_TEST_FAULTS=1 go test -count=1 -timeout 20m -parallel 2 -v -run '^(TestFaults|TestThreeNodes|TestTheChecker.*|TestLink|TestComposeCluster)$$' ./tests/faults

museum-broken: ## builds the product once for each of some 80 deliberate faults, and demands that the museum notices each, as a table (about 30 min on 2 cores)
	XTEAM_TEST_BROKEN=1 go test -count=1 -timeout 120m -v -run '^TestBroken$$' ./tests/security

verify: format vet wire sql gql api tidy lint licences ## formatting, vet, linters, generated code, go.mod, licences (about 5 min cold)

bench: ## the figures of speed, each beside its goal (about 9 min; a quiet machine)
	go test -count=1 -timeout 30m -run '^$$' -bench . -benchtime 1x $(BENCHFLAGS) ./tests/bench

# A target is tried again when it fails: what it has found lies in its corpus by then, and fails again; that its time ended while an input was being tried (golang/go#75804, mended in Go 1.27) does not.
fuzz: ## each fuzz target for FUZZTIME (10s)
	@grep -rn --include='*_test.go' -o '^func Fuzz[A-Za-z0-9_]*' $(SOURCES) | sed 's|/[^/]*:[0-9]*:func | |' | sort -u | \
	while read -r folder name; do \
	  echo "$$name in $$folder, $(FUZZTIME)"; \
	  set -- go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x "./$$folder"; \
	  "$$@" </dev/null || "$$@" </dev/null || exit 1; \
	done

fuzz-all: ## each fuzz target for 30 s, and of each that has next to no corpus some of what was found, to be committed (about half an hour)
	@$(MAKE) --no-print-directory fuzz FUZZTIME=30s && .ci/corpus

build: ## bin/xteam, one static binary, optimised by the profile of a loaded server
	CGO_ENABLED=0 go build -trimpath -pgo=cmd/xteam/guard.pgo -buildvcs=$$(git rev-parse HEAD >/dev/null 2>&1 && echo true || echo false) -ldflags '-s -w' -o bin/xteam ./cmd/xteam

profile: ## that profile anew, of guarded GETs under load (25 s on a quiet machine); when the hot path has changed
	@binary=$$(mktemp) && trap 'rm -f "$$binary"' EXIT && \
	XTEAM_BENCH_PROFILE=1 go test -count=1 -run '^$$' -bench '^BenchmarkProfile$$' -benchtime 1x -o "$$binary" -cpuprofile "$(CURDIR)/cmd/xteam/guard.pgo" ./tests/bench

same: ## build HEAD twice, in two folders, once from cold, and compare the bytes (about 1 min on 2 cores)
	@git rev-parse -q --verify HEAD >/dev/null || { echo 'make same: this is no git repository, so there is no HEAD to build'; exit 1; }; \
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	git clone -q . "$$folder/a" && git clone -q . "$$folder/another/longer/b" && \
	$(MAKE) -s --no-print-directory -C "$$folder/a" build && \
	GOCACHE="$$folder/cold" $(MAKE) -s --no-print-directory -C "$$folder/another/longer/b" build && \
	cd "$$folder" && sha256sum a/bin/xteam another/longer/b/bin/xteam && cmp a/bin/xteam another/longer/b/bin/xteam && \
	echo 'make same: the two are the same, byte for byte'

# The tool makes a version of the time when HEAD was written, Go of when it was committed: the binary's stands.
sbom: $(CYCLONEDX) ## bin/xteam.cdx.json: what the binary of HEAD is made of, as CycloneDX, held against the binary and the schema
	@git rev-parse -q --verify HEAD >/dev/null || { echo 'make sbom: this is no git repository, so there is no HEAD to tell of'; exit 1; }; \
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && git clone -q . "$$folder/a" && \
	(cd "$$folder/a" && CGO_ENABLED=0 $(CYCLONEDX) app -json -licenses -std -noserial -notimestamp -main cmd/xteam -output "$$folder/xteam.cdx.json" .) && \
	$(MAKE) -s --no-print-directory -C "$$folder/a" build && \
	version=$$("$$folder/a/bin/xteam" version --json | sed 's/.*"version":"\([^"]*\)".*/\1/') && commit=$$(git rev-parse --short=12 HEAD) && \
	sed -i "s/v[0-9][0-9a-z.-]*-$$commit/$$version/g" "$$folder/xteam.cdx.json" && \
	schemas=$$(go mod download -json github.com/CycloneDX/cyclonedx-gomod@v1.10.0 | sed -n 's/.*"Dir": "\(.*\)",/\1/p')/internal/testutil/schema && \
	XTEAM_TEST_SBOM="$$folder/xteam.cdx.json" XTEAM_TEST_SBOM_BINARY="$$folder/a/bin/xteam" XTEAM_TEST_SBOM_SCHEMAS="$$schemas" go test -count=1 ./tests/sbom && \
	mkdir -p bin && cp "$$folder/xteam.cdx.json" bin/

deps: ## install what the tests need beside Go, where apt and its rights are at hand
	@missing=; for need in $(NEEDS); do command -v "$${need%%:*}" >/dev/null || missing="$$missing $${need#*:}"; done; \
	[ -n "$$missing" ] || exit 0; \
	as=; [ "$$(id -u)" = 0 ] || as='sudo -n'; \
	if ! command -v apt-get >/dev/null || ! $$as true 2>/dev/null; then \
	  echo "make deps: missing:$$missing; they cannot be installed from here (it takes apt-get, and root or sudo): install them by hand, or their tests fail"; exit 0; \
	fi; \
	echo "make deps: installing$$missing"; \
	$$as apt-get -q update && \
	$$as env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $$missing

vulns: $(GOVULNCHECK) ## known vulnerabilities of what is linked; fetches its database, so it needs a network
	$(GOVULNCHECK) ./...

format:
	@wrong=$$(gofmt -l $(SOURCES)); [ -z "$$wrong" ] || { echo "gofmt -w would change:"; echo "$$wrong"; exit 1; }

vet:
	go vet ./...
	go vet -tags wireinject ./...
	GOOS=darwin go vet ./cmd/xteam

wire: # what wire would write is what is committed, in every package that has a wire.go
	@packages=$$(find $(SOURCES) -name wire.go | xargs -r -n 1 dirname | sort | sed 's|^|./|'); \
	[ -n "$$packages" ] || { echo 'make wire: no wire.go was found'; exit 1; }; \
	echo go tool wire diff $$packages; \
	go tool wire diff $$packages || { echo "wire_gen.go is stale or cannot be made: go tool wire gen" $$packages; exit 1; }

sql: $(SQLC) # what sqlc would write is what is committed, in every package that has a sqlc.yaml
	@configs=$$(find $(SOURCES) -name sqlc.yaml | sort); \
	[ -n "$$configs" ] || { echo 'make sql: no sqlc.yaml was found'; exit 1; }; \
	for config in $$configs; do \
	  echo sqlc diff -f $$config; \
	  $(SQLC) diff -f $$config || { echo "the queries are stale or cannot be made: $(SQLC) generate -f $$config"; exit 1; }; \
	done

gql: # what gqlgen would write is what is committed; it writes in a copy of the module
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	cp -R go.mod go.sum $(SOURCES) "$$folder" && cd "$$folder/adapters/graphqlapi" && rm generated.go models_gen.go && \
	echo go tool gqlgen generate && go tool gqlgen generate && \
	for file in generated.go models_gen.go; do \
	  cmp $$file "$(CURDIR)/adapters/graphqlapi/$$file" || { echo 'the generated code is stale: cd adapters/graphqlapi && go tool gqlgen generate'; exit 1; }; \
	done

graphiql: ## the page of GraphiQL anew, of the packages that are pinned beside it
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && cp adapters/graphqlapi/graphiql/package*.json "$$folder" && \
	(cd "$$folder" && npm ci --ignore-scripts --no-audit --no-fund) && \
	node adapters/graphqlapi/graphiql/build.mjs "$$folder/node_modules" "$$folder" && cp "$$folder/graphiql.html.gz" adapters/graphqlapi/graphiql/

passwords: ## the list of common passwords anew, of the packages that are pinned beside it
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && cp domain/account/common/package*.json "$$folder" && \
	(cd "$$folder" && npm ci --ignore-scripts --no-audit --no-fund) && \
	node domain/account/common/build.mjs "$$folder/node_modules"

api: # the description of the API and its pages are what the code says
	go test -count=1 -run '^TestOpenAPI$$' ./adapters/httpapi

tidy:
	@go mod tidy -diff || { echo 'go.mod or go.sum is not tidy: go mod tidy'; exit 1; }

lint: $(GOLANGCI_LINT)
	$(GOLANGCI_LINT) run ./...

licences: $(GO_LICENSES) # of everything that is linked or tested with, the test libraries too
	@out=$$($(GO_LICENSES) check ./... --include_tests --allowed_licenses=$(LICENCES) 2>&1) || { echo "$$out" | grep -v "^[W/]"; exit 1; }
	@echo 'licences: all of $(LICENCES)'

# install builds $(2) as the file $@, once, though several builds may ask at a time; $(3) are variables of that build.
define install
	@echo 'building $(notdir $(1)) once, into $(dir $(1))'
	@mkdir -p $(TOOLS) && exec 9>$(TOOLS)/lock && { ! command -v flock >/dev/null || flock 9; } && \
	if [ ! -x $(1) ]; then \
	  GOFLAGS= $(3) GOBIN=$(dir $(1))new go install $(2) && mv $(dir $(1))new/$(notdir $(1)) $(1) && rmdir $(dir $(1))new; \
	fi
endef

$(GOLANGCI_LINT):
	$(call install,$@,github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0)

$(GO_LICENSES):
	$(call install,$@,github.com/google/go-licenses@v1.6.0)

$(SQLC):
	$(call install,$@,github.com/sqlc-dev/sqlc/cmd/sqlc@v1.31.1)

$(CYCLONEDX): # without C and paths, so that its own digest in what it writes is the same everywhere
	$(call install,$@,github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0,CGO_ENABLED=0 GOFLAGS=-trimpath)

$(GOVULNCHECK):
	$(call install,$@,golang.org/x/vuln/cmd/govulncheck@v1.9.0)
