"""What a row of the table is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

#: A function of a system that returns the function to compile: a new one at every call.
Build = Callable[[Any], Callable[..., Any]]

#: Multiply-adds count 2. Polynomials of float32 functions, and divisions, as multiply-adds.
EXP, LOG, SIN, TANH, DIVIDE, SQRT = 14, 20, 18, 20, 8, 8


@dataclass(frozen=True)
class Row:
    """One piece of work.

    Attributes:
      name: to choose it by.
      title: as printed; the work is a gradient unless it says otherwise.
      build: from a system to the function that is compiled.
      inputs: makes the arguments, as trees of NumPy arrays.
      target: our median over JAX's is to be at most this.
      anchor: whether the project's table of targets has it.
      flops, steps: arithmetic, and dependent multiply-adds, that no implementation avoids;
        estimates, for the limit. Bytes are those of inputs and outputs.
      peers: contenders that run it, besides us.
      own: builds of contenders that cannot share the code.
      state: how many leading arguments the results replace; they are donated.
      tolerance: how far results may be apart, relative to the largest element.
    """

    name: str
    title: str
    build: Build
    inputs: Callable[[], tuple[Any, ...]]
    target: float = 1.0
    anchor: bool = False
    flops: float = 0.0
    steps: float = 0.0
    peers: tuple[str, ...] = ("jax", "torch", "torch.compile")
    own: dict[str, Build] = field(default_factory=dict)
    state: int = 0
    tolerance: float = 1e-4

    def contenders(self) -> set[str]:
        """Names of all systems that run the row."""
        return {"wengert", *self.peers, *self.own}

    def function(self, system: Any) -> Callable[..., Any]:
        """A new function to compile."""
        return self.own.get(system.name, self.build)(system)


def normal(*shape: int, scale: float = 1.0, seed: int = 0) -> np.ndarray[Any, Any]:
    """Normal numbers, float32."""
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)
