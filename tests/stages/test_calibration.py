"""How many calibration samples are enough: numbers that the user has set hold, and a small set alone is no reason."""

import pytest

from qat.data import load
from qat.reporting import Progress, SummaryWriter
from qat.stages.calibration import check_calibration
from qat.stages.kept_work import KeptWork
from qat.stages.run import Run


def small(tiny, folder, *overrides):
    config = tiny("quant=ptq", "quant.calibration.samples=null", "quant.calibration.min_samples=null", *overrides)
    splits = load(config.data, config.quant.calibration.samples, 0)
    return Run(config, folder, splits, Progress("off"), SummaryWriter(None), KeptWork(folder, config, print))


def test_a_small_set_is_taken_where_nobody_has_said_how_many(tiny, tmp_path):
    run = small(tiny, tmp_path, "data.max_samples=60")
    check_calibration(run, "classification")
    assert len(run.splits.calibration) == 60


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("quant.calibration.samples=60", r"samples=60: expected at least quant\.calibration\.min_samples"),
        ("quant.calibration.min_samples=61", r"min_samples=61: (data\.max_samples=60 leaves no more|train has 60)"),
    ],
)
def test_a_number_that_the_user_has_set_holds(option, message, tiny, tmp_path):
    with pytest.raises(ValueError, match=message):
        check_calibration(small(tiny, tmp_path, "data.max_samples=60", option), "classification")
