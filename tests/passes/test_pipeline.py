"""The pipeline: exact, checked after every pass, worth it, and linear."""

from __future__ import annotations

import numpy as np
import pytest
from passes.checks import PASSES, array, check_all, check_pass, names, traced

import wengert as wg
import wengert.numpy as wnp
from wengert import nn
from wengert.core import dtypes
from wengert.core.interpreter import state
from wengert.passes import cse, rewriting
from wengert.passes.pipeline import optimise
from wengert.testing import random_programs

CHUNK = 5
_RNG = np.random.default_rng(0)


def f32(*shape):
    return _RNG.normal(size=shape).astype(np.float32)


def rosenbrock(x):
    return wnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def logistic_loss(w, x, y):
    return wnp.mean(wnp.logaddexp(0.0, -y * (x @ w)))


def mlp_loss(layers, x, y):
    (w1, b1), (w2, b2) = layers
    logits = wnp.tanh(x @ w1 + b1) @ w2 + b2
    return -wnp.mean(wnp.sum(nn.log_softmax(logits) * y, -1))


def softmax_square(x):
    return wnp.sum(nn.softmax(x) ** 2)


def attention(q, k, v):
    scores = wnp.einsum("bqd,bkd->bqk", q, k) / wnp.sqrt(8.0)
    return wnp.sum(wnp.einsum("bqk,bkd->bqd", nn.softmax(scores), v) ** 2)


def layer_norm(x, gain, bias):
    mean, var = wnp.mean(x, -1, keepdims=True), wnp.var(x, -1, keepdims=True)
    return wnp.sum(((x - mean) / wnp.sqrt(var + 1e-5) * gain + bias) ** 2)


def fused(x):
    return wnp.sum(wnp.tanh(x) * wnp.exp(-(x**2)) + wnp.log1p(x**2) * wnp.sin(x))


def energy(x):
    d = x[:, None] - x[None]
    return wnp.sum(wnp.triu(1 / wnp.sqrt(wnp.sum(d * d, -1) + 0.01), 1))


LAYERS = [(f32(8, 16), f32(16)), (f32(16, 4), f32(4))]
HEADS = (f32(4, 6, 8), f32(4, 6, 8), f32(4, 6, 8))
#: function, arguments, the most equations that may be left
DERIVATIVES = {
    "grad of Rosenbrock": (wg.grad(rosenbrock), (f32(10),), 16),
    "Hessian of Rosenbrock": (wg.hessian(rosenbrock), (f32(10),), 26),
    "forward over reverse": (wg.jacfwd(wg.grad(rosenbrock)), (f32(10),), 22),
    "vmap of grad": (wg.vmap(wg.grad(rosenbrock)), (f32(6, 10),), 16),
    "logistic loss": (wg.grad(logistic_loss), (f32(5), f32(20, 5), f32(20)), 7),
    "MLP": (wg.grad(mlp_loss), (LAYERS, f32(7, 8), f32(7, 4)), 27),
    "softmax": (wg.grad(softmax_square), (f32(3, 5),), 17),
    "attention": (wg.grad(attention, (0, 1, 2)), HEADS, 26),
    "layer norm": (wg.grad(layer_norm, (0, 1, 2)), (f32(3, 5), f32(5), f32(5)), 43),
    "elementwise": (wg.grad(fused), (f32(100),), 22),
    "pairs": (wg.grad(energy), (f32(10, 3),), 24),
    "value and gradient": (wg.value_and_grad(fused), (f32(100),), 28),
}


@pytest.mark.parametrize("name", DERIVATIVES)
def test_programs_of_derivatives(name):
    f, args, most = DERIVATIVES[name]
    optimised = check_all(f, *args)
    assert len(optimised.equations) <= most, optimised


def derivatives(program):
    """A random function, and what transformations make of it where they can."""
    args = program.args
    yield program, args

    def inexact(*xs):
        return [y for y in program(*xs) if dtypes.is_inexact(y.dtype)]

    outputs = inexact(*map(array, args))
    if outputs and all(dtypes.is_inexact(a.dtype) for a in args):

        def pulled(*xs):
            out, pull = wg.vjp(inexact, *xs)
            return pull(out)

        yield pulled, args
        yield lambda *xs: wg.jvp(inexact, xs, xs)[1], args
        yield wg.vmap(pulled, in_axes=-1), [np.stack([a, -a, a], -1) for a in args]


