"""Masks, class tokens, and what is computed twice or read by nobody."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.quantization import quantize_model
from qat.quantization.rewrites import canonicalize, choices, common_subexpressions, masks, outputs, token_concat

from .acting import Case, check, flat, image, raw

SWIN = tf.constant(np.where(np.tri(4), 0.0, -100.0), tf.float32)
TRIANGLE = tf.constant(np.where(np.tri(4), 0.0, -1e9), tf.float32)


def hidden_scores(function):
    """Scores of attention, hidden where `function` of integer ids says so."""

    def build():
        series, ids = tf_keras.Input((4, 6), name="series"), tf_keras.Input((4,), dtype="int32", name="ids")
        scores = tf.matmul(series, series, transpose_b=True)
        return tf_keras.Model([series, ids], tf.nn.softmax(scores + function(ids)))

    return build


def by_integer_mask(ids):
    seen = tf.cast(ids > 5, tf.int32)[:, tf.newaxis, :]
    return (1.0 - tf.cast(seen, tf.float32)) * -1e9


def by_real_mask(ids):
    return (tf.cast(ids > 5, tf.float32)[:, tf.newaxis, :] - 1.0) * 1e9


def by_integers(ids):
    return (1.0 - tf.cast(tf.minimum(ids, 1), tf.float32)[:, tf.newaxis, :]) * -10000.0


def moved_mask(ids):
    return tf.transpose(tf.cast(ids > 5, tf.float32)[:, :, tf.newaxis], [0, 2, 1]) * -1e9


def chosen_scores(choice):
    """The same, hidden by `choice` of a condition and scores, as Keras 3's Softmax does."""

    def build():
        series, ids = tf_keras.Input((4, 6), name="series"), tf_keras.Input((4,), dtype="int32", name="ids")
        scores = tf.matmul(series, series, transpose_b=True)
        return tf_keras.Model([series, ids], tf.nn.softmax(choice(ids[:, tf.newaxis, :] > 5, scores)))

    return build


def seen_as_numbers(function):
    """Scores of attention and a second input of real numbers, 1 where a token stands."""

    def build():
        series, seen = tf_keras.Input((4, 6), name="series"), tf_keras.Input((4,), name="seen")
        scores = tf.matmul(series, series, transpose_b=True)
        return tf_keras.Model([series, seen], function(scores, tf.round(tf.sigmoid(seen))))

    return build


def by_product(scores, seen):
    pairs = seen[:, tf.newaxis, :] * seen[:, :, tf.newaxis]
    return tf.nn.softmax((scores + (1.0 - pairs) * -1e9) / 2.0)


def cooled(seen, x):
    return 0.3 * tf.where(seen, x, -1e9)


def nearest_of_seen(x):
    return tf.reduce_min(tf.where(x > -2.0, x, 1e9), axis=-1)


TOKEN = tf.constant(np.full((1, 1, 6), 0.3, np.float32))
REPEATED = {
    "tile": lambda x: tf.tile(TOKEN, [tf.shape(x)[0], 1, 1]),
    "repeat": lambda x: tf.repeat(TOKEN, tf.shape(x)[0], axis=0),
    "broadcast": lambda x: tf.broadcast_to(TOKEN, [tf.shape(x)[0], 1, 6]),
    "added": lambda x: tf.zeros_like(x[:, :1]) + TOKEN,
}


def with_class_token(repeated):
    return raw(lambda x: layers.Lambda(lambda t: tf.concat([repeated(t), t], 1))(x), (4, 6))


def ids_between():
    """Of token ids, too."""
    ids = tf_keras.Input((4,), dtype="int32")
    told = tf_keras.layers.Lambda(lambda x: tf.concat([x[:, :1], tf.tile([[4]], [tf.shape(x)[0], 1]), x[:, 1:]], 1))
    return tf_keras.Model(ids, layers.Embedding(20, 3)(told(ids)))


def larger(x, y):
    return tf.where(x > y, x, y)


def smaller(x, y):
    return tf.where(x <= y, x, y)


def twice(x):
    return tf.tanh(x) + tf.tanh(x) * 0.5


