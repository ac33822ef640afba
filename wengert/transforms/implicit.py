"""Implicit functions: roots of equations and solutions of linear systems, however found.

The derivative of a solution follows from the equation that it solves, not from the steps of the
solver: for `f(x, a) = 0` it is the solution of `f_x dx = -f_a da`, for `A x = b` that of
`A dx = db - dA x`. So solvers may be any code, and their steps are neither recorded nor
differentiated.

A linear solve is a primitive that is linear in `b`; its transpose solves the transposed system.
A root is a function with a custom pushforward. What the user's functions close over becomes
operands of both: for `f` and `matvec` by tracing them; for solvers, which may be code that
cannot be traced, by looking at their closures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from wengert import errors
from wengert.core import dtypes, tree
from wengert.core.array import ArrayType, as_array
from wengert.core.interpreter import Params, location
from wengert.core.primitive import Value, Zero
from wengert.core.program import Program
from wengert.core.tracing import trace
from wengert.primitives.basis import batched_first, instantiate, neg, zeros_like
from wengert.primitives.cast import convert
from wengert.primitives.elementwise import sub
from wengert.transforms.closures import closed_over, with_values
from wengert.transforms.custom import CustomCall, run_batched
from wengert.transforms.custom_jvp import custom_jvp_call
from wengert.transforms.jvp import jvp_flat
from wengert.transforms.linearize import (
    Linearization,
    LinearTracer,
    is_nonzero,
    split_aux,
    transpose_flat,
)
from wengert.transforms.tape import PICK, Block

#: From the values it closes over, and flat arguments, to flat results.
Flat = Callable[[Sequence[Any], Sequence[Any]], list[Any]]


# -- the user's functions ----------------------------------------------------------------------


class Equations(NamedTuple):
    """A function from trees of one structure to themselves: `f` of a root, or a matrix.

    Attributes:
      program: it, with the values it closes over first.
      held: these values.
      structure: of its argument and result.
    """

    program: Program
    held: tuple[Any, ...]
    structure: tree.TreeDef

    def __call__(self, held: Sequence[Any], x: Sequence[Any]) -> list[Any]:
        return self.program.evaluate(*held[: len(self.held)], *x)

    def on_trees(self, function: Callable[[list[Any]], list[Any]]) -> Callable[[Any], Any]:
        """A function of flat values as one of trees, for the user's solver."""

        def called(x: Any) -> Any:
            leaves = _flat_like("the argument of the solver's function", x, self.structure)
            types = self.program.in_types[len(self.held) :]
            given = [*map(_converted, leaves, types)]
            check_types("the solver's function got", [v.type for v in given], types)
            return tree.unflatten(self.structure, function(given))

        return called


def _flat_like(what: str, value: Any, structure: tree.TreeDef) -> list[Any]:
    leaves, got = tree.flatten(value)
    if got != structure:
        raise errors.TreeError(what, got, "the unknown", structure)
    return [as_array(leaf) for leaf in leaves]


def _converted(value: Value, type: ArrayType) -> Value:
    """A value in the dtype of a type that is wider; another stays as it is."""
    if value.dtype == type.dtype or dtypes.join((value, type.dtype))[0] != type.dtype:
        return value
    return convert(value, dtype=type.dtype)


def traced_equations(name: str, function: Callable[..., Any], example: Any) -> Equations:
    """A user's function of one tree, traced; its results must be of the argument's types."""
    leaves, structure = tree.flatten(example)
    types = [as_array(leaf).type for leaf in leaves]

    def call(tracers: list[Any]) -> list[Any]:
        out = function(tree.unflatten(structure, tracers))
        return _flat_like(f"the result of {name}", out, structure)

    program = trace(call, types)
    check_types(f"{name} returned", program.out_types, types)
    return Equations(program.closed(), program.constant_values, structure)


def check_types(what: str, got: Sequence[ArrayType], expected: Sequence[ArrayType]) -> None:
    """Check shapes and dtypes.

    Raises:
      ShapeError: when they differ.
    """
    if [(t.shape, t.dtype) for t in got] != [(t.shape, t.dtype) for t in expected]:
        raise errors.ShapeError(
            f"{what} values of types ({', '.join(map(str, got))}); the unknown has types "
            f"({', '.join(map(str, expected))}). Shapes and dtypes must agree."
        )


