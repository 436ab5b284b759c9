"""The bars on real data and published models; skipped, saying what is missing, where these are not found."""

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow_model_optimization as tfmot
import tf_keras

from qat.metrics import accuracy
from qat.models import load
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert

SHARED = Path(os.environ.get("QAT_SHARED", Path(__file__).resolve().parents[3] / "shared"))
pytestmark = pytest.mark.slow


def present(*paths):
    missing = [path for path in paths if not (SHARED / path).exists()]
    if missing:
        pytest.skip(f"not found under {SHARED}: {', '.join(missing)} (set QAT_SHARED to where they are)")
    return [SHARED / path for path in paths]


def points(scores, labels):
    return 100 * accuracy(scores, labels)


def test_an_untrained_resnet8_is_within_half_a_point_of_post_training_quantization():
    weights, data = present("models/mlperf_tiny/pretrainedResnet.h5", "data/cifar10/cifar10.npz")
    model, found = load(str(weights)), np.load(data)
    calibration = found["x_train"][:256].astype(np.float32)
    x, y = found["x_test"][:2000].astype(np.float32), found["y_test"][:2000].astype(np.int64)
    ours = quantize_model(model, calibration)
    simulated = points(ours.predict(x, verbose=0), y)
    assert (
        abs(simulated - points(Interpreter(convert(model, calibration=calibration, engine="tflite")).predict(x), y))
        <= 0.5
    )
    assert abs(simulated - points(Interpreter(convert(ours)).predict(x), y)) <= 0.3
    stock = tfmot.quantization.keras.quantize_model(model)
    assert points(stock.predict(x[:500], verbose=0), y[:500]) < 20


def rescale_depthwise(model):
    """Depthwise channels times 1e-2..10, undone in the BatchNormalization that follows: the same float function."""
    random = np.random.default_rng(0)
    for i, layer in enumerate(model.layers):
        if isinstance(layer, tf_keras.layers.DepthwiseConv2D):
            factors = 10 ** random.uniform(-2, 1, layer.depthwise_kernel.shape[2]).astype(np.float32)
            norm = next(n for n in model.layers[i + 1 :] if isinstance(n, tf_keras.layers.BatchNormalization))
            layer.depthwise_kernel.assign(layer.depthwise_kernel * factors[:, None])
            if layer.use_bias:
                layer.bias.assign(layer.bias * factors)
            norm.moving_mean.assign(norm.moving_mean * factors)
            norm.gamma.assign(norm.gamma / factors)


def test_depthwise_channels_of_very_different_size_keep_the_accuracy():
    weights, data = present(
        "models/mlperf_tiny/kws_ref_model", "data/speech_commands_test/speech_commands_v2_test_mfcc49x10.npz"
    )
    model, found = load(str(weights)), np.load(data)
    rescale_depthwise(model)
    order = np.random.default_rng(0).permutation(len(found["y"]))
    x, y = found["x"].astype(np.float32)[order], found["y"].astype(np.int64)[order]
    content = convert(quantize_model(model, x[:256]))
    reference = points(model.predict(x[256:2256], verbose=0), y[256:2256])
    assert reference > 90
    found = Interpreter(content, check_range=False).predict(x[256:2256])
    assert points(found, y[256:2256]) >= reference - 0.5
