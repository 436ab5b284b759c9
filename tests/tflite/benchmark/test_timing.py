"""Timing in child processes: calls are counted and timed, memory is the file's, crashes and refusals become errors."""

import os
import signal

import numpy as np
import pytest

from qat.errors import TfliteFileError
from qat.tflite import Interpreter, read
from qat.tflite.benchmark.single_ops import one_op_files, tiny_model
from qat.tflite.benchmark.timing import BenchmarkSetting, Child, Job, measure, time_each
from qat.tflite.editing import apply_edit

from .. import planting


def test_each_job_has_its_turn_in_each_round_and_more_work_takes_longer(files):
    jobs = [
        Job("one", files.float32, BenchmarkSetting(delegate=False)),
        Job("many", files.float32, BenchmarkSetting(batch=64, delegate=False)),
    ]
    done = []
    one, many = measure(jobs, rounds=3, seconds=0.15, warmup_seconds=0.02, on_round=done.append)
    assert done == [1, 2, 3]
    assert len(one.rounds_ms) == len(many.rounds_ms) == 3
    assert many.median_ms > 4 * one.median_ms
    assert one.p95_ms >= one.median_ms > 0
    assert one.warmup_calls >= 1
    assert many.peak_bytes > one.peak_bytes > 0
    assert one.process_peak_bytes > 10 << 20


def test_memory_is_counted_from_before_the_file_was_there(files):
    with Child() as child:
        child.load(tiny_model(), BenchmarkSetting(), 0)
        tiny, _ = child.peak_bytes()
    with Child() as child:
        child.load(files.float32, BenchmarkSetting(batch=256), 0)
        large, whole = child.peak_bytes()
    assert tiny < 1 << 20
    activations = 256 * 16 * 16 * (3 + 8) * 4
    assert activations < large < whole


def test_a_crash_is_told_by_its_signal(files):
    with Child("that file") as child:
        child.load(files.int8, BenchmarkSetting(), 0)
        os.kill(child._process.pid, signal.SIGSEGV)
        with pytest.raises(TfliteFileError, match=r"that file crashes the TFLite runtime \(SIGSEGV\)"):
            child.run(0.01)


def test_a_refusal_of_the_runtime_is_told(files):
    with Child("that file") as child, pytest.raises(TfliteFileError, match=r"refuses that file: .*NoSuchOp"):
        child.load(planting.with_custom_op(files.int8, "NoSuchOp"), BenchmarkSetting(), 0)


@pytest.mark.parametrize("kind", ["float32", "int8", "float_io"])
def test_every_operator_alone_computes_what_it_computes_in_the_whole(kind, files, calibration):
    """Fed with what the whole file computes on its way."""
    content = getattr(files, kind)
    graph, whole = read(content), Interpreter(content, delegate=False).tensors(calibration[:1])
    by_index = {graph.tensors[i].name: i for i in range(len(graph.tensors))}
    values = {by_index[name.partition("#")[0]]: value for name, value in whole.items()}
    cut = dict(one_op_files(content))
    assert list(cut) == [op.index for op in graph.ops]
    for op in graph.ops:
        alone = Interpreter(cut[op.index], delegate=False, trusted=True)
        entries = [i for i in op.inputs if i >= 0 and not graph.tensors[i].is_constant]
        result = alone.predict_codes([values[i] for i in dict.fromkeys(entries)])
        np.testing.assert_array_equal(result, values[op.outputs[0]])


def test_operators_alone_are_timed_one_after_another(files):
    contents = [content for _, content in one_op_files(files.int8)]
    broken = planting.with_custom_op(files.int8, "NoSuchOp")
    result = time_each([*contents, broken], BenchmarkSetting(batch=None), 0.005)
    assert len(result) == len(contents) + 1
    assert all(value > 0 for value in result[:-1])
    assert result[-1] is None


def test_a_file_whose_tables_make_no_sense_is_not_taken_apart():
    def edit(model):
        model.subgraphs[0].operators[0].inputs = [99, 0]

    with pytest.raises(TfliteFileError, match="operators cannot be taken apart"):
        list(one_op_files(apply_edit(tiny_model(), edit)))
