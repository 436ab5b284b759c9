"""What a diverged training leaves: `report.html` says what happened, `failed.json` that there is no result."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone

from qat import rundir
from qat.commands import command
from qat.config import Config
from qat.errors import TrainingDivergedError
from qat.plain_text import writable
from qat.reporting import terminal
from qat.reporting.colours import colour_of
from qat.reporting.divergence_page import DivergenceReport, divergence_page
from qat.reporting.line_chart import Line
from qat.stages.provenance import read_overrides
from qat.stages.run import Run
from qat.training.guards import Diverged


def report_divergence(run: Run, error: TrainingDivergedError) -> None:
    """Write the page and the record, and print where the page is; results.json is not written.

    Args:
        run: the run whose directory is written into.
        error: what ended its training; its cause says when, and in which layer.
    """
    cause, config = error.__cause__, run.config
    overrides = read_overrides(run.folder)
    group = cause.group if isinstance(cause, Diverged) else "train"
    key, rate = f"{group}.learning_rate", getattr(config, group).learning_rate
    better = min(rate / 10, getattr(Config(), group).learning_rate)
    others = [each for each in overrides or () if not each.startswith(f"{key}=")]
    report = DivergenceReport(
        title=f"{config.model.name} on {config.data.name}, {config.quant.name}",
        message=str(error),
        folder=str(terminal.relative_to_cwd(run.folder)),
        date=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        key=key,
        learning_rate=rate,
        layer=cause.layer if isinstance(cause, Diverged) else None,
        losses=cause.losses if isinstance(cause, Diverged) else (),
        loss_lines=[
            Line(name, colour_of(name), tuple((float(x), y) for x, y in points))
            for name in ("float", "fake_quant")
            if len(points := run.summary_writer.series.get((name, "loss/val"), ())) > 1
        ],
        command=None if overrides is None else command("train", *overrides),
        better_command=None if overrides is None else command("train", *others, f"{key}={better:g}"),
        config=asdict(config),
    )
    record = {"error": type(error).__name__, "message": str(error), "exit_code": error.exit_code}
    rundir.write_json(run.folder / rundir.FAILED, record)
    rundir.write_text(run.folder / rundir.REPORT, writable(divergence_page(report)))
    run.progress.say(f"What happened, for a browser:\n  {terminal.relative_to_cwd(run.folder / rundir.REPORT)}")
