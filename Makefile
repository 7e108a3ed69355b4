# Every target does its own set-up: `make demo` and `make test` work on a fresh Debian 12 with Swift.
SHELL := /bin/bash
.DEFAULT_GOAL := help

.PHONY: help build test test-vsock test-faults test-faults-vsock test-stranger demo lint graph format protos bundle clean bench-watch bench-relay

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Compile rum and rum-agent for use (release)
	scripts/setup-packages build
	scripts/build-release

test: ## Run all tests: unit, live kernel, and a real guest end to end
	scripts/setup-packages build test demo
	scripts/test
	Tests/interop/run
	scripts/demo
	scripts/check-bundle

test-vsock: ## Prove rum over a real AF_VSOCK, on a host kernel of its own
	scripts/setup-packages build vsock
	scripts/build-release
	Tests/vsock-rig/test cloud

test-faults: ## Break things around a running guest and time the way back
	scripts/setup-packages build demo
	bin=$$(scripts/build-release) && Tests/guest/faults --rum $$bin/rum --bundle $$bin/rum-agent.tar.gz

test-faults-vsock: ## The same over a real AF_VSOCK
	scripts/setup-packages build vsock
	scripts/build-release
	Tests/vsock-rig/faults

test-stranger: ## Play rum in guests that it did not choose (docs/compatibility.md)
	scripts/setup-packages build demo stranger
	bin=$$(scripts/build-release) && Tests/stranger/run --rum $$bin/rum --bundle $$bin/rum-agent.tar.gz

demo: ## Boot a real guest, forward a port of it, and show every step
	scripts/setup-packages build demo
	scripts/demo

lint: ## Check format and style of all Swift, shell and Python code
	scripts/setup-packages lint
	scripts/lint

graph: ## Show which of our modules import which, and check the rules for it
	scripts/setup-packages lint
	scripts/graph

format: ## Format all Swift code in place
	swift format --in-place --parallel $$(scripts/sources swift)

protos: ## Regenerate the gRPC code from proto/
	scripts/setup-packages build
	scripts/protos

bundle: ## Build the guest agent as a bundle that runs in any x86-64 Linux guest
	scripts/setup-packages build
	scripts/agent-bundle

bench-watch: ## Measure the watcher beside what others do
	scripts/setup-packages build bench
	scripts/bench-watch

bench-relay: ## Measure the relay beside socat, HAProxy and a C reference
	scripts/setup-packages build bench
	scripts/bench-relay

clean: ## Remove build products (caches outside the tree stay)
	rm -rf .build .build-*
