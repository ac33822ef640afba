"""Elements on complex numbers beyond arithmetic: order, size, direction, powers, roots.

Complex numbers are ordered by real part, then imaginary part; a NaN in either makes a number
unordered. All follows NumPy's loops, whose special cases these are. Transcendental functions
are in `elements_analytic`, or calls of those loops (`elements_calls`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from wengert.engines.native import complexes, elements_analytic
from wengert.engines.native.complexes import Pair
from wengert.engines.native.elements_calls import COMPLEX_CALLS
from wengert.engines.native.expressions import Apply
from wengert.engines.native.math import FUNCTIONS
from wengert.engines.native.vectors import Vectors

Emit = Callable[..., Any]


# -- order -----------------------------------------------


def _ordered(v: Vectors, op: str, x: Pair, y: Pair) -> Any:
    """Whether `x op y` for op in lt, le, gt, ge."""
    both = v.builder.and_
    known = v.builder.fcmp_ordered("ord", x.imag, y.imag)
    first = both(v.compare(op[0] + "t", x.real, y.real), known)
    second = both(v.compare("eq", x.real, y.real), v.compare(op, x.imag, y.imag))
    return v.builder.or_(first, second)


def _comparison(op: str) -> Emit:
    def emit(v: Vectors, node: Apply, x: Pair, y: Pair) -> Any:
        return _ordered(v, op, x, y)

    return emit


def _extremum(op: str, ignore_nan: bool = False) -> Emit:
    def emit(v: Vectors, node: Apply, x: Pair, y: Pair) -> Pair:
        nan = complexes.TABLE["isnan"](v, node, y if ignore_nan else x)
        first = v.builder.or_(nan, _ordered(v, op, x, y))
        return _chosen(v, first, x, y)

    return emit


def _chosen(v: Vectors, truth: Any, x: Pair, y: Pair) -> Pair:
    return Pair(v.select(truth, x.real, y.real), v.select(truth, x.imag, y.imag))


def _share(v: Vectors, node: Apply, x: Pair, y: Pair) -> Pair:
    zero, half, one = (v.constant(c, x.real) for c in (0.0, 0.5, 1.0))
    wins = _ordered(v, "lt" if node.params.get("lesser") else "gt", x, y)
    equal = complexes.TABLE["eq"](v, node, x, y)
    out = v.select(equal, half, v.select(wins, one, zero))
    if node.params.get("ignore_nan"):
        nan = complexes.TABLE["isnan"]
        number = v.builder.xor(nan(v, node, x), v.constant(1, v.mask_type))
        out = v.select(v.builder.and_(nan(v, node, y), number), one, out)
    return Pair(out, zero)


# -- size and direction -----------------------------------------------


def _abs(v: Vectors, node: Apply, x: Pair) -> Any:
    return FUNCTIONS["hypot"](v, x.real, x.imag)


def _sign(v: Vectors, node: Apply, x: Pair) -> Pair:
    zero, infinity = v.constant(0.0, x.real), v.constant(math.inf, x.real)
    size = _abs(v, node, x)
    safe = v.select(v.compare("eq", size, zero), v.constant(1.0, size), size)
    at = [v.compare("eq", v.fabs(part), infinity) for part in x]
    one = v.constant(1.0, size)
    out = []
    for part, own in zip(x, at, strict=True):  # an infinite part has the direction to itself
        end = v.select(own, v.copysign(one, part), zero)
        far = v.builder.or_(*at)
        out.append(v.select(far, end, v.div(part, safe)))
    unknown = v.builder.or_(v.builder.and_(*at), v.is_nan(size))
    nan = v.constant(math.nan, size)
    return Pair(*(v.select(unknown, nan, part) for part in out))


def _round(v: Vectors, node: Apply, x: Pair) -> Pair:
    return Pair(v.rint(x.real), v.rint(x.imag))


# -- quotients, powers, roots -----------------------------------------------


def _one(v: Vectors, x: Pair) -> Pair:
    return Pair(v.constant(1.0, x.real), v.constant(0.0, x.real))


def _reciprocal(v: Vectors, node: Apply, x: Pair) -> Pair:
    out: Pair = complexes.TABLE["div"](v, node, _one(v, x), x)
    return out


def _rsqrt(v: Vectors, node: Apply, x: Pair) -> Pair:
    return _reciprocal(v, node, elements_analytic.TABLE["sqrt"](v, node, x))


def _integer_pow(v: Vectors, node: Apply, x: Pair) -> Pair:
    y, multiply = node.params["y"], complexes.TABLE["mul"]
    if y in (0, 1):
        return x if y else _one(v, x)
    if y == -1:
        return _reciprocal(v, node, x)
    if y in (2, 3):
        square: Pair = multiply(v, node, x, x)
        return square if y == 2 else multiply(v, node, square, x)
    power = Pair(v.constant(y, x.real), v.constant(0.0, x.real))
    out: Pair = COMPLEX_CALLS["pow"](v, node, x, power)
    return out


def _logistic(v: Vectors, node: Apply, x: Pair) -> Pair:
    """By way of the exponential of the sign that cannot overflow."""
    right = v.compare("ge", x.real, v.constant(0.0, x.real))
    negative = Pair(v.neg(x.real), v.neg(x.imag))
    small = elements_analytic.TABLE["exp"](v, node, _chosen(v, right, negative, x))
    one = _one(v, x)
    top = _chosen(v, right, one, small)
    below = complexes.TABLE["add"](v, node, one, small)
    out: Pair = complexes.TABLE["div"](v, node, top, below)
    return out


TABLE: dict[str, Emit] = {
    **complexes.TABLE,
    **COMPLEX_CALLS,
    **elements_analytic.TABLE,
    **{op: _comparison(op) for op in ("lt", "le", "gt", "ge")},
    "maximum": _extremum("ge"),
    "minimum": _extremum("le"),
    "fmax": _extremum("ge", ignore_nan=True),
    "fmin": _extremum("le", ignore_nan=True),
    "share": _share,
    "complex_abs": _abs,
    "sign": _sign,
    "round": _round,
    "reciprocal": _reciprocal,
    "rsqrt": _rsqrt,
    "integer_pow": _integer_pow,
    "logistic": _logistic,
    "checkpoint_name": complexes.TABLE["copy"],
}
