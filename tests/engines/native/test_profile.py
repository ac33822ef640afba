"""Times of the steps of compiled functions, and what they cost."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp

X = np.ones((64, 64), np.float32)


def rows(function, *args, times=3):
    f = wg.jit(function)
    with wg.profile(report=False) as taken:
        for _ in range(times):
            out = f(*args)
    return taken, out


def test_every_step_is_counted():
    taken, out = rows(lambda x: wnp.sum(wnp.sort(x @ x)), X)
    assert float(out) == 64**3
    titles = {row.title: row for row in taken.rows}
    assert {"dot_general", "sort"} <= set(titles)
    assert all(row.calls == 3 and row.seconds > 0 for row in taken.rows)
    assert titles["dot_general"].cost.flops == 2 * 64**3
    assert [row.seconds for row in taken.rows] == sorted(
        (row.seconds for row in taken.rows), reverse=True
    )


def test_rates():
    taken, _ = rows(lambda x: wnp.exp(x) * 2, np.ones(100_000, np.float32))
    (row,) = taken.rows
    assert row.cost.bytes == 2 * 400_000
    assert row.gigabytes_per_second == pytest.approx(
        3 * row.cost.bytes / row.seconds / 1e9, rel=1e-6
    )
    assert row.gigaflops > 0


def test_the_table_names_lines():
    def layer(x):
        return wnp.tanh(x @ x)

    taken, _ = rows(layer, X)
    text = str(taken)
    assert "dot_general" in text
    assert "layer:" in text
    assert "peaks:" in text


def test_functions_compiled_before_are_profiled_too():
    f = wg.jit(lambda x: wnp.cumsum(x, axis=0))
    f(X)
    with wg.profile(report=False) as taken:
        f(X)
        f(X)
    assert [(row.title, row.calls) for row in taken.rows] == [("cumsum", 2)]
    f(X)
    assert [row.calls for row in taken.rows] == [2]


def test_a_report_is_printed(capsys):
    f = wg.jit(lambda x: x + 1)
    with wg.profile():
        f(X)
    assert "map 64×64" in capsys.readouterr().out


def test_errors_end_a_profile():
    f = wg.jit(lambda x, i: wnp.sort(x)[i])
    with pytest.raises(IndexError), wg.profile(report=False):
        f(np.ones(3), 7)
    assert float(f(np.ones(3), 1)) == 1


def test_loops_are_one_step():
    taken, _ = rows(lambda x: wg.lax.fori_loop(0, 10, lambda i, c: wnp.sin(c), x), X, times=2)
    assert [(row.title, row.calls) for row in taken.rows] == [("while", 2)]


def test_nothing_is_measured_outside():
    with wg.profile(report=False) as taken:
        pass
    wg.jit(lambda x: x + 2)(X)
    assert not taken.rows
