"""The report's text fits a terminal and its dictionary JSON."""

import json

from qat.quantization.report import QuantizationReport, QuantizedTensor, ReportedGrid, RewrittenLayers, Skipped

LONG = "backbone.stage_4.block_12_depthwise_convolution"
KERNEL = ReportedGrid(4, (1.23456e-05, 2e-6) * 512, 0, -1.5e-05, 1.5e-05, 0, "own")
REPORT = QuantizationReport(
    quantized=(
        QuantizedTensor(LONG, "depthwise_conv2d", "kernel", KERNEL),
        QuantizedTensor(LONG, "depthwise_conv2d", "bias", ReportedGrid(32, (1.5e-9,), 0, -3.2, 3.2, None, "derived")),
        QuantizedTensor(
            LONG, "prelu", "operand_1", ReportedGrid(8, (0.5,), -128, -1.2345e-05, 1.2345e05, None, "shared")
        ),
    ),
    skipped=(Skipped(LONG, f"quant.skip=^{LONG}$"), Skipped("ids", "input of int32: integers need no grid")),
    rewritten=(
        RewrittenLayers("gelu", "mul", ("gelu",), ("act",), 1),
        RewrittenLayers("layer_norm", "layer_norm", ("mean", "sub", "mul", "add", "rsqrt"), (LONG,) * 5, 9),
    ),
)


def test_the_text_fits_eighty_columns_and_cuts_nothing_but_names():
    lines = str(REPORT).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[2].split()[2:] == ["kernel", "4", "1.23e-05", "x1024", "0", "±1.5e-05", "own"]
    assert lines[4].split()[2:] == ["operand_1", "8", "0.5", "-128", "-1.23e-05", "1.23e+05", "shared"]
    assert any(line.startswith("  back") and line.endswith("tion$") and "quant.skip=" in line for line in lines)
    assert "  gelu x 1: mul -> gelu (act)" in lines


def test_the_text_says_none_where_there_is_none():
    assert str(QuantizationReport((), (), ())).splitlines()[-3:] == ["not quantized: none", "", "rewritten: none"]


def test_the_summary_is_one_line_with_the_names_of_what_is_skipped():
    assert REPORT.summary() == (
        f"quantized: 1 layers, 3 tensors; skipped: {LONG}, ids; rewritten: layer_norm 9, gelu 1"
    )
    assert QuantizationReport((), (), ()).summary().endswith("skipped: none; rewritten: none")


def test_the_dictionary_is_json_with_channels():
    record = json.loads(json.dumps(REPORT.to_dict()))
    assert record == REPORT.to_dict()
    assert record["quantized"][0]["grid"]["channels"] == 1024
    assert record["rewritten"][1]["count"] == 9
