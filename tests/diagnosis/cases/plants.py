"""Plants faults: each function here makes one wrong file, or one wrong piece of app code, from a sound model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from qat.tflite.runtime.quiet import quiet

from .cifar_networks import BUILDERS, MEAN, STD, cifar, preprocess_of, swish_net, targets

INT8 = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]


def convert(
    model: Any,
    samples: Iterable[np.ndarray] | None = None,
    *,
    optimize: bool = True,
    io: Any = tf.int8,
    ops: Any = INT8,
    per_channel: bool = True,
    float16: bool = False,
) -> bytes:
    """The way people write it: TensorFlow's own converter, one sample per step."""
    converter = _converter(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT] if optimize else []
    if samples is not None:
        kept = [_step(sample) for sample in samples]
        converter.representative_dataset = lambda: iter(kept)
        converter.target_spec.supported_ops = ops
    if float16:
        converter.target_spec.supported_types = [tf.float16]
    if io is not None:
        converter.inference_input_type = converter.inference_output_type = io
    converter._experimental_disable_per_channel = not per_channel
    with quiet():
        return converter.convert()


def _converter(model: Any) -> Any:
    """A recurrent layer converts with a fixed batch only, and by way of a SavedModel."""
    if not any(isinstance(layer, (tf_keras.layers.LSTM, tf_keras.layers.GRU)) for layer in model.layers):
        return tf.lite.TFLiteConverter.from_keras_model(model)
    spec = tf.TensorSpec([1, *model.input.shape[1:]], model.input.dtype)
    function = tf.function(lambda x: model(x)).get_concrete_function(spec)
    folder = tempfile.TemporaryDirectory()
    model.save(folder.name, save_format="tf", signatures=function)
    converter = tf.lite.TFLiteConverter.from_saved_model(folder.name)
    converter.folder = folder  # it is read when the converter converts, and goes with it
    return converter


def _step(sample: Any) -> Any:
    """One step of a representative dataset: a list for one input, a dictionary by name for several."""
    if isinstance(sample, dict):
        return {name: np.asarray(part, np.float32)[None] for name, part in sample.items()}
    return [np.asarray(sample, np.float32)[None]]


def calibration(name: str, count: int = 200) -> np.ndarray:
    return preprocess_of(name)(cifar()["x_train"][:count])


def one_class(name: str, count: int = 200) -> np.ndarray:
    data = cifar()
    return preprocess_of(name)(data["x_train"][data["y_train"].reshape(-1) == 0][:count])


