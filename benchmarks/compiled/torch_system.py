"""Torch under JAX's names: what the rows use, and no more.

Gradients are taken as torch's users take them: leaves that require a gradient, then
`torch.autograd.grad`. `TorchCompiled` hands the loss to `torch.compile`, which compiles its
backward pass too. Loops are Python loops, as they are for torch's users.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import optree


class TorchNumpy:
    """`torch` with NumPy's names where they differ."""

    def __init__(self, torch: Any) -> None:
        self.torch = torch
        self.concatenate = torch.cat
        self.linalg = torch.linalg
        self.fft = torch.fft

    def __getattr__(self, name: str) -> Any:
        return getattr(self.torch, name)

    def sort(self, x: Any) -> Any:
        """Values only."""
        return self.torch.sort(x).values

    def cumsum(self, x: Any) -> Any:
        """Along the last axis."""
        return self.torch.cumsum(x, -1)


class LeafGradient:
    """A function of tensors that returns the gradient of a loss."""

    def __init__(self, torch: Any, loss: Callable[..., Any], argnums: Any, also: bool) -> None:
        self.torch, self.loss, self.also = torch, loss, also
        self.argnums = argnums

    def compiled(self) -> LeafGradient:
        """The same of the compiled loss."""
        loss = _compile(self.torch, self.loss)
        return LeafGradient(self.torch, loss, self.argnums, self.also)

    def __call__(self, *args: Any) -> Any:
        single = isinstance(self.argnums, int)
        numbers = (self.argnums,) if single else self.argnums
        leaves = list(args)
        for n in numbers:
            leaves[n] = optree.tree_map(lambda x: x.detach().requires_grad_(), args[n])
        value = self.loss(*leaves)
        chosen = [leaves[n] for n in numbers]
        flat, structure = optree.tree_flatten(chosen)
        grads = optree.tree_unflatten(structure, self.torch.autograd.grad(value, flat))
        result = grads[0] if single else tuple(grads)
        return (value.detach(), result) if self.also else result


def _compile(torch: Any, fun: Callable[..., Any]) -> Callable[..., Any]:
    """`fun`, compiled for the shapes it gets, whatever was compiled before."""
    torch._dynamo.reset()
    return torch.compile(fun, dynamic=False)


def _scan(torch: Any) -> Callable[..., Any]:
    """`lax.scan` as a Python loop."""

    def scan(body: Any, carry: Any, xs: Any, length: int | None = None) -> Any:
        outputs = []
        for n in range(len(xs) if length is None else length):
            carry, y = body(carry, None if xs is None else xs[n])
            outputs.append(y)
        return carry, None if outputs[0] is None else torch.stack(outputs)

    return scan


class TorchSystem:
    """Torch, eager."""

    name = "torch"

    def __init__(self, torch: Any) -> None:
        self.torch = torch
        self.np = TorchNumpy(torch)
        self.lax = SimpleNamespace(scan=_scan(torch))
        self.nn = torch.nn.functional

    def grad(self, loss: Callable[..., Any], argnums: int | Sequence[int] = 0) -> LeafGradient:
        """The gradient of a loss."""
        return LeafGradient(self.torch, loss, argnums, also=False)

    def value_and_grad(
        self, loss: Callable[..., Any], argnums: int | Sequence[int] = 0
    ) -> LeafGradient:
        """A loss and its gradient."""
        return LeafGradient(self.torch, loss, argnums, also=True)

    def jit(self, fun: Callable[..., Any], donate: tuple[int, ...] = ()) -> Callable[..., Any]:
        """`fun` itself."""
        return fun

    def asarray(self, tree: Any) -> Any:
        """NumPy arrays as tensors of their own."""
        return optree.tree_map(lambda x: self.torch.from_numpy(np.copy(x)), tree)

    def wait(self, tree: Any) -> Any:
        """`tree`: torch's CPU operations are done when they return."""
        return tree

    def conv(self, x: Any, kernel: Any) -> Any:
        """Convolution of images (batch, channels, rows, columns) with padding "SAME"."""
        return self.nn.conv2d(x, kernel, padding="same")


class TorchCompiled(TorchSystem):
    """Torch through `torch.compile`."""

    name = "torch.compile"

    def jit(self, fun: Callable[..., Any], donate: tuple[int, ...] = ()) -> Callable[..., Any]:
        """`fun`, compiled; of a gradient, its loss."""
        if isinstance(fun, LeafGradient):
            return fun.compiled()
        return _compile(self.torch, fun)
