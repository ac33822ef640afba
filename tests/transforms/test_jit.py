"""`jit` and its relatives: when functions are traced again, static arguments, constants."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert import errors

X = np.array([0.5, -1.5, 2.0], np.float32)
Y = np.array([1.0, 2.0, 3.0], np.float32)


def counted(**options):
    """A jitted function with a default and a keyword-only argument, and its list of runs."""
    runs = []

    @functools.partial(wg.jit, **options)
    def f(x, y=1.0, *, z=0):
        runs.append(1)
        return x

    return f, runs


def call(*args, **kwargs):
    return args, kwargs


@pytest.mark.parametrize(
    ("options", "calls", "traces"),
    [
        ({}, [call(1.0), call(2.0)], 1),
        ({}, [call(1.0), call(2)], 2),
        ({}, [call(1.0), call(np.float32(2))], 2),
        ({}, [call(True), call(1), call(1j)], 3),
        ({}, [call(X), call(2 * X), call(X[None]), call(X.astype(np.float64))], 3),
        ({}, [call(1.0, 2.0), call(1.0, y=2.0), call(1.0)], 3),
        ({}, [call([1.0]), call((1.0,)), call([2.0]), call(None), call(None)], 3),
        ({}, [call({"a": 1.0, "b": 2}), call({"b": 1, "a": 2.0})], 1),
        ({"static_argnums": 1}, [call(1.0, 2.0), call(1.0, 2), call(1.0, y=2.0), call(1.0)], 4),
        ({"static_argnums": -1}, [call(1.0, 2.0), call(1.0, 3.0), call(1.0, 2.0)], 2),
        ({"static_argnames": "y"}, [call(1.0, 2), call(1.0, y=2), call(1.0, y=3)], 3),
        ({"static_argnames": ("z",)}, [call(1.0, z=2), call(1.0, z=3), call(1.0, z=2)], 2),
    ],
)
def test_when_it_is_traced(options, calls, traces):
    f, runs = counted(**options)
    for args, kwargs in calls:
        f(*args, **kwargs)
    assert len(runs) == traces
    assert f.cache_info().misses == traces
    assert f.cache_info().hits == len(calls) - traces


def test_static_arguments():
    power = wg.jit(lambda x, n: x**n, static_argnums=1)
    np.testing.assert_allclose(power(X, 2), X**2)
    np.testing.assert_allclose(power(X, n=3), X**3)
    assert wg.jit(lambda x, *rest: x * len(rest[0]), static_argnums=(1,))(2.0, "abc") == 6.0
    assert wg.jit(lambda x, **k: x * k["n"], static_argnames=["n"])(2.0, n=3) == 6.0
    with pytest.raises(errors.StaticArgumentError):
        power(X, [2])
    for options in ({"static_argnums": 3}, {"static_argnames": "q"}):
        with pytest.raises(errors.ArgnumsError):
            wg.jit(lambda x, n: x, **options)


def test_decorator_with_arguments_and_accepted_options():
    @wg.jit(static_argnums=0, donate_argnums=1, keep_unused=True, inline=True)
    def f(n, x):
        return x * n

    assert f(3, 2.0) == 6.0
    with pytest.raises(TypeError):
        wg.jit("f")


def test_methods():
    class Model:
        scale = 3.0

        @functools.partial(wg.jit, static_argnums=0)
        def __call__(self, x):
            return self.scale * x

    assert wg.grad(lambda x: Model()(x))(2.0) == 3.0


def test_results():
    got = wg.jit(lambda x: (x, None, [1, 2.0, True, 1j], {"a": np.arange(3)}))(1.0)
    assert got[1] is None
    assert [v.dtype.name for v in got[2]] == ["int32", "float32", "bool", "complex64"]
    assert [v.weak_type for v in got[2]] == [True, True, False, True]
    with pytest.raises(TypeError):
        wg.jit(lambda x: "text")(1.0)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x if x > 0 else -x,
        float,
        lambda x: x.item(),
        np.sin,
        lambda x: wnp.ones(x.astype("int32")),
        lambda x: range(x.astype("int32")),
    ],
)
def test_values_are_not_known(f):
    with pytest.raises(errors.ConcretizationError, match="traced by jit"):
        wg.jit(f)(1.0)


def test_nested_with_everything():
    f = wg.jit(wg.vmap(wg.jit(wg.grad(wg.jit(lambda x: wnp.sin(x) * x)))))
    np.testing.assert_allclose(f(X), np.sin(X) + X * np.cos(X), rtol=1e-6)


def test_closed_over_tracers():
    assert wg.grad(lambda x: wg.jit(lambda y: y * x)(x) * 2)(3.0) == 12.0
    assert wg.jit(lambda x: wg.jit(lambda y: y * x)(2.0))(3.0) == 6.0
    np.testing.assert_array_equal(wg.vmap(lambda x: wg.jit(lambda y: y * x)(2.0))(X), 2 * X)


@pytest.mark.parametrize(
    "view", [lambda a: a, lambda a: wnp.reshape(a, (3, 1)), lambda a: a[::-1]]
)
def test_constants_do_not_change_with_their_memory(view):
    a = Y.copy()
    f = wg.jit(lambda x: wnp.sum(x * view(a)))
    before = f(X)
    a[:] = 9
    assert f(X) == before
    scalar = np.array(3.0)
    g = wg.jit(lambda x: x * scalar)
    g(1.0)
    scalar[...] = 9
    assert g(1.0) == 3.0


def test_lowering():
    lowered = wg.jit(lambda x, n: x * n, static_argnums=1).lower(X, 2)
    assert "mul" in lowered.as_text()
    np.testing.assert_array_equal(lowered.compile()(X), 2 * X)
    with pytest.raises(errors.ShapeError):
        lowered.compile()(X[:2])


# -- eval_shape, make_program, closure_convert, named_call ------------------------------------


def test_eval_shape():
    struct = wg.ShapeDtypeStruct
    got = wg.eval_shape(
        lambda x, y: {"a": x @ y, "b": (x.sum(), 2)}, X, struct((3, 2), np.float32)
    )
    assert got == {"a": struct((2,), np.float32), "b": (struct((), np.float32), got["b"][1])}
    assert got["b"][1].weak_type
    assert wg.eval_shape(wg.grad(wnp.sum), X) == struct((3,), np.float32)

    class Described:
        shape = (2, 3)
        dtype = np.dtype(np.float16)

    assert wg.eval_shape(lambda x: x.T, Described()) == struct((3, 2), np.float16)


def test_make_program():
    program, shape = wg.make_program(lambda x, n: x * n, static_argnums=1, return_shape=True)(
        X, 2
    )
    assert shape == wg.ShapeDtypeStruct((3,), np.float32)
    np.testing.assert_array_equal(program.evaluate(X)[0], 2 * X)
    program.check()


def test_closure_convert():
    def outer(a, n):
        f = lambda x: wnp.sin(a * x) * n
        converted, captured = wg.closure_convert(f, 1.0)
        return converted(2.0, *captured) + len(captured)

    np.testing.assert_allclose(wg.grad(outer)(3.0, 2), 4 * np.cos(6.0), rtol=1e-5)


def test_named_call_keeps_control_flow():
    f = wg.named_call(lambda x: x * x if x > 0 else -x, name="branch")
    assert wg.grad(f)(3.0) == 6.0
    assert "name='wave'" in str(wg.make_program(wg.named_call(wnp.sin, name="wave"))(1.0))
