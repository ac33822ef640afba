"""Wengert: composable derivatives of NumPy programs.

>>> import wengert, wengert.numpy as wnp
>>> wengert.grad(lambda x: wnp.sum(wnp.sin(x) ** 2))(wnp.array([0.0, 1.0]))
Array([0.       , 0.9092974], dtype=float32)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from wengert import config as config
from wengert import errors as errors
from wengert.core.array import Array as Array
from wengert.core.array import ArrayType as ShapeDtypeStruct
from wengert.core.dtypes import float0 as float0
from wengert.numpy.methods import install as _install_methods
from wengert.transforms import checkpoint_policies as checkpoint_policies
from wengert.transforms.checkpoint import checkpoint as checkpoint
from wengert.transforms.custom_jvp import custom_jvp as custom_jvp
from wengert.transforms.custom_vjp import custom_vjp as custom_vjp
from wengert.transforms.grad import grad as grad
from wengert.transforms.grad import value_and_grad as value_and_grad
from wengert.transforms.inspection import profile as profile
from wengert.transforms.inspection import show as show
from wengert.transforms.jacobian import hessian as hessian
from wengert.transforms.jacobian import hvp as hvp
from wengert.transforms.jacobian import jacfwd as jacfwd
from wengert.transforms.jacobian import jacobian as jacobian
from wengert.transforms.jacobian import jacrev as jacrev
from wengert.transforms.jit import closure_convert as closure_convert
from wengert.transforms.jit import eval_shape as eval_shape
from wengert.transforms.jit import jit as jit
from wengert.transforms.jit import make_program as make_program
from wengert.transforms.jvp import jvp as jvp
from wengert.transforms.linearize import linearize as linearize
from wengert.transforms.naming import named_call as named_call
from wengert.transforms.naming import named_scope as named_scope
from wengert.transforms.placement import block_until_ready as block_until_ready
from wengert.transforms.placement import device_get as device_get
from wengert.transforms.placement import device_put as device_put
from wengert.transforms.vjp import linear_transpose as linear_transpose
from wengert.transforms.vjp import vjp as vjp
from wengert.transforms.vmap import vmap as vmap

if TYPE_CHECKING:
    from wengert.testing import check_grads as check_grads
    from wengert.testing import check_rules as check_rules

__version__ = "0.1.0"

remat = checkpoint
make_jaxpr = make_program

_install_methods()

#: What is imported when first used, so that `import wengert` stays light.
_LAZY_MODULES = frozenset(
    {
        "ad_checkpoint",
        "custom_derivatives",
        "extend",
        "lax",
        "nn",
        "random",
        "scipy",
        "testing",
        "tree",
        "tree_util",
    }
)
_LAZY_NAMES = {"check_grads": "wengert.testing", "check_rules": "wengert.testing"}


def __getattr__(name: str) -> Any:
    if name in _LAZY_MODULES:
        return importlib.import_module(f"wengert.{name}")
    if name in _LAZY_NAMES:
        return getattr(importlib.import_module(_LAZY_NAMES[name]), name)
    raise AttributeError(f"module 'wengert' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY_MODULES, *_LAZY_NAMES])
