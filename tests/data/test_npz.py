"""Arrays in a file: what is read from them, how they are split, and each way in which they can be wrong."""

import re
import warnings
import zipfile

import numpy as np
import pytest
from PIL import Image

from qat.config import AugmentationConfig, DataConfig
from qat.data import load
from qat.data.arrays import read_class_names
from qat.errors import ConfigError, DataError


def load_npz(path, calibration_samples=8, seed=0, **settings):
    return load(DataConfig(name="npz", path=path, **settings), calibration_samples, seed)


def test_a_files_own_test_part_is_the_whole_test_split(arrays, save_npz):
    splits = load_npz(save_npz(**arrays))
    np.testing.assert_array_equal(splits.test.raw(), arrays["x_test"])
    np.testing.assert_array_equal(splits.test.labels, arrays["y_test"])
    assert (len(splits.train), len(splits.val)) == (34, 6)


def test_a_files_own_val_part_is_the_whole_val_split(arrays, save_npz):
    splits = load_npz(save_npz(**arrays, x_val=arrays["x_test"][:4], y_val=arrays["y_test"][:4]))
    np.testing.assert_array_equal(splits.val.raw(), arrays["x_test"][:4])
    assert len(splits.train) == 40


def test_x_and_y_alone_are_split_and_every_sample_lands_in_one_split(save_npz):
    x = np.arange(100, dtype=np.float32)[:, None]
    splits = load_npz(save_npz(x=x, y=np.arange(100) % 5))
    parts = [split.raw()[:, 0] for split in (splits.train, splits.val, splits.test)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(100))
    assert [len(part) for part in parts] == [55, 10, 35]
    for split in (splits.train, splits.val, splits.test):
        np.testing.assert_array_equal(split.labels, split.raw()[:, 0].astype(int) % 5)


def test_uint8_is_images_scaled_to_0_to_1(arrays, save_npz):
    splits = load_npz(save_npz(**arrays))
    assert splits.contract.layout == "NHWC"
    np.testing.assert_allclose(splits.test.inputs(), arrays["x_test"] / 255, atol=1e-6)


def test_images_without_a_channel_axis_get_one(arrays, save_npz):
    grey = {key: value[..., 0] if key[0] == "x" else value for key, value in arrays.items()}
    assert load_npz(save_npz(**grey)).contract.shape == (6, 5, 1)


def test_floats_are_features_that_pass_as_they_are(save_npz):
    x = np.random.default_rng(0).normal(size=(60, 4, 3)).astype(np.float32)
    splits = load_npz(save_npz(x=x, y=np.arange(60) % 2))
    assert (splits.contract.layout, splits.contract.shape) == ("features", (4, 3))
    np.testing.assert_array_equal(splits.train.inputs(), splits.train.raw())


def test_text_labels_are_taken_after_what_the_message_says(arrays, save_npz):
    names = np.array(["ant", "bee", "cat", "dog"])
    path = save_npz(x=arrays["x_train"], y=names[arrays["y_train"]])
    with pytest.raises(DataError) as refused:
        load_npz(path)
    code = "names, labels = numpy.unique(labels, return_inverse=True)"
    assert code in str(refused.value)
    values = {"numpy": np, "labels": names[arrays["y_train"]]}
    exec(code, values)
    splits = load_npz(save_npz(x=arrays["x_train"], y=values["labels"], label_names=values["names"]))
    assert splits.class_names == tuple(names)


