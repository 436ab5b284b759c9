"""Files that Keras 3 wrote are read as those of Keras 2 are, and no code in them is run untrusted.

Through `qat.models.load` they reach `qat.models.weights_file` and `qat.models.untrusted.assemble_keras3`.
"""

import json
import zipfile

import h5py
import keras
import numpy as np
import pytest

from qat.errors import ModelError
from qat.models import load
from qat.models.untrusted.check_config import NotAllowedError, validate_config
from qat.models.which_keras import is_keras3

X = np.random.default_rng(0).normal(0, 1, (4, 8, 8, 3)).astype(np.float32)


@keras.saving.register_keras_serializable("mine")
class Doubled(keras.layers.Layer):
    def call(self, inputs):
        return 2 * inputs


def network(custom=None):
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.RandomFlip(seed=1)(keras.layers.Rescaling(0.5)(image))
    x = keras.layers.Conv2D(4, 3, activation="relu", kernel_regularizer="l2", name="conv")(x)
    x = keras.ops.maximum(keras.layers.BatchNormalization()(x), 0.1)[:, 1:, 1:]
    x = x if custom is None else custom(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Dropout(0.1)(x))
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, "gelu"), keras.layers.Dense(3)])
    return keras.Model(image, keras.layers.Softmax()(inner(x)), name="net")


def vectorized():
    text = keras.layers.StringLookup(vocabulary=["a", "b", "c"])
    word = keras.Input((2,), dtype="string")
    return keras.Model(word, keras.layers.Embedding(5, 3)(text(word)))


@pytest.fixture(scope="module")
def plain():
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(X, np.arange(4) % 3, verbose=0)
    return model


def test_a_keras_file_is_loaded_untrusted_and_not_compiled(plain, tmp_path):
    plain.save(tmp_path / "model.keras")
    loaded = load(str(tmp_path / "model.keras"))
    assert is_keras3(loaded)
    assert not loaded.compiled
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in plain.layers]
    trusted = load(str(tmp_path / "model.keras"), trust=True)
    for each in (loaded, trusted):
        np.testing.assert_array_equal(each(X, training=False), plain(X, training=False))


def test_an_h5_file_is_loaded_untrusted(tmp_path):
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "relu"), keras.layers.BatchNormalization()])
    inner.save(tmp_path / "model.h5")
    loaded = load(str(tmp_path / "model.h5"))
    assert is_keras3(loaded)
    np.testing.assert_array_equal(loaded(X[:, 0, 0]), inner(X[:, 0, 0]))


def test_weights_are_loaded_with_the_config_beside_them(plain, tmp_path):
    plain.save_weights(tmp_path / "mine.weights.h5")
    with pytest.raises(ModelError, match=r"mine.weights.h5: this .h5 holds weights only.*model.to_json\(\).*mine.json"):
        load(str(tmp_path / "mine.weights.h5"))
    (tmp_path / "mine.json").write_text(eval("model.to_json()", {"model": plain}))
    for trust in (False, True):
        np.testing.assert_array_equal(
            load(str(tmp_path / "mine.weights.h5"), trust=trust)(X, training=False), plain(X, training=False)
        )
    (tmp_path / "mine.json").write_text('{"keras_version": "2.15.0"}')
    with pytest.raises(ModelError, match=r"mine.json next to it is of Keras 2.15.0; expected Keras 3"):
        load(str(tmp_path / "mine.weights.h5"))


def test_vocabularies_come_with_the_file(tmp_path):
    model = vectorized()
    model.save(tmp_path / "words.keras")
    words = np.array([["c", "x"]])
    np.testing.assert_array_equal(load(str(tmp_path / "words.keras"))(words), model(words))


def test_a_class_that_this_process_registered_is_taken(tmp_path):
    model = network(Doubled())
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(load(str(tmp_path / "model.keras"))(X, training=False), model(X, training=False))


def rewritten(source, target, change):
    """The .keras file with another config."""
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as made:
        for name in archive.namelist():
            content = archive.read(name)
            made.writestr(name, change(content.decode()) if name == "config.json" else content)
    return str(target)


def test_foreign_classes_are_refused_by_name(tmp_path):
    model = network(Doubled())
    model.save(tmp_path / "own.keras")
    path = rewritten(tmp_path / "own.keras", tmp_path / "other.keras", lambda text: text.replace("Doubled", "Tripled"))
    for trust in (False, True):
        with pytest.raises(ModelError, match=r"other.keras: .*custom objects that are not in it: .*Tripled"):
            load(path, trust=trust)


def test_lambda_runs_only_when_trusted(tmp_path):
    model = network(keras.layers.Lambda(lambda x: x + 1))
    model.save(tmp_path / "model.keras")
    with pytest.raises(ModelError, match=r"Lambda layers, that is Python code.*trust=true"):
        load(str(tmp_path / "model.keras"))
    np.testing.assert_array_equal(
        load(str(tmp_path / "model.keras"), trust=True)(X, training=False), model(X, training=False)
    )


