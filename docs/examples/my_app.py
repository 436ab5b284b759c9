"""What an app does around its file: the training's preprocessing, and an app's own that went wrong twice."""

import numpy


def normalise(images):
    """As in training: 0..255 becomes 0..1."""
    return images.astype(numpy.float32) / 255


def prepare(images):
    """As the app does it: red and blue exchanged, as OpenCV reads them, and -1..1 in place of 0..1."""
    return images[..., ::-1].astype(numpy.float32) / 127.5 - 1
