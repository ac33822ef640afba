"""The NumPy interface: NumPy's functions, on arrays and tracers alike.

Names, signatures and meaning are those of `jax.numpy`; `docs/differences.md` lists what
differs. The names are in `__init__.pyi`; each module is imported when a name of it is first
used.
"""

from __future__ import annotations

from wengert.core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)
