"""The debug build: it finds wrong accesses to memory, and none in the engine."""

from __future__ import annotations

import numpy as np
import pytest
from llvmlite import ir

import wengert as wg
import wengert.numpy as wnp
from wengert.core import array
from wengert.core.array import Array
from wengert.core.interpreter import quiet
from wengert.core.tracing import trace
from wengert.engines.eager import run_program
from wengert.engines.native.checked import AccessError, Guarded, compile_checked
from wengert.engines.native.library import cumulative
from wengert.engines.native.library.common import load, store
from wengert.engines.native.machine import Target
from wengert.engines.native.points import Frame
from wengert.testing.fuzzing import Case, check
from wengert.testing.fuzzing.rules import HIGHER_ORDER

F64 = np.dtype(np.float64)
X = np.arange(100.0)


def checked(function, *values):
    program = trace(lambda given: list(function(*given)), [Array(v).type for v in values])
    return compile_checked(program)([*values])


def emitting(monkeypatch, emit):
    """Let `cumsum` be computed by an emitter."""
    monkeypatch.setitem(cumulative.OPERATIONS, "cumsum", emit)


def reading(first, last):
    """An emitter that copies, and reads from `first` to `last`."""

    def emit(code, equation, operands, results):
        (x,), (out,) = operands, results
        with code.loop(x.type.size) as i:
            store(code, load(code, code.offset(x.pointer, i, 8), F64), _at(code, out, i), F64)
        with code.loop(code.int64(last), code.int64(first)) as i:
            value = load(code, code.offset(x.pointer, i, 8), F64)
            store(code, value, out.pointer, F64)

    return emit


def writing(first, last):
    """An emitter that writes zeros from `first` to `last`."""

    def emit(code, equation, operands, results):
        (out,) = results
        v = code.vectors(1)
        with code.loop(code.int64(last), code.int64(first)) as i:
            store(code, v.constant(0.0, v.type(F64)), _at(code, out, i), F64)

    return emit


def _at(code, buffer, i):
    return code.offset(buffer.pointer, i, 8)


def test_right_code_passes(monkeypatch):
    emitting(monkeypatch, writing(0, 100))
    (out,) = checked(lambda x: [wnp.cumsum(x)], X)
    np.testing.assert_array_equal(out, np.zeros(100))


@pytest.mark.parametrize("bounds", [(0, 101), (-1, 100), (0, 100_000), (-5000, -4999)])
def test_writes_beyond_a_result(monkeypatch, bounds):
    emitting(monkeypatch, writing(*bounds))
    with pytest.raises(AccessError, match=r"of f64\[100\] \(800 bytes\): store double"):
        checked(lambda x: [wnp.cumsum(x)], X)


@pytest.mark.parametrize("bounds", [(0, 101), (-1, 100), (10**9, 10**9 + 1)])
def test_reads_beyond_an_operand(monkeypatch, bounds):
    emitting(monkeypatch, reading(*bounds))
    with pytest.raises(
        AccessError, match=r"8 bytes at offset -?\d+ of f64\[100\].*load double"
    ):
        checked(lambda x: [wnp.cumsum(x)], X)


def test_writes_beyond_values_in_the_arena(monkeypatch):
    """Another variable lies behind it: no matter, every pointer knows its own."""
    emitting(monkeypatch, writing(0, 150))
    with pytest.raises(AccessError, match=r"of f64\[100\]"):
        checked(lambda x: [wnp.sort(wnp.cumsum(x) * 2), wnp.sort(x)], X)


def test_writes_beyond_slots_on_the_stack(monkeypatch):
    emitting(monkeypatch, writing(0, 4))
    with pytest.raises(AccessError, match="a slot on the stack"):
        checked(lambda x: [wnp.sort(wnp.cumsum(x))], np.arange(3.0))


def test_copies_beyond_an_array(monkeypatch):
    def emit(code, equation, operands, results):
        code.copy(results[0].pointer, operands[0].pointer, 801)

    emitting(monkeypatch, emit)
    with pytest.raises(AccessError, match=r"801 bytes at offset 0"):
        checked(lambda x: [wnp.cumsum(x)], X)


def test_elements_that_are_not_written(monkeypatch):
    emitting(monkeypatch, writing(0, 99))
    with pytest.raises(AccessError, match="result 0 depends on memory"):
        checked(lambda x: [wnp.cumsum(x)], X)


def test_inputs_that_are_written(monkeypatch):
    def emit(code, equation, operands, results):
        writing(0, 100)(code, equation, operands, results)
        writing(0, 1)(code, equation, operands, operands)

    emitting(monkeypatch, emit)
    with pytest.raises(AccessError, match="an input of type float64 was written to"):
        checked(lambda x: [wnp.cumsum(x)], X + 1)


