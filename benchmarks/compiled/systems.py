"""The contenders: the same names for each, so that a row is written once.

A `System` gives `np`, `lax`, `nn`, `random` and transformations of one contender; `jit`
compiles, `asarray` takes NumPy arrays in, and `wait` returns when results are there. JAX and
Wengert have the names already. Torch gets them from `torch_system.py`.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import optree

from benchmarks.compiled.torch_system import TorchCompiled, TorchSystem
from benchmarks.harness import optional

#: In the order of the table's columns.
NAMES = ("wengert", "jax", "torch", "torch.compile", "numpy")


class System:
    """A contender with JAX's names.

    Attributes:
      name: as in the table.
      np, lax, nn, random: its modules.
    """

    def __init__(self, name: str, root: Any) -> None:
        self.name = name
        self.root = root
        for module in ("numpy", "lax", "nn", "random"):
            importlib.import_module(f"{root.__name__}.{module}")
        self.np, self.lax, self.nn, self.random = root.numpy, root.lax, root.nn, root.random

    def __getattr__(self, name: str) -> Any:
        """A transformation: `grad`, `jvp`, `vmap`, `jacfwd` ..."""
        return getattr(self.root, name)

    def jit(self, fun: Callable[..., Any], donate: tuple[int, ...] = ()) -> Callable[..., Any]:
        """`fun`, compiled."""
        return self.root.jit(fun, donate_argnums=donate)

    def asarray(self, tree: Any) -> Any:
        """NumPy arrays as this system's."""
        return optree.tree_map(lambda x: self.np.asarray(x.copy()), tree)

    def wait(self, tree: Any) -> Any:
        """`tree`, when it has been computed."""
        return self.root.block_until_ready(tree)

    def key(self, seed: int) -> Any:
        """A random key; all systems' keys give the same bits."""
        if self.name == "jax":
            return self.random.key(seed, impl="threefry2x32")
        return self.random.key(seed, impl="threefry2x32_partitionable")

    def conv(self, x: Any, kernel: Any) -> Any:
        """Convolution of images (batch, channels, rows, columns) with padding "SAME"."""
        return self.lax.conv(x, kernel, (1, 1), "SAME")


class NumPySystem:
    """NumPy, for rows that it has an operation for."""

    name = "numpy"
    np = np

    def jit(self, fun: Callable[..., Any], donate: tuple[int, ...] = ()) -> Callable[..., Any]:
        """`fun` itself."""
        return fun

    def asarray(self, tree: Any) -> Any:
        """Copies."""
        return optree.tree_map(np.copy, tree)

    def wait(self, tree: Any) -> Any:
        """`tree`."""
        return tree


def one(name: str) -> System:
    """Wengert or JAX alone."""
    return System(name, importlib.import_module(name))


def installed(wanted: Collection[str] = NAMES) -> dict[str, Any]:
    """The contenders among `wanted` that can run here, by name; others are named once."""
    systems: dict[str, Any] = {"wengert": one("wengert")}
    if "jax" in wanted and optional("jax"):
        systems["jax"] = one("jax")
    torch = optional("torch") if {"torch", "torch.compile"} & set(wanted) else None
    if torch and "torch" in wanted:
        systems["torch"] = TorchSystem(torch)
    if torch and "torch.compile" in wanted:
        if shutil.which("g++") or shutil.which("clang++"):
            systems["torch.compile"] = TorchCompiled(torch)
        else:
            print("(torch.compile needs a C++ compiler: skipped)")
    if "numpy" in wanted:
        systems["numpy"] = NumPySystem()
    return systems
