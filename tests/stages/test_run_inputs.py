"""What a run reads is known by digest: one that goes on with other data or another model file is refused by name."""

from dataclasses import replace

import numpy as np
import pytest

from qat import data
from qat.cli import compose
from qat.errors import RunDirError
from qat.stages.run import begin
from qat.stages.run_inputs import describe_missing_classes, describe_missing_samples, digest_inputs


@pytest.fixture
def npz(tmp_path):
    """Writes a data set of its own test split, a value of which is given."""

    def write(last_pixel=0):
        x = np.arange(24 * 64, dtype=np.uint64).astype(np.uint8).reshape(24, 8, 8, 1)
        x_test = x.copy()
        x_test[-1, -1, -1, 0] = last_pixel
        y = np.arange(24) % 2
        np.savez(tmp_path / "mine.npz", x_train=x, y_train=y, x_test=x_test, y_test=y)
        return ("data=npz", f"data.path={tmp_path / 'mine.npz'}")

    return write


def digests(*overrides):
    config = compose(overrides)
    return digest_inputs(config, data.load(config.data, 4, 0))


def test_each_split_and_each_file_has_a_digest_of_its_own(npz, tmp_path):
    (tmp_path / "model.keras").write_bytes(b"PK\3\4 1")
    model = ("model=saved", f"model.path={tmp_path / 'model.keras'}")
    before = digests(*npz(), *model)
    (tmp_path / "model.keras").write_bytes(b"PK\3\4 2")
    after = digests(*npz(7), *model)
    changed = [name for name in before if before[name] != after[name]]
    path = tmp_path / "mine.npz"
    assert changed == [f"the test data (data.path={path})", f"the model (model.path={tmp_path / 'model.keras'})"]
    assert len(before) == 4


def test_a_folder_counts_by_all_of_its_files(npz, tmp_path):
    folder = tmp_path / "saved"
    (folder / "variables").mkdir(parents=True)
    (folder / "variables" / "a").write_text("1")
    (folder / "saved_model.pb").touch()
    model = ("model=saved", f"model.path={folder}")
    before = digests(*npz(), *model)
    (folder / "variables" / "a").write_text("2")
    assert digests(*npz(), *model) != before


@pytest.mark.medium
def test_a_run_goes_on_with_the_same_data_and_with_no_other(npz, tiny, tmp_path):
    options = ("quant.calibration.samples=8", "quant.calibration.min_samples=8", "log.tensorboard=false")
    for value, refused in ((0, False), (0, False), (7, True)):
        config = tiny(*npz(value), *options)
        if refused:
            with (
                pytest.raises(RunDirError, match=r"begun with other content of the test data"),
                begin(config, tmp_path / "run"),
            ):
                pass
            continue
        with begin(config, tmp_path / "run") as run:
            run.kept.finish("one")


def test_numbers_of_samples_beyond_the_data_are_said(npz):
    config = compose([*npz(), "parity.samples=100", "data.max_samples=500"])
    assert describe_missing_samples(config, data.load(config.data, 4, 0)) == [
        "parity.samples=100: val has 4 samples; all of them are taken",
        "data.max_samples=500: no split has more than 24; all are taken",
    ]
    config = compose([*npz()])
    assert describe_missing_samples(config, data.load(config.data, 4, 0)) == []


def test_a_class_without_samples_in_a_split_is_said(npz):
    config = compose([*npz()])
    splits = data.load(config.data, 4, 0)
    assert describe_missing_classes(config, splits) == []
    val = replace(splits.val, labels=np.zeros(len(splits.val), np.int64))
    assert describe_missing_classes(config, replace(splits, val=val)) == [
        "val has no sample of 1 of 2 classes (1): no choice is made by them"
    ]
