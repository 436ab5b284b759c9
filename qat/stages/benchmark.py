"""`python -m qat.benchmark`: what files cost on this machine, measured in turns in one run, and compared."""

from __future__ import annotations

import itertools
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from qat import rundir
from qat.config import BenchmarkConfig
from qat.errors import ConfigError, TfliteFileError
from qat.plain_text import writable
from qat.reporting import Progress, SummaryWriter, tensorboard_command, terminal
from qat.reporting.benchmark_plot import draw_latency, draw_profile
from qat.reporting.benchmark_table import compare_with_float, format_benchmark, format_benchmark_markdown
from qat.stages.benchmark_files import BenchmarkFile, read_files
from qat.tflite import multiply_accumulates
from qat.tflite.benchmark.single_ops import one_op_files
from qat.tflite.benchmark.timing import BenchmarkSetting, Job, Timing, measure, time_each
from qat.tflite.benchmark.timing_child import OPEN_SIZE
from qat.tflite.cost import macs_of
from qat.tflite.metadata import read_metadata
from qat.tflite.verify import verify

LARGEST_SIZE = 1 << 16  # of one axis of a sample
OP_SECONDS = 0.02  # of measuring, for each operator alone
Row = dict[str, Any]


def benchmark(config: BenchmarkConfig, folder: Path) -> list[Row]:
    """Measure files and print the table; write `benchmark.json`, `profile.json`, `machine.json`, plots, TensorBoard.

    Args:
        config: files or run, and the settings `threads`, `batch`, `delegate`, `rounds` and `seconds` to measure in.
        folder: directory that the files are written into; made where it is missing.

    Returns:
        One row per file and setting, as `benchmark.json` holds it: times in milliseconds, sizes and peaks in bytes.

    Raises:
        ConfigError: an option with a value that is not allowed.
        TfliteFileError: a file that is not a usable one, or that cannot be run in any setting.
    """
    settings, machine = list(_settings(config)), _machine()
    progress = Progress()
    files = read_files(config, folder, progress.say)
    jobs = _build_jobs(files, settings, config.sizes)
    for note in _open_size_notes(files, config.sizes):
        progress.say(note)
    with progress.work("benchmark", config.rounds, "round") as bar:
        timings = measure(
            [Job(file.name, file.content, setting) for file, setting in jobs],
            rounds=config.rounds,
            seconds=config.seconds,
            warmup_seconds=config.warmup_seconds,
            on_round=lambda done: bar.advance(1) if progress.mode == "bar" else None,
        )
    rows = list(_rows(jobs, timings, progress))
    profiles = {file.name: _profile(file, settings[0], progress) for file in files} if config.profile else {}
    _write(folder, rows, profiles, machine)
    print(writable(format_benchmark(rows, profiles, terminal.width())), flush=True)
    if machine["load"][0] > machine["cores"]:
        progress.say(
            f"this machine was busy when it began: load {machine['load'][0]:.1f} on {machine['cores']} cores. Ratios "
            "of medians hold better than times; p95, and files on several threads, tell of the other work."
        )
    if config.tensorboard:
        _write_tensorboard(folder, rows, profiles)
        progress.say(f"Charts:\n  {tensorboard_command(folder / rundir.TENSORBOARD)}")
    progress.say(f"Written:\n  {folder / 'benchmark.json'}")
    return rows


def _build_jobs(
    files: Sequence[BenchmarkFile], settings: Sequence[BenchmarkSetting], sizes: Sequence[int] | None
) -> list[tuple[BenchmarkFile, BenchmarkSetting]]:
    """Every file in every setting; a file that was converted for a batch of several keeps that batch."""
    return list(dict.fromkeys((file, _with_own_batch(file, setting, sizes)) for setting in settings for file in files))


def _with_own_batch(file: BenchmarkFile, setting: BenchmarkSetting, sizes: Sequence[int] | None) -> BenchmarkSetting:
    batches = {tensor.shape_signature[0] for tensor in file.graph.inputs if tensor.shape_signature}
    setting = replace(setting, sizes=_sizes(file, sizes))
    own_batch = max(batches, default=1)
    return replace(setting, batch=own_batch) if own_batch > 1 else setting


def _open_sizes(file: BenchmarkFile) -> tuple[int, ...]:
    """Sizes of one sample of the first input, where some are open (-1); else none."""
    sizes = tuple(file.graph.inputs[0].shape_signature[1:]) if file.graph.inputs else ()
    return sizes if any(size < 0 for size in sizes) else ()


def _sizes(file: BenchmarkFile, sizes: Sequence[int] | None) -> tuple[int, ...] | None:
    """Sizes of one sample: the user's, else those of the file's contract; None where neither says, or none is open."""
    open_sizes = _open_sizes(file)
    if not open_sizes:
        return None
    if sizes is not None:
        if not _sizes_match(sizes, open_sizes):
            raise ConfigError(
                f"sizes={list(sizes)}: {file.name} takes samples of {list(open_sizes)}, where -1 is open."
            )
        return tuple(sizes)
    contract = read_metadata(file.content).contract
    return contract.shape if contract is not None and _sizes_match(contract.shape, open_sizes) else None


def _sizes_match(sizes: Sequence[int], open_sizes: Sequence[int]) -> bool:
    matches = len(sizes) == len(open_sizes) and all(b in (-1, a) for a, b in zip(sizes, open_sizes, strict=True))
    return matches and all(1 <= size <= LARGEST_SIZE for size in sizes)


