"""Pytrees: structure, key paths, registration, and that transformations see containers."""

from __future__ import annotations

import collections
import dataclasses

import numpy as np
import pytest

import wengert
from wengert import tree, tree_util

Point = collections.namedtuple("Point", "x y")
TREE = {"b": [1, (2, None)], "a": Point(3, {0: 4})}


@tree_util.register_pytree_node_class
class Pair:
    """A container without keys."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def tree_flatten(self):
        return (self.x, self.y), None

    @classmethod
    def tree_unflatten(cls, static, children):
        return cls(*children)


@tree_util.register_pytree_with_keys_class
class Keyed:
    """A container that names its children, with static data."""

    def __init__(self, value, label):
        self.value, self.label = value, label

    def tree_flatten_with_keys(self):
        return ((tree_util.GetAttrKey("value"), self.value),), self.label

    @classmethod
    def tree_unflatten(cls, label, children):
        return cls(children[0], label)


@tree_util.register_dataclass
@dataclasses.dataclass
class Layer:
    """A container with a static field before the others."""

    name: str = tree.static(default="layer")
    w: float = 1.0
    b: float = 2.0


@tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Mode:
    """A static value."""

    train: bool


def test_flatten_and_unflatten():
    leaves, treedef = tree_util.tree_flatten(TREE)
    assert leaves == [3, 4, 1, 2]
    assert tree_util.tree_unflatten(treedef, leaves) == TREE
    assert tree_util.tree_leaves(TREE) == leaves
    assert tree_util.tree_structure(TREE) == treedef
    assert hash(tree_util.tree_structure(TREE)) == hash(treedef)
    assert treedef.num_leaves == 4


def test_is_leaf():
    def is_pair(x):
        return isinstance(x, tuple)

    assert tree.leaves(TREE, is_leaf=is_pair) == [Point(3, {0: 4}), 1, (2, None)]
    assert tree.leaves([1, None], is_leaf=lambda x: x is None) == [1, None]
    doubled = tree.map(lambda x: len(x) if is_pair(x) else x, TREE, is_leaf=is_pair)
    assert doubled == {"b": [1, 2], "a": 2}


def test_map():
    assert tree.map(lambda x, y: x * y, TREE, TREE) == {
        "b": [1, (4, None)],
        "a": Point(9, {0: 16}),
    }
    assert tree.map(lambda x, y: (x, y), {"a": 1}, {"a": [2, 3]}) == {"a": (1, [2, 3])}
    for other in ({"a": 1}, [1], {"b": [1, (2, 5)], "a": Point(3, {0: 4})}):
        with pytest.raises(ValueError):
            tree.map(lambda x, y: x, TREE, other)


def test_reductions():
    assert tree.reduce(lambda x, y: x - y, TREE) == 3 - 4 - 1 - 2
    assert tree.reduce(lambda x, y: x - y, TREE, 100) == 90
    assert tree.reduce(lambda x, y: [*x, y], TREE, []) == [3, 4, 1, 2]
    assert tree.reduce(max, [], None) is None
    assert tree.reduce_associative(lambda x, y: x + y, ["a", ["b"], "c", "d", "e"]) == "abcde"
    assert tree.reduce_associative(max, [], identity=7) == 7
    for function in (tree.reduce, tree.reduce_associative):
        with pytest.raises(TypeError):
            function(max, [])
    assert tree.all([True, {"a": 1}])
    assert not tree.all([True, {"a": 0}])
    assert tree.all([])


def test_transpose_and_broadcast():
    pairs = {"a": (1, 2), "b": (3, 4)}
    outer, inner = tree.structure({"a": 0, "b": 0}), tree.structure((0, 0))
    expected = ({"a": 1, "b": 3}, {"a": 2, "b": 4})
    assert tree.transpose(outer, inner, pairs) == expected
    assert tree.transpose(outer, None, pairs) == expected
    with pytest.raises(ValueError, match="inner"):
        tree.transpose(outer, tree.structure([0, 0]), pairs)
    assert tree.broadcast({"a": 0, "b": 1}, {"a": [5, 6], "b": 7}) == {"a": [0, 0], "b": 1}
    with pytest.raises(ValueError):
        tree.broadcast((0, 1), (1, 2, 3))


def test_key_paths():
    items, treedef = tree_util.tree_flatten_with_path(TREE)
    assert treedef == tree.structure(TREE)
    assert [tree_util.keystr(path) for path, _ in items] == [
        "['a'].x",
        "['a'].y[0]",
        "['b'][0]",
        "['b'][1][0]",
    ]
    assert items[1][0] == (
        tree_util.DictKey("a"),
        tree_util.GetAttrKey("y"),
        tree_util.DictKey(0),
    )
    plain = [tree_util.keystr(p, simple=True, separator="/") for p, _ in items]
    assert plain == ["a/x", "a/y/0", "b/0", "b/1/0"]
    assert tree.leaves_with_path(5) == [((), 5)]


def test_key_paths_of_registered_classes():
    value = [Pair(1, [2]), Keyed(3, "k"), Layer(w=4.0, b=5.0), Mode(True)]
    paths = [tree_util.keystr(path) for path, _ in tree.leaves_with_path(value)]
    assert paths == [
        "[0][<flat index 0>]",
        "[0][<flat index 1>][0]",
        "[1].value",
        "[2].w",
        "[2].b",
    ]
    assert tree.leaves_with_path(Pair(1, 2))[1][0] == (tree_util.FlattenedIndexKey(1),)


def test_map_with_path():
    out = tree.map_with_path(lambda path, x, y: f"{path[-1]}{x}{y}", {"a": [1]}, {"a": [2]})
    assert out == {"a": ["[0]12"]}


def test_is_leaf_that_takes_the_path():
    def is_a(path, node):
        return bool(path) and path[-1] == tree_util.DictKey("a")

    items, treedef = tree.flatten_with_path(TREE, is_a, is_leaf_takes_path=True)
    assert [leaf for _, leaf in items] == [Point(3, {0: 4}), 1, 2]
    assert tree.unflatten(treedef, "xyz") == {"b": ["y", ("z", None)], "a": "x"}
    kinds = tree.map_with_path(
        lambda path, x: type(x).__name__, TREE, is_leaf=is_a, is_leaf_takes_path=True
    )
    assert kinds == {"b": ["int", ("int", None)], "a": "Point"}


def test_structures():
    treedef = tree.structure((1, [2, 3]))
    first, second = tree_util.treedef_children(treedef)
    assert tree_util.treedef_is_leaf(first)
    assert not tree_util.treedef_is_leaf(second)
    assert tree_util.treedef_tuple([first, second]) == treedef
    assert tree_util.build_tree(tree.structure(TREE), [[3, [4]], [1, [2, None]]]) == TREE
    assert tree_util.all_leaves([1, "x"])
    assert not tree_util.all_leaves([1, [2]])


def test_one_level():
    assert tree_util.flatten_one_level({"b": [1], "a": 2}) == ([2, [1]], ["a", "b"])
    children, static = tree_util.flatten_one_level_with_keys(Keyed(1, "k"))
    assert children == [(tree_util.GetAttrKey("value"), 1)]
    assert static == "k"
    assert tree_util.flatten_one_level(None) == ([], None)
    with pytest.raises(ValueError):
        tree_util.flatten_one_level(5)
    for cls, node in (
        (Point, True),
        (Pair, True),
        (dict, True),
        (type(None), True),
        (int, False),
    ):
        assert tree_util.is_tree_node(cls) is node


def test_register_dataclass():
    layer = tree.map(lambda x: 10 * x, Layer("first"))
    assert layer == Layer("first", 10.0, 20.0)
    assert tree.structure(Layer("x")) != tree.structure(Layer("y"))

    @dataclasses.dataclass
    class Other:
        x: float
        y: float

    for fields in (
        {"data_fields": ["x"], "meta_fields": []},
        {"data_fields": ["x", "y", "z"], "meta_fields": []},
    ):
        with pytest.raises(ValueError, match="fields"):
            tree_util.register_dataclass(Other, **fields)
    with pytest.raises(TypeError, match="neither"):
        tree_util.register_dataclass(Other, data_fields=["x", "y"])
    tree_util.register_dataclass(Other, ["x"], [], drop_fields=["y"])
    assert tree.leaves(Other(1.0, 2.0)) == [1.0]

    class NoDataclass:
        pass

    with pytest.raises(TypeError, match="no dataclass"):
        tree_util.register_dataclass(NoDataclass)


def test_register_nodes_by_functions():
    class Box:
        def __init__(self, x):
            self.x = x

    tree_util.register_pytree_node(
        Box,
        lambda b: ((b.x,), None),
        lambda _, children: Box(*children),
        lambda b: (((tree_util.SequenceKey(7), b.x),), None),
    )
    assert tree.leaves_with_path(Box(1)) == [((tree_util.SequenceKey(7),), 1)]
    with pytest.raises(ValueError):
        tree_util.register_pytree_node(Box, lambda b: ((), None), lambda _, children: Box(0))


def test_static_instances_are_part_of_the_structure():
    assert tree.leaves((1, Mode(True))) == [1]
    assert tree.structure(Mode(True)) != tree.structure(Mode(False))
    f = wengert.jit(lambda x, mode: 2 * x if mode.train else x)
    assert float(f(3.0, Mode(True))) == 6
    assert float(f(3.0, Mode(False))) == 3


def test_partial():
    bound = tree_util.Partial(lambda a, b, c: a * b + c, 2.0, c=1.0)
    assert tree.leaves(bound) == [2.0, 1.0]
    assert bound(3.0) == 7
    doubled = tree.map(lambda x: 2 * x, bound)
    assert doubled(3.0) == 14
    grads = wengert.grad(lambda f: f(3.0))(bound)
    assert isinstance(grads, tree_util.Partial)
    np.testing.assert_array_equal(grads.args[0], 3)
    np.testing.assert_array_equal(grads.keywords["c"], 1)


def test_transformations_see_registered_containers():
    def loss(pair):
        return pair.x * pair.y.w

    grads = wengert.grad(loss)(Pair(3.0, Layer(w=2.0)))
    assert (float(grads.x), float(grads.y.w), float(grads.y.b)) == (2, 3, 0)
    mapped = wengert.vmap(loss)(Pair(np.ones(3), Layer(w=np.arange(3.0), b=np.zeros(3))))
    np.testing.assert_array_equal(mapped, [0, 1, 2])
