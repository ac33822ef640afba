"""Functions of complex numbers, by functions of their parts where nothing special happens.

Lanes of ordinary size are computed inline. Where a lane is not (infinite, NaN, or so large or
small that a formula would overflow), NumPy's own loop is called for the vector, in a branch
apart, and its results are taken for those lanes; so special values are NumPy's.

Errors are a few units in the last place of the size of the result, as those of the C library
are. Formulas: W. Kahan, "Branch cuts for complex elementary functions" (1987).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from wengert.engines.native.complexes import Pair
from wengert.engines.native.elements_calls import COMPLEX_CALLS
from wengert.engines.native.elements_division import any_lane
from wengert.engines.native.expressions import Apply
from wengert.engines.native.math import FUNCTIONS
from wengert.engines.native.vectors import Vectors

Emit = Callable[..., Any]
#: `formula(v, z)` gives the result and which lanes it is right for.
Formula = Callable[[Vectors, Pair], tuple[Pair, Any]]


def _guarded(name: str, formula: Formula) -> Emit:
    """A formula, with NumPy's function for the lanes that it is not for."""

    def emit(v: Vectors, node: Apply, z: Pair) -> Pair:
        builder = v.builder
        fast, ordinary = formula(v, z)
        special = builder.xor(ordinary, v.constant(1, v.mask_type))
        some = any_lane(v, special)
        before = builder.block
        slow, after = builder.append_basic_block("special"), builder.append_basic_block("done")
        builder.cbranch(some, slow, after)
        builder.position_at_end(slow)
        exact = COMPLEX_CALLS[name](v, node, z)
        chosen = [v.select(ordinary, a, b) for a, b in zip(fast, exact, strict=True)]
        builder.branch(after)
        builder.position_at_end(after)
        out = []
        for a, b in zip(fast, chosen, strict=True):
            phi = builder.phi(a.type)
            phi.add_incoming(a, before)
            phi.add_incoming(b, slow)
            out.append(phi)
        return Pair(*out)

    return emit


def _below(v: Vectors, x: Any, single: float, double: float) -> Any:
    """Whether sizes are below a limit, which depends on the format."""
    limit = double if v.is_double(x) else single
    return v.compare("lt", v.fabs(x), v.constant(limit, x))


def _both(v: Vectors, a: Any, b: Any) -> Any:
    return v.builder.and_(a, b)


def _finite(v: Vectors, x: Any) -> Any:
    return v.compare("lt", v.fabs(x), v.constant(math.inf, x))


#: Where exponentials do not overflow, and hyperbolic tangents are not 1.
_EXPONENT = 80.0, 700.0
_TANGENT = 9.0, 20.0


def _exp(v: Vectors, z: Pair) -> tuple[Pair, Any]:
    size = FUNCTIONS["exp"](v, z.real)
    out = Pair(
        v.mul(size, FUNCTIONS["cos"](v, z.imag)), v.mul(size, FUNCTIONS["sin"](v, z.imag))
    )
    return out, _both(v, _below(v, z.real, *_EXPONENT), _finite(v, z.imag))


def _parts_in_order(v: Vectors, z: Pair) -> tuple[Any, Any, Any]:
    """The greater and the lesser size, and whether the square of the greater is normal."""
    a, b = v.fabs(z.real), v.fabs(z.imag)
    finite = _both(v, _finite(v, a), _finite(v, b))
    large, small = v.fmax(a, b), v.fmin(a, b)
    high, low = (1e150, 1e-140) if v.is_double(a) else (1e18, 1e-16)
    inside = _both(
        v,
        v.compare("lt", large, v.constant(high, a)),
        v.compare("gt", large, v.constant(low, a)),
    )
    return large, small, _both(v, finite, inside)


