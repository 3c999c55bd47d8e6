"""What every test shares: a cache of its own, Hypothesis' profile, the real data."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from esnb.log import Log

settings.register_profile(
    "esnb", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("esnb")

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("ESNB_SHARED_DATA", ROOT.parent / "shared" / "data"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a browser in one worker, and those of servers: two cores carry one of each.

    The plugin's own groups (``--dist loadgroup``) are silently off with pytest-xdist 3.8 under
    pytest 9.2: it writes them to where a test's name no longer is.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):  # type: ignore[misc]  # no types there
        def _split_scope(self, nodeid: str) -> str:
            folder = "/".join(nodeid.split("/", 2)[:2])
            return folder if folder in ("tests/browser", "tests/projection") else nodeid

    return Together(config, log)


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
