"""`python -m qat.train`: from data to deployed files and their metrics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qat.config import Config
from qat.errors import TrainingDivergedError
from qat.results import RunResult
from qat.stages.cards import write_cards
from qat.stages.dashboard import write_dashboard
from qat.stages.deployment import evaluate_deployed
from qat.stages.divergence import report_divergence
from qat.stages.export_files import export_tflite
from qat.stages.float_model import obtain_float_model
from qat.stages.ptq import quantize_after_training
from qat.stages.qat import train_quantized
from qat.stages.report import write_report
from qat.stages.result import collect_result, enforce_parity, log_files, print_result, write_result
from qat.stages.run import Run, begin
from qat.stages.stock import train_stock


@contextmanager
def _reported(run: Run) -> Iterator[None]:
    """Leave a page on a training that diverges."""
    try:
        yield
    except TrainingDivergedError as error:
        report_divergence(run, error)
        raise


def main_job(config: Config, folder: Path) -> RunResult | None:
    """Run one job into `folder`: float model, PTQ, QAT and stock's QAT as `quant` asks, exported, evaluated, recorded.

    Args:
        config: the run's whole config; it is not written into.
        folder: the run's directory; where it holds an unfinished run of the same settings, that run goes on.

    Returns:
        The result as results.json holds it; None in a worker that is not the chief, which leaves evaluation and files
        to it.

    Raises:
        QatError: data, model, folder or training that cannot be used; a `ParityError` comes after all files are
            written.
    """
    with begin(config, folder) as run, _reported(run):
        float_model = obtain_float_model(run)
        if not run.workers.is_chief:
            train_quantized(run, float_model)
            train_stock(run, float_model)
            return None
        run.kept.once("export float", lambda: export_tflite(run, "float", float_model.model, scheme="float32"), "float")
        calibrated = quantize_after_training(run, float_model)
        trained = train_quantized(run, float_model, calibrated), train_stock(run, float_model)
        trained_variants = [each for each in trained if each is not None]
        deployed = evaluate_deployed(run, float_model, trained_variants)
        variants = deployed.variants
        run.kept.record_resumption("report")
        write_dashboard(run, variants, deployed.evaluations, float_model, trained_variants)
        result = write_cards(run, collect_result(run, variants, float_model, trained_variants))
        write_report(run, result, deployed.evaluations)
        write_result(run, result)
        log_files(run, result)
        print_result(run, result)
        for remark in run.remarks:
            run.progress.say(f"warning: {remark}")
        enforce_parity(run, variants)
        return result
