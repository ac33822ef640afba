"""Times of the steps of compiled functions, and what they cost."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert.primitives.basis import Elementwise

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


def outline(taken):
    return [(row.depth, row.title, row.calls) for row in taken.rows]


def test_steps_inside_loops():
    f = lambda x: wg.lax.fori_loop(0, 10, lambda i, c: wnp.sin(c), x)
    taken, _ = rows(f, X, times=2)
    assert outline(taken) == [
        (0, "while", 2),
        (1, "map 64×64", 20),
        (1, "map scalar", 20),
        (1, "test: 1 small step", 22),
    ]
    loop, step, count, test = taken.rows
    assert 0 < step.seconds <= loop.seconds
    assert loop.own == pytest.approx(loop.seconds - step.seconds - count.seconds)
    assert loop.gigabytes_per_second == pytest.approx(
        loop.total.bytes / loop.seconds / 1e9, rel=1e-6
    )
    assert loop.total.flops >= 20 * step.cost.flops
    assert (test.timed, test.seconds) == (False, 0)


def test_loops_in_registers_are_counted_not_timed():
    """Reading the clock would take longer than a turn."""
    taken, out = rows(lambda x: wg.lax.fori_loop(0, 1000, lambda i, c: c * 0.5 + 1, x), 3.0)
    loop, *inside = taken.rows
    assert (loop.title, loop.calls) == ("while", 3)
    assert {(row.title, row.calls, row.timed) for row in inside} == {
        ("test: 1 small step", 3003, False),
        ("1 small step", 3000, False),
    }
    assert loop.own == loop.seconds > 0
    assert "the clock" in str(taken)
    assert float(out) == 2


def test_what_calls_back_is_timed_however_small(clean_registry):
    class Slow(Elementwise):
        """Something without machine code."""

        compute = staticmethod(lambda x: x + 2)

    slow = Slow()
    taken, _ = rows(lambda x: wg.lax.fori_loop(0, 7, lambda i, c: slow(c) * 2, x), 3.0)
    assert (1, "slow (eager engine)", 21) in outline(taken)
    assert all(row.timed for row in taken.rows if row.title.startswith("slow"))


def test_branches_that_ran_are_shown():
    f = lambda i, x: wg.lax.switch(i, [wnp.sort, wnp.cumsum, lambda x: x[::-1]], x)
    taken, _ = rows(f, np.int32(1), np.ones(10_000))
    assert [row.title for row in taken.rows if row.depth] == ["branch 1: cumsum"]


def test_loops_inside_loops():
    def row(c, x):
        return wg.lax.scan(lambda c, y: (c @ y, None), c, wnp.stack([x, x]))[0], wnp.sort(x[0])

    taken, _ = rows(lambda c, x: wg.lax.scan(row, c, x), X, np.ones((5, 64, 64), np.float32))
    found = {(row.depth, row.title): row.calls for row in taken.rows}
    assert found[0, "scan"] == 3
    assert found[1, "scan"] == 15
    assert found[2, "dot_general"] == 30
    assert found[1, "sort"] == 15
    assert sum(row.own for row in taken.rows) == pytest.approx(
        sum(row.seconds for row in taken.rows if not row.depth)
    )


@pytest.mark.parametrize("checkpoint", [None, 2])
def test_loops_that_go_back(checkpoint):
    def f(x, n):
        body = lambda c: (c[0] + 1, wnp.sin(c[1]))
        return wnp.sum(
            wg.lax.while_loop(lambda c: c[0] < n, body, (0 * n, x), checkpoint=checkpoint)[1]
        )

    taken, _ = rows(wg.grad(f), X, np.int32(6), times=1)
    found = {row.title: row.calls for row in taken.rows if row.timed and row.depth}
    name = "phase 1" if checkpoint is None else "back"
    assert found[f"{name}: map 64×64"] == 6
    text = str(taken)
    assert f"\n  {name}: map 64×64" in text


def test_nothing_is_measured_outside():
    with wg.profile(report=False) as taken:
        pass
    wg.jit(lambda x: x + 2)(X)
    assert not taken.rows
