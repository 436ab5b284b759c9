"""Files that are not what the Keras model gives: another checkpoint, a changed scale, calibration in another order."""

from types import SimpleNamespace

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.diagnosis import diagnose
from qat.diagnosis.case import Case, check_case
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.hypotheses.structure import find_other_ops
from qat.diagnosis.hypotheses.weights import _layers
from qat.tflite import Interpreter, convert, read
from qat.tflite.editing import apply_edit

from .conftest import preprocess

RANDOM = np.random.default_rng(0)


def ids(found):
    return [cause.id for cause in found.causes]


def early(network, settled):
    """A checkpoint of earlier: kernels almost there, BatchNormalization's statistics still near those of the start."""
    model = tf_keras.models.clone_model(network)
    for layer, final in zip(model.layers, network.layers, strict=True):
        weights = final.get_weights()
        if isinstance(layer, layers.BatchNormalization):
            gamma, beta, mean, variance = weights
            weights = [gamma, beta, settled * mean, settled * variance + 1 - settled]
        elif weights:
            weights = [w + 0.25 * w.std() * RANDOM.normal(size=w.shape) for w in weights]
        layer.set_weights(weights)
    return model


@pytest.mark.medium
@pytest.mark.parametrize("settled", [0.2, 0.5])
@pytest.mark.parametrize("scheme", ["int8", "float32"])
def test_an_early_checkpoint_is_told_from_a_wrong_calibration(network, digits, measured, settled, scheme):
    samples = preprocess(digits.x[:100]) if scheme == "int8" else None
    content = convert(early(network, settled), calibration=samples, scheme=scheme)
    for given in (measured, {**measured, "labels": None}):
        (cause,) = diagnose(content, **given).causes
        assert (cause.id, cause.certainty) == ("C07", "proved")
    (cause,) = diagnose(content, keras_model=network).causes
    assert (cause.id, cause.certainty) == ("C07", "certain")


def rescaled(content, factor, which):
    """The file with the weight scale of its convolution `which` changed, as a broken tool would leave it."""
    graph = read(content)
    weight = [op.inputs[1] for op in graph.ops if op.name == "CONV_2D"][which]

    def edit(model):
        quantization = model.subgraphs[0].tensors[weight].quantization
        quantization.scale = np.asarray(quantization.scale) * np.float32(factor)

    return apply_edit(content, edit)


@pytest.fixture(scope="module")
def waves():
    """A regression of pictures, which any wrong scale of a weight shows in."""
    rows = RANDOM.uniform(0, 1, (1200, 8, 8, 1)).astype(np.float32)
    target = np.stack([rows[:, :4].mean((1, 2, 3)) * 8, rows[:, :, :4].mean((1, 2, 3)) * 5 - 2], axis=1)
    tf_keras.utils.set_random_seed(0)
    x = entry = tf_keras.Input((8, 8, 1))
    for filters in (8, 12):
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(layers.Conv2D(filters, 3, use_bias=False)(x)))
    model = tf_keras.Model(entry, layers.Dense(2)(layers.Flatten()(x)))
    model.compile(tf_keras.optimizers.Adam(1e-2), "mse")
    model.fit(rows, target, epochs=8, verbose=0)
    return model, rows[:200], convert(model, calibration=rows[200:400], engine="tflite")


@pytest.mark.medium
@pytest.mark.parametrize(("factor", "which"), [(2.0, 0), (2.0, 1)])
def test_a_weight_scale_that_was_written_wrongly_is_told_from_a_wrong_calibration(waves, factor, which):
    model, inputs, content = waves
    assert diagnose(content, keras_model=model, inputs=inputs).blame == "none"
    wrong = rescaled(content, factor, which)
    for given, certainty in (({"inputs": inputs}, "proved"), ({}, "certain")):
        (cause,) = diagnose(wrong, keras_model=model, **given).causes
        assert (cause.id, cause.certainty) == ("C12", certainty)
        assert f" {factor:g} times)" in cause.evidence


def without_activations(model):
    for op in model.subgraphs[0].operators:
        if hasattr(op.builtinOptions, "fusedActivationFunction"):
            op.builtinOptions.fusedActivationFunction = 0


