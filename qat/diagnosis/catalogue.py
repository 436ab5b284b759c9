"""The causes by id, those that cannot be seen from what `diagnose` is given, and pieces of fixes that several share.

A fix is words, and after the last colon the code, which a page gives to copy. Names in code are the reader's: `model`,
`converter`, `interpreter`, `samples`, `inputs`, `labels`, `images`, …
"""

from __future__ import annotations

from qat.commands import command

CAUSES: dict[str, tuple[str, str]] = {
    "C01": ("NOT_QUANTIZED", "The file is not quantized: it computes in float."),
    "C02": ("EMPTY_CALIBRATION", "Calibration got no usable sample, so the converter left the file in float."),
    "C03": ("DYNAMIC_RANGE", "Only the weights are quantized: the computation stays in float."),
    "C04": (
        "QAT_NOT_LOWERED",
        "The quantization-aware model was converted without turning its layers into integer ones.",
    ),
    "C05": ("FP16_OVERFLOW", "Numbers too large for float16 were cut off."),
    "C06": (
        "PER_TENSOR_WEIGHTS",
        "All channels of a layer share one weight scale, so small channels lose their precision.",
    ),
    "C07": ("WRONG_WEIGHTS", "The file holds other weights than the Keras model."),
    "C08": ("TRAINING_GRAPH", "The model was converted in its training mode."),
    "C09": ("IO_ORDER", "The file has its inputs or outputs in another order than the Keras model."),
    "C10": ("SHAPE_BATCH", "The input was filled for another shape or batch size than the file has."),
    "C11": (
        "SHARED_SCALE_CONCAT",
        "Values of very different size are joined and share one scale, in which the small ones vanish.",
    ),
    "C12": (
        "CONVERTER_OR_KERNEL_BUG",
        "An op of the file computes otherwise than in the Keras model: converted wrongly, or changed.",
    ),
    "C13": ("RUNTIME_DELEGATE", "The device computes otherwise than the file does here."),
    "Q01": (
        "CAL_UNNORMALISED",
        "The calibration samples were not normalised as in training: their range was too wide.",
    ),
    "Q02": ("CAL_TOO_NARROW", "The calibration samples lay in too narrow a range, so real inputs are cut off."),
    "Q03": ("CAL_RANDOM_NOISE", "The calibration samples were random noise."),
    "Q04": ("CAL_TOO_FEW", "There were too few different calibration samples."),
    "Q05": ("CAL_OTHER_PREPROCESSING", "The calibration samples were preprocessed otherwise than in training."),
    "Q06": ("CAL_OUTLIER", "An outlier among the calibration samples widened the ranges."),
    "Q07": ("CAL_INPUT_ORDER", "The calibration samples gave the inputs in another order than the model's."),
    "Q08": ("CAL_CONSTANT", "The calibration samples were all one number."),
    "Q09": ("CAL_DOMAIN_SHIFT", "The calibration samples came from other data than the inputs given here."),
    "M01": ("WIDE_ACTIVATIONS", "Some activations reach so far that 8 bits cannot hold them finely enough."),
    "M02": (
        "CHANNEL_IMBALANCE",
        "The channels of a layer differ so much in size that one scale cannot serve them all.",
    ),
    "M03": (
        "QAT_REQUIRED",
        "The model loses in 8 bits however it is calibrated: it needs quantization-aware training.",
    ),
    "M04": ("ONE_SENSITIVE_LAYER", "One layer alone loses the accuracy when it is quantized."),
    "M05": ("OUTPUT_RESOLUTION", "The steps of the 8-bit output are too coarse."),
    "M06": ("RNN_STATE", "The state of a recurrent layer loses precision from step to step."),
    "T01": ("QAT_RANGES_NOT_CONVERGED", "Quantization-aware training was too short for its ranges to settle."),
    "T02": ("QAT_NEVER_RUN", "Quantization-aware training was never run: the ranges are those that it starts with."),
    "T03": ("QAT_FROM_SCRATCH", "Quantization-aware training did not start from the trained float weights."),
    "T04": ("QAT_LR_TOO_HIGH", "Quantization-aware training had too high a learning rate."),
    "T05": ("QAT_PARTIAL", "Some layers were left out of quantization and compute in float."),
    "T06": (
        "QAT_KERAS_VS_TFLITE_GAP",
        "The integer file departs from the quantization-aware model that it was made from.",
    ),
    "T07": (
        "REP_DATASET_WITH_QAT",
        "A representative dataset was given for a quantization-aware model, which does not use it.",
    ),
    "T08": (
        "QAT_WEIGHTS_THEN_PTQ",
        "Weights of a quantization-aware model were quantized after training, without their ranges.",
    ),
    "T09": ("KERAS3", "The model was built with Keras 3, which stock tfmot does not take."),
    "I01": ("NO_SCALE", "The app casts numbers to integers without the scale of the file's input."),
    "I02": ("UINT8_TO_INT8_WRAP", "The app casts pixels to int8, and those of 128 and more turn negative."),
    "I03": ("MISSING_OFFSET", "The app leaves out the zero point of the file's input."),
    "I04": ("WRONG_SCALE_ZP", "The app quantizes with another scale or zero point than the file's input has."),
    "I05": (
        "TRUNCATION_NO_CLIP",
        "The app cuts decimals off or wraps around, where the file wants rounding and clipping.",
    ),
    "I06": ("RAW_BYTES", "The app copies bytes of another number format into the input."),
    "P01": ("RANGE_0_255_VS_0_1", "The app feeds another range than the training did: 0..255 and 0..1 were mixed up."),
    "P02": ("RANGE_M1_1_VS_0_1", "The app feeds another range than the training did: -1..1 and 0..1 were mixed up."),
    "P03": ("DOUBLE_NORMALISATION", "The input is normalised twice."),
    "P04": ("MEAN_STD", "The app normalises by another mean or standard deviation than the training."),
    "P05": ("PER_IMAGE_MINMAX", "The app normalises each image by values of its own."),
    "P06": ("BGR", "Red and blue are exchanged."),
    "P07": ("NCHW_RESHAPED", "The app feeds images channels first; the model takes them channels last."),
    "P08": ("ORIENTATION", "The app's images are turned or mirrored."),
    "P09": ("RESIZE_CROP", "The app resizes or crops otherwise than the training."),
    "P10": (
        "DECODE_COLOUR",
        "The app decodes images or colours otherwise than the training, or feeds no image at all.",
    ),
    "P11": ("INVERTED", "The app's images are inverted, black for white."),
    "P12": ("GREY", "The app feeds grey images; the model was trained on colour."),
    "P13": ("AUDIO_FEATURES", "The app computes other features than the training."),
    "P14": ("METADATA", "The file's metadata tell apps another normalisation than the model takes."),
    "O01": ("NOT_DEQUANTIZED", "The app reads the output's integer codes as if they were real numbers."),
    "O02": ("WRONG_DEQUANT", "The app reads the output with another scale or zero point than it has."),
    "O03": (
        "LABEL_OFFSET_ORDER",
        "The app's names of classes or columns are shifted, or in another order than the outputs.",
    ),
    "O04": ("LOGITS_AS_PROBABILITIES", "The app mixes up logits and probabilities."),
    "O05": ("STALE_OUTPUT", "The app reads a result of another sample than the one it has just fed."),
    "O06": ("STATE_NOT_RESET", "The app does not reset the model's state between sequences."),
    "E01": ("LABELS_SHUFFLED", "The labels belong to other samples."),
    "E02": ("SMALL_OR_DIFFERENT_TEST_SET", "The test set is too small to show the difference."),
    "E03": ("BASELINE_WRONG", "The float model's own score was not measured rightly."),
}
"""By id: the name, and what it means in a sentence."""

