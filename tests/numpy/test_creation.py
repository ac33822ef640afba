"""Creation of arrays, and dtypes, against NumPy."""

from __future__ import annotations

import warnings

import ml_dtypes
import numpy as np
import pytest

import wengert
import wengert.numpy as wnp
from wengert import errors


def same(got, expected, tolerance=1e-6):
    """Shapes and values equal."""
    got = np.asarray(got)
    assert got.shape == np.shape(expected)
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


class TestArray:
    @pytest.mark.parametrize(
        ("value", "dtype", "weak"),
        [
            (1.0, np.float32, True),
            (1, np.int32, True),
            (True, np.bool_, False),
            (1j, np.complex64, True),
            ([1.0, 2.0], np.float32, False),
            ([1, 2.5], np.float32, False),
            ([[1, 2], (3, 4)], np.int32, False),
            ([True, 2], np.int32, False),
            ([], np.float32, False),
            (range(3), np.int32, False),
            ([1, np.float64(2)], np.float64, False),
            ([1.5, np.int8(2)], np.float32, False),
            ([np.int8(1), 2], np.int8, False),
            (np.arange(3), np.int64, False),
            (np.float64(2), np.float64, False),
            (np.ones(2, ">f4"), np.float32, False),
        ],
    )
    def test_dtypes(self, value, dtype, weak):
        for make in (wnp.array, wnp.asarray):
            out = make(value)
            assert (out.dtype, out.weak_type) == (dtype, weak)
            np.testing.assert_array_equal(out, np.array(value))

    def test_of_arrays(self):
        x = wnp.array([1.0, 2.0])
        np.testing.assert_array_equal(wnp.array([x, [3.0, np.float32(4)]]), [[1, 2], [3, 4]])
        assert wnp.array([x, x * 2], dtype="int8").dtype == np.int8
        assert wnp.array([x, x * 2]).dtype == np.float32

    def test_of_traced_values(self):
        def f(x, y):
            return wnp.array([[x, 1.0], [y * 2, np.float32(3)]])

        x, y = np.float32(1), np.float32(2)
        expected = [[1, 1], [4, 3]]
        np.testing.assert_array_equal(wengert.jit(f)(x, y), expected)
        batch = wengert.vmap(f)(np.ones(2, np.float32), np.arange(2, dtype=np.float32))
        np.testing.assert_array_equal(batch[1], [[1, 1], [2, 3]])
        grad = wengert.grad(lambda x: wnp.sum(f(x, x) * np.arange(4.0).reshape(2, 2)))(1.0)
        assert grad == 4

    def test_copies_and_sharing(self):
        source = np.zeros(2)
        copied, shared = wnp.array(source), wnp.asarray(source)
        source[0] = 1
        np.testing.assert_array_equal(copied, [0, 0])
        np.testing.assert_array_equal(shared, [1, 0])
        again = wnp.array(shared)
        source[1] = 2
        np.testing.assert_array_equal(again, [1, 0])
        np.testing.assert_array_equal(wnp.copy(shared), [1, 2])
        assert wnp.asarray(shared) is shared
        with pytest.raises(ValueError, match="copy"):
            wnp.asarray([1, 2], copy=False)

    def test_ndmin_and_dtype(self):
        assert wnp.array([1, 2], ndmin=3).shape == (1, 1, 2)
        assert wnp.array([1.5, 2], dtype=int).tolist() == [1, 2]
        assert wnp.array(3, dtype="int64").weak_type is False

    def test_errors(self):
        with pytest.raises(OverflowError, match="int64"):
            wnp.array([1, 2**40])
        with pytest.raises(OverflowError):
            wnp.array([300], dtype=np.uint8)
        with pytest.raises(errors.ShapeError, match="equal lengths"):
            wnp.array([[1, 2], [3]])
        with pytest.raises(TypeError, match="'abc'"):
            wnp.array(["abc"])
        with pytest.raises(TypeError):
            wnp.array(None)
        with pytest.raises(ValueError, match="CPU"):
            wnp.array(1, device="tpu")
        with pytest.raises(errors.ShapeError, match="one shape"):
            wengert.jit(lambda x: wnp.array([x, [x, x]]))(1.0)

    def test_buffers(self):
        same(wnp.frombuffer(b"abc", dtype="uint8"), [97, 98, 99])
        same(wnp.fromiter((i for i in range(3)), dtype=float), [0, 1, 2])
        same(wnp.fromstring("1,2", sep=","), [1, 2])
        same(wnp.from_dlpack(np.arange(3.0)), [0, 1, 2])


