"""The examples of docs/flows.md and docs/patterns.md answer as printed."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@pytest.mark.parametrize(("name", "least"), [("flows.md", 12), ("patterns.md", 13)])
def test_the_examples_of_flows_run(name: str, least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (ROOT / "data" / "shop" / "log.json").exists():
        pytest.skip("the sample log is not there yet; make install")
    monkeypatch.chdir(ROOT)
    found = doctest.testfile(str(ROOT / "docs" / name), module_relative=False, optionflags=FLAGS)
    assert found.attempted >= least
    assert found.failed == 0
