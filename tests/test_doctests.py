"""All examples in the docstrings of the package run, and print what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import wengert

MODULES = sorted(
    ["wengert", *(m.name for m in pkgutil.walk_packages(wengert.__path__, "wengert."))]
)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    results = doctest.testmod(module, optionflags=FLAGS)
    assert results.failed == 0, f"{results.failed} of {results.attempted} examples failed"
