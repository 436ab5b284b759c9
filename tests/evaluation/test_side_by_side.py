"""`qat.compare_models`: float, quantized and deployed on the same samples, in 80 columns and in a notebook."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import qat
from qat.contract import Contract
from qat.errors import DataError, ModelError, QatError
from qat.evaluation.side_by_side import Compared, ModelTable
from qat.metrics import Score
from qat.models import load
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, verify, with_metadata
from qat.wrapping import count_columns

X = np.random.default_rng(0).uniform(size=(200, 8, 8, 1)).astype(np.float32)


def classifier_of(classes):
    layers = tf_keras.layers
    return tf_keras.Sequential(
        [tf_keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(classes, activation="softmax")]
    )


@pytest.fixture(scope="module")
def model():
    tf_keras.utils.set_random_seed(0)
    return classifier_of(3)


@pytest.fixture(scope="module")
def labels(model):
    """What the model predicts, and for the first 20 samples another class."""
    predicted = model.predict(X, verbose=0).argmax(axis=1)
    return np.where(np.arange(200) < 20, (predicted + 1) % 3, predicted)


@pytest.fixture(scope="module")
def file(model):
    return convert(model, calibration=tf.data.Dataset.from_tensor_slices((X, np.zeros(200))))


@pytest.fixture(scope="module")
def table(model, file, labels, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    (folder / "model.tflite").write_bytes(file)
    model.save(folder / "model.keras")
    fake = quantize_model(model, tf.data.Dataset.from_tensor_slices((X, labels)).batch(32))
    models = {"float": model, "saved": folder / "model.keras", "qat": fake, "ptq": file}
    long = {"a deployed file with a name that is too long for a table of 80 columns": str(folder / "model.tflite")}
    return qat.compare_models(models | long, X, labels)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda model, file, y: qat.compare_models([model, file], X, y),
            "a dict of models by name, as {'float': model",
        ),
        (lambda model, file, y: qat.compare_models({"a": model}, X), "labels are missing: give y, the class of each"),
        (lambda model, file, y: qat.compare_models({"a": model}, iter([(X, y)])), "which may never end: give arrays"),
        (
            lambda model, file, y: qat.compare_models({"a": file}, X, y + 1),
            "labels go from 1 to 3, but the model has 3",
        ),
        (lambda model, file, y: Interpreter(file).evaluate(X, y - 1), "labels go from -1 to 1, .*: expected 0 to 2"),
        (lambda model, file, y: qat.compare_models({"a": object()}, X, y), "a is a builtins.object: .*Keras 2"),
        (lambda model, file, y: quantize_model(model, X, config="qat_w4a8"), "config is a str: expected a QuantConfig"),
        (lambda model, file, y: quantize_model(model, X, config={}), r"QuantConfig\(name='qat_w4a8', weight_bits=4\)"),
        (lambda model, file, y: convert(file), "not bytes: these bytes are a .tflite already"),
        (lambda model, file, y: convert(None), "convert takes a Keras model, not NoneType$"),
        (lambda model, file, y: load(model), "load takes the path of a saved model, not a Functional|Sequential"),
        (lambda model, file, y: load("nowhere.keras"), r"^nowhere\.keras: no such file"),
        (lambda model, file, y: load("x.npz"), "no such file|arrays, which are data"),
        (lambda model, file, y: Interpreter(file, threads="two"), "threads='two': expected an integer of at least 1"),
        (lambda model, file, y: Interpreter(file).predict(X.astype(str)), "got <U.*These are no numbers: read images"),
        (lambda model, file, y: qat.compare_models({"a": model}, X, X[:, 0]), "of others compare predictions with y"),
        (lambda model, file, y: qat.compare_models({"a": model}, X * np.nan, y), "a: its outputs .* x holds NaN"),
        (
            lambda model, file, y: qat.compare_models({"a": model}, X[:, :7], y),
            r"a: the model takes shape \[N, 8, 8, 1\], and x has .* Resize",
        ),
        (
            lambda model, file, y: qat.compare_models({"a": model, "b": classifier_of(5)}, X, y),
            "b: 5 classes, and a has 3: expected models of the same classes",
        ),
        (
            lambda model, file, y: convert("model.keras", calibration=X),
            r"not str: read it, as qat\.models\.load\(path\)",
        ),
    ],
)
def test_a_wrong_argument_is_refused_with_what_to_give(call, message, model, file, labels):
    with pytest.raises(QatError, match=message):
        call(model, file, labels)


def test_each_number_is_the_models_own(table, model, file, labels):
    assert table["float"].accuracy == table["saved"].accuracy == 0.9
    assert table["float"].size_bytes == (64 * 3 + 3) * 4
    assert (table["ptq"].size_bytes, table["ptq"].integer_only) == (len(file), True)
    predicted = Interpreter(file).predict(X).argmax(axis=1)
    assert table["ptq"].accuracy == np.mean(predicted == labels)
    assert table["ptq"].agreement == np.mean(predicted == model.predict(X, verbose=0).argmax(axis=1))
    assert [row.agreement for row in table.rows[:2]] == [1, 1]
    with pytest.raises(KeyError, match="the models are float, saved, qat, ptq"):
        table["int8"]


def test_it_prints_in_80_columns_and_in_a_notebook(table):
    lines = str(table).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split()[:2] == ["model", "accuracy"]
    assert "90.00 %" in lines[2]
    assert repr(table) == str(table)
    assert table._repr_html_().count("<tr>") == 6
    assert "<td>90.00 %</td>" in table._repr_html_()


@pytest.mark.parametrize("name", ["mobilenet_v2_035_deployed_of_seed", "一个很长的量化模型的名字用来测试"])
def test_long_names_stay_apart_beside_wide_numbers(name):
    score = Score(1.0, (0.9912, 1.0), 9)
    rows = [Compared(f"{name}_{number}", score, 1.0, 350_000_000, integer_only=True) for number in range(2)]
    *_, first, second, _ = str(ModelTable(tuple(rows), 9)).splitlines()
    assert first != second
    assert count_columns(first) == count_columns(second) <= 80
    assert "341796.9 KiB" in first


def test_a_name_of_several_lines_has_one_in_the_table_and_one_sample_is_no_several():
    rows = tuple(Compared(name, Score(1.0, (0.2, 1.0), 1), 1.0, 1024, True) for name in ("a\nb\tc", "d"))
    lines = str(ModelTable(rows, 1)).splitlines()
    assert len(lines) == 5
    assert lines[2].startswith(r"a\x0ab\x09c  ")
    assert lines[-1] == r"1 sample; agreement is with a\x0ab\x09c."
    assert ModelTable(rows, 1)["a\nb\tc"].size_bytes == 1024


def test_a_data_set_gives_what_its_arrays_give(model, file, labels):
    labelled = tf.data.Dataset.from_tensor_slices((X, np.eye(3)[labels])).batch(64)
    models = {"float": model, "ptq": file}
    assert str(qat.compare_models(models, labelled)) == str(qat.compare_models(models, X, labels))
    assert Interpreter(file).evaluate(labelled) == Interpreter(file).evaluate(X, labels)
    for dataset in (labelled, tf.data.Dataset.from_tensor_slices(X)):
        np.testing.assert_array_equal(Interpreter(file).predict(dataset), Interpreter(file).predict(X))
    with pytest.raises(DataError, match="leave y out"):
        qat.compare_models(models, labelled, labels)


def test_a_list_of_samples_is_distinguished_from_several_inputs(model, labels):
    x = list(X)
    with pytest.raises(DataError, match=r"a list of 200 arrays.*numpy\.stack\(x\)"):
        qat.compare_models({"a": model}, x, labels)
    assert qat.compare_models({"a": model}, eval("numpy.stack(x)", {"numpy": np, "x": x}), labels)["a"].accuracy == 0.9


def test_a_file_scores_itself_on_inputs_and_on_raw_pixels(file, labels):
    score = Interpreter(file).evaluate(X, labels)
    assert score.accuracy == float(score) == np.mean(Interpreter(file).predict(X).argmax(axis=1) == labels)
    assert str(score).endswith("200 samples)")
    pixels = (X * 255).round().astype(np.uint8)
    interpreter = Interpreter(with_metadata(file, contract=Contract((8, 8, 1), range=(0, 1))))
    assert interpreter.evaluate(pixels, labels).accuracy == np.mean(interpreter.run(pixels).argmax(axis=1) == labels)
    with pytest.raises(DataError, match="3 labels for 200 samples"):
        interpreter.evaluate(X, [0, 1, 2])


@pytest.mark.parametrize("models", [{}, [], {"float": 3}])
def test_what_is_no_model_is_refused(models, labels):
    with pytest.raises(ModelError):
        qat.compare_models(models, X, labels)


def test_a_verification_prints_as_a_report(file):
    score = verify(file)
    assert str(score).startswith("integer-only: yes")
    assert repr(score) == str(score)
    assert "<td>yes</td>" in score._repr_html_()
    assert (
        max(
            map(
                len,
                str(
                    verify(convert(tf_keras.Sequential([tf_keras.Input((4, 4, 1)), *many()]), scheme="float32"))
                ).splitlines(),
            )
        )
        <= 80
    )


def many():
    layers = tf_keras.layers
    return [
        layers.Conv2D(2, 1, activation="tanh"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(2, "sigmoid"),
        layers.Softmax(),
        layers.ReLU(),
    ]


@pytest.mark.slow
def test_the_package_loads_without_tensorflow_and_tensorflow_loads_quietly():
    code = (
        "import qat, sys; assert 'tensorflow' not in sys.modules; import tensorflow as tf; print(int(tf.constant(1)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert (done.stdout, done.stderr) == ("1\n", "")
