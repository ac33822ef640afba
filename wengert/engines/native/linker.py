"""Object code into memory without LLVM: a small linker for x86-64 ELF.

A process that finds all its programs in the cache on disk needs no compiler, and loading LLVM
takes longer than everything else such a process does (50 to 100 ms). So the objects that LLVM
makes here, position-independent code of the small model, are linked by a page of Python: the
sections are laid out in one mapping (code, constants, variables), relocations are applied, and
functions of the process are reached through a table of their addresses. No page is writable
and executable at the same time.

What another compiler might put into an object (thread-local variables, unwind tables) is
`Unsupported`; `machine.load` then asks LLVM's linker, as it does on other systems. Numbers are
those of the ELF specification and its supplement for x86-64 (H. J. Lu et al., "System V ABI").
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import sys
import weakref
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np

_SECTION = np.dtype(
    {
        "names": "name type flags address offset size link info align each".split(),
        "formats": "<u4 <u4 <u8 <u8 <u8 <u8 <u4 <u4 <u8 <u8".split(),
    }
)
_SYMBOL = np.dtype(
    {
        "names": "name info other section value size".split(),
        "formats": "<u4 u1 u1 <u2 <u8 <u8".split(),
    }
)
_RELOCATION = np.dtype(
    {"names": "offset type symbol addend".split(), "formats": "<u8 <u4 <u4 <i8".split()}
)
_HEADER = 64
_RELOCATABLE, _X86_64 = 1, 62
#: Types of sections: program, symbols, relocations, zeros; all others are not for loading.
_PROGRAM, _SYMBOLS, _RELA, _ZEROS = 1, 2, 4, 8
_WRITABLE, _ALLOCATED, _EXECUTABLE, _THREAD_LOCAL = 1, 2, 4, 1 << 10
#: Types of relocations: a 64-bit address; 32 bits relative to the place; the same for a call;
#: relative, of the table's entry.
_ADDRESS, _RELATIVE, _CALL, _TABLE = 1, 2, 4, (9, 41, 42)
_JUMP = bytes([0xFF, 0x25])  # jmp [rip + 32 bits]
_SLOT = 8
_READ, _WRITE, _EXECUTE, _PRIVATE_ANONYMOUS = 1, 2, 4, 0x22


class Unsupported(Exception):
    """An object that this linker cannot link."""


def supported() -> bool:
    """Whether this is the kind of system that is linked for here."""
    return sys.platform == "linux" and platform.machine() == "x86_64"


class Mapping:
    """Linked code. It is taken out of memory when this object goes, but not at exit.

    Attributes:
      addresses: of the exported names.
    """

    def __init__(self, base: int, size: int, addresses: dict[str, int]) -> None:
        self.addresses = addresses
        self._release = weakref.finalize(self, _libc().munmap, base, size)
        self._release.atexit = False  # threads may run it until the very end

    def keep_for_ever(self) -> None:
        """Leave the code in memory even if this object goes."""
        self._release.detach()


class _Object:
    """An object file.

    Attributes:
      content: its bytes.
      sections: their headers.
      loaded: numbers of those that go into memory.
      symbols: what relocations refer to, by number.
      names: number of each symbol that has a name for other objects.
      relocations: of each loaded section.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.sections = self._section_headers()
        kinds, flags = self.sections["type"], self.sections["flags"]
        if (flags & _THREAD_LOCAL).any():
            raise Unsupported("thread-local variables")
        if ((flags & _ALLOCATED != 0) & (kinds != _PROGRAM) & (kinds != _ZEROS)).any():
            raise Unsupported("tables for unwinding, or initialisers")
        self.loaded = np.flatnonzero(flags & _ALLOCATED).tolist()
        (table,) = np.flatnonzero(kinds == _SYMBOLS).tolist() or [0]
        self.symbols = self._table(table, _SYMBOL)
        self.names = self._names(table)
        self.relocations = {
            int(self.sections["info"][number]): self._table(number, _RELOCATION)
            for number in np.flatnonzero(kinds == _RELA).tolist()
            if self.sections["info"][number] in self.loaded
        }

    def _section_headers(self) -> Any:
        content = self.content
        if content[:6] != b"\x7fELF\x02\x01" or len(content) < _HEADER:
            raise Unsupported("not a 64-bit ELF object")
        if tuple(np.frombuffer(content, "<u2", 2, 16)) != (_RELOCATABLE, _X86_64):
            raise Unsupported("not a relocatable object for x86-64")
        (start,) = np.frombuffer(content, "<u8", 1, 40)
        (count,) = np.frombuffer(content, "<u2", 1, 60)
        return np.frombuffer(content, _SECTION, int(count), int(start))

    def bytes(self, section: int) -> Any:
        """What a section holds in the file."""
        header = self.sections[section]
        return np.frombuffer(self.content, np.uint8, int(header["size"]), int(header["offset"]))

    def _table(self, section: int, entry: Any) -> Any:
        return self.bytes(section).view(entry)

    def _names(self, table: int) -> dict[str, int]:
        header = self.sections[table]
        text = self.bytes(int(header["link"])).tobytes()
        names = {}
        for number in range(int(header["info"]), len(self.symbols)):
            start = int(self.symbols["name"][number])
            names[text[start : text.index(b"\0", start)].decode()] = number
        return names


