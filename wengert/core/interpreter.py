"""Interpreters: what gives meaning to the application of a primitive.

Exactly one interpreter is current in a thread. A transformation makes a new one, whose parent
is the one that was current, and makes it current while the user's function runs. It wraps
the values it follows in tracers that carry its tag. An application without such tracers is
passed on to the parent; the outermost parent computes with NumPy.

There are no levels: nesting is the chain of parents, and identity is the tag.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from wengert import config, errors
from wengert.core.array import ArrayLike, ArrayType
from wengert.core.dtypes import DType
from wengert.core.source import Location, user_location

if TYPE_CHECKING:
    from wengert.core.primitive import Primitive

Params = dict[str, Any]


class Tag:
    """The identity of one run of a transformation; its tracers carry it."""

    __slots__ = ("alive", "where")

    def __init__(self) -> None:
        self.alive = True
        self.where: Location | None = user_location()


class Interpreter:
    """Meaning of primitive applications; a context manager that makes it current.

    Attributes:
      name: the transformation, for error messages.
      tag: what its tracers carry.
      parent: the interpreter to which everything else is passed on.
    """

    __slots__ = ("parent", "previous", "tag")
    name = "interpreter"

    def __init__(self, tag: Tag, parent: Interpreter) -> None:
        self.tag = tag
        self.parent = parent
        self.previous = parent

    def apply(self, primitive: Primitive, args: Sequence[Any], params: Params) -> Any:
        """Apply a primitive to operands, some of which may be this interpreter's tracers."""
        raise NotImplementedError(type(self).__name__)

    def axis_size(self, axis_name: Any) -> int:
        """The size of the named axis that a vmap around here maps over.

        Raises:
          UnboundAxisError: when there is none of that name.
        """
        return self.parent.axis_size(axis_name)

    def axis_environment(self) -> tuple[tuple[Any, int], ...]:
        """Names and sizes of all mapped axes around here, innermost first."""
        return self.parent.axis_environment()

    def stands_for(self, tracer: Tracer) -> bool:
        """Whether an interpreter around here has a value for a tracer that has ended."""
        return self.parent.stands_for(tracer)

    def __enter__(self) -> Interpreter:
        self.previous = state.interpreter
        state.interpreter = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        state.interpreter = self.previous


class EagerInterpreter(Interpreter):
    """Computes at once, with NumPy. It has no parent."""

    __slots__ = ()
    name = "eager"

    def __init__(self) -> None:
        super().__init__(Tag(), self)

    def apply(self, primitive: Primitive, args: Sequence[Any], params: Params) -> Any:
        return primitive.evaluate(args, params)

    def axis_size(self, axis_name: Any) -> int:
        raise errors.UnboundAxisError(axis_name)

    def axis_environment(self) -> tuple[tuple[Any, int], ...]:
        return ()

    def stands_for(self, tracer: Tracer) -> bool:
        return False


class NanCheckingInterpreter(EagerInterpreter):
    """The eager interpreter under `debug_nans`: the first NaN is an error with its line."""

    __slots__ = ()
    name = "eager (checking for NaN)"

    def apply(self, primitive: Primitive, args: Sequence[Any], params: Params) -> Any:
        out = primitive.evaluate(args, params)
        for value in out if primitive.multiple_results else (out,):
            if _has_nan(value) and not any(_has_nan(arg) for arg in args):
                raise errors.NanError(primitive.name, location(), state.reverse_of)
        return out


def _has_nan(value: Any) -> bool:
    array = np.asarray(getattr(value, "_value", value))
    return array.dtype.kind in "fcV" and bool(np.isnan(array).any())


EAGER = EagerInterpreter()
_NAN_CHECKING = NanCheckingInterpreter()


class _ThreadState(threading.local):
    """The current interpreter of this thread, and what it is at.

    Attributes:
      interpreter: the current interpreter.
      location: the user's line that a program's equation or a tape's entry came from, while it
        is being evaluated.
      reverse_of: the primitive whose derivative is being taken, in a reverse pass under
        `debug_nans`.
      concretized: how often Python has asked for the value of a tracer that has one.
    """

    interpreter: Interpreter
    location: Location | None
    reverse_of: str | None
    concretized: int

    def __init__(self) -> None:
        self.interpreter = base_interpreter()
        self.location = None
        self.reverse_of = None
        self.concretized = 0


def base_interpreter() -> EagerInterpreter:
    """The interpreter that ends the chain of parents, by the `debug_nans` setting."""
    return _NAN_CHECKING if config.debug_nans.value else EAGER


state = _ThreadState()

_QUIET = contextvars.Context()
_QUIET.run(np.seterr, all="ignore")
#: A context with NumPy's floating-point warnings off: `quiet().run(function, ...)`. NaN and
#: infinity are values here, and `debug_nans` finds them; a warning from inside a derivative
#: would only point at our own code. It is a new context each time, which costs no more than
#: finding one of this thread: a context cannot be entered twice, but what is called in one may
#: compute again (users' primitives, signal handlers, finalisers), and may change its settings.
quiet: Callable[[], contextvars.Context] = _QUIET.copy


def _rebase() -> None:
    """Follow a change of `debug_nans` in the current thread."""
    if isinstance(state.interpreter, EagerInterpreter):
        state.interpreter = base_interpreter()


config.debug_nans.on_change(_rebase)


def location() -> Location | None:
    """The user's line that is being executed, directly or through a program or a tape."""
    return state.location or user_location()


class Tracer(ArrayLike):
    """A stand-in for a value that belongs to one interpreter.

    Attributes:
      tag: of the interpreter whose tracer it is.
    """

    __slots__ = ("tag",)
    tag: Tag
    #: What made it, for error messages.
    transformation = "a transformation"

    @property
    def type(self) -> ArrayType:
        """Shape, dtype and weak flag."""
        raise NotImplementedError(type(self).__name__)

    @property
    def shape(self) -> tuple[int, ...]:
        """The dimensions."""
        return self.type.shape

    @property
    def dtype(self) -> DType:
        """The NumPy dtype."""
        return self.type.dtype

    @property
    def weak_type(self) -> bool:
        """Whether the dtype came from a Python scalar and yields in promotions."""
        return self.type.weak_type

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.type.size

    def concrete(self, what: str) -> Any:
        """The value as a concrete array, for `what` (`bool()`, `int()` ...), or an error."""
        raise errors.ConcretizationError(what, self.type, self.transformation, location())

    def __bool__(self) -> bool:
        return bool(self.concrete("bool()"))

    def __int__(self) -> int:
        return int(self.concrete("int()"))

    def __index__(self) -> int:
        return self.concrete("an index").__index__()

    def __float__(self) -> float:
        self._refuse("float()")

    def __complex__(self) -> complex:
        self._refuse("complex()")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        self._refuse("a NumPy function or np.asarray()")

    def item(self, *args: Any) -> Any:
        """Refused: a traced value has no Python scalar."""
        self._refuse("item()")

    def tolist(self) -> Any:
        """Refused: a traced value has no Python scalars."""
        self._refuse("tolist()")

    def _refuse(self, what: str) -> NoReturn:
        raise errors.ConcretizationError(what, self.type, self.transformation, location())

    def __copy__(self) -> Tracer:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Tracer:
        return self

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without dimensions")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"Traced<{self.type} by {self.transformation}>"

    def __format__(self, spec: str) -> str:
        return repr(self)


def escaped(tracer: Tracer) -> errors.EscapedTracerError:
    """The error for a tracer that is used where its transformation is not."""
    tag = tracer.tag
    return errors.EscapedTracerError(
        tracer.type, tracer.transformation, tag.where, location(), not tag.alive
    )
