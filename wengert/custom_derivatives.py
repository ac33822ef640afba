"""What functions with derivative rules of their own are written with.

The names are those of `jax.custom_derivatives`. `SymbolicZero` and `CustomVJPPrimal` are what
rules meet that are set with `symbolic_zeros=True`.

>>> import wengert
>>> @wengert.custom_jvp
... def product(x, y):
...     return x * y
>>> def rule(primals, tangents):
...     (x, y), (x_dot, y_dot) = primals, tangents
...     terms = [(x_dot, y), (y_dot, x)]
...     return x * y, sum(a * b for a, b in terms if type(a) is not SymbolicZero)
>>> _ = product.defjvp(rule, symbolic_zeros=True)
>>> wengert.grad(product)(2.0, 3.0)
Array(3., dtype=float32, weak_type=True)
"""

from __future__ import annotations

from wengert.transforms.custom import SymbolicZero as SymbolicZero
from wengert.transforms.custom_jvp import custom_jvp as custom_jvp
from wengert.transforms.custom_vjp import CustomVJPPrimal as CustomVJPPrimal
from wengert.transforms.custom_vjp import custom_vjp as custom_vjp
from wengert.transforms.jit import closure_convert as closure_convert
