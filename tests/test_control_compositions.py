"""Programs with control flow under random compositions of transformations.

Each program is a function of a vector of four numbers, written with `lax`; beside it stands the
same function without: loops unrolled, branches taken by Python, solvers in closed form. Each
transformation is such a pair, too: `vmap` stands beside a loop over examples, `jit` and
`checkpoint` beside the function itself. So a composition of three applies to both sides alike,
and their results must agree.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert import lax
from wengert.ad_checkpoint import checkpoint_name

Function = Callable[[Any], Any]
X = np.array([0.7, -0.4, 1.3, 0.2])
RNG = np.random.default_rng(0)
W = RNG.normal(size=(4, 4)) / 2
V = RNG.normal(size=(5, 4))
P = wg.checkpoint_policies


class Program(NamedTuple):
    """A function with control flow, and the same one without."""

    function: Function
    reference: Function


# -- programs ----------------------------------------------------------------------------------


def cell(h, v):
    return wnp.tanh(W @ h + v)


def rnn(x):
    def step(h, v):
        h = cell(h, v * x)
        return h, h.sum()

    h, sums = lax.scan(step, x, V)
    return wnp.append(h, sums)


def rnn_unrolled(x):
    h, sums = x, []
    for v in V:
        h = cell(h, v * x)
        sums.append(h.sum())
    return wnp.append(h, wnp.stack(sums))


def backward_rnn(x):
    step = lambda h, v: (cell(h, v), h * v)
    h, ys = lax.scan(step, x, V * x, reverse=True, unroll=2)
    return h * ys.sum(0)


def backward_rnn_unrolled(x):
    h, total = x, 0.0
    for v in (V * x)[::-1]:
        total = total + h * v
        h = cell(h, v)
    return h * total


def checkpointed_rnn(x):
    def step(h, v):
        product = checkpoint_name(W @ h, "product")
        return wnp.tanh(product + v), None

    step = wg.checkpoint(step, policy=P.save_only_these_names("product"), prevent_cse=False)
    return lax.scan(step, x, V * x)[0]


def last_of_rnn(x):
    h = x
    for v in V * x:
        h = cell(h, v)
    return h


def newton(a):
    """Square roots by Newton's method, until it stands: all elements in one loop."""

    def unfinished(carry):
        y, before = carry
        return wnp.max(wnp.abs(y - before)) > 1e-13

    return lax.while_loop(unfinished, lambda c: ((c[0] + a / c[0]) / 2, c[0]), (a, a + 1.0))[0]


def square_roots(x):
    return newton(x * x + 1.0)


def growing(x):
    """The number of iterations, and so the function, depends on the value."""
    return lax.while_loop(
        lambda c: c[1] < 6.0,
        lambda c: (c[0] * wnp.cos(x), c[1] + wnp.abs(x[0]) + 0.3),
        (x, 0.0),
    )[0]


def growing_unrolled(x):
    y, size = x, 0.0
    while size < 6.0:
        y, size = y * wnp.cos(x), size + wnp.abs(x[0]) + 0.3
    return y


def power_iteration(x):
    a = wnp.outer(x, x) + W @ W.T
    step = lambda i, v: a @ v / wnp.linalg.norm(a @ v)
    return lax.fori_loop(0, 12, step, wnp.ones(4) + 0 * x)


def power_iteration_unrolled(x):
    a = wnp.outer(x, x) + W @ W.T
    v = wnp.ones(4) + 0 * x
    for _ in range(12):
        v = a @ v / wnp.linalg.norm(a @ v)
    return v


def counted(x):
    """A loop whose bounds are values, with an index that counts."""
    count = wnp.int32(3 + (x[2] > 0.5))
    return lax.fori_loop(1, count, lambda i, y: y + wnp.sin(y * i), x)


def counted_unrolled(x):
    y = x
    for i in range(1, 3 + bool(x[2] > 0.5)):
        y = y + wnp.sin(y * i)
    return y


def guarded(x):
    """Branches of which each is undefined where the other one is taken."""
    total = x.sum()
    return lax.cond(
        total > 1.9, lambda x: wnp.log(total - 1.8) * x, lambda x: wnp.sqrt(2.0 - total) + x, x
    )


def guarded_unrolled(x):
    total = x.sum()
    return wnp.log(total - 1.8) * x if total > 1.9 else wnp.sqrt(2.0 - total) + x


