# Every target does its own set-up: `make demo` and `make test` work on a fresh Debian 12 with Swift.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# Every target with a line of help; none of them is a file.
.PHONY: $(shell awk -F ':.*\#\# ' '/^[a-z0-9-]+:.*\#\# / { print $$1 }' $(MAKEFILE_LIST))

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Compile rum and rum-agent for use (release)
	scripts/setup-packages build
	scripts/build-release

test: ## Run all tests: unit, live kernel, and a real guest end to end
	scripts/setup-packages build test demo
	scripts/test
	Tests/interop/run
	Tests/errors/run .build/release
	Tests/terminal/run .build/release
	Tests/examples/run .build/release
	Tests/soak/run --seconds 40
	scripts/fuzz --runs 3000
	scripts/demo
	scripts/check-bundle
	Tests/stranger/musl .build/release/rum-agent.tar.gz .build/release/rum

fuzz: ## Fuzz all that reads bytes from elsewhere, EACH=60 seconds a reader
	scripts/setup-packages build
	scripts/fuzz --seconds $${EACH:-60}

soak: ## Random listens, transfers, resets and kills against a model for MINUTES=10
	scripts/setup-packages build test
	Tests/soak/run --seconds $$(( $${MINUTES:-10} * 60 ))

test-asan: ## Run the package's tests and its programs with the address sanitizer
	scripts/setup-packages build test
	scripts/test-sanitized address

test-tsan: ## The same with the thread sanitizer
	scripts/setup-packages build test
	scripts/test-sanitized thread

test-vsock: ## Prove rum over a real AF_VSOCK, on a host kernel of its own
	scripts/setup-packages build vsock
	scripts/build-release
	Tests/vsock-rig/test cloud

test-vsock-noipv6: ## The same on a guest whose kernel has no IPv6
	scripts/setup-packages build vsock
	scripts/build-release
	Tests/vsock-rig/test noipv6

test-bpf: ## Run the watcher's tests in a guest whose kernel takes BPF programs
	scripts/setup-packages build demo vsock
	scripts/test-bpf

test-names: ## Reach ports by name: curl, TLS, a websocket in a browser, HTTP/2, gRPC
	scripts/setup-packages build test
	RUM_TEST_PROGRAMS=$$(scripts/build-release) Tests/interop/run -k test_names

test-faults: ## Break things around a running guest and time the way back
	scripts/setup-packages build demo
	bin=$$(scripts/build-release) && Tests/guest/faults --rum $$bin/rum --bundle $$bin/rum-agent.tar.gz

test-faults-vsock: ## The same over a real AF_VSOCK
	scripts/setup-packages build vsock
	scripts/build-release
	Tests/vsock-rig/faults

install: ## Install rum, completions and manual pages below $(DESTDIR)$(PREFIX), by default /usr/local
	scripts/setup-packages build
	bin=$$(scripts/build-release) && PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" packaging/install "$$bin"

uninstall: ## Remove what `make install` has installed
	PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" packaging/install --uninstall

deb: ## Build a Debian package of rum, with the agent's bundle in it: .build/rum.deb
	scripts/setup-packages build package
	bin=$$(scripts/build-release) && packaging/deb "$$bin" .build/rum.deb

test-deb: ## Build the package twice, install it in a clean Debian, use it, and remove it
	scripts/setup-packages build package
	bin=$$(scripts/build-release) && Tests/package/test "$$bin"

docs: ## Write docs/commands.md and docs/errors.md anew from what the programs say
	scripts/setup-packages build test
	bin=$$(scripts/build-release) && Tests/errors/run "$$bin" --write && packaging/man-pages "$$bin" .build/man && \
		cp .build/man/commands.md docs/

test-errors: ## Provoke everything in docs/errors.md and read what is said
	scripts/setup-packages build test
	bin=$$(scripts/build-release) && Tests/errors/run "$$bin"

test-examples: ## Load the rum.toml of every example, and run those that need no guest
	scripts/setup-packages build test
	bin=$$(scripts/build-release) && Tests/examples/run "$$bin"

test-stranger: ## Play rum on hosts and in guests that it did not choose (docs/compatibility.md)
	scripts/setup-packages build demo stranger vsock
	bin=$$(scripts/build-release) && Tests/stranger/run --rum $$bin/rum --bundle $$bin/rum-agent.tar.gz && \
		Tests/stranger/apparmor $$bin

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

bench-push: ## Measure the watcher's sources of hints side by side, in a guest
	scripts/setup-packages build demo vsock
	scripts/bench-push

bench-relay: ## Measure the relay beside socat, HAProxy and a C reference
	scripts/setup-packages build bench
	scripts/bench-relay

bench-machines: ## Measure fifty machines with the same ports on this host
	scripts/setup-packages build bench
	Benchmarks/machines/run "$$(scripts/swift-release rum rum-agent)"

clean: ## Remove build products (caches outside the tree stay)
	rm -rf .build .build-*
