# `make run` and `make test` are all that a fresh clone needs: Python 3.11 or newer, and, for the fast
# build, a C compiler with Python's headers.

PYTHON ?= python3
VENV ?= .venv
# Where make run listens, if not on localhost:5672: make run LISTEN=127.0.0.1:5673
LISTEN ?=
# 1 fails where C cannot be compiled, 0 installs plain Python, auto compiles if it can (setup.py).
LEVERET_COMPILE ?= auto
export LEVERET_COMPILE
# Arguments for pytest: make test ARGS="tests/unit -x"
ARGS ?=
# make test JOBS=2 runs the tests in two processes, each file's tests in one of them, the long files first.
JOBS ?=
# make test WHEEL=1 tests what make wheel built, not what it would build.
WHEEL ?=
# make test COVERAGE=1 measures the coverage of what runs in the tests' own processes, as plain Python only;
# make coverage does that for the tests that start no broker, and prints it.
COVERAGE ?=
# make test AHEAD=365 runs the tests with the clock so many days ahead, by Debian's faketime, so that a
# test that depends on the date is found on the day it is written. Needs a C compiler.
AHEAD ?=
# Kills of the broker under load: make crash ROUNDS=20 SEED=what-an-earlier-run-printed
ROUNDS ?= 1000
SEED ?=
# Random faults of a cluster under load: make cluster-crash KILLS=1000 SEED=what-an-earlier-run-printed
KILLS ?= 1000

bin := $(VENV)/bin
pip := $(bin)/python -m pip install --disable-pip-version-check
sources := pyproject.toml setup.py $(shell find server storage -name '*.py' -o -type f -path '*/web/*')
installed := $(VENV)/.installed-$(LEVERET_COMPILE)
tools := $(VENV)/.tools
real_sleep := $(abspath $(VENV))/real_sleep.so
# $LIB is for the dynamic linker: lib/x86_64-linux-gnu and the like.
ahead := $(if $(AHEAD),LEVERET_TEST_DAYS_AHEAD=$(AHEAD) FAKETIME=+$(AHEAD)d FAKETIME_DONT_FAKE_MONOTONIC=1 \
	LD_PRELOAD='$(real_sleep):/usr/$$LIB/faketime/libfaketime.so.1')

# Both are asked first, in words of any Python 3: building takes minutes.
define check_python
import sys
if sys.version_info < (3, 11):
    message = "Leveret needs Python 3.11 or newer, and this is {}.{}; name another: make run PYTHON=python3.13"
    sys.exit(message.format(*sys.version_info))
endef
define check_listen
import errno, socket, sys
address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:5672"
host, _, port = address.rpartition(":")
try:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    socket.create_server((host.strip("[]"), int(port)), family=family).close()
except OSError as error:
    if error.errno == errno.EADDRINUSE:
        sys.exit(address + " is in use; name another address: make run LISTEN=127.0.0.1:5673")
except (OverflowError, ValueError):
    sys.exit(address + " is no address; name one such as: make run LISTEN=127.0.0.1:5673")
endef
export check_python check_listen

.DELETE_ON_ERROR: # an environment that could not be made is made again

.PHONY: run check-listen prepare wheel test cluster-test coverage coverage-report crash cluster-crash lint lint-page format bench clean

run: check-listen $(installed)
	@exec $(bin)/leveret serve --data-dir ./data $(if $(LISTEN),--listen $(LISTEN))

check-listen: | $(bin)/python
	@$(bin)/python -c "$$check_listen" $(LISTEN)

prepare: $(installed) $(tools)

# A cache of mypy's of its own: the linters may run beside it.
wheel: | $(bin)/python
	@mkdir -p build
	@rm -rf build/wheel build/lib* build/bdist*
	@MYPY_CACHE_DIR=build/mypy_cache $(bin)/python -m pip wheel --disable-pip-version-check --no-deps \
		--wheel-dir build/wheel . >build/wheel.log 2>&1 || { tail -n 60 build/wheel.log; exit 1; }

# Directories of tests ahead of time are apart: their age, a year, is what pytest takes for abandoned, and
# it would remove those of a run beside it.
test: $(installed) $(tools) $(if $(AHEAD),$(real_sleep))
	$(ahead) $(bin)/python -m pytest $(if $(JOBS),-n $(JOBS) --dist loadfile --no-loadscope-reorder) \
		$(if $(COVERAGE),--cov --cov-report=) $(if $(AHEAD),--basetemp=$$(mktemp -d)) $(ARGS)

coverage:
	@$(MAKE) --no-print-directory test LEVERET_COMPILE=0 COVERAGE=1 ARGS="tests/unit tests/protocol tests/storage"
	@$(MAKE) --no-print-directory coverage-report

coverage-report:
	@$(bin)/coverage report | tail -n 1
	@echo "The files with the lowest coverage:"
	@$(bin)/coverage report --sort=cover --skip-covered | sed -n 1,22p

crash: $(installed) $(tools)
	$(bin)/python -m tests.crash $(ROUNDS) $(SEED)

# Needs PostgreSQL 15 or newer, of which the tests start servers of their own. make test has these tests, too.
cluster-test:
	@$(MAKE) --no-print-directory test ARGS="tests/cluster $(wildcard tests/storage/test_postgres_*.py) $(ARGS)"

cluster-crash: $(installed) $(tools)
	$(bin)/python -m tests.cluster.crash $(KILLS) $(SEED)

lint: $(installed) $(tools)
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	@if [ "$$CI" = true ] || command -v npm >/dev/null; then $(MAKE) --no-print-directory lint-page; \
	else echo "npm is not installed: the management page is not checked"; fi

# The types of the management page, and the tests of its modules that need no browser. Node.js is for this only.
lint-page: node_modules/.installed
	npm run --silent check
	npm run --silent test

format: $(tools)
	$(bin)/ruff check --fix .
	$(bin)/ruff format .

bench: $(installed) $(tools)
	$(bin)/python -m bench $(ARGS)

$(bin)/python:
	@$(PYTHON) -c "$$check_python"
	$(PYTHON) -m venv $(VENV)

# Installed, not linked: shared objects beside the sources would hide a later change to them. What an
# older build left in build/lib* would be packed again.
$(installed): $(sources) | $(bin)/python
	@rm -rf $(VENV)/.installed-* build/lib* build/bdist*
	@echo "installing Leveret, which takes a minute or two where it is compiled"
	@$(pip) --verbose $(if $(WHEEL),--force-reinstall --no-deps build/wheel/*.whl,.) >$(VENV)/install.log 2>&1 || \
		{ tail -n 60 $(VENV)/install.log; exit 1; }
	@sed -n 's/.*\(leveret: .*as plain Python\).*/\1/p' $(VENV)/install.log | head -n 1
	@rm $(VENV)/install.log
	@$(bin)/leveret --version
	@touch $@

$(tools): pyproject.toml | $(bin)/python
	@$(bin)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["test"], sep="\n")' >$(VENV)/tools.txt
	@$(pip) --quiet --requirement $(VENV)/tools.txt
	@touch $@

node_modules/.installed: package.json package-lock.json
	npm ci --silent --no-audit --no-fund
	@touch $@

$(real_sleep): tests/support/real_sleep.c | $(bin)/python
	$(CC) -shared -fPIC -O1 -Wall -Wextra -o $@ $<

clean:
	rm -rf $(VENV) build node_modules