class TestConversion:
    def test_astype(self):
        x = np.array([1.7, -1.7, np.nan, 1e20])
        np.testing.assert_array_equal(wnp.astype(x, "int32"), [1, -1, 0, 2**31 - 1])
        assert wnp.astype(1.0, "float32").weak_type is False
        with pytest.warns(np.exceptions.ComplexWarning, match="imaginary"):
            assert wnp.astype(np.array(1 + 2j), "float64") == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert wnp.astype(np.array(1 + 2j), "complex64").dtype == np.complex64

    def test_view(self):
        x = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
        for dtype in ("int32", "uint8", "int64", "complex64"):
            np.testing.assert_array_equal(wnp.array(x).view(dtype), x.view(dtype))
        with pytest.raises(errors.ShapeError, match="multiple"):
            wnp.array(x[:, :1]).view("int64")
        with pytest.raises(errors.ShapeError, match="dimensions"):
            wnp.array(1.0).view("int8")


class TestFilled:
    @pytest.mark.parametrize("shape", [3, (2, 3), [2, 0], (), np.int64(2)])
    def test_constants(self, shape):
        for name, dtype in (("zeros", None), ("ones", int), ("empty", "bool"), ("ones", "c8")):
            out = getattr(wnp, name)(shape, dtype)
            assert out.dtype == {None: "f4", int: "i4", "bool": "?", "c8": "c8"}[dtype]
            same(out, np.zeros(shape) if name != "ones" else np.ones(shape))

    def test_full(self):
        assert wnp.full((2,), 1).weak_type and wnp.full((2,), 1).dtype == np.int32
        same(wnp.full((2, 3), np.arange(3.0)), np.full((2, 3), np.arange(3.0)))
        assert wnp.full(2, 1.5, int).tolist() == [1, 1]
        same(wengert.grad(lambda x: wnp.sum(wnp.full((2, 3), x)))(2.0), 6.0)
        with pytest.raises(errors.ShapeError, match="does not broadcast"):
            wnp.full((2,), np.ones(3))
        with pytest.raises(OverflowError):
            wnp.full((2,), 300, "uint8")

    def test_likes(self):
        x = np.ones((2, 3), np.int8)
        for name in ("zeros_like", "ones_like", "empty_like"):
            out = getattr(wnp, name)(x)
            assert (out.shape, out.dtype) == (x.shape, x.dtype)
            out = getattr(wnp, name)(x, dtype=float, shape=(1,))
            assert (out.shape, out.dtype) == ((1,), np.float32)
        same(wnp.full_like(x, 7), np.full_like(x, 7))
        assert wnp.zeros_like(1.0).weak_type
        assert wnp.zeros_like(wengert.eval_shape(wnp.sin, np.ones(3))).shape == (3,)

    def test_negative_sizes(self):
        with pytest.raises(errors.ShapeError):
            wnp.zeros((2, -1))

    def test_traced_shapes(self):
        with pytest.raises(errors.ConcretizationError):
            wengert.jit(wnp.zeros)(3)


