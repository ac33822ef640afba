"""The list by which library modules are found says what their tables say."""

from __future__ import annotations

import importlib

import pytest

from wengert.engines.native import library


@pytest.mark.parametrize("name", library.MODULES)
def test_listed(name):
    module = importlib.import_module(f"wengert.engines.native.library.{name}")
    assert set(library.MODULES[name].split()) == set(module.OPERATIONS)
    assert set(getattr(module, "SUPPORTS", ())) <= set(module.OPERATIONS)
