"""Models of somebody who means harm: none runs anything without trust, and none takes the machine along."""

import io
import json
import os
import zipfile
from importlib import import_module
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers
from tf_keras.src.saving import object_registration

from qat.errors import ModelError
from qat.limits import Limits, use
from qat.models import load
from qat.models.untrusted import allowed, graph_ops, trial_run
from qat.models.untrusted.check_config import NotAllowedError, validate_config
from qat.models.untrusted.trial import read_untrusted

ROOT = str(Path(__file__).resolve().parents[2])

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")


def plain():
    inputs = layers.Input((6,), name="there")
    return tf_keras.Model(inputs, layers.Dense(3, "softmax", name="end")(inputs), name="theirs")


def with_op(function=tf.abs):
    inputs = layers.Input((6,))
    return tf_keras.Model(inputs, function(inputs))


def keras_file(path, model, edit=lambda config: config, files=None):
    """A .keras of `model` whose config was changed by `edit`, and whose members were replaced by `files`."""
    model.save(path.with_name("before.keras"))
    with zipfile.ZipFile(path.with_name("before.keras")) as stored:
        members = {name: stored.read(name) for name in stored.namelist()}
    config = json.loads(members["config.json"])
    members["config.json"] = json.dumps(edit(config) or config).encode()
    members |= files or {}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return str(path)


def h5_file(path, model, edit=lambda config: config):
    model.save(path)
    with h5py.File(path, "a") as file:
        config = json.loads(file.attrs["model_config"])
        file.attrs["model_config"] = json.dumps(edit(config) or config)
    return str(path)


def layer_of(config, number=1):
    return config["config"]["layers"][number]


HARMFUL = {
    "keras.models.model_from_json": ["{}"],
    "keras.models.load_model": ["/tmp/x"],
    "io.write_file": ["{marker}", "gotcha"],
    "io.gfile.remove": ["{marker}"],
    "io.gfile.makedirs": ["{marker}"],
    "py_function": [],
    "numpy_function": [],
    "load_op_library": ["/tmp/x.so"],
    "raw_ops.WriteFile": ["{marker}", "gotcha"],
    "compat.v1.io.write_file": ["{marker}", "gotcha"],
    "saved_model.load": ["/tmp/x"],
    "print": [],
    "keras.utils.get_file": ["x", "http://127.0.0.1:1/x"],
    "map_fn": [],
}


@pytest.mark.medium
@pytest.mark.parametrize("symbol", HARMFUL)
@pytest.mark.parametrize("make", [keras_file, h5_file])
def test_a_function_that_does_more_than_compute_is_refused_by_name(tmp_path, symbol, make):
    marker = tmp_path / "marker"

    def edit(config):
        layer_of(config)["config"]["function"] = symbol
        node = layer_of(config)["inbound_nodes"][0]
        arguments = [each.replace("{marker}", str(marker)) for each in HARMFUL[symbol]]
        if arguments:
            node[3:] = [{"filename": arguments[0], "contents": arguments[-1]}]

    path = make(tmp_path / ("m.keras" if make is keras_file else "m.h5"), with_op(), edit)
    with pytest.raises(ModelError, match=rf"TFOpLambda of '{symbol}'.*can only compute.*trust=true"):
        load(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("builtins", "exec"), ("subprocess", "Popen"), ("evil_module", "Model"),
     ("keras.utils", "get_file"), ("tf_keras.src.utils.generic_utils", "func_load"), ("keras.layers", "Lambda"),
     ("keras.src.layers.rnn", "Dropper")],
)  # fmt: skip
def test_no_module_and_no_class_that_is_not_on_the_list_is_looked_up(tmp_path, module, name):
    def whole(config):
        return {**config, "module": module, "class_name": name, "registered_name": name}

    def inner(config):
        layer_of(config).update(module=module, class_name=name, registered_name=None)

    for edit in (whole, inner):
        with pytest.raises(ModelError, match=r"custom objects|not among|Lambda"):
            load(keras_file(tmp_path / "m.keras", plain(), edit))


def test_importing_a_module_that_a_file_names_never_happens(tmp_path, monkeypatch):
    (tmp_path / "evil_module.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w')")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = keras_file(tmp_path / "m.keras", plain(), lambda config: {**config, "module": "evil_module"})
    with pytest.raises(ModelError):
        load(path)
    assert not (tmp_path / "marker").exists()


