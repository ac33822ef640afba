"""Compiled work: `wengert.jit` against JAX, torch and NumPy, row by row.

`rows.py` says what a row is and lists them all; `elementwise`, `networks`, `loops`, `algebra`
and `data` define them. A row is written once, against a `System` (`systems.py`), whose `np`,
`lax`, `grad` and so on are one contender's. `measure.py` compares results, then takes first
calls and steady times in turns; `table.py` prints; `restart.py` times first calls in processes
that find a filled cache on disk. Limits are those of `benchmarks/machine.py`.
"""
