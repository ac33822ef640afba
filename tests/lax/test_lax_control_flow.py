"""The functions of `lax` for control flow: arguments, types, structures, messages."""

from __future__ import annotations

import dataclasses
import sys
import types
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert import errors, lax, random

X = np.array([0.5, -1.5, 2.0])
Pair = namedtuple("Pair", "a b")
both = pytest.mark.parametrize("wrap", [lambda g: g, wg.jit], ids=["eager", "jit"])


@dataclasses.dataclass
class Unknown:
    """A class that is not registered as a container."""

    value: float


class TestCond:
    @pytest.mark.parametrize(
        "pred", [True, 1, 2.5, np.bool_(True), np.array(3), wnp.array(True)]
    )
    def test_predicates(self, pred):
        assert lax.cond(pred, lambda: 1, lambda: 2) == 1
        assert lax.cond(pred * 0, lambda: 1, lambda: 2) == 2
        assert wg.jit(lambda p: lax.cond(p, lambda: 1, lambda: 2))(pred) == 1

    def test_operands(self):
        assert lax.cond(True, lambda x: x + 1, lambda x: x, operand=2) == 3
        assert lax.cond(False, lambda x: 1, lambda x: 2, operand=None) == 2
        out = lax.cond(
            True, lambda p, x: Pair(p["u"], x), lambda p, x: Pair(x, x), {"u": 1.0}, 2.0
        )
        assert isinstance(out, Pair)
        assert out == Pair(1.0, 2.0)
        with pytest.raises(TypeError, match="not both"):
            lax.cond(True, lambda x: x, lambda x: x, 1, operand=2)

    def test_weak_results_join(self):
        strong = lax.cond(True, lambda: 1.0, lambda: np.float32(2))
        assert strong.dtype == np.float32
        assert not strong.weak_type
        assert lax.cond(False, lambda: 1.0, lambda: 2.0).weak_type
        assert not lax.cond(False, lambda: np.float32(2), lambda: 1.0).weak_type

    def test_messages(self):
        with pytest.raises(errors.ShapeError, match=r"no dimensions.*vmap"):
            lax.cond(X > 0, lambda: 1, lambda: 2)
        with pytest.raises(TypeError, match="bool or a number"):
            lax.cond("yes", lambda: 1, lambda: 2)
        with pytest.raises(TypeError, match=r"wengert\.numpy\.where"):
            lax.cond(True, 1, 2)
        with pytest.raises(errors.TreeError, match=r"true_fun.*false_fun"):
            lax.cond(True, lambda: (1, 2), lambda: [1, 2])
        with pytest.raises(errors.BranchTypeError) as caught:
            lax.cond(True, lambda: {"a": X, "b": 1.0}, lambda: {"a": X[:2], "b": 1})
        text = str(caught.value)
        assert "result['a']: f64[2] from false_fun, f64[3] from true_fun" in text
        assert "result['b']: i32*[] from false_fun, f32*[] from true_fun" in text
        assert "test_lax_control_flow.py" in text

    def test_a_known_choice_is_made_while_tracing(self):
        program = wg.make_program(lambda x: lax.cond(True, wnp.sin, wnp.cos, x))(1.0)
        assert [e.primitive.name for e in program.equations] == ["sin"]


class TestSwitch:
    @both
    def test_the_index_is_moved_into_range(self, wrap):
        f = wrap(lambda i: lax.switch(i, [lambda: 10, lambda: 20, lambda: 30]))
        for index, expected in ((-5, 10), (0, 10), (1, 20), (2, 30), (100, 30)):
            assert f(index) == expected
            assert f(np.int64(index)) == expected
        assert f(np.uint8(200)) == 30
        assert wrap(lambda i: lax.switch(i, [lambda: 10]))(3) == 10

    def test_messages(self):
        with pytest.raises(TypeError, match="at least one"):
            lax.switch(0, [])
        with pytest.raises(errors.DTypeError, match="integer"):
            lax.switch(1.0, [lambda: 1, lambda: 2])
        with pytest.raises(errors.BranchTypeError, match=r"branches\[1\]"):
            lax.switch(0, [lambda: 1, lambda: 2.0])