def test_an_activation_from_any_module_is_refused(tmp_path):
    def edit(config):
        layer_of(config)["config"]["activation"] = {
            "class_name": "function", "module": "os", "config": "system", "registered_name": "system",
        }  # fmt: skip

    with pytest.raises(ModelError, match="system"):
        load(keras_file(tmp_path / "m.keras", plain(), edit))


@pytest.mark.parametrize("spelt", ["Lambda", "\\u004cambda"])
def test_a_lambda_is_refused_however_it_is_spelt(tmp_path, spelt):
    model = tf_keras.Sequential([layers.Lambda(lambda x: x + 1, input_shape=(3,))])
    path = h5_file(tmp_path / "m.h5", model)
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = str(file.attrs["model_config"]).replace("Lambda", spelt)
    with pytest.raises(ModelError, match="Lambda layers, that is Python code"):
        load(path)


def test_an_h5_with_a_harmless_zip_behind_it_is_read_as_what_it_begins_with(tmp_path):
    tf_keras.Sequential([layers.Lambda(lambda x: x + 1, input_shape=(3,))]).save(tmp_path / "m.h5")
    harmless = keras_file(tmp_path / "h.keras", plain())
    both = (tmp_path / "m.h5").read_bytes() + Path(harmless).read_bytes()
    for name in ("both.h5", "both.keras"):
        (tmp_path / name).write_bytes(both)
        with pytest.raises(ModelError, match=r"Lambda|broken"):
            load(str(tmp_path / name))


def test_a_saved_model_is_a_program_and_needs_trust(tmp_path):
    plain().save(tmp_path / "folder")
    with pytest.raises(ModelError, match=r"a SavedModel folder is a program.*trust=true"):
        load(str(tmp_path / "folder"))
    assert load(str(tmp_path / "folder"), trust=True).name == "theirs"


@pytest.mark.parametrize("where", ["external data set", "external link", "soft link", "virtual data set"])
def test_weights_that_lie_in_another_file_are_refused(tmp_path, where):
    (tmp_path / "secret").write_bytes(b"s" * 4000)
    path = h5_file(tmp_path / "m.h5", plain())
    with h5py.File(path, "a") as file:
        group = file["model_weights/end/end"]
        del group["bias:0"]
        if where == "external data set":
            group.create_dataset("bias:0", (3,), "f4", external=[(str(tmp_path / "secret"), 0, 12)])
        elif where == "virtual data set":
            layout = h5py.VirtualLayout((3,), "f4")
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (3,))
            group.create_virtual_dataset("bias:0", layout)
        else:
            other = str(tmp_path / "other.h5")
            group["bias:0"] = h5py.ExternalLink(other, "x") if where == "external link" else h5py.SoftLink("/x")
    with pytest.raises(ModelError, match=r"kept in another file|a link to another place or file"):
        load(path)


def test_a_vocabulary_that_is_the_path_of_a_file_is_refused(tmp_path):
    inputs = layers.Input((1,), dtype="string")
    model = tf_keras.Model(inputs, layers.StringLookup(vocabulary=["a", "b"])(inputs))

    def edit(config):
        layer_of(config)["config"]["vocabulary"] = "/etc/passwd"

    with pytest.raises(ModelError, match="vocabulary, a file that it would read"):
        load(keras_file(tmp_path / "m.keras", model, edit))


@pytest.mark.parametrize("make", [keras_file, h5_file])
def test_a_layer_of_a_billion_units_is_refused_by_the_memory_limit(tmp_path, make):
    def edit(config):
        layer_of(config)["config"]["units"] = 10**9

    path = make(tmp_path / ("m.keras" if make is keras_file else "m.h5"), plain(), edit)
    with use(Limits(memory_mb=1024)), pytest.raises(ModelError, match=r"m\.(keras|h5): .*1,024 MB.*limits.memory_mb"):
        load(path)


def test_weights_that_inflate_without_end_are_refused_by_their_size(tmp_path):
    path = keras_file(tmp_path / "m.keras", plain(), files={"model.weights.h5": bytes(200 << 20)})
    assert Path(path).stat().st_size < 1 << 20
    with use(Limits(file_mb=100)), pytest.raises(ModelError, match=r"m.keras.*200 MB, more than limits.file_mb=100"):
        load(path)


