"""The child of scripts/coverage: one application of tf_keras, one of the two ways to int8, one JSON file.

    TF_USE_LEGACY_KERAS=1 .venv/bin/python -m scripts.parts.coverage.one_model MobileNet ours row.json

The file is written after each phase, so that a run which is stopped from outside still says how far it came.
"""

from __future__ import annotations

import ctypes
import gc
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import tf_keras

from qat.codes import quantize
from qat.metrics import sqnr_db
from qat.quantization import quantize_model
from qat.quantization.keras.arithmetic import integer_arithmetic
from qat.quantization.keras.deep_recursion import deep_recursion
from qat.quantization.keras.op import Op
from qat.quantization.schedule import batch_norm_layers, freeze_batch_norm
from qat.tflite import Interpreter, convert, read, verify
from qat.tflite.editing import apply_edit
from qat.tflite.graph import Tensor

SIZES = (32, 64, 71, 75, 96, 128, 224)  # tried in this order, the first one that the constructor takes is used
CALIBRATION_ROWS, PARITY_ROWS, STATISTICS_ROWS, TRAINING_ROWS = 8, 4, 32, 2
LOGIT_STD = 3.0


class Row:
    """What is known so far, on disk after each phase."""

    def __init__(self, path: Path) -> None:
        self.path, self.values = path, {"phase": "import", "seconds": {}}

    def note(self, **values: Any) -> None:
        self.values |= values
        self.values["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        self.path.write_text(json.dumps(self.values))

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self.note(phase=name)
        start = time.perf_counter()
        yield
        self.values["seconds"][name] = round(time.perf_counter() - start, 1)
        self.note()

    def failed(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        """The excepthook: the refusal or failure is a result like any other."""
        self.note(error=kind.__name__, message=str(error)[:1000] + str(error)[1000:][-2000:])
        sys.__excepthook__(kind, error, trace)


def smallest(constructor: Callable[..., tf_keras.Model]) -> tf_keras.Model:
    """The application without its published weights, at the smallest input of SIZES that it accepts."""
    for size in SIZES[:-1]:
        try:
            return constructor(weights=None, input_shape=(size, size, 3))
        except ValueError as refusal:
            print(f"{size}x{size}: {str(refusal).splitlines()[0]}", file=sys.stderr)
    return constructor(weights=None, input_shape=(SIZES[-1], SIZES[-1], 3))


def images(rows: int, size: int, raw: bool, rng: np.random.Generator) -> np.ndarray:
    """Smooth blobs with grain, 0..255, or -1..1 for the applications that are preprocessed outside."""
    coarse = rng.uniform(0, 255, (rows, 4, 4, 3))
    whole = np.repeat(np.repeat(coarse, -(-size // 4), axis=1), -(-size // 4), axis=2)[:, :size, :size]
    pixels = np.clip(np.round(whole + rng.normal(0, 25, whole.shape)), 0, 255).astype(np.float32)
    return pixels if raw else pixels / np.float32(127.5) - 1


def layers_of(model: tf_keras.Model, *kinds: type) -> list[Any]:
    return [layer for layer in model._flatten_layers() if isinstance(layer, kinds)]


def randomize(model: tf_keras.Model, rng: np.random.Generator, statistics: np.ndarray) -> None:
    """Weights that no initializer gives, activations that neither vanish nor explode.

    Scales and offsets are drawn; BatchNormalization takes its statistics from a batch, and the classifier is scaled so
    that the softmax is neither flat nor saturated. The offsets lie above 0: with random weights and ReLU around its
    kink each normalization multiplies any difference by 1.2 (Yang et al. 2019), and after fifty layers a rounding error
    would be all there is to see.
    """
    keras = tf_keras.layers
    norms = layers_of(model, keras.BatchNormalization)
    for layer in [*norms, *layers_of(model, keras.LayerNormalization)]:
        if layer.gamma is not None:
            layer.gamma.assign(rng.uniform(0.4, 0.8, layer.gamma.shape))
        if layer.beta is not None:
            layer.beta.assign(rng.normal(0.8, 0.2, layer.beta.shape))
    for variable in model.weights:
        if "depthwise_kernel" in variable.name:  # Keras draws these as small as if all channels were added up
            variable.assign(rng.normal(0, 1 / np.sqrt(np.prod(variable.shape[:2])), variable.shape))
        if variable.name.split("/")[-1].startswith("bias"):
            variable.assign(rng.normal(0, 0.05, variable.shape))
        if "layer_scale" in variable.name and variable.name.split("/")[-1].startswith("gamma"):
            variable.assign(rng.uniform(0.1, 0.5, variable.shape))
    if norms:
        _take_statistics(model, norms, statistics)
    elif not layers_of(model, keras.LayerNormalization):
        for layer in layers_of(model, keras.Conv2D):
            layer.kernel.assign(layer.kernel * np.sqrt(2.0))
    head = [layer for layer in model.layers if getattr(layer, "kernel", None) is not None][-1]
    output = model(statistics, training=False).numpy()
    logits = np.log(output + 1e-30) if ends_in_softmax(output) else output
    spread = float(np.std(logits - logits.mean(axis=-1, keepdims=True)))
    head.kernel.assign(head.kernel * (LOGIT_STD / max(spread, 1e-6)))


def ends_in_softmax(output: np.ndarray) -> bool:
    """Whether rows are probabilities; RegNet's constructors leave their classifier_activation out."""
    return bool(np.all(output >= 0) and np.allclose(output.sum(axis=-1), 1, atol=1e-3))


def _take_statistics(model: tf_keras.Model, norms: list, statistics: np.ndarray) -> None:
    """The mean of each channel, and one variance for all channels of a layer, not small beside the values themselves.

    Otherwise what hardly varies over these few small images would be blown up, and every rounding error with it.
    """

    def measuring(layer: Any) -> Callable:
        plain = layer.call

        def call(inputs: Any, training: Any = None, **others: Any) -> Any:
            values = inputs.numpy().reshape(-1, inputs.shape[-1])
            layer.moving_mean.assign(values.mean(axis=0))
            variance = max(values.var(axis=0).mean(), 0.25 * np.square(values).mean(), 1e-6)
            layer.moving_variance.assign(np.full(values.shape[-1], variance))
            return plain(inputs, training=False)

        return call

    for layer in norms:
        layer.call = measuring(layer)
    model(statistics, training=False)
    for layer in norms:
        del layer.call


def built(name: str, row: Row) -> tuple[tf_keras.Model, Callable[[int], np.ndarray]]:
    """The float model and a source of its inputs."""
    tf_keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    with row.phase("build"):
        model = smallest(getattr(tf_keras.applications, name))
        size = model.input_shape[1]
        raw = bool(layers_of(model, tf_keras.layers.Rescaling, tf_keras.layers.Normalization))
        row.note(input=size, parameters=model.count_params(), layers=len(model.layers))
        randomize(model, rng, images(STATISTICS_ROWS, size, raw, rng))
    return model, lambda rows: images(rows, size, raw, rng)


def ours(name: str, row: Row) -> None:
    model, draw = built(name, row)
    reference = draw(PARITY_ROWS)
    wanted = model(reference, training=False).numpy()
    with row.phase("quantize"):
        qat_model = quantize_model(model, draw(CALIBRATION_ROWS))
    row.note(start_sqnr_db=_rounded(sqnr_db(wanted, qat_model(reference, training=False).numpy())))
    del model
    gc.collect()
    with row.phase("step"):
        loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=not ends_in_softmax(wanted))
        row.note(**train_a_step(qat_model, draw(TRAINING_ROWS), loss))
    ctypes.CDLL(None).malloc_trim(0)  # what the step has freed goes back: ConvNeXtXLarge needs all there is
    with row.phase("convert"):
        content = convert(qat_model)
    row.note(**_verified(content))
    with row.phase("parity"):
        row.note(**parity(qat_model, content, reference))


def train_a_step(qat_model: tf_keras.Model, inputs: np.ndarray, loss: Any) -> dict[str, Any]:
    """One step; where BatchNormalization over two rows makes endless gradients, once more with its statistics frozen.

    Seven hundred layers of random weights, maps of one pixel: each division by a variance of nearly 0 adds a factor.
    """
    held = qat_model.get_weights() if batch_norm_layers(qat_model) else []
    found = _step(qat_model, inputs, loss)
    if not held or all(np.isfinite(value).all() for value in qat_model.get_weights()):
        return {"loss": found}
    qat_model.set_weights(held)
    freeze_batch_norm(qat_model, True)
    found = _step(qat_model, inputs, loss)
    freeze_batch_norm(qat_model, False)
    return {"loss": found, "batch_norm_frozen": True}


def _step(qat_model: tf_keras.Model, inputs: np.ndarray, loss: Any) -> float:
    qat_model.compile(tf_keras.optimizers.SGD(1e-3, global_clipnorm=1.0), loss)
    qat_model.optimizer.build(qat_model.trainable_variables)  # otherwise the step is traced twice
    labels = np.arange(len(inputs))
    return float(qat_model.fit(inputs, labels, batch_size=len(inputs), verbose=0).history["loss"][0])


def parity(qat_model: tf_keras.Model, content: bytes, inputs: np.ndarray) -> dict[str, Any]:
    """Output codes of the file (XNNPACK) against the fake-quant model's, and the same before a last softmax.

    `plain` is the graph that was exported, whose float sums fall on the other side of a tie now and then. `kernels` is
    XNNPACK against the reference kernels, each in the whole file: no simulation agrees with both better than they do.
    """
    softmax = [layer for layer in qat_model.layers if isinstance(layer, Op) and layer.op == "softmax"][-1:]
    layers = {"output": qat_model.output, "logits": softmax[0].input if softmax else qat_model.output}
    with deep_recursion():
        both = tf_keras.Model(qat_model.input, layers)
    files = {"output": content, "logits": ending_before_softmax(content) if softmax else content}
    with integer_arithmetic():
        exact = both(inputs, training=False)
    plain, row = both(inputs, training=False), {}
    for name, file in files.items():
        xnnpack = Interpreter(file, threads=1)
        tensor = xnnpack.outputs[0]
        found = xnnpack.predict(inputs)
        row |= compared(f"{name}_", exact[name].numpy(), found, tensor)
        row |= compared(f"plain_{name}_", plain[name].numpy(), found, tensor)
    reference = Interpreter(files["logits"], threads=1, reference_kernels=True).predict(inputs)
    return row | compared("kernels_logits_", reference, found, tensor)


def ending_before_softmax(content: bytes) -> bytes:
    """The same file with the last softmax's input for its output."""

    def cut(unpacked: Any) -> None:
        graph, file = unpacked.subgraphs[0], read(content)
        graph.outputs = [[op for op in file.ops if op.name == "SOFTMAX"][-1].inputs[0]]
        unpacked.signatureDefs = []

    return apply_edit(content, cut)


def compared(prefix: str, expected: np.ndarray, found: np.ndarray, tensor: Tensor) -> dict[str, Any]:
    """Shares of codes that are equal or nearly so."""
    codes, other = (quantize(values, tensor.quantization).astype(int) for values in (expected, found))
    lsb = np.abs(codes - other.reshape(codes.shape))
    return {
        f"{prefix}within_1_lsb": round(float(np.mean(lsb <= 1)), 4),
        f"{prefix}exact": round(float(np.mean(lsb == 0)), 4),
        f"{prefix}max_lsb": int(lsb.max()),
    }


def stock(name: str, row: Row) -> None:
    import tensorflow_model_optimization as tfmot

    model, _ = built(name, row)
    with row.phase("quantize"):
        qat_model = tfmot.quantization.keras.quantize_model(model)
    row.note(accepted=True)
    with row.phase("convert"):
        content = convert(qat_model, allow_float=True)
    row.note(**_verified(content))


def _verified(content: bytes) -> dict[str, Any]:
    found = verify(content)
    return {
        "integer_only": found.integer_only,
        "io": [*found.input_dtypes, *found.output_dtypes],
        "float_ops": len(found.float_ops),
        "inner_conversions": len(found.inner_conversions),
        "ops": sum(found.op_counts.values()),
        "size_bytes": found.size_bytes,
    }


def _rounded(value: float) -> float | None:
    return round(value, 1) if np.isfinite(value) else None


def main() -> None:
    name, way, path = sys.argv[1:]
    row = Row(Path(path))
    sys.excepthook = row.failed
    {"ours": ours, "stock": stock}[way](name, row)
    row.note(phase="done")


if __name__ == "__main__":
    main()
