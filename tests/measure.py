"""Measures of the source code: lines, functions, imports. Read by the quality tests."""

from __future__ import annotations

import ast
import functools
import re
import statistics
from pathlib import Path
from typing import NamedTuple

import wengert
from wengert import config
from wengert.core.primitive import Primitive

ROOT = Path(wengert.__file__).parent
#: Ranks of the import order: a module imports from its own rank and from lower ones only.
LAYERS = (
    ("errors", "config"),
    ("core",),
    ("primitives",),
    ("passes",),
    ("engines",),
    ("transforms",),
    (
        *("numpy", "lax", "random", "nn", "scipy", "sparse"),
        *("tree", "tree_util", "custom_derivatives", "ad_checkpoint", "extend"),
    ),
    ("testing",),
    ("__init__",),
)
#: Primitives without samples, and the tests that run them.
TESTED_ELSEWHERE = {
    "call": "test_compositions: its parameter is a function",
    "checkpoint": "test_compositions: its parameter is a function",
    "custom_jvp_call": "test_compositions: its parameters are functions",
    "custom_vjp_call": "test_compositions: its parameters are functions",
    "linear_solve": "test_implicit: its parameters are functions",
    "all_gather": "test_collectives: needs a named axis",
    "all_to_all": "test_collectives: needs a named axis",
    "axis_index": "test_collectives: needs a named axis",
    "pmax": "test_collectives: needs a named axis",
    "pmin": "test_collectives: needs a named axis",
    "ppermute": "test_collectives: needs a named axis",
    "psum": "test_collectives: needs a named axis",
    "psum_scatter": "test_collectives: needs a named axis",
}


class Function(NamedTuple):
    """A function or method of the package, and how many lines it has."""

    where: str
    lines: int


def generated(primitive: Primitive) -> bool:
    """Whether the generated tests run a primitive; if not, others do (`TESTED_ELSEWHERE`)."""
    return primitive.name not in TESTED_ELSEWHERE


def sources() -> list[Path]:
    """All source files of the package."""
    return sorted(ROOT.rglob("*.py"))


def name_of(path: Path) -> str:
    """The module's name, relative to the package: `core.array`."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[-1] == "__init__" and len(parts) > 1:
        parts.pop()
    return ".".join(parts)


@functools.cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def line_count(path: Path) -> int:
    """Lines of a file."""
    return len(path.read_text(encoding="utf-8").splitlines())


@functools.cache
def functions() -> tuple[Function, ...]:
    """All functions and methods, with their lengths, docstrings included."""
    found = []
    for path in sources():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                found.append(Function(f"{name_of(path)}.{node.name}", lines))
    return tuple(found)


@functools.cache
def body_lengths() -> tuple[int, ...]:
    """Lines of every function without its docstring."""
    lengths = []
    for path in sources():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if ast.get_docstring(node) is not None:
                    doc = node.body[0]
                    lines -= (doc.end_lineno or doc.lineno) - doc.lineno + 1
                lengths.append(lines)
    return tuple(lengths)


def imports(path: Path) -> list[tuple[str, int]]:
    """Modules of this package that a file imports, relative to it, with line numbers."""
    found = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "wengert":
            names = [f"wengert.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = ["." * node.level + (node.module or "")]
        else:
            continue
        for name in names:
            if name.startswith("."):
                raise ValueError(f"{path}:{node.lineno} has a relative import")
            if name == "wengert" or name.startswith("wengert."):
                found.append((name.removeprefix("wengert").removeprefix("."), node.lineno))
    return found


def rank(module: str) -> int:
    """The place of a module in the import order."""
    head = module.split(".", maxsplit=1)[0] or "__init__"
    for number, layer in enumerate(LAYERS):
        if head in layer:
            return number
    raise ValueError(f"wengert.{module} has no place in the import order (tests/measure.py)")


def inner_imports(path: Path) -> list[int]:
    """Lines of imports inside functions."""
    return [
        inner.lineno
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    ]


def debts() -> list[str]:
    """Places that say TODO, FIXME or XXX."""
    return [
        f"{name_of(path)}:{number}"
        for path in sources()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(r"\b(TODO|FIXME|XXX)\b", line)
    ]


def size_table(primitives: int) -> list[str]:
    """The table that ends a test session."""
    files = {path: line_count(path) for path in sources()}
    longest_file = max(files, key=lambda path: files[path])
    longest = max(functions(), key=lambda f: f.lines)
    median = statistics.median(body_lengths())
    rows = [
        ("lines", f"{sum(files.values())} in {len(files)} files"),
        ("longest file", f"{files[longest_file]}  {name_of(longest_file)}"),
        ("longest function", f"{longest.lines}  {longest.where}"),
        ("median function", f"{median:g} of {len(functions())}"),
        ("settings", f"{len(config.SETTINGS)}"),
        ("primitives", f"{primitives}"),
        ("TODOs", f"{len(debts())}"),
    ]
    return [f"{name:<17} {value}" for name, value in rows]
