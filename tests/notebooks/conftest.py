"""A copy of the notebooks with the sample log beside them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "notebooks", copy / "notebooks")
    subprocess.run(
        [sys.executable, ROOT / "data" / "generate_shop.py", copy / "data" / "shop"],
        check=True,
        capture_output=True,
        timeout=300,
    )
    return copy
