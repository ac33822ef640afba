"""Keys: the class, raw and typed ones, transformations of them, reuse, and errors."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest

import wengert
import wengert.numpy as wnp
from wengert import errors, random, tree_util
from wengert.primitives import threefry
from wengert.random import reuse

PARTITIONABLE = "threefry2x32_partitionable"


class TestKeyArray:
    def test_shape(self):
        keys = random.split(random.key(0), (2, 3))
        assert (keys.shape, keys.ndim, keys.size, len(keys)) == ((2, 3), 2, 6, 2)
        assert random.key(0).shape == ()
        assert random.key_data(keys).shape == (2, 3, 2)

    def test_indexing_never_reaches_into_the_words(self):
        keys = random.split(random.key(0), (2, 3))
        data = np.asarray(random.key_data(keys))
        for index in (0, -1, (1, 2), slice(1), (..., 1), (slice(None), 0), (None, 1), ()):
            got = np.asarray(random.key_data(keys[index]))
            np.testing.assert_array_equal(got, data[index] if index != (..., 1) else data[:, 1])
        chosen = keys[wnp.array([1, 0, 1])]
        np.testing.assert_array_equal(random.key_data(chosen), data[[1, 0, 1]])
        for index in ((0, 0, 0), 2, (0, 3)):
            with pytest.raises(IndexError):
                keys[index]

    def test_iteration(self):
        keys = random.split(random.key(3), 3)
        assert [k.shape for k in keys] == [(), (), ()]
        assert [
            bool(k == one) for k, one in zip(keys, (keys[0], keys[1], keys[2]), strict=True)
        ]
        for single in (iter, len):
            with pytest.raises(TypeError):
                single(random.key(0))

    def test_reshape(self):
        keys = random.split(random.key(0), 6)
        assert keys.reshape(2, 3).shape == keys.reshape((2, -1)).shape == (2, 3)
        assert keys.reshape(2, 3).flatten().shape == keys.ravel().shape == (6,)
        with pytest.raises(errors.ShapeError):
            keys.reshape(4, -1)

    def test_comparison(self):
        keys = random.split(random.key(0), 3)
        assert (keys == keys[1]).tolist() == [False, True, False]
        assert (keys != keys[1]).tolist() == [True, False, True]
        with pytest.raises(TypeError, match="fry_partitionable"):
            _ = random.key(0) == random.key(0, impl=PARTITIONABLE)
        assert (random.key(0) == 3) is False

    def test_repr(self):
        assert repr(random.key(7)) == "Array((), dtype=key<fry>) overlaying:\n[0 7]"
        text = repr(random.key(7, impl=PARTITIONABLE))
        assert text == "Array((), dtype=key<fry_partitionable>) overlaying:\n[0 7]"

    def test_copies(self):
        keys = random.split(random.key(0), 2)
        for other in (copy.deepcopy(keys), pickle.loads(pickle.dumps(keys))):
            assert (other == keys).tolist() == [True, True]

    def test_keys_are_not_numbers(self):
        keys = random.split(random.key(0))
        for use in (np.asarray, wnp.asarray, wnp.sin, lambda k: wnp.stack([k, k])):
            with pytest.raises(TypeError, match="key_data"):
                use(keys)

    def test_it_is_a_tree(self):
        leaves, treedef = tree_util.tree_flatten({"key": random.key(5, impl=PARTITIONABLE)})
        assert [leaf.tolist() for leaf in leaves] == [[0, 5]]
        assert (
            random.key_impl(tree_util.tree_unflatten(treedef, leaves)["key"]) == PARTITIONABLE
        )


class TestMaking:
    def test_types_of_seeds(self):
        for seed in (7, np.int8(7), np.uint64(7), wnp.array(7), np.array(7)):
            assert random.PRNGKey(seed).tolist() == [0, 7]
        assert random.PRNGKey(True).tolist() == [0, 1]
        assert random.PRNGKey(np.int64(-1)).tolist() == [2**32 - 1, 2**32 - 1]
        assert random.PRNGKey(np.int32(-1)).tolist() == [0, 2**32 - 1]
        assert random.PRNGKey(2**64 - 1).tolist() == [2**32 - 1, 2**32 - 1]

    def test_wrong_seeds(self):
        for seed in (2**64, -(2**63) - 1):
            with pytest.raises(OverflowError, match="64 bits"):
                random.key(seed)
        with pytest.raises(errors.DTypeError, match="integer"):
            random.PRNGKey(1.5)
        with pytest.raises(errors.ShapeError, match="vmap"):
            random.PRNGKey(wnp.arange(3))
        with pytest.raises(TypeError, match="random key"):
            random.key(random.key(0))

    def test_implementations(self):
        assert random.key_impl(random.PRNGKey(0)) == random.key_impl(random.key(0))
        typed = random.key(0, dtype=random.key_dtype(PARTITIONABLE))
        assert random.key_impl(typed) == PARTITIONABLE
        assert random.key_impl(random.split(typed)) == PARTITIONABLE
        assert random.key_impl(random.fold_in(typed, 1)) == PARTITIONABLE
        with pytest.raises(ValueError, match="partitionable"):
            random.key(0, impl="rbg")
        with pytest.raises(ValueError, match="not both"):
            random.key(0, impl=PARTITIONABLE, dtype=PARTITIONABLE)

    def test_raw_keys_are_read_in_the_original_layout(self):
        raw = random.PRNGKey(3, impl=PARTITIONABLE)
        np.testing.assert_array_equal(
            random.normal(raw, (5,)), random.normal(random.key(3), (5,))
        )

    def test_kinds_are_kept(self):
        assert isinstance(random.split(random.PRNGKey(0)), wengert.Array)
        assert isinstance(random.fold_in(random.PRNGKey(0), 1), wengert.Array)
        assert isinstance(random.clone(random.key(0)), random.KeyArray)
        assert random.uniform(np.array([0, 7], np.uint32)) == random.uniform(random.key(7))

    def test_wrapping(self):
        data = random.key_data(random.split(random.key(0), 3))
        keys = random.wrap_key_data(data, impl=PARTITIONABLE)
        assert keys.shape == (3,)
        assert random.key_impl(keys) == PARTITIONABLE
        with pytest.raises(TypeError, match="typed keys"):
            random.wrap_key_data(keys)
        with pytest.raises(errors.ShapeError, match="two words"):
            random.wrap_key_data(wnp.zeros(3, "uint32"))

    def test_fold_in_errors(self):
        key = random.key(0)
        for data in (-1, 2**32):
            with pytest.raises(OverflowError, match="32 bits"):
                random.fold_in(key, data)
        with pytest.raises(errors.DTypeError, match="integer"):
            random.fold_in(key, 1.5)
        with pytest.raises(errors.ShapeError, match="vmap"):
            random.fold_in(key, wnp.arange(3))

    def test_split_errors(self):
        with pytest.raises(errors.ShapeError):
            random.split(random.key(0), -1)

    def test_one_key_has_so_many_words(self):
        keys = np.zeros((1, 2), np.uint32)
        with pytest.raises(ValueError, match="partitionable"):
            threefry.original_words(keys, 2**32)

    @pytest.mark.parametrize(
        ("key", "error", "message"),
        [
            (3, errors.DTypeError, "random.key"),
            (None, errors.DTypeError, "random.key"),
            (np.zeros(2, np.float32), errors.DTypeError, "float32"),
            (np.zeros(3, np.uint32), errors.ShapeError, "two words"),
            (np.zeros((3, 2), np.uint32), errors.ShapeError, "vmap"),
            (random.split(random.key(0), 3), errors.ShapeError, "vmap"),
        ],
    )
    def test_what_is_no_key(self, key, error, message):
        for function in (random.normal, random.split, random.exponential):
            with pytest.raises(error, match=message):
                function(key)


class TestTransformations:
    @pytest.mark.parametrize("impl", threefry.LAYOUTS)
    def test_vmap(self, impl):
        key = random.key(1, impl=impl)
        keys = random.split(key, 4)
        for f in (
            random.split,
            lambda k: random.split(k, (2, 3)),
            lambda k: random.fold_in(k, 9),
        ):
            batched = random.key_data(wengert.vmap(f)(keys))
            looped = wnp.stack([random.key_data(f(k)) for k in keys])
            np.testing.assert_array_equal(batched, looped)
        steps = wnp.arange(4)
        one = random.key_data(wengert.vmap(random.fold_in, in_axes=(None, 0))(key, steps))
        both = random.key_data(wengert.vmap(random.fold_in)(keys, steps))
        for i in range(4):
            np.testing.assert_array_equal(one[i], random.key_data(random.fold_in(key, i)))
            np.testing.assert_array_equal(both[i], random.key_data(random.fold_in(keys[i], i)))

    def test_nested_vmap_of_fold_in(self):
        keys, steps = random.split(random.PRNGKey(0), 3), wnp.arange(2)
        inner = wengert.vmap(random.fold_in, in_axes=(0, None))
        table = wengert.vmap(inner, in_axes=(None, 0))(keys, steps)
        assert table.shape == (2, 3, 2)
        np.testing.assert_array_equal(table[1, 2], random.fold_in(keys[2], 1))

    def test_vmap_of_seeds(self):
        seeds = wnp.arange(3)
        made = wengert.vmap(random.PRNGKey)(seeds)
        np.testing.assert_array_equal(made, [[0, 0], [0, 1], [0, 2]])
        assert wengert.vmap(random.key)(seeds).shape == (3,)

    @pytest.mark.parametrize("impl", threefry.LAYOUTS)
    def test_jit(self, impl):
        key = random.key(1, impl=impl)

        def f(key, step):
            first, second = random.split(random.fold_in(key, step))
            return random.bits(first, (3,)), list(random.split(second, 2))

        eager, jitted = f(key, 3), wengert.jit(f)(key, 3)
        np.testing.assert_array_equal(eager[0], jitted[0])
        assert all(bool(a == b) for a, b in zip(eager[1], jitted[1], strict=True))

    def test_jit_with_a_key_from_outside(self):
        key = random.PRNGKey(5)
        np.testing.assert_array_equal(
            wengert.jit(lambda: random.normal(key, (3,)))(), random.normal(key, (3,))
        )

    def test_layouts_are_compiled_apart(self):
        f = wengert.jit(lambda key: random.normal(key, (3,)))
        for impl in threefry.LAYOUTS:
            key = random.key(0, impl=impl)
            np.testing.assert_array_equal(f(key), random.normal(key, (3,)))

    def test_threads(self):
        keys = random.split(random.key(0), 8)
        expected = [np.asarray(random.normal(k, (100,))) for k in keys]
        got = [None] * 8

        def work(i):
            got[i] = np.asarray(random.normal(keys[i], (100,)))

        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        np.testing.assert_array_equal(got, expected)


class TestWords:
    """The ways to compute the same words agree."""

    @pytest.mark.parametrize("count", [1, 2, 3, 255, 256, 257, 258, 1000, 70_000])
    def test_few_and_many_blocks(self, count):
        keys = np.array([[3, 2**31], [2**32 - 1, 5]], np.uint32)
        for layout in threefry.LAYOUTS:
            together = threefry.draw_bits(keys, 32, (count,), layout)
            for row, key in zip(together, keys, strict=True):
                alone = threefry.draw_bits(key[None], 32, (count,), layout)[0]
                np.testing.assert_array_equal(row, alone)

    @pytest.mark.parametrize("size", [1, 2, 3, 8, 501])
    @pytest.mark.parametrize("width", [32, 64])
    def test_single_elements(self, size, width):
        rng = np.random.default_rng(0)
        keys = rng.integers(0, 2**32, (4, 2), dtype=np.uint32)
        rows, index = rng.integers(0, 4, 20), rng.integers(0, size, 20)
        for layout in threefry.LAYOUTS:
            full = threefry.draw_bits(keys, width, (size,), layout)
            some = threefry.draw_some_bits(keys[rows], index, size, width, layout)
            np.testing.assert_array_equal(some, full[rows, index])

    def test_published_vectors(self):
        """Known answers of the reference implementation (Random123)."""
        for key, counter, block in (
            ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
            ((2**32 - 1,) * 2, (2**32 - 1,) * 2, (0x1CB996FC, 0xBB002BE7)),
            (
                (0x13198A2E, 0x03707344),
                (0x243F6A88, 0x85A308D3),
                (0xC4923A9C, 0x483DF7A0),
            ),
        ):
            for repeats in (1, 1000):
                words = [np.full(repeats, w, np.uint32) for w in (*key, *counter)]
                got = threefry.hash_blocks(*words)
                assert all((g == b).all() for g, b in zip(got, block, strict=True))


class TestReuse:
    @pytest.fixture(autouse=True)
    def watch(self):
        with wengert.config.debug_key_reuse(True):
            yield

    def test_second_use(self):
        key = random.key(0)
        random.normal(key, (2,))
        for again in (random.uniform, random.split, random.normal):
            with pytest.raises(errors.KeyReuseError, match="test_random_keys") as caught:
                again(key)
            assert "normal(key, (2,))" in str(caught.value)

    def test_split_twice(self):
        key = random.PRNGKey(0)
        random.split(key)
        with pytest.raises(errors.KeyReuseError):
            random.split(key, 3)

    def test_two_views_of_one_key(self):
        keys = random.split(random.key(0))
        random.normal(keys[0])
        random.normal(keys[1])
        with pytest.raises(errors.KeyReuseError):
            random.normal(next(iter(keys)))

    def test_fold_in(self):
        key = random.key(0)
        made = [random.fold_in(key, step) for step in range(5)]
        for k in made:
            random.normal(k)
        with pytest.raises(errors.KeyReuseError, match="same data, 3"):
            random.fold_in(key, 3)

    def test_samplers_within_samplers_are_one_use(self):
        keys = random.split(random.key(0), 4)
        random.beta(keys[0], 1.0, 2.0)
        random.choice(keys[1], 5, (2,), replace=False)
        random.ball(keys[2], 3)
        random.double_sided_maxwell(keys[3], 0.0, 1.0)

    def test_made_again(self):
        for _ in range(2):
            key = random.key(0)
            first, second = random.split(key)
            random.normal(first)
            random.normal(random.fold_in(second, 1))
        random.normal(random.clone(first))
        random.normal(random.wrap_key_data(random.key_data(first)))

    def test_traced_keys_are_not_followed(self):
        keys = random.split(random.key(0), 3)
        wengert.vmap(random.normal)(keys)
        f = wengert.jit(lambda k: random.normal(k) + random.uniform(k))
        f(keys[0])
        f(keys[0])

    def test_the_record_is_bounded_and_ends(self, monkeypatch):
        monkeypatch.setattr(reuse, "CAPACITY", 10)
        key = random.key(0)
        for step in range(30):
            random.fold_in(key, step)
        record = reuse.record
        assert len(record.used) == sum(map(len, record.entries.values())) == 10
        random.fold_in(key, 0)  # forgotten by now
        with wengert.config.debug_key_reuse(False):
            assert not record.used
            assert not record.entries

    def test_off(self):
        with wengert.config.debug_key_reuse(False):
            key = random.key(0)
            assert random.normal(key) == random.normal(key)
        assert not reuse.record.used

    def test_threads_have_records_of_their_own(self):
        key = random.key(0)
        random.normal(key)
        failures = []

        def work():
            with wengert.config.debug_key_reuse(True):
                random.normal(key)
                with pytest.raises(errors.KeyReuseError):
                    random.normal(key)
                failures.append(None)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert failures == [None]
