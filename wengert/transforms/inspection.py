"""Looking at what becomes of a function: its program, kernels and machine code, and its times.

`show` gives the text of any stage on the way to machine code. `profile` runs jitted functions
with a clock around every step and prints a table of where the time went.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from wengert.core.gate import gate
from wengert.core.lazy import lazy_module
from wengert.core.program import Program
from wengert.engines import selection
from wengert.passes.pipeline import optimise
from wengert.transforms.jit import JitFunction

compiler = lazy_module("wengert.engines.native.compile")
kernels = lazy_module("wengert.engines.native.kernels")
describe = lazy_module("wengert.engines.native.describe")
machine = lazy_module("wengert.engines.native.machine")
profiling = lazy_module("wengert.engines.native.profiling")


class Listing(str):
    """Text that an interactive session shows as it is, not quoted."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _steps(program: Program) -> str:
    return "\n".join(describe.steps_of(kernels.group(optimise(program))))


def _module(program: Program) -> Any:
    target = machine.Target.host()
    return compiler.write_module(kernels.group(optimise(program)), target)[0]


#: What each stage shows of a traced program.
_STAGES: dict[str, Callable[[Program], str]] = {
    "program": str,
    "passes": lambda program: str(optimise(program)),
    "kernels": _steps,
    "llvm": lambda program: str(_module(program)),
    "optimised": lambda p: str(machine.optimised(_module(p), machine.Target.host())),
    "asm": lambda p: str(machine.assembly(_module(p), machine.Target.host())),
}


def show(fun: Callable[..., Any], *args: Any, stage: str = "program", **kwargs: Any) -> Listing:
    """What becomes of a function on the way to machine code, as text.

    Args:
      fun: a function of arrays, or trees of arrays, jitted or not.
      *args: arguments like those it will be called with (arrays or their types).
      stage: "program" (as traced), "passes" (simplified), "kernels" (which operations run
        together, and which go back to the eager engine), "llvm" (as written), "optimised"
        (after LLVM's passes), or "asm" (machine code).
      **kwargs: keyword arguments of the function.

    Raises:
      ValueError: for an unknown stage.

    >>> import wengert, wengert.numpy as wnp
    >>> wengert.show(lambda x: wnp.sum(x * 2.0), wnp.ones(100), stage="kernels")
    0: kernel reduce 100  (200 flops, 404B)
      vectors of ... along 100
      read v0: f32[100]
      do mul
      reduce_sum over (0,) into v1: f32[]
    """
    if stage not in _STAGES:
        raise ValueError(f"show knows the stages {', '.join(_STAGES)}; got {stage!r}.")
    jitted = fun if isinstance(fun, JitFunction) else JitFunction(fun, None, None)
    return Listing(_STAGES[stage](jitted.trace(*args, **kwargs).program))


class _Profiled:
    """A program that reads a clock around its steps."""

    def __init__(self, program: Program, profile: Any) -> None:
        self._compiled, profile.clocks[program] = compiler.compile_profiled(program)

    def run(self, values: Sequence[Any]) -> Sequence[Any]:
        """The results for flat NumPy values."""
        out: Sequence[Any] = self._compiled(values)
        return out


@contextmanager
def profile(report: bool = True) -> Iterator[Any]:
    """Take the time of every step of the jitted functions that are called in a `with` block.

    Args:
      report: print the table at the end.

    Yields:
      the profile: `rows` with `title`, `calls`, `seconds`, `gigabytes_per_second`, `gigaflops`
      and the user's line; `str(profile)` is the table. Each loop or conditional is followed by
      the steps inside, with greater `depth`; its `own` seconds are those that are not theirs.
      Where the steps inside are about as short as reading the clock, one row counts them.

    >>> import wengert, wengert.numpy as wnp
    >>> f = wengert.jit(lambda x: wnp.sum(wnp.sin(x)))
    >>> with wengert.profile(report=False) as taken:
    ...     y = f(wnp.ones(1000))
    >>> [(row.title, row.calls) for row in taken.rows]
    [('reduce 1000', 1)]
    """
    taken = profiling.Profile()
    made: dict[Program, _Profiled] = {}

    def instead(program: Program) -> _Profiled:
        if program not in made:
            made[program] = _Profiled(program, taken)
        return made[program]

    with gate, selection.replaced(instead):
        yield taken
    if report:
        print(taken)
