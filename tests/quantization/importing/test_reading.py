"""What each family of ops becomes in the graph, and what is said of models that cannot be read as they are."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tensorflow.compiler.tf2xla.ops import gen_xla_ops
from tf_keras import layers

from qat.errors import ModelError
from qat.quantization.importing.added_losses import ancestors_of
from qat.quantization.importing.cut_model import cut_code
from qat.quantization.importing.foreign_wrappers import refuse_wrapped
from qat.quantization.importing.import_state import handles, kind, parts
from qat.quantization.importing.importer import FOLD_LIMIT, import_trace
from qat.quantization.importing.keras_version import version_of
from qat.quantization.importing.layer_handlers import readers
from qat.quantization.importing.lookup_layers import LOOKUPS, cut_after
from qat.quantization.importing.modes import read
from qat.quantization.importing.op_table import IMPORTERS, SAME_NAME
from qat.quantization.importing.open_sizes import is_open, rebuilding
from qat.quantization.importing.ops import custom_gradient, filling, linear, linear_resize, selection, slicing
from qat.quantization.importing.shape_values import Open, is_whole, reshaped
from qat.quantization.importing.trace import trace
from qat.quantization.ir.interpret import run
from qat.quantization.rewrites import canonicalize

ROW = (4, 4, 2)


def graph_of(function, shape=ROW, **entry):
    x = tf_keras.Input(shape, **entry)
    return read(tf_keras.Model(x, function(x)))


def ops(graph):
    return [node.op for node in graph.nodes if node.op not in ("input", "const", "variable")]


class Twice(layers.Layer):
    def call(self, x):
        return tf.custom_gradient(lambda x: (x * 2, lambda gradient: gradient * 5))(x)


@pytest.mark.parametrize(
    ("module", "function", "named"),
    [
        (filling, lambda x: tf.pad(x, [[0, 0], [1, 1], [0, 0], [0, 0]]), "pad"),
        (filling, lambda x: tf.tile(x, [1, 2, 1, 1]), "tile"),
        (filling, lambda x: tf.image.resize(x, (8, 8)), "resize_bilinear"),
        (linear_resize, lambda x: tf.image.resize(x, (8, 8), "bicubic"), "dense"),
        (linear_resize, lambda x: tf.image.resize(x, (2, 3), "area"), "dense"),
        (filling, lambda x: tf.nn.depth_to_space(tf.concat([x, x], -1), 2), "depth_to_space"),
        (linear, lambda x: tf.nn.conv2d(x, tf.ones((2, 2, 2, 3)), 1, "SAME"), "conv2d"),
        (linear, lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID"), "max_pool"),
        (linear, lambda x: tf.reduce_mean(x, axis=1), "mean"),
        (selection, lambda x: tf.argmax(x, axis=-1), "argmax"),
        (selection, lambda x: tf.argmin(x, axis=-1), "argmin"),
        (selection, lambda x: tf.math.top_k(x, 2)[0], "top_k"),
        (selection, lambda x: tf.math.top_k(x, 2)[1], "top_k_index"),
        (selection, lambda x: tf.one_hot(tf.argmax(x, axis=-1), 3), "select"),
        (slicing, lambda x: x[:, 1:3], "strided_slice"),
        (slicing, lambda x: tf.concat([x, x], axis=1), "concat"),
        (slicing, lambda x: tf.reshape(x, (-1, 32)), "reshape"),
        (custom_gradient, lambda x: Twice()(x), "custom_gradient"),
    ],
)
def test_an_op_of_tensorflow_becomes_one_of_the_graph(module, function, named):
    assert named in ops(graph_of(function)), module.__name__


def test_a_constant_of_each_sample_takes_a_size_that_follows_from_the_others():
    def function(x):
        count = tf.shape(x)[0]
        ones = tf.reshape(tf.ones((count, 1, 1)), [count, -1, 1])
        return tf.reshape(tf.tile(ones, [1, 1, 2]) * x, [count, -1, 2])

    graph = graph_of(function, (3, 2))
    assert not [op for op in ops(graph) if op.startswith("tf:")]
    rows = tf.random.normal((4, 3, 2))
    np.testing.assert_array_equal(run(graph, [rows])[0], rows)


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (layers.Dense(3), "dense"),
        (layers.BatchNormalization(), "batch_norm"),
        (layers.LayerNormalization(), "layer_norm"),
    ],
)
def test_a_layer_is_kept_whole(layer, named):
    assert type(layer).call in readers(version_of(layer))
    assert ops(graph_of(layer)) == [named]


@pytest.mark.medium
@pytest.mark.parametrize(
    "layer", [layers.Dense(4), layers.LayerNormalization(), layers.BatchNormalization(), layers.Dropout(0.5)]
)
def test_the_mask_of_padding_goes_through_a_layer_that_is_kept_whole(layer):
    words = tf_keras.Input((5,), dtype="int32")
    model = tf_keras.Model(words, layers.LSTM(3)(layer(layers.Embedding(9, 4, mask_zero=True)(words))))
    masked = [node for node in read(model).nodes if node.op == "select"]
    assert len(masked) >= 5  # a step of padding leaves the state as it is
    output = tf_keras.Model(words, model.layers[2].output)
    assert read(output).masks[0] is not None
    assert read(model).masks == [None]


def test_every_op_that_is_read_is_one_of_tensorflows():
    unknown = [name for name in {**IMPORTERS, **SAME_NAME} if not hasattr(tf.raw_ops, name)]
    assert unknown == ["XlaDynamicUpdateSlice"]  # Keras 3's `ops.slice_update`; raw_ops has none of XLA's


def test_what_does_not_depend_on_the_input_is_computed_once():
    graph = graph_of(lambda x: x + tf.exp(tf.ones(2)) * 2)
    assert ops(graph) == ["add"]
    assert FOLD_LIMIT > 1 << 20
    model = tf_keras.Sequential([layers.Input(ROW), layers.ReLU()])
    assert ops(import_trace(trace(model, readers(version_of(model))), model)) == ["relu"]


@pytest.mark.parametrize("start", [(0, 1, 2, 0), (0, 3, 3, 0)], ids=["inside", "moved inside"])
def test_a_slice_that_is_replaced_is_cut_and_joined(start):
    """By `qat.quantization.importing.ops.slice_update`, Keras 3's op of that name; of constants it is computed."""
    update = gen_xla_ops.xla_dynamic_update_slice
    images = np.random.default_rng(0).normal(size=(3, *ROW)).astype(np.float32)
    graph = graph_of(layers.Lambda(lambda x: update(x, x[:, :2, :2], start)))
    assert set(ops(graph)) == {"strided_slice", "concat"}
    np.testing.assert_array_equal(run(graph, [images])[0], update(images, images[:, :2, :2], start))
    assert ops(graph_of(lambda x: x * update(tf.zeros((1, *ROW)), tf.ones((1, 2, 2, 2)), start))) == ["mul"]
    canvas = layers.Lambda(lambda x: update(tf.zeros_like(x), x[:, :2, :2], start))
    entry = tf_keras.Input(ROW)
    model = tf_keras.Model(entry, canvas(entry))
    np.testing.assert_array_equal(run(canonicalize(model), [images])[0], model(images))


