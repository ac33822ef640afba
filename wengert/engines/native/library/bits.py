"""Bits read as elements of another size: the same memory under another dtype.

Between dtypes of one size `bitcast_convert` is an element of kernels; between others, which
change the shape, its result has the bytes of the operand.
"""

from __future__ import annotations

from wengert.core.program import Equation
from wengert.engines.native.code import Buffer, Code


def emit_bitcast(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append a copy of the bytes."""
    del equation
    (x,), (result,) = operands, results
    code.move(result.pointer, x.pointer, x.type.nbytes)


OPERATIONS = {"bitcast_convert": emit_bitcast}
