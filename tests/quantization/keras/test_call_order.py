"""Calls of one layer run in the order in which they were made."""

from __future__ import annotations

import tf_keras
from tf_keras import layers

from qat.quantization.keras.call_order import ordered_by_calls


def _network() -> tuple[tf_keras.Model, tf_keras.layers.Layer]:
    """A layer that is called first on what is shallow and then on what is deep."""
    entry = tf_keras.Input((3,))
    shared = layers.Dense(3, name="shared")
    first, second = shared(entry), shared(layers.ReLU()(entry))
    return tf_keras.Model(entry, layers.Add()([first, layers.ReLU()(layers.ReLU()(second))])), shared


def test_the_first_call_runs_first_behind_all_that_it_reads():
    model, shared = _network()
    before = {depth: list(nodes) for depth, nodes in model._nodes_by_depth.items()}
    found = ordered_by_calls(before)
    order = [node for depth in sorted(found, reverse=True) for node in found[depth]]
    assert [node for node in order if node.layer is shared] == shared._inbound_nodes
    ready = set()
    for node in order:
        assert all(id(tensor._keras_history.layer) in ready for tensor in node.keras_inputs)
        ready.add(id(node.layer))
    assert sorted(map(id, order)) == sorted(id(node) for nodes in before.values() for node in nodes)


def test_a_model_whose_layers_are_called_in_order_stays_as_keras_has_it():
    model = tf_keras.Sequential([layers.Dense(3), layers.Dense(2)])
    model.build((None, 3))
    assert ordered_by_calls(model._nodes_by_depth) is model._nodes_by_depth
