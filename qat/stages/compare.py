"""Runs against runs: from directories to one page, its tables and its figures. No TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from qat import rundir
from qat.comparison import Comparison, collect, compare_runs
from qat.config import CompareConfig
from qat.errors import ConfigError, RunDirError
from qat.json_values import Json
from qat.plain_text import address_hint, writable
from qat.reporting.chart import draw_png
from qat.reporting.comparison_charts import build_charts
from qat.reporting.comparison_page import TITLE, comparison_page
from qat.reporting.comparison_text import (
    CONFIGURATION_TITLES,
    counts_text,
    format_configuration,
    format_configurations_markdown,
    format_csv,
    format_json,
    format_markdown,
)
from qat.reporting.comparison_verdict import format_comparison_verdict
from qat.reporting.table import format_table
from qat.reporting.tensorboard import SummaryWriter
from qat.reporting.terminal import width
from qat.wrapping import say

TENSORBOARD_RUN = "comparison"
PAGE = "index.html"
MOST_NAMED = 10  # configurations and refused directories on the terminal; the page names all
# in a narrow terminal
OPTIONAL_COLUMNS = ("Pareto", "fake-quant", "latency", "metric", "integer-only", "seeds", "size")


def compare(config: CompareConfig, out: Path) -> Comparison:
    """Compare the runs below `config.runs` (`python -m qat.compare`), write the page into `out` and print the result.

    Args:
        config: directories, order of the rows, filters, and the confidence of the intervals (0.5-1).
        out: directory that the page and its tables are written into.

    Returns:
        The comparison, as it was written.

    Raises:
        ConfigError: no directories, a filter or column that no run knows.
        RunDirError: a directory that does not exist, or not one finished run in all of them.
    """
    folders = [Path(text).expanduser() for text in _texts("runs", config.runs)]
    if not folders:
        raise ConfigError("runs=[]: expected a directory of a run or of a sweep, or several as [DIR,DIR].")
    for folder in folders:
        if not folder.is_dir():
            raise RunDirError(
                f"runs={folder}: no such directory. Give the directory of a run or of a sweep.{address_hint(folder)}"
            )
    comparison = write_comparison(
        folders,
        out,
        sort=_texts("sort", config.sort),
        filters=[part for text in _texts("filter", config.filter) for part in text.split(" and ")],
        confidence=config.confidence,
        even_of_none=False,
    )
    _print(comparison, out)
    return comparison


def write_comparison(
    folders: Sequence[Path],
    out: Path,
    *,
    sort: Sequence[str] = (),
    filters: Sequence[str] = (),
    confidence: float = 0.95,
    even_of_none: bool = True,
) -> Comparison:
    """Compare the runs in and below `folders` and write the result into `out`.

    Files: `index.html`, `table.csv`, `table.json`, `table.md`, a PNG per plot, `tensorboard/comparison`.

    Args:
        folders: directories of runs, of sweeps, or of several of these; a directory that is no finished run is listed
            with the reason.
        out: directory that the files are written into.
        sort: names of columns, `-` before one for the largest first; empty: the best metric first.
        filters: conditions as `variant=qat_int8` or `size_bytes<300000`, all of which a row must meet.
        confidence: confidence of the intervals over seeds, a share from 0.5 to 1.
        even_of_none: write the files, which name what was left out and why, even where no run is finished.

    Returns:
        The comparison, as it was written.

    Raises:
        ConfigError: a filter or a column that no run knows, a filter that no file meets.
        RunDirError: `out` cannot be written, it holds the page of somebody else, or there is no finished run.
    """
    _refuse_other_files(out)
    comparison = compare_runs(collect(folders), sort=sort, filters=filters, confidence=confidence)
    if comparison.runs and filters and not comparison.rows:
        raise ConfigError(
            f"filter={' and '.join(filters)}: not one deployed file meets it. "
            f"Variants are {', '.join(sorted({name for run in comparison.runs for name in run.measured}))}; "
            "accuracy, drop and agreement are shares, 0-1."
        )
    if not comparison.runs and not even_of_none:
        raise _none_finished(comparison, folders)
    figures = dict(build_charts(comparison))
    images = {name: draw_png(chart) for name, chart in figures.items()}
    for name, content in images.items():
        rundir.write_bytes(out / f"{name}.png", content)
    _write_tensorboard(comparison, images, out / rundir.TENSORBOARD)
    rundir.write_text(out / "table.csv", writable(format_csv(comparison)))
    rundir.write_text(out / "table.json", writable(format_json(comparison)))
    rundir.write_text(out / "table.md", writable(format_markdown(comparison)))
    rundir.write_text(out / PAGE, writable(comparison_page(comparison, list(figures.values()), out)))
    if not comparison.runs:
        raise _none_finished(comparison, folders)
    return comparison


def _none_finished(comparison: Comparison, folders: Sequence[Path]) -> RunDirError:
    reasons = [writable(f"  {each.folder}: {each.reason}") for each in comparison.refused[:MOST_NAMED]]
    looked_at = "\n".join([" Looked at:", *reasons, ""]) if reasons else " "
    return RunDirError(
        f"runs: no finished run in {', '.join(map(str, folders))}.{looked_at}Give the directory of a run (it holds "
        f"{rundir.RESULTS}) or of a sweep."
    )


def _refuse_other_files(out: Path) -> None:
    """Refuse to write over tables and a page that stand in a folder without a comparison: they are the user's."""
    page = out / PAGE
    if page.is_file() and TITLE.encode() in page.read_bytes():
        return
    for name in (PAGE, "table.csv", "table.json", "table.md"):
        if (out / name).exists():
            raise RunDirError(
                f"{out / name}: not written by qat.compare, which would write over it. Choose another folder, as "
                "hydra.run.dir=DIR, or remove the file."
            )