def imbalanced(model: Any, factor: float = 40.0) -> Any:
    """Channels of the layer before a depthwise kernel divided, the kernel multiplied: the float function stays."""
    changed = tf_keras.models.clone_model(model)
    changed.set_weights(model.get_weights())
    for index, before in ((0, "stem_bn"), (1, "pw0_bn"), (2, "pw1_bn")):
        norm, depthwise = changed.get_layer(before), changed.get_layer(f"dw{index}")
        gamma, beta, *rest = norm.get_weights()
        kernel = depthwise.get_weights()[0].copy()
        few = np.arange(len(gamma) // 8)
        gamma[few] /= factor
        beta[few] /= factor
        kernel[:, :, few] *= factor
        norm.set_weights([gamma, beta, *rest])
        depthwise.set_weights([kernel])
    return changed


def wide(model: Any, factor: float = 64.0) -> Any:
    """Some channels of a residual sum 64 times larger, the next layer's kernel smaller: the float function stays."""
    changed = tf_keras.models.clone_model(model)
    changed.set_weights(model.get_weights())
    inputs = changed.input
    few = np.zeros(48, np.float32)
    few[:6] = 1
    gain = (1 + few * (factor - 1)).astype(np.float32)
    layers = {layer.name: layer for layer in changed.layers}
    x = inputs
    for name in ("stem_conv", "stem_bn", "stem_swish", "down_conv", "down_bn", "down_swish"):
        x = layers[name](x)
    inner = x
    for name in ("branch_conv", "branch_bn", "branch_swish"):
        inner = layers[name](inner)
    inner = layers["project"](inner)
    scaled = tf_keras.layers.DepthwiseConv2D(1, use_bias=False, name="gain")
    x = layers["sum"]([scaled(x), inner])
    kernel = layers["project"].get_weights()[0] * gain
    layers["project"].set_weights([kernel])
    scaled.set_weights([gain.reshape(1, 1, 48, 1)])
    mix = layers["mix"].get_weights()[0] / gain[None, None, :, None]
    for name in ("mix", "mix_bn", "mix_swish", "pool", "logits", "softmax"):
        x = layers[name](x)
    layers["mix"].set_weights([mix])
    return tf_keras.Model(inputs, x)


def always_dropping(model: Any) -> Any:
    """Dropout left in training mode, behind the pooling."""
    x = model.get_layer("pool").output
    x = tf_keras.layers.Dropout(0.5)(x, training=True)
    x = model.get_layer("softmax")(model.get_layer("logits")(x))
    return tf_keras.Model(model.input, x)


def qat_stock(model: Any, name: str, steps: int, rate: float = 1e-4, batch: int = 32) -> Any:
    """Stock tfmot, trained for so many steps."""
    import tensorflow_model_optimization as tfmot

    data = cifar()
    wrapped = tfmot.quantization.keras.quantize_model(model)
    wrapped.compile(tf_keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    x, y = preprocess_of(name)(data["x_train"]), targets(name, data["y_train"].reshape(-1).astype(np.int64))
    order = np.resize(np.random.default_rng(0).permutation(len(x)), steps * batch)
    if steps:
        wrapped.fit(x[order], y[order], batch_size=batch, epochs=1, shuffle=False, verbose=0)
    return wrapped


def fresh(name: str) -> Any:
    tf_keras.utils.set_random_seed(99)
    return BUILDERS[name]()


def detector() -> Any:
    """M5: a box in pixels (0-640) and class scores in one tensor, as detectors export it."""
    tf_keras.utils.set_random_seed(5)
    image = tf_keras.Input((32, 32, 3), name="image")
    x = tf_keras.layers.Conv2D(16, 3, 2, activation="relu")(image)
    x = tf_keras.layers.Conv2D(24, 3, 2, activation="relu")(x)
    x = tf_keras.layers.Reshape((-1, 24))(x)
    boxes = tf_keras.layers.Dense(4, activation="sigmoid")(x) * 640.0
    scores = tf_keras.layers.Dense(3, activation="sigmoid")(x)
    return tf_keras.Model(image, tf_keras.layers.Concatenate()([boxes, scores]))


def app(
    make_inputs: Callable[[np.ndarray], np.ndarray], make_codes: Callable[..., np.ndarray] | None = None
) -> Callable[[np.ndarray, bytes], np.ndarray]:
    """An app's inference: preprocess, quantize (rightly, unless `make_codes` says otherwise), run, dequantize."""

    def run(raw: np.ndarray, content: bytes) -> np.ndarray:
        interpreter = tf.lite.Interpreter(model_content=content)
        interpreter.allocate_tensors()
        taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        found = []
        for sample in make_inputs(raw):
            interpreter.set_tensor(taken["index"], (make_codes or right_codes)(sample, taken)[None])
            interpreter.invoke()
            found.append(dequantized(interpreter.get_tensor(given["index"])[0], given))
        return np.stack(found)

    return run


def right_codes(sample: np.ndarray, detail: Any) -> np.ndarray:
    scale, zero_point = detail["quantization"]
    if not scale:
        return sample.astype(detail["dtype"])
    info = np.iinfo(detail["dtype"])
    return np.clip(np.round(sample / scale) + zero_point, info.min, info.max).astype(detail["dtype"])


def dequantized(codes: np.ndarray, detail: Any) -> np.ndarray:
    scale, zero_point = detail["quantization"]
    return (codes.astype(np.float32) - zero_point) * scale if scale else codes


__all__ = ["MEAN", "STD", "swish_net"]
