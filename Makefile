# The targets, in the order in which a day meets them. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL         := /bin/bash
.SHELLFLAGS   := -eu -o pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

LISTEN      ?= :8080
REPLAY      ?= testdata/dumps/shop.json
BENCH       ?= .
FUZZTIME    ?= 1m
COVER_FLOOR ?= 95
ROWS        ?= all
PODS        ?= 20000
DURATION    ?=
PARTS       ?= sync,status,changes,deletes,events
ROUNDS      ?= 3

# A tag, or a tag and what came after it; v0.0.0-g<commit> before the first tag; v0.0.0-gunknown outside of git.
VERSION ?= $(shell git describe --tags --dirty 2>/dev/null || echo "v0.0.0-g$$(git describe --always --dirty 2>/dev/null || echo unknown)")

# The linter has a module of its own, so that its 200 dependencies stay out of ours.
LINTER := go tool -modfile='$(CURDIR)/.tools/go.mod' golangci-lint
E2E    := agent/e2e

.PHONY: help
help: ## List the targets (this)
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "Variables: LISTEN=$(LISTEN) REPLAY=$(REPLAY) BENCH=$(BENCH) FUZZTIME=$(FUZZTIME) COVER_FLOOR=$(COVER_FLOOR) ROWS=$(ROWS) PODS=$(PODS) DURATION=$(DURATION) PARTS=$(PARTS) ROUNDS=$(ROUNDS) VERSION=$(VERSION)"

# Reproducible: the same commit gives the same bytes in any folder. So no paths (-trimpath) and no time.
.PHONY: build
build: ## Build bin/kube-devops, static and reproducible
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o bin/kube-devops ./cmd/kube-devops

# Reproducible too: the one layer has the binary and the licences of its modules, and nothing in the image has a time.
.PHONY: image
image: ## Pack images for amd64 and arm64 into bin/image: docker-archives, an OCI layout, SBOMs (no image builder needed)
	for arch in amd64 arm64; do \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch go build -trimpath -buildvcs=false \
			-ldflags '-s -w -X main.version=$(VERSION)' -o bin/image/linux-$$arch/kube-devops ./cmd/kube-devops; \
	done
	cd deploy && go run ./image -out '$(CURDIR)/bin/image' -version '$(VERSION)' -source '$(CURDIR)' '$(CURDIR)'/bin/image/linux-*/kube-devops

# Without cgo, as the tests build helm: so it is compiled once.
.PHONY: chart
chart: ## Pack the chart, with the version of the binaries, into bin
	cd deploy && CGO_ENABLED=0 go tool helm package chart --version '$(patsubst v%,%,$(VERSION))' --app-version '$(VERSION)' --destination ../bin

.PHONY: test-packed
test-packed: image chart ## Pack images and chart, and test what was packed
	cd deploy && PACKED='$(CURDIR)/bin' PACKED_VERSION='$(VERSION)' go test -v -run TestPacked .

.PHONY: run
run: build ## Serve the scores of a recorded dump on :8080, no cluster needed; then: curl localhost:8080/metrics
	@echo 'Serving $(REPLAY) on $(LISTEN). In another terminal: curl localhost:$(lastword $(subst :, ,$(LISTEN)))/metrics   (Ctrl-C stops.)'
	@exec bin/kube-devops agent --replay '$(REPLAY)' --listen '$(LISTEN)'

.PHONY: test
test: ## Run all tests that need no cluster (under a minute once built)
	go test ./...

.PHONY: test-deploy
test-deploy: ## Test the chart, rules, dashboards and the image (the first run compiles helm: ~4 min)
	cd deploy && go test ./...

.PHONY: race
race: ## The same tests under the race detector (needs a C compiler)
	CGO_ENABLED=1 go test -race ./...

.PHONY: cover
cover: ## Coverage of rules and agent/state by their own tests; fails below 95 % each
	@.tools/cover '$(COVER_FLOOR)' ./rules ./agent/state

.PHONY: e2e
e2e: ## Test the binary against a real API server; the first run builds kube-apiserver and etcd (~5 min on 2 cores, seconds afterwards)
	@# A run without tests builds what they need, however long that takes: the time limit is that of the tests alone.
	cd $(E2E) && go test -count=1 -timeout 0 -run '^$$' .
	cd $(E2E) && go test -v -count=1 -timeout 40m $$(go list ./... | grep -v /faults$$)

