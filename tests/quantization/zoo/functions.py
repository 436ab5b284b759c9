"""TensorFlow functions and rarer Keras layers, one a model."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers


def _image(function, channels=4, size=6):
    """function(x) of a convolution's output `[6, 6, 4]`."""

    def build():
        image = tf_keras.Input((size, size, 3), name="image")
        return tf_keras.Model(image, function(layers.Conv2D(channels, 3, padding="same")(image)))

    return build


def _flat(function, size=6):
    def build():
        entry = tf_keras.Input((size,), name="features")
        return tf_keras.Model(entry, function(layers.Dense(8)(entry)))

    return build


def _routed(x):
    """Capsules by routing (Sabour et al. 2017): the first weights are constants of one row for all samples."""
    votes = tf.einsum("nik,bik->bnik", tf.constant(np.linspace(0.2, 1.0, 24).reshape(3, 4, 2), tf.float32), x)
    logits = tf.zeros_like(votes[..., 0])
    for _ in range(2):
        found = tf.einsum("bni,bnik->bnk", tf.nn.softmax(logits, 1), votes)
        logits += tf.einsum("bnk,bnik->bni", found, votes)
    return found


def _nearest_code(x):
    """As a vector-quantized autoencoder looks up its code book."""
    codes = tf.random.stateless_normal((16, 8), seed=(1, 2))
    squares = tf.reduce_sum(x**2, 1, keepdims=True) - 2.0 * tf.matmul(x, codes, transpose_b=True)
    return tf.gather(codes, tf.argmin(squares + tf.reduce_sum(codes**2, 1), 1))


def _series(function):
    def build():
        series = tf_keras.Input((8, 4), name="series")
        return tf_keras.Model(series, function(layers.Conv1D(6, 3, padding="same")(series)))

    return build


def _activation(name):
    return _image(lambda x: layers.Activation(name)(x))


def _mish_layer(x):
    return layers.Activation(tf_keras.activations.mish)(x)


def _where_scores(x):
    return tf.where(tf.reduce_max(x, -1, keepdims=True) > 0.2, x, tf.zeros_like(x))


def _patches(x):
    return tf.image.extract_patches(x, [1, 3, 3, 1], [1, 2, 2, 1], [1, 1, 1, 1], "SAME")


def _windows_of_heads(x):
    """Scores [n, rows, columns, heads, 4, 9] of windows, as HaloNet's attention has them: six axes."""
    queries, keys = (tf.reshape(layers.Dense(4 * places)(x), [-1, 6, 6, 2, places, 2]) for places in (4, 9))
    return tf.matmul(queries, keys, transpose_b=True)


