"""Feed QAT_FILE. Preprocessing: QAT_CONTRACT."""

import numpy as np
from ai_edge_litert.interpreter import Interpreter

MULTIPLIER, OFFSET = np.array([QAT_MULTIPLIERS], np.float32), np.array([QAT_OFFSETS], np.float32)


def preprocess(raw):
    """Raw samples, QAT_RAW_DTYPE [N, ...] of the model's size, to float32 model inputs."""
    raw = np.asarray(raw)
    assert raw.dtype == np.QAT_RAW_DTYPE, f"expected QAT_RAW_DTYPE, got {raw.dtype}: do not cast, find out why"
    raw = raw[..., ::-1]  # [if bgr]
    return raw.astype(np.float32) * MULTIPLIER + OFFSET


def quantize(real):
    """Real inputs to the file's codes: scale, round, zero point, saturate. Never a bare astype."""  # [if quantized_in]
    scaled = real.astype(np.float64) / QAT_IN_SCALE  # [if quantized_in]
    rounded = np.trunc(scaled + np.copysign(0.5, scaled))  # [if quantized_in]
    return np.clip(rounded + QAT_IN_ZERO, QAT_IN_LOW, QAT_IN_HIGH).astype(np.QAT_IN_DTYPE)  # [if quantized_in]
    """Real inputs as the file takes them."""  # [if not quantized_in]
    return real.astype(np.QAT_IN_DTYPE)  # [if not quantized_in]


def dequantize(codes):
    """The file's codes to real outputs: these are the numbers that a threshold is meant for."""
    return (codes.astype(np.float32) - QAT_OUT_ZERO) * np.float32(QAT_OUT_SCALE)  # [if quantized_out]
    return codes  # [if not quantized_out]


def predict(raw, path="QAT_FILE"):
    """The outputs of all samples, which go through the file at `path` one by one."""
    interpreter = Interpreter(model_path=path)
    interpreter.allocate_tensors()  # [if not of_any_size]
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]
    outputs = []
    for codes in quantize(preprocess(raw)):
        interpreter.resize_tensor_input(source, codes[None].shape)  # [if of_any_size]
        interpreter.allocate_tensors()  # [if of_any_size]
        interpreter.reset_all_variables()  # QAT_WHY_RESET  # [if remembers]
        interpreter.set_tensor(source, codes[None])  # [if of_one_sample]
        interpreter.set_tensor(source, np.repeat(codes[None], QAT_BATCH, axis=0))  # [if not of_one_sample]
        interpreter.invoke()
        outputs.append(dequantize(interpreter.get_tensor(target))[0])  # [if out_by_sample]
        outputs.append(dequantize(interpreter.get_tensor(target)))  # [if not out_by_sample]
    return np.stack(outputs)
