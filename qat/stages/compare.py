"""Runs against runs: from directories to one page, its tables and its pictures. No TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qat import rundir
from qat.comparison import Comparison, collect, compare_runs
from qat.config import CompareConfig
from qat.errors import ConfigError, RunDirError
from qat.plain_text import writable
from qat.reporting.chart import png
from qat.reporting.comparison_charts import charts
from qat.reporting.comparison_page import page
from qat.reporting.comparison_text import (
    CONFIGURATION_TITLES,
    configuration_cells,
    configurations_markdown,
    counts,
    csv_text,
    json_text,
    markdown,
)
from qat.reporting.comparison_verdict import verdict_lines
from qat.reporting.table import table_text
from qat.reporting.tensorboard import Board
from qat.reporting.terminal import say, width

TENSORBOARD_RUN = "comparison"
MOST_NAMED = 10  # configurations and refused directories on the terminal; the page names all
GIVEN_UP = ("Pareto", "fake-quant", "latency", "metric", "integer-only", "seeds", "size")  # in a narrow terminal


def compare(config: CompareConfig, out: Path) -> Comparison:
    """`python -m qat.compare`: the runs below `config.runs` into `out`.

    Raises:
        ConfigError: no directories, an interval of no meaning, a filter or column that no run knows.
        RunDirError: a directory that does not exist, or not one finished run in all of them.
    """
    folders = [Path(text).expanduser() for text in _texts("runs", config.runs)]
    if not folders:
        raise ConfigError("runs=[]: expected a directory of a run or of a sweep, or several as [DIR,DIR].")
    for folder in folders:
        if not folder.is_dir():
            raise RunDirError(f"runs={folder}: no such directory. Give the directory of a run or of a sweep.")
    if not 0.5 <= config.confidence < 1:
        raise ConfigError(f"confidence={config.confidence}: expected a share from 0.5 to 1, as 0.95.")
    found = write_comparison(
        folders,
        out,
        sort=_texts("sort", config.sort),
        filters=[part for text in _texts("filter", config.filter) for part in text.split(" and ")],
        confidence=config.confidence,
    )
    _show(found, out)
    return found


def write_comparison(
    folders: Sequence[Path],
    out: Path,
    *,
    sort: Sequence[str] = (),
    filters: Sequence[str] = (),
    confidence: float = 0.95,
) -> Comparison:
    """The runs in and below `folders` side by side, written into `out`.

    Files: `index.html`, `table.csv`, `table.json`, `table.md`, a PNG a plot, `tensorboard/comparison`.

    Args:
        folders: directories of runs, of sweeps, or of several of these; what is no finished run is listed with the
            reason.
        sort: columns, `-` before one for the largest first; by default the best metric first.
        filters: conditions as `variant=qat_int8` or `size_bytes<300000`, all of which hold for what is kept.
        confidence: of the intervals over seeds.

    Raises:
        ConfigError: a filter or a column that no run knows.
        RunDirError: `out` cannot be written, or there is no finished run; in the second case all files are written.
    """
    found = compare_runs(collect(folders), sort=sort, filters=filters, confidence=confidence)
    pictures = dict(charts(found))
    drawn = {name: png(chart) for name, chart in pictures.items()}
    for name, content in drawn.items():
        rundir.write_bytes(out / f"{name}.png", content)
    _draw(found, drawn, out / rundir.TENSORBOARD)
    rundir.write_text(out / "table.csv", writable(csv_text(found)))
    rundir.write_text(out / "table.json", writable(json_text(found)))
    rundir.write_text(out / "table.md", writable(markdown(found)))
    rundir.write_text(out / "index.html", writable(page(found, list(pictures.values()), out)))
    if not found.runs:
        reasons = "\n".join(writable(f"  {each.folder}: {each.reason}") for each in found.refused[:MOST_NAMED])
        raise RunDirError(
            f"runs: no finished run in {', '.join(map(str, folders))}. Looked at:\n{reasons}\nGive the directory of a "
            f"run (it holds {rundir.RESULTS}) or of a sweep."
        )
    return found


def _draw(found: Comparison, pictures: Mapping[str, bytes], folder: Path) -> None:
    """The pictures and the table on TensorBoard, in place of what an earlier comparison left there."""
    for earlier in (folder / TENSORBOARD_RUN).glob("events.out.tfevents.*"):
        earlier.unlink()
    with Board(folder) as board:
        board.text(TENSORBOARD_RUN, "configurations", writable(configurations_markdown(found)))
        for name, content in pictures.items():
            board.picture(TENSORBOARD_RUN, f"comparison/{name.replace('_', ' ')}", content)


def _texts(key: str, value: Any) -> list[str]:
    """One text, or a list of them.

    Raises:
        ConfigError: anything else.
    """
    values = value if isinstance(value, list) else [] if value is None else [value]
    for each in values:
        if isinstance(each, dict | list) or each is None:
            raise ConfigError(f"{key}={value}: expected one text, or a list of texts as [A,B].")
    return [str(each) for each in values]


def _show(found: Comparison, out: Path) -> None:
    say(counts(found))
    cells = [configuration_cells(each) for each in found.configurations[:MOST_NAMED]]
    if cells:
        print(f"\n{writable(table_text(CONFIGURATION_TITLES, cells, GIVEN_UP, width()))}\n")
    for sentence in verdict_lines(found):
        say(writable(sentence))
    for each in found.refused[:MOST_NAMED]:
        say(writable(f"left out:\n  {each.folder}\n{each.reason}"))
    if len(found.refused) > MOST_NAMED:
        say(f"left out: {len(found.refused) - MOST_NAMED} more, all in\n  {out / 'table.md'}")
    say(f"page:\n  {out / 'index.html'}")
