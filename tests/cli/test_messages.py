"""What a command answers to a mistake: the key, the value, what was expected, the choices. Read in this process."""

import pytest
from hydra.errors import HydraException, MissingConfigException

from qat.cli import compose
from qat.cli.command_line import find_repeated
from qat.cli.explain import explain, explain_unknown_option
from qat.config import Config
from qat.errors import ConfigError


def refusal_of(*overrides):
    with pytest.raises(ConfigError) as refused:
        compose(overrides)
    return str(refused.value)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MissingConfigException("long", "foo"), "--config-name foo: no such file. A file of your own, DIR/experiment/"),
        (HydraException("Primary config module 'qat.cli.foo' not found.\nCheck"), "--config-path foo: no such folder."),
        (HydraException("Additional config directory '/no' not found"), "--config-dir /no: no such folder. It holds"),
    ],
)
def test_a_folder_of_options_that_is_not_there_is_named_by_its_flag(error, message):
    assert explain(error, Config).startswith(message)


def test_a_key_that_is_given_several_values_is_said():
    assert find_repeated(["seed=1", "quant=qat", "seed=2"]) == [
        "seed is given several times: seed=1, then seed=2; the last one is taken."
    ]
    assert find_repeated(["runs=a", "-m", "runs=a", "hydra/launcher=joblib"]) == []


def test_a_folder_is_told_from_an_option_by_a_slash(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    assert "Did you mean data=photos/?" in explain_unknown_option("data", "photos", ["digits"])


def test_no_overrides_give_the_default_job():
    config = compose()
    assert type(config) is Config
    assert (config.data.name, config.model.name, config.quant.name, config.seed) == ("digits", "mobilenet", "qat", 0)


def test_an_option_brings_its_values_and_an_override_beats_it():
    assert compose(["debug=tiny"]).train.epochs == 1
    assert compose(["debug=tiny", "train.epochs=2"]).train.epochs == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epochz=3", "train.epochz: no such key. Did you mean train.epochs? Keys of train: epochs, batch_size"),
        ("modle=resnet8", "modle: no such key. Did you mean model? Keys of the config: seed, data, model"),
        ("epochs=3", "epochs: no such key. Did you mean train.epochs or quant.epochs?"),
        ("+data.batchsize=4", "data.batchsize: no such key. Did you mean train.batch_size or quant.batch_size"),
        ("+colour=red", "colour: no such key."),
    ],
)
def test_a_misspelt_key_is_named_with_the_nearest_one(override, message):
    assert message in refusal_of(override)


def test_a_section_of_arguments_takes_keys_that_nobody_knew_beforehand():
    config = compose(
        ["train.optimizer={_target_:tf_keras.optimizers.SGD,momentum:0.9}", "train.optimizer.nesterov=true"]
    )
    assert config.train.optimizer == {
        "_target_": "tf_keras.optimizers.SGD",
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 0.1,  # of conf/train/default.yaml: a dictionary is merged, not replaced
    }
    assert compose(["model=user", "model.target._target_=a.b", "model.target.width=3"]).model.target["width"] == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epochs=many", "train.epochs=many: expected an integer (epochs of the float training; "),
        ("train.learning_rate=fast", "train.learning_rate=fast: expected a number (the first; "),
        (
            "train.keep_best=perhaps",
            "train.keep_best=perhaps: expected true or false (keep the weights of the best val epoch).",
        ),
        ("data.range=[a,b]", "a in data.range: expected a list of numbers, as [-1, 1], or null ([low, high] that"),
        (
            "train.early_stop_epochs=soon",
            "expected an integer or null (stop after so many epochs without a better val",
        ),
    ],
)
def test_a_wrong_type_is_named_with_the_right_one(override, message):
    assert message in refusal_of(override)


@pytest.mark.parametrize(
    ("override", "nearest", "another"),
    [
        ("model=mobilnet", "model=mobilenet", "resnet8"),
        ("data=digit", "data=digits", "image_folder"),
        ("quant=qta", "quant=qat", "ptq_float16"),
        ("debug=tiney", "debug=tiny", "tiny"),
    ],
)
def test_an_unknown_option_is_named_with_the_choices(override, nearest, another):
    message = refusal_of(override)
    assert message.startswith(f"{override}: no such option. Did you mean {nearest}? Choices of ")
    assert another in message


