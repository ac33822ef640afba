"""Counter-based random words: the Threefry-2x32 hash, and its two layouts, on NumPy values.

A key is two 32-bit words. The hash maps a key and a block of two counter words to a block of
two random words; a *layout* says which counters a draw of a given size uses, and in which order
the words come:

- `threefry2x32`, the original: the counters 0 .. n-1 are cut in halves, block `i` hashes the
  pair (i, i + n/2), and the first words of all blocks come before the second words;
- `threefry2x32_partitionable`: block `i` hashes the 64-bit index `i` and gives element `i`
  alone, so that a part of a draw can be computed without the rest.

Everything here takes and returns NumPy arrays of uint32; `random_bits` makes primitives of it.

J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from wengert.core.array import Shape

Words = Any

ORIGINAL = "threefry2x32"
PARTITIONABLE = "threefry2x32_partitionable"
LAYOUTS = (ORIGINAL, PARTITIONABLE)

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_PARITY_WORD = np.uint32(_PARITY)
_SHIFTS = tuple(
    tuple((np.uint32(r), np.uint32(32 - r)) for r in rotations) for rotations in _ROTATIONS
)
_GROUPS = tuple(np.uint32(i) for i in range(6))

#: Blocks hashed at a time: what is read and written again and again stays in the second cache.
_CHUNK = 1 << 15
#: Up to this many blocks, one Python integer that holds them all beats NumPy's call overhead.
_MAX_LANES = 128
_MAX_WORDS = 2**32 - 1
_UNSIGNED = {width: np.dtype(f"u{width // 8}") for width in (8, 16, 32, 64)}


# -- the hash --------------------------------------------------------------------------------


def hash_blocks(k1: Words, k2: Words, x1: Words, x2: Words) -> tuple[Words, Words]:
    """The random block of each counter block `(x1, x2)` under the key `(k1, k2)`.

    Args:
      k1, k2, x1, x2: uint32 arrays or scalars of shapes that broadcast.

    Returns:
      two uint32 arrays of the common shape.
    """
    shape = np.broadcast_shapes(k1.shape, k2.shape, x1.shape, x2.shape)
    y1 = np.array(np.broadcast_to(x1, shape), np.uint32, order="C").reshape(-1)
    y2 = np.array(np.broadcast_to(x2, shape), np.uint32, order="C").reshape(-1)
    one_key = k1.size == k2.size == 1
    first, second = (
        k.reshape(1) if one_key else np.ascontiguousarray(np.broadcast_to(k, shape)).reshape(-1)
        for k in (k1, k2)
    )
    _hash_in_place(first, second, y1, y2)
    return y1.reshape(shape), y2.reshape(shape)


def _hash_in_place(k1: Words, k2: Words, x1: Words, x2: Words) -> None:
    """Replace the flat counter blocks by random blocks; keys are as long, or of length 1."""
    size = x1.shape[0]
    if size <= _MAX_LANES:
        a, b, c, d = (_pack(words, size) for words in (k1, k2, x1, x2))
        y1, y2 = _hash_lanes(a, b, c, d, size)
        x1[:], x2[:] = _unpack(y1, size), _unpack(y2, size)
        return
    scratch = np.empty(min(size, _CHUNK), np.uint32)
    for start in range(0, size, _CHUNK):
        part = slice(start, min(start + _CHUNK, size))
        own = (k1, k2) if k1.shape[0] == 1 else (k1[part], k2[part])
        _hash_chunk(*own, x1[part], x2[part], scratch[: part.stop - start])


def _hash_chunk(k1: Words, k2: Words, x1: Words, x2: Words, scratch: Words) -> None:
    keys = (k1, k2, k1 ^ k2 ^ _PARITY_WORD)
    np.add(x1, k1, out=x1)
    np.add(x2, k2, out=x2)
    for group in range(5):
        for left, right in _SHIFTS[group % 2]:
            np.add(x1, x2, out=x1)
            np.left_shift(x2, left, out=scratch)
            np.right_shift(x2, right, out=x2)
            np.bitwise_or(x2, scratch, out=x2)
            np.bitwise_xor(x2, x1, out=x2)
        np.add(x1, keys[(group + 1) % 3], out=x1)
        np.add(x2, keys[(group + 2) % 3] + _GROUPS[group + 1], out=x2)


# -- few blocks: each is a lane of 64 bits in one Python integer -----------------------------


@lru_cache(maxsize=2 * _MAX_LANES + 1)
def _ones(lanes: int) -> int:
    return sum(1 << (64 * i) for i in range(lanes))


def _hash_lanes(k1: int, k2: int, x1: int, x2: int, lanes: int) -> tuple[int, int]:
    """The hash on packed words.

    A lane has room above its 32-bit word: carries of the additions and the bits that shifts
    push across stay there until the mask clears them. `x1` collects at most 26 sums of words,
    so it needs no mask before the end.
    """
    ones = _ones(lanes)
    mask = 0xFFFFFFFF * ones
    keys = (k1, k2, k1 ^ k2 ^ (_PARITY * ones))
    x1 += k1
    x2 = (x2 + k2) & mask
    for group in range(5):
        for r in _ROTATIONS[group % 2]:
            x1 += x2
            x2 = (((x2 << r) | (x2 >> (32 - r))) ^ x1) & mask
        x1 += keys[(group + 1) % 3]
        x2 = (x2 + keys[(group + 2) % 3] + (group + 1) * ones) & mask
    return x1 & mask, x2


def _hash_few(key: Words, x1: int, x2: int, lanes: int) -> Words:
    """The first words of all packed blocks, then the second words, under one key."""
    k1, k2 = key.tolist()
    ones = _ones(lanes)
    y1, y2 = _hash_lanes(k1 * ones, k2 * ones, x1, x2, lanes)
    return _unpack(y1 | (y2 << (64 * lanes)), 2 * lanes).astype(np.uint32)


def _pack(words: Words, lanes: int) -> int:
    if words.shape[0] == 1:
        return int(words[0]) * _ones(lanes)
    return int.from_bytes(words.astype("<u8").tobytes(), "little")


def _unpack(packed: int, lanes: int) -> Words:
    return np.frombuffer(packed.to_bytes(8 * lanes, "little"), "<u4")[::2]


@lru_cache(maxsize=256)
def _packed_range(start: int, stop: int, padding: int = 0) -> int:
    """Counters `start` .. `stop - 1` and `padding` zeros, packed."""
    return sum(i << (64 * lane) for lane, i in enumerate([*range(start, stop), *[0] * padding]))


# -- layouts ---------------------------------------------------------------------------------


def original_words(keys: Words, count: int) -> Words:
    """`count` random words per key in the original layout: keys `(B, 2)` to words `(B, count)`.

    Raises:
      ValueError: where the 32-bit counters of the layout do not suffice.
    """
    if count > _MAX_WORDS:
        raise ValueError(
            f"one key of the original threefry2x32 layout gives at most 2**32 - 1 words, but "
            f"{count} are asked for. Split the key and draw in parts, or use a key with "
            "impl='threefry2x32_partitionable'."
        )
    half, batch = (count + 1) // 2, keys.shape[0]
    if batch == 1 and half <= _MAX_LANES:
        upper = _packed_range(half, count, 2 * half - count)
        return _hash_few(keys[0], _packed_range(0, half), upper, half)[None, :count]
    counters = np.arange(2 * half, dtype=np.uint32)
    counters[count:] = 0
    first, second = counters[:half], counters[half:]
    if batch == 1:
        _hash_in_place(keys[0, :1], keys[0, 1:], first, second)
        return counters[None, :count]
    y1, y2 = hash_blocks(keys[:, :1], keys[:, 1:], first, second)
    return np.concatenate([y1, y2[:, : count - half]], axis=1)


def indexed_blocks(keys: Words, count: int) -> Words:
    """Blocks 0 .. count-1 of the partitionable layout: keys `(B, 2)` to `(2, B, count)`."""
    if keys.shape[0] == 1 and count <= _MAX_LANES:
        return _hash_few(keys[0], 0, _packed_range(0, count), count).reshape(2, 1, count)
    blocks = np.zeros((2, keys.shape[0], count), np.uint32)
    index: Any = np.arange(count, dtype=np.uint32 if count <= _MAX_WORDS else np.uint64)
    blocks[1] = index.astype(np.uint32)
    if count > _MAX_WORDS:
        blocks[0] = index >> np.uint64(32)
    first, second = blocks.reshape(2, -1)
    k1, k2 = keys.T if keys.shape[0] == 1 else np.repeat(keys.T, count, axis=1)
    _hash_in_place(k1, k2, first, second)
    return blocks


def split_keys(keys: Words, count: int, layout: str) -> Words:
    """`count` new keys from each key: `(B, 2)` to `(B, count, 2)`."""
    if layout == ORIGINAL:
        return original_words(keys, 2 * count).reshape(keys.shape[0], count, 2)
    return np.ascontiguousarray(indexed_blocks(keys, count).transpose(1, 2, 0))


def fold_words(keys: Words, data: Words) -> Words:
    """The key of each key `(..., 2)` and 32-bit word `data` (broadcast): shape `(..., 2)`."""
    if keys.ndim == 1 and data.ndim == 0:
        return _hash_few(keys, 0, int(data), 1)
    y1, y2 = hash_blocks(keys[..., 0], keys[..., 1], np.uint32(0), data)
    return np.stack([y1, y2], axis=-1)


def draw_bits(keys: Words, width: int, shape: Shape, layout: str) -> Words:
    """Random unsigned integers of `width` bits: keys `(B, 2)` to `(B, *shape)`."""
    size, batch = math.prod(shape), keys.shape[0]
    unsigned = _UNSIGNED[width]
    if size == 0 or batch == 0:
        return np.zeros((batch, *shape), unsigned)
    if layout == ORIGINAL:
        words = original_words(keys, -(-width * size // 32))
        if width == 64:
            flat = _joined(words[:, :size], words[:, size:])
        elif width == 32:
            flat = words
        else:
            little = np.ascontiguousarray(words, "<u4").view(unsigned.newbyteorder("<"))
            flat = little[:, :size].astype(unsigned, copy=False)
    else:
        high, low = indexed_blocks(keys, size)
        flat = _combined(high, low, width)
    return flat.reshape(batch, *shape)


def draw_some_bits(keys: Words, index: Words, size: int, width: int, layout: str) -> Words:
    """Single elements of draws of `size` elements of 32 or 64 bits, without the rest.

    Args:
      keys: `(n, 2)`, one key per element.
      index: `(n,)` int64, which element of the draw of that key.

    Returns:
      `(n,)` unsigned integers: those that `draw_bits` has at these places.
    """
    low = index.astype(np.uint32)
    if layout == PARTITIONABLE:
        high = (index >> 32).astype(np.uint32)
        return _combined(*hash_blocks(keys[:, 0], keys[:, 1], high, low), width)
    if width == 64:
        return _joined(*hash_blocks(keys[:, 0], keys[:, 1], low, low + np.uint32(size)))
    half = np.uint32((size + 1) // 2)
    in_second = low >= half
    first = np.where(in_second, low - half, low)
    second = first + half
    second[second >= size] = 0
    y1, y2 = hash_blocks(keys[:, 0], keys[:, 1], first, second)
    return np.where(in_second, y2, y1)


def _combined(high: Words, low: Words, width: int) -> Words:
    """Elements of the partitionable layout from their blocks."""
    if width == 64:
        return _joined(high, low)
    return np.bitwise_xor(high, low, out=high).astype(_UNSIGNED[width], copy=False)


def _joined(high: Words, low: Words) -> Words:
    out = high.astype(np.uint64)
    np.left_shift(out, np.uint64(32), out=out)
    return np.bitwise_or(out, low, out=out)
