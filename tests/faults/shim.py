"""The Python side of ``shim.c``, and the fork server whose children it is armed in.

A child starts within a few milliseconds, because the server has imported
everything already.
"""

from __future__ import annotations

import ctypes
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Child", "Ended", "Fault", "Server", "Unavailable", "build"]

_SOURCE = Path(__file__).with_name("shim.c")
_MODES = (
    "none",
    "kill before",
    "kill after",
    "short write and kill",
    "short write",
    "fail",
    "fail after",
    "disk full from here on",
    "list",
    "no sync",
)
_ROWS = ("changes", "reads", "syncs")


class Unavailable(Exception):
    """This machine cannot run the fault tests; the text says why."""


def build(folder: Path) -> Path:
    """Compile the library into `folder`."""
    if not sys.platform.startswith("linux"):
        raise Unavailable("LD_PRELOAD as it is used here needs Linux")
    target = folder / "shim.so"
    command = [
        "cc",
        "-O1",
        "-shared",
        "-fPIC",
        "-o",
        str(target),
        str(_SOURCE),
        "-ldl",
        "-lpthread",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise Unavailable("no C compiler (cc) is installed") from None
    if done.returncode:
        raise Unavailable(f"cc could not build shim.c: {done.stderr[-500:]}")
    return target


class Fault:
    """The library as it is loaded in this process."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(os.environ["LD_PRELOAD"])
        self._library.fault_arm.argtypes = [
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_int64,
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_int,
        ]
        self._library.fault_count.restype = ctypes.c_int64

    def arm(
        self,
        root: str,
        mode: str = "none",
        *,
        error: int = 0,
        number: int = 0,
        row: str = "changes",
        trace: int = -1,
        report: int = -1,
    ) -> None:
        """Start counting the operations below `root`; let `mode` happen at one of them.

        `number` counts the operations of one `row`: "changes", "reads" or "syncs".
        """
        self._library.fault_root(os.fsencode(root))
        what = _MODES.index(mode)
        self._library.fault_arm(what, error, number, _ROWS.index(row), trace, report)

    def disarm(self) -> None:
        """Let everything pass again."""
        self._library.fault_disarm()

    def note(self, text: str) -> None:
        """Write a line of our own to the trace."""
        self._library.fault_note(text.encode())

    def count(self, row: str = "changes") -> int:
        """Operations of a row so far."""
        return int(self._library.fault_count(_ROWS.index(row)))


@dataclass(frozen=True)
class Ended:
    """How a child ended, and the lines it had written.

    `status` is its exit code, or minus the number of the signal that ended it;
    None when it had to be killed because it hung.
    """

    status: int | None
    lines: tuple[str, ...]

    def of(self, kind: str) -> list[str]:
        """Return the rest of the lines whose first word is `kind`."""
        return [line.partition(" ")[2] for line in self.lines if line.partition(" ")[0] == kind]


class Child:
    """A running child: its process id, and the pipe between it and the test."""

    def __init__(self, server: Server, pid: int, pipe: int) -> None:
        self.pid = pid
        self.pipe = pipe
        self._server = server
        self._unread = b""

    def fileno(self) -> int:
        return self.pipe

    def lines(self) -> list[str] | None:
        """Return the whole lines that have come; None at the end of the pipe."""
        content = os.read(self.pipe, 1 << 20)
        if not content:
            return None
        *lines, self._unread = (self._unread + content).split(b"\n")
        return [line.decode() for line in lines]

    def let_go(self) -> None:
        """Let a child go on that waits for the test."""
        os.write(self.pipe, b"\n")

    def rest(self, timeout: float = 120) -> list[str]:
        """Return what it says until it ends; kill it when that takes too long."""
        end = time.monotonic() + timeout
        got: list[str] = []
        with selectors.DefaultSelector() as selector:
            selector.register(self, selectors.EVENT_READ)
            while selector.select(max(0, end - time.monotonic())):
                lines = self.lines()
                if lines is None:
                    return got
                got += lines
        return [*got, *self._after_kill(), "crashed it hung"]

    def until(self, kind: str, timeout: float = 120) -> list[str]:
        """Return what it says up to a line of a kind, or up to its end."""
        end = time.monotonic() + timeout
        got: list[str] = []
        with selectors.DefaultSelector() as selector:
            selector.register(self, selectors.EVENT_READ)
            while not any(line.partition(" ")[0] == kind for line in got):
                if not selector.select(max(0, end - time.monotonic())):
                    return [*got, "crashed it hung"]
                lines = self.lines()
                if lines is None:
                    return [*got, "crashed it ended"]
                got += lines
        return got

    def kill(self) -> list[str]:
        """SIGKILL it; return the whole lines that were still in the pipe."""
        left = self._after_kill()
        self.reap()
        return left

    def _after_kill(self) -> list[str]:
        os.kill(self.pid, signal.SIGKILL)
        left: list[str] = []
        while (lines := self.lines()) is not None:
            left += lines
        return left

    def reap(self) -> int:
        """Wait for its end; return how it ended."""
        os.close(self.pipe)
        return self._server.wait(self.pid)


class Server:
    """A Python that has imported everything, and forks a child for each trial.

    Parameters
    ----------
    library
        The compiled shim, or None to run without it.
    cache
        Folder for what esnb remembers about verified files.
    """

    def __init__(self, library: Path | None, cache: Path) -> None:
        package = __package__ or ""
        top = Path(__file__).resolve().parents[len(package.split("."))]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(top), str(top.parent), *filter(None, sys.path)]),
            "XDG_CACHE_HOME": str(cache),
            "ARROW_DEFAULT_MEMORY_POOL": "system",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        if library is not None:
            environment["LD_PRELOAD"] = str(library)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"{package}.server", str(theirs.fileno())],
                env=environment,
                pass_fds=[theirs.fileno()],
            )
        self._ask({"ping": True})

    def close(self) -> None:
        self._socket.close()
        self._process.wait(timeout=60)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, request: dict[str, Any], *fds: int) -> dict[str, Any]:
        socket.send_fds(self._socket, [json.dumps(request).encode()], fds)
        answer = self._socket.recv(1 << 16)
        if not answer:
            raise RuntimeError(f"the fork server ended with {self._process.wait()}")
        return dict(json.loads(answer))

    def spawn(self, job: str, **arguments: Any) -> Child:
        """Fork a child that runs ``module:function(fault, pipe, **arguments)``."""
        ours, theirs = socket.socketpair()
        with theirs:
            pid = self._ask({"job": job, "arguments": arguments}, theirs.fileno())["pid"]
        return Child(self, pid, ours.detach())

    def wait(self, pid: int) -> int:
        """Wait for a child to end; return its exit code, or minus its signal."""
        return int(self._ask({"wait": pid})["status"])

    def run(self, job: str, *, timeout: float = 60, **arguments: Any) -> Ended:
        """Run a child to its end; kill it when that takes too long."""
        child = self.spawn(job, **arguments)
        lines = child.rest(timeout)
        status = child.reap()
        hung = bool(lines) and lines[-1] == "crashed it hung"
        return Ended(None if hung else status, tuple(lines))
