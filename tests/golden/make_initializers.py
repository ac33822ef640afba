"""Makes `initializers.json`: draws of `jax.nn.initializers` for the key `PRNGKey(3)`.

Run with JAX installed: python tests/golden/make_initializers.py
"""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np

CASES = [
    ("uniform", (0.3,), (2, 3)),
    ("normal", (0.3,), (2, 3)),
    ("truncated_normal", (0.3,), (2, 3)),
    ("glorot_uniform", (), (4, 3)),
    ("glorot_normal", (), (2, 2, 4, 2)),
    ("he_uniform", (), (4, 3)),
    ("he_normal", (), (4, 3)),
    ("lecun_uniform", (), (4, 3)),
    ("lecun_normal", (), (4, 3)),
    ("variance_scaling", (2.0, "fan_out", "normal", (0, 1), 2), (2, 3, 4)),
    ("variance_scaling", (2.0, "fan_geo_avg", "uniform", 0, 1, (2,)), (2, 3, 4)),
    ("orthogonal", (1.5,), (3, 4)),
    ("orthogonal", (1.5, 0), (3, 2, 5)),
    ("delta_orthogonal", (), (3, 2, 4)),
]


def main() -> None:
    """Draw and write."""
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_threefry_partitionable", False)
    key = jax.random.PRNGKey(3)
    out = []
    for name, arguments, shape in CASES:
        init = getattr(jax.nn.initializers, name)(*arguments)
        case = {"name": name, "arguments": arguments, "shape": shape}
        for dtype in ("float32", "float64"):
            case[dtype] = np.asarray(init(key, shape, dtype), np.float64).round(9).tolist()
        out.append(case)
    path = Path(__file__).parent / "initializers.json"
    path.write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
