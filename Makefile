# nearcast. `make help` lists what there is.

GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS   = -s -w -X main.version=$(VERSION)
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.9.0
# The lab's packages need root, network namespaces and real routing daemons; they run after the rest, alone, because they measure time.
# The trials with those daemons in namespaces of their own measure none, and mostly wait: they run beside the unit tests.
TRIAL_PKGS = nearcast/internal/lab/router nearcast/internal/lab/viewtest nearcast/internal/lab/bfdtrial
LAB_PKGS  = $(shell $(GO) list ./internal/lab/... ./internal/demo/... | grep -v -x $(TRIAL_PKGS:%=-e %))
UNIT_PKGS = $(shell $(GO) list ./... | grep -v -e '^nearcast/internal/lab' -e '^nearcast/internal/demo')
FUZZTIME ?= 20s

.PHONY: help run test setup build unit race labtest check vet staticcheck vuln fmt fuzz lab-up lab-test lab-down bench-setup bench bench-quick clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## the main job on this machine, without root: three edges, a router, a route that moves
	./bin/nearcast demo

test: setup unit race labtest ## install what the tests need (as root), then unit, race and lab tests

build: ## build bin/nearcast, static
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/nearcast ./cmd/nearcast

setup: ## install BIRD, FRR, Chromium and the tools that the lab tests use (Debian, root), and the suite of cache tests
	./scripts/setup.sh

unit: ## unit tests, and trials with BIRD and FRR (root)
	@./scripts/setup.sh --suite-missing
	$(GO) test -p 4 $(UNIT_PKGS) $(TRIAL_PKGS)

race: ## the same under the race detector
	$(GO) test -race -count=1 -p 4 $(UNIT_PKGS)

labtest: ## scenarios in the miniature internet (root) and the demo
	@[ "$$(id -u)" = 0 ] || echo "SKIPPED: the lab's tests need root, network namespaces, BIRD and FRR; run make test as root for them"
	$(GO) test -p 1 -count=1 -timeout 15m $(LAB_PKGS)

check: vet staticcheck vuln fmt ## vet, staticcheck, known vulnerabilities, formatting

vet:
	$(GO) vet ./...

staticcheck:
	$(GO) run $(STATICCHECK) ./...

vuln:
	@./scripts/vuln.sh $(GO) $(GOVULNCHECK)

fmt:
	@out=$$(gofmt -l .); if [ -n "$$out" ]; then echo "not gofmt'ed:"; echo "$$out"; exit 1; fi

fuzz: ## run every fuzz test for FUZZTIME (default 20s) each
	@./scripts/fuzz.sh $(GO) $(FUZZTIME)

lab-up: build ## the miniature internet, until Ctrl-C (root)
	./bin/nearcast lab up

lab-test: build ## its scenarios, with a table of times (root)
	./bin/nearcast lab test

lab-down: build ## remove what a lab left behind (root)
	./bin/nearcast lab down

bench-setup: ## install the servers that the measurements compare with (Debian, root)
	./scripts/bench-setup.sh

bench: build ## measure against them, half an hour, and write the report to bench/results (root)
	./bin/nearcast bench table --results bench/results

bench-quick: build ## a few seconds a row: does every server start and answer? (root)
	./bin/nearcast bench table --quick

clean: ## remove what was built
	rm -rf bin dist