def test_an_array_of_great_shape_that_stores_nothing_is_refused(tmp_path):
    path = h5_file(tmp_path / "m.h5", plain())
    with h5py.File(path, "a") as file:
        del file["model_weights/end/end/kernel:0"]
        file["model_weights/end/end"].create_dataset("kernel:0", (30_000, 10_000), "f4")
    with pytest.raises(ModelError, match="stores nothing"):
        load(path)


@pytest.mark.medium
def test_a_model_whose_making_never_ends_is_stopped(tmp_path):
    def edit(config):  # a layer that waits for itself
        node = layer_of(config)["inbound_nodes"][0]
        node[0][0] = "end"

    with use(Limits(seconds=4)), pytest.raises(ModelError, match=r"more than limits.seconds=4 and was stopped"):
        load(keras_file(tmp_path / "m.keras", plain(), edit))
    assert load(keras_file(tmp_path / "good.keras", plain())).name == "theirs"


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "m.keras")
    with pytest.raises(ModelError, match="a pipe, socket or device"):
        load(str(tmp_path / "m.keras"))


def test_what_is_compiled_into_a_model_is_neither_needed_nor_read(tmp_path):
    model = plain()
    model.compile("adam", "mse")

    def edit(config):
        config["compile_config"]["loss"] = {"class_name": "function", "module": "os", "config": "system"}

    assert load(keras_file(tmp_path / "m.keras", model, edit)).optimizer is None


def test_the_child_has_no_right_to_write(tmp_path):
    import subprocess
    import sys

    code = "from qat import process_limits as own; own.limit(1 << 30, 5); print(own.forbid_writing(), flush=True)\n"
    code += (
        f"import os\nfor do in (lambda: open({str(tmp_path / 'x')!r}, 'w'), lambda: os.mkdir({str(tmp_path / 'y')!r}),"
    )
    code += (
        f" lambda: os.unlink({str(tmp_path / 'there')!r})):\n  try: do(); print('done')\n  except OSError: print('no')"
    )
    (tmp_path / "there").write_text("still")
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    if ended.stdout.startswith("False"):
        pytest.skip("this system has no Landlock")
    assert ended.stdout.split() == ["True", "no", "no", "no"]
    assert (tmp_path / "there").read_text() == "still"


def test_every_layer_on_the_list_is_one_of_keras_and_none_carries_code():
    from tf_keras.src.layers.serialization import get_builtin_layer

    assert not {"Lambda", "DropoutWrapper", "ResidualWrapper", "DeviceWrapper", "DenseFeatures"} & allowed.LAYERS
    unknown = {name for name in allowed.LAYERS if get_builtin_layer(name) is None and not hasattr(layers, name)}
    assert unknown == {"CustomScaleLayer", "LayerScale", "StochasticDepth"}


def test_no_symbol_on_the_list_reads_writes_or_calls_back():
    words = ("file", "py_func", "numpy_func", "load", "save", "print", "map_fn", "gfile", "io.", "keras", "library")
    assert not [symbol for symbol in allowed.SYMBOLS for word in words if word in symbol]


def _all_layers():
    image, vector, series = (8, 8, 3), (6,), (5, 4)
    for name in sorted(allowed.LAYERS & set(dir(layers))):
        arguments = ARGUMENTS.get(name, ())
        takes_images = name.endswith(("2D", "2DTranspose")) or name.startswith(("Random", "Center", "Resizing"))
        takes_series = name.endswith(("1D", "1DTranspose")) or name in ("LSTM", "GRU", "SimpleRNN", "Permute")
        shape = image if takes_images else series if takes_series else vector
        if name not in OTHERWISE and not name.endswith(("3D", "3DTranspose")) and "Convolution" not in name:
            yield name, shape, arguments


