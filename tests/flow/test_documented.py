"""The examples of docs/flows.md answer as printed."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def test_the_examples_of_flows_run(monkeypatch: pytest.MonkeyPatch) -> None:
    if not (ROOT / "data" / "shop" / "log.json").exists():
        pytest.skip("the sample log is not there yet; make install")
    monkeypatch.chdir(ROOT)
    found = doctest.testfile(
        str(ROOT / "docs" / "flows.md"), module_relative=False, optionflags=FLAGS
    )
    assert found.attempted >= 12
    assert found.failed == 0
