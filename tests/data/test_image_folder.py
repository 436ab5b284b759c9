"""Pictures in folders: streamed, split, and every broken one named."""

import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qat.config import DataConfig
from qat.data import image_folder, load
from qat.errors import CalibrationError, ConfigError, DataError


def load_folder(path, calibration_samples=4, seed=0, **settings):
    return load(DataConfig(name="image_folder", path=str(path), **settings), calibration_samples, seed)


def test_each_image_carries_the_label_of_its_folder_through_the_split(save_folder):
    splits = load_folder(save_folder(cat=12, dog=8, eel=20))
    assert splits.class_names == ("cat", "dog", "eel")
    assert [len(split) for split in (splits.train, splits.val, splits.test)] == [22, 4, 14]
    for split in (splits.train, splits.val, splits.calibration, splits.test):
        np.testing.assert_array_equal(split.raw()[:, 0, 0, 1], split.labels)  # green is the class


def test_inputs_are_scaled_and_resized(save_folder):
    splits = load_folder(save_folder(cat=6, dog=6), image_size=[4, 5], range=[-1.0, 1.0])
    inputs = splits.train.inputs()
    assert inputs.shape == (len(splits.train), 4, 5, 3)
    np.testing.assert_allclose(inputs[:, 0, 0, 1], splits.train.labels / 127.5 - 1, atol=1e-6)


def test_folders_for_train_val_and_test_are_taken_as_they_are(save_folder, tmp_path):
    for name, count in (("train", 5), ("val", 3), ("test", 2)):
        save_folder(tmp_path / "set" / name, cat=count, dog=count)
    splits = load_folder(tmp_path / "set")
    assert [len(split) for split in (splits.train, splits.val, splits.test)] == [10, 6, 4]
    assert splits.test.labels.tolist() == [0, 0, 1, 1]


def test_without_a_val_folder_val_is_drawn_from_train(save_folder, tmp_path):
    save_folder(tmp_path / "set" / "train", cat=10, dog=10)
    save_folder(tmp_path / "set" / "test", cat=2, dog=2)
    splits = load_folder(tmp_path / "set")
    assert [len(split) for split in (splits.train, splits.val, splits.test)] == [17, 3, 4]


def test_jpeg_and_png_in_any_case_and_depth_count_and_other_files_do_not(save_folder):
    root = save_folder(cat=6, dog=6)
    save_folder(root / "cat" / "more", suffix="JPEG", inner=3)
    (root / "cat" / "notes.txt").write_text("no image")
    (root / "cat" / ".hidden.png").write_bytes(b"no image")
    (root / ".cache").mkdir()
    splits = load_folder(root)
    assert sum(len(split) for split in (splits.train, splits.val, splits.test)) == 15


def test_sizes_may_differ_when_image_size_is_given(save_folder):
    root = save_folder(cat=6, dog=6)
    save_folder(root / "cat", size=(3, 9), small=4)
    splits = load_folder(root, image_size=[4, 4])
    assert splits.train.inputs().shape == (len(splits.train), 4, 4, 3)
    assert isinstance(splits.train.raw(), list)
    with pytest.raises(ConfigError, match=r"data.image_size is null, but the images have 2 sizes.*\(3, 9\).*\(8, 10\)"):
        load_folder(root)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_every_8_bit_mode_is_read_as_pillow_converts_it(save_folder, mode):
    root = save_folder(cat=6, dog=6)
    odd = Image.fromarray(np.full((8, 10, 3), (200, 100, 50), np.uint8)).convert(mode)
    path = root / "cat" / ("odd.jpg" if mode == "CMYK" else "odd.png")
    odd.save(path)
    splits = load_folder(root)
    expected = np.asarray(Image.open(path).convert("RGB"))
    everything = np.concatenate([split.raw() for split in (splits.train, splits.val, splits.test)])
    assert any(np.array_equal(image, expected) for image in everything)


