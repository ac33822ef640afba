"""`platform_dependent`: code that differs by where it runs. Here everything runs on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def platform_dependent(
    *args: Any, default: Callable[..., Any] | None = None, **per_platform: Callable[..., Any]
) -> Any:
    """The result of the function for this platform: `cpu`, or the default.

    Args:
      *args: what the function is called with.
      default: for platforms without a function of their own.
      **per_platform: functions by the name of a platform.

    Raises:
      NameError: when there is neither one for `cpu` nor a default.

    >>> platform_dependent(2.0, cpu=lambda x: x + 1, cuda=lambda x: x - 1)
    3.0
    """
    chosen = per_platform.get("cpu", default)
    if chosen is None:
        given = ", ".join(per_platform)
        raise NameError(
            f"platform_dependent has functions for {given or 'no platform'} and no default; "
            "this is 'cpu'. Add cpu=... or default=..."
        )
    return chosen(*args)
