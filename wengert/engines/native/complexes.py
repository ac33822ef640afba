"""Complex numbers in kernels: pairs of real lanes, and the elementwise primitives on them.

In registers a complex value is a `Pair` of its real and imaginary lanes; in memory the parts
alternate. Products and quotients round as NumPy's do: products part by part, quotients by R.
L. Smith's method ("Algorithm 116: complex division", 1962).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from wengert.core import dtypes
from wengert.engines.native.expressions import Apply
from wengert.engines.native.vectors import Vectors

Emit = Callable[..., Any]


class Pair(NamedTuple):
    """The lanes of complex numbers."""

    real: Any
    imag: Any


def each(function: Callable[..., Any], *values: Any) -> Any:
    """A function of lanes, applied to real values or to both parts of complex ones."""
    if isinstance(values[0], Pair):
        return Pair(
            function(*(v.real for v in values)),
            function(*(v.imag for v in values)),
        )
    return function(*values)


def part_dtype(dtype: Any) -> Any:
    """The dtype of the real and imaginary parts."""
    return np.dtype(np.float32 if dtype.itemsize == 8 else np.float64)


def is_complex(node: Apply) -> bool:
    """Whether an operation has complex operands or a complex result."""
    return dtypes.is_complex(node.dtype) or any(dtypes.is_complex(a.dtype) for a in node.args)


def _add(v: Vectors, node: Apply, x: Pair, y: Pair) -> Pair:
    return Pair(v.add(x.real, y.real), v.add(x.imag, y.imag))


def _sub(v: Vectors, node: Apply, x: Pair, y: Pair) -> Pair:
    return Pair(v.sub(x.real, y.real), v.sub(x.imag, y.imag))


def _neg(v: Vectors, node: Apply, x: Pair) -> Pair:
    return Pair(v.neg(x.real), v.neg(x.imag))


def _conj(v: Vectors, node: Apply, x: Pair) -> Pair:
    return Pair(x.real, v.neg(x.imag))


def _mul(v: Vectors, node: Apply, x: Pair, y: Pair) -> Pair:
    real = v.sub(v.mul(x.real, y.real), v.mul(x.imag, y.imag))
    imag = v.add(v.mul(x.real, y.imag), v.mul(x.imag, y.real))
    return Pair(real, imag)


def _square(v: Vectors, node: Apply, x: Pair) -> Pair:
    return _mul(v, node, x, x)


def _div(v: Vectors, node: Apply, x: Pair, y: Pair) -> Pair:
    zero, one = v.constant(0.0, x.real), v.constant(1.0, x.real)
    size_real, size_imag = v.fabs(y.real), v.fabs(y.imag)
    wide = v.compare("ge", size_real, size_imag)
    large, small = v.select(wide, y.real, y.imag), v.select(wide, y.imag, y.real)
    ratio = v.div(small, large)
    scale = v.div(one, v.add(large, v.mul(small, ratio)))
    first, second = v.select(wide, x.real, x.imag), v.select(wide, x.imag, x.real)
    real = v.mul(v.add(first, v.mul(second, ratio)), scale)
    difference = v.sub(second, v.mul(first, ratio))
    turned = v.sub(v.mul(first, ratio), second)
    imag = v.mul(v.select(wide, difference, turned), scale)
    # zero over zero and the like: what dividing both parts by zero gives
    nothing = v.builder.and_(v.compare("eq", size_real, zero), v.compare("eq", size_imag, zero))
    return Pair(
        v.select(nothing, v.div(x.real, size_real), real),
        v.select(nothing, v.div(x.imag, size_real), imag),
    )


def _real(v: Vectors, node: Apply, x: Pair) -> Any:
    return x.real


def _imag(v: Vectors, node: Apply, x: Pair) -> Any:
    return x.imag


def _complex(v: Vectors, node: Apply, x: Any, y: Any) -> Pair:
    return Pair(x, y)


def _eq(v: Vectors, node: Apply, x: Pair, y: Pair) -> Any:
    return v.builder.and_(v.compare("eq", x.real, y.real), v.compare("eq", x.imag, y.imag))


def _ne(v: Vectors, node: Apply, x: Pair, y: Pair) -> Any:
    return v.builder.or_(v.compare("ne", x.real, y.real), v.compare("ne", x.imag, y.imag))


def _isnan(v: Vectors, node: Apply, x: Pair) -> Any:
    return v.builder.or_(v.is_nan(x.real), v.is_nan(x.imag))


def _is_finite(v: Vectors, node: Apply, x: Pair) -> Any:
    infinity = v.constant(float("inf"), x.real)
    below = [v.compare("lt", v.fabs(part), infinity) for part in x]
    return v.builder.and_(*below)


def _isinf(v: Vectors, node: Apply, x: Pair) -> Any:
    infinity = v.constant(float("inf"), x.real)
    at = [v.compare("eq", v.fabs(part), infinity) for part in x]
    return v.builder.or_(*at)


def _select(v: Vectors, node: Apply, truth: Any, x: Pair, y: Pair) -> Pair:
    return Pair(v.select(truth, x.real, y.real), v.select(truth, x.imag, y.imag))


def _same(v: Vectors, node: Apply, x: Pair) -> Pair:
    return x


def _masked_mul(v: Vectors, node: Apply, x: Pair, y: Pair) -> Pair:
    product = _mul(v, node, x, y)
    zero = v.constant(0.0, x.real)
    nothing = _eq(v, node, x, Pair(zero, zero))
    hidden = v.builder.and_(_isnan(v, node, product), nothing)
    return _select(v, node, hidden, Pair(zero, zero), product)


TABLE: dict[str, Emit] = {
    "add": _add,
    "sub": _sub,
    "neg": _neg,
    "conj": _conj,
    "mul": _mul,
    "masked_mul": _masked_mul,
    "square": _square,
    "div": _div,
    "real": _real,
    "imag": _imag,
    "complex": _complex,
    "eq": _eq,
    "ne": _ne,
    "isnan": _isnan,
    "is_finite": _is_finite,
    "isinf": _isinf,
    "select": _select,
    "copy": _same,
    "stop_gradient": _same,
    "optimization_barrier": _same,
}
