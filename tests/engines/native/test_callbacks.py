"""What has no machine code is computed in Python, from inside machine code."""

import ctypes
import signal

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert import errors, extend
from wengert.engines.native import callbacks
from wengert.engines.native.machine import Target, function_address, load, optimise_and_emit

#: Runs a callback just after a signal has come.
SIGNALLED = """
declare i32 @raise(i32)
declare i64 @dispatch(i64, i64)
define i64 @call(i64 %number, i64 %pointers) {
  %sent = call i32 @raise(i32 SIGNAL)
  %status = call i64 @dispatch(i64 %number, i64 %pointers)
  ret i64 %status
}
""".replace("SIGNAL", str(int(signal.SIGALRM)))
SIGNATURE = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


class Computed(extend.Elementwise):
    """A primitive that the eager engine alone knows: what it computes is set by a test."""

    name = "computed"
    partials = (lambda out, x: 2 * x,)
    function = staticmethod(np.square)

    def compute(self, x):
        return self.function(x)


@pytest.fixture
def computed():
    return Computed()


@pytest.fixture
def program(computed):
    return wg.jit(lambda x: computed(x) + 1)


def test_a_callback_computes(program):
    x = wnp.arange(3.0)
    np.testing.assert_array_equal(program(x), [1, 2, 5])
    np.testing.assert_array_equal(program(x), [1, 2, 5])


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit, errors.WengertError])
def test_what_a_callback_raises_is_raised(program, computed, raised):
    error = raised("here")

    def fails(x):
        raise error

    program(wnp.ones(3))
    computed.function = fails
    for _ in range(2):
        with pytest.raises(raised) as caught:
            program(wnp.ones(3))
        assert caught.value is error
    computed.function = np.square
    np.testing.assert_array_equal(program(wnp.ones(3)), [2, 2, 2])


def test_errors_say_in_which_operation(program, computed):
    def fails(x):
        raise ArithmeticError("there is no such number")

    computed.function = fails
    with pytest.raises(ArithmeticError, match=r"no such number\n  in computed\(") as caught:
        program(wnp.ones(3))
    assert str(caught.value.__cause__) == "there is no such number"


def test_an_interrupt_before_the_first_line_is_raised():
    symbols = {"dispatch": callbacks._entry()}
    symbols["raise"] = function_address(ctypes.CDLL(None)["raise"])
    code = load(optimise_and_emit(SIGNALLED, Target.host()), symbols, ["call"])
    call = code.function("call", SIGNATURE)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            call(-1, 0)  # there is no such callback: nothing of it may be looked at
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_callback_that_is_not_known_is_an_error():
    with pytest.raises(KeyError):
        SIGNATURE(callbacks._entry())(-1, 0)


def test_callbacks_may_compute_themselves(program, computed):
    inner = wg.jit(lambda x: wnp.sin(x) + computed(wnp.sum(x)))

    def nested(x):
        if x.ndim == 0:
            return np.square(x)
        return np.asarray(inner(x) * 2 + wg.grad(lambda y: wnp.sum(y**3))(x))

    computed.function = nested
    x = np.arange(3, dtype=np.float32)
    wanted = (np.sin(x) + 9) * 2 + 3 * x**2 + 1
    np.testing.assert_allclose(program(wnp.array(x)), wanted, rtol=1e-6)
