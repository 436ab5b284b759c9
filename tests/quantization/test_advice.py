"""The code that a refusal prints is run here: it does what the message says."""

import textwrap
import warnings

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from tf_keras import layers

import qat
from qat.errors import ModelError, UnsupportedLayerError
from qat.quantization import quantize_model
from qat.tflite import convert, verify

RANDOM = np.random.default_rng(0)


def message_of(model, calibration=None):
    with pytest.raises(ModelError) as refused:
        quantize_model(model, calibration)
    return str(refused.value)


def run(statements, **names):
    """The names after the statements, a line or several, have run; the value of the last expression is `_`."""
    *before, last = textwrap.dedent(statements).replace("; ", "\n").strip().split("\n")
    exec("\n".join(before), names)
    names["_"] = eval(last, names) if "= " not in last.split("(")[0] else exec(last, names)
    return names


# Pixels for calibration, of a model that does not scale them


@pytest.mark.parametrize("code", ["x.astype('float32') / 255", "x.astype('float32')"])
@pytest.mark.parametrize("make", [quantize_model, lambda model, x: convert(model, calibration=x)])
def test_pixels_are_warned_of_and_taken_in_silence_as_either_code_has_them(make, code):
    model = tf_keras.Sequential([layers.Input((4, 4, 1), name="image"), layers.Flatten(), layers.Dense(3)])
    x = RANDOM.integers(0, 256, (120, 4, 4, 1)).astype(np.uint8)
    with pytest.warns(UserWarning, match="holds uint8 from 0 to 255, and the input is float32") as told:
        make(model, x)
    assert code in str(told[0].message)
    assert sum("holds uint8" in str(each.message) for each in told) == 1
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "calibration")
        make(model, eval(code, {"x": x}))


# Sizes that a model leaves open


def image():
    entry = tf_keras.Input((None, None, 3), name="image")
    return tf_keras.Model(entry, layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(entry)))


def series():
    entry = tf_keras.Input((None, 3), name="series")
    return tf_keras.Model(entry, layers.LSTM(4)(entry))


def label_ids():
    entry = tf_keras.Input((None,), dtype="int32", name="ids")
    return tf_keras.Model(entry, layers.GlobalAveragePooling1D()(layers.Embedding(9, 4)(entry)))


def frames():
    entry = tf_keras.Input((None, 8, 9, 1))
    return tf_keras.Model(
        entry, layers.GlobalAveragePooling2D()(layers.TimeDistributed(layers.Conv2D(1, 3))(entry)[:, 0])
    )


def by_place(named=False):
    steps, other = tf_keras.Input((None, 3), name="steps"), tf_keras.Input((4,), name="other")
    y = layers.Dense(2)(layers.Concatenate()([layers.LSTM(3)(steps), other]))
    return tf_keras.Model({"steps": steps, "other": other} if named else [steps, other], y)


OPEN = {
    "image": (image, {"h": 8, "w": 9}, "entry = tf_keras.Input((h, w, 3)); tf_keras.Model(entry, model(entry))"),
    "series": (series, {"steps": 5}, "entry = tf_keras.Input((steps, 3)); "),
    "label ids": (label_ids, {"steps": 5}, "entry = tf_keras.Input((steps,), dtype='int32'); "),
    "frames": (frames, {"frames": 4}, "entry = tf_keras.Input((frames, 8, 9, 1)); "),
    "two inputs": (by_place, {"steps": 5}, "entries = [tf_keras.Input((steps, 3), name='steps'), "),
    "inputs by name": (
        lambda: by_place(True),
        {"steps": 5},
        "entries = {'other': tf_keras.Input((4,), name='other'), ",
    ),
}


@pytest.mark.medium
@pytest.mark.parametrize(("build", "sizes", "code"), OPEN.values(), ids=OPEN)
def test_the_line_for_open_sizes_keeps_every_weight_and_makes_a_model_that_quantizes(build, sizes, code):
    model = build()
    said = message_of(model)
    assert code in said
    made = run(said[said.index(code[:5]) :], model=model, tf_keras=tf_keras, **sizes)["_"]
    assert all(map(np.array_equal, made.get_weights(), model.get_weights()))
    rows = {t.name: RANDOM.integers(0, 5, (128, *t.shape[1:])).astype(t.dtype.name) for t in made.inputs}
    assert verify(convert(quantize_model(made, rows))).integer_only


