"""The examples of the widgets' document answer as printed."""

import doctest
import os
from pathlib import Path

from tests import sample

ROOT = Path(__file__).parents[2]


def test_the_examples_of_widgets_run(tmp_path, monkeypatch):
    sample.shop(tmp_path / "data" / "shop")
    monkeypatch.chdir(tmp_path)
    found = doctest.testfile(
        os.fspath(ROOT / "docs" / "widgets.md"),
        module_relative=False,
        optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS,
    )
    assert found.attempted >= 8
    assert found.failed == 0
