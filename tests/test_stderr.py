"""What C++ libraries write to descriptor 2 is redirected, or filtered of TensorFlow's notices and nothing else."""

import os

from qat.stderr import filter_stderr, redirect_stderr

NOTICES = (
    b"I0000 00:00:1 cudart_stub.cc:31] Could not find cuda drivers\n",
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n",
    b"E0000 00:00:1 cuda_dnn.cc] Unable to register cuDNN\n",
)


def test_what_goes_to_descriptor_2_goes_into_the_file(tmp_path, capfd):
    with (tmp_path / "log").open("wb") as file, redirect_stderr(file):
        os.write(2, b"inside\n")
    os.write(2, b"outside\n")
    assert (tmp_path / "log").read_bytes() == b"inside\n"
    assert capfd.readouterr().err == "outside\n"


def test_notices_are_held_back_and_errors_are_printed_in_their_order(capfd):
    with filter_stderr():
        for line in (*NOTICES, b"E0000 00:00:1 kernel.cc] out of memory\n", b"Traceback\n"):
            os.write(2, line)
    assert capfd.readouterr().err == "E0000 00:00:1 kernel.cc] out of memory\nTraceback\n"


def test_what_was_written_before_an_exception_is_printed(capfd):
    try:
        with filter_stderr():
            os.write(2, NOTICES[0] + b"the reason\n")
            raise ValueError("x")
    except ValueError:
        pass
    assert capfd.readouterr().err == "the reason\n"
