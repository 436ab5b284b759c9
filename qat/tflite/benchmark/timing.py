"""Latency and memory of files on this machine, measured in child processes: memory is the file's own, crashes are safe.

Files that are compared take turns in one run, in an order that changes: other load on the machine affects all of them.
"""

from __future__ import annotations

import json
import select
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
from qat.process_limits import describe_exit
from qat.tflite.benchmark.single_ops import tiny_model

_CHILD = Path(__file__).with_name("timing_child.py")
_START = "import runpy, sys; sys.path[:] = sys.argv[2:]; runpy.run_path(sys.argv[1], run_name='__main__')"
ANSWER_SECONDS = 120  # allowed beyond the requested time: a file that takes longer per call is not timed


@dataclass(frozen=True)
class BenchmarkSetting:
    """How a file is run. `batch` None takes the batch that the file says."""

    threads: int = 1
    batch: int | None = 1
    delegate: bool = True
    sizes: tuple[int, ...] | None = None  # of one sample of the first input, for sizes that the file leaves open


@dataclass(frozen=True)
class Timing:
    """Wall time of each `invoke` alone, and the peak of the child's memory."""

    rounds_ms: tuple[NDArray[np.float64], ...]  # one array [calls] per round
    load_ms: float
    first_ms: float  # of the very first call, which packs weights
    warmup_calls: int
    peak_bytes: int  # peak of resident memory, minus that before loading: the file, its tensors, packed weights
    process_peak_bytes: int  # peak of resident memory of the whole process, Python and the runtime's code included

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
    """One process that loads one model at a time; a tiny one first, so that the runtime's own memory is not counted.

    Every method raises TfliteFileError if the runtime refuses the model, crashes, or does not answer in time.

    Args:
        name: what messages call the file.
    """

    def __init__(self, name: str = "this file") -> None:
        self._name = name
        command = [sys.executable, "-c", _START, str(_CHILD), *sys.path]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        self._before_bytes = 0
        self._loaded_setting: BenchmarkSetting | None = None

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def load(self, content: bytes, setting: BenchmarkSetting, warmup_seconds: float) -> tuple[float, list[float]]:
        """Load a file in place of the last one, and warm it up.

        Args:
            content: bytes of the .tflite file.
            setting: threads, batch, delegate and open sizes to run it with.
            warmup_seconds: how many seconds to call it; at least one call.

        Returns:
            Milliseconds that loading took, and milliseconds of each warm-up call.

        Raises:
            TfliteFileError: the runtime refuses the file, crashes, or does not answer in time.
        """
        if self._loaded_setting is None:
            self._load(tiny_model(), BenchmarkSetting(setting.threads, None, setting.delegate), 0)
        self._loaded_setting = setting
        return self._load(content, setting, warmup_seconds)

    def _load(self, content: bytes, setting: BenchmarkSetting, warmup_seconds: float) -> tuple[float, list[float]]:
        command = {
            "do": "load",
            "size_bytes": len(content),
            "threads": setting.threads,
            "batch": setting.batch,
            "delegate": setting.delegate,
            "sizes": setting.sizes,
            "warmup_seconds": warmup_seconds,
        }
        answer = self._ask(command, content, warmup_seconds)
        self._before_bytes = answer["before_bytes"]
        return answer["load_ms"], [ns / 1e6 for ns in answer["warmup_ns"]]

    def run(self, seconds: float) -> NDArray[np.float64]:
        """Milliseconds of each call [calls], repeated for `seconds`."""
        return np.array(self._ask({"do": "run", "seconds": seconds}, b"", seconds)["ns"]) / 1e6

    def peak_bytes(self) -> tuple[int, int]:
        """Peak of resident memory since `load`, in bytes: caused by the file, and of the whole process."""
        peak = self._ask({"do": "memory"}, b"", 0)["peak_bytes"]
        return max(peak - self._before_bytes, 0), peak

    def _ask(self, command: dict[str, Any], content: bytes, seconds: float) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(json.dumps(command).encode() + b"\n" + content)
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
        ended = describe_exit(self._process.wait())
        return f"{self._name} crashes the TFLite runtime ({ended}), timed in a child process"


@dataclass(frozen=True)
class Job:
    """One file to time. `name` stands in messages."""

    name: str
    content: bytes
    setting: BenchmarkSetting


def measure(
    jobs: Sequence[Job],
    *,
    rounds: int = 20,
    seconds: float = 2.0,
    warmup_seconds: float = 0.3,
    on_round: Callable[[int], None] = lambda done: None,
) -> list[Timing | TfliteFileError]:
    """Time every job in a child process of its own, in turns.

    Args:
        jobs: name and content of each file, and the setting to run it in.
        rounds: number of rounds; in each, every file has one turn, in a random order.
        seconds: measuring time in seconds of each file, over all rounds.
        warmup_seconds: time of each file's calls before the first round.
        on_round: called after each round with the number of finished rounds.

    Returns:
        In the order of `jobs`: times in ms and peak in bytes, or the error for a file that cannot be run as its setting
        says.

    Raises:
        TfliteFileError: a file crashed or hung while it was measured; the message names it.
    """
    children = [Child(f"{job.name} (batch {job.setting.batch}, {job.setting.threads} threads)") for job in jobs]
    try:
        loaded = [_load_or_error(child, job, warmup_seconds) for child, job in zip(children, jobs, strict=True)]
        usable = [index for index, outcome in enumerate(loaded) if not isinstance(outcome, TfliteFileError)]
        rounds_ms: list[list[NDArray]] = [[] for _ in jobs]
        generator = np.random.default_rng(0)
        for done in range(rounds):
            for index in generator.permutation(usable):
                rounds_ms[index].append(children[index].run(seconds / rounds))
            on_round(done + 1)
        peaks = {index: children[index].peak_bytes() for index in usable}
    finally:
        for child in children:
            child.__exit__(None, None, None)
    return [
        _make_timing(rounds_ms[index], outcome, peaks[index]) if isinstance(outcome, tuple) else outcome
        for index, outcome in enumerate(loaded)
    ]


def _make_timing(rounds_ms: list[NDArray], loaded: tuple[float, list[float]], peaks: tuple[int, int]) -> Timing:
    load_ms, warmup_ms = loaded
    return Timing(tuple(rounds_ms), load_ms, warmup_ms[0], len(warmup_ms), *peaks)


def _load_or_error(child: Child, job: Job, warmup_seconds: float) -> tuple[float, list[float]] | TfliteFileError:
    try:
        return child.load(job.content, job.setting, warmup_seconds)
    except TfliteFileError as error:
        return error


def time_each(contents: Sequence[bytes], setting: BenchmarkSetting, seconds: float) -> list[float | None]:
    """Time many small files, one after another in one child process.

    Args:
        contents: bytes of each .tflite file.
        setting: threads, batch and delegate to run all of them with.
        seconds: how many seconds to measure each file.

    Returns:
        Median milliseconds per file; None for one that the runtime refuses, and for all after a crash.
    """
    medians: list[float | None] = []
    with Child("an operator alone") as child:
        for content in contents:
            started = time.monotonic()
            try:
                child.load(content, setting, seconds / 5)
                medians.append(float(np.median(child.run(seconds))))
            except TfliteFileError:
                medians.append(None)
            if time.monotonic() - started > ANSWER_SECONDS:
                break
    return medians + [None] * (len(contents) - len(medians))
