"""Layer classes of Keras 3, one by one, each with arguments that are not the defaults: works, refused, or a fault.

`python -m tests.quantization.keras3_layers [regex ...]` prints the table.
"""

from __future__ import annotations

import re
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops

from qat.errors import ModelError, UnsupportedLayerError
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, verify

ROWS = 16
IMAGE, SERIES, VECTOR, VOLUME = (8, 8, 3), (6, 4), (6,), (4, 6, 6, 2)


def of(shape, build: Callable, *, count=1, ids: int | None = None) -> Callable:
    """A case: a functional model of what `build` makes of its inputs; `ids` are integers below that."""

    def make():
        dtype = "float32" if ids is None else "int32"
        entries = [keras.Input(shape, dtype=dtype, name=f"x{at}") for at in range(count)]
        rng = np.random.default_rng(0)
        rows = [
            rng.normal(size=(ROWS, *shape)).astype("float32")
            if ids is None
            else rng.integers(0, ids, (ROWS, *shape)).astype("int32")
            for _ in entries
        ]
        keras.utils.set_random_seed(0)
        model = keras.Model(entries, build(*entries))
        for variable in model.weights:  # zeros and ones hide what a variable does
            if variable.dtype == "float32" and variable.name[-1:] != "u":
                noise = np.random.default_rng(1).normal(size=variable.shape) * 0.1
                variable.assign(variable.numpy() + (np.abs(noise) if "variance" in variable.name else noise))
        return model, rows

    return make


class Residual(layers.Layer):
    def build(self, shape):
        self.inner = layers.Dense(shape[-1], activation="tanh")
        self.inner.build(shape)
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")

    def call(self, x, training=None):
        return x + self.inner(x) * self.scale