class TestRanges:
    @pytest.mark.parametrize(
        "args",
        [(3,), (0,), (-2,), (1, 4), (5, 1, -2), (0, 1, 0.25), (2.5,), (1, 1), (10, 0, -3)],
    )
    def test_arange(self, args):
        out = wnp.arange(*args)
        same(out, np.arange(*args))
        assert out.dtype == (np.float32 if any(type(a) is float for a in args) else np.int32)
        assert wnp.arange(*args, dtype="float64").dtype == np.float64

    def test_arange_dtypes(self):
        assert wnp.arange(np.int64(3)).dtype == np.int64
        assert wnp.arange(np.float64(1), 3).dtype == np.float64
        with pytest.raises(OverflowError, match="int64"):
            wnp.arange(300, dtype="uint8")
        with pytest.raises(OverflowError):
            wnp.arange(-3, 3, dtype="uint8")
        with pytest.raises(errors.ConcretizationError):
            wengert.jit(wnp.arange)(3)

    @pytest.mark.parametrize(
        "kw",
        [
            {},
            {"num": 5},
            {"num": 5, "endpoint": False},
            {"num": 1},
            {"num": 0},
            {"num": 4, "dtype": int},
        ],
    )
    def test_linspace(self, kw):
        for ends in ((0, 10), (2.5, -1.0), (np.zeros(2), np.ones(2)), (0, 1j)):
            if "dtype" in kw and isinstance(ends[1], complex):
                continue
            same(wnp.linspace(*ends, **kw), np.linspace(*ends, **kw))

    def test_linspace_steps_and_axes(self):
        got, step = wnp.linspace(0, 1, 5, retstep=True)
        assert got.dtype == np.float32 and step == 0.25
        assert np.isnan(wnp.linspace(0, 1, 1, retstep=True)[1])
        assert wnp.linspace(np.zeros(2), np.ones(2), 3, axis=-1).shape == (2, 3)
        with pytest.raises(ValueError, match="negative"):
            wnp.linspace(0, 1, -1)

    def test_spaced_by_factors(self):
        for kw in ({}, {"num": 4, "endpoint": False}):
            same(wnp.logspace(0.0, 2, **kw), np.logspace(0.0, 2, **kw), 1e-5)
            same(wnp.geomspace(1, 64.0, **kw), np.geomspace(1, 64.0, **kw), 1e-5)
            same(wnp.geomspace(-1, -64.0, **kw), np.geomspace(-1, -64.0, **kw), 1e-5)
        same(wnp.logspace(0, 3, 4, base=2), [1, 2, 4, 8])

    @pytest.mark.parametrize("name", ["linspace", "logspace", "geomspace"])
    def test_traced_ends(self, name):
        function = getattr(wnp, name)
        same(wengert.jit(lambda a, b: function(a, b, 5))(1.0, 3.0), function(1.0, 3.0, 5), 1e-5)
        wengert.check_grads(lambda a, b: function(a, b, 4), (1.0, 2.5), order=2)


