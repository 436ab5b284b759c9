"""The parts that a quantization-aware model is built of: quantizers, ties between variables, updates, its driver."""

import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.config import QuantConfig
from qat.quantization import QatModel, quantize_model
from qat.quantization.keras.custom_training import drives_itself, own_classes
from qat.quantization.keras.exporters import is_traced_for_a_file
from qat.quantization.keras.grids import min_scale, scale_of, zero_point_of
from qat.quantization.keras.layer_updates import normalize_spectrum
from qat.quantization.keras.lent_variables import NOTHING_LENT, lend_again, lent_variables
from qat.quantization.keras.names import keras_name
from qat.quantization.keras.weight_quantizers import KernelQuantizer
from qat.quantization.kernels.lstm_tables import sigmoid_table, tanh_table, tanh_tables
from qat.quantization.kernels.quantized_kernel import norm_scale, quantize_kernel
from qat.quantization.rewrites import canonicalize
from qat.quantization.rewrites.builder import Builder, constant_of, only_reader, scalar_of

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("bits", "largest"), [(8, 127), (4, 7)])
@pytest.mark.parametrize(
    ("channels", "shape"), [("last", (3, 3, 2, 5)), ("depthwise", (3, 3, 4, 1)), ("third", (2, 2, 5, 3))]
)
def test_a_kernel_is_rounded_to_codes_of_a_scale_per_channel(bits, largest, channels, shape):
    quantizer, kernel = KernelQuantizer(bits, channels=channels), tf.constant(RNG.normal(size=shape).astype(np.float32))
    rounded, step = quantizer.on_grid(kernel)
    assert rounded.shape == kernel.shape
    if channels == "depthwise":
        rounded = tf.reshape(rounded, (*shape[:2], -1))
    if channels == "third":
        rounded = tf.transpose(rounded, [0, 1, 3, 2])
    codes = (rounded / step).numpy()
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-3)
    assert np.abs(codes).reshape(-1, codes.shape[-1]).max(axis=0) == pytest.approx(largest)


def test_a_step_is_no_smaller_than_the_bias_needs():
    assert float(min_scale(None, tf.constant(0.5))) < 1e-30
    needed = min_scale(tf.constant([1e3]), tf.constant(1e-9))
    assert float(needed[0]) == pytest.approx(1e3 / 2**30 / 1e-9)
    assert float(zero_point_of(tf.constant(-1.0), scale_of(-1.0, tf.constant(1.0), 255), 8)) == pytest.approx(0, abs=1)


def test_tables_are_sigmoid_and_tanh_to_a_few_of_2_to_15_steps():
    codes = np.arange(-(1 << 15), 1 << 15)
    assert np.abs(sigmoid_table() / 2**15 - 1 / (1 + np.exp(-codes / 2**12))).max() < 1e-3
    assert np.abs(tanh_table(3) / 2**15 - np.tanh(codes / 2**12)).max() < 1e-3
    assert len(tanh_tables()) == 7 << 16


@pytest.fixture(scope="module")
def graph():
    """A convolution with its normalization folded."""
    image = tf_keras.Input((6, 6, 2))
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(3, 3, use_bias=False, name="conv")(image))
    model = tf_keras.Model(image, x * 2.0 + 0.5)
    model.get_layer("norm").moving_variance.assign([0.25, 1.0, 4.0])
    return canonicalize(model)


def test_a_kernel_of_the_graph_is_rounded_as_the_file_will_hold_it(graph):
    (conv,) = graph.nodes_of("conv2d")
    scale = norm_scale(conv)
    rounded = quantize_kernel(conv, QuantConfig(name="qat")).weights["kernel"].value
    kernel = conv.weights["kernel"].value
    assert np.abs((rounded - kernel) * scale).max() <= np.abs(kernel * scale).max() / 127
    assert not np.array_equal(rounded, kernel)


def test_a_builder_makes_nodes_for_one_place(graph):
    (conv,) = graph.nodes_of("conv2d")
    builder = Builder(graph, conv)
    half = builder.add("mul", conv.output, 0.5)
    assert half.shape == conv.output.shape
    assert scalar_of(half.node.inputs[1]) == 0.5
    assert constant_of(conv.output) is None
    (entry,) = graph.nodes_of("input")
    assert only_reader(graph, entry.output) is conv
    assert only_reader(graph, graph.outputs[0]) is None


def tied():
    one, two = layers.Dense(3, name="one"), layers.Dense(3, name="two")
    entry = tf_keras.Input((3,))
    return tf_keras.Model(entry, two(one(entry))), one, two


def test_a_variable_that_two_layers_hold_is_lent_again():
    model, one, two = tied()
    assert lent_variables(model) == NOTHING_LENT
    two.kernel = one.kernel
    lent = lent_variables(model)
    other, first, second = tied()
    lend_again(other, lent)
    assert second.kernel is first.kernel
    assert len(other.trainable_weights) == len(model.trainable_weights)


