"""The tape: a linear program with its residuals, run forwards or backwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wengert import config
from wengert.core import dtypes
from wengert.core.array import ArrayType
from wengert.core.interpreter import location, state
from wengert.core.primitive import Value, Zero
from wengert.core.source import Location
from wengert.core.tracing import is_tracing
from wengert.primitives.basis import add


class Tape:
    """A linear program with its residuals.

    Variable `i` is input `i` for `i < inputs`, and the result of `entries[i]` after that (the
    first `inputs` entries are None). An entry is `(primitive, terms, extra)`, as made by
    the primitive's family, which also runs it: `push` forwards, `pull` backwards.
    """

    __slots__ = ("entries", "inputs", "locations")

    def __init__(self, inputs: int) -> None:
        self.inputs = inputs
        self.entries: list[Any] = [None] * inputs
        self.locations: list[Location | None] | None = None
        if config.debug_nans.value or is_tracing():  # programs of pullbacks know lines too
            self.locations = [None] * inputs

    def append(self, entry: Any) -> int:
        """Add an entry; returns the index of its variable."""
        if self.locations is not None:
            self.locations.append(location())
        self.entries.append(entry)
        return len(self.entries) - 1

    def push(self, tangents: Sequence[Value]) -> list[Value]:
        """The tangents of all variables, from those of the inputs."""
        before = state.location
        try:
            return self._push(list(tangents))
        finally:
            state.location = before

    def _push(self, values: list[Value]) -> list[Value]:
        zeros = any(type(value) is Zero for value in values)
        for primitive, terms, extra in self.entries[self.inputs :]:
            if self.locations is not None:
                state.location = self.locations[len(values)]
            if zeros and all(type(values[i]) is Zero for i in primitive.term_inputs(terms)):
                values.append(_ZERO)
            else:
                values.append(primitive.push(terms, extra, values))
                zeros = zeros or type(values[-1]) is Zero
        return values

    def pull(
        self, outputs: Sequence[tuple[int, Value]], consume: bool, masked: bool = False
    ) -> list[Value | None]:
        """The cotangents of the inputs, None where they vanish.

        Args:
          outputs: (variable, cotangent) pairs.
          consume: drop each entry, and so its residuals, as soon as it has been used.
          masked: whether the cotangents passed a selection: their zeros are exact.
        """
        entries = self.entries
        if not consume:
            entries = list(entries)
        sink = Cotangents(len(entries))
        for index, cotangent in outputs:
            sink.accumulate(index, cotangent, masked)
        values, selected, inputs = sink.values, sink.masked, self.inputs
        before = state.location, state.reverse_of
        try:
            while len(entries) > inputs:
                primitive, terms, extra = entries.pop()
                cotangent = values.pop()
                if cotangent is not None:
                    index = len(entries)
                    if self.locations is not None:
                        state.location = self.locations[index]
                        state.reverse_of = getattr(primitive, "name", "a custom rule")
                    primitive.pull(terms, extra, cotangent, sink, index in selected)
        finally:
            state.location, state.reverse_of = before
        return values


_ZERO = Zero(ArrayType((), dtypes.FLOAT32))


class Cotangents:
    """The cotangents that a backward pass has gathered so far.

    Attributes:
      values: by variable; None where none has arrived.
      masked: variables whose cotangent passed a selection: its zeros are exact.
    """

    __slots__ = ("masked", "values")

    def __init__(self, count: int) -> None:
        self.values: list[Value | None] = [None] * count
        self.masked: set[int] = set()

    def accumulate(self, index: int, cotangent: Value, masked: bool) -> None:
        """Add to the cotangent of a variable."""
        if type(cotangent) is Zero:
            return
        before = self.values[index]
        self.values[index] = cotangent if before is None else add(before, cotangent)
        if masked:
            self.masked.add(index)


class Block:
    """A linear map with several results, as one tape entry.

    Its variable holds the list of tangents (or of cotangents); each result is an entry of
    its own that picks from it.
    """

    masks = False

    def push_block(self, terms: Any, extra: Any, tangents: Sequence[Value]) -> list[Value]:
        """Tangents of the results; `terms` are (position, input) pairs."""
        raise NotImplementedError(type(self).__name__)

    def pull_block(
        self, terms: Any, extra: Any, cotangents: Sequence[Value], masked: bool
    ) -> list[Value]:
        """Cotangents of the inputs, one per term."""
        raise NotImplementedError(type(self).__name__)

    @staticmethod
    def term_inputs(terms: Any) -> list[int]:
        """The tape variables that an entry reads."""
        return [index for _, index in terms]

    def push(self, terms: Any, extra: Any, tangents: Sequence[Value]) -> Any:
        """Evaluate the entry on the tangents of its inputs."""
        block_extra, _ = extra
        return self.push_block(terms, block_extra, tangents)

    def pull(self, terms: Any, extra: Any, cotangent: Any, sink: Any, masked: bool) -> None:
        """Send the cotangents of the results to the inputs."""
        block_extra, out_types = extra
        cotangents = [cotangent.get(i, Zero(t)) for i, t in enumerate(out_types)]
        pulled = self.pull_block(terms, block_extra, cotangents, masked)
        for (_, index), value in zip(terms, pulled, strict=True):
            sink.accumulate(index, value, masked)


class Pick:
    """One result of a block."""

    masks = False

    @staticmethod
    def term_inputs(terms: Any) -> list[int]:
        """The variable of the block."""
        return [terms]

    @staticmethod
    def push(terms: Any, extra: int, tangents: Sequence[Any]) -> Value:
        """The tangent of result number `extra`."""
        return tangents[terms][extra]

    @staticmethod
    def pull(terms: Any, extra: int, cotangent: Value, sink: Any, masked: bool) -> None:
        """Keep the cotangent of result number `extra` for the block."""
        if sink.values[terms] is None:
            sink.values[terms] = {}
        sink.values[terms][extra] = cotangent
        if masked:
            sink.masked.add(terms)


PICK = Pick()
