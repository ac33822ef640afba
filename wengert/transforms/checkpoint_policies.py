"""Policies: which values of a checkpointed function are kept instead of computed again.

A policy is asked about every operation that the backward pass could use a result of, as
`policy(primitive, *types, **params)`: the primitive, the array types of its operands, its
static parameters. Where it says True the result is kept from the forward pass; everything else
is computed again from the inputs and what was kept. Policies change memory and time, never
results.

Give one to `checkpoint(f, policy=...)`; name values with `checkpoint_name`. Any function of
this form is a policy; `primitive.name` tells operations apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wengert.core import tree
from wengert.core.array import as_array
from wengert.primitives import marks
from wengert.primitives.contract import dot_general
from wengert.primitives.convolve import conv_general_dilated

Policy = Callable[..., bool]


def checkpoint_name(x: Any, name: str) -> Any:
    """The same values, under a name that policies can go by.

    Args:
      x: an array, or a tree of arrays.
      name: any string; several values may share one.

    >>> import wengert, wengert.numpy as wnp
    >>> policy = wengert.checkpoint_policies.save_only_these_names("hidden")
    >>> f = lambda x: wnp.sin(checkpoint_name(wnp.exp(x), "hidden"))
    >>> wengert.grad(wengert.checkpoint(f, policy=policy))(0.0)
    Array(0.5403023, dtype=float32, weak_type=True)
    """
    if not isinstance(name, str):
        raise TypeError(f"checkpoint_name needs a string, got {name!r}.")
    return tree.map(lambda leaf: marks.checkpoint_name(as_array(leaf), name=name), x)


def everything_saveable(*_: Any, **__: Any) -> bool:
    """Keep every residual, as without `checkpoint`."""
    return True


def nothing_saveable(*_: Any, **__: Any) -> bool:
    """Compute everything again from the inputs: what `checkpoint` does without a policy."""
    return False


def dots_saveable(primitive: Any, *_: Any, **__: Any) -> bool:
    """Keep the results of matrix products and convolutions, compute the cheap rest again."""
    return primitive in (dot_general, conv_general_dilated)


def dots_with_no_batch_dims_saveable(primitive: Any, *_: Any, **params: Any) -> bool:
    """Keep the results of matrix products that do not run over batch dimensions.

    These are the products with weights; those between activations, as of attention, are larger.
    """
    return primitive is dot_general and params["dimension_numbers"][1] == ((), ())


checkpoint_dots = dots_saveable
checkpoint_dots_with_no_batch_dims = dots_with_no_batch_dims_saveable


class _ByName:
    """Decides by the names that `checkpoint_name` gave, and by nothing else.

    Two of them with the same names are equal, so that derived programs are found again.
    """

    __slots__ = ("listed", "names")

    def __init__(self, names: tuple[Any, ...], listed: bool) -> None:
        for name in names:
            if not isinstance(name, str):
                raise TypeError(
                    f"names are strings, got {name!r}. A policy is made from names first: "
                    "policy=save_only_these_names('a'), not policy=save_only_these_names."
                )
        self.names = frozenset(names)
        self.listed = listed

    def __call__(self, primitive: Any, *_: Any, **params: Any) -> bool:
        if primitive is not marks.checkpoint_name:
            return False
        return (params["name"] in self.names) is self.listed

    def __eq__(self, other: object) -> bool:
        return (
            type(other) is type(self)
            and isinstance(other, _ByName)
            and (self.names, self.listed) == (other.names, other.listed)
        )

    def __hash__(self) -> int:
        return hash((type(self), self.names, self.listed))

    @property
    def __name__(self) -> str:
        """How the policy was made, for printed programs."""
        return f"{self.made_by}({', '.join(map(repr, sorted(self.names)))})"

    @property
    def made_by(self) -> str:
        """The function that makes such a policy."""
        return "save_only_these_names" if self.listed else "save_any_names_but_these"

    def __repr__(self) -> str:
        return self.__name__


class _AnythingBut(_ByName):
    """Keeps anything except what has one of the names."""

    __slots__ = ()
    made_by = "save_anything_except_these_names"

    @property
    def excluded(self) -> frozenset[str]:
        """The names whose values are not kept, whatever operation gave them."""
        return self.names

    def __call__(self, primitive: Any, *_: Any, **params: Any) -> bool:
        return primitive is not marks.checkpoint_name or params["name"] not in self.names


def save_only_these_names(*names_which_can_be_saved: str) -> Policy:
    """Keep the values with one of these names, and nothing else."""
    return _ByName(names_which_can_be_saved, True)


def save_any_names_but_these(*names_not_to_save: str) -> Policy:
    """Keep all named values except those with one of these names, and nothing else."""
    return _ByName(names_not_to_save, False)


def save_anything_except_these_names(*names_not_to_save: str) -> Policy:
    """Keep all values, named or not, except those with one of these names."""
    return _AnythingBut(names_not_to_save, False)


class _Either:
    """Keeps what one of two policies keeps."""

    __slots__ = ("first", "second")

    def __init__(self, first: Policy, second: Policy) -> None:
        self.first = first
        self.second = second

    def __call__(self, primitive: Any, *types: Any, **params: Any) -> bool:
        return decision(self.first, primitive, types, params) or decision(
            self.second, primitive, types, params
        )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Either)
            and self.first == other.first
            and self.second == other.second
        )

    def __hash__(self) -> int:
        return hash((self.first, self.second))

    @property
    def __name__(self) -> str:
        """How the policy was made, for printed programs."""
        names = [getattr(p, "__name__", repr(p)) for p in (self.first, self.second)]
        return f"save_from_both_policies({', '.join(names)})"

    def __repr__(self) -> str:
        return self.__name__


def save_from_both_policies(policy_1: Policy, policy_2: Policy) -> Policy:
    """Keep what either of two policies keeps."""
    return _Either(policy_1, policy_2)


def decision(policy: Policy, primitive: Any, types: Any, params: Any) -> bool:
    """What a policy says about an operation.

    Raises:
      TypeError: when that is neither True nor False.
    """
    answer = policy(primitive, *types, **params)
    if not isinstance(answer, bool):
        raise TypeError(
            f"a checkpoint policy must return True or False; it returned {answer!r} for "
            f"'{primitive.name}'."
        )
    return answer
