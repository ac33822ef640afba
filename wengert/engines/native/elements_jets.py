"""Elements with jets: shape derivatives of incomplete gamma and beta, and zeta functions.

These are the series, continued fractions and sums of `primitives.incomplete` on lanes of
float64, in functions of the module: a loop there runs until no lane changes any more. Lanes to
which a formula does not apply run along with harmless operands.

A jet is a dictionary from (i, j) to the coefficient of s**i t**j, lanes each; coefficients
that are zero for all operands are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

from wengert.core.lazy import lazy_module
from wengert.engines.native.elements_calls import CALLS, call
from wengert.engines.native.elements_division import any_lane
from wengert.engines.native.elements_memory import narrowed
from wengert.engines.native.expressions import Apply
from wengert.engines.native.math import FUNCTIONS
from wengert.engines.native.vectors import Vectors
from wengert.primitives.incomplete import BERNOULLI

ir = lazy_module("llvmlite.ir")

Emit = Callable[..., Any]
Jet = dict[tuple[int, int], Any]
Shape = tuple[int, int]

_EPS = 1e-17
_TINY = 1e-300
_TERMS = 1_000_000


# -- jets -----------------------------------------------


class Jets:
    """Arithmetic of jets of one shape, on the lanes of a builder."""

    def __init__(self, v: Vectors, shape: Shape, like: Any) -> None:
        self.v = v
        self.like = like
        self.places = list(product(range(shape[0]), range(shape[1])))

    def number(self, value: float) -> Any:
        """The same number in all lanes."""
        return self.v.constant(value, self.like)

    def linear(self, value: Any, s: Any = None, t: Any = None) -> Jet:
        """value + s S + t T."""
        parts = {(0, 0): value, (1, 0): s, (0, 1): t}
        jet = {}
        for place, part in parts.items():
            if part is not None and place in self.places:
                jet[place] = self.number(part) if isinstance(part, float) else part
        return jet

    def plus(self, a: Jet, b: Jet) -> Jet:
        """The sum."""
        out = dict(a)
        for place, part in b.items():
            out[place] = self.v.add(out[place], part) if place in out else part
        return out

    def times(self, a: Jet, b: Jet) -> Jet:
        """The product."""
        out: Jet = {}
        for (p, x), (q, y) in product(a.items(), b.items()):
            place = p[0] + q[0], p[1] + q[1]
            if place in self.places:
                term = self.v.mul(x, y)
                out[place] = self.v.add(out[place], term) if place in out else term
        return out

    def scaled(self, a: Jet, factor: Any) -> Jet:
        """A jet times lanes."""
        return {place: self.v.mul(part, factor) for place, part in a.items()}

    def over(self, a: Jet, b: Jet) -> Jet:
        """The quotient."""
        out: Jet = {}
        for i, j in self.places:
            rest = a.get((i, j))
            for (p, q), part in list(out.items()):
                if p <= i and q <= j and (i - p, j - q) in b:
                    term = self.v.mul(part, b[i - p, j - q])
                    rest = self.v.neg(term) if rest is None else self.v.sub(rest, term)
            if rest is not None:
                out[i, j] = self.v.div(rest, b[0, 0])
        return out

    def exp(self, a: Jet) -> Jet:
        """The exponential, from w' = a' w in whichever parameter is raised."""
        start = a.get((0, 0))
        out = {(0, 0): self.number(1.0) if start is None else FUNCTIONS["exp"](self.v, start)}
        for i, j in self.places[1:]:
            total = None
            for (p, q), part in a.items():
                weight = p if i else q
                rest = out.get((i - p, j - q))
                if weight and rest is not None:
                    term = self.v.mul(self.v.mul(self.number(weight), part), rest)
                    total = term if total is None else self.v.add(total, term)
            if total is not None:
                out[i, j] = self.v.div(total, self.number(i or j))
        return out

    def nonzero(self, a: Jet) -> Jet:
        """A jet whose value can be divided by."""
        zero = self.v.compare("eq", a[0, 0], self.number(0.0))
        return {**a, (0, 0): self.v.select(zero, self.number(_TINY), a[0, 0])}

    def filled(self, a: Jet) -> list[Any]:
        """All coefficients, in order."""
        return [a.get(place, self.number(0.0)) for place in self.places]

    def of(self, parts: Sequence[Any]) -> Jet:
        """The jet with these coefficients."""
        return dict(zip(self.places, parts, strict=True))


def _until(
    v: Vectors, start: Sequence[Any], turn: Callable[[Any, Sequence[Any]], tuple[Any, Any]]
) -> list[Any]:
    """Values after as many turns as some lane needs.

    `turn(n, values)` is given the number of the turn, from 1, in all lanes; it returns what
    follows and the lanes that want to go on.
    """
    builder = v.builder
    before, loop = builder.block, builder.append_basic_block("turn")
    builder.branch(loop)
    builder.position_at_end(loop)
    double = ir.DoubleType()
    number = builder.phi(double)
    phis = [builder.phi(x.type) for x in start]
    values, more = turn(v.splat(number), phis)
    following = builder.fadd(number, ir.Constant(double, 1.0))
    go_on = builder.and_(
        any_lane(v, more), builder.fcmp_ordered("<", number, ir.Constant(double, _TERMS))
    )
    last, after = builder.block, builder.append_basic_block("done")
    builder.cbranch(go_on, loop, after)
    number.add_incoming(ir.Constant(double, 1.0), before)
    number.add_incoming(following, last)
    for phi, first, value in zip(phis, start, values, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(value, last)
    builder.position_at_end(after)
    return list(values)


def _some_moved(v: Vectors, changes: Sequence[Any], scales: Sequence[Any]) -> Any:
    """Whether some change is greater than its scale."""
    moved = [v.compare("gt", v.fabs(c), s) for c, s in zip(changes, scales, strict=True)]
    out = moved[0]
    for truth in moved[1:]:
        out = v.builder.or_(out, truth)
    return out


def _lentz(v: Vectors, jets: Jets, start: Jet, levels: Callable[[Any], list[Any]]) -> Jet:
    """The jet of start + a1/(b1 + a2/(b2 + ...)); `levels(n)` has those of a turn.

    The modified method of Lentz, carried out on jets.
    """
    one = jets.linear(jets.number(1.0))
    begin = jets.filled(jets.nonzero(start))
    count = len(begin)

    def turn(n: Any, values: Sequence[Any]) -> tuple[Any, Any]:
        value, c, d = (jets.of(values[i * count : (i + 1) * count]) for i in range(3))
        before = values[:count]
        for a, b in levels(n):
            d = jets.over(one, jets.nonzero(jets.plus(b, jets.times(a, d))))
            c = jets.nonzero(jets.plus(b, jets.over(a, c)))
            value = jets.times(value, jets.times(c, d))
        after = jets.filled(value)
        largest = v.fabs(after[0])
        for part in after[1:]:
            largest = v.fmax(largest, v.fabs(part))
        limit = v.mul(largest, jets.number(2e-15))
        changes = [v.sub(x, y) for x, y in zip(after, before, strict=True)]
        more = _some_moved(v, changes, [limit] * count)
        return [*after, *jets.filled(c), *jets.filled(d)], more

    nothing = [jets.number(0.0)] * count
    return jets.of(_until(v, [*begin, *begin, *nothing], turn)[:count])


def _polygamma(v: Vectors, order: int, x: Any) -> Any:
    """The derivative of the given order of lgamma, order at least 1, for positive x."""
    if order == 1:
        return FUNCTIONS["digamma"](v, x)
    zeta = call(v, "special.zeta", "ddd", v.constant(float(order), x), x)
    return v.mul(v.constant((-1.0) ** order * math.factorial(order - 1), x), zeta)


# -- gamma -----------------------------------------------


def _power(v: Vectors, jets: Jets, a: Any, x: Any) -> Jet:
    """The jet in s of x**s Gamma(a+1) / Gamma(a+1+s)."""
    above = v.add(a, jets.number(1.0))
    exponent: Jet = {}
    for k, _ in jets.places[1:]:
        part = v.neg(_polygamma(v, k, above))
        exponent[k, 0] = v.div(part, jets.number(math.factorial(k)))
    exponent[1, 0] = v.add(exponent[1, 0], FUNCTIONS["log"](v, x))
    return jets.exp(exponent)


def _by_series(v: Vectors, jets: Jets, a: Any, x: Any) -> Any:
    """From P(a, x) = x**a exp(-x) / Gamma(a+1) * S, S the sum of x**n / ((a+1)...(a+n))."""
    last = jets.places[-1]
    one = jets.filled(jets.linear(jets.number(1.0)))
    count = len(one)

    def turn(n: Any, values: Sequence[Any]) -> tuple[Any, Any]:
        term, total = jets.of(values[:count]), values[count:]
        below = v.add(a, n)
        factor = {(0, 0): v.div(x, below)}
        for k, _ in jets.places[1:]:
            factor[k, 0] = v.div(v.neg(factor[k - 1, 0]), below)
        after = jets.filled(jets.times(term, factor))
        total = [v.add(s, t) for s, t in zip(total, after, strict=True)]
        limits = [v.mul(v.fabs(s), jets.number(_EPS)) for s in total]
        return [*after, *total], _some_moved(v, after, limits)

    total = jets.of(_until(v, [*one, *one], turn)[count:])
    return v.mul(jets.times(total, _power(v, jets, a, x))[last], v.div(x, a))


def _by_fraction(v: Vectors, jets: Jets, a: Any, x: Any) -> Any:
    """From Q(a, x) = x**a exp(-x) / Gamma(a) / K, K a continued fraction (Legendre)."""
    first = v.sub(v.add(x, jets.number(1.0)), a)

    def levels(i: Any) -> list[Any]:
        top = v.mul(v.neg(i), v.sub(i, a))
        below = v.add(first, v.mul(jets.number(2.0), i))
        return [(jets.linear(top, i), jets.linear(below, -1.0))]

    fraction = _lentz(v, jets, jets.linear(first, -1.0), levels)
    top = jets.times(_power(v, jets, a, x), jets.linear(a, 1.0))
    return v.neg(v.mul(jets.over(top, fraction)[jets.places[-1]], v.div(x, a)))


def _relative_slope(v: Vectors, a: Any, x: Any, order: int) -> Any:
    """The derivative of P(a, x) in a over the density; NaN where there is none."""
    jets = Jets(v, (order + 1, 1), x)
    zero, one, infinity = (jets.number(c) for c in (0.0, 1.0, math.inf))
    both = v.builder.and_
    valid = both(v.compare("gt", a, zero), v.compare("gt", x, zero))
    edge = v.add(a, one)
    below = both(valid, v.compare("le", x, edge))
    above = both(both(valid, v.compare("gt", x, edge)), v.compare("lt", x, infinity))
    out = jets.number(math.nan)
    for mask, function, harmless in ((below, _by_series, 0.5), (above, _by_fraction, 8.0)):
        given = v.select(mask, a, one), v.select(mask, x, jets.number(harmless))
        slope = _where_needed(v, mask, function, jets, *given)
        slope = v.mul(jets.number(math.factorial(order)), slope)
        out = v.select(mask, slope, out)
    return out


def _where_needed(v: Vectors, mask: Any, function: Emit, *args: Any) -> Any:
    """The value of a function if some lane wants it; else nothing is computed."""
    builder = v.builder
    before = builder.block
    needed, after = builder.append_basic_block("needed"), builder.append_basic_block("after")
    builder.cbranch(any_lane(v, mask), needed, after)
    builder.position_at_end(needed)
    value = function(v, *args)
    last = builder.block
    builder.branch(after)
    builder.position_at_end(after)
    out = builder.phi(value.type)
    out.add_incoming(v.constant(0.0, value), before)
    out.add_incoming(value, last)
    return out


def _igamma_grad_a(v: Vectors, order: int, a: Any, x: Any) -> Any:
    zero, one, infinity = (v.constant(c, x) for c in (0.0, 1.0, math.inf))
    exponent = v.sub(FUNCTIONS["xlogy"](v, v.sub(a, one), x), x)
    density = FUNCTIONS["exp"](v, v.sub(exponent, FUNCTIONS["lgamma"](v, a)))
    out = v.mul(density, _relative_slope(v, a, x, order))
    end = v.builder.or_(v.compare("eq", x, zero), v.compare("eq", x, infinity))
    return _where_valid(v, a, x, v.select(end, zero, out))


def _random_gamma_grad(v: Vectors, order: int, a: Any, x: Any) -> Any:
    zero = v.constant(0.0, x)
    out = v.neg(_relative_slope(v, a, x, order))
    return _where_valid(v, a, x, v.select(v.compare("eq", x, zero), zero, out))


def _where_valid(v: Vectors, a: Any, x: Any, out: Any) -> Any:
    zero = v.constant(0.0, x)
    valid = v.builder.and_(v.compare("gt", a, zero), v.compare("ge", x, zero))
    return v.select(valid, out, v.constant(math.nan, x))


# -- beta -----------------------------------------------


def _betainc_grad(v: Vectors, order: Shape, a: Any, b: Any, x: Any) -> Any:
    """The derivative of I_x(a, b), of order[0] in a and order[1] in b, not both 0."""
    zero, one, two = (v.constant(c, x) for c in (0.0, 1.0, 2.0))
    both = v.builder.and_
    valid = both(v.compare("gt", a, zero), v.compare("gt", b, zero))
    end = v.builder.or_(v.compare("eq", x, zero), v.compare("eq", x, one))
    out = v.select(both(valid, end), zero, v.constant(math.nan, x))
    inside = both(valid, both(v.compare("gt", x, zero), v.compare("lt", x, one)))
    split = v.div(v.add(a, one), v.add(v.add(a, b), two))
    near = v.compare("lt", x, split)
    left = both(inside, near)
    right = both(inside, v.builder.xor(near, v.constant(1, v.mask_type)))
    half = v.constant(0.25, x)
    given = [v.select(left, value, safe) for value, safe in ((a, one), (b, one), (x, half))]
    out = v.select(left, _where_needed(v, left, _beta_slope, order, *given), out)
    turned = ((b, one), (a, one), (v.sub(one, x), half))
    given = [v.select(right, value, safe) for value, safe in turned]
    slope = _where_needed(v, right, _beta_slope, order[::-1], *given)
    return v.select(right, v.neg(slope), out)  # I_x(a, b) = 1 - I_(1-x)(b, a)


def _beta_slope(v: Vectors, order: Shape, a: Any, b: Any, x: Any) -> Any:
    """From I_x(a, b) = x**a (1-x)**b / (a B(a, b)) / K, K a continued fraction."""
    jets = Jets(v, (order[0] + 1, order[1] + 1), x)
    one = jets.linear(jets.number(1.0))
    fraction = _lentz(v, jets, one, lambda n: _beta_levels(v, jets, a, b, x, n))
    fraction = jets.times(fraction, jets.linear(a, 1.0))
    coefficient = jets.over(jets.exp(_beta_exponent(v, jets, a, b, x)), fraction)
    factor = math.factorial(order[0]) * math.factorial(order[1])
    return v.mul(jets.number(factor), coefficient[jets.places[-1]])


def _beta_levels(v: Vectors, jets: Jets, a: Any, b: Any, x: Any, n: Any) -> list[Any]:
    """The levels of turn n: the second one of m = n - 1, and the first one of m = n."""
    one, two = jets.number(1.0), jets.number(2.0)
    m = v.sub(n, one)
    twice = v.add(a, v.mul(two, m))
    unit = jets.linear(one)
    middle = jets.linear(twice, 1.0)
    after = jets.linear(v.add(twice, one), 1.0)
    top = jets.times(
        jets.linear(v.add(a, m), 1.0), jets.linear(v.add(v.add(a, b), m), 1.0, 1.0)
    )
    first = jets.scaled(jets.over(top, jets.times(middle, after)), v.neg(x))
    bottom = jets.times(after, jets.linear(v.add(twice, two), 1.0))
    second = jets.over(jets.linear(v.sub(b, n), None, 1.0), bottom)
    return [(first, unit), (jets.scaled(second, v.mul(n, x)), unit)]


def _beta_exponent(v: Vectors, jets: Jets, a: Any, b: Any, x: Any) -> Jet:
    powers = FUNCTIONS["log"](v, x), FUNCTIONS["log1p"](v, v.neg(x))
    start = v.add(v.mul(a, powers[0]), v.mul(b, powers[1]))
    exponent = {(0, 0): v.sub(start, call(v, "special.betaln", "ddd", a, b))}
    both = v.add(a, b)
    for i, j in jets.places[1:]:
        slope = _polygamma(v, i + j, both)
        if not (i and j):
            own, power = (a, powers[0]) if i else (b, powers[1])
            slope = v.sub(slope, _polygamma(v, i + j, own))
            if i + j == 1:
                slope = v.add(slope, power)
        below = math.factorial(i) * math.factorial(j)
        exponent[i, j] = v.div(slope, jets.number(below))
    return exponent


# -- zeta -----------------------------------------------


def _zeta_grad(v: Vectors, order: int, s: Any, q: Any) -> Any:
    """The derivative of zeta(s, q) in s > 1, for q > 0, by Euler and Maclaurin's formula."""
    jets = Jets(v, (order + 1, 1), s)
    zero, one, half = (jets.number(c) for c in (0.0, 1.0, 0.5))
    finite = v.compare("lt", s, jets.number(math.inf))
    valid = v.builder.and_(v.compare("gt", s, one), v.compare("gt", q, zero))
    valid = v.builder.and_(valid, finite)
    s, q = v.select(valid, s, jets.number(2.0)), v.select(valid, q, one)
    count = v.add(v.trunc(s), jets.number(16.0))

    def power(base: Any) -> Jet:
        slope = v.neg(FUNCTIONS["log"](v, base))
        return jets.exp(jets.linear(v.mul(s, slope), slope))

    def turn(n: Any, total: Sequence[Any]) -> tuple[Any, Any]:
        inside = v.compare("le", n, count)
        term = jets.filled(power(v.add(q, v.sub(n, one))))
        following = [
            v.add(t, v.select(inside, part, zero)) for t, part in zip(total, term, strict=True)
        ]
        return following, v.compare("lt", n, count)

    total = jets.of(_until(v, [zero] * len(jets.places), turn))
    end = v.add(q, count)
    last = power(end)
    tail = jets.over(jets.scaled(last, end), jets.linear(v.sub(s, one), 1.0))
    total = jets.plus(total, jets.plus(tail, jets.scaled(last, half)))
    inverse = v.div(one, end)
    rising = jets.times(jets.scaled(last, inverse), jets.linear(s, 1.0))
    for j, weight in enumerate(BERNOULLI, 1):
        total = jets.plus(total, jets.scaled(rising, jets.number(weight)))
        for k in (2 * j - 1, 2 * j):
            following = jets.linear(v.add(s, jets.number(float(k))), 1.0)
            rising = jets.scaled(jets.times(rising, following), inverse)
    out = v.mul(jets.number(math.factorial(order)), total[jets.places[-1]])
    return v.select(valid, out, jets.number(math.nan))


