"""Global policies of precision, and strategies whose scope is around `quantize_model`."""

import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.metrics import sqnr_db
from qat.quantization import quantize_model
from qat.quantization.keras.in_float32 import in_float32
from qat.tflite import Interpreter, convert, verify

POLICIES = ["mixed_float16", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mixed_bfloat16", "float64"))]
KINDS = np.random.default_rng(1).integers(0, 3, 128)
IMAGES = np.random.default_rng(0).normal(KINDS[:, None, None, None] * 0.4, 0.7, (128, 6, 6, 2)).astype(np.float32)


def network():
    tf_keras.utils.set_random_seed(5)
    image = tf_keras.Input((6, 6, 2), name="image")
    x = layers.Conv2D(6, 3, use_bias=False, kernel_regularizer="l2", name="conv")(image)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.5, name="norm")(x))
    x = layers.Dense(5, activation="relu", name="hidden")(layers.GlobalAveragePooling2D()(layers.Dropout(0.0)(x)))
    x = layers.Dense(3, name="head")(x)
    return tf_keras.Model(image, layers.Activation("softmax", dtype="float32")(x), name="net")


def recurrent_network():
    tf_keras.utils.set_random_seed(5)
    image = tf_keras.Input((6, 6, 2), name="image")
    x = layers.LSTM(5, return_sequences=True, name="lstm")(layers.Reshape((6, 12))(image))
    x = layers.GRU(4, name="gru")(x)
    return tf_keras.Model(image, layers.Dense(3, activation="softmax", dtype="float32", name="head")(x), name="net")


def test_a_layer_named_like_a_dtype_keeps_its_name_in_float32():
    entry = tf_keras.Input((4,), name="float64", dtype="float64")
    x = layers.LSTM(3, dtype="float64")(layers.Reshape((2, 2), dtype="float64")(entry))
    model = tf_keras.Model(entry, layers.Dense(2, dtype="float64")(x))
    quantized = quantize_model(model, np.random.default_rng(0).normal(size=(128, 4)))
    replica = in_float32(quantized)
    assert [layer.name for layer in replica.layers] == [layer.name for layer in quantized.layers]
    assert {variable.dtype.name for variable in replica.variables} == {"float32"}
    assert Interpreter(convert(quantized)).input_names == ("float64",)


@pytest.fixture
def policy():
    """Sets a global one for the test alone."""
    yield tf_keras.mixed_precision.set_global_policy
    tf_keras.mixed_precision.set_global_policy("float32")


def fitted(model):
    model.compile(tf_keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy")
    return model.fit(IMAGES, KINDS, epochs=2, batch_size=32, shuffle=False, verbose=0).history["loss"]


@pytest.mark.medium
@pytest.mark.parametrize("name", POLICIES)
def test_a_global_policy_changes_nothing_for_a_float32_model(name, policy, tmp_path):
    float_model = network()
    alone = quantize_model(float_model, IMAGES)
    expected = fitted(alone)
    policy(name)
    model = quantize_model(float_model, IMAGES)
    assert fitted(model) == pytest.approx(expected, rel=1e-5)
    assert {variable.dtype.name for variable in model.trainable_variables} == {"float32"}
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), alone.predict(IMAGES, verbose=0), rtol=1e-5, atol=1e-6)
    model.save(tmp_path / "model.keras")
    model.save(tmp_path / "model.h5")
    for file in ("model.keras", "model.h5"):
        again = tf_keras.models.load_model(tmp_path / file)
        np.testing.assert_array_equal(again.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0))
        assert convert(again) == convert(model)


