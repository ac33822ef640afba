"""What goes wrong only when transformations nest, escape, fail, or run in several threads."""

from __future__ import annotations

import sys
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert import errors
from wengert.core.interpreter import EAGER, EagerInterpreter, state
from wengert.transforms.linearize import Linearization


def derivative(f):
    """Forward mode with the signature of `grad`."""
    return lambda x: wg.jvp(f, (x,), (1.0,))[1]


MODES = {"grad": wg.grad, "jvp": derivative}


@pytest.fixture(params=[(a, b) for a in MODES for b in MODES], ids="-".join)
def modes(request):
    return [MODES[name] for name in request.param]


# -- perturbation confusion --------------------------------------------------------------------


def test_constant_inner_derivative(modes):
    outer, inner = modes
    assert outer(lambda x: x * inner(lambda y: x + y)(2.0))(1.0) == 1.0


def test_inner_derivative_closes_over_outer_variable(modes):
    outer, inner = modes
    assert outer(lambda x: x * inner(lambda y: x * y * y)(2.0))(3.0) == 24.0


def test_inner_derivative_at_outer_variable(modes):
    outer, inner = modes
    assert outer(lambda x: inner(lambda y: x * y * y)(x))(3.0) == 12.0


def test_inner_variable_shadowed_three_deep(modes):
    outer, inner = modes
    f = lambda x: inner(lambda y: y * outer(lambda z: x * y * z)(x * y))(x)
    # d/dz xyz = xy; d/dy xy² = 2xy at y = x: 2x²
    assert outer(f)(3.0) == 12.0


def test_derivative_stored_for_later(modes):
    outer, inner = modes

    def f(x):
        g = inner(lambda y: wnp.sin(x * y))
        return g(0.0) * x  # x * x

    assert outer(f)(3.0) == 6.0


def test_inner_linear_function_used_in_outer(modes):
    outer, _ = modes

    def f(x):
        _, push = wg.linearize(lambda y: x * y * y, x)
        return push(x)  # 2 x² · x

    assert outer(f)(2.0) == 24.0


def test_inner_pullback_used_in_outer(modes):
    outer, _ = modes

    def f(x):
        _, pull = wg.vjp(lambda y: x * y * y, x)
        return pull(x)[0]

    assert outer(f)(2.0) == 24.0


def test_vmap_of_closure_over_outer_variable(modes):
    outer, inner = modes
    points = wnp.array([1.0, 2.0, 3.0])

    def f(x):
        return wnp.sum(wg.vmap(inner(lambda y: x * x * y * y))(points))  # 2x²·6

    assert outer(f)(2.0) == 48.0


def test_jit_inside_closes_over_outer_variable(modes):
    outer, inner = modes
    f = lambda x: inner(wg.jit(lambda y: x * wnp.square(y) * x))(2.0)  # 4x²
    assert outer(f)(3.0) == 24.0
    assert outer(wg.jit(f))(3.0) == 24.0


def test_checkpoint_closes_over_outer_variable(modes):
    outer, inner = modes
    f = lambda x: inner(wg.checkpoint(lambda y: x * wnp.square(y) * x))(2.0)
    assert outer(f)(3.0) == 24.0


@pytest.mark.parametrize("kind", ["custom_jvp", "custom_vjp"])
def test_custom_rule_closes_over_outer_variable(kind):
    def f(x):
        scale = x * 2  # a custom function may close over values that are being differentiated

        if kind == "custom_jvp":
            inner = wg.custom_jvp(lambda y: wnp.sin(y))
            inner.defjvp(lambda p, t: (wnp.sin(p[0]), scale * t[0]))
        else:
            inner = wg.custom_vjp(lambda y: wnp.sin(y))
            inner.defvjp(lambda y: (wnp.sin(y), None), lambda _, u: (scale * u,))
        return wg.grad(inner)(1.0) * x  # 2x²

    assert wg.grad(f)(3.0) == 12.0


def test_nested_vmaps_keep_their_axes_apart():
    x, y = np.arange(3.0), np.arange(4.0) * 10
    table = wg.vmap(lambda a: wg.vmap(lambda b: a + b)(y))(x)
    np.testing.assert_array_equal(np.asarray(table), x[:, None] + y)
    table = wg.vmap(lambda b: wg.vmap(lambda a: a + b, out_axes=0)(x), out_axes=1)(y)
    np.testing.assert_array_equal(np.asarray(table), x[:, None] + y)


# -- tracers that outlive their transformation -------------------------------------------------

LEAKS = {
    "grad": lambda f: wg.grad(f)(1.0),
    "vjp": lambda f: wg.vjp(f, 1.0),
    "jvp": lambda f: wg.jvp(f, (1.0,), (1.0,)),
    "vmap": lambda f: wg.vmap(f)(wnp.ones(3)),
    "jit": lambda f: wg.jit(f)(1.0),
    "make_program": lambda f: wg.make_program(f)(1.0),
}


