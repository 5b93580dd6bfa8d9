# Every target installs what it needs into $(VENV) first; see INSTALL.md.
#
#   make setup        install only                 PYTHON=python3.11   the Python to use (3.10 to 3.12)
#   make demo         the toy world, end to end    VENV=.venv          the environment, made when missing
#   make demo-study   the paper's observations     DETECTRON2=SOURCE   a git URL or path instead of third_party/detectron2
#   make test         all tests (ARGS="-k name")
#   make test-fast    the tests that need no minute: most rooms, nothing that starts processes
#   make lint         ruff, and mypy where types are strict (see pyproject.toml)
#   make format       let ruff put the code in shape
#   make clean        remove caches and what the demo made
#   make help         this text

# Rooms whose tests are quick; those marked slow are left out.
FAST := tests/test_architecture.py $(addprefix tests/,config structures utils similarity criteria inference \
	visual_encoders mask_generators methods)

VENV ?= .venv
ARGS ?=
SUPPORTED := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))
PYTHON ?= $(shell for name in python3 python3.12 python3.11 python3.10; do \
	$$name -c '$(SUPPORTED)' >/dev/null 2>&1 && echo $$name && break; done)

RUN := $(VENV)/bin/python
INSTALL := $(RUN) -m pip install --disable-pip-version-check --constraint constraints.txt
# LVIS' and Cityscapes' own scores. Without dependencies: they would bring a second OpenCV and a module named typing.
SCORERS := lvis cityscapesscripts pyquaternion coloredlogs humanfriendly
STAMP := $(VENV)/.installed
INPUTS := setup.py constraints.txt $(wildcard third_party/detectron2/*.py third_party/detectron2/*.toml)

# Web addresses of repositories get the prefix that pip wants; archives and paths stay as they are.
DETECTRON2_IS_REPOSITORY := $(and $(filter http://% https://% ssh://%,$(DETECTRON2)),$(if $(filter %.zip %.tar.gz %.whl,$(DETECTRON2)),,yes))
DETECTRON2_SOURCE := $(if $(DETECTRON2_IS_REPOSITORY),git+)$(DETECTRON2)
DETECTRON2_RECORD := $(VENV)/.detectron2
# True for a detectron2 that this project did not build: it is left alone.
FOREIGN_DETECTRON2 := import detectron2; raise SystemExit("+pure" in detectron2.__version__)

.PHONY: setup demo demo-study test test-fast lint format clean help force

setup: $(STAMP)

demo: $(STAMP)
	$(RUN) -m maskclippp.toy.demo $(ARGS)

demo-study: $(STAMP)
	$(RUN) -m maskclippp.toy.study $(ARGS)

test: $(STAMP)
	@$(RUN) -m pytest -q --durations=10 $(ARGS)

test-fast: $(STAMP)
	@$(RUN) -m pytest -q -m "not slow and not gpu" $(FAST) $(ARGS)

lint: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(STAMP)
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis output/toy datasets/toy
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

# A source of detectron2 other than the one installed last installs again.
ifneq ($(DETECTRON2),)
ifneq ($(DETECTRON2),$(shell cat $(DETECTRON2_RECORD) 2>/dev/null))
$(STAMP): force
NEW_DETECTRON2 := yes
endif
endif

$(STAMP): $(INPUTS) | $(RUN)
	$(INSTALL) pip setuptools wheel
	$(INSTALL) torch torchvision
	@if [ -n "$(NEW_DETECTRON2)" ]; then \
		$(RUN) -m pip uninstall --yes detectron2 && \
		$(INSTALL) --no-build-isolation "$(DETECTRON2_SOURCE)" && echo "$(DETECTRON2)" >$(DETECTRON2_RECORD); \
	elif $(RUN) -c '$(FOREIGN_DETECTRON2)' >/dev/null 2>&1; then \
		echo "detectron2: the one already installed is kept"; \
	else \
		rm -f $(DETECTRON2_RECORD) && $(INSTALL) --no-build-isolation ./third_party/detectron2; \
	fi
	$(INSTALL) --no-build-isolation --editable '.[dev]'
	$(INSTALL) --no-deps $(SCORERS)
	@touch $@

$(RUN):
	@python="$(or $(PYTHON),python3)"; "$$python" -c '$(SUPPORTED)' 2>/dev/null || { \
		echo "maskclippp needs Python 3.10, 3.11 or 3.12, not $$("$$python" --version 2>&1 | tail -n 1);" \
			"name one: make setup PYTHON=python3.11" >&2; exit 1; }
	"$(or $(PYTHON),python3)" -m venv $(VENV)
