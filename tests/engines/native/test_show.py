"""What `show` says about the way of a program to machine code."""

from __future__ import annotations

import re

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp

X = np.ones((8, 100), np.float32)
STAGES = ("program", "passes", "kernels", "llvm", "optimised", "asm")


def loss(x, w):
    return wnp.sum(wnp.tanh(x @ w) * 2.0)


@pytest.mark.parametrize("stage", STAGES)
def test_stages(stage):
    w = np.ones((100, 4), np.float32)
    text = wg.show(wg.grad(loss), X, w, stage=stage)
    assert isinstance(text, str)
    assert text == repr(text) == wg.show(wg.jit(wg.grad(loss)), X, w, stage=stage)
    words = {
        "program": r"program\(a: f32\[8,100\]",
        "passes": r"= dot_general\(",
        "kernels": r"\d: kernel .*\n",
        "llvm": r"define i64 @\"entry\"",
        "optimised": r"define .*i64 @entry",
        "asm": r"entry:",
    }
    assert re.search(words[stage], text)


def test_unknown_stages():
    with pytest.raises(ValueError, match="show knows the stages program, passes, kernels"):
        wg.show(loss, X, X.T, stage="machine")


def test_kernels_say_what_they_do():
    text = wg.show(lambda x: wnp.sum(wnp.exp(x) + x[0], axis=1), X, stage="kernels")
    assert "kernel reduce 8×100" in text
    assert "read v0: f32[8,100]" in text
    assert "exp" in text
    assert re.search(r"reduce_sum over \(1,\) into v\d: f32\[8\]", text)
    assert re.search(r"vectors of \d+ along 100", text)


def test_what_goes_back_to_the_eager_engine_is_named():
    text = wg.show(lambda x: wg.scipy.linalg.expm(x[:, :8]) + 1, X, stage="kernels")
    assert "expm (eager engine)" in text


def test_blocks_of_control_flow_are_shown():
    function = lambda x: wg.lax.fori_loop(0, 5, lambda i, c: wnp.sin(c) + i, x)
    text = wg.show(function, X, stage="kernels")
    assert "sin" in text


def test_text_is_stable():
    for stage in ("kernels", "llvm"):
        assert len({wg.show(loss, X, X.T[:, :3], stage=stage) for _ in range(3)}) == 1


def test_empty_functions():
    for stage in STAGES:
        text = wg.show(lambda x: x, X, stage=stage)
        assert ("entry" in text) == (stage in ("llvm", "optimised", "asm"))
