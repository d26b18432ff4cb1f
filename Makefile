# Everything here needs Go, git and make (GNU); `make test` uses a C compiler for the race detector when there is one.
# A target's line in `make help` is the text behind its ##.

GO          ?= go
# What `make bench` measures and where: PROFILE names a suite of profiles, DIR the folder (so: the disk) that holds the
# data while it runs. tmpfs and overlay are refused unless they are allowed by name (bin/bench --help).
PROFILE     ?= quick
DIR         ?= out
BENCH_FLAGS ?=
# What `make compare` compares HEAD with.
BASE        ?= HEAD~1
COMPARE_FLAGS ?=
# How `make compare-trial` goes about it, e.g. --rehearse.
PLANT_FLAGS ?=
# How long `make nightly` fuzzes each target.
FUZZTIME    ?= 60s
# Which packages `make test` covers, e.g. make test PKG=./broker/wal/...
PKG         ?= ./...

# Packages whose tests take the longest go first, so that none of them is left to run alone at the end.
long        := ./tools/bench/launch ./tools/bench ./broker/clustertest ./dashboards/live ./loadgen ./loadgen/run ./broker/node

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# Outside a repository with a commit this stays empty, and the commands say "unknown".
commit  := $(shell c=$$(git rev-parse --short=12 HEAD 2>/dev/null) && echo "$$c$$(git status --porcelain | grep -q . && echo -dirty)")
ldflags := -X ackline/tools/version.commit=$(commit)

gofmt   := $(shell $(GO) env GOROOT)/bin/gofmt

# A test that misses something on the machine skips with `needs NAME:` and is listed; with CI=true that is a failure, but for network
# namespaces, which a machine may not permit.
strict  := $(if $(filter true,$(CI)),--strict --except CAP_NET_ADMIN)
gotest  := $(GO) run ./tools/lint/gotest $(strict) --

# The race detector needs cgo, cgo a C compiler.
cc      := $(shell $(GO) env CC)
race    := $(if $(shell command -v $(firstword $(cc)) 2>/dev/null),-race)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help build test bench compare compare-trial results report trend nightly ci fmt fmt-check vet cross-vet staticcheck lint unit promtest reporttest fuzz check clean

help: ## list the targets (this)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  PROFILE=$(PROFILE) DIR=$(DIR) choose what bench measures and on which disk; PKG=./broker/wal/... narrows test;"
	@echo "  FUZZTIME=$(FUZZTIME) is what nightly gives each fuzz target."

