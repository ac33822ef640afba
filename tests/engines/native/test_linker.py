"""The linker for x86-64 ELF, against LLVM's."""

import ctypes
import gc
import re

import pytest

from wengert.engines.native import linker, machine
from wengert.engines.native.machine import Target, function_address, optimise_and_emit

pytestmark = pytest.mark.skipif(not linker.supported(), reason="another system")

INTEGER = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
both = pytest.mark.parametrize(
    "target", [Target.host(), Target.baseline()], ids=["host", "base"]
)

#: Every kind of reference: to variables, constants, zeros, tables of addresses, jump tables,
#: functions of the module, and functions and variables of the process.
TEXT = """
@variable = internal global i64 5
@zeros = internal global [100 x i64] zeroinitializer, align 64
@addresses = internal constant [3 x ptr] [ptr @twice, ptr @variable, ptr @other]
@constants = internal constant [4 x i64] [i64 10, i64 20, i64 30, i64 40]
@exported = global i64 77
@outside = external global i64
declare i64 @other(i64)
define internal i64 @twice(i64 %x) noinline { %y = add i64 %x, %x  ret i64 %y }
define i64 @f(i64 %x) {
  switch i64 %x, label %default [
    i64 0, label %case0
    i64 1, label %case1
    i64 2, label %case2
    i64 3, label %case3
    i64 4, label %case4
    i64 5, label %case5
  ]
case0:
  %v0 = load i64, ptr @variable
  %n0 = add i64 %v0, 1
  store i64 %n0, ptr @variable
  ret i64 %v0
case1:
  %p1 = getelementptr [4 x i64], ptr @constants, i64 0, i64 %x
  %v1 = load i64, ptr %p1
  ret i64 %v1
case2:
  %a2 = load ptr, ptr @addresses
  %v2 = call i64 %a2(i64 %x)
  ret i64 %v2
case3:
  %v3 = call i64 @other(i64 %x)
  ret i64 %v3
case4:
  %p4 = getelementptr [3 x ptr], ptr @addresses, i64 0, i64 2
  %a4 = load volatile ptr, ptr %p4
  %v4 = call i64 %a4(i64 %x)
  ret i64 %v4
case5:
  %v5 = load i64, ptr @outside
  store i64 6, ptr @outside
  ret i64 %v5
default:
  %i = urem i64 %x, 100
  %p = getelementptr [100 x i64], ptr @zeros, i64 0, i64 %i
  %v = load i64, ptr %p
  %w = add i64 %v, 1
  store i64 %w, ptr %p
  %e = load i64, ptr @exported
  %s = add i64 %v, %e
  ret i64 %s
}
"""


def test_every_kind_of_reference():
    other = INTEGER(lambda x: 1000 + x)
    for target in (Target.host(), Target.baseline()):
        for level in (1, 2, 3):
            content = optimise_and_emit(TEXT, target, level)
            outside = ctypes.c_int64(99)
            known = {"other": function_address(other), "outside": ctypes.addressof(outside)}
            linked = linker.link(content, known.__getitem__, ["f", "exported"])
            f = INTEGER(linked.addresses["f"])
            assert [f(x) for x in range(6)] == [5, 20, 4, 1003, 1004, 99]
            assert (f(0), outside.value) == (6, 6)
            assert [f(150), f(150), f(151)] == [77, 78, 77]
            ctypes.c_int64.from_address(linked.addresses["exported"]).value = 1
            assert f(152) == 1


@both
def test_agrees_with_llvms_linker(target):
    content = optimise_and_emit(TEXT, target)
    other, outside = INTEGER(lambda x: -x), ctypes.c_int64(3)
    known = {"other": function_address(other), "outside": ctypes.addressof(outside)}
    ours = linker.link(content, known.__getitem__, ["f"])
    llvms = machine._link_by_llvm(content, known, ["f"])
    f, g = INTEGER(ours.addresses["f"]), INTEGER(llvms.address("f"))
    for x in [1, 2, 3, 4, 5, 7, 99, 1000, 7]:
        outside.value = 3
        expected = g(x)
        outside.value = 3
        assert f(x) == expected


@both
def test_vector_constants_are_aligned(target):
    text = """
    define void @f(ptr %x) {
      %a = load <16 x float>, ptr %x, align 4
      %b = fadd <16 x float> %a, <float 0.0, float 1.0, float 2.0, float 3.0, float 4.0,
        float 5.0, float 6.0, float 7.0, float 8.0, float 9.0, float 10.0, float 11.0,
        float 12.0, float 13.0, float 14.0, float 15.0>
      store <16 x float> %b, ptr %x, align 4
      ret void
    }
    """
    linked = linker.link(optimise_and_emit(text, target), {}.__getitem__, ["f"])
    values = (ctypes.c_float * 16)(*[100.0] * 16)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(linked.addresses["f"])(values)
    assert list(values) == [100.0 + i for i in range(16)]


def rights_at(address):
    with open("/proc/self/maps", encoding="ascii") as file:
        for line in file:
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            if start <= address < end:
                return line.split()[1]
    return None


def test_no_page_is_writable_and_executable():
    text = TEXT.replace("@outside = external global i64", "@outside = global i64 1")
    content = optimise_and_emit(text, Target.host())
    linked = linker.link(content, lambda name: 4096, ["f", "exported"])
    assert rights_at(linked.addresses["f"]) == "r-xp"
    assert rights_at(linked.addresses["exported"]) == "rw-p"


def test_code_leaves_memory_with_its_object():
    content = optimise_and_emit("define void @f() { ret void }", Target.host())
    linked = linker.link(content, {}.__getitem__, ["f"])
    address = linked.addresses["f"]
    assert rights_at(address) == "r-xp"
    del linked
    gc.collect()
    assert rights_at(address) != "r-xp"
    kept = linker.link(content, {}.__getitem__, ["f"])
    address = kept.addresses["f"]
    kept.keep_for_ever()
    del kept
    gc.collect()
    assert rights_at(address) == "r-xp"


@pytest.mark.parametrize(
    "text",
    [
        "@x = thread_local global i64 1  define ptr @f() { ret ptr @x }",
        "define void @g() { ret void }",
    ],
    ids=["thread-local", "without export"],
)
def test_what_is_not_supported_is_said(text):
    content = optimise_and_emit(text, Target.host())
    with pytest.raises(linker.Unsupported):
        linker.link(content, lambda name: 4096, ["f"])


@pytest.mark.parametrize("length", [0, 5, 63, 64, 200, 500])
def test_torn_objects(length):
    content = optimise_and_emit(TEXT, Target.host())[:length]
    with pytest.raises(linker.Unsupported):
        linker.link(content, lambda name: 4096, ["f"])


def test_a_name_without_address_is_named():
    text = "declare void @nowhere()  define void @f() { call void @nowhere() ret void }"
    with pytest.raises(RuntimeError, match=re.escape("'nowhere'")):
        machine.load(optimise_and_emit(text, Target.host()), exports=["f"])