def test_an_activation_that_was_lost_is_named_and_mended_in_the_file(waves):
    model, inputs, _ = waves
    lost = apply_edit(convert(model, scheme="float32"), without_activations)
    (cause,) = diagnose(lost, keras_model=model, inputs=inputs).causes
    assert (cause.id, cause.certainty) == ("C12", "proved")
    assert "fused activation function is NONE, not RELU" in cause.evidence


@pytest.mark.medium
@pytest.mark.parametrize("scheme", ["int8", "float32"])
def test_joined_branches_that_were_exchanged_are_told_from_a_wrong_calibration(twins, scheme):
    def edit(model):
        (joined,) = (op for op in model.subgraphs[0].operators if len(op.inputs) == 2)
        joined.inputs = joined.inputs[::-1]

    right = [twins.raw[400:600, 0], twins.raw[400:600, 1]] if scheme == "int8" else None
    content = convert(twins.given["keras_model"], calibration=right, scheme=scheme, engine="tflite")
    raw, labels, prepare = (twins.given[name] for name in ("inputs", "labels", "preprocess"))
    sound = Case(content, twins.given["keras_model"], raw, labels, prepare, *[None] * 6)
    assert find_other_ops(Evidence(check_case(sound))) is None
    (cause,) = diagnose(apply_edit(content, edit), **twins.given).causes
    assert (cause.id, cause.certainty) == ("C12", "proved")
    assert "its inputs are exchanged" in cause.evidence


def test_padding_on_the_other_side_is_told_from_a_wrong_calibration(network, digits, measured):
    x = network.input
    for layer in network.layers[1:]:
        if layer.name == "deep":
            other = layers.Conv2D(32, 3, 2, use_bias=False, name="deep")
            x = other(layers.ZeroPadding2D(((2, 0), (2, 0)))(x))
            other.set_weights(layer.get_weights())
        else:
            x = layer(x)
    content = convert(tf_keras.Model(network.input, x), calibration=preprocess(digits.x[:100]), engine="tflite")
    (cause,) = diagnose(content, **measured).causes
    assert cause.id == "C12"
    assert "PAD 1 times, not 0" in cause.evidence


@pytest.mark.slow
@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU])
def test_other_weights_of_a_recurrent_layer_are_named(kind):
    rows = RANDOM.normal(size=(120, 6, 8)).astype(np.float32)
    entry = tf_keras.Input((6, 8), batch_size=1)
    models = [tf_keras.Model(entry, layers.Dense(4, activation="softmax")(kind(8)(entry))) for _ in range(2)]
    for model in models:
        model.set_weights([2 * RANDOM.normal(size=w.shape) for w in model.get_weights()])
    models[1].layers[-1].set_weights(models[0].layers[-1].get_weights())
    labels = np.concatenate([models[0](row[None]) for row in rows]).argmax(axis=1)
    given = {"keras_model": models[0], "inputs": rows, "labels": labels}
    assert diagnose(convert(models[0], scheme="float32"), **given).blame == "none"
    (cause,) = diagnose(convert(models[1], scheme="float32"), **given).causes
    assert (cause.id, cause.certainty) == ("C07", "proved")


def test_labels_belong_to_the_output_that_gives_probabilities_wherever_the_file_has_it():
    entry = tf_keras.Input((6,))
    outputs = [layers.Dense(4, activation="softmax", name="kind")(entry), layers.Dense(4, name="box")(entry)]
    model = tf_keras.Model(entry, outputs)
    rows = 3 * RANDOM.normal(size=(200, 6)).astype(np.float32)
    labels = model.predict(rows, verbose=0)[0].argmax(axis=1)
    for order in ([0, 1], [1, 0]):
        content = convert(tf_keras.Model(entry, [outputs[i] for i in order]), calibration=rows, engine="tflite")
        found = diagnose(content, inputs=rows, labels=labels)
        assert (found.blame, found.ladder[0].value > 0.9) == ("none", True)
        case = Case(content, model, rows, labels, *[None] * 7)
        pairs = _layers(Evidence(check_case(case)), trained=True)
        assert [each.differs for each in pairs] == [False, False]  # heads of one shape, in whatever order


