"""`checkpoint`: the same results and derivatives, with less memory in between."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert import errors, lax
from wengert.ad_checkpoint import checkpoint_name, print_saved_residuals, saved_residuals

X = np.array([0.5, -1.5, 2.0], np.float32)
M = np.arange(6, dtype=np.float32).reshape(2, 3)


def f(x, w=1.0):
    return wnp.sum(wnp.sin(x * w) ** 2)


#: transformation of a function of one array -> transformed function
WAYS = {
    "grad": wg.grad,
    "jit grad": lambda g: wg.jit(wg.grad(g)),
    "grad jit": lambda g: wg.grad(wg.jit(g)),
    "hessian": wg.hessian,
    "grad grad": lambda g: wg.grad(lambda x: wnp.sum(wg.grad(g)(x) ** 2)),
    "jvp": lambda g: lambda x: wg.jvp(g, (x,), (x,))[1],
    "linearize": lambda g: lambda x: wg.linearize(g, x)[1](x),
    "grad vmap": lambda g: wg.grad(lambda x: wg.vmap(g)(x[:, None] * X).sum()),
    "vmap grad": lambda g: lambda x: wg.vmap(wg.grad(g))(x[:, None] * X),
    "jacfwd vmap": lambda g: wg.jacfwd(lambda x: wg.vmap(g)(x[:, None] * X)),
    "twice": lambda g: wg.grad(wg.checkpoint(g)),
}


@pytest.mark.parametrize("way", WAYS)
def test_derivatives(way):
    np.testing.assert_allclose(WAYS[way](wg.checkpoint(f))(X), WAYS[way](f)(X), rtol=1e-5)


def test_closed_over_values():
    for wrap in (lambda g: g, wg.jit):
        closing = lambda x, w: wrap(wg.checkpoint(lambda x: f(x, w)))(x)
        got = wg.grad(closing, (0, 1))(X, 2.0)
        expected = wg.grad(f, (0, 1))(X, 2.0)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)
    inner = lambda w: wg.vmap(lambda row: wg.checkpoint(lambda x: f(x, w))(row))(M).sum()
    plain = lambda w: wg.vmap(lambda row: f(row, w))(M).sum()
    np.testing.assert_allclose(wg.grad(inner)(2.0), wg.grad(plain)(2.0), rtol=1e-5)


def test_arguments():
    power = lambda x, n, *, k=1.0: wnp.sum(x**n) * k
    np.testing.assert_allclose(
        wg.grad(wg.checkpoint(power, static_argnums=(1,)))(X, 3, k=2.0), 6 * X**2
    )
    decorated = wg.checkpoint(
        static_argnums=1, prevent_cse=False, policy=lambda *_, **__: True
    )(power)
    np.testing.assert_allclose(wg.grad(decorated)(X, 3), 3 * X**2)
    tree = wg.checkpoint(lambda p: (p["x"] * p["n"], p["n"], None))
    got = wg.grad(lambda p: tree(p)[0], allow_int=True)({"x": 2.0, "n": 3})
    assert got["x"] == 3.0


def test_in_a_derivative_rule():
    @wg.custom_jvp
    def g(x):
        return x * x

    g.defjvp(lambda p, t: (g(*p), wg.checkpoint(lambda a, b: 3 * a * b)(p[0], t[0])))
    assert wg.grad(g)(2.0) == 6.0
    with pytest.raises(errors.ConcretizationError):
        wg.grad(wg.checkpoint(lambda x: x if x > 0 else -x))(1.0)


def peak(run):
    run()
    gc.collect()
    tracemalloc.start()
    run()
    out = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return out


@pytest.mark.parametrize(
    "wrap",
    [lambda g: g, wg.jit, lambda g: lambda x: wg.vmap(g)(x[None])[0]],
    ids=["plain", "jit", "vmap"],
)
def test_memory(wrap):
    x = np.ones(1 << 16, np.float32)
    four = lambda x: wnp.sin(wnp.sin(wnp.sin(wnp.sin(x))))

    def chain(block):
        def g(x):
            for _ in range(8):
                x = block(x)
            return wnp.sum(x)

        return g

    plain = peak(lambda: wg.grad(chain(wrap(four)))(x))
    saved = peak(lambda: wg.grad(chain(wrap(wg.checkpoint(four))))(x))
    assert saved < 0.5 * plain


# -- policies ----------------------------------------------------------------------------------

P = wg.checkpoint_policies
W = np.linspace(-1.0, 1.0, 9, dtype=np.float32).reshape(3, 3)


def dense(x, w):
    """Two layers, with a name for every value."""
    h = checkpoint_name(wnp.sin(checkpoint_name(x @ w, "zeroth")), "first")
    return wnp.sum(checkpoint_name(wnp.tanh(checkpoint_name(h @ w, "product")), "second"))


#: What the linear part of its pullback consists of.
LINEAR = "broadcast_in_dim mul dot_general dot_general mul dot_general dot_general add".split()

#: policy, operations whose results are saved, operations that the backward pass runs again
POLICIES = {
    "default": (None, "", "dot_general sin cos dot_general tanh square sub"),
    "nothing": (P.nothing_saveable, "", "dot_general sin cos dot_general tanh square sub"),
    "dots": (P.dots_saveable, "dot_general dot_general", "sin cos tanh square sub"),
    "dots by another name": (
        P.checkpoint_dots_with_no_batch_dims,
        "dot_general dot_general",
        "sin cos tanh square sub",
    ),
    "first": (
        P.save_only_these_names("first", "unknown"),
        "sin",
        "dot_general cos dot_general tanh square sub",
    ),
    "product": (
        P.save_only_these_names("product"),
        "dot_general",
        "dot_general sin cos tanh square sub",
    ),
    "all names but": (
        P.save_any_names_but_these("zeroth", "second"),
        "sin dot_general",
        "dot_general cos tanh square sub",
    ),
    "both": (
        P.save_from_both_policies(P.dots_saveable, P.save_only_these_names("second")),
        "dot_general tanh",
        "sin cos square sub",
    ),
    "anything except": (
        P.save_anything_except_these_names("first"),
        "dot_general cos sub",
        "sin",
    ),
    "everything": (P.everything_saveable, "sin cos sub", ""),
    "own": (lambda p, *types, **_: p.name == "sub", "sub", "dot_general sin cos"),
}


def checkpoints(f, *args):
    """The programs of the checkpointed calls of a function, in order."""
    equations = wg.make_program(f)(*args).equations
    return [e.params["program"] for e in equations if e.primitive.name == "checkpoint"]


def operations(program):
    return [e.primitive.name for e in program.equations]


def saved_by(forward, results=1):
    """The operations whose results a forward program gives besides its `results`."""
    saved = forward.outputs[results:]
    return [e.primitive.name for e in forward.equations for o in e.outputs if o in saved]


@pytest.mark.parametrize("name", POLICIES)
def test_what_is_saved_and_what_runs_again(name):
    policy, saved, again = POLICIES[name]
    forward, backward = checkpoints(wg.grad(wg.checkpoint(dense, policy=policy), (0, 1)), X, W)
    assert saved_by(forward) == saved.split()
    assert operations(backward) == [*again.split(), *LINEAR]
    forward.check()
    backward.check()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", POLICIES)
def test_policies_do_not_change_results(name, way):
    g = wg.checkpoint(lambda x: dense(x, W), policy=POLICIES[name][0])
    plain = lambda x: dense(x, W)
    np.testing.assert_allclose(WAYS[way](g)(X), WAYS[way](plain)(X), rtol=2e-5, atol=1e-6)


def test_saved_values_are_not_computed_again_when_run():
    runs = []

    class Counted(wg.extend.Elementwise):
        compute = staticmethod(lambda x: runs.append(1) or x * x)
        partials = (lambda out, x: 2 * x,)

    square = Counted()
    f = lambda x: wnp.sin(checkpoint_name(square(x), "square")).sum()
    for policy, count in ((None, 2), (P.save_only_these_names("square"), 1)):
        runs.clear()
        wg.grad(wg.checkpoint(f, policy=policy))(X)
        assert len(runs) == count
    # the tangent takes what the forward pass kept, too
    runs.clear()
    wg.linearize(wg.checkpoint(f, policy=P.everything_saveable), X)[1](X)
    assert len(runs) == 1


def test_derivatives_of_derivatives_are_checkpointed():
    g = wg.checkpoint(lambda x: dense(x, W), policy=P.dots_saveable)
    for twice in (
        lambda x: wg.grad(lambda x: wnp.sum(wg.grad(g)(x) ** 2))(x),
        lambda x: wg.grad(lambda x: wg.jvp(g, (x,), (x,))[1])(x),
    ):
        program = wg.make_program(twice)(X)
        assert not {"sin", "tanh", "cos"} & set(operations(program))
        assert operations(program).count("checkpoint") >= 2


def test_a_name_is_the_value_itself():
    """What is needed is the result of exp, what is saved its name: one value."""
    f = lambda x: wnp.sum(checkpoint_name(wnp.exp(x), "e"))
    policy = P.save_only_these_names("e")
    _, backward = checkpoints(wg.grad(wg.checkpoint(f, policy=policy)), X)
    assert "exp" not in operations(backward)
    twice = lambda x: wnp.sum(checkpoint_name(checkpoint_name(wnp.exp(x), "e"), "f"))
    _, backward = checkpoints(wg.grad(wg.checkpoint(twice, policy=policy)), X)
    assert "exp" not in operations(backward)
    input_named = lambda x: wnp.sum(wnp.sin(checkpoint_name(x, "e")))
    forward, _ = checkpoints(wg.grad(wg.checkpoint(input_named, policy=policy)), X)
    assert len(forward.outputs) == 1  # inputs are there anyway
    tree = checkpoint_name({"a": X, "b": 1.0}, "t")
    np.testing.assert_array_equal(tree["a"], X)
    assert tree["b"].weak_type


def test_dots_with_batch_dimensions():
    batched = lambda x, w: wnp.sum(wnp.sin(wnp.sin(x @ w)))
    args = np.ones((2, 3, 4), np.float32), np.ones((2, 4, 5), np.float32)
    for policy, count in ((P.dots_saveable, 1), (P.dots_with_no_batch_dims_saveable, 0)):
        forward, _ = checkpoints(wg.grad(wg.checkpoint(batched, policy=policy)), *args)
        assert len(saved_by(forward)) == count


def test_nested_checkpoints():
    inner = wg.checkpoint(lambda x: checkpoint_name(wnp.sin(wnp.sin(x)), "in") * x)
    f = lambda x: wnp.sum(inner(wnp.tanh(inner(x))))
    expected = wg.grad(lambda x: wnp.sum(f(x)))(X)
    outer = wg.checkpoint(f)
    np.testing.assert_allclose(wg.grad(outer)(X), expected, rtol=1e-6)
    _, backward = checkpoints(wg.grad(outer), X)
    # the outer backward pass runs the first inner call again, and each inner one its own
    assert operations(backward).count("checkpoint") == 2
    assert operations(backward).count("sin") == 2
    policy = P.save_only_these_names("in")
    saving = wg.checkpoint(f, policy=policy)
    np.testing.assert_allclose(wg.grad(saving)(X), expected, rtol=1e-6)
    forward, backward = checkpoints(wg.grad(saving), X)
    assert saved_by(forward) == ["sin", "sin"]  # an outer policy sees inside
    own = wg.checkpoint(lambda x: wnp.sum(wg.checkpoint(f, policy=policy)(x)))
    np.testing.assert_allclose(wg.grad(own)(X), expected, rtol=1e-6)
    np.testing.assert_allclose(
        wg.hessian(saving)(X), wg.hessian(lambda x: wnp.sum(f(x)))(X), rtol=1e-4, atol=1e-5
    )


def test_saved_values_inside_jit_are_found():
    f = lambda x: wnp.sum(wg.jit(lambda y: wnp.sin(checkpoint_name(wnp.exp(y), "e")))(x) * x)
    policy = P.save_only_these_names("e")
    forward, backward = checkpoints(wg.grad(wg.checkpoint(f, policy=policy)), X)
    assert saved_by(forward) == ["exp"]
    assert "exp" not in operations(backward)


def test_inputs_that_no_derivative_needs_are_not_kept():
    f = wg.checkpoint(lambda x, b: wnp.sin(x) + b)
    _, pullback = wg.vjp(f, X, np.zeros((1 << 10, 3), np.float32))
    program = checkpoints(lambda x, b: wg.vjp(f, x, b)[1](b), X, np.ones((4, 3), np.float32))
    assert len(program[1].inputs) == 2  # x and the cotangent
    del pullback


def test_integers_constants_and_unused_results():
    def f(x, n):
        return wnp.sin(x) * n, n + 1, wnp.arange(3.0), wnp.zeros(3), x

    for policy in (None, P.everything_saveable):
        g = wg.checkpoint(f, policy=policy)
        out, pullback = wg.vjp(lambda x: g(x, 2), X)
        zeros = [np.zeros(3, np.float32)] * 2
        none = np.zeros((), wg.float0)
        (got,) = pullback((X, none, *zeros, 0 * X))
        np.testing.assert_allclose(got, 2 * np.cos(X) * X, rtol=1e-6)
        assert out[1] == 3
        (got,) = pullback((0 * X, none, *zeros, X))
        np.testing.assert_allclose(got, X)
        out, push = wg.linearize(lambda x: g(x, 2), X)
        np.testing.assert_allclose(push(X)[0], 2 * np.cos(X) * X, rtol=1e-6)
        assert not np.asarray(push(X)[2]).any()
    constant = wg.checkpoint(lambda x: wnp.ones(3), policy=P.everything_saveable)
    assert not np.asarray(wg.jacrev(constant)(X)).any()


def scanned(x):
    """A loop of which each iteration has a product, a name and more."""

    def body(h, v):
        product = checkpoint_name(W @ h, "product")
        return wnp.tanh(wnp.sin(product) + v), None

    return wnp.sum(lax.scan(body, x, np.ones((5, 3), np.float32))[0])


@pytest.mark.parametrize(
    "policy", [P.dots_saveable, P.save_only_these_names("product")], ids=["dots", "names"]
)
def test_policies_reach_into_loops(policy):
    checkpointed = wg.checkpoint(scanned, policy=policy)
    forward, backward = checkpoints(wg.grad(checkpointed), X)
    # each iteration's product is kept, and the loop is not run again: one backward loop
    assert [o.type.shape for o in forward.outputs] == [(), (5, 3)]
    assert operations(backward).count("scan") == 1
    np.testing.assert_allclose(wg.grad(checkpointed)(X), wg.grad(scanned)(X), rtol=1e-5)
    np.testing.assert_allclose(
        wg.hessian(checkpointed)(X), wg.hessian(scanned)(X), rtol=1e-4, atol=1e-6
    )
    jitted = wg.checkpoint(lambda x: wg.jit(scanned)(x) + x.sum(), policy=policy)
    forward, backward = checkpoints(wg.grad(jitted), X)
    assert operations(backward).count("scan") == 1


@pytest.mark.parametrize("policy", [None, P.save_only_these_names("other")])
def test_loops_run_again_where_nothing_in_them_is_kept(policy):
    forward, backward = checkpoints(wg.grad(wg.checkpoint(scanned, policy=policy)), X)
    assert len(forward.outputs) == 1
    assert operations(backward).count("scan") == 2


@pytest.mark.parametrize("policy", [None, P.save_only_these_names("product")])
def test_checkpointed_bodies_of_loops(policy):
    def body(h, v):
        product = checkpoint_name(W @ h, "product")
        return wnp.tanh(wnp.sin(product) + v), None

    rows = np.ones((5, 3), np.float32)
    f = lambda x: wnp.sum(lax.scan(wg.checkpoint(body, policy=policy), x, rows)[0])
    scans = [e for e in wg.make_program(wg.grad(f))(X).equations if e.primitive.name == "scan"]
    assert [o.type.shape for o in scans[0].outputs] == [(3,), (5, 3)]  # one residual
    (block,) = [
        e for e in scans[1].params["body"].equations if e.primitive.name == "checkpoint"
    ]
    assert ("dot_general" in operations(block.params["program"])[:1]) is (policy is None)
    for way in WAYS.values():
        np.testing.assert_allclose(way(f)(X), way(scanned)(X), rtol=2e-4, atol=1e-6)


def test_conditionals_and_loops_in_a_checkpoint():
    def f(x):
        y = lax.cond(x[0] > 0, lambda y: wnp.sin(y @ W), lambda y: y, x)
        grown = lax.while_loop(
            lambda c: c[0] < 3, lambda c: (c[0] + 1, wnp.sin(c[1] @ W)), (0, y)
        )
        return wnp.sum(grown[1] * lax.fori_loop(0, 2, lambda i, y: wnp.cos(y), y))

    for policy in (None, P.dots_saveable, P.everything_saveable):
        g = wg.checkpoint(f, policy=policy)
        for way in WAYS.values():
            np.testing.assert_allclose(way(g)(X), way(f)(X), rtol=2e-4, atol=1e-6)


def test_policies_are_checked():
    f = lambda x: wnp.sum(checkpoint_name(wnp.sin(wnp.sin(x)), "a"))
    with pytest.raises(TypeError, match="names are strings"):
        wg.grad(wg.checkpoint(f, policy=P.save_only_these_names))(X)
    with pytest.raises(TypeError, match="True or False"):
        wg.grad(wg.checkpoint(f, policy=lambda *_, **__: None))(X)
    with pytest.raises(TypeError, match="policy must be a function"):
        wg.checkpoint(f, policy="dots")
    with pytest.raises(TypeError, match="a string"):
        checkpoint_name(X, 3)
    with pytest.raises(TypeError, match="strings"):
        P.save_only_these_names(["a"])

    class Unhashable(list):
        def __call__(self, *_, **__):
            return True

    np.testing.assert_allclose(
        wg.grad(wg.checkpoint(f, policy=Unhashable()))(X), wg.grad(f)(X), rtol=1e-6
    )
    assert P.save_only_these_names("a", "b") == P.save_only_these_names("b", "a")
    assert P.save_only_these_names("a") != P.save_any_names_but_these("a")
    both = P.save_from_both_policies(P.dots_saveable, P.save_only_these_names("b", "a"))
    assert repr(both) == (
        "save_from_both_policies(dots_saveable, save_only_these_names('a', 'b'))"
    )
    assert repr(P.save_anything_except_these_names()) == "save_anything_except_these_names()"
    assert "policy=save_any_names_but_these('a')" in str(
        wg.make_program(wg.checkpoint(f, policy=P.save_any_names_but_these("a")))(X)
    )


def test_decorator_keeps_its_arguments():
    @wg.remat(policy=P.everything_saveable, static_argnames="n")
    def power(x, n):
        return wnp.sum(wnp.sin(x) ** n)

    forward, backward = checkpoints(lambda x: wg.grad(power)(x, n=3), X)
    assert "sin" not in operations(backward)
    assert len(forward.outputs) > 1


def test_custom_rules_inside():
    @wg.custom_vjp
    def g(x):
        return wnp.sin(x)

    g.defvjp(lambda x: (g(x), checkpoint_name(wnp.exp(x), "residual")), lambda r, c: (c * r,))
    f = lambda x: wnp.sum(g(x) * x)
    for policy in (None, P.everything_saveable, P.save_only_these_names("residual")):
        checkpointed = wg.checkpoint(f, policy=policy)
        np.testing.assert_allclose(wg.grad(checkpointed)(X), wg.grad(f)(X), rtol=1e-6)
        np.testing.assert_allclose(
            wg.hessian(checkpointed)(X), wg.hessian(f)(X), rtol=1e-5, atol=1e-6
        )
    forward, _ = checkpoints(wg.grad(checkpointed), X)
    assert saved_by(forward) == ["exp"]


def test_second_derivatives_by_rules_that_contradict_each_other():
    """What is differentiated again is what the forward rule does, as without a checkpoint."""

    @wg.custom_vjp
    def g(x):
        return wnp.sin(x)

    g.defvjp(lambda x: (wnp.exp(x), x), lambda r, c: (c * r,))
    f = lambda x: wnp.sum(g(x) ** 2)
    for policy in (None, P.everything_saveable, P.dots_saveable):
        checkpointed = wg.checkpoint(f, policy=policy)
        np.testing.assert_allclose(wg.grad(checkpointed)(X), wg.grad(f)(X), rtol=1e-6)
        np.testing.assert_allclose(wg.hessian(checkpointed)(X), wg.hessian(f)(X), rtol=1e-5)


def test_a_traced_policy_is_asked_with_types_and_parameters():
    asked = []

    def policy(primitive, *types, **params):
        asked.append((primitive.name, *(getattr(t, "shape", t) for t in types), params))
        return False

    wg.grad(wg.checkpoint(lambda x: wnp.sum(x @ W) ** 2, policy=policy))(X)
    numbers = (((0,), (0,)), ((), ()))
    assert ("dot_general", (3,), (3, 3), {"dimension_numbers": numbers}) in asked
    assert ("reduce_sum", (3,), {"axes": (0,)}) in asked


def test_memory_by_policy():
    x = np.ones(1 << 16, np.float32)

    def block(x):
        return wnp.sin(wnp.sin(checkpoint_name(wnp.sin(wnp.sin(x)), "middle")))

    def used(policy):
        step = wg.checkpoint(block, policy=policy)

        def chain(x):
            for _ in range(8):
                x = step(x)
            return wnp.sum(x)

        return peak(lambda: wg.grad(chain)(x))

    nothing, middle, everything = map(
        used, (None, P.save_only_these_names("middle"), P.everything_saveable)
    )
    assert nothing < middle < everything


# -- what is saved -----------------------------------------------------------------------------


def described(f, *args):
    return [(str(t), text.partition(" from /")[0]) for t, text in saved_residuals(f, *args)]


def test_saved_residuals():
    arguments = [("f32[3]", "from the argument x"), ("f32[3,3]", "from the argument w")]
    assert described(dense, X, W) == [
        *arguments,
        ("f32[3]", "named 'first', output of sin"),
        ("f32[3]", "output of cos"),
        ("f32[3]", "output of sub"),
    ]
    assert described(wg.checkpoint(dense), X, W) == arguments
    assert described(wg.checkpoint(dense, policy=P.dots_saveable), X, W) == [
        *arguments,
        ("f32[3]", "named 'zeroth', output of dot_general"),
        ("f32[3]", "named 'product', output of dot_general"),
    ]


def test_saved_residuals_of_trees_and_constants(capsys):
    f = lambda d, *rest, k: wnp.sin(d["w"][0] * rest[0]) * k
    texts = [text for _, text in described(lambda d, *rest: f(d, *rest, k=1.0), {"w": [W]}, X)]
    assert "from the argument d['w'][0]" in texts
    assert "from the argument rest[0]" in texts
    print_saved_residuals(lambda x, y: x * y, X, y=1.0)
    assert capsys.readouterr().out.splitlines() == [
        "f32[3] from the argument x",
        "f32*[] from the argument y",
    ]
    assert [t for _, t in described(lambda x: x * X, X)] == ["from a constant"]
    (residual,) = saved_residuals(wnp.sin, wg.ShapeDtypeStruct((2,), np.float32))
    assert f"{__file__}:" in str(residual)
    assert "output of cos" in str(residual)
