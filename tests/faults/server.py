"""The fork server: ``python -m faults.server SOCKET`` (see `Server` in shim.py)."""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import sys
import traceback
from typing import Any

# Imported for the children; DuckDB would import the last two when it first meets a table.
import duckdb
import pandas as pd  # noqa: F401
import pyarrow as pa
import pyarrow.compute
import pyarrow.dataset
import pyarrow.parquet

import esnb.log  # noqa: F401

from .shim import Fault

# Threads do not survive a fork, and a child that waits for one waits for ever: DuckDB's own
# connection has a thread, Arrow's pools (kept small for the children) have none before use.
duckdb.close()
pa.set_cpu_count(1)
pa.set_io_thread_count(1)

_JOBS = ("jobs", "crash_jobs", "disk_jobs", "command_jobs")


def main(number: int) -> None:
    channel = socket.socket(fileno=number)
    modules = {name: importlib.import_module(f".{name}", __package__) for name in _JOBS}
    while True:
        message, fds, _, _ = socket.recv_fds(channel, 1 << 20, 4)
        if not message:
            return
        request = json.loads(message)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            answer = {"status": os.waitstatus_to_exitcode(status)}
        elif "job" in request:
            module, _, function = request["job"].partition(":")
            pid = os.fork()
            if pid == 0:
                channel.close()
                child(getattr(modules[module], function), fds[0], request["arguments"])
            os.close(fds[0])
            answer = {"pid": pid}
        else:
            answer = {}
        channel.send(json.dumps(answer).encode())


def child(function: Any, pipe: int, arguments: dict[str, Any]) -> None:
    """Run one job and leave, whatever happens."""
    status = 0
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        function(Fault() if os.environ.get("LD_PRELOAD") else None, pipe, **arguments)
    except BaseException:
        # One line, whole: the parent reads lines.
        text = json.dumps(traceback.format_exc()[-3000:])
        os.write(pipe, f"crashed {text}\n".encode())
        status = 70
    os._exit(status)


if __name__ == "__main__":
    main(int(sys.argv[1]))
