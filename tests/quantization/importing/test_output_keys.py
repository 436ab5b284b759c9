"""Models whose call gives other keys in training than at inference: each output is found by its key, in both modes."""

import warnings

import keras
import numpy as np
import pytest
import tf_keras

from qat.errors import TrainingSemanticsWarning
from qat.quantization import quantize_model
from qat.quantization.importing.output_keys import given_in_training

ROWS = np.random.default_rng(0).normal(size=(128, 5)).astype(np.float32)
BOTH = pytest.mark.parametrize("of", [tf_keras, keras], ids=["keras2", "keras3"])


def keyed(of, give, size=10):
    """A model that gives what `give` says of two layers, in training and at inference."""

    class Keyed(of.Model):
        def __init__(self):
            super().__init__()
            self.first, self.second = of.layers.Dense(8), of.layers.Dense(size)
            self.drop = of.layers.Dropout(0.5)

        def call(self, x, training=False):
            z = self.drop(self.first(x), training=training)
            return give(z, self.second(z), training)

    of.utils.set_random_seed(0)
    model = Keyed()
    model(ROWS[:2])
    return model


def more_at_inference(z, other, training):
    return {"z": z} if training else {"a": other, "z": z}


def more_in_training(z, other, training):
    return {"a": other, "z": z} if training else {"z": z}


def quiet(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingSemanticsWarning)
        made = quantize_model(model, ROWS)
    made.fake_quantization(False)
    return made


@BOTH
@pytest.mark.parametrize("size", [8, 10])
def test_a_key_that_only_inference_gives(of, size, tmp_path):
    model = keyed(of, more_at_inference, size)
    made = quiet(model)
    made.compile("sgd", {"z": "mse"})
    assert np.isfinite(made.fit(ROWS, {"z": np.ones((128, 8))}, verbose=0).history["loss"]).all()
    made.save(tmp_path / "model.keras")
    for each in (made, of.models.load_model(tmp_path / "model.keras")):
        wanted, given = each(ROWS), each(ROWS, training=True)
        assert set(wanted) == {"a", "z"}
        assert set(given) == {"z"}
        assert np.abs(given["z"] - wanted["z"]).max() > 0.1  # it drops
        assert wanted["a"].shape == (128, size)


@BOTH
def test_what_both_give_is_that_of_the_float_model(of):
    model = keyed(of, lambda z, other, training: {"z": z * 2} if training else {"a": other, "z": z})
    model.drop.rate = 0.0
    made = quiet(model)
    np.testing.assert_allclose(made(ROWS, training=True)["z"], model(ROWS, training=True)["z"], rtol=1e-4, atol=1e-5)
    for key, values in model(ROWS).items():
        np.testing.assert_allclose(made(ROWS)[key], values, rtol=1e-4, atol=1e-4)


@BOTH
def test_a_key_that_only_training_gives_is_said_by_its_name(of):
    with pytest.warns(TrainingSemanticsWarning, match="output 'a': the model gives it in training alone"):
        made = quantize_model(keyed(of, more_in_training), ROWS)
    assert set(made(ROWS)) == set(made(ROWS, training=True)) == {"z"}


def test_outputs_are_nested_as_training_nests_them():
    assert given_in_training(None, {"a": 1, "z": 2}) == {"a": 1, "z": 2}
    assert given_in_training({"b": [1]}, {"a": 1, "z": 2}) == {"b": [2]}


@BOTH
@pytest.mark.parametrize(
    ("give", "counts"),
    [
        (lambda z, other, training: (other, z) if training else (z,), "2 outputs in training and 1"),
        (lambda z, other, training: [other] if training else [z, other], "1 outputs in training and 2"),
        (lambda z, other, training: {"0": z} if training else [z, other], "1 outputs in training and 2"),
    ],
    ids=["more_in_training", "more_at_inference", "keys_for_a_list"],
)
def test_outputs_of_lists_and_tuples_are_not_matched_by_their_places(of, give, counts):
    model = keyed(of, give, 8)
    model.drop.rate = 0.0
    with pytest.warns(TrainingSemanticsWarning, match=f"it gives {counts} at inference; let it give"):
        made = quantize_model(model, ROWS)
    made.fake_quantization(False)
    wanted, given = np.asarray(model(ROWS)), np.asarray(made(ROWS, training=True))
    np.testing.assert_allclose(given.reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-4)


@BOTH
def test_a_list_under_a_key_that_only_one_mode_gives_is_matched(of):
    made = quiet(keyed(of, lambda z, other, training: {"z": z} if training else {"z": z, "aux": {"a": [other, z]}}))
    assert set(made(ROWS, training=True)) == {"z"}
    assert len(made(ROWS)["aux"]["a"]) == 2


@BOTH
def test_what_training_alone_gives_leaves_no_empty_container_behind(of):
    def give(z, other, training):
        return {"z": z, "aux": {"a": other}} if training else {"z": z, "b": other}

    with pytest.warns(TrainingSemanticsWarning, match="output 'aux/a': the model gives it in training alone"):
        made = quantize_model(keyed(of, give), ROWS)
    assert set(made(ROWS, training=True)) == {"z"}
