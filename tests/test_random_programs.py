"""Laws that hold for every function, on a few hundred random ones."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from wengert.core import dtypes, tree
from wengert.core.array import Array
from wengert.testing import check_grads, numeric, random_program, random_programs

CHUNK = 10


def arrays(values):
    return [Array(np.asarray(v)[()]) for v in values]


def flat(out):
    return [np.asarray(leaf) for leaf in tree.leaves(out)]


def same(got, expected, program):
    got, expected = flat(got), flat(expected)
    types = [(v.shape, v.dtype) for v in got], [(v.shape, v.dtype) for v in expected]
    assert types[0] == types[1], f"{types[0]} instead of {types[1]}\n{program}"
    tolerance = {8: 1e-9, 4: 1e-4, 2: 5e-2}[precision(program)]
    close = numeric.same(got, expected, tolerance, floor=1.0)
    assert close, f"{got}\n instead of\n{expected}\n{program}"


def precision(program):
    """Bytes of the least precise real dtype that a program computes in."""
    values = list(program.args)
    for step in program.steps:
        values.append(step.function(*arrays(values[i] for i in step.operands)))
    return numeric.real_bytes([np.asarray(v) for v in values])


def inexact(f):
    """Only the results that carry derivatives."""
    return lambda *args: [out for out in f(*args) if dtypes.is_inexact(out.dtype)]


def run_laws(program):
    args = arrays(program.args)
    out = program(*args)
    same(wg.jit(program)(*args), out, program)
    made = wg.make_program(program)(*args)
    made.check()
    same(made.evaluate(*args), out, program)
    batched_equals_loop(program, program)
    f = inexact(program)
    if f(*args) and all(dtypes.is_inexact(a.dtype) for a in args):
        derivatives_agree(f, args, program)


def batched_equals_loop(f, program):
    rows = [
        arrays(np.roll(a.reshape(-1), k).reshape(a.shape) for a in program.args)
        for k in range(3)
    ]
    stacks = [
        np.stack([np.asarray(x) for x in column], -1) for column in zip(*rows, strict=True)
    ]
    got = wg.vmap(f, in_axes=-1)(*arrays(stacks))
    loop = [flat(f(*row)) for row in rows]
    same(got, [np.stack(column) for column in zip(*loop, strict=True)], program)


def derivatives_agree(f, args, program):
    rng = np.random.default_rng(0)
    tangents = tuple(arrays(numeric.random_like(rng, a) for a in args))
    out, pushed = wg.jvp(f, tuple(args), tangents)
    same(wg.linearize(f, *args)[1](*tangents), pushed, program)
    cotangents = arrays(numeric.random_like(rng, o) for o in out)
    pull = lambda *xs: wg.vjp(f, *xs)[1](cotangents)
    pulled = pull(*args)
    left, right = (
        numeric.pairing(cotangents, flat(pushed)),
        numeric.pairing(flat(pulled), tangents),
    )
    scale = numeric.pairing_scale(cotangents, flat(pushed))
    scale += numeric.pairing_scale(flat(pulled), tangents)
    tolerance = {8: 1e-9, 4: 1e-3, 2: 0.1}[precision(program)]
    assert abs(left - right) <= tolerance * (1 + scale), f"{left} != {right}\n{program}"
    same(wg.jit(pull)(*args), pulled, program)
    same(wg.vjp(wg.jit(f), *args)[1](cotangents), pulled, program)
    same(wg.vjp(wg.checkpoint(f), *args)[1](cotangents), pulled, program)
    batched_equals_loop(lambda *xs: wg.jvp(f, xs, tangents)[1], program)
    batched_equals_loop(pull, program)


@pytest.mark.parametrize("seed", range(0, 240, CHUNK))
def test_double_precision(seed):
    for program in random_programs(CHUNK, seed, length=14):
        run_laws(program)
        f = inexact(program)
        try:
            check_grads(f, program.args, 1)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{program}") from None


@pytest.mark.parametrize("seed", range(1000, 1040, CHUNK))
def test_complex(seed):
    for program in random_programs(CHUNK, seed, length=12, dtypes=("complex128", "float64")):
        run_laws(program)


@pytest.mark.parametrize("seed", range(2000, 2060, CHUNK))
def test_mixed_dtypes(seed):
    kinds = ("float32", "int32", "bool", "float64", "uint8", "float16", "bfloat16")
    for program in random_programs(CHUNK, seed, length=10, inputs=3, dtypes=kinds):
        run_laws(program)


@pytest.mark.parametrize("seed", range(3000, 3010))
def test_second_order(seed):
    program = random_program(seed, length=8)
    check_grads(inexact(program), program.args, 2)


def test_same_seed_gives_same_program():
    one, two = random_program(5), random_program(5)
    assert str(one) == str(two)
    np.testing.assert_array_equal(one.args[0], two.args[0])
    assert str(one) != str(random_program(6))


def test_programs_print_as_python():
    program = random_program(7, length=5)
    text = str(program)
    assert text.startswith("def f(x0, x1):")
    assert text.count("\n") == 6
    scope = {"np": wg.numpy}
    exec(text, scope)
    same(scope["f"](*arrays(program.args)), program(*arrays(program.args)), program)
