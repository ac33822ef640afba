"""Every primitive's samples, in machine code against the eager engine, on two machines.

What is exact must be equal bit by bit; other operations may differ by the stated number of
units in the last place of the result (or, for contractions and decompositions, of its norm).
"""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert.core import dtypes
from wengert.core import primitive as primitives
from wengert.core.array import ArrayType, as_array
from wengert.core.interpreter import quiet
from wengert.core.tracing import trace
from wengert.engines.eager import run_program
from wengert.engines.native.compile import compile_program
from wengert.engines.native.machine import Target
from wengert.engines.native.math import FUNCTIONS

#: Units in the last place by which results may differ from those of NumPy and SciPy; those
#: have up to two themselves.
ULPS = dict.fromkeys(FUNCTIONS, 4.0) | {
    "integer_pow": 2.0,
    "reduce_sum": 4.0,
    "reduce_prod": 4.0,
    "logaddexp": 8.0,
    "sinc": 8.0,
    "complex_abs": 2.0,
    "cumsum": 8.0,
    "cumprod": 8.0,
    **dict.fromkeys(("random_gamma_grad", "igamma_grad_a", "betainc_grad"), 16.0),
}
#: What adds up products or eliminates: units in the last place of the largest element.
NORMWISE = {
    "dot_general": 32.0,
    "conv_general_dilated": 64.0,
    "cumlogsumexp": 16.0,
    "linear_recurrence": 32.0,
    "fft": 64.0,
    "overlap_add": 8.0,
    "reduce_window_sum": 8.0,
    **dict.fromkeys(("while", "scan", "cond", "sweeps"), 64.0),
}
#: Decompositions: as many as LAPACK may differ from itself between two builds.
BACKWARD_STABLE = frozenset(
    "cholesky lu qr svd eigh eig solve triangular_solve factored_solve inv det slogdet pinv "
    "expm expm_tangent sqrtm sylvester cofactor cofactor_tangent".split()
)
HIGHER_ORDER = frozenset(["call", "checkpoint", "custom_jvp_call", "custom_vjp_call"])


def programs_of(primitive):
    for sample in primitive.samples():
        places = [i for i, a in enumerate(sample.args) if hasattr(a, "dtype")]

        def call(values, sample=sample, places=places):
            args = list(sample.args)
            for place, value in zip(places, values, strict=True):
                args[place] = value
            out = primitive(*args, **sample.params)
            return out if primitive.multiple_results else [out]

        values = [as_array(sample.args[i]) for i in places]
        yield sample, trace(call, [v.type for v in values]), [v._value for v in values]


def parts(value):
    """An array as real numbers in float64, and the spacing of its dtype at 1."""
    value = np.atleast_1d(np.ascontiguousarray(value))
    if value.dtype.kind == "c":
        value = value.view(f"f{value.itemsize // 2}")
    if value.dtype == dtypes.bfloat16:
        return value.astype(np.float64), 2.0**-8
    return value.astype(np.float64), float(np.finfo(value.dtype).eps)


def assert_close(name, got, expected, what):
    got, expected = np.asarray(got), np.asarray(expected)
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape), what
    if not got.size:
        return
    if dtypes.kind(got.dtype) in "biuV":
        assert got.tobytes() == np.ascontiguousarray(expected).tobytes(), what
        return
    (x, spacing), (y, _) = parts(got), parts(expected)
    with np.errstate(all="ignore"):
        same = (x == y) | (np.isnan(x) & np.isnan(y))
        scale = np.abs(y)
        ulps = ULPS.get(name, 0.0)
        if expected.dtype.kind == "c":  # a part may be small beside the number
            scale = np.repeat(np.abs(np.atleast_1d(expected)).ravel(), 2).reshape(y.shape)
            ulps += 2.0
        if name in NORMWISE or name in BACKWARD_STABLE:
            finite = scale[np.isfinite(scale)]
            scale = np.full_like(y, finite.max(initial=0.0))
            ulps = NORMWISE.get(name, 1e4)
        distance = np.where(same, 0.0, np.abs(x - y) / (scale * spacing))
    assert np.all(distance <= ulps), f"{what}: {np.nanmax(distance)} ulp\n{got}\n{expected}"


def outcome(run, values):
    try:
        return run(values)
    except Exception as error:
        return error


@pytest.mark.parametrize("target", ["host", "baseline"])
def test_primitive(primitive, target):
    if primitive.name in HIGHER_ORDER:
        return
    machine = getattr(Target, target)()
    for sample, program, values in programs_of(primitive):
        what = f"{primitive.name}{sample} on {target}"
        expected = outcome(lambda v, p=program: quiet().run(run_program, p, v), values)
        got = outcome(compile_program(program, machine), values)
        if isinstance(expected, Exception):
            assert type(got) is type(expected), what
            continue
        assert not isinstance(got, Exception), f"{what}: {got!r}"
        for x, y in zip(got, expected, strict=True):
            assert_close(primitive.name, x, y, what)


@pytest.mark.parametrize("name", ["Sin", "Sort", "Reshape", "ReduceSum", "Scan", "Call"])
def test_names_belong_to_our_own_primitives(name, monkeypatch):
    """What a user calls by the name of one of ours stays what the user says it is."""
    monkeypatch.setattr(primitives, "_INSTANCES", [])
    rules = {
        "compute": staticmethod(lambda x: x + 5.0),
        "type_rule": lambda self, x: ArrayType(x.shape, x.dtype),
    }
    theirs = type(name, (primitives.Primitive,), rules)()
    ours = wg.jit(lambda x: wnp.sin(x))
    np.testing.assert_allclose(ours(wnp.arange(3.0)), np.sin(np.arange(3.0)), rtol=1e-6)
    function = wg.jit(lambda x: theirs(x))
    for _ in range(2):
        np.testing.assert_array_equal(function(wnp.arange(3.0)), [5.0, 6.0, 7.0])
    assert wg.jit(lambda x: theirs(x)).lower(wnp.arange(3.0)).cost_analysis()["kernels"] == 1
