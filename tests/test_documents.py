"""The documents run: examples in Markdown, the miniature system, and the demo's notebook."""

from __future__ import annotations

import doctest
import functools
import importlib.util
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@functools.cache
def demo():
    """The demo's module."""
    spec = importlib.util.spec_from_file_location("run_demo", ROOT / "examples" / "run_demo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["README.md", "docs/adding.md"])
def test_examples_in_markdown(name):
    results = doctest.testfile(str(ROOT / name), module_relative=False, optionflags=FLAGS)
    assert results.attempted > 0
    assert results.failed == 0


def test_the_miniature_system_runs():
    path = ROOT / "docs" / "from_scratch.py"
    assert len(path.read_text().splitlines()) <= 600
    runpy.run_path(str(path))


def test_every_cell_of_the_notebook_agrees():
    rows = demo().compare(demo().executed(demo().NOTEBOOK))
    assert len(rows) == 20
    assert [name for name, *_, same in rows if not same] == []


def test_the_demo_tells_equal_from_different():
    run_demo = demo()
    assert run_demo.equal(
        "DeviceArray([1., 2.], dtype=float32)", "Array([1., 2.], dtype=float32)", []
    )
    assert run_demo.equal("0.13262251", "0.13262252", [])
    assert not run_demo.equal("0.13262251", "0.13262351", [])
    assert not run_demo.equal("[1. 2.]", "[1. 3.]", [])
    assert not run_demo.equal("[33. 20.8]", "[33. 20.80001]", [])
    assert not run_demo.equal("[2384771982 3928867769]", "[2384771982 3928867770]", [])
    assert not run_demo.equal("Array(1., dtype=float32)", "Array(1., dtype=float64)", [])