class Places(layers.Layer):
    """Adds normalized embeddings of places: a layer that is called on what does not depend on the input."""

    def __init__(self, move):
        super().__init__()
        self.move, self.norm = move, layers.LayerNormalization(gamma_initializer="ones")

    def build(self, shape):
        self.places = self.add_weight("places", (4, 2), initializer="random_normal")

    def call(self, x):
        return x + self.norm(self.move(self.places))


@pytest.mark.parametrize("move", [tf.identity, lambda v: v, lambda v: tf.expand_dims(v, 0)])
def test_a_normalization_of_a_variable_is_read(move):
    entry = tf_keras.Input(ROW)
    model = tf_keras.Model(entry, Places(move)(entry))
    rows = np.random.default_rng(0).normal(size=(3, *ROW)).astype(np.float32)
    np.testing.assert_allclose(run(canonicalize(model), [rows])[0], model(rows), rtol=1e-5, atol=1e-5)


def test_real_numbers_of_any_precision_are_float32_here():
    assert [kind(dtype) for dtype in (tf.float16, tf.float64, tf.int64, tf.bool)] == [
        "float32",
        "float32",
        "int64",
        "bool",
    ]
    variable = tf.Variable(1.0)
    assert parts(variable) == [variable]
    assert len(handles(variable)) == 1


def test_sizes_that_follow_from_an_open_batch_are_worked_out():
    known = np.array([Open(), 8], object)
    assert not is_whole(known)
    assert is_whole(np.array([1, 8], object))
    assert reshaped(np.array([Open(2), -1], object), None, (None, 4, 6)) == [Open(2), 12]
    assert reshaped(np.array([-1, -1], object), None, (None, 4)) is None
    assert reshaped(np.array([Open(), 4, -1], object), None, (None, 8), times=4) == [Open(), 4, 8]
    assert reshaped(None, (None, 3), None) == [-1, 3]


def by_time(x):
    return tf.nn.bias_add(tf.reduce_sum(x, -1), tf.linspace(0.0, 1.0, 4), "NC...")


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda x: tf.signal.frame(x, 2, 1, axis=1), {"reshape", "gather_constant"}),
        (lambda x: tf_keras.backend.switch(x > 0.0, x, 0.3 * x), {"greater", "reshape", "tile", "mul", "select"}),
        (by_time, {"sum", "add", "reshape"}),
        (lambda x: tf.expand_dims(tf.reshape(x, tf.concat([tf.shape(x)[:1], [-1]], 0)), -1), {"reshape"}),
        (lambda x: tf.where(tf.math.is_finite(x), x, tf.math.multiply_no_nan(x, 0.5)), {"select", "mul"}),
    ],
    ids=[
        "frames",
        "a condition that is repeated",
        "a bias along axis 1",
        "an axis behind an unknown one",
        "what is always finite",
    ],
)
def test_what_is_read_of_sizes_and_of_finite_numbers(function, named):
    graph = graph_of(function)
    assert {op for op in ops(graph) if op != "strided_slice"} == named
    rows = np.random.default_rng(0).normal(size=(3, *ROW)).astype(np.float32)
    np.testing.assert_allclose(run(graph, [rows])[0], function(tf.constant(rows)), rtol=1e-5, atol=1e-6)


