"""Image networks from other people's repositories, small."""

from __future__ import annotations

import tensorflow as tf
import tf_keras
from tf_keras import layers


def _unit(x, channels, kernel=3, strides=1, activation="relu", **options):
    x = layers.Conv2D(channels, kernel, strides=strides, padding="same", use_bias=False, **options)(x)
    return layers.Activation(activation)(layers.BatchNormalization()(x))


def _leaky(x, channels, kernel=3):
    x = layers.Conv2D(channels, kernel, padding="same", use_bias=False)(x)
    return layers.LeakyReLU(0.1)(layers.BatchNormalization()(x))


def _classes(image, x, classes=4):
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return tf_keras.Model(image, layers.Dense(classes, activation="softmax")(x))


def unet_cropped():
    """Valid convolutions, the skip cropped to what comes up."""
    image = tf_keras.Input((20, 20, 1), name="image")
    first = layers.Conv2D(4, 3, activation="relu")(layers.Conv2D(4, 3, activation="relu")(image))
    x = layers.Conv2D(8, 3, activation="relu")(layers.MaxPooling2D()(first))
    up = layers.Conv2DTranspose(4, 2, strides=2)(x)
    x = layers.Concatenate()([layers.Cropping2D(2)(first), up])
    x = layers.Conv2D(4, 3, activation="relu")(x)
    return tf_keras.Model(image, layers.ZeroPadding2D(1)(layers.Conv2D(2, 1)(x)))


def unet_padded_odd():
    """An odd size: what comes up is padded to the skip."""
    image = tf_keras.Input((15, 15, 3), name="image")
    first = _unit(image, 4)
    x = _unit(layers.MaxPooling2D()(first), 6)
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(layers.UpSampling2D()(x))
    return tf_keras.Model(image, layers.Conv2D(3, 1)(_unit(layers.concatenate([first, x]), 4)))


def attention_unet():
    image = tf_keras.Input((16, 16, 3), name="image")
    skip = _unit(image, 4)
    deep = _unit(layers.MaxPooling2D()(skip), 8)
    gate = layers.Add()([layers.Conv2D(4, 2, strides=2)(skip), layers.Conv2D(4, 1)(deep)])
    gate = layers.Conv2D(1, 1, activation="sigmoid")(layers.Activation("relu")(gate))
    gate = layers.UpSampling2D(interpolation="bilinear")(gate)
    x = layers.Concatenate()([layers.Multiply()([skip, gate]), layers.UpSampling2D()(deep)])
    return tf_keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid")(_unit(x, 4)))


def aspp():
    image = tf_keras.Input((16, 16, 3), name="image")
    x = _unit(image, 8, strides=2)
    pooled = layers.Reshape((1, 1, 8))(layers.GlobalAveragePooling2D()(x))
    pooled = layers.UpSampling2D(8, interpolation="bilinear")(_unit(pooled, 4, 1))
    branches = [pooled, _unit(x, 4, 1), *[_unit(x, 4, 3, dilation_rate=rate) for rate in (2, 3)]]
    x = _unit(layers.Concatenate()(branches), 6, 1)
    x = layers.Conv2D(3, 1)(x)
    return tf_keras.Model(image, tf.image.resize(x, (16, 16)))


