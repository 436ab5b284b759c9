"""What a forward pass keeps of what it computes."""

import tensorflow as tf

from qat.quantization.ir.weight_source import Results, Source


def test_what_exceeds_the_budget_is_computed_again_and_what_is_read_takes_none():
    results, value = Results(budget=8), tf.zeros([2])
    results.keep("fits", value)
    results.keep("does not", value)
    results.keep("read", tf.zeros([100]), copied=False)
    assert set(results) == {"fits", "read"}
    assert results.budget == 0


def test_an_expression_is_the_same_with_and_without_a_budget():
    variable = tf.Variable([1.0, 2.0])
    source = Source("transpose", {"perm": [0]}, [Source.variable(0, True)])
    kept, nothing = Results(), Results(budget=0)
    values = [source.evaluate([variable], results, "float32").numpy().tolist() for results in (kept, nothing)]
    assert values == [[1.0, 2.0], [1.0, 2.0]]
    assert source.key in kept
    assert source.key not in nothing
