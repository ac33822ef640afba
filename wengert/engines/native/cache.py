"""Object code on disk, so that a second process need not compile again.

In flow a key (`key(...)`: a hash of everything that the bytes depend on) and bytes; out flow
the same bytes, later and in any process of the same user, or None. An entry is used only if
nobody but the user can have written it: directory and file belong to the user and are closed
to others, no link is followed, and a keyed checksum (BLAKE2b, RFC 7693, with a secret that
lies beside the entries) fits key and content. Anything else counts as absent and is
built again.

The directory is `$WENGERT_CACHE_DIR`, or `wengert` in the user's cache directory
(`$XDG_CACHE_HOME`, `~/.cache`); `WENGERT_CACHE_DIR=` (empty) turns the cache off. Entries are
written beside their place and renamed into it, so readers see whole ones. The least recently
used go when there are too many bytes. No failure of the disk reaches the user's program.
"""

from __future__ import annotations

import hashlib
import hmac
import importlib.util
import os
import secrets
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import numpy as np

_MAGIC = b"wengert object 1"
_DIGEST = 32
_SECRET = "secret"
_ENTRY = ".o"
_PART = ".part"
#: Seconds after which an unfinished file is nobody's, and a used entry is marked so again.
_STALE = 3600
_REFRESH = 60
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_BINARY = getattr(os, "O_BINARY", 0)
#: Whether this system has owners and permissions as POSIX knows them.
_POSIX = hasattr(os, "geteuid")


def key(*parts: object) -> str:
    """A name for what is computed from `parts` by this version of the engine.

    >>> key("program", "options") == key("program", "options") != key("programo", "ptions")
    True
    """
    digest = hashlib.sha256(_MAGIC)
    for part in (*parts, _versions()):
        text = str(part).encode()
        digest.update(b"%d:" % len(text) + text)
    return digest.hexdigest()


@cache
def _versions() -> str:
    """What the bytes depend on besides program, machine and options."""
    return f"{_sources()} {_compiler()} numpy {np.__version__} python {sys.version}"


def _compiler() -> str:
    """The version of llvmlite, found without the tenth of a second that its import takes."""
    specification = importlib.util.find_spec("llvmlite")
    if specification is None or specification.origin is None:
        return ""
    return Path(specification.origin).with_name("_version.py").read_text(encoding="utf-8")


def _sources() -> str:
    """A fingerprint of this package: its version, and when its compiler's files changed."""
    package = Path(__file__).parents[2]
    digest = hashlib.sha256((package / "__init__.py").read_bytes())
    for folder in ("core", "primitives", "passes", "engines", "transforms"):
        for line in sorted(_stamps(os.path.join(package, folder))):
            digest.update(line.encode())
    return digest.hexdigest()


def _stamps(folder: str) -> Iterator[str]:
    """Name, size and time of all Python files in a folder."""
    with os.scandir(folder) as listed:
        for file in listed:
            if file.name.endswith(".py"):
                status = file.stat()
                yield f"{file.path} {status.st_size} {status.st_mtime_ns};"
            elif "." not in file.name and not file.name.startswith("_"):
                yield from _stamps(file.path)


def default_directory() -> Path | None:
    """Where the entries of this user lie, or None if there is no such place."""
    chosen = os.environ.get("WENGERT_CACHE_DIR")
    if chosen is not None:
        return Path(chosen).absolute() if chosen else None
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    if base and Path(base).is_absolute():
        return Path(base, "wengert")
    try:
        return Path.home() / ".cache" / "wengert"
    except RuntimeError:  # nobody's home is known
        return None


class Refused(OSError):
    """A file or directory is not the user's alone."""


def _check(status: os.stat_result, kind: int, closed: int) -> None:
    """Refuse what is not of this kind, is another user's, or grants a right of `closed`."""
    if stat.S_IFMT(status.st_mode) != kind:
        raise Refused("not a plain file or directory")
    if _POSIX and (status.st_uid != os.geteuid() or status.st_mode & closed):
        raise Refused("not the user's alone")


