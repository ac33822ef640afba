"""Rules of simplification: what they make shorter, and what they must leave alone."""

from __future__ import annotations

import numpy as np
import pytest
from passes.checks import array, check_pass, names, same_bits, traced

import wengert.numpy as wnp
from wengert import lax
from wengert.core.program import Literal
from wengert.passes.dce import eliminate
from wengert.passes.simplify import simplify
from wengert.primitives import basis, cast, compare, elementwise, reduce, shape
from wengert.primitives.index import gather
from wengert.primitives.transcendental import pow

F32 = np.dtype(np.float32)
X = np.array([[1.5, -2.0, 0.0], [-0.0, 3.0, 1e-40]], np.float32)
I = np.arange(6, dtype=np.int32).reshape(2, 3)
STACK = wnp.arange(27.0).reshape(3, 3, 3)
B = np.array([[True, False, True], [False, False, True]])
Z = np.array([1 + 2j, -0.0 - 1j], np.complex64)


def simplified(f, *args):
    program = traced(f, *args)
    new = check_pass(simplify, program, [array(a)._value for a in args])
    return eliminate(new)


def filled(shape, value, dtype=np.float32):
    return basis.full(shape=shape, value=value, dtype=np.dtype(dtype))


def select_twice(pred, x):
    return compare.select(pred, compare.select(pred, x, 1), 2)


def twice(product):
    return product + product.T


def ones(like):
    return filled(np.shape(like), 1)


IDENTITIES = {
    "x * 1": (lambda x: basis.mul(x, 1), X),
    "1 * x": (lambda x: basis.mul(1, x), X),
    "x * ones": (lambda x: basis.mul(x, ones(X)), X),
    "ones masked_mul x": (lambda x: basis.masked_mul(ones(X), x), X),
    "x masked_mul 1": (lambda x: basis.masked_mul(x, ones(X)), X),
    "x / 1": (lambda x: elementwise.div(x, 1), X),
    "x - 0.0": (lambda x: elementwise.sub(x, 0.0), X),
    "x + -0.0": (lambda x: basis.add(x, -0.0), X),
    "integer x + 0": (lambda x: basis.add(x, 0), I),
    "integer x - 0": (lambda x: elementwise.sub(x, 0), I),
    "--x": (lambda x: basis.neg(basis.neg(x)), X),
    "x ** 1": (lambda x: elementwise.integer_pow(x, y=1), X),
    "pow(x, 1)": (lambda x: pow(x, 1), X),
    "convert to the same": (lambda x: cast.convert(x, dtype=F32), X),
    "there and back": (
        lambda x: cast.convert(cast.convert(x, dtype=np.dtype(np.float64)), dtype=F32),
        X,
    ),
    "copy": (cast.copy, X),
    "stop_gradient": (cast.stop_gradient, X),
    "conj of reals": (cast.conj, X),
    "conj of conj": (lambda x: cast.conj(cast.conj(x)), Z),
    "real of complex": (lambda x: cast.real(cast.make_complex(x, 0)), X),
    "max(x, x)": (lambda x: elementwise.maximum(x, x), X),
    "floor of integers": (compare.floor, I),
    "x & x": (lambda x: compare.bitwise_and(x, x), I),
    "x & True": (lambda x: compare.bitwise_and(x, True), B),
    "x & -1": (lambda x: compare.bitwise_and(x, -1), I),
    "x | 0": (lambda x: compare.bitwise_or(x, 0), I),
    "x ^ 0": (lambda x: compare.bitwise_xor(x, 0), I),
    "not not x": (lambda x: compare.bitwise_not(compare.bitwise_not(x)), B),
    "x << 0": (lambda x: compare.shift_left(x, 0), I),
    "select of the same": (lambda x: compare.select(x > 0, x, x), X),
    "select by true": (lambda x: compare.select(filled((), True, bool), x, 0), X),
    "select of true and false": (lambda x: compare.select(x, filled((), True, bool), False), B),
    "reshape to the same": (lambda x: basis.reshape(x, shape=(2, 3)), X),
    "reshape and back": (lambda x: x.reshape(6).reshape(2, 3), X),
    "transpose of transpose": (lambda x: x.T.T, X),
    "broadcast to the same": (
        lambda x: basis.broadcast_in_dim(x, shape=(2, 3), broadcast_dimensions=(0, 1)),
        X,
    ),
    "slice of all": (lambda x: x[0:2, :], X),
    "slice of what was padded": (lambda x: wnp.pad(x, 1)[1:3, 1:4], X),
    "slice of what was joined": (lambda x: wnp.concatenate([x, x + 1])[:2], X),
    "slices joined": (lambda x: wnp.concatenate([x[:1], x[1:]]), X),
    "pad by nothing": (lambda x: wnp.pad(x, 0), X),
    "concatenate one": (lambda x: wnp.concatenate([x]), X),
    "concatenate empty": (lambda x: wnp.concatenate([x, x[:0]]), X),
    "rev of rev": (lambda x: shape.rev(shape.rev(x, dimensions=(1,)), dimensions=(1,)), X),
    "rev of nothing": (lambda x: shape.rev(x, dimensions=()), X),
    "max over nothing": (lambda x: reduce.reduce_max(x, axes=()), X),
}  # fmt: skip