class TestLoops:
    @both
    def test_structures(self, wrap):
        def f(x):
            body = lambda p: Pair({"n": p.a["n"] + 1}, (p.b[0] * 2, None))
            return lax.while_loop(lambda p: p.a["n"] < 3, body, Pair({"n": 0}, (x, None)))

        out = wrap(f)(X)
        assert isinstance(out, Pair)
        assert out.a["n"] == 3
        assert out.b[1] is None
        np.testing.assert_array_equal(out.b[0], 8 * X)

    def test_empty_carry(self):
        assert lax.while_loop(lambda c: False, lambda c: c, ()) == ()
        assert lax.fori_loop(0, 3, lambda i, c: c, None) is None
        carry, ys = lax.scan(lambda c, x: (c, x), (), X)
        assert carry == ()
        np.testing.assert_array_equal(ys, X)

    @both
    def test_bounds(self, wrap):
        f = wrap(lambda lo, hi: lax.fori_loop(lo, hi, lambda i, c: c + i, 0))
        for lo, hi in ((0, 4), (2, 2), (3, 1), (-2, 2), (np.int64(1), np.int64(5))):
            assert f(lo, hi) == sum(range(lo, hi))

    def test_index_dtype(self):
        dtypes = []
        for lo, hi in ((0, 2), (np.int64(0), 2), (np.uint8(0), np.uint8(2))):
            lax.fori_loop(lo, hi, lambda i, c: dtypes.append(i.dtype) or c, 0)
        assert dtypes == [np.int32, np.int64, np.uint8]

    def test_weak_carries(self):
        """A weak initial value takes the type that the body gives it."""
        assert lax.fori_loop(0, 2, lambda i, c: c * 2, 1.0).weak_type
        strong = lax.fori_loop(0, 2, lambda i, c: c * np.float32(2), 1.0)
        assert (strong.dtype, strong.weak_type) == (np.float32, False)
        wide = lax.fori_loop(0, 2, lambda i, c: c + np.float64(2), 0)
        assert (wide.dtype, wide.weak_type, float(wide)) == (np.float64, False, 4.0)
        narrow = lax.fori_loop(0, 2, lambda i, c: 1.0, np.float32(0))
        assert (narrow.dtype, narrow.weak_type) == (np.float32, False)

    @pytest.mark.parametrize(
        "dtype", ["bool", "uint8", "int64", "float16", "bfloat16", "complex64"]
    )
    @both
    def test_dtypes(self, wrap, dtype):
        x = wnp.array([1, 0, 1], dtype)
        f = lambda x: lax.scan(lambda c, x: (c + x if dtype != "bool" else c | x, c), x[0], x)
        carry, ys = wrap(f)(x)
        assert carry.dtype == ys.dtype == x.dtype
        assert ys.shape == (3,)

    def test_messages_about_the_carry(self):
        with pytest.raises(errors.CarryTypeError) as caught:
            lax.while_loop(
                lambda p: True, lambda p: {"a": X, "b": 1.0}, {"a": 0.0, "b": np.int32(1)}
            )
        text = str(caught.value)
        assert "carry of while_loop" in text
        assert "carry['a']: f32*[] before, f64[3] after" in text
        assert "carry['b']: i32[] before, f32*[] after" in text
        assert "test_lax_control_flow.py" in text
        with pytest.raises(errors.CarryTypeError, match=r"init\.astype\('float64'\)"):
            lax.fori_loop(0, 2, lambda i, x: x * np.float64(2), np.float32(1))
        with pytest.raises(errors.TreeError, match=r"body of scan returns.*the initial carry"):
            lax.scan(lambda c, x: ((c, c), x), 0.0, X)
        with pytest.raises(errors.TreeError, match="fori_loop"):
            lax.fori_loop(0, 2, lambda i, x: (x, x), 1.0)

    def test_counts_are_integers_of_any_kind(self):
        step = lambda c, _: (c * 2, None)
        for kind in (int, np.int64, np.uint8, np.array, wnp.array):
            assert lax.scan(step, 1, length=kind(3), unroll=kind(2))[0] == 8
            assert lax.scan(step, 1.0, length=4, checkpoint=kind(2))[0] == 16
            out = lax.while_loop(lambda c: c < 9, lambda c: c * 2, 1.0, checkpoint=kind(2))
            assert out == 16

    def test_messages_about_structures(self):
        with pytest.raises(errors.TreeError) as caught:
            lax.scan(lambda c, x: ({"a": [1.0, X]}, x), {"a": [1.0, (X, X)]}, X)
        text = str(caught.value)
        assert "at ['a'][1]: an array, and a tuple of 2 items" in text
        assert "test_lax_control_flow.py" in text
        with pytest.raises(errors.TreeError, match="they differ: None, and an array") as caught:
            lax.fori_loop(0, 2, lambda i, x: None, X)
        assert "(*, *)" not in str(caught.value)  # that there is an index, users do not see
        with pytest.raises(errors.TreeError, match="keys 'a', and a dict with the keys 'b'"):
            lax.cond(True, lambda: {"a": 1.0}, lambda: {"b": 1.0})

    def test_messages_about_what_is_no_array(self):
        with pytest.raises(TypeError, match=r"carry of scan at \['n'\]: .* 'x' of type str"):
            lax.scan(lambda c, x: (c, x), {"n": "x", "v": 1.0}, X)
        for loop in (
            lambda value: lax.while_loop(lambda c: True, lambda c: c, value),
            lambda value: lax.fori_loop(0, 2, lambda i, c: c, value),
            lambda value: lax.cond(True, lambda c: c, lambda c: c, value),
            lambda value: lax.scan(lambda c, x: (value, x), 0.0, X),
        ):
            with pytest.raises(TypeError, match=r"register_dataclass\(Unknown\)"):
                loop(Unknown(1.0))
        with pytest.raises(TypeError, match="dtype object has no arithmetic"):
            lax.scan(lambda c, x: (c, x), np.array([None]), X)
        with pytest.raises(TypeError, match=r"register_dataclass\(Unknown\)"):
            wg.jit(lambda p: p)(Unknown(1.0))
        with pytest.raises(TypeError, match="static argument of jit"):
            wg.jit(lambda x, name: x)(1.0, "relu")

    def test_a_random_key_in_the_carry_is_named_as_users_name_it(self):
        with pytest.raises(errors.CarryTypeError, match=r"carry\['k'\]: u32\[2\] before"):
            lax.scan(lambda c, x: ({"k": random.split(c["k"])}, x), {"k": random.key(0)}, X)

    def test_messages_about_arguments(self):
        with pytest.raises(errors.DTypeError, match="one bool"):
            lax.while_loop(lambda x: x, lambda x: x, 1.0)
        with pytest.raises(errors.DTypeError, match=r"\.any\(\)"):
            lax.while_loop(lambda x: x > 0, lambda x: x, X)
        with pytest.raises(errors.DTypeError, match="bounds"):
            lax.fori_loop(0.0, 3, lambda i, x: x, 1.0)
        with pytest.raises(TypeError, match="return carry, None"):
            lax.scan(lambda c, x: c + x, np.float64(0), X)
        with pytest.raises(ValueError, match="length"):
            lax.scan(lambda c, x: (c, x), 0.0)
        with pytest.raises(ValueError, match="length=-1"):
            lax.scan(lambda c, x: (c, x), 0.0, length=-1)
        for length in (2.0, "2", np.ones(2, int)):
            with pytest.raises(ValueError, match="give the number of iterations"):
                lax.scan(lambda c, x: (c, x), 0.0, length=length)
        with pytest.raises(errors.ConcretizationError, match=r"scan.*lax\.fori_loop"):
            wg.jit(lambda n: lax.scan(lambda c, x: (c, x), 0.0, length=n))(3)
        for swapped in (
            lambda f: lax.scan(0.0, f, X),
            lambda f: lax.fori_loop(0, 3, 1.0, f),
            lambda f: lax.while_loop(f, 0.0, f),
            lambda f: lax.map(X, f),
        ):
            with pytest.raises(TypeError, match=r"must be a function"):
                swapped(lambda *values: values)
        with pytest.raises(errors.ShapeError, match=r"xs\['a'\].*close over"):
            lax.scan(lambda c, x: (c, x), 0.0, {"a": 1.0})
        with pytest.raises(errors.ShapeError, match="different leading sizes"):
            lax.scan(lambda c, x: (c, None), 0.0, (X, X[:2]))
        with pytest.raises(errors.ShapeError, match="length=5"):
            lax.scan(lambda c, x: (c, None), 0.0, X, length=5)
        for checkpoint in (0, -1, "all"):
            with pytest.raises(ValueError, match="checkpoint"):
                lax.scan(lambda c, x: (c, None), 0.0, X, checkpoint=checkpoint)
            with pytest.raises(ValueError, match="checkpoint"):
                lax.while_loop(lambda c: c > 0, lambda c: c, 0.0, checkpoint=checkpoint)
        with pytest.raises(ValueError, match="unroll"):
            lax.scan(lambda c, x: (c, None), 0.0, X, unroll=0)
        with pytest.raises(TypeError, match="not both"):
            lax.while_loop(lambda c: c > 0, lambda c: c, 0.0, checkpoint=1, checkpoint_bytes=8)

    def test_errors_inside_name_the_line(self):
        table = wnp.arange(3.0)

        def body(c):
            return c[0] + 1, table[c[0]]  # here

        for wrap in (lambda g: g, wg.grad):
            with pytest.raises(IndexError, match="# here"):
                wrap(lambda x: lax.while_loop(lambda c: c[0] < 9, body, (0, x))[1])(1.0)
        with pytest.raises(errors.ConcretizationError, match="test_lax_control_flow"):
            lax.scan(lambda c, x: (c if c > 0 else x, None), 0.0, wnp.ones(2))

    def test_nan_is_found_inside(self):
        def body(i, x):
            return wnp.log(x - 1.0)  # here

        with wg.config.debug_nans(True):
            for wrap in (lambda g: g, wg.grad):
                with pytest.raises(errors.NanError, match="# here"):
                    wrap(lambda x: lax.fori_loop(0, 3, body, x))(2.0)
                with pytest.raises(errors.NanError, match="# here"):
                    f = lambda x: lax.while_loop(lambda s: s < 9, lambda s: body(0, s), x)
                    wrap(f)(1.5)


