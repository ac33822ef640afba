"""Several threads at once: derivatives, first traces of one function, settings, tracers."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert import config, errors
from wengert.core.interpreter import EAGER, state


@pytest.fixture(autouse=True)
def frequent_switches():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def in_threads(run, count=6):
    """Results of `run(i)`, each in its own thread, all started together."""
    barrier = threading.Barrier(count)

    def start(i):
        barrier.wait()
        return run(i)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(start, range(count)))


@wg.custom_vjp
def scaled_sin(x, k):
    return wnp.sin(x * k)


scaled_sin.defvjp(
    lambda x, k: (scaled_sin(x, k), (x, k)),
    lambda saved, u: (u * wnp.cos(saved[0] * saved[1]) * saved[1], None),
)


def test_derivatives():
    shared = wg.jit(lambda x, k: wnp.sum(scaled_sin(x, k) ** 2))
    plain = lambda x, k: wnp.sum(wnp.sin(x * k) ** 2)

    def run(i):
        k = np.float32(i + 1)
        for n in range(20):
            x = np.linspace(0, 1, 5 + n % 3).astype(np.float32)
            expected = 2 * np.sin(x * k) * np.cos(x * k) * k
            for got in (
                wg.grad(shared)(x, k),
                wg.grad(plain)(x, k),
                wg.vmap(wg.grad(lambda t: wnp.sin(t * k) ** 2))(x),
                wg.jvp(lambda x: wg.vmap(lambda t: wnp.sin(t * k) ** 2)(x), (x,), (x * 0 + 1,))[
                    1
                ],
            ):
                np.testing.assert_allclose(got, expected, atol=1e-4)
        return state.interpreter is EAGER

    assert all(in_threads(run))


def test_one_function_traced_by_many():
    for _ in range(5):
        f = wg.jit(wg.vmap(wg.grad(lambda x: wnp.sin(x) * x)))
        x = np.linspace(0, 1, 7).astype(np.float32)
        for got in in_threads(lambda i: f(x * i)):
            assert got.shape == (7,)
        np.testing.assert_allclose(f(x), np.sin(x) + x * np.cos(x), rtol=1e-6)


def test_with_blocks_hold_for_their_thread():
    def run(i):
        seen = []
        for _ in range(50):
            with config.debug_nans(i % 2 == 0):
                seen.append(config.debug_nans.value is (i % 2 == 0))
                try:
                    wnp.log(wnp.asarray(-1.0))
                    seen.append(i % 2 == 1)
                except errors.NanError:
                    seen.append(i % 2 == 0)
            seen.append(config.debug_nans.value is False)
        return all(seen)

    assert all(in_threads(run))
    assert config.debug_nans.value is False
    wnp.log(wnp.asarray(-1.0))


def test_with_blocks_nest_and_end_with_errors():
    with pytest.raises(KeyError), config.memory_budget(1):
        with config.memory_budget(2):
            assert config.memory_budget.value == 2
        assert config.memory_budget.value == 1
        raise KeyError
    assert config.memory_budget.value == 1 << 30


def test_settings_that_are_set_hold_for_new_threads():
    def probe(_):
        with pytest.raises(errors.NanError):
            wnp.log(wnp.asarray(-1.0))
        return config.debug_nans.value

    config.debug_nans.set(True)
    try:
        assert all(in_threads(probe, 2))
    finally:
        config.debug_nans.set(False)
    wnp.log(wnp.asarray(-1.0))


def test_a_tracer_in_another_thread_is_an_error():
    def f(x):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: x * 2).result()

    with pytest.raises(errors.EscapedTracerError, match="another thread"):
        wg.grad(f)(1.0)
    with pytest.raises(errors.EscapedTracerError, match="another thread"):
        wg.jit(f)(1.0)


def test_an_error_in_one_thread_leaves_the_others_alone():
    def run(i):
        def f(x):
            if i % 2:
                raise KeyError
            return x * x

        for _ in range(20):
            try:
                assert wg.grad(wg.jit(f))(3.0) == 6.0
            except KeyError:
                assert i % 2
        return state.interpreter is EAGER

    assert all(in_threads(run))
