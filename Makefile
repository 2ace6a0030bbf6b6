# Run `make` without arguments for a list of the targets.
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
PLATFORMS   ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
RELEASE_URL ?= https://github.com/kube-devops/kube-devops/releases/download/$(VERSION)
RELEASE_KEY ?=
PARTS       ?= sync,status,changes,deletes,events
ROUNDS      ?= 3
ENFORCE     ?= sample

# The output of git describe; v0.0.0-g<commit> before the first tag, v0.0.0-gunknown outside a git repository.
VERSION ?= $(shell git describe --tags --dirty 2>/dev/null || echo "v0.0.0-g$$(git describe --always --dirty 2>/dev/null || echo unknown)")

# The time of the files in archives.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

# Reproducible: the same commit gives the same bytes in any folder, so no paths (-trimpath) and no time.
GO_BUILD_FLAGS := -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)'

# The linter has its own module, which keeps its 200 dependencies out of go.mod.
LINTER := go tool -modfile='$(CURDIR)/.tools/go.mod' golangci-lint
E2E    := agent/e2e

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "Variables: LISTEN=$(LISTEN) REPLAY=$(REPLAY) BENCH=$(BENCH) FUZZTIME=$(FUZZTIME) COVER_FLOOR=$(COVER_FLOOR) ROWS=$(ROWS) PODS=$(PODS) DURATION=$(DURATION) PARTS=$(PARTS) ROUNDS=$(ROUNDS) ENFORCE=$(ENFORCE) VERSION=$(VERSION)"

.PHONY: build
build: ## Build bin/kube-devops, static and reproducible
	CGO_ENABLED=0 go build $(GO_BUILD_FLAGS) -o bin/kube-devops ./cmd/kube-devops

.PHONY: install
install: ## Install kube-devops into GOBIN (default: GOPATH/bin)
	CGO_ENABLED=0 go install $(GO_BUILD_FLAGS) ./cmd/kube-devops

# Reproducible: the only layer has the binary and the licences of its modules, and nothing in the image has a timestamp.
.PHONY: image
image: ## Build images for amd64 and arm64 in bin/image: docker-archives, an OCI layout, SBOMs (needs no image builder)
	for arch in amd64 arm64; do \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch go build $(GO_BUILD_FLAGS) -o bin/image/linux-$$arch/kube-devops ./cmd/kube-devops; \
	done
	cd deploy && go run ./pack image -out '$(CURDIR)/bin/image' -version '$(VERSION)' -source '$(CURDIR)' '$(CURDIR)'/bin/image/linux-*/kube-devops

# Without cgo, like the tests that build helm, so that helm is compiled once.
.PHONY: chart
chart: ## Package the chart in bin, with the version of the binary
	cd deploy && CGO_ENABLED=0 go tool helm package chart --version '$(patsubst v%,%,$(VERSION))' --app-version '$(VERSION)' --destination ../bin

