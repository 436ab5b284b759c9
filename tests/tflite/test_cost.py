"""Multiply-accumulates and the arena bound, against numbers counted by hand."""

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.tflite import arena_lower_bound, convert, multiply_accumulates, read


def graph_of(model):
    return read(convert(model, scheme="float32", batch_size=1))


def test_macs_of_a_cnn_are_those_counted_by_hand(files):
    stem = 16 * 16 * 8 * 3 * 3 * 3
    depthwise = 14 * 14 * 8 * 3 * 3
    head = 8 * 5
    assert multiply_accumulates(read(files.int8)) == stem + depthwise + head


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda x: layers.Conv2DTranspose(5, 3, strides=2, padding="same")(x), 8 * 8 * 4 * 3 * 3 * 5),
        (lambda x: layers.Conv2D(6, 3, groups=2)(x), 6 * 6 * 6 * 3 * 3 * 2),
        (lambda x: layers.Dense(7)(x), 8 * 8 * 4 * 7),
        (lambda x: layers.Dot(axes=(2, 1))([layers.Reshape((8, 32))(x), layers.Reshape((32, 8))(x)]), 8 * 32 * 8),
        (lambda x: layers.MaxPooling2D()(x), 0),
    ],
    ids=["transposed", "grouped", "dense", "matrix product", "pooling"],
)
def test_macs_of_other_ops(build, expected):
    image = tf_keras.Input((8, 8, 4))
    assert multiply_accumulates(graph_of(tf_keras.Model(image, build(image)))) == expected


def test_the_arena_holds_input_and_output_of_the_largest_op(files):
    stem_input, stem_output, depthwise = 16 * 16 * 3, 16 * 16 * 8, 14 * 14 * 8
    assert arena_lower_bound(read(files.int8)) == max(stem_input + stem_output, stem_output + depthwise)


def test_a_skip_connection_keeps_its_tensor_alive():
    image = tf_keras.Input((8, 8, 4), name="image")
    x = layers.Conv2D(4, 3, padding="same")(image)
    x = layers.Conv2D(4, 3, padding="same")(x)
    plain = arena_lower_bound(graph_of(tf_keras.Model(image, x)))
    skipped = arena_lower_bound(graph_of(tf_keras.Model(image, layers.Add()([x, image]))))
    tensor = 8 * 8 * 4 * 4
    assert (plain, skipped) == (2 * tensor, 3 * tensor)


def test_a_reshape_takes_no_room_of_its_own():
    image = tf_keras.Input((4, 4, 4))
    model = tf_keras.Model(image, layers.Dense(2)(layers.Flatten()(image)))
    assert arena_lower_bound(graph_of(model)) == 64 * 4 + 16  # the output's 8 bytes, aligned


def test_the_bound_is_below_what_litert_allocates(files):
    """LiteRT's own arena, read from where it placed its tensors, is no smaller."""
    from ai_edge_litert.interpreter import Interpreter as LiteRT
    from ai_edge_litert.interpreter import OpResolverType

    litert = LiteRT(model_content=files.int8, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    litert.allocate_tensors()
    graph = read(files.int8)
    spans = []
    for tensor in graph.tensors:
        if not tensor.is_constant:
            view = litert.tensor(tensor.index)()
            start = view.__array_interface__["data"][0]
            spans.append((start, start + view.nbytes))
            del view
    used = max(end for _, end in spans) - min(start for start, _ in spans)
    assert 0 < arena_lower_bound(graph) <= used
    assert np.isclose(arena_lower_bound(graph), used, rtol=0.2)