BRANCHES = (lambda x: wnp.sin(x), lambda x: x**3, lambda x: wnp.exp(-x) * x[0])


def switched(x):
    return lax.switch(wnp.int32(wnp.floor(wnp.abs(x[0]) * 2)), BRANCHES, x)


def switched_unrolled(x):
    return BRANCHES[min(int(wnp.floor(wnp.abs(x[0]) * 2)), 2)](x)


def nested(x):
    """A scan in a while in a cond."""

    def inner(y):
        return lax.scan(lambda c, v: (wnp.sin(c + v), c @ v), y, V[:2])

    def loop(y):
        return lax.while_loop(
            lambda c: c[0] < 3,
            lambda c: (c[0] + 1, inner(c[1])[0] + inner(c[1])[1].sum()),
            (0, y),
        )[1]

    return lax.cond(x[1] < 0, loop, lambda y: y * y, x)


def nested_unrolled(x):
    def inner(y):
        c, ys = y, []
        for v in V[:2]:
            c, product = wnp.sin(c + v), c @ v
            ys.append(product)
        return c + wnp.stack(ys).sum()

    if not x[1] < 0:
        return x * x
    y = x
    for _ in range(3):
        y = inner(y)
    return y


def newton_in_scan(x):
    """A while in a scan, whose number of iterations differs from step to step."""

    def root(c, a):
        a = a * a + 1.0 + c
        found = newton(a)
        return found, found

    return lax.scan(root, x.sum() ** 2, x)[1]


def newton_in_scan_closed(x):
    c, out = x.sum() ** 2, []
    for a in x:
        c = wnp.sqrt(a * a + 1.0 + c)
        out.append(c)
    return wnp.stack(out)


def cond_in_scan(x):
    def step(c, v):
        c = lax.cond(v > 0.3, lambda: c * v + x, lambda: wnp.cos(c) - v)
        return c, c[0]

    c, ys = lax.scan(step, x, x)
    return c * ys.sum()


def cond_in_scan_unrolled(x):
    c, total = x, 0.0
    for v in x:
        c = c * v + x if v > 0.3 else wnp.cos(c) - v
        total = total + c[0]
    return c * total


def cube_roots(x):
    """The root by a loop, its derivative by the implicit function theorem."""
    a = x * x + 1.0

    def solve(f, y):
        def step(y):
            return y - f(y) / wg.jvp(f, (y,), (wnp.ones_like(y),))[1]

        return lax.while_loop(lambda y: wnp.max(wnp.abs(f(y))) > 1e-12, step, y)

    diagonal = lambda g, y: y / g(wnp.ones_like(y))
    return lax.custom_root(lambda y: y**3 - a, wnp.ones_like(a), solve, diagonal)


def conjugate_gradients(matvec, b):
    def step(carry):
        x, r, p = carry
        q = matvec(p)
        rr = r @ r
        alpha = rr / (p @ q)
        r_next = r - alpha * q
        return x + alpha * p, r_next, r_next + (r_next @ r_next) / rr * p

    unfinished = lambda carry: carry[1] @ carry[1] > 1e-26
    return lax.while_loop(unfinished, step, (wnp.zeros_like(b), b, b))[0]


def matrix(x):
    return W @ W.T + wnp.diag(x * x + 1.0)


def linear_system(x):
    a = matrix(x)
    return lax.custom_linear_solve(
        lambda y: a @ y, wnp.sin(x), conjugate_gradients, symmetric=True
    )


def products(x):
    """All running products of matrices, in logarithmic depth."""
    factors = wnp.eye(2) + 0.3 * wnp.sin(
        x[:, None, None] * V[:4, :4].reshape(4, 4)[:, :2, None]
    )
    return lax.associative_scan(wnp.matmul, factors)[:, 0, 0]


def products_unrolled(x):
    factors = wnp.eye(2) + 0.3 * wnp.sin(
        x[:, None, None] * V[:4, :4].reshape(4, 4)[:, :2, None]
    )
    product, out = factors[0], [factors[0][0, 0]]
    for factor in factors[1:]:
        product = product @ factor
        out.append(product[0, 0])
    return wnp.stack(out)


def mapped(x):
    g = lambda a: lax.fori_loop(0, 3, lambda _, y: wnp.sin(y) * a, a)
    return lax.map(g, x, batch_size=3)


def mapped_unrolled(x):
    y = x
    for _ in range(3):
        y = wnp.sin(y) * x
    return y


