"""Makes `random.json`: what `jax.random` gives, for the tests of `wengert.random`.

Run it by hand, with JAX installed: `python tests/golden/make_random.py`. Nothing in the package
or in its tests imports this file.

A case is `[function, arguments after the key, keywords]`; arrays are written as
`{"array": nested lists, "dtype": name}`. Every case is run with both layouts of threefry2x32,
with 64-bit numbers enabled where it asks for them, and with a seed of its own. Large draws of
bits are kept as SHA-256 digests.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

LAYOUTS = {"threefry2x32": False, "threefry2x32_partitionable": True}


def array(values: Any, dtype: str = "float32") -> dict[str, Any]:
    """An array argument."""
    return {"array": values, "dtype": dtype}


SHAPES = [[], [0], [1], [2], [3], [5, 3], [7], [2, 0, 3], [255], [256], [257]]
LARGE = [[70001], [300, 257]]

BITS = [
    *(
        ["bits", [shape, dtype], {}]
        for shape in SHAPES
        for dtype in ("uint8", "uint16", "uint32")
    ),
    *(["bits", [shape, "uint64"], {}] for shape in SHAPES),
    *(["split", [num], {}] for num in (0, 1, 2, 3, 10, 129, [2, 3], [0, 2])),
    *(["fold_in", [data], {}] for data in (0, 1, 77, 2**31, 2**32 - 1)),
    ["fold_in", [array(-5, "int32")], {}],
]

VALUES = [
    *(["uniform", [[n]], {}] for n in (1, 6, 33)),
    ["uniform", [[4, 5]], {"minval": -1.5, "maxval": 2.7}],
    [
        "uniform",
        [[2, 3]],
        {"minval": array([[0.0], [-5.0]]), "maxval": array([1.0, 9.0, 10.0])},
    ],
    *(["uniform", [[9]], {"dtype": d}] for d in ("float16", "bfloat16", "float64")),
    *(["normal", [shape], {}] for shape in ([], [4], [3, 3], [3, 3, 3], [101])),
    *(["normal", [[9]], {"dtype": d}] for d in ("float16", "bfloat16", "float64")),
    *(["normal", [[9]], {"dtype": d}] for d in ("complex64", "complex128")),
    ["truncated_normal", [-1.0, 2.0], {"shape": [21]}],
    ["truncated_normal", [array([-2.0, 0.5]), array([0.0, 3.0])], {"shape": [5, 2]}],
    ["truncated_normal", [2.0, float("inf")], {"shape": [11]}],
    *(["randint", [[12], low, high], {}] for low, high in ((0, 10), (-5, 6), (0, 2**16))),
    ["randint", [[12], 3, 4], {}],
    *(["randint", [[12], -(2**31), high], {}] for high in (0, 2**31 - 1)),
    *(["randint", [[12], 0, high], {}] for high in (2**16 + 1, 100003, 2**30 + 7)),
    ["randint", [[40], 0, 256], {"dtype": "uint8"}],
    ["randint", [[40], -128, 128], {"dtype": "int8"}],
    ["randint", [[20], 7, 1000], {"dtype": "int16"}],
    ["randint", [[20], 0, array(2**32 - 1, "uint32")], {"dtype": "uint32"}],
    ["randint", [[20], 5, 10**12], {"dtype": "int64"}],
    ["randint", [[20], -(2**63), 2**63 - 1], {"dtype": "int64"}],
    ["randint", [[2, 3], array([[0], [-10]], "int32"), array([5, 6, 7], "int32")], {}],
    *(["bernoulli", [], {"p": p, "shape": [40]}] for p in (0.0, 0.2, 0.5, 1.0)),
    ["bernoulli", [array([0.1, 0.5, 0.9])], {"shape": [5, 3]}],
    ["bernoulli", [0.2], {"shape": [40], "mode": "high"}],
    ["rademacher", [[40]], {}],
    ["rademacher", [[9]], {"dtype": "float32"}],
    *(["exponential", [[21]], {"dtype": d}] for d in ("float32", "float64")),
    *(["gumbel", [[21]], {"dtype": d}] for d in ("float32", "float64")),
    ["gumbel", [[21]], {"mode": "high"}],
    *(["laplace", [[21]], {"dtype": d}] for d in ("float32", "float64")),
    *(["logistic", [[21]], {"dtype": d}] for d in ("float32", "float64")),
    *(["cauchy", [[21]], {"dtype": d}] for d in ("float32", "float64")),
    ["maxwell", [[4, 5]], {}],
    ["double_sided_maxwell", [1.0, 2.0], {"shape": [9]}],
    ["double_sided_maxwell", [array([1.0, 0.0]), 2.0], {}],
    ["weibull_min", [2.0, 1.5], {"shape": [9]}],
    ["pareto", [array([2.0, 3.0])], {"shape": [5, 2]}],
    ["pareto", [2.0], {"shape": [9], "dtype": "float64"}],
    ["rayleigh", [array([2.0, 3.0])], {"shape": [5, 2]}],
    ["lognormal", [0.7], {"shape": [9]}],
    ["triangular", [-1.0, 0.5, 2.0], {"shape": [21]}],
    ["wald", [array([0.5, 3.0])], {"shape": [9, 2]}],
    *(["gamma", [a], {"shape": [30]}] for a in (0.05, 0.7, 1.0, 3.0, 100.0)),
    ["gamma", [array([0.2, 1.5, 4.0])], {"shape": [5, 3]}],
    ["gamma", [array([[0.2], [7.0]])], {}],
    ["gamma", [0.4], {"shape": [], "dtype": "float64"}],
    ["gamma", [array([0.4, 2.0], "float64")], {"shape": [7, 2], "dtype": "float64"}],
    *(["loggamma", [a], {"shape": [30]}] for a in (0.001, 0.3, 2.0)),
    ["beta", [0.5, 2.0], {"shape": [20]}],
    ["beta", [array([0.01, 3.0]), array([0.02, 1.0])], {}],
    ["dirichlet", [array([0.5, 1.0, 3.0])], {"shape": [6]}],
    ["dirichlet", [array([[0.5, 1.0], [2.0, 30.0]])], {}],
    ["chisquare", [3.0], {"shape": [12]}],
    ["f", [3.0, 7.0], {"shape": [12]}],
    ["t", [array([2.0, 30.0])], {"shape": [9, 2]}],
    ["generalized_normal", [1.5], {"shape": [12]}],
    ["ball", [3], {"shape": [5]}],
    ["ball", [2], {"p": 1.0, "shape": [5]}],
    *(["poisson", [lam], {"shape": [50]}] for lam in (0.3, 4.0, 9.9, 10.0, 63.0, 5e4)),
    ["poisson", [array([0.0, 2.0, 20.0, -1.0])], {"shape": [9, 4]}],
    ["poisson", [3.0], {"shape": [9], "dtype": "int64"}],
    *(["binomial", [n, p], {"shape": [50]}] for n, p in ((7, 0.3), (40, 0.9), (1000, 0.4))),
    ["binomial", [array([5.0, 60.0, -1.0]), array([0.5, 0.6, 0.5])], {"shape": [9, 3]}],
    [
        "binomial",
        [array([80.0], "float64"), array([0.35], "float64")],
        {"shape": [30], "dtype": "float64"},
    ],
    ["multinomial", [20, array([0.2, 0.3, 0.5])], {}],
    ["multinomial", [array([10.0, 50.0]), array([0.1, 0.9])], {"shape": [2, 2]}],
    *(["geometric", [p], {"shape": [30]}] for p in (0.05, 0.5)),
    *(["permutation", [n], {}] for n in (0, 1, 2, 10, 300)),
    ["permutation", [array(list(range(12)), "int32")], {}],
    *(
        ["permutation", [array(np.arange(12).reshape(4, 3).tolist(), "int32")], {"axis": a}]
        for a in (0, 1)
    ),
    *(
        [
            "permutation",
            [array(np.arange(12).reshape(4, 3).tolist(), "int32")],
            {"axis": a, "independent": True},
        ]
        for a in (0, -1)
    ),
    ["choice", [9, [20]], {}],
    ["choice", [9, []], {}],
    ["choice", [9, [5]], {"replace": False}],
    ["choice", [9, [20]], {"p": array([0.1, 0.0, 0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])}],
    [
        "choice",
        [array([[1, 2, 3], [4, 5, 6]], "int32"), [2, 2]],
        {"axis": 1, "p": array([1.0, 2.0, 3.0])},
    ],
    ["choice", [5, [4]], {"replace": False, "p": array([0.1, 0.2, 0.3, 0.2, 0.2])}],
    ["choice", [array([[1, 2, 3], [4, 5, 6]], "int32"), [2]], {"replace": False, "axis": 1}],
    ["choice", [array([[1, 2, 3], [4, 5, 6]], "int32"), [3]], {}],
    ["categorical", [array([0.1, 2.0, -1.0])], {"shape": [20]}],
    ["categorical", [array([[0.1, 2.0, -1.0], [0.0, 0.0, 9.0]])], {"shape": [6, 2]}],
    ["categorical", [array([[0.1, 2.0, -1.0], [0.0, 0.0, 9.0]])], {"axis": 0}],
    ["categorical", [array([[0.1, 2.0, -1.0]])], {"shape": [2, 1], "replace": False}],
    ["categorical", [array([0.1, 2.0, -1.0])], {"shape": [20], "mode": "high"}],
    [
        "multivariate_normal",
        [array([1.0, -1.0]), array([[2.0, 0.5], [0.5, 1.0]])],
        {"shape": [6]},
    ],
    [
        "multivariate_normal",
        [array([1.0, -1.0]), array([[2.0, 0.5], [0.5, 1.0]])],
        {"method": "eigh"},
    ],
    [
        "multivariate_normal",
        [array([1.0, -1.0]), array([[2.0, 0.5], [0.5, 1.0]])],
        {"method": "svd"},
    ],
    ["orthogonal", [3], {}],
    ["orthogonal", [2], {"shape": [2], "m": 3}],
    ["orthogonal", [3], {"m": 2, "dtype": "float64"}],
]

SEEDS = [0, 1, 42, 2**31 - 1, -1, -(2**31)]
WIDE_SEEDS = [2**31, 2**32, 2**32 + 5, 2**63 - 1, -(2**31) - 1, -(2**63)]


def argument(value: Any) -> Any:
    """A JSON value as an argument of a function of `jax.random`."""
    if isinstance(value, dict):
        return np.array(value["array"], value["dtype"])
    if isinstance(value, list):
        return tuple(map(argument, value))
    return value


def encoded(value: Any) -> dict[str, Any]:
    """A result as JSON."""
    out = np.asarray(value)
    name = out.dtype.name
    if out.dtype.kind == "c":
        out = np.stack([out.real, out.imag], axis=-1)
    if name == "bfloat16":
        out = out.astype(np.float32)
    return {"dtype": name, "shape": list(np.shape(value)), "values": out.tolist()}


def expected(case: list[Any], seed: int, digest: bool) -> dict[str, Any]:
    """What JAX gives for a case, by layout."""
    name, args, kwargs = case
    text = json.dumps(case)
    wide = any(f'"{dtype}"' in text for dtype in ("int64", "uint64", "float64", "complex128"))
    out: dict[str, Any] = {"case": case, "seed": seed}
    for layout, partitionable in LAYOUTS.items():
        with jax.enable_x64(wide), jax.threefry_partitionable(partitionable):
            key = jax.random.PRNGKey(seed)
            value = getattr(jax.random, name)(
                key, *map(argument, args), **{k: argument(v) for k, v in kwargs.items()}
            )
            if digest:
                out[layout] = hashlib.sha256(np.asarray(value).tobytes()).hexdigest()
            else:
                out[layout] = encoded(value)
    return out


def seeds() -> list[Any]:
    """Seeds and their words; those beyond 32 bits as JAX has them with 64-bit numbers."""
    out = []
    for seed in SEEDS + WIDE_SEEDS:
        with jax.enable_x64(seed in WIDE_SEEDS):
            out.append([seed, np.asarray(jax.random.PRNGKey(seed)).tolist()])
    return out


def main() -> None:
    """Write the file."""
    cases = BITS + VALUES
    large = [["bits", [s, f"uint{w}"], {}] for s in LARGE for w in (8, 16, 32, 64)]
    content = {
        "made with": f"jax {jax.__version__}",
        "seeds": seeds(),
        "cases": [expected(case, i * 7919, False) for i, case in enumerate(cases)],
        "digests": [expected(case, i, True) for i, case in enumerate(large)],
    }
    path = Path(__file__).with_name("random.json")
    lines = json.dumps(content).replace('{"case"', '\n{"case"')
    path.write_text(lines + "\n")
    print(f"{path}: {len(cases)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
