"""What people import who add primitives, transformations or engines.

>>> import numpy as np, wengert
>>> from wengert.extend import Elementwise
>>> class Cube(Elementwise):
...     compute = staticmethod(lambda x: x * x * x)
...     partials = (lambda out, x: 3 * x * x,)
>>> cube = Cube()
>>> wengert.grad(cube)(2.0)
Array(12., dtype=float32, weak_type=True)
"""

from __future__ import annotations

from wengert.core.array import Array as Array
from wengert.core.array import ArrayType as ArrayType
from wengert.core.array import as_array as as_array
from wengert.core.interpreter import Interpreter as Interpreter
from wengert.core.interpreter import Tag as Tag
from wengert.core.interpreter import Tracer as Tracer
from wengert.core.interpreter import state as state
from wengert.core.primitive import Primitive as Primitive
from wengert.core.primitive import Sample as Sample
from wengert.core.primitive import Zero as Zero
from wengert.core.primitive import all_primitives as all_primitives
from wengert.core.program import Equation as Equation
from wengert.core.program import Literal as Literal
from wengert.core.program import Program as Program
from wengert.core.program import Variable as Variable
from wengert.core.tracing import trace as trace
from wengert.primitives.basis import Elementwise as Elementwise
from wengert.primitives.basis import Linear as Linear