L = layers
CASES: dict[str, Callable] = {
    "Activation": of(IMAGE, L.Activation("gelu")),
    "ActivityRegularization": of(VECTOR, L.ActivityRegularization(l1=0.1, l2=0.2)),
    "AdaptiveAveragePooling1D": of(SERIES, L.AdaptiveAveragePooling1D(3)),
    "AdaptiveAveragePooling2D": of(IMAGE, L.AdaptiveAveragePooling2D((2, 4))),
    "AdaptiveMaxPooling1D": of(SERIES, L.AdaptiveMaxPooling1D(3)),
    "AdaptiveMaxPooling2D": of(IMAGE, L.AdaptiveMaxPooling2D((2, 4))),
    "Add": of(VECTOR, lambda x, y: L.Add()([x, y]), count=2),
    "AdditiveAttention": of(SERIES, lambda q, v: L.AdditiveAttention(use_scale=False)([q, v]), count=2),
    "AlphaDropout": of(VECTOR, L.AlphaDropout(0.3, seed=1)),
    "Attention": of(SERIES, lambda q, v: L.Attention(use_scale=True)([q, v]), count=2),
    "Average": of(VECTOR, lambda x, y: L.Average()([x, y]), count=2),
    "AveragePooling1D": of(SERIES, L.AveragePooling1D(3, strides=2, padding="same")),
    "AveragePooling2D": of(IMAGE, L.AveragePooling2D((3, 2), strides=2, padding="same")),
    "AveragePooling3D": of(VOLUME, L.AveragePooling3D((1, 3, 3), strides=(1, 2, 2), padding="same")),
    "BatchNormalization": of(IMAGE, L.BatchNormalization(momentum=0.7, epsilon=1e-2, scale=False)),
    "BatchNormalization axis 1": of(IMAGE, L.BatchNormalization(axis=1, center=False)),
    "BatchNormalization frozen": of(
        IMAGE, lambda x: L.BatchNormalization(trainable=False)(L.Conv2D(4, 3, use_bias=False)(x))
    ),
    "Bidirectional": of(SERIES, L.Bidirectional(L.GRU(3, return_sequences=True), merge_mode="sum")),
    "CategoryEncoding": of((4,), L.CategoryEncoding(num_tokens=5, output_mode="multi_hot"), ids=5),
    "CategoryEncoding one_hot": of((1,), L.CategoryEncoding(num_tokens=5, output_mode="one_hot"), ids=5),
    "CategoryEncoding count": of((4,), L.CategoryEncoding(num_tokens=5, output_mode="count"), ids=5),
    "CenterCrop": of(IMAGE, L.CenterCrop(5, 4)),
    "Concatenate": of(IMAGE, lambda x, y: L.Concatenate(axis=1)([x, y]), count=2),
    "Conv1D": of(SERIES, L.Conv1D(5, 3, padding="causal", dilation_rate=2, activation="swish")),
    "Conv1DTranspose": of(SERIES, L.Conv1DTranspose(5, 3, strides=2, padding="same")),
    "Conv2D": of(IMAGE, L.Conv2D(6, (3, 2), strides=2, padding="same", groups=3, use_bias=False)),
    "Conv2D dilated": of(IMAGE, L.Conv2D(4, 3, dilation_rate=2, activation="leaky_relu")),
    "Conv2DTranspose": of(IMAGE, L.Conv2DTranspose(4, 3, strides=2, padding="same", activation="relu")),
    "Conv3D": of(VOLUME, L.Conv3D(3, (1, 3, 3), padding="same")),
    "Conv3DTranspose": of(VOLUME, L.Conv3DTranspose(3, (1, 3, 3), strides=(1, 2, 2))),
    "ConvLSTM1D": of((4, 5, 2), L.ConvLSTM1D(2, 3, padding="same", return_sequences=True)),
    "ConvLSTM2D": of((3, 5, 5, 2), L.ConvLSTM2D(2, 3, padding="same")),
    "ConvLSTM3D": of((2, 3, 4, 4, 2), L.ConvLSTM3D(2, 2, padding="same")),
    "Cropping1D": of(SERIES, L.Cropping1D((1, 2))),
    "Cropping2D": of(IMAGE, L.Cropping2D(((1, 2), (0, 1)))),
    "Cropping3D": of(VOLUME, L.Cropping3D(((1, 0), (1, 1), (0, 2)))),
    "Dense": of(SERIES, L.Dense(5, activation="sigmoid", use_bias=False)),
    "Dense lora": of(VECTOR, L.Dense(5, lora_rank=2)),
    "DepthwiseConv1D": of(SERIES, L.DepthwiseConv1D(3, depth_multiplier=2, padding="same")),
    "DepthwiseConv2D": of(IMAGE, L.DepthwiseConv2D(3, strides=2, depth_multiplier=2, activation="relu6")),
    "Discretization": of(VECTOR, lambda x: L.Embedding(4, 3)(L.Discretization([-1.0, 0.0, 1.0])(x))),
    "Dot": of(VECTOR, lambda x, y: L.Dot(axes=1, normalize=True)([x, y]), count=2),
    "Dot 3-D": of(SERIES, lambda x, y: L.Dot(axes=(2, 2))([x, y]), count=2),
    "Dropout": of(IMAGE, L.Dropout(0.4, noise_shape=(None, 1, 1, 3), seed=3)),
    "ELU": of(VECTOR, L.ELU(alpha=0.7)),
    "EinsumDense": of(SERIES, L.EinsumDense("abc,cde->abde", output_shape=(None, 2, 3), bias_axes="de")),
    "Embedding": of((5,), L.Embedding(7, 4, mask_zero=False), ids=7),
    "Flatten": of(IMAGE, L.Flatten()),
    "GRU": of(SERIES, L.GRU(4, reset_after=False, activation="relu", go_backwards=True)),
    "GRU states": of(SERIES, lambda x: L.GRU(4, return_sequences=True, return_state=True, dropout=0.2)(x)),
    "GaussianDropout": of(VECTOR, L.GaussianDropout(0.2, seed=1)),
    "GaussianNoise": of(VECTOR, L.GaussianNoise(0.2, seed=1)),
    "GlobalAveragePooling1D": of(SERIES, L.GlobalAveragePooling1D(keepdims=True)),
    "GlobalAveragePooling2D": of(IMAGE, L.GlobalAveragePooling2D(keepdims=True)),
    "GlobalAveragePooling3D": of(VOLUME, L.GlobalAveragePooling3D()),
    "GlobalMaxPooling1D": of(SERIES, L.GlobalMaxPooling1D(keepdims=True)),
    "GlobalMaxPooling2D": of(IMAGE, L.GlobalMaxPooling2D(keepdims=True)),
    "GlobalMaxPooling3D": of(VOLUME, L.GlobalMaxPooling3D()),
    "GroupNormalization": of((6, 6, 8), L.GroupNormalization(groups=4, epsilon=1e-2)),
    "GroupQueryAttention": of(
        SERIES, lambda q, v: L.GroupQueryAttention(4, num_query_heads=4, num_key_value_heads=2)(q, v), count=2
    ),
    "HashedCrossing": of((1,), lambda x, y: L.Embedding(5, 3)(L.HashedCrossing(5)((x, y))), count=2, ids=9),
    "Hashing": of((1,), lambda x: L.Embedding(5, 3)(L.Hashing(5, salt=3)(x)), ids=9),
    "Identity": of(VECTOR, lambda x: L.Dense(3)(L.Identity()(x))),
    "IntegerLookup": of((4,), lambda x: L.Embedding(9, 3)(L.IntegerLookup(vocabulary=[3, 1, 4])(x)), ids=6),
    "LSTM": of(SERIES, L.LSTM(4, return_sequences=True, dropout=0.1, recurrent_dropout=0.2)),
    "LSTM states": of(SERIES, lambda x: L.LSTM(4, return_state=True, go_backwards=True, use_bias=False)(x)),
    "Lambda": of(VECTOR, L.Lambda(lambda x: ops.tanh(x) * 2)),
    "LayerNormalization": of(SERIES, L.LayerNormalization(axis=-1, epsilon=1e-2, center=False)),
    "LayerNormalization two axes": of(IMAGE, L.LayerNormalization(axis=(2, 3))),
    "LayerNormalization rms_scaling": of(SERIES, L.LayerNormalization(rms_scaling=True)),
    "LeakyReLU": of(VECTOR, L.LeakyReLU(negative_slope=0.2)),
    "Masking": of(SERIES, lambda x: L.LSTM(3)(L.Masking(mask_value=0.0)(x))),
    "Maximum": of(VECTOR, lambda x, y: L.Maximum()([x, y]), count=2),
    "MaxPooling1D": of(SERIES, L.MaxPooling1D(3, strides=1, padding="same")),
    "MaxPooling2D": of(IMAGE, L.MaxPooling2D((2, 3), strides=1, padding="same")),
    "MaxPooling3D": of(VOLUME, L.MaxPooling3D((1, 2, 2))),
    "MelSpectrogram": of((128,), L.MelSpectrogram(fft_length=32, sequence_stride=16, num_mel_bins=8)),
    "Minimum": of(VECTOR, lambda x, y: L.Minimum()([x, y]), count=2),
    "MultiHeadAttention": of(
        SERIES, lambda q, v: L.MultiHeadAttention(2, 4, value_dim=3, dropout=0.1, use_bias=False)(q, v), count=2
    ),
    "MultiHeadAttention causal": of(SERIES, lambda x: L.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True)),
    "Multiply": of(VECTOR, lambda x, y: L.Multiply()([x, y]), count=2),
    "Normalization": of(VECTOR, L.Normalization(mean=[0.1] * 6, variance=[2.0] * 6)),
    "Normalization invert": of(VECTOR, L.Normalization(mean=0.5, variance=2.0, invert=True)),
    "PReLU": of(IMAGE, L.PReLU(shared_axes=[1, 2], alpha_initializer="ones")),
    "Permute": of(IMAGE, L.Permute((3, 1, 2))),
    "RMSNormalization": of(SERIES, L.RMSNormalization(epsilon=1e-3)),
    "RNN": of(SERIES, L.RNN([L.GRUCell(4), L.SimpleRNNCell(3)], return_sequences=True)),
    "RandomBrightness": of(IMAGE, L.RandomBrightness(0.2, value_range=(-1, 1), seed=1)),
    "RandomContrast": of(IMAGE, L.RandomContrast(0.3, seed=1)),
    "RandomCrop": of(IMAGE, L.RandomCrop(6, 5, seed=1)),
    "RandomFlip": of(IMAGE, L.RandomFlip("vertical", seed=1)),
    "RandomGrayscale": of(IMAGE, L.RandomGrayscale(0.5, seed=1)),
    "RandomRotation": of(IMAGE, L.RandomRotation(0.1, fill_mode="nearest", seed=1)),
    "RandomTranslation": of(IMAGE, L.RandomTranslation(0.1, 0.2, seed=1)),
    "RandomZoom": of(IMAGE, L.RandomZoom(0.1, 0.2, seed=1)),
    "ReLU": of(VECTOR, L.ReLU(max_value=4.0, negative_slope=0.1, threshold=0.1)),
    "RepeatVector": of(VECTOR, L.RepeatVector(3)),
    "Rescaling": of(IMAGE, L.Rescaling(1 / 127.5, offset=-1.0)),
    "Reshape": of(IMAGE, L.Reshape((-1, 6))),
    "Resizing": of(IMAGE, L.Resizing(16, 16, interpolation="nearest")),
    "Resizing bilinear": of(IMAGE, L.Resizing(4, 6, crop_to_aspect_ratio=True)),
    "ReversibleEmbedding": of((5,), lambda x: (e := L.ReversibleEmbedding(7, 4))(e(x), reverse=True), ids=7),
    "SeparableConv1D": of(SERIES, L.SeparableConv1D(5, 3, depth_multiplier=2, padding="same")),
    "SeparableConv2D": of(IMAGE, L.SeparableConv2D(5, 3, strides=2, activation="relu")),
    "SimpleRNN": of(SERIES, L.SimpleRNN(4, activation="relu", return_sequences=True, unroll=True)),
    "Softmax": of(SERIES, L.Softmax(axis=-1)),
    "Softmax axis 1": of(SERIES, L.Softmax(axis=1)),
    "SpatialDropout1D": of(SERIES, L.SpatialDropout1D(0.3, seed=1)),
    "SpatialDropout2D": of(IMAGE, L.SpatialDropout2D(0.3, seed=1)),
    "SpatialDropout3D": of(VOLUME, L.SpatialDropout3D(0.3, seed=1)),
    "SpectralNormalization": of(IMAGE, L.SpectralNormalization(L.Conv2D(4, 3), power_iterations=2)),
    "STFTSpectrogram": of((128, 1), L.STFTSpectrogram(mode="log", frame_length=32, frame_step=16, fft_length=32)),
    "StackedRNNCells": of(SERIES, L.RNN(L.StackedRNNCells([L.LSTMCell(3, dropout=0.1), L.LSTMCell(4)]))),
    "Subtract": of(VECTOR, lambda x, y: L.Subtract()([x, y]), count=2),
    "TimeDistributed": of((4, 6, 6, 2), L.TimeDistributed(L.Conv2D(3, 3, activation="relu"))),
    "TimeDistributed norm": of((4, 6, 2), L.TimeDistributed(L.BatchNormalization())),
    "UnitNormalization": of(SERIES, L.UnitNormalization(axis=1)),
    "UpSampling1D": of(SERIES, L.UpSampling1D(3)),
    "UpSampling2D": of(IMAGE, L.UpSampling2D((2, 3), interpolation="nearest")),
    "UpSampling2D bilinear": of(IMAGE, L.UpSampling2D(2, interpolation="bilinear")),
    "UpSampling3D": of(VOLUME, L.UpSampling3D((1, 2, 2))),
    "ZeroPadding1D": of(SERIES, L.ZeroPadding1D((2, 1))),
    "ZeroPadding2D": of(IMAGE, L.ZeroPadding2D(((1, 2), (0, 1)))),
    "ZeroPadding3D": of(VOLUME, L.ZeroPadding3D(((1, 0), (1, 1), (0, 2)))),
    "a layer of one's own": of(SERIES, Residual()),
    "ops": of(SERIES, lambda x: ops.concatenate([ops.maximum(x, 0.1), ops.relu6(x) * 2.0 - 1.0], axis=-1)),
    "ops.sin": of(SERIES, lambda x: ops.sin(x)),
}


