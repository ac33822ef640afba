"""`python -m benchmarks [table ...] [row ...] [--quick] [--busy] [--peers jax]`.

Without a table, all of them. Rows, and groups of rows, are those of the table "compiled".
"""

from __future__ import annotations

import argparse

from benchmarks import eager, startup
from benchmarks.compiled import restart, table

TABLES = {
    "startup": startup.main,
    "eager": eager.main,
    "compiled": table.main,
    "restart": restart.main,
}


def main() -> None:
    """Print the chosen tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(TABLES)}; then rows")
    parser.add_argument("--quick", action="store_true", help="few repetitions")
    parser.add_argument("--busy", action="store_true", help="time of threads, not wall time")
    parser.add_argument("--peers", help="contenders besides us, separated by commas")
    options = parser.parse_intermixed_args()
    tables = [name for name in options.names if name in TABLES]
    rows = [name for name in options.names if name not in TABLES]
    peers = None if options.peers is None else options.peers.split(",")
    for name in tables or (["compiled"] if rows else TABLES):
        if name == "compiled":
            table.main(rows, options.quick, peers, options.busy)
        elif name == "restart":
            restart.main(rows)
        else:
            TABLES[name]()


if __name__ == "__main__":
    main()
