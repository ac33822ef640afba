"""Object code on disk: what is kept, what is refused, and that nothing is ever raised."""

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wengert.engines.native import cache as module
from wengert.engines.native.cache import Cache, default_directory, key

NAME = key("program")
posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="POSIX permissions")
not_root = pytest.mark.skipif(
    hasattr(os, "geteuid") and os.geteuid() == 0, reason="the superuser may write anywhere"
)


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "home" / "wengert"


@pytest.fixture
def kept(directory):
    """A cache that holds one entry."""
    store = Cache(directory)
    store.store(NAME, b"code" * 100)
    assert store.lookup(NAME) == b"code" * 100
    return store


def entry(store):
    return store.directory / f"{NAME}.o"


def test_keys_depend_on_every_part_and_on_the_bounds_between_them():
    names = {
        key("ab", "c"),
        key("a", "bc"),
        key("abc"),
        key("ab", "c", ""),
        key(1),
        key("1", 1),
    }
    assert len(names) == 6
    assert all(len(name) == 64 for name in names)


def test_absent(directory):
    assert Cache(directory).lookup(NAME) is None
    assert not directory.exists()  # looking makes nothing


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)) * 4000])
def test_what_is_stored_is_found_by_another(directory, content):
    Cache(directory).store(NAME, content)
    assert Cache(directory).lookup(NAME) == content
    assert Cache(directory).lookup(key("another")) is None


def test_an_entry_is_replaced(kept):
    kept.store(NAME, b"new")
    assert kept.lookup(NAME) == b"new"


@posix
def test_everything_is_the_users_alone(kept):
    assert stat.S_IMODE(kept.directory.stat().st_mode) == 0o700
    for file in kept.directory.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(f.name for f in kept.directory.iterdir()) == [entry(kept).name, "secret"]


@pytest.mark.parametrize("position", range(0, 432, 7))
def test_a_flipped_bit_is_found_and_the_entry_removed(kept, position):
    content = bytearray(entry(kept).read_bytes())
    content[position] ^= 1 << position % 8
    entry(kept).write_bytes(content)
    assert kept.lookup(NAME) is None
    assert not entry(kept).exists()
    kept.store(NAME, b"again")
    assert kept.lookup(NAME) == b"again"


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 431])
def test_a_torn_file_is_found(kept, length):
    entry(kept).write_bytes(entry(kept).read_bytes()[:length])
    assert kept.lookup(NAME) is None


def test_an_entry_under_another_name_is_refused(kept):
    other = key("another program")
    (kept.directory / f"{other}.o").write_bytes(entry(kept).read_bytes())
    assert kept.lookup(other) is None
    assert kept.lookup(NAME) is not None


def test_an_entry_of_another_cache_is_refused(kept, tmp_path):
    other = Cache(tmp_path / "other")
    other.store(NAME, b"other")
    entry(kept).write_bytes(entry(other).read_bytes())
    assert kept.lookup(NAME) is None


@posix
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o777])
def test_an_entry_that_others_can_write_is_refused(kept, mode):
    entry(kept).chmod(mode)
    assert kept.lookup(NAME) is None


@posix
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
def test_a_directory_that_others_can_write_is_refused(kept, mode):
    kept.directory.chmod(mode)
    assert kept.lookup(NAME) is None
    kept.store(key("second"), b"code")
    assert not (kept.directory / f"{key('second')}.o").exists()


@posix
def test_a_directory_that_others_can_read_is_closed(kept):
    kept.directory.chmod(0o755)
    assert kept.lookup(NAME) is not None
    assert stat.S_IMODE(kept.directory.stat().st_mode) == 0o700


@posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_secret_that_others_can_read_is_replaced(kept, mode):
    secret = kept.directory / "secret"
    before = secret.read_bytes()
    secret.chmod(mode)
    assert kept.lookup(NAME) is None
    kept.store(NAME, b"again")
    assert kept.lookup(NAME) == b"again"
    assert secret.read_bytes() != before
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"short", bytes(33)])
def test_a_broken_secret_is_replaced(kept, content):
    (kept.directory / "secret").write_bytes(content)
    assert kept.lookup(NAME) is None
    kept.store(NAME, b"again")
    assert kept.lookup(NAME) == b"again"


