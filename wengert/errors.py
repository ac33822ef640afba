"""Every error class: what it means, a failing example, and the corrected code.

All derive from `WengertError` and from the built-in exception that fits, so that code written
for NumPy or JAX catches them as it always did.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def _at(location: Any) -> str:
    return f"\n  at {location}" if location is not None else ""


class WengertError(Exception):
    """Base of all errors raised here."""


#: What to write instead of asking a traced value for its value.
_INSTEAD = {
    "bool()": "Instead of `if` choose with wengert.numpy.where(condition, a, b) or "
    "wengert.lax.cond, instead of `while` loop with wengert.lax.while_loop.",
    "an index": "Instead of range(n) loop with wengert.lax.fori_loop; shapes are constant.",
}
_INSTEAD_OF_NUMBERS = (
    "Leave it an array: use functions of wengert.numpy instead of numpy or math, and "
    "wengert.numpy.where(condition, a, b) instead of masks."
)


class ConcretizationError(WengertError, TypeError):
    """A value is asked for where only its type, or its derivative's path, is known.

    Under `jit`, `vmap` or in a derivative rule a value stands for many; `if`, `float()` and
    NumPy functions need one.

    >>> import wengert, wengert.numpy as wnp
    >>> wengert.jit(lambda x: x if x > 0 else -x)(1.0)
    Traceback (most recent call last):
        ...
    wengert.errors.ConcretizationError: bool() needs the value of a bool[] ...

    The corrected code selects between two values:

    >>> wengert.jit(lambda x: wnp.where(x > 0, x, -x))(1.0)
    Array(1., dtype=float32, weak_type=True)
    """

    def __init__(self, what: str, type: Any, transformation: str, location: Any) -> None:
        super().__init__(
            f"{what} needs the value of a {type} that is traced by "
            f"{transformation}.{_at(location)}\n"
            f"There is no single value here. {_INSTEAD.get(what, _INSTEAD_OF_NUMBERS)} Under "
            "jit an argument can be static (jit(f, static_argnums=...)); in a derivative "
            "wengert.lax.stop_gradient(x) has a value."
        )


class EscapedTracerError(WengertError, RuntimeError):
    """A traced value is used after the transformation that made it has ended.

    >>> import wengert
    >>> kept = []
    >>> def f(x):
    ...     kept.append(x)
    ...     return x * 2
    >>> _ = wengert.grad(f)(1.0)
    >>> kept[0] + 1
    Traceback (most recent call last):
        ...
    wengert.errors.EscapedTracerError: ...

    The corrected code returns what is needed later:

    >>> wengert.grad(lambda x: (x * 2, x), has_aux=True)(1.0)[1]
    Array(1., dtype=float32, weak_type=True)
    """

    def __init__(
        self, type: Any, transformation: str, made: Any, used: Any, ended: bool = True
    ) -> None:
        when = "after that transformation ended" if ended else "outside it (in another thread?)"
        super().__init__(
            f"a {type} traced by {transformation} is used {when}."
            + (f"\n  made at {made}" if made else "")
            + (f"\n  used at {used}" if used else "")
            + "\nReturn the value from the function (has_aux=True hands extra results through) "
            "instead of storing it in a list, a global or an attribute."
        )


class ShapeError(WengertError, ValueError, TypeError):
    """Shapes that do not fit.

    >>> import wengert.numpy as wnp
    >>> wnp.zeros(3) + wnp.zeros(4)
    Traceback (most recent call last):
        ...
    wengert.errors.ShapeError: add got operands of shapes (3,) and (4,), which ...
    >>> (wnp.zeros(3)[:, None] + wnp.zeros(4)).shape
    (3, 4)
    """


class DTypeError(WengertError, TypeError):
    """Dtypes that a primitive does not take.

    >>> import wengert.numpy as wnp
    >>> from wengert import lax
    >>> lax.add(wnp.zeros(3), wnp.zeros(3, "int32"))
    Traceback (most recent call last):
        ...
    wengert.errors.DTypeError: lax.add needs operands of one dtype, got float32, int32...
    >>> wnp.add(wnp.zeros(3), wnp.zeros(3, "int32")).dtype
    dtype('float32')
    """


class NonScalarError(WengertError, TypeError):
    """`grad` of a function whose result is not a real scalar.

    >>> import wengert, wengert.numpy as wnp
    >>> wengert.grad(lambda x: x ** 2)(wnp.zeros(3))
    Traceback (most recent call last):
        ...
    wengert.errors.NonScalarError: grad needs a function with a real scalar result; ...
    >>> wengert.grad(lambda x: wnp.sum(x ** 2))(wnp.ones(3))
    Array([2., 2., 2.], dtype=float32)
    """

    def __init__(self, what: str, location: Any) -> None:
        super().__init__(
            "grad needs a function with a real scalar result; it returned "
            f"{what}.{_at(location)}\n"
            "Reduce the result (wengert.numpy.sum(...)), take jacrev or jacfwd for a whole "
            "Jacobian, vjp "
            "for one cotangent, or has_aux=True if the function returns (scalar, aux)."
        )


class IntegerGradientError(WengertError, TypeError):
    """The gradient with respect to an integer.

    >>> import wengert
    >>> wengert.grad(lambda n: n * 2.0)(3)
    Traceback (most recent call last):
        ...
    wengert.errors.IntegerGradientError: grad with respect to an integer or bool ...
    >>> wengert.grad(lambda n: n * 2.0)(3.0)
    Array(2., dtype=float32, weak_type=True)
    """

    def __init__(self, type: Any, location: Any) -> None:
        super().__init__(
            f"grad with respect to an integer or bool input ({type}) does not "
            f"exist.{_at(location)}\n"
            "Pass a float (3.0 instead of 3, x.astype('float32')), choose another argument "
            "with "
            "argnums, or say allow_int=True to get an empty float0 gradient for it."
        )


class HolomorphicError(WengertError, TypeError):
    """`holomorphic=True` with values that are not complex.

    >>> import wengert
    >>> wengert.grad(lambda z: z ** 2, holomorphic=True)(1.0)
    Traceback (most recent call last):
        ...
    wengert.errors.HolomorphicError: holomorphic=True needs a complex input, got f32*[]...
    >>> wengert.grad(lambda z: z ** 2, holomorphic=True)(1.0 + 0j)
    Array(2.+0.j, dtype=complex64, weak_type=True)
    """

    def __init__(self, what: str, type: Any) -> None:
        super().__init__(
            f"holomorphic=True needs a complex {what}, got {type}. Drop holomorphic=True, or "
            "pass "
            "complex values: x + 0j."
        )


class ComplexDerivativeError(WengertError, TypeError):
    """A Jacobian of complex values that is not declared holomorphic.

    >>> import wengert, wengert.numpy as wnp
    >>> wengert.jacfwd(wnp.exp)(1j)
    Traceback (most recent call last):
        ...
    wengert.errors.ComplexDerivativeError: jacfwd of complex values (c64*[])...
    >>> wengert.jacfwd(wnp.exp, holomorphic=True)(0j)
    Array(1.+0.j, dtype=complex64, weak_type=True)
    """

    def __init__(self, name: str, type: Any) -> None:
        super().__init__(
            f"{name} of complex values ({type}) needs holomorphic=True, a promise that the "
            "function is complex-differentiable. For other functions use jvp or vjp, whose "
            "(co)tangents are complex, or split real and imaginary parts."
        )


class CotangentError(WengertError, ValueError, TypeError):
    """A tangent or cotangent whose shape or dtype is not that of its value.

    >>> import wengert, wengert.numpy as wnp
    >>> y, f_vjp = wengert.vjp(wnp.sum, wnp.ones(3))
    >>> f_vjp(wnp.ones(3))
    Traceback (most recent call last):
        ...
    wengert.errors.CotangentError: the cotangent has type f32[3], but its value ...
    >>> f_vjp(wnp.array(1.0))[0]
    Array([1., 1., 1.], dtype=float32)
    """

    def __init__(self, kind: str, path: str, got: Any, expected: Any) -> None:
        super().__init__(
            f"the {kind}{path and ' at ' + path} has type {got}, but its value has type "
            f"{expected}. "
            f"A {kind} has the shape and dtype of the value it belongs to."
        )


class TreeError(WengertError, ValueError, TypeError):
    """Two trees that should have the same structure have not.

    >>> import wengert
    >>> wengert.jvp(lambda p: p["a"], ({"a": 1.0},), ({"b": 1.0},))
    Traceback (most recent call last):
        ...
    wengert.errors.TreeError: the tangents and the primals must have the same structure...
    >>> wengert.jvp(lambda p: p["a"], ({"a": 1.0},), ({"a": 1.0},))[1]
    Array(1., dtype=float32, weak_type=True)
    """

    def __init__(self, what: str, got: Any, other: str, expected: Any, more: str = "") -> None:
        super().__init__(
            f"{what} and {other} must have the same structure.\n  {what}: {got}\n  {other}: "
            f"{expected}{more}"
        )


class ArgnumsError(WengertError, ValueError, TypeError):
    """`argnums`, `static_argnums` or their names that do not fit the call.

    >>> import wengert
    >>> wengert.grad(lambda x: x, argnums=2)(1.0)
    Traceback (most recent call last):
        ...
    wengert.errors.ArgnumsError: argnums=2 asks for the derivative of <lambda> ...
    >>> wengert.grad(lambda x: x, argnums=0)(1.0)
    Array(1., dtype=float32, weak_type=True)
    """


class AxesError(WengertError, ValueError, TypeError):
    """`in_axes`, `out_axes` or `axis_size` of vmap that do not fit the values.

    >>> import wengert, wengert.numpy as wnp
    >>> wengert.vmap(lambda x, y: x + y)(wnp.zeros(3), wnp.zeros(4))
    Traceback (most recent call last):
        ...
    wengert.errors.AxesError: vmap got mapped axes of different sizes...
    >>> wengert.vmap(lambda x, y: x + y, in_axes=(0, None))(wnp.zeros(3), 1.0).shape
    (3,)
    """


class UnboundAxisError(WengertError, NameError):
    """A collective operation over an axis name that no vmap around it has.

    >>> import wengert, wengert.numpy as wnp
    >>> from wengert import lax
    >>> lax.psum(wnp.ones(3), "batch")
    Traceback (most recent call last):
        ...
    wengert.errors.UnboundAxisError: no vmap with axis_name='batch' is around this operation...
    >>> wengert.vmap(lambda x: lax.psum(x, "batch"), axis_name="batch")(wnp.ones(3))
    Array([3., 3., 3.], dtype=float32)
    """

    def __init__(self, axis_name: Any) -> None:
        super().__init__(
            f"no vmap with axis_name={axis_name!r} is around this operation. "
            f"Name the axis where it is mapped: vmap(f, axis_name={axis_name!r})."
        )


class MissingRuleError(WengertError, NotImplementedError):
    """A primitive lacks a rule that a transformation needs.

    >>> from wengert.extend import Primitive
    >>> import wengert, numpy as np
    >>> class Twice(Primitive):
    ...     compute = staticmethod(lambda x: 2 * x)
    >>> wengert.grad(Twice())(1.0)
    Traceback (most recent call last):
        ...
    wengert.errors.MissingRuleError: the primitive 'twice' has no rule 'derivative'...

    Families bring the rules along:

    >>> from wengert.extend import Elementwise
    >>> class Double(Elementwise):
    ...     compute = staticmethod(lambda x: 2 * x)
    ...     partials = (lambda out, x: 2,)
    >>> wengert.grad(Double())(1.0)
    Array(2., dtype=float32, weak_type=True)
    """

    def __init__(self, primitive: str, rule: str) -> None:
        super().__init__(
            f"the primitive '{primitive}' has no rule '{rule}'. Give its class one, or derive "
            "the class "
            "from a family that has it (see docs/adding.md)."
        )


class NonlinearRuleError(WengertError, TypeError):
    """A derivative rule that is not linear in its tangents, or a transpose of such a function.

    >>> import wengert
    >>> @wengert.custom_jvp
    ... def f(x):
    ...     return x * x
    >>> _ = f.defjvp(lambda primals, tangents: (f(*primals), tangents[0] ** 2))
    >>> wengert.grad(f)(3.0)
    Traceback (most recent call last):
        ...
    wengert.errors.NonlinearRuleError: 'square' is applied to a tangent, but is not linear...
    >>> _ = f.defjvp(lambda primals, tangents: (f(*primals), 2 * primals[0] * tangents[0]))
    >>> wengert.grad(f)(3.0)
    Array(6., dtype=float32, weak_type=True)
    """

    def __init__(self, primitive: str, location: Any) -> None:
        super().__init__(
            f"'{primitive}' is applied to a tangent, but is not linear in it.{_at(location)}\n"
            "What a derivative rule returns (and a function whose transpose is taken) must be "
            "a linear function of the tangents: products with primal values, and sums of such."
        )


class CarryTypeError(WengertError, TypeError):
    """The carry of a loop comes out of an iteration with another type than it went in.

    >>> import wengert.numpy as wnp
    >>> from wengert import lax
    >>> lax.fori_loop(0, 3, lambda i, x: x * wnp.array(0.5, "float64"), wnp.ones(2))
    Traceback (most recent call last):
        ...
    wengert.errors.CarryTypeError: the carry of fori_loop changes its type in an iteration...
    >>> lax.fori_loop(0, 3, lambda i, x: x * wnp.array(0.5, "float64"), wnp.ones(2, "float64"))
    Array([0.125, 0.125], dtype=float64)
    """

    def __init__(self, name: str, changes: Sequence[tuple[str, Any, Any]], location: Any):
        lines = "".join(
            f"\n  carry{path}: {before} before, {after} after"
            for path, before, after in changes
        )
        path, before, after = changes[0]
        if before.shape != after.shape:
            fix = f"Give init{path} its final shape (zeros, broadcast_to), or make it a result."
        else:
            fix = (
                f"Start with {after.dtype.name} (init{path}.astype('{after.dtype.name}')), or "
                f"let the body return new{path}.astype('{before.dtype.name}')."
            )
        super().__init__(
            f"the carry of {name} changes its type in an iteration; it must have the same "
            f"shape and dtype before and after.{lines}{_at(location)}\n{fix}"
        )


class BranchTypeError(WengertError, TypeError):
    """Branches of a conditional whose results have different types.

    >>> from wengert import lax
    >>> lax.cond(True, lambda x: x, lambda x: 0, 1.0)
    Traceback (most recent call last):
        ...
    wengert.errors.BranchTypeError: the branches of cond must give results of the same types...
    >>> lax.cond(True, lambda x: x, lambda x: 0.0, 1.0)
    Array(1., dtype=float32, weak_type=True)
    """

    def __init__(
        self, name: str, differences: Sequence[tuple[str, Sequence[tuple[str, Any]]]], at: Any
    ) -> None:
        lines = "".join(
            f"\n  result{path}: " + ", ".join(f"{type} from {fun}" for fun, type in types)
            for path, types in differences
        )
        super().__init__(
            f"the branches of {name} must give results of the same types.{lines}{_at(at)}\n"
            "Only one branch runs, but what follows is the same for all. Convert in the "
            "branches: x.astype(dtype), or wengert.numpy.broadcast_to(x, shape)."
        )


class CustomRuleError(WengertError, TypeError, ValueError):
    """A custom derivative rule that returns the wrong thing.

    >>> import wengert, wengert.numpy as wnp
    >>> @wengert.custom_vjp
    ... def dot(x, w):
    ...     return wnp.dot(x, w)
    >>> dot.defvjp(lambda x, w: (wnp.dot(x, w), (x, w)), lambda res, u: (u * res[1], u))
    >>> wengert.grad(dot, argnums=1)(wnp.ones(3), wnp.ones(3))
    Traceback (most recent call last):
        ...
    wengert.errors.CustomRuleError: ...
    >>> forward = lambda x, w: (wnp.dot(x, w), (x, w))
    >>> dot.defvjp(forward, lambda res, u: (u * res[1], u * res[0]))
    >>> wengert.grad(dot, argnums=1)(wnp.ones(3), wnp.ones(3))
    Array([1., 1., 1.], dtype=float32)
    """


class GradientMismatchError(WengertError, AssertionError):
    """`check_grads` or `check_rules` found a derivative that is wrong.

    >>> import wengert, wengert.numpy as wnp
    >>> @wengert.custom_jvp
    ... def f(x):
    ...     return wnp.sin(x)
    >>> _ = f.defjvp(lambda p, t: (f(*p), -wnp.cos(p[0]) * t[0]))
    >>> wengert.check_rules(f, 1.0)
    Traceback (most recent call last):
        ...
    wengert.errors.GradientMismatchError: ...
    >>> _ = f.defjvp(lambda p, t: (f(*p), wnp.cos(p[0]) * t[0]))
    >>> wengert.check_rules(f, 1.0)
    """


class RuleError(WengertError, AssertionError):
    """`check_primitive` found two rules of a primitive that contradict each other.

    >>> from wengert import testing
    >>> from wengert.extend import ArrayType, Elementwise
    >>> class Twice(Elementwise):
    ...     compute = staticmethod(lambda x: x + x)
    ...     partials = (lambda out, x: 2,)
    ...     def type_rule(self, x):
    ...         return ArrayType((7,), x.dtype)
    >>> testing.check_primitive(Twice())
    Traceback (most recent call last):
        ...
    wengert.errors.RuleError: twice(float64[]): results [...], type rule says [...]

    The family's own type rule is right:

    >>> class Double(Elementwise):
    ...     compute = staticmethod(lambda x: x + x)
    ...     partials = (lambda out, x: 2,)
    >>> testing.check_primitive(Double())
    """


class NanError(WengertError, FloatingPointError):
    """Under `debug_nans`: where the first NaN arose.

    >>> import wengert, wengert.numpy as wnp
    >>> with wengert.config.debug_nans(True):
    ...     wnp.log(wnp.array(-1.0))
    Traceback (most recent call last):
        ...
    wengert.errors.NanError: the first NaN arose in 'log'...
    >>> wnp.log(wnp.array(1.0))
    Array(0., dtype=float32, weak_type=True)
    """

    def __init__(self, primitive: str, location: Any, reverse_of: str | None = None) -> None:
        where = f", in the reverse pass of '{reverse_of}'" if reverse_of else ""
        super().__init__(f"the first NaN arose in '{primitive}'{where}{_at(location)}")


class KeyReuseError(WengertError, ValueError):
    """Under `debug_key_reuse`: a random key was used twice.

    >>> import wengert
    >>> from wengert import random
    >>> with wengert.config.debug_key_reuse(True):
    ...     key = random.key(0)
    ...     a = random.normal(key, (2,))
    ...     b = random.uniform(key, (2,))
    Traceback (most recent call last):
        ...
    wengert.errors.KeyReuseError: ...

    Each use takes a key of its own:

    >>> with wengert.config.debug_key_reuse(True):
    ...     one, two = random.split(random.key(0))
    ...     a, b = random.normal(one, (2,)), random.uniform(two, (2,))
    """


class ProgramError(WengertError, ValueError):
    """A program that breaks the rules of the representation: a bug in a pass or a rule.

    >>> import wengert
    >>> program = wengert.make_program(lambda x: x * 2)(1.0)
    >>> program.equations[0].inputs = (program.equations[0].outputs[0],)
    >>> program.check()
    Traceback (most recent call last):
        ...
    wengert.errors.ProgramError: ...
    >>> wengert.make_program(lambda x: x * 2)(1.0).check()
    """


class DeletedArrayError(WengertError, RuntimeError):
    """The values of an array are asked for that was donated to a jitted function, or deleted.

    >>> import wengert, wengert.numpy as wnp
    >>> step = wengert.jit(lambda x: x + 1, donate_argnums=0)
    >>> x = wnp.zeros(3)
    >>> y = step(x)
    >>> x + y
    Traceback (most recent call last):
        ...
    wengert.errors.DeletedArrayError: the values of this f32[3] are gone: it was donated to ...
    >>> x = wnp.zeros(3)
    >>> x = step(x)
    >>> x
    Array([1., 1., 1.], dtype=float32)
    """

    def __init__(self, type: Any, how: str, location: Any) -> None:
        super().__init__(
            f"the values of this {type} are gone: it {how}.{_at(location)}\n"
            "Put the result in its place (x = step(x)), use a copy where it is donated "
            "(step(x.copy())), or do not donate it."
        )


class StaticArgumentError(WengertError, ValueError, TypeError):
    """A static argument of jit that cannot be compared or hashed.

    >>> import wengert, wengert.numpy as wnp
    >>> f = wengert.jit(lambda x, axes: wnp.sum(x, axes), static_argnums=1)
    >>> f(wnp.ones((2, 2)), [0, 1])
    Traceback (most recent call last):
        ...
    wengert.errors.StaticArgumentError: ...
    >>> f(wnp.ones((2, 2)), (0, 1))
    Array(4., dtype=float32)
    """


class ArrayIndexError(WengertError, IndexError):
    """An index out of bounds.

    >>> import wengert.numpy as wnp
    >>> wnp.arange(3)[5]
    Traceback (most recent call last):
        ...
    wengert.errors.ArrayIndexError: index 5 is out of bounds for axis 0 with size 3...
    >>> wnp.take(wnp.arange(3), 5, mode="clip")
    Array(2, dtype=int32)
    """


def at_location(error: WengertError, location: Any) -> WengertError:
    """The same error, with the user's line."""
    return type(error)(f"{error}{_at(location)}")


def with_operation(
    error: Exception, name: str, args: Sequence[Any], location: Any
) -> Exception:
    """A NumPy error retold: which primitive, on which operands, at which line."""
    operands = ", ".join(str(getattr(a, "type", a)) for a in args)
    kind: type[Exception] = {
        IndexError: ArrayIndexError,
        ValueError: ShapeError,
    }.get(type(error), type(error))
    try:
        return kind(f"{error}\n  in {name}({operands}){_at(location)}")
    except TypeError:
        return error


class CompiledAgainWarning(UserWarning):
    """A jitted function was compiled again, with `explain_misses` on; it says why.

    >>> import warnings, wengert, wengert.numpy as wnp
    >>> f = wengert.jit(lambda x: 2 * x)
    >>> with wengert.config.explain_misses(True), warnings.catch_warnings(record=True) as told:
    ...     warnings.simplefilter("always")
    ...     y = f(wnp.ones(2)), f(wnp.ones(3))
    >>> print(told[0].message)
    <lambda> is traced and compiled again, because of argument x: shape (3,) instead of (2,)
    """
