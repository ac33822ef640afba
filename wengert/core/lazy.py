"""Modules that are imported at their first use.

`import wengert` stays light; SciPy and opt_einsum cost their import when a function needs them.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any


class LazyModule:
    """Stands for a module; the first attribute access imports it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._module: ModuleType | None = None

    def __getattr__(self, attribute: str) -> Any:
        if self._module is None:
            self._module = importlib.import_module(self._name)
        value = getattr(self._module, attribute)
        setattr(self, attribute, value)
        return value


def lazy_module(name: str) -> Any:
    """An object whose attributes are those of the named module, imported when first used."""
    return LazyModule(name)
