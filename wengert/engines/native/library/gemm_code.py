"""Matrix products of any sizes and strides, as routines that all programs call.

A product is computed in tiles of a few rows by four vectors, held in registers. Columns of the
right operand are first brought together in *panels*, as wide as a tile, and the contracted
dimension is cut so that a panel, and the rows that meet it, stay in the second cache: what is
usual since K. Goto and R. van de Geijn, "Anatomy of high-performance matrix multiplication",
ACM Trans. Math. Softw. 34 (2008). The left operand is read as it lies.

Panels are packed, and then blocks of rows and panels are multiplied, on all threads. Which
products are added in which order depends on sizes only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wengert.core.dtypes import DType
from wengert.core.lazy import lazy_module
from wengert.engines.native.code import Code
from wengert.engines.native.context import Context
from wengert.engines.native.library.common import load, repeat, store
from wengert.engines.native.library.transposed import transpose_square

ir = lazy_module("llvmlite.ir")

#: Rows of a tile.
TALL = 6
#: Bytes of a row of a panel, along the contracted dimension, that are multiplied in one go.
_DEPTH = 2048
#: Rows of a block, and multiplications that a block has at least.
_ROWS = 96
_WORK = 1 << 20
#: Rows that make it worthwhile to bring columns together.
_FEW = 32
#: Panels that rows of a transposed matrix, once brought together, are multiplied with.
_TURNED = 4
#: Side of the squares that are transposed in registers.
_SIDE = 8

#: What the routines hand each other; strides are in bytes.
_FIELDS = (
    "a b c m n k a_row a_column b_row b_column c_row packed panels panel step add "
    "first rows group across"
).split()
ARGUMENTS = "a b c packed m n k a_row a_column b_row b_column c_row adds".split()


class Layout:
    """Sizes of tiles for a dtype on a machine.

    Attributes:
      lanes: elements of a vector.
      wide: vectors of a tile: as many as leave registers for the operands.
      columns: of a tile, and of a panel.
      depth: contracted elements that are multiplied in one go.
    """

    def __init__(self, target: Any, dtype: DType) -> None:
        self.dtype, self.size = dtype, dtype.itemsize
        self.lanes = max(target.vector_bytes // dtype.itemsize, 1)
        self.wide = 4 if target.vector_bytes == 64 else 2
        self.columns = self.wide * self.lanes
        self.depth = _DEPTH // dtype.itemsize

    def packed_bytes(self, n: int, k: int) -> int:
        """Memory for the panels of one go."""
        panels = -(-n // self.columns)
        return panels * self.columns * min(k, self.depth) * self.size


class Writer:
    """Writes the routines for one dtype into a module."""

    def __init__(self, context: Context, dtype: DType, name: str) -> None:
        self.context, self.name = context, name
        self.layout = Layout(context.target, dtype)
        self.dtype, self.size = dtype, dtype.itemsize
        self.word, self.pointer = ir.IntType(64), ir.PointerType()
        self.tiles = [self._tile(v) for v in (1, 2, 4) if v <= self.layout.wide]
        self.pack, self.multiply = self._pack(), self._multiply()
        for threads in (False, True):
            self._product(threads)

    def _code(
        self, name: str, params: Sequence[Any], internal: bool = True
    ) -> tuple[Code, Any]:
        """A function being written, and its arguments."""
        function = ir.Function(
            self.context.module,
            ir.FunctionType(ir.VoidType(), list(params)),
            f"{self.name}{name}",
        )
        if internal:
            function.linkage = "internal"
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        return Code(builder, self.context.target, self.context), function.args

    # -- tiles ---------------------------------------------------------------------------------

    def _tile(self, vectors: int) -> tuple[int, Any]:
        """A tile of so many vectors; rows beyond the given ones repeat the last of those."""
        word, pointer = self.word, self.pointer
        code, args = self._code(f"_tile{vectors}", [pointer] * 3 + [word] * 7)
        a, b, c, k, a_row, a_column, step, c_row, rows, add = args
        builder, lanes, dtype = code.builder, self.layout.lanes, self.dtype
        v = code.vectors(lanes)
        starts = [
            code.offset(a, builder.mul(_least(code, code.int64(i), _less(code, rows)), a_row))
            for i in range(TALL)
        ]

        def body(_: Any, right: Any, along: Any, *sums: Any) -> list[Any]:
            values = [
                load(code, code.offset(right, j * lanes, self.size), dtype, lanes)
                for j in range(vectors)
            ]
            out = []
            for i, start in enumerate(starts):
                spread = v.splat(load(code, code.offset(start, along), dtype))
                for j, value in enumerate(values):
                    out.append(v.fma(spread, value, sums[i * vectors + j]))
            return [code.offset(right, step), builder.add(along, a_column), *out]

        zero = v.constant(0, v.type(dtype))
        start = [b, code.int64(0), *[zero] * (TALL * vectors)]
        _, _, *sums = repeat(code, k, start, body)

        def finish(adds: bool) -> None:
            for i in range(TALL):
                row = code.offset(c, builder.mul(c_row, code.int64(i)))
                for j in range(vectors):
                    place = code.offset(row, j * lanes, self.size)
                    value = sums[i * vectors + j]
                    if adds:
                        value = builder.fadd(load(code, place, dtype, lanes), value)
                    store(code, value, place, dtype)

        _either(code, _is_set(code, add), lambda: finish(True), lambda: finish(False))
        builder.ret_void()
        return vectors, builder.function

    # -- panels --------------------------------------------------------------------------------

    def _pack(self) -> Any:
        """Bring the columns of one panel together; a panel that is not full gets zeros."""
        code, (task, j) = self._code("_pack", [self.pointer, self.word])
        builder, size, width = code.builder, self.size, self.layout.columns
        get = _reader(code, task)
        k, n, b_row, b_column = (get(name) for name in ("k", "n", "b_row", "b_column"))
        left = builder.mul(j, code.int64(width))
        columns = _least(code, builder.sub(n, left), code.int64(width))
        source = code.offset(get("b"), builder.mul(left, b_column))
        target = self._packed_panel(code, get, j)

        def from_rows() -> None:
            with code.loop(k) as p:
                row = code.offset(source, builder.mul(p, b_row))
                self._copy_row(code, row, code.offset(target, p, width * size), columns)

        def from_columns() -> None:
            self._copy_columns(code, source, target, (k, columns), (b_row, b_column))

        dense = builder.icmp_signed("==", b_column, code.int64(size))
        _either(code, dense, from_rows, from_columns)
        zero = ir.Constant(self._element, 0.0)
        with code.loop(k) as p:
            row = code.offset(target, p, width * size)
            with code.loop(width, columns) as i:
                store(code, zero, code.offset(row, i, size), self.dtype)
        builder.ret_void()
        return builder.function

    @property
    def _element(self) -> Any:
        return ir.FloatType() if self.size == 4 else ir.DoubleType()

    def _copy_row(self, code: Code, source: Any, target: Any, columns: Any) -> None:
        lanes = self.layout.lanes
        whole = code.builder.and_(columns, code.int64(-lanes))
        for count, low, high in ((lanes, code.int64(0), whole), (1, whole, columns)):
            with code.loop(high, low, count) as i:
                value = load(code, code.offset(source, i, self.size), self.dtype, count)
                store(code, value, code.offset(target, i, self.size), self.dtype)

    def _copy_columns(
        self,
        code: Code,
        source: Any,
        target: Any,
        sizes: tuple[Any, Any],
        strides: tuple[Any, Any],
    ) -> None:
        """Squares where columns are dense, and what is left element by element."""
        (k, columns), (down, right) = sizes, strides
        builder, size = code.builder, self.size
        step = self.layout.columns * size
        side = min(_SIDE, self.layout.lanes)
        dense = builder.icmp_signed("==", down, code.int64(size))
        nothing = code.int64(0)
        high, wide = (
            builder.select(dense, builder.and_(n, code.int64(-side)), nothing) for n in sizes
        )

        def at(p: Any, j: Any) -> tuple[Any, Any]:
            here = code.offset(code.offset(source, builder.mul(p, down)), builder.mul(j, right))
            return here, code.offset(code.offset(target, p, step), j, size)

        with code.loop(wide, step=side) as j, code.loop(high, step=side) as p:
            here, there = at(p, j)
            rows = [
                load(
                    code, code.offset(here, builder.mul(right, code.int64(r))), self.dtype, side
                )
                for r in range(side)
            ]
            for r, row in enumerate(transpose_square(code, rows)):
                store(code, row, code.offset(there, r * step), self.dtype)
        for low, first, last in ((high, nothing, wide), (nothing, wide, columns)):
            with code.loop(last, first) as j, code.loop(k, low) as p:
                here, there = at(p, j)
                store(code, load(code, here, self.dtype), there, self.dtype)

    # -- blocks --------------------------------------------------------------------------------

    def _multiply(self) -> Any:
        """Multiply one block: some rows by some panels."""
        code, (task, block) = self._code("_multiply", [self.pointer, self.word])
        builder, width = code.builder, self.layout.columns
        get = _reader(code, task)
        across, rows, group = get("across"), get("rows"), get("group")
        first = builder.mul(builder.sdiv(block, across), rows)
        last = _least(code, builder.add(first, rows), get("m"))
        start = builder.mul(builder.srem(block, across), group)
        stop = _least(code, builder.add(start, group), get("panels"))
        temporary = code.reserve(ir.ArrayType(self._element, TALL * width), 64)
        left_at, a_row, a_column = self._left(code, get, first, last)
        with code.loop(stop, start) as j:
            left = builder.mul(j, code.int64(width))
            columns = _least(code, builder.sub(get("n"), left), code.int64(width))
            partial = builder.icmp_signed("<", columns, code.int64(width))
            panel = code.offset(get("b"), builder.mul(j, get("panel")))
            panel = builder.select(partial, self._packed_panel(code, get, j), panel)
            step = builder.select(partial, code.int64(width * self.size), get("step"))
            out = code.offset(get("c"), left, self.size)
            with code.loop(last, first, TALL) as i:
                a = left_at(i)
                c = code.offset(out, builder.mul(i, get("c_row")))
                count = _least(code, builder.sub(last, i), code.int64(TALL))
                given = [get("k"), a_row, a_column, step]
                self._place(code, get, (a, panel, c), given, (count, columns), temporary)
        builder.ret_void()
        return builder.function

    def _left(
        self, code: Code, get: Callable[[str], Any], first: Any, last: Any
    ) -> tuple[Callable[[Any], Any], Any, Any]:
        """Where rows of the left operand are, and their strides.

        Of a transposed matrix the rows are brought together first: otherwise the elements of
        a row may all share a place in the cache.
        """
        builder, size = code.builder, self.size
        copy = code.reserve(ir.ArrayType(self._element, _ROWS * self.layout.depth), 64)
        down, along = get("a_row"), get("a_column")
        turned = self._is_turned(code, down, along)
        start = code.offset(get("a"), builder.mul(first, down))
        with builder.if_then(turned), code.loop(get("k")) as p:
            source = code.offset(start, builder.mul(p, along))
            target = code.offset(copy, p, _ROWS * size)
            self._copy_row(code, source, target, builder.sub(last, first))
        start = builder.select(turned, copy, start)
        column = builder.select(turned, code.int64(_ROWS * size), along)

        def at(i: Any) -> Any:
            return code.offset(start, builder.mul(builder.sub(i, first), down))

        return at, down, column

    def _is_turned(self, code: Code, down: Any, along: Any) -> Any:
        """Whether the left operand is a transposed matrix."""
        element = code.int64(self.size)
        adjacent = code.builder.icmp_signed("==", down, element)
        return code.builder.and_(adjacent, code.builder.icmp_signed("!=", along, element))

    def _packed_panel(self, code: Code, get: Callable[[str], Any], j: Any) -> Any:
        """Where a panel is packed."""
        builder = code.builder
        size = builder.mul(get("k"), code.int64(self.layout.columns * self.size))
        return code.offset(get("packed"), builder.mul(builder.sub(j, get("first")), size))

    def _place(
        self,
        code: Code,
        get: Callable[[str], Any],
        pointers: tuple[Any, Any, Any],
        given: list[Any],
        sizes: tuple[Any, Any],
        temporary: Any,
    ) -> None:
        """One tile, straight into the result where it is whole."""
        builder, lanes = code.builder, self.layout.lanes
        a, b, c = pointers
        rows, columns = sizes
        tall = builder.icmp_signed("==", rows, code.int64(TALL))

        def tiles(which: int) -> None:
            vectors, tile = self.tiles[which]
            own = code.int64(vectors * lanes)

            def compute() -> None:
                whole = builder.and_(tall, builder.icmp_signed("==", columns, own))

                def straight() -> None:
                    builder.call(tile, [a, b, c, *given, get("c_row"), rows, get("add")])

                def around() -> None:
                    row = code.int64(vectors * lanes * self.size)
                    zero = code.int64(0)
                    builder.call(tile, [a, b, temporary, *given, row, rows, zero])
                    self._take(code, get, temporary, c, row, sizes)

                _either(code, whole, straight, around)

            if which == len(self.tiles) - 1:
                compute()
            else:
                fits = builder.icmp_signed("<=", columns, own)
                _either(code, fits, compute, lambda: tiles(which + 1))

        tiles(0)

    def _take(
        self,
        code: Code,
        get: Callable[[str], Any],
        source: Any,
        target: Any,
        row: Any,
        sizes: tuple[Any, Any],
    ) -> None:
        """What counts of a tile, put or added into the result."""
        builder = code.builder
        rows, columns = sizes
        adds = _is_set(code, get("add"))
        with code.loop(rows) as i, code.loop(columns) as j:
            here = code.offset(code.offset(source, builder.mul(i, row)), j, self.size)
            there = code.offset(code.offset(target, builder.mul(i, get("c_row"))), j, self.size)
            value, before = load(code, here, self.dtype), load(code, there, self.dtype)
            value = builder.select(adds, builder.fadd(before, value), value)
            store(code, value, there, self.dtype)

    # -- products ------------------------------------------------------------------------------

    def _product(self, threads: bool) -> None:
        """The routine that is called: its arguments are `ARGUMENTS`."""
        word, pointer = self.word, self.pointer
        name = "_threads" if threads else ""
        code, args = self._code(name, [pointer] * 4 + [word] * 9, internal=False)
        given = dict(zip(ARGUMENTS, args, strict=True))
        builder, layout = code.builder, self.layout
        task = code.reserve(ir.ArrayType(word, len(_FIELDS)), 64)

        def put(name: str, value: Any) -> None:
            builder.store(value, code.offset(task, 8 * _FIELDS.index(name)))

        for name, value in given.items():
            if name not in ("b", "k", "adds"):
                put(name, value)
        m, n, k = given["m"], given["n"], given["k"]
        panels = _blocks(code, n, code.int64(layout.columns))
        rounds = _blocks(code, k, code.int64(layout.depth))
        depth = _blocks(code, k, rounds)
        rows = self._rows(code, m)
        work = builder.mul(builder.mul(rows, depth), code.int64(layout.columns))
        group = _blocks(code, code.int64(_WORK), work)
        turned = self._is_turned(code, given["a_row"], given["a_column"])
        group = builder.select(turned, builder.add(group, code.int64(_TURNED)), group)
        group = _least(code, group, panels)
        across = _blocks(code, panels, group)
        for name, value in (("panels", panels), ("rows", rows), ("group", group)):
            put(name, value)
        put("across", across)
        blocks = builder.mul(across, _blocks(code, m, rows))
        with code.loop(rounds) as turn:
            at = builder.mul(turn, depth)
            put("k", _least(code, depth, builder.sub(k, at)))
            put("a", code.offset(given["a"], builder.mul(at, given["a_column"])))
            put("add", builder.or_(turn, given["adds"]))
            self._panels(code, put, given, at, (task, panels), threads)
            self._run(code, self.multiply, task, blocks, threads)
        builder.ret_void()

    def _rows(self, code: Code, m: Any) -> Any:
        """Rows of a block: whole tiles, and no block much smaller than the others."""
        blocks = _blocks(code, m, code.int64(_ROWS))
        tall = code.int64(TALL)
        return code.builder.mul(_blocks(code, _blocks(code, m, blocks), tall), tall)

    def _panels(
        self,
        code: Code,
        put: Callable[[str, Any], None],
        given: dict[str, Any],
        at: Any,
        work: tuple[Any, Any],
        threads: bool,
    ) -> None:
        """Pack the panels; where few rows meet them, only the one that is not full."""
        builder, layout, size = code.builder, self.layout, self.size
        task, panels = work
        get = _reader(code, task)
        source = code.offset(given["b"], builder.mul(at, given["b_row"]))
        put("b", source)
        put("packed", given["packed"])
        dense = builder.icmp_signed("==", given["b_column"], code.int64(size))
        few = builder.icmp_signed("<", given["m"], code.int64(_FEW))

        def as_it_lies() -> None:
            full = builder.sdiv(given["n"], code.int64(layout.columns))
            put("first", full)
            with code.loop(panels, full) as j:
                builder.call(self.pack, [task, j])
            put("panel", code.int64(layout.columns * size))
            put("step", given["b_row"])

        def together() -> None:
            put("first", code.int64(0))
            self._run(code, self.pack, task, panels, threads)
            put("b", given["packed"])
            put("panel", builder.mul(get("k"), code.int64(layout.columns * size)))
            put("step", code.int64(layout.columns * size))

        _either(code, builder.and_(dense, few), as_it_lies, together)

    def _run(self, code: Code, function: Any, task: Any, blocks: Any, threads: bool) -> None:
        if threads:
            pointer = self.pointer
            args = [function, task, blocks]
            code.call("pool.parallel_for", ir.VoidType(), args, [pointer, pointer, self.word])
            return
        with code.loop(blocks) as i:
            code.builder.call(function, [task, i])


def _reader(code: Code, task: Any) -> Callable[[str], Any]:
    """What reads a field of a task."""

    def get(name: str) -> Any:
        pointers = ("a", "b", "c", "packed")
        type_ = code.pointer_type if name in pointers else code.i64
        return code.builder.load(code.offset(task, 8 * _FIELDS.index(name)), typ=type_)

    return get


def _least(code: Code, x: Any, y: Any) -> Any:
    return code.builder.select(code.builder.icmp_signed("<", x, y), x, y)


def _less(code: Code, x: Any) -> Any:
    return code.builder.sub(x, code.int64(1))


def _is_set(code: Code, flag: Any) -> Any:
    return code.builder.icmp_signed("!=", flag, code.int64(0))


def _blocks(code: Code, n: Any, size: Any) -> Any:
    """How many blocks of a size cover `n`."""
    return code.builder.sdiv(code.builder.add(n, _less(code, size)), size)


def _either(
    code: Code, condition: Any, then: Callable[[], None], otherwise: Callable[[], None]
) -> None:
    with code.builder.if_else(condition) as (yes, no):
        with yes:
            then()
        with no:
            otherwise()