def test_what_called_functions_write(monkeypatch):
    """They are not instrumented; the guard zones behind arrays are looked at."""

    def emit(code, equation, operands, results):
        args = [results[0].pointer, code.int64(801)]
        code.call("libc.bzero", ir.VoidType(), args)

    emitting(monkeypatch, emit)
    with pytest.raises(AccessError, match="written behind an array of float64"):
        checked(lambda x: [wnp.cumsum(x)], X)


def test_blocks_of_threads(monkeypatch):
    def emit(code, equation, operands, results):
        def body(inner, block, given):
            v = inner.vectors(1)
            first = inner.builder.mul(block, inner.int64(26))  # 4 × 26 > 100
            with inner.loop(26) as i:
                place = inner.offset(given[0], inner.builder.add(first, i), 8)
                store(inner, v.constant(0.0, v.type(F64)), place, F64)

        code.parallel("cumsum", 4, [results[0].pointer], body)

    emitting(monkeypatch, emit)
    with pytest.raises(AccessError, match=r"8 bytes at offset 8\d\d of f64\[100\]"):
        checked(lambda x: [wnp.cumsum(x)], X)


@pytest.mark.parametrize("target", ["host", "baseline"])
def test_a_mask_that_is_left_out(monkeypatch, target):
    """A fault in kernels themselves: lanes behind the end are stored."""
    vector = Frame.vector

    def unmasked(self, lanes, axis, start, turn, mask=None):
        lanes = max(lanes, 2) if axis is not None and target == "baseline" else lanes
        return vector(self, lanes, axis, start, turn)

    program = trace(lambda x: [wnp.sum(x[0] * x[0], axis=1)], [Array(np.ones((40, 37))).type])
    machine = getattr(Target, target)()
    assert compile_checked(program, machine)([np.ones((40, 37))])[0][3] == 37
    monkeypatch.setattr(Frame, "vector", unmasked)
    with pytest.raises(AccessError):
        compile_checked(program, machine)([np.ones((40, 37))])


def test_guard_zones():
    guarded = Guarded((3,), np.dtype(np.int16), 0x5A, [1, 2, 3])
    guarded.look()
    guarded._memory[-1] = 0
    with pytest.raises(AccessError, match="behind an array of int16"):
        guarded.look()


# -- the engine ------------------------------------------------------------------------------


def test_primitive(primitive):
    """No sample of a primitive touches memory that is not its own, or leaves any unwritten."""
    if primitive.name in HIGHER_ORDER - {"cond", "scan", "while", "sweeps"}:
        return
    for sample in primitive.samples():
        places = [i for i, a in enumerate(sample.args) if hasattr(a, "dtype")]

        def call(values, sample=sample, places=places):
            args = list(sample.args)
            for place, value in zip(places, values, strict=True):
                args[place] = value
            out = primitive(*args, **sample.params)
            return out if primitive.multiple_results else [out]

        values = [array.as_array(sample.args[i]) for i in places]
        program = trace(call, [v.type for v in values])
        check(Case(program, [v._value for v in values]), engine="checked")
        assert not compile_checked(program).unknown, f"{primitive.name}{sample}"


def grow(x):
    return x * 1.5 + wnp.sin(x)


FUNCTIONS = {
    "rows": (lambda x: wnp.sum(x * 2, axis=0), np.ones((300, 257), np.float32)),
    "threads": (lambda x: wnp.sum(wnp.exp(-x * x)) + wnp.max(x), np.ones(300_001)),
    "transposed": (lambda x: x.T + wnp.sum(x, axis=1), np.ones((65, 130), np.float32)),
    "windows": (lambda x: wnp.concatenate([x[1:] - x[:-1], x[::3], wnp.pad(x, 7)]), X),
    "updates": (
        lambda x: wg.lax.fori_loop(0, 50, lambda i, y: y.at[i].set(y[i - 1] * 0.5), x),
        X,
    ),
    "scan": (
        lambda x: wg.lax.scan(lambda c, r: (c + r, c * r[0]), x[0], x)[1],
        X.reshape(4, 25),
    ),
    "tape": (
        wg.grad(lambda x: wg.lax.while_loop(lambda c: c.sum() < 50, grow, x).sum()),
        np.full(3, 1.0),
    ),
    "products": (lambda x: x @ x.T @ x, np.ones((33, 70))),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("target", ["host", "baseline"])
def test_functions(name, target):
    function, value = FUNCTIONS[name]
    program = trace(lambda given: [function(*given)], [Array(value).type])
    compiled = compile_checked(program, getattr(Target, target)())
    assert not compiled.unknown
    (got,) = compiled([value])
    (expected,) = quiet().run(run_program, program, [value])
    np.testing.assert_allclose(got, expected, rtol=1e-5)