ARGUMENTS = {
    "Activation": ("relu",), "AlphaDropout": (0.1,), "CenterCrop": (4, 4), "Dense": (3,), "Dropout": (0.1,),
    "GaussianDropout": (0.1,), "GaussianNoise": (0.1,), "GRU": (3,), "LSTM": (3,), "SimpleRNN": (3,),
    "GroupNormalization": (3,), "Permute": ((2, 1),), "RandomBrightness": (0.1,), "RandomContrast": (0.1,),
    "RandomCrop": (4, 4), "RandomHeight": (0.1,), "RandomRotation": (0.1,), "RandomTranslation": (0.1, 0.1),
    "RandomWidth": (0.1,), "RandomZoom": (0.1,), "RepeatVector": (3,), "Rescaling": (0.5,), "Reshape": ((2, 3),),
    "Resizing": (4, 4), "SpatialDropout1D": (0.1,), "SpatialDropout2D": (0.1,),
    **{name: (3, 2) for name in ("Conv1D", "Conv2D", "Conv1DTranspose", "Conv2DTranspose", "SeparableConv1D",
                                 "SeparableConv2D", "LocallyConnected1D", "LocallyConnected2D")},
    "DepthwiseConv1D": (2,), "DepthwiseConv2D": (2,),
}  # fmt: skip
OTHERWISE = {
    *(
        "AbstractRNNCell",
        "Layer",
        "Wrapper",
        "RNN",
        "Bidirectional",
        "TimeDistributed",
        "InputLayer",
        "StackedRNNCells",
    ),
    *("GRUCell", "LSTMCell", "SimpleRNNCell", "Dot", "Subtract", "Add", "Average", "Concatenate", "Maximum", "Minimum"),
    *("Multiply", "Attention", "AdditiveAttention", "MultiHeadAttention", "EinsumDense", "Embedding", "Hashing"),
    *("HashedCrossing", "IntegerLookup", "StringLookup", "TextVectorization", "CategoryEncoding", "Discretization"),
    *("ConvLSTM1D", "ConvLSTM2D", "SpectralNormalization", "PReLU"),
}


@pytest.mark.medium
def test_layers_of_keras_load_without_trust_from_both_kinds_of_file(tmp_path):
    by_shape = {}
    for name, shape, arguments in _all_layers():
        by_shape.setdefault(shape, []).append(getattr(layers, name)(*arguments))
    assert sum(map(len, by_shape.values())) > 50
    for shape, each in by_shape.items():
        inputs = layers.Input(shape)
        model = tf_keras.Model(inputs, [layer(inputs) for layer in each])
        for kind in ("keras", "h5"):
            model.save(tmp_path / f"m.{kind}")
            loaded = load(str(tmp_path / f"m.{kind}"))
            assert [type(layer) for layer in loaded.layers] == [type(layer) for layer in model.layers]
            for ours, theirs in zip(loaded.get_weights(), model.get_weights(), strict=True):
                np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_nested_shared_attending_and_recurrent_models_load_without_trust(tmp_path):
    inputs = layers.Input((5, 4))
    shared = tf_keras.Sequential([layers.Dense(4), layers.ReLU(6.0)], name="inner")
    x = layers.MultiHeadAttention(2, 3)(shared(inputs), shared(inputs), use_causal_mask=True)
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True, recurrent_dropout=0.2))(x)
    x = layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)])(layers.TimeDistributed(layers.Dense(2))(x))
    model = tf_keras.Model(
        inputs, layers.Dense(2, kernel_regularizer="l2", kernel_constraint="non_neg")(x[:, :2] * 2.0 + 1)
    )
    sample = np.random.default_rng(0).random((3, 5, 4), np.float32)
    for kind in ("keras", "h5"):
        model.save(tmp_path / f"m.{kind}")
        np.testing.assert_array_equal(load(str(tmp_path / f"m.{kind}"))(sample), model(sample))


