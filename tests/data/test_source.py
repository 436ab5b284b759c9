"""Labels and contracts of a data set before it is split: taken as int64, or refused with what to do."""

import re

import numpy as np
import pytest
from PIL import Image

from qat.config import DataConfig
from qat.data.files import ImageFiles, decode
from qat.data.source import check_labels, check_within_classes, make_contract, resolve_class_names
from qat.errors import ConfigError, DataError


def test_labels_of_any_integer_type_are_int64():
    labels = check_labels(np.array([[0], [2]], np.uint8), 2, "y")
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (np.eye(3), r"y has shape \[3, 3\]: expected \[N\]"),
        (np.zeros((3, 2), [("class", int)]), r"y has shape \[3, 2\]: expected \[N\], the class of each sample"),
        (np.ones((3, 2), complex), r"y has shape \[3, 2\]: expected \[N\], the class of each sample"),
        (np.full((3, 2), "1"), r"y has shape \[3, 2\]: expected \[N\], the class of each sample"),
        ([0.0, 1.0, 2.0], r"y is float64: expected integers 0\.\.classes-1"),
        (["a", "b", "c"], r"y holds texts, the first is 'a'"),
        ([0, 1], r"y has 2 labels for 3 samples"),
        ([0, -1, 1], r"y holds 1 labels outside the classes, the first is -1 at index 1"),
    ],
)
def test_labels_that_are_none_are_refused(labels, reason):
    with pytest.raises(DataError, match=reason):
        check_labels(labels, 3, "y")


def test_a_label_beyond_the_named_classes_is_refused():
    with pytest.raises(DataError, match=r"1 labels outside the classes 0\.\.1, the first is 2 at index 1"):
        check_within_classes(np.array([0, 2]), ("a", "b"), "y")


def test_where_train_has_one_class_alone_the_setting_for_anomalies_is_named():
    with pytest.raises(DataError, match=r"outside the classes 0\.\.0.* by data\.normal_class=0, for model=autoencoder"):
        check_within_classes(np.array([0, 1]), ("0",), "y_val")


def test_names_are_the_users_then_the_data_sets_then_numbers():
    labels = np.array([0, 1])
    assert resolve_class_names(DataConfig(label_names=["no", "yes"]), labels, [], ("a", "b"), "y") == ("no", "yes")
    assert resolve_class_names(DataConfig(), labels, [], ("a", "b"), "y") == ("a", "b")
    assert resolve_class_names(DataConfig(), labels, [], None, "y") == ("0", "1")
    with pytest.raises(DataError, match="no training sample has label 1, though labels go up to 2"):
        resolve_class_names(DataConfig(), np.array([0, 2]), [], None, "y")


def test_images_of_8_bits_are_scaled_to_0_1_and_other_data_is_left():
    contract = make_contract(DataConfig(image_size=[4, 6]), (8, 8, 3), "uint8", "NHWC")
    assert (contract.shape, contract.range) == ((4, 6, 3), (0.0, 1.0))
    assert make_contract(DataConfig(), (5,), "float32", "features").range is None
    with pytest.raises(ConfigError, match=r"data\.image_size=\[4\]: expected \[height, width\]"):
        make_contract(DataConfig(image_size=[4]), (8, 8, 3), "uint8", "NHWC")


@pytest.mark.parametrize(
    ("mean", "std", "said"),
    [
        ([123.68, 116.78, 103.94], [58.0, 57.0, 57.0], "these are of .*[0.485,0.458,0.4076] [0.2275,0.2235,0.2235]"),
        ([103.9, 116.8, 123.7], [1, 1, 1], "these are of .*[0.4075,0.458,0.4851] [0.003922,0.003922,0.003922]"),
        ([0], [255], "this std is of .*[0] [1.0]"),
        ([0.485, 0.456, 0.406], [58.0, 57.0, 57.0], "this std is of .*[0.485,0.456,0.406] [0.2275,0.2235,0.2235]"),
        ([123.0], [0.229], "this mean is of .*[0.4824] [0.229]"),
    ],
)
def test_a_mean_or_deviation_of_undivided_pixels_is_refused_with_the_numbers_to_give(mean, std, said):
    config, (start, numbers) = DataConfig(mean=mean, std=std), said.split(".*")
    give = re.escape("data.mean={} data.std={}".format(*numbers.split()))
    with pytest.raises(ConfigError, match=f"{start}pixels from 0 to 255, .* give {give}$"):
        make_contract(config, (32, 32, 3), "uint8", "NHWC")
    with pytest.raises(ConfigError, match=f"{start}numbers from 0 to 255, and numbers are divided .* give {give}$"):
        make_contract(config, (len(mean),), "uint8", "features")
    assert make_contract(config, (32, 32, 3), "float32", "NHWC").mean == tuple(mean)


def test_a_mean_and_deviation_of_divided_pixels_are_taken():
    for mean, std in (([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), ([0], [1]), ([0.5], [0.5]), ([1], [1])):
        assert make_contract(DataConfig(mean=mean, std=std), (32, 32, 3), "uint8", "NHWC").std == tuple(std)


def test_images_stay_in_their_files_and_are_read_in_the_order_asked_for(tmp_path):
    paths = []
    for shade in range(6):
        paths.append(tmp_path / f"{shade}.png")
        Image.fromarray(np.full((2, 3, 3), 40 * shade, np.uint8)).save(paths[-1])
    images = ImageFiles(tuple(paths), 1)
    read = images.read(np.array([5, 0, 3]))
    assert read.shape == (3, 2, 3, 1)
    assert read[:, 0, 0, 0].tolist() == [200, 0, 120]
    before = images.listing(np.array([0]))
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(paths[0])
    assert images.listing(np.array([0])) != before
    assert isinstance(images.read(np.array([0, 1])), list)  # sizes differ
    assert decode(paths[1], 3).shape == (2, 3, 3)
