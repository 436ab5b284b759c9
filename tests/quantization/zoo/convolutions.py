"""Convolutions, pooling and resizing of every kind."""

from __future__ import annotations

import tensorflow as tf
import tf_keras
from tf_keras import layers


def _image_model(*body, channels=4, size=8):
    def build():
        x = image = tf_keras.Input((size, size, channels), name="image")
        for layer in body:
            x = layer()(x)
        return tf_keras.Model(image, x)

    return build


def _series_model(*body, channels=4, steps=12):
    def build():
        x = series = tf_keras.Input((steps, channels), name="series")
        for layer in body:
            x = layer()(x)
        return tf_keras.Model(series, x)

    return build


def _relu():
    return layers.ReLU()


def _norm():
    return layers.BatchNormalization()


def _function(function):
    return lambda: layers.Lambda(function)


CONVOLUTIONS = {
    "conv1d_causal": _series_model(lambda: layers.Conv1D(5, 3, padding="causal"), _relu),
    "conv1d_causal_dilated": _series_model(
        lambda: layers.Conv1D(5, 3, padding="causal", dilation_rate=2, activation="relu"),
        lambda: layers.Conv1D(5, 3, padding="causal", dilation_rate=4),
    ),
    "conv1d_dilated_norm": _series_model(lambda: layers.Conv1D(5, 3, dilation_rate=2, padding="same"), _norm, _relu),
    "conv1d_strided": _series_model(lambda: layers.Conv1D(5, 3, strides=2, padding="same", activation="swish")),
    "conv1d_grouped": _series_model(lambda: layers.Conv1D(6, 3, groups=2)),
    "depthwise_conv1d": _series_model(lambda: layers.DepthwiseConv1D(3, depth_multiplier=2), _norm, _relu),
    "separable_conv1d": _series_model(lambda: layers.SeparableConv1D(6, 3, padding="same"), _norm, _relu),
    "separable_conv1d_causal": _series_model(lambda: layers.SeparableConv1D(6, 3, padding="causal", dilation_rate=2)),
    "conv1d_transpose": _series_model(lambda: layers.Conv1DTranspose(5, 3, strides=2, padding="same"), _norm, _relu),
    "max_pooling1d": _series_model(lambda: layers.Conv1D(4, 3), _relu, lambda: layers.MaxPooling1D(2)),
    "average_pooling1d": _series_model(lambda: layers.Conv1D(4, 3), lambda: layers.AveragePooling1D(2)),
    "average_pooling1d_same": _series_model(
        lambda: layers.Conv1D(4, 3), lambda: layers.AveragePooling1D(3, strides=2, padding="same")
    ),
    "global_pooling1d": _series_model(lambda: layers.Conv1D(4, 3), lambda: layers.GlobalAveragePooling1D()),
    "global_max_pooling1d": _series_model(lambda: layers.Conv1D(4, 3), lambda: layers.GlobalMaxPooling1D()),
    "padding_and_cropping1d": _series_model(
        lambda: layers.ZeroPadding1D(2), lambda: layers.Conv1D(4, 3), lambda: layers.Cropping1D((1, 2))
    ),
    "upsampling1d": _series_model(lambda: layers.Conv1D(4, 3), lambda: layers.UpSampling1D(2)),
    "conv2d_transpose_same": _image_model(
        lambda: layers.Conv2DTranspose(5, 3, strides=2, padding="same"), _norm, _relu
    ),
    "conv2d_transpose_valid": _image_model(lambda: layers.Conv2DTranspose(5, 3, strides=2, padding="valid"), _relu),
    "conv2d_transpose_norm": _image_model(
        lambda: layers.Conv2D(4, 3, activation="relu"),
        lambda: layers.Conv2DTranspose(5, 4, strides=2, padding="same", use_bias=False),
        _norm,
        lambda: layers.LeakyReLU(0.2),
        lambda: layers.Conv2D(1, 1, activation="sigmoid"),
    ),
    "conv2d_transpose_stride_1": _image_model(lambda: layers.Conv2DTranspose(5, 3, padding="same")),
    "upsampling_nearest": _image_model(lambda: layers.Conv2D(4, 3), _relu, lambda: layers.UpSampling2D(2)),
    "upsampling_bilinear": _image_model(
        lambda: layers.Conv2D(4, 3), _relu, lambda: layers.UpSampling2D(2, interpolation="bilinear")
    ),
    "upsampling_bilinear_conv": _image_model(
        lambda: layers.Conv2D(4, 3, padding="same"),
        lambda: layers.UpSampling2D(2, interpolation="bilinear"),
        lambda: layers.Conv2D(4, 3, activation="relu"),
    ),
    "resize_images": _image_model(
        lambda: layers.Conv2D(4, 3), _function(lambda x: tf.image.resize(x, (9, 11))), lambda: layers.Conv2D(2, 1)
    ),
    "grouped_conv": _image_model(lambda: layers.Conv2D(6, 3, groups=2, padding="same"), _norm, _relu),
    "grouped_conv_strided": _image_model(lambda: layers.Conv2D(8, 3, groups=4, strides=2, activation="relu")),
    "depthwise_as_grouped": _image_model(lambda: layers.Conv2D(8, 3, groups=4)),
    "dilated_conv": _image_model(lambda: layers.Conv2D(5, 3, dilation_rate=2, padding="same"), _norm, _relu),
    "dilated_depthwise": _image_model(lambda: layers.DepthwiseConv2D(3, dilation_rate=2, padding="same"), _relu),
    "depthwise_multiplier": _image_model(lambda: layers.DepthwiseConv2D(3, depth_multiplier=3), _norm, _relu),
    "separable_conv": _image_model(lambda: layers.SeparableConv2D(6, 3, padding="same"), _norm, _relu),
    "uneven_strides": _image_model(lambda: layers.Conv2D(4, (3, 5), strides=(2, 1), padding="same")),
    "uneven_depthwise": _image_model(
        lambda: layers.ZeroPadding2D(((0, 1), (1, 2))), lambda: layers.DepthwiseConv2D((3, 1))
    ),
    "average_pooling_same": _image_model(
        lambda: layers.Conv2D(4, 3, activation="relu"), lambda: layers.AveragePooling2D(3, strides=2, padding="same")
    ),
    "average_pooling_valid": _image_model(lambda: layers.Conv2D(4, 3), lambda: layers.AveragePooling2D(2)),
    "average_pooling_uneven": _image_model(
        lambda: layers.Conv2D(4, 3), lambda: layers.AveragePooling2D((3, 2), strides=(1, 2))
    ),
    "max_pooling_same": _image_model(lambda: layers.Conv2D(4, 3), lambda: layers.MaxPooling2D(3, 2, padding="same")),
    "global_average_pooling": _image_model(lambda: layers.Conv2D(4, 3), lambda: layers.GlobalAveragePooling2D()),
    "global_average_keepdims": _image_model(
        lambda: layers.Conv2D(4, 3), lambda: layers.GlobalAveragePooling2D(keepdims=True), lambda: layers.Conv2D(3, 1)
    ),
    "global_max_pooling": _image_model(lambda: layers.Conv2D(4, 3), lambda: layers.GlobalMaxPooling2D()),
    "padding_and_cropping": _image_model(
        lambda: layers.ZeroPadding2D(2), lambda: layers.Conv2D(4, 3), lambda: layers.Cropping2D(((1, 0), (2, 1)))
    ),
    "locally_padded_conv": _image_model(
        lambda: layers.ZeroPadding2D(1), lambda: layers.Conv2D(4, 3, strides=2), _norm, _relu
    ),
    "dense_on_image": _image_model(lambda: layers.Dense(6, activation="relu"), lambda: layers.Dense(3)),
    "pixel_shuffle": _image_model(lambda: layers.Conv2D(8, 3), _function(lambda x: tf.nn.depth_to_space(x, 2))),
    "adaptive_reshape": _image_model(
        lambda: layers.Conv2D(4, 3), lambda: layers.Reshape((-1, 4)), lambda: layers.Dense(3)
    ),
}
