"""`jit`: trace once per signature, keep the program, run it on an engine."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from wengert import config, errors
from wengert.core import dtypes, tree
from wengert.core.array import Array, ArrayType, as_array, is_operand
from wengert.core.interpreter import Params, Tracer, escaped, state
from wengert.core.primitive import Primitive, Value
from wengert.core.program import Program
from wengert.core.tracing import trace
from wengert.engines.eager import run_program


class Call(Primitive):
    """A call of a compiled program; transformations see through it."""

    multiple_results = True
    inlines = True

    @staticmethod
    def compute(*values: Any, program: Program, name: str) -> list[Any]:
        return run_program(program, values)

    def evaluate(self, args: Sequence[Value], params: Params) -> Any:
        program: Program = params["program"]
        for arg in args:
            if isinstance(arg, Tracer):
                raise escaped(arg)
        if config.debug_nans.value:
            return program.evaluate(*args)  # equation by equation, each one checked
        values = [a._value for a in args]
        out = state.run(run_program, program, values)
        return [Array(o, t.weak_type) for o, t in zip(out, program.out_types, strict=True)]

    def type_rule(self, *types: Any, program: Program, name: str) -> Any:
        return program.out_types

    def inline(self, args: Sequence[Value], params: Params) -> Any:
        return params["program"].evaluate(*args)

    def linearize(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        return params["program"].evaluate(*args)


call = Call()


class Traced(NamedTuple):
    """A program with the structure of its result.

    `constants` are leading operands: tracers of enclosing transformations that the function
    closed over. A program that has any serves one call only: it is not `reusable`.
    """

    program: Program
    out_tree: tree.TreeDef
    constants: tuple[Any, ...]
    reusable: bool


class CacheInfo(NamedTuple):
    """Hits, misses and size of a jitted function's cache."""

    hits: int
    misses: int
    currsize: int


