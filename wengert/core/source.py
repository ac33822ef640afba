"""Where in the user's code an operation was written.

A location is kept as `(code object, line)`; text is made only when an error or a printed
program asks for it.
"""

from __future__ import annotations

import linecache
import os
import sys
from types import CodeType, FrameType
from typing import NamedTuple

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
#: Wrappers of the standard library that stand between the user's line and ours.
_PLUMBING = (_PACKAGE, os.path.dirname(os.path.abspath(os.__file__)) + os.sep + "functools.py")


#: Ids of code that is known to be ours: it lives as long as its module, so ids stay true.
_INTERNAL: set[int] = set()


class Location(NamedTuple):
    """A line of the user's code."""

    code: CodeType
    line: int

    @property
    def text(self) -> str:
        """The source line itself, stripped; empty when the source is not available."""
        return linecache.getline(self.code.co_filename, self.line).strip()

    def __str__(self) -> str:
        where = f"{self.code.co_filename}:{self.line} in {self.code.co_name}"
        return f"{where}\n    {self.text}" if self.text else where


def is_internal(filename: str) -> bool:
    """Whether a file belongs to this package rather than to the user."""
    return filename.startswith(_PLUMBING)


def user_location() -> Location | None:
    """The innermost line on the stack that is the user's, or None."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if id(code) not in _INTERNAL:
            if not code.co_filename.startswith(_PLUMBING):
                return Location(code, frame.f_lineno)
            _INTERNAL.add(id(code))
        frame = frame.f_back
    return None
