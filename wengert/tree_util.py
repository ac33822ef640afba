"""Pytrees: nested containers of leaves, with the names of `jax.tree_util`.

A tree is a leaf, or a container of trees: tuple, list, dict, namedtuple, OrderedDict,
defaultdict, deque, `None` (a container of nothing), or a class that was registered. Functions
of arrays take and return trees, and the functions here take them apart and build them again.

Containers are handled by optree; this module adds the key paths, the registration of classes
by the interfaces that JAX has, and `Partial`. The shorter names are in `wengert.tree`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import optree

from wengert.core import tree as core
from wengert.core.keypath import (
    Boxed,
    DictKey,
    FlattenedIndexKey,
    GetAttrKey,
    KeyedEntry,
    KeyEntry,
    KeyPath,
    SequenceKey,
    box_leaves,
    key_of,
    keystr,
    one_level,
)
from wengert.core.tree import TreeDef

T = TypeVar("T")
IsLeaf = Callable[[Any], bool]
PyTreeDef = TreeDef


class _Missing:
    """Stands for an argument that was not given, where None would be a value."""

    def __repr__(self) -> str:
        return "<not given>"


_MISSING = _Missing()


# -- taking apart, building, mapping -----------------------------------------------------------


def tree_flatten(tree: Any, is_leaf: IsLeaf | None = None) -> tuple[list[Any], TreeDef]:
    """The leaves of a tree, and its structure.

    Args:
      tree: a tree.
      is_leaf: a predicate; where it is true of a node, the node is a leaf.

    >>> tree_flatten({"b": (1, None), "a": [2]})
    ([2, 1], PyTreeSpec({'a': [*], 'b': (*, None)}))
    """
    return core.flatten(tree, is_leaf)


def tree_unflatten(treedef: TreeDef, leaves: Iterable[Any]) -> Any:
    """The tree with this structure and these leaves.

    >>> tree_unflatten(tree_structure([0, (0,)]), "ab")
    ['a', ('b',)]
    """
    return core.unflatten(treedef, leaves)


def tree_leaves(tree: Any, is_leaf: IsLeaf | None = None) -> list[Any]:
    """The leaves of a tree.

    >>> tree_leaves({"b": (1, None), "a": [2]})
    [2, 1]
    """
    return core.leaves(tree, is_leaf)


def tree_structure(tree: Any, is_leaf: IsLeaf | None = None) -> TreeDef:
    """The structure of a tree, comparable and hashable.

    >>> tree_structure([1, 2]) == tree_structure(["x", "y"])
    True
    """
    return core.structure(tree, is_leaf)


def tree_map(
    f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: IsLeaf | None = None
) -> Any:
    """The tree of the results of `f` at each leaf.

    Args:
      f: a function of as many leaves as there are trees.
      tree: a tree.
      *rest: trees of the same structure, or deeper: `f` takes whole subtrees of them.
      is_leaf: a predicate; where it is true of a node of `tree`, the node is a leaf.

    Raises:
      ValueError: when the structures do not fit.

    >>> tree_map(lambda x, y: x + y, {"a": 1, "b": (2,)}, {"a": 10, "b": (20,)})
    {'a': 11, 'b': (22,)}
    """
    return core.map(f, tree, *rest, is_leaf=is_leaf)


def tree_reduce(
    function: Callable[[Any, Any], Any],
    tree: Any,
    initializer: Any = _MISSING,
    is_leaf: IsLeaf | None = None,
) -> Any:
    """The leaves combined from left to right by a function of two values.

    Raises:
      TypeError: for a tree without leaves when no initializer is given.

    >>> tree_reduce(lambda total, x: total + x, {"a": 1, "b": [2, 3]})
    6
    """
    leaves = core.leaves(tree, is_leaf)
    if initializer is _MISSING:
        return functools.reduce(function, leaves)
    return functools.reduce(function, leaves, initializer)


def tree_reduce_associative(
    operation: Callable[[Any, Any], Any],
    tree: Any,
    *,
    identity: Any = _MISSING,
    is_leaf: IsLeaf | None = None,
) -> Any:
    """The leaves combined by an associative function, in pairs, then pairs of pairs.

    Raises:
      TypeError: for a tree without leaves when no identity is given.

    >>> tree_reduce_associative(lambda x, y: x + y, ["a", ["b", "c"], "d"])
    'abcd'
    """
    values = core.leaves(tree, is_leaf)
    if not values:
        if identity is _MISSING:
            raise TypeError("the tree has no leaves, and no identity is given.")
        return identity
    while len(values) > 1:
        odd = values[-1:] if len(values) % 2 else []
        pairs = zip(values[::2], values[1::2], strict=False)
        values = [operation(x, y) for x, y in pairs] + odd
    return values[0]


def tree_all(tree: Any, *, is_leaf: IsLeaf | None = None) -> bool:
    """Whether all leaves are true.

    >>> tree_all({"a": True, "b": [1, 0]})
    False
    """
    return all(core.leaves(tree, is_leaf))


def tree_transpose(
    outer_treedef: TreeDef, inner_treedef: TreeDef | None, pytree_to_transpose: Any
) -> Any:
    """A tree of trees turned inside out.

    Args:
      outer_treedef: the structure of the outer tree.
      inner_treedef: the structure of each tree in its leaves; None to take it from the first.
      pytree_to_transpose: the tree of trees.

    Returns:
      a tree of structure `inner_treedef` whose leaves have structure `outer_treedef`.

    Raises:
      ValueError: when the structures do not fit.

    >>> pairs = {"a": (1, 2), "b": (3, 4)}
    >>> tree_transpose(tree_structure({"a": 0, "b": 0}), tree_structure((0, 0)), pairs)
    ({'a': 1, 'b': 3}, {'a': 2, 'b': 4})
    """
    rows = outer_treedef.flatten_up_to(pytree_to_transpose)
    if inner_treedef is None:
        inner_treedef = core.structure(rows[0])
    for row in rows:
        if core.structure(row) != inner_treedef:
            raise ValueError(
                f"cannot transpose: a subtree has the structure {core.structure(row)}, the "
                f"inner structure is {inner_treedef}."
            )
    columns = zip(*(core.leaves(row) for row in rows), strict=True)
    outer = [core.unflatten(outer_treedef, column) for column in columns]
    return core.unflatten(inner_treedef, outer)


def tree_broadcast(prefix_tree: Any, full_tree: Any, is_leaf: IsLeaf | None = None) -> Any:
    """The leaves of a prefix tree, each repeated for all leaves of `full_tree` below it.

    Raises:
      ValueError: when `prefix_tree` is not a prefix of `full_tree`.

    >>> tree_broadcast((0, 1), ([7, 8], 9))
    ([0, 0], 1)
    """
    repeated = core.broadcast_prefix(prefix_tree, full_tree, is_leaf)
    return core.unflatten(core.structure(full_tree, is_leaf), repeated)


# -- with key paths ----------------------------------------------------------------------------


def tree_flatten_with_path(
    tree: Any, is_leaf: Callable[..., bool] | None = None, is_leaf_takes_path: bool = False
) -> tuple[list[tuple[KeyPath, Any]], TreeDef]:
    """The leaves of a tree, each with its key path, and its structure.

    Args:
      tree: a tree.
      is_leaf: a predicate; where it is true of a node, the node is a leaf.
      is_leaf_takes_path: whether `is_leaf` takes the key path before the node.

    >>> tree_flatten_with_path([1, {"a": 2}])[0]
    [((SequenceKey(idx=0),), 1), ((SequenceKey(idx=1), DictKey(key='a')), 2)]
    """
    if is_leaf_takes_path and is_leaf is not None:
        tree, is_leaf = box_leaves(tree, is_leaf, ()), None
    accessors, leaves, treedef = optree.tree_flatten_with_accessor(
        tree, is_leaf=is_leaf, namespace=core.NAMESPACE
    )
    paths = [tuple(key_of(entry) for entry in accessor) for accessor in accessors]
    leaves = [leaf.node if type(leaf) is Boxed else leaf for leaf in leaves]
    return list(zip(paths, leaves, strict=True)), treedef


def tree_leaves_with_path(
    tree: Any, is_leaf: Callable[..., bool] | None = None, is_leaf_takes_path: bool = False
) -> list[tuple[KeyPath, Any]]:
    """The leaves of a tree, each with its key path (see `tree_flatten_with_path`).

    >>> [keystr(path) for path, _ in tree_leaves_with_path({"w": [1, 2]})]
    ["['w'][0]", "['w'][1]"]
    """
    return tree_flatten_with_path(tree, is_leaf, is_leaf_takes_path)[0]


def tree_map_with_path(
    f: Callable[..., Any],
    tree: Any,
    *rest: Any,
    is_leaf: Callable[..., bool] | None = None,
    is_leaf_takes_path: bool = False,
) -> Any:
    """The tree of the results of `f(key path, leaf, ...)` at each leaf (see `tree_map`).

    >>> tree_map_with_path(lambda path, x: f"{keystr(path)}={x}", {"a": 1, "b": [2]})
    {'a': "['a']=1", 'b': ["['b'][0]=2"]}
    """
    items, treedef = tree_flatten_with_path(tree, is_leaf, is_leaf_takes_path)
    columns = [treedef.flatten_up_to(other) for other in rest]
    results = [
        f(path, leaf, *others) for (path, leaf), *others in zip(items, *columns, strict=True)
    ]
    return core.unflatten(treedef, results)


# -- structures --------------------------------------------------------------------------------


def all_leaves(iterable: Iterable[Any], is_leaf: IsLeaf | None = None) -> bool:
    """Whether every element is a leaf.

    >>> all_leaves([1, "a"]), all_leaves([1, None])
    (True, False)
    """
    return optree.all_leaves(iterable, is_leaf=is_leaf, namespace=core.NAMESPACE)


def treedef_is_leaf(treedef: TreeDef) -> bool:
    """Whether a structure is one node without children.

    >>> treedef_is_leaf(tree_structure(1)), treedef_is_leaf(tree_structure([1]))
    (True, False)
    """
    return treedef.num_nodes == 1


def treedef_children(treedef: TreeDef) -> list[TreeDef]:
    """The structures of the children of the topmost node.

    >>> len(treedef_children(tree_structure((1, [2]))))
    2
    """
    return treedef.children()


def treedef_tuple(treedefs: Iterable[TreeDef]) -> TreeDef:
    """The structure of a tuple of trees with the given structures.

    >>> treedef_tuple([tree_structure(1), tree_structure([2])]) == tree_structure((1, [2]))
    True
    """
    return optree.treespec_tuple(treedefs, namespace=core.NAMESPACE)


def build_tree(treedef: TreeDef, xs: Any) -> Any:
    """The tree of this structure, from nested iterables that mirror it.

    >>> build_tree(tree_structure({"a": 0, "b": [0, 0]}), [1, [2, 3]])
    {'a': 1, 'b': [2, 3]}
    """
    return core.unflatten(treedef, _nested_leaves(treedef, xs))


def _nested_leaves(treedef: TreeDef, xs: Any) -> list[Any]:
    if optree.treespec_is_leaf(treedef):
        return [xs]
    pairs = zip(treedef.children(), xs or (), strict=True)
    return [leaf for child, x in pairs for leaf in _nested_leaves(child, x)]


def flatten_one_level(tree: Any) -> tuple[list[Any], Any]:
    """The children of the topmost node, and its static data.

    Raises:
      ValueError: for a leaf.

    >>> flatten_one_level({"b": 1, "a": [2]})
    ([[2], 1], ['a', 'b'])
    """
    children, metadata, *_ = optree.tree_flatten_one_level(tree, namespace=core.NAMESPACE)
    return children, metadata


def flatten_one_level_with_keys(tree: Any) -> tuple[list[tuple[KeyEntry, Any]], Any]:
    """The children of the topmost node with their keys, and its static data.

    Raises:
      ValueError: for a leaf.

    >>> flatten_one_level_with_keys([5])
    ([(SequenceKey(idx=0), 5)], None)
    """
    _, metadata = flatten_one_level(tree)
    return one_level(tree)[0], metadata


def is_tree_node(typ: type) -> bool:
    """Whether instances of a class are containers.

    >>> is_tree_node(list), is_tree_node(str)
    (True, False)
    """
    if optree.is_namedtuple_class(typ) or optree.is_structseq_class(typ):
        return True
    return optree.register_pytree_node.get(typ, namespace=core.NAMESPACE) is not None


# -- registration ------------------------------------------------------------------------------


def register_pytree_node(
    nodetype: type,
    flatten_func: Callable[[Any], tuple[Iterable[Any], Any]],
    unflatten_func: Callable[[Any, Any], Any],
    flatten_with_keys_func: Callable[[Any], tuple[Iterable[Any], Any]] | None = None,
) -> None:
    """Make a class a container.

    Args:
      nodetype: the class.
      flatten_func: from an instance to `(children, static data)`.
      unflatten_func: from `(static data, children)` to an instance. The children may be any
        objects, so it should not compute with them.
      flatten_with_keys_func: from an instance to `((key, child) pairs, static data)`.

    Raises:
      ValueError: when the class is registered already.

    >>> class Pair:
    ...     def __init__(self, x, y):
    ...         self.x, self.y = x, y
    >>> register_pytree_node(Pair, lambda p: ((p.x, p.y), None), lambda _, xy: Pair(*xy))
    >>> tree_leaves(Pair(1, [2, 3]))
    [1, 2, 3]
    """
    if flatten_with_keys_func is None:
        core.register_node(nodetype, flatten_func, unflatten_func)
    else:
        register_pytree_with_keys(
            nodetype, flatten_with_keys_func, unflatten_func, flatten_func
        )


def register_pytree_with_keys(
    nodetype: type,
    flatten_with_keys: Callable[[Any], tuple[Iterable[Any], Any]],
    unflatten_func: Callable[[Any, Any], Any],
    flatten_func: Callable[[Any], tuple[Iterable[Any], Any]] | None = None,
) -> None:
    """Make a class a container whose children have keys.

    Args:
      nodetype: the class.
      flatten_with_keys: from an instance to `((key, child) pairs, static data)`.
      unflatten_func: from `(static data, children)` to an instance.
      flatten_func: accepted; the children are taken from `flatten_with_keys`.

    >>> class Pair:
    ...     def __init__(self, x, y):
    ...         self.x, self.y = x, y
    >>> register_pytree_with_keys(
    ...     Pair,
    ...     lambda p: (((GetAttrKey("x"), p.x), (GetAttrKey("y"), p.y)), None),
    ...     lambda _, xy: Pair(*xy),
    ... )
    >>> [keystr(path) for path, _ in tree_leaves_with_path(Pair(1, [2]))]
    ['.x', '.y[0]']
    """
    del flatten_func

    def flatten(instance: Any) -> tuple[Any, ...]:
        pairs, static = flatten_with_keys(instance)
        pairs = tuple(pairs)
        return tuple(child for _, child in pairs), static, tuple(key for key, _ in pairs)

    core.register_node(nodetype, flatten, unflatten_func, KeyedEntry)


def register_pytree_node_class(cls: type[T]) -> type[T]:
    """Make a class a container by its methods `tree_flatten` and `tree_unflatten`.

    >>> @register_pytree_node_class
    ... class Point:
    ...     def __init__(self, x, y):
    ...         self.x, self.y = x, y
    ...     def tree_flatten(self):
    ...         return (self.x, self.y), None
    ...     @classmethod
    ...     def tree_unflatten(cls, static, children):
    ...         return cls(*children)
    >>> tree_map(lambda x: 2 * x, Point(1, 2)).y
    4
    """
    node: Any = cls
    register_pytree_node(cls, node.tree_flatten, node.tree_unflatten)
    return cls


def register_pytree_with_keys_class(cls: type[T]) -> type[T]:
    """Make a class a container by its methods `tree_flatten_with_keys` and `tree_unflatten`.

    >>> @register_pytree_with_keys_class
    ... class Boxed:
    ...     def __init__(self, x):
    ...         self.x = x
    ...     def tree_flatten_with_keys(self):
    ...         return ((GetAttrKey("x"), self.x),), None
    ...     @classmethod
    ...     def tree_unflatten(cls, static, children):
    ...         return cls(*children)
    >>> tree_leaves_with_path(Boxed(5))
    [((GetAttrKey(name='x'),), 5)]
    """
    node: Any = cls
    register_pytree_with_keys(cls, node.tree_flatten_with_keys, node.tree_unflatten)
    return cls


def register_dataclass(
    nodetype: type[T],
    data_fields: Sequence[str] | None = None,
    meta_fields: Sequence[str] | None = None,
    drop_fields: Sequence[str] = (),
) -> type[T]:
    """Make a dataclass (or a class like one) a container.

    Args:
      nodetype: the class.
      data_fields: the attributes that are children.
      meta_fields: the attributes that are static; they must be hashable. Give both lists or,
        for a dataclass, neither: then a field is static that was declared with
        `tree.static()` or with `metadata={"static": True}`.
      drop_fields: fields of a dataclass that are in neither list.

    Raises:
      ValueError: when the lists do not name all fields of a dataclass.

    >>> import dataclasses
    >>> @register_dataclass
    ... @dataclasses.dataclass
    ... class Layer:
    ...     w: float
    ...     name: str = dataclasses.field(metadata={"static": True})
    >>> tree_map(lambda x: 2 * x, Layer(1.5, "first"))
    Layer(w=3.0, name='first')
    """
    if (data_fields is None) != (meta_fields is None):
        raise TypeError("register_dataclass needs data_fields and meta_fields, or neither.")
    if data_fields is None or meta_fields is None:
        if not dataclasses.is_dataclass(nodetype):
            raise TypeError(
                f"{nodetype.__name__} is no dataclass: give data_fields and meta_fields."
            )
        fields = [f for f in dataclasses.fields(nodetype) if f.name not in drop_fields]
        meta_fields = [f.name for f in fields if f.metadata.get("static", False)]
        data_fields = [f.name for f in fields if f.name not in meta_fields]
    elif dataclasses.is_dataclass(nodetype):
        _check_fields(nodetype, {*data_fields, *meta_fields, *drop_fields})
    core.register_dataclass(nodetype, data_fields, meta_fields)
    return nodetype


def _check_fields(nodetype: Any, named: set[str]) -> None:
    declared = {field.name for field in dataclasses.fields(nodetype) if field.init}
    if declared - named or named - {field.name for field in dataclasses.fields(nodetype)}:
        raise ValueError(
            f"data_fields, meta_fields and drop_fields name {sorted(named)}, but the fields of "
            f"{nodetype.__name__} are {sorted(declared)}."
        )


def register_static(cls: type[T]) -> type[T]:
    """Make a class a container without children: its (hashable) instances are static.

    >>> @register_static
    ... class Mode(str):
    ...     pass
    >>> tree_leaves([1, Mode("train")])
    [1]
    """
    core.register_node(cls, lambda instance: ((), instance), lambda instance, _: instance)
    return cls


class Partial(functools.partial[Any]):
    """`functools.partial` as a container: the bound arguments are its children.

    >>> import operator
    >>> add_two = Partial(operator.add, 2)
    >>> add_two(3), tree_leaves(add_two)
    (5, [2])
    """


core.register_node(
    Partial,
    lambda p: ((p.args, p.keywords), p.func, (GetAttrKey("args"), GetAttrKey("keywords"))),
    lambda func, bound: Partial(func, *bound[0], **bound[1]),
    KeyedEntry,
)

__all__ = [
    "DictKey",
    "FlattenedIndexKey",
    "GetAttrKey",
    "KeyEntry",
    "KeyPath",
    "Partial",
    "PyTreeDef",
    "SequenceKey",
    "all_leaves",
    "build_tree",
    "flatten_one_level",
    "flatten_one_level_with_keys",
    "is_tree_node",
    "keystr",
    "register_dataclass",
    "register_pytree_node",
    "register_pytree_node_class",
    "register_pytree_with_keys",
    "register_pytree_with_keys_class",
    "register_static",
    "tree_all",
    "tree_broadcast",
    "tree_flatten",
    "tree_flatten_with_path",
    "tree_leaves",
    "tree_leaves_with_path",
    "tree_map",
    "tree_map_with_path",
    "tree_reduce",
    "tree_reduce_associative",
    "tree_structure",
    "tree_transpose",
    "tree_unflatten",
    "treedef_children",
    "treedef_is_leaf",
    "treedef_tuple",
]
