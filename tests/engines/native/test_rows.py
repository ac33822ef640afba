"""Kernels over rows: programs on short rows against the eager engine, and what is merged."""

import numpy as np
import pytest

import wengert
import wengert.numpy as wnp
from wengert import lax
from wengert.core.array import as_array
from wengert.core.tracing import trace
from wengert.engines.eager import run_program
from wengert.engines.native.checked import compile_checked
from wengert.engines.native.compile import compile_program
from wengert.engines.native.kernels import group
from wengert.engines.native.machine import Target
from wengert.engines.native.steps import LoopKernel
from wengert.passes.pipeline import optimise


def pendulum(y):
    return wnp.stack([y[:, 1], -wnp.sin(y[:, 0]) - 0.1 * y[:, 1]], axis=1)


def runge_kutta(y):
    """Four stages, each of which takes rows apart and stacks them again."""
    a = pendulum(y)
    b = pendulum(y + 0.05 * a)
    c = pendulum(y + 0.05 * b)
    return y + 0.1 / 6 * (a + 2 * b + 2 * c + pendulum(y + 0.1 * c))


def spin(y):
    """Rows of three: cross products, lengths, a choice by element."""
    u, v, w = y[:, 0], y[:, 1], y[:, 2]
    turned = wnp.stack([v * 2 - w, w - u, u * 0.5 - v], axis=1)
    length = wnp.sqrt(wnp.sum(turned * turned, axis=1) + 1)
    z = turned / length[:, None] + y[:, ::-1]
    return wnp.where(z > 0, z, wnp.stack([w, u, v], axis=1))


def complex_rows(y):
    z = lax.complex(y[:, 0], y[:, 1])
    z = z * wnp.exp(1j * z.real)
    pair = wnp.stack([z, wnp.conj(z)], axis=1)
    return pair * pair[:, ::-1] + pair


def narrow(y):
    x = wnp.stack([y[:, 1] * 2, y[:, 0] + 1], axis=1).astype(wnp.float16)
    flags = wnp.stack([x[:, 0] > x[:, 1], x[:, 1] > 0], axis=1)
    counts = wnp.stack([flags[:, 0].astype(wnp.int8) + 3, flags[:, 1].astype(wnp.int8)], axis=1)
    return x * counts, flags, counts


CASES = {
    "runge-kutta": (runge_kutta, 2),
    "twice": (lambda y: runge_kutta(runge_kutta(y)), 2),
    "spin": (spin, 3),
    "complex": (complex_rows, 2),
    "narrow": (narrow, 2),
    "four": (lambda y: wnp.concatenate([y[:, 2:] * y[:, :2], y[:, :2] + y[:, 1:3]], 1) * y, 4),
    "padded": (lambda y: wnp.pad(wnp.sin(y[:, :1]) * y[:, 1:], ((0, 0), (1, 0))) + y, 2),
    "planes": (lambda y: runge_kutta(y.reshape(-1, 2)).reshape(y.shape) * y, 2),
}


def program_of(function, *values):
    arrays = [as_array(v) for v in values]

    def flat(args):
        out = function(*args)
        return list(out) if isinstance(out, tuple) else [out]

    return optimise(trace(flat, [a.type for a in arrays])), [a._value for a in arrays]


def assert_close(got, expected):
    for g, e in zip(got, expected, strict=True):
        assert g.dtype == e.dtype and g.shape == e.shape
        tolerance = {"f": 2e-6, "c": 2e-6}.get(g.dtype.kind, 0)
        tolerance = 2e-3 if g.dtype == np.float16 else tolerance
        np.testing.assert_allclose(g, e, tolerance, tolerance)


@pytest.mark.parametrize("rows", [16, 17, 40, 1000, 20_000])
@pytest.mark.parametrize("case", CASES)
def test_values(case, rows):
    function, length = CASES[case]
    y = np.random.default_rng(0).normal(size=(rows, length)).astype(np.float32)
    program, values = program_of(function, y)
    expected = run_program(program, values)
    assert_close(compile_program(program)(values), expected)
    if rows < 1000:
        assert_close(compile_program(program, Target.baseline())(values), expected)
        assert_close(compile_checked(program)(values), expected)


def kernels_of(function, *values):
    program, _ = program_of(function, *values)
    return [s for s in group(program).steps if isinstance(s, LoopKernel)]


@pytest.mark.parametrize("case", ["runge-kutta", "twice", "spin", "complex"])
def test_one_kernel_over_rows(case):
    function, length = CASES[case]
    (kernel,) = kernels_of(function, np.ones((64, length), np.float32))
    assert kernel.domain == (64,)
    assert [v.type.shape for v in kernel.stores] == [(64, length)]