NAMES = {id: name for id, (name, _) in CAUSES.items()}

# What the stages do with some causes alone
SAY_FLOAT_ALONE = frozenset({"C01", "C03"})  # that a file is float, and nothing of what it loses
AFTER_CALIBRATION = frozenset({"C06"})  # wrong calibration may cost the same: it is excluded first
NEEDS_MORE_STEPS = frozenset({"T01"})  # proved where a file that is calibrated and not trained loses nothing
HARMLESS_WITHOUT_LOSS = frozenset({"C13", "I05"})  # a note there
YIELDS = frozenset({"O05"})  # to what else explains the outputs
EXPLAINS_ORDER = frozenset({"O05", "C10", "E01"})  # why results may depend on the order of the samples

NOT_DETECTABLE: dict[str, str] = {
    "M04": "a layer's inputs and outputs stay on 8-bit grids when it alone is in float, and what is lost on a wide or "
    "uneven one is M01, M02 or M03; no model was found that one layer's own arithmetic loses",
    "M06": "an int8 LSTM keeps its cell in 16 bits, and GRU and SimpleRNN stay in float; none was found that loses",
    "T07": "never a cause: a note, for the converter ignores what was given",
    "T08": "the QAT weights that were copied are not given; the file then is a sound PTQ file of those weights",
    "T09": "tfmot raises before there is a file; models of Keras 3 are read here as those of Keras 2",
    "E02": "never a cause: a note with the number of samples that would show such a difference",
}

