"""What every stage of one run is handed: the config, the data, the folder, and where to show progress."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from qat import data, rundir
from qat.config import Config
from qat.data import Splits
from qat.errors import RunDirError
from qat.reporting import Board, Progress
from qat.reporting.dashboard import begin_runs
from qat.stages.session import begin_session

NEED_CALIBRATION = ("ptq", "ptq_int16x8", "qat", "qat_w4a8")


@dataclass(frozen=True)
class Run:
    config: Config
    folder: Path
    splits: Splits
    progress: Progress
    board: Board

    def file(self, variant: str, name: str) -> Path:
        return self.folder / variant / name


@contextmanager
def begin(config: Config, folder: Path) -> Iterator[Run]:
    """Seed and clear the process, claim the folder, load the data."""
    progress = Progress(config.log.progress)
    known: dict[str, float] = field(default_factory=dict)  # what one drawing measured and the next ones need again
    _refuse_own_folder(config, folder)
    with rundir.claim(folder), Board(folder / rundir.TENSORBOARD if config.log.tensorboard else None) as board:
        begin_session(config.seed, config.train.threads)
        wanted = config.quant.calibration.samples if config.quant.name in NEED_CALIBRATION else 0
        with progress.work("load data"):
            splits = data.load(config.data, wanted, config.seed)
        sizes = ", ".join(f"{split.name} {len(split)}" for split in (splits.train, splits.val, splits.test))
        progress.say(f"{config.data.name}: {sizes}, calibration {len(splits.calibration)} of train")
        for skipped in splits.skipped:
            progress.say(f"left out: {skipped}")
        yield Run(config, folder, splits, progress, board)
        begin_runs(board, config.quant.name)


def _refuse_own_folder(config: Config, folder: Path) -> None:
    """A run clears its folder of what an unfinished one left there: its float model would be gone before it is read."""
    if config.float_run is not None and Path(config.float_run).expanduser().resolve() == folder.resolve():
        raise RunDirError(
            f"float_run={config.float_run}: this is the run's own folder. Choose another one for the run, as "
            "hydra.run.dir=DIR; to repeat a run, leave float_run out: the float cache keeps what was trained."
        )
