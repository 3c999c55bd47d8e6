"""What lies in the project: no outputs in notebooks, no place of one machine, no registry."""

import json
import os
import re
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NOT_OURS = {
    "__pycache__", "node_modules", "build", "dist", "htmlcov",
}  # fmt: skip
BINARY = {".png", ".parquet", ".gz", ".sqlite", ".ids", ".zip", ".pyc", ".so"}
# Put together here, or this file would find itself.
PLACES = re.compile(
    "|".join([r"(?<![\w}.])/(work|root|home/\w+|Users/\w+)" + "/", "[A-Z]:" + r"\\Users"])
)
REGISTRIES = re.compile(
    r"(index-url|" + "|".join(["pypi", "pythonhosted", "npmjs", "jsdelivr", "unpkg"]) + r"\.)"
)


def texts() -> dict[str, str]:
    """Return every text file of the project by its path."""
    found = {}
    for folder, folders, names in os.walk(ROOT):
        hidden = {name for name in folders if name.startswith(".") and name != ".ci"}
        if Path(folder) == ROOT / "data":
            hidden |= set(folders)  # the sample log
        folders[:] = [n for n in folders if n not in hidden | NOT_OURS and "egg-info" not in n]
        for name in names:
            path = Path(folder, name)
            if path.is_file() and path.suffix not in BINARY and name != "requirements.lock":
                with suppress(FileNotFoundError):  # an editor's file, gone by now
                    found[path.relative_to(ROOT).as_posix()] = path.read_text(errors="replace")
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_have_no_outputs(path):
    notebook = json.loads(path.read_text())
    assert "widgets" not in notebook["metadata"]
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


def test_there_are_notebooks():
    assert NOTEBOOKS


def test_no_file_names_a_place_of_one_machine():
    found = [f"{name}: {m[0]}" for name, text in texts().items() if (m := PLACES.search(text))]
    assert found == []


def test_no_file_names_a_registry():
    # make lock tells uv to leave the address of the index out, and the tests say what to look for.
    own = ("Makefile", "tests/house/")
    found = [
        f"{name}: {m[0]}"
        for name, text in texts().items()
        if not name.startswith(own) and (m := REGISTRIES.search(text))
    ]
    assert found == []
