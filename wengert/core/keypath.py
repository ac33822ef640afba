"""Key paths: where in a tree a leaf is, as a tuple of keys.

There is one kind of key for each way in which a container holds its children: by position, by
key, by attribute name, or in an order that only its registration knows. `key_of` makes them of
optree's path entries; `KeyedEntry` is the entry of classes whose registration names the keys.
The names are those of `jax.tree_util`, which `wengert.tree_util` re-exports.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import optree

from wengert.core import tree as core
from wengert.core.tree import TreeDef


@dataclasses.dataclass(frozen=True)
class SequenceKey:
    """The position of a child in a sequence."""

    idx: int

    def __str__(self) -> str:
        return f"[{self.idx!r}]"


@dataclasses.dataclass(frozen=True)
class DictKey:
    """The key of a child in a mapping."""

    key: Hashable

    def __str__(self) -> str:
        return f"[{self.key!r}]"


@dataclasses.dataclass(frozen=True)
class GetAttrKey:
    """The name of a child that is an attribute."""

    name: str

    def __str__(self) -> str:
        return f".{self.name}"


@dataclasses.dataclass(frozen=True)
class FlattenedIndexKey:
    """The position of a child of a registered class that names no keys."""

    key: int

    def __str__(self) -> str:
        return f"[<flat index {self.key}>]"


KeyEntry = Any
KeyPath = tuple[KeyEntry, ...]


class KeyedEntry(optree.PyTreeEntry):
    """The path entry of a class that was registered with keys: the key itself."""

    def codify(self, /, node: str = "") -> str:
        return f"{node}{self.entry}"


def key_of(entry: optree.PyTreeEntry) -> KeyEntry:
    """The key that a path entry of optree stands for."""
    if isinstance(entry, KeyedEntry):
        return entry.entry
    if isinstance(entry, optree.NamedTupleEntry | optree.StructSequenceEntry):
        return GetAttrKey(entry.field)
    if isinstance(entry, optree.GetAttrEntry):
        return GetAttrKey(entry.name)
    if isinstance(entry, optree.SequenceEntry):
        return SequenceKey(entry.entry)
    if isinstance(entry, optree.MappingEntry):
        return DictKey(entry.entry)
    return FlattenedIndexKey(entry.entry)


def keystr(keys: Iterable[KeyEntry], *, simple: bool = False, separator: str = "") -> str:
    """A key path as text.

    Args:
      keys: the entries of the path.
      simple: write bare names, positions and keys instead of Python's access syntax.
      separator: what stands between two entries.

    >>> path = (DictKey("w"), SequenceKey(0))
    >>> keystr(path)
    "['w'][0]"
    >>> keystr(path, simple=True, separator="/")
    'w/0'
    """
    return separator.join(str(_bare(key) if simple else key) for key in keys)


def _bare(key: KeyEntry) -> Any:
    match key:
        case SequenceKey():
            return key.idx
        case DictKey() | FlattenedIndexKey():
            return key.key
        case GetAttrKey():
            return key.name
        case _:
            return key


class Boxed:
    """A subtree that is taken for a leaf."""

    __slots__ = ("node",)

    def __init__(self, node: Any) -> None:
        self.node = node


def box_leaves(tree: Any, is_leaf: Callable[[KeyPath, Any], bool], path: KeyPath) -> Any:
    """The tree with every node for which the predicate holds made a leaf."""
    if is_leaf(path, tree):
        return Boxed(tree)
    children, treedef = one_level(tree)
    if optree.treespec_is_leaf(treedef):
        return tree
    boxed = [box_leaves(child, is_leaf, (*path, key)) for key, child in children]
    return core.unflatten(treedef, boxed)


def one_level(tree: Any) -> tuple[list[tuple[KeyEntry, Any]], TreeDef]:
    """The children of a node with their keys, and the structure of this one level."""
    accessors, children, treedef = optree.tree_flatten_with_accessor(
        tree, is_leaf=lambda node: node is not tree, namespace=core.NAMESPACE
    )
    if optree.treespec_is_leaf(treedef):
        return [], treedef
    return [
        (key_of(a[0]), child) for a, child in zip(accessors, children, strict=True)
    ], treedef
