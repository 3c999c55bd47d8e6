"""What every test shares: a cache of its own, Hypothesis' profile, the real data."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from esnb.log import Log

settings.register_profile(
    "esnb", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("esnb")

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("ESNB_SHARED_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the memory of verified files out of the user's home."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def _real_data_for_notebooks() -> None:
    """Notebooks run in copies, from where the folder is not found by its place."""
    os.environ["ESNB_SHARED_DATA"] = str(SHARED)


@pytest.fixture(scope="session")
def kills() -> Callable[[int], int]:
    """How often to kill processes: as often as a test says, or at least ``ESNB_KILLS`` times."""
    least = int(os.environ.get("ESNB_KILLS", "0"))
    return lambda usual: max(usual, least)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with Log.create(tmp_path / "log", zone="UTC") as opened:
        yield opened


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real event data, or skip."""
    if not SHARED.is_dir():
        pytest.skip("the shared real data is not here; set ESNB_SHARED_DATA to its folder")
    return SHARED
