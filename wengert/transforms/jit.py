"""`jit`: trace once per signature, keep the program, run it as machine code.

A jitted function is a native callable: calls that are like an earlier one are answered by
machine code that checks the arguments itself (`engines/native/runtime/callable`). All others,
and all calls under a transformation, go through `JitFunction.__call__`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from wengert import config, errors
from wengert.core import dtypes, tree
from wengert.core.array import Array, ArrayType, as_array, is_operand
from wengert.core.gate import gate
from wengert.core.interpreter import Params, Tracer, escaped, location, state
from wengert.core.primitive import Primitive, Value
from wengert.core.program import Program
from wengert.core.tracing import trace
from wengert.engines.eager import run_program
from wengert.engines.native.execute import NativeProgram, cost_analysis
from wengert.engines.native.runtime.callable import NativeCallable
from wengert.engines.selection import EagerProgram, executable, made_for
from wengert.transforms.donation import call_donating, deleted, donated_leaves
from wengert.transforms.misses import Signature, explain
from wengert.transforms.static import StaticValue, named_arguments


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
        if "donated" in params:
            return call_donating(program, params["donated"], args, params["name"])
        if config.debug_nans.value or not program.equations:
            return program.evaluate(*args)  # equation by equation, each one checked
        out = executable(program).run([a._value for a in args])
        return [Array(o, t.weak_type) for o, t in zip(out, program.out_types, strict=True)]

    def type_rule(self, *types: Any, program: Program, name: str) -> Any:
        return program.out_types

    def apply_traced(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        program: Program = params["program"]
        if not program.equations:
            return program.evaluate(*args)
        params = {"program": program, "name": params["name"]}  # values there are nobody's yet
        if not program.constants:
            return interpreter.record(self, args, params)
        closed = program.derived.setdefault("closed", program.closed())
        operands = [*program.constant_values, *args]  # blocks of control flow hold no constants
        return interpreter.record(self, operands, {**params, "program": closed})

    def inline(self, args: Sequence[Value], params: Params) -> Any:
        return params["program"].evaluate(*args)

    def linearize(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        return params["program"].evaluate(*args)


call = Call()


@dataclasses.dataclass(slots=True)
class Traced:
    """A program with the structure of its result.

    Attributes:
      program: what was traced.
      in_tree: the structure of the arguments that are not static.
      out_tree: the structure of the result.
      constants: leading operands: tracers of enclosing transformations that the function
        closed over. A program that has any serves one call only.
      reusable: whether it has none.
      donated: the inputs that a call deletes; their memory may become that of results.
      forms: the forms of calls (orders of keys, static objects) that machine code answers.
    """

    program: Program
    in_tree: tree.TreeDef
    out_tree: tree.TreeDef
    constants: tuple[Any, ...]
    reusable: bool
    donated: tuple[int, ...] = ()
    forms: set[Any] = dataclasses.field(default_factory=set)

    def call(self, values: Sequence[Any], name: str) -> Sequence[Any]:
        """The flat results for flat arguments."""
        donated = {"donated": self.donated} if self.donated else {}
        operands = (*self.constants, *values)
        out: Sequence[Any] = call(*operands, program=self.program, name=name, **donated)
        return out

    @property
    def executable(self) -> Any:
        """What runs the program, if it has been made."""
        return made_for(self.program, self.donated)

    @property
    def is_native(self) -> bool:
        """Whether machine code can answer calls."""
        return self.reusable and type(self.executable) is NativeProgram


#: Calls of one signature that differ in the order of keys: so many forms are made native.
_MOST_FORMS = 4


class CacheInfo(NamedTuple):
    """Hits, misses and size of a jitted function's cache."""

    hits: int
    misses: int
    currsize: int


