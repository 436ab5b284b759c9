"""A file's time is positive, in milliseconds, and cheap to have."""

import time

import tf_keras

from qat.tflite import convert
from qat.tflite.benchmark.latency import median_latency_ms


def test_the_median_of_single_calls_is_had_in_no_time(tmp_path):
    inputs = tf_keras.Input((8,), name="x")
    content = convert(tf_keras.Model(inputs, tf_keras.layers.Dense(3)(inputs)), scheme="float32")
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    start = time.perf_counter()
    latency = median_latency_ms(path)
    assert 0 < latency < 1000 * (time.perf_counter() - start)
    assert median_latency_ms(content) > 0
