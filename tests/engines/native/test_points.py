"""Reads of every so manieth element: from whole vectors, where these lie inside the array."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert.testing.fuzzing import check_function


def exchanged(x, factors):
    """The two columns of an array, exchanged and put together by padding."""
    first = wnp.pad((x[:, 1] * factors)[:, None], ((0, 0), (0, 1)))
    return first + wnp.pad(x[:, :1], ((0, 0), (1, 0)))


def neighbours(x, factors):
    """Every column but the last, moved by one, from an array that the program has made."""
    made = x * factors[:, None]
    return made + wnp.pad(made[:, :-1], ((0, 0), (1, 0))) * wnp.sum(made, axis=0)


def halved(x, factors):
    return exchanged(x * x.dtype.type(2), factors) + x


@pytest.mark.parametrize("engine", ["native", "checked"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8])
@pytest.mark.parametrize("rows", [7, 8, 16, 17, 33, 64])
def test_columns_that_are_moved(rows, dtype, engine):
    values = np.random.default_rng(rows).integers(-5, 6, (rows, 4)).astype(dtype)
    for function in (exchanged, halved, neighbours):
        for columns in (2, 3, 4) if function is neighbours else (2,):
            given = [values[:, :columns], values[:, 3]]
            check_function(lambda *a, f=function: [f(*a)], given, engine=engine)


def test_a_loop_over_moved_columns_and_its_derivative():
    x, factors = np.random.default_rng(0).normal(size=(2, 8, 2))
    factors = factors[:, 0]

    def f(x):
        step = lambda i, y: y + exchanged(y * 0.2, factors)
        return wnp.sum(wg.lax.fori_loop(0, 3, step, x)[:, 0] ** 2)

    for g in (f, wg.grad(f)):
        np.testing.assert_allclose(wg.jit(g)(x), g(x), rtol=1e-13)
