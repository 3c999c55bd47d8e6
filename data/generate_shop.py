"""Make the sample log: seven months of an online shop, September 2025 to March 2026.

    python data/generate_shop.py [FOLDER]

The shop is written with esnb itself: `esnb.examples.shop` has its events, rules and commands, and
what happens in it.  Seeded: the same events with the same ids each time.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import esnb
from esnb.examples import shop

ZONE = "Europe/Berlin"
_ROOM = 512 * 1024 * 1024


def main(folder: Path) -> None:
    """Write the log to `folder`, in place of an older one."""
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=_scratch(folder.parent)))
    try:
        with esnb.create(work, zone=ZONE, clock=shop.Calendar(), maintain=False) as log:
            done = shop.simulate(log)
            # In one piece it is a sixth of the size that it has grown to, commit by commit.
            with esnb.create(fresh, zone=ZONE) as whole:
                whole.append_frame(log.events())
    finally:
        shutil.rmtree(work)
    if (folder / "log.json").exists():
        shutil.rmtree(folder)
    fresh.rename(folder)
    refused = sum(done.refused.values())
    print(f"{done.events:,} events of {done.accepted:,} commands in {folder}; {refused:,} refused")


def _scratch(beside: Path) -> Path:
    """Return a folder in memory where there is one: over a thousand commits wait for the disk."""
    memory = Path("/dev/shm")  # noqa: S108 (a name of its own in it)
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _ROOM:
        return memory
    beside.mkdir(parents=True, exist_ok=True)
    return beside


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "shop")
