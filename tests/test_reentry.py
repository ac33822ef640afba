"""What computes inside a computation: primitives of users, signal handlers, finalisers."""

import signal
import warnings

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert import extend
from wengert.core.interpreter import quiet


class Called(extend.Elementwise):
    """A primitive that calls whatever a test wants."""

    def __init__(self):
        self.before = lambda: None
        super().__init__()

    def compute(self, x):
        self.before()
        return np.log(x)


@pytest.fixture
def called():
    return Called()


def computations(x):
    """Uses of every way into the eager engine."""
    y = wg.grad(lambda v: wnp.sum(wnp.exp(v) * v))(x)
    z = wg.jit(lambda v: v * 2 + y)(x)
    w, _ = wg.lax.scan(lambda c, v: (c + v, None), wnp.float32(0), z)
    return -w + x.at[0].set(3) + wnp.linspace(0, 1, 4), x.astype(np.int32), wnp.sort(z)


@pytest.mark.parametrize("way", ["called", "handler", "finaliser"])
def test_computing_inside_a_computation(called, way):
    x = wnp.arange(4.0)
    wanted = computations(x)
    got = []

    class Dropped:
        def __del__(self):
            got.append(computations(x))

    def drop():
        Dropped()

    before = signal.signal(signal.SIGALRM, lambda *_: got.append(computations(x)))
    called.before = {
        "called": lambda: got.append(computations(x)),
        "handler": lambda: signal.raise_signal(signal.SIGALRM),
        "finaliser": drop,
    }[way]
    try:
        out = called(x)
    finally:
        signal.signal(signal.SIGALRM, before)
    np.testing.assert_allclose(out, [-np.inf, 0, np.log(2), np.log(3)], rtol=1e-6)
    assert len(got) == 1
    for a, b in zip(got[0], wanted, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_primitive_may_call_itself(called):
    depth: list[int] = []

    def again():
        if len(depth) < 20:
            depth.append(len(depth))
            called(wnp.ones(2))

    called.before = again
    np.testing.assert_array_equal(called(wnp.ones(2)), [0, 0])
    assert len(depth) == 20


def test_inside_is_as_quiet_as_outside(called):
    def loudly():
        np.seterr(all="raise")  # which ends with this computation
        assert np.isinf(wnp.float32(1) / wnp.float32(0))

    called.before = loudly
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(FloatingPointError):
            called(wnp.zeros(2))
        called.before = lambda: None
        assert np.isneginf(called(wnp.zeros(2))).all()
    assert np.geterr()["divide"] == "warn"


def test_contexts_are_new_each_time():
    assert quiet().run(lambda: quiet().run(np.geterr)) == dict.fromkeys(np.geterr(), "ignore")
