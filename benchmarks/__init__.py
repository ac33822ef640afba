"""Benchmarks: us and the installed peers side by side, in one run, alternating.

`python -m benchmarks` prints every table; `python -m benchmarks eager` one of them. No test
times anything, and nothing here asserts anything but equal results.
"""