def test_the_line_for_a_model_that_was_never_called_makes_one_that_quantizes():
    model = tf_keras.Sequential([layers.Dense(3)], name="unbuilt")
    said = message_of(model)
    made = run(said[said.index("entry = ") :], model=model, tf_keras=tf_keras, shape=(6,))["_"]
    assert verify(convert(quantize_model(made, RANDOM.normal(size=(128, 6))))).integer_only


# The cut behind what looks up


def adapted(kind, data, **options):
    layer = kind(name="front", **options)
    layer.adapt(data)
    return layer


def looked_up(layer, dtype, shape):
    entry = tf_keras.Input(shape, dtype=dtype, name="raw")
    x = layers.Flatten()(layers.Embedding(12, 4)(layer(entry)))
    return tf_keras.Model(entry, layers.Dense(2)(x))


def words(texts):
    return np.array([[texts[i % len(texts)]] for i in range(128)])


TEXTS = ["a b", "c d e", "b"]
LOOKUPS = {
    "IntegerLookup of 6": lambda: (
        looked_up(adapted(layers.IntegerLookup, np.arange(5)), "int64", (1,)),
        np.arange(128).reshape(-1, 1) % 7,
    ),
    "StringLookup of 3": lambda: (
        looked_up(adapted(layers.StringLookup, ["a", "b"]), "string", (1,)),
        words(["a", "b", "z"]),
    ),
    "TextVectorization of 7": lambda: (
        looked_up(adapted(layers.TextVectorization, TEXTS, output_sequence_length=4), "string", (1,)),
        words(TEXTS),
    ),
    "Hashing": lambda: (looked_up(layers.Hashing(7, name="front"), "string", (1,)), words(["a", "b"])),
    "Discretization": lambda: (
        looked_up(layers.Discretization([0.0, 1.0], name="front"), "float32", (1,)),
        RANDOM.normal(size=(128, 1)).astype(np.float32),
    ),
}


@pytest.mark.parametrize("kind", LOOKUPS)
def test_the_cut_behind_a_lookup_leaves_a_model_that_quantizes_and_computes_the_same(kind):
    whole, raw = LOOKUPS[kind]()
    said = message_of(whole, raw)
    assert "layer 'front': op " in said
    assert kind in said
    assert said.count("op ") == 1, "one line for the whole layer"
    after = run(said[said.index("  before =") :], model=whole, tf_keras=tf_keras)
    ids = after["before"](tf.constant(raw)).numpy()
    np.testing.assert_allclose(after["model"](ids), whole(tf.constant(raw)), rtol=1e-6)
    assert verify(convert(quantize_model(after["model"], ids))).integer_only


def test_a_cut_beside_other_inputs_keeps_them_in_their_order():
    number, word = tf_keras.Input((6,), name="number"), tf_keras.Input((3,), dtype="string", name="word")
    table = layers.StringLookup(vocabulary=["a", "b"], name="front")
    x = layers.Concatenate()([layers.Flatten()(layers.Embedding(4, 3)(table(word))), number])
    whole = tf_keras.Model([number, word], {"y": layers.Dense(2)(x)})
    raw = [RANDOM.normal(size=(128, 6)).astype(np.float32), np.array([["a", "b", "c"]] * 128)]
    said = message_of(whole, raw)
    after = run(said[said.index("  before =") :], model=whole, tf_keras=tf_keras)
    fed = [raw[0], after["before"](list(map(tf.constant, raw))).numpy()]
    np.testing.assert_allclose(after["model"](fed)["y"], whole(list(map(tf.constant, raw)))["y"], rtol=1e-6)
    assert verify(convert(quantize_model(after["model"], fed))).integer_only


# Models that something else has changed already