def test_a_kernel_is_divided_by_its_largest_singular_value():
    kernel, vector = tf.Variable(RNG.normal(size=(6, 4)).astype(np.float32)), tf.Variable(tf.ones((1, 4)))
    for _ in range(20):
        normalize_spectrum(kernel, vector, 3)
    assert np.linalg.svd(kernel.numpy())[1][0] == pytest.approx(1, abs=1e-3)
    zero = tf.Variable(tf.zeros((2, 2)))
    normalize_spectrum(zero, tf.Variable(tf.ones((1, 2))), 1)
    assert not np.isnan(zero.numpy()).any()


class Own(tf_keras.Model):
    def train_step(self, data):
        return super().train_step(data)


def test_a_class_with_its_own_step_drives_itself():
    entry = tf_keras.Input((3,))
    model = Own(entry, layers.Dense(2)(entry))
    assert drives_itself(model)
    assert own_classes(type(model)) == [Own]
    assert not drives_itself(tf_keras.Model(entry, layers.Dense(2)(entry)))


class Explicit(tf_keras.Model):
    """`super` with its arguments, as code for Keras 2 has it, a decorated method, and one that asks for its class."""

    def compile(self, *arguments, factor=2.0, **options):
        super(Explicit, self).compile(*arguments, **options)  # noqa: UP008  # as code for Python 2 has it
        self.factor = factor

    @functools.wraps(tf_keras.Model.train_step)
    def train_step(self, data):
        assert isinstance(self, Explicit)
        return super().train_step(data) | {"factor": self.factor}


def test_methods_of_the_users_class_reach_the_quantized_model_by_super():
    entry = tf_keras.Input((3,))
    float_model, rows = Explicit(entry, layers.Dense(2)(entry)), RNG.normal(size=(128, 3)).astype(np.float32)
    model = quantize_model(float_model, rows)
    model.compile("sgd", "mse", factor=3.0)
    assert model.fit(rows, rows[:, :2], verbose=0).history["factor"] == [3.0]
    assert isinstance(model, QatModel)
    assert type(float_model).__mro__[1].__module__.startswith("tf_keras."), "the class stays as it is"


def test_a_graph_for_a_file_is_told_from_one_for_training():
    seen = []

    @tf.function
    def function(x):
        seen.append(is_traced_for_a_file())
        return x

    assert not is_traced_for_a_file()
    function(tf.constant(1.0))
    function.get_concrete_function(tf.TensorSpec([2]))
    assert seen == [False, True]


@pytest.mark.parametrize("writer", ["tf.saved_model.save", "Model.save", "Model.export", "TFLiteConverter"])
def test_the_writers_of_the_installed_versions_are_known_by_their_modules(writer, tmp_path):
    seen = []

    class Noting(layers.Layer):
        def call(self, x):
            seen.append(is_traced_for_a_file())
            return x

    entry = tf_keras.Input((3,))
    model = tf_keras.Model(entry, Noting()(layers.Dense(2)(entry)))
    model.predict(np.zeros((1, 3), np.float32), verbose=0)
    assert not any(seen)
    seen.clear()
    {
        "tf.saved_model.save": lambda: tf.saved_model.save(model, str(tmp_path / "m")),
        "Model.save": lambda: model.save(tmp_path / "m", save_format="tf"),
        "Model.export": lambda: model.export(str(tmp_path / "m")),
        "TFLiteConverter": lambda: tf.lite.TFLiteConverter.from_keras_model(model).convert(),
    }[writer]()
    assert seen
    assert all(seen)


def test_layers_of_the_model_have_names_that_keras_takes():
    assert "/" not in keras_name("block/conv")
    entry = tf_keras.Input((3,), name="row")
    made = quantize_model(tf_keras.Model(entry, layers.Dense(2, name="end")(entry)), RNG.normal(size=(128, 3)))
    assert made.input_names == ["row"]
    assert any("end" in layer.name for layer in made.layers)


FIRST_OF_ITS_PROCESS = """
import sys
import numpy as np
import tf_keras
from qat.quantization import quantize_model

class Theirs(tf_keras.Model):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)

    def train_step(self, data):
        return super().train_step(data)

entry, rows = tf_keras.Input((4,)), np.random.default_rng(0).normal(size=(128, 4)).astype("float32")
quantized = quantize_model(Theirs(entry, tf_keras.layers.Dense(2)(entry)), rows)
quantized.save(sys.argv[1])
loaded = tf_keras.models.load_model(sys.argv[1], custom_objects={"Theirs": Theirs})
assert np.array_equal(loaded.predict(rows, verbose=0), quantized.predict(rows, verbose=0))
"""


@pytest.mark.medium
def test_the_first_model_of_a_process_may_have_a_constructor_of_its_own(tmp_path):
    command = [sys.executable, "-c", FIRST_OF_ITS_PROCESS, str(tmp_path / "model.keras")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3], check=False)
    assert done.returncode == 0, done.stderr[-2000:]