class JitFunction(NativeCallable, native=True):
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
        engine: str = "native",
        donate_argnums: Any = None,
        donate_argnames: Any = None,
    ) -> None:
        functools.update_wrapper(self, fun)
        self.__wrapped__ = fun
        self._name = str(name or getattr(fun, "__name__", "fun"))
        self._static_argnums, self._static_argnames = named_arguments(
            fun, static_argnums, static_argnames, "static"
        )
        self._donated = named_arguments(fun, donate_argnums, donate_argnames, "donate")
        self._refuse_static_donations()
        self._plain = not self._static_argnums and not self._static_argnames
        self._engine = engine
        self._cache: dict[Signature, Traced] = {}
        self._hits = 0
        self._misses = 0
        self._explained: set[tuple[str, str]] = set()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        traced, values = self.specialize(args, kwargs)
        out = traced.call(values, self._name)
        if traced.is_native:
            numbers, names = self._static_places(args, kwargs)
            _answer_natively(self, traced, args, kwargs, {*numbers, *names}, self._name)
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

    def _refuse_static_donations(self) -> None:
        numbers, names = self._donated
        both = [n for n in self._static_argnums if n in numbers]
        if both or self._static_argnames & names:
            which = sorted(self._static_argnames & names) or both
            raise errors.ArgnumsError(
                f"{self._name} takes {', '.join(map(repr, which))} as static and donated; a "
                "static argument has no memory that could be donated."
            )

    def _static_places(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[set[int], set[str]]:
        """Positions and names of the static arguments of a call."""
        if self._plain:
            return set(), set()
        numbers = {n % len(args) for n in self._static_argnums if -len(args) <= n < len(args)}
        return numbers, {k for k in kwargs if k in self._static_argnames}

    def _flatten(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._plain:
            leaves, in_tree = tree.flatten((args, kwargs))
            return leaves, in_tree, None
        numbers, names = self._static_places(args, kwargs)
        static = (
            tuple((n, StaticValue(args[n], n)) for n in sorted(numbers)),
            tuple((k, StaticValue(kwargs[k], k)) for k in sorted(names)),
        )
        dynamic = tuple(None if i in numbers else a for i, a in enumerate(args))
        leaves, in_tree = tree.flatten(
            (dynamic, {k: v for k, v in kwargs.items() if k not in names})
        )
        return leaves, in_tree, static

    def _lookup(self, values: list[Any], in_tree: tree.TreeDef, static: Any) -> Traced:
        key = Signature(
            in_tree,
            static,
            state.interpreter.axis_environment(),
            tuple([(v.shape, v.dtype, v.weak_type) for v in values]),
        )
        traced = self._cache.get(key)
        if traced is not None:
            self._hits += 1
            return traced
        self._misses += 1
        if self._cache and config.explain_misses.value:
            explain(self._name, self.__wrapped__, key, list(self._cache), self._explained)
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
        if captured:  # it serves one call: machine code would come too late
            closed, constants = program.closed(), program.constant_values
            closed.executable = EagerProgram(closed)
            return Traced(closed, in_tree, out_tree, constants, False)
        donated = donated_leaves(in_tree, *self._donated)
        if self._engine != "native":
            executable(program, self._engine, donated)
        return Traced(program, in_tree, out_tree, (), True, donated)

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
        return CacheInfo(self._hits + self.native_hits, self._misses, len(self._cache))

    def clear_cache(self) -> None:
        """Forget all programs. Calls that run meanwhile end as they began."""
        self._cache.clear()
        self.forget_specialisations()


def _answer_natively(
    function: NativeCallable,
    traced: Traced,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    static: set[int | str],
    name: str,
) -> None:
    """Let machine code answer calls like this one."""
    objects = [
        id(args[k] if isinstance(k, int) else kwargs[k]) for k in sorted(static, key=str)
    ]
    form = (*objects, _keys((args, kwargs)))
    if (
        form in traced.forms
        or len(traced.forms) >= _MOST_FORMS
        or gate.closed
        or state.interpreter.axis_environment()
    ):
        return
    traced.forms.add(form)
    native, in_tree, out_tree = traced.executable, traced.in_tree, traced.out_tree
    here = location() if traced.donated else None
    gone = {i: deleted(native.in_types[i], name, here, True) for i in traced.donated}
    function.add_specialisation(
        native.specialisation(args, kwargs, in_tree, out_tree, frozenset(static), donated=gone)
    )


def _keys(value: Any) -> Any:
    """The keys of all dictionaries in a tree, in their order."""
    if type(value) is dict:
        return (*value, *map(_keys, value.values()))
    if isinstance(value, tuple | list):
        return tuple(filter(None, map(_keys, value)))
    return ()


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

    def cost_analysis(self) -> dict[str, int]:
        """What a call costs: `flops`, `bytes accessed`, `kernels`, `peak bytes`."""
        return cost_analysis(self.traced.program, self.traced.donated)

    def compile(self) -> Compiled:
        """A function of arguments with the traced types, compiled now."""
        return Compiled(self.traced)


class Compiled(NativeCallable, native=True):
    """A function compiled ahead, for arguments of certain types."""

    def __init__(self, traced: Traced) -> None:
        self.traced = dataclasses.replace(traced, forms=set())
        executable(traced.program, donated=traced.donated)

    def as_text(self) -> str:
        """The program as text."""
        return str(self.traced.program)

    def cost_analysis(self) -> dict[str, int]:
        """What a call costs: `flops`, `bytes accessed`, `kernels`, `peak bytes`."""
        return cost_analysis(self.traced.program, self.traced.donated)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        traced = self.traced
        leaves, in_tree = tree.flatten((args, kwargs))
        values = [as_array(x) for x in leaves]
        got = [(v.shape, v.dtype) for v in values]
        expected = [
            (t.shape, t.dtype) for t in traced.program.in_types[len(traced.constants) :]
        ]
        if got != expected:
            raise errors.ShapeError(
                f"compiled for arguments {expected}, called with {got}. "
                "Call the jitted function itself to compile for other types."
            )
        out = traced.call(values, "compiled")
        if traced.is_native and in_tree == traced.in_tree:
            _answer_natively(self, traced, args, kwargs, set(), "compiled")
        return tree.unflatten(traced.out_tree, out)


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
    tiered: bool = False,
    engine: str = "native",
) -> Any:
    """A function that is traced once per signature and runs as machine code from then on.

    Args:
      fun: a function of arrays, or trees of arrays. Under tracing it sees shapes and dtypes,
        not values. Without it, `jit(static_argnums=...)` is a decorator.
      static_argnums: positions of arguments that are compile-time constants (hashable).
      static_argnames: the same by name.
      donate_argnums: positions of arguments whose memory becomes that of results of the same
        shape and dtype, where the program allows it. Arrays among them are deleted by the call:
        write `state = step(state)`. What others can see (memory of NumPy arrays, of views, of
        constants) is copied. Under transformations nothing is donated.
      donate_argnames: the same by name.
      keep_unused, inline: accepted; results do not change.
      tiered: answer the first calls on the eager engine, while code is made in the background.
      engine: "native" (machine code) or "eager" (NumPy, one operation after the other).

    Returns:
      a `JitFunction`: `lower`, `trace`, `eval_shape`, `cache_info`, `clear_cache`.

    Raises:
      ConcretizationError: by that function, when Python control flow needs a traced value.

    >>> import wengert, wengert.numpy as wnp
    >>> f = wengert.jit(lambda x: wnp.sin(x) ** 2)
    >>> f(0.0), f.cache_info().misses
    (Array(0., dtype=float32, weak_type=True), 1)
    >>> step = wengert.jit(lambda x: x + 1, donate_argnums=0)
    >>> x = step(wnp.zeros(3))
    """
    del keep_unused, inline
    if engine not in ("native", "eager"):
        raise ValueError(f"jit knows the engines 'native' and 'eager', got {engine!r}.")
    chosen = "tiered" if tiered and engine == "native" else engine
    make = functools.partial(
        JitFunction,
        static_argnums=static_argnums,
        static_argnames=static_argnames,
        engine=chosen,
        donate_argnums=donate_argnums,
        donate_argnames=donate_argnames,
    )
    if fun is None:
        return make
    if not callable(fun):
        raise TypeError(f"jit needs a function, got {fun!r}.")
    return make(fun)


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
