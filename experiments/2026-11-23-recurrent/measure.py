"""SQNR of untrained int8 files against the float model, ours and TFLite's own, on the zoo's LSTMs: one row a seed."""

import sys
import warnings

import numpy as np
import tf_keras

from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, verify
from tests.quantization.zoo import CASES
from tests.quantization.zoo.drawing import draw, randomise
from tests.quantization.zoo.measure import CALIBRATION_ROWS, ROWS, _sqnr, flat, float_outputs, lsb_distances, ptq_sqnr

NAMES = ("lstm", "lstm_sequences", "stacked_lstm", "lstm_backwards", "bidirectional_lstm", "embedding_lstm", "crnn")
warnings.simplefilter("ignore")


def row(name: str, seed: int) -> str:
    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(seed)
    model = CASES[name]()
    randomise(model, seed)
    calibration, inputs = draw(model, CALIBRATION_ROWS, seed + 1), draw(model, ROWS, seed + 2)
    reference = float_outputs(model, inputs)
    quantized = quantize_model(model, calibration)
    content = convert(quantized)
    interpreter = Interpreter(content)
    distance = lsb_distances(
        interpreter, flat(quantized.predict(inputs, verbose=0)), flat(interpreter.predict(list(inputs)))
    )
    ours = _sqnr(reference, flat(interpreter.predict(list(inputs))))
    theirs = ptq_sqnr(model, calibration, inputs, reference)
    decibels = f"{ours:.2f} | {theirs:.2f} | {ours - theirs:+.2f}"
    parity = f"{np.mean(distance == 0):.4f} | {distance.max()} | {verify(content).integer_only}"
    return f"| {name} | {seed} | {decibels} | {parity} |"


for case in sys.argv[2:] or NAMES:
    for number in range(int(sys.argv[1])):
        print(row(case, number), flush=True)
