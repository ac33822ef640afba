"""What `wengert.random` gives is what JAX gives, in both layouts: see `golden/make_random.py`.

Bits, keys, integers and truth values are equal. Floats are equal to rounding: they come out of
the same formulas, whose logarithms and other functions differ in their last digit.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import wengert
from wengert import random

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "random.json").read_text())
LAYOUTS = ("threefry2x32", "threefry2x32_partitionable")
#: Relative and absolute tolerances.
TOLERANCES = {
    "float16": (2e-3, 1e-3),
    "bfloat16": (8e-3, 8e-3),
    "float32": (2e-6, 5e-7),
    "float64": (1e-12, 1e-13),
    "complex64": (2e-6, 5e-7),
    "complex128": (1e-12, 1e-13),
}


def argument(value):
    if isinstance(value, dict):
        return np.array(value["array"], value["dtype"])
    if isinstance(value, list):
        return tuple(map(argument, value))
    return value


def label(case):
    text = json.dumps(case["case"])
    return text if len(text) < 90 else f"{text[:90]}..."


def draw(case, layout):
    name, args, kwargs = case["case"]
    out = getattr(random, name)(
        random.key(case["seed"], impl=layout),
        *map(argument, args),
        **{k: argument(v) for k, v in kwargs.items()},
    )
    return random.key_data(out) if isinstance(out, random.KeyArray) else out


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", GOLDEN["cases"], ids=label)
def test_case(case, layout):
    out, expected = draw(case, layout), case[layout]
    assert isinstance(out, wengert.Array)
    assert out.shape == tuple(expected["shape"])
    assert out.dtype.name == expected["dtype"]
    values = np.asarray(out)
    if expected["dtype"] not in TOLERANCES:
        np.testing.assert_array_equal(
            values, np.array(expected["values"], out.dtype).reshape(out.shape)
        )
        return
    rtol, atol = TOLERANCES[expected["dtype"]]
    if values.dtype.kind == "c":
        values = np.stack([values.real, values.imag], axis=-1)
    wanted = np.array(expected["values"], np.float64).reshape(values.shape)
    np.testing.assert_allclose(values.astype(np.float64), wanted, rtol, atol)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", GOLDEN["digests"], ids=label)
def test_large_draws_of_bits(case, layout):
    out = np.asarray(draw(case, layout))
    assert hashlib.sha256(out.tobytes()).hexdigest() == case[layout]


@pytest.mark.parametrize(("seed", "words"), GOLDEN["seeds"])
def test_seeds(seed, words):
    assert random.PRNGKey(seed).tolist() == words
    assert random.key_data(random.key(seed)).tolist() == words


def test_the_keys_that_the_notebook_printed():
    key = random.PRNGKey(0)
    key, _ = random.split(key)
    key, subkey = random.split(key)
    assert f"{key} {subkey}" == "[2384771982 3928867769] [1278412471 2182328957]"


def test_the_normal_numbers_that_the_notebook_printed():
    _, key, _ = random.split(random.PRNGKey(0), 3)
    assert str(random.normal(key, (4,))) == "[-0.36838785  0.35917208  0.01144757 -0.12499736]"