SET_DEFAULT = "converter.optimizations = [tf.lite.Optimize.DEFAULT]"
PER_CHANNEL = (
    "equalize the channels before converting, or leave per-channel weights on, which are the default: "
    "converter._experimental_disable_per_channel = False"
)
PER_CHANNEL_RUN = f"train again with one scale for each channel: {command('train', 'quant.per_channel=true')}"
WITHOUT_DELEGATE = (
    "from ai_edge_litert.interpreter import Interpreter, OpResolverType; Interpreter('model.tflite', "
    "experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)"
)
WIDER = "qat.tflite.convert(model, calibration=samples, scheme='int16x8')"
QUANTIZE_CALIBRATED = "qat.quantization.quantize_model(model, samples)"
ONE_PASS = (
    "collect inputs and labels in one pass, without shuffling: inputs, labels = zip(*dataset.as_numpy_iterator())"
)
CALIBRATE = (
    "calibrate with 100-500 real training samples that went through the training preprocessing: "
    "converter.representative_dataset = lambda: ([preprocess(x[None])] for x in samples)"
)
BY_NAME = "inputs = {name: array}: interpreter.get_signature_runner()(**inputs)"
IN_ORDER = "return them in the model's order, inputs = {name: array}: [inputs[name] for name in model.input_names]"
READ_AFTER = (
    "read after the call: interpreter.set_tensor(index, inputs); interpreter.invoke(); "
    "outputs = interpreter.get_tensor(output_index)"
)
STEP_BY_STEP = "compare both functions on one sample, step by step (decode, crop, resize, features, scale)"
WITH_DECIMALS = "keep real numbers until the input is written, and divide by /, not by //: x.astype(np.float32)"
OVER_CLASSES = "classes are the last axis: labels = np.argmax(scores, axis=-1)"
AS_IT_IS = "take the output as it is: probabilities = interpreter.get_tensor(output_index)"
SLOWER = (
    "divide its learning rate by 10 (about 1/100 of the float training's), and compile again after quantize_apply: "
    "qat_model.compile(tf_keras.optimizers.Adam(learning_rate / 10), loss)"
)
TRANSPOSED = (
    "change the layout by transpose (or 0, 3, 1, 2 the other way round), never by reshape: images.transpose(0, 2, 3, 1)"
)
UPRIGHT = (
    "rows are y and columns x, as image[y][x]; turn the bitmap upright (EXIF) before resizing: "
    "PIL.ImageOps.exif_transpose(bitmap)"
)
IN_COLOUR = "decode in colour, 3 channels, as in training: tf.io.decode_image(content, channels=3)"
RGB_ONCE = "convert the order once (cv2.cvtColor(image, cv2.COLOR_BGR2RGB), or by slicing): images[..., ::-1]"
SCALED_INSIDE = "the model divides; feed 0..255 as it is: images.astype(np.float32)"
MEASURED_FIRST = "model.load_weights(checkpoint); model.evaluate(inputs, labels)"
LOADED_FIRST = f"load the trained weights before quantize_model(), and measure: {MEASURED_FIRST}"
CONVERT_MEASURED = (
    f"convert the model that was loaded from the checkpoint, and measure it right before: {MEASURED_FIRST}"
)


def format_verify_command() -> str:
    return command("verify", tflite="model.tflite")


def format_batch_code(index: int | str = "index") -> str:
    """`index`: of the input tensor, where it is known."""
    return (
        f"loop over samples, or resize the input for all of them and fill it: interpreter.resize_tensor_input({index}, "
        f"inputs.shape); interpreter.allocate_tensors(); interpreter.set_tensor({index}, inputs)"
    )
