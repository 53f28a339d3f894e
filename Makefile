# SPDX-License-Identifier: AGPL-3.0-or-later
# Set-up, build, tests and demo of a checkout. Every target does what it needs first and repeats nothing that is done.
#
# Outside the checkout only the system's package database changes; state is in .state, and all that is built is in
# .venv, build and ftos/_native. A stamp's name holds a digest of what it was made from, so no clock decides.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DELETE_ON_ERROR:
.NOTPARALLEL:

BUILD_PACKAGES := gcc libc6-dev python3-dev python3-venv ca-certificates
RUN_PACKAGES := apt debian-archive-keyring libseccomp2 ostree
TEST_PACKAGES := bubblewrap e2fsprogs gcc gpg gpg-agent libc6-dev strace
BENCH_PACKAGES := mmdebstrap

# The system's Python, whatever shim PATH has. pip keeps no cache outside the checkout.
SYSTEM_PYTHON := /usr/bin/python3
PYTHON := .venv/bin/python
PIP := $(PYTHON) -m pip --disable-pip-version-check --no-cache-dir $(if $(V),,-qq)
export PIP_ROOT_USER_ACTION := ignore
STATE := $(CURDIR)/.state

# A virtual environment belongs to its place and to the system's Python, so to the release of the system.
digest = $(shell { cat $(1); grep ^VERSION_ID= /etc/os-release; pwd; } | sha256sum | cut -c1-16)
VENV_STAMP := .venv/.packages-$(call digest,requirements.lock)
NATIVE_SOURCES := $(sort $(wildcard ftos/_native/*.c ftos/_native/*.h ftos/_native/*.pyx ftos/_native/*.pxd))
COMMAND_STAMP := .venv/.command-$(call digest,requirements.lock pyproject.toml setup.py)
NATIVE_STAMP := .venv/.native-$(call digest,requirements.lock setup.py $(NATIVE_SOURCES))

# One short line a step; V=1 shows the commands and all they print.
Q := $(if $(V),,@)
QUIET := $(if $(V),,--quiet)
say = @printf '  %-7s %s\n' '$(1)' '$(2)'

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: root run-packages build ## Build an image, deploy it twice, run it: what FlyingTux does (as root)
	$(Q)PATH="$(CURDIR)/.venv/bin:$$PATH" FTOS_ROOT="$(STATE)" demo/run

.PHONY: test
test: root run-packages test-packages build ## All tests (as root); T="tests/unit -k load" for some
	$(Q)mkdir -p "$(STATE)"
	$(Q)$(PYTHON) -m pytest -p no:cacheprovider --basetemp="$(STATE)/tmp" $(or $(T),tests)

.PHONY: bench
bench: root run-packages bench-packages build ## Benchmarks (as root), some minutes; T="commands debian" for some
	$(Q)$(PYTHON) -m tests.bench.images $(T)

.PHONY: lint
lint: $(VENV_STAMP) ## Check style and types
	$(call say,RUFF,.)
	$(Q)$(PYTHON) -m ruff check $(QUIET) && $(PYTHON) -m ruff format --check $(QUIET)
	$(call say,MYPY,.)
	$(Q)$(PYTHON) -m mypy $(if $(V),,--no-error-summary)
	$(call say,CLANG,ftos/_native)
	$(Q).venv/bin/clang-format --dry-run --Werror $(filter %.c %.h,$(NATIVE_SOURCES))

.PHONY: format
format: $(VENV_STAMP) ## Put the source into the house's form
	$(Q)$(PYTHON) -m ruff check --fix-only $(QUIET) && $(PYTHON) -m ruff format $(QUIET)
	$(Q).venv/bin/clang-format -i $(filter %.c %.h,$(NATIVE_SOURCES))

.PHONY: build
build: $(NATIVE_STAMP) $(COMMAND_STAMP) ## Make .venv, compile the extension and the static programs

.PHONY: shell
shell: run-packages build ## A shell in which ftos is this checkout, with its state in .state
	@PATH="$(CURDIR)/.venv/bin:$$PATH" FTOS_ROOT="$(STATE)" "$${SHELL:-/bin/bash}" || true

.PHONY: wheel
wheel: $(VENV_STAMP) ## Make an installable wheel in build/wheel
	$(call say,WHEEL,build/wheel)
	$(Q)rm -rf build/wheel build/lib* build/bdist.*
	$(Q)$(PIP) wheel --no-index --no-deps --no-build-isolation --wheel-dir build/wheel .

.PHONY: lock
lock: system-packages ## Hold the versions of all Python packages; UPGRADE=1 for the newest
	$(Q)$(SYSTEM_PYTHON) -m venv --clear build/lock && build/lock/bin/pip install -qq --no-cache-dir uv
	$(Q)build/lock/bin/uv pip compile --no-cache --quiet --universal --python-version 3.11 --generate-hashes \
		--no-annotate --extra dev $(if $(UPGRADE),--upgrade) --custom-compile-command 'make lock' \
		pyproject.toml --output-file requirements.lock

.PHONY: clean
clean: ## Remove what was built; .venv and .state stay
	$(Q)rm -rf build ftos.egg-info ftos/_native/*.so ftos/_native/ftos-init .venv/.native-* .venv/.command-*
	$(Q)find ftos tests -name __pycache__ -prune -exec rm -rf {} +

# How the set-up is done.

$(NATIVE_STAMP): $(VENV_STAMP)
	$(call say,BUILD,ftos/_native)
	$(Q)rm -rf .venv/.native-* build/cython
	$(Q)$(PYTHON) setup.py $(QUIET) build_ext --inplace --force
	$(Q)touch $@

# The `ftos` command in .venv/bin, which runs what is in the checkout.
$(COMMAND_STAMP): $(VENV_STAMP) | $(NATIVE_STAMP)
	$(call say,COMMAND,.venv/bin/ftos)
	$(Q)rm -f .venv/.command-*
	$(Q)$(PIP) install --no-index --no-deps --no-build-isolation --config-settings editable_mode=compat --editable .
	$(Q)touch $@

$(VENV_STAMP): | system-packages
	$(call say,VENV,.venv)
	$(Q)$(SYSTEM_PYTHON) -m venv --clear .venv
	$(Q)$(PIP) install --require-hashes --requirement requirements.lock
	$(Q)touch $@

.PHONY: system-packages run-packages test-packages bench-packages
system-packages:
	@./setup-system.sh $(BUILD_PACKAGES)
run-packages:
	@./setup-system.sh $(RUN_PACKAGES)
test-packages:
	@./setup-system.sh $(TEST_PACKAGES)
bench-packages:
	@./setup-system.sh $(BENCH_PACKAGES)

.PHONY: root
root:
	@if [ "$$(id -u)" != 0 ]; then echo 'make: containers are launched by root: run it as root' >&2; exit 2; fi
