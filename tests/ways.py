"""Ways to evaluate and differentiate a function, each against an independent one.

Every control-flow test compares a function with the same one written with Python's own `if`,
`for` and `while`, through all transformations and their compositions.
"""

from __future__ import annotations

import numpy as np

import wengert as wg
from wengert import tree_util


def leaves(values):
    return [np.asarray(v) for v in tree_util.tree_leaves(values)]


def same(got, expected, rtol=1e-9, atol=1e-12):
    got, expected = leaves(got), leaves(expected)
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        assert a.shape == b.shape, (a.shape, b.shape)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def every(args):
    return tuple(range(len(args)))


def _tangents(args):
    return tuple(np.full_like(a, 0.3) + 0.1 * i for i, a in enumerate(args))


#: What is done to a function; the same is done to the unrolled one.
WAYS = {
    "value": lambda f, a: f(*a),
    "jit": lambda f, a: wg.jit(f)(*a),
    "jvp": lambda f, a: wg.jvp(f, a, _tangents(a)),
    "jit jvp": lambda f, a: wg.jit(lambda *b: wg.jvp(f, b, _tangents(a)))(*a),
    "linearize": lambda f, a: wg.linearize(f, *a)[1](*_tangents(a)),
    "grad": lambda f, a: wg.grad(f, every(a))(*a),
    "grad of jit": lambda f, a: wg.grad(wg.jit(f), every(a))(*a),
    "jit of grad": lambda f, a: wg.jit(wg.grad(f, every(a)))(*a),
    "forward over reverse": lambda f, a: wg.jacfwd(wg.grad(f, every(a)), every(a))(*a),
    "reverse over reverse": lambda f, a: wg.jacrev(wg.grad(f, every(a)), every(a))(*a),
    "reverse over forward": lambda f, a: wg.jacrev(wg.jacfwd(f, every(a)), every(a))(*a),
    "jvp of grad": lambda f, a: wg.jvp(wg.grad(f, every(a)), a, _tangents(a)),
    "jit of hessian": lambda f, a: wg.jit(wg.hessian(f, every(a)))(*a),
    "jit of reverse over reverse": lambda f, a: wg.jit(
        wg.jacrev(wg.grad(f, every(a)), every(a))
    )(*a),
}


def batch(args):
    """Three different examples of each argument."""
    return tuple(np.stack([a, 0.9 * a, 1.1 * a]).astype(a.dtype) for a in args)


#: What is done to a function and a batch of arguments, and to the examples one by one.
BATCHED = {
    "vmap": (lambda f, n: wg.vmap(f), lambda f, n: f),
    "jit of vmap": (lambda f, n: wg.jit(wg.vmap(f)), lambda f, n: f),
    "vmap of grad": (lambda f, n: wg.vmap(wg.grad(f, n)), lambda f, n: wg.grad(f, n)),
    "grad of vmap": (
        lambda f, n: wg.grad(lambda *a: wg.vmap(f)(*a).sum(), n),
        lambda f, n: wg.grad(f, n),
    ),
    "jit of vmap of grad": (
        lambda f, n: wg.jit(wg.vmap(wg.grad(f, n))),
        lambda f, n: wg.grad(f, n),
    ),
    "vmap of hessian": (lambda f, n: wg.vmap(wg.hessian(f, n)), lambda f, n: wg.hessian(f, n)),
    "hessian of vmap": (
        lambda f, n: (
            lambda *a: wg.jvp(wg.grad(lambda *b: wg.vmap(f)(*b).sum(), n), a, _tangents(a))[1]
        ),
        lambda f, n: lambda *a: wg.jvp(wg.grad(f, n), a, _tangents(a))[1],
    ),
}


def check(way, f, unrolled, args):
    """A way applied to a function and to its unrolled form gives the same."""
    same(WAYS[way](f, args), WAYS[way](unrolled, args))


def check_batched(way, f, unrolled, args):
    """A way on batches gives the same as a loop over the examples of the unrolled function."""
    many, one = BATCHED[way]
    batches = batch(args)
    got = many(f, every(args))(*batches)
    rows = [leaves(one(unrolled, every(args))(*row)) for row in zip(*batches, strict=True)]
    same(got, [np.stack(column) for column in zip(*rows, strict=True)])


def check_mixed(f, unrolled, args):
    """With one argument batched, or all but one, `vmap` gives the same as a loop."""
    batches = batch(args)
    for alone in every(args):
        for flip in (False, True):
            mapped = [(i == alone) != flip for i in every(args)]
            if not any(mapped):
                continue
            axes = tuple(0 if m else None for m in mapped)
            given = [b if m else a for a, b, m in zip(args, batches, mapped, strict=True)]
            rows = [
                [g[k] if m else g for g, m in zip(given, mapped, strict=True)] for k in range(3)
            ]
            for way in (lambda g: g, lambda g: wg.grad(g, every(args))):
                got = wg.vmap(way(f), axes)(*given)
                expected = [leaves(way(unrolled)(*row)) for row in rows]
                same(got, [np.stack(c) for c in zip(*expected, strict=True)])
