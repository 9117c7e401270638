# make help lists the targets. Everything runs in .venv, which the first target that needs it creates.

PYTHON ?=
OUT    ?= demo-out
SEEDS  ?= 12
JOBS   ?= 2
VENV   := .venv
STAMP  := $(VENV)/.installed
RUN    := $(VENV)/bin/python -m

# With several test workers each takes one thread: on few cores that is faster than workers that fight over them.
PYTEST := $(RUN) pytest $(if $(filter-out 0 1,$(JOBS)),-n $(JOBS) --dist loadfile,-n 0)

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow lab twins lint format docs bench gpu reproduce clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile
	@echo "  settings: PYTHON=python3.12 (3.11 to 3.13)  OUT=demo-out  SEEDS=12  JOBS=2 (test workers)  ARGS= (more words for pytest)"

install: $(STAMP) ## make .venv with the exact versions of constraints.txt; nothing to do when it is up to date

$(STAMP): pyproject.toml constraints.txt
	@set -e; \
	usable() { "$$1" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; }; \
	found=; for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
	    if usable "$$python"; then found="$$python"; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	    echo "amkd_viz needs Python 3.11, 3.12 or 3.13 with its venv module, and $(or $(PYTHON),the PATH) does not give one: name one with PYTHON=..." >&2; exit 1; \
	fi; \
	echo "Installing into $(VENV) with $$("$$found" --version); the first time this downloads a few GB."; \
	"$$found" -m venv --clear $(VENV); \
	$(RUN) pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'; \
	touch $@

demo: install ## train, compare and draw everything once, into demo-out (goes on with one that was stopped; else a free demo-out-2, -3, ...)
	@out="$(OUT)"; n=2; while [ -e "$$out" ] && { [ -e "$$out/report.html" ] || ! [ -d "$$out/digits" ]; }; do out="$(OUT)-$$n"; n=$$((n + 1)); done; \
	echo "$(RUN) amkd_viz demo --out $$out --seeds $(SEEDS)"; \
	$(RUN) amkd_viz demo --out "$$out" --seeds $(SEEDS)

test: lint ## lint, then every test that takes seconds
	$(PYTEST) -m "not slow" $(ARGS)

test-slow: install ## the other tests: whole notebooks, long trainings, servers, hundreds of clicks
	$(PYTEST) -m slow $(ARGS)

lint: install ## ruff, mypy, spelling and prose
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) codespell_lib
	$(RUN) docs.prose

format: install ## let ruff repair what it can
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

lab: install ## JupyterLab on notebook 00, for this machine only, behind its token
	$(RUN) amkd_viz lab

twins: install ## the notebooks without prose, to lecture from: notebooks/clean_*.ipynb
	$(RUN) notebooks.instructor.twins

docs: install ## the docs site, into site/: runs the notebooks; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build -f docs/mkdocs.yml

bench: install ## measure speed; numbers go to benchmarks/
	@if [ -f benchmarks/__main__.py ]; then $(RUN) benchmarks $(ARGS); else echo "There is no benchmarks/__main__.py here." >&2; exit 1; fi

# On a GPU machine torch and numpy suffice: PY is any interpreter that has them, DATA holds CIFAR-10, as it is or packed.
PY      ?= python3
DATA    ?= data
TEACHER ?= resnet26_cifar10.safetensors
MINUTES ?= 9

gpu: ## check and measure a GPU, without .venv, MINUTES=9 at a time: DATA=data TEACHER=... ARGS=--dry tries it on a CPU
	$(PY) -m benchmarks.gpu --root "$(DATA)" --teacher "$(TEACHER)" --minutes $(MINUTES) $(ARGS)

reproduce: ## Heo's two rows and ours, 5 seeds, without .venv, MINUTES=9 at a time: call it until it says that all is done
	$(PY) -m benchmarks.reproduce --root "$(DATA)" --teacher "$(TEACHER)" --minutes $(MINUTES) $(ARGS)

clean: ## remove .venv and caches; results (demo-out, runs, data) stay
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
