"""The sample log, as `make install` makes it: copied where it is new enough, made where not."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "data" / "generate_shop.py"


def shop(place: Path) -> Path:
    """Put the sample log into a folder that is not there yet."""
    made = ROOT / "data" / "shop" / "log.json"
    sources = [SCRIPT, *(ROOT / "esnb" / "examples" / "shop").glob("*.py")]
    # As make decides it.
    if made.exists() and made.stat().st_mtime >= max(one.stat().st_mtime for one in sources):
        # What is derived is built by whom needs it: tests say how long that takes.
        shutil.copytree(made.parent, place, ignore=shutil.ignore_patterns("derived"))
    else:
        subprocess.run(
            [sys.executable, SCRIPT, place], check=True, capture_output=True, timeout=300
        )
    return place