CASES = [
    Case(masks.casts_through_moves, hidden_scores(by_integer_mask)),
    Case(masks.condition_of_reals, flat(lambda x: tf.where(tf.cast(tf.nn.relu(x), tf.bool), x, 2.0)), gone=("cast",)),
    Case(masks.through_selection, hidden_scores(by_real_mask), there=("select",)),
    Case(masks.move_of_selection, hidden_scores(moved_mask), there=("select",)),
    Case(masks.additive_mask, hidden_scores(by_real_mask), there=("masked",)),
    Case(
        masks.additive_mask,
        raw(lambda x: tf.nn.softmax(tf.matmul(x, x, transpose_b=True) + TRIANGLE), (4, 6)),
        there=("masked",),
    ),
    Case(
        masks.additive_mask,
        raw(lambda x: tf.nn.softmax(tf.reshape(tf.matmul(x, x, transpose_b=True) + SWIN, (-1, 2, 2, 4))), (4, 6)),
        there=("masked",),
    ),
    Case(masks.selected_mask, chosen_scores(lambda seen, x: tf.where(seen, x, -1e9)), there=("masked",)),
    Case(masks.additive_mask, seen_as_numbers(by_product), there=("masked", "equal")),
    Case(masks.product_of_masked, chosen_scores(cooled), there=("masked",)),
    Case(masks.minimum_of_hidden, flat(nearest_of_seen), gone=("reduce_min",), there=("reduce_max",)),
    Case(masks.selected_mask, chosen_scores(lambda seen, x: tf.where(seen, x, x - 1e9)), there=("masked",)),
    Case(token_concat.token_concat, ids_between, there=("pad", "concat", "add")),
    Case(masks.additive_mask, hidden_scores(by_integers), there=("masked", "not_equal")),
    Case(
        masks.sum_with_masked,
        hidden_scores(lambda ids: by_integer_mask(ids) + tf.linspace(-1.0, 1.0, 4)),
        there=("masked",),
    ),
    Case(masks.selected_mask, chosen_scores(lambda hidden, x: tf.where(hidden, -1e9, x)), there=("masked",)),
    Case(
        token_concat.token_concat,
        raw(lambda x: layers.Lambda(lambda t: tf.concat([t[:, :1], REPEATED["tile"](t), t[:, 1:]], 1))(x), (4, 6)),
        there=("pad", "concat", "add"),
    ),
    Case(
        token_concat.token_concat,
        flat(lambda x: tf.where(tf.concat([x[:, :7] > 0.0, tf.fill([tf.shape(x)[0], 1], True)], 1), x, -1.0)),
        there=("select", "not_equal"),
    ),
    Case(token_concat.token_pack, flat(lambda x: tf.stack([x, tf.ones_like(x)], 1)), gone=("pack",), there=("concat",)),
    Case(
        token_concat.padded_conditions,
        flat(lambda x: tf.where(tf.pad(x[:, 1:] > 0.0, [[0, 0], [1, 0]], constant_values=True), x, -1.0)),
        there=("pad", "logical_not"),
    ),
    *[
        Case(token_concat.token_concat, with_class_token(f), gone=("concat",), there=("pad", "add"))
        for f in REPEATED.values()
    ],
    *[
        Case(choices.chosen_extremes, image(choice), gone=("select",), there=(op,))
        for choice, op in (
            (lambda x: larger(x, x * x), "maximum"),
            (lambda x: smaller(x, x * x), "minimum"),
            (lambda x: tf.where(x >= 0.5, 0.5, x), "minimum"),
            (lambda x: tf.where(x < 0.0, tf.zeros_like(x), x), "maximum"),
        )
    ],
    Case(outputs.parts_that_nobody_reads, image(lambda x: tf.split(x, 2, -1)[1]), gone=("split",)),
    Case(outputs.parts_that_nobody_reads, image(lambda x: tf.stack(tf.unstack(x, axis=1)[::2], 1)), gone=("unpack",)),
    Case(
        outputs.parts_that_nobody_reads,
        flat(lambda x: tf.where(tf.logical_and(*tf.split(x > 0.1, 2, -1)), x[:, :4], 0.5)),
        gone=("split",),
    ),
    Case(choices.unchosen_side, flat(lambda x: tf.where(x > 0.0, x, tf.exp(x) - 1.0)), there=("minimum",)),
    Case(choices.unchosen_side, flat(lambda x: tf.where(x <= 1.0, x, tf.math.log1p(x))), there=("maximum",)),
    Case(
        choices.bounded_exponential,
        flat(lambda x: tf.nn.relu(x) + tf.minimum(0.0, 0.7 * (tf.exp(x / 0.7) - 1.0))),
        there=("minimum",),
    ),
    Case(choices.bounded_exponential, flat(lambda x: tf.nn.relu(0.8 - tf.math.expm1(-x))), there=("minimum",)),
    Case(
        outputs.slices_of_a_whole,
        flat(lambda x: tf.sigmoid(x[:, :4]) * tf.tanh(x[:, 4:]) + x[:, 4:]),
        gone=("strided_slice",),
        there=("split",),
    ),
    Case(common_subexpressions.common_subexpressions, flat(twice), there=("tanh",)),
]


@pytest.mark.medium
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_rewrite_acts_and_the_float_function_stays(case):
    check(case)


def test_two_masks_hide_what_either_hides():
    """Padding in front of a text leaves rows without any score: told, not taken for a layer that was read wrongly."""
    series, ids = tf_keras.Input((4, 6), name="series"), tf_keras.Input((4,), dtype="int32", name="ids")
    mask = TRIANGLE + (1.0 - tf.cast(ids, tf.float32))[:, tf.newaxis, :] * -1e9
    scores = tf.matmul(series, series, transpose_b=True)
    model = tf_keras.Model([series, ids], tf.matmul(tf.nn.softmax(scores + mask), series))
    x, behind = np.random.default_rng(0).normal(size=(128, 4, 6)).astype(np.float32), np.tile([1, 1, 0, 0], (128, 1))
    quantized = quantize_model(model, [x, behind.astype(np.int32)])
    error = quantized.predict([x, behind], verbose=0) - model.predict([x, behind], verbose=0)
    assert np.std(error) < 0.05 * np.std(x)
    with pytest.warns(UserWarning, match="some rows attend to nothing"):
        quantize_model(model, [x, behind[:, ::-1].astype(np.int32)])


@pytest.mark.parametrize("rows", ["each", "not each"])
def test_a_mild_number_hides_where_each_row_keeps_a_score(rows):
    """Of a row that is hidden wholly, softmax(x - 100) is softmax(x)."""
    mask = np.where(np.tri(4, k=0 if rows == "each" else -1), 0.0, -100.0).astype(np.float32)
    entry = tf_keras.Input((4, 6))
    graph = canonicalize(tf_keras.Model(entry, tf.nn.softmax(tf.matmul(entry, entry, transpose_b=True) + mask)))
    assert ("masked" in [node.op for node in graph.nodes]) == (rows == "each")


def test_a_number_that_no_softmax_reads_stays_one():
    entry = tf_keras.Input((4,))
    graph = canonicalize(tf_keras.Model(entry, tf.where(entry > 0.0, entry, -20000.0)))
    assert [node.op for node in graph.nodes if node.op in ("select", "masked", "maximum")] == ["select"]