build: ## build every command to bin/, stamped with the commit
	@mkdir -p bin
	$(GO) build -ldflags '$(ldflags)' -o bin/ $$($(GO) list -e -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' \
		./... | grep -E '^ackline/(broker/cmd/[^/]+|walbench|loadgen|tools/[^/]+)$$')

test: fmt-check vet cross-vet staticcheck unit promtest reporttest check ## what must pass before a commit: format, vet, staticcheck, style, tests

unit: ## only the tests, with the race detector; PKG=./broker/wal/... narrows it
	$(if $(race),,@echo "no C compiler ($(cc)): tests run without the race detector" $(if $(filter true,$(CI)),&& false))
	$(gotest) $(race) -short -timeout 9m $(if $(filter ./...,$(PKG)),$(long)) $(PKG)
	@alloc=$$(for d in $$($(GO) list -f '{{.Dir}}' $(PKG)); do \
		! grep -qs '^//go:build !race' "$$d"/*_test.go || echo "$$d"; done); \
	if [ -n "$(race)" ] && [ -n "$$alloc" ]; then \
		echo "once more without the race detector, for the tests that count allocations:"; \
		$(gotest) -short -timeout 5m -run Alloc $$alloc; fi

# A module of its own (see its package comment), so ./... does not reach it; it reads files outside of it, which go test's cache does not
# notice.
promtest: ## Prometheus's own parser over dashboards/*.json, rules.yml and alerts.yml
	cd dashboards/promtest && $(GO) vet ./... && $(GO) test -count=1 ./...

# A module of its own, too. gotest is built first: it has to run where the module is.
reporttest: ## the report of RESULTS.md in Chromium: offline, drawn, by keyboard
	@mkdir -p bin
	$(GO) build -o bin/gotest ./tools/lint/gotest
	cd tools/report/browsertest && $(GO) vet ./... && ../../../bin/gotest $(strict) -- -count=1 ./...

lint: ## only the import table and the style tests
	$(GO) test ./tools/lint

fmt: ## rewrite the sources with gofmt
	$(gofmt) -w .

fmt-check:
	@bad=$$($(gofmt) -l .); \
	if [ -n "$$bad" ]; then echo "not formatted (make fmt does it):"; echo "$$bad"; exit 1; fi

vet: ## go vet for this platform
	$(GO) vet $(PKG)

cross-vet: ## go vet for linux/arm64, tests included: nothing may compile on one architecture only
	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 $(GO) vet $(PKG)

staticcheck: ## staticcheck, pinned by version
	$(GO) run $(STATICCHECK) $(PKG)

check: ## re-render RESULTS.md from the raw data in it and compare
	@if [ -f RESULTS.md ]; then echo '$(GO) run ./tools/report --check RESULTS.md'; \
	$(GO) run ./tools/report --check RESULTS.md; else echo "no RESULTS.md yet: nothing to check"; fi

bench: build ## measure with PROFILE=quick on the disk of DIR=out; writes out/, leaves the tree clean
	@mkdir -p out
	bin/bench --profile $(PROFILE) --dir $(DIR) --out out $(BENCH_FLAGS)

results: bench ## bench, then render RESULTS.md from what it recorded
	bin/report out/latest -o RESULTS.md

report: ## the last run (out/latest, else RESULTS.md) as one file for a browser: plots, trend, no network
	@mkdir -p out
	$(GO) run ./tools/report --html -o out/report.html \
		$(if $(wildcard out/latest/results.json),out/latest $(if $(wildcard RESULTS.md),--previous RESULTS.md),RESULTS.md)
	@echo 'open $(CURDIR)/out/report.html in a browser'

trend: ## how the headline's ratios went from commit to commit, from the RESULTS.md in git's history
	$(GO) run ./tools/trend

compare: ## is HEAD slower than BASE=HEAD~1? builds both, measures them in turns; COMPARE_FLAGS=--quick takes six minutes
	@mkdir -p bin
	$(GO) build -ldflags '$(ldflags)' -o bin/compare ./tools/compare
	bin/compare --base '$(BASE)' --dir '$(DIR)' $(COMPARE_FLAGS)

# By hand and not by nightly: it takes several nights' quiet, and what it says of a machine that runs fuzzers is nothing.
compare-trial: ## can compare's verdicts be believed here? 30 comparisons with a known answer, ten hours; ^C, and it goes on where it stopped
	@mkdir -p bin
	$(GO) build -ldflags '$(ldflags)' -o bin/plant ./tools/plant
	bin/plant run --dir '$(DIR)' $(PLANT_FLAGS)

nightly: ## the long suites: 10,000 seeds of sim, every mutant, many crash seeds and rounds, each fuzz target for FUZZTIME
	ACKLINE_NIGHTLY=1 $(gotest) -timeout 2h ./broker/sim # one goroutine: there is nothing to race
	ACKLINE_NIGHTLY=1 $(gotest) $(race) -timeout 4h $$($(GO) list $(PKG) | grep -v '^ackline/broker/sim$$')
	$(MAKE) fuzz

fuzz: ## fuzz each target for FUZZTIME=60s
	@set -e; for p in $$($(GO) list -f '{{.Dir}}' $(PKG)); do \
		for f in $$(cat /dev/null "$$p"/*_test.go 2>/dev/null | sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p'); do \
			echo "fuzz $$f in $${p#$(CURDIR)/} for $(FUZZTIME)"; \
			(cd "$$p" && $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x .); \
		done; done

ci: ## what the CI system runs: installs what tests need, then test with no skip allowed
	.ci/run

clean: ## remove bin/ and out/
	rm -rf bin out