@dataclass(frozen=True)
class Outcome:
    """`word`: works, refused or fault; `reason`: of a refusal, or what is at fault."""

    word: str
    reason: str = ""


def outcome(make: Callable) -> Outcome:
    """What becomes of a case: quantized, held against the float model, trained for one step, and made a file."""
    model, rows = make()
    before = [variable.numpy() for variable in model.weights]  # Keras itself moves seeds at inference
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            quantized = quantize_model(model, rows)
            faults = [
                f"lost: {each.message}"
                for each in said
                if "have no effect during quantization-aware training" in str(each.message)
            ]
            data = convert(quantized)
        faults += _departures(model, quantized, data, rows)
    except (UnsupportedLayerError, ModelError) as error:
        return Outcome("refused", " ".join(str(error).split()))
    faults += [] if _same(before, model) else ["the given model was changed"]
    return Outcome("fault", "; ".join(faults)) if faults else Outcome("works")


def _departures(model, quantized, data, rows) -> list[str]:
    faults = [] if verify(data).integer_only else ["not integer-only"]
    named = {entry.name.split(":")[0]: values for entry, values in zip(quantized.inputs, rows, strict=True)}
    given = rows[0] if len(rows) == 1 else named
    asked = rows if len(rows) > 1 else rows[0]
    found, said = Interpreter(data).predict(given), quantized.predict(asked, verbose=0)
    equal = min(float(np.mean(np.isclose(a, b, atol=1e-6))) for a, b in zip(_flat(found), _flat(said), strict=True))
    faults += [] if equal == 1 else [f"{equal:.4f} of the codes are equal"]
    quantized.fake_quantization(False)
    floats = zip(_flat(model.predict(asked, verbose=0)), _flat(quantized.predict(asked, verbose=0)), strict=True)
    error = max(float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-9)) for a, b in floats)
    faults += [] if error <= 1e-5 else [f"float error {error:.1e}"]
    quantized.fake_quantization(True)
    if quantized.trainable_variables:
        quantized.compile("sgd", "mse")
        quantized.train_on_batch(asked, [np.zeros_like(each) for each in _flat(said)])
    return faults


def _same(before, model) -> bool:
    return all(np.array_equal(a, b.numpy()) for a, b in zip(before, model.weights, strict=True))


def _flat(outputs) -> list[np.ndarray]:
    if isinstance(outputs, dict):
        return [outputs[name] for name in sorted(outputs)]
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]


def tell(cases: dict[str, Callable]) -> None:
    """Print what becomes of the cases that the command line names by regular expressions, or of all."""
    patterns = sys.argv[1:] or [""]
    counts: dict[str, int] = {}
    for name, make in cases.items():
        if not any(re.search(pattern, name) for pattern in patterns):
            continue
        start = time.perf_counter()
        try:
            found = outcome(make)
        except Exception as error:
            traceback.print_exc(limit=-4)
            found = Outcome("fault", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        counts[found.word] = counts.get(found.word, 0) + 1
        print(f"{found.word:8} {name:32} {time.perf_counter() - start:5.1f}s {found.reason[:400]}", flush=True)
    print(counts)


if __name__ == "__main__":
    tell(CASES)
