"""Which engine runs the program of a jitted function: machine code, or NumPy.

An executable has a method `run`, from flat NumPy values to flat NumPy values. `native` programs
are compiled at once; `tiered` ones run on the eager engine until a thread in the background has
compiled them. Where LLVM is not installed, every program runs on the eager engine.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, Protocol

from wengert.core.interpreter import quiet
from wengert.core.program import Program
from wengert.engines.eager import run_program
from wengert.engines.native.execute import NativeProgram


class ExecutableProgram(Protocol):
    """What an engine makes of a program."""

    def run(self, values: Sequence[Any]) -> Sequence[Any]:
        """The results for flat NumPy values."""


class EagerProgram:
    """A program on the eager engine."""

    def __init__(self, program: Program, donated: tuple[int, ...] = ()) -> None:
        del donated  # whose memory NumPy does not take over
        self._program = program

    def run(self, values: Sequence[Any]) -> Sequence[Any]:
        """The results for flat NumPy values."""
        return quiet().run(run_program, self._program, values)


class TieredProgram:
    """A program on the eager engine, while machine code is made in the background.

    When that is done it takes this object's place in the program. A failure of the compiler is
    raised by the next run.
    """

    def __init__(self, program: Program, donated: tuple[int, ...] = ()) -> None:
        self._program = program
        self._donated = donated
        self._eager = EagerProgram(program)
        self._error: Exception | None = None
        self._maker: threading.Thread | None = None

    def run(self, values: Sequence[Any]) -> Sequence[Any]:
        """The results for flat NumPy values."""
        if self._error is not None:
            raise self._error
        if self._maker is None or not self._maker.is_alive():  # as after a fork
            # no daemon: LLVM must not be running when the process ends
            self._maker = threading.Thread(target=self._make, name="wengert jit")
            with suppress(RuntimeError):  # no new threads while the process ends
                self._maker.start()
        return self._eager.run(values)

    def wait(self) -> None:
        """Return when machine code has been made, if that has begun."""
        if self._maker is not None:
            self._maker.join()

    def _make(self) -> None:
        try:
            _keep(self._program, self._donated, NativeProgram(self._program, self._donated))
        except Exception as error:
            self._error = error


ENGINES: dict[str, Callable[[Program, tuple[int, ...]], ExecutableProgram]] = {
    "native": NativeProgram,
    "tiered": TieredProgram,
    "eager": EagerProgram,
}


@cache
def has_llvm() -> bool:
    """Whether the native engine can be used at all."""
    return importlib.util.find_spec("llvmlite") is not None


class _Replacement(threading.local):
    """What makes the executables of this thread instead of the engines, if anything does."""

    make: Callable[[Program], ExecutableProgram] | None = None


_replacement = _Replacement()


@contextmanager
def replaced(make: Callable[[Program], ExecutableProgram]) -> Iterator[None]:
    """Let `make` choose what runs programs in this thread, inside a `with` block.

    Calls that machine code answers are not asked: close the gate as well.
    """
    before, _replacement.make = _replacement.make, make
    try:
        yield
    finally:
        _replacement.make = before


def executable(
    program: Program, engine: str = "native", donated: tuple[int, ...] = ()
) -> ExecutableProgram:
    """What runs a program: made at the first call, and kept with it.

    Args:
      program: what to run.
      engine: a name of `ENGINES`.
      donated: numbers of inputs in whose memory machine code may compute results: then
        `overwrites` of the `NativeProgram` says which of them must be given away.
    """
    if _replacement.make is not None:
        return _replacement.make(program)
    made = made_for(program, donated)
    if made is None:
        made = ENGINES[engine if has_llvm() else "eager"](program, donated)
        _keep(program, donated, made)
    return made


def made_for(program: Program, donated: tuple[int, ...] = ()) -> ExecutableProgram | None:
    """What runs a program, if it has been made."""
    made: ExecutableProgram | None = (
        program.derived.get(("executable", donated)) if donated else program.executable
    )
    return made


def _keep(program: Program, donated: tuple[int, ...], made: ExecutableProgram) -> None:
    if donated:
        program.derived["executable", donated] = made
    else:
        program.executable = made
