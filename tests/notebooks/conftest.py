"""A copy of the notebooks with the sample log beside them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests import sample

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "notebooks", copy / "notebooks")
    sample.shop(copy / "data" / "shop")
    return copy