def test_adapted_preprocessing_comes_back_with_its_vocabulary_and_its_statistics(tmp_path):
    words, numbers = layers.Input((1,), dtype="string"), layers.Input((6,))
    lookup, scale = layers.TextVectorization(output_sequence_length=4), layers.Normalization()
    lookup.adapt(np.array(["a b", "c d e"]))
    scale.adapt(np.random.default_rng(0).random((50, 6)))
    model = tf_keras.Model([words, numbers], [lookup(words), scale(numbers)])
    model.save(tmp_path / "m.keras")
    inputs = [tf.constant([["a d"], ["e x"]]), np.ones((2, 6), np.float32)]
    for ours, theirs in zip(load(str(tmp_path / "m.keras"))(inputs), model(inputs), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_arithmetic_between_layers_loads_without_trust(tmp_path):
    inputs = layers.Input((8, 8, 3))
    outputs = [
        inputs[:, 1:, :, :2], tf.nn.relu6(inputs + 3.0) / 6.0, tf.image.resize(inputs, (4, 4)),
        tf.reduce_mean(inputs, [1, 2]),
        tf.where(inputs > 0.5, inputs, -inputs), tf.transpose(inputs, [0, 2, 1, 3]), tf.concat([inputs, inputs], -1),
        tf_keras.backend.mean(inputs, axis=1), tf_keras.activations.gelu(inputs), tf.split(inputs, 3, -1)[0],
        tf.cast(inputs > 0.5, tf.float32), tf.reshape(inputs, (-1, 192)),
        tf.pad(inputs, [[0, 0], [1, 1], [1, 1], [0, 0]]),
        inputs**2, 1 - inputs, abs(inputs), tf.math.top_k(inputs, 2).values, tf.one_hot(tf.argmax(inputs, -1), 3),
        tf.nn.conv2d(inputs, np.ones((2, 2, 3, 4), np.float32), 1, "SAME"),
    ]  # fmt: skip
    model = tf_keras.Model(inputs, outputs)
    sample = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    for kind in ("keras", "h5"):
        model.save(tmp_path / f"m.{kind}")
        for ours, theirs in zip(load(str(tmp_path / f"m.{kind}"))(sample), model(sample), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_file_of_windows_keras_loads(tmp_path):
    path = keras_file(tmp_path / "m.keras", plain())
    with zipfile.ZipFile(path) as archive:
        stored = io.BytesIO(archive.read("model.weights.h5"))
    windows = io.BytesIO()
    with h5py.File(stored, "r") as before, h5py.File(windows, "w") as after:
        for name, group in before["layers"].items():
            before.copy(group, after, name=f"layers\\{name}")
        after.create_group("vars")
    path = keras_file(tmp_path / "w.keras", model := plain(), files={"model.weights.h5": windows.getvalue()})
    assert len(load(path).get_weights()) == len(model.get_weights())


def test_a_config_is_refused_wherever_in_it_something_is_named():
    good = json.loads(plain().to_json())
    assert validate_config(good)["class_name"] == "Functional"
    for value in ({"class_name": "Lambda", "config": {}}, {"class_name": "__lambda__", "config": {"value": "x"}}):
        for section in ({"a": value}, [1, [value]], {"class_name": "Dense", "config": {"x": value}}):
            planted = json.loads(json.dumps(good))
            planted["config"]["layers"][1]["config"]["somewhere"] = section
            with pytest.raises(NotAllowedError):
                validate_config(planted)


@pytest.mark.slow
def test_a_quantization_aware_model_of_ours_loads_without_trust_where_nothing_has_imported_it(tmp_path):
    import subprocess
    import sys

    from qat.quantization import quantize_model

    inputs = layers.Input((8, 8, 3))
    float_model = tf_keras.Model(
        inputs, layers.Dense(2)(layers.Flatten()(layers.Conv2D(4, 3, activation="relu")(inputs)))
    )
    sample = np.random.default_rng(0).random((100, 8, 8, 3), np.float32)
    quantized = quantize_model(float_model, sample)
    quantized.save(tmp_path / "qat.keras")
    np.save(tmp_path / "there.npy", quantized.predict(sample, verbose=0))
    code = "import numpy as np; from qat.models import load; m = load('qat.keras'); np.save('here.npy', m.predict("
    code += "np.random.default_rng(0).random((100, 8, 8, 3), np.float32), verbose=0))"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env={**os.environ, "PYTHONPATH": ROOT})
    np.testing.assert_array_equal(np.load(tmp_path / "here.npy"), np.load(tmp_path / "there.npy"))


def test_the_child_returns_numbers_and_a_config(tmp_path):
    model = plain()
    model.save(tmp_path / "m.h5")
    decoded = read_untrusted(tmp_path / "m.h5", {"2": frozenset(), "3": frozenset()})
    assert decoded.kind == ".h5"
    assert decoded.config["config"]["name"] == "theirs"
    assert sum(array.size for array in decoded.arrays.values()) == model.count_params()


@pytest.mark.parametrize("name", ["a b", "a\0b", "\ud800x", "a\u202eb", 5, "/tmp/x"])
@pytest.mark.parametrize("keras_version", [2, 3])
def test_a_name_that_tensorflow_takes_for_no_scope_is_refused(tmp_path, keras_version, name):
    import keras

    if keras_version == 3:
        inputs = keras.Input((6,))
        model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    else:
        model = plain()

    def edit(config):
        config["config"]["name"] = name

    with pytest.raises(ModelError, match=r"TensorFlow takes letters, digits|name. must be a string"):
        load(keras_file(tmp_path / "m.keras", model, edit))


def test_an_input_that_holds_no_numbers_is_refused(tmp_path):
    def edit(config):
        layer_of(config, 0)["config"]["dtype"] = "resource"

    with pytest.raises(ModelError, match=r"input 'there' is of dtype .*resource.*expected numbers"):
        load(keras_file(tmp_path / "m.keras", plain(), edit))


def registered_as_ours():
    import keras

    import_module("qat.quantization")  # registers them
    of_keras2 = object_registration._GLOBAL_CUSTOM_OBJECTS
    of_keras3 = {name: keras.saving.get_registered_object(name) for name in keras.saving.get_custom_objects()}
    return {name[4:]: kind.__module__ for name, kind in {**of_keras2, **of_keras3}.items() if name.startswith("qat>")}


def test_the_classes_of_ours_on_the_list_are_those_that_are_registered():
    assert registered_as_ours() == allowed.OWN_MODULES


@pytest.mark.parametrize("make", [keras_file, h5_file])
@pytest.mark.parametrize("name", ["TFOpLambda", "Lambda", "Functional", "QatModel"])
def test_keras_own_names_do_not_pass_as_classes_of_ours(tmp_path, make, name):
    def dress(config):
        harm = {"function": "keras.models.load_model", "name": "mine"}
        layer_of(config).update(
            class_name="TFOpLambda", module="qat.quantization.keras", registered_name=f"qat>{name}", config=harm
        )

    path = make(tmp_path / f"dressed{'.keras' if make is keras_file else '.h5'}", plain(), dress)
    with pytest.raises(ModelError, match="TFOpLambda"):
        load(path)


def test_a_registered_name_of_the_callers_lets_no_lambda_pass():
    config = {"class_name": "Lambda", "registered_name": "mine>Layer", "module": "mine", "config": {}}
    with pytest.raises(NotAllowedError, match="Lambda"):
        validate_config({"class_name": "Sequential", "config": {"layers": [config]}}, frozenset({"mine>Layer"}))


def test_a_model_that_holds_a_name_of_the_callers_as_a_mere_text_is_tried_in_the_child(tmp_path):
    def enlarge(config):
        layer_of(config)["config"].update(units=400_000_000)
        layer_of(config)["note"] = "TheirLayer"

    path = h5_file(tmp_path / "large.h5", plain(), enlarge)
    with tf_keras.utils.custom_object_scope({"TheirLayer": layers.Dense}), pytest.raises(ModelError, match="memory_mb"):
        load(path)


def with_program(op):
    """A config whose layer of ours runs an op in training."""
    step = [f"raw:{op}", [["in", 0]], {"operands": [["filename", None]], "attrs": {}}]
    program = {"steps": [step], "results": [["step", 0, 0]], "dtypes": ["string"]}
    ours = {"class_name": "InTraining", "module": "qat.quantization.keras.training_layers"}
    ours |= {"registered_name": "qat>InTraining", "config": {"name": "drops", "program": program}}
    return {"class_name": "Sequential", "config": {"layers": [ours]}}


@pytest.mark.parametrize("op", ["ReadFile", "WriteFile", "EagerPyFunc", "PyFuncStateless", "DebugIdentity", "PrintV2"])
def test_no_op_of_a_training_program_does_more_than_compute(op):
    with pytest.raises(NotAllowedError, match=op):
        validate_config(with_program(op))
    assert validate_config(with_program("Conv2DBackpropFilter"))
    assert validate_config(with_program("RandomUniform"))


def test_ops_that_only_compute_are_known_by_their_definitions():
    assert all(map(graph_ops.only_computes, ("Conv2D", "BiasAddGrad", "RandomUniform", "CTCLoss", "TensorListGetItem")))
    harmful = ("SaveV2", "RestoreV2", "MatchingFiles", "ReadVariableOp", "Assign", "If", "NoSuchOp", "UnicodeEncode")
    assert not any(map(graph_ops.only_computes, harmful))


def test_constants_of_a_training_program_count_against_the_memory_limit():
    config = with_program("Identity")
    packed = {"array": "eJw=", "dtype": "float32", "sizes": [1 << 20, 1 << 12]}
    config["config"]["layers"][0]["config"]["program"]["steps"].append(["const", [], {"value": packed}])
    with pytest.raises(NotAllowedError, match="memory_mb"):
        validate_config(config)


def test_a_tensor_whose_size_is_computed_is_bound_by_the_memory_limit(tmp_path):
    inputs = layers.Input((6,))
    size = tf.reshape(tf.cast(tf.reduce_sum(inputs) * 0.0 + 3e9, tf.int64), [1])
    model = tf_keras.Model(inputs, layers.Dense(3)(inputs * tf.reduce_max(tf.fill(size, 1.0))))
    model.save(tmp_path / "grows.keras")
    with pytest.raises(ModelError, match=r"running it once takes more than 4,096 MB"):
        load(str(tmp_path / "grows.keras"))


def test_loops_and_computed_sizes_are_run_in_the_child_first():
    loop = ["functions:While", [["in", 0]], {"functions": []}]
    assert trial_run.depends_on_numbers(plain(), {"config": {"program": {"steps": [loop]}}})
    assert not trial_run.depends_on_numbers(plain(), {"class_name": "Dense", "config": {"kernel_initializer": "zeros"}})
    assert trial_run.depends_on_numbers(
        with_op(lambda x: tf.fill(tf.cast(tf.reduce_max(x, keepdims=True)[0], "int32"), 1)), {}
    )
    assert trial_run.depends_on_numbers(
        with_op(lambda x: tf.one_hot(tf.cast(x, "int32"), tf.cast(tf.reduce_max(x), "int32"))), {}
    )
    assert not trial_run.depends_on_numbers(with_op(lambda x: tf.pad(tf.tile(x, [1, 3]), [[0, 0], [1, 1]])), {})


def test_texts_and_ragged_rows_are_not_run_and_load(tmp_path):
    words = tf_keras.Input((1,), dtype=tf.string)
    lookup = layers.StringLookup(vocabulary=["a", "b"])
    depth = tf.cast(tf.reduce_max(lookup(words)) + 3, tf.int32)
    tf_keras.Model(words, tf.one_hot(lookup(words), depth)).save(tmp_path / "words.keras")
    assert load(str(tmp_path / "words.keras"))(np.array([["b"]])).shape == (1, 1, 5)


class Doubles(layers.Layer):
    """A layer of the user's."""

    def call(self, inputs):
        return 2 * inputs


@pytest.mark.parametrize("make", [keras_file, h5_file])
@pytest.mark.parametrize("registered", ["nothing", None, "evil>Doubles", "Doubles"])
def test_a_class_of_the_callers_is_looked_up_and_no_module_is_imported_for_it(tmp_path, monkeypatch, make, registered):
    (tmp_path / "evil_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)

    def name_module(config):
        layer_of(config).update(module="evil_module", registered_name=registered)

    inputs = layers.Input((6,))
    file = tmp_path / f"m.{make.__name__.removesuffix('_file')}"
    path = make(file, tf_keras.Model(inputs, Doubles(name="mine")(inputs)), name_module)
    with tf_keras.utils.custom_object_scope({"Doubles": Doubles}):
        assert isinstance(load(path).get_layer("mine"), Doubles)


def test_a_layer_of_keras_stays_one_where_the_caller_has_a_class_of_its_name(tmp_path):
    plain().save(tmp_path / "m.keras")
    with tf_keras.utils.custom_object_scope({"Dense": Doubles}):
        assert type(load(str(tmp_path / "m.keras")).layers[-1]) is layers.Dense


@pytest.mark.parametrize("name", [None, "nick"])
def test_a_class_that_the_caller_has_registered_is_found_by_any_name(tmp_path, name):
    import keras

    @keras.saving.register_keras_serializable(*([] if name is None else ["theirs", name]))
    class Halves(keras.layers.Layer):
        def call(self, inputs):
            return inputs / 2

    inputs = keras.Input((6,))
    keras.Model(inputs, Halves()(inputs)).save(tmp_path / "m.keras")
    assert isinstance(load(str(tmp_path / "m.keras")).layers[-1], Halves)


def test_words_of_a_vocabulary_are_no_ops():
    config = with_program("Identity")
    config["config"]["layers"].append({"class_name": "StringLookup", "config": {"words": {"vocabulary": ["raw:meat"]}}})
    assert validate_config(config)
