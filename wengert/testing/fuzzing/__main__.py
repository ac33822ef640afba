"""Many random programs on all cores, with progress, and small failing programs as code.

    python -m wengert.testing.fuzzing --programs 100000 --seed 0

Cases run in processes of their own, so that one that crashes or hangs is reported like one that
disagrees; the process is started again behind it. Every case is checked as it is, some with
every access checked or without vectors, and every other one by one of the ways to transform it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from typing import Any

from wengert.testing.fuzzing import WAYS, Case, as_code, check, random_case, shrink

#: Seconds after which a case counts as hanging.
_PATIENCE = 120.0


def failure(case: Case, way: str, engine: str) -> str | None:
    """What is wrong with a case, by its kind and message; None if nothing is."""
    try:
        check(case, way, engine)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def kind_of(message: str) -> str:
    """What failures have in common that have the same cause, likely: their words.

    >>> kind_of("Disagreement: result 2, f32[3]: 4 elements differ")
    'Disagreement result elements differ'
    """
    words = re.findall(r"[A-Za-z]{5,}", message)
    return " ".join(words[:8])


def ways_of(seed: int) -> list[tuple[str, str]]:
    """The ways and engines by which a case is checked."""
    others = [way for way in WAYS if way != "plain"]
    engine = ("checked", "native", "quick", "native", "baseline", "native")[seed % 6]
    if seed % 2 == 0:
        return [("plain", engine)]
    return [("plain", engine), (others[seed % len(others)], "native")]


def work(first: int, count: int) -> None:
    """Check cases one after the other; says on standard output what it is doing."""
    warnings.simplefilter("error")
    for seed in range(first, first + count):
        for way, engine in ways_of(seed):
            about = {"seed": seed, "way": way, "engine": engine}
            _say(about)
            case = random_case(seed)
            found = failure(case, way, engine)
            if found is not None:
                _say({**about, **_small(case, way, engine, found)})
    _say({"done": first + count})


def _small(case: Case, way: str, engine: str, found: str) -> dict[str, str]:
    """What a case fails with when it is made small, and its code."""
    kind = kind_of(found)

    def alike(case: Case) -> bool:
        again = failure(case, way, engine)
        return again is not None and kind_of(again) == kind

    small = shrink(case, alike)
    return {
        "failed": failure(small, way, engine) or found,
        "code": as_code(small, way, engine),
    }


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


class Worker(threading.Thread):
    """Runs a share of the cases in a process, and another where that one dies."""

    def __init__(self, first: int, count: int) -> None:
        super().__init__(daemon=True)
        self.next, self.end = first, first + count
        self.failures: list[dict[str, Any]] = []
        self.at: dict[str, Any] = {"seed": first, "way": "plain", "engine": ""}
        self.since = time.monotonic()
        self._process: Any = None

    def run(self) -> None:
        """Start processes until all cases are done."""
        while self.next < self.end:
            command = [sys.executable, "-m", "wengert.testing.fuzzing", "--worker"]
            command += [str(self.next), str(self.end - self.next)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                self._process = process
                for line in process.stdout or ():
                    self._heard(json.loads(line))
            if self.next < self.end:
                what = f"the process died with code {process.returncode}"
                self._heard({**self.at, "failed": what, "code": ""})
                self.next = self.at["seed"] + 1

    def _heard(self, message: dict[str, Any]) -> None:
        self.since = time.monotonic()
        if "done" in message:
            self.next = message["done"]
        elif "failed" in message:
            self.failures.append(message)
            where = f"seed {message['seed']}, {message['way']}, {message['engine']}"
            print(f"\n{where}: {message['failed']}")
            print(message["code"], flush=True)
        else:
            self.at, self.next = message, message["seed"]

    def look_after(self) -> None:
        """End a process that hangs."""
        if self.is_alive() and time.monotonic() - self.since > _PATIENCE and self._process:
            self._process.kill()


def main(arguments: Sequence[str] | None = None) -> int:
    """Check many cases; returns 1 if any has failed."""
    parser = argparse.ArgumentParser(prog="python -m wengert.testing.fuzzing")
    parser.add_argument("--programs", type=int, default=1000, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of the first")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--worker", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        work(*options.worker)
        return 0
    return _supervise(options.seed, options.programs, options.processes)


def _supervise(seed: int, programs: int, processes: int) -> int:
    share = -(-programs // processes)
    starts = range(seed, seed + programs, share)
    workers = [Worker(s, min(share, seed + programs - s)) for s in starts]
    for worker in workers:
        worker.start()
    begin = told = time.monotonic()
    while any(worker.is_alive() for worker in workers):
        time.sleep(0.2)
        for worker in workers:
            worker.look_after()
        if time.monotonic() - told > 30:
            told = time.monotonic()
            _progress(workers, starts, told - begin)
    _progress(workers, starts, time.monotonic() - begin)
    return int(any(worker.failures for worker in workers))


def _progress(workers: Sequence[Worker], starts: Sequence[int], seconds: float) -> None:
    done = sum(w.next - s for w, s in zip(workers, starts, strict=True))
    bad = sum(len(w.failures) for w in workers)
    print(f"{done} programs in {seconds:.0f} s, {bad} failures", flush=True)


if __name__ == "__main__":
    sys.exit(main())
