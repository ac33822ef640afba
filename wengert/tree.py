"""Pytrees under short names: `wengert.tree.map`, `wengert.tree.leaves` and so on.

The names are those of `jax.tree`. Each function is that of `wengert.tree_util` with the prefix
`tree_`; what trees are is described there.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from wengert.tree_util import tree_all as all
from wengert.tree_util import tree_broadcast as broadcast
from wengert.tree_util import tree_flatten as flatten
from wengert.tree_util import tree_flatten_with_path as flatten_with_path
from wengert.tree_util import tree_leaves as leaves
from wengert.tree_util import tree_leaves_with_path as leaves_with_path
from wengert.tree_util import tree_map as map
from wengert.tree_util import tree_map_with_path as map_with_path
from wengert.tree_util import tree_reduce as reduce
from wengert.tree_util import tree_reduce_associative as reduce_associative
from wengert.tree_util import tree_structure as structure
from wengert.tree_util import tree_transpose as transpose
from wengert.tree_util import tree_unflatten as unflatten


def static(**kwargs: Any) -> Any:
    """A static field of a dataclass that `tree_util.register_dataclass` makes a container.

    Takes the keywords of `dataclasses.field`.

    >>> import dataclasses
    >>> from wengert import tree_util
    >>> @tree_util.register_dataclass
    ... @dataclasses.dataclass
    ... class Scale:
    ...     factor: float
    ...     unit: str = static(default="m")
    >>> leaves(Scale(2.0))
    [2.0]
    """
    metadata = {**(kwargs.pop("metadata", None) or {}), "static": True}
    return dataclasses.field(metadata=metadata, **kwargs)


__all__ = [
    "all",
    "broadcast",
    "flatten",
    "flatten_with_path",
    "leaves",
    "leaves_with_path",
    "map",
    "map_with_path",
    "reduce",
    "reduce_associative",
    "static",
    "structure",
    "transpose",
    "unflatten",
]
