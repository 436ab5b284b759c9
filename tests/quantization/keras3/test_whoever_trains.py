"""What a Keras 3 user does with a model works with a quantized one: data of any kind, callbacks, outputs by name."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import callbacks, layers

from qat.errors import ModelError
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert

from .networks import images, quantized

X, Y = images()
LOSS = "sparse_categorical_crossentropy"


@pytest.fixture(scope="module")
def shared():
    """One model for all ways to hand over data, compiled once."""
    model = quantized()
    model.compile(keras.optimizers.Adam(1e-3), LOSS, metrics=["accuracy"], weighted_metrics=["accuracy"])
    return model


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        rows = slice(32 * index, 32 * index + 32)
        return X[rows], Y[rows]


DATA = {
    "arrays": lambda: (X, Y),
    "tf.data": lambda: (tf.data.Dataset.from_tensor_slices((X, Y)).batch(32),),
    "PyDataset": lambda: (Batches(),),
    "generator": lambda: ((Batches()[i] for i in range(3)),),
}


@pytest.mark.medium
@pytest.mark.parametrize("kind", DATA)
def test_data_of_every_kind_trains(shared, kind):
    before = shared.get_layer("head").weights[0].numpy().copy()
    history = shared.fit(*DATA[kind](), verbose=0).history
    assert {"loss", "accuracy"} <= set(history)
    assert not np.array_equal(before, shared.get_layer("head").weights[0].numpy())


@pytest.mark.medium
def test_weights_of_samples_and_classes_count(shared):
    nothing = shared.evaluate(X, Y, sample_weight=np.zeros(len(X)), verbose=0)[0]
    penalty = float(sum(shared.losses))
    assert nothing == pytest.approx(penalty, rel=1e-5)
    shared.fit(X, Y, class_weight={0: 1.0, 1: 0.5, 2: 0.5, 3: 2.0}, verbose=0)
    assert np.isfinite(shared.train_on_batch(X[:8], Y[:8], sample_weight=np.ones(8))[0])


@pytest.mark.slow
def test_the_callbacks_of_keras_3_work(tmp_path):
    model = quantized()
    model.compile(keras.optimizers.Adam(1e-2), LOSS, metrics=["accuracy"])
    model.fit(
        X,
        Y,
        epochs=3,
        validation_data=(X, Y),
        verbose=0,
        callbacks=[
            callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True),
            callbacks.ModelCheckpoint(tmp_path / "{epoch}.weights.h5", save_weights_only=True),
            callbacks.EarlyStopping(patience=2, restore_best_weights=True),
            callbacks.ReduceLROnPlateau(patience=1),
            callbacks.TensorBoard(tmp_path / "logs"),
            callbacks.BackupAndRestore(tmp_path / "backup"),
            callbacks.CSVLogger(tmp_path / "log.csv"),
        ],
    )
    assert (tmp_path / "1.weights.h5").exists()
    best = keras.models.load_model(tmp_path / "best.keras")
    np.testing.assert_array_equal(best.predict(X, verbose=0), model.predict(X, verbose=0))
    assert (tmp_path / "log.csv").read_text().count("\n") == 4


@pytest.mark.medium
@pytest.mark.parametrize("options", [{"run_eagerly": True}, {"steps_per_execution": 2}, {"jit_compile": True}])
def test_it_is_compiled_in_every_way(options):
    model = quantized()
    with pytest.warns(UserWarning, match="doesn't support") if "jit_compile" in options else _silence():
        model.compile("sgd", LOSS, **options)
    model.fit(X[:64], Y[:64], batch_size=32, verbose=0)
    assert np.isfinite(model.evaluate(X[:64], Y[:64], verbose=0))


def _silence():
    import contextlib

    return contextlib.nullcontext()


def two_ends():
    image, extra = keras.Input((8, 8, 3), name="image"), keras.Input((2,), name="extra")
    x = layers.Flatten()(layers.Conv2D(4, 3, strides=2, activation="relu", name="conv")(image))
    x = layers.Dense(8, activation="relu", name="shared")(layers.Concatenate(name="both")([x, extra]))
    ends = {"kind": layers.Dense(4, activation="softmax", name="kind")(x), "size": layers.Dense(1, name="size")(x)}
    return keras.Model({"image": image, "extra": extra}, ends, name="two")


@pytest.mark.slow
def test_dictionaries_of_inputs_and_outputs_go_by_their_names():
    rng = np.random.default_rng(0)
    inputs = {"extra": rng.normal(size=(128, 2)).astype(np.float32)}
    inputs["image"] = rng.normal(size=(128, 8, 8, 3)).astype(np.float32)
    targets = {"kind": rng.integers(0, 4, 128), "size": rng.normal(size=(128, 1))}
    model = quantize_model(two_ends(), inputs)
    assert model.output_names == ["kind", "size"]
    model.compile("adam", {"kind": LOSS, "size": "mse"}, loss_weights={"kind": 1.0, "size": 0.1})
    model.fit(inputs, targets, verbose=0)
    answers = model.predict(inputs, verbose=0)
    assert set(answers) == {"kind", "size"}
    found = Interpreter(convert(model)).predict(inputs)
    for name, values in answers.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6)


@pytest.mark.medium
def test_checkpoints_of_tensorflow_hold_it(tmp_path):
    model = quantized()
    model.compile("adam", LOSS)
    model.fit(X[:32], Y[:32], verbose=0)
    answers = model.predict(X, verbose=0)
    checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
    path = checkpoint.save(tmp_path / "ckpt")
    model.fit(X[:32], Y[:32], verbose=0)
    checkpoint.restore(path).assert_existing_objects_matched()
    np.testing.assert_array_equal(model.predict(X, verbose=0), answers)
    another = quantized()  # its layers have other automatic names
    tf.train.Checkpoint(model=another).restore(path).assert_existing_objects_matched()
    np.testing.assert_array_equal(another.predict(X, verbose=0), answers)


def test_a_checkpoint_of_an_earlier_version_is_read(tmp_path):
    """It has the parts of the graph under the names of their layers."""
    model, saved = quantized(), quantized()
    saved.get_layer("head").bias.assign([1.0, 2.0, 3.0, 4.0])
    earlier, graph = tf.Module(), tf.Module()
    earlier._operations = [tf.Module(), graph]
    for part in saved.graph.parts:
        held = tf.Module()
        setattr(graph, part.name, held)
        for place, variable in enumerate(part.own):
            setattr(held, f"variable_{place}", variable.value)
    path = tf.train.Checkpoint(model=earlier).write(tmp_path / "earlier")
    assert any("--range/variable_0" in name for name, _ in tf.train.list_variables(path))
    tf.train.Checkpoint(model=model).read(path).expect_partial()
    np.testing.assert_array_equal(model.predict(X, verbose=0), saved.predict(X, verbose=0))


@pytest.mark.medium
def test_it_is_exported_as_a_saved_model(tmp_path):
    model = quantized()
    model.export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "saved")  # held: its variables go with it
    served = loaded.serve(X)
    np.testing.assert_allclose(served, model.predict(X, verbose=0), atol=2 / 256)


def test_a_loop_of_the_users_own_trains_it():
    model, optimizer = quantized(), keras.optimizers.SGD(0.1)
    before = model.get_layer("stem").weights[0].numpy().copy()
    with tf.GradientTape() as tape:
        answers = model(X[:32], training=True)
        loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(Y[:32], answers)) + sum(model.losses)
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply(gradients, model.trainable_variables)
    assert not np.array_equal(before, model.get_layer("stem").weights[0].numpy())


def test_a_call_with_values_in_the_place_of_variables_is_refused():
    model = quantized()
    values = [[each.value for each in of] for of in (model.trainable_variables, model.non_trainable_variables)]
    with pytest.raises(ModelError, match=r"stateless_call: .*model\(inputs, training=True\), under a tf.GradientTape"):
        model.stateless_call(*values, X[:2])


def test_a_constraint_of_the_float_model_holds():
    float_model = keras.Sequential([keras.Input((6,)), layers.Dense(4, kernel_constraint="non_neg", name="dense")])
    rows = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)
    model = quantize_model(float_model, rows)
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.fit(rows, np.zeros((128, 4)), epochs=2, verbose=0)
    assert model.get_layer("dense").kernel.numpy().min() >= 0
    with pytest.raises(AttributeError, match=r"'dense' of a .* has no 'gamma', but .*: kernel, bias"):
        _ = model.get_layer("dense").gamma
