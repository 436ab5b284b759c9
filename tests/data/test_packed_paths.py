"""Paths in one buffer: the same paths, in the same order, as pathlib's, in a tenth of the memory."""

import tracemalloc

import pytest

from qat.data.packed_paths import PackedPaths


def is_png(name):
    return name.endswith(".png")


@pytest.fixture
def tree(tmp_path):
    for name in ("b.png", "a/z.png", "a/deep/er/x.png", "a-1.png", "a.txt", "Ä.png", "c/\udcff.png"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "tree" / "c" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "tree" / "broken.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "tree" / "loop.png").symlink_to("loop.png")
    (tmp_path / "tree" / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "tree" / "link.png").symlink_to(tmp_path / "tree" / "b.png")
    return tmp_path / "tree"


def test_the_files_and_their_order_are_those_of_pathlib(tree):
    paths = PackedPaths()
    expected = sorted(path for path in tree.rglob("*") if is_png(path.name) and path.name != "zero.png")
    assert paths.add_folder(tree, is_png) == len(expected) == 9  # with the links that lead nowhere, which reading names
    assert list(paths) == [str(path) for path in expected]
    assert paths[-1] == paths[8]
    assert list(paths[1:3]) == [paths[1], paths[2]]
    with pytest.raises(IndexError):
        paths[9]


def test_each_path_is_below_the_folder_that_it_was_added_with(tree):
    paths = PackedPaths()
    assert [paths.add_folder(tree / name, is_png) for name in ("c", "a/deep", "a")] == [1, 1, 2]
    assert [paths[1], paths[3]] == [str(tree / "a/deep/er/x.png"), str(tree / "a/z.png")]


def test_a_path_takes_less_than_40_bytes(tmp_path):
    (tmp_path / "class").mkdir()
    for number in range(3000):
        (tmp_path / "class" / f"{number:08}.png").touch()
    paths = PackedPaths()
    tracemalloc.start()
    paths.add_folder(tmp_path / "class", is_png)
    kept_bytes = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept_bytes < 40 * 3000