def test_grey_pictures_have_one_channel_unless_three_are_asked_for(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(6):
            Image.fromarray(np.full((8, 8), i, np.uint8)).save(tmp_path / name / f"{i}.png")
    assert load_folder(tmp_path).contract.shape == (8, 8, 1)
    assert load_folder(tmp_path, channels=3).train.raw().shape[1:] == (8, 8, 3)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def other_format(path):
    Image.new("RGB", (8, 10)).save(path, format="BMP")


def sixteen_bits(path):
    Image.fromarray(np.full((8, 10), 40000, np.uint16)).save(path, format="PNG")


@pytest.mark.parametrize("spoil", [cut, other_format, sixteen_bits, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_corrupt_image_is_named_and_can_be_left_out_and_counted(save_folder, spoil, suffix):
    root = save_folder(suffix=suffix, size=(40, 40), cat=12, dog=12)
    spoil(root / "dog" / f"004.{suffix}")
    with pytest.raises(DataError, match=rf"dog/004.{suffix}: no readable JPEG or PNG .*data.skip_corrupt=true"):
        load_folder(root)
    splits = load_folder(root, skip_corrupt=True)
    assert sum(len(split) for split in (splits.train, splits.val, splits.test)) == 23
    assert len(splits.skipped) == 1
    assert f"dog/004.{suffix}" in splits.skipped[0]


def test_several_corrupt_images_are_counted_in_the_message(save_folder):
    root = save_folder(cat=6, dog=6)
    for name in ("001.png", "002.png", "003.png"):
        cut(root / "cat" / name)
    with pytest.raises(DataError, match=r"cat/001.png.*\(2 more like it\)"):
        load_folder(root)


def count_decoded(monkeypatch):
    """The paths that are decoded from now on."""
    decoded, original = [], image_folder.inspect
    monkeypatch.setattr(image_folder, "inspect", lambda path: decoded.append(path) or original(path))
    return decoded


def test_only_the_images_that_are_used_are_looked_at(save_folder, monkeypatch):
    root = save_folder(cat=40, dog=40)
    decoded = count_decoded(monkeypatch)
    splits = load_folder(root, max_samples=4)
    used = {split.samples.paths[row] for split in (splits.train, splits.val, splits.test) for row in split.positions}
    assert len(used) == 12
    assert len(decoded) <= 13  # and the first of all, whose size and channels are a first guess
    assert used <= set(decoded)


def test_where_corrupt_images_are_left_out_max_samples_counts_readable_ones(save_folder):
    root = save_folder(cat=12, dog=12)
    for number in range(0, 12, 2):
        cut(root / "cat" / f"{number:03}.png")
    splits = load_folder(root, max_samples=6, skip_corrupt=True)
    assert [len(splits.train), len(splits.test)] == [6, 6]
    assert all("cat/0" in problem for problem in splits.skipped)
    for split in (splits.train, splits.val, splits.test):
        np.testing.assert_array_equal(split.raw()[:, 0, 0, 1], split.labels)


def test_of_many_images_some_are_looked_at_and_the_others_named_when_they_are_read(save_folder, monkeypatch):
    root = save_folder(cat=40, dog=40)
    monkeypatch.setattr(image_folder, "LOOKED_AT", 10)
    decoded = count_decoded(monkeypatch)
    splits = load_folder(root)
    assert len(decoded) <= 11
    unseen = next(row for row in splits.train.positions if splits.train.samples.paths[row] not in decoded)
    path = Path(splits.train.samples.paths[unseen])
    path.write_bytes(b"")
    with pytest.raises(DataError, match=f"{path}: no readable JPEG or PNG"):
        splits.train.inputs()
    assert len(load_folder(root, skip_corrupt=True).skipped) == 1
    Image.new("RGB", (5, 5)).save(path)
    with pytest.raises(
        DataError, match=rf"{path}: 5 x 5 pixels, and those looked at before have 8 x 10: set data.image"
    ):
        splits.train.inputs()


def test_a_coloured_image_among_grey_ones_is_not_made_grey_in_silence(tmp_path, monkeypatch):
    monkeypatch.setattr(image_folder, "LOOKED_AT", 2)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(8):
            Image.new("RGB" if (name, number) == ("dog", 5) else "L", (8, 8)).save(tmp_path / name / f"{number}.png")
    splits = load_folder(tmp_path)
    assert splits.contract.shape == (8, 8, 1)
    with pytest.raises(
        DataError, match=r"dog/5.png: coloured, and those looked at before are grey: set data.channels=3"
    ):
        [split.inputs() for split in (splits.train, splits.val, splits.test)]
    assert load_folder(tmp_path, channels=1).test.inputs().shape[3] == 1


def test_a_folder_without_a_readable_image_is_refused(save_folder):
    root = save_folder(cat=6, dog=6)
    for path in root.rglob("*.png"):
        cut(path)
    with pytest.raises(
        DataError, match=r"cat/000.png: no readable JPEG or PNG .*\(11 more like it, and no readable one"
    ):
        load_folder(root)


def test_a_class_of_corrupt_images_only_is_refused_even_when_they_are_skipped(save_folder):
    root = save_folder(cat=2, dog=6)
    cut(root / "cat" / "000.png")
    cut(root / "cat" / "001.png")
    with pytest.raises(DataError, match=r"cat: every image of this class is corrupt"):
        load_folder(root, skip_corrupt=True)


def test_a_file_that_breaks_after_loading_is_named_when_it_is_read(save_folder):
    root = save_folder(cat=6, dog=6)
    splits = load_folder(root)
    for path in root.rglob("*.png"):
        cut(path)
    with pytest.raises(DataError, match=r"\.png: no readable JPEG or PNG"):
        list(splits.train.batches(4))


def test_an_empty_class_folder_is_named(save_folder):
    root = save_folder(cat=6, dog=6)
    (root / "eel").mkdir()
    (root / "eel" / "picture.gif").write_bytes(b"GIF")
    with pytest.raises(
        DataError,
        match=r"eel: no file of type .jpeg, .jpg, .png among its files \(1 .gif\); save those that are images as",
    ):
        load_folder(root)


def test_a_folder_without_class_folders_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no class folders; expected one folder per class"):
        load_folder(tmp_path)


def test_a_class_that_train_does_not_have_is_refused(save_folder, tmp_path):
    save_folder(tmp_path / "set" / "train", cat=5, dog=5)
    save_folder(tmp_path / "set" / "test", cat=5, eel=5)
    with pytest.raises(DataError, match="test/eel: not one of the classes in train: cat, dog"):
        load_folder(tmp_path / "set")


def test_with_a_normal_class_test_may_hold_anomalies_that_train_does_not(save_folder, tmp_path):
    save_folder(tmp_path / "set" / "train", good=10)
    for name in ("val", "test"):
        save_folder(tmp_path / "set" / name, good=3, broken=2)
    splits = load_folder(tmp_path / "set", normal_class=1)  # broken, good
    assert splits.train.labels.tolist() == [0] * 10
    assert splits.test.labels.tolist() == [1, 1, 0, 0, 0]


def test_names_that_do_not_fit_the_folders_are_refused(save_folder):
    with pytest.raises(ConfigError, match=r"data.label_names has 3 names for 2 class folders"):
        load_folder(save_folder(cat=6, dog=6), label_names=["a", "b", "c"])


def test_a_class_whose_name_is_no_text_is_refused_unless_it_is_named(save_folder):
    folder = save_folder(cat=6, dog=6)
    (folder / "cat").rename(folder / "c\udcff")
    with pytest.raises(DataError, match=r"the class 'c\\udcff' has a name that is no UTF-8 text\. Rename it, or name"):
        load_folder(folder)
    assert load_folder(folder, label_names=["cat", "dog"]).class_names == ("cat", "dog")


def test_more_calibration_samples_than_pictures_are_refused(save_folder):
    with pytest.raises(CalibrationError, match=r"quant.calibration.samples=100: train has 5 samples"):
        load_folder(save_folder(cat=6, dog=6), 100)


def test_a_file_in_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / "set.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"set.zip: no such folder; expected one folder per class"):
        load_folder(tmp_path / "set.zip")


def test_memory_does_not_grow_with_the_pictures(save_folder):
    """48 pictures of 0.75 MB decoded: loading and one pass over train stay below a third of their sum."""
    root = save_folder(size=(500, 500), cat=24, dog=24)
    tracemalloc.start()
    splits = load_folder(root, image_size=[8, 8])
    for _ in splits.train.batches(16):
        pass
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 16 * 750_000


def test_a_replaced_file_changes_the_fingerprint(save_folder):
    root = save_folder(cat=6, dog=6)
    first = load_folder(root)
    before = first.fingerprint()
    changed = first.train.samples.paths[first.train.positions[0]]
    Image.new("RGB", (10, 8), (9, 9, 9)).save(changed)
    assert load_folder(root).fingerprint() != before


def test_pictures_of_other_formats_are_left_out_and_said(save_folder):
    root = save_folder(cat=6, dog=6)
    for name in ("a.GIF", "b.gif", "c.tiff"):
        (root / "cat" / name).write_bytes(b"")
    with pytest.warns(UserWarning, match=r"others left out \(2 .gif, 1 .tiff\); save them as .png"):
        load_folder(root)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("Training", "Testing"), "rename Testing to test, Training to train"),
        (("train", "valid", "test"), "rename valid to val"),
    ],
)
def test_folders_named_like_parts_are_no_classes(save_folder, tmp_path, parts, message):
    for part in parts:
        save_folder(tmp_path / "set" / part, cat=3, dog=3)
    with pytest.raises(DataError, match=message):
        load_folder(tmp_path / "set")