def _log(v: Vectors, z: Pair) -> tuple[Pair, Any]:
    """Near the unit circle from the square of the size less 1, which loses no digits."""
    large, small, ordinary = _parts_in_order(v, z)
    one, half = v.constant(1.0, large), v.constant(0.5, large)
    square = v.mul(small, small)
    excess = v.fma(v.sub(large, one), v.add(large, one), square)
    near = FUNCTIONS["log1p"](v, excess)
    far = FUNCTIONS["log"](v, v.fma(large, large, square))
    close = _both(
        v,
        v.compare("gt", large, half),
        v.compare("lt", large, v.constant(2.0, large)),
    )
    real = v.mul(half, v.select(close, near, far))
    return Pair(real, FUNCTIONS["atan2"](v, z.imag, z.real)), ordinary


def _scaled_log(factor: float) -> Formula:
    def formula(v: Vectors, z: Pair) -> tuple[Pair, Any]:
        out, ordinary = _log(v, z)
        scale = v.constant(factor, z.real)
        return Pair(v.mul(out.real, scale), v.mul(out.imag, scale)), ordinary

    return formula


def _sqrt(v: Vectors, z: Pair) -> tuple[Pair, Any]:
    large, small, ordinary = _parts_in_order(v, z)
    half = v.constant(0.5, large)
    length = v.sqrt(v.fma(large, large, v.mul(small, small)))
    main = v.sqrt(v.mul(half, v.add(v.fabs(z.real), length)))
    other = v.div(v.mul(half, v.fabs(z.imag)), main)
    right = v.compare("ge", z.real, v.constant(0.0, main))
    real, imag = v.select(right, main, other), v.select(right, other, main)
    return Pair(real, v.copysign(imag, z.imag)), ordinary


def _hyperbolic(v: Vectors, z: Pair) -> tuple[Any, Any, Any, Any, Any]:
    """sinh and cosh of the real part, sine and cosine of the other; where they are finite."""
    ordinary = _both(v, _below(v, z.real, *_EXPONENT), _finite(v, z.imag))
    growing = [FUNCTIONS[n](v, z.real) for n in ("sinh", "cosh")]
    turning = [FUNCTIONS[n](v, z.imag) for n in ("sin", "cos")]
    return (*growing, *turning, ordinary)


def _sinh(v: Vectors, z: Pair) -> tuple[Pair, Any]:
    s, c, p, q, ordinary = _hyperbolic(v, z)
    return Pair(v.mul(s, q), v.mul(c, p)), ordinary


def _cosh(v: Vectors, z: Pair) -> tuple[Pair, Any]:
    s, c, p, q, ordinary = _hyperbolic(v, z)
    return Pair(v.mul(c, q), v.mul(s, p)), ordinary


def _tanh(v: Vectors, z: Pair) -> tuple[Pair, Any]:
    s, c, p, q, ordinary = _hyperbolic(v, z)
    below = v.fma(s, s, v.mul(q, q))
    ordinary = _both(v, ordinary, _below(v, z.real, *_TANGENT))
    return Pair(v.div(v.mul(s, c), below), v.div(v.mul(p, q), below)), ordinary


def _turned(v: Vectors, z: Pair) -> Pair:
    """i z."""
    return Pair(v.neg(z.imag), z.real)


def _sin(v: Vectors, z: Pair) -> tuple[Pair, Any]:
    """-i sinh(i z)."""
    out, ordinary = _sinh(v, _turned(v, z))
    return Pair(out.imag, v.neg(out.real)), ordinary


def _cos(v: Vectors, z: Pair) -> tuple[Pair, Any]:
    return _cosh(v, _turned(v, z))


def _tan(v: Vectors, z: Pair) -> tuple[Pair, Any]:
    out, ordinary = _tanh(v, _turned(v, z))
    return Pair(out.imag, v.neg(out.real)), ordinary


TABLE: dict[str, Emit] = {
    name: _guarded(name, formula)
    for name, formula in {
        "exp": _exp,
        "log": _log,
        "log2": _scaled_log(1 / math.log(2)),
        "log10": _scaled_log(1 / math.log(10)),
        "sqrt": _sqrt,
        "sinh": _sinh,
        "cosh": _cosh,
        "tanh": _tanh,
        "sin": _sin,
        "cos": _cos,
        "tan": _tan,
    }.items()
}
