"""Draw the README's pictures: run the notebooks in JupyterLab and keep what they show.

    python docs/make_images.py

Tests in the browser do the runs; they leave a picture of each piece in each theme.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
MOST_BYTES = 150_000
# The tests, and the pictures that are kept of each.
PICTURES = {
    "test_first_hour.py::test_the_first_hour_in_the_lab": (
        "states",
        "timeline",
        "population",
        "replay",
        "explore",
    ),
    "test_time_travel.py": ("state-diff",),
    "test_flows.py": ("flow-map", "variants"),
    "test_investigate.py": ("table",),
    "test_table.py::test_the_answer_to_a_question_is_a_table": ("esql",),
    "test_report.py": ("report",),
}
# A report is paper: it has no dark side.
ONE_SIDED = {"report"}


def names() -> Iterator[str]:
    """Yield the name of each picture, without its folder."""
    for kept in PICTURES.values():
        for name in kept:
            if name in ONE_SIDED:
                yield f"{name}.png"
            else:
                yield from (f"{name}-{theme}.png" for theme in ("light", "dark"))


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="esnb-") as folder:
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *(f"tests/browser/{one}" for one in PICTURES)],
            cwd=ROOT,
            env={**os.environ, "SCREENSHOTS": folder, "CI": "true"},
            check=True,
        )
        keep(Path(folder))


def keep(folder: Path) -> None:
    """Take over the pictures of a folder, in few colours, and drop what is no longer drawn."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name in names():
        drawn = Image.open(folder / name).convert("RGB")
        # Colours of small areas stay what they are, and faint ones too.
        few = drawn.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=4, dither=Image.Dither.NONE)
        few.save(IMAGES / name, optimize=True)
        size = (IMAGES / name).stat().st_size
        if size > MOST_BYTES:
            sys.exit(f"{name} has {size:,} bytes; more than {MOST_BYTES:,} are too many")
    for old in set(IMAGES.glob("*.png")) - {IMAGES / name for name in names()}:
        old.unlink()


if __name__ == "__main__":
    main()
