"""The ceilings and tables of the design: sizes, imports, rules, docstrings, settings."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import statistics
import types

import measure
import numpy as np
import pytest

from wengert import config, errors, scipy
from wengert.core.primitive import Primitive
from wengert.primitives.basis import Elementwise
from wengert.testing.primitives import Case

#: What users call.
PUBLIC_MODULES = (
    "wengert",
    "wengert.numpy",
    "wengert.numpy.linalg",
    "wengert.lax",
    "wengert.random",
    "wengert.nn",
    "wengert.tree_util",
    "wengert.testing",
    *(m.name for m in pkgutil.iter_modules(scipy.__path__, "wengert.scipy.")),
)

#: Operands that are inexact and yet have no derivative, by declaration: (primitive, operand).
NO_DERIVATIVE: set[tuple[str, int]] = set()

#: Differentiable primitives whose own derivative finite differences cannot check, and why.
NOT_BY_DIFFERENCES = {
    "factored_solve": "a matrix and its factors would have to move together; `solve` tests it",
    "random_gamma": "the derivative is of the distribution, not of the sampler's rejections",
}


@pytest.mark.parametrize("path", measure.sources(), ids=measure.name_of)
class TestFile:
    def test_length(self, path):
        assert measure.line_count(path) <= 600

    def test_has_module_docstring(self, path):
        text = path.read_text(encoding="utf-8")
        assert not text.strip() or text.lstrip().startswith('"""')

    def test_import_order(self, path):
        own = measure.name_of(path)
        wrong = [
            f"line {line}: wengert.{module}"
            for module, line in measure.imports(path)
            if measure.rank(module) > measure.rank(own)
        ]
        assert not wrong, f"wengert.{own} imports from above itself: {wrong}"

    def test_no_imports_inside_functions(self, path):
        assert not measure.inner_imports(path)

    def test_primitives_and_core_know_no_engine(self, path):
        own = measure.name_of(path)
        if own.startswith(("core", "primitives", "passes")):
            assert not [m for m, _ in measure.imports(path) if m.startswith("engines")]


def test_no_function_over_60_lines():
    assert not [f for f in measure.functions() if f.lines > 60]


def test_median_function_is_short():
    assert statistics.median(measure.body_lengths()) <= 8


def test_no_debts():
    assert not measure.debts()


def test_at_most_six_settings():
    assert len(config.SETTINGS) <= 6
    assert {s.name for s in config.SETTINGS} == {
        name for name, value in vars(config).items() if isinstance(value, config.Setting)
    }


# -- primitives ------------------------------------------------------------------------------

RULES = ("compute", "type_rule", "derivative", "batch", "samples")


def _owner(primitive: Primitive, rule: str) -> type | None:
    """The class that gives a rule, None where only `Primitive` itself does."""
    for cls in type(primitive).__mro__:
        if cls is Primitive:
            return None
        if rule in cls.__dict__:
            return cls
    return None


def _derivative_cell(primitive: Primitive) -> str:
    if primitive.inlines:
        return "inlined"
    if primitive.nondifferentiable:
        return "declared none"
    if type(primitive).__dict__.keys() & {"partials", "transpose", "jvp"}:
        return "given"
    if isinstance(primitive, Elementwise):  # its jvp says nothing without partials
        return "family" if primitive.partials else "missing"
    return "family" if _owner(primitive, "jvp") else "missing"


def _cell(primitive: Primitive, rule: str) -> str:
    """How a primitive has a rule: given, by family, declared impossible, or missing."""
    if rule == "derivative":
        return _derivative_cell(primitive)
    if rule == "samples" and not measure.generated(primitive):
        return "elsewhere"
    owner = _owner(primitive, rule)
    if rule == "batch" and owner is None:
        owner = _owner(primitive, "apply_batched")
        if primitive.inlines:
            return "inlined"
        if not _array_operands(primitive):
            return "no operands"
    if owner is None:
        return "missing"
    return "given" if owner is type(primitive) else "family"


def _array_operands(primitive: Primitive) -> bool:
    return any(hasattr(a, "dtype") for s in primitive.samples() for a in s.args)


