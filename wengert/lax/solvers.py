"""Solvers whose derivatives follow from the equations that they solve.

`custom_root` and `custom_linear_solve` take the solver as an argument: any code. Its steps are
not differentiated.
"""

from __future__ import annotations

from wengert.transforms.implicit import custom_linear_solve as custom_linear_solve
from wengert.transforms.implicit import custom_root as custom_root