class TestScan:
    @both
    def test_reverse_and_unroll(self, wrap):
        for unroll in (1, 2, True, False):
            f = lambda xs, u=unroll: lax.scan(
                lambda c, x: (c + x, c), 0.0, xs, reverse=True, unroll=u
            )
            carry, ys = wrap(f)(wnp.arange(4.0))
            assert carry == 6
            np.testing.assert_array_equal(ys, [6, 5, 3, 0])

    def test_results_of_any_structure(self):
        carry, ys = lax.scan(lambda c, x: (c, {"x": x, "n": None}), 1.0, X)
        assert carry == 1
        assert ys["n"] is None
        np.testing.assert_array_equal(ys["x"], X)

    def test_length_only(self):
        carry, ys = lax.scan(lambda c, _: (c * 2, c), 1.0, length=4)
        assert carry == 16
        np.testing.assert_array_equal(ys, [1, 2, 4, 8])

    def test_empty_slices(self):
        carry, ys = lax.scan(lambda c, x: (c + wnp.sum(x), x), np.float64(0), np.zeros((3, 0)))
        assert carry == 0
        assert ys.shape == (3, 0)


class TestMap:
    @pytest.mark.parametrize("batch_size", [None, 1, 2, 3, 7])
    @both
    def test_equals_vmap(self, wrap, batch_size):
        f = lambda p: {"s": wnp.sum(p[0]) * p[1], "p": p[0]}
        xs = (np.arange(10.0).reshape(5, 2), np.arange(5.0))
        got = wrap(lambda *xs: lax.map(f, xs, batch_size=batch_size))(*xs)
        expected = wg.vmap(f)(xs)
        for key in ("s", "p"):
            np.testing.assert_allclose(got[key], expected[key])

    def test_derivative(self):
        f = lambda x, n: wnp.sum(lax.map(lambda r: r**3, x, batch_size=n))
        for n in (None, 2):
            np.testing.assert_allclose(wg.grad(f)(X, n), 3 * X**2)