class TestMatrices:
    @pytest.mark.parametrize("k", [-5, -1, 0, 1, 3])
    def test_diagonals(self, k):
        for shape in ((3, 3), (2, 4), (4, 2), (0, 3)):
            x = np.random.default_rng(0).normal(size=shape)
            same(wnp.diag(x, k), np.diag(x, k))
            same(wnp.diagonal(x, k), np.diagonal(x, k))
            same(wnp.tril(x, k), np.tril(x, k))
            same(wnp.triu(x, k), np.triu(x, k))
            same(wnp.eye(*shape, k), np.eye(*shape, k))
            same(wnp.tri(*shape, k), np.tri(*shape, k))
        for n in (0, 1, 3):
            v = np.arange(1.0, n + 1)
            same(wnp.diag(v, k), np.diag(v, k))
            same(wnp.diagflat(v.reshape(1, n), k), np.diagflat(v, k))

    def test_batches_and_axes(self):
        x = np.random.default_rng(0).normal(size=(2, 3, 4))
        same(wnp.tril(x), np.tril(x))
        same(wnp.diagonal(x, 1, -1, 0), np.diagonal(x, 1, -1, 0))
        same(wnp.triu(x > 0), np.triu(x > 0))
        assert wnp.triu(x > 0).dtype == np.bool_
        same(wnp.identity(2, int), np.identity(2))

    def test_derivatives(self):
        x = np.random.default_rng(0).normal(size=(3, 3))
        for f in (wnp.tril, wnp.triu, wnp.diag, lambda m: wnp.diag(m[0], 1), wnp.diagonal):
            wengert.check_grads(f, (x,), order=1)
        grad = wengert.grad(lambda m: wnp.sum(wnp.tril(1 / m)))(np.array([[1.0, 0.0], [2, 4]]))
        assert np.isfinite(grad).all()

    def test_errors(self):
        with pytest.raises(errors.ShapeError):
            wnp.tril(np.ones(3))
        with pytest.raises(errors.ShapeError):
            wnp.diag(np.ones((2, 2, 2)))
        with pytest.raises(errors.ShapeError, match="different axes"):
            wnp.diagonal(np.ones((2, 2)), 0, 1, 1)

    @pytest.mark.parametrize("name", ["tril_indices", "triu_indices"])
    def test_triangle_indices(self, name):
        for args in ((3,), (3, 1), (3, -1, 4), (2, 0, 5)):
            for got, expected in zip(
                getattr(wnp, name)(*args), getattr(np, name)(*args), strict=True
            ):
                assert got.dtype == np.int32
                same(got, expected)
        from_array = getattr(wnp, name + "_from")(np.ones((3, 2)))
        same(from_array[0], getattr(np, name)(3, 0, 2)[0])

    def test_diagonal_indices(self):
        for got in (*wnp.diag_indices(2, 3), *wnp.diag_indices_from(np.ones((2, 2)))):
            same(got, [0, 1])
        same(wnp.mask_indices(3, wnp.triu, 1)[0], np.mask_indices(3, np.triu, 1)[0])
        with pytest.raises(errors.ShapeError):
            wnp.diag_indices_from(np.ones((2, 3)))

    @pytest.mark.parametrize("increasing", [False, True])
    def test_vander(self, increasing):
        x = np.array([1.0, 2.0, -3.0])
        for count in (None, 0, 2, 5):
            same(wnp.vander(x, count, increasing), np.vander(x, count, increasing))
        wengert.check_grads(lambda v: wnp.vander(v, 4), (np.array([0.0, 0.5]),), order=2)


class TestGrids:
    @pytest.mark.parametrize("kw", [{}, {"indexing": "ij"}, {"sparse": True}])
    def test_meshgrid(self, kw):
        axes = [np.arange(2.0), np.arange(3), np.arange(4.0)]
        for count in (1, 2, 3):
            expected = np.meshgrid(*axes[:count], **kw)
            for got, wanted in zip(wnp.meshgrid(*axes[:count], **kw), expected, strict=True):
                same(got, wanted)
        with pytest.raises(ValueError, match="indexing"):
            wnp.meshgrid(axes[0], indexing="yx")

    def test_indices(self):
        same(wnp.indices((2, 3)), np.indices((2, 3)))
        for got, expected in zip(
            wnp.indices((2, 3), sparse=True), np.indices((2, 3), sparse=True), strict=True
        ):
            same(got, expected)
        same(wnp.mgrid[0:2, 0:1:3j], np.mgrid[0:2, 0:1:3j])
        same(wnp.mgrid[1:4], np.mgrid[1:4])
        for got, expected in zip(wnp.ogrid[0:2, 0:3], np.ogrid[0:2, 0:3], strict=True):
            same(got, expected)
        with pytest.raises(ValueError, match="end"):
            wnp.mgrid[3:]

    def test_fromfunction(self):
        same(wnp.fromfunction(lambda i, j: i + 2 * j, (2, 3)), [[0, 2, 4], [1, 3, 5]])
        assert wnp.fromfunction(lambda i: i, (3,), dtype=int).dtype == np.int32
        same(wnp.fromfunction(lambda i, scale: i * scale, (2,), scale=3), [0, 3])

    @pytest.mark.parametrize("name", ["bartlett", "blackman", "hamming", "hanning"])
    def test_windows(self, name):
        for count in (0, 1, 2, 7):
            same(getattr(wnp, name)(count), getattr(np, name)(count))
        same(wnp.kaiser(6, 3.5), np.kaiser(6, 3.5))


