"""Small real functions under all pairs, and many triples, of transformations.

Each transformation comes with an independent reference: a loop for `vmap`, finite differences
for derivatives, the function itself for `jit` and `checkpoint`. A composition `outer(inner(f))`
is compared with the reference of `outer` applied to `inner(f)`, so that by induction whole
stacks of transformations are checked against loops and differences.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert.core import tree
from wengert.core.array import Array
from wengert.testing import check_grads, check_rules, numeric

A = np.array([[0.5, -1.0, 0.25], [1.5, 0.75, -0.5], [0.1, 0.2, 2.0]])
V = np.array([0.3, -0.7, 1.1])


class Params(NamedTuple):
    w: Any
    b: Any


@wg.custom_jvp
def log1pexp(x):
    return wnp.log(1.0 + wnp.exp(x))


@log1pexp.defjvp
def _log1pexp_jvp(primals, tangents):
    (x,), (t,) = primals, tangents
    return log1pexp(x), (1 - 1 / (1 + wnp.exp(x))) * t


@wg.custom_vjp
def weighted(x, w):
    return wnp.sum(wnp.sin(x) * w)


weighted.defvjp(
    lambda x, w: (weighted(x, w), (x, w)),
    lambda saved, u: (u * wnp.cos(saved[0]) * saved[1], u * wnp.sin(saved[0])),
)


def newton(x):
    y = x
    for _ in range(4):
        y = 0.5 * (y + x / y)
    return y


def mlp(params, x):
    for layer in params:
        x = wnp.tanh(x @ layer["w"] + layer["b"])
    return wnp.sum(x**2)


def cross_entropy(logits):
    shifted = logits - wnp.max(logits)
    return wnp.log(wnp.sum(wnp.exp(shifted))) - shifted[1]


def power_iteration(m):
    v = wnp.ones(3)
    for _ in range(3):
        v = m @ v
        v = v / wnp.sqrt(wnp.sum(v * v))
    return v @ m @ v


LAYERS = [
    {"w": A[:2], "b": V},
    {"w": A[:, :1] + 0.3, "b": np.array([0.2])},
]

#: name -> (function, arguments). Real functions, smooth at the arguments.
REAL: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    # scalar -> scalar
    "product": (lambda x: wnp.sin(x) * wnp.exp(-x * x), (0.7,)),
    "power": (lambda x: x**3 - 2 / x, (1.3,)),
    "newton": (newton, (2.0,)),
    "where": (lambda x: wnp.where(x > 0, wnp.sqrt(x), -x), (0.4,)),
    "abs": (lambda x: wnp.abs(x) * x, (-0.8,)),
    "fan out": (lambda x: x * x * x * x + x, (1.1,)),
    "unused": (lambda x, y: wnp.cos(x), (0.5, 2.0)),
    "constant part": (lambda x: wnp.sin(x) + wnp.sum(wnp.ones(3)), (0.5,)),
    "custom jvp": (lambda x: log1pexp(2 * x) * x, (0.6,)),
    "jit inside": (wg.jit(lambda x: wnp.tanh(x) * wnp.sin(x)), (0.6,)),
    "checkpoint inside": (
        lambda x: wg.checkpoint(lambda y: wnp.sin(wnp.sin(y)))(x) * x,
        (0.6,),
    ),
    "grad inside": (lambda x: wg.grad(lambda y: wnp.sin(y) * y * x)(x * x), (0.6,)),
    "jvp inside": (lambda x: wg.jvp(lambda y: y**3 * x, (x,), (x * x,))[1], (0.6,)),
    # vector -> scalar
    "dot": (lambda x: wnp.dot(x, x) + wnp.dot(x, V), (V + 1,)),
    "norm": (lambda x: wnp.linalg.norm(x), (V,)),
    "quadratic": (lambda x: x @ wnp.asarray(A) @ x, (V,)),
    "max": (lambda x: wnp.max(x * x), (V,)),
    "prod": (lambda x: wnp.prod(x), (V,)),
    "variance": (lambda x: wnp.var(x) + wnp.mean(x) ** 2, (V,)),
    "indexing": (lambda x: x[0] * x[-1] + wnp.sum(x[1:] * x[:-1]), (V,)),
    "cross entropy": (cross_entropy, (V,)),
    "custom vjp": (lambda x: weighted(x, x * x), (V,)),
    "vmap inside": (lambda x: wnp.sum(wg.vmap(lambda y: y * wnp.sin(y * x[0]))(x)), (V,)),
    "hessian inside": (lambda x: wnp.sum(wg.hessian(lambda y: wnp.sum(y**3 * x))(x)), (V[:2],)),
    # vector -> vector
    "elementwise": (lambda x: wnp.sin(x) * x, (V,)),
    "matmul": (lambda x: wnp.tanh(wnp.asarray(A) @ x), (V,)),
    "sort": (lambda x: wnp.sort(x * x) * wnp.array(V), (V,)),
    "cumsum": (lambda x: wnp.cumsum(x) * x, (V,)),
    "set": (lambda x: x.at[1].set(x[0] * x[2]).at[0].multiply(2.0), (V,)),
    "gather": (lambda x: x[wnp.array([2, 0, 0, 1])] ** 2, (V,)),
    "concatenate": (lambda x: wnp.concatenate([x[:1] * x[2], wnp.flip(x)]), (V,)),
    "reshape": (lambda x: wnp.outer(x, x).T.reshape(-1)[2:5], (V,)),
    "softmax": (lambda x: wnp.exp(x - wnp.max(x)) / wnp.sum(wnp.exp(x - wnp.max(x))), (V,)),
    "solve": (lambda x: wnp.linalg.solve(wnp.asarray(A) + wnp.diag(x), x), (V + 3,)),
    # several arguments and trees
    "two arguments": (lambda x, y: wnp.sum(x * y) / (1 + y**2), (V, 0.7)),
    "dictionary": (lambda p: {"out": p["a"] * wnp.sin(p["b"])}, ({"a": 1.5, "b": V},)),
    "named tuple": (lambda p: Params(p.w @ p.b, p.b**2), (Params(A[:2], V),)),
    "mlp": (mlp, (LAYERS, V[:2])),
    "eigenvalue": (power_iteration, (A @ A.T,)),
    "none": (lambda p: [p[0] * 2, None, p[1]["x"] ** 2], ([0.5, {"x": V, "n": None}],)),
}
#: Functions with complex arguments or results.
COMPLEX: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "square": (lambda z: z * z + 1j, (0.5 + 0.25j,)),
    "absolute": (lambda z: wnp.abs(z) ** 2, (V + 1j,)),
    "conjugate": (lambda z: wnp.conj(z) * wnp.exp(z), (V * 1j + 0.5,)),
    "parts": (lambda z: wnp.real(z) * wnp.imag(z) ** 2, (V + 0.5j,)),
    "division": (lambda z: z / (1 + z), (0.3 - 0.7j,)),
    "to complex": (lambda x: wnp.exp(1j * x) * x, (V,)),
    "matmul complex": (lambda z: wnp.asarray(A) @ (z * wnp.array([1j, 2, 1 - 1j])), (V + 0j,)),
}


# -- transformations and what they mean ------------------------------------------------------


def double(args: Any) -> Any:
    """Arguments in double precision, as arrays."""
    return tree.map(
        lambda x: Array(np.asarray(x, complex if np.iscomplexobj(x) else float)[()]), args
    )


def direction(args: Any) -> Any:
    """A fixed tangent of the type of the arguments."""
    rng = np.random.default_rng(7)
    return tree.map(lambda x: Array(numeric.random_like(rng, x)[()]), args)


def differences(f: Callable[..., Any], args: Any, tangents: Any) -> Any:
    """The directional derivative by finite differences."""
    leaves, structure = tree.flatten(args)
    out_tree = tree.structure(f(*args))

    def call(values: list[Any]) -> list[Any]:
        given = tree.unflatten(structure, [Array(v[()]) for v in values])
        return [np.asarray(leaf) for leaf in tree.leaves(f(*given))]

    moved = [np.asarray(t) for t in tree.leaves(tangents)]
    return tree.unflatten(
        out_tree, numeric.difference(call, [*map(np.asarray, leaves)], moved, 1e-4)
    )


def ones(out: Any) -> Any:
    """Cotangents of 1."""
    return tree.map(lambda x: Array(np.ones(x.shape, x.dtype)[()]), out)


def examples(args: Any) -> list[Any]:
    """Three points around the arguments."""
    return [tree.map(lambda x, k=k: x * (1 + 0.05 * k), args) for k in range(3)]


def stacked(rows: list[Any]) -> Any:
    return tree.map(lambda *xs: wnp.stack([*xs]), *rows)


def forward(f):
    return lambda *args: wg.jvp(f, args, direction(args))[1]


def forward_reference(f):
    return lambda *args: differences(f, args, direction(args))


def linear(f):
    return lambda *args: wg.linearize(f, *args)[1](*direction(args))


def reverse(f):
    def pulled(*args):
        out, pull = wg.vjp(f, *args)
        return pull(ones(out))

    return pulled


def basis(x: Any) -> list[tuple[Any, Any]]:
    """Tangents along each entry of an array, with the factor its cotangent has for them."""
    vectors = []
    for index in np.ndindex(x.shape):
        for unit in (1, 1j) if np.iscomplexobj(np.asarray(x)) else (1,):
            vector = np.zeros(x.shape, x.dtype)
            vector[index] = unit
            vectors.append((vector, index, np.conj(unit)))
    return vectors


def reverse_reference(f):
    """Cotangents for 1: the sum of real parts of the results, differentiated entry by entry."""

    def pulled(*args):
        leaves, structure = tree.flatten(args)
        gradients = []
        for i, leaf in enumerate(leaves):
            gradient = np.zeros(leaf.shape, leaf.dtype)
            for vector, index, unit in basis(leaf):
                moved = [np.zeros(x.shape, x.dtype) for x in leaves]
                moved[i] = vector
                pushed = differences(f, args, tree.unflatten(structure, moved))
                gradient[index] += unit * sum(
                    float(np.sum(p).real) for p in tree.leaves(pushed)
                )
            gradients.append(gradient)
        return tree.unflatten(structure, gradients)

    return pulled


def every(args: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(range(len(args)))


def jacobian_reference(f):
    def columns(*args):
        leaves, structure = tree.flatten(args)
        out_leaves, out_tree = tree.flatten(f(*args))
        rows: list[list[Any]] = [[] for _ in out_leaves]
        for i, leaf in enumerate(leaves):
            pushed = []
            for vector, _, _ in basis(leaf):
                moved = [np.zeros(x.shape, x.dtype) for x in leaves]
                moved[i] = vector
                pushed.append(
                    tree.leaves(differences(f, args, tree.unflatten(structure, moved)))
                )
            for row, out in zip(rows, zip(*pushed, strict=True), strict=True):
                row.append(np.reshape(np.stack(out, -1), (*out[0].shape, *leaf.shape)))
        return tree.unflatten(out_tree, [tree.unflatten(structure, row) for row in rows])

    return columns


def mapped(f):
    return lambda *args: wg.vmap(f)(*stacked(examples(args)))


def mapped_reference(f):
    return lambda *args: stacked([f(*row) for row in examples(args)])


def itself(f):
    return f


class Transformation(NamedTuple):
    """A transformation of functions of trees, and its meaning."""

    apply: Callable[[Any], Any]
    reference: Callable[[Any], Any]


TRANSFORMATIONS = {
    "jvp": Transformation(forward, forward_reference),
    "vjp": Transformation(reverse, reverse_reference),
    "linearize": Transformation(linear, forward_reference),
    "vmap": Transformation(mapped, mapped_reference),
    "jit": Transformation(wg.jit, itself),
    "checkpoint": Transformation(wg.checkpoint, itself),
    "jacfwd": Transformation(
        lambda f: lambda *args: wg.jacfwd(f, every(args))(*args), jacobian_reference
    ),
    "jacrev": Transformation(
        lambda f: lambda *args: wg.jacrev(f, every(args))(*args), jacobian_reference
    ),
}
JACOBIANS = ("jacfwd", "jacrev")


def agree(got: Any, expected: Any, tolerance: float = 1e-6) -> None:
    got_leaves, got_tree = tree.flatten(got)
    leaves, structure = tree.flatten(expected)
    assert got_tree == structure
    for g, e in zip(got_leaves, leaves, strict=True):
        assert g.shape == e.shape
        np.testing.assert_allclose(np.asarray(g), np.asarray(e), rtol=tolerance, atol=tolerance)


def compare(names: tuple[str, ...], f: Callable[..., Any], args: Any) -> None:
    """The outermost transformation against its reference, on the inner ones applied to `f`."""
    for name in reversed(names[1:]):
        f = TRANSFORMATIONS[name].apply(f)
    outer = TRANSFORMATIONS[names[0]]
    args = double(args)
    agree(outer.apply(f)(*args), outer.reference(f)(*args))


@pytest.mark.parametrize("name", REAL)
def test_each_transformation(name):
    for transformation in TRANSFORMATIONS:
        compare((transformation,), *REAL[name])


@pytest.mark.parametrize("name", REAL)
def test_pairs(name):
    for pair in itertools.product(TRANSFORMATIONS, repeat=2):
        compare(pair, *REAL[name])


@pytest.mark.parametrize("outermost", TRANSFORMATIONS)
@pytest.mark.parametrize("name", ["product", "custom jvp", "custom vjp", "checkpoint inside"])
def test_triples(name, outermost):
    inner = [n for n in TRANSFORMATIONS if n not in JACOBIANS]
    for pair in itertools.product(inner, repeat=2):
        f, args = REAL[name]
        compare((outermost, *pair), f, args)


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_pairs(name):
    names = [n for n in TRANSFORMATIONS if n not in JACOBIANS]
    for size in (1, 2):
        for chosen in itertools.product(names, repeat=size):
            compare(chosen, *COMPLEX[name])


@pytest.mark.parametrize("name", ["product", "newton", "where", "custom jvp", "grad inside"])
def test_third_order(name):
    f, args = REAL[name]
    check_grads(f, args, 3)


@pytest.mark.parametrize("name", ["product", "dot", "quadratic", "custom vjp", "norm"])
def test_hessian_is_symmetric_and_the_same_by_all_routes(name):
    f, args = REAL[name]
    (x,) = double(args)
    expected = wg.jacfwd(wg.jacfwd(f))(x)
    for outer, inner in itertools.product((wg.jacfwd, wg.jacrev), repeat=2):
        agree(outer(inner(f))(x), expected, 1e-12)
    agree(wg.hessian(f)(x), expected, 1e-12)
    agree(wg.jit(wg.hessian(f))(x), expected, 1e-12)
    v = direction(x)
    agree(
        wg.hvp(f, (x,), (v,)), np.tensordot(np.asarray(expected), np.asarray(v), x.ndim), 1e-12
    )


@pytest.mark.parametrize("name", REAL)
def test_float32_stays_float32(name):
    f, args = REAL[name]
    args = tree.map(lambda x: Array(np.asarray(x, np.float32)[()]), args)
    for transformation in TRANSFORMATIONS.values():
        out = transformation.apply(f)(*args)
        assert {leaf.dtype for leaf in tree.leaves(out)} <= {
            np.dtype(np.float32),
            np.dtype(float),
        }
        if name not in ("matmul", "quadratic", "dot", "sort", "solve"):  # float64 constants
            assert {leaf.dtype for leaf in tree.leaves(out)} == {np.dtype(np.float32)}


def test_custom_rules_of_this_file_are_right():
    check_rules(log1pexp, V)
    check_rules(weighted, V, V * 2)
