"""The contract, against formulas and Pillow written out a second time, and everything that it refuses."""

import json

import numpy as np
import pytest
from PIL import Image

from qat.contract import RESIZE_METHODS, Contract, apply
from qat.errors import ConfigError, DataError

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(0, 256, (5, 8, 6, 3), dtype=np.uint8)


def test_range_maps_0_and_255_to_its_ends_and_lies_linear_between():
    inputs = apply(Contract((8, 6, 3), range=(-1, 1)), IMAGES)
    assert inputs.dtype == np.float32
    np.testing.assert_allclose(inputs, IMAGES / 127.5 - 1, atol=1e-6)


def test_mean_and_std_are_those_of_raw_over_255():
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    inputs = apply(Contract((8, 6, 3), mean=mean, std=std), IMAGES)
    np.testing.assert_allclose(inputs, (IMAGES / 255 - np.array(mean)) / np.array(std), atol=1e-5)


def test_without_scaling_raw_values_pass_as_floats():
    np.testing.assert_array_equal(apply(Contract((8, 6, 3)), IMAGES), IMAGES.astype(np.float32))


def test_a_range_of_0_to_1_holds_each_raw_value_exactly_in_an_int8_code():
    raw = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    codes = np.round(apply(Contract((16, 16, 1), range=(0, 1)), raw) * 255) - 128
    np.testing.assert_array_equal(codes, raw.astype(int) - 128)


def test_bgr_is_reordered_before_mean_and_std_of_the_models_channels():
    contract = Contract((8, 6, 3), colour_order="bgr", mean=(0.1, 0.2, 0.3), std=(1, 1, 1))
    expected = np.stack([IMAGES[..., 2] / 255 - 0.1, IMAGES[..., 1] / 255 - 0.2, IMAGES[..., 0] / 255 - 0.3], axis=-1)
    np.testing.assert_allclose(apply(contract, IMAGES), expected, atol=1e-6)


@pytest.mark.parametrize("method", RESIZE_METHODS)
@pytest.mark.parametrize("size", [(5, 11), (16, 3)])
def test_resizing_images_is_what_pillow_does_with_the_whole_picture(method, size):
    filters = {"nearest": 0, "bilinear": 2, "bicubic": 3, "area": 4}  # Pillow's numbers
    expected = [np.asarray(Image.fromarray(image).resize(size[::-1], filters[method])) for image in IMAGES]
    np.testing.assert_array_equal(apply(Contract((*size, 3), resize=method), IMAGES), np.stack(expected))


