"""A single value becomes the list or section that the config has; what could mean several things is refused."""

import pytest

from qat.cli import compose
from qat.cli.checks import check
from qat.cli.hydra_plugins import PACKAGE, register_plugins
from qat.cli.import_tensorflow import freeze_imports
from qat.cli.launchers.exit_reason import format_in_one_line, make_failed_return
from qat.cli.single_values import normalize_override
from qat.config import Config
from qat.errors import ConfigError


@pytest.mark.parametrize(
    ("override", "normal"),
    [
        ("data.image_size=96", "data.image_size=[96,96]"),
        ("data.image_size=96x96", "data.image_size=[96,96]"),
        ("train.epochs=1e2", "train.epochs=100"),
        ("train.epochs=many", "train.epochs=many"),
        ("export.io=uint8", "export.io=[uint8]"),
        ("quant.skip=^head$", "quant.skip=['^head$']"),
        ("train.optimizer=SGD", "train.optimizer={_target_:tf_keras.optimizers.SGD,weight_decay:null}"),
        ("train.optimizer=adamw", "train.optimizer={_target_:tf_keras.optimizers.AdamW}"),
        ("seed=[1]", "seed=[1]"),
    ],
)
def test_a_value_is_written_as_hydra_takes_it(override, normal):
    assert normalize_override(override, Config).replace('"', "'") == normal


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.optimizer=adm", r"no such optimizer\. Did you mean adam\?"),
        ("data.image_size=96x64", r"expected \[height, width\], as data\.image_size=\[96,64\]"),
        ("train.learning_rate=0,01", r"a fraction has a point: train\.learning_rate=0\.01"),
        ("data.range=(0,1)", r"a list has square brackets: data\.range=\[0,1\]"),
        ("export.io=int8,uint8", r"expected a list, as export\.io=\[int8,uint8\]"),
    ],
)
def test_a_value_that_could_mean_several_things_is_refused(override, said):
    with pytest.raises(ConfigError, match=said):
        normalize_override(override, Config)


def test_in_a_sweep_each_value_is_a_jobs():
    assert normalize_override("train.epochs=1,2e1", Config, sweep=True) == "train.epochs=1,20"
    assert normalize_override("train.optimizer=sgd,lion", Config, sweep=True).count("_target_") == 2


@pytest.mark.parametrize(
    ("section", "name", "value", "said"),
    [
        ("quant", "weight_bits", 4, "4-bit weights are quant=qat_w4a8"),
        ("quant", "delay", "soon", r"quant\.delay=soon: expected a share"),
        ("export", "io", ["float16"], r"export\.io=float16: a float16 file keeps float32"),
        ("train", "epochs", 0, "would keep its random weights"),
        ("log", "mlflow_uri", "http://me:secret@host", "expected an address without a user and password"),
        ("quant", "per_layer", {"x": {"bits": 4}}, "no such setting; expected one of weight_bits"),
    ],
)
def test_a_config_that_would_fail_later_is_refused_now(section, name, value, said):
    config = compose([])
    check(config)
    setattr(getattr(config, section), name, value)
    with pytest.raises(ConfigError, match=said):
        check(config)


def test_a_job_whose_process_died_is_a_failed_one_with_its_reason():
    error = RuntimeError("killed\n  by   signal 9" + "x" * 600)
    assert format_in_one_line(error).startswith("RuntimeError: killed by signal 9x")
    assert len(format_in_one_line(error)) == len("RuntimeError: ") + 500
    assert make_failed_return(error).status.name == "FAILED"


def test_our_sweeper_and_launcher_are_those_that_hydra_finds():
    from hydra.core.plugins import Plugins

    register_plugins()
    known = Plugins.instance().class_name_to_class
    for module, name in (
        ("qat.cli.sweeps.optuna_sweeper", "OptunaSweeper"),
        ("qat.cli.launchers.ray_launcher", "RayLauncher"),
        ("qat.cli.sweeps.grid_sweeper", "GridSweeper"),
    ):
        assert known[f"{PACKAGE}.{name}"].__module__ == module


def test_modules_are_taken_from_the_garbage_collector_once():
    import gc

    freeze_imports()
    count = gc.get_freeze_count()
    freeze_imports()
    assert gc.get_freeze_count() == count > 1000
    gc.unfreeze()
