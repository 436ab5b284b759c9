"""Specs in torchao's kinds: whose scale a tensor has, and what a kind says of it."""

import pytest
import tensorflow as tf
from tf_keras import layers

from qat.quantization.importing.modes import read
from qat.quantization.placement import Derived, Fixed, Own, QuantSpec, Shared, merge, place
from qat.quantization.rewrites import apply_phases

from ..rewrites.acting import image


def test_a_shared_spec_gives_its_tensors_to_the_root():
    first, second, third = (QuantSpec(name, name, tensors=[name]) for name in "abc")
    merge(first, second)
    merge(second, third)
    assert first.root() is third
    assert first.kind == Shared(second)
    assert third.tensors == ["c", "b", "a"]


def test_a_derived_spec_has_the_scale_of_its_origin_and_no_tensors():
    origin = QuantSpec("a", "layer", tensors=["values"])
    derived = origin.derive()
    assert derived.kind == Derived(origin)
    assert (derived.root(), derived.name, derived.layer, derived.tensors) == (origin, "a", "layer", [])


def test_only_a_fixed_spec_has_limits_before_calibration():
    assert QuantSpec("a", "a").fixed is None
    assert QuantSpec("a", "a", Fixed((-1.0, 1.0))).fixed == (-1.0, 1.0)
    clamped = QuantSpec("a", "a", Own(bounds=(-1.0, 4.0)))
    assert (clamped.fixed, clamped.bounds, clamped.is_bound) == (None, (-1.0, 4.0), True)
    assert [QuantSpec("a", "a", kind).is_bound for kind in (Own(), Fixed((0.0, 4.0)))] == [False, True]


KINDS = {
    "conv": (lambda x: layers.Conv2D(2, 3)(x), [Own(), Own(), Own()]),
    "softmax": (layers.Softmax(), [Own(), Own(), Fixed((0.0, 255 / 256))]),
    "clamp": (lambda x: tf.clip_by_value(x, -1.0, 4.0), [Own(), Own(bounds=(-1.0, 4.0))]),
}


@pytest.mark.parametrize(("layer", "expected"), KINDS.values(), ids=KINDS)
def test_each_kernel_places_the_kind_that_it_needs(layer, expected):
    graph = read(image(layer)())
    apply_phases(graph)
    assert [quant_spec.kind for quant_spec in place(graph)] == expected


def test_a_resize_is_derived_from_what_it_resizes():
    graph = read(image(layers.UpSampling2D(2, interpolation="bilinear"))())
    apply_phases(graph)
    place(graph)
    kinds = [node.attrs["quant_spec"].kind for node in graph.nodes_of("fake_quant")]
    assert [type(kind) for kind in kinds] == [Own, Own, Derived]
    assert kinds[-1].spec is list(graph.nodes_of("fake_quant"))[1].attrs["quant_spec"]