def test_a_csv_and_an_npy_are_taken_after_what_the_message_says(arrays, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", arrays["x_train"])
    with pytest.raises(DataError) as refused:
        load_npz("x.npy")
    code = "numpy.savez('data.npz', x=samples, y=labels)"
    assert str(refused.value).endswith(code)
    exec(code, {"numpy": np, "samples": np.load("x.npy"), "labels": arrays["y_train"]})
    assert len(load_npz("data.npz").class_names) == 4


def test_pixels_in_floats_are_taken_and_said(arrays, save_npz):
    x = arrays["x_train"].astype(np.float32)
    with pytest.warns(UserWarning, match=r"x is float32 and looks like pixels .* store x.astype\(numpy.uint8\)"):
        assert load_npz(save_npz(x=x, y=arrays["y_train"])).contract.range is None
    for mended in ({"x": x.astype(np.uint8)}, {"x": x / 255}):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            load_npz(save_npz(y=arrays["y_train"], **mended))


def test_float64_is_stored_as_float32(save_npz):
    x = np.random.default_rng(0).normal(size=(60, 4))
    assert load_npz(save_npz(x=x, y=np.arange(60) % 2)).train.raw().dtype == np.float32


def test_float_images_become_images_when_a_setting_says_so(arrays, save_npz):
    floats = {key: value.astype(np.float32) if key[0] == "x" else value for key, value in arrays.items()}
    contract = load_npz(save_npz(**floats), range=[-1.0, 1.0]).contract
    assert (contract.layout, contract.raw_dtype, contract.range) == ("NHWC", "float32", (-1, 1))


def test_float_images_of_0_to_1_are_not_scaled_a_second_time(arrays, save_npz):
    floats = {key: (value / 255).astype(np.float32) if key[0] == "x" else value for key, value in arrays.items()}
    splits = load_npz(save_npz(**floats), range=[0.0, 1.0])
    with pytest.raises(DataError, match=r"scaled to 0..1 already"):
        splits.train.inputs()


def test_every_setting_of_the_contract_arrives_in_it(arrays, save_npz):
    settings = {
        "image_size": [4, 3],
        "colour_order": "bgr",
        "resize": "area",
        "mean": [0.1, 0.2, 0.3],
        "std": [1, 1, 1],
    }
    contract = load_npz(save_npz(**arrays), **settings).contract
    assert (contract.shape, contract.colour_order, contract.resize) == ((4, 3, 3), "bgr", "area")
    assert (contract.range, contract.mean, contract.std) == (None, (0.1, 0.2, 0.3), (1, 1, 1))


def test_colour_becomes_grey_as_pillow_does_it(arrays, save_npz):
    grey = load_npz(save_npz(**arrays), channels=1).test.raw()
    expected = [np.asarray(Image.fromarray(image).convert("L")) for image in arrays["x_test"]]
    np.testing.assert_array_equal(grey[..., 0], np.stack(expected))


def test_names_of_classes_come_from_the_file_or_the_config(arrays, save_npz):
    path = save_npz(**arrays, class_names=np.array(["a", "b", "c", "d"]))
    assert load_npz(path).class_names == ("a", "b", "c", "d")
    assert load_npz(path, label_names=["e", "f", "g", "h"]).class_names == ("e", "f", "g", "h")


def test_other_keys_in_the_file_do_not_matter(arrays, save_npz):
    path = save_npz(**arrays, names_train=np.array(["x"] * 40), notes=np.zeros(3))
    assert load_npz(path).class_names == ("0", "1", "2", "3")


@pytest.mark.parametrize("names", [("x", "y"), ("X_test", "Y_test"), ("x_valid", "y_valid")])
def test_arrays_of_a_data_set_that_are_not_read_are_said(arrays, save_npz, names):
    more = dict(zip(names, (arrays["x_train"], arrays["y_train"]), strict=True))
    with pytest.warns(UserWarning, match=f"x_test, x_train, y_test, y_train are taken, and not {', '.join(names)}. "):
        load_npz(save_npz(**arrays, **more))


def test_training_samples_in_test_are_said(arrays, save_npz):
    leaked = {**arrays, "x_test": arrays["x_train"][5:25], "y_test": arrays["y_train"][5:25]}
    with pytest.warns(UserWarning, match=r"x_test: 20 of its 20 samples stand in x_train as well"):
        load_npz(save_npz(**leaked))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_npz(save_npz(**arrays))


def test_labels_with_gaps_are_numbered_as_the_message_says(arrays, save_npz):
    labels = arrays["y_train"] * 1000 + 101
    with pytest.raises(DataError, match="y: no training sample has label 0, though labels go up to 3101") as refused:
        load_npz(save_npz(x=arrays["x_train"], y=labels))
    values = {"numpy": np, "labels": labels}
    exec(str(refused.value).splitlines()[-1].strip(), values)
    splits = load_npz(save_npz(x=arrays["x_train"], y=values["labels"], class_names=values["names"]))
    assert splits.class_names == ("101", "1101", "2101", "3101")


def test_a_folder_in_place_of_a_file_is_said(tmp_path):
    with pytest.raises(DataError, match=r"a folder, and no \.npz; one of pictures is read by data=image_folder"):
        load_npz(str(tmp_path))


def test_labels_in_a_column_are_taken(arrays, save_npz):
    columns = {key: value[:, None] if key[0] == "y" else value for key, value in arrays.items()}
    np.testing.assert_array_equal(load_npz(save_npz(**columns)).test.labels, arrays["y_test"])


def with_nan(x):
    floats = x.astype(np.float32)
    floats[3, 0, 0, 0] = np.nan
    return floats


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("x_train", with_nan, "x_train: 1 of its numbers are NaN or infinite, the first in sample 3"),
        ("x_train", lambda x: x.astype(np.float64) * 1e300, "x_train: .* NaN or infinite"),
        ("x_train", lambda x: x[:, :0], r"x_train has shape \[40, 0, 5, 3\]: an axis of size 0"),
        ("x_train", lambda x: x.astype(np.int64), r"x_train is int64: expected uint8 .* or float32"),
        ("x_train", lambda x: x[:, 0, 0, 0], r"x_train has shape \[40\]: expected \[N, ...\]"),
        ("x_train", lambda x: x.transpose(0, 3, 1, 2), r"channels come last; store x.transpose\(0, 2, 3, 1\)"),
        ("x_train", lambda x: x[:-1], "y_train has 40 labels for 39 samples: the counts must agree"),
        ("x_train", lambda x: x[:, :-1], r"x_test holds uint8 samples of shape \[6, 5, 3\], x_train .*\[5, 5, 3\]"),
        ("y_train", lambda y: y[:-1], "y_train has 39 labels for 40 samples: the counts must agree"),
        ("y_train", lambda y: np.eye(4)[y], r"y_train has shape \[40, 4\].*argmax"),
        ("y_train", lambda y: y / 1, r"y_train is float64: expected integers .* store labels.astype\(numpy.int64\)"),
        (
            "y_train",
            lambda y: y + 0.5,
            "expected integers .*, and 0.5 at index 0 is none. The commands learn classes alone; qat.quantiz",
        ),
        ("y_train", lambda y: y.astype(str), "y_train holds texts, the first is '0': expected integers"),
        ("y_train", lambda y: y + 1, "no training sample has label 0, though labels go up to 4"),
        ("y_train", lambda y: y - 1, "10 labels outside the classes, the first is -1 at index 0"),
        ("y_test", lambda y: y + 1, "y_test holds 5 labels outside the classes 0..3, the first is 4 at index 3"),
    ],
)
def test_arrays_that_cannot_be_used_are_refused(arrays, save_npz, key, change, message):
    with pytest.raises(DataError, match=message):
        load_npz(save_npz(**{**arrays, key: change(arrays[key])}))