class _Image:
    """The bytes of a mapping: sections, stubs for calls, a table of addresses.

    Attributes:
      bytes: at their places.
      places: of sections.
      constants, variables: where these begin; code comes first.
      stubs, slots: of each symbol that has them.
    """

    def __init__(self, source: _Object) -> None:
        self.source = source
        self.places = np.full(len(source.sections), -1, np.int64)
        external = [n for n in source.names.values() if source.symbols["section"][n] == 0]
        reached = {
            int(number)
            for each in source.relocations.values()
            for number in each["symbol"][_tabled(each["type"])]
        }
        kinds = source.sections["flags"] & (_EXECUTABLE | _WRITABLE)
        here = self._place(0, kinds == _EXECUTABLE)
        self.stubs, here = _rows(external, here)
        here = self.constants = _round(here, mmap.PAGESIZE)
        here = self._place(here, kinds == 0)
        here = self.variables = _round(here, mmap.PAGESIZE)
        here = self._place(here, kinds == _WRITABLE)
        self.slots, here = _rows(sorted({*external, *reached}), here)
        self.bytes = np.zeros(_round(here, mmap.PAGESIZE), np.uint8)
        for section in source.loaded:
            if self.places[section] < 0:
                raise Unsupported("a section that is writable and executable")
            if source.sections["type"][section] == _PROGRAM:
                content = source.bytes(section)
                place = int(self.places[section])
                self.bytes[place : place + len(content)] = content

    def _place(self, here: int, chosen: Any) -> int:
        for section in self.source.loaded:
            if chosen[section]:
                here = _round(here, int(self.source.sections["align"][section]))
                self.places[section] = here
                here += int(self.source.sections["size"][section])
        return here

    def put(self, places: Any, values: Any, size: int) -> None:
        """Write little-endian numbers of `size` bytes at any places."""
        parts = values.astype("<i8").view(np.uint8).reshape(-1, 8)
        self.bytes[places[:, None] + np.arange(size)] = parts[:, :size]

    def link(self, base: int, addresses: dict[int, int]) -> Any:
        """Apply all relocations for a mapping at `base`; offsets of the symbols.

        Args:
          base: the address of the mapping.
          addresses: of the external symbols, by number.
        """
        symbols = self.source.symbols
        sections = np.minimum(symbols["section"], len(self.places))
        places = np.append(self.places, -1)[sections]
        values = np.where(places < 0, -1, places + symbols["value"].astype(np.int64))
        absolute = base + values
        for number, address in addresses.items():
            absolute[number] = np.uint64(address).astype(np.int64)
            values[number] = self.stubs[number]
            self._write_stub(number)
        if self.slots:
            self.put(np.array([*self.slots.values()]), absolute[[*self.slots]], 8)
        for section, entries in self.source.relocations.items():
            self._relocate(int(self.places[section]), entries, values, absolute)
        return values

    def _write_stub(self, number: int) -> None:
        stub = self.stubs[number]
        distance = self.slots[number] - (stub + len(_JUMP) + 4)
        code = _JUMP + distance.to_bytes(4, "little", signed=True)
        self.bytes[stub : stub + len(code)] = np.frombuffer(code, np.uint8)

    def _relocate(self, place: int, entries: Any, values: Any, absolute: Any) -> None:
        kinds, numbers = entries["type"], entries["symbol"]
        places = place + entries["offset"].astype(np.int64)
        slots = np.zeros(len(values), np.int64)
        slots[list(self.slots)] = list(self.slots.values())
        if (values[numbers] < 0).any():
            raise Unsupported("a symbol of another kind")
        near = (kinds == _RELATIVE) | (kinds == _CALL)
        tabled = _tabled(kinds)
        far = kinds == _ADDRESS
        if not (near | tabled | far).all():
            raise Unsupported("a relocation of another kind")
        targets = np.where(tabled, slots[numbers], values[numbers])
        relative = targets + entries["addend"] - places
        self.put(places[near | tabled], relative[near | tabled], 4)
        self.put(places[far], (absolute[numbers] + entries["addend"])[far], 8)


def _tabled(kinds: Any) -> Any:
    """Which relocations go through the table."""
    return (kinds == _TABLE[0]) | (kinds == _TABLE[1]) | (kinds == _TABLE[2])


def _rows(numbers: Iterable[int], here: int) -> tuple[dict[int, int], int]:
    """Places for one slot each, and the place after them."""
    here = _round(here, _SLOT)
    places = {number: here + _SLOT * row for row, number in enumerate(numbers)}
    return places, here + _SLOT * len(places)


def _round(number: int, multiple: int) -> int:
    return -(-number // max(multiple, 1)) * max(multiple, 1)


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return libc


def _protect(base: int, start: int, end: int, rights: int) -> None:
    if end > start and _libc().mprotect(base + start, end - start, rights):
        raise Unsupported(f"no executable memory: {os.strerror(ctypes.get_errno())}")


def link(content: bytes, find: Callable[[str], int], exports: Iterable[str]) -> Mapping:
    """Put an object into memory.

    Args:
      content: the object file.
      find: gives the address of an external name.
      exports: names whose addresses are wanted.

    Raises:
      Unsupported: the object is not of the kind that is linked here, or lacks an export.
    """
    names = list(exports)
    try:
        source = _Object(content)
        image = _Image(source)
    except (ValueError, IndexError) as error:
        raise Unsupported("not an object") from error
    if not source.names.keys() >= set(names):
        raise Unsupported(f"without {set(names) - source.names.keys()}")
    size = len(image.bytes)
    addresses = {
        number: find(name) for name, number in source.names.items() if number in image.stubs
    }
    base = _libc().mmap(None, size, _READ | _WRITE, _PRIVATE_ANONYMOUS, -1, 0)
    if base in {None, ctypes.c_void_p(-1).value}:
        raise MemoryError(f"no {size} bytes for machine code")
    mapping = Mapping(base, size, {})
    values = image.link(base, addresses)
    ctypes.memmove(base, image.bytes.ctypes.data, size)
    _protect(base, 0, image.constants, _READ | _EXECUTE)
    _protect(base, image.constants, image.variables, _READ)
    mapping.addresses.update({name: base + int(values[source.names[name]]) for name in names})
    return mapping