class Cache:
    """Bytes by key in one directory.

    Args:
      directory: where; made when first written to. None: nothing is kept.
      limit: bytes that all entries together may take.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     store = Cache(Path(directory, "objects"))
    ...     store.store(key("program"), b"code")
    ...     store.lookup(key("program")), store.lookup(key("another"))
    (b'code', None)
    """

    def __init__(self, directory: Path | None, limit: int = 256 << 20) -> None:
        self.directory = directory
        self.limit = limit
        self._unchecked: float = limit  # bytes written since the size was looked at

    def lookup(self, key: str) -> bytes | None:
        """The bytes stored under a key, or None."""
        with suppress(OSError), self._open_directory() as directory:
            content = self._read(directory, key + _ENTRY, closed=0o022, refresh=True)
            if content is None:
                return None
            checksum, payload = content[:_DIGEST], content[_DIGEST:]
            expected = self._checksum(directory, key, payload)
            if hmac.compare_digest(checksum, expected):
                return payload
            _unlink(directory, key + _ENTRY)
        return None

    def store(self, key: str, content: bytes) -> None:
        """Keep bytes under a key; an entry that is there already is replaced."""
        with suppress(OSError):
            if self.directory is not None:
                self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._open_directory() as directory:
                checksum = self._checksum(directory, key, content)
                self._write(directory, key + _ENTRY, checksum + content)
                self._unchecked += len(content)
                if self._unchecked > self.limit / 16:
                    self._unchecked = 0
                    self._trim(directory)

    @contextmanager
    def _open_directory(self) -> Iterator[int]:
        """The directory's descriptor, once it is known to be the user's alone."""
        if self.directory is None or not os.supports_dir_fd >= {os.open, os.stat, os.unlink}:
            raise Refused("no cache on this system")
        flags = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _NOFOLLOW
        directory = os.open(self.directory, flags)
        try:
            status = os.fstat(directory)
            _check(status, stat.S_IFDIR, 0o022)
            if status.st_mode & 0o077:
                os.fchmod(directory, 0o700)
            yield directory
        finally:
            os.close(directory)

    def _read(self, directory: int, name: str, closed: int, refresh: bool) -> bytes | None:
        """The content of a file of ours; None if there is none that may be used."""
        try:
            # A named pipe put there must not make us wait.
            flags = os.O_RDONLY | os.O_NONBLOCK | _NOFOLLOW
            file = os.open(name, flags, dir_fd=directory)
        except FileNotFoundError:
            return None
        except OSError:
            _unlink(directory, name)
            return None
        with os.fdopen(file, "rb") as opened:
            status = os.fstat(opened.fileno())
            try:
                _check(status, stat.S_IFREG, closed)
            except Refused:
                _unlink(directory, name)
                return None
            if refresh and time.time() - status.st_mtime > _REFRESH:
                os.utime(opened.fileno())
            return opened.read()

    def _write(self, directory: int, name: str, content: bytes) -> None:
        """Put a whole file in its place at once."""
        part = self._write_part(directory, content)
        try:
            os.replace(part, name, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError:
            _unlink(directory, part)
            raise

    def _write_part(self, directory: int, content: bytes) -> str:
        """A new file that no one else writes to; its name."""
        part = f"{os.getpid()}-{secrets.token_hex(8)}{_PART}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW | _BINARY
        file = os.open(part, flags, 0o600, dir_fd=directory)
        try:
            with os.fdopen(file, "wb") as opened:
                opened.write(content)
        except OSError:
            _unlink(directory, part)
            raise
        return part

    def _checksum(self, directory: int, key: str, content: bytes) -> bytes:
        # The key is part of it: an entry under another's name is not valid.
        digest = hashlib.blake2b(_MAGIC, digest_size=_DIGEST, key=self._secret(directory))
        digest.update(len(key).to_bytes(8, "little") + key.encode())
        digest.update(content)
        return digest.digest()

    def _secret(self, directory: int) -> bytes:
        """The key of checksums, made when there is none that only the user can read."""
        secret = self._read(directory, _SECRET, closed=0o077, refresh=False)
        if secret is not None and len(secret) == _DIGEST:
            return secret
        if secret is not None:
            _unlink(directory, _SECRET)
        made = secrets.token_bytes(_DIGEST)
        part = self._write_part(directory, made)
        try:
            # Unlike a rename, a link fails if another process was first.
            os.link(part, _SECRET, src_dir_fd=directory, dst_dir_fd=directory)
        except FileExistsError:
            made = self._read(directory, _SECRET, closed=0o077, refresh=False) or made
        finally:
            _unlink(directory, part)
        return made

    def _trim(self, directory: int) -> None:
        """Remove unfinished files, and the least recently used entries beyond the limit."""
        entries = []
        with os.scandir(directory) as listed:
            for file in listed:
                with suppress(OSError):
                    status = file.stat(follow_symlinks=False)
                    if file.name.endswith(_ENTRY):
                        entries.append((status.st_mtime, status.st_size, file.name))
                    elif file.name.endswith(_PART) and time.time() - status.st_mtime > _STALE:
                        _unlink(directory, file.name)
        total = sum(size for _, size, _ in entries)
        for _, size, name in sorted(entries):
            if total <= self.limit:
                break
            _unlink(directory, name)
            total -= size


def _unlink(directory: int, name: str) -> None:
    with suppress(OSError):
        os.unlink(name, dir_fd=directory)


@cache
def _default() -> Cache:
    return Cache(default_directory())


def lookup(key: str) -> bytes | None:
    """The object code stored under a key in the user's cache, or None."""
    return _default().lookup(key)


def store(key: str, content: bytes) -> None:
    """Keep object code under a key in the user's cache."""
    _default().store(key, content)
