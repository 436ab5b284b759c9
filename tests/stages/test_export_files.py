"""What is exported is what was asked for: types outside, batch, signature, and next to each file its own numbers."""

import numpy as np
import pytest

from qat import rundir
from qat.cli import compose
from qat.errors import ConfigError
from qat.models import load
from qat.stages.export_files import export_tflite
from qat.stages.run import begin
from qat.tflite import Interpreter, read


@pytest.fixture(scope="module")
def exported(finished, tmp_path_factory):
    """The folder of a variant, exported from the finished run's models with these options."""

    def run(model, *overrides, **options):
        folder = tmp_path_factory.mktemp("export") / "run"
        config = compose(["debug=tiny", "quant=ptq", "log.tensorboard=false", "log.progress=off", *overrides])
        with begin(config, folder) as started:
            if options.get("scheme") == "int16x8":
                options["calibration"] = started.splits.calibration.inputs()
            export_tflite(started, "ptq_int8", load(str(finished / model / "model.keras")), **options)
        return folder / "ptq_int8"

    return run


@pytest.fixture(scope="module")
def three_types(exported):
    return exported("qat_int8", "export.io=[int8,uint8,float32]", "export.microcontroller=true")


@pytest.mark.medium
def test_each_type_has_its_file_with_its_own_numbers_and_code(three_types):
    folder = three_types
    for suffix, dtype in (("", "int8"), ("_uint8", "uint8"), ("_float32", "float32")):
        tensor = read(folder / f"model{suffix}.tflite").inputs[0]
        record = rundir.read_json(folder / f"model{suffix}.json")
        assert tensor.dtype == dtype == record["inputs"][0]["dtype"]
        assert record["file"] == f"model{suffix}.tflite"
        scale = tensor.scales[0] if tensor.scales else None
        assert record["inputs"][0]["scale"] == scale
        snippet = (folder / f"feeding{suffix}" / "feed.py").read_text()
        assert f"model{suffix}.tflite" in snippet
        assert (folder / f"microcontroller{suffix}").is_dir() == (dtype != "float32")


def test_the_types_outside_change_no_output(three_types):
    folder, x = three_types, np.random.default_rng(0)
    inputs = x.random((9, 32, 32, 3), np.float32)
    outputs = [Interpreter(folder / f"model{s}.tflite").predict(inputs) for s in ("", "_uint8", "_float32")]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    np.testing.assert_array_equal(outputs[0], outputs[2])


def test_batch_and_signature_are_as_asked_for(exported, three_types):
    folder = exported("qat_int8", "export.batch_size=1", "export.signature=classify")
    graph = read(folder / "model.tflite")
    assert graph.inputs[0].shape_signature == (1, 32, 32, 3)
    assert [signature.key for signature in graph.signatures] == ["classify"]
    open_graph = read(three_types / "model.tflite")
    assert open_graph.inputs[0].shape_signature == (-1, 32, 32, 3)
    assert open_graph.signatures[0].key == "serving_default"


@pytest.mark.medium
@pytest.mark.parametrize(("io", "dtypes"), [("[int8]", ["int16"]), ("[uint8,float32]", ["int16", "float32"])])
def test_int16x8_has_int16_outside_or_float32(io, dtypes, exported):
    folder = exported("float", f"export.io={io}", scheme="int16x8")
    files = [folder / "model.tflite", *folder.glob("model_*.tflite")]
    assert [read(path).inputs[0].dtype for path in files] == dtypes


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("export.io=[float16]", "export.io=float16: a float16 file keeps float32 inputs and outputs; use float32"),
        ("export.batch_size=0", "export.batch_size=0: expected a number from 1 to 4096"),
        ("export.signature=''", "export.signature=: expected a text that is not blank"),
    ],
)
def test_what_no_file_can_be_is_refused(override, words):
    with pytest.raises(ConfigError, match=words):
        compose([override])


def test_c_source_wants_integer_inputs():
    with pytest.raises(ConfigError, match=r"export\.microcontroller=true: .*add int8 or uint8"):
        compose(["export.microcontroller=true", "export.io=[float32]"])
