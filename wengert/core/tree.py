"""Pytrees, over optree: how nested containers become lists of leaves and back.

The structure is JAX's: `None` is a container without leaves; dictionaries are flattened in the
order of their sorted keys; namedtuples, deques, ordered and default dictionaries are known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import optree

from wengert.core.array import Array, ArrayType

NAMESPACE = "wengert"
TreeDef = optree.PyTreeSpec
_LEAF_TYPES = frozenset({Array, float, int, complex, bool, ArrayType})
_LEAF = optree.tree_structure(0.0, namespace=NAMESPACE)  # type: ignore[arg-type]


def flatten(
    tree: Any, is_leaf: Callable[[Any], bool] | None = None
) -> tuple[list[Any], TreeDef]:
    """The leaves of a tree, and its structure."""
    if type(tree) in _LEAF_TYPES and is_leaf is None:
        return [tree], _LEAF
    return optree.tree_flatten(tree, is_leaf=is_leaf, namespace=NAMESPACE)


def unflatten(treedef: TreeDef, leaves: Iterable[Any]) -> Any:
    """The tree with this structure and these leaves."""
    if treedef is _LEAF:
        (leaf,) = leaves
        return leaf
    return optree.tree_unflatten(treedef, leaves)


def leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[Any]:
    """The leaves of a tree."""
    return optree.tree_leaves(tree, is_leaf=is_leaf, namespace=NAMESPACE)


def structure(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> TreeDef:
    """The structure of a tree."""
    return optree.tree_structure(tree, is_leaf=is_leaf, namespace=NAMESPACE)


def map(
    f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: Callable[[Any], bool] | None = None
) -> Any:
    """`f` applied leaf by leaf to trees of one structure."""
    return optree.tree_map(f, tree, *rest, is_leaf=is_leaf, namespace=NAMESPACE)


def broadcast_prefix(
    prefix: Any, tree: Any, is_leaf: Callable[[Any], bool] | None = None
) -> list[Any]:
    """A prefix tree's leaves, each repeated for all the leaves of `tree` below it.

    Raises:
      ValueError: when `prefix` is not a prefix of `tree`.
    """
    return optree.broadcast_prefix(prefix, tree, is_leaf=is_leaf, namespace=NAMESPACE)


def leaf_paths(tree: Any) -> list[str]:
    """The access path of each leaf, as Python would write it: `['w'][0]`."""
    accessors, _, _ = optree.tree_flatten_with_accessor(tree, namespace=NAMESPACE)
    return [accessor.codify("") for accessor in accessors]


class Wrapper(optree.PyTreeEntry):
    """The entry of a container that users take for its only child: paths do not show it."""

    def codify(self, /, node: str = "") -> str:
        """The path as it was."""
        return node


def difference(one: TreeDef, other: TreeDef, path: str = "") -> tuple[str, str, str] | None:
    """Where two structures differ first: the path, and what each has there.

    >>> difference(structure({"a": (1, 2)}), structure({"a": [1, 2]}))
    ("['a']", 'a tuple of 2 items', 'a list of 2 items')
    """
    if one == other:
        return None
    below, expected = _children(one, path), _children(other, path)
    if one.type is other.type and below.keys() == expected.keys():
        found = (difference(child, expected[place], place) for place, child in below.items())
        first = next(filter(None, found), None)
        if first is not None:
            return first
    kinds = _kind(one), _kind(other)
    return (path, *kinds) if kinds[0] != kinds[1] else (path, str(one), str(other))


def _children(treedef: TreeDef, path: str) -> dict[str, TreeDef]:
    """The structures of the children, by their paths."""
    level = treedef.one_level()
    places = [] if level is None else [a.codify(path) for a in level.accessors()]
    return dict(zip(places, treedef.children(), strict=True))


def _kind(treedef: TreeDef) -> str:
    """A structure without what is below it."""
    if treedef.type is None:
        return "an array"
    if treedef.type is type(None):
        return "None"
    name, count = treedef.type.__name__, treedef.num_children
    if issubclass(treedef.type, dict) and count:
        return f"a {name} with the keys {', '.join(map(repr, treedef.entries()))}"
    return f"a {name} of {count} item{'s' * (count != 1)}"


def register_node(
    cls: type,
    flatten_function: Callable[[Any], tuple[Any, ...]],
    unflatten_function: Callable[[Any, Any], Any],
    entry_type: type[optree.PyTreeEntry] = optree.AutoEntry,
) -> None:
    """Make a class a container.

    The functions are `flatten(x) -> (children, static)` and `unflatten(static, children)`.
    `flatten` may return a third item, the name of each child, of which `entry_type` makes
    entries of access paths.
    """
    optree.register_pytree_node(
        cls,
        flatten_function,
        unflatten_function,
        path_entry_type=entry_type,
        namespace=NAMESPACE,
    )


def register_dataclass(
    cls: type, data_fields: Iterable[str] | None = None, meta_fields: Iterable[str] = ()
) -> type:
    """Make a dataclass a container; `meta_fields` are static, the other fields children."""
    static = tuple(meta_fields)
    names = tuple(
        data_fields
        if data_fields is not None
        else (field.name for field in dataclasses.fields(cls) if field.name not in static)
    )

    def split(instance: Any) -> tuple[tuple[Any, ...], ...]:
        children = tuple(getattr(instance, name) for name in names)
        return children, tuple(getattr(instance, name) for name in static), names

    def join(meta: tuple[Any, ...], children: Iterable[Any]) -> Any:
        instance: Any = object.__new__(cls)  # not __init__: leaves may be placeholders
        for name, value in zip((*names, *static), (*children, *meta), strict=True):
            object.__setattr__(instance, name, value)
        return instance

    register_node(cls, split, join, optree.GetAttrEntry)
    return cls
