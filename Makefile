# Everything happens in .venv; `make demo` and `make test` make it if need be.
# make test       what every change must pass: ten minutes on two cores, less a second time
# make test-all   that and the tests marked `long` (those beside PyTorch where it is
#                 installed, real sizes, chaos), then what is held to recorded numbers
#                 once more as XLA compiles it by default; `make test` spares its effort
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= 2

.PHONY: demo test test-all lint format types clean

demo: $(STAMP)
	$(BIN)/python train.py --config configs/vdpa.py

test: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test-all: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m ""
	TOKENJAX_TEST_OPTIMISED=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m golden

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .cache build *.egg-info

$(STAMP): pyproject.toml requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13) and "tokenjax needs Python 3.11 or 3.12: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $(STAMP)
