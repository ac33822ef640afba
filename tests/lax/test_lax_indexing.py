"""Gather and scatter with dimension numbers, against loops that follow their definition."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import wengert
from wengert import errors, lax


class Case:
    """Random dimension numbers with everything they are about.

    Attributes:
      shape, sizes: of the operand and of a window.
      window: dimensions of the result (or of the updates) that run over a window.
      dropped: dimensions of the operand that windows lack.
      mapped: dimensions of the operand that components of an index belong to.
      batching: pairs of dimensions, of operand and indices, that run along.
      indices: where windows start; some lie outside with `loose`.
    """

    def __init__(self, seed: int, loose: bool = False) -> None:
        rng = np.random.default_rng(seed)
        rank = 1 + seed % 4
        self.shape = tuple(int(n) for n in rng.integers(2, 5, rank))
        batch = [int(n) for n in rng.integers(1, 4, rng.integers(0, 3))]
        order = [int(d) for d in rng.permutation(rank)]
        along = order[: min(len(batch), rank - 1, int(rng.integers(0, 2)))]
        self.batching = tuple(zip(along, range(len(along)), strict=True))
        for d, i in self.batching:
            batch[i] = self.shape[d]
        rest = order[len(along) :]
        self.mapped = tuple(rest[: int(rng.integers(0, len(rest) + 1))])
        self.dropped = tuple(sorted(rest[int(rng.integers(0, len(rest) + 1)) :]))
        self.sizes = tuple(
            1 if d in self.dropped or d in along else int(rng.integers(1, n + 1))
            for d, n in enumerate(self.shape)
        )
        self.kept = [d for d in range(rank) if d not in self.dropped and d not in along]
        places = rng.permutation(len(batch) + len(self.kept))[: len(self.kept)]
        self.window = tuple(sorted(int(p) for p in places))
        highest = np.array([self.shape[d] - self.sizes[d] for d in self.mapped], int)
        low, high = (-2, highest + 2) if loose else (0, highest)
        self.indices = rng.integers(low, high + 1, (*batch, len(self.mapped)))
        self.rng = rng

    @property
    def numbers(self):
        """The fields of gather and scatter dimension numbers, which have one order."""
        along = tuple(d for d, _ in self.batching), tuple(i for _, i in self.batching)
        return self.window, self.dropped, self.mapped, *along

    @property
    def result_shape(self):
        batch = iter(self.indices.shape[:-1])
        size = dict(zip(self.window, (self.sizes[d] for d in self.kept), strict=True))
        rank = self.indices.ndim - 1 + len(self.kept)
        return tuple(size[d] if d in size else next(batch) for d in range(rank))

    def pairs(self, mode):
        """Positions (in the result, in the operand or None where it lies outside)."""
        for place in itertools.product(*map(range, self.result_shape)):
            row = tuple(p for d, p in enumerate(place) if d not in self.window)
            start = dict.fromkeys(range(len(self.shape)), 0)
            start.update(zip(self.mapped, self.indices[row].tolist(), strict=True))
            last = {d: self.shape[d] - self.sizes[d] for d in start}
            start.update({d: row[i] for d, i in self.batching})
            if mode == "clip":
                start.update({d: min(max(start[d], 0), last[d]) for d in self.mapped})
            inside = all(0 <= start[d] <= last[d] for d in self.mapped)
            for d, p in zip(self.kept, self.window, strict=True):
                start[d] += place[p]
            yield place, tuple(start.values()) if inside else None


def gathered(case, x, mode, fill):
    out = np.full(case.result_shape, fill)
    for place, source in case.pairs(mode):
        if source is not None:
            out[place] = x[source]
    return out


def scattered(case, x, updates, mode, combine):
    out = x.copy()
    for place, target in case.pairs(mode):
        if target is not None:
            out[target] = combine(out[target], updates[place])
    return out


SCATTERS = {
    "scatter_add": np.add,
    "scatter_sub": np.subtract,
    "scatter_mul": np.multiply,
    "scatter_min": np.minimum,
    "scatter_max": np.maximum,
}
SEEDS = range(40)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("mode", [None, "clip", "fill"])
def test_gather(seed, mode):
    case = Case(seed, loose=mode is not None)
    x = case.rng.normal(size=case.shape)
    numbers = lax.GatherDimensionNumbers(*case.numbers)

    def f(x):
        return lax.gather(x, case.indices, numbers, case.sizes, mode=mode, fill_value=7.0)

    expected = gathered(case, x, mode, 7.0)
    np.testing.assert_array_equal(f(x), expected)
    np.testing.assert_array_equal(wengert.jit(f)(x), expected)
    if seed % 5 == 0:
        np.testing.assert_array_equal(wengert.vmap(f)(np.stack([x, x]))[1], expected)
        wengert.testing.check_grads(f, (x,), 1)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", SCATTERS)
def test_scatter(seed, name):
    mode = (None, "clip", "drop")[seed % 3]
    case = Case(seed, loose=mode is not None)
    x = case.rng.normal(size=case.shape)
    updates = case.rng.normal(size=case.result_shape)
    numbers = lax.ScatterDimensionNumbers(*case.numbers)

    def f(x, updates):
        return getattr(lax, name)(x, case.indices, updates, numbers, mode=mode)

    expected = scattered(case, x, updates, mode, SCATTERS[name])
    np.testing.assert_allclose(f(x, updates), expected, atol=1e-12)
    if seed % 5 == 0:
        np.testing.assert_allclose(wengert.jit(f)(x, updates), expected, atol=1e-12)
        batch = np.stack([x, x]), np.stack([updates, updates])
        np.testing.assert_allclose(wengert.vmap(f)(*batch)[1], expected, atol=1e-12)
        wengert.testing.check_grads(f, (x, updates), 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_scatter_replaces_and_applies(seed):
    case = Case(seed)
    x, updates = case.rng.normal(size=case.shape), case.rng.normal(size=case.result_shape)
    numbers = lax.ScatterDimensionNumbers(*case.numbers)
    out = lax.scatter(x, case.indices, np.full_like(updates, 9.0), numbers)
    expected = scattered(case, x, np.full_like(updates, 9.0), None, lambda old, new: new)
    np.testing.assert_array_equal(out, expected)

    def double(indices):
        return lax.scatter_apply(
            x, indices, lambda v: lax.mul(v, 2.0), numbers, update_shape=updates.shape
        )

    expected = scattered(case, x, updates, None, lambda old, _: 2 * old)
    np.testing.assert_array_equal(double(case.indices), expected)
    np.testing.assert_array_equal(wengert.jit(double)(case.indices), expected)


VECTOR = lax.GatherDimensionNumbers((), (0,), (0,))
WINDOW = lax.GatherDimensionNumbers((1,), (), (0,))


def test_without_a_mode_out_of_bounds_is_an_error():
    x = np.arange(5.0)
    for numbers, start, sizes in ((VECTOR, 5, (1,)), (VECTOR, -6, (1,)), (WINDOW, 4, (2,))):
        indices = np.array([[0], [start]])
        for mode in (None, "promise_in_bounds", lax.GatherScatterMode.PROMISE_IN_BOUNDS):
            with pytest.raises(IndexError, match="out of bounds for axis 0"):
                lax.gather(x, indices, numbers, sizes, mode=mode)
        with pytest.raises(IndexError):
            wengert.jit(lambda i, n=numbers, s=sizes: lax.gather(x, i, n, s))(indices)
    numbers = lax.ScatterDimensionNumbers((), (0,), (0,))
    with pytest.raises(IndexError):
        lax.scatter_add(x, np.array([[5]]), np.ones(1), numbers)


def test_without_a_mode_negative_positions_count_from_the_end():
    x = np.arange(5.0)
    np.testing.assert_array_equal(lax.gather(x, np.array([[-1]]), VECTOR, (1,)), [4])
    np.testing.assert_array_equal(lax.gather(x, np.array([[-2]]), WINDOW, (2,)), [[3, 4]])
    np.testing.assert_array_equal(
        lax.gather(x, np.array([[-1]]), VECTOR, (1,), mode="clip"), [0]
    )


def test_fill_values():
    indices = np.array([[9]])
    for dtype, fill in ((np.float32, np.nan), (np.int16, -(2**15)), (np.uint8, 255)):
        out = lax.gather(np.ones(3, dtype), indices, VECTOR, (1,), mode="fill")
        assert out.dtype == dtype
        np.testing.assert_array_equal(out, np.array([fill], dtype))


def test_unsigned_indices():
    x = np.arange(300.0)
    indices = np.array([[200], [7]], np.uint8)
    for mode in (None, "clip", "fill"):
        np.testing.assert_array_equal(lax.gather(x, indices, VECTOR, (1,), mode=mode), [200, 7])


def test_modes_by_name():
    modes = lax.GatherScatterMode
    assert modes.from_any("clip") is modes.CLIP
    assert modes.from_any("fill") is modes.from_any("drop") is modes.FILL_OR_DROP
    assert modes.from_any(modes.ONE_HOT) is modes.ONE_HOT
    with pytest.raises(ValueError, match="unknown"):
        modes.from_any("nearest")


REFUSED = {
    "window too large": (WINDOW, (6,), np.zeros((1, 1), int)),
    "components": (WINDOW, (2,), np.zeros((1, 2), int)),
    "no such dimension": (VECTOR._replace(start_index_map=(1,)), (1,), np.zeros((1, 1), int)),
    "collapsed window": (VECTOR, (2,), np.zeros((1, 1), int)),
    "offset dims": (WINDOW._replace(offset_dims=(2,)), (2,), np.zeros((1, 1), int)),
    "offset count": (WINDOW._replace(offset_dims=()), (2,), np.zeros((1, 1), int)),
    "batching": (VECTOR._replace(operand_batching_dims=(0,)), (1,), np.zeros((1, 1), int)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_dimension_numbers_that_do_not_fit(name):
    numbers, sizes, indices = REFUSED[name]
    with pytest.raises(errors.ShapeError):
        lax.gather(np.arange(5.0), indices, numbers, sizes)


def test_indices_are_integers():
    with pytest.raises(errors.DTypeError, match="integer"):
        lax.gather(np.arange(5.0), np.zeros((1, 1)), VECTOR, (1,))


def test_updates_must_fit():
    numbers = lax.ScatterDimensionNumbers((), (0,), (0,))
    with pytest.raises(errors.ShapeError, match="batch dimensions"):
        lax.scatter_add(np.arange(5.0), np.zeros((2, 1), int), np.ones(3), numbers)
    with pytest.raises(errors.DTypeError):
        lax.scatter_add(np.arange(5.0), np.zeros((1, 1), int), np.ones(1, np.float32), numbers)