# -- bodies are traced once --------------------------------------------------------------------


class TestBodies:
    def test_once_for_equal_functions(self):
        def run(w):
            return lax.fori_loop(0, 3, lambda i, x: wnp.sin(x) * w, 1.0)

        first = run(2.0)
        before = dict(_known())
        assert run(2.0) == first
        assert _known().keys() == before.keys()
        assert run(3.0) != first
        assert len(_known().keys() - before.keys()) == 1

    def test_what_is_known_has_a_bound_that_threads_share(self):
        def run(start):
            for i in range(200):
                held = float((start + i) % 331)
                assert lax.fori_loop(0, 2, lambda i, c: c + held, 0.0) == 2 * held
            return True

        with ThreadPoolExecutor(3) as workers:
            assert all(workers.map(run, (0, 50, 100)))
        assert len(_known()) <= 256

    @pytest.mark.parametrize(
        "make",
        [
            lambda v: float(v),
            lambda v: wnp.float32(v),
            lambda v: wnp.full((2,), v),
            lambda v: np.full(2, v, np.float32),
            lambda v: np.full(500, v, np.float32),
            lambda v: {"k": [v, 1]},
            lambda v: lambda x: x * v,
            lambda v: Pair(v, v),
        ],
    )
    def test_changed_values_are_seen(self, make):
        def use(held, x):
            if callable(held):
                return held(x)
            if isinstance(held, dict):
                return x * held["k"][0]
            if isinstance(held, tuple):
                return x * held.a
            return wnp.sum(x * held)

        for value in (2.0, 3.0, 2.0, 5.0):
            held = make(value)
            got = lax.fori_loop(0, 1, lambda i, x: use(held, x), 1.0)
            expected = use(held, 1.0)
            np.testing.assert_allclose(got, expected)

    def test_mutated_values_are_seen(self):
        array, table, box = np.ones(2, np.float32), {"a": 1.0}, type("Box", (), {"v": 1.0})()
        body = lambda i, x: x * wnp.sum(wnp.asarray(array)) * table["a"] * box.v

        run = lambda: float(lax.fori_loop(0, 1, body, 1.0))
        assert run() == 2
        array[0] = 3
        assert run() == 4
        table["a"] = 2.0
        assert run() == 8
        box.v = 0.5
        assert run() == 4

    def test_changed_globals_are_seen(self):
        scope = {"lax": lax, "w": 2.0}
        exec(
            "g = lambda x: x * w\nrun = lambda: lax.fori_loop(0, 1, lambda i, x: g(x), 1.0)",
            scope,
        )
        assert scope["run"]() == 2
        scope["w"] = 3.0
        assert scope["run"]() == 3
        scope["g"] = lambda x: x + 10
        assert scope["run"]() == 11

    def test_what_is_read_in_hidden_ways_is_seen(self):
        def held(i, x):
            return x * held.factor

        def imported(i, x):
            import held_factor

            return x * held_factor.factor

        def by_name(i, x):
            return x * eval("factor", {"factor": held.factor})

        module = types.ModuleType("held_factor")
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "held_factor", module)
            for value in (2.0, 3.0):
                held.factor = module.factor = value
                for body in (held, imported, by_name):
                    assert lax.fori_loop(0, 2, body, 1.0) == value**2

    def test_values_that_python_looks_at(self):
        """In a derivative a closed-over number can be asked for; the program depends on it."""

        def f(a, x):
            def body(i, c):
                return c * a if a > 1 else c + a

            return lax.fori_loop(0, 2, body, x)

        for a in (2.0, 0.5, 3.0, 0.25):
            flag = wnp.float32(a)
            got = wg.grad(lambda x: f(float(flag), x))(1.0)
            assert got == (a * a if a > 1 else 1)
        g = lambda a: lax.fori_loop(0, 2, lambda i, c: c * a if bool(a) else c + 5, 1.0)
        assert wg.grad(g)(2.0) == 4
        assert wg.value_and_grad(g)(0.0)[0] == 11

    def test_closed_over_tracers(self):
        f = lambda a: lax.fori_loop(0, 3, lambda i, c: c * a, a)
        for a in (1.5, 2.0):
            np.testing.assert_allclose(wg.grad(f)(a), 4 * a**3)
            np.testing.assert_allclose(wg.hessian(f)(a), 12 * a**2)
            np.testing.assert_allclose(wg.vmap(wg.grad(f))(a * X), 4 * (a * X) ** 3)
        two = lambda a, b: lax.fori_loop(0, 2, lambda i, c: c * a + b, 1.0)
        assert wg.grad(two, (0, 1))(2.0, 3.0) == (7.0, 3.0)
        assert wg.grad(lambda a: two(a, a))(2.0) == 2 * 2 + 2 * 2 + 1
        assert wg.grad(two, (0, 1))(3.0, 2.0) == (8.0, 4.0)


def _known():
    from wengert.transforms.control import bodies

    return bodies._KNOWN
