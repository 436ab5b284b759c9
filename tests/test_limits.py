"""What a small file can make large has a limit, which is a setting; the refusal names file, size and limit."""

import io
import os
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest

from qat import rundir
from qat.cli import compose
from qat.config import DataConfig
from qat.contract import Contract
from qat.data import load
from qat.data.stored_arrays import read_array, read_arrays
from qat.errors import ConfigError, DataError, RunDirError
from qat.limits import Limits, read_file, use
from qat.plain_text import HarmlessStream, csv_text_cell, writable


def test_an_npz_that_inflates_beyond_the_limit_is_refused_before_it_is_read(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros((30, 1 << 20), np.uint8), y=np.zeros(30, np.int64))
    assert (tmp_path / "x.npz").stat().st_size < 1 << 20
    with (
        use(Limits(file_mb=20)),
        pytest.raises(DataError, match=r"x.npz, uncompressed: 30 MB, more than limits.file_mb=20"),
    ):
        load(DataConfig(name="npz", path=str(tmp_path / "x.npz")), 1, 0)


@pytest.mark.parametrize("shape", ["(999999999, 999)", "(-1,)", "(3,"])
def test_an_array_whose_header_says_more_than_there_is_is_refused(tmp_path, shape):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(12)
    (tmp_path / "a.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", content)
    for name, read in (("a.npy", read_array), ("a.npz", read_arrays)):
        with pytest.raises(DataError, match=rf"data={tmp_path / name}: "):
            read(tmp_path / name, "data")


def test_pickles_are_never_loaded(tmp_path):
    np.save(tmp_path / "o.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(DataError, match="Python objects"):
        read_array(tmp_path / "o.npy", "fed")


def png(width, height):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(png(13000, 13000))
    with pytest.raises(DataError, match=r"a/1.png: 13000 x 13000 pixels, 169 megapixels, .*limits.image_megapixels=64"):
        load(DataConfig(name="image_folder", path=str(tmp_path)), 1, 0)


def test_a_contract_of_an_absurd_shape_is_refused_with_its_size():
    with pytest.raises(
        ConfigError, match=r"shape=\(1000000, 1000000, 3\), one input: .* MB, more than limits.input_mb"
    ):
        Contract.from_dict({"shape": [10**6, 10**6, 3]})


@pytest.mark.parametrize(
    "values", [{"shape": "abc"}, {"shape": [None]}, {"shape": 3}, {"shape": [1e400]}, [], {"shape": [3], "range": 1}]
)
def test_a_contract_of_wrong_types_is_refused(values):
    with pytest.raises(ConfigError, match="input contract"):
        Contract.from_dict(values)


def test_a_pipe_or_a_file_without_end_in_place_of_json_is_refused(tmp_path):
    os.mkfifo(tmp_path / "results.json")
    with pytest.raises(RunDirError, match=r"results.json: a pipe, socket or device"):
        rundir.read_json(tmp_path / "results.json")
    with pytest.raises(RunDirError, match=r"/dev/zero: a pipe, socket or device"):
        rundir.read_json(type(tmp_path)("/dev/zero"))
    (tmp_path / "large.json").write_bytes(b" " * (2 << 20))
    with use(Limits(text_mb=1)), pytest.raises(RunDirError, match=r"large.json: 2 MB, more than limits.text_mb=1"):
        rundir.read_json(tmp_path / "large.json")


def test_a_small_file_takes_little_memory_whatever_the_limit(tmp_path):
    (tmp_path / "small").write_bytes(b"abc")
    tracemalloc.start()
    with use(Limits(file_mb=500)):
        assert read_file(tmp_path / "small") == b"abc"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"a":' * 100_000, "\x00", "[1,", "\ud800".encode("utf-8", "surrogatepass")]
)
def test_json_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "r.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RunDirError, match="no JSON"):
        rundir.read_json(tmp_path / "r.json")


def test_limits_and_trust_stand_at_the_top_of_every_command():
    from qat import config as schemas

    for primary, schema, needed in (
        ("train", schemas.Config, []),
        ("verify", schemas.VerifyConfig, ["tflite=x"]),
        ("evaluate", schemas.EvaluateConfig, ["tflite=x", "data=digits"]),
        ("benchmark", schemas.BenchmarkConfig, []),
        ("diagnose", schemas.DiagnoseConfig, []),
        ("compare", schemas.CompareConfig, ["runs=x"]),
    ):
        config = compose([*needed, "trust=true", "limits.seconds=7"], primary=primary, schema=schema)
        assert (config.trust, config.limits.seconds) == (True, 7)
        with pytest.raises(ConfigError, match=r"trust=maybe: expected true, false"):
            compose([*needed, "trust=maybe"], primary=primary, schema=schema)
        with pytest.raises(ConfigError, match=r"limits.seconds=0"):
            compose([*needed, "limits.seconds=0"], primary=primary, schema=schema)


def test_trust_and_its_older_name_are_one():
    for override in ("trust=true", "model.trust_custom_objects=true"):
        config = compose([override])
        assert (config.trust, config.model.trust_custom_objects) == (True, True)


def test_what_steers_a_terminal_is_shown_and_not_obeyed():
    stream = io.StringIO()
    print("a\x1b[31m\x9b2J\u202eb\tc", file=HarmlessStream(stream))
    assert stream.getvalue() == "a\\x1b[31m\\x9b2J\\u202eb\tc\n"
    assert writable("naïve 模型 \U0001f469\u200d\U0001f4bb") == "naïve 模型 \U0001f469\u200d\U0001f4bb"


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+1+cmd", "-2+3", "@SUM(1)", "  =1"])
def test_no_text_in_a_csv_is_a_formula(text):
    assert csv_text_cell(text) == f"'{text}"