def _windows_and_back(x):
    """Windows are samples for a while; their number over 4 is the batch size, as segment-anything's encoder has it."""
    windows = tf.reshape(tf.transpose(tf.reshape(x, [-1, 2, 3, 2, 3, 4]), [0, 1, 3, 2, 4, 5]), [-1, 3, 3, 4])
    windows = layers.Conv2D(4, 3, padding="same")(windows)
    back = tf.reshape(windows, [tf.shape(windows)[0] // 4, 2, 2, 3, 3, -1])
    return tf.reshape(tf.transpose(back, [0, 1, 3, 2, 4, 5]), [-1, 6, 6, 4])


def _hidden_by_where(x):
    """Scores of attention that a choice hides, as Keras 3's Softmax does."""
    scores = tf.matmul(x, x, transpose_b=True)
    seen = tf.reduce_sum(x, -1)[:, tf.newaxis] > 0.0
    return tf.matmul(tf.nn.softmax(tf.where(seen, scores, -1e9)), x)


def _tokens_between(x):
    """Registers between a class token and patches, as in DINOv2."""
    registers = tf.tile(tf.constant([[[0.3, -0.2, 0.1, 0.5, -0.6, 0.2]] * 2]), [tf.shape(x)[0], 1, 1])
    return layers.Dense(3)(tf.concat([x[:, :1], registers, x[:, 1:]], 1))


def _places_of_rank_2(x):
    """Position embeddings without a batch axis, repeated to the shape of what they are added to, as in keras-hub."""
    return x + tf.broadcast_to(tf.constant(np.linspace(-1, 1, 48, dtype=np.float32).reshape(8, 6)), tf.shape(x))


def _places_of_tokens():
    """As RoBERTa counts places: those of padding are not counted."""
    ids = tf_keras.Input((8,), dtype="int32", name="ids")
    told = tf.cast(ids > 3, tf.int32)
    places = layers.Embedding(10, 6)(tf.cumsum(told, axis=1) * told + 1)
    return tf_keras.Model(ids, layers.Dense(3)(layers.Embedding(20, 6)(ids) + places))


def _quotients_of_ids():
    """Two small tables in place of a large one: of the remainder and of the quotient."""
    ids = tf_keras.Input((8,), dtype="int32", name="ids")
    both = layers.Embedding(4, 6)(ids % 4) + layers.Embedding(10, 6)(ids // 4)
    return tf_keras.Model(ids, layers.Dense(3)(both))


def _rows_padded_with_ones():
    """A number beyond the grid of the table that it is put beside."""
    ids = tf_keras.Input((8,), dtype="int32", name="ids")
    rows = tf.pad(layers.Embedding(20, 6)(ids), [[0, 0], [1, 0], [0, 0]], constant_values=1.0)
    return tf_keras.Model(ids, layers.Dense(3)(tf.sigmoid(rows)))


def _averaged_rows():
    """An average of rows, rounded to codes where no layer but the table has a grid."""
    ids = tf_keras.Input((8,), dtype="int32", name="ids")
    return tf_keras.Model(ids, layers.AveragePooling1D(3, 1)(layers.Embedding(20, 6)(ids)))


def _cooled_scores(x):
    """A temperature behind a mask."""
    scores = tf.matmul(x, x, transpose_b=True)
    return tf.matmul(tf.nn.softmax(tf.where(np.tri(scores.shape[1]) > 0, scores, -1e9) / 4.0), x)


def _taken_along_axis(x):
    """As DeBERTa reads its scores of relative places: indices are the same for each sample."""
    indices = tf.constant(np.random.default_rng(0).integers(0, 6, (1, 8, 5)), tf.int32)
    return tf.gather(x, tf.broadcast_to(indices, [tf.shape(x)[0], 8, 5]), batch_dims=2)


def _taken_along_axis_of_rows(x):
    """As Keras 3 writes take_along_axis: samples and places are one axis for a while."""
    indices = tf.constant(np.random.default_rng(0).integers(0, 6, (1, 8, 5)), tf.int32)
    indices = tf.broadcast_to(indices, [tf.maximum(tf.shape(x)[0], 1), 8, 5])
    found = tf.gather(tf.reshape(x, [-1, 6]), tf.reshape(indices, [-1, 5]), batch_dims=1)
    return tf.reshape(found, tf.shape(indices))


def _heads_as_samples(x):
    """As DeBERTa compares queries with places, of which it has a matrix for each head."""
    places = tf.transpose(
        tf.reshape(layers.Dense(6)(tf.reshape(tf.linspace(-1.0, 1.0, 20), [5, 4])), [5, 2, 3]), [1, 2, 0]
    )
    heads = tf.reshape(tf.transpose(tf.reshape(x, [-1, 8, 2, 3]), [0, 2, 1, 3]), [-1, 8, 3])
    return tf.reshape(tf.matmul(heads, tf.tile(places, [tf.shape(heads)[0] // 2, 1, 1])), [-1, 2, 8, 5])


def _joined_conditions(x):
    """Padded, concatenated and stacked with constants."""
    more = tf.concat([x > 0.0, tf.tile([[True, False]], [tf.shape(x)[0], 1])], 1)
    wide = tf.pad(more, [[0, 0], [1, 1]], constant_values=True)
    values = tf.pad(x, [[0, 0], [1, 3]], constant_values=1.0)
    return tf.where(tf.stack([wide, tf.ones_like(wide)], 2), tf.stack([values, tf.ones_like(values)], 2), -0.5)


def _halo(x):
    """What a window of 2 by 2 sees with seven pixels around it, as HaloNet's attention does."""
    return layers.Dense(4)(tf.image.extract_patches(x, [1, 16, 16, 1], [1, 2, 2, 1], [1, 1, 1, 1], "SAME"))


def _weight_normalized():
    entry = tf_keras.Input((6,), name="features")
    dense = layers.SpectralNormalization(layers.Dense(5))
    return tf_keras.Model(entry, dense(entry))


def _spectral_conv():
    image = tf_keras.Input((6, 6, 3), name="image")
    return tf_keras.Model(image, layers.LeakyReLU(0.2)(layers.SpectralNormalization(layers.Conv2D(4, 3))(image)))


def _norm(**options):
    return _image(lambda x: layers.BatchNormalization(**options)(x))


FUNCTIONS = {
    **{f"activation_{n}": _activation(n) for n in ("elu", "selu", "softplus", "softsign", "relu", "tanh", "sigmoid")},
    **{
        f"activation_{n}": _activation(n)
        for n in ("exponential", "hard_sigmoid", "linear", "gelu", "swish", "softmax", "mish", "relu6", "leaky_relu")
    },
    "activation_mish_function": _image(_mish_layer),
    "activation_in_layer": _image(lambda x: layers.Conv2D(3, 1, activation=tf_keras.layers.LeakyReLU(0.1))(x)),
    "relu_slope_0_25": _image(lambda x: layers.ReLU(negative_slope=0.25, max_value=6.0)(x)),
    "prelu_shared_rows": _image(lambda x: layers.PReLU(shared_axes=[1])(x)),
    "prelu_flat": _flat(lambda x: layers.PReLU()(x)),
    "prelu_negative_slopes": _flat(
        lambda x: layers.PReLU(alpha_initializer=tf_keras.initializers.RandomUniform(-0.5, 1.5))(x)
    ),
    "thresholded_relu_layer": _image(lambda x: layers.ThresholdedReLU(theta=1.0)(x)),
    "softmax_layer_two_axes": _image(lambda x: layers.Softmax(axis=[1, 2])(x)),
    "softmax_over_height": _image(lambda x: tf.nn.softmax(x, axis=1)),
    "softmax_masked": _flat(lambda x: layers.Softmax()(x, mask=tf.constant([[True] * 5 + [False] * 3]))),
    "softmax_temperature": _flat(lambda x: tf.nn.softmax(x / 0.5)),
    "log_softmax_nn": _flat(lambda x: tf.nn.log_softmax(x)),
    "logsumexp": _flat(lambda x: tf.reduce_logsumexp(x, axis=-1, keepdims=True) + x),
    "resize_bilinear_half": _image(lambda x: tf.image.resize(x, (3, 3))),
    "resize_nearest_uneven": _image(lambda x: tf.image.resize(x, (9, 8), method="nearest")),
    "resize_align_corners": _image(lambda x: tf.compat.v1.image.resize_bilinear(x, (11, 11), align_corners=True)),
    "resize_legacy": _image(lambda x: tf.compat.v1.image.resize_bilinear(x, (12, 12))),
    "resizing_layer": _image(lambda x: layers.Resizing(5, 7)(x)),
    "pad_symmetric": _image(lambda x: tf.pad(x, [[0, 0], [1, 2], [1, 0], [0, 0]], "SYMMETRIC")),
    "pad_channels": _image(lambda x: tf.pad(x, [[0, 0], [0, 0], [0, 0], [1, 2]])),
    "pad_negative_infinity": _image(
        lambda x: layers.MaxPooling2D(3, 2)(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=-10.0))
    ),
    "split_uneven": _image(lambda x: tf.concat(tf.split(x, [1, 3], axis=-1)[::-1], -1)),
    "unstack_stack": _image(lambda x: tf.stack(tf.unstack(x, axis=1)[::2], axis=2)),
    "gather_rows": _image(lambda x: tf.gather(x, [0, 2, 2, 5], axis=1)),
    "boolean_mask_static": _flat(lambda x: tf.boolean_mask(x, np.array([True, False] * 4), axis=1)),
    "squeeze_expand": _image(lambda x: tf.squeeze(tf.expand_dims(x, 1), 1)[..., tf.newaxis]),
    "transpose_nchw": _image(lambda x: tf.transpose(x, [0, 3, 1, 2])),
    "permute_flatten": _image(lambda x: layers.Dense(3)(layers.Flatten()(layers.Permute((3, 2, 1))(x)))),
    "flatten_channels_first": _image(lambda x: layers.Dense(3)(layers.Flatten(data_format="channels_first")(x))),
    "repeat_elements": _series(lambda x: tf.repeat(x, 2, axis=1)),
    "roll": _series(lambda x: tf.roll(x, 2, axis=1)),
    "shift_by_concat": _series(lambda x: tf.concat([tf.zeros_like(x[:, :1]), x[:, :-1]], axis=1)),
    "reverse_sequence_axis": _series(lambda x: x[:, ::-1, :]),
    "cumulative_sum": _series(lambda x: tf.cumsum(x, axis=1)),
    "strided_negative": _series(lambda x: x[:, -3:, ::2]),
    "ellipsis_slice": _image(lambda x: x[..., 1:3]),
    "sum_of_squares": _image(lambda x: tf.reduce_sum(tf.square(x), axis=[1, 2])),
    "norm_euclidean": _flat(lambda x: tf.norm(x, axis=-1, keepdims=True)),
    "l2_normalize_axis_1": _image(lambda x: tf.math.l2_normalize(x, axis=1)),
    "unit_normalization_two_axes": _image(lambda x: layers.UnitNormalization(axis=[1, 2])(x)),
    "layer_normalization_no_scale": _series(lambda x: layers.LayerNormalization(scale=False, center=False)(x)),
    "layer_normalization_axis_1": _series(lambda x: layers.LayerNormalization(axis=1)(x)),
    "rms_normalization": _series(lambda x: x * tf.math.rsqrt(tf.reduce_mean(tf.square(x), -1, keepdims=True) + 1e-6)),
    "group_normalization_series": _series(lambda x: layers.GroupNormalization(groups=3)(x)),
    "group_normalization_flat": _flat(lambda x: layers.GroupNormalization(groups=2)(x)),
    "group_normalization_axis_1": _image(lambda x: layers.GroupNormalization(groups=2, axis=1)(x)),
    "batch_norm_no_scale": _norm(scale=False),
    "batch_norm_no_center": _norm(center=False),
    "batch_norm_axis_1": _norm(axis=1),
    "batch_norm_two_axes": _image(lambda x: layers.BatchNormalization(axis=[2, 3])(x)),
    "batch_norm_function": _image(
        lambda x: tf.nn.batch_normalization(x, *(np.full(4, n, np.float32) for n in (0.1, 0.5, 0.2, 1.5)), 1e-3)
    ),
    "spectral_normalization": _weight_normalized,
    "spectral_normalization_conv": _spectral_conv,
    "dense_on_four_axes": _image(lambda x: layers.Dense(5, activation="relu")(layers.Reshape((6, 3, 2, 4))(x))),
    "separable_multiplier": _image(lambda x: layers.SeparableConv2D(5, 3, depth_multiplier=2, strides=2)(x)),
    "separable_dilated": _image(lambda x: layers.SeparableConv2D(5, 3, dilation_rate=2, padding="same")(x)),
    "conv_dilated_valid": _image(lambda x: layers.Conv2D(5, 3, dilation_rate=2, activation="relu")(x)),
    "conv_dilated_uneven": _image(lambda x: layers.Conv2D(5, 3, dilation_rate=(1, 2), padding="same")(x)),
    "conv_dilated_grouped": _image(lambda x: layers.Conv2D(4, 3, dilation_rate=2, groups=2, padding="same")(x)),
    "conv_larger_than_image": _image(lambda x: layers.Conv2D(5, 9, padding="same")(x)),
    "conv_kernel_of_image": _image(lambda x: layers.Conv2D(5, 6)(x)),
    "conv_valid_strided": _image(lambda x: layers.Conv2D(5, 3, strides=3)(x)),
    "conv_one_by_one_strided": _image(lambda x: layers.Conv2D(5, 1, strides=2)(x)),
    "conv_even_kernel_same": _image(lambda x: layers.Conv2D(5, 4, padding="same", strides=2)(x)),
    "depthwise_strided_uneven": _image(lambda x: layers.DepthwiseConv2D(3, strides=(2, 2), padding="valid")(x)),
    "depthwise_even": _image(lambda x: layers.DepthwiseConv2D(2, padding="same", activation="relu6")(x)),
    "depthwise_strides_differ": _image(lambda x: layers.Conv2D(4, 3, groups=4, strides=(1, 2))(x)),
    "transpose_dilated_out": _image(
        lambda x: layers.Conv2DTranspose(3, 3, strides=2, padding="same", output_padding=1)(x)
    ),
    "transpose_uneven": _image(lambda x: layers.Conv2DTranspose(3, (2, 4), strides=(1, 2), padding="same")(x)),
    "transpose_3_stride_3": _image(lambda x: layers.Conv2DTranspose(3, 3, strides=3, activation="relu")(x)),
    "transpose_function": _image(
        lambda x: tf.nn.conv2d_transpose(
            x, tf.ones((2, 2, 3, 4)) * 0.2, (tf.shape(x)[0], 12, 12, 3), strides=2, padding="SAME"
        )
    ),
    "conv_function": _image(lambda x: tf.nn.conv2d(x, np.full((3, 3, 4, 2), 0.1, np.float32), 1, "SAME")),
    "blur_depthwise_function": _image(
        lambda x: tf.nn.depthwise_conv2d(x, np.full((3, 3, 4, 1), 1 / 9, np.float32), [1, 2, 2, 1], "SAME")
    ),
    "bias_add_function": _image(lambda x: tf.nn.bias_add(x, tf.constant([0.1, 0.2, 0.3, -0.4]))),
    "max_pool_stride_1": _image(lambda x: layers.MaxPooling2D(2, 1)(x)),
    "max_pool_uneven": _image(lambda x: layers.MaxPooling2D((3, 1), (1, 2), padding="same")(x)),
    "average_pool_stride_1_same": _image(lambda x: layers.AveragePooling2D(2, 1, padding="same")(x)),
    "average_pool_stride_3": _image(lambda x: layers.AveragePooling2D(2, 3)(x)),
    "average_pool_relu": _image(lambda x: layers.AveragePooling2D()(layers.ReLU()(x))),
    "min_pool": _image(lambda x: -tf.nn.max_pool2d(-x, 2, 2, "VALID")),
    "global_max_keepdims": _image(lambda x: layers.GlobalMaxPooling2D(keepdims=True)(x) * x),
    "average_pooling_1d_strided": _series(lambda x: layers.AveragePooling1D(3, 2)(x)),
    "max_pooling_1d_same": _series(lambda x: layers.MaxPooling1D(3, 2, padding="same")(x)),
    "global_pool_1d_keepdims": _series(lambda x: layers.GlobalAveragePooling1D(keepdims=True)(x) + x),
    "cropping_1d": _series(lambda x: layers.Cropping1D(2)(x)),
    "upsampling_1d": _series(lambda x: layers.UpSampling1D(3)(x)),
    "upsampling_uneven": _image(lambda x: layers.UpSampling2D((1, 3))(x)),
    "zero_padding_1d": _series(lambda x: layers.ZeroPadding1D((1, 3))(x)),
    "locally_connected_1d": _series(lambda x: layers.LocallyConnected1D(3, 3, implementation=1)(x)),
    "locally_connected_2d": _image(lambda x: layers.LocallyConnected2D(3, 3)(x)),
    "locally_connected_matmul": _image(lambda x: layers.LocallyConnected2D(3, 3, implementation=2)(x)),
    "einsum_dense_general": _series(lambda x: layers.EinsumDense("abc,cd->abd", output_shape=(None, 5))(x)),
    "einsum_dense_transposing": _series(lambda x: layers.EinsumDense("abc,bd->adc", output_shape=(5, 6))(x)),
    "einsum_dense_bias_axes": _series(
        lambda x: layers.EinsumDense("abc,cde->abde", output_shape=(None, 2, 3), bias_axes="de")(x)
    ),
    "tensordot": _series(lambda x: tf.tensordot(x, tf.ones((6, 2, 3)) * 0.1, axes=1)),
    "matmul_with_itself": _series(lambda x: tf.matmul(x, x, transpose_b=True)),
    "capsules_by_einsum": _flat(lambda x: tf.reduce_sum(_routed(tf.reshape(x, (-1, 4, 2))) ** 2, -1)),
    "gram_matrix": _image(lambda x: tf.linalg.einsum("bijc,bijd->bcd", x, x) / 36.0),
    "outer_product": _flat(lambda x: x[:, :, None] * x[:, None, :]),
    "dot_normalized": _series(lambda x: layers.Dot(axes=(2, 2), normalize=True)([x, x])),
    "add_three": _image(lambda x: layers.Add()([x, layers.ReLU()(x), x * 2.0])),
    "add_broadcast": _image(lambda x: layers.Add()([x, layers.GlobalAveragePooling2D(keepdims=True)(x)])),
    "maximum_of_three": _image(lambda x: layers.Maximum()([x, -x, x * 0.5])),
    "average_of_two_scales": _image(lambda x: layers.Average()([x * 8.0, x])),
    "concat_of_five": _image(lambda x: layers.Concatenate()([x, layers.ReLU()(x), x * 3.0, tf.sigmoid(x), tf.tanh(x)])),
    "concat_axis_2": _image(lambda x: layers.Concatenate(axis=2)([x, x[:, :, :2]])),
    "clip_minimum_maximum": _image(lambda x: tf.minimum(tf.maximum(x, -0.5), 1.5)),
    "clip_above_zero": _image(lambda x: tf.clip_by_value(x, 0.5, 2.0)),
    "maximum_with_number": _image(lambda x: tf.maximum(x, 0.3)),
    "minimum_with_number": _image(lambda x: tf.minimum(x, -0.3)),
    "where_scores": _image(_where_scores),
    "where_three": _image(lambda x: tf.where(x > 0.5, 1.0, tf.where(x < -0.5, -1.0, x))),
    "hard_tanh": _image(lambda x: tf.clip_by_value(x, -1.0, 1.0)),
    "step_function": _image(lambda x: tf.cast(x > 0.0, tf.float32) * 0.7),
    "logical_both": _image(lambda x: tf.where((x > -0.5) & (x < 0.5), x, 0.0)),
    "power_third": _image(lambda x: tf.pow(x, 3)),
    "square_root_positive": _image(lambda x: tf.sqrt(tf.nn.relu(x) + 1e-2)),
    "divide_no_nan": _image(lambda x: tf.math.divide_no_nan(x, tf.abs(x) + 0.5)),
    "reciprocal": _image(lambda x: tf.math.reciprocal(tf.abs(x) + 1.0)),
    "log1p": _image(lambda x: tf.math.log1p(tf.abs(x))),
    "sign": _image(lambda x: tf.sign(x)),
    "softsign_function": _image(lambda x: tf.nn.softsign(x)),
    "hard_swish_keras_style": _image(lambda x: x * tf.nn.relu6(x + 3.0) * 0.16666667),
    "quick_gelu": _image(lambda x: x * tf.sigmoid(1.702 * x)),
    "squared_relu": _image(lambda x: tf.square(tf.nn.relu(x))),
    "geglu": _flat(lambda x: tf.nn.gelu(x[:, :4]) * x[:, 4:]),
    "glu": _image(lambda x: x[..., :2] * tf.sigmoid(x[..., 2:])),
    "lrn": _image(lambda x: tf.nn.local_response_normalization(x)),
    "moments": _image(lambda x: tf.concat(tf.nn.moments(x, axes=[1, 2]), -1)),
    "reduce_prod": _flat(lambda x: tf.reduce_prod(x[:, :2] * 0.5, axis=-1, keepdims=True)),
    "extract_patches": _image(_patches),
    "patches_with_a_halo": _image(_halo),
    "product_of_six_axes": _image(_windows_of_heads),
    "windows_and_back": _image(_windows_and_back),
    "hidden_by_where": _series(_hidden_by_where),
    "tokens_between": _series(_tokens_between),
    "taken_along_axis": _series(_taken_along_axis),
    "taken_along_axis_of_rows": _series(_taken_along_axis_of_rows),
    "heads_as_samples": _series(_heads_as_samples),
    "joined_conditions": _flat(_joined_conditions),
    "condition_of_reals": _flat(lambda x: tf.where(tf.cast(tf.nn.relu(x), tf.bool), x, 2.0)),
    "places_of_tokens": _places_of_tokens,
    "quotients_of_ids": _quotients_of_ids,
    "gem_pooling": _image(lambda x: tf.reduce_mean(tf.maximum(x, 1e-3) ** 2.5, [1, 2]) ** 0.4),
    "band_part": _series(lambda x: tf.linalg.band_part(tf.matmul(x, x, transpose_b=True), 1, 0)),
    "cooled_scores": _series(_cooled_scores),
    "places_of_rank_2": _series(_places_of_rank_2),
    "space_to_depth_of_3": _image(lambda x: tf.nn.space_to_depth(x, 3)),
    "patches_side_by_side": _image(lambda x: tf.image.extract_patches(x, *[[1, 2, 2, 1]] * 2, [1] * 4, "VALID")),
    "patches_of_one_pixel": _image(lambda x: tf.image.extract_patches(x, *[[1] * 4] * 3, "VALID") * 0.5),
    "patches_of_rows": _image(lambda x: tf.image.extract_patches(x, *[[1, 1, 6, 1]] * 2, [1] * 4, "VALID")),
    "lrn_alexnet": _image(lambda x: tf.nn.local_response_normalization(x, 2, 1.0, 1e-1, 0.75)),
    "lrn_beta_1": _image(lambda x: tf.nn.local_response_normalization(x, 1, 1.0, 1e-1, 1.0)),
    "rows_padded_with_ones": _rows_padded_with_ones,
    "averaged_rows": _averaged_rows,
    "softmax_by_hand": _flat(lambda x: tf.exp(6.0 * x) / tf.reduce_sum(tf.exp(6.0 * x), axis=-1, keepdims=True)),
    "flags_output": _flat(lambda x: tf.cast(tf.sigmoid(2.0 * x) > 0.6, tf.float32)),
    "argmax_output": _flat(lambda x: tf.argmax(x, axis=-1)),
    "elu_by_choice": _flat(lambda x: tf.where(4.0 * x > 0.0, 4.0 * x, tf.exp(4.0 * x) - 1.0)),
    "stable_sigmoid": _flat(lambda x: tf.where(x >= 0.0, 1.0 / (1.0 + tf.exp(-x)), tf.exp(x) / (1.0 + tf.exp(x)))),
    "celu_by_extremes": _flat(lambda x: tf.nn.relu(x) + tf.minimum(0.0, 0.7 * (tf.exp(x / 0.7) - 1.0))),
    "frames": _series(lambda x: layers.Dense(3)(tf.signal.frame(x[..., 0], 4, 2))),
    "cross_products": _series(lambda x: tf.linalg.cross(x[..., :3], x[..., 3:])),
    "scattered": _series(
        lambda x: tf.transpose(tf.tensor_scatter_nd_update(tf.transpose(x), [[1], [0]], tf.transpose(x)[2:4] * 0.5))
    ),
    "without_the_diagonal": _series(lambda x: tf.linalg.set_diag(tf.matmul(x, x, transpose_b=True), 0.0 * x[..., 0])),
    "power_of_two": _flat(lambda x: tf.pow(2.0, x)),
    "bicubic": _image(lambda x: tf.image.resize(x, (9, 12), "bicubic")),
    "lanczos_without_aliases": _image(lambda x: tf.image.resize(x, (4, 4), "lanczos3", antialias=True)),
    "largest_three": _flat(lambda x: list(tf.math.top_k(x, 3))),
    "rows_at_computed_places": _series(
        lambda x: tf.gather(x, tf.math.top_k(tf.reduce_mean(x, -1), 3)[1], batch_dims=1)
    ),
    "sorted_columns": _image(lambda x: tf.sort(x, axis=2)),
    "nearest_code": _flat(_nearest_code),
    "tile_over_time": _flat(lambda x: tf.tile(tf.expand_dims(x, 1), [1, 4, 1])),
    "broadcast_to": _flat(lambda x: tf.broadcast_to(x[:, None, :], (tf.shape(x)[0], 4, 8))),
    "masking_zero": _series(lambda x: layers.Masking(0.0)(x)),
    "ones_like_added": _image(lambda x: x + tf.ones_like(x) * 0.2),
    "coordinates_added": _image(
        lambda x: tf.concat(
            [x, tf.tile(tf.reshape(tf.linspace(-1.0, 1.0, 6), (1, 6, 1, 1)), [tf.shape(x)[0], 1, 6, 1])], -1
        )
    ),
    "cast_back_and_forth": _image(lambda x: tf.cast(tf.cast(x, tf.float64), tf.float32)),
    "stop_gradient": _image(lambda x: tf.stop_gradient(x) * tf.sigmoid(x)),
    "identity_layers": _image(lambda x: layers.Layer()(layers.Identity()(layers.GaussianNoise(0.1)(x)))),
    "nan_guard": _image(lambda x: tf.where(tf.math.is_nan(x), tf.zeros_like(x), x)),
}