@pytest.mark.parametrize("name", LEAKS)
def test_escaped_tracer_is_an_error(name):
    kept = []

    def f(x):
        kept.append(x * 2)
        return x

    LEAKS[name](f)
    with pytest.raises(errors.EscapedTracerError, match="after that transformation ended"):
        wnp.sin(kept[0])


@pytest.mark.parametrize("outer", LEAKS)
@pytest.mark.parametrize("inner", LEAKS)
def test_escaped_tracer_under_another_transformation_is_an_error(outer, inner):
    kept = []

    def f(x):
        kept.append(x * 2)
        return x

    LEAKS[inner](f)
    with pytest.raises(errors.EscapedTracerError):
        LEAKS[outer](lambda x: x * kept[0])


def test_interpreter_is_restored_after_an_error():
    def fails(x):
        raise KeyError("inside")

    before = state.interpreter
    for run in LEAKS.values():
        with pytest.raises(KeyError):
            run(fails)
        assert state.interpreter is before
    assert before is EAGER
    assert wg.grad(wnp.sin)(0.0) == 1.0


# -- threads -----------------------------------------------------------------------------------


def test_threads_do_not_share_transformations():
    """Derivatives, batches and programs in several threads at once, switching often."""
    jitted = wg.jit(lambda x, y: wnp.sum(wnp.sin(x) * y))

    def work(k):
        x = wnp.arange(3.0) + k
        second = wg.hessian(lambda v: wnp.sum(v**3) * k)(x)
        rows = wg.vmap(wg.grad(lambda v: jitted(v, v * k)))(wnp.stack([x, x + 1]))
        return np.asarray(second), np.asarray(rows)

    expected = [work(k) for k in range(6)]
    failures = []

    def repeat(k):
        try:
            for _ in range(15):
                for got, right in zip(work(k), expected[k], strict=True):
                    np.testing.assert_array_equal(got, right)
        except BaseException as error:
            failures.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=repeat, args=(k,)) for k in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not failures


# -- memory and cost ---------------------------------------------------------------------------


def test_residuals_die_with_the_pullback():
    x = np.ones(5)
    _, pull = wg.vjp(lambda y: wnp.sin(y) * y, x)
    alive = weakref.ref(next(e for e in _residuals(pull)))
    assert alive() is not None
    del pull
    assert alive() is None


def _residuals(pull):
    """Arrays on the tape of a pullback."""
    for cell in pull.__closure__:
        if isinstance(cell.cell_contents, Linearization):
            for entry in cell.cell_contents.tape.entries:
                for term in entry[1] if entry else ():
                    if hasattr(term[1], "_value"):
                        yield term[1]._value


def test_backward_pass_drops_entries_as_it_consumes_them():
    linearized = Linearization(lambda xs: [wnp.sum(wnp.sin(xs[0]))], [wnp.ones(3)])
    assert len(linearized.tape.entries) > 1
    linearized.pull([wnp.array(1.0)], consume=True)
    assert len(linearized.tape.entries) == 1


def test_memory_of_a_gradient_is_that_of_its_residuals():
    """Each residual is freed when it is used: gradients take their place."""
    count, size = 40, 10_000
    parameters = [np.full(size, 0.5 + i) for i in range(count)]

    def f(ps):
        total = 0.0
        for p in ps:
            total = total + wnp.sum(wnp.sin(p))
        return total

    wg.grad(f)(parameters)
    tracemalloc.start()
    wg.grad(f)(parameters)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    residuals = count * size * 8
    assert peak < 1.25 * residuals


def test_checkpoint_keeps_no_residuals():
    size = 20_000

    def f(x):
        for _ in range(20):
            x = wnp.sin(x)
        return wnp.sum(x)

    def peak(g):
        wg.grad(g)(wnp.ones(size))
        tracemalloc.start()
        _, pull = wg.vjp(g, wnp.ones(size))
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        del pull
        return held

    assert peak(f) > 18 * size * 4
    assert peak(wg.checkpoint(f)) < 3 * size * 4


class Counting(EagerInterpreter):
    """Eager evaluation that counts applications of primitives."""

    __slots__ = ("count",)

    def __init__(self):
        super().__init__()
        self.count = 0

    def apply(self, primitive, args, params):
        self.count += 1
        return super().apply(primitive, args, params)


def applications(run):
    with Counting() as counter:
        run()
    return counter.count


def chain(length):
    def f(x):
        for _ in range(length):
            x = wnp.sin(x) * x
        return x

    return f


def tree_of_uses(length):
    def f(x):
        total = x
        for _ in range(length):
            total = total + x * x
        return total

    return f


COSTS = {
    "grad": lambda f: wg.grad(f)(0.5),
    "jvp": lambda f: derivative(f)(0.5),
    "grad-grad": lambda f: wg.grad(wg.grad(f))(0.5),
    "grad-checkpoint": lambda f: wg.grad(wg.checkpoint(f))(0.5),
    "grad-jit": lambda f: wg.grad(wg.jit(f))(0.5),
    "vmap-grad": lambda f: wg.vmap(wg.grad(f))(wnp.array([1.0, 2.0])),
}


