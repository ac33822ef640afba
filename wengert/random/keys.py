"""Random keys: what they are, how they are made, split and folded.

A key is two 32-bit words and the name of its implementation, which says how numbers follow from
the words. Typed keys (`key`) are `KeyArray`s and carry that name. Raw keys (`PRNGKey`) are
uint32 arrays of shape (2,) and are always read in the original layout.

Both implementations are Threefry-2x32 and give JAX's bits: `"threefry2x32"`, the default, is
JAX's original layout (`jax_threefry_partitionable=False`); `"threefry2x32_partitionable"` is
the layout that JAX has used by default since version 0.5. A key is never changed by being
used: a function of the same key gives the same numbers, so split first.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from wengert import config, errors
from wengert.core import tree
from wengert.core.array import Array, ArrayLike, Shape, as_array
from wengert.core.primitive import Value
from wengert.primitives.basis import reshape
from wengert.primitives.cast import convert
from wengert.primitives.compare import eq
from wengert.primitives.random_bits import UINT32, random_fold_in, random_seed, random_split
from wengert.primitives.reduce import reduce_and
from wengert.primitives.shape import slice_
from wengert.primitives.threefry import LAYOUTS, ORIGINAL
from wengert.random import reuse

DEFAULT_IMPL = ORIGINAL
_TYPE_NAMES = {name: name.replace("threefry2x32", "fry") for name in LAYOUTS}


class KeyType:
    """The dtype of typed keys: which implementation they have.

    >>> from wengert import random
    >>> random.key(0).dtype
    key<fry>
    """

    __slots__ = ("impl",)

    def __init__(self, impl: str) -> None:
        self.impl = impl

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyType) and self.impl == other.impl

    def __hash__(self) -> int:
        return hash(self.impl)

    def __repr__(self) -> str:
        return f"key<{_TYPE_NAMES[self.impl]}>"


class KeyArray:
    """An array of typed keys. Made by `key`, `split` and `wrap_key_data`.

    To transformations it is a container of one uint32 array, `(*shape, 2)`: it can be mapped
    over, jitted over, and carried through loops. Map it along non-negative axes.

    Attributes:
      impl: the name of the implementation.

    >>> import wengert
    >>> from wengert import random
    >>> keys = random.split(random.key(0), 3)
    >>> keys.shape, keys[1:].shape
    ((3,), (2,))
    >>> wengert.vmap(random.uniform)(keys).shape
    (3,)
    """

    __slots__ = ("_data", "impl")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, data: Value, impl: str) -> None:
        self._data = data
        self.impl = impl

    @property
    def shape(self) -> Shape:
        """The dimensions; `()` for a single key."""
        return self._data.shape[:-1]

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of keys."""
        return self._data.size // 2

    @property
    def dtype(self) -> KeyType:
        """The implementation, as a dtype."""
        return KeyType(self.impl)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a single key")
        return self.shape[0]

    def __iter__(self) -> Iterator[KeyArray]:
        if not self.shape:
            raise TypeError("a single key cannot be iterated over; split it: split(key, n)")
        return (KeyArray(row, self.impl) for row in rows(self._data))

    def __getitem__(self, index: Any) -> KeyArray:
        index = index if isinstance(index, tuple) else (index,)
        if not any(i is Ellipsis for i in index):
            index = (*index, Ellipsis)
        return KeyArray(self._data[(*index, slice(None))], self.impl)

    def reshape(self, *shape: Any) -> KeyArray:
        """The same keys in another shape; one size may be -1."""
        sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
        sizes = [operator.index(n) for n in sizes]
        if -1 in sizes:
            known = -int(np.prod(sizes))
            if known == 0 or self.size % known:
                raise errors.ShapeError(f"cannot reshape {self.size} keys into {tuple(sizes)}.")
            sizes[sizes.index(-1)] = self.size // known
        return KeyArray(reshape(self._data, shape=(*sizes, 2)), self.impl)

    def flatten(self) -> KeyArray:
        """All keys along one dimension."""
        return self.reshape(-1)

    ravel = flatten

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            "random keys are not numbers. wengert.random.key_data(keys) gives their words as a "
            "uint32 array, wrap_key_data makes keys of such an array."
        )

    def block_until_ready(self) -> KeyArray:
        """The keys themselves: results are always ready."""
        return self

    def __eq__(self, other: object) -> Any:
        if not isinstance(other, KeyArray):
            return NotImplemented
        if self.impl != other.impl:
            raise TypeError(f"cannot compare keys of types {self.dtype} and {other.dtype}")
        return reduce_and(eq(self._data, other._data), axes=(max(self.ndim, other.ndim),))

    def __ne__(self, other: object) -> Any:
        equal = self == other
        return equal if equal is NotImplemented else ~equal

    def __repr__(self) -> str:
        return f"Array({self.shape}, dtype={self.dtype}) overlaying:\n{self._data}"


def _flatten(keys: KeyArray) -> tuple[tuple[Any], str]:
    return (keys._data,), keys.impl