IMAGES = RANDOM.normal(size=(128, 8, 8, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def convolutional():
    image = tf_keras.Input((8, 8, 3), name="image")
    return tf_keras.Model(image, layers.Dense(2)(layers.Flatten()(layers.Conv2D(4, 3, name="conv")(image))))


AWARE = {"ours": lambda m: quantize_model(m, IMAGES), "tfmot's": tfmot.quantization.keras.quantize_model}


@pytest.mark.parametrize("make", AWARE.values(), ids=AWARE)
def test_a_quantization_aware_model_is_told_to_train_and_convert_as_it_is(convolutional, make):
    model = make(convolutional)
    said = message_of(model, IMAGES)
    assert "is quantization-aware already: train it with fit() and make its file with qat.tflite.convert(model)" in said
    assert "conv" in said
    model.compile("sgd", "mse")
    model.fit(IMAGES, np.zeros((128, 2)), verbose=0)
    assert verify(run("qat.tflite.convert(model)", qat=qat, model=model)["_"]).body_integer_only


def clustered(model):
    start = tfmot.clustering.keras.CentroidInitialization.LINEAR
    return tfmot.clustering.keras.cluster_weights(model, number_of_clusters=4, cluster_centroids_init=start)


STRIPPED = {"pruning": tfmot.sparsity.keras.prune_low_magnitude, "clustering": clustered}


@pytest.mark.parametrize(("kind", "wrap"), STRIPPED.items(), ids=STRIPPED)
def test_pruning_and_clustering_wrappers_are_taken_off_by_what_the_message_says(convolutional, kind, wrap):
    model = wrap(convolutional)
    said = message_of(model, IMAGES)
    assert f"still holds the wrappers of tfmot's {kind}" in said
    code = said.split("give what ")[1].split(" returns")[0]
    stripped = run(code, tensorflow_model_optimization=tfmot, model=model)["_"]
    assert verify(convert(quantize_model(stripped, IMAGES))).integer_only


def test_an_annotated_model_is_sent_back_for_the_one_that_was_annotated(convolutional):
    said = message_of(tfmot.quantization.keras.quantize_annotate_model(convolutional), IMAGES)
    assert "give the model that quantize_annotate_model was given" in said
    quantize_model(convolutional, IMAGES)


# Words of the pre-flight

ROWS = RANDOM.normal(size=(128, 6)).astype(np.float32)


def lambda_model(function, **options):
    entry = tf_keras.Input((6,), name="features", **options)
    return tf_keras.Model(entry, layers.Dense(2)(layers.Lambda(function, name="odd")(layers.Dense(6)(entry))))


WAYS_OUT = {
    "tf.shape(x)[0]": (lambda x: tf.reshape(x, (1, 6)), lambda x: tf.reshape(x, (tf.shape(x)[0], 6))),
    "tf_keras.activations.gelu": (tf.math.erf, tf_keras.activations.gelu),
    "tf.exp, tf.math.log, tf.tanh and tf.sqrt": (
        lambda x: tf.acos(tf.tanh(x)),
        lambda x: tf.tanh(x) + x * tf.math.log(1.0 + tf.sqrt(tf.exp(x))),
    ),
    "compute all rows at once": (
        lambda x: tf.map_fn(lambda row: tf.nn.softmax(row), x),
        tf.nn.softmax,
    ),
    "tf.matmul(x, tf.signal.dct(tf.eye(n)))": (tf.signal.dct, lambda x: tf.matmul(x, tf.signal.dct(tf.eye(6)))),
    "tf.gather(x, places, axis=1, batch_dims=1)": (
        lambda x: tf.gather_nd(x, tf.argmax(x, 1)[:, None], batch_dims=1)[:, None],
        lambda x: tf.gather(x, tf.argmax(x, 1), axis=1, batch_dims=1)[:, None],
    ),
    "tf.gather with the places written out": (
        lambda x: tf.repeat(x, [1, 2, 0, 1, 1, 1], axis=1),
        lambda x: tf.gather(x, [0, 1, 1, 3, 4, 5], axis=1),
    ),
    "tf.where": (
        lambda x: tf.cond(tf.reduce_sum(x) > 0.0, lambda: x, lambda: -x),
        lambda x: tf.where(x > 0.0, x, -x),
    ),
}


@pytest.mark.parametrize("said", WAYS_OUT)
def test_the_way_out_that_the_preflight_names_is_one(said):
    refused, instead = WAYS_OUT[said]
    sizes = {"batch_size": 1} if "shape" in said else {}
    with pytest.raises(UnsupportedLayerError) as error:
        quantize_model(lambda_model(lambda x: tf.ensure_shape(refused(x), (None, None)), **sizes), ROWS)
    assert said in str(error.value)
    assert verify(convert(quantize_model(lambda_model(instead), ROWS))).integer_only


def test_an_input_of_integers_for_ids_is_taken_as_the_preflight_says():
    halves = tf_keras.Input((6,), name="halves")
    said = message_of(tf_keras.Model(halves, layers.Flatten()(layers.Embedding(9, 2)(halves * 0.5))), ROWS)
    assert "tf_keras.Input(shape, dtype='int32')" in said
    ids = run("tf_keras.Input(shape, dtype='int32')", tf_keras=tf_keras, shape=(6,))["_"]
    model = tf_keras.Model(ids, layers.Flatten()(layers.Embedding(9, 2)(ids)))
    assert verify(convert(quantize_model(model, RANDOM.integers(0, 9, (128, 6))))).input_dtypes == ("int32",)


def test_a_state_that_is_not_kept_is_taken_as_the_preflight_says():
    def remembering(stateful):
        series = tf_keras.Input((4, 3), batch_size=2 if stateful else None, name="series")
        return tf_keras.Model(series, layers.LSTM(4, stateful=stateful)(series))

    rows = RANDOM.normal(size=(128, 4, 3)).astype(np.float32)
    assert "stateful=False" in message_of(remembering(True), rows)
    assert verify(convert(quantize_model(remembering(False), rows))).integer_only


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_weights_of_a_layer_that_needs_a_gpu_go_into_the_layer_that_the_preflight_names(kind, tmp_path):
    import tf_keras.src.layers as all_layers

    def series(layer):
        steps = tf_keras.Input((4, 3), name="steps")
        return tf_keras.Model(steps, layers.Dense(2, name="end")(layer(steps)))

    theirs = series(getattr(all_layers, f"CuDNN{kind}")(4, name="memory"))
    said = message_of(theirs, RANDOM.normal(size=(128, 4, 3)).astype(np.float32))
    assert f"layers.{kind}(units)" in said
    path = str(tmp_path / "theirs.h5")
    run(f"model.{said[said.index('save_weights') :].splitlines()[0]}".replace("theirs.h5", path), model=theirs)
    ours = series(run(f"layers.{kind}(units)", layers=layers, units=4)["_"])
    run(f"model.{said[said.index('load_weights') :].split(' of ')[0]}".replace("theirs.h5", path), model=ours)
    for there, here in zip(theirs.get_weights(), ours.get_weights(), strict=True):
        assert there.size in (here.size, 2 * here.size)  # cuDNN keeps two biases, whose sum an LSTM has
    np.testing.assert_array_equal(theirs.get_layer("end").kernel, ours.get_layer("end").kernel)


# What a layer of a quantization-aware model has not


def test_the_line_for_the_output_of_a_layer_makes_a_model_that_has_it_quantized():
    entry = tf_keras.Input((6,), name="features")
    model = tf_keras.Model(entry, layers.Dense(2)(layers.Dense(4, name="hidden")(entry)))
    with pytest.raises(AttributeError, match="holds the layer's variables") as refused:
        quantize_model(model, ROWS).get_layer("hidden").output  # noqa: B018
    said = str(refused.value)
    made = run(said[said.index("tf_keras.Model(") :], model=model, tf_keras=tf_keras)["_"]
    assert [tuple(each.shape) for each in quantize_model(made, ROWS).outputs] == [(None, 2), (None, 4)]
