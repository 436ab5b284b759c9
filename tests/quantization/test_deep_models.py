"""Networks of a thousand layers one behind the other: Keras walks them by recursion, and so does the converter."""

import pytest
import tf_keras

from qat.quantization.keras.deep_recursion import deep_recursion
from qat.quantization.keras.model import QatModel
from qat.quantization.keras.op import Op

LAYERS = 1200


def chain():
    x = features = tf_keras.Input((2,))
    for place in range(LAYERS):
        x = Op(op="identity", attrs={}, operands=["x"], weights={}, name=f"step_{place}")(x)
    return features, x


@pytest.mark.slow
def test_a_chain_that_overruns_the_usual_recursion_is_built_and_read_again():
    ends = chain()
    with pytest.raises(RecursionError):
        QatModel(*ends)
    with deep_recursion():
        model = QatModel(*ends)
    assert len(QatModel.from_config(model.get_config()).layers) == LAYERS + 1
