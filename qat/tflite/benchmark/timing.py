"""How long a file takes, on this machine: in child processes, so that memory is the file's own and a crash is no loss.

Files that are compared take turns in one run, in an order that changes: what else the machine does meanwhile falls on
all of them.
"""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.errors import TfliteFileError
from qat.tflite.benchmark.single_ops import tiny_model

_CHILD = Path(__file__).with_name("timing_child.py")
_START = "import runpy, sys; sys.path[:] = sys.argv[2:]; runpy.run_path(sys.argv[1], run_name='__main__')"
ANSWER_SECONDS = 120  # beyond what was asked for: a file that takes longer a call is no file to time


@dataclass(frozen=True)
class Setting:
    """How a file is run. `batch` None is what the file says."""

    threads: int = 1
    batch: int | None = 1
    delegate: bool = True
    sizes: tuple[int, ...] | None = None  # of one sample of the first input, for those that the file leaves open


@dataclass(frozen=True)
class Timing:
    """Wall time of `invoke` alone, a number a call; memory of the child over what it was before it had the file."""

    rounds_ms: tuple[NDArray[np.float64], ...]  # one array a round
    load_ms: float
    first_ms: float  # of the very first call, which packs weights
    warmup_calls: int
    peak_bytes: int  # most resident memory, less what the process held before: the file, its tensors, packed weights
    process_peak_bytes: int  # the same with Python and the runtime's code

    @property
    def calls_ms(self) -> NDArray[np.float64]:
        return np.concatenate(self.rounds_ms)

    @property
    def median_ms(self) -> float:
        return float(np.median(self.calls_ms))

    @property
    def p95_ms(self) -> float:
        return float(np.percentile(self.calls_ms, 95))


class Child:
    """One process that holds one model at a time, and held a tiny one before: the runtime's own memory counts for none.

    Raises, from every method:
        TfliteFileError: the runtime refused the model, crashed, or did not answer in time.
    """

    def __init__(self, name: str = "this file") -> None:
        self._name = name
        command = [sys.executable, "-c", _START, str(_CHILD), *sys.path]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        self._before_bytes = 0
        self._held: Setting | None = None

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def load(self, content: bytes, setting: Setting, warmup_seconds: float) -> tuple[float, list[float]]:
        """Milliseconds that loading took, and of each call of the warm-up."""
        if self._held is None:
            self._load(tiny_model(), Setting(setting.threads, None, setting.delegate), 0)
        self._held = setting
        return self._load(content, setting, warmup_seconds)

    def _load(self, content: bytes, setting: Setting, warmup_seconds: float) -> tuple[float, list[float]]:
        told = {
            "do": "load",
            "size_bytes": len(content),
            "threads": setting.threads,
            "batch": setting.batch,
            "delegate": setting.delegate,
            "sizes": setting.sizes,
            "warmup_seconds": warmup_seconds,
        }
        answer = self._ask(told, content, warmup_seconds)
        self._before_bytes = answer["before_bytes"]
        return answer["load_ms"], [ns / 1e6 for ns in answer["warmup_ns"]]

    def run(self, seconds: float) -> NDArray[np.float64]:
        """Milliseconds of each call, for so long."""
        return np.array(self._ask({"do": "run", "seconds": seconds}, b"", seconds)["ns"]) / 1e6

    def peak_bytes(self) -> tuple[int, int]:
        """Most resident memory since `load`: on account of the file, and of the whole process."""
        peak = self._ask({"do": "memory"}, b"", 0)["peak_bytes"]
        return max(peak - self._before_bytes, 0), peak

    def _ask(self, told: dict[str, Any], content: bytes, seconds: float) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(json.dumps(told).encode() + b"\n" + content)
            stdin.flush()
        except BrokenPipeError:
            raise TfliteFileError(self._end()) from None
        wait = ANSWER_SECONDS + 2 * seconds
        if not select.select([stdout], [], [], wait)[0]:
            raise TfliteFileError(f"{self._name} did not answer within {wait:.0f} s and was stopped; do not use it")
        line = stdout.readline()
        if not line:
            raise TfliteFileError(self._end())
        answer = json.loads(line)
        if "refused" in answer:
            raise TfliteFileError(f"the TFLite runtime refuses {self._name}: {answer['refused']}")
        return answer

    def _end(self) -> str:
        code = self._process.wait()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"{self._name} crashes the TFLite runtime ({how}), timed in a child process"


@dataclass(frozen=True)
class Job:
    name: str
    content: bytes
    setting: Setting


def measure(
    jobs: Sequence[Job],
    *,
    rounds: int = 20,
    seconds: float = 2.0,
    warmup_seconds: float = 0.3,
    on_round: Callable[[int], None] = lambda done: None,
) -> list[Timing | TfliteFileError]:
    """Time every job, each in a child of its own, `seconds` each in all, in turns.

    Returns:
        In the order of `jobs`: the timing, or, where the file cannot be run as its setting says, the reason.

    Raises:
        TfliteFileError: a file crashed or hung while it was measured; named.
    """
    children = [Child(f"{job.name} (batch {job.setting.batch}, {job.setting.threads} threads)") for job in jobs]
    try:
        loaded = [_loaded(child, job, warmup_seconds) for child, job in zip(children, jobs, strict=True)]
        usable = [at for at, answer in enumerate(loaded) if not isinstance(answer, TfliteFileError)]
        found: list[list[NDArray]] = [[] for _ in jobs]
        generator = np.random.default_rng(0)
        for done in range(rounds):
            for turn in generator.permutation(usable):
                found[turn].append(children[turn].run(seconds / rounds))
            on_round(done + 1)
        peaks = {at: children[at].peak_bytes() for at in usable}
    finally:
        for child in children:
            child.__exit__(None, None, None)
    return [
        _timing(found[at], answer, peaks[at]) if isinstance(answer, tuple) else answer
        for at, answer in enumerate(loaded)
    ]


def _timing(rounds_ms: list[NDArray], loaded: tuple[float, list[float]], peaks: tuple[int, int]) -> Timing:
    load_ms, warmup_ms = loaded
    return Timing(tuple(rounds_ms), load_ms, warmup_ms[0], len(warmup_ms), *peaks)


def _loaded(child: Child, job: Job, warmup_seconds: float) -> tuple[float, list[float]] | TfliteFileError:
    try:
        return child.load(job.content, job.setting, warmup_seconds)
    except TfliteFileError as error:
        return error


def time_each(contents: Sequence[bytes], setting: Setting, seconds: float) -> list[float | None]:
    """Median milliseconds of many small files, one after another in one child; None where the runtime refuses one.

    A crash ends the rest as well: they are None.
    """
    found: list[float | None] = []
    with Child("an operator alone") as child:
        for content in contents:
            started = time.monotonic()
            try:
                child.load(content, setting, seconds / 5)
                found.append(float(np.median(child.run(seconds))))
            except TfliteFileError:
                found.append(None)
            if time.monotonic() - started > ANSWER_SECONDS:
                break
    return found + [None] * (len(contents) - len(found))