def run(seed, **options):
    for program in random_programs(CHUNK, seed, **options):
        for f, args in derivatives(program):
            check_all(wg.jit(f), *args)


@pytest.mark.parametrize("seed", range(0, 40, CHUNK))
def test_random_programs(seed):
    run(seed, length=14)


@pytest.mark.parametrize("seed", range(1000, 1010, CHUNK))
def test_random_complex_programs(seed):
    run(seed, length=12, dtypes=("complex128", "float64"))


@pytest.mark.parametrize("seed", range(2000, 2030, CHUNK))
def test_random_mixed_programs(seed):
    kinds = ("float32", "int32", "bool", "float64", "uint8", "float16", "bfloat16")
    run(seed, length=10, inputs=3, dtypes=kinds)


def test_every_sample_of_every_primitive(primitive):
    for sample in primitive.samples():
        positions = [i for i, a in enumerate(sample.args) if hasattr(a, "dtype")]

        def f(*arrays, sample=sample, positions=positions):
            operands = list(sample.args)
            for i, value in zip(positions, arrays, strict=True):
                operands[i] = value
            return primitive(*operands, **sample.params)

        values = [sample.args[i] for i in positions]
        program = traced(f, *values)
        for transform in (*PASSES, optimise):
            check_pass(transform, program, values, special=False)


def test_every_sample_of_every_primitive_on_constants(primitive):
    for sample in primitive.samples():
        operands = [array(a) if hasattr(a, "dtype") else a for a in sample.args]
        program = traced(lambda s=sample, o=operands: primitive(*o, **s.params))
        check_pass(optimise, program, [], idempotent=False)


def test_example_as_text():
    f = wg.grad(lambda x: wnp.sum(wnp.where(x > 0, x, 0.0) ** 2) / 2)
    assert (
        str(optimise(traced(f, f32(3))))
        == """\
program(a: f32[3]) {
  b: bool[3] = gt(a, 0)
  c: f32[3] = select(b, a, 0.0)
  d: f32[3] = mul(c, 2)
  e: f32[3] = mul(0.5:f32[], d)
  f: f32[3] = select(b, e, 0)
  return f
}"""
    )


def test_a_program_with_nothing_to_do_stays_the_same_object():
    program = traced(lambda x: wnp.sin(x) * wnp.cos(x), f32(3))
    assert optimise(program) is program


def test_the_input_of_the_pipeline_is_not_changed():
    program = traced(wg.grad(rosenbrock), f32(5))
    before, equations = str(program), program.equations
    optimise(program)
    assert str(program) == before
    assert program.equations is equations


@pytest.mark.parametrize(
    "build", [wnp.sin, lambda y: y * 2 + y, lambda y: wnp.reshape(y, (2, 3)).T]
)
def test_work_is_linear_in_equations(build, monkeypatch):
    counts = []
    for length in (50, 100):
        calls = 0
        simplified, key = rewriting.Rewriter._simplified, cse.Keys.of_equation

        def counted(self, *args, rule=simplified):
            nonlocal calls
            calls += 1
            return rule(self, *args)

        def counted_key(self, equation, rule=key):
            nonlocal calls
            calls += 1
            return rule(self, equation)

        def chain(x, length=length):
            for _ in range(length):
                x = wnp.reshape(build(x), (6,))
            return x

        program = traced(chain, f32(6))
        with monkeypatch.context() as patch:
            patch.setattr(rewriting.Rewriter, "_simplified", counted)
            patch.setattr(cse.Keys, "of_equation", counted_key)
            optimise(program)
        counts.append(calls)
    assert counts[1] <= 2.1 * counts[0]


def test_deep_programs_do_not_recurse():
    def chain(x):
        for _ in range(3000):
            x = -(x + -x)
        return x

    assert len(names(optimise(traced(chain, f32(2))))) == 3001


def test_evaluation_under_jit_has_lines():
    program = optimise(traced(wg.grad(rosenbrock), f32(5)))
    assert all(e.location is not None for e in program.equations)
    assert state.location is None
