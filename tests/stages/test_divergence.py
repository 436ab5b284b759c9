"""A training that diverges leaves its last good weights, a page and a record, and no results."""

import json

import pytest

from qat.errors import TrainingDivergedError
from qat.stages.main_job import main_job


@pytest.mark.medium
def test_a_diverged_training_keeps_its_last_good_weights(tiny, tmp_path):
    config = tiny("quant=float", "train.learning_rate=1000", "train.optimizer._target_=tf_keras.optimizers.SGD")
    config.train.epochs = 20
    with pytest.raises(TrainingDivergedError, match=r"at step \d+ of epoch \d+"):
        main_job(config, tmp_path / "run")
    assert (tmp_path / "run" / "float" / "model.keras").is_file()
    assert not (tmp_path / "run" / "results.json").exists()
    assert "train.learning_rate: it was 1000." in (tmp_path / "run" / "report.html").read_text()
    assert json.loads((tmp_path / "run" / "failed.json").read_text())["exit_code"] == 3
    assert list((tmp_path / "cache").glob("*/float.json")) == []
