"""A sound file whose state is kept in resource variables: it is run one sample at a time, each from a fresh state."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from qat.diagnosis import diagnose
from qat.tflite import Interpreter, read
from qat.tflite.editing import apply_edit

ROWS = np.random.default_rng(1).normal(size=(24, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def stateful():
    """y = softmax(w (state / 2 + x)), and state becomes state / 2 + x: two samples at once overrun its memory."""
    import tensorflow as tf

    class Filter(tf.Module):
        def __init__(self):
            self.state = tf.Variable(tf.zeros([1, 4]))
            self.weights = tf.constant(np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32))

        @tf.function(input_signature=[tf.TensorSpec([1, 4])])
        def __call__(self, x):
            after = 0.5 * self.state + x
            self.state.assign(after)
            return tf.nn.softmax(after @ self.weights)

    module = Filter()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.__call__.get_concrete_function()], module)
    converter.experimental_enable_resource_variables = True
    return converter.convert(), module.weights.numpy()


def test_a_file_with_resource_variables_has_no_fault(stateful):
    content, _ = stateful
    assert read(content).keeps_resources
    assert diagnose(content, inputs=ROWS).blame == "none"


def test_a_file_that_lacks_the_values_of_its_variables_is_told_by_itself(stateful):
    def leave_out(model):
        for code in model.operatorCodes:
            if code.builtinCode == schema.BuiltinOperator.ASSIGN_VARIABLE:
                code.builtinCode = schema.BuiltinOperator.READ_VARIABLE
        model.subgraphs = model.subgraphs[:1]
        kept = [op for op in model.subgraphs[0].operators if op.outputs is not None and len(op.outputs)]
        model.subgraphs[0].operators = [op for op in kept if _name(model, op) != "CALL_ONCE"]

    content = apply_edit(stateful[0], leave_out)
    assert read(content).lacks_weights
    for given in ({}, {"inputs": ROWS}):
        (cause,) = diagnose(content, **given).causes
        assert (cause.id, cause.certainty) == ("C07", "certain")


def _name(model, op):
    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    return names[model.operatorCodes[op.opcodeIndex].builtinCode]


def test_each_sample_starts_from_a_fresh_state(stateful):
    content, weights = stateful
    scores = np.exp(ROWS @ weights)
    expected = scores / scores.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(Interpreter(content).predict(ROWS), expected, rtol=1e-5, atol=1e-5)


def test_an_app_that_carries_the_state_on_is_named_alone(stateful):
    from ai_edge_litert.interpreter import Interpreter as LiteRT

    def run(raw, content):
        litert = LiteRT(model_content=content)
        litert.allocate_tensors()
        taken, given = (details[0]["index"] for details in (litert.get_input_details(), litert.get_output_details()))
        outputs = []
        for sample in raw:
            litert.set_tensor(taken, sample[None])
            litert.invoke()
            outputs.append(litert.get_tensor(given)[0])
        return np.stack(outputs)

    found = diagnose(stateful[0], inputs=ROWS, user_run=run)
    assert ([cause.id for cause in found.causes], found.blame) == (["O06"], "implementation")
