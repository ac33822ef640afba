"""Compiled programs: memory there is none for, better code that does not fit."""

import dataclasses

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert.engines.native import compile as native
from wengert.engines.native.machine import Target
from wengert.engines.native.runtime.callable import wait_for_machine_code

#: So many bytes no machine has.
HUGE = 1 << 47
TARGET = Target.host()


def test_a_program_that_there_is_no_memory_for_says_how_much_it_needs():
    f = wg.jit(lambda x: wnp.sort(wnp.broadcast_to(x, (HUGE // 4,)))[3])
    with pytest.raises(MemoryError, match=r"allocate 256\. TiB|needs"):
        f(np.float32(1))
    wait_for_machine_code()
    with pytest.raises(MemoryError, match=f"needs {2 * HUGE:,} bytes"):
        f(np.float32(1))


@pytest.mark.parametrize("change", [{"arena_bytes": 1 << 20}, {"in_place": ((0, 0),)}])
def test_better_code_that_wants_something_else_is_not_used(monkeypatch, change):
    program = wg.make_program(lambda x: wnp.cumsum(x) * 2)(np.ones(5, np.float32))
    compiled = native.CompiledProgram(program, native.make_object(program, TARGET, quick=True))
    x = np.arange(5, dtype=np.float32)
    quick = compiled.entry
    made = native.make_object(program, TARGET)
    monkeypatch.setattr(
        native, "make_object", lambda *_, **__: dataclasses.replace(made, **change)
    )
    compiled.improve()
    assert compiled.entry == quick
    np.testing.assert_array_equal(compiled([x])[0], np.cumsum(x) * 2)
    monkeypatch.setattr(native, "make_object", lambda *_, **__: made)
    compiled.improve()
    assert compiled.entry != quick
    np.testing.assert_array_equal(compiled([x])[0], np.cumsum(x) * 2)