def _unflatten(impl: str, children: Sequence[Any]) -> KeyArray:
    return KeyArray(children[0], impl)


tree.register_node(KeyArray, _flatten, _unflatten, tree.Wrapper)


def rows(data: Value) -> list[Value]:
    """The elements of an array along its first dimension."""
    if type(data) is Array:
        return [Array(row) for row in data._value]
    ends = data.shape[1:]
    zeros = (0,) * len(ends)
    return [
        reshape(
            slice_(data, start_indices=(i, *zeros), limit_indices=(i + 1, *ends)), shape=ends
        )
        for i in range(data.shape[0])
    ]


# -- what functions accept -------------------------------------------------------------------


def as_keys(name: str, keys: Any) -> KeyArray:
    """Typed or raw keys, of any number, as typed keys.

    Raises:
      DTypeError, ShapeError: for anything that is not a key.
    """
    if type(keys) is KeyArray:
        return keys
    if not isinstance(keys, ArrayLike | np.ndarray):
        raise errors.DTypeError(
            f"{name} needs a random key, got {keys!r} of type {type(keys).__name__}. "
            "Make one with wengert.random.key(seed)."
        )
    data = as_array(keys)
    if data.dtype != UINT32:
        raise errors.DTypeError(
            f"{name} needs a random key: uint32 words, got an array of dtype "
            f"{data.dtype.name}. Make keys with wengert.random.key(seed)."
        )
    if data.shape[-1:] != (2,):
        raise errors.ShapeError(
            f"{name} needs a random key, which has two words: shape (..., 2), got "
            f"{data.shape}. Make keys with wengert.random.key(seed)."
        )
    return KeyArray(data, DEFAULT_IMPL)


def single_key(name: str, key: Any) -> KeyArray:
    """A key as typed key of shape (), without using it up."""
    keys = as_keys(name, key)
    if keys.shape:
        raise errors.ShapeError(
            f"{name} takes a single key, got keys of shape {keys.shape}. Map over them: "
            f"vmap(lambda key: {name}(key, ...))(keys)."
        )
    return keys


def take_key(name: str, key: Any) -> KeyArray:
    """A single key that is used up now; under `debug_key_reuse` a second use is an error."""
    taken = single_key(name, key)
    if config.debug_key_reuse.value:
        reuse.consume(name, taken._data)
    return taken


def sub_keys(key: KeyArray, count: int = 2) -> list[KeyArray]:
    """`count` keys from one, for use inside a sampler."""
    data = random_split(key._data, shape=(count,), layout=key.impl)
    return [KeyArray(row, key.impl) for row in rows(data)]


def _like(key: Any, data: Value, impl: str) -> Any:
    """Key data in the form of `key`: typed if that is typed, else raw."""
    if config.debug_key_reuse.value:
        reuse.renew(data)
    return KeyArray(data, impl) if type(key) is KeyArray else data


def _implementation(impl: Any, dtype: Any = None) -> str:
    if dtype is not None:
        if impl is not None:
            raise ValueError("give impl or dtype, not both: they say the same")
        impl = dtype
    if impl is None:
        return DEFAULT_IMPL
    if isinstance(impl, KeyType):
        return impl.impl
    if impl not in LAYOUTS:
        raise ValueError(
            f"unknown random number implementation {impl!r}; there are "
            f"{' and '.join(map(repr, LAYOUTS))}."
        )
    return str(impl)


# -- public functions ------------------------------------------------------------------------


def _seed_words(name: str, seed: Any) -> Value:
    if type(seed) in (int, bool):
        if not -(2**63) <= seed < 2**64:
            raise OverflowError(f"{name}: the seed {seed} does not fit 64 bits.")
        small = -(2**31) <= seed < 2**31
        dtype: Callable[..., Any] = (
            np.int32 if small else np.int64 if seed < 2**63 else np.uint64
        )
        seed = dtype(seed)
    if type(seed) is KeyArray:
        raise TypeError(f"{name} takes an integer seed, got a random key.")
    data = as_array(seed)
    if data.dtype.kind not in "iu":
        raise errors.DTypeError(f"{name} takes an integer seed, got {data.type}.")
    if data.shape:
        raise errors.ShapeError(
            f"{name} takes a single seed, got an array of shape {data.shape}. Map over seeds: "
            f"vmap({name})(seeds)."
        )
    return random_seed(data)


def PRNGKey(seed: Any, *, impl: Any = None) -> Any:
    """A raw key from a seed: a uint32 array of shape (2,).

    Args:
      seed: an integer of at most 64 bits. Its upper 32 bits are the first word: 0 for a Python
        int that fits int32 (as in JAX by default), and never cut off for a larger one (as in
        JAX with `jax_enable_x64`). An int64 array keeps its sign bits too.
      impl: accepted as in JAX; the words do not depend on it, and raw keys are read in the
        original layout.

    >>> from wengert import random
    >>> random.PRNGKey(42)
    Array([ 0, 42], dtype=uint32)
    """
    _implementation(impl)
    return _like(None, _seed_words("PRNGKey", seed), DEFAULT_IMPL)


