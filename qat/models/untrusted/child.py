"""A process that reads untrusted models: it imports TensorFlow once and forks for each file, under limits.

Requests are lines of JSON on a Unix socket (the first argument is its descriptor), each with two descriptors: the open
file, and a pipe for the answer. The fork limits its memory and time and forbids itself to write, reads the file, checks
its config against the list, makes the model once, and sends what it read: one line of JSON, then the arrays. The server
reports how each fork ended.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from qat.models.untrusted.decode import DecodedModel

IDLE_SECONDS = 60  # without a request for so long, it ends


def main() -> None:
    """Serve until the other side closes, or nothing comes for a while."""
    import numpy  # noqa: F401  what each fork needs is imported before it
    import tf_keras  # noqa: F401

    from qat.models.untrusted import assemble, assemble_keras3  # noqa: F401

    with socket.socket(fileno=int(sys.argv[1])) as control:
        control.sendall(b"ready\n")
        while select.select([control], [], [], IDLE_SECONDS)[0]:
            line, descriptors, _, _ = socket.recv_fds(control, 1 << 20, 2)
            if not line or len(descriptors) != 2:
                return
            request = json.loads(line)
            answer = _serve_in_fork(request, *descriptors, control)
            for descriptor in descriptors:
                os.close(descriptor)
            control.sendall(json.dumps(answer).encode() + b"\n")


def _serve_in_fork(request: dict[str, Any], source: int, sink: int, control: socket.socket) -> dict[str, Any]:
    """Serve a request in a fork, and return how it ended: `code`, negative for a signal; `late` for a timeout."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            control.close()
            os.closerange(5, min(source, sink))
            code = _serve(request, source, sink)
        finally:
            os._exit(code)
    end, late = time.monotonic() + request["limits"]["seconds"], False
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return {"code": os.waitstatus_to_exitcode(status), "late": late}
        if time.monotonic() > end and not late:
            late = True
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)


def _serve(request: dict[str, Any], source: int, sink: int) -> int:
    from qat import limits, process_limits

    limits.set_for_process(limits.Limits(**request["limits"]))
    process_limits.limit(request["memory_bytes"], request["limits"]["seconds"])
    locked = process_limits.forbid_writing()
    with os.fdopen(os.dup(source), "rb") as file, os.fdopen(os.dup(sink), "wb") as answer:
        try:
            decoded = _read_model(request, file)
        except Exception as error:
            answer.write(json.dumps(_refusal(error)).encode() + b"\n")
            return 0
        header = {
            "kind": decoded.kind,
            "keras_version": decoded.keras_version,
            "config": decoded.config,
            "names": decoded.names,
            "arrays": [[path, str(array.dtype), list(array.shape)] for path, array in decoded.arrays.items()],
            "assets": [[path, len(content)] for path, content in decoded.assets.items()],
            "locked": locked,
        }
        answer.write(json.dumps(header).encode() + b"\n")
        for array in decoded.arrays.values():
            with suppress(BufferError, ValueError):
                array = array.astype(array.dtype.newbyteorder("="), copy=False)
            answer.write(array.tobytes())
        for content in decoded.assets.values():
            answer.write(content)
    return 0


def _read_model(request: dict[str, Any], file: BinaryIO) -> DecodedModel:
    from qat.errors import ModelError
    from qat.models.untrusted.assemble import READABLE, assemble
    from qat.models.untrusted.check_config import NotAllowedError, find_custom_names, names_any_of, validate_config
    from qat.models.untrusted.decode import decode
    from qat.models.untrusted.trial_run import depends_on_numbers, run_once

    decoded = decode(file)
    if decoded.keras_major not in READABLE:
        decoded.arrays, decoded.assets, decoded.config = {}, {}, None
        return decoded
    own = frozenset(request["own"][decoded.keras_major])
    custom = find_custom_names(decoded.config)
    try:
        decoded.config = validate_config(decoded.config, own)
    except NotAllowedError as error:
        raise _NotAllowed(f"{error}", [each for each in custom if each not in own]) from error
    if names_any_of(decoded.config, own):  # only the caller has these classes
        return decoded
    try:
        model = assemble(decoded, with_assets=False)
        if depends_on_numbers(model, decoded.config):
            run_once(model)
    except ModelError:
        raise
    except MemoryError:
        raise
    except Exception as error:
        raise _CannotMake(str(error) or type(error).__name__) from error
    return decoded


class _NotAllowed(Exception):
    pass


class _CannotMake(Exception):
    pass


def _refusal(error: BaseException) -> dict[str, Any]:
    kinds = {"_NotAllowed": "not_allowed", "_CannotMake": "keras", "ModelError": "refused", "MemoryError": "memory"}
    kind = kinds.get(type(error).__name__, "keras")
    if "OOM when allocating" in str(error) or "bad_alloc" in str(error):
        kind = "memory"
    custom = error.args[1] if kind == "not_allowed" and len(error.args) > 1 else []
    text = str(error.args[0]) if error.args else type(error).__name__
    if text.startswith(
        "Exception encountered when calling layer"
    ):  # Keras puts it around the text, and its inputs after
        text = "\n\n".join(text.split("\n\n")[1:2]) or text
    return {"refused": text[:4000], "how": kind, "custom": custom}


if __name__ == "__main__":
    with suppress(BrokenPipeError, ConnectionError, KeyboardInterrupt):
        main()
    sys.stdout.flush()
    os._exit(0)
