"""The estimate of a program's work."""

from __future__ import annotations

import math

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert.engines.native.work import is_long, work


def of(fun, *args):
    return work(wg.make_program(fun)(*args))


@pytest.mark.parametrize(
    ("fun", "args", "expected"),
    [
        (lambda x: x, (1.0,), 0),
        (lambda x: x * 2, (1.0,), 3),
        (lambda x: wnp.sin(x), (np.zeros((2, 3)),), 12),
        (lambda x: wnp.sin(x), (np.zeros((0, 3)),), 0),
        (lambda x, y: x @ y, (np.zeros((2, 3)), np.zeros((3, 4))), 24 + 26),
        (lambda x: wg.jit(wnp.sin)(x), (np.zeros(5),), 20),
        (lambda x: wnp.linalg.inv(x), (np.zeros((3, 3)),), 27),
    ],
)
def test_estimates(fun, args, expected):
    assert of(fun, *args) == pytest.approx(expected)


def test_loops():
    step = lambda c, x: (c + x, c)
    short, long = (
        of(lambda x: wg.lax.scan(step, 0.0, x), np.zeros(n, np.float32)) for n in (10, 1000)
    )
    assert short < 200 < long < 20_000
    forever = lambda x: wg.lax.while_loop(lambda c: c < 3, lambda c: c + 1, x)
    assert of(forever, 0.0) == math.inf


def test_what_is_long():
    program = wg.make_program(lambda x: x * 2)
    assert not is_long(program(np.zeros(1000)))
    assert is_long(program(np.zeros(100_000)))
