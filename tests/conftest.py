"""What all tests share: the list of primitives, a clean registry, and the size table."""

from __future__ import annotations

import importlib
import os
import pkgutil
import signal

# Threads of the BLAS only wait for each other on matrices this small. It reads this once.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import measure
import pytest

import wengert
from wengert.core import primitive as registry

# Shells start jobs in the background with this signal ignored; tests of interrupts send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _load_all() -> None:
    for module in pkgutil.walk_packages(wengert.__path__, "wengert."):
        importlib.import_module(module.name)


_load_all()
#: The package's own primitives, before any test or doctest defines others.
PRIMITIVES = registry.all_primitives()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests with an argument `primitive` run for each that has samples, or for their own."""
    marks = metafunc.definition.iter_markers("parametrize")
    chosen_by_test = any(mark.args[0] == "primitive" for mark in marks)
    if "primitive" in metafunc.fixturenames and not chosen_by_test:
        chosen = [p for p in PRIMITIVES if measure.generated(p)]
        metafunc.parametrize("primitive", chosen, ids=[p.name for p in chosen])


@pytest.fixture
def primitives() -> list[registry.Primitive]:
    """The package's own primitives."""
    return list(PRIMITIVES)


@pytest.fixture(autouse=True)
def clean_registry():
    """Primitives that a test defines are forgotten after it."""
    before = list(registry._INSTANCES)
    yield
    registry._INSTANCES[:] = before


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the size table."""
    terminalreporter.section("size")
    for line in measure.size_table(len(PRIMITIVES)):
        terminalreporter.write_line(line)