def test_a_class_may_be_called_test(save_folder):
    assert load_folder(save_folder(cat=6, test=6)).class_names == ("cat", "test")


def test_a_file_in_place_of_a_folder_is_said(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"")
    with pytest.raises(DataError, match=r"It is a file; an \.npz is read by data=npz"):
        load_folder(tmp_path / "a.npz")


def test_what_decoding_leaves_out_is_said_once_with_the_number_of_images(save_folder):
    root = save_folder(cat=6, dog=6)
    turned = Image.Exif()
    turned[0x0112] = 6  # Orientation: a quarter turn
    Image.new("RGB", (6, 6)).save(root / "cat" / "phone.jpg", exif=turned)
    for name, alpha in (("logo", 0), ("opaque", 255)):
        Image.new("RGBA", (6, 6), (9, 9, 9, alpha)).save(root / "dog" / f"{name}.png")
    with pytest.warns(UserWarning, match="images") as said:
        load_folder(root, image_size=[6, 6])
    assert [re.findall(r": (1 images \w+ \w+ \w+)", str(each.message)) for each in said] == [
        ["1 images are to be"],
        ["1 images have transparent pixels"],
    ]


@pytest.mark.parametrize("name", [" ", "a\nb", "a\u2028b", "a\n"])
def test_a_class_whose_name_is_no_line_of_a_list_is_refused(save_folder, name):
    root = save_folder(cat=6, dog=6)
    (root / "dog").rename(root / name)
    with pytest.raises(DataError, match=r"the class '.*' has a name that is blank or takes several lines. Rename it"):
        load_folder(root)
    assert load_folder(root, label_names=["a", "b"]).class_names == ("a", "b")


@pytest.mark.parametrize(
    ("suffix", "message"),
    [
        ("", r"cat: no file of type .jpeg, .jpg, .png among its files \(5 without an extension\); name those that are"),
        (".mp4", r"cat: no file of type .jpeg, .jpg, .png among its files \(5 .mp4\); store images of them as .png"),
        (".webp", r"cat: no file of type .jpeg, .jpg, .png among its files \(5 .webp\); save those that are images as"),
    ],
)
def test_a_class_of_other_files_is_told_by_what_lies_there(tmp_path, suffix, message):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(5):
            (tmp_path / name / f"{number}{suffix}").write_bytes(b"x")
    with pytest.raises(DataError, match=message):
        load(DataConfig(name="image_folder", path=str(tmp_path)), 0, 0)


def test_an_archive_in_place_of_a_folder_is_told(tmp_path):
    (tmp_path / "images.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"images.zip: no such folder.* It is an archive. Unpack it"):
        load(DataConfig(name="image_folder", path=str(tmp_path / "images.zip")), 0, 0)
