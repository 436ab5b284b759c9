"""Quantize a float .tflite with google's ai-edge-quantizer (static_wi8_ai8), in an environment of its own.

    PYTHON scripts/parts/bars/ptq_ai_edge.py float.tflite samples.npy out.tflite SAMPLES_PER_CALL

`scripts/bars ptq` calls it. The float file has one signature with one input; samples are float32 [N, ...].
"""

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import quantizer, recipe


def main(float_file: str, samples_file: str, out_file: str, at_once: str) -> None:
    signatures = Interpreter(float_file).get_signature_list()
    ((key, names),) = signatures.items()
    stored, size = np.load(samples_file), int(at_once)
    samples = [{names["inputs"][0]: stored[at : at + size]} for at in range(0, len(stored), size)]
    work = quantizer.Quantizer(float_file, recipe.static_wi8_ai8())
    calibrated = work.calibrate({key: samples})
    work.quantize(calibrated).export_model(out_file, overwrite=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
