"""Files that are given as data and are no .npz: what each is, by its content before its name."""

import bz2
import gzip
import pickle
import tarfile
import zipfile

import h5py
import numpy as np
import pytest
from PIL import Image

from qat.config import DataConfig
from qat.data import load
from qat.data.other_files import START_BYTES, describe_archive, describe_file, describe_other_file
from qat.data.stored_arrays import read_array
from qat.errors import DataError


def image(path):
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)


def tar(path):
    (path.parent / "a.txt").write_text("a" * 2000)
    with tarfile.open(path, "w") as archive:
        archive.add(path.parent / "a.txt", "a.txt")


def compressed_tar(path):
    tar(path)
    path.write_bytes(gzip.compress(path.read_bytes()))


def hdf5(path):
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(3)


WRITERS = {  # what writes the file, and the beginning of what is said of it
    "a.png": (image, "one image"),
    "a.jpg": (image, "one image"),
    "a.bmp": (image, "one image"),
    "a.tar": (tar, "an archive"),
    "tar.gz": (compressed_tar, "an archive"),
    "train-images-idx3-ubyte.gz": (lambda path: path.write_bytes(gzip.compress(bytes(900))), "one compressed file"),
    "a.bz2": (lambda path: path.write_bytes(bz2.compress(b"a")), "one compressed file"),
    "a.mp3": (lambda path: path.write_bytes(b"ID3\3\0\0\0\0\0\0"), "a recording"),
    "a.h5": (hdf5, "an HDF5 file"),
    "a.pkl": (lambda path: path.write_bytes(pickle.dumps([1])), "a pickle"),
    "a.mp4": (lambda path: path.write_bytes(b"\0\0\0\x20ftypisom"), "a recording"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_is_told_by_its_content_whatever_its_name_is(tmp_path, name):
    write, expected = WRITERS[name]
    write(tmp_path / name)
    start = (tmp_path / name).read_bytes()[:START_BYTES]
    assert describe_other_file("data.npz", start).startswith(expected)
    assert describe_file(tmp_path / name).startswith(expected)


def test_the_name_tells_what_the_content_does_not():
    assert describe_other_file("train.tfrecord", b"\x1f\x8b").startswith("records of TensorFlow")
    assert describe_other_file("a.onnx", b"\x08\x07").startswith("a model")
    assert describe_other_file("a.npz", b"\x08\x07") is None
    assert describe_other_file("a.csv", b"1,2") is None


@pytest.mark.parametrize(
    "first", ["ID3", "BZh1", "PAR1", "FEA1", "ARROW1", "Rar!", "OggS", "fLaC", "GIF8", "MATLAB 5.0"]
)
def test_a_table_whose_first_column_is_called_as_a_sign_is_none_of_another_format(first):
    assert describe_other_file("a.csv", f"{first},größe\n1,2\n".encode()) is None
    assert describe_other_file("a.csv", f"{first},größe".encode()[:-3]) is None  # which ends within a character


@pytest.mark.parametrize("first", ["ID3", "BZh1", "Rar!", "OggS", "fLaC", "GIF8"])
def test_so_is_one_in_another_encoding(first):
    assert describe_other_file("a.csv", f"{first},größe\n1,2\n".encode("latin-1")) is None


def test_a_compressed_archive_is_one_by_its_name_as_well():
    assert describe_other_file("a.tar.bz2", b"BZh91AY&SY\0").startswith("an archive")
    assert describe_other_file("a.tgz", b"\x1f\x8b\x08").startswith("an archive")


def test_a_zip_of_images_is_told_without_its_names(tmp_path):
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("cat/1.png", b"")
    with pytest.raises(DataError, match=r"images.zip: an archive. Unpack it") as refused:
        load(DataConfig(name="npz", path=str(tmp_path / "images.zip")), 0, 0)
    assert "cat" not in str(refused.value)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["config.json", "metadata.json"], "a model"),
        (["[Content_Types].xml", "xl/a.xml"], "a spreadsheet"),
        (["archive/data.pkl", "archive/data/0"], "a file of PyTorch"),
    ],
)
def test_other_zip_archives_are_told_apart(names, expected):
    assert describe_archive(names).startswith(expected)
    assert describe_archive([*names, "x.npy"]) is None


def test_where_one_array_is_read_as_well_the_kind_is_told(tmp_path):
    image(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"data=.*a.png: one image, and no data set. Expected a file that numpy.savez"):
        read_array(tmp_path / "a.png", "data")
    (tmp_path / "a").write_bytes(b"1")
    with pytest.raises(DataError, match=r"neither an .npz nor an .npy. Expected a file that numpy.savez or numpy.save"):
        read_array(tmp_path / "a", "data")
