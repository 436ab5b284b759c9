"""What every stage of a run gets: config, data, folder, progress, and writers of metrics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from qat import data, manifest, rundir
from qat.commands import command
from qat.config import Config, LogConfig
from qat.data import Splits
from qat.errors import DataError, ModelError, QatError, RunDirError
from qat.reporting import Progress, SummaryWriter
from qat.reporting.dashboard import begin_runs
from qat.reporting.terminal import relative_to_cwd
from qat.results import Metric
from qat.stages.kept_work import KeptWork
from qat.stages.loggers import make_loggers
from qat.stages.run_inputs import describe_missing_classes, describe_missing_samples, digest_inputs
from qat.stages.session import begin_session
from qat.tasks import has_classes
from qat.training.cluster import is_chief
from qat.training.settings import describe_oversized_batches, refuse_late_points
from qat.training.threads import count_threads
from qat.training.workers import Workers
from qat.trust import HARMLESS, targets_of
from qat.variants import BASELINE, QUANTIZERS, STOCK, STOCK_VARIANT
from qat.warning import warn

STOCK_OPTIONS = {"engine": "tflite", "allow_float": True}  # of `convert`: what it leaves in float is shown, not refused


@dataclass(frozen=True)
class Run:
    """One run: its config, folder and data, where progress and metrics go, and what the stages leave for its end."""

    config: Config
    folder: Path
    splits: Splits
    progress: Progress
    summary_writer: SummaryWriter
    kept: KeptWork
    workers: Workers = field(default_factory=Workers)
    threads: int = field(default_factory=count_threads)  # of TensorFlow
    measured: dict[str, Metric] = field(default_factory=dict)  # metrics that are measured once and needed again
    left_out: dict[str, str] = field(default_factory=dict)  # variant to compare with -> why there is none
    remarks: list[str] = field(default_factory=list)  # warnings that are repeated at the end

    def get_state(self) -> dict[str, Any]:
        """What later stages add to, as JSON has it: it is kept with each stage that is done."""
        return {"left_out": dict(self.left_out), "seconds": dict(self.progress.seconds)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what `get_state` gave.

        Args:
            state: of this run, before it was killed.
        """
        self.left_out.update(state["left_out"])
        for title, seconds in state["seconds"].items():
            self.progress.seconds[title] = max(seconds, self.progress.seconds.get(title, 0.0))

    def file(self, variant: str, name: str) -> Path:
        """The path `<folder>/<variant>/<name>`, whether it is there or not.

        Args:
            variant: name of the variant's folder, as `float`.
            name: name of the file, or "" for the folder.

        Returns:
            The path; nothing is created.
        """
        return self.folder / variant / name

    @property
    def wants_stock(self) -> bool:
        return STOCK in (self.config.quant.name, *self.config.quant.beside)

    def leave_out(self, variant: str, error: QatError) -> None:
        """Go on without a variant that is there to compare with: the reason is kept and printed.

        Args:
            variant: name of the variant: stock tfmot's, where ours is trained too; of stock alone, the PTQ that is its
                baseline.
            error: the error that says why there is none.

        Raises:
            QatError: `error`, where the variant is one that the run cannot go without.
        """
        if variant != (BASELINE if self.config.quant.name == STOCK else STOCK_VARIANT):
            if variant == STOCK_VARIANT and isinstance(error, ModelError):
                advice = f"To train ours and have this reason in its results: quant=qat 'quant.beside=[{STOCK}]'"
                raise ModelError(f"{error}. {advice}") from error
            raise error
        for file in self.file(variant, "").glob("model*.tflite"):
            if manifest.names(self.folder, file):
                file.unlink()
        self.left_out[variant] = str(error)
        self.progress.say(f"{variant} is left out: {error}")


@contextmanager
def begin(config: Config, folder: Path) -> Iterator[Run]:
    """Seed and clear the process, claim the folder, load the data. Only what the chief writes is kept.

    Args:
        config: the run's whole config.
        folder: the run's directory; where it holds an unfinished run of the same settings, that run goes on.

    Yields:
        The run, while its folder is claimed and its event files are open.

    Raises:
        RunDirError: the folder is in use, or holds a finished run.
        ConfigError: the folder holds an unfinished run of other settings.
        DataError: data that cannot be used.
    """
    _refuse_own_folder(config, folder)
    if config.train.strategy != "multiworker" or is_chief():
        yield from _begin(config, folder)
        return
    silent = replace(config, log=LogConfig(progress="off", deployed_every=0))
    with TemporaryDirectory(prefix="qat-worker-") as scratch_folder:
        yield from _begin(silent, Path(scratch_folder))


