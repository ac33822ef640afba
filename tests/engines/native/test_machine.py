"""Targets, object code and loading."""

import ctypes
import gc
import os
import subprocess
import sys
import threading

import pytest

from wengert.engines.native import linker
from wengert.engines.native.machine import (
    Target,
    assembly,
    function_address,
    load,
    optimise_and_emit,
)

HOST, BASELINE = Target.host(), Target.baseline()
both = pytest.mark.parametrize("target", [HOST, BASELINE], ids=["host", "baseline"])
UNARY = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)
INTEGER = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)


def test_targets():
    assert HOST.vector_bytes in (16, 32, 64)
    assert BASELINE.vector_bytes == 16
    assert hash(HOST) == hash(Target.host())
    assert str(HOST) != str(BASELINE)
    if HOST.triple.startswith("x86_64"):
        assert not BASELINE.has_fma


@both
@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_loads_and_runs(target, level):
    text = "define i64 @f(i64 %x) { %y = mul i64 %x, 3  ret i64 %y }"
    code = load(optimise_and_emit(text, target, level), exports=["f"])
    assert code.function("f", INTEGER)(14) == 42


LOOP = """
define void @f(ptr %x, ptr %y) {
  %a = load <16 x float>, ptr %x, align 4
  %b = load <16 x float>, ptr %y, align 4
  %p = fmul <16 x float> %a, %b
  %s = fadd <16 x float> %p, %a
  store <16 x float> %s, ptr %x, align 4
  ret void
}
"""


def test_vectors_have_the_machines_width_and_are_not_contracted():
    text = assembly(LOOP, HOST)
    register = {64: "zmm", 32: "ymm", 16: "xmm"}[HOST.vector_bytes]
    if HOST.triple.startswith("x86_64"):
        assert register in text
    assert "vfm" not in text and "fmla" not in text


@pytest.mark.skipif(not HOST.triple.startswith("x86_64"), reason="names registers of x86-64")
def test_baseline_has_no_vector_extension():
    text = assembly(LOOP, BASELINE)
    assert "ymm" not in text and "zmm" not in text and "vmul" not in text


@both
@pytest.mark.parametrize("name", ["floor", "ceil", "trunc", "rint", "fma"])
def test_what_llvm_calls_by_itself_is_found(target, name):
    operands = ", ".join(["double %x"] * (3 if name == "fma" else 1))
    types = ", ".join(["double"] * (3 if name == "fma" else 1))
    text = f"""
    declare double @llvm.{name}.f64({types})
    define double @f(double %x) {{
      %y = call double @llvm.{name}.f64({operands})
      %z = frem double %y, 4.0
      ret double %z
    }}
    """
    code = load(optimise_and_emit(text, target), exports=["f"])
    expect = {"floor": 2.0, "ceil": 3.0, "trunc": 2.0, "rint": 2.0, "fma": 2.5**2 + 2.5 - 8}
    assert code.function("f", UNARY)(2.5) == expect[name]


@both
def test_half_precision_conversion_works(target):
    text = """
    define float @f(float %x) {
      %h = fptrunc float %x to half
      %y = fpext half %h to float
      ret float %y
    }
    """
    code = load(optimise_and_emit(text, target), exports=["f"])
    convert = code.function("f", ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_float))
    assert convert(1.0 + 2.0**-12) == 1.0


def test_a_symbol_without_address_is_an_error(capfd):
    text = "declare void @nowhere()  define void @f() { call void @nowhere() ret void }"
    with pytest.raises(RuntimeError, match=r"nowhere|materialize"):
        load(optimise_and_emit(text, HOST), exports=["f"])
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("junk", [b"", b"not object code", b"\x7fELF" + bytes(60)])
def test_broken_object_code_is_an_error(junk):
    with pytest.raises(RuntimeError):
        load(junk, exports=["f"])


def test_invalid_text_is_an_error():
    with pytest.raises(RuntimeError):
        optimise_and_emit("define i64 @f() { ret i32 1 }", HOST)


def test_object_code_is_deterministic_and_holds_no_address():
    text = "declare i64 @g(i64)  define i64 @f(i64 %x) { %y = call i64 @g(i64 %x) ret i64 %y }"
    code = optimise_and_emit(text, HOST)
    assert code == optimise_and_emit(text, HOST)
    add = INTEGER(lambda x: x + 1)
    double = INTEGER(lambda x: x * 2)
    first = load(code, {"g": function_address(add)}, ["f"]).function("f", INTEGER)
    second = load(code, {"g": function_address(double)}, ["f"]).function("f", INTEGER)
    assert (first(10), second(10)) == (11, 20)


def test_marked_functions_are_inlined():
    text = """
    define internal i64 @g(i64 %x) alwaysinline { %y = add i64 %x, 1  ret i64 %y }
    define i64 @f(i64 %x) { %y = call i64 @g(i64 %x) ret i64 %y }
    """
    assert "call" not in assembly(text, HOST)


def test_code_lives_as_long_as_its_function():
    text = "define i64 @f(i64 %x) { ret i64 %x }"
    functions = [
        load(optimise_and_emit(text, HOST), exports=["f"]).function("f", INTEGER)
        for _ in range(20)
    ]
    gc.collect()
    assert [function(i) for i, function in enumerate(functions)] == list(range(20))


def test_threads_compile_at_once():
    results = {}

    def work(number):
        text = f"define i64 @f(i64 %x) {{ %y = add i64 %x, {number}  ret i64 %y }}"
        for _ in range(10):
            code = load(optimise_and_emit(text, HOST), exports=["f"])
            results[number] = code.function("f", INTEGER)(1)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: number + 1 for number in range(8)}


SECOND = """
import sys
from wengert.engines.native.machine import Target
from wengert.engines.native.runtime import interrupt, memory, pool
import numpy as np
pool.run(lambda block: None, 4)
memory.empty((10_000,), np.float32)[:] = 1
interrupt.address("check")
print(str(Target.host()), Target.host().vector_bytes, Target.host().has_fma)
print("llvmlite" in sys.modules, file=sys.stderr)
"""


def test_a_second_process_does_not_need_llvm(tmp_path):
    environment = {**os.environ, "WENGERT_CACHE_DIR": str(tmp_path)}
    first, second = (
        subprocess.run(
            [sys.executable, "-c", SECOND],
            env=environment, capture_output=True, text=True, check=True,
        )
        for _ in range(2)
    )  # fmt: skip
    assert first.stdout == second.stdout
    assert first.stderr.strip() == "True"
    if linker.supported():
        assert second.stderr.strip() == "False"
