"""Make the sample log: seven months of an online shop, September 2025 to March 2026.

    python data/generate_shop.py [FOLDER]

The shop is written with esnb itself: `esnb.examples.shop` has its events, rules and commands, and
what happens in it.  Seeded: the same events with the same ids each time.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import esnb
from esnb.examples import shop

ZONE = "Europe/Berlin"


def main(folder: Path) -> None:
    """Write the log to `folder`, in place of an older one."""
    work, fresh = (folder.with_name(folder.name + end) for end in (".work", ".new"))
    for left in (work, fresh):
        shutil.rmtree(left, ignore_errors=True)
    with esnb.create(work, zone=ZONE, clock=shop.Calendar(), maintain=False) as log:
        done = shop.simulate(log)
        # In one piece it is a sixth of the size that it has grown to, commit by commit.
        with esnb.create(fresh, zone=ZONE) as whole:
            whole.append_frame(log.events())
    shutil.rmtree(work)
    if (folder / "log.json").exists():
        shutil.rmtree(folder)
    fresh.rename(folder)
    refused = sum(done.refused.values())
    print(f"{done.events:,} events of {done.accepted:,} commands in {folder}; {refused:,} refused")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "shop")