@pytest.mark.medium
@pytest.mark.parametrize("build", [network, pytest.param(recurrent_network, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", POLICIES)
def test_a_model_made_under_a_policy_is_quantized_trains_and_is_exported(name, build, policy, tmp_path):
    policy(name)
    float_model = build()
    before = float_model.get_weights()
    model = quantize_model(float_model, IMAGES)
    wide = [v.dtype for v in float_model.trainable_variables]
    assert [v.dtype for v in model.trainable_variables] == wide
    near, mine = fitted(float_model), fitted(model)
    assert mine == pytest.approx(near, rel=0.05)
    float_model.set_weights(before)
    model.save(tmp_path / "model.keras")
    policy("float32")
    again = tf_keras.models.load_model(tmp_path / "model.keras")
    answers = again.predict(IMAGES, verbose=0)
    np.testing.assert_array_equal(answers, model.predict(IMAGES, verbose=0))
    file = convert(again)
    assert verify(file).integer_only
    assert sqnr_db(answers, Interpreter(file).predict(IMAGES)) > 40


SCOPES = """
import json, os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import qat
import numpy as np, tensorflow as tf, tf_keras
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from contextlib import nullcontext
from tests.quantization.test_policies_and_scopes import IMAGES, KINDS, fitted, network, recurrent_network
from qat.quantization import quantize_model
from qat.tflite import convert, verify

def trained(build, around_build, around_quantize, around_fit):
    with around_build():
        float_model = build()
    before = float_model.get_weights()
    with around_quantize():
        model = quantize_model(float_model, IMAGES)
    with around_fit():
        losses = fitted(model)
    assert all(np.array_equal(a, b) for a, b in zip(before, float_model.get_weights()))
    return model, losses

build, count = {"network": network, "recurrent_network": recurrent_network}[sys.argv[1]], int(sys.argv[2])
alone, losses = trained(build, nullcontext, nullcontext, nullcontext)
strategy = tf.distribute.MirroredStrategy([f"/cpu:{i}" for i in range(count)])
ways = {
    "built and quantized": (strategy.scope, strategy.scope, strategy.scope),
    "quantized": (nullcontext, strategy.scope, strategy.scope),
    "quantized, fitted outside": (nullcontext, strategy.scope, nullcontext),
    "built": (strategy.scope, nullcontext, nullcontext),
}
found = {}
for way, scopes in ways.items():
    try:
        model, mine = trained(build, *scopes)
        found[way] = {
            "losses": float(np.abs(np.subtract(mine, losses)).max()),
            "weights": max(float(np.abs(a - b).max()) for a, b in zip(model.get_weights(), alone.get_weights())),
            "integer_only": verify(convert(model)).integer_only,
            "answers": float(np.abs(model.predict(IMAGES, verbose=0) - alone.predict(IMAGES, verbose=0)).max()),
        }
    except Exception as error:
        import traceback
        found[way] = {"error": f"{type(error).__name__}: {str(error)[:600]} {traceback.format_exc()[-900:]}"}
print(json.dumps(found))
"""


@lru_cache
def under_strategies(build, count):
    """What came of each way, by one process for each network and number of replicas: all strategies of a process give
    their groups of replicas the same keys, and TensorFlow's collectives refuse a key for a group of another size."""
    done = subprocess.run(
        [sys.executable, "-c", SCOPES, build.__name__, str(count)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.slow
@pytest.mark.timeout(1800)  # the first of four trains five models in a process of its own: a minute of the processor
@pytest.mark.parametrize("way", ["built and quantized", "quantized", "quantized, fitted outside", "built"])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("build", [network, recurrent_network])
def test_under_a_strategy_it_trains_as_without(build, count, way):
    found = under_strategies(build, count)[way]
    assert "error" not in found, found["error"]
    assert found["losses"] < 1e-4
    assert found["weights"] < 1e-4
    assert found["answers"] < 0.01  # a code or two
    assert found["integer_only"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "file"), [("mixed_float16", "model.keras"), ("mixed_bfloat16", "model.h5")])
def test_a_saved_mixed_model_goes_through_the_command_line(name, file, policy, tmp_path):
    policy(name)
    image = tf_keras.Input((8, 8, 1), name="image")
    x = layers.BatchNormalization()(layers.Conv2D(8, 3, activation="relu")(image))
    x = layers.Dense(10)(layers.GlobalAveragePooling2D()(x))
    tf_keras.Model(image, layers.Activation("softmax", dtype="float32")(x)).save(tmp_path / file)
    data = ("data=digits", "data.image_size=[8,8]", "data.channels=1")
    job = ("debug=tiny", "model=saved", f"model.path={file}", "quant=qat", "hydra.run.dir=run", "log.tensorboard=false")
    done = subprocess.run(
        [sys.executable, "-m", "qat.train", *data, *job],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    variants = json.loads((tmp_path / "run" / "results.json").read_text())["variants"]
    assert set(variants) >= {"float", "qat_int8"}
    assert variants["qat_int8"]["integer_only"]


@pytest.mark.parametrize("name", ["mixed_float16", "mixed_bfloat16"])
def test_spectral_normalization_trains_under_a_policy_as_in_float(name, policy):
    policy(name)
    tf_keras.utils.set_random_seed(5)
    x = layers.SpectralNormalization(layers.Conv2D(4, 3))(image := tf_keras.Input((6, 6, 2)))
    x = layers.Dense(3, activation="softmax", dtype="float32")(layers.GlobalAveragePooling2D()(x))
    model = tf_keras.Model(image, x)
    quantized = quantize_model(model, IMAGES)
    quantized.fake_quantization(False)
    np.testing.assert_allclose(fitted(quantized), fitted(model), rtol=0.02)