@pytest.mark.parametrize("name", IDENTITIES)
def test_identities_vanish(name):
    f, x = IDENTITIES[name]
    program = simplified(f, x)
    assert program.equations == ()
    assert program.outputs == program.inputs


SHORTER = {
    "x + -y": (lambda x, y: x + -y, ["sub"]),
    "-x + y": (lambda x, y: -x + y, ["sub"]),
    "x - -y": (lambda x, y: x - -y, ["add"]),
    "-x * -y": (lambda x, y: -x * -y, ["mul"]),
    "-x / -y": (lambda x, y: -x / -y, ["div"]),
    "x * -1": (lambda x, y: x * -1, ["neg"]),
    "x / -1": (lambda x, y: x / -1, ["neg"]),
    "x / 4": (lambda x, y: x / 4, ["mul"]),
    "-(x * 3)": (lambda x, y: -(x * 3), ["mul"]),
    "-x * 3": (lambda x, y: -x * 3, ["mul"]),
    "1 / x": (lambda x, y: 1 / x, ["reciprocal"]),
    "square of neg": (lambda x, y: elementwise.square(-x), ["square"]),
    "abs of abs": (lambda x, y: abs(abs(x)), ["abs"]),
    "x ** 2": (lambda x, y: elementwise.integer_pow(x, y=2), ["square"]),
    "x ** -1": (lambda x, y: elementwise.integer_pow(x, y=-1), ["reciprocal"]),
    "pow(x, 0.5)": (lambda x, y: pow(x, 0.5), ["sqrt"]),
    "not equal": (lambda x, y: ~(x == y), ["ne"]),
    "select by not": (lambda x, y: wnp.where(~(x > y), x, y), ["gt", "select"]),
    "select of select": (lambda x, y: select_twice(x > y, x), ["gt", "select"]),
    "broadcast operand": (lambda x, y: wnp.broadcast_to(x[0], (2, 3)) * y, ["slice", "mul"]),
    "filled operand": (lambda x, y: filled((2, 3), 2) * y, ["mul"]),
    "narrow product": (
        lambda x, y: wnp.broadcast_to(x[0], (2, 3)) * 2 + y,
        ["slice", "mul", "add"],
    ),
    "reshape of broadcast": (
        lambda x, y: wnp.broadcast_to(x, (4, 2, 3)).reshape(4, 1, 2, 3),
        ["broadcast_in_dim"],
    ),
    "transpose of broadcast": (
        lambda x, y: wnp.broadcast_to(x, (4, 2, 3)).transpose(1, 2, 0),
        ["broadcast_in_dim"],
    ),
    "slice of broadcast": (
        lambda x, y: wnp.broadcast_to(x, (4, 2, 3))[1:3],
        ["broadcast_in_dim"],
    ),
    "slice of slice": (lambda x, y: x[:, 1:][:, 1:], ["slice"]),
    "pad of pad": (lambda x, y: wnp.pad(wnp.pad(x, 1), 2), ["pad"]),
    "pad that cuts": (
        lambda x, y: shape.pad(x, filled((), 5), padding_config=((0, -1, 0), (-1, 0, 0))),
        ["slice"],
    ),
    "transpose of a row": (lambda x, y: x[:1].T, ["slice", "reshape"]),
    "product with a permuted matrix": (lambda x, y: x @ y.T, ["dot_general"]),
    "product of permuted matrices": (lambda x, y: x.T @ y.T.T, ["dot_general"]),
    "permuted product": (lambda x, y: (x @ y.T).T, ["dot_general"]),
    "product read twice": (
        lambda x, y: twice(x @ y.T),
        ["dot_general", "transpose", "add"],
    ),
    "product of permuted stacks": (
        lambda x, y: wnp.einsum("bij,bjk->bik", STACK.transpose(1, 0, 2), STACK + x[0, 0]),
        ["slice", "reshape", "add", "dot_general"],
    ),
    "finite and infinite": (
        lambda x, y: compare.select((x == 0.0) & compare.isinf(x), y, x * 2),
        ["mul"],
    ),
    "there and elsewhere": (
        lambda x, y: cast.convert(
            cast.convert(x, dtype=np.dtype(np.float64)), dtype=np.dtype(np.float16)
        ),
        ["convert"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SHORTER)
def test_shorter_forms(name):
    f, expected = SHORTER[name]
    assert names(simplified(f, X, X[::-1].copy())) == expected


KEPT = {
    "x * 0": (lambda x: x * 0, X),
    "x + 0.0": (lambda x: x + 0.0, X),
    "0.0 - x": (lambda x: 0.0 - x, X),
    "x - -0.0": (lambda x: elementwise.sub(x, -0.0), X),
    "x - x": (lambda x: x - x, X),
    "x / x": (lambda x: x / x, X),
    "x / 3": (lambda x: x / 3, X),
    "x == x": (lambda x: compare.eq(x, x), X),
    "-(x - 1)": (lambda x: -(x - 1), X),
    "complex * 1": (lambda z: basis.mul(z, 1), Z),
    "complex + 0": (lambda z: basis.add(z, 0), Z),
    "narrowing and back": (
        lambda x: cast.convert(cast.convert(x, dtype=np.dtype(np.float16)), dtype=F32),
        X,
    ),
    "integers through floats": (
        lambda x: cast.convert(cast.convert(x, dtype=F32), dtype=np.dtype(np.int32)),
        I,
    ),
    "not less": (lambda x: ~(x < 1), X),
    "sum over one": (lambda x: basis.reduce_sum(x[:1], axes=(0,)), X),
    "barrier": (lambda x: lax.optimization_barrier(x), X),
    "slice of padding": (lambda x: wnp.pad(x, 1)[:2], X),
    "zero masked_mul": (lambda x: basis.masked_mul(x, x), X),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_is_not_exact_is_left(name):
    f, x = KEPT[name]
    program = traced(f, x)
    kept = names(check_pass(simplify, program, [x]))
    if name == "slice of padding":
        assert kept == ["pad", "slice"]
    else:
        assert kept == names(program)


CONSTANTS = {
    "arithmetic": (lambda: filled((), 2) * 3 + 1, np.float32(7)),
    "root": (lambda: wnp.sqrt(filled((), 2)), np.sqrt(np.float32(2))),
    "negative zero": (lambda: -filled((), 0), np.float32(-0.0)),
    "sum of ones": (lambda: wnp.sum(filled((4, 5), 1)), np.float32(20)),
    "greatest": (lambda: reduce.reduce_max(filled((3,), 2), axes=(0,)), np.float32(2)),
    "comparison": (lambda: filled((), 2) > 1, np.bool_(True)),
    "conversion": (lambda: filled((), 2.7).astype(np.int32), np.int32(2)),
    "not a number": (lambda: wnp.log(filled((), -1)), np.float32(np.nan)),
}  # fmt: skip


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_are_computed(name):
    f, expected = CONSTANTS[name]
    program = simplified(f)
    assert program.equations == ()
    [literal] = program.outputs
    assert isinstance(literal, Literal)
    assert same_bits(literal.value._value, expected)


def test_arrays_of_one_value_stay_symbolic():
    program = simplified(
        lambda: wnp.broadcast_to(wnp.ones((3, 1)) * 2, (3, 1000)).T.reshape(-1)
    )
    assert names(program) == ["full"]
    assert program.equations[0].params["value"] == 2.0


def test_small_captured_arrays_are_computed_with():
    eye = np.eye(3, dtype=np.float32)
    program = simplified(lambda x: x + (array(eye) * 2)[1:], X)
    assert names(program) == ["add"]
    [constant] = program.constant_values
    np.testing.assert_array_equal(constant, eye[1:] * 2)


def test_large_captured_arrays_are_not():
    large = array(np.arange(10_000, dtype=np.float32))
    program = simplified(lambda x: wnp.sum(large * 2) + x, X)
    assert "mul" in names(program)


def test_errors_in_constants_are_left_to_run():
    index = array(np.array([7]))
    values = array(np.arange(3.0))
    program = traced(lambda x: [x, gather(values, index, axes=(0,), mode="error")], X)
    assert "gather" in names(simplify(program))


def test_types_of_outputs_stay_and_weak_flags_follow_inside():
    weak = 1.5
    program = traced(
        lambda x: [cast.convert(x, dtype=F32) * 2, cast.convert(x, dtype=F32)], weak
    )
    new = check_pass(simplify, program, [np.float32(1.5)])
    assert [t.weak_type for t in new.out_types] == [False, False]


def test_lines_of_the_user_stay():
    program = traced(lambda x: wnp.sin(x + -x) * 1, X)
    lines = {e.primitive.name: e.location for e in simplify(program).equations}
    assert lines["sub"] is not None
    assert lines["sin"] == program.equations[2].location