def test_area_halving_is_the_mean_of_four_pixels_to_one_level():
    expected = IMAGES.reshape(5, 4, 2, 3, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(
        apply(Contract((4, 3, 3), resize="area"), IMAGES), expected, atol=1.0
    )  # Pillow rounds per pass


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_images_of_any_channel_count_resize_plane_by_plane(channels):
    planes = GENERATOR.integers(0, 256, (2, 8, 6, channels), dtype=np.uint8)
    together = apply(Contract((4, 4, channels)), planes)
    for i in range(channels):
        np.testing.assert_array_equal(together[..., i : i + 1], apply(Contract((4, 4, 1)), planes[..., i : i + 1]))


def test_float_images_are_resized_without_rounding():
    raw = np.array([[[[0.0], [1.0]]]], np.float32)
    resized = apply(Contract((1, 4, 1), raw_dtype="float32"), raw)
    np.testing.assert_allclose(resized[0, 0, :, 0], [0, 0.25, 0.75, 1], atol=1e-6)


def test_samples_of_different_sizes_are_taken_one_by_one():
    contract = Contract((4, 4, 3), range=(0, 1))
    inputs = apply(contract, (image for image in (IMAGES[0], IMAGES[1, :5, :5])))
    np.testing.assert_array_equal(inputs[0], apply(contract, IMAGES[:1])[0])
    np.testing.assert_array_equal(inputs[1], apply(contract, IMAGES[1:2, :5, :5])[0])


def test_no_samples_give_an_empty_batch_of_the_right_shape():
    assert apply(Contract((4, 4, 3)), IMAGES[:0]).shape == apply(Contract((4, 4, 3)), []).shape == (0, 4, 4, 3)


def test_applying_leaves_the_raw_data_as_it_was():
    features = np.ones((2, 3), np.float32)
    apply(Contract((3,), layout="features", raw_dtype="float32"), features)[:] = 7
    np.testing.assert_array_equal(features, np.ones((2, 3)))


@pytest.mark.parametrize(
    "contract",
    [
        Contract((8, 6, 3), range=(-1, 1), colour_order="bgr", resize="area"),
        Contract((8, 6, 3), mean=(0.1, 0.2, 0.3), std=(0.2, 0.2, 0.2)),
        Contract((49, 10, 1), layout="features", raw_dtype="float32"),
    ],
)
def test_a_contract_survives_json(contract):
    assert Contract.from_dict(json.loads(json.dumps(contract.to_dict()))) == contract
    assert Contract.from_json(contract.to_json()) == contract


def test_the_affine_numbers_are_what_apply_computes():
    for contract in (
        Contract((8, 6, 3), range=(-3, 2)),
        Contract((8, 6, 3), mean=(0.1, 0.2, 0.3), std=(0.2, 0.3, 0.4)),
    ):
        multiplier, offset = contract.affine
        np.testing.assert_allclose(apply(contract, IMAGES), IMAGES * np.array(multiplier) + np.array(offset), atol=1e-5)


FEATURES = Contract((3,), layout="features", raw_dtype="float32")
SCALED = Contract((8, 6, 3), range=(0, 1))
SCALED_FLOAT = Contract((8, 6, 3), range=(0, 1), raw_dtype="float32")
FLOATS = IMAGES.astype(np.float32)


@pytest.mark.parametrize(
    ("contract", "raw", "message"),
    [
        (SCALED, FLOATS / 255, r"float32.*expects uint8 0..255.*scaled already.*\(raw \* 255\).round\(\)"),
        (SCALED, FLOATS, r"float32.*expects uint8.*raw.astype\(numpy.uint8\)"),
        (SCALED, FLOATS / 127.5 - 1, "seem to be preprocessed already"),
        (SCALED, IMAGES.astype(np.int64), r"int64.*raw.astype\(numpy.uint8\)"),
        (SCALED, IMAGES.astype(np.int8), "int8 looks like codes of a quantized file"),
        (FEATURES, np.ones((2, 3)), r"float64.*expects float32.*raw.astype\(numpy.float32\)"),
        (SCALED, IMAGES[0], r"\[8, 6, 3\].*looks like one sample; hand over raw\[None\]"),
        (FEATURES, np.ones(3, np.float32), r"looks like one sample; hand over raw\[None\]"),
        (SCALED, IMAGES[..., 0], r"channel axis is missing; hand over raw\[..., None\]"),
        (SCALED, IMAGES[..., :1], "there are 1 channels, not 3"),
        (SCALED, IMAGES.transpose(0, 3, 1, 2), r"channels first; hand over raw.transpose\(0, 2, 3, 1\)"),
        (SCALED, IMAGES[None], "the rank is 5, not 4"),
        (SCALED, IMAGES[:, :0], "no pixels"),
        (FEATURES, np.ones((2, 4), np.float32), r"\[2, 4\].*expects \[N, 3\]: features are never resized"),
        (FEATURES, np.array([[0, 1, 2], [3, np.nan, np.inf]], np.float32), "2 values.*NaN or infinite.*in sample 1"),
        (SCALED_FLOAT, FLOATS / 255, r"lies in \[0, 1\].*scaled to 0..1 already.*raw \* 255"),
        (SCALED_FLOAT, FLOATS - 128, r"lies in \[-128, 127\].*scales from 0..255: unscale it"),
    ],
)
def test_wrong_raw_data_is_refused_with_advice(contract, raw, message):
    with pytest.raises(DataError, match=message):
        apply(contract, raw)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layout": "NCHW"}, "layout='NCHW': expected one of NHWC, features"),
        ({"raw_dtype": "int8"}, "raw_dtype='int8': expected one of uint8, float32"),
        ({"resize": "lanczos"}, "resize='lanczos': expected one of nearest, bilinear, bicubic, area"),
        ({"colour_order": "gbr"}, "colour_order='gbr': expected one of rgb, bgr"),
        ({"shape": (8, 8)}, r"shape=\(8, 8\) with layout NHWC: expected \(height, width, channels\)"),
        ({"shape": (8, 0, 3)}, "sizes of at least 1"),
        ({"shape": (8, 8, 1), "colour_order": "bgr"}, "only images of 3 channels"),
        ({"range": (1, -1)}, r"range=\(1.0, -1.0\): expected \(low, high\) with low < high"),
        ({"range": (0, 1), "mean": (0,), "std": (1,)}, "both set"),
        ({"mean": (0.5,)}, "each needs the other"),
        ({"mean": (0.5, 0.5), "std": (1,)}, r"mean=\(0.5, 0.5\): expected 1 or 3"),
        ({"mean": (0.5,), "std": (0,)}, r"std=\(0.0,\): expected numbers above 0"),
        ({"layout": "features", "raw_dtype": "float32", "range": (0, 1)}, "float features have no such scale"),
    ],
)
def test_a_contract_that_cannot_be_meant_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Contract(**{"shape": (8, 8, 3), **settings})


@pytest.mark.parametrize(
    ("values", "message"),
    [({"shape": [8, 8, 3], "dtype": "uint8"}, r"unknown keys \['dtype'\]"), ({"layout": "NHWC"}, "no key 'shape'")],
)
def test_a_dictionary_that_is_no_contract_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        Contract.from_dict(values)