class Solver:
    """A user's solver on flat values: `solver(held, function, argument)`.

    Attributes:
      tracers: what it closes over.
      aux_tree: the structure of its auxiliary result, once it has run.
    """

    def __init__(
        self, name: str, solve: Callable[..., Any], structure: tree.TreeDef, has_aux: bool
    ) -> None:
        self.name = name
        self.solve = solve
        self.structure = structure
        self.has_aux = has_aux
        self.tracers = tuple(closed_over(solve))
        self.aux_tree: Any = None

    def __call__(
        self, held: Sequence[Any], function: Callable[[Any], Any], argument: Sequence[Any]
    ) -> list[Any]:
        """The solution, and the leaves of the auxiliary result."""
        types = [a.type for a in argument]
        return with_values(self.tracers, held, self._run, function, argument, types)

    def _run(self, function: Any, argument: Sequence[Any], types: Any) -> list[Any]:
        out = self.solve(function, tree.unflatten(self.structure, argument))
        aux: list[Any] = []
        if self.has_aux:
            out, extra = split_aux(out)
            aux, self.aux_tree = tree.flatten(extra)
        leaves = _flat_like(f"the result of {self.name}", out, self.structure)
        check_types(f"{self.name} returned", [x.type for x in leaves], types)
        return [*leaves, *map(as_array, aux)]

    def result(self, out: Sequence[Any]) -> Any:
        """The result as the user's solver gave it, from flat values."""
        count = self.structure.num_leaves
        solution = tree.unflatten(self.structure, out[:count])
        if not self.has_aux:
            return solution
        return solution, tree.unflatten(self.aux_tree, out[count:])


# -- linear systems ----------------------------------------------------------------------------