def runge_kutta(x):
    """A pendulum with friction, in twenty steps."""

    def slope(y):
        return wnp.stack([y[1], -wnp.sin(y[0]) * x[2] - x[3] * y[1]])

    def step(y):
        k1 = slope(y)
        k2 = slope(y + 0.05 * k1)
        k3 = slope(y + 0.05 * k2)
        return y + 0.1 / 6 * (k1 + 2 * k2 + 2 * k3 + slope(y + 0.1 * k3))

    return step


def pendulum(x):
    step = runge_kutta(x)
    return lax.scan(lambda y, _: (step(y), y[0]), x[:2], None, length=20)[1][::5]


def pendulum_unrolled(x):
    step, y, out = runge_kutta(x), x[:2], []
    for _ in range(20):
        out.append(y[0])
        y = step(y)
    return wnp.stack(out)[::5]


def mixed_carry(x):
    """A carry of several dtypes and structures, one of them a counter."""

    def body(carry):
        state = carry["state"]
        return {
            "count": carry["count"] + 1,
            "done": carry["count"] >= 3,
            "state": (state[1], state[0] * wnp.sin(x) + carry["count"]),
        }

    init = {"count": np.int32(0), "done": np.bool_(False), "state": (x, 0.5 * x)}
    out = lax.while_loop(lambda c: ~c["done"], body, init)
    return out["state"][0] * out["state"][1]


def mixed_carry_unrolled(x):
    first, second = x, 0.5 * x
    for count in range(4):
        first, second = second, first * wnp.sin(x) + count
    return first * second


jitted_cell = wg.jit(cell)


def jitted_rnn(x):
    """A block with a call of a jitted function, which holds an array."""
    return lax.scan(lambda h, v: (jitted_cell(h, v), None), x, V * x)[0]


def factored(x):
    """Operations whose derivative rules make arrays of their own."""

    def step(c, v):
        lower = wnp.linalg.cholesky(wnp.outer(c, c) + W @ W.T + wnp.eye(4))
        return lower @ v, None

    return lax.scan(step, x, V[:2])[0] * lax.fori_loop(0, 2, lambda _, c: step(c, V[3])[0], x)


def factored_unrolled(x):
    def step(c, v):
        return wnp.linalg.cholesky(wnp.outer(c, c) + W @ W.T + wnp.eye(4)) @ v

    return step(step(x, V[0]), V[1]) * step(step(x, V[3]), V[3])


TWICE = np.full(4, 2.0)


@wg.custom_vjp
def doubled_gradient(x):
    return wnp.sin(x)


doubled_gradient.defvjp(
    lambda x: (doubled_gradient(x), x),
    lambda x, cotangent: (TWICE * wnp.cos(x) * cotangent,),
)


def custom_rule_in_scan(x):
    return lax.scan(lambda c, v: (doubled_gradient(c * v), None), x, V)[0]


def custom_rule_unrolled(x):
    c = x
    for v in V:
        c = doubled_gradient(c * v)
    return c


PROGRAMS = {
    "rnn": Program(rnn, rnn_unrolled),
    "backward rnn": Program(backward_rnn, backward_rnn_unrolled),
    "checkpointed rnn": Program(checkpointed_rnn, last_of_rnn),
    "newton": Program(square_roots, lambda x: wnp.sqrt(x * x + 1.0)),
    "while": Program(growing, growing_unrolled),
    "power iteration": Program(power_iteration, power_iteration_unrolled),
    "counted": Program(counted, counted_unrolled),
    "cond": Program(guarded, guarded_unrolled),
    "switch": Program(switched, switched_unrolled),
    "nested": Program(nested, nested_unrolled),
    "newton in scan": Program(newton_in_scan, newton_in_scan_closed),
    "cond in scan": Program(cond_in_scan, cond_in_scan_unrolled),
    "root": Program(cube_roots, lambda x: (x * x + 1.0) ** (1.0 / 3.0)),
    "linear system": Program(linear_system, lambda x: wnp.linalg.solve(matrix(x), wnp.sin(x))),
    "associative scan": Program(products, products_unrolled),
    "map": Program(mapped, mapped_unrolled),
    "pendulum": Program(pendulum, pendulum_unrolled),
    "mixed carry": Program(mixed_carry, mixed_carry_unrolled),
    "jitted rnn": Program(jitted_rnn, last_of_rnn),
    "factored": Program(factored, factored_unrolled),
    "custom rule": Program(custom_rule_in_scan, custom_rule_unrolled),
}


