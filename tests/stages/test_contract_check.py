"""A model that somebody brings is scored before its training, and refused where it was trained otherwise."""

import numpy
import numpy as np
import pytest
import tf_keras

from qat.contract import Contract, apply
from qat.data import load
from qat.diagnosis.normalisations import USUAL, list_contracts, python_code
from qat.errors import ModelError
from qat.models.leading_layers import apply_scaling_layers, is_untrained
from qat.reporting import Progress, SummaryWriter
from qat.stages.contract_check import TO_PIXELS, check_contract
from qat.stages.kept_work import KeptWork
from qat.stages.run import Run

layers = tf_keras.layers
RNG = np.random.default_rng(0)
COLOURS = np.array([[60, 40, 20], [60, 80, 100], [140, 120, 100], [140, 160, 180], [220, 200, 180], [195, 210, 225]])
LABELS = np.arange(600) % len(COLOURS)
PIXELS = (COLOURS[LABELS][:, None, None] + RNG.integers(-20, 21, (600, 6, 6, 3))).astype(np.uint8)


def classifier(*first, trained=True, contract="raw / 255"):
    """Nearest mean colour of the pixels, once they are as `contract` makes them: trained in closed form."""
    head = layers.Dense(len(COLOURS), activation="softmax", name="head")
    model = tf_keras.Sequential([tf_keras.Input((6, 6, 3)), *first, layers.GlobalAveragePooling2D(), head])
    if trained:
        means = eval(python_code(contract), {"np": np, "raw": COLOURS[:, None, None]})[:, 0, 0]
        sharp = 40 / np.mean(np.ptp(means, axis=0)) ** 2
        head.set_weights([2 * sharp * means.T, -sharp * np.square(means).sum(axis=1)])
    return model


@pytest.fixture
def check(tiny, tmp_path):
    """check(model, *overrides, x=…): the check on a run whose data and model these are; its remarks."""

    def checked(model, *overrides, x=PIXELS, kind="saved"):
        np.savez(tmp_path / "set.npz", x=x, y=LABELS)
        (tmp_path / "model.keras").write_bytes(b"PK\3\4")
        model_options = {
            "saved": ("model=saved", f"model.path={tmp_path / 'model.keras'}"),
            "user": ("model=user", "model.target._target_=a.model"),
            "simple_cnn": (),
        }[kind]
        options = ("quant=float", "data=npz", f"data.path={tmp_path / 'set.npz'}", "log.tensorboard=false")
        config = tiny(*options, *model_options, "data.max_samples=null", *overrides)
        run = Run(
            config,
            tmp_path,
            load(config.data, 0, 0),
            Progress("off"),
            SummaryWriter(None),
            KeptWork(tmp_path, config, print),
        )
        check_contract(run, model)
        return run.remarks

    return checked


@pytest.mark.parametrize("name", USUAL)
def test_a_contract_is_the_normalisation_of_its_name(name):
    contract = dict(list_contracts(Contract((6, 6, 3), range=(0, 1))))[name]
    told = eval(python_code(name), {"np": np, "raw": PIXELS})
    np.testing.assert_allclose(apply(contract, PIXELS), told, atol=1e-4)


@pytest.mark.parametrize(
    ("contract", "options"),
    [
        ("raw", "data.range=[0,255]"),
        ("raw / 127.5 - 1", "data.range=[-1,1]"),
        ("(raw / 255 - mean) / std (ImageNet)", "data.mean=[0.485,0.456,0.406] data.std=[0.229,0.224,0.225]"),
        ("BGR minus caffe means", "data.colour_order=bgr"),
        ("raw / 255, BGR", "data.range=[0,1] data.colour_order=bgr"),
    ],
)
def test_a_model_of_another_contract_is_refused_with_the_options_that_mend_it(contract, options, check):
    model = classifier(contract=contract)
    with pytest.raises(ModelError) as refused:
        check(model)
    remedy = str(refused.value).rpartition("\n  ")[2]
    assert options in remedy
    assert "data.range=[0,1] (as now)" in str(refused.value)
    assert check(model, *remedy.split()) == []


def test_a_model_that_is_fed_as_it_was_trained_passes_in_silence(check, recwarn):
    assert check(classifier()) == []
    assert not recwarn.list


def test_a_trained_model_that_scales_inside_is_refused_for_pixels_that_are_scaled_already(check):
    model = classifier(layers.Rescaling(1 / 255))
    with pytest.raises(
        ModelError, match=r"(?s)100\.0%  data\.range=\[0,255\].*\(rescaling.*\) scale.*\n  data\.range=\[0,255\]$"
    ):
        check(model)
    assert check(model, "data.range=[0,255]") == []