# -- the table -----------------------------------------------


def _apart(name: str, write: Emit, default: Any) -> Emit:
    """An element whose code is a function of the module, in float64, if it has an order."""

    def emit(v: Vectors, node: Apply, *operands: Any) -> Any:
        order = node.params.get("order", default)
        if not order:  # zeta itself
            return CALLS[name](v, node, *operands)
        wide = [x if v.is_double(x) else v.widen(x) for x in operands]
        function = _function(v, f"wengert.{name}.{order}.{v.lanes}", len(wide), write, order)
        out = v.builder.call(function, wide)
        return out if v.is_double(operands[0]) else narrowed(v, out, node.dtype)

    return emit


def _function(v: Vectors, name: str, arity: int, write: Emit, order: Any) -> Any:
    if name in v.module.globals:
        return v.module.globals[name]
    type_ = v.vector_of(ir.DoubleType())
    function = ir.Function(v.module, ir.FunctionType(type_, [type_] * arity), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    w = Vectors(builder, v.lanes, v.has_fma, v.has_avx512, v.use_symbol)
    builder.ret(write(w, order, *function.args))
    return function


TABLE: dict[str, Emit] = {
    "igamma_grad_a": _apart("igamma_grad_a", _igamma_grad_a, 1),
    "random_gamma_grad": _apart("random_gamma_grad", _random_gamma_grad, 1),
    "betainc_grad": _apart("betainc_grad", _betainc_grad, None),
    "zeta": _apart("zeta", _zeta_grad, 0),
}
