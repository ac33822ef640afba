"""Data types and their promotion.

Promotion follows the lattice that JAX publishes ("Type promotion semantics" in its manual):
every dtype is a node, and so are the three *weak* kinds `i*`, `f*`, `c*` that Python scalars
have; the dtype of a result is the least upper bound of its operands' nodes. Weak kinds that
survive to the end become the default dtypes below.

Nothing here canonicalises: a float64 stays a float64.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any

import ml_dtypes
import numpy as np

DType = np.dtype[Any]
DTypeLike = Any

bfloat16 = np.dtype(ml_dtypes.bfloat16)
#: What a derivative with respect to an integer has for a dtype: no information at all.
float0 = np.dtype([("float0", np.void, 0)])

BOOL = np.dtype(np.bool_)
INT32 = np.dtype(np.int32)
FLOAT32 = np.dtype(np.float32)
COMPLEX64 = np.dtype(np.complex64)

_NAMES = [
    "bool",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]
SUPPORTED: tuple[DType, ...] = (*(np.dtype(name) for name in _NAMES), bfloat16)
_SUPPORTED = frozenset(SUPPORTED)

#: The dtypes that weak Python scalars take when nothing stronger decides.
WEAK_DEFAULTS: dict[str, DType] = {"i*": INT32, "f*": FLOAT32, "c*": COMPLEX64}
SCALAR_TYPES = (bool, int, float, complex)
_SCALAR_DTYPES: dict[type, DType] = {bool: BOOL, int: INT32, float: FLOAT32, complex: COMPLEX64}

_EDGES: dict[str, tuple[str, ...]] = {
    "bool": ("i*",),
    "i*": ("uint8", "int8"),
    "uint8": ("uint16", "int16"),
    "uint16": ("uint32", "int32"),
    "uint32": ("uint64", "int64"),
    "uint64": ("f*",),
    "int8": ("int16",),
    "int16": ("int32",),
    "int32": ("int64",),
    "int64": ("f*",),
    "f*": ("c*", "bfloat16", "float16"),
    "bfloat16": ("float32",),
    "float16": ("float32",),
    "float32": ("float64", "complex64"),
    "float64": ("complex128",),
    "c*": ("complex64",),
    "complex64": ("complex128",),
    "complex128": (),
}

_KINDS: dict[DType, str] = {dtype: dtype.kind for dtype in SUPPORTED} | {bfloat16: "f"}


def _upper_bounds() -> dict[str, frozenset[str]]:
    bounds = {node: {node} for node in _EDGES}
    for node in reversed(list(_EDGES)):  # a fixed point; the lattice is shallow
        for _ in _EDGES:
            bounds[node] |= {b for up in _EDGES[node] for b in bounds[up]}
    changed = True
    while changed:
        changed = False
        for node, ups in _EDGES.items():
            wider = bounds[node].union(*(bounds[up] for up in ups))
            changed |= wider != bounds[node]
            bounds[node] = wider
    return {node: frozenset(above) for node, above in bounds.items()}


_UPPER_BOUNDS = _upper_bounds()


@cache
def _least_upper_bound(nodes: frozenset[str]) -> str:
    common = frozenset.intersection(*(_UPPER_BOUNDS[node] for node in nodes))
    return next(node for node in common if common <= _UPPER_BOUNDS[node])


def kind(dtype: DType) -> str:
    """The kind letter of a dtype: `b`, `u`, `i`, `f` or `c`; bfloat16 counts as `f`."""
    return _KINDS.get(dtype, dtype.kind)


def is_inexact(dtype: DType) -> bool:
    """Whether a dtype is floating or complex: whether its values have tangents."""
    return _KINDS.get(dtype) in ("f", "c")


def is_floating(dtype: DType) -> bool:
    """Whether a dtype is a real floating dtype."""
    return _KINDS.get(dtype) == "f"


def is_complex(dtype: DType) -> bool:
    """Whether a dtype is complex."""
    return _KINDS.get(dtype) == "c"


def absorbs(dtype: DType, weak: DType) -> bool:
    """Whether a weak value of dtype `weak` becomes `dtype` without losing what it means."""
    order = "buifc"
    return order.index(kind(weak)) <= order.index(kind(dtype))


def is_integer(dtype: DType) -> bool:
    """Whether a dtype is a signed or unsigned integer dtype (bool is not)."""
    return _KINDS.get(dtype) in ("i", "u")


@cache
def _checked(dtype: DType) -> DType:
    native = dtype if dtype.isnative else dtype.newbyteorder("=")  # which is another object
    if native not in _SUPPORTED and native != float0:
        raise TypeError(
            f"dtype {dtype} has no arithmetic here; supported are "
            f"{', '.join(d.name for d in SUPPORTED)}. Convert the values first, for example "
            "with np.asarray(x, dtype=np.float64)."
        )
    return native


def as_dtype(dtype: DTypeLike) -> DType:
    """The supported NumPy dtype that `dtype` names; Python's scalar types mean the defaults.

    Raises:
      TypeError: for dtypes without arithmetic here (object, str, longdouble, ...).
    """
    if isinstance(dtype, type) and dtype in _SCALAR_DTYPES:
        return _SCALAR_DTYPES[dtype]
    return _checked(np.dtype(dtype))


def real_dtype(dtype: DType) -> DType:
    """The dtype of the real part: float32 for complex64, itself for real dtypes."""
    if dtype == COMPLEX64:
        return FLOAT32
    return np.dtype(np.float64) if dtype == np.complex128 else dtype


def complex_dtype(dtype: DType) -> DType:
    """The complex dtype whose parts hold `dtype`: complex128 for float64, else complex64."""
    return np.dtype(np.complex128) if dtype in (np.float64, np.complex128) else COMPLEX64


def inexact_dtype(dtype: DType) -> DType:
    """The floating dtype an integer or bool is computed in: float64 for 64-bit integers."""
    if is_inexact(dtype):
        return dtype
    return np.dtype(np.float64) if dtype.itemsize == 8 else FLOAT32


def _node(dtype: DType, weak: bool) -> str:
    if not weak or dtype == BOOL:
        return dtype.name
    return {"f": "f*", "c": "c*"}.get(kind(dtype), "i*")


@lru_cache(maxsize=4096)
def lattice_join(operands: tuple[tuple[DType, bool], ...]) -> tuple[DType, bool]:
    """The dtype and weakness of a result whose operands have these dtypes and weaknesses."""
    dtypes = {dtype for dtype, _ in operands}
    if float0 in dtypes:
        raise TypeError(
            "a derivative with respect to an integer (dtype float0) holds no numbers to "
            "compute "
            "with. Leave it out of the computation."
        )
    all_weak = all(weak for _, weak in operands)
    if len(dtypes) == 1:
        dtype = next(iter(dtypes))
        return dtype, all_weak and dtype != BOOL
    nodes = frozenset(_node(dtype, weak and not all_weak) for dtype, weak in operands)
    bound = _least_upper_bound(nodes)
    if bound in WEAK_DEFAULTS:
        return WEAK_DEFAULTS[bound], True
    return np.dtype(getattr(ml_dtypes, bound, bound)), all_weak and bound != "bool"


def dtype_of(value: Any) -> tuple[DType, bool]:
    """The dtype and weakness of an array-like value, Python scalar, or dtype."""
    if type(value) in _SCALAR_DTYPES:
        return _SCALAR_DTYPES[type(value)], type(value) is not bool
    if isinstance(value, type) and value in _SCALAR_DTYPES:
        return _SCALAR_DTYPES[value], value is not bool
    if isinstance(value, np.dtype) or (
        isinstance(value, type) and issubclass(value, np.generic)
    ):
        return as_dtype(value), False
    dtype = getattr(value, "dtype", None)
    if dtype is None or isinstance(value, str):
        return as_dtype(value if isinstance(value, str) else np.asarray(value).dtype), False
    return _checked(np.dtype(dtype)), bool(getattr(value, "weak_type", False))


def join(values: Iterable[Any]) -> tuple[DType, bool]:
    """Dtype and weakness of the promotion of values, Python scalars and dtypes."""
    return lattice_join(tuple(dtype_of(value) for value in values))


def short_name(dtype: DType) -> str:
    """A compact name for printing: `f32`, `i64`, `bool`, `bf16`, `c64`."""
    if dtype == BOOL:
        return "bool"
    if dtype == bfloat16:
        return "bf16"
    return f"{dtype.kind}{dtype.itemsize * 8}"
