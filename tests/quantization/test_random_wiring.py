"""The random graphs of the zoo draw every op that the canonical form knows."""

import pytest
import tf_keras
from tf_keras import layers

from qat.quantization.importing.modes import read
from qat.quantization.ir.operations import OPERATIONS

from .rewrites.acting import apply_observed
from .zoo.random_wiring import OPS, Wiring
from .zoo.rare_ops import RARE

NEVER_DRAWN = {  # and where they come from
    "argmin": "`nearest_code` of the zoo",
    "broadcast_to": "weights that are computed from variables",
    "cumsum": "`places_of_tokens` of the zoo",
    "corrected": "bias correction",
    "dequantize": "placement, of layers in quant.skip",
    "floor_div": "`quotients_of_ids` of the zoo",
    "floor_mod": "`quotients_of_ids` of the zoo",
    "for_training": "constants that programs of training read",
    "identity": "emission, of outputs",
    "program": "conditions and loops of variables",
    "requantize": "placement",
}


class Every(Wiring):
    """Its dice show one side after another."""

    def __init__(self):
        super().__init__(0)
        self.made = [layers.Conv2D(self.image.shape[-1], 1)(self.image) for _ in range(4)]
        self.turn, self.sides = 0, 1

    def one_of(self, *choices):
        self.sides = max(self.sides, len(choices))
        return choices[self.turn % len(choices)]

    def drawn(self, draw):
        self.turn, self.sides = 0, 1
        while self.turn < self.sides:
            yield draw(self)
            self.turn += 1


@pytest.mark.medium
def test_every_op_of_the_canonical_form_is_drawn():
    """As the graph is read, or as rewrites leave it."""
    wiring = Every()
    outputs = [made for draw in (*OPS, *RARE) for made in wiring.drawn(draw)]
    graph = read(tf_keras.Model(wiring.image, outputs))
    met = {node.op for node in graph.nodes}
    apply_observed(graph, lambda _: met.update(node.op for node in graph.nodes))
    assert set(OPERATIONS) - met == set(NEVER_DRAWN)