# Rows wait most of their time, for a Lease to run out: so eight of them at the same time.
FAULTS := cd $(E2E) && go test -v -count=1 -parallel 8

.PHONY: faults
faults: ## Every row of the fault matrix that this machine can run, with the default Lease; writes deploy/RELIABILITY.md (~30 min)
	$(FAULTS) -timeout 120m -run TestFaults ./faults -args -rows='$(ROWS)' -lease=full -write

.PHONY: faults-quick
faults-quick: ## The rows of every merge, with a Lease of 6 s, and the planted fault that they must find (~4 min)
	$(FAULTS) -timeout 20m ./faults

.PHONY: soak
soak: ## Two replicas for DURATION (4h): changes, policy edits, kills and restarts of the API server; prints its figures
	$(FAULTS) -timeout 0 -run TestSoak ./faults -args -soak='$(or $(DURATION),4h)'

# E2E_NODE=must makes a machine that cannot do it a failure.
.PHONY: e2e-node
e2e-node: ## Install the chart on a real kubelet, as root on Linux; installs containerd, runc and Prometheus from Debian when missing
	cd $(E2E) && E2E_NODE='$(or $(E2E_NODE),1)' go test -v -count=1 -timeout 40m ./node

.PHONY: lint
lint: ## gofmt and golangci-lint, import rules included (the first run compiles the linter: ~2 min)
	@.tools/files '*.go' | xargs -0 -r gofmt -l | { ! grep . || { echo 'not formatted; run: make fmt' >&2; exit 1; }; }
	$(LINTER) run --config '$(CURDIR)/.golangci.yml' ./...
	cd $(E2E) && $(LINTER) run --config '$(CURDIR)/.golangci.yml' ./...
	cd deploy && $(LINTER) run --config '$(CURDIR)/.golangci.yml' ./...

.PHONY: fmt
fmt: ## Format all Go files
	@.tools/files '*.go' | xargs -0 -r gofmt -l -w

.PHONY: verify
verify: ## Modules tidy, vet clean, golden files fresh, manifests parse, house rules kept
	@.tools/verify

.PHONY: bench
bench: ## Run the benchmarks (BENCH=regexp chooses)
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./...

.PHONY: bench-scan
bench-scan: build ## Time and memory of a scan of 20,000 and of 100,000 pods, beside jq and the raw read of the file; and of 5,000 manifests, beside PyYAML and kube-score
	@.tools/bench-scan bin/kube-devops

# PODS=100000 DURATION=1m PARTS=sync,status,changes,deletes,events ROUNDS=3 say what of, for how long, and what.
.PHONY: bench-agent
bench-agent: ## Measure the agent beside other clients of a real API server (~10 min; PODS= DURATION= PARTS= ROUNDS=)
	cd $(E2E) && go run ./cmd/bench-agent -pods '$(PODS)' -duration '$(or $(DURATION),1m)' -parts '$(PARTS)' -rounds '$(ROUNDS)'

.PHONY: profile-agent
profile-agent: ## Print the ten functions that take most CPU, and keep most heap, in the first list of all pods
	dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	(cd $(E2E) && go run ./cmd/bench-agent -pods '$(PODS)' -profiles "$$dir"); \
	for what in cpu heap; do echo; go tool pprof -top -nodecount=10 "$$dir/$$what.pprof" 2>/dev/null | sed '/^File:\|^Build ID:\|^Time:/d'; done

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (1m) each
	@.tools/fuzz '$(FUZZTIME)'

.PHONY: tools
tools: ## Compile the linter (lint does it when needed)
	$(LINTER) version

.PHONY: clean
clean: ## Remove what was built and measured here; the e2e binaries stay
	rm -rf bin
	find . -path ./.git -prune -o -path ./$(E2E)/.cache -prune -o -type f \( -name '*.test' -o -name '*.prof' -o -name '*.out' \) -print0 | xargs -0 -r rm -f

.PHONY: clean-all
clean-all: clean ## clean, and remove the built kube-apiserver and etcd too
	rm -rf $(E2E)/.cache
