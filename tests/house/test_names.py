"""What the documents name can be imported as they say."""

from __future__ import annotations

import builtins
import importlib
import re
from pathlib import Path
from typing import Any

import pytest

import esnb
from esnb import errors

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Of other packages, as the documents say beside them.
FOREIGN = {"ValidationError"}


def resolved(dotted: str) -> Any:
    """Return what a dotted name stands for; an AttributeError if it stands for nothing."""
    module, *rest = dotted.split(".")
    found = importlib.import_module(module)
    for name in rest:
        module = f"{module}.{name}"
        if not hasattr(found, name):
            try:
                importlib.import_module(module)
            except ModuleNotFoundError as error:
                raise AttributeError(module) from error
        found = getattr(found, name)
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_what_a_document_names_is_there(document: Path) -> None:
    text = document.read_text()
    for module, names in re.findall(r"from (esnb[\w.]*) import (\([^)]*\)|[^\n(]+)", text):
        for name in re.findall(r"\w+", names.split("#")[0]):
            resolved(f"{module}.{name}")
    for dotted in re.findall(r"(?<![\w./'\"])esnb(?:\.[A-Za-z]\w*)+(?![\w/-])", text):
        if not dotted.endswith((".py", ".sql")):
            resolved(dotted)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_errors_that_a_document_names_are_in_esnb(document: Path) -> None:
    named = set(re.findall(r"`(\w+Error)`", document.read_text())) - FOREIGN
    assert {name for name in named if not hasattr(esnb, name) and not hasattr(builtins, name)} == (
        set()
    )


def test_all_errors_are_in_esnb() -> None:
    """Who catches one does not have to look for it."""
    assert set(errors.__all__) <= set(esnb.__all__)
