"""Draw the README's pictures: run the notebook in JupyterLab and keep what it shows.

    python docs/make_images.py

The browser test does the run; it leaves a picture of each part in each theme.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
PARTS = ("events", "states", "population", "replay")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="esnb-") as folder:
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "tests/browser/test_first_hour.py"],
            cwd=ROOT,
            env={**os.environ, "SCREENSHOTS": folder, "CI": "true"},
            check=True,
        )
        IMAGES.mkdir(parents=True, exist_ok=True)
        for part in PARTS:
            for theme in ("light", "dark"):
                shutil.copyfile(Path(folder, f"{part}-{theme}.png"), IMAGES / f"{part}-{theme}.png")


if __name__ == "__main__":
    main()
