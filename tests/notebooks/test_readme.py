"""The README does what it says."""

import doctest
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_examples_answer_as_printed(project, monkeypatch, tmp_path):
    monkeypatch.chdir(project)
    # For doctest the end of a block is a line of the expected answer.
    copy = tmp_path / "README.md"
    copy.write_text(re.sub(r"^```.*$", "", README, flags=re.MULTILINE))
    failed, tried = doctest.testfile(
        str(copy),
        module_relative=False,
        optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS,
        encoding="utf-8",
    )
    assert tried >= 10
    assert failed == 0


def test_it_begins_with_the_rule():
    assert README.startswith("# esnb\n")
    assert "> **A state at a time is the fold of the events up to that time.**" in README


def test_the_commands_are_there():
    consoles = re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    lines = "\n".join(consoles)
    help_text = subprocess.run(
        [sys.executable, "-m", "esnb.cli", "--help"], check=True, capture_output=True, text=True
    ).stdout
    for command in re.findall(r"(?:^|/)esnb ([\w-]+)", lines, re.MULTILINE):
        assert re.search(rf"\b{command}\b", help_text), command
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:^|`)make (\w+)", f"{lines}\n{README}", re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"(?:docs|notebooks|data)/[\w./-]+", README)))
)
def test_the_files_it_names_are_there(path):
    made = path.startswith("data/shop")
    assert made or (ROOT / path).exists()