def pyramid_pooling():
    image = tf_keras.Input((12, 12, 3), name="image")
    x = _unit(image, 6)
    levels = [x]
    for size in (1, 2, 3):
        y = _unit(layers.AveragePooling2D(12 // size)(x), 2, 1)
        levels.append(layers.Lambda(lambda t: tf.image.resize(t, (12, 12), method="bilinear"))(y))
    return tf_keras.Model(image, layers.Conv2D(3, 1)(layers.Concatenate()(levels)))


def linknet():
    image = tf_keras.Input((16, 16, 3), name="image")
    first = _unit(image, 6, strides=2)
    x = _unit(_unit(first, 12, strides=2), 12)
    y = _unit(x, 3, 1)
    y = layers.Conv2DTranspose(3, 3, strides=2, padding="same", use_bias=False)(y)
    y = _unit(layers.ReLU()(layers.BatchNormalization()(y)), 6, 1)
    y = layers.Conv2DTranspose(2, 4, strides=2, padding="same")(layers.Add()([y, first]))
    return tf_keras.Model(image, layers.Softmax()(y))


def feature_pyramid():
    image = tf_keras.Input((16, 16, 3), name="image")
    c2 = _unit(image, 4, strides=2)
    c3 = _unit(c2, 6, strides=2)
    p3 = layers.Conv2D(4, 1)(c3)
    p2 = layers.Add()([layers.UpSampling2D()(p3), layers.Conv2D(4, 1)(c2)])
    p4 = layers.MaxPooling2D(1, 2)(p3)
    smooth = layers.Conv2D(4, 3, padding="same", name="smooth")
    return tf_keras.Model(image, [smooth(p2), smooth(p3), smooth(p4)])


def ssd_heads():
    image = tf_keras.Input((16, 16, 3), name="pixels")
    x = layers.Rescaling(1 / 127.5, -1.0)(image)
    maps = []
    for channels in (6, 8, 8):
        x = _unit(x, channels, strides=2, activation="relu6")
        maps.append(x)
    boxes = [layers.Reshape((-1, 4))(layers.Conv2D(3 * 4, 3, padding="same")(m)) for m in maps]
    classes = [layers.Reshape((-1, 5))(layers.Conv2D(3 * 5, 3, padding="same")(m)) for m in maps]
    boxes = layers.Concatenate(axis=1)(boxes)
    classes = layers.Activation("softmax")(layers.Concatenate(axis=1)(classes))
    return tf_keras.Model(image, layers.Concatenate(axis=2, name="predictions")([classes, boxes]))


def yolo_tiny():
    image = tf_keras.Input((16, 16, 3), name="image")
    x = layers.MaxPooling2D()(_leaky(image, 4))
    fine = _leaky(x, 6)
    x = _leaky(layers.MaxPooling2D(2, strides=1, padding="same")(layers.MaxPooling2D()(fine)), 8)
    coarse = layers.Conv2D(3 * 6, 1)(_leaky(x, 8))
    x = layers.Concatenate()([layers.UpSampling2D()(_leaky(x, 4, 1)), fine])
    fine = layers.Conv2D(3 * 6, 1)(_leaky(x, 6))
    return tf_keras.Model(image, [layers.Reshape((4, 4, 3, 6))(coarse), layers.Reshape((8, 8, 3, 6))(fine)])


def yolo_v2_passthrough():
    image = tf_keras.Input((16, 16, 3), name="image")
    skip = _leaky(layers.MaxPooling2D()(_leaky(image, 4)), 6)
    x = _leaky(layers.MaxPooling2D()(skip), 8)
    skip = layers.Lambda(lambda t: tf.nn.space_to_depth(t, 2), name="space_to_depth")(_leaky(skip, 2, 1))
    x = layers.concatenate([skip, x])
    return tf_keras.Model(image, layers.Reshape((4, 4, 2, 7))(layers.Conv2D(14, 1)(_leaky(x, 8))))


def yolo_decoded():
    """Boxes decoded in the model: sigmoid offsets, a grid added, exponential sizes times anchors."""
    image = tf_keras.Input((8, 8, 3), name="image")
    raw = layers.Reshape((4, 4, 2, 6))(layers.Conv2D(12, 3, strides=2, padding="same")(image))
    grid = tf.stack(tf.meshgrid(tf.range(4), tf.range(4)), axis=-1)
    grid = tf.cast(grid, tf.float32)[None, :, :, None, :]
    xy = (tf.sigmoid(raw[..., :2]) + grid) / 4.0
    wh = tf.exp(tf.clip_by_value(raw[..., 2:4], -2.0, 2.0)) * tf.constant([[0.2, 0.3], [0.5, 0.4]])
    return tf_keras.Model(image, [tf.concat([xy - wh / 2.0, xy + wh / 2.0], -1), tf.sigmoid(raw[..., 4:])])


def centernet_head():
    image = tf_keras.Input((12, 12, 3), name="image")
    x = _unit(image, 6, strides=2)
    heat = layers.Conv2D(2, 1, activation="sigmoid", name="heat")(_unit(x, 6))
    peaks = tf.equal(layers.MaxPooling2D(3, 1, padding="same")(heat), heat)
    return tf_keras.Model(image, [heat * tf.cast(peaks, tf.float32), layers.Conv2D(2, 1, name="size")(x)])


def mbconv():
    image = tf_keras.Input((12, 12, 3), name="pixels")
    x = layers.Rescaling(1.0 / 255)(image)
    x = _unit(layers.ZeroPadding2D(((0, 1), (0, 1)))(x), 6, activation="swish")
    for expand in (2, 3):
        y = _unit(x, 6 * expand, 1, activation="swish")
        y = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(y)
        y = layers.Activation("swish")(layers.BatchNormalization()(y))
        gate = layers.Reshape((1, 1, 6 * expand))(layers.GlobalAveragePooling2D()(y))
        gate = layers.Conv2D(2, 1, activation="swish")(gate)
        y = layers.multiply([y, layers.Conv2D(6 * expand, 1, activation="sigmoid")(gate)])
        y = layers.BatchNormalization()(layers.Conv2D(6, 1, use_bias=False)(y))
        x = layers.add([layers.Dropout(0.1, noise_shape=(None, 1, 1, 1))(y), x])
    return _classes(image, _unit(x, 12, 1, activation="swish"))


def shufflenet_v2():
    image = tf_keras.Input((12, 12, 3), name="image")
    x = _unit(image, 8, strides=2)
    for _ in range(2):
        left, right = tf.split(x, 2, axis=-1)
        right = _unit(right, 4, 1)
        right = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(right))
        x = layers.Concatenate()([left, _unit(right, 4, 1)])
        height, width, channels = x.shape[1:]
        x = layers.Reshape((height, width, 2, channels // 2))(x)
        x = layers.Reshape((height, width, channels))(layers.Permute((1, 2, 4, 3))(x))
    return _classes(image, x)


def shufflenet_v1():
    image = tf_keras.Input((12, 12, 3), name="image")
    x = _unit(image, 12, strides=2)
    y = _unit(x, 6, 1, groups=3)
    y = layers.Lambda(
        lambda t: tf.reshape(tf.transpose(tf.reshape(t, (-1, 6, 6, 3, 2)), (0, 1, 2, 4, 3)), (-1, 6, 6, 6))
    )(y)
    y = layers.BatchNormalization()(layers.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False)(y))
    y = layers.BatchNormalization()(layers.Conv2D(12, 1, groups=3, use_bias=False)(y))
    return _classes(image, layers.ReLU()(layers.Concatenate()([y, layers.AveragePooling2D(3, 2, padding="same")(x)])))


def ghost_module():
    image = tf_keras.Input((12, 12, 3), name="image")
    primary = _unit(image, 6, 1)
    cheap = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(primary)
    cheap = layers.ReLU()(layers.BatchNormalization()(cheap))
    x = layers.Concatenate()([primary, cheap])[..., :10]
    return _classes(image, x)


def squeezenet_fire():
    image = tf_keras.Input((12, 12, 3), name="image")
    x = layers.MaxPooling2D(3, 2)(layers.Conv2D(6, 3, activation="relu")(image))
    for squeeze, expand in ((3, 6), (4, 6)):
        y = layers.Conv2D(squeeze, 1, activation="relu")(x)
        left = layers.Conv2D(expand, 1, activation="relu")(y)
        right = layers.Conv2D(expand, 3, padding="same", activation="relu")(y)
        x = layers.concatenate([left, right])
    x = layers.Activation("relu")(layers.Conv2D(4, 1)(layers.Dropout(0.5)(x)))
    return tf_keras.Model(image, layers.Activation("softmax")(layers.GlobalAveragePooling2D()(x)))


def inception_resnet():
    image = tf_keras.Input((10, 10, 6), name="image")
    x = image
    for factor in (0.17, 0.1):
        branches = [_unit(x, 3, 1), _unit(_unit(x, 3, 1), 3), _unit(_unit(x, 3, (1, 7)), 3, (7, 1))]
        up = layers.Conv2D(6, 1)(layers.Concatenate()(branches))
        x = layers.Lambda(lambda t, scale: t[0] + t[1] * scale, arguments={"scale": factor})([x, up])
        x = layers.Activation("relu")(x)
    return _classes(image, x)


def xception_block():
    image = tf_keras.Input((12, 12, 3), name="image")
    x = _unit(image, 6)
    y = layers.Activation("relu")(x)
    y = layers.BatchNormalization()(layers.SeparableConv2D(8, 3, padding="same", use_bias=False)(y))
    y = layers.MaxPooling2D(3, 2, padding="same")(y)
    x = layers.BatchNormalization()(layers.Conv2D(8, 1, strides=2, padding="same", use_bias=False)(x))
    return _classes(image, layers.add([x, y]))


def nasnet_cell():
    image = tf_keras.Input((8, 8, 4), name="image")
    x = layers.Activation("relu")(image)
    a = layers.BatchNormalization()(layers.SeparableConv2D(4, 5, padding="same", use_bias=False)(x))
    b = layers.AveragePooling2D(3, strides=1, padding="same")(x)
    c = layers.add([layers.AveragePooling2D(3, strides=1, padding="same")(x), image])
    return _classes(image, layers.Activation("relu")(layers.concatenate([layers.add([a, b]), c, image])))


def cbam():
    image = tf_keras.Input((12, 12, 3), name="image")
    x = _unit(image, 8)
    first, second = layers.Dense(2, activation="relu"), layers.Dense(8)
    gates = [
        second(first(pool(keepdims=True)(x))) for pool in (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D)
    ]
    x = layers.Multiply()([x, layers.Activation("sigmoid")(layers.Add()(gates))])
    mean = layers.Lambda(lambda t: tf.reduce_mean(t, axis=3, keepdims=True))(x)
    high = layers.Lambda(lambda t: tf.reduce_max(t, axis=3, keepdims=True))(x)
    place = layers.Conv2D(1, 7, padding="same", activation="sigmoid", use_bias=False)(
        layers.Concatenate(axis=3)([mean, high])
    )
    return _classes(image, layers.multiply([x, place]))


def eca():
    image = tf_keras.Input((12, 12, 3), name="image")
    x = _unit(image, 8)
    gate = layers.Reshape((8, 1))(layers.GlobalAveragePooling2D()(x))
    gate = layers.Activation("sigmoid")(layers.Conv1D(1, 3, padding="same", use_bias=False)(gate))
    return _classes(image, x * layers.Reshape((1, 1, 8))(gate))


def coordinate_attention():
    image = tf_keras.Input((8, 6, 3), name="image")
    x = _unit(image, 6)
    rows = tf.reduce_mean(x, axis=2, keepdims=True)
    columns = tf.transpose(tf.reduce_mean(x, axis=1, keepdims=True), (0, 2, 1, 3))
    y = _unit(tf.concat([rows, columns], axis=1), 4, 1)
    rows, columns = tf.split(y, [8, 6], axis=1)
    rows = layers.Conv2D(6, 1, activation="sigmoid")(rows)
    columns = layers.Conv2D(6, 1, activation="sigmoid")(tf.transpose(columns, (0, 2, 1, 3)))
    return _classes(image, x * rows * columns)


def global_context():
    image = tf_keras.Input((6, 6, 3), name="image")
    x = _unit(image, 6)
    weights = layers.Softmax(axis=1)(layers.Reshape((36, 1))(layers.Conv2D(1, 1)(x)))
    context = tf.matmul(layers.Reshape((36, 6))(x), weights, transpose_a=True)
    y = layers.Conv2D(3, 1)(layers.Reshape((1, 1, 6))(context))
    y = layers.Conv2D(6, 1)(layers.ReLU()(layers.LayerNormalization()(y)))
    return _classes(image, layers.Add()([x, y]))


def non_local():
    image = tf_keras.Input((6, 6, 3), name="image")
    x = _unit(image, 6)
    theta, phi, g = (layers.Reshape((36, 3))(layers.Conv2D(3, 1)(x)) for _ in range(3))
    scores = layers.Activation("softmax")(layers.Dot(axes=2)([theta, phi]))
    y = layers.Reshape((6, 6, 3))(layers.Dot(axes=[2, 1])([scores, g]))
    return _classes(image, layers.Add()([x, layers.Conv2D(6, 1)(y)]))


def selective_kernel():
    image = tf_keras.Input((8, 8, 3), name="image")
    branches = [_unit(image, 6, 3), _unit(image, 6, 3, dilation_rate=2)]
    z = layers.Dense(4, activation="relu")(layers.GlobalAveragePooling2D()(layers.Add()(branches)))
    gates = tf.nn.softmax(tf.stack([layers.Dense(6)(z), layers.Dense(6)(z)], axis=-1), axis=-1)
    gates = tf.unstack(tf.reshape(gates, (-1, 1, 1, 6, 2)), axis=-1)
    return _classes(image, branches[0] * gates[0] + branches[1] * gates[1])


def resnet_preactivated_pad():
    """A stride-2 shortcut by pooling, its channels padded with zeros."""
    image = tf_keras.Input((12, 12, 3), name="image")
    x = _unit(image, 4)
    y = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same")(_unit(x, 8, strides=2)))
    short = layers.Lambda(lambda t: tf.pad(t[:, ::2, ::2, :], [[0, 0], [0, 0], [0, 0], [2, 2]]))(x)
    return _classes(image, layers.ReLU()(layers.add([y, short])))


def resnext_split():
    image = tf_keras.Input((10, 10, 8), name="image")
    paths = [
        layers.Conv2D(4, 3, padding="same")(layers.Lambda(lambda t, k=k: t[..., k * 2 : k * 2 + 2])(image))
        for k in range(4)
    ]
    x = layers.ReLU()(layers.BatchNormalization()(layers.concatenate(paths)))
    return _classes(image, layers.add([layers.Conv2D(8, 1)(x), image]))


def residual_of_input():
    """A denoiser: the network's answer is subtracted from its own input."""
    image = tf_keras.Input((10, 10, 1), name="image")
    x = layers.Conv2D(6, 3, padding="same", activation="relu")(image)
    return tf_keras.Model(image, layers.Subtract()([image, layers.Conv2D(1, 3, padding="same")(_unit(x, 6))]))


def espcn_clipped():
    image = tf_keras.Input((6, 6, 3), name="image")
    x = layers.Conv2D(8, 5, padding="same", activation="tanh")(image)
    x = tf.nn.depth_to_space(layers.Conv2D(12, 3, padding="same")(x), 2)
    return tf_keras.Model(image, tf.clip_by_value(x, 0.0, 1.0))


def edsr():
    image = tf_keras.Input((6, 6, 3), name="pixels")
    x = first = layers.Conv2D(6, 3, padding="same")((image - 127.5) / 127.5)
    for _ in range(2):
        y = layers.Conv2D(6, 3, padding="same")(layers.Conv2D(6, 3, padding="same", activation="relu")(x))
        x = layers.Add()([x, y * 0.1])
    x = layers.Add()([layers.Conv2D(6, 3, padding="same")(x), first])
    x = layers.Conv2D(3, 3, padding="same")(tf.nn.depth_to_space(layers.Conv2D(24, 3, padding="same")(x), 2))
    return tf_keras.Model(image, x * 127.5 + 127.5)


def convolutional_autoencoder():
    image = tf_keras.Input((12, 12, 1), name="image")
    x = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu")(image)
    code = layers.Dense(8, name="code")(layers.Flatten()(x))
    x = layers.Reshape((6, 6, 4))(layers.Dense(144, activation="relu")(code))
    return tf_keras.Model(image, layers.Conv2DTranspose(1, 3, strides=2, padding="same", activation="sigmoid")(x))


def generator():
    noise = tf_keras.Input((8,), name="noise")
    x = layers.LeakyReLU()(layers.BatchNormalization()(layers.Dense(4 * 4 * 6, use_bias=False)(noise)))
    x = layers.Reshape((4, 4, 6))(x)
    x = layers.Conv2DTranspose(4, 5, strides=1, padding="same", use_bias=False)(x)
    x = layers.LeakyReLU()(layers.BatchNormalization()(x))
    return tf_keras.Model(noise, layers.Conv2DTranspose(1, 5, strides=2, padding="same", activation="tanh")(x))


def style_transfer():
    """Reflection padding, instance normalization by hand."""
    image = tf_keras.Input((8, 8, 3), name="image")
    x = tf.pad(image, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="REFLECT")
    x = layers.Conv2D(6, 3)(x)
    mean, variance = tf.nn.moments(x, axes=[1, 2], keepdims=True)
    x = tf.nn.relu((x - mean) / tf.sqrt(variance + 1e-3))
    return tf_keras.Model(image, layers.Conv2D(3, 3, padding="same", activation="tanh")(layers.UpSampling2D()(x)))


def face_embedding():
    image = tf_keras.Input((12, 12, 3), name="image")
    x = layers.PReLU(shared_axes=[1, 2])(layers.BatchNormalization()(layers.Conv2D(6, 3, strides=2)(image)))
    x = layers.DepthwiseConv2D(5, use_bias=False)(x)
    x = layers.Dense(8, use_bias=False)(layers.Flatten()(layers.BatchNormalization()(x)))
    return tf_keras.Model(
        image, layers.Lambda(lambda t: tf.nn.l2_normalize(t, axis=-1))(layers.BatchNormalization()(x))
    )


def pose_heatmaps():
    image = tf_keras.Input((16, 16, 3), name="image")
    x = _unit(_unit(image, 6, strides=2), 8, strides=2)
    stages = []
    for _ in range(2):
        y = layers.Conv2D(3, 1)(_unit(x, 8))
        stages.append(y)
        x = layers.Concatenate()([x, y])
    return tf_keras.Model(image, stages)


def hrnet_fuse():
    image = tf_keras.Input((12, 12, 3), name="image")
    high, low = _unit(image, 4), _unit(image, 6, strides=2)
    up = layers.UpSampling2D(interpolation="nearest")(
        layers.BatchNormalization()(layers.Conv2D(4, 1, use_bias=False)(low))
    )
    down = layers.BatchNormalization()(layers.Conv2D(6, 3, strides=2, padding="same", use_bias=False)(high))
    high, low = layers.ReLU()(layers.add([high, up])), layers.ReLU()(layers.add([low, down]))
    return tf_keras.Model(image, layers.Conv2D(2, 1)(layers.concatenate([high, layers.UpSampling2D()(low)])))


def bifpn_weighted():
    """Fast normalized fusion with learned weights."""

    class Fuse(layers.Layer):
        def build(self, shapes):
            self.w = self.add_weight("w", (len(shapes),), initializer="ones")

        def call(self, inputs):
            w = tf.nn.relu(self.w)
            return tf.add_n([w[i] * x for i, x in enumerate(inputs)]) / (tf.reduce_sum(w) + 1e-4)

    image = tf_keras.Input((8, 8, 3), name="image")
    a, b = _unit(image, 4), layers.UpSampling2D()(_unit(image, 4, strides=2))
    return tf_keras.Model(image, layers.Conv2D(4, 1)(tf.nn.swish(Fuse()([a, b]))))


def spatial_softmax():
    """Expected coordinates of each channel."""
    image = tf_keras.Input((6, 6, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same")(image)
    p = tf.nn.softmax(tf.reshape(tf.transpose(x, (0, 3, 1, 2)), (-1, 4, 36)))
    grid = tf.constant([[r / 5.0, c / 5.0] for r in range(6) for c in range(6)])
    return tf_keras.Model(image, tf.reduce_sum(p[..., None] * grid, axis=2))


def vgg_with_frozen_part():
    image = tf_keras.Input((8, 8, 3), name="image")
    base = tf_keras.Sequential(
        [layers.Conv2D(4, 3, padding="same", activation="relu"), layers.MaxPooling2D()], name="base"
    )
    base.trainable = False
    return tf_keras.Model(image, layers.Dense(3)(layers.Flatten()(base(image))))


def activation_behind_pooling():
    """Convolution, pooling, activation, in this order."""
    image = tf_keras.Input((12, 12, 3), name="image")
    x = layers.Activation("relu")(layers.MaxPooling2D()(layers.Conv2D(6, 3, padding="same")(image)))
    x = layers.Activation("relu")(layers.AveragePooling2D(3, 2, padding="same")(layers.Conv2D(8, 3)(x)))
    return _classes(image, layers.ReLU(6.0)(layers.MaxPooling2D()(layers.BatchNormalization()(x))))


VISION = {
    name: build
    for name, build in list(globals().items())
    if getattr(build, "__module__", None) == __name__ and not name.startswith("_")
}
