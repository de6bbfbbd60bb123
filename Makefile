# make demo: everything small, on synthetic smears.
# make test, make lint, make test-web, make test-extra: what .ci/run checks.
.PHONY: demo test test-web test-extra lint format venv

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
WEB_STAMP := $(VENV)/.installed-web
EXTRA_STAMP := $(VENV)/.installed-extra
# TensorFlow has wheels for Python 3.11 to 3.13. PYTHON=/path/to/python overrides the search.
PYTHON ?=
PIP := -m pip install -qq --disable-pip-version-check

demo: $(STAMP)
	@$(PY) run_guide.py demo

test: $(STAMP)
	@$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --ignore=tests/web --ignore=tests/extra

# The web page in Debian's Chromium, and under attack.
test-web: $(WEB_STAMP)
	@command -v chromium >/dev/null || { \
	  echo "Installing Chromium from Debian's packages"; apt-get update -qq && apt-get install -qq --yes chromium >/dev/null; \
	} || { echo "Error: the tests of the web page need Chromium. Run: sudo apt install chromium" >&2; exit 1; }
	@$(PY) -m pytest tests/web

# Exports, sweeps on Ray, MLflow, JAX: what needs requirements-extra.txt, or more time.
test-extra: $(EXTRA_STAMP)
	@$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests/extra

lint: $(STAMP)
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

format: $(STAMP)
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

venv: $(STAMP)

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

$(WEB_STAMP): $(STAMP) requirements-web.txt
	@echo "Installing the packages of requirements-web.txt into $(VENV)"
	@$(PY) $(PIP) -r requirements-web.txt
	@touch $@

$(EXTRA_STAMP): $(STAMP) requirements-extra.txt
	@echo "Installing the packages of requirements-extra.txt into $(VENV) (minutes, once)"
	@$(PY) $(PIP) -r requirements-extra.txt
	@touch $@