def test_every_cell_of_primitives_and_rules_is_filled(primitives):
    table = {p.name: [_cell(p, rule) for rule in RULES] for p in primitives}
    print(f"{'primitive':<28}" + "".join(f"{rule:<16}" for rule in RULES))
    for name, cells in table.items():
        print(f"{name:<28}" + "".join(f"{cell:<16}" for cell in cells))
    missing = [
        (name, rule)
        for name, cells in table.items()
        for rule, cell in zip(RULES, cells, strict=True)
        if cell == "missing"
    ]
    assert not missing


def test_primitives_without_samples_are_tested_elsewhere(primitives):
    without = {p.name for p in primitives if not list(p.samples())}
    assert without == set(measure.TESTED_ELSEWHERE)


def test_primitive_names_are_unique(primitives):
    names = [p.name for p in primitives]
    assert len(names) == len(set(names))


def test_every_primitive_has_a_docstring(primitives):
    assert not [p.name for p in primitives if not type(p).__dict__.get("__doc__")]


def test_derivative_is_declared_once(primitives):
    """Partials stand alone; a transpose is for linear operands, `jvp` then for the others."""
    for p in primitives:
        given = {"partials", "transpose", "jvp"} & type(p).__dict__.keys()
        assert "partials" not in given or given == {"partials"}, p.name
        assert "transpose" not in given or p.linear, p.name


def test_samples_cover_shapes_and_dtypes(primitives):
    """Differentiable primitives are tested in double precision, with at least two shapes."""
    thin = []
    for p in primitives:
        exempt = p.nondifferentiable or p.name in NOT_BY_DIFFERENCES
        if exempt or not measure.generated(p):
            continue
        smooth = [s for s in p.samples() if s.differentiable]
        shapes = {tuple(np.shape(a) for a in s.args) for s in smooth}
        doubles = (np.float64, np.complex128)
        double = any(getattr(a, "dtype", None) in doubles for s in smooth for a in s.args)
        if len(shapes) < 2 or not double:
            thin.append(p.name)
    assert not thin


def test_operands_without_derivative_are_listed(primitives):
    found = set()
    for p in primitives:
        if p.nondifferentiable or not measure.generated(p):
            continue
        for sample in p.samples():
            case = Case(p, sample)
            if sample.differentiable:
                found |= {
                    (p.name, case.places[i])
                    for i, a in enumerate(case.arrays)
                    if i not in case.active and a.dtype.kind in "fc"
                }
    assert found == NO_DERIVATIVE


# -- the public surface ----------------------------------------------------------------------


def _public_names():
    """The callables of the public modules: `__all__`, or what it defines or re-exports."""
    for name in PUBLIC_MODULES:
        module = importlib.import_module(name)
        package = hasattr(module, "__path__")
        for attribute in getattr(module, "__all__", [n for n in dir(module) if n[0] != "_"]):
            value = getattr(module, attribute)
            home = getattr(value, "__module__", None) or ""
            if callable(value) and (home.startswith("wengert") if package else home == name):
                label = f"{name}.{attribute}".removeprefix("wengert.")
                yield pytest.param(value, id=label)


@pytest.mark.parametrize("value", list(_public_names()))
def test_public_names_are_documented(value):
    doc = inspect.getdoc(value)
    assert doc, "has no docstring"
    if isinstance(value, types.FunctionType):
        assert ">>>" in doc, "has no example"


def _error_classes():
    return [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.WengertError)
    ]


@pytest.mark.parametrize("cls", _error_classes())
def test_every_error_class_has_a_failing_example_and_its_correction(cls):
    doc = inspect.getdoc(cls)
    assert doc
    if cls is not errors.WengertError:
        assert "Traceback (most recent call last)" in doc
        assert f"wengert.errors.{cls.__name__}" in doc
        after = doc[doc.index(f"wengert.errors.{cls.__name__}") :]
        assert ">>>" in after, "shows no corrected code"


def test_errors_are_the_builtin_ones_that_fit_too():
    for cls in _error_classes():
        if cls is not errors.WengertError:
            bases = [b for b in cls.__mro__ if b.__module__ == "builtins"]
            assert set(bases) - {Exception, BaseException, object}, cls
