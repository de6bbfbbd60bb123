# make demo: everything small, on synthetic smears. make test: the quick tests, under 3 minutes on 2 cores.
# make lint, make test, make test-all: what .ci/run checks.
.PHONY: demo test test-all test-lowest coverage lint format venv lock

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
ALL_STAMP := $(VENV)/.installed-all
# TensorFlow has wheels for Python 3.11 to 3.13. PYTHON=/path/to/python overrides the search.
PYTHON ?=
PIP := -m pip install -qq --disable-pip-version-check
# Two test processes; the files of a process share its trained runs. COVERAGE=1 also measures coverage.
PYTEST = -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(if $(COVERAGE),--cov --cov-append --cov-report=)

demo: $(STAMP)
	@$(PY) run_guide.py demo

test: $(STAMP)
	@$(PY) $(PYTEST) -m "not slow and not web and not extra"

# Everything that `make test` leaves out: all models, kill and resume, notebooks, published results, exports, the web page.
test-all: $(ALL_STAMP)
	@command -v chromium >/dev/null || { \
	  echo "Installing Chromium from Debian's packages"; apt-get update -qq && apt-get install -qq --yes chromium >/dev/null; \
	} || { echo "Error: the tests of the web page need Chromium. Run: sudo apt install chromium" >&2; exit 1; }
	@$(PY) $(PYTEST) -m "slow or web or extra"

# Lines of each room that tests run, after `make test COVERAGE=1` and `make test-all COVERAGE=1`; fails below the floor.
FLOORS := benchmarks:42 data:97 guide:91 models:94 utils:98 visualization:98 webapp:93
coverage: $(ALL_STAMP)
	@rm -f .coverage.*  # parts that processes left which were killed while they wrote them
	@for floor in $(FLOORS); do \
	  echo "coverage of $${floor%:*}, at least $${floor#*:} %: $$($(PY) -m coverage report --include="$${floor%:*}/*" --format=total --precision=2)"; \
	  $(PY) -m coverage report --include="$${floor%:*}/*" --fail-under=$${floor#*:} >/dev/null || exit 1; \
	done

# The quick tests with the oldest versions that requirements.txt allows, in an environment of their own.
test-lowest: $(ALL_STAMP)
	@$(PY) -m uv venv --quiet --allow-existing --python $(PY) $(VENV)-lowest
	@$(PY) -m uv pip install --quiet --python $(VENV)-lowest/bin/python --resolution lowest-direct -r requirements-dev.txt
	@$(VENV)-lowest/bin/python $(PYTEST) -m "not slow and not web and not extra"

lint: $(STAMP)
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

format: $(STAMP)
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

venv: $(STAMP)

# One set of versions that works together, for every platform: pip install -r requirements.lock
lock: $(ALL_STAMP)
	@$(PY) -m uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-emit-index-url \
	  --no-emit-find-links --custom-compile-command "make lock" requirements-dev-all.txt -o requirements.lock

# A python without ensurepip (Debian without python3-venv) still makes an environment; pip is then taken from Debian's
# package of it, which any user may download.
PIP_OF_DEBIAN := { apt-get download python3-pip-whl || { apt-get update && apt-get download python3-pip-whl; }; } && dpkg -x python3-pip-whl_*.deb .
$(STAMP): requirements.txt requirements-dev.txt
	@set -e; \
	fits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'; \
	if ! $(PY) -c "$$fits" 2>/dev/null || ! $(PY) -m pip --version >/dev/null 2>&1; then \
	  found=; \
	  for candidate in $(PYTHON) $(if $(PYTHON),,python3 python3.12 python3.13 python3.11 python); do \
	    if "$$candidate" -c "$$fits" 2>/dev/null; then found=$$candidate; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "Error: no Python 3.11, 3.12 or 3.13 here. Install one (apt install python3) or name it: make PYTHON=/path/to/python $(MAKECMDGOALS)" >&2; exit 1; \
	  fi; \
	  rm -rf $(VENV); \
	  if ! "$$found" -m venv $(VENV) >/dev/null 2>&1 && ! "$$found" -m virtualenv --quiet $(VENV) >/dev/null 2>&1; then \
	    rm -rf $(VENV); \
	    if ! { "$$found" -m venv --without-pip $(VENV) && (cd $(VENV) && $(PIP_OF_DEBIAN)) && $(PY) $$(ls $(VENV)/usr/share/python-wheels/pip-*.whl)/pip install --quiet --force-reinstall pip; } >/dev/null 2>&1; then \
	      rm -rf $(VENV); echo "Error: $$found cannot make an environment with pip. Run: sudo apt install python3-venv" >&2; exit 1; \
	    fi; \
	  fi; \
	fi; \
	echo "Installing the packages of requirements.txt into $(VENV) (minutes, once)"; \
	$(PY) $(PIP) -r requirements-dev.txt; \
	touch $@

$(ALL_STAMP): $(STAMP) requirements-dev-all.txt requirements-web.txt requirements-extra.txt
	@echo "Installing the packages of requirements-dev-all.txt into $(VENV) (minutes, once)"
	@$(PY) $(PIP) -r requirements-dev-all.txt
	@touch $@
