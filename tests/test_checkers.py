"""Every checker finds the mistake it is for: deliberately wrong rules, one per test."""

from __future__ import annotations

import numpy as np
import pytest

import wengert.numpy as wnp
from wengert import errors
from wengert.core.array import ArrayType
from wengert.core.primitive import Primitive, Sample
from wengert.primitives.basis import Elementwise, Linear, move_axis, mul, neg, reshape, unit
from wengert.testing import CHECKS, check_grads, check_primitive, check_rules
from wengert.transforms.custom_jvp import custom_jvp
from wengert.transforms.custom_vjp import custom_vjp

X = np.array([0.5, -1.25, 2.0])
W = np.array([1.0, 2.0, -1.0])


class Right(Elementwise):
    """x³, everything right; the wrong ones below change one rule each."""

    compute = staticmethod(lambda x: x * x * x)
    partials = (lambda out, x: mul(3, mul(x, x)),)

    def samples(self):
        yield Sample(np.float64(0.5))
        yield Sample(X)


class Halve(Linear):
    """x / 2 reversed along the last dimension, everything right."""

    @staticmethod
    def compute(x):
        return x[..., ::-1] / 2

    def type_rule(self, x):
        return x

    def transpose(self, cotangent, operands, position):
        return self(cotangent)

    def batch(self, size, args, dims):
        return self(move_axis(args[0], dims[0], 0)), 0

    def samples(self):
        yield Sample(X)
        yield Sample(np.zeros((0, 2)))
        yield Sample(np.arange(6.0).reshape(2, 3) + 1j)


def finds(primitive: Primitive, check: str, error, message: str | None) -> None:
    """The check fails with this error, and the checks before it that do not look there pass."""
    with pytest.raises(error, match=message):
        check_primitive(primitive, checks=(check,))


def test_right_rules_pass():
    for primitive in (Right(), Halve()):
        check_primitive(primitive)


def test_value_finds_wrong_shape():
    class Wrong(Right):
        def type_rule(self, x):
            return ArrayType((*x.shape, 1), x.dtype, x.weak_type)

    finds(
        Wrong(), "value", errors.RuleError, r"wrong\(float64\[\]\): results .* type rule says"
    )


def test_value_finds_wrong_dtype():
    class Wrong(Right):
        compute = staticmethod(lambda x: (x * x * x).astype(np.float32))

    finds(Wrong(), "value", errors.RuleError, "type rule says")


def test_value_finds_wrong_weak_flag():
    class Wrong(Right):
        def type_rule(self, x):
            return ArrayType(x.shape, x.dtype)

    finds(Wrong(), "value", errors.RuleError, "type rule says")


def test_value_finds_dependence_on_memory_layout():
    class Wrong(Right):
        @staticmethod
        def compute(x):
            contiguous = np.asarray(x).flags.c_contiguous
            return x * x * x if contiguous else x

    finds(Wrong(), "value", errors.RuleError, "strided")


def test_value_finds_modified_operand():
    class Wrong(Right):
        @staticmethod
        def compute(x):
            if np.ndim(x):
                x *= x * x
                return x.copy()
            return x * x * x

    finds(Wrong(), "value", ValueError, "read-only")


def test_value_finds_lost_precision():
    class Wrong(Right):
        @staticmethod
        def compute(x):
            return x * x * x if x.dtype == np.float64 else (x * x * x) / 2

    finds(Wrong(), "value", errors.RuleError, "as float32")


def test_jvp_finds_wrong_partial():
    class Wrong(Right):
        partials = (lambda out, x: mul(2, mul(x, x)),)

    finds(Wrong(), "jvp", errors.GradientMismatchError, "operand|argument 0")
    finds(Wrong(), "second", errors.GradientMismatchError, "wrong")


def test_jvp_names_entry_and_numbers():
    class Wrong(Right):
        partials = (lambda out, x: mul(x, x),)

        def samples(self):
            yield Sample(np.array([0.0, 2.0]))

    expected = r"argument 0, entry \(1,\) .*: rule gives 4, finite differences 12"
    finds(Wrong(), "jvp", errors.GradientMismatchError, expected)


def test_jvp_finds_wrong_tangent_dtype():
    class Wrong(Primitive):
        compute = staticmethod(lambda x: x * 2)

        def type_rule(self, x):
            return x

        def jvp(self, primals, tangents):
            return self(*primals), reshape(mul(tangents[0], 2), shape=(1, *primals[0].shape))

        def samples(self):
            yield Sample(X)

    finds(Wrong(), "jvp", errors.RuleError, "jvp: results .* have tangents")