def _write_tensorboard(comparison: Comparison, images: Mapping[str, bytes], folder: Path) -> None:
    """Write figures and table for TensorBoard, in place of those of an earlier comparison."""
    for old_file in (folder / TENSORBOARD_RUN).glob("events.out.tfevents.*"):
        old_file.unlink()
    with SummaryWriter(folder) as writer:
        writer.add_text(TENSORBOARD_RUN, "configurations", writable(format_configurations_markdown(comparison)))
        for name, content in images.items():
            writer.add_image(TENSORBOARD_RUN, f"comparison/{name.replace('_', ' ')}", content)


def _texts(key: str, value: Json) -> list[str]:
    """One text, or a list of them.

    Raises:
        ConfigError: anything else.
    """
    values = value if isinstance(value, list) else [] if value is None else [value]
    for each in values:
        if isinstance(each, dict | list) or each is None:
            raise ConfigError(f"{key}={value}: expected one text, or a list of texts as [A,B].")
    return [str(each) for each in values]


def _print(comparison: Comparison, out: Path) -> None:
    say(counts_text(comparison))
    cells = [format_configuration(each) for each in comparison.configurations[:MOST_NAMED]]
    if cells:
        print(f"\n{writable(format_table(CONFIGURATION_TITLES, cells, OPTIONAL_COLUMNS, width()))}\n")
    for sentence in format_comparison_verdict(comparison):
        say(writable(sentence))
    for each in comparison.refused[:MOST_NAMED]:
        say(writable(f"left out:\n  {each.folder}\n{each.reason}"))
    if len(comparison.refused) > MOST_NAMED:
        say(f"left out: {len(comparison.refused) - MOST_NAMED} more, all in\n  {out / 'table.md'}")
    for phrase in _changed(comparison)[:MOST_NAMED]:
        say(writable(f"warning: {phrase}; its row is of the file that the run wrote"))
    say(f"page:\n  {out / 'index.html'}")


def _changed(comparison: Comparison) -> list[str]:
    """The files of all runs that are not as these wrote them."""
    found = []
    for run in comparison.runs:
        digests = rundir.read_json(run.folder / rundir.RESULTS)["sha256"]
        found += [f"{run.folder}: {phrase}" for phrase in rundir.changed_files(run.folder, digests)]
    return found
