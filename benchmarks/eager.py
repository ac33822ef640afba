"""Small and eager work: what a notebook does."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

import wengert
import wengert.numpy as wnp
from benchmarks.harness import Case, optional, report

RNG = np.random.default_rng(0)


def simplefun(x: Any, w: Any) -> Any:
    """The first user's function."""
    return (x + w) * x**2


def chain(x: Any, w: Any) -> Any:
    """100 scalar operations."""
    for _ in range(50):
        x = x * w + w
    return x


def small(jax: Any, torch: Any, autograd: Any) -> list[Case]:
    """The notebook's own work."""
    x, w = wnp.array(3.0), wnp.array(1.0)
    xs, ws = wnp.array([3.0, 1.0, 2.0]), wnp.array([1.0, -1.0, 2.2])
    grad = wengert.grad(simplefun)
    add: dict[str, Any] = {"wengert": lambda: x + w}
    scalar: dict[str, Any] = {"wengert": lambda: grad(3.0, 1.0)}
    rev: dict[str, Any] = {"wengert": lambda: wengert.jacrev(simplefun)(xs, ws)}
    fwd: dict[str, Any] = {"wengert": lambda: wengert.jacfwd(simplefun)(xs, ws)}
    deep: dict[str, Any] = {"wengert": lambda: wengert.grad(chain)(x, w)}
    if torch:
        tx, tw = torch.tensor(3.0), torch.tensor(1.0)
        txs, tws = torch.tensor([3.0, 1.0, 2.0]), torch.tensor([1.0, -1.0, 2.2])
        leaf = torch.tensor(3.0, requires_grad=True)
        add["torch"] = lambda: tx + tw
        scalar["torch"] = lambda: torch.autograd.grad(simplefun(leaf, tw), leaf)
        rev["torch.func"] = lambda: torch.func.jacrev(simplefun)(txs, tws)
        fwd["torch.func"] = lambda: torch.func.jacrev(simplefun)(txs, tws)
        deep["torch"] = lambda: torch.autograd.grad(chain(leaf, tw), leaf)
    if autograd:
        scalar["autograd"] = lambda: autograd.grad(simplefun)(3.0, 1.0)
        nx, nw = np.asarray(xs), np.asarray(ws)
        rev["autograd"] = lambda: autograd.jacobian(simplefun)(nx, nw)
    if jax:
        jx, jw = jax.numpy.array(3.0), jax.numpy.array(1.0)
        jxs, jws = jax.numpy.asarray(np.asarray(xs)), jax.numpy.asarray(np.asarray(ws))
        add["jax"] = lambda: (jx + jw).block_until_ready()
        scalar["jax"] = lambda: jax.grad(simplefun)(3.0, 1.0).block_until_ready()
        rev["jax"] = lambda: jax.jacrev(simplefun)(jxs, jws).block_until_ready()
        fwd["jax"] = lambda: jax.jacfwd(simplefun)(jxs, jws).block_until_ready()
    return [
        Case("x + w, 0-d float32", add, ("torch", 1.2)),
        Case("grad(simplefun)(3., 1.)", scalar, ("torch", 0.8)),
        Case("jacrev(simplefun), 3-vectors", rev, ("torch.func", 0.35)),
        Case("jacfwd(simplefun), 3-vectors (theirs: jacrev)", fwd, ("torch.func", 0.25)),
        Case("grad of a chain of 100 scalar operations", deep, ("torch", 1.0)),
    ]


def logistic(jax: Any, torch: Any) -> Case:
    """Per-example gradients of a small logistic loss, 1,000 rows."""
    weights = RNG.normal(size=8).astype(np.float32)
    rows = RNG.normal(size=(1000, 8)).astype(np.float32)
    labels = (RNG.random(1000) < 0.5).astype(np.float32)

    def loss(xp: Any, w: Any, row: Any, label: Any) -> Any:
        return xp.log1p(xp.exp(-(2 * label - 1) * xp.dot(w, row)))

    ours = wengert.vmap(wengert.grad(lambda w, r, y: loss(wnp, w, r, y)), (None, 0, 0))
    a, b, c = wnp.asarray(weights), wnp.asarray(rows), wnp.asarray(labels)
    runs: dict[str, Any] = {"wengert": lambda: ours(a, b, c)}
    if torch:
        ta, tb, tc = map(torch.from_numpy, (weights, rows, labels))
        grads = torch.func.vmap(
            torch.func.grad(lambda w, r, y: loss(torch, w, r, y)), (None, 0, 0)
        )
        runs["torch.func"] = lambda: grads(ta, tb, tc)
        np.testing.assert_allclose(np.asarray(ours(a, b, c)), grads(ta, tb, tc), atol=1e-5)
    if jax:
        jgrads = jax.vmap(jax.grad(lambda w, r, y: loss(jax.numpy, w, r, y)), (None, 0, 0))
        runs["jax"] = lambda: jgrads(weights, rows, labels).block_until_ready()
    return Case("vmap(grad(f)), logistic loss, 1,000 rows", runs, ("torch.func", 1.0))


def mlp(jax: Any, torch: Any) -> Case:
    """The gradient of a 4-layer perceptron, batch 256."""
    sizes = (256, 512, 512, 512, 10)
    weights = [
        (RNG.normal(size=(m, n)) / np.sqrt(m)).astype(np.float32)
        for m, n in itertools.pairwise(sizes)
    ]
    batch = RNG.normal(size=(256, sizes[0])).astype(np.float32)

    def loss(xp: Any, ws: Any, x: Any) -> Any:
        for w in ws[:-1]:
            x = xp.tanh(x @ w)
        return ((x @ ws[-1]) ** 2).mean()

    ours = wengert.grad(lambda ws, x: loss(wnp, ws, x))
    a, b = [wnp.asarray(w) for w in weights], wnp.asarray(batch)
    runs: dict[str, Any] = {"wengert": lambda: ours(a, b)}
    if torch:
        leaves = [torch.from_numpy(w).requires_grad_() for w in weights]
        tb = torch.from_numpy(batch)
        runs["torch"] = lambda: torch.autograd.grad(loss(torch, leaves, tb), leaves)
        for got, expected in zip(ours(a, b), runs["torch"](), strict=True):
            np.testing.assert_allclose(np.asarray(got), expected, atol=1e-5)
    if jax:
        jgrad = jax.grad(lambda ws, x: loss(jax.numpy, ws, x))
        ja, jb = [jax.numpy.asarray(w) for w in weights], jax.numpy.asarray(batch)
        runs["jax"] = lambda: jax.block_until_ready(jgrad(ja, jb))
    return Case("grad of a 4-layer MLP, batch 256", runs, ("torch", 1.2), seconds=0.05)


def tracing(jax: Any) -> Case:
    """Tracing a program of 10,000 equations."""

    def long(x: Any) -> Any:
        for _ in range(5000):
            x = x * 1.0001 + 0.1
        return x

    runs: dict[str, Any] = {"wengert": lambda: wengert.make_program(long)(1.0)}
    if jax:
        # a fresh function each time: JAX would find the old one in its cache
        runs["jax"] = lambda: jax.make_jaxpr(lambda x: long(x))(1.0)
    return Case("tracing 10,000 equations", runs, ("jax", 0.25), rounds=7, seconds=0.0)


def main() -> None:
    """Print the table."""
    jax, torch, autograd = optional("jax"), optional("torch"), optional("autograd")
    report(
        "Small and eager",
        [*small(jax, torch, autograd), logistic(jax, torch), mlp(jax, torch), tracing(jax)],
    )
