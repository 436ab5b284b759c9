"""A .keras file whose weights stand under the names of another Keras 2, or of Windows, loads with every weight."""

import json
import zipfile

import h5py
import numpy as np
import pytest
import tf_keras
from tf_keras import layers
from tf_keras.src.saving import saving_lib
from tf_keras.src.utils.generic_utils import to_snake_case

from qat.models import load


@pytest.fixture(scope="module")
def theirs():
    """Layers of one kind and shape twice over, a model in the model, and layers that hold layers."""
    tf_keras.utils.set_random_seed(0)
    inner_entry = layers.Input((4, 6))
    inner = tf_keras.Model(inner_entry, layers.Dense(5)(layers.Dense(5)(inner_entry)), name="inner")
    entry = layers.Input((4, 3))
    x = layers.BatchNormalization()(inner(layers.Bidirectional(layers.SimpleRNN(3, return_sequences=True))(entry)))
    x = layers.Flatten()(layers.TimeDistributed(layers.Dense(5))(x))
    model = tf_keras.Model(entry, layers.Dense(20)(layers.Dense(20)(x)), name="theirs")
    model.set_weights([np.random.default_rng(i).normal(size=w.shape) for i, w in enumerate(model.get_weights())])
    return model


def save_container_of_2_13(container, weights_store, assets_store, inner_path, visited_trackables):
    """Keras 2.13's own: what has been visited takes a number all the same."""
    used = {}
    for part in list(container.values()) if isinstance(container, dict) else container:
        if saving_lib._is_keras_trackable(part):
            name = to_snake_case(type(part).__name__)
            used[name] = used.get(name, -1) + 1
            path = f"{inner_path}/{name}_{used[name]}" if used[name] else f"{inner_path}/{name}"
            saving_lib._save_state(part, weights_store, assets_store, path, visited_trackables)


def forwards(part):
    for name in dir(part):
        if not name.startswith("__") and name not in saving_lib.ATTR_SKIPLIST:
            try:
                yield name, getattr(part, name)
            except Exception:
                continue


def as_written_by(version, monkeypatch, model, path):
    with monkeypatch.context() as keras:
        if version != "2.15.0":
            skipped = saving_lib.ATTR_SKIPLIST - {"_layer_checkpoint_dependencies"}
            keras.setattr(saving_lib, "ATTR_SKIPLIST", skipped)
            keras.setattr(saving_lib, "_walk_trackable", forwards)
        if version == "2.13.1":
            keras.setattr(saving_lib, "_save_container_state", save_container_of_2_13)
        model.save(path)
    rewritten(path, {"metadata.json": json.dumps({"keras_version": version, "date_saved": ""})})


def rewritten(path, members):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()} | members
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def as_on_windows(path, folder):
    """`layers/dense/vars/0` becomes `layers\\dense/vars/0`."""
    arrays = arrays_in(path)
    with h5py.File(folder / "renamed.h5", "w") as renamed:
        for name, array in arrays.items():
            renamed[name.replace("/", "\\", name.count("/") - 2)] = array  # the last two stand for themselves
    rewritten(path, {"model.weights.h5": (folder / "renamed.h5").read_bytes()})


def arrays_in(path):
    arrays = {}
    with zipfile.ZipFile(path) as archive, h5py.File(archive.open("model.weights.h5")) as stored:
        stored.visititems(lambda name, item: arrays.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return arrays


@pytest.mark.medium
@pytest.mark.parametrize(
    ("version", "windows", "last"),
    [
        ("2.13.1", False, "_layer_checkpoint_dependencies/dense_2/vars/0"),
        pytest.param("2.14.0", True, "_layer_checkpoint_dependencies\\dense_1/vars/0", marks=pytest.mark.slow),
        ("2.15.0", True, "layers\\dense_1/vars/0"),
    ],
)
def test_weights_are_found_under_the_names_of_the_keras_that_wrote_them(
    version, windows, last, theirs, monkeypatch, tmp_path
):
    path = tmp_path / "theirs.keras"
    as_written_by(version, monkeypatch, theirs, path)
    if windows:
        as_on_windows(path, tmp_path)
    assert last in arrays_in(path)
    for trust in (False, True):
        loaded = load(str(path), trust=trust)
        for there, here in zip(theirs.get_weights(), loaded.get_weights(), strict=True):
            np.testing.assert_array_equal(there, here)


def test_a_vocabulary_is_found_beside_them(monkeypatch, tmp_path):
    lookup = layers.StringLookup()
    lookup.adapt(["a", "a", "b"])
    model = tf_keras.Sequential([layers.Input((1,), dtype="string"), lookup])
    as_written_by("2.13.1", monkeypatch, model, tmp_path / "words.keras")
    with zipfile.ZipFile(tmp_path / "words.keras") as archive:
        assert "assets/_layer_checkpoint_dependencies/string_lookup/vocabulary.txt" in archive.namelist()
    for trust in (False, True):
        loaded = load(str(tmp_path / "words.keras"), trust=trust)
        assert loaded.layers[-1].get_vocabulary() == ["[UNK]", "a", "b"]


def test_lambda_code_of_an_older_keras_runs_only_when_trusted(monkeypatch, tmp_path):
    entry = layers.Input((2,))
    model = tf_keras.Model(entry, layers.Lambda(lambda x: x + 1)(layers.Dense(2)(entry)))
    as_written_by("2.14.0", monkeypatch, model, tmp_path / "lambda.keras")
    inputs = np.ones((1, 2), np.float32)
    np.testing.assert_array_equal(load(str(tmp_path / "lambda.keras"), trust=True)(inputs), model(inputs))