def key(seed: Any, *, impl: Any = None, dtype: Any = None) -> KeyArray:
    """A typed key from a seed.

    Args:
      seed: an integer of at most 64 bits; see `PRNGKey`.
      impl: `"threefry2x32"` (the default) or `"threefry2x32_partitionable"`.
      dtype: the same, by its other name.

    >>> from wengert import random
    >>> random.normal(random.key(0), (2,))
    Array([-0.78476596,  0.85644484], dtype=float32)
    """
    impl = _implementation(impl, dtype)
    data = _like(None, _seed_words("key", seed), impl)
    return KeyArray(data, impl)


def key_dtype(impl: Any = None) -> KeyType:
    """The dtype of keys with this implementation.

    >>> from wengert import random
    >>> random.key(0).dtype == random.key_dtype("threefry2x32")
    True
    """
    return KeyType(_implementation(impl))


def key_data(keys: Any) -> Any:
    """The words of keys: a uint32 array with a last dimension of 2.

    >>> from wengert import random
    >>> random.key_data(random.key(7))
    Array([0, 7], dtype=uint32)
    """
    return as_keys("key_data", keys)._data


def wrap_key_data(key_bits_array: Any, *, impl: Any = None, dtype: Any = None) -> KeyArray:
    """Typed keys from their words, the inverse of `key_data`.

    Args:
      key_bits_array: uint32, with a last dimension of 2.
      impl: the implementation, as in `key`.
      dtype: the same, by its other name.

    >>> from wengert import random
    >>> random.wrap_key_data(random.PRNGKey(7)) == random.key(7)
    Array(True, dtype=bool)
    """
    if type(key_bits_array) is KeyArray:
        raise TypeError("wrap_key_data takes an array of words, got typed keys.")
    impl = _implementation(impl, dtype)
    data = as_keys("wrap_key_data", key_bits_array)._data
    return KeyArray(_like(None, data, impl), impl)


def key_impl(keys: Any) -> str:
    """The name of the implementation of keys.

    >>> from wengert import random
    >>> random.key_impl(random.key(0))
    'threefry2x32'
    """
    return as_keys("key_impl", keys).impl


def split(key: Any, num: int | Sequence[int] = 2) -> Any:
    """New keys from a key, which should not be used again.

    Args:
      key: a single key, typed or raw.
      num: how many, or a shape.

    Returns:
      keys of that shape, of the same kind as `key`.

    >>> from wengert import random
    >>> key, subkey = random.split(random.PRNGKey(0))
    >>> subkey
    Array([2718843009, 1272950319], dtype=uint32)
    """
    taken = take_key("split", key)
    shape = (
        tuple(map(operator.index, num)) if isinstance(num, Sequence) else (operator.index(num),)
    )
    if any(n < 0 for n in shape):
        raise errors.ShapeError(f"split makes a number of keys, or a shape of them, got {num}.")
    return _like(key, random_split(taken._data, shape=shape, layout=taken.impl), taken.impl)


def fold_in(key: Any, data: Any) -> Any:
    """A new key from a key and an integer, such as the number of a step or of a layer.

    Args:
      key: a single key, typed or raw.
      data: a 32-bit integer. Arrays of other integer dtypes give their lower 32 bits.

    Returns:
      a key of the same kind as `key`.

    >>> from wengert import random
    >>> key = random.PRNGKey(0)
    >>> for step in range(2):
    ...     print(random.fold_in(key, step))
    [1797259609 2579123966]
    [ 928981903 3453687069]
    """
    base = single_key("fold_in", key)
    if isinstance(data, int) and not 0 <= data < 2**32:
        raise OverflowError(f"fold_in takes an integer of 32 bits, 0 to 2**32 - 1, got {data}.")
    word = Array(np.uint32(data)) if isinstance(data, int) else as_array(data)
    if word.dtype.kind not in "biu":
        raise errors.DTypeError(f"fold_in takes an integer, got {word.type}.")
    if word.shape:
        raise errors.ShapeError(
            f"fold_in takes a single integer, got an array of shape {word.shape}. Map over it: "
            "vmap(fold_in, in_axes=(None, 0))(key, data)."
        )
    word = convert(word, dtype=UINT32)
    if config.debug_key_reuse.value:
        reuse.fold(base._data, word)
    return _like(key, random_fold_in(base._data, word), base.impl)


def clone(key: Any) -> Any:
    """The same key, declared unused: what `debug_key_reuse` is told when reuse is meant.

    >>> import wengert
    >>> from wengert import random
    >>> with wengert.config.debug_key_reuse(True):
    ...     key = random.key(0)
    ...     first = random.uniform(key)
    ...     again = random.uniform(random.clone(key))
    """
    keys = as_keys("clone", key)
    return _like(key, keys._data, keys.impl)
