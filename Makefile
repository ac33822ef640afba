# Two commands set up everything they need and run: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test bench parity accuracy fuzz lint docs clean

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,demo]'
	touch $@

demo: $(STAMP)
	$(BIN)/python examples/run_demo.py
	$(BIN)/python examples/digits.py
	$(BIN)/python examples/oscillator.py

test: $(STAMP) lint
	$(BIN)/python -m pytest -n 2

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The peers are heavy; they are installed only for these two.
$(VENV)/.peers: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[peers]'
	touch $@

bench: $(VENV)/.peers
	$(BIN)/python -m benchmarks

parity: $(VENV)/.peers
	$(BIN)/python -m benchmarks.parity

accuracy: $(STAMP)
	$(BIN)/python -m benchmarks.accuracy

fuzz: $(STAMP)
	$(BIN)/python -m wengert.testing.fuzzing --programs 100000 --seed 0

docs: $(STAMP)
	$(BIN)/python docs/make_tables.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
