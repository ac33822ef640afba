"""Values and bits against JAX: `make parity`.

Calls functions of one name in both systems on the same inputs, and prints where they differ by
more than rounding, in value, dtype or shape. Random bits and draws are compared bit by bit.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import wengert
import wengert.numpy as wnp
from benchmarks.parity_control import control_flow

UNARY = (
    "abs arccos arccosh arcsin arcsinh arctan arctanh cbrt ceil conj cos cosh exp exp2 expm1 "
    "fabs floor i0 imag isfinite isinf isnan log log10 log1p log2 negative positive real "
    "reciprocal rint round sign signbit sin sinc sinh sqrt square tan tanh trunc nan_to_num "
    "cumsum cumprod diff ediff1d flip fliplr ravel sort argsort median ptp mean std var sum "
    "prod min max argmin argmax any all unwrap gradient nansum nanmean nanmax trace tril triu "
    "diagonal transpose squeeze unique count_nonzero cov corrcoef"
).split()
BINARY = (
    "add subtract multiply divide floor_divide remainder fmod power maximum minimum fmax fmin "
    "arctan2 hypot logaddexp logaddexp2 copysign nextafter heaviside equal less greater "
    "not_equal allclose isclose dot matmul inner outer kron tensordot "
).split()
SAMPLERS: dict[str, dict[str, Any]] = {
    "bits": {},
    "uniform": {},
    "normal": {},
    "exponential": {},
    "gumbel": {},
    "laplace": {},
    "logistic": {},
    "cauchy": {},
    "rademacher": {},
    "truncated_normal": {"lower": -1.0, "upper": 2.0},
    "randint": {"minval": -5, "maxval": 1000},
    "gamma": {"a": 1.7},
    "beta": {"a": 0.6, "b": 2.0},
    "t": {"df": 3.0},
    "poisson": {"lam": 4.0},
}


def inputs(count: int, wide: bool) -> Iterator[tuple[np.ndarray[Any, Any], ...]]:
    """Operands of several dtypes and shapes, inside the domain of most functions."""
    rng = np.random.default_rng(7)
    for dtype in (np.float64,) if wide else (np.float32, np.int32):
        for shape in ((4, 4), (5,)):
            values = [rng.uniform(0.1, 0.9, shape) for _ in range(count)]
            yield tuple((v * (12 if dtype is np.int32 else 1)).astype(dtype) for v in values)


def differs(ours: Any, theirs: Any) -> str:
    """What differs between two results; empty if nothing does."""
    a, b = np.asarray(ours), np.asarray(theirs)
    if a.shape != b.shape:
        return f"shape {a.shape} and {b.shape}"
    if a.dtype != b.dtype and not (a.dtype.kind == b.dtype.kind == "i"):
        return f"dtype {a.dtype} and {b.dtype}"
    tolerance = 1e-5 if a.dtype in (np.float32, np.complex64) else 1e-11
    if not np.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True):
        return f"by {np.max(np.abs(a - b)):.2g}"
    return ""


def functions(names: list[str], count: int, wide: bool) -> tuple[int, list[str]]:
    """Compare functions of `count` operands; returns how many, and the misses.

    JAX takes float64 only in a mode in which its integers are wide too; integer results are
    compared by value there.
    """
    jax.config.update("jax_enable_x64", wide)
    compared, misses = 0, []
    for name in names:
        for operands in inputs(count, wide):
            try:
                theirs = getattr(jnp, name)(*operands)
            except (TypeError, ValueError):
                continue  # JAX does not take these operands either
            compared += 1
            got = jax.tree_util.tree_leaves(theirs)
            ours = wengert.tree_util.tree_leaves(getattr(wnp, name)(*operands))
            for a, b in zip(ours, got, strict=True):
                if what := differs(a, b):
                    misses.append(f"{name}({operands[0].dtype}{operands[0].shape}): {what}")
    return compared, misses


def random_draws() -> tuple[int, list[str]]:
    """Compare draws of both layouts, in bits where they are integers."""
    jax.config.update("jax_enable_x64", False)
    compared, misses = 0, []
    for partitionable in (False, True):
        jax.config.update("jax_threefry_partitionable", partitionable)
        impl = "threefry2x32_partitionable" if partitionable else "threefry2x32"
        for seed in (0, 42, 2**31 - 1):
            ours_key = wengert.random.key(seed, impl=impl)
            theirs_key = jax.random.PRNGKey(seed)
            for name, arguments in SAMPLERS.items():
                keywords = {"shape": (37,), **arguments}
                compared += 1
                theirs = getattr(jax.random, name)(theirs_key, **keywords)
                ours = getattr(wengert.random, name)(ours_key, **keywords)
                theirs = np.asarray(theirs)
                exact = name in ("bits", "randint", "rademacher")
                a = np.asarray(ours)
                same = (
                    np.array_equal(a, theirs)
                    if exact
                    else np.allclose(a, theirs, rtol=1e-5, atol=1e-6)
                )
                if not same:
                    misses.append(f"random.{name}, {impl}, seed {seed}")
    return compared, misses


def main() -> int:
    """Print all differences; 1 if there are any."""
    failed = 0
    for title, (compared, misses) in (
        ("unary", functions(UNARY, 1, wide=False)),
        ("unary, float64", functions(UNARY, 1, wide=True)),
        ("binary", functions(BINARY, 2, wide=False)),
        ("binary, float64", functions(BINARY, 2, wide=True)),
        ("random", random_draws()),
        ("control flow", control_flow()),
    ):
        print(f"{title}: {compared} comparisons, {len(misses)} differences")
        for miss in misses:
            print("  ", miss)
        failed += len(misses)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