def test_a_model_with_open_sizes_is_rebuilt_by_the_code_that_is_printed():
    entry = tf_keras.Input((None, None, 3), name="image")
    model = tf_keras.Model(entry, layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(entry)))
    assert is_open(entry)
    code = rebuilding(entry, [entry], "tf_keras")
    assert code == "entry = tf_keras.Input((h, w, 3)); tf_keras.Model(entry, model(entry))"
    *_, last = code.split("; ")
    values = {"tf_keras": tf_keras, "model": model, "h": 8, "w": 9}
    exec(code.split("; ")[0], values)
    assert eval(last, values).input_shape == (None, 8, 9, 3)


def test_a_model_is_cut_by_the_code_that_is_printed():
    entry = tf_keras.Input((3,))
    x = layers.Dense(4, name="first")(entry)
    model = tf_keras.Model(entry, layers.Dense(2, name="second")(x))
    values = {"tf_keras": tf_keras, "model": model}
    for line in cut_code(model, ["first"]):
        exec(line, values)
    assert values["before"].output_shape == values["model"].input_shape == (None, 4)
    assert cut_code(model, ["third"]) is None


def test_a_lookup_is_named_with_its_entries_and_cut_away():
    text = tf_keras.Input((1,), dtype="string")
    ids = layers.StringLookup(vocabulary=["a", "b"], name="lookup")(text)
    model = tf_keras.Model(text, layers.Dense(2)(layers.Flatten()(layers.Embedding(4, 2)(ids))))
    graph = read(model)
    (node,) = [node for node in graph.nodes if node.op == f"tf:{LOOKUPS['StringLookup']}"]
    assert node.attrs["holder"] == "StringLookup of 3 entries"
    assert "model.get_layer('lookup').output" in cut_after(model, graph)


def test_a_model_that_something_else_has_quantized_is_refused_with_what_to_give():
    import tensorflow_model_optimization as tfmot

    dense = tf_keras.Sequential([layers.Input((4,)), layers.Dense(3, name="d")])
    refuse_wrapped(dense)
    pruned = tfmot.sparsity.keras.prune_low_magnitude(dense)
    with pytest.raises(ModelError, match=r"strip_pruning\(model\) returns; layers prune_low_magnitude_d"):
        refuse_wrapped(pruned)


def test_a_loss_that_a_layer_adds_is_read_beside_the_model():
    class Penalty(layers.Layer):
        def call(self, x):
            self.add_loss(tf.reduce_sum(x))
            return x

    graph = graph_of(lambda x: layers.Dense(2)(Penalty()(x)), (3,))
    (tap,) = graph.taps
    assert tap.attrs["kind"] == "loss"
    assert tap.inputs[0].node.op == "input"
    assert "tap" not in [node.op for node in graph.nodes if id(node) in graph.needed_by_outputs()]
    model = tf_keras.Sequential([layers.Input(ROW), layers.ReLU()])
    traced = trace(model, readers(version_of(model)))
    assert "Relu" in {traced.graph.get_operation_by_name(name).type for name in ancestors_of(traced, traced.outputs)}


@pytest.mark.parametrize(
    ("function", "op"),
    [
        (lambda x: tf.slice(x, [1, 0, 0, 0], [-1, 4, 4, 2]), "tf:Slice that leaves out the first of an open axis"),
        (lambda x: x * tf.reduce_sum(tf.ones_like(x), 0), "tf:Sum"),
    ],
)
def test_what_would_be_read_as_something_else_is_refused(function, op):
    assert op in ops(graph_of(function))


def test_rows_of_a_weight_at_places_that_follow_from_it_are_computed_with_it():
    class Sparse(layers.Layer):
        def build(self, shape):
            self.w = self.add_weight("w", (2, 4), initializer="random_normal")

        def call(self, x):
            places = tf.stack([tf.range(2), tf.argmax(self.w, 1, output_type=tf.int32)], 1)
            sorted_rows = tf.gather_nd(tf.sort(self.w, 1), places)
            return tf.matmul(x, self.w - tf.gather_nd(self.w, places)[:, None] - sorted_rows[:, None])

    entry = tf_keras.Input((2,))
    model = tf_keras.Model(entry, Sparse()(entry))
    graph, rows = read(model), tf.random.normal((4, 2))
    assert not [op for op in ops(graph) if op.startswith("tf:")]
    np.testing.assert_allclose(run(graph, [rows])[0], model(rows), rtol=1e-5, atol=1e-6)
