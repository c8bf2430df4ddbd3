# `make report` and `make test` are all that a fresh machine needs (Python 3.11+, pip, make): both set up .venv first.
# A Python of another name: make PYTHON=python3.12 test
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# One thread a process: two test workers on two cores do not oversubscribe, and sums have one order.
test test-slow: export OMP_NUM_THREADS := 1
test test-slow: export MKL_NUM_THREADS := 1
test test-slow: export OPENBLAS_NUM_THREADS := 1

.PHONY: report figures test test-slow lint types readme clean

report: $(READY)
	$(BIN)/python -m downslope report --out report

test: $(READY)
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-slow: $(READY)
	$(BIN)/python -m pytest -n 2

lint: $(READY)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

# mypy names modules by their folders: a link gives the root the package's name, whatever the checkout is called. It
# stands outside the checkout and for this run only, because a link to a folder above itself is a trap for whatever copies.
types: $(READY)
	@house=$$(mktemp -d) && trap 'rm -rf "$$house"' EXIT && ln -s "$(CURDIR)" "$$house/downslope" && cd "$$house" \
		&& MYPYPATH=. "$(CURDIR)/$(BIN)/python" -m mypy --config-file downslope/pyproject.toml \
			--cache-dir "$(CURDIR)/.mypy_cache" -p downslope

# Draws the pictures of README.md anew: two from a report made now, three from small measurements or from none.
SHOWN := constant clipped rectangle triangle logistic_derivative gaussian fast_sigmoid relu_derivative \
	swish_sign multi_gaussian full_jam positive_jam
figures: report
	$(BIN)/python -m downslope figures ranking --data report --out docs/figures --format png $(SHOWN:%=--surrogate %)
	$(BIN)/python -m downslope figures angle-depth --data report --out build/figures --format png
	$(BIN)/python -m downslope figures along-the-step jamming claims --out build/figures --format png
	cp build/figures/angle-depth-deep-tanh-digits-tied.png build/figures/along-the-step-deep-tanh-digits-tied.png \
		build/figures/jamming-deep-tanh-digits-tied.png build/figures/claims.png docs/figures/

# Writes the tables of README.md anew, from the catalogue, the claims and the commands.
readme: $(READY)
	$(BIN)/python docs/tables.py
	$(BIN)/python docs/figures.py
	$(BIN)/python docs/speed.py

# An environment that is missing, half made or of an older Python is made anew. setuptools comes first, because the
# package is then built with the pinned one and not with whatever is newest that day. Its warning that a folder called
# `downslope` in the working directory would be imported first is of no use to a reader, so it is not shown.
SOUND := import pip, sys; sys.exit(sys.version_info < (3, 11))
NEW_ENOUGH := import sys; v = sys.version_info; v >= (3, 11) or sys.exit( \
	"downslope needs Python 3.11 or newer, and $(PYTHON) is %d.%d. Name a newer one: make PYTHON=python3.12" % v[:2])

$(READY): pyproject.toml constraints.txt
	@$(BIN)/python -c '$(SOUND)' 2>/dev/null || { $(PYTHON) -c '$(NEW_ENOUGH)' && $(PYTHON) -m venv --clear .venv; }
	@echo "Installing into .venv, once; torch is large, so this takes minutes where it is not at hand."
	@$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip setuptools
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	@touch $(READY)

clean:
	rm -rf .venv build dist downslope.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