def _begin(config: Config, folder: Path) -> Iterator[Run]:
    progress = Progress(config.log.progress)
    with (
        rundir.claim(folder),
        SummaryWriter(folder / rundir.TENSORBOARD if config.log.tensorboard else None) as summary_writer,
    ):
        kept = KeptWork(folder, config, progress.say)
        workers = begin_session(
            config.seed,
            kept.threads or config.train.threads,
            config.train.strategy,
            ops_at_once=config.train.threads,
            is_small=data.has_few_samples(config.data),
        )
        kept.record_threads(count_threads())
        samples = config.quant.calibration.samples if QUANTIZERS[config.quant.name].needs_calibration else 0
        with progress.work("load data"):
            splits = data.load(config.data, samples, config.seed)
        kept.record_inputs(digest_inputs(config, splits))
        _refuse_one_class(config, splits)
        if QUANTIZERS[config.quant.name].trained:
            refuse_late_points(len(splits.train), config.train, config.quant)
        oversized = describe_oversized_batches(len(splits.train), config.train, config.quant)
        for message in (
            *oversized,
            *describe_missing_samples(config, splits),
            *describe_missing_classes(config, splits),
        ):
            warn(message)
        summary_writer.loggers += make_loggers(config, folder)
        begin_runs(summary_writer, config.quant.name, config.quant.beside)
        sizes = ", ".join(f"{split.name} {len(split)}" for split in (splits.train, splits.val, splits.test))
        progress.say(f"{config.data.name}: {sizes}, calibration {len(splits.calibration)} of train")
        for skipped in splits.skipped:
            progress.say(f"left out: {skipped}")
        counted = f"{kept.threads} thread{'s' * (kept.threads != 1)}"
        progress.say(f"TensorFlow computes on {counted}; with another number, results differ as between seeds")
        if workers.strategy is not None:
            progress.say(f"train.strategy={config.train.strategy}: {workers}")
        run = Run(config, folder, splits, progress, summary_writer, kept, workers)
        kept.register_states({"run": run, "summary": summary_writer})
        try:
            yield run
        except (KeyboardInterrupt, SystemExit):
            with suppress(OSError):  # the terminal is gone
                progress.say(f"To go on from here:\n  {_resume_command(config, folder)}")
            raise
        workers.leave_together()


def _resume_command(config: Config, folder: Path) -> str:
    """The command that resumes a run, with what is not taken from a folder unasked: functions, and an address."""
    named = {str(name) for _, name in targets_of(asdict(config))} - HARMLESS
    said = [f"trust=[{','.join(sorted(named))}]"] if named and config.trust is not True else []
    said += [f"log.mlflow_uri={config.log.mlflow_uri}"] if config.log.mlflow_uri else []
    said += [f"float_cache={config.float_cache}"] if config.float_cache else []
    return command("train", *said, resume=relative_to_cwd(folder))


def _refuse_one_class(config: Config, splits: Splits) -> None:
    """Nothing can be learned from one class, unless the task is to know what is not of it."""
    if has_classes(config.model.name) is False:
        return  # judged by its own measure: `evaluation.check_kinds`
    present = np.unique(splits.train.labels)
    if len(splits.class_names) < 2 or (len(present) < 2 and config.data.normal_class is None):
        class_list = ", ".join(splits.class_names[label] for label in present)
        raise DataError(
            f"data={config.data.name}: train holds one class alone ({class_list}), and a classifier wants two at "
            "least. Give more data, or label it otherwise; to learn what is normal, choose model=autoencoder "
            "data.normal_class=0 and bring a val and a test set with both kinds"
        )


def _refuse_own_folder(config: Config, folder: Path) -> None:
    """The run's float model would be written over the one that is read."""
    if config.float_run is not None and Path(config.float_run).expanduser().resolve() == folder.resolve():
        raise RunDirError(
            f"float_run={config.float_run}: this is the run's own folder. Choose another one for the run, as "
            "hydra.run.dir=DIR; to repeat a run, leave float_run out: the float cache keeps what was trained."
        )
