"""Names for parts of a program: `named_call` and `named_scope`.

A named call stays one equation in printed programs, under its name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from wengert.core.tracing import is_tracing
from wengert.transforms.jit import JitFunction


def named_call(fun: Callable[..., Any], *, name: str | None = None) -> Callable[..., Any]:
    """`fun`, which shows up under a name in traced programs; its results are the same.

    Args:
      fun: any function.
      name: what to call it; by default its own name.

    >>> import wengert, wengert.numpy as wnp
    >>> f = wengert.named_call(wnp.sin, name="wave")
    >>> print(wengert.make_program(f)(1.0))
    program(a: f32*[]) {
      b: f32*[] = call(a, name='wave')
        program(a: f32*[]) {
          b: f32*[] = sin(a)
          return b
        }
      return b
    }
    """
    traced = JitFunction(fun, None, None, name=name)

    @functools.wraps(fun, updated=())
    def named(*args: Any, **kwargs: Any) -> Any:
        return (traced if is_tracing() else fun)(*args, **kwargs)

    return named


@contextmanager
def named_scope(name: str) -> Iterator[None]:
    """Mark the operations of a block with a name; it has no effect on results.

    >>> import wengert
    >>> with wengert.named_scope("encoder"):
    ...     y = wengert.grad(lambda x: x * x)(3.0)
    """
    if not isinstance(name, str):
        raise TypeError(f"named_scope needs a string, got {name!r}.")
    yield
