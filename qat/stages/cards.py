"""`README.md` in each variant's folder, which makes it a model repository as the Hugging Face Hub has them."""

from __future__ import annotations

from dataclasses import replace

from qat import rundir
from qat.deploy import feeding_snippets
from qat.plain_text import writable
from qat.reporting.model_card import Card, model_card
from qat.results import RunResult
from qat.stages.provenance import read_overrides
from qat.stages.run import Run

_MACHINE_KEYS = ("float_cache", "float_run", "hydra.", "log.", "logger", "sweep.", "threads", "train.threads")


def write_cards(run: Run, result: RunResult) -> RunResult:
    """Write `README.md` into each variant's folder, where `export.card` asks for it.

    Args:
        run: run whose directory is written into.
        result: what the run measured (accuracy as 0-1, sizes in bytes); all files but the cards are written already.

    Returns:
        The result, with the SHA-256 of the cards added; unchanged where no card is asked for.
    """
    if not run.config.export.card:
        return result
    digests = dict(result.sha256)
    for name in result.variants:
        path = run.file(name, rundir.CARD)
        rundir.write_text(path, writable(model_card(_card(run, result, name))))
        digests[path.relative_to(run.folder).as_posix()] = rundir.sha256(path)
    return replace(result, sha256=digests)


def _card(run: Run, result: RunResult, name: str) -> Card:
    folder = run.file(name, "")
    content = (run.folder / result.variants[name].file).read_bytes()
    overrides = read_overrides(run.folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    return Card(
        result=result,
        variant=name,
        model_json=rundir.read_json(folder / rundir.MODEL_JSON),
        snippet=feeding_snippets(content, contract=run.splits.contract)["feed.py"],
        sizes={path.relative_to(folder).as_posix(): path.stat().st_size for path in files},
        overrides=None if overrides is None else [each for each in overrides if not each.startswith(_MACHINE_KEYS)],
        license=run.config.export.license,
    )