@pytest.mark.parametrize("make", [chain, tree_of_uses])
@pytest.mark.parametrize("name", COSTS)
def test_cost_grows_linearly_with_the_number_of_operations(make, name):
    counts = [applications(lambda n=n: COSTS[name](make(n))) for n in (10, 20, 30)]
    assert counts[2] - counts[1] == counts[1] - counts[0]


@pytest.mark.parametrize("make", [chain, tree_of_uses])
def test_a_gradient_costs_a_few_times_its_function(make):
    function = applications(lambda: make(50)(wnp.array(0.5)))
    assert applications(lambda: wg.grad(make(50))(wnp.array(0.5))) <= 4 * function


@pytest.mark.parametrize("make", [chain, tree_of_uses])
def test_programs_grow_linearly(make):
    for transform in (wg.grad, derivative, lambda f: wg.grad(wg.grad(f))):
        sizes = [len(wg.make_program(transform(make(n)))(0.5).equations) for n in (10, 20, 30)]
        assert sizes[2] - sizes[1] == sizes[1] - sizes[0]


# -- derivatives of integers: float0 -----------------------------------------------------------


def with_index(x):
    """A result with a derivative, and one without."""
    return x * x, wnp.argmax(x)


INTEGER_RESULTS = {
    "jvp": lambda x: wg.jvp(with_index, (x,), (x,))[1],
    "linearize": lambda x: wg.linearize(with_index, x)[1](x),
    "vjp": lambda x: wg.vjp(lambda y, n: y * n, x, 3)[1](x),
    "jacfwd": lambda x: wg.jacfwd(with_index)(x),
}


@pytest.mark.parametrize("name", INTEGER_RESULTS)
@pytest.mark.parametrize("outer", ["jit", "vmap", "jvp", "checkpoint"])
def test_float0_passes_through_transformations(name, outer):
    f = INTEGER_RESULTS[name]
    x = wnp.array([1.0, 3.0, 2.0])
    expected = f(x)
    got = {
        "jit": lambda: wg.jit(f)(x),
        "vmap": lambda: wg.vmap(f)(x[None]),
        "jvp": lambda: wg.jvp(f, (x,), (x,))[0],
        "checkpoint": lambda: wg.checkpoint(f)(x),
    }[outer]()
    for g, e in zip(got, expected, strict=True):
        g = np.asarray(g)[0] if outer == "vmap" else np.asarray(g)
        assert g.dtype == e.dtype
        assert g.shape == e.shape
    assert expected[1].dtype == wg.float0


def test_float0_has_no_arithmetic():
    _, nothing = wg.jvp(with_index, (wnp.ones(3),), (wnp.ones(3),))[1]
    with pytest.raises(TypeError, match="float0"):
        wnp.ones(3) + nothing


# -- custom rules that close over values -------------------------------------------------------


def closing(kind):
    """s x² with the (deliberately different) rule 7 s x; the rule closes over `s`."""

    def f(x, s):
        if kind == "custom_vjp":
            g = wg.custom_vjp(lambda y: s * y * y)
            g.defvjp(lambda y: (s * y * y, y), lambda y, u: (7 * s * y * u,))
        else:
            g = wg.custom_jvp(lambda y: s * y * y)
            g.defjvp(lambda p, t: (s * p[0] * p[0], 7 * s * p[0] * t[0]))
        return g(x) * x

    return f


WRAPPERS = {"plain": lambda f: f, "jit": wg.jit, "checkpoint": wg.checkpoint}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("kind", ["custom_jvp", "custom_vjp"])
def test_rules_may_close_over_differentiated_values(kind, wrapper):
    """The derivative along `x` is the rule's, along `s` that of the function."""
    f = WRAPPERS[wrapper](closing(kind))
    gradient = wg.grad(f, (0, 1))
    assert gradient(2.0, 3.0) == (96.0, 8.0)  # 7sx·x + sx², x³
    assert wg.jit(gradient)(2.0, 3.0) == (96.0, 8.0)
    assert wg.jvp(f, (2.0, 3.0), (1.0, 0.0))[1] == 96.0
    assert wg.jvp(f, (2.0, 3.0), (0.0, 1.0))[1] == 8.0
    xs, ss = wnp.array([2.0, 1.0]), wnp.array([3.0, 3.0])
    summed = wg.grad(lambda x, s: wnp.sum(wg.vmap(f)(x, s)), (0, 1))
    for by_x, by_s in (wg.vmap(gradient)(xs, ss), summed(xs, ss)):
        assert by_x.tolist() == [96.0, 24.0]
        assert by_s.tolist() == [8.0, 1.0]
    (xx, xs), (sx, ss) = wg.hessian(f, (0, 1))(2.0, 3.0)
    assert (xx, xs, sx, ss) == (96.0, 32.0, 12.0, 0.0)
