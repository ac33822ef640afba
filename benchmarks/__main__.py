"""`python -m benchmarks [table ...]`."""

from __future__ import annotations

import sys

from benchmarks import eager, startup

TABLES = {"startup": startup.main, "eager": eager.main}

for name in sys.argv[1:] or TABLES:
    TABLES[name]()
