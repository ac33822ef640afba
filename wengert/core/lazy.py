"""Modules that are imported at their first use.

`import wengert` stays light; SciPy and opt_einsum cost their import when a function needs them.

Threads in the background import them too, without anybody's knowing. In a process that is
forked meanwhile a module would stay half there, and whoever needs it would wait for ever: so
forks wait for these imports.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

#: Threads that are importing, and how many seconds a fork waits for them.
_importing: set[int] = set()
_PATIENCE = 10.0


def _imported(name: str) -> ModuleType:
    """The module, imported now if need be."""
    thread = threading.get_ident()
    if thread in _importing:
        return importlib.import_module(name)
    _importing.add(thread)
    try:
        return importlib.import_module(name)
    finally:
        _importing.discard(thread)


def _wait_for_imports() -> None:
    own = {threading.get_ident()}
    end = time.monotonic() + _PATIENCE
    while not _importing <= own and time.monotonic() < end:
        time.sleep(0.001)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_wait_for_imports,
        after_in_child=lambda: _importing.intersection_update({threading.get_ident()}),
    )


class LazyModule:
    """Stands for a module; the first attribute access gets it."""

    def __init__(self, get: Callable[[], ModuleType]) -> None:
        self._get = get
        self._module: ModuleType | None = None

    def __getattr__(self, attribute: str) -> Any:
        if self._module is None:
            self._module = self._get()
        value = getattr(self._module, attribute)
        setattr(self, attribute, value)
        return value


def lazy_module(name: str) -> Any:
    """An object whose attributes are those of the named module, imported when first used."""
    return LazyModule(lambda: _imported(name))


def lazy_extension(package: str, name: str) -> Any:
    """As `lazy_module`, for a compiled module that can do without the packages around it.

    >>> lazy_extension("scipy", "linalg.cython_blas").__name__
    'scipy.linalg.cython_blas'
    """
    return LazyModule(lambda: _extension(package, name))


def _extension(package: str, name: str) -> ModuleType:
    """A module from its file; importing what lies around it may take ten times as long."""
    full = f"{package}.{name}"
    spec = importlib.util.find_spec(package)
    roots = spec.submodule_search_locations if spec else None
    stems = [Path(root, *name.split(".")) for root in roots or ()]
    files = [Path(f"{stem}{suffix}") for stem in stems for suffix in EXTENSION_SUFFIXES]
    file = next((str(file) for file in files if file.exists()), None)
    if file is None or full.rpartition(".")[0] in sys.modules:
        return _imported(full)
    loader = ExtensionFileLoader(full, file)
    found = importlib.util.spec_from_file_location(full, file, loader=loader)
    if found is None:
        return _imported(full)
    module = importlib.util.module_from_spec(found)
    loader.exec_module(module)
    sys.modules.pop(full, None)  # as part of its package it is still to be imported
    return module


_EXPORT = re.compile(r"^from (\S+) import (\w+) as (\w+)$", re.MULTILINE)


def lazy_exports(
    package: str, file: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package that imports names when first used.

    The names are listed once, in the stub beside the package's `__init__.py`, as explicit
    re-exports (`from a.b import name as name`): type checkers read them there too.
    """
    with open(file.removesuffix(".py") + ".pyi", encoding="utf-8") as stub_file:
        stub = stub_file.read()
    sources = {name: (module, source) for module, source, name in _EXPORT.findall(stub)}

    def get(name: str) -> Any:
        if name not in sources:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, source = sources[name]
        if module == package:
            value = _imported(f"{package}.{source}")
        else:
            value = getattr(_imported(module), source)
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: sorted({*vars(sys.modules[package]), *sources}), sorted(sources)