@pytest.mark.parametrize(
    "name",
    ["TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "Map", "WhileLoop", "VectorizedMap", "CustomGradient"],
)
def test_whatever_runs_code_or_reads_files_is_refused(plain, tmp_path, name):
    plain.save(tmp_path / "model.keras")

    def change(text):
        return text.replace('"class_name": "Rescaling"', f'"class_name": "{name}"')

    path = rewritten(tmp_path / "model.keras", tmp_path / "hostile.keras", change)
    with pytest.raises(ModelError, match=rf"hostile.keras: .*{name}"):
        load(path)


def test_modules_that_are_none_of_keras_are_not_imported(plain, tmp_path):
    plain.save(tmp_path / "model.keras")
    path = rewritten(
        tmp_path / "model.keras",
        tmp_path / "hostile.keras",
        lambda text: text.replace('"keras.layers"', '"antigravity"'),
    )
    with pytest.raises(ModelError, match=r"hostile.keras: .*custom objects|none of Keras'"):
        load(path)


def test_a_subclassed_model_without_inputs_is_refused(tmp_path):
    @keras.saving.register_keras_serializable("mine")
    class Own(keras.Model):
        def __init__(self, **options):
            super().__init__(**options)
            self.dense = keras.layers.Dense(2)

        def call(self, inputs):
            return self.dense(inputs)

    model = Own()
    model(X[:, 0, 0])
    model.save(tmp_path / "own.keras")
    with pytest.raises(ModelError, match=r"own.keras: a subclassed model.*keras.Model\(inputs, outputs\)"):
        load(str(tmp_path / "own.keras"), trust=True)
    inputs = keras.Input((3,))
    outputs = model(inputs)
    eval("keras.Model(inputs, outputs)", {"keras": keras, "inputs": inputs, "outputs": outputs}).save(
        tmp_path / "graph.keras"
    )
    np.testing.assert_array_equal(load(str(tmp_path / "graph.keras"), trust=True)(X[:, 0, 0]), model(X[:, 0, 0]))


def test_an_external_dataset_in_the_weights_is_refused(plain, tmp_path):
    plain.save(tmp_path / "model.keras")
    weights = tmp_path / "w.h5"
    with h5py.File(weights, "w") as file:
        file.create_dataset("layers/conv/vars/0", (3, 3, 3, 4), "f4", external=[("/etc/hostname", 0, 432)])
    with zipfile.ZipFile(tmp_path / "model.keras") as archive, zipfile.ZipFile(tmp_path / "x.keras", "w") as made:
        for name in archive.namelist():
            made.writestr(name, weights.read_bytes() if name.endswith(".h5") else archive.read(name))
    with pytest.raises(ModelError, match="kept in another file"):
        load(str(tmp_path / "x.keras"))


def test_a_config_nested_without_end_is_refused_beside_weights(plain, tmp_path):
    plain.save_weights(tmp_path / "mine.weights.h5")
    (tmp_path / "mine.json").write_text("[" * 100_000)
    with pytest.raises(ModelError, match=r"mine.json next to it is no config of a Keras model"):
        load(str(tmp_path / "mine.weights.h5"))


def function(module, name):
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def made(module, name, /, **config):
    return {"module": module, "class_name": name, "config": config, "registered_name": None}


@pytest.mark.parametrize(
    "changes",
    [
        {"activation": {"class_name": "__lambda__", "config": {"value": ["4wAA", None, None]}}},
        {"activation": function("keras.config", "enable_unsafe_deserialization")},
        {"activation": function("keras.src.saving.serialization_lib", "enable_unsafe_deserialization")},
        {"kernel_initializer": made("keras.config", "enable_unsafe_deserialization")},
        {"kernel_initializer": made("keras.utils", "get_file", fname="x", origin="file:///etc/passwd")},
        {"bias_initializer": {"class_name": "__numpy__", "config": {"value": [1], "dtype": "object"}}},
        {"cell": made("keras.layers", "Lambda", function={"class_name": "__lambda__", "config": {"value": "4wAA"}})},
        {"layer": made("keras.layers", "TFSMLayer", filepath="/tmp")},
        {"layer": made("keras.src.utils.torch_utils", "TorchModuleWrapper", module="Y29zCg==")},
        {"quantization_config": made("keras.quantizers", "Int8QuantizationConfig")},
        {"vocabulary": "/etc/passwd"},
    ],
)
def test_no_trick_of_a_keras3_config_is_looked_up(plain, changes):
    config = json.loads(plain.to_json())
    dense = next(each for each in config["config"]["layers"] if each["class_name"] == "Conv2D")
    validate_config(config)
    dense["config"].update(changes)
    with pytest.raises(NotAllowedError):
        validate_config(config)


@pytest.mark.parametrize(
    "changes",
    [
        {"registered_name": "keras>Lambda"},
        {"class_name": "Custom>Lambda"},
        {"class_name": "Lambda", "module": None},
        {"module": "keras.layers; import os"},
        {"module": "keras.src.testing", "class_name": "TestCase"},
    ],
)
def test_no_layer_of_a_keras3_config_passes_by_another_name(plain, changes):
    config = json.loads(plain.to_json())
    next(each for each in config["config"]["layers"] if each["class_name"] == "Conv2D").update(changes)
    with pytest.raises(NotAllowedError):
        validate_config(config)
