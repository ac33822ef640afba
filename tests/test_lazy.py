"""Modules that are imported at their first use, in processes that are forked meanwhile."""

import os
import signal
import threading
import time

import pytest

from wengert.core.lazy import lazy_module

SLOW = """
import time
started = True
time.sleep(0.3)
answer = 42
"""


def test_first_use_imports(tmp_path, monkeypatch):
    (tmp_path / "quick_one.py").write_text("answer = 41")
    monkeypatch.syspath_prepend(tmp_path)
    module = lazy_module("quick_one")
    assert module.answer == 41
    with pytest.raises(AttributeError):
        _ = module.question


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_forks_wait_for_imports_in_other_threads(tmp_path, monkeypatch):
    (tmp_path / "slow_one.py").write_text(SLOW)
    monkeypatch.syspath_prepend(tmp_path)
    module = lazy_module("slow_one")
    thread = threading.Thread(target=lambda: module.answer)
    thread.start()
    time.sleep(0.1)
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # it would wait for ever for the thread that imports
        os._exit(0 if module.answer == 42 else 1)
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