def test_second_finds_derivative_that_is_right_in_value_only():
    class Constant(Elementwise):
        """x³ with a factor that is right, but seems constant."""

        compute = staticmethod(lambda x: x * x * x)
        partials = (lambda out, x: neg(square_stopped(x)),)

    class SquareStopped(Elementwise):
        nondifferentiable = True
        compute = staticmethod(lambda x: -3 * x * x)

    square_stopped = SquareStopped()
    wrong = Constant()
    check_primitive(wrong, checks=("jvp", "vjp"))
    finds(wrong, "second", errors.GradientMismatchError, "order 2")


def test_vjp_finds_wrong_transpose():
    class Wrong(Halve):
        def transpose(self, cotangent, operands, position):
            return mul(cotangent, 0.5)

    finds(Wrong(), "vjp", errors.RuleError, "not the transpose")
    finds(Wrong(), "linear", errors.RuleError, "not the transpose")


def test_vjp_finds_transpose_of_wrong_shape():
    class Wrong(Halve):
        def transpose(self, cotangent, operands, position):
            return reshape(self(cotangent), shape=(1, *cotangent.shape))

    finds(Wrong(), "vjp", errors.RuleError, "cotangents")
    finds(Wrong(), "linear", errors.RuleError, "transpose gives")


def test_linear_finds_nonlinear():
    class Wrong(Halve):
        @staticmethod
        def compute(x):
            return x * x

    finds(Wrong(), "linear", errors.RuleError, "not linear")


def test_batch_finds_wrong_rule():
    class Wrong(Halve):
        def batch(self, size, args, dims):
            return self(args[0]), dims[0]  # reverses the batch where it is the last dimension

    finds(Wrong(), "batch", errors.RuleError, "differs from a loop")


def test_batch_finds_wrong_dimension():
    class Wrong(Halve):
        def batch(self, size, args, dims):
            return self(move_axis(args[0], dims[0], 0)), 1

        def samples(self):
            yield Sample(np.arange(6.0).reshape(2, 3))

    finds(Wrong(), "batch", errors.RuleError, "differs from a loop")


def test_batch_finds_missing_rule():
    class Wrong(Linear):
        compute = staticmethod(lambda x: x)

        def type_rule(self, x):
            return x

        def samples(self):
            yield Sample(X)

    finds(Wrong(), "batch", errors.MissingRuleError, "batch")


def test_trace_finds_wrong_type_rule_of_a_derivative():
    class Wrong(Right):
        partials = (lambda out, x: Widened()(x),)

    class Widened(Elementwise):
        compute = staticmethod(lambda x: 3 * x * x)

        def type_rule(self, x):
            return ArrayType((2, *x.shape), x.dtype)

    finds(Wrong(), "trace", (errors.WengertError, IndexError), None)


def test_trace_finds_program_that_computes_something_else():
    class Wrong(Right):
        def evaluate(self, args, params):
            return super().evaluate([neg(a) for a in args], params)

    finds(Wrong(), "trace", errors.RuleError, "jit")


def test_missing_derivative_is_no_derivative():
    """An operand without rule is not tested; the quality tests list such operands."""

    class Silent(Primitive):
        compute = staticmethod(lambda x: x / 2)

        def type_rule(self, x):
            return x

        def samples(self):
            yield Sample(X)

    check_primitive(Silent(), checks=("value", "jvp", "vjp", "second", "linear"))


def test_every_check_is_proven_to_fail():
    """The tests above name all checks there are."""
    with open(__file__, encoding="utf-8") as file:
        text = file.read()
    assert all(f'(), "{check}", ' in text or f'wrong, "{check}"' in text for check in CHECKS)


# -- check_grads -----------------------------------------------------------------------------


def wrong_square(factor):
    @custom_jvp
    def square(x):
        return x * x

    square.defjvp(
        lambda primals, tangents: (square(*primals), factor * primals[0] * tangents[0])
    )
    return square


@pytest.mark.parametrize("modes", ["fwd", "rev", ("fwd", "rev")])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_check_grads(modes, dtype):
    x = X.astype(dtype)
    check_grads(wrong_square(2), (x,), 2, modes)
    with pytest.raises(errors.GradientMismatchError, match=r"order 1.*argument 0, .*entry"):
        check_grads(wrong_square(2.001), (x,), 2, modes)


