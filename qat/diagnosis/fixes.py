"""Pieces of fixes that several causes share: words, and after the last colon the code, which a page gives to copy.

Names in code are the reader's: `model`, `converter`, `interpreter`, `samples`, `inputs`, `labels`, `images`, …
"""

from __future__ import annotations

from qat.commands import command

SET_DEFAULT = "converter.optimizations = [tf.lite.Optimize.DEFAULT]"
PER_CHANNEL = (
    "equalize the channels before converting, or leave per-channel weights on, which are the default: "
    "converter._experimental_disable_per_channel = False"
)
WITHOUT_DELEGATE = (
    "from ai_edge_litert.interpreter import Interpreter, OpResolverType; Interpreter('model.tflite', "
    "experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)"
)
WIDER = "qat.tflite.convert(model, calibration=samples, scheme='int16x8')"
CALIBRATED = "qat.quantization.quantize_model(model, samples)"
ONE_PASS = (
    "collect inputs and labels in one pass, without shuffling: inputs, labels = zip(*dataset.as_numpy_iterator())"
)
BY_NAME = "inputs = {name: array}: interpreter.get_signature_runner()(**inputs)"
IN_ORDER = "return them in the model's order, inputs = {name: array}: [inputs[name] for name in model.input_names]"
READ_AFTER = (
    "read after the call: interpreter.set_tensor(index, inputs); interpreter.invoke(); "
    "outputs = interpreter.get_tensor(output_index)"
)
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


def format_verify_command() -> str:
    return command("verify", tflite="model.tflite")


def format_batch_code(index: int | str = "index") -> str:
    """`index`: of the input tensor, where it is known."""
    return (
        f"loop over samples, or resize the input for all of them and fill it: interpreter.resize_tensor_input({index}, "
        f"inputs.shape); interpreter.allocate_tensors(); interpreter.set_tensor({index}, inputs)"
    )