class JitFunction:
    """A function that is traced once per signature and then runs as a program.

    Attributes:
      __wrapped__: the function as the user wrote it.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        static_argnums: Any,
        static_argnames: Any,
        name: str | None = None,
    ) -> None:
        functools.update_wrapper(self, fun)
        self.__wrapped__ = fun
        self._static_argnums, self._static_argnames = _static_arguments(
            fun, static_argnums, static_argnames
        )
        self._plain = not self._static_argnums and not self._static_argnames
        self._name = name or getattr(fun, "__name__", "fun")
        self._cache: dict[Any, Traced] = {}
        self._hits = 0
        self._misses = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        traced, values = self.specialize(args, kwargs)
        out = call(*traced.constants, *values, program=traced.program, name=self._name)
        return tree.unflatten(traced.out_tree, out)

    def specialize(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Traced, list[Any]]:
        """The program for these arguments, known or traced now, and its flat inputs."""
        leaves, in_tree, static = self._flatten(args, kwargs)
        values = [x if type(x) is Array else as_array(x) for x in leaves]
        return self._lookup(values, in_tree, static), values

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __repr__(self) -> str:
        return f"<jit of {self.__wrapped__!r}>"

    def __reduce__(self) -> Any:
        return getattr(self.__wrapped__, "__qualname__", self._name)

    def _flatten(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._plain:
            leaves, in_tree = tree.flatten((args, kwargs))
            return leaves, in_tree, None
        numbers = {n % len(args) for n in self._static_argnums if -len(args) <= n < len(args)}
        names = {k for k in kwargs if k in self._static_argnames}
        static = (
            tuple((n, _Static(args[n], n)) for n in sorted(numbers)),
            tuple((k, _Static(kwargs[k], k)) for k in sorted(names)),
        )
        dynamic = tuple(None if i in numbers else a for i, a in enumerate(args))
        leaves, in_tree = tree.flatten(
            (dynamic, {k: v for k, v in kwargs.items() if k not in names})
        )
        return leaves, in_tree, static

    def _lookup(self, values: list[Any], in_tree: tree.TreeDef, static: Any) -> Traced:
        environment = state.interpreter.axis_environment()
        key = (
            in_tree,
            static,
            environment,
            *[(v.shape, v.dtype, v.weak_type) for v in values],
        )
        traced = self._cache.get(key)
        if traced is not None:
            self._hits += 1
            return traced
        self._misses += 1
        traced = self._trace([v.type for v in values], in_tree, static)
        if traced.reusable:
            self._cache[key] = traced
        return traced

    def _trace(self, types: list[ArrayType], in_tree: tree.TreeDef, static: Any) -> Traced:
        out_tree: Any = None

        def run(tracers: list[Any]) -> list[Any]:
            nonlocal out_tree
            args, kwargs = tree.unflatten(in_tree, tracers)
            if static is not None:
                args = list(args)
                for n, box in static[0]:
                    args[n] = box.value
                kwargs = {**kwargs, **{k: box.value for k, box in static[1]}}
            out_leaves, out_tree = tree.flatten(self.__wrapped__(*args, **kwargs))
            return [as_array(leaf) for leaf in out_leaves]

        program = trace(run, types)
        captured = any(isinstance(v, Tracer) for v in program.constant_values)
        if captured:
            return Traced(program.closed(), out_tree, program.constant_values, False)
        return Traced(program, out_tree, (), True)

    def trace(self, *args: Any, **kwargs: Any) -> Traced:
        """The program for arguments like these (arrays or their types)."""
        leaves, in_tree, static = self._flatten(args, kwargs)
        types = [_type_of_argument(x) for x in leaves]
        return self._trace(types, in_tree, static)

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """The program for arguments like these, for looking at and for compiling ahead."""
        return Lowered(self.trace(*args, **kwargs))

    def eval_shape(self, *args: Any, **kwargs: Any) -> Any:
        """The types of the result for arguments like these."""
        traced = self.trace(*args, **kwargs)
        return tree.unflatten(traced.out_tree, traced.program.out_types)

    def cache_info(self) -> CacheInfo:
        """How often a signature was known, how often it was traced, how many are kept."""
        return CacheInfo(self._hits, self._misses, len(self._cache))

    def clear_cache(self) -> None:
        """Forget all programs."""
        self._cache.clear()


def _type_of_argument(value: Any) -> ArrayType:
    """The type of an array, a number, or of anything that has a shape and a dtype."""
    if type(value) is ArrayType:
        return value
    if not is_operand(value) and hasattr(value, "shape") and hasattr(value, "dtype"):
        return ArrayType(value.shape, value.dtype)
    return as_array(value).type


class Lowered:
    """A traced function, before it is compiled."""

    def __init__(self, traced: Traced) -> None:
        self.traced = traced

    def as_text(self) -> str:
        """The program as text."""
        return str(self.traced.program)

    def compile(self) -> Callable[..., Any]:
        """A function of arguments with the traced types."""
        traced = self.traced

        def compiled(*args: Any, **kwargs: Any) -> Any:
            values = [as_array(x) for x in tree.leaves((args, kwargs))]
            got = [(v.shape, v.dtype) for v in values]
            expected = [
                (t.shape, t.dtype) for t in traced.program.in_types[len(traced.constants) :]
            ]
            if got != expected:
                raise errors.ShapeError(
                    f"compiled for arguments {expected}, called with {got}. "
                    "Call the jitted function itself to compile for other types."
                )
            out = call(*traced.constants, *values, program=traced.program, name="compiled")
            return tree.unflatten(traced.out_tree, out)

        return compiled


class _Static:
    """A static argument: compared by type and value, so that 1, 1.0 and True differ."""

    __slots__ = ("value", "where")

    def __init__(self, value: Any, where: int | str) -> None:
        self.value = value
        self.where = where

    def __hash__(self) -> int:
        try:
            return hash((type(self.value), self.value))
        except TypeError:
            raise errors.StaticArgumentError(
                f"static argument {self.where!r} of a jitted function is not hashable: "
                f"{type(self.value).__name__}. Pass a tuple instead of a list, or do not make "
                "it "
                "static."
            ) from None

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Static)
            and type(self.value) is type(other.value)
            and bool(self.value == other.value)
        )


def _tuple(value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    if isinstance(value, int | str):
        return (value,)
    return tuple(value)


def _static_arguments(
    fun: Callable[..., Any], argnums: Any, argnames: Any
) -> tuple[tuple[int, ...], frozenset[str]]:
    """Positions and names of static arguments, each completed from the other by signature."""
    numbers, names = _tuple(argnums), _tuple(argnames)
    if not numbers and not names:
        return (), frozenset()
    try:
        parameters = list(inspect.signature(fun).parameters.values())
    except (TypeError, ValueError):
        return numbers, frozenset(names)
    positional = [
        p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    for n in numbers:
        if not variadic and not -len(positional) <= n < len(positional):
            raise errors.ArgnumsError(
                f"static_argnums={n}, but {getattr(fun, '__name__', fun)} has "
                f"{len(positional)} positional parameters."
            )
    accepts_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    known = {p.name for p in parameters}
    for name in names:
        if name not in known and not accepts_any:
            raise errors.ArgnumsError(
                f"static_argnames={name!r} is not a parameter of "
                f"{getattr(fun, '__name__', fun)}; "
                f"it has {', '.join(known)}."
            )
    named = {positional[n] for n in numbers if -len(positional) <= n < len(positional)}
    placed = {positional.index(name) for name in names if name in positional}
    return tuple(sorted({*numbers, *placed})), frozenset({*names, *named})


def jit(
    fun: Callable[..., Any] | None = None,
    /,
    *,
    static_argnums: int | Sequence[int] | None = None,
    static_argnames: str | Iterable[str] | None = None,
    donate_argnums: int | Sequence[int] | None = None,
    donate_argnames: str | Iterable[str] | None = None,
    keep_unused: bool = False,
    inline: bool = False,
) -> Any:
    """A function that is traced once per signature and runs as a program from then on.

    Args:
      fun: a function of arrays, or trees of arrays. Under tracing it sees shapes and dtypes,
      not
        values. Without it, `jit(static_argnums=...)` is a decorator.
      static_argnums: positions of arguments that are compile-time constants (hashable).
      static_argnames: the same by name.
      donate_argnums: arguments whose memory may be reused; accepted, results do not change.
      donate_argnames: the same by name.
      keep_unused: accepted; results do not change.
      inline: accepted; results do not change.

    Returns:
      a `JitFunction`: `lower`, `trace`, `eval_shape`, `cache_info`, `clear_cache`.

    Raises:
      ConcretizationError: by that function, when Python control flow needs a traced value.

    >>> import wengert, wengert.numpy as wnp
    >>> f = wengert.jit(lambda x: wnp.sin(x) ** 2)
    >>> f(0.0), f.cache_info().misses
    (Array(0., dtype=float32, weak_type=True), 1)
    """
    del donate_argnums, donate_argnames, keep_unused, inline
    if fun is None:
        return lambda f: JitFunction(f, static_argnums, static_argnames)
    if not callable(fun):
        raise TypeError(f"jit needs a function, got {fun!r}.")
    return JitFunction(fun, static_argnums, static_argnames)


def make_program(
    fun: Callable[..., Any], static_argnums: Any = (), return_shape: bool = False
) -> Callable[..., Any]:
    """A function that returns the program of `fun` for arguments like those it is given.

    Args:
      fun: a function of arrays, or trees of arrays.
      static_argnums: positions of compile-time constants.
      return_shape: return `(program, types of the result)`.

    >>> import wengert, wengert.numpy as wnp
    >>> print(wengert.make_program(lambda x: wnp.sin(x) * 2)(1.0))
    program(a: f32*[]) {
      b: f32*[] = sin(a)
      c: f32*[] = mul(b, 2)
      return c
    }
    """
    jitted = JitFunction(fun, static_argnums, None)

    @functools.wraps(fun, updated=())
    def make(*args: Any, **kwargs: Any) -> Any:
        traced = jitted.trace(*args, **kwargs)
        if return_shape:
            shapes = tree.unflatten(traced.out_tree, traced.program.out_types)
            return traced.program, shapes
        return traced.program

    return make


def eval_shape(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The types of a function's results, without computing them.

    Args:
      fun: a function of arrays, or trees of arrays.
      *args: arrays, or their types (`ShapeDtypeStruct`).

    >>> import wengert, wengert.numpy as wnp
    >>> wengert.eval_shape(wnp.dot, wnp.ones((2, 3)), wnp.ones((3, 4)))
    ShapeDtypeStruct(shape=(2, 4), dtype=float32)
    """
    return JitFunction(fun, None, None).eval_shape(*args, **kwargs)


