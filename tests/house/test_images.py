"""Pictures: the README shows those that `docs/make_images.py` draws, and no others."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MADE = runpy.run_path(str(ROOT / "docs" / "make_images.py"))
NAMES = sorted(MADE["names"]())
README = (ROOT / "README.md").read_text()


def test_the_readme_shows_what_is_drawn():
    shown = re.findall(r'(?:src|srcset)="docs/images/([^"]+)"', README)
    assert sorted(shown) == NAMES


def test_every_picture_with_two_sides_shows_the_dark_one_in_the_dark():
    pairs = re.findall(
        r'media="\(prefers-color-scheme: dark\)" srcset="docs/images/([^"]+)-dark\.png">\s*'
        r'<img [^>]*src="docs/images/([^"]+)-light\.png"',
        README,
    )
    assert all(dark == light for dark, light in pairs)
    assert 2 * len(pairs) == len(NAMES) - len(MADE["ONE_SIDED"])


def test_every_picture_is_told_in_words():
    said = re.findall(r'<img alt="([^"]*)"', README)
    assert len(said) == README.count("<img ")
    assert min(map(len, said)) > 20


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_there_and_small(name):
    path = ROOT / "docs" / "images" / name
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size <= MADE["MOST_BYTES"]


def test_no_other_picture_lies_about():
    assert sorted(path.name for path in (ROOT / "docs" / "images").iterdir()) == NAMES


def test_the_tests_that_draw_them_are_there():
    for name in MADE["PICTURES"]:
        file, _, test = name.partition("::")
        assert f"def {test}" in (ROOT / "tests" / "browser" / file).read_text()
