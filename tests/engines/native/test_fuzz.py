"""Random programs: machine code against the eager engine, and what such programs have found."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from ml_dtypes import bfloat16

import wengert as wg
import wengert.numpy as wnp
from wengert.core.array import Array
from wengert.engines.native import elements
from wengert.testing.fuzzing import (
    WAYS,
    Disagreement,
    as_code,
    check,
    check_function,
    primitive,
    random_case,
    shrink,
)

CHUNK = 10


def check_all(seeds, way="plain", engine="native"):
    for seed in seeds:
        case = random_case(seed)
        try:
            check(case, way, engine)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}\n{case.program}") from error


@pytest.mark.parametrize("start", range(0, 200, CHUNK))
def test_programs(start):
    check_all(range(start, start + CHUNK))


@pytest.mark.parametrize("start", range(1000, 1040, CHUNK))
@pytest.mark.parametrize("way", [w for w in WAYS if w != "plain"])
def test_transformed_programs(way, start):
    check_all(range(start, start + CHUNK), way)


@pytest.mark.parametrize("start", range(2000, 2040, CHUNK))
@pytest.mark.parametrize("engine", ["quick", "baseline", "checked"])
def test_other_builds(engine, start):
    check_all(range(start, start + CHUNK), engine=engine)


@pytest.mark.parametrize("start", range(3000, 3030, CHUNK))
def test_calls_as_users_make_them(start):
    """Through `jit`, alone and under transformations, with the cache on disk."""
    for seed in range(start, start + CHUNK):
        case = random_case(seed)
        given = [Array(v) for v in case.values]
        try:
            expected = case.program.evaluate(*given)
        except IndexError:
            with pytest.raises(IndexError):
                wg.jit(case.program.evaluate)(*given)
            continue
        f = wg.jit(case.program.evaluate)
        for out in (f(*given), f(*given)):
            for x, y in zip(out, expected, strict=True):
                assert (x.shape, x.dtype) == (y.shape, y.dtype), f"{seed}\n{case.program}"


# -- the generator ---------------------------------------------------------------------------


def test_same_seed_gives_same_case():
    one, two = random_case(11), random_case(11)
    assert str(one.program) == str(two.program)
    assert all(
        np.asarray(x).tobytes() == np.asarray(y).tobytes()
        for x, y in zip(one.values, two.values, strict=True)
    )


def test_programs_are_varied():
    names, dtypes, ranks = set(), set(), set()
    for seed in range(400):
        program = random_case(seed).program
        for equation in program.equations:
            names.add(equation.primitive.name)
            dtypes.update(v.type.dtype.name for v in equation.outputs)
            ranks.update(v.type.ndim for v in equation.outputs)
    assert len(names) > 110
    assert len(dtypes) == 15
    assert {0, 1, 2, 3, 4} <= ranks
    assert {"cond", "scan", "while", "gather", "dot_general", "sort", "scatter_add"} <= names


def test_printed_cases_run():
    for seed in range(40):
        exec(as_code(random_case(seed)), {})


def test_a_wrong_engine_is_noticed_and_made_small(monkeypatch):
    monkeypatch.setitem(elements.TABLE, "floor", elements.TABLE["ceil"])

    def fails(case):
        try:
            check(case)
        except Disagreement:
            return True
        return False

    wrong = next(c for c in map(random_case, range(500)) if fails(c))
    small = shrink(wrong, fails)
    assert [e.primitive.name for e in small.program.equations] == ["floor"]
    assert sum(np.asarray(v).size for v in small.values) <= 16
    assert "p('floor')" in as_code(small)


def test_rounding_is_explained_but_nothing_else():
    x = np.linspace(0.1, 3, 50)
    function = lambda x: [wnp.sum(wnp.exp(x) - wnp.exp(x[::-1]))]
    check_function(function, [x])


def test_the_command(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "wengert.testing.fuzzing", "--programs", "4", "--seed", "6"],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        cwd=tmp_path,
    )
    assert re.search(r"4 programs in \d+ s, 0 failures", run.stdout)


# -- what has been found -----------------------------------------------------------------------

p = primitive
i32 = np.int32


def test_no_bits_are_not_all_bits():
    for dtype in (np.int8, np.int64, np.uint8):
        x = np.array([1, 2, 3], dtype)
        check_function(lambda x: [p("bitwise_and")(x, 0), p("bitwise_or")(x, 0)], [x])
    check_function(lambda x: [p("bitwise_and")(x, -1), p("bitwise_or")(x, -1)], [i32([1, 2])])


@pytest.mark.parametrize("mode", ["error", "clip", "wrap", "fill", "drop"])
@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.int16])
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (0, 0)])
def test_gathers_from_nothing(mode, dtype, shape):
    x = np.zeros(shape, dtype)
    for index in (i32([0]), i32([5, -9]), np.zeros((0,), i32)):
        for axis in range(len(shape)):
            gather = lambda x, i, a=axis: [p("gather")(x, i, axes=(a,), mode=mode)]
            check_function(gather, [x, index])


@pytest.mark.parametrize("name", ["scatter", "scatter_add", "scatter_mul"])
def test_scatters_into_nothing(name):
    x, updates = np.zeros((1, 0, 2)), np.zeros((1, 1, 2))
    for index in (i32([0]), i32([3])):
        for mode in ("error", "drop"):
            scatter = lambda x, u, i, m=mode: [p(name)(x, u, i, axes=(1,), mode=m)]
            check_function(scatter, [x, updates, index])


@pytest.mark.parametrize("sizes", [(1, 0), (0, 1), (2, 0)])
def test_slices_without_elements_are_checked(sizes):
    x = np.zeros((2, 3), np.float32)
    for starts in ((0, 0), (1, 1), (3, 0), (0, 4)):
        given = [x, *map(i32, starts)]
        for mode in ("error", "clip"):
            take = lambda x, *s, m=mode: [p("dynamic_slice")(x, *s, slice_sizes=sizes, mode=m)]
            check_function(take, given)


def test_positions_are_checked_where_the_value_is_the_same_everywhere():
    spread = lambda x: p("broadcast_in_dim")(x, shape=(2,), broadcast_dimensions=())
    for index in (i32([1]), i32([2])):
        check_function(lambda x, i: [p("gather")(spread(x), i, axes=(0,))], [2.5, index])
        take = lambda x, i: [p("dynamic_slice")(spread(x), i[0], slice_sizes=(1,))]
        check_function(take, [2.5, index])


def test_slices_at_known_positions_have_plain_numbers():
    start = Array(np.uint8(1))
    take = lambda x: [p("dynamic_slice")(x, start, slice_sizes=(7,), mode="clip")]
    check_function(take, [np.arange(8)])


def test_errors_are_found_without_warnings():
    """The eager engine, which finds the error, computes invalid values on the way."""
    function = lambda x, i: [wnp.sqrt(x), p("gather")(x, i, axes=(0,))]
    check_function(function, [np.array([-1.0, 2.0]), i32([7])])


def test_bfloat16_literals():
    x = np.array([0.5, -1.0, 3.0], bfloat16)
    check_function(lambda x: [x * 0.1, wnp.maximum(x, 0.3)], [x])


def test_integers_that_pass_through_floats_saturate():
    x = np.array([-1606859008, 300, -5, 2**31 - 1], i32)
    for wide in (np.float64, np.float32):
        for narrow in (np.int8, np.uint8, np.int16, np.uint32, np.int64):
            dtypes = np.dtype(wide), np.dtype(narrow)
            through = lambda x, d=dtypes: [
                p("convert")(p("convert")(x, dtype=d[0]), dtype=d[1])
            ]
            check_function(through, [x])


@pytest.mark.parametrize("engine", ["native", "baseline", "checked"])
def test_choices_by_computed_positions_read_inside_arrays(engine):
    x, y = np.arange(16.0), np.arange(40.0)
    at = np.arange(0, 56, 5).astype(i32)
    joined = lambda x, y, i: [p("gather")(wnp.concatenate([x, y]), i, axes=(0,), mode="fill")]
    check_function(joined, [x, y, at], engine=engine)
    padded = lambda x, y, i: [
        p("dynamic_slice")(
            wnp.pad(x.reshape(4, 4), ((20, 300), (2, 2))), i[1], i[0], slice_sizes=s
        )
        for s in ((9, 3), (40, 8))
    ]
    check_function(padded, [x, y, at], engine=engine)


def test_positions_in_the_part_that_is_not_chosen_are_no_error():
    """A slice that is moved, with padding around it, at positions of a batch."""
    first, filler = Array(np.int64(-4)), Array(np.int16(-4))

    def function(x, i, j):
        moved = p("dynamic_slice")(x, first, i, slice_sizes=(2, 2), mode="clip")
        padded = p("pad")(moved, filler, padding_config=((0, 3, 0), (0, 0, 0)))
        return [p("gather")(padded, j, i[None], axes=(1, 0), mode="fill", fill_value=1)]

    values = [np.zeros((2, 2), np.int16), np.int64(0), np.array([0, 2], i32)]
    for way in ("plain", "batched"):
        check_function(function, values, way)


@pytest.mark.parametrize("narrow", [np.int32, np.int16, np.int8, np.uint8])
@pytest.mark.parametrize("wide", [np.int64, np.int32])
def test_single_lanes_that_are_narrowed(wide, narrow):
    """LLVM makes a store of the wide element of a masked store of one truncated lane."""
    convert = lambda x: p("convert")(x, dtype=np.dtype(narrow))
    for n in (1, 9, 17, 33):
        x, y = np.ones((17, 2), wide), np.full((n, 17), 2, wide)
        function = lambda x, y: [
            convert(wnp.concatenate([x[:, :1], x, x[:, 1:]], axis=1)),
            convert(y.T),
            convert(wnp.concatenate([y, y + 1, y[:1]], axis=0)),
        ]
        check_function(function, [x, y], engine="checked")
        check_function(function, [x, y])


def test_conversions_to_bfloat16_round_as_numpy_does():
    """By way of float32, so some are rounded twice."""
    half = np.array([18.8125, 18.8125 + 1e-9, 18.8125 - 1e-9, 18.81251, np.nan])
    whole = (2**30 + 2**22 + np.arange(-1, 2)).astype(np.int64)
    for x in (half, half + 0j, whole, whole.astype(i32), half.astype(np.float32)):
        for dtype in (np.dtype(bfloat16), np.dtype(np.float16)):
            check_function(lambda x, d=dtype: [p("convert")(x, dtype=d)], [x])


def test_masked_zeros_keep_their_sign():
    x = np.array([0.0, -0.0, 0.0, 1.0])
    for factor in (-1.0, np.nan, np.inf):
        y = np.array([-1.0, -2.0, factor, 1.0])
        check_function(lambda x, y: [p("masked_mul")(x, y)], [x, y])