def test_what_reads_other_rows_is_not_merged():
    def shifted(y):
        x = wnp.stack([wnp.sin(y[:, 1]), wnp.exp(y[:, 0])], axis=1)
        return x[::-1] * wnp.stack([wnp.cos(x[:, 1]), x[:, 0]], axis=1)

    y = np.random.default_rng(1).normal(size=(50, 2)).astype(np.float32)
    assert len(kernels_of(shifted, y)) > 1
    program, values = program_of(shifted, y)
    assert_close(compile_program(program)(values), run_program(program, values))


def test_few_rows_stay_as_they_are():
    kernels = kernels_of(runge_kutta, np.ones((4, 2), np.float32))
    assert all(len(k.domain) == len(v.type.shape) for k in kernels for v in k.stores)


def test_what_others_read_is_stored():
    def both(y):
        a = pendulum(y)
        b = pendulum(y + 0.05 * a)
        return runge_kutta(y) + b, a, wnp.sum(b, axis=0)

    y = np.random.default_rng(2).normal(size=(70, 2)).astype(np.float32)
    program, values = program_of(both, y)
    assert_close(compile_program(program)(values), run_program(program, values))


@pytest.mark.parametrize("rows", [33, 5000])
def test_carries_in_place(rows):
    y = np.random.default_rng(3).normal(size=(rows, 2)).astype(np.float32)

    def simulate(y):
        return lax.scan(lambda y, _: (runge_kutta(y), y[:, 0]), y, None, length=7)

    native = wengert.jit(simulate)(y)
    eager = wengert.jit(simulate, engine="eager")(y)
    assert_close([np.asarray(v) for v in native], [np.asarray(v) for v in eager])
    donated = wengert.jit(runge_kutta, donate_argnums=0)
    assert_close([np.asarray(donated(wnp.array(y)))], [np.asarray(runge_kutta(wnp.array(y)))])


def test_derivatives_of_batches():
    starts = np.random.default_rng(4).normal(size=(50, 2)).astype(np.float32)

    def energy(y):
        step = lambda y, _: (runge_kutta(y[None])[0], None)
        y, _ = lax.scan(step, y, None, length=5)
        return y[1] ** 2 / 2 - wnp.cos(y[0])

    for transformed in (wengert.grad(energy), wengert.jacfwd(wengert.grad(energy))):
        batched = wengert.vmap(transformed)
        native = wengert.jit(batched)(starts)
        np.testing.assert_allclose(native, batched(starts), 2e-5, 2e-5)


# -- random programs ---------------------------------------------------------------------------


def random_rows(seed):
    """A program of exact operations on rows, some of which look at other rows."""
    rng = np.random.default_rng(seed)
    rows = int(rng.choice([16, 19, 64, 130]))

    def draw(y):
        known = [y, y[:, 0], wnp.roll(y, 1, axis=1) * 2]
        for _ in range(int(rng.integers(6, 16))):
            known.append(operation(rng, known, rows))
        chosen = rng.choice(len(known), int(rng.integers(1, 4)), replace=False)
        return tuple(known[i] * 1 for i in sorted(chosen))

    return draw, rng.normal(size=(rows, int(rng.integers(2, 5)))).astype(np.float32)


def operation(rng, known, rows):
    x = known[int(rng.integers(len(known)))]
    y = known[int(rng.integers(len(known)))]
    kind = rng.choice(
        ["stack", "column", "pair", "pair", "pad", "reverse", "sum", "other rows"]
    )
    if kind == "stack" or x.ndim == 1:
        columns = [k if k.ndim == 1 else k[:, int(rng.integers(k.shape[1]))] for k in (x, y)]
        return wnp.stack([*columns, columns[0] * columns[1]][: int(rng.integers(2, 4))], 1)
    if kind == "column":
        return x[:, int(rng.integers(x.shape[1]))] + 0.5
    if kind == "pad":
        return wnp.pad(x[:, 1:], ((0, 0), (int(rng.integers(2)), 0)), constant_values=0.25)
    if kind == "reverse":
        return x[:, ::-1] * 0.5
    if kind == "sum":
        return wnp.sum(x, axis=1, keepdims=True) * x
    if kind == "other rows":
        return x[::-1] - wnp.concatenate([x[3:], x[:3]])
    y = y[:, None] if y.ndim == 1 else y[:, : x.shape[1]]
    x = x if y.shape[1] in (1, x.shape[1]) else x[:, : y.shape[1]]
    return (x * y, x + y, wnp.maximum(x, y), wnp.where(x > y, x, -y))[int(rng.integers(4))]


@pytest.mark.parametrize("start", range(0, 160, 20))
def test_random_rows(start):
    merged = 0
    for seed in range(start, start + 20):
        function, y = random_rows(seed)
        program, values = program_of(function, y)
        expected = run_program(program, values)
        got = compile_program(program)(values)
        for g, e in zip(got, expected, strict=True):
            np.testing.assert_array_equal(g, e, f"seed {seed}\n{program}")
        kernels = [s for s in group(program).steps if isinstance(s, LoopKernel)]
        merged += any(len(v.type.shape) > len(k.domain) for k in kernels for v in k.stores)
    assert merged >= 5