def test_check_grads_second_order():
    @custom_jvp
    def cube(x):
        return x * x * x

    def rule(primals, tangents):
        (x,), (t,) = primals, tangents
        return cube(x), 3 * stopped_square(x) * t

    @custom_jvp
    def stopped_square(x):
        return x * x

    stopped_square.defjvp(lambda primals, tangents: (stopped_square(*primals), 0 * tangents[0]))
    cube.defjvp(rule)
    check_grads(cube, (X,), 1)
    with pytest.raises(errors.GradientMismatchError, match="order 2"):
        check_grads(cube, (X,), 2)


def test_check_grads_over_trees_names_the_leaf():
    square = wrong_square(3)

    def f(params, x):
        return params["w"] * x + square(params["b"])

    with pytest.raises(errors.GradientMismatchError, match=r"argument 0\['b'\], entry \(\d,\)"):
        check_grads(f, ({"w": W, "b": X}, 2.0), 1)


def test_check_grads_leaves_integers_alone():
    check_grads(lambda x, n: x * n, (X, 3), 2)


def test_check_grads_refuses_nonsense():
    with pytest.raises(ValueError, match="modes"):
        check_grads(wnp.sin, (X,), 1, modes="forward")
    with pytest.raises(ValueError, match="order"):
        check_grads(wnp.sin, (X,), 0)
    with pytest.raises(TypeError, match="tuple"):
        check_grads(wnp.sin, X, 1)


def test_check_grads_says_when_the_function_is_not_smooth():
    with pytest.raises(errors.GradientMismatchError, match="not smooth"):
        check_grads(wnp.log, (np.array([1.0, 0.0]),), 1)


def test_check_grads_of_float32_function_has_wider_tolerance():
    def f(x):
        return wnp.sin(x.astype("float32")) * 2

    check_grads(f, (X,), 2)


# -- check_rules -----------------------------------------------------------------------------


def dot(x, w):
    return wnp.dot(w, x)


def dot_with(backward):
    function = custom_vjp(dot)
    function.defvjp(lambda x, w: (dot(x, w), (x, w)), backward)
    return function


def right_backward(residuals, u):
    x, w = residuals
    return w * u, x * u


def test_check_rules_passes_right_rules():
    check_rules(dot_with(right_backward), X, W)
    check_rules(dot_with(right_backward), X.astype("float32"), W.astype("float32"))
    check_rules(dot_with(right_backward), X, W, cotangent=2.0)
    check_rules(wrong_square(2), X)
    check_rules(wrong_square(2), X + 1j)
    check_rules(dot, X, W, vjp=lambda x, w: lambda u: (w * u, x * u))
    check_rules(dot, X, W)


def test_check_rules_names_argument_entry_and_numbers():
    def backward(residuals, u):
        x, w = residuals
        return w * u, x.at[2].multiply(0.5) * u

    expected = (
        r"rule of dot is wrong.*argument 1, entry \(2,\): rule gives 1, finite differences 2"
    )
    with pytest.raises(errors.GradientMismatchError, match=expected):
        check_rules(dot_with(backward), X, W)


def test_check_rules_finds_swapped_cotangents():
    with pytest.raises(errors.GradientMismatchError, match="argument"):
        check_rules(dot_with(lambda r, u: (r[0] * u, r[1] * u)), X, W)


@pytest.mark.parametrize("x, w", [(X, W), (X.astype("float32"), W.astype("float32"))])
def test_check_rules_finds_wrong_shape(x, w):
    """The notebook's rule: right for matrices, wrong for a vector `w`."""
    backward = lambda r, u: (r[1].T * u, wnp.outer(u, r[0]))
    with pytest.raises(errors.CustomRuleError, match=r"argument 1 .*\[1,3\].*\[3\]"):
        check_rules(dot_with(backward), x, w)


def test_hand_made_rule_of_the_notebook():
    def make_vjp(x, w):
        return lambda u: (w.T.dot(u), wnp.outer(u, x))

    with pytest.raises(errors.CotangentError, match=r"cotangent has type f64\[3\].*f64\[\]"):
        check_rules(dot, X, W, vjp=make_vjp, cotangent=W)
    with pytest.raises(errors.CustomRuleError, match=r"argument 1 a .* shape \(1, 3\)"):
        check_rules(dot, X, W, vjp=make_vjp)
    matrix = np.arange(12.0).reshape(4, 3)
    check_rules(dot, X, matrix, vjp=make_vjp, cotangent=np.ones(4))