# -- transformations ---------------------------------------------------------------------------


class Transformation(NamedTuple):
    """What it makes of a program, what stands beside it, and how often it differentiates."""

    transform: Callable[[Function], Function]
    reference: Callable[[Function], Function]
    order: int = 0


def itself(f: Function) -> Function:
    return f


def scalar(f: Function) -> Function:
    return lambda x: wnp.sum(wnp.sin(f(x)))


def direction(x):
    return wnp.cos(3 * x)


def examples(x):
    return wnp.stack([x, 1.7 * x, -x])


def over_examples(f: Function) -> Function:
    return lambda x: wg.vmap(f)(examples(x))


def one_by_one(f: Function) -> Function:
    return lambda x: wnp.stack([f(example) for example in examples(x)])


def derivative(transform: Callable[[Function], Function], order: int = 1) -> Transformation:
    return Transformation(transform, transform, order)


def checkpointed(policy: Any = None) -> Transformation:
    return Transformation(lambda f: wg.checkpoint(f, policy=policy), itself)


def in_a_branch(f: Function) -> Function:
    return lambda x: lax.cond(x[0] > 0, f, lambda x: 2 * f(x), x)


def by_python(f: Function) -> Function:
    return lambda x: f(x) if x[0] > 0 else 2 * f(x)


def in_a_loop(f: Function) -> Function:
    return lambda x: lax.scan(lambda c, v: (c, f(c * v)), x, np.array([1.0, 0.8]))[1]


def loop_unrolled(f: Function) -> Function:
    return lambda x: wnp.stack([f(x * 1.0), f(x * 0.8)])


TRANSFORMATIONS = {
    "grad": derivative(lambda f: wg.grad(scalar(f))),
    "vjp": derivative(lambda f: lambda x: wg.vjp(scalar(f), x)[1](np.float64(1.0))[0]),
    "jvp": derivative(lambda f: lambda x: wg.jvp(f, (x,), (direction(x),))[1]),
    "linearize": derivative(lambda f: lambda x: wg.linearize(f, x)[1](direction(x))),
    "jacrev": derivative(lambda f: wg.jacrev(f)),
    "jacfwd": derivative(lambda f: wg.jacfwd(f)),
    "hessian": derivative(lambda f: wg.hessian(scalar(f)), 2),
    "vmap": Transformation(over_examples, one_by_one),
    "jit": Transformation(wg.jit, itself),
    "checkpoint": checkpointed(),
    "checkpoint dots": checkpointed(P.dots_saveable),
    "checkpoint everything": checkpointed(P.everything_saveable),
    "checkpoint names": checkpointed(P.save_any_names_but_these("other")),
    "cond": Transformation(in_a_branch, by_python),
    "scan": Transformation(in_a_loop, loop_unrolled),
}
MOST_DERIVATIVES = 2
EACH = 8


def random_chains() -> list[tuple[str, ...]]:
    """For each program some chains of transformations, those applied first at the front."""
    generator = random.Random(0)
    chains: list[tuple[str, ...]] = []
    for name in PROGRAMS:
        chosen: set[tuple[str, ...]] = set()
        while len(chosen) < EACH:
            chain = tuple(
                generator.choices(list(TRANSFORMATIONS), k=generator.choice((2, 3, 3)))
            )
            orders = [TRANSFORMATIONS[t].order for t in chain]
            many = chain.count("vmap") + chain.count("scan") > 2
            if 0 < sum(orders) <= MOST_DERIVATIVES and not many and len({*chain}) == len(chain):
                chosen.add(chain)
        chains += [(name, *chain) for chain in sorted(chosen)]
    return chains


def check(name: str, chain: tuple[str, ...]) -> None:
    function, reference = PROGRAMS[name]
    for step in chain:
        function = TRANSFORMATIONS[step].transform(function)
        reference = TRANSFORMATIONS[step].reference(reference)
    np.testing.assert_allclose(function(X), reference(X), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_one_transformation(name, transformation):
    check(name, (transformation,))


@pytest.mark.parametrize("chain", random_chains(), ids=" - ".join)
def test_composition(chain):
    check(chain[0], chain[1:])


@pytest.mark.parametrize("name", PROGRAMS)
def test_value(name):
    check(name, ())
