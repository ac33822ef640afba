"""Compiled programs: no memory, better code that does not fit, operations used often."""

import dataclasses

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert.engines.native import compile as native
from wengert.engines.native import tiers
from wengert.engines.native.checked import compile_checked
from wengert.engines.native.kernels import group
from wengert.engines.native.machine import Target
from wengert.engines.native.runtime.callable import wait_for_machine_code
from wengert.passes.pipeline import optimise

#: So many bytes no machine has.
HUGE = 1 << 47
TARGET = Target.host()


def test_a_program_that_there_is_no_memory_for_says_how_much_it_needs():
    f = wg.jit(lambda x: wnp.sort(wnp.broadcast_to(x, (HUGE // 4,)))[3])
    with pytest.raises(MemoryError, match=r"allocate 256\. TiB|needs"):
        f(np.float32(1))
    wait_for_machine_code()
    with pytest.raises(MemoryError, match=f"needs {2 * HUGE:,} bytes"):
        f(np.float32(1))


@pytest.mark.parametrize("change", [{"arena_bytes": 1 << 20}, {"in_place": ((0, 0),)}])
def test_better_code_that_wants_something_else_is_not_used(monkeypatch, change):
    program = wg.make_program(lambda x: wnp.cumsum(x) * 2)(np.ones(5, np.float32))
    compiled = native.CompiledProgram(program, native.make_object(program, TARGET, quick=True))
    x = np.arange(5, dtype=np.float32)
    quick = compiled.entry
    made = native.make_object(program, TARGET)
    monkeypatch.setattr(
        native, "make_object", lambda *_, **__: dataclasses.replace(made, **change)
    )
    compiled.improve()
    assert compiled.entry == quick
    np.testing.assert_array_equal(compiled([x])[0], np.cumsum(x) * 2)
    monkeypatch.setattr(native, "make_object", lambda *_, **__: made)
    compiled.improve()
    assert compiled.entry != quick
    np.testing.assert_array_equal(compiled([x])[0], np.cumsum(x) * 2)


def test_an_interrupt_while_better_code_is_asked_for_is_raised(monkeypatch):
    class Interrupted(dict):
        def pop(self, *_):
            raise KeyboardInterrupt

    program = wg.make_program(lambda x: wnp.sin(x) * 2)(np.ones(5))
    compiled = native.CompiledProgram(program, native.make_object(program, TARGET, quick=True))
    monkeypatch.setattr(tiers, "_watched", Interrupted())
    x = np.arange(5.0)
    for interrupted in (False, True, False):
        if interrupted:
            with pytest.raises(KeyboardInterrupt):
                compiled([x])
        else:
            np.testing.assert_allclose(compiled([x])[0], np.sin(x) * 2, rtol=1e-15)


# -- operations that a program has often -----------------------------------------------------

#: More often than the code of an operation is copied.
OFTEN = 70


def operations_in(fun, *args):
    """How many functions for operations the code of a program has."""
    program = optimise(wg.make_program(fun)(*args))
    module, _ = native.write_module(group(program), TARGET)
    return sum(name.startswith("operation") for name in module.globals)


def repeated(step):
    def fun(x):
        for i in range(OFTEN):
            x = step(x, i)
        return x

    return fun


REPEATED = {
    "set": lambda x, i: x.at[i % 9, 1].set(x[i % 7, 2] * 2 + i),
    "add": lambda x, i: x.at[i % 9].add(x[i % 7] / 2),
    "sort": lambda x, i: wnp.sort(x * 3 - i, axis=i % 2),
    "cumulative": lambda x, i: wnp.cumsum(x, axis=0) / 2,
    "product": lambda x, i: wnp.tanh(x[:30] @ x.T) @ x * 1e-2 + x[:30].sum(),
    "transform": lambda x, i: wnp.fft.ifft(wnp.fft.fft(x) * 0.5).real,
    "solve": lambda x, i: wnp.linalg.solve(x[:8, :8] + 9 * wnp.eye(8), x[:8, :8]),
}


@pytest.mark.parametrize("step", REPEATED.values(), ids=REPEATED.keys())
def test_operations_that_are_repeated(step):
    x = np.random.default_rng(1).standard_normal((32, 33))
    x = x[:30] if step is REPEATED["product"] else x
    x = x[:8, :8] if step is REPEATED["solve"] else x
    fun = repeated(step)
    with np.errstate(all="ignore"):
        wanted = np.asarray(fun(wnp.array(x)))
    np.testing.assert_allclose(wg.jit(fun)(x), wanted, rtol=1e-9, atol=1e-9)
    assert operations_in(fun, x) >= 1


def test_operations_that_are_not_repeated_are_written_in_place():
    assert operations_in(lambda x: x.at[1].set(2).at[2].set(3), np.ones(4)) == 0


def test_operations_that_fail():
    def fun(x, indices):
        for i in range(OFTEN):
            x = x.at[indices[i]].set(i + 1)
        return x

    f = wg.jit(fun)
    x, indices = np.zeros(5), np.arange(OFTEN) % 5
    for _ in range(2):
        np.testing.assert_array_equal(f(x, indices), [66, 67, 68, 69, 70])
        for bad in (0, OFTEN // 2, OFTEN - 1):
            wrong = indices.copy()
            wrong[bad] = 5
            with pytest.raises(IndexError, match="out of bounds"):
                f(x, wrong)


def test_operations_that_are_repeated_in_place_and_not():
    def fun(x):
        kept = []
        for i in range(3 * OFTEN):
            y = x.at[i % 5].set(x[(i + 1) % 5] + i)
            if i % 3 == 0:
                kept.append(x)  # x is needed later: y has memory of its own
            x = y
        return x, sum(kept)

    x = np.arange(300.0).reshape(5, 60)
    for a, b in zip(wg.jit(fun)(x), fun(wnp.array(x)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    donated = wg.jit(lambda x: fun(x)[0], donate_argnums=0)
    for _ in range(3):
        np.testing.assert_array_equal(donated(wnp.array(x)), fun(wnp.array(x))[0])


def test_operations_that_are_repeated_in_loops():
    def fun(x):
        return wg.lax.fori_loop(0, 4, lambda i, c: repeated(REPEATED["set"])(c) / 3, x)

    x = np.random.default_rng(2).standard_normal((32, 33))
    np.testing.assert_allclose(wg.jit(fun)(x), fun(wnp.array(x)), rtol=1e-12)
    assert operations_in(fun, x) >= 1


def test_accesses_of_repeated_operations_are_checked():
    x = np.random.default_rng(2).standard_normal((32, 33))
    program = wg.make_program(repeated(REPEATED["set"]))(x)
    (got,) = compile_checked(program)([x])
    np.testing.assert_array_equal(got, wg.jit(repeated(REPEATED["set"]))(x))