def closure_convert(
    fun: Callable[..., Any], *example_args: Any
) -> tuple[Callable[..., Any], Any]:
    """A function without its closure: captured values become explicit arguments.

    Returns:
      `(converted, captured)` with `converted(*args, *captured) == fun(*args)`; `captured` holds
      the floating values of enclosing transformations that `fun` closes over.

    >>> import wengert
    >>> def outer(a):
    ...     converted, captured = wengert.closure_convert(lambda x: a * x, 1.0)
    ...     return converted(2.0, *captured)
    >>> wengert.grad(outer)(3.0)
    Array(2., dtype=float32, weak_type=True)
    """
    traced = JitFunction(fun, None, None).trace(*example_args)
    constants = traced.constants
    floating = [dtypes.is_inexact(c.dtype) for c in constants]
    hoisted = [c for c, inexact in zip(constants, floating, strict=True) if inexact]

    def converted(*args: Any) -> Any:
        count = len(args) - len(hoisted)
        given = iter(args[count:])
        closed = [
            next(given) if inexact else c
            for c, inexact in zip(constants, floating, strict=True)
        ]
        leaves = [as_array(x) for x in tree.leaves((args[:count], {}))]
        return tree.unflatten(traced.out_tree, traced.program.evaluate(*closed, *leaves))

    return converted, hoisted


__all__ = [
    "Call",
    "JitFunction",
    "call",
    "closure_convert",
    "eval_shape",
    "jit",
    "make_program",
]