.PHONY: release
release: image chart ## Write the files of a release into bin/release (PLATFORMS, RELEASE_URL, RELEASE_KEY)
	for platform in $(PLATFORMS); do \
		CGO_ENABLED=0 GOOS=$${platform%/*} GOARCH=$${platform#*/} go build $(GO_BUILD_FLAGS) -o bin/build/$${platform/\//-}/kube-devops ./cmd/kube-devops; \
	done
	go build $(GO_BUILD_FLAGS) -o bin/kube-devops ./cmd/kube-devops
	cd deploy && SOURCE_DATE_EPOCH='$(SOURCE_DATE_EPOCH)' go run ./pack release -out '$(CURDIR)/bin/release' -version '$(VERSION)' -source '$(CURDIR)' \
		-url '$(RELEASE_URL)' -key '$(RELEASE_KEY)' -layout '$(CURDIR)/bin/image/oci' -extra '$(CURDIR)/bin/kube-devops-$(patsubst v%,%,$(VERSION)).tgz' \
		-run '$(CURDIR)/bin/kube-devops' $(foreach platform,$(PLATFORMS),'$(CURDIR)/bin/build/$(subst /,-,$(platform))/kube-devops')

.PHONY: test-packed
test-packed: PLATFORMS = linux/amd64 linux/arm64
test-packed: release ## Build a release for Linux, and test it: images, chart, archives, Action, GitLab job, hooks, go install
	cd deploy && PACKED='$(CURDIR)/bin' PACKED_VERSION='$(VERSION)' RELEASED='$(CURDIR)/bin/release' \
		go test -v -run 'TestPacked|TestRelease|TestAction|TestGitLab|TestHooks|TestGoInstall' .

.PHONY: run
run: build ## Serve the scores of a recorded dump on :8080 (needs no cluster); then: curl localhost:8080/metrics
	@echo 'Serving $(REPLAY) on $(LISTEN). In another terminal: curl localhost:$(lastword $(subst :, ,$(LISTEN)))/metrics   (Ctrl-C stops the agent.)'
	@exec bin/kube-devops agent --replay '$(REPLAY)' --listen '$(LISTEN)'

# The tests that run in parallel spend their time waiting for a Lease, so eight run at once even on two cores.
SHORT := -short -parallel 8

.PHONY: test
test: ## Run the tests (under a minute once built; needs no cluster)
	go test $(SHORT) ./...

.PHONY: test-long
test-long: ## Run the tests, including the slow properties and long differentials, and CEL in process
	go test ./...
	cd $(E2E) && go test ./celtest

.PHONY: test-deploy
test-deploy: ## Test the chart, alert rules, dashboards and the image (the first run compiles helm: ~4 min)
	cd deploy && go test ./...

.PHONY: race
race: ## Run the tests of make test with the race detector (needs a C compiler)
	CGO_ENABLED=1 go test -race $(SHORT) ./...

.PHONY: cover
cover: ## Measure the coverage of rules, rules/lint and agent/state by their own tests; fails below 95 %
	@.tools/cover '$(COVER_FLOOR)' ./rules ./rules/lint ./agent/state

# ENFORCE=full compares 3,000 pods and 1,000 templates of each table with the engine, instead of a sample. It takes some minutes more.
.PHONY: e2e
e2e: export ENFORCE := $(ENFORCE)
e2e: ## Test the binary against a real API server (the first run builds kube-apiserver and etcd: ~5 min)
	@# The first run executes no test and builds the dependencies without a time limit, so the limit applies to the tests alone.
	cd $(E2E) && go test -count=1 -timeout 0 -run '^$$' .
	cd $(E2E) && go test -v -count=1 -timeout 40m $$(go list ./... | grep -v -e /faults$$ -e /celtest$$)

# A row spends most of its time waiting for a Lease to expire, so eight rows run in parallel.
FAULTS := cd $(E2E) && go test -v -count=1 -parallel 8

.PHONY: faults
faults: ## Run every row of the fault matrix that this machine supports; writes deploy/RELIABILITY.md (~30 min)
	$(FAULTS) -timeout 120m -run TestFaults ./faults -args -rows='$(ROWS)' -lease=full -write

.PHONY: faults-quick
faults-quick: ## Run the rows that CI runs, with a Lease of 6 s, and a planted fault that they must find (~4 min)
	$(FAULTS) -timeout 20m ./faults

.PHONY: soak
soak: ## Run two replicas for DURATION (4h) under changes, policy edits, kills and API server restarts; prints figures
	$(FAULTS) -timeout 0 -run TestSoak ./faults -args -soak='$(or $(DURATION),4h)'

# Skipped on a machine that does not permit it; E2E_NODE=must makes that a failure.
.PHONY: e2e-node
e2e-node: ## Install the chart on a real kubelet (root on Linux); installs missing containerd, runc and Prometheus from Debian
	cd $(E2E) && E2E_NODE='$(or $(E2E_NODE),1)' go test -v -count=1 -timeout 40m ./node

.PHONY: lint
lint: ## Run gofmt and golangci-lint, including the import rules (the first run compiles the linter: ~2 min)
	@.tools/files '*.go' | xargs -0 -r gofmt -l | { ! grep . || { echo 'these files are not formatted; run: make fmt' >&2; exit 1; }; }
	$(LINTER) run --config '$(CURDIR)/.golangci.yml' ./...
	cd $(E2E) && $(LINTER) run --config '$(CURDIR)/.golangci.yml' ./...
	cd deploy && $(LINTER) run --config '$(CURDIR)/.golangci.yml' ./...

.PHONY: fmt
fmt: ## Format all Go files
	@.tools/files '*.go' | xargs -0 -r gofmt -l -w

.PHONY: verify
verify: ## Check that modules are tidy, generated files are fresh, manifests parse, and the house rules hold
	@.tools/verify

.PHONY: bench
bench: ## Run the benchmarks (BENCH=regexp chooses)
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./...

.PHONY: bench-scan
bench-scan: build ## Measure a scan of 20,000 and 100,000 pods against jq, and of 5,000 manifests against PyYAML and kube-score
	@.tools/bench-scan bin/kube-devops

.PHONY: bench-agent
bench-agent: ## Measure the agent against other clients of a real API server (~10 min; PODS, DURATION, PARTS, ROUNDS)
	cd $(E2E) && go run ./cmd/bench-agent -pods '$(PODS)' -duration '$(or $(DURATION),1m)' -parts '$(PARTS)' -rounds '$(ROUNDS)'

.PHONY: profile-agent
profile-agent: ## Print the ten functions with the most CPU and heap while the agent lists PODS pods
	dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	(cd $(E2E) && go run ./cmd/bench-agent -pods '$(PODS)' -profiles "$$dir"); \
	for what in cpu heap; do echo; go tool pprof -top -nodecount=10 "$$dir/$$what.pprof" 2>/dev/null | sed '/^File:\|^Build ID:\|^Time:/d'; done

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (1m)
	@.tools/fuzz '$(FUZZTIME)'

.PHONY: tools
tools: ## Compile the linter (make lint does this when needed)
	$(LINTER) version

.PHONY: clean
clean: ## Remove build output and profiles, but not the e2e binaries
	rm -rf bin
	find . -path ./.git -prune -o -path ./$(E2E)/.cache -prune -o -type f \( -name '*.test' -o -name '*.prof' -o -name '*.out' \) -print0 | xargs -0 -r rm -f

.PHONY: clean-all
clean-all: clean ## Remove the built kube-apiserver and etcd too
	rm -rf $(E2E)/.cache