def test_check_rules_finds_wrong_cotangent_of_a_custom_vjp_call():
    with pytest.raises(errors.CotangentError):
        check_rules(dot_with(right_backward), X, W, cotangent=W)
    with pytest.raises(errors.TreeError):
        check_rules(dot_with(right_backward), X, W, cotangent=(1.0, 2.0))


def test_check_rules_finds_wrong_dtype():
    backward = lambda r, u: (r[1] * u, (r[0] * u).astype("float64"))
    x, w = X.astype("float32"), W.astype("float32")
    check_rules(dot_with(backward), X, W)
    with pytest.raises(errors.CustomRuleError, match=r"argument 1 .*f64\[3\].*f32\[3\]"):
        check_rules(dot_with(backward), x, w)


def test_check_rules_finds_wrong_count():
    with pytest.raises(errors.CustomRuleError, match="tuple"):
        check_rules(dot_with(lambda r, u: (r[1] * u,)), X, W)
    with pytest.raises(errors.CustomRuleError, match="tuple"):
        check_rules(dot, X, W, vjp=lambda x, w: lambda u: (w * u,))


def test_check_rules_finds_nonlinear_pullback():
    clipped = custom_vjp(lambda x: x * 1.0)
    clipped.defvjp(lambda x: (x, None), lambda _, u: (wnp.clip(u, -5, 5),))
    with pytest.raises(errors.GradientMismatchError, match="not linear"):
        check_rules(clipped, X)


def test_check_rules_finds_wrong_forward_result():
    function = custom_vjp(dot)
    function.defvjp(lambda x, w: (x * w, (x, w)), right_backward)
    with pytest.raises(errors.CustomRuleError, match="result"):
        check_rules(function, X, W)
    square = custom_jvp(lambda x: x * x)
    square.defjvp(lambda p, t: (wnp.sum(p[0] * p[0]), wnp.sum(2 * p[0] * t[0])))
    with pytest.raises(errors.CustomRuleError, match="result"):
        check_rules(square, X)


def test_check_rules_finds_wrong_forward_value():
    function = custom_vjp(dot)
    function.defvjp(lambda x, w: (2 * dot(x, w), (x, w)), right_backward)
    with pytest.raises(errors.GradientMismatchError, match="result"):
        check_rules(function, X, W)


def test_check_rules_finds_wrong_jvp():
    with pytest.raises(errors.GradientMismatchError, match="jvp rule of square is wrong"):
        check_rules(wrong_square(2.001), X)


def test_check_rules_finds_nonlinear_jvp():
    square = custom_jvp(lambda x: x * x)
    square.defjvp(lambda p, t: (p[0] * p[0], 2 * p[0] * wnp.abs(t[0])))
    with pytest.raises((errors.GradientMismatchError, errors.NonlinearRuleError)):
        check_rules(square, X)


def test_check_rules_counts_arguments_as_the_user_does():
    def power(n, x, y):
        return x**n * y

    function = custom_vjp(power, nondiff_argnums=0)
    function.defvjp(
        lambda n, x, y: (power(n, x, y), (x, y)),
        lambda n, r, u: (n * r[0] ** (n - 1) * r[1] * u, r[0] ** n * u * 2),
    )
    with pytest.raises(errors.GradientMismatchError, match=r"argument 2, entry"):
        check_rules(function, 3, X, W)


def test_unit_is_a_partial():
    class Shift(Elementwise):
        compute = staticmethod(lambda x: x + 1)
        partials = (unit,)

    check_primitive(Shift())


@pytest.mark.parametrize("kind", ["jvp", "vjp"])
def test_one_wrong_entry_among_many_is_found(kind):
    def factor(x):
        return wnp.cos(x).at[31, 7].add(0.5)

    if kind == "jvp":
        function = custom_jvp(wnp.sin)
        function.defjvp(lambda p, t: (wnp.sin(p[0]), factor(p[0]) * t[0]))
    else:
        function = custom_vjp(wnp.sin)
        function.defvjp(lambda x: (wnp.sin(x), x), lambda x, u: (u * factor(x),))
    expected = r"argument 0, entry \(31, 7\) .*: rule gives 1.5, finite differences 1"
    with pytest.raises(errors.GradientMismatchError, match=expected):
        check_rules(function, np.zeros((40, 40)))
