"""A process of its own that runs a projection: ``python -m tests.projection.jobs SPEC``."""

from __future__ import annotations

import json
import sys
from typing import Any

import esnb
from esnb.write import Projection, Runner

from .conftest import made
from .forms import Customers
from .model import Board

CLASSES: dict[str, type[Projection]] = {"board": Board, "customers": Customers}


def main(spec: dict[str, Any]) -> None:
    """Run until SIGTERM, or until all is done."""
    log = esnb.open(spec["log"], read_only=spec.get("read_only", False), maintain=False)
    sink = made(spec["kind"], spec["arguments"])
    runner = Runner(log, CLASSES[spec["projection"]], sink, **spec["options"])
    print("ready", flush=True)
    if spec["job"] == "rebuild":
        runner.rebuild(signals=True)
    else:
        runner.run(follow=spec["job"] == "follow", signals=True)
    print("done", runner._note.position, flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