class TestDtypes:
    def test_scalar_types(self):
        assert wnp.float32 == np.float32 and wnp.float32 == np.dtype("f4")
        assert wnp.bfloat16 == ml_dtypes.bfloat16 and wnp.float32 != wnp.float64
        assert np.zeros(2, wnp.int8).dtype == np.int8
        out = wnp.float32(3)
        assert out.dtype == np.float32 and not out.weak_type
        assert wengert.jit(wnp.float64)(np.float32(2)).dtype == np.float64
        assert isinstance(np.float32(1), wnp.float32)
        assert {wnp.int8: 1}[wnp.int8] == 1
        assert repr(wnp.int8) == "wengert.numpy.int8"

    def test_limits(self):
        assert wnp.finfo(wnp.float32).eps == np.finfo(np.float32).eps
        assert wnp.finfo(np.ones(2)).bits == 64
        assert float(wnp.finfo(wnp.bfloat16).eps) == 2**-7
        assert wnp.iinfo("int8").max == 127

    def test_questions(self):
        assert wnp.issubdtype(wnp.bfloat16, wnp.floating)
        assert wnp.issubdtype(wnp.bfloat16, np.inexact)
        assert not wnp.issubdtype(wnp.bfloat16, wnp.integer)
        assert wnp.issubdtype(wnp.int8, wnp.signedinteger)
        assert wnp.isdtype(wnp.bfloat16, "real floating")
        assert wnp.isdtype(wnp.int8, ("bool", wnp.int8))
        assert not wnp.isdtype(wnp.bool_, "numeric")
        with pytest.raises(ValueError, match="kind"):
            wnp.isdtype(wnp.int8, "integers")
        assert wnp.can_cast("int8", "float32") and not wnp.can_cast("float64", "int8")

    def test_promotion(self):
        assert wnp.promote_types("int32", "float16") == np.float16
        assert wnp.promote_types("uint8", "int8") == np.int16
        assert wnp.promote_types("int8", int) == np.int8
        assert wnp.result_type(1.0, "int8") == np.float32
        assert wnp.result_type(np.ones(2, np.float16), 1.0) == np.float16

    def test_constants(self):
        assert (wnp.pi, wnp.e, wnp.inf, wnp.newaxis) == (np.pi, np.e, np.inf, None)
        assert wnp.euler_gamma == np.euler_gamma and np.isnan(wnp.nan)


class TestOutput:
    def test_files(self, tmp_path):
        x = np.arange(6.0).reshape(2, 3)
        wnp.save(tmp_path / "x.npy", wnp.array(x))
        np.testing.assert_array_equal(wnp.load(tmp_path / "x.npy"), x)
        wnp.savez(tmp_path / "x.npz", x, y=wnp.arange(2))
        with wnp.load(tmp_path / "x.npz") as both:
            np.testing.assert_array_equal(both["arr_0"], x)
            np.testing.assert_array_equal(both["y"], [0, 1])

    def test_text(self):
        x = np.array([1 / 3, 1e-9])
        text = wnp.array_repr(x, precision=2, suppress_small=True)
        assert text == "Array([0.33, 0.  ], dtype=float64)"
        assert wnp.array_str(x, precision=1) == "[3.3e-01 1.0e-09]"
        with wnp.printoptions(precision=2):
            assert repr(wnp.array(x[:1])) == "Array([0.33], dtype=float64)"