def _open_size_notes(files: Sequence[BenchmarkFile], sizes: Sequence[int] | None) -> Iterator[str]:
    """A sentence per file that leaves sizes open which neither the user nor its contract gives."""
    for file in files:
        if _open_sizes(file) and _sizes(file, sizes) is None:
            assumed = [size if size >= 0 else OPEN_SIZE for size in _open_sizes(file)]
            yield (
                f"{file.name} leaves sizes open, which only its samples know: timed with samples of {assumed}; "
                f"sizes=[…] gives yours."
            )


def _rows(
    jobs: Sequence[tuple[BenchmarkFile, BenchmarkSetting]],
    timings: Sequence[Timing | TfliteFileError],
    progress: Progress,
) -> Iterator[Row]:
    """One row per timing; a file that cannot be run is printed and left out, unless there is no other."""
    refusals = [timing for timing in timings if isinstance(timing, TfliteFileError)]
    if len(refusals) == len(timings):
        raise refusals[0]
    for (file, setting), timing in zip(jobs, timings, strict=True):
        if isinstance(timing, TfliteFileError):
            progress.say(f"left out: {timing}")
        else:
            yield _row(file, setting, timing)


def _settings(config: BenchmarkConfig) -> Iterator[BenchmarkSetting]:
    axes = [_read_list(config, "threads", int), _read_list(config, "batch", int), _read_list(config, "delegate", bool)]
    return itertools.starmap(BenchmarkSetting, itertools.product(*axes))


def _read_list(config: BenchmarkConfig, key: str, kind: type) -> list[Any]:
    value = getattr(config, key)
    values = value if isinstance(value, list) else [value]
    fits = all(isinstance(v, bool) if kind is bool else type(v) is int and 1 <= v <= 1024 for v in values)
    if not values or not fits:
        words = "true, false, or both as [true,false]" if kind is bool else "an integer from 1, or several as [1,2]"
        raise ConfigError(f"{key}={value}: expected {words}.")
    return list(dict.fromkeys(values))


def _row(file: BenchmarkFile, setting: BenchmarkSetting, timing: Timing) -> Row:
    proof = verify(file.graph)
    measured = ("median_ms", "p95_ms", "warmup_calls", "load_ms", "first_ms", "peak_bytes", "process_peak_bytes")
    row: Row = {
        "file": str(file.path),
        "name": file.name,
        "kind": file.scheme,
        "size_bytes": len(file.content),
        **{name: getattr(setting, name) for name in ("threads", "batch", "delegate")},
        **{name: getattr(timing, name) for name in measured},
        "min_ms": float(timing.calls_ms.min()),
        "rounds_median_ms": [float(np.median(calls)) for calls in timing.rounds_ms],
        "calls": len(timing.calls_ms),
        "macs": multiply_accumulates(file.graph),
        "ops": sum(proof.op_counts.values()),
        "op_counts": proof.op_counts,
        "integer_only": proof.integer_only,
    }
    return row if file.accuracy is None else row | {"accuracy": file.accuracy}


def _profile(file: BenchmarkFile, setting: BenchmarkSetting, progress: Progress) -> list[Row]:
    """Every operator of the file alone, one sample at a time; none of a file that cannot be taken apart."""
    try:
        single_ops = list(one_op_files(file.content))
    except TfliteFileError as error:
        progress.say(f"no operators of {file.name}: {error}")
        return []
    alone = time_each(
        [content for _, content in single_ops], BenchmarkSetting(setting.threads, None, setting.delegate), OP_SECONDS
    )
    ops, main = file.graph.ops, file.graph.main
    return [
        {
            "index": index,
            "op": ops[index].label,
            "layer": main.tensors[ops[index].outputs[0]].layer if ops[index].outputs else "",
            "macs": macs_of(ops[index], main),
            "median_ms": median,
        }
        for (index, _), median in zip(single_ops, alone, strict=True)
    ]


def _machine() -> dict[str, Any]:
    model = next((line.partition(":")[2].strip() for line in _cpu_lines() if line.startswith("model name")), "")
    return {
        "processor": model or platform.processor(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "load": list(os.getloadavg()),
        "system": platform.system(),
        "ai-edge-litert": metadata.version("ai-edge-litert"),
    }


def _cpu_lines() -> Sequence[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else ()


def _write(folder: Path, rows: list[Row], profiles: dict[str, list[Row]], machine: dict[str, Any]) -> None:
    rundir.write_json(folder / "benchmark.json", rows)
    rundir.write_json(folder / "machine.json", machine)
    rundir.write_bytes(folder / "latency.png", draw_latency(rows))
    if any(profiles.values()):
        rundir.write_json(folder / "profile.json", profiles)
        rundir.write_bytes(folder / "profile.png", draw_profile(profiles))


def _write_tensorboard(folder: Path, rows: list[Row], profiles: dict[str, list[Row]]) -> None:
    with SummaryWriter(folder / rundir.TENSORBOARD) as writer:
        for row in rows:
            tag = f"{row['threads']} threads, batch {row['batch']}, XNNPACK {'on' if row['delegate'] else 'off'}"
            values = {f"latency_ms/{tag}": row["median_ms"], f"peak_bytes/{tag}": row["peak_bytes"]}
            writer.add_scalars(row["name"], values | {"size_bytes": row["size_bytes"], "macs": row["macs"]}, 0)
        writer.add_text(
            "summary", "benchmark", "\n\n".join([format_benchmark_markdown(rows), *compare_with_float(rows)])
        )
        writer.add_image("summary", "latency", (folder / "latency.png").read_bytes())
        if any(profiles.values()):
            writer.add_image("summary", "operators", (folder / "profile.png").read_bytes())
