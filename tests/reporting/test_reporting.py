"""What people see: the table's numbers, plain lines where there is no terminal, series that share their charts."""

import errno
import json

import pytest

from qat.reporting import Progress, SummaryWriter, tensorboard_command, variants_markdown
from qat.reporting.events import EventFile
from qat.reporting.loggers import CsvLogger
from qat.results import Metric, Parity, Variant


def variant(name, accuracy, size, **more):
    options = {
        "integer_only": name != "float",
        "input_dtype": "int8",
        "output_dtype": "int8",
        "agreement": 0.995,
        **more,
    }
    return Variant(Metric("accuracy", accuracy), f"{name}/model.tflite", size, accuracy=accuracy, **options)


PARITY = Parity(agreement=1, max_lsb=1, exact=0.9, within_1_lsb=1, accuracy_gap=0, samples=9, passed=False)
VARIANTS = {
    "float": variant("float", 0.98, 8192),
    "qat_int8": variant("qat_int8", 0.9725, 2048, fake_quant_metric=0.974, parity=PARITY),
}


def test_the_table_has_points_against_float_and_leaves_out_empty_columns():
    lines = variants_markdown(VARIANTS).splitlines()
    assert lines[0] == "| variant | accuracy | vs float | fake-quant | size | integer-only | agreement | parity |"
    assert lines[2] == "| float | 98.00 % |  |  | 8.0 KiB | no | 99.50 % |  |"
    assert lines[3] == "| qat_int8 | 97.25 % | -0.75 | 97.40 % | 2.0 KiB | yes | 99.50 % | BROKEN |"
    assert "fake-quant" not in variants_markdown({"float": VARIANTS["float"]})


def test_an_auc_is_no_percentage():
    auc = Variant(Metric("auc", 0.91234), "float/model.tflite", 1024, False, "float32", "float32")
    assert "| float | 0.9123 | 1.0 KiB | no |" in variants_markdown({"float": auc})


def test_without_a_terminal_each_whole_unit_is_a_line(capsys):
    progress = Progress("auto")
    with progress.work("training", 2, "epoch") as bar:
        for epoch in range(2):
            for _ in range(9):
                bar.advance(1 / 10)
            bar.advance(1 / 10, f"loss {epoch}")
    assert capsys.readouterr().out.splitlines() == ["training: epoch 1/2  loss 0", "training: epoch 2/2  loss 1"]
    assert progress.seconds["training"] >= 0


def test_off_is_silent(capsys):
    progress = Progress("off")
    with progress.work("training", 2) as bar:
        bar.advance(1, "loss")
    progress.say("done")
    assert capsys.readouterr().out == ""


def test_a_bar_cuts_no_number_at_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with Progress("bar").work("float training", 12, "epoch") as bar:
        bar.advance(12, "loss 0.500  val loss 0.250  val accuracy 91.2 %")
    output = capsys.readouterr().out
    assert "val accuracy 91.2 %" in output
    assert "…" not in output


def test_a_bar_reaches_its_end(capsys):
    with Progress("bar").work("training", 2, "epoch") as bar:
        bar.advance(2, "loss 0.1")
    assert "2/2" in capsys.readouterr().out


@pytest.fixture
def events(tmp_path):
    """Event files below tmp_path, as TensorBoard itself reads them: (run, tag) -> [(step, value)]."""
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

    def read():
        runs = EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Reload()
        tensors = {}
        for run, tags in runs.Runs().items():
            for tag in tags["tensors"]:
                tensors[run, tag] = [(event.step, event.tensor_proto) for event in runs.Tensors(run, tag)]
        return tensors

    return read


def test_float_and_quantized_have_the_same_tag_in_runs_of_their_own(tmp_path, events):
    import tensorflow as tf

    with SummaryWriter(tmp_path) as writer:
        writer.add_scalars("float", {"accuracy/val": 0.5}, 1)
        writer.add_scalars("deployed_int8", {"accuracy/val": 0.25}, 2)
        writer.add_text("summary", "results", variants_markdown(VARIANTS))
    tensors = events()
    assert [(step, float(tf.make_ndarray(value))) for step, value in tensors["float", "accuracy/val"]] == [(1, 0.5)]
    assert [(step, float(tf.make_ndarray(value))) for step, value in tensors["deployed_int8", "accuracy/val"]] == [
        (2, 0.25)
    ]
    assert b"| qat_int8 | 97.25 % |" in tf.make_ndarray(tensors["summary", "results"][0][1]).item()


def test_ranges_are_numbers_per_tensor_and_histograms_per_channel(tmp_path, events):
    import tensorflow as tf

    with SummaryWriter(tmp_path) as writer:
        variables = [tf.Variable(-6.0, name="conv.range/min"), tf.Variable([1.0, 2.0], name="quant_conv/kernel_max")]
        writer.add_ranges("fake_quant", variables, 3)
    tensors = events()
    step, value = tensors["fake_quant", "ranges/conv/min"][0]
    assert (step, float(tf.make_ndarray(value))) == (3, -6.0)
    assert tf.make_ndarray(tensors["fake_quant", "ranges/conv/kernel_max"][0][1]).shape[-1] == 3  # left, right, count


def test_a_writer_without_a_folder_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with SummaryWriter(None) as writer:
        writer.add_scalars("float", {"loss": 1.0}, 0)
        writer.add_text("summary", "results", "")
    assert list(tmp_path.iterdir()) == []


def test_the_command_is_short_where_the_folder_is_near(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tensorboard_command(tmp_path / "outputs" / "tensorboard").endswith("--logdir outputs/tensorboard")


def test_a_full_disk_ends_tensorboard_and_not_the_run(tmp_path, monkeypatch):
    class Logger(CsvLogger):
        def __init__(self):
            self.rows = []

        def log_scalars(self, run, values, step):
            self.rows.append((run, values, step))

        def close(self, error=None):
            pass

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with SummaryWriter(tmp_path) as writer:
        writer.loggers.append(Logger())
        writer.add_scalars("float", {"loss/val": 0.5}, 1)
        monkeypatch.setattr(EventFile, "_write", full)
        with pytest.warns(UserWarning, match=r"TensorBoard's files cannot be written \(No space left on device\)"):
            writer.add_scalars("float", {"loss/val": 0.25}, 2)
        writer.add_text("float", "results", "x")
        writer.add_scalars("float", {"loss/val": 0.125}, 3)
    assert writer.series["float", "loss/val"] == [(1, 0.5), (2, 0.25), (3, 0.125)]
    assert len(writer.loggers[0].rows) == 3


def test_series_come_back_and_loggers_get_what_they_have_not_seen(tmp_path):
    with SummaryWriter(None) as killed:
        killed.add_scalars("float", {"loss/val": 0.5}, 1)
        killed.add_scalars("float", {"loss/val": 0.25}, 2)
    with SummaryWriter(None) as writer:
        writer.loggers.append(CsvLogger(tmp_path / "metrics.csv"))
        writer.add_scalars("float", {"loss/val": 0.5}, 1)
        writer.set_state(json.loads(json.dumps(killed.get_state())))
        writer.set_state(killed.get_state())
    assert writer.series == killed.series
    assert (tmp_path / "metrics.csv").read_text().splitlines()[1:] == ["1,float,0.5", "2,float,0.25"]
