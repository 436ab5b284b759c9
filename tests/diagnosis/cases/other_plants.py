"""Planted faults of the second set: changed networks and files, and apps written in different ways."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from . import networks as models
from . import plants as plant

# ---- networks whose float function stays, or that were changed on the way to the file


def beyond_float16(model: Any) -> Any:
    """Kernels of one layer a billion times larger, of the next as much smaller: ReLU lets the function be."""
    changed = copied(model)
    first, second = [layer for layer in changed.layers if isinstance(layer, tf_keras.layers.Dense)][-2:]
    first.set_weights([w * np.float32(1e9) for w in first.get_weights()])
    kernel, bias = second.get_weights()
    second.set_weights([kernel / np.float32(1e9), bias])
    return changed


def copied(model: Any) -> Any:
    changed = tf_keras.models.clone_model(model)
    changed.set_weights(model.get_weights())
    return changed


def uneven(model: Any, where: str, factor: float = 300.0) -> Any:
    """Channels of one layer larger, the next layer's kernel smaller for them: the float function stays.

    "activations": a few channels large, so that one scale per tensor cannot hold them all. "depthwise": a depthwise
    kernel of uneven channels, which one scale per channel can hold; the clipping of ReLU6 is kept open.
    """
    changed = copied(model)
    if where == "activations":
        first, second = _linear_pair(changed)
        few = np.arange(max(1, first.get_weights()[0].shape[-1] // 8))
        gain = np.ones(first.get_weights()[0].shape[-1], np.float32)
        gain[few] = factor
        norm = next((n for n in changed.layers if isinstance(n, tf_keras.layers.BatchNormalization)), None)
        if norm is not None:
            gamma, beta, *rest = norm.get_weights()
            norm.set_weights([gamma * gain, beta * gain, *rest])
        else:
            kernel, bias = first.get_weights()
            first.set_weights([kernel * gain, bias * gain])
        kernel, *rest = second.get_weights()
        second.set_weights([kernel / gain[:, None], *rest])
        return changed
    weighted = [layer for layer in changed.layers if isinstance(layer, tf_keras.layers.DepthwiseConv2D)]
    for layer in weighted:
        before = changed.layers[changed.layers.index(layer) - 2]  # its BatchNormalization, then ReLU
        gain = np.ones(layer.get_weights()[0].shape[2], np.float32)
        gain[: len(gain) // 8] = factor
        gamma, beta, *rest = before.get_weights()
        before.set_weights([gamma / gain, beta / gain, *rest])
        layer.set_weights([layer.get_weights()[0] * gain[:, None]])
    return changed


def _linear_pair(model: Any) -> tuple[Any, Any]:
    kinds = (tf_keras.layers.Conv2D, tf_keras.layers.Conv1D)
    found = [layer for layer in model.layers if isinstance(layer, kinds) and type(layer) in kinds]
    return found[0], found[1]


def closed_softmax(model: Any) -> Any:
    """Probabilities so close to each other that 1/256 cannot tell them apart; the argmax in float stays."""
    last = model.layers[-1]
    kernel, bias = last.get_weights()
    x = model.layers[-2].output
    logits = tf_keras.layers.Dense(kernel.shape[1], activation="softmax", name="closed")
    changed = tf_keras.Model(model.input, logits(x))
    logits.set_weights([kernel / 150, bias / 150])
    return copied(changed)


def bound_by_dropout(model: Any, kind: str) -> Any:
    """A layer left in training mode before the last one."""
    layer = tf_keras.layers.Dropout(0.5) if kind == "dropout" else tf_keras.layers.GaussianNoise(1.0)
    return tf_keras.Model(model.input, model.layers[-1](layer(model.layers[-2].output, training=True)))


def in_one_tensor(model: Any) -> Any:
    kind, box = model.outputs
    return tf_keras.Model(model.input, tf_keras.layers.Concatenate()([tf_keras.layers.Rescaling(640.0)(box), kind]))


def with_other_activation(model: Any) -> Any:
    """Equal weights, but what stands for relu is bounded: as a broken converter would write it."""
    config = model.get_config()
    for layer in config["layers"]:
        if layer["config"].get("activation") == "relu":
            layer["config"]["activation"] = "sigmoid"
    changed = type(model).from_config(config)
    changed.set_weights(model.get_weights())
    return changed


def with_scale_of_logistic(content: bytes) -> bytes:
    """A file whose LOGISTIC says that its codes mean half as much."""
    from qat.tflite.editing import apply_edit

    def change(unpacked: Any) -> None:
        graph = unpacked.subgraphs[0]
        for index in graph.outputs:
            graph.tensors[index].quantization.scale = np.float32([1 / 512])

    return apply_edit(content, change)


def tflite_with_metadata(content: bytes, mean: float, std: float) -> bytes:
    """Metadata as the TFLite support library writes it, saying (raw - mean) / std."""
    from qat.contract import Contract
    from qat.tflite import read
    from qat.tflite.editing import apply_edit, set_metadata
    from qat.tflite.task_metadata import METADATA_NAME, write_entry

    graph = read(content)
    contract = Contract(tuple(graph.inputs[0].shape[1:]), range=(-mean / std, (255 - mean) / std))
    return apply_edit(
        content, lambda unpacked: set_metadata(unpacked, {METADATA_NAME: write_entry(graph, contract, ())})
    )


def quantized_in_training(model: Any, name: str, steps: int, rate: float = 1e-4, partly: bool = False) -> Any:
    """Stock tfmot on that network; `partly` leaves the first weighted layers without annotation."""
    import tensorflow_model_optimization as tfmot

    keras, network = tfmot.quantization.keras, models.NETWORKS[name]
    if partly:
        left = [layer.name for layer in model.layers if layer.weights][1:3]
        annotated = tf_keras.models.clone_model(
            model, clone_function=lambda each: each if each.name in left else keras.quantize_annotate_layer(each)
        )
        wrapped = keras.quantize_apply(annotated)
    else:
        wrapped = keras.quantize_model(model)
    wrapped.compile(tf_keras.optimizers.Adam(rate), network.loss)
    data = network.data()
    order = np.resize(np.random.default_rng(0).permutation(len(data.x_train)), steps * 32)
    if steps:
        wrapped.fit(
            network.preprocess(data.x_train[order]),
            np.asarray(data.y_train)[order],
            batch_size=32,
            shuffle=False,
            verbose=0,
        )
    return wrapped


def jpeg(images: np.ndarray, quality: int) -> np.ndarray:
    from PIL import Image

    def through(image: np.ndarray) -> np.ndarray:
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "JPEG", quality=quality)
        return np.asarray(Image.open(stream))

    return np.stack([through(image) for image in images])


# ---- apps


def raw_codes(content: bytes, real: np.ndarray) -> np.ndarray:
    """What stands in the output tensor, sample by sample."""
    interpreter = tf.lite.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    found = []
    for sample in real:
        interpreter.set_tensor(taken["index"], plant.right_codes(sample, taken)[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(given["index"])[0])
    return np.stack(found)


def answers(
    make_inputs: Callable[[np.ndarray], np.ndarray],
    *,
    codes: str = "right",
    give: str = "scores",
    batch: bool = False,
    only_first: bool = False,
    shift: int = 0,
    order: tuple[int, ...] = (),
    output: int | None = None,
    fresh: bool = False,
) -> Callable[[np.ndarray, bytes], Any]:
    """An app: how it makes codes, in batches or one by one, and what it makes of the outputs."""

    def run(raw: np.ndarray, content: bytes) -> Any:
        interpreter = tf.lite.Interpreter(model_content=content)
        interpreter.allocate_tensors()
        taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()
        fed = np.stack([_codes(sample, taken, given[0], codes) for sample in make_inputs(raw)])
        if batch:
            interpreter.resize_tensor_input(taken["index"], fed.shape)
            interpreter.allocate_tensors()
        if only_first:
            fed[1:] = 0
        found: list[list[np.ndarray]] = [[] for _ in given]
        for part in [fed] if batch else [sample[None] for sample in fed]:
            if give == "late":
                for place, detail in enumerate(given):
                    found[place].append(interpreter.get_tensor(detail["index"]))
            if fresh:
                interpreter.reset_all_variables()
            interpreter.set_tensor(taken["index"], part)
            interpreter.invoke()
            if give != "late":
                for place, detail in enumerate(given):
                    found[place].append(interpreter.get_tensor(detail["index"]))
        joined = [np.concatenate(parts) for parts in found]
        return _answer(joined, given, give, shift, order, output)

    return run


def _codes(sample: np.ndarray, taken: Any, given: Any, how: str) -> np.ndarray:
    scale, zero = taken["quantization"]
    info = np.iinfo(taken["dtype"]) if taken["dtype"] != np.float32 else None
    if how == "cast":
        return sample.astype(taken["dtype"])
    if how == "none":
        return sample
    if how == "wrap":
        return sample.astype(np.int8)
    if how == "no_zero":
        return np.clip(np.round(sample / scale), info.min, info.max).astype(taken["dtype"])
    if how == "outputs":
        scale, zero = given["quantization"]
        return np.clip(np.round(sample / scale + zero), info.min, info.max).astype(taken["dtype"])
    return plant.right_codes(sample, taken)


def _answer(codes: list, details: list, give: str, shift: int, order: tuple[int, ...], output: int | None) -> Any:
    scores = [plant.dequantized(c, d) for c, d in zip(codes, details, strict=True)]
    if give in ("all", "all_swapped"):
        # the classes have three columns, the box four; the swapped app takes the file's order the wrong way round
        ordered = sorted(scores, key=lambda each: each.shape[-1])
        return ordered if give == "all" else ordered[::-1]
    first = scores[0] if output is None else next(s for s in scores if s.shape[-1] == 3)
    if order:
        first = first[:, list(order)]
    if give == "codes":
        return codes[0].astype(np.float32)
    if give == "as_uint8_is_int8":
        return (codes[0].astype(np.float32) - 128) / 256
    if give == "softmax":
        powers = np.exp(first - first.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)
    if give == "labels":
        return (first.argmax(axis=1) if first.shape[1] > 1 else (first[:, 0] > 0.5).astype(np.int64)) + shift
    if give == "inverted":
        return 1 - first
    if give == "stale":
        return np.repeat(first[-1:], len(first), axis=0)
    if give == "smoothed":
        smooth = first.copy()
        for i in range(1, len(smooth)):
            smooth[i] = 0.8 * smooth[i - 1] + 0.2 * first[i]
        return smooth
    return first


def feeds(make_inputs: Callable, swapped: bool = False) -> Callable[[np.ndarray, bytes], np.ndarray]:
    """An app of a model with two inputs: by shape, or as they come."""

    def run(raw: np.ndarray, content: bytes) -> np.ndarray:
        interpreter = tf.lite.Interpreter(model_content=content)
        interpreter.allocate_tensors()
        taken, given = interpreter.get_input_details(), interpreter.get_output_details()[0]
        found = []
        for sample in zip(*make_inputs(raw), strict=True):
            for detail in taken:
                named = [place for place, name in enumerate(("near", "far")) if name in detail["name"]]
                part = (
                    sample[named[0] ^ swapped]
                    if named
                    else next(p for p in sample if p.ndim == len(detail["shape"]) - 1)
                )
                interpreter.set_tensor(detail["index"], plant.right_codes(part, detail)[None])
            interpreter.invoke()
            found.append(plant.dequantized(interpreter.get_tensor(given["index"])[0], given))
        return np.stack(found)

    return run
