"""Fixtures of the fault tests."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .shim import Server, Unavailable, build


@pytest.fixture(scope="session")
def long_run() -> bool:
    """Whether to try everything (``ESNB_LONG=1``) or a sample of it."""
    return os.environ.get("ESNB_LONG") == "1"


@pytest.fixture(scope="session")
def memory_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory where there is one: these tests count syncs, they need no disk."""
    shared = Path("/dev/shm")
    roomy = shared.is_dir() and shutil.disk_usage(shared).free > 512 * 1024 * 1024
    if not roomy or not os.access(shared, os.W_OK):
        yield tmp_path_factory.mktemp("trials").resolve()
        return
    folder = Path(tempfile.mkdtemp(prefix="esnb-faults-", dir=shared))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def fast(memory_folder: Path) -> Iterator[Path]:
    """An empty folder of this test's own, in memory where possible."""
    folder = Path(tempfile.mkdtemp(dir=memory_folder))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The fork server with the fault library in it."""
    folder = tmp_path_factory.mktemp("shim")
    try:
        library = build(folder)
    except Unavailable as reason:
        pytest.skip(str(reason))
    with Server(library, folder / "cache") as started:
        yield started