@pytest.mark.medium
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.test_fraction=1.5", "data.test_fraction=1.5: expected a number above 0 and below 1"),
        ("train.epochs=-1", "train.epochs=-1: expected at least 0"),
        ("train.schedule=linear", "train.schedule=linear: expected one of constant, cosine"),
        ("quant.learning_rate=0", "quant.learning_rate=0.0: expected a number above 0"),
        (
            "quant.delay=soon",
            "quant.delay=soon: expected a share of the training from 0 to 1, or as 200steps, or as 3ep",
        ),
        ("quant.freeze_bn_at=2", "quant.freeze_bn_at=2: expected a share of the training from 0 to 1"),
        ("quant.ema_decay=2", "quant.ema_decay=2.0: expected a number from 0 to"),
        ("quant.calibration.method=max", "quant.calibration.method=max: expected one of minmax, percentile, mse."),
        ("log.progress=loud", "log.progress=loud: expected one of auto, bar, plain, off."),
        ("export.io=[float16]", "a float16 file keeps float32 inputs and outputs; use float32."),
        ("quant.weight_bits=3", "quant.weight_bits=3: expected one of 4, 8."),
        ("quant.preserve=zeros", "quant.preserve=zeros: expected null or one of none, sparsity, clusters, auto."),
        (
            "quant.per_layer={conv:{method:foo}}",
            "quant.per_layer.conv.method=foo: expected minmax or percentile or mse.",
        ),
        ("quant.per_layer={conv:4}", "quant.per_layer.conv=4: expected settings, as {weight_bits: 4}."),
        ("float_run=/nowhere", "float_run=/nowhere: no such folder."),
        ("model=saved", "model.path is not set"),
        ("data=npz", "data=npz needs data.path"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_before_tensorflow(override, message):
    assert message in refusal_of(override)


def test_a_bare_regular_expression_is_quoted_for_hydra_and_checked():
    assert compose(['quant.skip=["conv_[12]$"]']).quant.skip == ["conv_[12]$"]
    assert "quant.skip: '(' is no regular expression" in refusal_of('quant.skip=["("]')


def test_several_faults_between_packages_are_all_named():
    message = refusal_of("quant.weight_bits=3", "log.progress=loud")
    assert "quant.weight_bits=3" in message
    assert "log.progress=loud" in message


def test_a_setting_that_the_chosen_quantizer_does_not_read_is_refused():
    assert "quant.learned_ranges: quant=ptq does not read it" in refusal_of("quant=ptq", "quant.learned_ranges=true")
    assert "quant.preserve: quant=ptq does not read it" in refusal_of("quant=ptq", "quant.preserve=sparsity")


@pytest.mark.parametrize("choice", ["none", "null", "sparsity", "clusters", "auto"])
def test_what_stays_of_a_pruned_model_can_be_chosen_or_left_out(choice):
    assert compose([f"quant.preserve={choice}"]).quant.preserve == (None if choice == "null" else choice)


@pytest.mark.parametrize(
    "setting", ["quant.calibration.method=mse", "quant.equalization=true", "quant.bias_correction=true"]
)
def test_what_int8_files_alone_are_made_with_is_refused_for_others(setting):
    assert f"{setting.partition('=')[0]}: quant=ptq_int16x8 does not read it" in refusal_of(
        "quant=ptq_int16x8", setting
    )
    compose(["quant=ptq", setting])
    compose(["quant=qat", setting])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["quant.beside=[tfmot]"], "quant.beside=tfmot: expected qat_tfmot, in a list: quant.beside=[qat_tfmot]."),
        (["quant.beside=[qat]"], "quant.beside=qat: expected qat_tfmot, in a list"),
        (["quant.beside=tfmot"], "quant.beside=tfmot: expected qat_tfmot, in a list: quant.beside=[qat_tfmot]."),
        (
            ["quant=ptq", "quant.beside=[qat_tfmot]"],
            "quant.beside: quant=ptq does not read it; it belongs to quant=qat",
        ),
        (["quant=qat_tfmot", "quant.beside=[qat_tfmot]"], "to have ours and stock, take quant=qat."),
        (["quant=qat_tfmot", "quant.epochs=0"], "quant.epochs=0: stock tfmot has no range for the input before"),
        (["quant.beside=[qat_tfmot]", "quant.epochs=0"], "quant.epochs=0: stock tfmot has no range for the input"),
    ],
)
def test_what_stands_beside_ours_is_one_of_its_choices(overrides, message):
    assert message in refusal_of(*overrides)


@pytest.mark.parametrize("quant", ["qat", "qat_w4a8"])
def test_stock_may_stand_beside_what_we_train(quant):
    assert compose([f"quant={quant}", "quant.beside=[qat_tfmot]"]).quant.beside == ["qat_tfmot"]


@pytest.mark.parametrize(
    "setting",
    [
        "quant.learned_ranges=true",
        "quant.delay=0.5",
        "quant.distillation.weight=0.5",
        "quant.reestimate_bn=true",
        "quant.ema_decay=0.9",
        "quant.per_channel=false",
        "quant.calibration.method=mse",
    ],
)
def test_stock_as_it_ships_refuses_settings_that_only_ours_reads(setting):
    assert f"{setting.partition('=')[0]}: quant=qat_tfmot does not read it" in refusal_of("quant=qat_tfmot", setting)
    compose(["quant=qat", "quant.beside=[qat_tfmot]", setting])
