"""`debug_nans`: the primitive and the user's line, in forward and reverse passes, under jit."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert import config, errors

X = np.array([0.5, -1.5, 2.0], np.float32)


def forward(x):
    y = x * 2
    z = wnp.log(y - 100.0)  # line F
    return wnp.sum(z) * 3


def reverse(x):
    y = wnp.sqrt(x)  # line R
    return wnp.sum(y) * 0.0


@wg.custom_vjp
def custom(x):
    return x


custom.defvjp(lambda x: (x, x), lambda x, u: (u * wnp.log(x - 5.0),))  # line C

CASES = {
    "eager": (lambda: forward(1.0), "F"),
    "jit": (lambda: wg.jit(forward)(1.0), "F"),
    "vmap": (lambda: wg.vmap(forward)(X), "F"),
    "jit vmap": (lambda: wg.jit(wg.vmap(forward))(X), "F"),
    "grad": (lambda: wg.grad(forward)(1.0), "F"),
    "jit grad jit": (lambda: wg.jit(wg.grad(wg.jit(forward)))(1.0), "F"),
    "reverse": (lambda: wg.grad(reverse)(0.0), "R"),
    "reverse of jit": (lambda: wg.grad(wg.jit(reverse))(0.0), "R"),
    "jit of reverse": (lambda: wg.jit(wg.grad(reverse))(0.0), "R"),
    "vmap of reverse": (lambda: wg.vmap(wg.grad(reverse))(0 * X), "R"),
    "checkpoint": (lambda: wg.grad(wg.checkpoint(reverse))(0.0), "R"),
    "vjp": (lambda: wg.vjp(reverse, 0.0)[1](1.0), "R"),
    "jvp": (lambda: wg.jvp(reverse, (0.0,), (0.0,)), "R"),
    "linearize": (lambda: wg.linearize(reverse, 0.0)[1](0.0), "R"),
    "jacfwd": (lambda: wg.jacfwd(reverse)(np.zeros(2)), "R"),
    "jacrev": (lambda: wg.jacrev(reverse)(np.zeros(2)), "R"),
    "custom rule": (lambda: wg.grad(lambda x: custom(x) * 2)(1.0), "C"),
}


@pytest.mark.parametrize("name", CASES)
def test_names_the_line(name):
    run, line = CASES[name]
    run()  # no error without the setting
    with config.debug_nans(True), pytest.raises(errors.NanError, match=f"# line {line}"):
        run()


def test_names_the_primitive_and_the_pass():
    with config.debug_nans(True):
        with pytest.raises(errors.NanError, match="'log'") as caught:
            forward(1.0)
        assert "reverse" not in str(caught.value)
        with pytest.raises(errors.NanError, match="in the reverse pass of 'sqrt'"):
            wg.grad(reverse)(0.0)


@pytest.mark.parametrize(
    ("f", "good", "bad", "line"), [(forward, 99.0, 1.0, "F"), (reverse, 1.0, 0.0, "R")]
)
def test_programs_that_were_traced_before(f, good, bad, line):
    jitted = wg.jit(wg.grad(f))
    jitted(good)
    with config.debug_nans(True):
        jitted(good)
        with pytest.raises(errors.NanError, match=f"# line {line}"):
            jitted(bad)


def test_what_is_no_error():
    with config.debug_nans(True):
        nan = wnp.asarray(np.float32(np.nan))
        assert np.isnan(wnp.sin(nan) + 1)  # the user's own NaN
        assert np.isinf(1 / wnp.asarray(0.0))
        assert wg.grad(lambda x: wnp.where(x > 0, wnp.sqrt(x), 0.0))(0.0) == 0.0
        wnp.asarray([1, 2]) // 0


def test_other_dtypes():
    with config.debug_nans(True):
        for dtype in ("float16", "bfloat16", "float64", "complex64"):
            with pytest.raises(errors.NanError):
                wnp.zeros(2, dtype) / wnp.zeros(2, dtype)
