"""Errors of transformations: escaped tracers, values that are not known, state after errors."""

from __future__ import annotations

import contextlib
import copy

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert import errors
from wengert.core.interpreter import EAGER, state

X = np.array([0.5, -1.5, 2.0], np.float32)

#: transformation -> a call of it with a given function
RUNS = {
    "grad": lambda f: wg.grad(f)(1.0),
    "jvp": lambda f: wg.jvp(f, (1.0,), (1.0,)),
    "vmap": lambda f: wg.vmap(f)(X),
    "jit": lambda f: wg.jit(f)(1.0),
    "checkpoint": lambda f: wg.checkpoint(f)(1.0),
    "linearize": lambda f: wg.linearize(f, 1.0),
    "linear_transpose": lambda f: wg.linear_transpose(f, 1.0)(1.0),
    "make_program": lambda f: wg.make_program(f)(1.0),
    "eval_shape": lambda f: wg.eval_shape(f, 1.0),
    "jacrev": lambda f: wg.jacrev(f)(1.0),
}
#: how an escaped tracer is used
USES = {
    "operand": lambda t: t + 1,
    "function": wnp.sin,
    "stacked": lambda t: wnp.stack([t, t]),
    "argument": lambda t: wg.grad(lambda x: x * x)(t),
    "argument of jit": lambda t: wg.jit(lambda x: x * x)(t),
    "in grad": lambda t: wg.grad(lambda x: x * t)(1.0),
    "in jvp": lambda t: wg.jvp(lambda x: x * t, (1.0,), (1.0,)),
    "in vmap": lambda t: wg.vmap(lambda x: x * t)(X),
    "in jit": lambda t: wg.jit(lambda x: x * t)(1.0),
    "in checkpoint": lambda t: wg.checkpoint(lambda x: x * t)(1.0),
    "in a custom rule": lambda t: wg.grad(scaled_by(t))(1.0),
}


def scaled_by(t):
    @wg.custom_jvp
    def g(x):
        return x * t

    g.defjvp(lambda p, d: (g(*p), t * d[0]))
    return g


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("use", USES)
def test_escaped(run, use):
    kept = []

    def f(x):
        kept.append(x)
        return x * 2

    RUNS[run](f)
    with pytest.raises(errors.EscapedTracerError) as caught:
        USES[use](kept[0])
    assert "made at" in str(caught.value)
    assert "test_errors.py" in str(caught.value)


@pytest.mark.parametrize("run", ["grad", "jvp", "vmap", "jit"])
def test_inner_tracer_in_an_outer_transformation(run):
    def f(x):
        kept = []
        wg.grad(lambda y: kept.append(y) or y * x)(2.0)
        return kept[0] * x

    with pytest.raises(errors.EscapedTracerError):
        RUNS[run](f)


@pytest.mark.parametrize("run", ["grad", "jvp", "vmap", "jit", "checkpoint", "jacrev"])
def test_state_after_an_error(run):
    def boom(x):
        raise KeyError("boom")

    for f in (boom, wg.jit(boom), wg.checkpoint(boom), scaled_by(1.0)):
        with contextlib.suppress(KeyError):
            RUNS[run](lambda x: boom(f(x)))
        assert state.interpreter is EAGER
        assert state.location is None


def test_concretization_names_the_line():
    def f(x):
        y = x * 2
        return y if y > 0 else -y  # here

    for run in ("jit", "vmap", "checkpoint"):
        with pytest.raises(errors.ConcretizationError, match="# here"):
            RUNS[run](f)


def test_derivatives_know_truth_and_whole_numbers_only():
    assert wg.grad(lambda x: x * x if x > 0 else x)(3.0) == 6.0
    assert wg.grad(lambda x: x * int(x))(2.5) == 2.0
    for lose in (float, lambda x: x.item(), np.sin, lambda x: np.asarray(x)):
        with pytest.raises(errors.ConcretizationError, match="stop_gradient"):
            wg.grad(lambda x: x * lose(x))(2.0)


def test_copies_of_tracers():
    for duplicate in (copy.copy, copy.deepcopy):
        assert wg.grad(lambda x: duplicate({"x": x})["x"] * x)(3.0) == 6.0
        assert wg.jit(lambda x: duplicate(x) * x)(3.0) == 9.0


def test_tracers_are_arrays_to_users():
    for run in ("grad", "jvp", "vmap", "jit"):
        kinds = []

        def f(x):
            kinds.append((isinstance(x, wg.Array), isinstance(x, wnp.ndarray)))
            return x * 2

        RUNS[run](f)
        assert kinds == [(True, True)]
    assert not isinstance(1.0, wg.Array)
    assert not isinstance(np.ones(2), wg.Array)


def test_errors_inherit_from_what_jax_users_catch():
    for error, base in {
        errors.ConcretizationError: TypeError,
        errors.NonScalarError: TypeError,
        errors.IntegerGradientError: TypeError,
        errors.ArgnumsError: ValueError,
        errors.AxesError: ValueError,
        errors.UnboundAxisError: NameError,
        errors.StaticArgumentError: ValueError,
        errors.MissingRuleError: NotImplementedError,
        errors.NanError: FloatingPointError,
    }.items():
        assert issubclass(error, base)
        assert issubclass(error, errors.WengertError)