@pytest.mark.parametrize(("low", "high"), TO_PIXELS)
def test_floats_that_are_scaled_already_are_to_be_handed_over_as_pixels(low, high, check):
    x = (PIXELS / 255 * (high - low) + low).astype(np.float32)
    model = classifier(layers.Rescaling(1 / 255))
    with pytest.raises(ModelError) as refused:
        check(model, x=x)
    assert TO_PIXELS[low, high] in str(refused.value)
    pixels = eval(TO_PIXELS[low, high], {"numpy": numpy, "x": x})
    np.testing.assert_array_equal(pixels, PIXELS)
    assert check(model, "data.range=[0,255]", x=pixels) == []


def test_pixels_that_are_floats_are_scaled_by_the_option(check):
    x = PIXELS.astype(np.float32)
    with pytest.raises(ModelError, match=r"data\.range=\[0,1\]$"):
        check(classifier(), x=x)
    assert check(classifier(), "data.range=[0,1]", x=x) == []


def test_a_model_at_chance_however_it_is_fed_goes_on_and_is_warned_of(check):
    model = classifier()
    model.layers[-1].set_weights([np.zeros((3, 6)), np.eye(6)[2] / 2])
    with pytest.warns(UserWarning, match="No usual contract is better"):
        remarks = check(model)
    assert "No usual contract is better: is it trained" in remarks[0]


def test_a_model_at_chance_that_scales_inside_is_refused_however_little_it_has_learnt(check):
    model = classifier(layers.Rescaling(1 / 255))
    model.layers[-1].set_weights([np.zeros((3, 6)), np.eye(6)[2] / 2])
    with pytest.raises(
        ModelError, match=r"(?s)15\.3%.*\(rescaling.*\) scale pixels themselves.*\n  data\.range=\[0,255\]$"
    ):
        check(model)


def test_an_untrained_model_is_not_scored_but_its_first_layers_are_read(check):
    assert check(classifier(trained=False), kind="user") == []
    model = classifier(layers.RandomFlip(), layers.Rescaling(1 / 127.5, -1), trained=False)
    with pytest.raises(ModelError, match=r"(?s)first layers \(rescaling.*data\.range=\[0,255\]"):
        check(model, kind="user")
    assert check(model, "data.range=[0,255]", kind="user") == []


def test_what_the_user_says_of_the_contract_of_an_untrained_model_stands(check):
    model = classifier(layers.Rescaling(1 / 255), trained=False)
    with pytest.warns(UserWarning, match="scale pixels themselves"):
        assert len(check(model, "data.range=[0,1]", kind="user")) == 1


def test_what_the_user_says_of_the_contract_does_not_stand_at_chance(check):
    with pytest.raises(ModelError, match=r"data\.range=\[0,255\]"):
        check(classifier(contract="raw"), "data.range=[-0.001,0.001]")


def test_models_that_the_run_makes_itself_are_not_asked(check):
    assert check(classifier(contract="raw"), kind="simple_cnn") == []


@pytest.mark.parametrize(
    ("make", "highest"),
    [
        (lambda x: x / 255.0 - 0.5, 0.5),
        (lambda x: tf_keras.applications.mobilenet_v2.preprocess_input(x), 1.0),
        (tf_keras.Sequential([layers.RandomFlip(), layers.Rescaling(1 / 51)]), 5.0),
        (layers.Normalization(mean=127.5, variance=127.5**2), 1.0),
    ],
)
def test_scaling_is_followed_whatever_it_is_written_as(make, highest):
    entry = tf_keras.Input((4, 4, 3))
    model = tf_keras.Model(entry, layers.Conv2D(2, 3)(make(entry)))
    names, values = apply_scaling_layers(model, np.full((1, 4, 4, 3), 255, np.float32))
    assert names
    np.testing.assert_allclose(values, highest, atol=1e-5)


def test_a_model_that_begins_with_weights_scales_nothing():
    model = classifier(layers.Conv2D(3, 1), layers.Rescaling(2.0))
    assert apply_scaling_layers(model, np.zeros((1, 6, 6, 3), np.float32)) is None


def test_weights_that_were_trained_are_distinguished_from_those_that_were_not():
    assert is_untrained(classifier(layers.BatchNormalization(), trained=False))
    assert not is_untrained(classifier())