@pytest.mark.medium
def test_a_wrong_weight_scale_that_costs_little_is_told(network, digits, measured):
    content = rescaled(convert(network, calibration=preprocess(digits.x[:100]), engine="tflite"), 4.0, 0)
    expected = network.predict(preprocess(digits.inputs), verbose=0).argmax(axis=1)
    same = Interpreter(content).predict(preprocess(digits.inputs)).argmax(axis=1) == expected
    chosen = [*np.flatnonzero(same)[:99], np.flatnonzero(~same)[0]]
    found = diagnose(content, **{**measured, "inputs": digits.inputs[chosen], "labels": expected[chosen]})
    assert found.blame == "none"
    assert any(note.startswith("C12: weights of the file are a multiple") for note in found.notes)


@pytest.fixture(scope="module")
def twins():
    """Two inputs of one shape, [0, 1] and [-4, 4]; the class is where their product is largest."""
    near, far = RANDOM.uniform(0, 1, (1500, 6)), RANDOM.uniform(-4, 4, (1500, 6))
    raw = np.stack([near, far], axis=1).astype(np.float32)
    labels = (near[:, :3] * far[:, :3]).argmax(axis=1)
    tf_keras.utils.set_random_seed(0)
    entries = [tf_keras.Input((6,), name=name) for name in ("near", "far")]
    x = layers.Concatenate()([layers.Dense(24, activation="relu")(each) for each in entries])
    x = layers.Dense(32, activation="relu")(x)
    model = tf_keras.Model(entries, layers.Dense(3, activation="softmax")(x))
    model.compile(tf_keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    model.fit([raw[:, 0], raw[:, 1]], labels, epochs=12, verbose=0)
    given = {"keras_model": model, "inputs": raw[:400], "labels": labels[:400]}
    given["preprocess"] = lambda samples: [samples[:, 0], samples[:, 1]]
    exchanged = convert(model, calibration=[raw[400:600, 1], raw[400:600, 0]], engine="tflite")
    return SimpleNamespace(given=given, raw=raw, exchanged=exchanged)


@pytest.mark.parametrize("handed_over", ["nothing", "lists", "dictionaries"])
def test_exchanged_calibration_lists_are_told_from_unnormalised_samples(twins, handed_over):
    near, far = (twins.raw[400:500, i][:, None] for i in (0, 1))
    calibration = {
        "nothing": None,
        "lists": lambda: (list(pair) for pair in zip(far, near, strict=True)),
        "dictionaries": lambda: ({"near": a, "far": b} for a, b in zip(far, near, strict=True)),
    }[handed_over]
    found = diagnose(twins.exchanged, **twins.given, calibration=calibration)
    assert ids(found) == ["Q07"]
    assert found.causes[0].certainty == "proved"


@pytest.fixture(scope="module", params=[5, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (6, 7))])
def dose(request):
    """A regression whose target reaches 100 for a few samples; those asked about lie in [-1, 1]."""
    rows = np.random.default_rng(request.param).uniform(-1, 1, (3000, 4)).astype(np.float32)
    target = 0.5 * rows[:, :1] + 0.4 * rows[:, 1:2] + 400 * np.maximum(rows[:, 2:3] - 0.75, 0)
    tf_keras.utils.set_random_seed(0)
    entry = tf_keras.Input((4,), name="readings")
    x = layers.Dense(32, activation="relu")(entry)
    model = tf_keras.Model(entry, layers.Dense(1, name="dose")(layers.Dense(24, activation="relu")(x)))
    model.compile(tf_keras.optimizers.Adam(1e-2), "mse")
    model.fit(rows, target, epochs=10, verbose=0)
    return model, rows, rows[rows[:, 2] < 0.5][:300]


@pytest.mark.medium
@pytest.mark.parametrize("io", ["int8", "uint8", "float32"])
def test_too_few_output_codes_are_told_from_saturation(dose, io):
    model, rows, asked = dose
    content = convert(model, calibration=rows[:500], io=io, engine="tflite")
    found = diagnose(content, keras_model=model, inputs=asked)
    assert ids(found) == ["M05"]