@posix
def test_links_are_not_followed(kept, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    entry(kept).rename(elsewhere)
    entry(kept).symlink_to(elsewhere)
    assert kept.lookup(NAME) is None
    linked = tmp_path / "linked"
    linked.symlink_to(kept.directory)
    kept.store(NAME, b"code")
    assert kept.lookup(NAME) == b"code"
    assert Cache(linked).lookup(NAME) is None


@posix
def test_a_link_to_another_file_is_replaced_not_written_through(kept, tmp_path):
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    entry(kept).unlink()
    entry(kept).symlink_to(precious)
    kept.store(NAME, b"code")
    assert precious.read_bytes() == b"precious"
    assert kept.lookup(NAME) == b"code"


@posix
def test_a_pipe_or_directory_in_place_of_an_entry(kept):
    entry(kept).unlink()
    os.mkfifo(entry(kept), 0o600)
    assert kept.lookup(NAME) is None
    entry(kept).mkdir()
    assert kept.lookup(NAME) is None
    kept.store(NAME, b"code")  # cannot replace the directory, and says nothing
    assert kept.lookup(NAME) is None


@posix
def test_files_of_another_user_are_refused(kept, monkeypatch):
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    assert kept.lookup(NAME) is None
    kept.store(key("second"), b"code")
    monkeypatch.undo()
    assert kept.lookup(NAME) is not None
    assert kept.lookup(key("second")) is None


@not_root
def test_read_only_home(tmp_path):
    tmp_path.chmod(0o500)
    store = Cache(tmp_path / "wengert")
    store.store(NAME, b"code")
    assert store.lookup(NAME) is None
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("place", [None, Path("/dev/null/wengert"), Path("/proc/wengert")])
def test_no_place_for_a_cache(place):
    store = Cache(place)
    store.store(NAME, b"code")
    assert store.lookup(NAME) is None


@pytest.mark.parametrize("function", ["replace", "fdopen", "link", "open"])
def test_failures_of_the_disk_are_not_raised(directory, monkeypatch, function):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, function, full)
    Cache(directory).store(NAME, b"code")
    monkeypatch.undo()
    assert Cache(directory).lookup(NAME) is None
    Cache(directory).store(NAME, b"code")
    assert Cache(directory).lookup(NAME) == b"code"


def test_no_unfinished_file_stays(directory, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    Cache(directory).store(NAME, b"code")
    assert [file.name for file in directory.iterdir()] == ["secret"]


def test_size_is_bounded_and_the_least_recently_used_go_first(directory):
    store = Cache(directory, limit=10_000)
    names = [key(i) for i in range(20)]
    for age, name in enumerate(names):
        store.store(name, bytes(968))
        when = time.time() - 1000 + age
        os.utime(directory / f"{name}.o", (when, when))
    assert store.lookup(names[-5]) is not None  # marks it as used
    for i in range(5):
        store.store(key("later", i), bytes(968))
    sizes = [file.stat().st_size for file in directory.glob("*.o")]
    assert sum(sizes) <= 10_000
    assert store.lookup(names[0]) is None
    assert store.lookup(names[-5]) is not None


def test_unfinished_files_of_the_past_are_removed(directory):
    store = Cache(directory)
    store.store(NAME, b"code")
    old, new = directory / "1-old.part", directory / "1-new.part"
    old.write_bytes(b"")
    new.write_bytes(b"")
    when = time.time() - 10_000
    os.utime(old, (when, when))
    Cache(directory).store(NAME, b"code")
    assert not old.exists()
    assert new.exists()


WRITER = """
import sys
from pathlib import Path
from wengert.engines.native.cache import Cache
directory, mark = Path(sys.argv[1]), sys.argv[2].encode()
for number in range(200):
    store = Cache(directory, limit=200_000)
    content = mark * (1000 + number)
    store.store(str(number % 10), content)
    found = store.lookup(str(number % 10))
    assert found is None or len(set(found)) == 1 and set(found) <= set(b"ab"), found
"""


def test_two_processes_write_at_once(directory):
    processes = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(directory), mark])
        for mark in ("a", "b")
    ]
    assert [process.wait() for process in processes] == [0, 0]
    store = Cache(directory)
    found = [store.lookup(str(number)) for number in range(10)]
    assert all(content is not None and len(set(content)) == 1 for content in found)
    assert not list(directory.glob("*.part"))


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"WENGERT_CACHE_DIR": "/a/b"}, Path("/a/b")),
        ({"WENGERT_CACHE_DIR": ""}, None),
        ({"XDG_CACHE_HOME": "/c"}, Path("/c/wengert")),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, Path("/h/.cache/wengert")),
        ({"HOME": "/h"}, Path("/h/.cache/wengert")),
    ],
)
def test_default_directory(monkeypatch, environment, expected):
    for name in ("WENGERT_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert default_directory() == expected


def test_no_home(monkeypatch):
    for name in ("WENGERT_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)

    def nobody():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    assert default_directory() is None


def test_the_users_cache(monkeypatch, directory):
    monkeypatch.setenv("WENGERT_CACHE_DIR", str(directory))
    module._default.cache_clear()
    try:
        module.store(NAME, b"code")
        assert module.lookup(NAME) == b"code"
        assert entry(Cache(directory)).exists()
    finally:
        module._default.cache_clear()
