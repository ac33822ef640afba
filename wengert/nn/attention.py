"""Scaled dot-product attention, as written in the paper: a reference implementation.

A. Vaswani et al., "Attention is all you need" (2017); grouped queries by J. Ainslie et al.,
"GQA" (2023). The full matrix of scores is formed; scores and their softmax are in float32 (or
float64), the result has the dtype of the queries.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import wengert.numpy as wnp
from wengert import errors
from wengert.core import dtypes
from wengert.core.array import as_array
from wengert.core.primitive import Value
from wengert.nn.normalization import softmax


def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    *,
    scale: float | None = None,
    is_causal: bool = False,
    query_seq_lengths: Any = None,
    key_value_seq_lengths: Any = None,
    local_window_size: int | tuple[int, int] | None = None,
    implementation: str | None = None,
) -> Value:
    """Means of the values, weighted by how well their keys match each query.

    Shapes are those of (batch, positions, heads, features); the batch may be missing.

    Args:
      query: (B, T, N, H).
      key: (B, S, K, H), where K divides N: groups of N / K heads share keys and values.
      value: (B, S, K, H).
      bias: added to the scores; broadcasts to (B, N, T, S).
      mask: bools that broadcast to (B, N, T, S): which keys a query sees.
      scale: factor of the scores; 1 / sqrt(H) by default.
      is_causal: a query sees keys up to its own position only.
      query_seq_lengths: (B,), how many queries are real; the result is 0 for the others.
      key_value_seq_lengths: (B,), how many keys and values are real.
      local_window_size: a query sees so many keys to the left and to the right of its position.
      implementation: None or "xla"; there is one implementation.

    Returns:
      an array of the shape of `query`.

    >>> import numpy as np
    >>> q, k = np.ones((2, 3, 4, 8), np.float32), np.ones((2, 5, 4, 8), np.float32)
    >>> dot_product_attention(q, k, k).shape
    (2, 3, 4, 8)
    """
    if implementation not in (None, "xla"):
        raise ValueError(f"dot_product_attention has no implementation {implementation!r}.")
    query, key, value = as_array(query), as_array(key), as_array(value)
    single = len(query.shape) == 3
    if single:
        query, key, value = (wnp.expand_dims(x, 0) for x in (query, key, value))
    _check(query, key, value)
    groups = query.shape[2] // key.shape[2]
    if groups > 1:
        key, value = (wnp.repeat(x, groups, axis=2) for x in (key, value))
    scores = _scores(query, key, bias, scale)
    seen = _seen(scores.shape, mask, is_causal, local_window_size)
    seen = _both(seen, _within(key_value_seq_lengths, scores.shape, 3))
    weights = softmax(scores, axis=-1, where=seen)
    out = wnp.einsum("bnts,bsnh->btnh", weights.astype(value.dtype), value)
    real = _within(query_seq_lengths, (query.shape[0], query.shape[1], 1, 1), 1)
    if real is not None:
        out = wnp.where(real, out, 0)
    out = out.astype(query.dtype)
    return out[0] if single else out


def _scores(query: Value, key: Value, bias: Any, scale: float | None) -> Value:
    """How well keys match queries, (B, N, T, S), in float32 or a wider dtype."""
    work = np.promote_types(np.float32, _plain(query.dtype))
    scores = wnp.einsum("btnh,bsnh->bnts", query.astype(work), key.astype(work))
    scores = wnp.multiply(scores, 1 / math.sqrt(query.shape[3]) if scale is None else scale)
    return scores if bias is None else wnp.add(scores, wnp.asarray(bias).astype(work))


def _plain(dtype: Any) -> Any:
    return np.dtype(np.float32) if dtype == dtypes.bfloat16 else dtype


def _check(query: Value, key: Value, value: Value) -> None:
    shapes = query.shape, key.shape, value.shape
    fits = all(len(s) == 4 for s in shapes) and key.shape == value.shape
    fits = fits and query.shape[0] == key.shape[0] and query.shape[3] == key.shape[3]
    if not fits or key.shape[2] == 0 or query.shape[2] % key.shape[2]:
        raise errors.ShapeError(
            "dot_product_attention takes queries (B, T, N, H) and keys and values (B, S, K, H) "
            f"where K divides N; got shapes {', '.join(map(str, shapes))}."
        )


def _both(first: Value, second: Value) -> Value:
    if first is None or second is None:
        return first if second is None else second
    return wnp.logical_and(first, second)


def _seen(shape: tuple[int, ...], mask: Any, is_causal: bool, window: Any) -> Value:
    """Which keys a query sees, by mask, order and window; None for all."""
    seen = None if mask is None else wnp.asarray(mask)
    rows = np.arange(shape[2])[:, None]
    columns = np.arange(shape[3])[None, :]
    if is_causal:
        seen = _both(seen, wnp.asarray(columns <= rows))
    if window is not None:
        left, right = (window, window) if isinstance(window, int) else window
        near = (rows - columns <= left) & (columns - rows <= right)
        seen = _both(seen, wnp.asarray(near))
    return seen


def _within(lengths: Any, shape: tuple[int, ...], axis: int) -> Value:
    """Which positions along an axis lie below a length per example; None without lengths."""
    if lengths is None:
        return None
    sizes = [1] * len(shape)
    sizes[axis] = shape[axis]
    positions = wnp.reshape(wnp.arange(shape[axis]), tuple(sizes))
    lengths = wnp.reshape(wnp.asarray(lengths), (shape[0], *(1,) * (len(shape) - 1)))
    return wnp.less(positions, lengths)
