# `make report` and `make test` are all that a fresh machine needs: both set up .venv first.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: report test test-slow lint types ci clean

report: $(READY)
	$(BIN)/downslope report --out report

test: $(READY)
	$(BIN)/pytest -n 2 -m "not slow"

test-slow: $(READY)
	$(BIN)/pytest -n 2

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy names modules by their folders; the link gives the root the package's name, whatever the checkout is called.
types: $(READY)
	ln -sfn ../.. .venv/house/downslope 2>/dev/null || (mkdir -p .venv/house && ln -sfn ../.. .venv/house/downslope)
	cd .venv/house && MYPYPATH=. ../bin/mypy --config-file downslope/pyproject.toml -p downslope

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip setuptools
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

clean:
	rm -rf .venv build dist *.egg-info
