"""`python -m qat.train`: from data to deployed files and what they are worth."""

from __future__ import annotations

from pathlib import Path

from qat.config import Config
from qat.results import RunResult
from qat.stages.cards import write_cards
from qat.stages.dashboard import draw_dashboard
from qat.stages.deployment import evaluate_deployed
from qat.stages.export import export_tflite
from qat.stages.float_model import obtain_float_model
from qat.stages.ptq import quantize_after_training
from qat.stages.qat import train_quantized
from qat.stages.report import write_report
from qat.stages.result import collect_result, enforce_parity, keep_files, show_result, write_result
from qat.stages.run import begin
from qat.stages.stock import train_stock


def main_job(config: Config, folder: Path) -> RunResult | None:
    """One run into `folder`: float model, PTQ, QAT and stock's QAT as `quant` asks, exported, evaluated, written down.

    None in a worker that is not the chief: it trains with it, and leaves evaluation and files to it.

    Raises:
        QatError: data, model, folder or training that cannot be used; ParityError after all files are written.
    """
    with begin(config, folder) as run:
        float_model = obtain_float_model(run)
        if not run.workers.is_chief:
            train_quantized(run, float_model)
            train_stock(run, float_model)
            return None
        export_tflite(run, "float", float_model.model, scheme="float32")
        calibrated = quantize_after_training(run, float_model)
        found = train_quantized(run, float_model, calibrated), train_stock(run, float_model)
        trained = [each for each in found if each is not None]
        deployed = evaluate_deployed(run, float_model, trained)
        variants = deployed.variants
        draw_dashboard(run, variants, deployed.answers, float_model, trained)
        result = write_cards(run, collect_result(run, variants, float_model, trained))
        write_report(run, result, deployed.answers)
        write_result(run, result)
        keep_files(run, result)
        show_result(run, result)
        for remark in run.remarks:
            run.progress.say(f"warning: {remark}")
        enforce_parity(run, variants)
        return result