class LinearSolve(CustomCall):
    """The solution of a linear system, by the user's solver.

    Operands are what the functions close over, and the right side `b`. The functions take the
    former as `held`: `fun(held, b)` gives the solution and auxiliary results, `matvec(held, x)`
    is the matrix, `vecmat(held, y)` its transpose, `transposed(held, b)` solves with that.
    """

    name = "linear_solve"
    takes_tangents = True
    inlines_tangents = False
    rules = ("matvec", "vecmat", "transposed")

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        closed = params["closed"]
        held, right = primals[:closed], tangents[closed:]
        out = self(*primals, **params)
        solution = out[: len(right)]
        dots: list[Any] = [Zero(o.type) for o in out]
        if any(type(t) is not Zero for t in tangents[:closed]):
            matvec = params["matvec"]
            _, moved, _ = jvp_flat(lambda h: matvec(h, solution), held, tangents[:closed])
            right = [*map(_difference, right, moved)]
        if any(type(t) is not Zero for t in right):
            dots[: len(right)] = self(*held, *map(instantiate, right), **_plain(params))
        return out, dots

    def linearize(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        return interpreter.linearize_by_jvp(self, args, params)

    def linearize_tangents(
        self, interpreter: Any, args: Sequence[Value], params: Params
    ) -> list[Any]:
        """Record the solve for a right side of tangents on the tape."""
        tag, closed = interpreter.tag, params["closed"]
        own = [type(a) is LinearTracer and a.tag is tag for a in args]
        operands = interpreter.primals(args)
        if any(own[:closed]) or any(
            is_nonzero(b)
            for b, mine in zip(operands[closed:], own[closed:], strict=True)
            if not mine
        ):
            raise errors.NonlinearRuleError(self.name, location())
        types = [b.type for b in args[closed:]]
        terms = [(i, b.index) for i, b in enumerate(args[closed:]) if own[closed + i]]
        tape = interpreter.tape
        entry = (linear_solve_block, terms, ((operands[:closed], _plain(params), types), types))
        variable = tape.append(entry)
        return [
            LinearTracer(tag, t, tape.append((PICK, variable, i))) for i, t in enumerate(types)
        ]

    def apply_batched(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        values, dims = interpreter.split(args)
        closed = params["closed"]
        right = [
            batched_first(b, d, interpreter.size)
            for b, d in zip(values[closed:], dims[closed:], strict=True)
        ]
        held_dims = dims[:closed]

        def batched(function: Flat) -> Flat:
            def run(held: Sequence[Any], x: Sequence[Any]) -> list[Any]:
                part_dims = (held_dims, [0] * len(x))
                (out,) = run_batched(
                    interpreter, lambda *parts: [function(*parts)], (held, x), part_dims
                )
                return out

            return run

        functions = {name: batched(params[name]) for name in ("fun", *self.rules)}
        out = interpreter.parent.apply(
            self, [*values[:closed], *right], {**functions, "closed": closed}
        )
        return [interpreter.tracer(o, 0) for o in out]


linear_solve = LinearSolve()


def _difference(a: Value, b: Value) -> Value:
    """The difference of two tangents, either of which may be `Zero`."""
    if type(b) is Zero:
        return a
    return neg(b) if type(a) is Zero else sub(a, b)


def _plain(params: Params) -> Params:
    """The parameters of the same solve without auxiliary results."""
    fun = params["fun"]

    def solution(held: Sequence[Any], b: Sequence[Any]) -> list[Any]:
        return fun(held, b)[: len(b)]

    return {**params, "fun": solution}


def _transposed(params: Params) -> Params:
    """The parameters of the solve with the transposed matrix."""
    return {
        "fun": params["transposed"],
        "matvec": params["vecmat"],
        "vecmat": params["matvec"],
        "transposed": params["fun"],
        "closed": params["closed"],
    }


class LinearSolveBlock(Block):
    """The solve as a linear map from right sides to solutions."""

    def push_block(self, terms: Any, extra: Any, tangents: Sequence[Value]) -> list[Value]:
        held, params, types = extra
        right: list[Any] = [*map(Zero, types)]
        for position, index in terms:
            right[position] = tangents[index]
        return linear_solve(*held, *map(instantiate, right), **params)

    def pull_block(
        self, terms: Any, extra: Any, cotangents: Sequence[Value], masked: bool
    ) -> list[Value]:
        held, params, _ = extra
        pulled = linear_solve(*held, *map(instantiate, cotangents), **_transposed(params))
        return [pulled[position] for position, _ in terms]


linear_solve_block = LinearSolveBlock()


def custom_linear_solve(
    matvec: Callable[[Any], Any],
    b: Any,
    solve: Callable[..., Any],
    transpose_solve: Callable[..., Any] | None = None,
    symmetric: bool = False,
    has_aux: bool = False,
) -> Any:
    """The solution `x` of `matvec(x) = b`, differentiable whatever code `solve` is.

    Args:
      matvec: a linear function from a tree of arrays to one of the same structure; derivatives
        with respect to what it closes over are found.
      b: the right side, a tree of floating or complex arrays.
      solve: `solve(matvec, b)` gives the solution; any code, of which no derivative is taken.
        Under `jit` and `vmap` it must be traceable.
      transpose_solve: `transpose_solve(vecmat, b)` solves with the transposed matrix, for
        reverse mode. Without it, `solve` does when `symmetric`.
      symmetric: whether the matrix equals its transpose, so that `matvec` serves for both.
      has_aux: whether `solve` (and `transpose_solve`) returns `(solution, aux)`.

    Returns:
      the solution, or `(solution, aux)`.

    Raises:
      TypeError: in reverse mode, when nothing solves the transposed system.

    >>> import wengert, wengert.numpy as wnp
    >>> def inverse(a):
    ...     return custom_linear_solve(
    ...         lambda x: a * x, 1.0, lambda matvec, b: b / matvec(1.0), symmetric=True
    ...     )
    >>> inverse(4.0), wengert.grad(inverse)(4.0)
    (Array(0.25, dtype=float32, weak_type=True), Array(-0.0625, dtype=float32, weak_type=True))
    """
    right, structure = tree.flatten(b)
    matrix = traced_equations("matvec", matvec, b)
    solver = Solver("solve", solve, structure, has_aux)
    other = transpose_solve or (solve if symmetric else None)
    backward = None if other is None else Solver("transpose_solve", other, structure, has_aux)
    system = _System(matrix, solver, backward, symmetric)
    out = linear_solve(
        *system.held,
        *map(as_array, right),
        fun=system.forward,
        matvec=matrix,
        vecmat=system.vecmat,
        transposed=system.transposed,
        closed=len(system.held),
    )
    return solver.result(out)


class _System:
    """The functions of a linear solve on flat values.

    Attributes:
      held: what they close over: the matrix first, then the solvers.
    """

    def __init__(
        self, matrix: Equations, solver: Solver, backward: Solver | None, symmetric: bool
    ) -> None:
        self.matrix = matrix
        self.solver = solver
        self.backward = backward
        self.symmetric = symmetric
        self.held = (*matrix.held, *solver.tracers, *(backward.tracers if backward else ()))
        first = len(matrix.held)
        self.middle = slice(first, first + len(solver.tracers))

    def forward(self, held: Sequence[Any], b: Sequence[Any]) -> list[Any]:
        """The solution and auxiliary results."""
        apply = self.matrix.on_trees(lambda x: self.matrix(held, x))
        return self.solver(held[self.middle], apply, b)

    def vecmat(self, held: Sequence[Any], y: Sequence[Any]) -> list[Any]:
        """The transposed matrix times a vector."""
        if self.symmetric:
            return self.matrix(held, y)
        types = [v.type for v in y]
        pulled = transpose_flat(lambda x: self.matrix(held, x), types, lambda _: y)
        return [
            zeros_like(t) if p is None else instantiate(p)
            for p, t in zip(pulled, types, strict=True)
        ]

    def transposed(self, held: Sequence[Any], b: Sequence[Any]) -> list[Any]:
        """The solution of the transposed system."""
        if self.backward is None:
            raise TypeError(
                "reverse mode through custom_linear_solve needs transpose_solve, which solves "
                "with the transposed matrix, or symmetric=True."
            )
        apply = self.matrix.on_trees(lambda y: self.vecmat(held, y))
        return self.backward(held[self.middle.stop :], apply, b)[: len(b)]


# -- roots -------------------------------------------------------------------------------------


def custom_root(
    f: Callable[[Any], Any],
    initial_guess: Any,
    solve: Callable[..., Any],
    tangent_solve: Callable[..., Any],
    has_aux: bool = False,
) -> Any:
    """A root `x` of `f(x) = 0`, differentiable by the implicit function theorem.

    Args:
      f: from a tree of arrays to one of the same structure and types; derivatives with respect
        to what it closes over are found.
      initial_guess: where the search begins; the root has derivative zero with respect to it.
      solve: `solve(f, initial_guess)` gives the root; any code, of which no derivative is
        taken. Under `jit` and `vmap` it must be traceable.
      tangent_solve: `tangent_solve(g, y)` solves `g(x) = y` for a linear function `g`. For
        reverse mode it must be linear in `y` itself: `y / g(1.0)` for scalars,
        `linalg.solve(jacobian(g)(y), y)` for vectors, or `custom_linear_solve`.
      has_aux: whether `solve` returns `(root, aux)`.

    Returns:
      the root, or `(root, aux)`.

    >>> import wengert
    >>> def newton(f, x):
    ...     for _ in range(6):
    ...         x = x - f(x) / wengert.grad(f)(x)
    ...     return x
    >>> def root_of(a):
    ...     return custom_root(lambda x: x * x - a, 1.0, newton, lambda g, y: y / g(1.0))
    >>> wengert.grad(root_of)(4.0)
    Array(0.25, dtype=float32, weak_type=True)
    """
    guess, structure = tree.flatten(initial_guess)
    guess = [as_array(leaf) for leaf in guess]
    equations = traced_equations("f", f, initial_guess)
    solver = Solver("solve", solve, structure, has_aux)
    tangents = Solver("tangent_solve", tangent_solve, structure, False)
    call = _RootCall(equations, solver, tangents)
    held = (*equations.held, *solver.tracers, *tangents.tracers)
    return solver.result(call([*held, *guess]))


class _RootCall:
    """The function and the rule of a root on flat values: held ones, and the guess."""

    def __init__(self, equations: Equations, solver: Solver, tangents: Solver) -> None:
        self.equations = equations
        self.solver = solver
        self.tangents = tangents
        first = len(equations.held)
        second = first + len(solver.tracers)
        self.parts = slice(first, second), slice(second, second + len(tangents.tracers))

    def __call__(self, args: Sequence[Any]) -> list[Any]:
        return custom_jvp_call(*args, fun=self.root, rule=self.rule, closed=0)

    def root(self, held: Sequence[Any], args: Sequence[Any]) -> list[Any]:
        """The root and auxiliary results."""
        guess = args[self.parts[1].stop :]
        apply = self.equations.on_trees(lambda x: self.equations(args, x))
        return self.solver(args[self.parts[0]], apply, guess)

    def rule(self, held: Sequence[Any], args: Sequence[Any], dots: Sequence[Any]) -> Any:
        """The root, and its tangent by the implicit function theorem."""
        out = self(args)
        count = len(args) - self.parts[1].stop
        root, first = out[:count], self.parts[0].start
        _, moved, _ = jvp_flat(lambda h: self.equations(h, root), args[:first], dots[:first])
        out_dots: list[Any] = [Zero(o.type) for o in out]
        if any(type(m) is not Zero for m in moved):
            linear = Linearization(lambda x: self.equations(args, x), root)
            apply = self.equations.on_trees(lambda x: [*map(instantiate, linear.push(x))])
            right = [*map(instantiate, moved)]
            solved = self.tangents(args[self.parts[1]], apply, right)
            out_dots[:count] = map(neg, solved)
        return out, out_dots