def test_more_labels_than_names_are_outside_the_classes(arrays, save_npz):
    with pytest.raises(DataError, match=r"y_train holds 10 labels outside the classes 0..2.*data.label_names"):
        load_npz(save_npz(**arrays), label_names=["a", "b", "c"])


@pytest.mark.parametrize(
    ("present", "message"),
    [
        (("x_train", "x_test", "y_test"), "has no y_train; its keys are images, x_test, x_train, y_test"),
        (("x_train", "y_train", "x_test"), "has no y_test"),
        ((), "has no x_train and no y_train; its keys are images.*Expected x_train, y_train, x_test, y_test"),
    ],
)
def test_a_file_with_other_keys_is_refused_with_those_expected(arrays, save_npz, present, message):
    with pytest.raises(DataError, match=message):
        load_npz(save_npz(images=np.zeros(3), **{key: arrays[key] for key in present}))


@pytest.mark.parametrize("content", [b"", b"not a zip\0", b"PK\x03\x04 cut"])
def test_a_file_that_is_no_npz_is_refused(tmp_path, content):
    (tmp_path / "broken.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"broken.npz: not a readable .npz"):
        load_npz(str(tmp_path / "broken.npz"))


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_content_is_refused_whatever_it_was_packed_by(method, tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", method) as archive, archive.open("x.npy", "w") as member:
        np.save(member, np.arange(5000, dtype=np.uint8))
    content = bytearray(path.read_bytes())
    content[60:90] = bytes(30)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npz: not a readable \.npz"):
        load_npz(str(path))


def test_names_of_classes_that_are_no_list_are_refused(arrays, save_npz):
    with pytest.raises(DataError, match=r"\.npz: class_names: expected a list of names"):
        load_npz(save_npz(**arrays, class_names=np.array(5)))


def test_pickled_objects_are_never_run(save_npz):
    with pytest.raises(DataError, match=r"not a readable .npz of plain arrays"):
        load_npz(save_npz(x=np.array([{"a": 1}], object), y=np.array([0])))


def test_an_empty_array_is_refused(save_npz):
    with pytest.raises(DataError, match="y is empty"):
        load_npz(save_npz(x=np.zeros((0, 4), np.float32), y=np.zeros(0, int)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": [8, 8]}, "data.image_size and data.augmentation are for images"),
        ({"augmentation": AugmentationConfig(flip=True)}, "data.image_size and data.augmentation are for images"),
        ({"channels": 1}, "data.channels=1 is for images"),
        ({"range": [0.0, 1.0]}, "float features have no such scale"),
    ],
)
def test_settings_of_images_are_refused_for_features(save_npz, settings, message):
    with pytest.raises(ConfigError, match=message):
        load_npz(save_npz(x=np.ones((60, 4), np.float32), y=np.arange(60) % 2), **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": [8]}, r"data.image_size=\[8\]: expected \[height, width\]"),
        ({"range": [1.0]}, r"data.range=\[1.0\]: expected \[low, high\]"),
        ({"range": [0.0, 1.0], "mean": [0.5], "std": [0.5]}, "range and mean/std are both set"),
        ({"mean": [0.5]}, "each needs the other"),
    ],
)
def test_settings_that_make_no_contract_are_refused(arrays, save_npz, settings, message):
    with pytest.raises(ConfigError, match=message):
        load_npz(save_npz(**arrays), **settings)


def test_names_whose_bytes_are_no_text_are_refused():
    names = np.frombuffer(np.array([2**31 - 1, 65], np.uint32).tobytes(), "<U1")
    with pytest.raises(DataError, match="class_names: damaged: they are no text"):
        read_class_names(names, "data.path=a.npz: class_names")


@pytest.mark.parametrize(
    ("dtype", "convert"), [(bool, lambda x: x > 127), (np.int8, lambda x: (x.astype(int) - 128).astype(np.int8)),
                           (np.uint16, lambda x: x.astype(np.uint16) * 257), (np.int64, lambda x: x.astype(int))]
)  # fmt: skip
def test_pixels_of_another_type_are_taken_after_what_the_message_says(arrays, save_npz, dtype, convert):
    x, pixels = convert(arrays["x_train"]), arrays["x_train"]
    with pytest.raises(DataError, match=rf"x_train is {np.dtype(dtype)}") as refused:
        load_npz(save_npz(**{**arrays, "x_train": x}))
    said = re.search(r"pixels (?:from 0 to 255 )?as (.*?\.uint8\)(?: \* 255)?)", str(refused.value))
    stored = eval(said[1], {"numpy": np, "x": x, "int": int})
    assert stored.dtype == np.uint8
    np.testing.assert_array_equal(stored, (pixels > 127) * 255 if dtype is bool else pixels)


def test_pixels_that_were_scaled_before_they_became_integers_are_said(arrays, save_npz):
    with pytest.warns(UserWarning, match=r"x_train is uint8 and holds 0 and 1 alone, where pixels go from 0 to 255"):
        load_npz(save_npz(**{**arrays, "x_train": (arrays["x_train"] / 255).astype(np.uint8)}))


def test_names_of_classes_in_the_file_differ_as_those_of_the_setting_do(arrays, save_npz):
    with pytest.raises(DataError, match="the class 'a' has the name of another class"):
        load_npz(save_npz(**arrays, class_names=np.array(["a", "a", "b", "c"])))
